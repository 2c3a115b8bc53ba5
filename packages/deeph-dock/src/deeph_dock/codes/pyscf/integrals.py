"""One-electron integrals between orbitals of the cell and of its images, and who reaches whom.

<phi_i0 | O | phi_jR> for O = 1 or r is an integral over two Gaussian functions at two places. It is
taken from libcint for each R by itself: no lattice sum has to be undone, and S obeys the two-centre
rule to machine precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.ragged import boundaries_of, scatter, shape_groups
from numpy.typing import NDArray

from deeph_dock.codes.pyscf.orbitals import Orbitals

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_COORDINATES = 1  # column of mol._atm
_ORIGIN = slice(1, 4)  # of mol._env: origin of r
_BYTES_AT_ONCE = 128 * 2**20
_STEP = 0.25  # Bohr
_FARTHEST = 80.0  # Bohr: no sensible orbital reaches farther


def image_integrals(mol: Any, operator: str, vectors: Float) -> NDArray[np.float64]:
    """Integrate between the atoms as they are and those moved by some vectors.

    Parameters
    ----------
    mol : pyscf.gto.Mole or pyscf.pbc.gto.Cell
        Built.
    operator : str
        "int1e_ovlp" or "int1e_r", the latter with the origin of the coordinates.
    vectors : (n, 3) array
        Bohr.

    Returns
    -------
    (n, N, N) or (3, n, N, N) array
        In PySCF's order of orbitals and in its units.
    """
    from pyscf.gto.moleintor import getints

    atoms, shells, images = mol.natm, mol.nbas, len(vectors)
    env = mol._env.copy()
    env[_ORIGIN] = 0.0
    moved = (mol.atom_coords()[None] + vectors[:, None]).reshape(-1, 3)
    atm = np.tile(mol._atm, (1 + images, 1))
    atm[atoms:, _COORDINATES] = len(env) + 3 * np.arange(images * atoms)
    bas = np.tile(mol._bas, (1 + images, 1))
    bas[:, 0] += atoms * np.repeat(np.arange(1 + images), shells)
    env = np.concatenate([env, moved.ravel()])
    slices = (0, shells, shells, shells * (1 + images))
    found = getints(f"{operator}_sph", atm, bas, env, shls_slice=slices)
    size = found.shape[-2]
    found = found.reshape(*found.shape[:-1], images, size)
    return np.asarray(np.moveaxis(found, -2, -3))


def reaches(mol: Any, orbitals: Orbitals, smallest: float) -> dict[tuple[int, int], float]:
    """Find the distance at which two elements stop overlapping.

    It depends on the bases alone, so that all structures of a dataset follow one rule.

    Parameters
    ----------
    mol : pyscf.gto.Mole or pyscf.pbc.gto.Cell
        Built.
    orbitals : Orbitals
        Of it.
    smallest : float
        Overlap below which two orbitals count as apart.

    Returns
    -------
    dict
        For each two atomic numbers, both ways, the distance in Bohr beyond which all overlaps are
        smaller.
    """
    from pyscf.gto.moleintor import getints

    distances = np.arange(_STEP, _FARTHEST + _STEP, _STEP)
    along = np.zeros((len(distances), 3))
    along[:, 2] = distances
    elements = {int(number): atom for atom, number in enumerate(orbitals.numbers)}
    found: dict[tuple[int, int], float] = {}
    for first, one in elements.items():
        for second, other in elements.items():
            if (second, first) in found:
                found[first, second] = found[second, first]
                continue
            own = [mol._bas[mol._bas[:, 0] == atom].copy() for atom in (one, other)]
            own[0][:, 0], own[1][:, 0] = 0, 1
            count = len(distances)
            env = np.concatenate([mol._env, np.zeros(3), along.ravel()])
            atm = np.repeat(mol._atm[[one, other]], [1, count], axis=0)
            atm[:, _COORDINATES] = len(mol._env) + 3 * np.arange(1 + count)
            images = np.tile(own[1], (count, 1))
            images[:, 0] = 1 + np.repeat(np.arange(count), len(own[1]))
            bas = np.concatenate([own[0], images])
            slices = (0, len(own[0]), len(own[0]), len(bas))
            overlaps = getints("int1e_ovlp_sph", atm, bas, env, shls_slice=slices)
            largest = np.abs(overlaps).reshape(len(overlaps), count, -1).max(axis=(0, 2))
            last = np.flatnonzero(largest >= smallest)
            found[first, second] = float(distances[last[-1]]) if len(last) else 0.0
    return found


def near_pairs(
    lattice: Float, positions: Float, numbers: Int, reach: dict[tuple[int, int], float], axes: int
) -> Int:
    """List the pairs of atoms within reach of each other.

    Parameters
    ----------
    lattice, positions : (3, 3), (n, 3) arrays
        Any unit of length.
    numbers : (n,) array
        Atomic numbers.
    reach : dict
        Distance for each two atomic numbers.
    axes : int
        Number of periodic directions, the first ones.

    Returns
    -------
    (P, 5) int64 array
        R1, R2, R3, i, j, sorted, closed under (-R, j, i), every atom with itself included.
    """
    farthest = max(reach.values())
    inverse = np.linalg.inv(lattice)
    fractional = positions @ inverse
    spread = np.ptp(fractional, axis=0)
    most = np.ceil(farthest * np.linalg.norm(inverse, axis=0) + spread).astype(np.int64)
    most[axes:] = 0
    steps = [np.arange(-m, m + 1) for m in most.tolist()]
    cells = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    limits = np.array([[reach[a, b] for b in numbers.tolist()] for a in numbers.tolist()])
    limits += 1e-6  # so that a pair and its partner never differ
    offsets = positions[None, :] - positions[:, None]  # tau_j - tau_i
    pairs = []
    step = max(1, _BYTES_AT_ONCE // (48 * len(numbers) ** 2))
    for start in range(0, len(cells), step):
        some = cells[start : start + step]
        vectors = offsets[None] + (some @ lattice)[:, None, None]
        near = np.linalg.norm(vectors, axis=-1) <= limits
        near |= (some == 0).all(axis=1)[:, None, None] & np.eye(len(numbers), dtype=bool)
        at, i, j = np.nonzero(near)
        pairs.append(np.column_stack([some[at], i, j]))
    return np.concatenate(pairs).astype(np.int64)


def assembled(
    pairs: Int, orbitals: Orbitals, term: Callable[[Int], NDArray[Any]], parts: int = 1
) -> BlockMatrix:
    """Make a matrix from its full matrices for each lattice vector.

    Parameters
    ----------
    pairs : (P, 5) int64 array
        Sorted.
    orbitals : Orbitals
        Places of the atoms' orbitals.
    term : callable
        Takes lattice vectors (n, 3), gives full matrices (n, N, N) or (3, n, N, N) in the order of
        the format.
    parts : int
        Matrices that are in memory for each lattice vector.

    Returns
    -------
    BlockMatrix
        The blocks of the pairs.
    """
    sizes, starts = orbitals.sizes, orbitals.starts
    shapes = sizes[pairs[:, 3:]]
    boundaries = boundaries_of(shapes)
    entries: NDArray[Any] | None = None
    for cells, rows, cell_of_row in _batches(pairs, int(starts[-1]), parts):
        full = term(cells)
        if entries is None:
            entries = np.zeros((*full.shape[:-3], int(boundaries[-1])), full.dtype)
        for members, (height, width) in shape_groups(shapes[rows]):
            chosen = rows.start + members
            left = starts[pairs[chosen, 3]][:, None, None] + np.arange(height)[:, None]
            right = starts[pairs[chosen, 4]][:, None, None] + np.arange(width)
            stack = full[..., cell_of_row[members][:, None, None], left, right]
            scatter(entries, boundaries[chosen], stack)
    assert entries is not None
    return BlockMatrix(pairs, shapes, boundaries, entries)


def _batches(pairs: Int, size: int, parts: int) -> Iterator[tuple[Int, slice, Int]]:
    """Yield lattice vectors, the rows of their pairs, and the place of each row's vector."""
    cells, first = np.unique(pairs[:, :3], axis=0, return_index=True)
    ends = np.append(first, len(pairs))
    step = max(1, _BYTES_AT_ONCE // (16 * parts * size**2))
    for start in range(0, len(cells), step):
        stop = min(start + step, len(cells))
        rows = slice(int(ends[start]), int(ends[stop]))
        counts = np.diff(ends[start : stop + 1])
        yield cells[start:stop], rows, np.repeat(np.arange(stop - start), counts)
