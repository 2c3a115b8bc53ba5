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
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_FOLDS = 5
_STRENGTHS = 10.0 ** np.arange(-8.0, 3.0)


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

    @property
    def size(self) -> int:
        """Number of splines; the last three, which would not vanish at `stop`, are left out."""
        return self.intervals

    def design(self, lengths: FloatArray) -> FloatArray:
        """Return the splines (e, size) at distances (e,)."""
        from scipy.interpolate import BSpline

        step = (self.stop - self.start) / self.intervals
        knots = self.start + step * np.arange(-3, self.intervals + 4)
        inside = np.clip(lengths, self.start, self.stop)
        full = BSpline.design_matrix(inside, knots, 3, extrapolate=True).toarray()
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
    """

    penalty: FloatArray
    columns: int
    _normal: FloatArray = field(init=False)
    _right: FloatArray = field(init=False)
    _square: FloatArray = field(init=False)
    _fold: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        k = len(self.penalty)
        self._normal = np.zeros((_FOLDS, k, k))
        self._right = np.zeros((_FOLDS, k, self.columns))
        self._square = np.zeros((_FOLDS, self.columns))

    def add(self, design: FloatArray, values: FloatArray) -> None:
        """Add one structure: design (rows, k), values (rows, columns)."""
        fold = self._fold % _FOLDS
        self._normal[fold] += design.T @ design
        self._right[fold] += design.T @ values
        self._square[fold] += np.sum(values**2, axis=0)
        self._fold += 1

    def solve(self, strengths: Sequence[float] | FloatArray = _STRENGTHS) -> FloatArray:
        """Return the coefficients (k, columns), each column with its best strength.

        Parameters
        ----------
        strengths : sequence of float
            Tried, relative to the mean diagonal of the normal matrix. With a single structure
            the middle one is taken.
        """
        total, right = self._normal.sum(0), self._right.sum(0)
        unit = max(np.trace(total) / len(total), np.finfo(float).tiny)
        solutions = np.stack([self._solved(total, right, unit * s) for s in strengths])
        folds = [f for f in range(_FOLDS) if self._normal[f].any()]
        if len(folds) < 2:
            return solutions[len(solutions) // 2]
        errors = np.zeros((len(strengths), self.columns))
        for f in folds:
            normal, rest = total - self._normal[f], right - self._right[f]
            for index, strength in enumerate(strengths):
                c = self._solved(normal, rest, unit * strength)
                errors[index] += (
                    self._square[f]
                    - 2 * np.sum(c * self._right[f], axis=0)
                    + np.sum(c * (self._normal[f] @ c), axis=0)
                )
        return np.take_along_axis(solutions, errors.argmin(0)[None, None, :], axis=0)[0]

    def _solved(self, normal: FloatArray, right: FloatArray, strength: float) -> FloatArray:
        # The small ridge fixes what neither data nor roughness determine.
        ridge = 1e-10 * np.trace(normal) / len(normal) + np.finfo(float).tiny
        matrix = normal + strength * self.penalty + ridge * np.eye(len(normal))
        return np.linalg.solve(matrix, right)
