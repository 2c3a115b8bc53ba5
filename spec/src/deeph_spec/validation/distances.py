"""Two atoms on top of each other, in any cell that a file may hold.

Neighbour lists on grids divide by zero or fill the memory when a cell is absurdly long, flat or
skewed, and a validator has to survive exactly such cells. So: reduce the lattice, copy the atoms
near the faces, sort all of them along a direction that no lattice plane is perpendicular to, and
compare each with the few that follow within the cutoff.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
# 1, 1/sqrt(2), 1/sqrt(3) have no integer relation: few atoms of a crystal share a projection.
_DIRECTION = np.array([1.0, 2**-0.5, 3**-0.5]) / np.sqrt(1 + 1 / 2 + 1 / 3)


def closest_pair(lattice: Float, positions: Float, cutoff: float) -> tuple[int, int, float] | None:
    """Find two atoms that are closer than a cutoff, images included.

    Parameters
    ----------
    lattice : (3, 3) array
        Lattice vectors as rows, Å.
    positions : (n, 3) array
        Cartesian positions, Å.
    cutoff : float
        Å; small against the distance of neighbours.

    Returns
    -------
    (i, j, distance) or None
        Two atoms, equal if one meets its own image, and their distance in Å.
    """
    with np.errstate(all="ignore"):
        basis = _reduced(lattice)
        shortest = float(np.linalg.norm(basis, axis=1).min())
        if shortest < cutoff:
            return 0, 0, shortest
        points, atoms = _with_copies(basis, positions, cutoff)
        along = points @ _DIRECTION
        order = np.argsort(along)
        points, atoms, along = points[order], atoms[order], along[order]
        active = np.arange(len(points))
        for step in range(1, len(points)):
            active = active[active + step < len(points)]
            active = active[along[active + step] - along[active] < cutoff]
            if not len(active):
                return None
            distances = np.linalg.norm(points[active + step] - points[active], axis=1)
            at = int(np.argmin(distances))
            if distances[at] < cutoff:
                pair = sorted((int(atoms[active[at]]), int(atoms[active[at] + step])))
                return pair[0], pair[1], float(distances[at])
    return None


def _reduced(lattice: Float) -> Float:
    """Give short vectors of the same lattice: subtract shorter ones as long as that shortens."""
    basis = np.array(lattice)
    for _ in range(200):
        basis = basis[np.argsort(np.linalg.norm(basis, axis=1), kind="stable")]
        before = basis.copy()
        for longer, shorter in ((1, 0), (2, 1), (2, 0)):
            turns = np.rint(basis[longer] @ basis[shorter] / (basis[shorter] @ basis[shorter]))
            candidate = basis[longer] - turns * basis[shorter]
            if np.linalg.norm(candidate) < np.linalg.norm(basis[longer]):
                basis[longer] = candidate
        if np.array_equal(basis, before):
            break
    return basis


def _with_copies(basis: Float, positions: Float, cutoff: float) -> tuple[Float, Int]:
    """Wrap the atoms into the cell and add copies outside of it, up to the cutoff from a face."""
    inverse = np.linalg.inv(basis)
    fractional = positions @ inverse
    fractional -= np.floor(fractional)
    atoms = np.flatnonzero(np.isfinite(fractional).all(axis=1))
    fractional = fractional[atoms]
    margins = cutoff * np.linalg.norm(inverse, axis=0)  # in units of the distance of two faces
    for axis, margin in enumerate(margins.tolist()):
        reach = min(int(np.ceil(margin)), 9) if np.isfinite(margin) else 0
        copies, owners = [fractional], [atoms]
        for shift in (shift for shift in range(-reach, reach + 1) if shift):
            moved = fractional[:, axis] + shift
            near = np.flatnonzero((moved > -margin) & (moved < 1 + margin))
            copy = fractional[near]
            copy[:, axis] += shift
            copies.append(copy)
            owners.append(atoms[near])
        fractional, atoms = np.concatenate(copies), np.concatenate(owners)
    return fractional @ basis, atoms
