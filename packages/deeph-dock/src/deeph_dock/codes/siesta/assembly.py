"""Rows, orbitals and lattice vectors of SIESTA's sparse matrices.

Rows are the orbitals of the cell, columns js those of a supercell: js % N is the orbital, js // N
the image. SIESTA's real harmonics carry (-1)^m relative to those of the format: sign = (-1)^m for
every orbital (p = -y, z, -x).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.siesta.hsx import Hsx, Species
from deeph_dock.orbital_elements import Blocks, Elements, Layout, Pattern, make_pattern

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_AT_ONCE = 2**20
_FARTHEST = 2**15


def orbital_signs(species: Species) -> NDArray[np.int8]:
    """Give (-1)^m of each orbital of a species, m = -l..l inside a shell."""
    return np.concatenate([(-1) ** np.abs(np.arange(-k, k + 1)) for k in species.shells]).astype(
        np.int8
    )


def layout_of(hsx: Hsx) -> Layout:
    """Give the place and sign of each orbital.

    Parameters
    ----------
    hsx : Hsx
        Atoms and orbitals.

    Returns
    -------
    Layout
        The orbitals of an atom stand together and in order.
    """
    per_atom = np.bincount(hsx.atom_of_orbital, minlength=len(hsx.species_of_atom))
    first = (np.cumsum(per_atom) - per_atom)[hsx.atom_of_orbital]
    signs = [orbital_signs(kind) for kind in hsx.species]
    return Layout(
        hsx.atom_of_orbital,
        np.arange(hsx.orbitals) - first,
        np.concatenate([signs[k] for k in hsx.species_of_atom]),
    )


def elements_of(counts: Int, columns: NDArray[np.int32]) -> Elements:
    """Give row, orbital and image of each element.

    Parameters
    ----------
    counts : (N,) int64 array
        Elements of each row.
    columns : (elements,) int32 array
        Column of each element in the supercell.

    Returns
    -------
    Elements
        In the order of the file.
    """
    images, orbitals = np.divmod(columns, np.int32(len(counts)))
    rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    return Elements(rows, orbitals, images)


def complete_pattern(
    hsx: Hsx, elements: Elements, blocks: Blocks, cells: Int, path: Path
) -> Pattern:
    """Find the place of every element; each must be there with row and column exchanged as well.

    Parameters
    ----------
    hsx : Hsx
        Atoms and orbitals.
    elements : Elements
        Where the elements are.
    blocks : Blocks
        The blocks of the elements.
    cells : (P, 3) int64 array
        Lattice vector R of each block.
    path : Path
        The file of the elements.

    Returns
    -------
    Pattern
        Pairs sorted by (R1, R2, R3, i, j).

    Raises
    ------
    InputError
        If a block or an element occurs twice, or without its Hermitian partner.
    """
    pattern = make_pattern(layout_of(hsx), elements, blocks, cells, path)
    full = len(elements) == int((pattern.shapes[:, 0] * pattern.shapes[:, 1]).sum())
    if not full and not pattern.is_symmetric():  # without holes it is
        raise InputError(
            f"{path}: column indices: an element is there without the one with row and column "
            "exchanged; the file is damaged"
        )
    return pattern


def cells_from_vectors(
    hsx: Hsx, blocks: Blocks, vectors: NDArray[np.float32], cell: Float, positions: Float
) -> tuple[Int, float]:
    """Find R of each block from the vectors between its atoms.

    R = (x_ij - tau_j + tau_i) A^-1 must be whole numbers.

    Parameters
    ----------
    hsx : Hsx
        Atoms and orbitals.
    blocks : Blocks
        The blocks of the elements.
    vectors : (elements, 3) array
        r_j + R - r_i of each element, Bohr.
    cell : (3, 3) array
        Lattice vectors as rows, Bohr.
    positions : (n, 3) array
        Bohr.

    Returns
    -------
    cells : (P, 3) int64 array
        R of each block.
    error : float
        Largest difference between a vector of the file and that of its block, Bohr. It is small
        only if cell and positions are those of the file.
    """
    offset = positions[blocks.atoms[:, 1]] - positions[blocks.atoms[:, 0]]
    fractional = np.linalg.solve(cell.T, (vectors[blocks.first] - offset).T).T
    cells = np.rint(fractional.clip(-_FARTHEST, _FARTHEST)).astype(np.int64)
    expected = offset + cells @ cell
    of_elements = blocks.of_elements()
    error = 0.0
    for start in range(0, len(vectors), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        difference = np.abs(vectors[part] - expected[of_elements[part]])
        error = max(error, float(difference.max(initial=0.0)))
    return cells, error


def nearest_cells(blocks: Blocks, cell: Float, positions: Float, reach: Float) -> Int | None:
    """Find R of each block of a run that folded all images into one cell.

    The nearest image is the right one if no second image is within reach.

    Parameters
    ----------
    blocks : Blocks
        The blocks of the elements.
    cell : (3, 3) array
        Lattice vectors as rows, Bohr.
    positions : (n, 3) array
        Bohr.
    reach : (n,) array
        Two atoms a and b may interact up to the distance ``reach[a] + reach[b]``, Bohr.

    Returns
    -------
    (P, 3) int64 array or None
        None if the elements of a block may be sums over several images.
    """
    around = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    offset = positions[blocks.atoms[:, 1]] - positions[blocks.atoms[:, 0]]
    base = -np.rint(np.linalg.solve(cell.T, offset.T).T).astype(np.int64)
    limit = reach[blocks.atoms].sum(axis=1)
    cells: Int = np.empty_like(base)
    step = max(1, _AT_ONCE // len(around))
    for start in range(0, len(base), step):
        part = slice(start, start + step)
        candidates = base[part, None, :] + around
        distance = np.linalg.norm(offset[part, None, :] + candidates @ cell, axis=2)
        second = np.partition(distance, 1, axis=1)[:, 1]
        if (second <= limit[part]).any():
            return None
        cells[part] = np.take_along_axis(
            candidates, np.argmin(distance, axis=1)[:, None, None], axis=1
        )[:, 0]
    return cells
