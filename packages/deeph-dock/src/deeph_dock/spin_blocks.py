"""Blocks with spin from the matrices of its components.

Spin is the outer index inside each block: [[uu, ud], [du, dd]], each n_i x n_j.
"""

from __future__ import annotations

import numpy as np
from deeph_spec.blocks import BlockMatrix


def collinear(up: BlockMatrix, down: BlockMatrix) -> BlockMatrix:
    """Put the two channels of collinear spin into one matrix.

    Parameters
    ----------
    up, down : BlockMatrix
        On the same pairs.

    Returns
    -------
    BlockMatrix
        [[up, 0], [0, down]], in the type of the two.
    """
    return _joined({(0, 0): up, (1, 1): down})


def spinor(
    up_up: BlockMatrix, up_down: BlockMatrix, down_up: BlockMatrix, down_down: BlockMatrix
) -> BlockMatrix:
    """Put the four parts of a matrix between spinors into one.

    Parameters
    ----------
    up_up, up_down, down_up, down_down : BlockMatrix
        On the same pairs.

    Returns
    -------
    BlockMatrix
        [[uu, ud], [du, dd]], in the common type of the four.
    """
    return _joined({(0, 0): up_up, (0, 1): up_down, (1, 0): down_up, (1, 1): down_down})


def adjoint(matrix: BlockMatrix) -> BlockMatrix:
    """Give the Hermitian adjoint: block (R, i, j) is that of (-R, j, i), transposed, conjugated.

    Parameters
    ----------
    matrix : BlockMatrix
        Its pairs are closed under (-R, j, i).

    Returns
    -------
    BlockMatrix
        On the same pairs.
    """
    partner = matrix.partner_rows()
    group_of = np.empty(len(matrix), dtype=np.int64)
    place_of = np.empty(len(matrix), dtype=np.int64)
    stacks = []
    for number, (rows, stack) in enumerate(matrix.by_shape()):
        group_of[rows], place_of[rows] = number, np.arange(len(rows))
        stacks.append((rows, stack))
    groups = []
    for rows, _ in stacks:
        # All partners of one shape have one shape, the transposed.
        source = stacks[int(group_of[partner[rows[0]]])][1]
        groups.append((rows, source[place_of[partner[rows]]].conj().swapaxes(-1, -2)))
    return BlockMatrix.from_stacks(matrix.atom_pairs, matrix.chunk_shapes, groups)


def _joined(parts: dict[tuple[int, int], BlockMatrix]) -> BlockMatrix:
    first = next(iter(parts.values()))
    dtype = np.result_type(*(part.dtype for part in parts.values()))
    result = BlockMatrix.zeros(first.atom_pairs, 2 * first.chunk_shapes, dtype)
    starts = result.chunk_boundaries
    for (row, column), part in parts.items():
        for rows, stack in part.by_shape():
            _, height, width = stack.shape
            inside = (row * height + np.arange(height))[:, None] * 2 * width
            inside = inside + column * width + np.arange(width)
            result.entries[starts[rows, None, None] + inside] = stack
    return result
