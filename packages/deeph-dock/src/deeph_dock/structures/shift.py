"""Sliding layers over each other, as stackings of twisted layers are sampled.

Strategy I of the DeepH-pack paper (5.1): in-plane translations of one layer on a uniform grid, the
distance of the layers drawn from a range. Layers lie across one lattice vector and are told apart
by gaps without atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

SMALLEST_GAP = 2.2
"""Least empty space between layers, Å: less than in Bi2Se3, more than within a layer."""
_ALIKE = 1e-6


@dataclass(frozen=True, eq=False)
class Sheet:
    """Atoms that no gap divides.

    Attributes
    ----------
    atoms : (n,) int array
        From the lowest to the highest.
    heights : (n,) array
        Along the normal, Å; they go on from layer to layer, also across the border of the cell.
    """

    atoms: NDArray[np.int64]
    heights: NDArray[np.float64]

    @property
    def middle(self) -> float:
        """Height half way between the lowest and the highest atom, Å."""
        return float(self.heights.min() + self.heights.max()) / 2


def normal(structure: Structure, axis: int = 2) -> NDArray[np.float64]:
    """Give the unit vector across the two other lattice vectors.

    Parameters
    ----------
    structure : Structure
        The crystal.
    axis : int
        Lattice vector on whose side it lies.

    Returns
    -------
    (3,) array
        Cartesian.
    """
    first, second = np.delete(structure.lattice, axis, axis=0)
    across = np.cross(first, second)
    across /= np.linalg.norm(across)
    return np.asarray(across if across @ structure.lattice[axis] > 0 else -across)


def find_layers(
    structure: Structure, axis: int = 2, smallest_gap: float = SMALLEST_GAP
) -> list[Sheet]:
    """Find the layers along an axis.

    Parameters
    ----------
    structure : Structure
        The crystal.
    axis : int
        Lattice vector along which they are stacked.
    smallest_gap : float
        Å.

    Returns
    -------
    list of Sheet
        From below; the first one is above the widest gap (vacuum), or the lowest in the cell.
    """
    across = normal(structure, axis)
    period = float(structure.lattice[axis] @ across)
    heights = (structure.positions @ across) % period
    order = np.argsort(heights, kind="stable")
    steps = np.diff(
        heights[order], append=heights[order[0]] + period
    )  # the last: into the next cell
    widest = int(np.argmax(steps))
    if steps[-1] > steps[widest] - _ALIKE:
        widest = len(order) - 1
    start = (widest + 1) % len(order)
    lifted = heights + np.where(np.isin(np.arange(len(order)), order[:start]), period, 0.0)
    order, steps = np.roll(order, -start), np.roll(steps, -start)
    pieces = np.split(order, np.flatnonzero(steps[:-1] > smallest_gap) + 1)
    return [Sheet(piece, lifted[piece]) for piece in pieces]


def widest_inner_gap(structure: Structure, axis: int = 2) -> float:
    """Give the widest gap but one, the vacuum of a slab: where a second layer could begin.

    Parameters
    ----------
    structure : Structure
        The crystal.
    axis : int
        Lattice vector.

    Returns
    -------
    float
        Å; 0 for one atom.
    """
    heights = np.sort((structure.positions @ normal(structure, axis)) % _period(structure, axis))
    steps = np.sort(np.diff(heights, append=heights[0] + _period(structure, axis)))
    return float(steps[-2]) if len(steps) > 1 else 0.0


def _period(structure: Structure, axis: int) -> float:
    return float(structure.lattice[axis] @ normal(structure, axis))


def chosen(layers: Sequence[Sheet], moving: str) -> tuple[int, int]:
    """Choose the layer that moves, and the one from which distances count.

    Parameters
    ----------
    layers : sequence of Sheet
        From below.
    moving : str
        "top", "bottom", or a number from 1.

    Returns
    -------
    moving, fixed : int, int
        Indices; the fixed one is the layer below, or above the lowest.

    Raises
    ------
    InputError
        If there is no such layer.
    """
    names = {"bottom": 0, "top": len(layers) - 1}
    if moving in names:
        index = names[moving]
    elif moving.isdigit() and 1 <= int(moving) <= len(layers):
        index = int(moving) - 1
    else:
        raise InputError(
            f"no layer '{moving}'; there are {len(layers)}: give top, bottom or a number from 1"
        )
    return index, index - 1 if index else 1


def grid_shifts(divisions: tuple[int, int]) -> NDArray[np.float64]:
    """List the translations of a uniform grid.

    Parameters
    ----------
    divisions : two int
        n1 and n2.

    Returns
    -------
    (n1 * n2, 2) array
        Fractions (i / n1, j / n2) of the two in-plane lattice vectors, j fastest.
    """
    first, second = np.meshgrid(*(np.arange(n) / n for n in divisions), indexing="ij")
    return np.stack([first, second], axis=-1).reshape(-1, 2)


def with_layer_moved(
    structure: Structure,
    layers: Sequence[Sheet],
    moving: int,
    fixed: int,
    along: ArrayLike,
    distance: float | None = None,
    axis: int = 2,
) -> Structure:
    """Move one layer.

    Parameters
    ----------
    structure : Structure
        Before.
    layers : sequence of Sheet
        Of this structure.
    moving, fixed : int
        Which layer moves, and the one from which `distance` counts.
    along : (2,) array
        Translation as fractions of the two in-plane lattice vectors.
    distance : float, optional
        Of the middle planes of both layers after it, Å; as before without it.
    axis : int
        Lattice vector of the stacking.

    Returns
    -------
    Structure
        The cell and all other atoms are the same.
    """
    step = np.asarray(along) @ np.delete(structure.lattice, axis, axis=0)
    if distance is not None:
        present = layers[moving].middle - layers[fixed].middle
        step = step + (np.sign(present) * distance - present) * normal(structure, axis)
    positions = structure.positions.copy()
    positions[layers[moving].atoms] += step
    return Structure(structure.lattice, positions, structure.numbers)


def slide(
    structure: Structure,
    rng: Generator,
    along: tuple[float, float],
    distances: tuple[float, float] | None = None,
    moving: str = "top",
    axis: int = 2,
    smallest_gap: float = SMALLEST_GAP,
) -> tuple[Structure, dict[str, Any]]:
    """Slide a layer by a given translation, to a distance drawn uniformly from a range.

    Parameters
    ----------
    structure : Structure
        Before.
    rng : numpy.random.Generator
        Where the distance comes from.
    along : two float
        Fractions of the in-plane lattice vectors.
    distances : two float, optional
        Lowest and highest distance of the layers' middle planes, Å; as it is without it.
    moving : str
        Of `chosen`.
    axis, smallest_gap
        Of `find_layers`.

    Returns
    -------
    Structure, dict
        The new structure; translation, distance and the empty space between both layers (Å).

    Raises
    ------
    InputError
        If there are not two layers.
    """
    layers = layers_to_slide(structure, axis, smallest_gap)
    index, fixed = chosen(layers, moving)
    present = abs(layers[index].middle - layers[fixed].middle)
    empty = max(
        layers[index].heights.min() - layers[fixed].heights.max(),
        layers[fixed].heights.min() - layers[index].heights.max(),
    )
    distance = float(rng.uniform(*distances)) if distances else present
    moved = with_layer_moved(
        structure, layers, index, fixed, along, distance if distances else None, axis
    )
    facts = {
        "shift": list(along),
        "axis": axis,
        "distance": distance,
        "gap": float(empty) + distance - present,
        "layer": index + 1,
        "layers": len(layers),
    }
    return moved, facts


def layers_to_slide(structure: Structure, axis: int, smallest_gap: float) -> list[Sheet]:
    """Find layers of which one can slide.

    Parameters
    ----------
    structure, axis, smallest_gap
        Of `find_layers`.

    Returns
    -------
    list of Sheet
        At least two.

    Raises
    ------
    InputError
        If there is one only.
    """
    layers = find_layers(structure, axis, smallest_gap)
    if len(layers) < 2:
        raise InputError(_one_layer(structure, axis, smallest_gap))
    return layers


def _one_layer(structure: Structure, axis: int, smallest_gap: float) -> str:
    """Say why there is nothing to slide, and where there might be."""
    names = "abc"
    gaps = {other: widest_inner_gap(structure, other) for other in range(3)}
    message = (
        f"one layer only along {names[axis]}: no gap there but one is wider than "
        f"{smallest_gap:g} Å (the next is {gaps[axis]:.2f} Å)"
    )
    others = [names[k] for k in range(3) if k != axis and gaps[k] > smallest_gap]
    if others:
        return f"{message}; along {' and '.join(others)} there are more: --axis {others[0]}"
    return f"{message}; --gap sets the limit, --axis another direction"
