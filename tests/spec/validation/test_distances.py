"""Atoms that are too close: against all images tried one by one, and in absurd cells."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from deeph_spec.validation.distances import closest_pair
from hypothesis import given
from hypothesis import strategies as st

CUTOFF = 0.1
IMAGES = np.array([image for image in product(range(-3, 4), repeat=3)])


def by_trying(lattice, positions):
    """Give the smallest distance over images; positions are to be near the home cell."""
    vectors = positions[None, :, None] - positions[:, None, None] + IMAGES @ lattice
    distances = np.linalg.norm(vectors, axis=-1)
    distances[distances == 0] = np.inf
    return distances.min()


@given(st.integers(0, 10**6), st.floats(0.0, 0.2))
def test_a_close_pair_is_found_through_every_face(seed, distance):
    rng = np.random.default_rng(seed)
    lattice = 3 * np.eye(3) + rng.uniform(-0.8, 0.8, (3, 3))
    fractional = np.array(list(product([0.0, 0.5], repeat=3))) + rng.uniform(0, 1, 3)
    step = rng.normal(size=3)
    step *= distance / np.linalg.norm(step)
    close = fractional[3] @ lattice + step + rng.integers(-2, 3, 3) @ lattice
    positions = np.concatenate([fractional @ lattice, close[None]])
    order = rng.permutation(9)
    found = closest_pair(lattice, positions[order], CUTOFF)
    if abs(distance - CUTOFF) < 1e-9:
        return
    if distance > CUTOFF:
        assert found is None
        return
    assert found is not None
    assert {order[found[0]], order[found[1]]} == {3, 8}
    assert found[2] == pytest.approx(distance, abs=1e-9)


@given(st.integers(0, 10**6))
def test_dense_random_atoms(seed):
    rng = np.random.default_rng(seed)
    lattice = np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
    positions = rng.uniform(0, 1, (6, 3)) @ lattice
    smallest = by_trying(lattice, positions)
    found = closest_pair(lattice, positions, CUTOFF)
    assert (found is None) == (smallest > CUTOFF)
    assert found is None or smallest - 1e-12 <= found[2] < CUTOFF


@pytest.mark.parametrize("seed", range(20))
def test_a_neighbour_list_of_others_agrees(seed):
    vesin = pytest.importorskip("vesin")
    rng = np.random.default_rng(seed)
    lattice = 6 * np.eye(3) + rng.uniform(-1, 1, (3, 3))
    positions = rng.uniform(-6, 12, (60, 3))
    neighbours = vesin.NeighborList(cutoff=0.5, full_list=False)
    first, second, distances = neighbours.compute(positions, lattice, True, "ijd")
    pairs = {tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    found = closest_pair(lattice, positions, 0.5)
    assert (found is None) == (not pairs)
    assert found is None or found[:2] in pairs
    assert closest_pair(lattice, positions, 0.999 * distances.min(initial=0.5)) is None


@given(st.integers(0, 10**6), st.integers(-40, 40), st.integers(-40, 40))
def test_another_choice_of_lattice_vectors_changes_nothing(seed, first, second):
    rng = np.random.default_rng(seed)
    lattice = 3 * np.eye(3) + rng.uniform(-0.8, 0.8, (3, 3))
    positions = rng.uniform(0, 3, (3, 3))
    positions[2] = positions[0] + [0.03, 0, 0] + lattice[1]
    skewed = lattice.copy()
    skewed[1] += first * lattice[0]
    skewed[2] += second * skewed[1] + first * lattice[0]
    found = closest_pair(skewed, positions, CUTOFF)
    assert found is not None
    assert found[:2] == (0, 2)
    assert found[2] == pytest.approx(0.03, abs=1e-8)
    assert closest_pair(skewed, positions[:1], CUTOFF) is None


@pytest.mark.parametrize(
    ("lattice", "shortest"),
    [
        (np.diag([1000.0, 1000, 2]), None),
        (np.diag([1e6, 0.2, 0.2]), None),
        (np.diag([1e150, 1.0, 1.0]), None),
        (np.diag([1e6, 1e-3, 1.0]), 1e-3),
        (np.array([[1e5, 0, 0], [1e5, 1e-4, 0], [0, 0, 1e-3]]), 1e-4),
        (np.array([[3.0, 0, 0], [300, 3, 0], [0, 0, 3]]), None),
        (np.array([[0.0, 3, 0], [3, 0, 0], [0, 0, 3]]), None),
    ],
)
def test_absurd_cells(lattice, shortest):
    positions = np.array([[0.0, 0, 0], [0.11, 0.11, 0.11]])
    found = closest_pair(lattice, positions, CUTOFF)
    if shortest is None:
        assert found is None
        positions[1] = [0.0, 0.0, 0.01]
        assert closest_pair(lattice, positions, CUTOFF) == (0, 1, pytest.approx(0.01))
    else:
        assert found == (0, 0, pytest.approx(shortest, rel=1e-6))


@pytest.mark.parametrize("far", [1e12, 1e300, 1.7e308])
def test_absurd_positions_do_no_harm(far):
    positions = np.array([[0.0, 0, 0], [far, -far, far]])
    found = closest_pair(3 * np.eye(3), positions, CUTOFF)
    assert found is None or found[:2] == (0, 1)


def test_a_hundred_thousand_atoms_take_less_than_a_second():
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (250, 200, 2)], indexing="ij"), axis=-1)
    positions = 2.0 * grid.reshape(-1, 3) + 0.3
    lattice = np.diag([500.0, 400.0, 20.0])
    start = time.process_time()
    assert closest_pair(lattice, positions, CUTOFF) is None
    assert time.process_time() - start < 1.0
    positions[70_000] = positions[13] + [500.0, 0.05, 0]
    assert closest_pair(lattice, positions, CUTOFF) == (13, 70_000, pytest.approx(0.05))
