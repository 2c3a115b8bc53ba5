"""Points of plane lattices: in a circle, near other points, in a supercell, above a row.

In:  lattice vectors as the rows of a (2, 2) array, Å.
Out: points in whole numbers of them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Whole = NDArray[np.int64]


def inverse_of(lattice: Real) -> Real:
    """Give the matrix that turns row vectors into units of the lattice vectors.

    Parameters
    ----------
    lattice : (2, 2) float64 array
        Å.

    Returns
    -------
    (2, 2) float64 array
        1/Å.
    """
    return np.asarray(np.linalg.inv(lattice), dtype=np.float64)


def determinants(matrices: Whole) -> Whole:
    """Give determinants exactly.

    Parameters
    ----------
    matrices : (p, 2, 2) int64 array
        Whole numbers.

    Returns
    -------
    (p,) int64 array
        How many cells each supercell has, with the sign of its orientation.
    """
    first, second = matrices[:, 0], matrices[:, 1]
    cells: Whole = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    return cells


def translations(matrix: Whole) -> Real:
    """Give the lattice points in a supercell, each once.

    Parameters
    ----------
    matrix : (2, 2) int64 array
        The supercell's vectors as rows, in units of the lattice vectors, of positive determinant.

    Returns
    -------
    (det, 2) float64 array
        In units of the supercell's vectors, from 0 to below 1.

    Notes
    -----
    Row operations bring the matrix to [[g, s], [0, det / g]], g the greatest common divisor of the
    first column: i below g and j below det / g name every point modulo the supercell once. Units
    are changed in whole numbers, so that no point can be lost or doubled by rounding.
    """
    (a, b), (c, d) = matrix.tolist()
    count = a * d - b * c
    first = int(np.gcd(a, c))
    points = np.stack(
        np.meshgrid(np.arange(first), np.arange(count // first), indexing="ij"), axis=-1
    ).reshape(-1, 2)
    adjugate = np.array([[d, -b], [-c, a]])
    return np.asarray((points @ adjugate) % count / count, dtype=np.float64)


def complement(a: int, b: int) -> tuple[int, int]:
    """Complete a lattice vector to a primitive cell, by Euclid's algorithm.

    Parameters
    ----------
    a, b : int
        Without a common divisor.

    Returns
    -------
    c, d : int
        With a d - b c = 1.
    """
    rest, left, right = (a, b), (1, 0), (0, 1)  # rest = a left + b right
    while rest[1]:
        quotient = rest[0] // rest[1]
        rest, left, right = ((new, old - quotient * new) for old, new in (rest, left, right))
    sign = rest[0]  # 1 or -1
    return -right[0] * sign, left[0] * sign


def second_vectors(first: Whole, lattice: Real, cells: tuple[int, int]) -> Whole:
    """Give the vectors that span, with a first one, all reduced supercells of some sizes.

    Parameters
    ----------
    first : (2,) int64 array
        The shorter vector of the supercell.
    lattice : (2, 2) float64 array
        Å.
    cells : (int, int)
        Smallest and largest number of cells.

    Returns
    -------
    (c, 2) int64 array
        Not shorter than the first, and along it at most half of it; one of each supercell.
    """
    a, b = (int(x) for x in first)
    steps = math.gcd(a, b)
    a, b = a // steps, b // steps
    along = np.array([a, b])
    across = np.array(complement(a, b))
    rows = np.arange(-(-cells[0] // steps), cells[1] // steps + 1)
    straight = along @ lattice
    slant = float(across @ lattice @ straight / (straight @ straight))
    left = np.ceil(-rows * slant - steps / 2).astype(np.int64)
    shifts = left[:, None] + np.arange(steps)
    points = rows[:, None, None] * across + shifts[:, :, None] * along
    flat: Whole = points.reshape(-1, 2)
    lengths = np.linalg.norm(flat @ lattice, axis=1)
    return flat[lengths >= steps * math.hypot(*straight) * (1 - 1e-9)]


def points_within(lattice: Real, reach: float) -> Whole:
    """Give the lattice points within a circle about the origin.

    Parameters
    ----------
    lattice : (2, 2) float64 array
        Å.
    reach : float
        Radius, Å.

    Returns
    -------
    (p, 2) int64 array
        In no special order.
    """
    sizes = np.floor(reach * np.linalg.norm(inverse_of(lattice), axis=0)).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-s, s + 1) for s in sizes), indexing="ij"), axis=-1)
    points = grid.reshape(-1, 2)
    return points[np.linalg.norm(points @ lattice, axis=1) <= reach]


def by_length(points: Whole, lattice: Real) -> tuple[Whole, Real]:
    """Sort lattice points by their distance from the origin.

    Parameters
    ----------
    points : (p, 2) int64 array
        In units of the lattice vectors.
    lattice : (2, 2) float64 array
        Å.

    Returns
    -------
    points, lengths : (p, 2) int64 array, (p,) float64 array
        The nearest first; Å.
    """
    lengths = np.linalg.norm(points @ lattice, axis=1)
    order = np.argsort(lengths, kind="stable")
    return points[order], lengths[order]


def of_length(ring: tuple[Whole, Real], lengths: Real, strain: float) -> tuple[Whole, Whole]:
    """Give, of sorted points, those whose length is a given one but for the strain.

    Parameters
    ----------
    ring : points, lengths
        Of `by_length`.
    lengths : (q,) float64 array
        Å.
    strain : float
        Largest one of the points, below 1.

    Returns
    -------
    rows : (c,) int64 array
        Of the lengths.
    points : (c, 2) int64 array
        That have them.
    """
    points, sorted_lengths = ring
    first = np.searchsorted(sorted_lengths, lengths / (1 + strain) * (1 - 1e-9), "left")
    last = np.searchsorted(sorted_lengths, lengths / (1 - strain) * (1 + 1e-9), "right")
    rows, number = _counted(last - first)
    return rows, points[first[rows] + number]


def near(expected: Real, reaches: Real, inverse: Real) -> tuple[Whole, Whole]:
    """Give the lattice points near given ones.

    Parameters
    ----------
    expected : (p, 2) float64 array
        In units of the lattice vectors.
    reaches : (p,) float64 array
        How far to look, Å; the parallelogram around the circle is given.
    inverse : (2, 2) float64 array
        Of the lattice.

    Returns
    -------
    rows : (c,) int64 array
        Of the given ones.
    points : (c, 2) int64 array
        Near them.
    """
    widths = reaches[:, None] * np.linalg.norm(inverse, axis=0)
    first = np.ceil(expected - widths).astype(np.int64)
    counts = np.floor(expected + widths).astype(np.int64) - first + 1
    rows, number = _counted(counts[:, 0] * counts[:, 1])  # none is negative: widths are positive
    steps = np.stack(np.divmod(number, np.maximum(counts[rows, 1], 1)), axis=1)
    return rows, first[rows] + steps


def _counted(counts: Whole) -> tuple[Whole, Whole]:
    """Give (i, 0), (i, 1), ... (i, counts[i] - 1) for every i, as two arrays."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
