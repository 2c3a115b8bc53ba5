"""The nearest pair, against all distances of all images."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from deeph_dock.structures.distances import nearest_pair
from deeph_spec.structure import Structure
from hypothesis import given, settings
from hypothesis import strategies as st


def by_force(structure: Structure, periodic: tuple[bool, ...]) -> float:
    best = np.inf
    for cell in itertools.product(*[range(-4, 5) if p else (0,) for p in periodic]):
        between = structure.positions[:, None] - structure.positions + cell @ structure.lattice
        distances = np.linalg.norm(between, axis=-1)
        if not any(cell):
            np.fill_diagonal(distances, np.inf)
        best = min(best, distances.min())
    return float(best)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 6),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_nearest_pair(seed, atoms, periodic):
    rng = np.random.default_rng(seed)
    lattice = np.diag(rng.uniform(2.0, 12.0, 3)) + rng.uniform(-1.0, 1.0, (3, 3))
    positions = rng.uniform(0, 1, (atoms, 3)) @ lattice
    structure = Structure(lattice, positions, np.full(atoms, 6))
    shifts = rng.integers(-3, 4, (atoms, 3)) * np.array(periodic)
    scattered = Structure(lattice, positions + shifts @ lattice, structure.numbers)
    expected = by_force(structure, periodic)
    distance, i, j = nearest_pair(scattered, periodic)
    assert distance == pytest.approx(expected, rel=1e-12)
    assert 0 <= i <= j < atoms


def test_two_atoms_in_one_place_are_seen():
    structure = Structure(np.eye(3) * 5, [[0, 0, 0], [2, 0, 0], [7, 0, 0]], [1, 1, 1])
    distance, i, j = nearest_pair(structure)
    assert distance == pytest.approx(0, abs=1e-12)
    assert (i, j) == (1, 2)
    assert nearest_pair(structure, (False,) * 3) == (2.0, 0, 1)


def test_a_lone_atom_and_its_image():
    structure = Structure(np.diag([3.0, 4.0, 5.0]), [[9.0, 0, 0]], [1])
    assert nearest_pair(structure) == (pytest.approx(3.0), 0, 0)
    assert nearest_pair(structure, (False, True, True))[0] == pytest.approx(4.0)
    assert nearest_pair(structure, (False,) * 3) == (np.inf, 0, 0)
