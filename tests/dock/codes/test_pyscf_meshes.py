"""Meshes of k-points and their supercells, on random cells."""

from __future__ import annotations

from itertools import product

import numpy as np
from deeph_dock.codes.pyscf.meshes import fine_mesh, half_of, mesh_of, nearest_images, shortest
from hypothesis import given, settings
from hypothesis import strategies as st

divisions = st.tuples(*(st.integers(1, 5) for _ in range(3)))
seeds = st.integers(0, 10**6)


def _cell(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give a random cell that is not too flat, and positions, also outside of it."""
    rng = np.random.default_rng(seed)
    lattice = 4 * np.eye(3) + rng.uniform(-1, 1, (3, 3))
    return lattice, rng.uniform(-2, 2, (3, 3)) @ lattice


@given(divisions, st.sampled_from([0.0, 0.5, 0.25]), seeds)
def test_full_meshes_are_recognised_in_any_order(n, shift, seed):
    rng = np.random.default_rng(seed)
    points = np.array(list(product(*(range(m) for m in n)))) / n + shift / np.array(n)
    points += rng.integers(-2, 3, points.shape)
    found = mesh_of(rng.permutation(points))
    assert found is not None
    assert found[0] == n
    np.testing.assert_allclose(found[1], shift, atol=1e-6)


@given(divisions, seeds)
def test_other_lists_of_points_are_no_mesh(n, seed):
    rng = np.random.default_rng(seed)
    points = np.array(list(product(*(range(m) for m in n)))) / n
    if len(points) > 2:
        assert mesh_of(points[1:]) is None or mesh_of(points[1:])[0] != n
        points[rng.integers(len(points))] += 0.0371
        assert mesh_of(points) is None


@given(divisions)
def test_half_of_a_mesh_stands_for_all_of_it(n):
    points, counts = half_of(n, halve=True)
    assert counts.sum() == np.prod(n)
    everything = np.concatenate([points, -points[counts == 2]]) % 1.0 % 1.0
    expected = np.array(list(product(*(range(m) for m in n)))) / n
    places = {tuple(np.rint(p * n).astype(int) % n) for p in everything}
    assert places == {tuple(np.rint(p * n).astype(int)) for p in expected}
    assert len(half_of(n, halve=False)[0]) == np.prod(n)


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(1.0, 9.0))
def test_fine_meshes_keep_images_apart_and_coarser_ones_do_not(seed, reach):
    lattice, _ = _cell(seed)
    n = np.array(fine_mesh(lattice, reach, 3))
    assert shortest(n[:, None] * lattice) > 2 * reach
    for axis in range(3):
        fewer = n - (np.arange(3) == axis)
        assert fewer[axis] == 0 or shortest(fewer[:, None] * lattice) <= 2 * reach


def test_directions_without_images_need_one_point():
    assert fine_mesh(np.diag([3.0, 3.0, 3.0]), 10.0, 1) == (7, 1, 1)
    assert fine_mesh(np.diag([3.0, 3.0, 3.0]), 10.0, 0) == (1, 1, 1)


@settings(max_examples=30, deadline=None)
@given(seeds, st.tuples(*(st.integers(1, 3) for _ in range(3))))
def test_nearest_images_share_out_every_cell_of_the_mesh_once(seed, n):
    lattice, positions = _cell(seed)
    pairs, weights = nearest_images(lattice, positions, n)
    for i, j in product(range(3), repeat=2):
        own = (pairs[:, 3:] == (i, j)).all(axis=1)
        classes = np.ravel_multi_index(tuple((pairs[own, :3] % n).T), n)
        np.testing.assert_allclose(np.bincount(classes, weights[own], np.prod(n)), 1.0)
        vectors = positions[j] - positions[i] + pairs[own, :3] @ lattice
        for step in np.eye(3, dtype=int):
            for sign in (1, -1):
                moved = vectors + sign * (step * n) @ lattice
                assert (
                    np.linalg.norm(moved, axis=1) >= np.linalg.norm(vectors, axis=1) - 1e-4
                ).all()
    listed = set(map(tuple, pairs.tolist()))
    assert all((-a, -b, -c, j, i) in listed for a, b, c, i, j in listed)
    assert pairs.tolist() == sorted(pairs.tolist())
