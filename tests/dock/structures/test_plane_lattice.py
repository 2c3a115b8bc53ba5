"""Points of plane lattices, against all points there are."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from deeph_dock.structures.plane_lattice import (
    by_length,
    complement,
    determinants,
    inverse_of,
    near,
    of_length,
    points_within,
    second_vectors,
    translations,
)
from hypothesis import assume, given
from hypothesis import strategies as st

OBLIQUE = np.array([[2.3, 0.0], [0.7, 3.1]])
GRID = np.array(list(product(range(-30, 31), repeat=2)))


def rows_of(points: np.ndarray) -> set[tuple[int, ...]]:
    rows = [tuple(row) for row in points.tolist()]
    assert len(rows) == len(set(rows))
    return set(rows)


def test_every_translation_once():
    for matrix in ([[2, 1], [-1, 3]], [[0, 1], [-6, 4]], [[4, 0], [0, 4]], [[-3, -2], [5, -4]]):
        points = translations(np.array(matrix))
        count = round(np.linalg.det(matrix))
        assert len(points) == count
        whole = points @ np.array(matrix)
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-12)
        assert len(np.unique((points * count).round().astype(int), axis=0)) == count


@given(st.integers(-99, 99), st.integers(-99, 99))
def test_complements_make_primitive_cells(a, b):
    assume(math.gcd(a, b) == 1)
    c, d = complement(a, b)
    assert a * d - b * c == 1


def test_points_in_a_circle():
    lengths = np.linalg.norm(GRID @ OBLIQUE, axis=1)
    assert rows_of(points_within(OBLIQUE, 21.0)) == rows_of(GRID[lengths <= 21.0])


def test_points_near_others():
    rng = np.random.default_rng(4)
    places, reaches = rng.uniform(-15, 15, (20, 2)), rng.uniform(0.1, 9.0, 20)
    inverse = inverse_of(OBLIQUE)
    rows, points = near(places @ inverse, reaches, inverse)
    for row, (place, reach) in enumerate(zip(places, reaches, strict=True)):
        ours = rows_of(points[rows == row])
        wanted = GRID[np.linalg.norm(GRID @ OBLIQUE - place, axis=1) <= reach]
        assert ours >= rows_of(wanted)
        widths = reach * np.linalg.norm(inverse, axis=0)
        inside = (np.abs(GRID - place @ inverse) <= widths).all(axis=1)
        assert ours == rows_of(GRID[inside])


def test_points_of_a_length():
    ring = by_length(points_within(OBLIQUE, 30.0), OBLIQUE)
    lengths = np.array([2.31, 5.0, 17.3])
    rows, points = of_length(ring, lengths, 0.02)
    every = np.linalg.norm(GRID @ OBLIQUE, axis=1)
    for row, length in enumerate(lengths):
        wanted = GRID[(every >= length / 1.02) & (every <= length / 0.98)]
        assert rows_of(points[rows == row]) == rows_of(wanted)


@pytest.mark.parametrize("size", [1, 5, 12, 18])
def test_every_supercell_has_one_reduced_basis(size):
    """There are sigma(size) of them; an oblique lattice has no ties."""
    firsts = points_within(OBLIQUE, math.sqrt(2 * size * np.linalg.det(OBLIQUE) / math.sqrt(3)))
    firsts = firsts[(firsts[:, 0] > 0) | ((firsts[:, 0] == 0) & (firsts[:, 1] > 0))]
    found = []
    for first in firsts:
        for second in second_vectors(first, OBLIQUE, (size, size)):
            cell = np.array([first, second])
            assert determinants(cell[None])[0] == size
            found.append(hermite(cell))
    assert len(found) == len(set(found))
    assert len(found) == sum(d for d in range(1, size + 1) if size % d == 0)


def hermite(cell: np.ndarray) -> tuple[int, ...]:
    """Name a supercell independently of its basis."""
    (a, b), (c, d) = cell.tolist()
    while c:
        quotient = a // c
        a, b, c, d = c, d, a - quotient * c, b - quotient * d
    if a < 0:
        a, b = -a, -b
    return a, b % abs(d), abs(d)


def test_sizes_of_a_range():
    cells = {
        int(determinants(np.array([[[2, 4], second]]))[0])
        for second in second_vectors(np.array([2, 4]), OBLIQUE, (31, 37)).tolist()
    }
    assert cells == {32, 34, 36}  # the first vector is twice a lattice vector
