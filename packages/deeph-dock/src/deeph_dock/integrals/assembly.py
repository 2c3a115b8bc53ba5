"""Matrices of a structure from two-centre integrals, whole or piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.ragged import boundaries_of, scatter
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.integrals.operators import OPERATORS
from deeph_dock.integrals.two_centre import TwoCentre

Int = NDArray[np.int64]
Real = NDArray[np.float64]

PIECE_BYTES = 2**21
"""Bytes of entries in a piece."""


def block_shapes(structure: Structure, integrals: TwoCentre, pairs: Int) -> Int:
    """Give the shapes of the blocks of pairs.

    Parameters
    ----------
    structure : Structure
        The atoms.
    integrals : TwoCentre
        With the bases of its elements.
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.

    Returns
    -------
    (P, 2) int64 array
        Orbitals of i and of j.
    """
    counts = np.zeros(max(integrals.bases) + 1, np.int64)
    for number, basis in integrals.bases.items():
        counts[number] = sum(2 * degree + 1 for degree in basis.degrees)
    shapes = np.empty((len(pairs), 2), np.int64)
    shapes[:, 0] = counts[structure.numbers[pairs[:, 3]]]
    shapes[:, 1] = counts[structure.numbers[pairs[:, 4]]]
    return shapes


def pieces(boundaries: Int, components: int = 1) -> Iterator[slice]:
    """Cut a matrix into runs of blocks of about `PIECE_BYTES`.

    Parameters
    ----------
    boundaries : (P + 1,) int64 array
        Offsets of the blocks.
    components : int
        Of the quantity.

    Yields
    ------
    slice
        Rows of consecutive blocks.
    """
    most = PIECE_BYTES // (8 * components)
    first = 0
    while first < len(boundaries) - 1:
        last = int(np.searchsorted(boundaries, boundaries[first] + most, side="right")) - 1
        last = max(last, first + 1)
        yield slice(first, last)
        first = last


def entries_of(structure: Structure, integrals: TwoCentre, quantity: str, pairs: Int) -> Real:
    """Compute the entries of some blocks.

    Parameters
    ----------
    structure : Structure
        The atoms.
    integrals : TwoCentre
        With the quantity, and with "overlap" for positions.
    quantity : str
        Of `deeph_dock.integrals.operators.OPERATORS`. Positions are those of the format here:
        from the origin of the Cartesian frame, not from the atoms.
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.

    Returns
    -------
    (E,) or (3, E) float64 array
        The blocks one after another.
    """
    numbers = structure.numbers[pairs[:, 3:]]
    shapes = block_shapes(structure, integrals, pairs)
    starts = boundaries_of(shapes)
    components = OPERATORS[quantity].components
    entries = np.empty((components, int(starts[-1])))
    elements = sorted(integrals.bases)
    for first, second in product(elements, elements):
        rows = np.flatnonzero((numbers[:, 0] == first) & (numbers[:, 1] == second))
        if not len(rows):
            continue
        all_of_them = len(rows) == len(pairs)
        stack = np.empty((components, len(rows), *shapes[rows[0]].tolist()))
        if all_of_them:
            stack = entries.reshape(stack.shape)
        _fill(stack, structure, integrals, quantity, (first, second), pairs[rows])
        if not all_of_them:
            scatter(entries, starts[rows], stack)
    return entries if components > 1 else entries[0]


def _fill(
    stack: Real,
    structure: Structure,
    integrals: TwoCentre,
    quantity: str,
    numbers: tuple[int, int],
    pairs: Int,
) -> None:
    """Compute the blocks (C, p, a, b) of pairs of two elements."""
    vectors = structure.pair_vectors(pairs)
    out = stack if len(stack) > 1 else stack[0]
    integrals.blocks(quantity, *numbers, vectors, out=out)
    if quantity == "position":
        centres = structure.positions[pairs[:, 4]] + pairs[:, :3] @ structure.lattice
        overlaps = integrals.blocks("overlap", *numbers, vectors)
        stack += centres.T[:, :, None, None] * overlaps


def compute(
    structure: Structure, integrals: TwoCentre, pairs: Int, quantity: str = "overlap"
) -> BlockMatrix:
    """Compute a matrix in memory.

    Parameters
    ----------
    structure : Structure
        The atoms.
    integrals : TwoCentre
        With the quantity, and with "overlap" for positions.
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.
    quantity : str
        See `entries_of`.

    Returns
    -------
    BlockMatrix
        On these pairs.
    """
    shapes = block_shapes(structure, integrals, pairs)
    entries = entries_of(structure, integrals, quantity, pairs)
    return BlockMatrix(pairs, shapes, boundaries_of(shapes), entries)
