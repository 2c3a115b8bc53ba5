"""Gates: scalars through SiLU, everything else multiplied by the sigmoid of a scalar of its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from deeph.layers.features import EdgeFeatures, Features, NodeFeatures

Array = Any

_SILU_GAIN = 1.6765
"""Keeps the mean square of normally distributed inputs."""


def gate_count(features: Features) -> int:
    """Return how many gates the features need: one per channel that is no natural scalar."""
    return features.channels - features.natural[0]


class EdgeGate:
    """Gate edge features whose `invariant` carries the gates at its end.

    Parameters
    ----------
    features : Features
        Channels without the gates.
    """

    def __init__(self, features: Features) -> None:
        self.features = features

    def __call__(self, edges: EdgeFeatures) -> EdgeFeatures:
        """Return the gated features."""
        f = self.features
        natural = sum(f.natural)
        gates = 2 * jax.nn.sigmoid(edges.invariant[:, natural:])
        scalars = jnp.ones((gates.shape[0], f.natural[0]), gates.dtype)
        weights = jnp.concatenate([scalars, gates], -1)
        invariant = edges.invariant[:, :natural] * weights[:, :natural]
        invariant = jnp.concatenate(
            [_SILU_GAIN * jax.nn.silu(invariant[:, : f.natural[0]]), invariant[:, f.natural[0] :]],
            -1,
        )
        pairs = tuple(
            pair * weights[:, None, f.columns(m)] for m, pair in enumerate(edges.pairs, start=1)
        )
        return EdgeFeatures(invariant, edges.pseudo * weights[:, natural:], pairs)


class NodeGate:
    """Gate node features whose natural scalars carry the gates at their end.

    Parameters
    ----------
    features : Features
        Channels without the gates.
    """

    def __init__(self, features: Features) -> None:
        self.features = features

    def __call__(self, nodes: NodeFeatures) -> NodeFeatures:
        """Return the gated features."""
        f = self.features
        n, count = f.natural[0], gate_count(f)
        scalars = nodes[0][:, 0, :n]
        gates = 2 * jax.nn.sigmoid(nodes[0][:, 0, n : n + count])
        pseudoscalars = nodes[0][:, 0, n + count :] * gates[:, : f.unnatural[0]]
        first = jnp.concatenate([_SILU_GAIN * jax.nn.silu(scalars), pseudoscalars], -1)
        result, start = [first[:, None, :]], f.unnatural[0]
        for l in range(1, f.l_max + 1):
            result.append(nodes[l] * gates[:, None, start : start + f.width(l)])
            start += f.width(l)
        return tuple(result)
