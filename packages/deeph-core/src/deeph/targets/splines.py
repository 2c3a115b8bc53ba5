"""Smooth functions of distance by penalised B-splines, the smoothness chosen from the data.

In: values at distances, by structure. Out: coefficients. The penalty acts on second differences of
the coefficients (P-splines, Eilers and Marx, Stat. Sci. 11, 89 (1996)); its strength is the one
that predicts left-out structures best. Data enter by their normal equations only, so that any
number of structures takes the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_STRENGTHS = 10.0 ** np.arange(-8.0, 3.0)
_LARGE = 200
"""Unknowns from which on matrices are solved one by one."""


@dataclass(frozen=True)
class SplineGrid:
    """Cubic B-splines on equidistant knots that vanish smoothly at the far end.

    Attributes
    ----------
    start, stop : float
        In Å. Below `start` a function is constant; from `stop` on it is zero.
    intervals : int
        Number of equal intervals in between.
    """

    start: float
    stop: float
    intervals: int

    @classmethod
    def covering(cls, lengths: FloatArray, margin: float, spacing: float = 0.2) -> SplineGrid:
        """Return the grid for data at the given distances in Å, with a margin at the far end."""
        start, stop = float(lengths.min()) - 0.1, float(lengths.max()) + margin
        return cls(start, stop, max(4, round((stop - start) / spacing)))

    def coarser(self, factor: int) -> SplineGrid:
        """Return the grid with so many times fewer intervals, but at least four."""
        return SplineGrid(self.start, self.stop, max(4, self.intervals // factor))

    @property
    def size(self) -> int:
        """Number of splines; the last three, which would not vanish at `stop`, are left out."""
        return self.intervals

    def local(self, lengths: FloatArray) -> tuple[NDArray[np.int64], FloatArray]:
        """Return the first of the four splines that are not zero at distances (e,), and the four.

        Those beyond `size` do not count.
        """
        step = (self.stop - self.start) / self.intervals
        place = (np.clip(lengths, self.start, self.stop) - self.start) / step
        first = np.minimum(place.astype(np.int64), self.intervals - 1)
        t = place - first
        # The four cubic B-splines of equidistant knots that are not zero in an interval.
        weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
        return first, np.stack(weights, axis=1) / 6

    def design(self, lengths: FloatArray) -> FloatArray:
        """Return the splines (e, size) at distances (e,)."""
        first, weights = self.local(lengths)
        full = np.zeros((len(lengths), self.intervals + 3))
        full[np.arange(len(lengths))[:, None], first[:, None] + np.arange(4)] = weights
        return full[:, : self.size]

    def roughness(self) -> FloatArray:
        """Return the matrix (size, size) of the penalty, second differences squared."""
        difference = np.diff(np.eye(self.size + 3), 2, axis=0)[:, : self.size]
        return difference.T @ difference


@dataclass
class PenalisedFit:
    """Normal equations of a linear fit, kept apart for folds of structures.

    Attributes
    ----------
    penalty : ndarray (k, k)
        Quadratic penalty of the coefficients; columns without penalty are fitted freely.
    columns : int
        Number of functions fitted to the same design.
    folds : int
        Parts of the structures that are left out in turn.
    """

    penalty: FloatArray
    columns: int
    folds: int = 5
    _normal: FloatArray = field(init=False)
    _right: FloatArray = field(init=False)
    _square: FloatArray = field(init=False)
    _fold: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        k = len(self.penalty)
        self._normal = np.zeros((self.folds, k, k))
        self._right = np.zeros((self.folds, k, self.columns))
        self._square = np.zeros((self.folds, self.columns))

    def add(self, design: FloatArray, values: FloatArray) -> None:
        """Add one structure: design (rows, k), values (rows, columns)."""
        fold = self._fold % self.folds
        self._normal[fold] += design.T @ design
        self._right[fold] += design.T @ values
        self._square[fold] += np.sum(values**2, axis=0)
        self._fold += 1

    def add_products(
        self,
        start: NDArray[np.int64],
        weights: FloatArray,
        features: FloatArray,
        values: FloatArray,
    ) -> None:
        """Add one structure whose design is the products of splines and features.

        Parameters
        ----------
        start, weights : ndarray (rows,), (rows, 4)
            From `SplineGrid.local`; unknowns are ordered by splines, then features.
        features : ndarray (rows, f)
        values : ndarray (rows, columns)
        """
        fold, count = self._fold % self.folds, features.shape[1]
        size = len(self.penalty) // count
        normal = self._normal[fold].reshape(size, count, size, count)
        right = self._right[fold].reshape(size, count, self.columns)
        for first in np.unique(start):
            rows, stop = start == first, min(first + weights.shape[1], size)
            local = weights[rows, : stop - first, None] * features[rows, None, :]
            local = local.reshape(len(local), -1)
            shape = (stop - first, count)
            normal[first:stop, :, first:stop] += (local.T @ local).reshape(*shape, *shape)
            right[first:stop] += (local.T @ values[rows]).reshape(*shape, -1)
        self._square[fold] += np.sum(values**2, axis=0)
        self._fold += 1

    def solve(
        self, strengths: Sequence[float] | FloatArray = _STRENGTHS, worth: float | None = None
    ) -> FloatArray:
        """Return the coefficients (k, columns), each column with its best strength.

        Parameters
        ----------
        strengths : sequence of float
            Tried, relative to the mean diagonal of the normal matrix. With a single structure
            the middle one is taken.
        worth : float, optional
            Where more than this part of the squares of left-out structures stays, the
            coefficients are zero.
        """
        total, right = self._normal.sum(0), self._right.sum(0)
        unit = max(np.trace(total) / len(total), np.finfo(float).tiny)
        folds = [f for f in range(self.folds) if self._normal[f].any()]
        weights = unit * np.asarray(strengths)
        if len(folds) < 2:
            return self._solved(total, right, weights[len(weights) // 2 :][:1])[0]
        solutions = self._solved(total, right, weights)
        errors = np.zeros((len(strengths), self.columns))
        for f in folds:
            normal, rest = total - self._normal[f], right - self._right[f]
            c = self._solved(normal, rest, weights)
            errors += (
                self._square[f]
                - 2 * np.sum(c * self._right[f], axis=1)
                + np.sum(c * (self._normal[f] @ c), axis=1)
            )
        best = np.take_along_axis(solutions, errors.argmin(0)[None, None, :], axis=0)[0]
        if worth is None:
            return best
        return np.where(errors.min(axis=0) <= worth * self._square.sum(0), best, 0.0)

    def _solved(self, normal: FloatArray, right: FloatArray, weights: FloatArray) -> FloatArray:
        """Return the coefficients (strengths, k, columns) for every weight of the penalty."""
        # The small ridge fixes what neither data nor roughness determine.
        ridge = 1e-10 * np.trace(normal) / len(normal) + np.finfo(float).tiny
        ridged = normal + ridge * np.eye(len(normal))
        if len(normal) > _LARGE:
            found = [_positive_solved(ridged + w * self.penalty, right) for w in weights]
            return np.stack(found)
        matrices = ridged + weights[:, None, None] * self.penalty
        return np.linalg.solve(matrices, np.broadcast_to(right, (len(weights), *right.shape)))


def dual_ridge(
    design: FloatArray,
    values: FloatArray,
    folds: NDArray[np.int64],
    strengths: FloatArray,
    worth: float,
) -> FloatArray:
    """Return the coefficients (k, columns) of a fit with more unknowns than rows.

    Parameters
    ----------
    design, values : ndarray (rows, k), (rows, columns)
    folds : int array (rows,)
        Rows of equal numbers are left out together, to choose the penalty of each column.
    strengths : ndarray
        Tried, relative to the mean square of a row of the design.
    worth : float
        Where more than this part of the squares of left-out rows stays, the coefficients are zero.
    """
    kernel = design @ design.T
    weights = strengths * max(np.trace(kernel) / len(kernel), np.finfo(float).tiny)
    errors = np.zeros((len(strengths), values.shape[1]))
    for fold in np.unique(folds):
        kept, left = folds != fold, folds == fold
        if not kept.any():
            continue
        known, wanted = kernel[np.ix_(kept, kept)], kernel[np.ix_(left, kept)]
        for k, weight in enumerate(weights):
            found = wanted @ _positive_solved(known + weight * np.eye(len(known)), values[kept])
            errors[k] += np.sum((found - values[left]) ** 2, axis=0)
    solution = np.zeros_like(values)
    good = errors.min(axis=0) <= worth * np.sum(values**2, axis=0)
    best = np.where(good, errors.argmin(axis=0), -1)
    for k in np.unique(best[good]):
        shifted = kernel + weights[k] * np.eye(len(kernel))
        solution[:, best == k] = _positive_solved(shifted, values[:, best == k])
    return design.T @ solution


def _positive_solved(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """Return matrix^-1 right for a positive definite matrix, which is overwritten."""
    factor = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
    return np.asarray(scipy.linalg.cho_solve(factor, right, check_finite=False))


def fewer_unknowns(
    designs: Sequence[FloatArray], penalties: Sequence[FloatArray], free: int, most: int
) -> tuple[list[FloatArray], FloatArray, FloatArray]:
    """Reduce a penalised fit of many unknowns to what the data can determine.

    With a positive definite penalty P the coefficients are P^-1 A^T times as many numbers as the
    design A has rows. The combinations of unknowns that this leaves are found from at most `most`
    rows, evenly taken; with no more rows than that nothing is lost.

    Parameters
    ----------
    designs : sequence of ndarray (rows, k + free)
        One per structure.
    penalties : sequence of ndarray
        Diagonal blocks of the penalty of the first k unknowns, positive definite.
    free : int
        Number of unknowns without penalty, which come last.
    most : int

    Returns
    -------
    designs : list of ndarray (rows, r + free)
    penalty : ndarray (r + free, r + free)
        To be used with the reduced designs by `PenalisedFit`, with the same strengths as before.
    expand : ndarray (k + free, r + free)
        Coefficients of the given unknowns from the reduced ones.
    """
    every = np.concatenate(designs)
    k = every.shape[1] - free
    step = -(-len(every) // most)
    chosen = every[::step, :k]
    whitening = [np.linalg.inv(np.linalg.cholesky(block)) for block in penalties]
    ends = np.cumsum([0] + [len(block) for block in penalties])
    blocks = list(zip(whitening, ends, ends[1:], strict=False))
    white = np.concatenate([w @ chosen[:, start:stop].T for w, start, stop in blocks])
    square, turn = np.linalg.eigh(white.T @ white)
    kept = square > 1e-12 * max(square.max(initial=0.0), np.finfo(float).tiny)
    basis = white @ (turn[:, kept] / np.sqrt(square[kept]))
    expand = np.zeros((k + free, basis.shape[1] + free))
    expand[:k, : basis.shape[1]] = np.concatenate(
        [w.T @ basis[start:stop] for w, start, stop in blocks]
    )
    expand[k:, basis.shape[1] :] = np.eye(free)
    reduced = [design @ expand for design in designs]
    # Strengths are relative to the mean diagonal of the normal matrix: keep their meaning.
    before = np.sum(every**2) / (k + free)
    after = sum(float(np.sum(design**2)) for design in reduced) / expand.shape[1]
    penalty = np.diag(np.repeat([before / max(after, np.finfo(float).tiny), 0.0],
                                [basis.shape[1], free]))  # fmt: skip
    return reduced, penalty, expand
