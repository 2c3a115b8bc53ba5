"""Attention: shares of the neighbours of one atom, and of nothing else."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from deeph.layers import Attention, Features, envelope

FEATURES, HEADS = Features((4, 2), (0, 2)), 2
CENTRE = np.array([0, 0, 0, 1, 3])
INVARIANTS = np.random.default_rng(0).normal(size=(5, HEADS * 3)).astype(np.float32)
WINDOW = np.array([1.0, 0.5, 0.0, 0.2, 0.0], np.float32)


def weights(invariants: Any = INVARIANTS, window: Any = WINDOW) -> np.ndarray:
    layer = Attention(FEATURES, HEADS)
    parameters = layer.init(jax.random.key(2), INVARIANTS, WINDOW, CENTRE, 4)
    return np.asarray(layer.apply(parameters, invariants, window, CENTRE, 4))


def test_the_shares_of_an_atom_add_up_to_one() -> None:
    found = weights()
    assert found.shape == (5, FEATURES.channels)
    np.testing.assert_allclose(found[:3].sum(axis=0), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found[3], 1.0, rtol=1e-6)
    assert found.min() >= 0
    # What lies at the end of the window has no share, also where it is the only one.
    assert not found[[2, 4]].any()


def test_every_head_has_its_channels_of_every_irrep() -> None:
    found = weights()[0]
    for start, width in ((0, 4), (4, 2), (6, 2)):
        first, second = found[start : start + width // 2], found[start + width // 2 : start + width]
        assert len(np.unique(first)) == len(np.unique(second)) == 1
        assert first[0] != second[0]
    assert len(np.unique(found)) == HEADS


def test_other_atoms_are_not_seen() -> None:
    changed = INVARIANTS.copy()
    changed[3] += 5.0
    np.testing.assert_array_equal(weights(changed)[:3], weights()[:3])
    changed[1] += 5.0
    assert np.abs(weights(changed)[:3] - weights()[:3]).max() > 1e-3


def test_large_scores_do_not_overflow() -> None:
    found = weights(1e4 * INVARIANTS, np.ones(5, np.float32))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:3].sum(axis=0), 1.0, rtol=1e-6)


def test_the_window_closes_smoothly() -> None:
    ends = envelope(jnp.array([0.0, 2.0, 4.0, 9.0]), 4.0)
    np.testing.assert_allclose(ends, [1.0, 0.5, 0.0, 0.0], atol=1e-7)
    slope = jax.vmap(jax.grad(lambda r: envelope(r, 4.0)))(jnp.array([1e-4, 3.9999]))
    np.testing.assert_allclose(slope, 0.0, atol=1e-4)
