"""Optimisers: what they do to parameters, by numbers that can be computed by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.config.process import Optimizer
from deeph.training.muon import is_matrix, scale_by_muon
from deeph.training.optimisers import ADAM_SHARE, optimiser

START = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(3.0)}


def after(steps: int, scale: float = 1.0, rate: float = 0.1, **settings: Any) -> dict[str, Any]:
    """Return parameters after steps down (a - 1)^2 / 2 + b^2, times a scale."""
    rule = optimiser(Optimizer(**settings))
    parameters, state = START, rule.init(START)
    for _ in range(steps):
        gradient = {"a": scale * (parameters["a"] - 1), "b": scale * 2 * parameters["b"]}
        update, state = rule.update(gradient, state, parameters)
        parameters = jax.tree.map(lambda p, u: p - rate * u, parameters, update)
    return {name: np.asarray(value) for name, value in parameters.items()}


def test_sgd_follows_the_gradient_with_momentum() -> None:
    once = after(1, type="sgd", momentum=0.8)
    np.testing.assert_allclose(once["a"], [1.0, -1.7])
    np.testing.assert_allclose(once["b"], 2.4)
    twice = after(2, type="sgd", momentum=0.8)  # velocity 6, then 0.8 * 6 + 4.8
    np.testing.assert_allclose(twice["b"], 2.4 - 0.1 * 9.6, rtol=1e-6)
    assert after(2, type="sgd", momentum=0.0)["b"] == pytest.approx(2.4 - 0.48)


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_adam_does_not_care_for_the_unit_of_the_loss(kind: str) -> None:
    plain = after(5, type=kind)
    assert plain["b"] == pytest.approx(2.5, abs=0.05)  # about the rate in every step
    for scale in (1e-9, 1e-6, 1e3):  # meV^2 averaged over many pairs, eV^2, ...
        scaled = after(5, scale=scale, type=kind)
        # The first of a has no gradient at the start: what it does is up to eps.
        for found, expected in ((scaled["b"], plain["b"]), (scaled["a"][1], plain["a"][1])):
            np.testing.assert_allclose(found, expected, atol=2e-5)
    assert after(5, scale=1e-3, type="sgd")["b"] > 2.9  # the negation


def test_adam_by_hand() -> None:
    b1, b2 = 0.8, 0.9
    value = after(2, type="adam", betas=(b1, b2))["b"]
    b, m, v = 3.0, 0.0, 0.0
    for t in (1, 2):
        g = 2 * b
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        b -= 0.1 * (m / (1 - b1**t)) / (v / (1 - b2**t)) ** 0.5
    np.testing.assert_allclose(value, b, rtol=1e-6)


def test_adamw_shrinks_parameters_besides() -> None:
    plain, decayed = after(1, type="adam"), after(1, type="adamw", weight=0.5)
    for name, start in START.items():
        np.testing.assert_allclose(decayed[name], plain[name] - 0.1 * 0.5 * start, rtol=1e-6)


def test_gradients_are_clipped_by_their_global_norm() -> None:
    # The gradient is (0, -3, 6) with norm sqrt(45).
    clipped = after(1, type="sgd", momentum=0.0, clip_norm_factor=1.5)
    np.testing.assert_allclose(clipped["b"], 3 - 0.1 * 6 * 1.5 / 45**0.5, rtol=1e-6)
    np.testing.assert_allclose(clipped["a"], [1, -2 + 0.1 * 3 * 1.5 / 45**0.5], rtol=1e-6)
    free = after(1, type="sgd", momentum=0.0, clip_norm_factor=100.0)
    np.testing.assert_allclose(free["b"], 2.4, rtol=1e-6)


MATRICES = {"kernel": jnp.array([[3.0, 0.0, 0.0], [0.0, 1e-3, 0.0]]), "bias": jnp.array([2.0, 0.5])}


def test_muon_takes_steps_of_equal_singular_values() -> None:
    rule = optimiser(Optimizer(type="muon"))
    update, _ = rule.update(MATRICES, rule.init(MATRICES), MATRICES)
    values = np.linalg.svd(np.asarray(update["kernel"]), compute_uv=False) / (3 / 2) ** 0.5
    # The quintic brings singular values to 0.7..1.2; the small one is 3000 times smaller.
    assert values[0] == pytest.approx(1.0, abs=0.35)
    assert values[1] > 0.1
    # Everything else follows Adam, whose first step has the size of the rate.
    np.testing.assert_allclose(update["bias"], ADAM_SHARE, rtol=1e-3)


@pytest.mark.parametrize("size", [0.0, 1e-36, 1e-25, 1e-20])
def test_muon_takes_no_rounding_error_of_zero_for_a_direction(size: float) -> None:
    noise = size * np.random.default_rng(0).normal(size=(8, 8))
    tree = {"m": jnp.asarray(noise, jnp.float32)}
    rule = scale_by_muon()
    update, _ = rule.update(tree, rule.init(tree))
    assert np.abs(update["m"]).max() < 0.1  # not NaN either


def test_muon_does_a_stack_and_any_shape_as_it_does_one_matrix() -> None:
    rng = np.random.default_rng(0)
    shapes = [(5, 40), (40, 5), (3, 7, 7), (2, 33, 64)]
    tree = {f"m{k}": jnp.asarray(rng.normal(size=shape)) for k, shape in enumerate(shapes)}
    rule = scale_by_muon()
    together, _ = rule.update(tree, rule.init(tree))
    for name, leaf in tree.items():
        flat = leaf.reshape(-1, *leaf.shape[-2:])
        for k, matrix in enumerate(flat):
            alone, _ = rule.update({"m": matrix}, rule.init({"m": matrix}))
            found = together[name].reshape(flat.shape)[k]
            np.testing.assert_allclose(found, alone["m"], atol=2e-5)
            # Up to the quintic's tolerance, the direction is U V^T of the gradient.
            u, _, v = np.linalg.svd(np.asarray(matrix), full_matrices=False)
            scale = max(1.0, matrix.shape[1] / matrix.shape[0]) ** 0.5
            cosine = np.sum(np.asarray(found) / scale * (u @ v)) / len(u[0])
            assert cosine == pytest.approx(1.0, abs=0.2)


def test_tables_and_vectors_of_a_network_are_no_matrices() -> None:
    stacked = {
        "kernel": jnp.ones((3, 4, 4)),
        "bias": jnp.ones((3, 4)),
        "scale_l1": jnp.ones((3, 4)),
    }
    found = jax.tree_util.tree_map_with_path(is_matrix, stacked)
    assert found == {"kernel": True, "bias": False, "scale_l1": False}
