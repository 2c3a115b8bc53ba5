"""Quasi-one-dimensional moire cells: one layer of a bilayer strained along one direction.

Strategy II of the DeepH-pack paper (5.1): "quasi-1D moire structures, each containing 93 atoms ...
constructed by applying uniaxial strain to one layer relative to the other", after the validation
of interatomic potentials by J. D. Georgaras et al., arXiv:2503.15432. p cells of the bottom and q
of the top are as long as each other and one cell wide, so that along the cell the layers slide
over each other by p - q lattice vectors: a cell of (p + q) small ones passes through all stackings
of a line, as a twisted cell of p^2 and more does through all of a plane.

Where the text is silent:

- 93 = 3 (15 + 16): 15 cells of three atoms below 16, one cell wide. That is the default.
- One lattice vector (`across`) is the same in both layers. The strain is purely uniaxial, at right
  angles to it, where the corners of both layers' cells can meet: always in rectangular lattices; in
  hexagonal ones if p - q is even (15 and 17: 96 atoms) or if the cell is rectangular (186 atoms:
  `along` (1, 0) with `across` (1, 2) for vectors at 120 degrees, (-1, 2) at 60). 93 atoms need an
  odd difference and one cell across, so that the corners stay half a vector apart: the top of 16
  cells is strained by -6.7 % along an axis 15 degrees off and by +0.5 % across it, and turned by
  1.07 degrees.
- The strain is on the top alone by default ("one layer relative to the other"). A share of 0.5
  halves it in each: nearer to what the layers of a twisted cell know.
- Structures differ in the line of stackings (the top is shifted across the cell, drawn uniformly)
  and in the distance of the layers, drawn from a range as in strategy I. Displacements of single
  atoms are a step of their own, `deeph_dock.structures.perturb`.
- Layers near 0 and near 60 degrees are different materials where a layer has no inversion in its
  plane (MoTe2): `antiparallel` turns the top by 180 degrees, which is 60 for three-fold axes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.random import Generator
from numpy.typing import ArrayLike

from deeph_dock.structures.layer import Layer, layer_of
from deeph_dock.structures.match import LARGEST_STRAIN, Match, match_of, stacked
from deeph_dock.structures.plane_lattice import Whole, complement

CELLS = (15, 16)
"""Of bottom and top: 93 atoms of two layers of three."""


def quasi_one_dimensional_match(
    bottom: Structure,
    top: Structure,
    cells: tuple[int, int] = CELLS,
    along: tuple[int, int] = (1, 0),
    across: tuple[int, int] | None = None,
    antiparallel: bool = False,
    share: float = 0.0,
) -> Match:
    """Describe a quasi-one-dimensional moire cell.

    Parameters
    ----------
    bottom, top : Structure
        Layers whose vectors `across` are nearly the same: two of the same material, as a rule.
    cells : two int
        How often `along` is repeated in the bottom and in the top.
    along : two int
        Direction of the strain, in units of a1 and a2.
    across : two int, optional
        Width of the cell, in units of a1 and a2; the shortest vector that makes a primitive
        cell together with `along` if it is left out.
    antiparallel : bool
        Whether the top is turned by 180 degrees.
    share : float
        Of the strain that the bottom takes: 0 the top alone, 0.5 both alike, 1 the bottom alone.

    Returns
    -------
    Match
        Supercells, strain, angle and atoms; `stacked` builds it.

    Raises
    ------
    InputError
        If the numbers span no cell, or if it would be strained beyond any use.
    """
    layers = layer_of(bottom), layer_of(top)
    if min(cells) < 1:
        raise InputError(f"cells are {cells[0]} and {cells[1]}; give two numbers from 1")
    if along == (0, 0) or (across is not None and not _spanned(along, across)):
        raise InputError(f"along {along} and across {across} span no cell; give two directions")
    wide = _width(layers[0], along) if across is None else across
    if _spanned(along, wide) < 0:
        wide = (-wide[0], -wide[1])
    lower = np.array([np.multiply(cells[0], along), wide])
    upper = np.array([np.multiply(cells[1], along), wide])
    upper[0] += _steps(layers, lower, upper) * np.array(wide)
    match = match_of(*layers, lower, -upper if antiparallel else upper, share)
    if match.strain > LARGEST_STRAIN:
        raise InputError(
            f"{cells[0]} cells of {bottom.formula} and {cells[1]} of {top.formula} are strained "
            f"by {match.strain:.0%}, expected at most {LARGEST_STRAIN:.0%}; give more similar "
            "numbers such as 15 and 16"
        )
    return match


def quasi_one_dimensional(
    bottom: Structure,
    rng: Generator,
    top: Structure,
    distances: tuple[float, float],
    match: Match,
    vacuum: float = 20.0,
) -> tuple[Structure, dict[str, Any]]:
    """Make a quasi-one-dimensional moire structure, its stacking and distance drawn.

    Parameters
    ----------
    bottom, top : Structure
        The layers.
    rng : numpy.random.Generator
        Where shift and distance come from.
    distances : two float
        Lowest and highest distance of the layers' middle planes, Å.
    match : Match
        Of `quasi_one_dimensional_match` for these layers.
    vacuum : float
        Empty space above the bilayer, Å.

    Returns
    -------
    Structure, dict
        Atoms of the bottom, then of the top, first lattice vector along the strip; cells, strains,
        shift (of the top, in units of its a1 and a2) and distance.

    Raises
    ------
    InputError
        If the layers would touch.
    """
    if not distances[0] <= distances[1]:
        raise InputError(
            f"distances are {distances[0]:g} to {distances[1]:g} Å; give the lower one first"
        )
    shift = rng.uniform(0.0, 1.0, 2)
    distance = float(rng.uniform(*distances))
    made = stacked(bottom, top, match, distance, vacuum, shift)
    return made, {**match.facts(), "shift": shift.tolist(), "distance": distance}


def _spanned(first: ArrayLike, second: ArrayLike) -> int:
    """Cells that two vectors span, with sign."""
    (a, b), (c, d) = np.asarray(first).tolist(), np.asarray(second).tolist()
    return int(a * d - b * c)


def _width(layer: Layer, along: tuple[int, int]) -> tuple[int, int]:
    """Give the shortest vector that makes a primitive cell with the direction `along`."""
    steps = int(np.gcd(*along))
    direction = np.array(along) // steps
    other = np.array(complement(*direction.tolist()))
    vector, slanted = direction @ layer.lattice, other @ layer.lattice
    other -= _rounded(float(slanted @ vector / (vector @ vector))) * direction
    return int(other[0]), int(other[1])


def _steps(layers: tuple[Layer, Layer], lower: Whole, upper: Whole) -> int:
    """Count the widths by which the top's corner is to move along `across` to shear it least."""
    slants = []
    for layer, matrix in zip(layers, (lower, upper), strict=True):
        vectors = matrix @ layer.lattice
        slants.append(float(vectors[0] @ vectors[1] / (vectors[1] @ vectors[1])))
    return _rounded(slants[0] - slants[1])


def _rounded(number: float) -> int:
    """Round; halves, which rounding errors would decide, towards zero."""
    return int(np.sign(number) * np.ceil(abs(number) - 0.5 - 1e-6))
