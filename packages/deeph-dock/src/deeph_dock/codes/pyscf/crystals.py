"""Crystals: H(R), S(R) and rho(R) for the lattice vectors R that orbitals reach.

S(R) is integrated for each R by itself. H is known at k-points,

    H(R) = 1/N sum_k exp(-2 pi i k.R) H(k),

and the sum over a mesh of N = n1 n2 n3 points adds up all H(R + T), T any sum of n1 a1, n2 a2 and
n3 a3. Two ways out of that:

* The potential of a semilocal functional follows from the density, so that H(k) can be evaluated
  at any k once the density is there. It is evaluated on a mesh so fine that of two atoms no more
  than one image is within reach: then H(R) is exact, and so are bands between the points of the
  SCF mesh, whatever that was.
* Exact exchange (hybrids, Hartree-Fock), +U and generalised spins are known at the points of the
  SCF mesh only. The sum is given to the nearest images of each two atoms, in equal parts where
  several are as near. H(k) at the points of the mesh is exact, between them it is interpolated;
  how large H(R) still is at the largest distances tells how well.

Reach: two atoms have a block if two of their orbitals can overlap by `smallest_overlap` at that
distance; this depends on the elements' bases alone. The density matrix, rho(R) = 1/N sum_k
exp(-2 pi i k.R) rho(k) over the SCF mesh, has the pairs of S: with them, Tr(rho S) is the number of
electrons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.codes.pyscf.integrals import assembled, near_pairs, reaches
from deeph_dock.codes.pyscf.meshes import fine_mesh, half_of, mesh_of, nearest_images, shortest
from deeph_dock.codes.pyscf.orbitals import Orbitals
from deeph_dock.codes.pyscf.scf import Source, Term, spin_parts

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NOT_DECAYED = 1e-2
"""H at the largest distances, eV, above which the k-mesh of a hybrid is called too coarse."""
_BYTES_AT_ONCE = 256 * 2**20


def crystal(mf: Any, orbitals: Orbitals, spin: str, smallest_overlap: float) -> Source:
    """Find what a crystal's matrices are made of.

    Parameters
    ----------
    mf : pyscf.pbc.scf.khf.KSCF
        With k-points; it has run.
    orbitals : Orbitals
        Its orbitals.
    spin : str
        "none", "collinear" or "soc".
    smallest_overlap : float
        Two atoms have a block if their orbitals can overlap by this much.

    Returns
    -------
    Source
        With the cell and positions of the cell object.

    Raises
    ------
    InputError
        If the k-points are none that the method can be continued from.
    """
    from pyscf.data.nist import HARTREE2EV
    from pyscf.lib import param

    cell = mf.cell
    kpoints = np.asarray(cell.get_scaled_kpts(mf.kpts)).reshape(-1, 3)
    mesh = mesh_of(kpoints)
    lattice, positions = cell.lattice_vectors(), cell.atom_coords()
    reach = reaches(cell, orbitals, smallest_overlap)
    equal = np.ones(len(kpoints))

    @cache
    def pairs() -> Int:
        return near_pairs(lattice, positions, orbitals.numbers, reach, int(cell.dimension))

    def density() -> list[Term]:
        return [_fourier(part, kpoints, equal, spin) for part in _parts(mf.make_rdm1())]

    def _parts(matrix: Any) -> list[NDArray[Any]]:
        return spin_parts(np.asarray(matrix), spin, orbitals)

    def exact() -> tuple[Int, list[Term]]:
        divisions = fine_mesh(lattice, max(reach.values()), int(cell.dimension))
        points, counts = half_of(divisions, halve=spin != "soc")
        chunks = [_parts(fock) for fock in _evaluated(mf, cell.get_abs_kpts(points))]
        parts = [np.concatenate(chunk) for chunk in zip(*chunks, strict=True)]
        return pairs(), [_fourier(part, points, counts, spin) for part in parts]

    @cache
    def interpolated() -> tuple[Int, list[Term]]:
        assert mesh is not None
        near, weights = nearest_images(lattice, positions, mesh[0])
        fock = _parts(mf.get_fock(dm=mf.make_rdm1()))
        terms = [_fourier(part, kpoints, equal, spin) for part in fock]
        return near, [_weighted(term, near, weights, orbitals) for term in terms]

    provenance: dict[str, Any] = {}
    warnings: list[str] = []
    if mesh is not None:
        provenance = {"kmesh": list(mesh[0]), "kshift": list(mesh[1])}
    if getattr(cell, "ke_cutoff", None):
        provenance["density_cutoff_eV"] = float(cell.ke_cutoff) * HARTREE2EV
    local = _is_local(mf)
    if not local:
        if mesh is None or any(2 * shift % 1 for shift in mesh[1]):
            raise InputError(
                "from_scf: exact exchange, +U or generalised spins on k-points that are not a "
                "full mesh with k and -k; use cell.make_kpts([n1, n2, n3])"
            )
        edge = 0.45 * shortest(np.array(mesh[0])[:, None] * lattice)
        largest = _beyond(edge, lattice, positions, *interpolated(), orbitals) * HARTREE2EV
        if largest > NOT_DECAYED:
            warnings.append(
                f"H(R) is still {largest:.2g} eV where the k-mesh ends: bands between its points "
                "are not those of PySCF; use a finer k-mesh"
            )
    return Source(
        structure=Structure(lattice * param.BOHR, positions * param.BOHR, orbitals.numbers),
        kpoints=kpoints,
        pairs=pairs,
        vectors=lambda cells: cells @ lattice,
        hamiltonian=exact if local else interpolated,
        density=density,
        provenance=provenance,
        warnings=tuple(warnings),
        kmesh=None if mesh is None or any(mesh[1]) else mesh[0],
    )


def with_kpoints(mf: Any) -> Any:
    """Give an SCF object of a crystal as one with a full list of k-points.

    Parameters
    ----------
    mf : pyscf.pbc.scf.hf.SCF
        With one k-point, with several, or with those that symmetry leaves.

    Returns
    -------
    pyscf.pbc.scf.khf.KSCF
        The object itself if it is one.
    """
    from pyscf.pbc.lib.kpts import KPoints
    from pyscf.pbc.scf.addons import convert_to_kscf
    from pyscf.pbc.scf.khf import KSCF

    if not isinstance(mf, KSCF):
        return convert_to_kscf(mf)
    return mf.to_khf() if isinstance(mf.kpts, KPoints) else mf


def _is_local(mf: Any) -> bool:
    """Whether H(k) at any k follows from the density."""
    numint = getattr(mf, "_numint", None)
    # Of generalised objects PySCF 2.14 evaluates the potential on the SCF mesh only.
    if numint is None or not hasattr(mf, "xc") or mf.istype("KGHF"):
        return False
    return not (numint.libxc.is_hybrid_xc(mf.xc) or mf.do_nlc() or hasattr(mf, "U_idx"))


def _evaluated(mf: Any, kpoints: Float) -> Iterator[NDArray[Any]]:
    """Yield the Fock matrix of the converged density at k-points (1/Bohr), some at a time."""
    density = mf.make_rdm1()
    step = max(8, _BYTES_AT_ONCE // (32 * mf.cell.nao_nr() ** 2))
    for start in range(0, len(kpoints), step):
        some = kpoints[start : start + step]
        core = mf.get_hcore(mf.cell, some)
        potential = mf.get_veff(mf.cell, density, kpts=mf.kpts, kpts_band=some)
        yield np.asarray(core) + np.asarray(potential)


def _fourier(part: NDArray[Any], kpoints: Float, counts: Float, spin: str) -> Term:
    """Give the function from R to 1/N sum_k exp(-2 pi i k.R) O(k), real without spin-orbit."""
    size = part.shape[-1]
    flat = part.reshape(len(kpoints), -1)
    weights = counts / counts.sum()
    real, imaginary = np.ascontiguousarray(flat.real), np.ascontiguousarray(flat.imag)

    def term(cells: Int) -> NDArray[Any]:
        turns = 2 * np.pi * (cells @ kpoints.T)
        cosine, sine = np.cos(turns) * weights, np.sin(turns) * weights
        found = cosine @ real + sine @ imaginary
        if spin == "soc":
            found = found + 1j * (cosine @ imaginary - sine @ real)
        return np.asarray(found.reshape(len(cells), size, size))

    return term


def _weighted(term: Term, pairs: Int, weights: Float, orbitals: Orbitals) -> Term:
    """Multiply the blocks that a function gives by the weights of their pairs."""
    atoms = len(orbitals.numbers)

    def weighted(cells: Int) -> NDArray[Any]:
        factors = np.zeros((len(cells), atoms, atoms))
        for place, cell in enumerate(cells):
            rows = np.flatnonzero((pairs[:, :3] == cell).all(axis=1))
            factors[place, pairs[rows, 3], pairs[rows, 4]] = weights[rows]
        spread = np.repeat(factors, orbitals.sizes, axis=1)
        return np.asarray(term(cells) * np.repeat(spread, orbitals.sizes, axis=2))

    return weighted


def _beyond(
    distance: float,
    lattice: Float,
    positions: Float,
    pairs: Int,
    terms: Sequence[Term],
    orbitals: Orbitals,
) -> float:
    """Give the largest element between atoms that are farther apart than a distance."""
    vectors = positions[pairs[:, 4]] - positions[pairs[:, 3]] + pairs[:, :3] @ lattice
    far = pairs[np.linalg.norm(vectors, axis=1) >= distance]
    if not len(far):
        return 0.0
    return max(
        float(np.abs(assembled(far, orbitals, term).entries).max(initial=0.0)) for term in terms
    )
