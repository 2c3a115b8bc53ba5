"""Layers of features: maps, gates and norms commute with what is left of the symmetry."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.layers import (
    Features,
    Group,
    NodeFeedForward,
    NodeLinear,
    NodeNorm,
    PseudoInvariants,
    SO2Linear,
    drop,
    drop_whole,
    edge_norm,
    edge_turns,
    endings,
    gate_edges,
    gate_nodes,
    gaussians,
    product,
    result_of_edges,
    result_of_nodes,
    to_edges,
    to_nodes,
    uniform,
    with_both_parities,
)
from deeph.so3 import EdgeFrames, wigner_blocks
from deeph.testing import double_precision, random_rotations
from deeph_spec.orbitals import wigner_matrices

Parts = tuple[Any, ...]
WITH_PARITY = Features((3, 2, 1), (1, 2, 1), True)
WITHOUT = Features((3, 4, 2), (0, 0, 0), False)
BOTH = pytest.mark.parametrize("features", [WITH_PARITY, WITHOUT], ids=["parity", "no parity"])
COUNT = 4


def random_nodes(features: Features, seed: int = 0, count: int = COUNT) -> Parts:
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(count, 2 * l + 1, width)) for l, _, width in features.groups)


def random_edges(features: Features, seed: int = 0) -> Parts:
    rng, (invariants, pseudo, *pairs) = np.random.default_rng(seed), features.widths
    flat = [rng.normal(size=(COUNT, width)) for width in (invariants, pseudo)]
    return (*flat, *(rng.normal(size=(COUNT, 2, width)) for width in pairs))


def rotated(features: Features, nodes: Parts, rotation: np.ndarray) -> Parts:
    """Return features of nodes after a rotation; improper ones act by parity."""
    sign = np.sign(np.linalg.det(rotation))
    result = []
    for group, part in zip(features.groups, nodes, strict=True):
        parity = (-1) ** group.l * (1 if group.natural else -1) if sign < 0 else 1
        matrix = wigner_matrices(group.l, sign * rotation)
        result.append(parity * np.einsum("ij,njw->niw", matrix, np.asarray(part)))
    return tuple(result)


def turned(edges: Parts, angle: float, mirror: bool = False) -> Parts:
    """Return features of edges after a mirror of y and a turn about the edge."""
    sign = -1.0 if mirror else 1.0
    result = [edges[0], sign * edges[1]]
    for m, pair in enumerate(edges[2:], start=1):
        c, s = np.cos(m * angle), np.sin(m * angle)
        first, second = pair[:, 0], sign * pair[:, 1]
        result.append(np.stack([c * first - s * second, s * first + c * second], axis=1))
    return tuple(result)


def assert_close(found: Parts, expected: Parts, atol: float = 1e-12) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def differ(found: Parts, expected: Parts) -> float:
    return max(
        float(np.abs(one - other).max(initial=0.0))
        for one, other in zip(found, expected, strict=True)
    )


def module(layer: Any, *arguments: Any) -> Any:
    """Return a layer as function, with random parameters."""
    shapes = jax.eval_shape(layer.init, jax.random.key(0), *arguments)
    rng = np.random.default_rng(1)
    parameters = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), shapes)
    return lambda *x: layer.apply(parameters, *x)


def test_features_of_a_text() -> None:
    both = Features.of_irreps("4x0e+3x1o+2x1e+1x3e", True)
    assert (both.natural, both.unnatural) == ((4, 3, 0, 0), (0, 2, 0, 1))
    assert both.groups == (
        Group(0, True, 4), Group(1, True, 3), Group(1, False, 2), Group(3, False, 1)
    )  # fmt: skip
    plain = Features.of_irreps("4x0e+3x1o+2x1e+1x3e", False)
    assert (plain.natural, plain.unnatural) == ((4, 5, 0, 1), (0, 0, 0, 0))
    assert both.size == plain.size == 4 + 9 + 6 + 7
    assert (both.channels, both.scalars, both.gates) == (10, 4, 6)
    assert both.widths == (7, 3, 6, 1, 1)


@BOTH
def test_edges_hold_every_component_once(features: Features) -> None:
    invariants, pseudo, *pairs = features.widths
    assert invariants + pseudo + 2 * sum(pairs) == features.size


@BOTH
def test_maps_of_edges_commute_with_turns_about_the_edge_and_its_mirrors(
    features: Features,
) -> None:
    x, other = random_edges(features, 2), random_edges(features, 3)
    rng = np.random.default_rng(4)
    gates, scales = (rng.normal(size=(COUNT, n)) for n in (features.gates, features.channels))
    with double_precision():
        linear = module(SO2Linear((features, features), features, extra=2), x, other)
        pseudo = module(PseudoInvariants(features), x)
        maps = [
            lambda y: linear(y, turned(other, *symmetry))[0],
            lambda y: gate_edges(features, y, gates, scales),
            lambda y: edge_norm(features, y),
            pseudo,
        ]
        symmetries = [(0.7, False), (-2.0, False), (0.0, True), (1.0, True)]
        for symmetry in symmetries:
            for number, layer in enumerate(maps):
                after = layer(turned(x, *symmetry))
                symmetric = features.parity or not symmetry[1] or number > 0
                before = maps[number](x) if number else linear(x, other)[0]
                expected = turned(tuple(map(np.asarray, before)), *symmetry)
                if symmetric:
                    assert_close(after, expected)
                else:  # without parity, mirrors are not asked for
                    assert differ(after, expected) > 0.1
            if features.parity or not symmetry[1]:
                extra = linear(turned(x, *symmetry), turned(other, *symmetry))[1]
                np.testing.assert_allclose(extra, linear(x, other)[1], atol=1e-12)
        # Anything else is no symmetry of an edge: here, one angle for all M.
        wrong = tuple(
            part if part.ndim == 2 else turned((part[:, 0], part[:, 0], part), 0.7)[2] for part in x
        )
        assert differ(linear(wrong, other)[0], linear(x, other)[0]) > 0.1


@BOTH
def test_maps_of_nodes_commute_with_rotations(features: Features) -> None:
    rng = np.random.default_rng(3)
    x = random_nodes(features)
    gates, scales = (rng.normal(size=(COUNT, n)) for n in (features.gates, features.channels))
    species = np.array([0, 1, 1, 0])
    with double_precision():
        linear = module(NodeLinear(features, features, extra=3), x)
        forward = module(NodeFeedForward(features, 2), x, species)
        for q in random_rotations(4, inversion=features.parity):
            moved = rotated(features, x, q)
            for layer in (
                lambda y: linear(y)[0],
                module(NodeNorm(features), x),
                lambda y: gate_nodes(features, y, gates, scales),
                lambda y: forward(y, species),
            ):
                assert_close(layer(moved), rotated(features, layer(x), q))
            np.testing.assert_allclose(linear(moved)[1], linear(x)[1], atol=1e-12)


@BOTH
def test_norms_make_mean_squares_one(features: Features) -> None:
    nodes = tuple(100 * part for part in random_nodes(features, 4))
    with double_precision():
        norm = NodeNorm(features)
        parameters = norm.init(jax.random.key(0), nodes)
        for part in norm.apply(parameters, nodes):
            np.testing.assert_allclose(np.mean(part**2, axis=(1, 2)), 1.0, rtol=1e-4)
        edges = edge_norm(features, tuple(100 * part for part in random_edges(features, 5)))
        squares = sum(np.sum(np.asarray(x) ** 2, axis=tuple(range(1, x.ndim))) for x in edges)
        np.testing.assert_allclose(squares / features.size, 1.0, rtol=1e-4)
        # Nothing is made of nothing.
        zero = tuple(0 * part for part in nodes)
        assert not any(np.any(part) for part in norm.apply(parameters, zero))


@BOTH
def test_turning_to_the_edge_is_what_the_frames_of_labels_are(features: Features) -> None:
    rng = np.random.default_rng(6)
    axes = np.concatenate([rng.normal(size=(COUNT - 2, 3)), [[0, 0, 1.0], [0, 0, -1.0]]])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    half = np.array([0.0, 1.0, 1.0, 0.0])
    lab = random_nodes(features, 7)
    wigner = wigner_blocks(EdgeFrames(axes, half), features.l_max)
    with double_precision():
        turns = edge_turns(jnp.asarray(axes), jnp.asarray(half), features)
        local = to_edges(features, turns, tuple(map(jnp.asarray, lab)))
        irreps = np.asarray(result_of_edges(features, local, COUNT, np.float64))
        expected = np.asarray(result_of_nodes(features, lab, COUNT, np.float64))
        start = 0
        for l, _, width in features.groups:
            for _ in range(width):
                stop = start + 2 * l + 1
                back = np.einsum("eij,ej->ei", wigner[l], irreps[:, start:stop])
                np.testing.assert_allclose(back, expected[:, start:stop], atol=1e-12)
                start = stop
        # Back to the atoms: here every edge has one of its own.
        centre = np.arange(COUNT)
        assert_close(to_nodes(features, turns, local, centre, COUNT), lab)
        # Two edges of one atom add up; an atom without edges gets nothing.
        summed = to_nodes(features, turns, local, np.array([0, 0, 2, 3]), COUNT + 1)
        np.testing.assert_allclose(summed[1][0], lab[1][0] + lab[1][1], atol=1e-12)
        assert not any(np.any(np.asarray(part)[[1, 4]]) for part in summed)


def test_derivatives_written_by_hand_are_those_of_jax() -> None:
    rng = np.random.default_rng(8)
    x, matrix = rng.normal(size=(5, 3, 4)), rng.normal(size=(4, 6))
    weights = rng.normal(size=(5, 3, 6))
    features, lab = WITH_PARITY, random_nodes(WITH_PARITY, 9)
    with double_precision():
        axes, half = jnp.asarray(np.eye(3)[[0, 1, 2, 0]]), jnp.zeros(COUNT)
        found = jax.grad(lambda *a: jnp.sum(product(*a) * weights), (0, 1))(x, matrix)
        plain = jax.grad(lambda *a: jnp.sum((a[0] @ a[1]) * weights), (0, 1))(x, matrix)
        assert_close(found, plain)

        starts, rows = (0, 1, 3), jnp.asarray(x[:, 0])
        parts = [rng.normal(size=(5, 4 - start)) for start in starts]
        found = jax.grad(
            lambda y: sum(jnp.sum(a * b) for a, b in zip(endings(y, starts), parts, strict=True))
        )(rows)
        plain = jax.grad(
            lambda y: sum(jnp.sum(y[:, k:] * b) for k, b in zip(starts, parts, strict=True))
        )(rows)
        np.testing.assert_allclose(found, plain, atol=1e-12)

        # A rotation keeps lengths, so that half the sum of squares has its argument as slope.
        def energy(y: Any) -> Any:
            turns = edge_turns(axes, half, features)
            return sum(jnp.sum(part**2) for part in to_edges(features, turns, y)) / 2

        assert_close(jax.grad(energy)(tuple(map(jnp.asarray, lab))), lab)  # fmt: skip


def test_gaussians_stand_on_a_grid_from_zero() -> None:
    values = np.asarray(gaussians(jnp.array([0.0, 1.0, 1.5, 9.0]), r_max=3.0, count=4))
    np.testing.assert_allclose(values[0], np.exp(-0.5 * np.arange(4.0) ** 2), rtol=1e-5)
    np.testing.assert_allclose(values[1, 1], 1.0)
    np.testing.assert_allclose(values[2, 1], values[2, 2], rtol=1e-5)
    assert values[3].max() < 1e-7


def test_unnatural_channels_are_added_where_a_target_needs_them() -> None:
    natural, target = Features((8, 6, 5), (0, 0, 0)), Features((3, 2), (1, 2))
    assert with_both_parities(natural, target) == Features((8, 6, 5), (1, 3, 3))
    assert with_both_parities(natural, Features((3, 2), (0, 0))) == natural
    given = Features((8, 6), (2, 0))
    assert with_both_parities(given, target) == given
    assert with_both_parities(WITHOUT, target) == WITHOUT


def test_first_parameters_keep_the_size_of_what_they_multiply() -> None:
    matrix = np.asarray(uniform(share=0.5)(jax.random.key(0), (400, 300)))
    np.testing.assert_allclose(matrix.var(), 0.5 / 400, rtol=0.02)
    table = np.asarray(uniform("fan_out")(jax.random.key(0), (300, 400)))
    np.testing.assert_allclose(table.var(), 1 / 400, rtol=0.02)


class Dropping(nn.Module):
    """Leaves out channels, or whole rows."""

    rate: float
    whole: bool

    @nn.compact
    def __call__(self, parts: Parts) -> Parts:
        return (drop_whole if self.whole else drop)(self, self.rate, parts)


@pytest.mark.parametrize("whole", [False, True], ids=["channels", "rows"])
def test_whole_channels_are_left_out_and_the_mean_stays(whole: bool) -> None:
    ones = (jnp.ones((2000, 3, 4)), jnp.ones((2000, 4)))
    layer = Dropping(0.25, whole)
    found = [np.asarray(x) for x in layer.apply({}, ones, rngs={"drop": jax.random.key(1)})]
    for part in found:
        np.testing.assert_allclose(np.unique(part), [0.0, 4 / 3], rtol=1e-6)
        np.testing.assert_allclose(part.mean(), 1.0, atol=0.04)
    np.testing.assert_array_equal(found[0], np.broadcast_to(found[0][:, :1], found[0].shape))
    together = bool(np.all(found[0][:, 0] == found[1]))
    assert together == whole
    assert bool(np.all(found[1] == found[1][:, :1])) == whole
    # Nothing is left out without random numbers, or at rate zero.
    for same in (layer.apply({}, ones), Dropping(0.0, whole).apply(
            {}, ones, rngs={"drop": jax.random.key(1)})):  # fmt: skip
        assert_close(same, ones, 0.0)
