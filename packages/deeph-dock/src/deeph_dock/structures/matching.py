"""Common cells of two layers: whole-number supercells that differ by a rotation and little strain.

In:  two layers, an angle and what may deviate from it.
Out: `Match`es.

The search is complete: a common cell of N cells of the bottom has a reduced basis whose first
vector is not longer than (2 N area / sqrt(3))^(1/2) and whose second vector lies N / g rows above
it (g: how many steps of the lattice the first has). The first vectors are all coincidences of
lattice vectors within reach, the second ones are tried row by row. Cells grow by factors of two,
and once a cell is found only those with less strain are still looked for.
"""

from __future__ import annotations

import math

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

from deeph_dock.structures.layer import Layer, layer_of
from deeph_dock.structures.match import (
    LARGEST_STRAIN,
    Match,
    mapping_of,
    match_of,
    rotation_and_stretches,
)
from deeph_dock.structures.plane_lattice import (
    Real,
    Whole,
    by_length,
    determinants,
    inverse_of,
    near,
    of_length,
    points_within,
    second_vectors,
)

ANGLE_ROUNDING = 1e-7
"""Degrees that cannot be told from 0."""
STRAIN_ROUNDING = 1e-6
"""Strain that cannot be told from 0: lattice vectors of six or seven decimals leave as much."""
PIECE = 256
"""Vectors of the bottom that are compared with the top's at once, for the sake of memory."""
WORTHWHILE = 0.9
"""How much less strain a larger cell must have to be named."""

_NONE = (
    np.zeros((0, 2, 2), dtype=np.int64),
    np.zeros((0, 2, 2), dtype=np.int64),
    np.zeros(0, dtype=np.int64),
    np.zeros(0),
    np.zeros(0),
)


def matches(
    bottom: Structure,
    top: Structure,
    angle: float,
    tolerance: float = 0.1,
    max_strain: float = 0.01,
    max_atoms: int = 2000,
    share: float = 0.0,
) -> list[Match]:
    """Search the common cells of two layers near an angle.

    Parameters
    ----------
    bottom, top : Structure
        The layers, the same or different ones, of any lattice.
    angle : float
        Between a1 of the bottom and a1 of the top, degrees, anticlockwise.
    tolerance : float
        How far the angle may be off, degrees.
    max_strain : float
        Largest strain between the layers, in any direction.
    max_atoms : int
        Of the common cell.
    share : float
        Of the strain that the bottom takes: 0 the top alone, 0.5 both alike, 1 the bottom alone.

    Returns
    -------
    list of Match
        The smallest cell first; each further one has more atoms and at least a tenth less strain.

    Raises
    ------
    InputError
        If there is none: the message names the nearest.
    """
    layers = layer_of(bottom), layer_of(top)
    _check(layers, angle, tolerance, max_strain, max_atoms, share)
    found = _search(layers, angle, tolerance, max_strain, max_atoms, share)
    if found:
        return found
    asked = (
        f"no common cell of {bottom.formula} and {top.formula} at {angle:g} +- {tolerance:g} "
        f"degrees with strain up to {100 * max_strain:.3g} % and {max_atoms} atoms"
    )
    loose = tolerance, max_strain
    while not found and loose != (180.0, LARGEST_STRAIN):
        loose = min(max(2 * loose[0], 0.01), 180.0), min(max(2 * loose[1], 1e-4), LARGEST_STRAIN)
        found = _search(layers, angle, *loose, max_atoms, share)
    nearest = f"; the nearest has {found[-1]}" if found else ""
    raise InputError(f"{asked}{nearest}; allow more strain, a larger tolerance or more atoms")


def _check(
    layers: tuple[Layer, Layer],
    angle: float,
    tolerance: float,
    max_strain: float,
    max_atoms: int,
    share: float,
) -> None:
    """Refuse numbers that cannot be meant."""
    if not math.isfinite(angle):
        raise InputError(f"angle is {angle}; give degrees")
    if not 0 <= tolerance <= 180:
        raise InputError(f"tolerance is {tolerance:g} degrees; give 0 to 180")
    if not 0 <= max_strain <= LARGEST_STRAIN:
        raise InputError(
            f"max_strain is {max_strain:g}; give a fraction from 0 to {LARGEST_STRAIN:g}, "
            "such as 0.01 for one per cent"
        )
    least = sum(map(len, layers))
    if max_atoms < least:
        raise InputError(
            f"max_atoms is {max_atoms}, but one cell of each layer has {least}; give more"
        )
    if not 0 <= share <= 1:
        raise InputError(f"the bottom's share of the strain is {share:g}; give 0 to 1")


def _search(
    layers: tuple[Layer, Layer],
    angle: float,
    tolerance: float,
    max_strain: float,
    max_atoms: int,
    share: float,
) -> list[Match]:
    """Find common cells of growing size and shrinking strain."""
    tolerance = math.radians(max(tolerance, ANGLE_ROUNDING))
    strain = max(max_strain, STRAIN_ROUNDING)
    found: list[Match] = []
    done, limit = 0, 16 * max(map(len, layers))
    while done < max_atoms:
        limit = min(limit, max_atoms)
        level = _cells(layers, math.radians(angle), tolerance, strain, (done, limit))
        for lower, upper in zip(*_improving(*level), strict=True):
            match = match_of(*layers, lower, upper, share)
            if match.strain <= strain:
                found.append(match)
                strain = max(match.strain * WORTHWHILE, STRAIN_ROUNDING)
                if match.strain <= STRAIN_ROUNDING:
                    return found
        done, limit = limit, 2 * limit
    return found


