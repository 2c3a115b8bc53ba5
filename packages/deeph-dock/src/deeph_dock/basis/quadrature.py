"""Gauss's rule between given points, by which smooth functions between knots are integrated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]


def between(starts: Real, ends: Real, count: int) -> tuple[Real, Real]:
    """Give nodes and weights of intervals.

    Parameters
    ----------
    starts, ends : (n,) float64 arrays
        Of the intervals.
    count : int
        Nodes of each: polynomials of the degree 2 count - 1 are integrated exactly.

    Returns
    -------
    nodes, weights : (n * count,) float64 arrays
        Interval by interval.
    """
    x, w = np.polynomial.legendre.leggauss(count)
    half = (ends - starts)[:, None] / 2
    nodes: Real = (starts[:, None] + half * (x + 1)).reshape(-1)
    weights: Real = (half * w).reshape(-1)
    return nodes, weights
