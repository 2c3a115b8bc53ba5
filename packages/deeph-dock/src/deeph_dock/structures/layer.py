"""One layer of a stack: read from a cell with vacuum, repeated, strained, and put on others.

In:  structures that are periodic along their first two lattice vectors, and whole-number matrices.
Out: stacks in one cell, atoms layer by layer from below.

A layer may be more than one atom thick and may itself consist of layers (a bilayer to be twisted
on another): it is everything between two gaps of vacuum. It is turned so that a1 lies along x and
its normal along z; vectors are rows, so that a map F takes r to r F.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import ArrayLike

from deeph_dock.structures.plane_lattice import Real, Whole, translations

SMALLEST_GAP = 1.0
"""Closest approach, along the normal, of the outer atoms of two layers, Å: less is taken for a
distance that was meant to be measured otherwise."""


SMALLEST_VACUUM = 2.0
"""Widest gap without atoms along a3 that a layer must have beside it, Å: rows of atoms in a plane,
which a wrong choice of axes would take for a layer, are nearer."""


@dataclass(frozen=True, eq=False)
class Layer:
    """Atoms with two periodic directions.

    Attributes
    ----------
    lattice : (2, 2) float64 array
        Vectors a1 (along x) and a2 (with positive y) as rows, Å.
    fractional : (n, 2) float64 array
        Positions in the plane, in units of the lattice vectors.
    heights : (n,) float64 array
        Along the normal, Å, from half way between the lowest and the highest atom.
    numbers : (n,) int64 array
        Atomic numbers.
    """

    lattice: Real
    fractional: Real
    heights: Real
    numbers: Whole

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def area(self) -> float:
        """Area of the cell, Å^2."""
        return float(np.linalg.det(self.lattice))

    @property
    def half_thickness(self) -> float:
        """Height of the highest atom, Å."""
        return float(self.heights.max())


def layer_of(structure: Structure) -> Layer:
    """Take a layer out of a cell with vacuum.

    The layer may cross the border of the cell: it is put together at the largest gap along a3.
    Of a left-handed cell a2 is turned round, so that up stays up.

    Parameters
    ----------
    structure : Structure
        Periodic along a1 and a2; a3 leads out of the plane.

    Returns
    -------
    Layer

    Raises
    ------
    InputError
        If there are no atoms, the lattice vectors span no volume, or nothing is empty along a3.
    """
    if not len(structure):
        raise InputError("a layer has no atoms; give a structure of at least one atom")
    lattice = np.array(structure.lattice)
    if structure.volume < 1e-6 * float(np.prod(np.linalg.norm(lattice, axis=1))):
        raise InputError(
            f"the cell of layer {structure.formula} has a volume of {structure.volume:.2g} Å^3; "
            "give a layer with a1 and a2 in its plane and a3 leading out of it"
        )
    if np.linalg.det(lattice) < 0:
        lattice[1] = -lattice[1]
    fractional = np.linalg.solve(lattice.T, structure.positions.T).T
    fractional[:, 2], gap = _together(np.array(fractional[:, 2]))
    positions = fractional @ lattice
    x = lattice[0] / np.linalg.norm(lattice[0])
    normal = np.cross(lattice[0], lattice[1])
    normal /= np.linalg.norm(normal)
    if gap * (lattice[2] @ normal) < SMALLEST_VACUUM:
        raise InputError(
            f"along a3 of layer {structure.formula} no gap between atoms is wider than "
            f"{gap * float(lattice[2] @ normal):.2f} Å, expected {SMALLEST_VACUUM:g}; give a layer "
            "with a1 and a2 in its plane and empty space along a3"
        )
    frame = np.array([x, np.cross(normal, x), normal])
    turned, positions = lattice[:2] @ frame.T, positions @ frame.T
    plane = turned[:, :2].copy()
    plane[0, 1] = 0.0  # exactly: a1 is along x
    heights = positions[:, 2] - (positions[:, 2].min() + positions[:, 2].max()) / 2
    in_plane = np.linalg.solve(plane.T, positions[:, :2].T).T
    return Layer(plane, in_plane, heights, np.array(structure.numbers))


def _together(fractions: Real) -> tuple[Real, float]:
    """Move atoms by whole periods so that the largest gap is left empty; give it as well."""
    wrapped = fractions - np.floor(fractions)
    ordered = np.sort(wrapped)
    gaps = np.diff(ordered, append=ordered[0] + 1)
    widest = int(np.argmax(gaps))
    return np.where(wrapped > ordered[widest], wrapped - 1, wrapped), float(gaps[widest])


def stack(
    layers: Sequence[Layer],
    matrices: Sequence[Whole],
    cell: ArrayLike,
    distances: Sequence[float],
    vacuum: float,
    shifts: Sequence[ArrayLike] | None = None,
) -> Structure:
    """Put supercells of layers above one another in one cell.

    Parameters
    ----------
    layers : sequence of Layer
        From below.
    matrices : sequence of (2, 2) int64 arrays
        Supercell of each layer that is brought into `cell`.
    cell : (2, 2) array
        Vectors of the common cell as rows, Å; the result is turned so that the first is along x.
    distances : sequence of float
        Between the middle planes of neighbouring layers, Å: one less than layers.
    vacuum : float
        Empty space between the highest atom and the lowest of the next period, Å.
    shifts : sequence of (2,) arrays, optional
        Of each layer in units of its own primitive vectors a1, a2 (strained as the layer is).

    Returns
    -------
    Structure
        Atoms layer by layer, within a layer by atoms of its cell; right-handed, normal along z,
        wrapped into the cell.

    Raises
    ------
    InputError
        If layers would touch or the vacuum is not positive.
    """
    floors = _floors(layers, distances)
    if not 0 < vacuum < np.inf:
        raise InputError(f"vacuum is {vacuum:g} Å; give a positive length, such as 20")
    plane = np.asarray(cell, dtype=np.float64)
    length = float(np.hypot(*plane[0]))
    cosine, sine = plane[0] / length
    plane = plane @ np.array([[cosine, -sine], [sine, cosine]])
    bottom = min(float((layer.heights + z).min()) for layer, z in zip(layers, floors, strict=True))
    top = max(float((layer.heights + z).max()) for layer, z in zip(layers, floors, strict=True))
    lattice = np.zeros((3, 3))
    lattice[:2, :2], lattice[2, 2] = plane, top - bottom + vacuum
    lattice[0, 1] = 0.0
    moves = [np.zeros(2)] * len(layers) if shifts is None else [np.asarray(s) for s in shifts]
    positions, numbers = [], []
    for layer, matrix, z, move in zip(layers, matrices, floors, moves, strict=True):
        atoms = (layer.fractional + move) @ np.linalg.inv(matrix)
        fractional = (atoms[:, None, :] + translations(matrix)[None, :, :]).reshape(-1, 2)
        fractional -= np.floor(fractional + 1e-9)
        count = len(fractional) // len(layer)
        heights = np.repeat(layer.heights + z - bottom + vacuum / 2, count)
        positions.append(np.column_stack([fractional @ lattice[:2, :2], heights]))
        numbers.append(np.repeat(layer.numbers, count))
    return Structure(lattice, np.concatenate(positions), np.concatenate(numbers))


def _floors(layers: Sequence[Layer], distances: Sequence[float]) -> list[float]:
    """Give the heights of the middle planes; refuse layers that interpenetrate."""
    if len(distances) != len(layers) - 1:
        raise InputError(
            f"{len(layers)} layers need {len(layers) - 1} distances, found {len(distances)}"
        )
    floors = [0.0]
    for lower, upper, distance in zip(layers[:-1], layers[1:], distances, strict=True):
        thickness = lower.half_thickness + upper.half_thickness
        if not SMALLEST_GAP + thickness <= distance < np.inf:
            raise InputError(
                f"a distance of {distance:g} Å between the middle planes of two layers leaves "
                f"{distance - thickness:.2f} Å between their outer atoms, expected at least "
                f"{SMALLEST_GAP:g}; the layers are {2 * lower.half_thickness:.2f} and "
                f"{2 * upper.half_thickness:.2f} Å thick: give {thickness + 3.2:.1f} Å or so"
            )
        floors.append(floors[-1] + distance)
    return floors
