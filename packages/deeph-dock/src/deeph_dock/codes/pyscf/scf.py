"""From an SCF object to a `Calculation`: what molecules and crystals have in common.

The kind of the object decides on the spin: restricted is "none", unrestricted "collinear",
generalised "soc". Restricted open shells (molecules) are "none": H is the effective Fock matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.pyscf.integrals import assembled, image_integrals
from deeph_dock.codes.pyscf.orbitals import Orbitals, read_orbitals
from deeph_dock.spin_blocks import collinear, spinor

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Term = Callable[[Int], NDArray[Any]]

_PARTIAL = 1e-3
"""Occupations of a spin orbital farther than this from 0 and 1 are partial."""
_UNSYMMETRIC = 1e-6  # Hartree


@dataclass(frozen=True, eq=False)
class Source:
    """What molecules and crystals give each in its own way; energies in Hartree.

    Attributes
    ----------
    structure : Structure
    kpoints : (K, 3) fractional
    pairs : callable
        Pairs of S, rho and r.
    vectors : callable
        Takes lattice vectors (n, 3), gives them in Bohr.
    hamiltonian, density : callable
        Give the pairs, and a function from lattice vectors to (n, N, N) for each spin part.
    provenance : dict
    warnings : tuple of str
    kmesh : three int or None
    """

    structure: Structure
    kpoints: Float
    pairs: Callable[[], Int]
    vectors: Callable[[Int], Float]
    hamiltonian: Callable[[], tuple[Int, list[Term]]]
    density: Callable[[], list[Term]]
    provenance: dict[str, Any]
    warnings: tuple[str, ...] = ()
    kmesh: tuple[int, int, int] | None = None


def calculation(mf: Any, smallest_overlap: float) -> Calculation:
    """Give the matrices of an SCF object, see `deeph_dock.codes.pyscf.from_scf`.

    Parameters
    ----------
    mf : pyscf.scf.hf.SCF
        It must have run.
    smallest_overlap : float
        Two atoms of a crystal have a block if their orbitals can overlap by this much.

    Returns
    -------
    Calculation
        Whose matrices are computed when they are called.

    Raises
    ------
    InputError
        If it cannot be written in the format.
    """
    from pyscf import __version__
    from pyscf.data.nist import HARTREE2EV
    from pyscf.lib import param

    _check(mf)
    if _is_periodic(mf):
        from deeph_dock.codes.pyscf.crystals import with_kpoints

        mf = with_kpoints(mf)
    orbitals = read_orbitals(mf.mol)
    spin = spin_of(mf)
    if _is_periodic(mf):
        from deeph_dock.codes.pyscf.crystals import crystal

        source = crystal(mf, orbitals, spin, smallest_overlap)
    else:
        from deeph_dock.codes.pyscf.molecules import molecule

        source = molecule(mf, orbitals, spin)

    def overlap_term(operator: str, factor: float) -> Term:
        def term(cells: Int) -> NDArray[Any]:
            found = image_integrals(mf.mol, operator, source.vectors(cells))
            return orbitals.arranged(found) * factor

        return term

    def hamiltonian() -> BlockMatrix:
        pairs, parts = source.hamiltonian()
        return _with_spin(pairs, orbitals, parts, spin, HARTREE2EV)

    def density() -> BlockMatrix:
        return _with_spin(source.pairs(), orbitals, source.density(), spin, 1.0)

    def overlap() -> BlockMatrix:
        return assembled(source.pairs(), orbitals, overlap_term("int1e_ovlp", 1.0))

    def position() -> BlockMatrix:
        return assembled(source.pairs(), orbitals, overlap_term("int1e_r", param.BOHR), 3)

    energies = _energies(mf, spin, len(source.kpoints)) * HARTREE2EV
    warnings = [*source.warnings]
    level = _level(mf, spin, energies, HARTREE2EV) if mf.converged else None
    channels = 2 if spin == "soc" else 1
    eigenvalues = None
    if energies.shape[2] == channels * int(orbitals.starts[-1]):
        reference = Eigenvalues(source.kpoints, energies, level, source.kmesh)

        def eigenvalues() -> Eigenvalues:
            return reference

    else:
        warnings.append(
            f"PySCF left out {channels * int(orbitals.starts[-1]) - energies.shape[2]} nearly "
            "dependent orbitals: its eigenvalues cannot be compared with those of H and S"
        )
    if _is(mf, "ROHF"):
        warnings.append(
            "restricted open shell: H is Roothaan's effective Fock matrix, without spin"
        )
    return Calculation(
        source.structure,
        SystemInfo.for_structure(
            source.structure,
            orbitals.orbital_map,
            spin=spin,
            fermi_level=level,
            occupation=float(mf.mol.nelectron) or None,
            provenance={
                "code": "PySCF",
                "code_version": __version__,
                "energy_unit": HARTREE2EV,
                "length_unit": param.BOHR,
                "source_dtype": "float64",
                **_settings(mf, HARTREE2EV),
                **source.provenance,
            },
        ),
        {
            "overlap": overlap,
            "hamiltonian": hamiltonian,
            "density_matrix": density,
            "position_matrix": position,
        },
        eigenvalues,
        tuple(warnings),
        "" if mf.converged else "PySCF's SCF did not converge",
    )


def spin_of(mf: Any) -> str:
    """Give the spin of an SCF object: "none", "collinear" or "soc"."""
    if _is(mf, "GHF"):
        return "soc"
    return "collinear" if _is(mf, "UHF") else "none"


def _is(mf: Any, kind: str) -> bool:
    """Whether an object is of a kind such as "UHF", with or without k-points."""
    return bool(mf.istype(kind) or mf.istype(f"K{kind}"))


def _is_periodic(mf: Any) -> bool:
    return getattr(mf, "cell", None) is not None


def _check(mf: Any) -> None:
    """Refuse what is no SCF object, has not run, or is of an unknown kind."""
    from pyscf.scf.hf import SCF

    if not isinstance(mf, SCF):
        raise InputError(
            f"from_scf: expected an SCF object of PySCF such as dft.RKS(mol), found "
            f"{type(mf).__name__}"
        )
    if mf.mo_coeff is None:
        raise InputError("from_scf: the SCF object has not run; call mf.kernel() first")
    known = ("GHF", "UHF", "ROHF", "RHF")
    if not any(_is(mf, kind) for kind in known) or mf.istype("DHF"):
        raise InputError(
            f"from_scf: {type(mf).__name__} is not supported; known are RHF, UHF, ROHF, GHF and "
            "their Kohn-Sham forms"
        )
    if _is_periodic(mf) and _is(mf, "ROHF"):
        raise InputError(
            f"from_scf: {type(mf).__name__} of crystals is not supported; use KUKS or KRKS"
        )


def _with_spin(
    pairs: Int, orbitals: Orbitals, parts: Sequence[Term], spin: str, factor: float
) -> BlockMatrix:
    """Assemble the spin parts of a matrix, one or two or four, and put them together."""
    made = [assembled(pairs, orbitals, part) for part in parts]
    made = [matrix.with_entries(matrix.entries * factor) for matrix in made]
    if spin == "none":
        return made[0]
    if spin == "collinear":
        return collinear(made[0], made[1])
    return spinor(made[0], made[1], made[2], made[3])


def spin_parts(matrix: NDArray[Any], spin: str, orbitals: Orbitals) -> list[NDArray[Any]]:
    """Split PySCF's matrix into spin parts.

    Parameters
    ----------
    matrix : (..., N, N), (2, ..., N, N) or (..., 2N, 2N) array
        Without spin; up and down; between spinors, up first.
    spin : str
        "none", "collinear" or "soc".
    orbitals : Orbitals
        Their order.

    Returns
    -------
    list of (..., N, N) arrays
        One; up, down; uu, ud, du, dd. In the order of the format.
    """
    matrix = np.asarray(matrix)
    if spin == "none":
        return [orbitals.arranged(matrix)]
    if spin == "collinear":
        return [orbitals.arranged(matrix[0]), orbitals.arranged(matrix[1])]
    half = matrix.shape[-1] // 2
    sides = (slice(half), slice(half, None))
    full = matrix.astype(np.complex128)
    return [orbitals.arranged(full[..., a, b]) for a in sides for b in sides]


def real_if_real(parts: list[NDArray[Any]], spin: str) -> list[NDArray[Any]]:
    """Drop imaginary parts that are zero; refuse others where there is no spin-orbit coupling."""
    if spin == "soc":
        return parts
    for part in parts:
        worst = float(np.abs(np.imag(part)).max(initial=0.0))
        if worst > _UNSYMMETRIC:
            raise InputError(
                f"the Fock or density matrix of a calculation without spin-orbit coupling is "
                f"complex (up to {worst:.2g} Hartree); the format has real matrices there"
            )
    return [np.ascontiguousarray(np.real(part)) for part in parts]


def _energies(mf: Any, spin: str, kpoints: int) -> Float:
    """Give the orbital energies (S, K, bands), ascending; the fewest that every k-point has."""
    channels = 2 if spin == "collinear" else 1
    lists = [np.asarray(row, dtype=np.float64) for row in _rows(mf, mf.mo_energy, channels)]
    bands = min(map(len, lists))
    rows = np.array([np.sort(row)[:bands] for row in lists])
    return rows.reshape(channels, kpoints, bands)


def _rows(mf: Any, values: Any, channels: int) -> list[Any]:
    """Give what PySCF keeps for each spin and k-point as one list."""
    per_spin = [values] if channels == 1 else list(values)
    if not _is_periodic(mf):
        return per_spin
    return [row for own in per_spin for row in own]


def _level(mf: Any, spin: str, energies: Float, hartree: float) -> float | None:
    """Give the Fermi level, eV: the middle of the gap, or the level of partial occupations."""
    channels = 2 if spin == "collinear" else 1
    rows = zip(_rows(mf, mf.mo_energy, channels), _rows(mf, mf.mo_occ, channels), strict=True)
    flat = [(np.asarray(e, dtype=np.float64), np.asarray(f, dtype=np.float64)) for e, f in rows]
    energy = np.concatenate([e for e, _ in flat]) * hartree
    filling = np.concatenate([f for _, f in flat])
    if _is(mf, "ROHF"):  # 2, 1 or 0: the singly occupied ones are filled
        filling = (filling > 0).astype(np.float64)
    elif spin == "none":
        filling = filling / 2
    width = float(getattr(mf, "sigma", 0.0) or 0.0) * hartree
    partial = (filling > _PARTIAL) & (filling < 1 - _PARTIAL)
    if partial.any():
        at = int(np.argmin(np.where(partial, np.abs(filling - 0.5), np.inf)))
        if width <= 0:
            return float(energy[at])
        f = filling[at]
        if str(getattr(mf, "smearing_method", "fermi")).lower().startswith("fermi"):
            return float(energy[at] + width * np.log(f / (1 - f)))
        from scipy.special import erfcinv

        return float(energy[at] - width * erfcinv(2 * f))
    full = filling > 0.5
    if not full.any():
        return None
    top = float(energy[full].max())
    return top if full.all() else (top + float(energy[~full].min())) / 2


def _settings(mf: Any, hartree: float) -> dict[str, Any]:
    """Give what provenance says of the method."""
    mol = mf.mol
    found: dict[str, Any] = {
        "functional": str(getattr(mf, "xc", "HF")),
        "scf_converged": bool(mf.converged),
        "total_energy_eV": float(mf.e_tot) * hartree,
        "basis": _names(mol, mol.basis),
    }
    for name, given in (("pseudopotentials", getattr(mol, "pseudo", None)), ("ecp", mol.ecp)):
        named = _names(mol, given)
        if named:
            found[name] = named
    if mol.charge:
        found["charge"] = int(mol.charge)
    if getattr(mf, "sigma", None):
        found["electronic_temperature_eV"] = float(mf.sigma) * hartree
        method = str(mf.smearing_method).lower()
        found["smearing"] = "fermi-dirac" if method.startswith("fermi") else method
    return found


def _names(mol: Any, given: Any) -> dict[str, str]:
    """Give the name of the basis or pseudopotential of each element, as far as it has one."""
    elements = sorted({mol.atom_pure_symbol(atom) for atom in range(mol.natm)})
    if isinstance(given, str):
        return {element: given for element in elements} if given else {}
    if not isinstance(given, Mapping):
        return {}
    names = {}
    for element in elements:
        value = given.get(element, given.get("default"))
        if value is not None:
            names[element] = value if isinstance(value, str) else "own"
    return names
