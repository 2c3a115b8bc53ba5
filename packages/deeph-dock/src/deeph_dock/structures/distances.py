"""How near atoms are to each other, images included."""

from __future__ import annotations

import numpy as np
from deeph_spec.structure import Structure
from numpy.typing import NDArray

_ALL = (True, True, True)
_MARGIN = 1.0 + 1e-9


def nearest_pair(
    structure: Structure, periodic: tuple[bool, bool, bool] = _ALL
) -> tuple[float, int, int]:
    """Find the two atoms that are nearest to each other.

    Parameters
    ----------
    structure : Structure
        At least one atom.
    periodic : three bool
        Along which lattice vectors it repeats.

    Returns
    -------
    distance, i, j : float, int, int
        Å, and the atoms from 0; i = j where an atom's own image is nearest. Infinite for one atom
        that does not repeat.
    """
    from scipy.spatial import cKDTree

    points = structure.positions
    if any(periodic):
        fractional = structure.fractional
        fractional = fractional - np.floor(fractional) * np.array(periodic)
        points = fractional @ structure.lattice
    images, owners = _images(points, structure.lattice, periodic)
    if len(images) < 2:
        return float("inf"), 0, 0
    distances, found = cKDTree(images).query(points, k=2)
    # An atom at the place of another may be listed before the atom itself.
    nearest = int(np.argmin(distances[:, 1]))
    pair = owners[found[nearest]]
    return float(distances[nearest, 1]), int(pair.min()), int(pair.max())


def _images(
    points: NDArray[np.float64], lattice: NDArray[np.float64], periodic: tuple[bool, bool, bool]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give the points and their images within the largest distance that neighbours can have.

    That is the shortest lattice vector, along which an atom has its own image, and if all
    directions repeat also the distance of spheres in the densest packing, (sqrt(2) V / n)^(1/3).
    """
    owners = np.arange(len(points))
    if not any(periodic):
        return points, owners
    reach = float(np.linalg.norm(lattice[list(periodic)], axis=1).min())
    if all(periodic):
        volume = abs(float(np.linalg.det(lattice)))
        reach = min(reach, float(np.cbrt(np.sqrt(2) * volume / len(points))))
    reach *= _MARGIN
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    steps = [
        np.arange(-n, n + 1) if repeats else np.zeros(1, dtype=int)
        for n, repeats in zip(np.ceil(reach / heights).astype(int), periodic, strict=True)
    ]
    cells = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
    kept, whose = [], []
    for cell in cells:
        moved = points + cell @ lattice
        inside = ((moved >= low) & (moved <= high)).all(axis=1)
        kept.append(moved[inside])
        whose.append(owners[inside])
    return np.concatenate(kept), np.concatenate(whose)
