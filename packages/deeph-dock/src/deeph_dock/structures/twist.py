"""Twisted stacks in exactly common cells, named by two whole numbers (m, n).

In:  monolayers (any structures that are periodic along a1 and a2), m and n.
Out: stacks in which chosen layers are turned by the angle between m a1 + n a2 and n a1 + m a2
     (of vectors at 60 degrees in a hexagonal lattice, at 90 degrees in a square one).

Hexagonal: cos(angle) = (m^2 + 4 m n + n^2) / (2 (m^2 + m n + n^2)) and N = m^2 + m n + n^2 cells
of each layer; square: cos(angle) = 2 m n / (m^2 + n^2), N = m^2 + n^2
(S. Shallcross et al., Phys. Rev. B 81, 165105 (2010); J. M. B. Lopes dos Santos et al.,
Phys. Rev. B 86, 155449 (2012)). Lattice vectors are the whole numbers of a ring, z = m + n w with
w = exp(i pi / 3) or i: a cell is spanned by z and its rotation. If a prime that divides the
lattice symmetrically divides z, the common cell is smaller still: by 3 if m - n is a multiple of 3
(hexagonal), by 2 if m and n are odd (square). (n - m, n + 2 m) is such a hexagonal cell: 60 degrees
less the angle of (m, n), in the same size; (1, 91) for (30, 31).

Other lattices have no exact common cells: `deeph_dock.structures.matching.matches` searches
nearly common ones, at any angle, of any two layers.

`dock generate twist` offers both. Distances have no default: they are the physics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import ArrayLike

from deeph_dock.structures.layer import Layer, layer_of, stack
from deeph_dock.structures.match import Match, match_of, stacked
from deeph_dock.structures.plane_lattice import Whole

SHAPE_TOLERANCE = 2e-3
"""Deviation of a lattice's ratio and cosine from the ideal ones: vectors of three decimals."""
SHAPES = {"hexagonal": 60.0, "square": 90.0}
"""Angle between the vectors that m and n count, degrees."""


def commensurate_angle(m: int, n: int, shape: str = "hexagonal") -> float:
    """Give the twist angle of the common cell (m, n).

    Parameters
    ----------
    m, n : int
        Not negative, without a common divisor.
    shape : str
        ``hexagonal`` or ``square``.

    Returns
    -------
    float
        Degrees, from 0 to 60 or 90; the same for (n, m), whose layers are turned the other way.

    Examples
    --------
    >>> round(commensurate_angle(1, 2), 3), round(commensurate_angle(30, 31), 3)
    (21.787, 1.085)
    """
    _check(m, n, shape)
    return abs(math.degrees(_argument(m, n, shape) - _argument(n, m, shape)))


def commensurate(bottom: Structure, top: Structure, m: int, n: int, share: float = 0.0) -> Match:
    """Describe the smallest common cell (m, n) of two layers.

    Parameters
    ----------
    bottom, top : Structure
        Layers that are both hexagonal or both square. Where their lattice constants differ, the
        difference is strain.
    m, n : int
        Not negative, without a common divisor. The top is turned anticlockwise if m < n.
    share : float
        Of the strain that the bottom takes: 0 the top alone, 0.5 both alike, 1 the bottom alone.

    Returns
    -------
    Match
        Angle, supercells, strain and atoms; `stacked` builds it.

    Raises
    ------
    InputError
        If m, n or the lattices do not allow it.
    """
    layers = layer_of(bottom), layer_of(top)
    straight, turned = _supercells(layers, (False, True), m, n)
    return match_of(*layers, straight, turned, share)


def twisted(
    bottom: Structure,
    top: Structure,
    m: int,
    n: int,
    distance: float,
    vacuum: float = 20.0,
    shift: ArrayLike = (0.0, 0.0),
    share: float = 0.0,
) -> Structure:
    """Twist two layers in their smallest common cell (m, n).

    Parameters
    ----------
    bottom, top : Structure
        Layers that are both hexagonal or both square; the same one twice, or two.
    m, n : int
        Not negative, without a common divisor. The top is turned anticlockwise if m < n.
    distance : float
        Between the middle planes of the layers, Å.
    vacuum : float
        Empty space above the stack, Å.
    shift : (2,) array
        Of the top, in units of its own a1, a2. At 0 the layers' origins lie on the axis.
    share : float
        Of the strain that the bottom takes, if the lattice constants differ.

    Returns
    -------
    Structure
        Atoms of the bottom, then of the top; first lattice vector along x, third along z.

    Raises
    ------
    InputError
        If m, n or the lattices do not allow it, or if the layers would touch.
    """
    return stacked(bottom, top, commensurate(bottom, top, m, n, share), distance, vacuum, shift)


