"""Ragged blocks laid one after another in a flat array: offsets, groups, gathering, scattering."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph_spec.errors import InputError

Int = NDArray[np.int64]


def boundaries_of(chunk_shapes: Int) -> Int:
    """Give the offsets of blocks that follow one another without gaps.

    Parameters
    ----------
    chunk_shapes : (P, 2) int64 array
        Rows and columns of each block.

    Returns
    -------
    (P + 1,) int64 array
        Offsets; the last is the number of entries.
    """
    boundaries = np.zeros(len(chunk_shapes) + 1, np.int64)
    np.cumsum(chunk_shapes[:, 0] * chunk_shapes[:, 1], out=boundaries[1:])
    return boundaries


def differing(first: Int, second: Int) -> NDArray[np.bool_]:
    """Tell which of two lists of shapes differ.

    Parameters
    ----------
    first, second : (P, 2) int64 arrays
        Rows and columns of blocks.

    Returns
    -------
    (P,) bool array
        True where they differ. Column by column: reductions over two numbers are slow.
    """
    different: NDArray[np.bool_] = (first[:, 0] != second[:, 0]) | (first[:, 1] != second[:, 1])
    return different


def shape_groups(chunk_shapes: Int) -> list[tuple[Int, tuple[int, int]]]:
    """Group rows of equal shape.

    Parameters
    ----------
    chunk_shapes : (P, 2) int64 array
        Rows and columns of each block.

    Returns
    -------
    list of (rows, (a, b))
        Increasing row numbers of each shape; shapes in increasing order.
    """
    if not len(chunk_shapes):
        return []
    radix = int(chunk_shapes[:, 1].max()) + 1
    keys = chunk_shapes[:, 0] * radix + chunk_shapes[:, 1]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    groups = np.split(order, starts)
    return [(rows, divmod(int(keys[rows[0]]), radix)) for rows in groups]


def gather(entries: NDArray[Any], offsets: Int, height: int, width: int) -> NDArray[Any]:
    """Collect blocks of one shape.

    Parameters
    ----------
    entries : (..., E) array
        Flat entries.
    offsets : (p,) int64 array
        Where each block starts.
    height, width : int
        Shape of the blocks.

    Returns
    -------
    (..., p, height, width) array
        A view when the blocks follow one another, else a copy.
    """
    size, leading = height * width, entries.shape[:-1]
    count = len(offsets)
    if not count or not size:
        return np.zeros((*leading, count, height, width), entries.dtype)
    first = int(offsets[0])
    if np.array_equal(offsets, first + size * np.arange(count)):
        flat = entries[..., first : first + size * count]
    else:
        # One index per block into overlapping windows: no index array of the size of the entries.
        flat = np.lib.stride_tricks.sliding_window_view(entries, size, axis=-1)[..., offsets, :]
    return flat.reshape(*leading, count, height, width)


def scatter(entries: NDArray[Any], offsets: Int, stack: NDArray[Any]) -> None:
    """Put blocks of one shape into their places, the reverse of `gather`.

    Parameters
    ----------
    entries : (..., E) array
        Flat entries, changed in place.
    offsets : (p,) int64 array
        Where each block starts.
    stack : (..., p, a, b) array
        The blocks.
    """
    size = stack.shape[-1] * stack.shape[-2]
    if not len(offsets) or not size:
        return
    windows = np.lib.stride_tricks.sliding_window_view(entries, size, axis=-1, writeable=True)
    windows[..., offsets, :] = stack.reshape(*stack.shape[:-2], size)


def shapes_from_atoms(pairs: Int, shapes: Int, wanted: Int) -> Int:
    """Give block shapes of other pairs of the same atoms.

    Parameters
    ----------
    pairs : (P, 5) int64 array
        Pairs that are known.
    shapes : (P, 2) int64 array
        Their block shapes.
    wanted : (Q, 5) int64 array
        Pairs whose shapes are wanted.

    Returns
    -------
    (Q, 2) int64 array
        Rows of atom i, columns of atom j.

    Raises
    ------
    InputError
        If an atom occurs in no known pair.
    """
    highest = max((int(rows[:, 3:].max()) for rows in (pairs, wanted) if len(rows)), default=-1)
    sizes = np.zeros(highest + 1, np.int64)
    sizes[pairs[:, 4]] = shapes[:, 1]
    sizes[pairs[:, 3]] = shapes[:, 0]
    found = sizes[wanted[:, 3:]]
    if not found.all():
        atom = int(wanted[:, 3:][found == 0][0])
        raise InputError(f"the block size of atom {atom} is not known: no pair of it is stored")
    return found
