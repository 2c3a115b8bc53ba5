"""A common cell of two layers: how each is repeated, turned and strained, and the stack of them.

In:  two layers and a whole-number supercell of each.
Out: `Match`, and the structure that it describes.

Rows of the supercells are B = M_b A_b and T = M_t A_t. The map F = T^-1 B brings the top's cell
onto the bottom's; its polar decomposition F = R U is the rotation R by which the layers are
twisted and the symmetric stretch U that is left as strain. A share s of the strain is put on the
bottom, U^-s, and the rest on the top, U^(1-s), which both end in the cell B U^-s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import ArrayLike

from deeph_dock.structures.layer import Layer, layer_of, stack
from deeph_dock.structures.plane_lattice import Real, Whole

Rows = tuple[tuple[int, int], tuple[int, int]]

LARGEST_STRAIN = 0.3
"""More is no match of layers any more."""


@dataclass(frozen=True)
class Match:
    """A common cell of two layers.

    Attributes
    ----------
    bottom_matrix, top_matrix : two rows of two int
        Supercells in units of each layer's a1, a2 (as `layer_of` gives them).
    angle : float
        By which the top is turned from its own frame, a1 along x, to fit; degrees, anticlockwise.
    stretches : (float, float)
        Principal stretches of the top if it alone is strained, the smaller first.
    share : float
        Of the strain that the bottom takes: 0 the top alone, 0.5 both alike, 1 the bottom alone.
    atoms : int
        In the common cell.
    """

    bottom_matrix: Rows
    top_matrix: Rows
    angle: float
    stretches: tuple[float, float]
    share: float
    atoms: int

    @property
    def strain(self) -> float:
        """Largest strain between the layers, by which they are compared."""
        return max(abs(stretch - 1) for stretch in self.stretches)

    @property
    def bottom_strain(self) -> tuple[float, float]:
        """Principal strains of the bottom layer; positive is longer."""
        small, large = (stretch**-self.share - 1 for stretch in self.stretches)
        return min(small, large), max(small, large)

    @property
    def top_strain(self) -> tuple[float, float]:
        """Principal strains of the top layer; positive is longer."""
        small, large = (stretch ** (1 - self.share) - 1 for stretch in self.stretches)
        return small, large

    def facts(self) -> dict[str, Any]:
        """Give what a record of the structure should say: numbers and lists of them."""
        return {
            "bottom_matrix": [list(row) for row in self.bottom_matrix],
            "top_matrix": [list(row) for row in self.top_matrix],
            "angle": self.angle,
            "bottom_strain": list(self.bottom_strain),
            "top_strain": list(self.top_strain),
        }

    def __str__(self) -> str:
        bottom, top = (
            100
            * (round((low if abs(low) > abs(high) else high), 7) + 0.0)  # + 0.0: no sign of a zero
            for low, high in (self.bottom_strain, self.top_strain)
        )
        return (
            f"{self.angle:.4f} degrees, {self.atoms} atoms, "
            f"strain {bottom:+.3g} % of the bottom and {top:+.3g} % of the top"
        )


def match_of(
    bottom: Layer, top: Layer, bottom_matrix: ArrayLike, top_matrix: ArrayLike, share: float = 0.0
) -> Match:
    """Compare two supercells that are to become one.

    Parameters
    ----------
    bottom, top : Layer
        The layers.
    bottom_matrix, top_matrix : (2, 2) int arrays
        Their supercells, of positive determinant.
    share : float
        Of the strain that the bottom takes, from 0 to 1.

    Returns
    -------
    Match
    """
    if not 0 <= share <= 1:
        raise InputError(f"the bottom's share of the strain is {share:g}; give 0 to 1")
    lower = np.asarray(bottom_matrix, dtype=np.int64)
    upper = np.asarray(top_matrix, dtype=np.int64)
    mapping = mapping_of(lower @ bottom.lattice, upper @ top.lattice)
    angle, small, large = (float(x) for x in rotation_and_stretches(mapping))
    cells = [round(float(np.linalg.det(matrix))) for matrix in (lower, upper)]
    atoms = cells[0] * len(bottom) + cells[1] * len(top)
    return Match(_rows(lower), _rows(upper), math.degrees(angle), (small, large), share, atoms)


def stacked(
    bottom: Structure,
    top: Structure,
    match: Match,
    distance: float,
    vacuum: float = 20.0,
    shift: ArrayLike = (0.0, 0.0),
) -> Structure:
    """Build the stack of two layers that a match describes.

    Parameters
    ----------
    bottom, top : Structure
        The layers that were matched.
    match : Match
        From `matches`, or `deeph_dock.structures.twist.commensurate`.
    distance : float
        Between the middle planes of the layers, Å.
    vacuum : float
        Empty space above the stack, Å.
    shift : (2,) array
        Of the top, in units of its own a1, a2. The layers' origins lie above each other at 0.

    Returns
    -------
    Structure
        Atoms of the bottom, then of the top.

    Raises
    ------
    InputError
        If the layers would touch.
    """
    layers = layer_of(bottom), layer_of(top)
    matrices = np.array(match.bottom_matrix), np.array(match.top_matrix)
    cell = matrices[0] @ layers[0].lattice
    mapping = mapping_of(cell, matrices[1] @ layers[1].lattice)
    rotation = math.radians(match.angle)
    cosine, sine = math.cos(rotation), math.sin(rotation)
    stretch = np.array([[cosine, -sine], [sine, cosine]]) @ mapping  # U = R^-1 F
    values, axes = np.linalg.eigh((stretch + stretch.T) / 2)
    cell = cell @ (axes * values**-match.share) @ axes.T
    return stack(layers, matrices, cell, [distance], vacuum, [(0.0, 0.0), shift])


def mapping_of(lower: Real, upper: Real) -> Real:
    """Give F = upper^-1 lower, the map of rows that brings `upper` onto `lower`, (..., 2, 2)."""
    return np.asarray(np.linalg.solve(upper, lower), dtype=np.float64)


def rotation_and_stretches(mapping: Real) -> tuple[Real, Real, Real]:
    """Decompose maps of rows into angle (radians) and principal stretches, the smaller first."""
    (a, b), (c, d) = np.moveaxis(mapping, (-2, -1), (0, 1))
    mean, deviation = np.hypot(a + d, b - c) / 2, np.hypot(a - d, b + c) / 2
    return np.arctan2(b - c, a + d), mean - deviation, mean + deviation


def _rows(matrix: Whole) -> Rows:
    (a, b), (c, d) = matrix.tolist()
    return (a, b), (c, d)
