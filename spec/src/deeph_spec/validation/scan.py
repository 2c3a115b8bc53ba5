"""One pass over the entries of a matrix file, in pieces of bounded size.

The Hermitian check needs each block beside its partner, which may lie anywhere in the file. So that
the file is read once, each block is reduced to four numbers with fixed random weights g,

    v(B) = sum_ab g_ab B_ab  for one partner,  sum_ab g_ab (B^dagger)_ab  for the other,

whose difference is sum_ab g_ab (B - B'^dagger)_ab: normally distributed with the Frobenius norm of
the difference as its width. The pairs with the largest differences are then read again and compared
exactly. That a block which is off goes unseen, all four numbers being below 1/100 of the norm, has
a probability of 4e-9.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph_spec import pairs as pair_lists
from deeph_spec.matrix_files import MAX_BYTES, OpenMatrix

Int = NDArray[np.int64]
Float = NDArray[np.float64]
_PROJECTIONS = 4
_COMPARED_EXACTLY = 256
_SCHWARZ = 1 + 1e-6


@dataclass
class Scan:
    """What one pass found.

    Parameters
    ----------
    largest : float
        Largest real or imaginary part, by absolute value.
    broken_row : int
        First block with NaN or infinity, or -1.
    zero_blocks : int
        Blocks whose entries are all zero.
    hermitian_error : float
        Largest |B - B'^dagger| of the blocks compared exactly.
    hermitian_row : int
        Where, or -1.
    mixed_row : int
        First block whose up-down or down-up part is not zero, or -1.
    is_complex : bool
        Whether any imaginary part is not zero.
    schwarz_row : int
        First block that violates |S_ij|^2 <= S_ii S_jj, or -1.
    """

    largest: float = 0.0
    broken_row: int = -1
    zero_blocks: int = 0
    hermitian_error: float = 0.0
    hermitian_row: int = -1
    mixed_row: int = -1
    is_complex: bool = False
    schwarz_row: int = -1


def on_site_diagonals(matrix: OpenMatrix, max_bytes: int = MAX_BYTES) -> tuple[Float, Int]:
    """Read the diagonal of every on-site block.

    Parameters
    ----------
    matrix : OpenMatrix
        The file.
    max_bytes : int
        Most bytes of entries held at a time.

    Returns
    -------
    diagonal : (N,) array
        Real parts, atom after atom; NaN for an atom without on-site block.
    offsets : (n + 1,) int64 array
        Where each atom's orbitals begin.
    """
    pairs, shapes = matrix.atom_pairs, matrix.chunk_shapes
    rows = np.flatnonzero(pair_lists.on_site(pairs))
    sizes = np.zeros(int(pairs[:, 3:].max()) + 1, np.int64)
    sizes[pairs[:, 3]] = shapes[:, 0]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    diagonal = np.full(int(offsets[-1]), np.nan)
    loads = np.cumsum(shapes[rows].prod(axis=1)) * matrix.dtype.itemsize
    parts = np.split(rows, np.flatnonzero(np.diff(loads // max_bytes)) + 1)
    for part in parts if len(rows) else []:
        blocks = matrix.some(part, max_bytes)
        for members, stack in blocks.by_shape():
            first = offsets[blocks.atom_pairs[members, 3]]
            values = np.diagonal(stack, axis1=1, axis2=2).real
            diagonal[first[:, None] + np.arange(values.shape[1])] = values
    return diagonal, offsets


class GammaSum:
    """The sum of all blocks over R as a dense matrix, S(Gamma).

    Parameters
    ----------
    offsets : (n + 1,) int64 array
        Where each atom's orbitals begin.
    """

    def __init__(self, offsets: Int) -> None:
        self.offsets = offsets
        self.matrix = np.zeros((int(offsets[-1]),) * 2)

    def add(self, pairs: Int, stack: NDArray[Any]) -> None:
        """Add blocks of equal shape.

        Parameters
        ----------
        pairs : (p, 5) int64 array
            Their pairs.
        stack : (p, a, b) array
            The blocks.
        """
        keys = pairs[:, 3] * len(self.offsets) + pairs[:, 4]
        order = np.argsort(keys, kind="stable")
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        sums = np.add.reduceat(stack[order].real, starts, axis=0)
        corners = self.offsets[pairs[order[starts], 3:]]
        rows = corners[:, 0, None] + np.arange(stack.shape[1])
        columns = corners[:, 1, None] + np.arange(stack.shape[2])
        self.matrix[rows[:, :, None], columns[:, None, :]] += sums


def scan(
    matrix: OpenMatrix,
    partner: Int,
    *,
    spinful: bool = False,
    diagonal: Float | None = None,
    offsets: Int | None = None,
    gamma: GammaSum | None = None,
    tolerance: float = 1e-8,
    max_bytes: int = MAX_BYTES,
) -> Scan:
    """Go through all blocks once.

    Parameters
    ----------
    matrix : OpenMatrix
        The file; block shapes of partners must be the transposed of each other.
    partner : (P,) int64 array
        Row of the Hermitian partner of each pair, or -1.
    spinful : bool
        Whether blocks are [[uu, ud], [du, dd]].
    diagonal, offsets : arrays, optional
        As `on_site_diagonals` gives them, for an overlap: test |S_ij|^2 <= S_ii S_jj.
    gamma : GammaSum, optional
        Gets all blocks added.
    tolerance : float
        Hermitian errors of less than a hundredth of it need not be found.
    max_bytes : int
        Most bytes of entries held at a time.

    Returns
    -------
    Scan
        What was found.
    """
    result = Scan()
    vectors = matrix.entries.ndim > 1  # position matrix: no Hermitian rule, no spin
    kind = np.complex128 if matrix.dtype.kind == "c" else np.float64
    sketch = np.zeros((_PROJECTIONS, len(partner)), kind)
    side = int(matrix.chunk_shapes.max())
    weights = np.random.default_rng(20210813).standard_normal((_PROJECTIONS, side, side))
    diagonal = None if diagonal is None or diagonal.size == 0 else diagonal
    for first, piece in matrix.pieces(max(1, max_bytes // 4)):
        _look_at_flat(result, piece.entries, piece.chunk_boundaries, first)
        if vectors:
            continue
        for members, stack in piece.by_shape():
            rows = first + members
            pairs = piece.atom_pairs[members]
            _look_at_on_site(result, rows[partner[rows] == rows], stack[partner[rows] == rows])
            leads = rows < partner[rows]
            for chosen, turned in ((leads, False), (~leads, True)):
                if chosen.any():
                    part = stack if chosen.all() else stack[chosen]
                    sketch[:, rows[chosen]] = _sketched(part, weights, turned)
            if spinful:
                _look_at_spin(result, rows, stack)
            if diagonal is not None and offsets is not None:
                _look_at_schwarz(result, rows, pairs, stack, diagonal, offsets)
            if gamma is not None:
                gamma.add(pairs, stack)
    if not vectors:
        result.zero_blocks = int(np.count_nonzero(~sketch.any(axis=0)))
        if result.broken_row < 0:
            _compare_exactly(result, matrix, partner, sketch, tolerance, max_bytes)
    return result


def _look_at_flat(result: Scan, entries: NDArray[Any], boundaries: Int, first: int) -> None:
    """Find the largest number, NaN and infinity, and imaginary parts."""
    if not entries.size:
        return
    real = entries.view(entries.real.dtype)
    largest = max(float(real.max()), -float(real.min()))  # NaN if there is any
    if np.isfinite(largest):
        result.largest = max(result.largest, largest)
    elif result.broken_row < 0:
        broken = ~np.isfinite(entries)
        at = np.flatnonzero(broken.reshape(-1, broken.shape[-1]).any(axis=0))[0]
        result.broken_row = first + int(np.searchsorted(boundaries, at, side="right")) - 1
    if entries.dtype.kind == "c" and not result.is_complex:
        result.is_complex = bool(entries.imag.any())


def _sketched(stack: NDArray[Any], weights: Float, turned: bool) -> NDArray[Any]:
    """Reduce blocks, or their adjoints, to four numbers each, (4, p)."""
    count, height, width = stack.shape
    if turned:
        chosen = weights[:, :width, :height].swapaxes(1, 2).reshape(_PROJECTIONS, -1)
    else:
        chosen = weights[:, :height, :width].reshape(_PROJECTIONS, -1)
    double = np.complex128 if stack.dtype.kind == "c" else np.float64
    flat = stack.reshape(count, -1).astype(double, copy=False)
    with np.errstate(invalid="ignore", over="ignore"):
        numbers: NDArray[Any] = chosen.astype(double) @ flat.T
    return numbers.conj() if turned else numbers


def _look_at_on_site(result: Scan, rows: Int, stack: NDArray[Any]) -> None:
    """Compare blocks that are their own partners with their adjoints, exactly."""
    if not len(rows):
        return
    with np.errstate(invalid="ignore"):
        errors = np.abs(stack - stack.conj().swapaxes(1, 2)).reshape(len(rows), -1).max(axis=1)
    at = int(errors.argmax())
    if errors[at] > result.hermitian_error:
        result.hermitian_error, result.hermitian_row = float(errors[at]), int(rows[at])


def _look_at_spin(result: Scan, rows: Int, stack: NDArray[Any]) -> None:
    """Find a block that mixes up and down."""
    if result.mixed_row >= 0:
        return
    height, width = stack.shape[1] // 2, stack.shape[2] // 2
    mixed = stack[:, :height, width:].any(axis=(1, 2)) | stack[:, height:, :width].any(axis=(1, 2))
    if mixed.any():
        result.mixed_row = int(rows[mixed.argmax()])


def _look_at_schwarz(
    result: Scan, rows: Int, pairs: Int, stack: NDArray[Any], diagonal: Float, offsets: Int
) -> None:
    """Find a block with |S_ij|^2 > S_ii S_jj."""
    if result.schwarz_row >= 0:
        return
    largest = np.maximum(stack.max(axis=(1, 2)), -stack.min(axis=(1, 2)))
    close = np.flatnonzero(~(largest < diagonal.min()))  # no other block can violate it
    if not len(close):
        return
    stack, pairs = stack[close], pairs[close]
    left = diagonal[offsets[pairs[:, 3]][:, None] + np.arange(stack.shape[1])]
    right = diagonal[offsets[pairs[:, 4]][:, None] + np.arange(stack.shape[2])]
    wrong = (stack**2 > _SCHWARZ * left[:, :, None] * right[:, None, :]).any(axis=(1, 2))
    if wrong.any():
        result.schwarz_row = int(rows[close[wrong.argmax()]])


def _compare_exactly(
    result: Scan,
    matrix: OpenMatrix,
    partner: Int,
    sketch: NDArray[Any],
    tolerance: float,
    max_bytes: int,
) -> None:
    """Read the pairs again whose four numbers differ most, and compare all entries."""
    leading = np.flatnonzero(partner > np.arange(len(partner)))
    difference = np.abs(sketch[:, leading] - sketch[:, partner[leading]]).max(axis=0, initial=0.0)
    suspects = np.flatnonzero(difference > 0.01 * tolerance)
    if len(suspects) > _COMPARED_EXACTLY:
        most = np.argpartition(difference[suspects], -_COMPARED_EXACTLY)[-_COMPARED_EXACTLY:]
        suspects = suspects[most]
    if not len(suspects):
        return
    rows = np.sort(np.concatenate([leading[suspects], partner[leading[suspects]]]))
    error, row = matrix.some(rows, max_bytes).hermitian_error()
    if error > result.hermitian_error:
        result.hermitian_error, result.hermitian_row = error, int(rows[row])
