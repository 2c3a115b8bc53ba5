"""From the elements of sparse matrices over orbitals to blocks over atoms.

Codes write H and S as sparse matrices over the orbitals of the cell (rows) and of its images
(columns). For element e in row io of the cell and column jo of image R,

    block (R, atom of io, atom of jo) [place of io, place of jo] = sign(io) sign(jo) value(e)

where place and sign bring the orbitals of an atom into the order of the format. Everything is done
on whole arrays; only runs of neighbouring elements of one block and row, about a tenth of the
elements, are sorted. Memory: about 20 bytes an element besides the values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.pairs import encode, partner_rows, partners
from numpy.typing import NDArray

Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Layout:
    """Where each row of a code's matrix goes in the blocks of its atom.

    Attributes
    ----------
    atoms : (N,) int64
        Atom of each row; the rows of an atom need not stand together.
    places : (N,) int64
        Row in the block of that atom.
    signs : (N,) int8
        1 or -1.
    """

    atoms: Int
    places: Int
    signs: NDArray[np.int8]

    @property
    def sizes(self) -> Int:
        """Rows of each atom, (n,)."""
        return np.bincount(self.atoms)


@dataclass(frozen=True, eq=False)
class Elements:
    """Where the elements of a sparse matrix are; neighbours in the file are neighbours here.

    Attributes
    ----------
    rows, columns : (elements,) int32
        Orbital of the cell, and orbital of the image.
    images : (elements,) int32
        Number of the image in which the column is.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    images: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)


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
    of_run : (r,) int64
        Block of each run of neighbouring elements.
    run_lengths : (r,) int64
        Elements of each run.
    """

    images: Int
    atoms: Int
    first: Int
    of_run: Int
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
        R1, R2, R3, i, j, sorted, closed under (-R, j, i).
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

    def fill(self, values: NDArray[Any], unit: float = 1.0) -> BlockMatrix:
        """Make a matrix of elements.

        Parameters
        ----------
        values : (elements,) array
            Real or complex, in the order of the file.
        unit : float
            Factor to the unit of the format.

        Returns
        -------
        BlockMatrix
            In the precision of the values.
        """
        matrix = BlockMatrix.zeros(self.pairs, self.shapes, values.dtype)
        exact = np.complex128 if np.iscomplexobj(values) else np.float64
        scaled = np.multiply(values, self.signs, dtype=exact)  # so that it is rounded once
        if unit != 1.0:
            scaled *= unit
        matrix.entries[self.places] = scaled
        return matrix

    def is_symmetric(self) -> bool:
        """Tell whether every element is there with row and column exchanged as well."""
        filled = BlockMatrix.zeros(self.pairs, self.shapes, np.int8)
        filled.entries[self.places] = 1
        return filled.hermitian_error()[0] == 0


def find_blocks(atoms: Int, elements: Elements) -> Blocks:
    """Find the blocks that the elements belong to.

    Parameters
    ----------
    atoms : (N,) int64 array
        Atom of each orbital of the cell.
    elements : Elements
        At least one; indices inside their ranges.

    Returns
    -------
    Blocks
        In the order of (image, first atom, second atom).
    """
    count = int(atoms.max()) + 1
    second = atoms.astype(np.int32)[elements.columns]
    new = np.empty(len(elements), dtype=bool)
    new[0] = True
    np.not_equal(second[1:], second[:-1], out=new[1:])
    new[1:] |= elements.rows[1:] != elements.rows[:-1]
    new[1:] |= elements.images[1:] != elements.images[:-1]
    heads = np.flatnonzero(new)
    image = elements.images[heads].astype(np.int64)
    keys = (image * count + atoms[elements.rows[heads]]) * count + second[heads]
    unique, first, of_run = _unique(keys)
    return Blocks(
        images=unique // count**2,
        atoms=np.stack([unique // count % count, unique % count], axis=1),
        first=heads[first],
        of_run=of_run,
        run_lengths=np.diff(heads, append=len(elements)),
    )


def _unique(keys: Int) -> tuple[Int, Int, Int]:
    """Do `np.unique` with index and inverse, by a table where the keys are dense."""
    span = int(keys.max()) + 1
    if span > 8 * len(keys):
        return np.unique(keys, return_index=True, return_inverse=True)
    first = np.full(span, -1)
    first[keys[::-1]] = np.arange(len(keys))[::-1]  # the last to write is the first of its key
    unique = np.flatnonzero(first >= 0)
    number = np.zeros(span, dtype=np.int64)
    number[unique] = np.arange(len(unique))
    return unique, first[unique], number[keys]


def make_pattern(
    layout: Layout, elements: Elements, blocks: Blocks, cells: Int, path: Path
) -> Pattern:
    """Put the blocks in order and find the place of every element.

    Parameters
    ----------
    layout : Layout
        Place of each orbital.
    elements : Elements
        Where the elements are.
    blocks : Blocks
        The blocks of the elements.
    cells : (P, 3) int64 array
        Lattice vector R of each block.
    path : Path
        The file, for messages.

    Returns
    -------
    Pattern
        Pairs sorted by (R1, R2, R3, i, j); partners that no element has are added.

    Raises
    ------
    InputError
        If a block or an element occurs twice.
    """
    own = np.concatenate([cells, blocks.atoms], axis=1)
    lonely = partner_rows(own) < 0
    pairs = np.concatenate([own, partners(own[lonely])]) if lonely.any() else own
    (keys,) = encode(pairs)
    order = np.argsort(keys, kind="stable")
    pairs = pairs[order]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    shapes = layout.sizes[pairs[:, 3:]]
    if (keys[order][1:] == keys[order][:-1]).any():
        raise InputError(
            f"{path}: lattice vectors: two images fall on one lattice vector; the file is damaged"
        )
    empty = BlockMatrix.zeros(pairs, shapes, np.int8)
    starts, widths = empty.chunk_boundaries[:-1], shapes[:, 1]
    of_run = rank[blocks.of_run]
    heads = np.cumsum(blocks.run_lengths) - blocks.run_lengths
    base = starts[of_run] + layout.places[elements.rows[heads]] * widths[of_run]
    places = np.repeat(base, blocks.run_lengths)
    places += layout.places[elements.columns]
    filled = empty.entries
    filled[places] = 1
    if np.count_nonzero(filled) != len(places):
        raise InputError(
            f"{path}: row and column indices: an element occurs twice; the file is damaged"
        )
    signs = layout.signs[elements.rows] * layout.signs[elements.columns]
    return Pattern(pairs, shapes, places, signs)
