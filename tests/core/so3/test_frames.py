"""Edge frames: rotations that carry the polar axis to an edge, also at and near the poles."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.so3 import EdgeFrames, edge_frames, rotate_to_edge, rotate_to_lab, wigner_blocks
from deeph.so3.frames import half_turn_signs
from deeph.testing import double_precision
from deeph_spec.orbitals import real_harmonics, wigner_matrices

L_MAX = 9  # of blocks between two g shells with spin-orbit coupling


def directions() -> np.ndarray:
    """Return unit vectors in all quadrants, on all axes, at and near the poles."""
    rng = np.random.default_rng(0)
    special = [[0, 0, 1], [0, 0, -1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]
    near = [
        [size * np.cos(phi), size * np.sin(phi), sign]
        for size in (1e-3, 1e-7, 1e-12, 1e-17, 1e-20, 3e-22, 1e-30, 1e-40)
        for phi in (0.0, 0.9, -2.5)
        for sign in (1, -1)
    ]
    vectors = np.concatenate([rng.normal(size=(20, 3)), special, near])
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def frames(dtype: Any, module: Any = np) -> EdgeFrames:
    axes = directions()
    turned = np.arange(len(axes)) % 2
    return EdgeFrames(module.asarray(axes, dtype), module.asarray(turned, dtype))


def rotations_of(blocks: list[Any]) -> np.ndarray:
    """Return the 3 x 3 rotations of frames, from the components (y, z, x) of l = 1."""
    order = [2, 0, 1]
    return np.asarray(blocks[1], np.float64)[:, order][:, :, order]


def test_frames_are_rotations_that_carry_z_to_the_edge() -> None:
    given = frames(np.float64)
    q = rotations_of(wigner_blocks(given, 1))
    sign = np.where(given.turned > 0, -1.0, 1.0)
    np.testing.assert_allclose(q[:, :, 2], sign[:, None] * given.axes, atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(q), 1.0, atol=1e-13)


@pytest.mark.parametrize("l", range(L_MAX + 1))
def test_blocks_are_the_wigner_matrices_of_the_frames(l: int) -> None:
    blocks = wigner_blocks(frames(np.float64), L_MAX)
    # The rotation of a frame is orthogonal to rounding; made exactly so for the comparison.
    left, _, right = np.linalg.svd(rotations_of(blocks))
    np.testing.assert_allclose(blocks[l], wigner_matrices(l, left @ right), atol=1e-11)


def test_the_component_along_the_edge_is_the_harmonic_of_its_direction() -> None:
    given = frames(np.float64)
    for l, block in enumerate(wigner_blocks(given, L_MAX)):
        along = np.where(given.turned[:, None] > 0, -given.axes, given.axes)
        expected = real_harmonics(l, along) * np.sqrt(4 * np.pi / (2 * l + 1))
        np.testing.assert_allclose(block[:, :, l], expected, atol=1e-12)


@pytest.mark.parametrize("module", [np, jnp])
@pytest.mark.parametrize(("double", "tolerance"), [(True, 1e-13), (False, 1e-6)])
def test_blocks_are_orthogonal_wherever_edges_point(
    module: Any, double: bool, tolerance: float
) -> None:
    dtype, l_max = (np.float64 if double else np.float32), 8 if module is np else 4
    exact = wigner_blocks(frames(np.float64), l_max)
    away = np.hypot(*directions()[:, :2].T) > 1e-6  # at the poles the first angle is free
    with double_precision(double):
        computed = (lambda f: f) if module is np else jax.jit
        blocks = computed(lambda f: wigner_blocks(f, l_max))(frames(dtype, module))
        for l, block in enumerate(blocks):
            assert block.dtype == dtype
            product = np.asarray(block @ block.swapaxes(1, 2), np.float64)
            identity = np.broadcast_to(np.eye(2 * l + 1), product.shape)
            np.testing.assert_allclose(product, identity, atol=(l + 1) * tolerance)
            np.testing.assert_allclose(block[away], exact[l][away], atol=5 * (l + 1) * tolerance)


def test_the_frame_of_the_reverse_edge_is_turned_by_pi_about_x() -> None:
    axes = directions()
    count = len(axes)
    vectors = 1.7 * np.concatenate([axes, -axes])
    reverse = np.concatenate([np.arange(count, 2 * count), np.arange(count)])
    blocks = wigner_blocks(edge_frames(vectors, reverse), L_MAX)
    half_turn = np.diag([1.0, -1.0, -1.0])
    for l, block in enumerate(blocks):
        signs = half_turn_signs(l)
        np.testing.assert_allclose(np.diag(signs), wigner_matrices(l, half_turn), atol=1e-13)
        np.testing.assert_array_equal(block[count:], block[:count] * signs)


def test_turning_to_the_edge_and_back_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    given = frames(np.float64)
    for l, block in enumerate(wigner_blocks(given, L_MAX)):
        x = rng.normal(size=(len(block), 2 * l + 1, 2))
        np.testing.assert_allclose(rotate_to_lab(block, rotate_to_edge(block, x)), x, atol=1e-12)
        if l > 0:
            assert np.abs(rotate_to_edge(block, x) - rotate_to_lab(block, x)).max() > 0.1


def test_no_edges_give_empty_blocks() -> None:
    empty = edge_frames(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert [block.shape for block in wigner_blocks(empty, 2)] == [(0, 1, 1), (0, 3, 3), (0, 5, 5)]