def twisted_layers(
    layers: Sequence[Structure],
    turned: Sequence[bool],
    m: int,
    n: int,
    distances: Sequence[float],
    vacuum: float = 20.0,
    shifts: Sequence[ArrayLike] | None = None,
) -> Structure:
    """Twist several layers of which some are turned and others are not.

    Parameters
    ----------
    layers : sequence of Structure
        From below. All but the first are strained where lattice constants differ.
    turned : sequence of bool
        Which ones are turned by the angle of (m, n): no, yes, no is a mirror-symmetric trilayer;
        no, no, yes, yes a twisted double bilayer.
    m, n : int
        Not negative, without a common divisor.
    distances : sequence of float
        Between the middle planes of neighbours, Å: one less than layers.
    vacuum : float
        Empty space above the stack, Å.
    shifts : sequence of (2,) arrays, optional
        Of each layer in units of its own a1, a2: (1/3, 1/3) for vectors at 60 degrees stacks
        graphene AB.

    Returns
    -------
    Structure
        Atoms layer by layer from below.

    Raises
    ------
    InputError
        As for `twisted`, and if the numbers of layers, turns, distances and shifts do not fit.
    """
    if not layers or len(turned) != len(layers) or len(shifts or layers) != len(layers):
        raise InputError(
            f"{len(layers)} layers, {len(turned)} turns"
            + (f", {len(shifts)} shifts" if shifts is not None else "")
            + "; give one of each per layer"
        )
    flat = [layer_of(layer) for layer in layers]
    matrices = _supercells(flat, turned, m, n)
    return stack(flat, matrices, matrices[0] @ flat[0].lattice, distances, vacuum, shifts)


def _check(m: int, n: int, shape: str) -> None:
    """Refuse numbers that name no cell."""
    if shape not in SHAPES:
        raise InputError(f"shape is {shape!r}; give one of {', '.join(SHAPES)}")
    divisor = math.gcd(m, n)
    if min(m, n) < 0 or divisor != 1:
        remedy = (
            f"give ({m // divisor}, {n // divisor}): the same angle, a smaller cell"
            if divisor > 1 and min(m, n) >= 0
            else "give whole numbers such as (30, 31)"
        )
        raise InputError(
            f"(m, n) is ({m}, {n}), expected numbers that are not negative and have no common "
            f"divisor; {remedy}"
        )


def _argument(m: int, n: int, shape: str) -> float:
    """Angle of m + n w from the real axis, radians."""
    corner = math.radians(SHAPES[shape])
    return math.atan2(n * math.sin(corner), m + n * math.cos(corner))


def _supercells(layers: Sequence[Layer], turned: Sequence[bool], m: int, n: int) -> list[Whole]:
    """Give the supercell of each layer, all of the same size and shape."""
    shapes = [_shape(layer) for layer in layers]
    if len(set(shapes)) > 1:
        raise InputError(
            f"layers are {' and '.join(dict.fromkeys(shapes))}; (m, n) name common cells of "
            "layers of the same shape: give an angle instead, and the strain that is allowed"
        )
    _check(m, n, shapes[0])
    corner = math.radians(SHAPES[shapes[0]])
    step = complex(math.cos(corner), math.sin(corner))
    cell_corner = math.atan2(layers[0].lattice[1, 1], layers[0].lattice[1, 0])
    turn = complex(math.cos(cell_corner), math.sin(cell_corner))
    smallest, primes = {
        "hexagonal": (abs(m - n) % 3 == 0, 1 + step),
        "square": (m % 2 == n % 2 == 1, 1 + step),
    }[shapes[0]]
    straight, mirrored = m + n * step, n + m * step
    if smallest:
        straight, mirrored = straight / primes, mirrored / primes
    return [
        _whole([mirrored, mirrored * turn] if is_turned else [straight, straight * turn], layer)
        for layer, is_turned in zip(layers, turned, strict=True)
    ]


def _whole(vectors: Sequence[complex], layer: Layer) -> Whole:
    """Write vectors, in units of the lattice constant along x, by the layer's own a1 and a2."""
    vector = complex(*layer.lattice[1])
    own = vector / abs(vector)
    second = [z.imag / own.imag for z in vectors]
    first = [z.real - s * own.real for z, s in zip(vectors, second, strict=True)]
    return np.rint(np.column_stack([first, second])).astype(np.int64)


def _shape(layer: Layer) -> str:
    """Name the lattice of a layer."""
    first, second = np.linalg.norm(layer.lattice, axis=1)
    cosine = abs(float(layer.lattice[0] @ layer.lattice[1] / (first * second)))
    if abs(first / second - 1) <= SHAPE_TOLERANCE:
        for shape, degrees in SHAPES.items():
            if abs(cosine - math.cos(math.radians(degrees))) <= SHAPE_TOLERANCE:
                return shape
    degrees = math.degrees(
        math.acos(float(layer.lattice[0, 0] * layer.lattice[1, 0]) / first / second)
    )
    raise InputError(
        f"a layer has vectors of {first:.4f} and {second:.4f} Å at {degrees:.2f} degrees, "
        "expected a hexagonal or a square lattice for (m, n); give an angle instead, and the "
        "strain that is allowed"
    )
