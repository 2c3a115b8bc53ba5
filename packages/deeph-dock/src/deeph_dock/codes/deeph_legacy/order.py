"""The order of orbitals in legacy folders, which is that of OpenMX.

p: x, y, z; d: z2, x2-y2, xy, xz, yz; f: z3, xz2, yz2, z(x2-y2), xyz, x(x2-3y2), y(3x2-y2); beyond
it m = 0, 1, -1, 2, -2, ... There are no signs, so that the way there and back changes no bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.orbitals import shell_offsets
from numpy.typing import NDArray

Int = NDArray[np.int64]

_OF_SHELL = {1: [1, 2, 0], 2: [2, 4, 0, 3, 1]}


def legacy_rows(shells: Sequence[int]) -> Int:
    """Give the legacy row of each row of the format.

    Parameters
    ----------
    shells : sequence of int
        l of each shell.

    Returns
    -------
    (n,) int64 array
        Row i of the format is row ``legacy_rows(shells)[i]`` of a legacy block.
    """
    starts = shell_offsets(shells)[:-1]
    parts = []
    for degree, start in zip(shells, starts.tolist(), strict=True):
        falling, rising = range(2 * degree, -1, -2), range(1, 2 * degree, 2)
        parts.append(start + np.array(_OF_SHELL.get(degree, [*falling, *rising])))
    return np.concatenate(parts)


def reordered(matrix: BlockMatrix, numbers: Int, rows_of_element: Mapping[int, Int]) -> BlockMatrix:
    """Put the rows and columns of every block into another order.

    Parameters
    ----------
    matrix : BlockMatrix
        With or without spin; also a position matrix.
    numbers : (n,) int64 array
        Atomic number of each atom.
    rows_of_element : mapping
        For each atomic number the old row of each new row, without spin.

    Returns
    -------
    BlockMatrix
        On the same pairs.
    """
    kinds = numbers[matrix.atom_pairs[:, 3:]]
    groups = []
    for rows, stack in matrix.by_shape():
        for first, second in np.unique(kinds[rows], axis=0).tolist():
            here = np.flatnonzero((kinds[rows] == (first, second)).all(axis=1))
            left = _with_spin(rows_of_element[first], stack.shape[-2])
            right = _with_spin(rows_of_element[second], stack.shape[-1])
            groups.append((rows[here], stack[..., here, :, :][..., left, :][..., right]))
    return BlockMatrix.from_stacks(matrix.atom_pairs, matrix.chunk_shapes, groups)


def _with_spin(rows: Int, size: int) -> Int:
    """Repeat an order for both spins if the block has them."""
    if size == len(rows):
        return rows
    return np.concatenate([rows, rows + len(rows)])
