"""All integrals, s to g shells, against integrals over three-dimensional space.

The numerical integral knows nothing of transforms, coefficients of coupling or rotations: orbitals
are evaluated at points in space. The points are equal angles about the axis through both centres,
and Gauss-Legendre nodes in the distances from either centre, a and b, with volume element
a b / d da db dphi. For the polynomials of these tests the sum is exact.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from deeph_dock.integrals.two_centre import TwoCentre

QUANTITIES = ("overlap", "kinetic", "gradient", "position")
FIRST, SECOND = 6, 42
GENERAL = np.array([0.7, -0.8, 0.45])
VECTORS = {
    "general": GENERAL,
    "back": -GENERAL,
    "along z": np.array([0, 0, 0.935]),  # between two knots of the splines
    "along -z": np.array([0, 0, -0.935]),
    "close": np.array([0.2, 0.15, -0.25]),
    "far": np.array([1.3, 1.2, -1.5]),
    "zero": np.zeros(3),
}
LIMIT = 1e-9
"""Of the largest integral or 1; the integrals in space are good to 1e-12."""


@pytest.fixture(scope="module")
def engine(smooth_bases):
    return TwoCentre(smooth_bases, QUANTITIES)


def nodes_between(ends, count):
    """Gauss-Legendre nodes and weights, `count` in each interval between sorted ends."""
    x, w = np.polynomial.legendre.leggauss(count)
    half = np.diff(np.asarray(ends), axis=0) / 2
    middle = np.asarray(ends)[:-1] + half
    return (middle[..., None] + half[..., None] * x), half[..., None] * w


def two_centre_points(vector, cutoffs, count=28, angles=11):
    """Points and weights for products of orbitals at 0 and at the vector."""
    d = np.linalg.norm(vector)
    reach_a, reach_b = cutoffs
    kinks = [0.0, d, d - reach_b, reach_b - d, d + reach_b, reach_a]
    ends = np.unique([end for end in kinks if 0 <= end <= reach_a])
    a, weight_a = (part.ravel() for part in nodes_between(ends, count))
    limits = np.stack([np.abs(d - a), np.minimum(d + a, reach_b)])
    inside = limits[0] < limits[1]
    a, weight_a, limits = a[inside], weight_a[inside], limits[:, inside]
    b, weight_b = (part[0] for part in nodes_between(limits, count))
    weights = weight_a[:, None] * weight_b * a[:, None] * b / d * (2 * np.pi / angles)
    along = (a[:, None] ** 2 + d**2 - b**2) / (2 * d)
    across = np.sqrt(np.maximum(a[:, None] ** 2 - along**2, 0))
    axis = vector / d
    side = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    side /= np.linalg.norm(side)
    phi = 2 * np.pi * np.arange(angles) / angles
    turning = np.cos(phi)[:, None] * side + np.sin(phi)[:, None] * np.cross(axis, side)
    points = along[..., None, None] * axis + across[..., None, None] * turning
    return points.reshape(-1, 3), np.repeat(weights.ravel(), angles)


def one_centre_points(cutoff, count=40, angles=11):
    """Points and weights of a ball."""
    r, weight_r = (part.ravel() for part in nodes_between([0.0, cutoff], count))
    z, weight_z = np.polynomial.legendre.leggauss(angles)
    phi = 2 * np.pi * np.arange(angles) / angles
    rho = np.sqrt(1 - z**2)[:, None]
    sphere = np.stack(np.broadcast_arrays(rho * np.cos(phi), rho * np.sin(phi), z[:, None]), -1)
    weights = np.multiply.outer(weight_r * r**2, np.repeat(weight_z, angles) * 2 * np.pi / angles)
    return np.multiply.outer(r, sphere.reshape(-1, 3)).reshape(-1, 3), weights.ravel()


def integrals(quantity, first, second, vector):
    """Integrate over space; in the shape of the blocks of one pair."""
    rows, columns = (orbital_cutoffs(functions) for functions in (first, second))
    found = np.zeros((3 if quantity in ("gradient", "position") else 1, len(rows), len(columns)))
    for reach_a, reach_b in product(set(rows), set(columns)):
        if np.any(vector):
            points, weights = two_centre_points(vector, (reach_a, reach_b))
        else:
            points, weights = one_centre_points(min(reach_a, reach_b))
        bras = [f.orbitals(points) for f in first if f.cutoff == reach_a]
        left = weights * np.concatenate(bras, axis=1).T
        kets = [applied(quantity, f, points - vector) for f in second if f.cutoff == reach_b]
        block = np.stack([left @ np.concatenate(part, axis=1) for part in zip(*kets, strict=True)])
        found[:, np.flatnonzero(rows == reach_a)[:, None], columns == reach_b] = block
    return found


def orbital_cutoffs(functions):
    return np.repeat([f.cutoff for f in functions], [2 * f.degree + 1 for f in functions])


def applied(quantity, function, points):
    """Give the components of an operator applied to orbitals."""
    if quantity == "overlap":
        return [function.orbitals(points)]
    if quantity == "kinetic":
        return [-Hartree * Bohr**2 / 2 * function.laplacian(points)]
    if quantity == "position":
        return [points[:, axis, None] * function.orbitals(points) for axis in range(3)]
    h = 1e-3  # the error of the differences is h^4 / 30 times the fifth derivative
    shifted = [[function.orbitals(points + n * h * e) for n in (-2, -1, 1, 2)] for e in np.eye(3)]
    return [(m2 - 8 * m1 + 8 * p1 - p2) / (12 * h) for m2, m1, p1, p2 in shifted]


@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("name", VECTORS)
def test_blocks_are_integrals_over_space(engine, functions, quantity, name):
    vector = VECTORS[name]
    exact = integrals(quantity, functions[FIRST], functions[SECOND], vector)
    found = engine.blocks(quantity, FIRST, SECOND, vector[None]).reshape(exact.shape)
    assert np.abs(exact).max() > 1e-4  # something was tested
    assert np.abs(found - exact).max() <= LIMIT * max(1, np.abs(exact).max())


@pytest.mark.parametrize(("first", "second"), [(SECOND, FIRST), (FIRST, FIRST), (SECOND, SECOND)])
def test_so_are_those_of_all_pairs_of_elements(engine, functions, first, second):
    exact = integrals("overlap", functions[first], functions[second], GENERAL)
    found = engine.blocks("overlap", first, second, GENERAL[None])
    assert np.abs(found - exact).max() <= LIMIT


@pytest.mark.parametrize("wrong", [(0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_another_order_of_p_orbitals_would_be_seen(engine, functions, wrong):
    exact = integrals("overlap", functions[FIRST], functions[SECOND], GENERAL)
    found = engine.blocks("overlap", FIRST, SECOND, GENERAL[None])
    p = 2 + np.arange(3)  # after two s shells
    found[:, p] = found[:, p[list(wrong)]]
    assert np.abs(found - exact).max() > 1e-3


def test_shells_beyond_each_other_do_not_overlap(engine, functions):
    of_rows, of_columns = (orbital_cutoffs(functions[number]) for number in (FIRST, SECOND))
    reach = np.add.outer(of_rows, of_columns)
    distances = np.array([2.7, 2.85, 2.95, 3.05, 3.15, 3.25, 3.35])
    vectors = np.multiply.outer(distances, GENERAL / np.linalg.norm(GENERAL))
    for quantity in QUANTITIES:
        found = np.abs(engine.blocks(quantity, FIRST, SECOND, vectors))
        largest = found.reshape(-1, len(distances), *reach.shape).max(axis=0)
        beyond = distances[:, None, None] > reach + 0.03
        assert largest[beyond].max() < 1e-12  # a spline does not end at once
        inside = largest[distances[:, None, None] < reach - 0.3]
        assert np.median(inside) > 1e-8
