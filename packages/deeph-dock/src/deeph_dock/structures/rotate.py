"""Rigid rotations, to test whether a network is equivariant."""

from __future__ import annotations

from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray


def random_rotation(rng: Generator, improper: bool = False) -> NDArray[np.float64]:
    """Draw a rotation, each as likely as any other.

    Parameters
    ----------
    rng : numpy.random.Generator
        Where the numbers come from.
    improper : bool
        Invert as well, in one of two cases.

    Returns
    -------
    (3, 3) array
        Q with r' = Q r: that of a unit quaternion whose direction in four dimensions is uniform
        (K. Shoemake, Graphics Gems III, 1992).
    """
    w, x, y, z = _unit(rng.normal(size=4))
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return -rotation if improper and rng.random() < 0.5 else rotation


def rotation_about(axis: ArrayLike, degrees: float) -> NDArray[np.float64]:
    """Give the rotation about an axis, by the formula of Rodrigues.

    Parameters
    ----------
    axis : (3,) array
        Cartesian direction.
    degrees : float
        Counter-clockwise, seen against the axis.

    Returns
    -------
    (3, 3) array
        Q with r' = Q r.

    Raises
    ------
    InputError
        If the axis has no direction.
    """
    direction = np.asarray(axis, dtype=np.float64)
    if not np.isfinite(direction).all() or not direction.any():
        raise InputError(
            f"the axis of a rotation needs a direction, found {direction.tolist()}; give another"
        )
    x, y, z = _unit(direction)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.deg2rad(degrees)
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)


def turned_in_cell(structure: Structure, rotation: ArrayLike) -> Structure:
    """Rotate the atoms about the mean of their positions, and leave the cell as it is.

    Parameters
    ----------
    structure : Structure
        A molecule in a box.
    rotation : (3, 3) array
        Q.

    Returns
    -------
    Structure
        r' = c + Q (r - c).
    """
    centre = structure.positions.mean(axis=0)
    turned = centre + (structure.positions - centre) @ np.asarray(rotation).T
    return Structure(structure.lattice, turned, structure.numbers)


def rotate(
    structure: Structure,
    rng: Generator,
    rotation: ArrayLike | None = None,
    improper: bool = False,
    keep_cell: bool = False,
) -> tuple[Structure, dict[str, Any]]:
    """Rotate a structure, at random or as given.

    Parameters
    ----------
    structure : Structure
        Before.
    rng : numpy.random.Generator
        Where a random rotation comes from.
    rotation : (3, 3) array, optional
        Q; random without it.
    improper : bool
        Of `random_rotation`.
    keep_cell : bool
        As in `turned_in_cell`; otherwise cell and atoms turn about the origin.

    Returns
    -------
    Structure, dict
        The rotated structure, and Q.
    """
    matrix = random_rotation(rng, improper) if rotation is None else np.asarray(rotation)
    turned = turned_in_cell(structure, matrix) if keep_cell else structure.rotated(matrix)
    return turned, {"rotation": matrix.tolist()}