def _improving(
    lower: Whole, upper: Whole, atoms: Whole, strains: Real, off: Real
) -> tuple[Whole, Whole]:
    """Sort cells by size, and leave out those that are strained more than a smaller one."""
    order = np.lexsort((off.round(9), strains.round(9), atoms))
    least = np.minimum.accumulate(strains[order])
    kept = order[strains[order] <= least]
    return lower[kept], upper[kept]


def _cells(
    layers: tuple[Layer, Layer],
    angle: float,
    tolerance: float,
    strain: float,
    sizes: tuple[int, int],
) -> tuple[Whole, Whole, Whole, Real, Real]:
    """Find the pairs of supercells within the tolerances whose atoms are in (from, up to].

    Returns
    -------
    lower, upper : (c, 2, 2) int64 arrays
        Of bottom and top.
    atoms, strains, off : (c,) arrays
        Size, strain, and how far the angle is off, radians.
    """
    bottom, top = layers
    ratio = bottom.area / top.area * len(top)
    fewest = max(1, math.floor(sizes[0] / (len(bottom) + ratio / (1 - strain) ** 2)))
    most = math.floor(sizes[1] / (len(bottom) + ratio / (1 + strain) ** 2))
    reach = math.sqrt(2 * most * bottom.area / math.sqrt(3)) * (1 + 1e-9)
    inverse = inverse_of(top.lattice)
    found = [_NONE]
    for first, image in zip(*_coincidences(layers, angle, tolerance, strain, reach), strict=True):
        seconds = second_vectors(first, bottom.lattice, (fewest, most))
        vectors = seconds @ bottom.lattice
        turn, spread = angle, strain / (1 - strain) + tolerance * (1 + 2 * strain)
        if 2.1 * strain / (1 - strain) < spread:
            # Where the first vector is known to go, the second may differ by twice the strain.
            turn = _argument(first @ bottom.lattice) - _argument(image @ top.lattice)
            spread = 2.1 * strain / (1 - strain)
        expected = _rotated(vectors, -turn) @ inverse
        reaches = spread * np.linalg.norm(vectors, axis=1) + 1e-6
        rows, images = near(expected, reaches, inverse)
        lower = np.stack(np.broadcast_arrays(first, seconds[rows]), axis=1)
        upper = np.stack(np.broadcast_arrays(image, images), axis=1)
        cells = determinants(lower), determinants(upper)
        atoms = cells[0] * len(bottom) + cells[1] * len(top)
        fits = (cells[1] > 0) & (atoms > sizes[0]) & (atoms <= sizes[1])
        lower, upper = lower[fits], upper[fits]
        mapping = mapping_of(lower @ bottom.lattice, upper @ top.lattice)
        turns, small, large = rotation_and_stretches(mapping)
        off = np.abs((turns - angle + np.pi) % (2 * np.pi) - np.pi)
        strains = np.maximum(large - 1, 1 - small)
        good = (off <= tolerance) & (strains <= strain)
        if good.any():
            found.append((lower[good], upper[good], atoms[fits][good], strains[good], off[good]))
    lowers, uppers, sizes_, strains_, offs = zip(*found, strict=True)
    return (
        np.concatenate(lowers),
        np.concatenate(uppers),
        np.concatenate(sizes_),
        np.concatenate(strains_),
        np.concatenate(offs),
    )


def _coincidences(
    layers: tuple[Layer, Layer], angle: float, tolerance: float, strain: float, reach: float
) -> tuple[Whole, Whole]:
    """Give the lattice vectors of the bottom up to a length, each with those it may be matched to.

    Returns
    -------
    firsts, images : (c, 2) int64 arrays
        Of the bottom (one of each u, -u) and the top.
    """
    bottom, top = layers
    points = points_within(bottom.lattice, reach)
    points = points[(points[:, 0] > 0) | ((points[:, 0] == 0) & (points[:, 1] > 0))]
    sideways = min(tolerance + math.asin(strain) * 1.01, math.pi)
    ring = by_length(points_within(top.lattice, reach * (1 + 1e-6) / (1 - strain)), top.lattice)
    inverse = inverse_of(top.lattice)
    found = [(points[:0], points[:0])]
    for start in range(0, len(points), PIECE):
        piece = points[start : start + PIECE]
        vectors = piece @ bottom.lattice
        lengths = np.linalg.norm(vectors, axis=1)
        if math.pi * strain > (strain + sideways) ** 2:
            reaches = (strain / (1 - strain) + sideways * (1 + 2 * strain)) * lengths + 1e-6
            rows, images = near(_rotated(vectors, -angle) @ inverse, reaches, inverse)
        else:
            rows, images = of_length(ring, lengths, strain)
        turned = _rotated(images @ top.lattice, angle)
        stretch = lengths[rows] / np.maximum(np.linalg.norm(turned, axis=1), 1e-12) - 1
        cross = turned[:, 0] * vectors[rows, 1] - turned[:, 1] * vectors[rows, 0]
        off = np.abs(np.arctan2(cross, np.sum(turned * vectors[rows], axis=1)))
        # Strain e lengthens and turns a vector by e at most, and by both together no more.
        good = np.hypot(stretch, np.maximum(off - tolerance, 0.0)) <= strain * 1.01 / (1 - strain)
        found.append((piece[rows[good]], images[good]))
    firsts, partners = zip(*found, strict=True)
    return np.concatenate(firsts), np.concatenate(partners)


def _argument(vector: Real) -> float:
    """Angle of a vector from x, radians."""
    return math.atan2(vector[1], vector[0])


def _rotated(vectors: Real, angle: float) -> Real:
    """Turn rows anticlockwise."""
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: Real = vectors @ np.array([[cosine, sine], [-sine, cosine]])
    return turned
