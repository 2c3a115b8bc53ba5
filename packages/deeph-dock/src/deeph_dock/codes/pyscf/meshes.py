"""Meshes of k-points and the supercells that belong to them.

On a mesh of n1 n2 n3 points all repeats after n1 a1, n2 a2, n3 a3: the supercell of the mesh.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Divisions = tuple[int, int, int]

_SAME = 1e-6  # fractional
_EQUALLY_NEAR = 1e-5  # Bohr
_MOST_DIVISIONS = 1000


def shortest(lattice: Float) -> float:
    """Give the length of the shortest lattice vector."""
    steps = np.arange(-3, 4)
    cells = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(cells @ lattice, axis=1)
    return float(lengths[cells.any(axis=1)].min())


def fine_mesh(lattice: Float, reach: float, axes: int) -> Divisions:
    """Choose the smallest mesh on which no atom is within reach of two images of another one.

    Parameters
    ----------
    lattice : (3, 3) array
        Rows, in the unit of `reach`.
    reach : float
        Distance beyond which matrix elements vanish.
    axes : int
        Number of periodic directions, the first ones.

    Returns
    -------
    (n1, n2, n3)
        All sums of n1 a1, n2 a2, n3 a3 are longer than twice the reach.
    """
    heights = np.linalg.norm(np.linalg.inv(lattice), axis=0)
    divisions = np.maximum(1, np.ceil(2 * reach * heights)).astype(np.int64)
    divisions[axes:] = 1
    # Distances of lattice planes are a safe bound; vectors of skew cells are longer than that.
    shrinking = True
    while shrinking:
        shrinking = False
        for axis in np.argsort(-divisions):
            fewer = divisions - (np.arange(3) == axis)
            scaled = fewer[:, None] * lattice
            scaled[axes:] *= 1e6  # no images there
            if fewer[axis] > 0 and axis < axes and shortest(scaled) > 2 * reach:
                divisions, shrinking = fewer, True
    return int(divisions[0]), int(divisions[1]), int(divisions[2])


def half_of(divisions: Divisions, halve: bool) -> tuple[Float, Float]:
    """Give the points of a Gamma-centred mesh.

    Parameters
    ----------
    divisions : (n1, n2, n3)
        Of the mesh.
    halve : bool
        Give one of k and -k only.

    Returns
    -------
    points : (K, 3) fractional, above -1/2, at most 1/2
    counts : (K,)
        Points of the mesh that each stands for, 1 or 2.
    """
    n = np.array(divisions)
    points = np.stack(np.meshgrid(*(np.arange(m) for m in n), indexing="ij"), axis=-1)
    points = points.reshape(-1, 3)
    own = np.ravel_multi_index(tuple(points.T), divisions)
    partner = np.ravel_multi_index(tuple((-points % n).T), divisions)
    keep = own <= partner if halve else np.ones(len(points), dtype=bool)
    counts = np.where(halve & (own != partner), 2.0, 1.0)
    points = points[keep] / n
    return points - np.ceil(points - 0.5), counts[keep]


def mesh_of(kpoints: Float) -> tuple[Divisions, tuple[float, float, float]] | None:
    """Recognise a full mesh.

    Parameters
    ----------
    kpoints : (K, 3) fractional
        In any order, each up to a reciprocal lattice vector.

    Returns
    -------
    divisions, shift
        The shift in steps of the mesh, 0 or between 0 and 1; None if the points are no full mesh.
    """
    divisions, shift = [], []
    for column in kpoints.T:
        steps = column - column[0]
        count = 1
        for step in np.unique(np.round(steps % 1.0, 9)).tolist():
            count = int(
                np.lcm(count, Fraction(step).limit_denominator(_MOST_DIVISIONS).denominator)
            )
        divisions.append(count)
        first = float(column[0] * count) % 1.0
        shift.append(0.0 if min(first, 1 - first) < _SAME * count else round(first, 9))
    n = np.array(divisions)
    if n.prod() != len(kpoints):
        return None
    places = kpoints * n - shift
    whole = np.rint(places)
    if np.abs(places - whole).max() > 1e-4 or len(np.unique(whole % n, axis=0)) != len(kpoints):
        return None
    return (divisions[0], divisions[1], divisions[2]), (shift[0], shift[1], shift[2])


def nearest_images(lattice: Float, positions: Float, divisions: Divisions) -> tuple[Int, Float]:
    """Find, for each two atoms, the nearest images that a mesh can tell apart.

    Parameters
    ----------
    lattice, positions : (3, 3), (n, 3) arrays
        Bohr.
    divisions : (n1, n2, n3)
        Of the mesh.

    Returns
    -------
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j, sorted, closed under (-R, j, i).
    weights : (P,)
        1, or 1/m where m images that the mesh cannot tell apart are equally near.
    """
    n = np.array(divisions)
    home = np.stack(np.meshgrid(*(np.arange(m) for m in n), indexing="ij"), axis=-1).reshape(-1, 3)
    steps = np.arange(-3, 4)
    shifts = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3) * n
    # Start from images near the origin of each pair, so that few shifts are enough.
    inverse = np.linalg.inv(lattice)
    found, weights = [], []
    for i, origin in enumerate(positions):
        for j, other in enumerate(positions):
            offset = other - origin
            centred = home - n * np.rint((home + offset @ inverse) / n).astype(np.int64)
            cells = centred[:, None] + shifts
            distances = np.linalg.norm(offset + cells @ lattice, axis=-1)
            near = distances <= distances.min(axis=1, keepdims=True) + _EQUALLY_NEAR
            own, at = np.nonzero(near)
            chosen = cells[own, at]
            found.append(
                np.column_stack([chosen, np.full(len(chosen), i), np.full(len(chosen), j)])
            )
            weights.append(1.0 / near.sum(axis=1)[own])
    pairs = np.concatenate(found).astype(np.int64)
    order = np.lexsort(pairs.T[::-1])
    return pairs[order], np.concatenate(weights)[order]
