"""From sparse rows over orbitals to blocks over atoms.

For element e in row io and column js, with jo = js % N the orbital and js // N the image,

    block (R, atom of io, atom of jo) [orbital of io in its atom, orbital of jo in its atom]
        += sign(io) * sign(jo) * value(e)

SIESTA's real harmonics carry (-1)^m relative to those of the format: sign = (-1)^m for every
orbital (p = -y, z, -x). Everything is done on whole arrays; only runs of neighbouring elements of
one block, about a tenth of the elements, are sorted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.siesta.hsx import Hsx, Species

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_AT_ONCE = 2**20
_FARTHEST = 2**15


@dataclass(frozen=True, eq=False)
class Blocks:
    """Which blocks occur, and the block of each element.

    Attributes
    ----------
    images : (P,) int64
        Image of the cell in which the second atom of the block is.
    atoms : (P, 2) int64
        The two atoms.
    first : (P,) int64
        One element of the block.
    of_run, row_of_run : (r,) int64
        Block and row of each run of neighbouring elements.
    run_lengths : (r,) int64
        Elements of each run.
    """

    images: Int
    atoms: Int
    first: Int
    of_run: Int
    row_of_run: Int
    run_lengths: Int

    def of_elements(self) -> Int:
        """Give the block of every element, (elements,)."""
        return np.repeat(self.of_run, self.run_lengths)


@dataclass(frozen=True, eq=False)
class Pattern:
    """The blocks in the order of the format, and where each element goes.

    Attributes
    ----------
    pairs : (P, 5) int64
        R1, R2, R3, i, j.
    shapes : (P, 2) int64
        Rows and columns of each block.
    places : (elements,) int64
        Position of each element among the entries.
    signs : (elements,) int8
        Sign of each element.
    """

    pairs: Int
    shapes: Int
    places: Int
    signs: NDArray[np.int8]

    def fill(self, values: NDArray[Any], unit: float) -> BlockMatrix:
        """Make a matrix of elements.

        Parameters
        ----------
        values : (elements,) array
            In the order of the file.
        unit : float
            Factor to the unit of the format.

        Returns
        -------
        BlockMatrix
            In the precision of the values.
        """
        matrix = BlockMatrix.zeros(self.pairs, self.shapes, values.dtype)
        scaled = np.multiply(values, self.signs, dtype=np.float64)  # so that it is rounded once
        scaled *= unit
        matrix.entries[self.places] = scaled
        return matrix


def orbital_signs(species: Species) -> NDArray[np.int8]:
    """Give (-1)^m of each orbital of a species, m = -l..l inside a shell."""
    return np.concatenate([(-1) ** np.abs(np.arange(-k, k + 1)) for k in species.shells]).astype(
        np.int8
    )


def find_blocks(hsx: Hsx, columns: NDArray[np.int32]) -> Blocks:
    """Find the blocks that the elements belong to.

    Parameters
    ----------
    hsx : Hsx
        Atoms and orbitals.
    columns : (elements,) int32 array
        Column of each element in the supercell.

    Returns
    -------
    Blocks
        In the order of (image, first atom, second atom).
    """
    atoms = len(hsx.species_of_atom)
    atom_of_column = hsx.atom_of_orbital + atoms * np.arange(hsx.images)[:, None]
    target = atom_of_column.ravel().astype(np.int32)[columns]  # image * atoms + second atom
    starts = np.cumsum(hsx.counts) - hsx.counts
    new = np.empty(len(columns), dtype=bool)
    new[0] = True
    np.not_equal(target[1:], target[:-1], out=new[1:])
    new[starts] = True
    heads = np.flatnonzero(new)
    rows = np.searchsorted(starts, heads, side="right") - 1
    image, second = np.divmod(target[heads].astype(np.int64), atoms)
    keys = (image * atoms + hsx.atom_of_orbital[rows]) * atoms + second
    unique, first, of_run = np.unique(keys, return_index=True, return_inverse=True)
    return Blocks(
        images=unique // atoms**2,
        atoms=np.stack([unique // atoms % atoms, unique % atoms], axis=1),
        first=heads[first],
        of_run=of_run,
        row_of_run=rows,
        run_lengths=np.diff(heads, append=len(columns)),
    )


def make_pattern(hsx: Hsx, columns: NDArray[np.int32], blocks: Blocks, cells: Int) -> Pattern:
    """Put the blocks in order and find the place of every element.

    Parameters
    ----------
    hsx : Hsx
        Atoms and orbitals.
    columns : (elements,) int32 array
        Column of each element in the supercell.
    blocks : Blocks
        The blocks of the elements.
    cells : (P, 3) int64 array
        Lattice vector R of each block.

    Returns
    -------
    Pattern
        Pairs sorted by (R1, R2, R3, i, j).

    Raises
    ------
    InputError
        If a block or an element occurs twice, or without its Hermitian partner.
    """
    pairs = np.concatenate([cells, blocks.atoms], axis=1)
    order = np.lexsort(pairs.T[::-1])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    pairs = pairs[order]
    per_atom = np.bincount(hsx.atom_of_orbital, minlength=len(hsx.species_of_atom))
    shapes = per_atom[pairs[:, 3:]]
    empty = BlockMatrix.zeros(pairs, shapes, np.int8)
    if (pairs[1:] == pairs[:-1]).all(axis=1).any() or (empty.partner_rows() < 0).any():
        raise InputError(
            f"{hsx.path}: column indices: two images fall on one lattice vector, or a pair of "
            "atoms has no partner (-R, j, i); the file is damaged"
        )
    within = np.arange(hsx.orbitals) - (np.cumsum(per_atom) - per_atom)[hsx.atom_of_orbital]
    run_block = rank[blocks.of_run]
    row_starts = within[blocks.row_of_run] * shapes[run_block, 1]
    places = np.repeat(empty.chunk_boundaries[run_block] + row_starts, blocks.run_lengths)
    places += np.tile(within, hsx.images)[columns]
    filled = empty.entries
    filled[places] = 1
    if np.count_nonzero(filled) != len(places) or empty.hermitian_error()[0] != 0:
        raise InputError(
            f"{hsx.path}: column indices: an element occurs twice, or without the one with row and "
            "column exchanged; the file is damaged"
        )
    signs = np.concatenate([orbital_signs(hsx.species[k]) for k in hsx.species_of_atom])
    return Pattern(
        pairs, shapes, places, np.repeat(signs, hsx.counts) * np.tile(signs, hsx.images)[columns]
    )


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
    cells = np.empty_like(base)
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
