"""Layers: linear maps and gates commute with what is left of the symmetry in an edge's frame."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.layers import Features, Gate, Layout, NodeLinear, Norm, SO2Linear, gaussians, permutation
from deeph.testing import double_precision, random_rotations
from deeph_spec.orbitals import wigner_matrices

WITH_PARITY = Features((3, 2, 1), (1, 2, 1), True)
WITHOUT = Features((3, 4, 2), (0, 0, 0), False)
BOTH = pytest.mark.parametrize("features", [WITH_PARITY, WITHOUT], ids=["parity", "no parity"])


def turned(features: Features, layout: Layout, rotation: np.ndarray) -> np.ndarray:
    """Return the matrix that a rotation is on a flat array; improper ones act by parity."""
    proper = rotation * np.sign(np.linalg.det(rotation))
    natural = sum(features.natural)
    matrix = np.zeros((layout.size, layout.size))
    blocks = {l: wigner_matrices(l, proper) for l in range(features.l_max + 1)}
    for row in range(layout.size):
        l, m, channel = layout.l[row], layout.m[row], layout.channel[row]
        same = np.flatnonzero(layout.channel == channel)
        block = blocks[l][l + m, l + layout.m[same]] * layout.sign[row] * layout.sign[same]
        parity = (-1) ** l * (1 if channel < natural else -1)
        matrix[row, same] = block * (parity if np.linalg.det(rotation) < 0 else 1)
    return matrix


def about_the_edge(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


MIRROR = np.diag([1.0, -1.0, 1.0])  # the plane that holds the edge and x


@BOTH
def test_both_layouts_hold_every_component_once(features: Features) -> None:
    for layout in (features.by_l, features.by_m):
        assert layout.size == features.size
        keys = set(zip(layout.channel.tolist(), layout.m.tolist(), strict=True))
        assert len(keys) == features.size
    order = features.by_l.order_in(features.by_m)
    assert sorted(order) == list(range(features.size))
    np.testing.assert_array_equal(features.by_m.m[order], features.by_l.m)
    np.testing.assert_array_equal(features.by_m.channel[order], features.by_l.channel)


def module(layer: Any, *arguments: Any) -> tuple[Any, Any]:
    """Return a layer as function with random parameters, and the shapes of these."""
    shapes = jax.eval_shape(layer.init, jax.random.key(0), *arguments)
    rng = np.random.default_rng(1)
    parameters = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    return lambda *x: layer.apply(parameters, *x), shapes


@BOTH
def test_edge_maps_commute_with_turns_about_the_edge_and_its_mirrors(features: Features) -> None:
    x = np.random.default_rng(2).normal(size=(4, features.size))
    with double_precision():
        layer, _ = module(SO2Linear(features.segments, features, extra=2), x)
        symmetries = [about_the_edge(0.7), about_the_edge(-2.0)]
        if features.parity:
            symmetries += [MIRROR, about_the_edge(1.0) @ MIRROR]
        for q in symmetries:
            d = turned(features, features.by_m, q)
            after, extra = layer(x @ d.T)
            before, same = layer(x)
            np.testing.assert_allclose(after, before @ d.T, atol=1e-12)
            np.testing.assert_allclose(extra, same, atol=1e-12)
        # Anything else is no symmetry of an edge.
        d = turned(features, features.by_m, random_rotations(1)[0])
        assert np.abs(layer(x @ d.T)[0] - layer(x)[0] @ d.T).max() > 0.1


@BOTH
def test_node_maps_gates_and_norms_commute_with_rotations(features: Features) -> None:
    rng = np.random.default_rng(3)
    x, gates = rng.normal(size=(4, features.size)), rng.normal(size=(4, features.gates))
    scales = rng.normal(size=(4, features.channels))
    with double_precision():
        linear, _ = module(NodeLinear(features, features, extra=3), x)
        norm, _ = module(Norm(features.by_l), x)
        gate = Gate(features, features.by_l)
        for q in random_rotations(4, inversion=features.parity):
            d = turned(features, features.by_l, q)
            for layer in (lambda y: linear(y)[0], norm, lambda y: gate(y, gates, scales)):
                np.testing.assert_allclose(layer(x @ d.T), layer(x) @ d.T, atol=1e-12)
            np.testing.assert_allclose(linear(x @ d.T)[1], linear(x)[1], atol=1e-12)


@BOTH
def test_norms_make_the_mean_square_of_every_l_one(features: Features) -> None:
    x = 100 * np.random.default_rng(4).normal(size=(5, features.size)).astype(np.float32)
    for layout in (features.by_l, features.by_m):
        norm = Norm(layout)
        parameters = norm.init(jax.random.key(0), x)
        y = np.asarray(norm.apply(parameters, x))
        for l in range(features.l_max + 1):
            np.testing.assert_allclose(np.mean(y[:, layout.l == l] ** 2, axis=1), 1.0, rtol=1e-4)
        # Nothing is made of nothing.
        assert not np.asarray(norm.apply(parameters, 0 * x)).any()


def test_reordering_has_the_inverse_reordering_as_derivative() -> None:
    order = np.array([2, 0, 3, 1])
    x = jnp.array([[1.0, 2.0, 3.0, 4.0]])
    weights = jnp.array([[1.0, 10.0, 100.0, 1000.0]])
    np.testing.assert_array_equal(permutation(order)(x), x[:, order])
    slope = jax.grad(lambda y: jnp.sum(permutation(order)(y) * weights))(x)
    np.testing.assert_array_equal(slope, [[10.0, 1000.0, 1.0, 100.0]])


def test_gaussians_stand_on_a_grid_from_zero() -> None:
    values = np.asarray(gaussians(jnp.array([0.0, 1.0, 1.5, 9.0]), r_max=3.0, count=4))
    np.testing.assert_allclose(values[0], np.exp(-0.5 * np.arange(4.0) ** 2), rtol=1e-5)
    np.testing.assert_allclose(values[1, 1], 1.0)
    np.testing.assert_allclose(values[2, 1], values[2, 2], rtol=1e-5)
    assert values[3].max() < 1e-7


def test_features_of_a_text() -> None:
    both = Features.of_irreps("4x0e+3x1o+2x1e+1x3e", True)
    assert (both.natural, both.unnatural) == ((4, 3, 0, 0), (0, 2, 0, 1))
    plain = Features.of_irreps("4x0e+3x1o+2x1e+1x3e", False)
    assert (plain.natural, plain.unnatural) == ((4, 5, 0, 1), (0, 0, 0, 0))
    assert both.size == plain.size == 4 + 9 + 6 + 7
    assert both.gates == 6
