"""Gates: scalars through SiLU, everything else multiplied by the sigmoid of a scalar of its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from deeph.layers.arrays import endings, split
from deeph.layers.features import Edges, Features, Nodes

Array = Any

_SILU_GAIN = 1.6765
"""Keeps the mean square of normally distributed inputs."""


def weigh_edges(features: Features, edges: Edges, weights: Array) -> Edges:
    """Return edge features times one number (e, channels) per channel."""
    starts = [features.channels - features.above(m) for m in range(1, features.l_max + 1)]
    whole, *ends = endings(weights, (0, *starts))
    parts = [part * w for part, w in zip(edges[:2], features.by_parity(whole), strict=True)]
    parts += [pair * end[:, None] for pair, end in zip(edges[2:], ends, strict=True)]
    return tuple(parts)


def weigh_all(features: tuple[Array, ...], weights: Array) -> tuple[Array, ...]:
    """Return features of nodes or edges times one number (k,) for each of them."""
    return tuple(part * jnp.expand_dims(weights, range(1, part.ndim)) for part in features)


def weigh_nodes(features: Features, nodes: Nodes, weights: Array) -> Nodes:
    """Return node features times one number (n, channels) per channel."""
    parts = split(weights, [group.width for group in features.groups])
    return tuple(part * w[:, None] for part, w in zip(nodes, parts, strict=True))


def gate_edges(features: Features, edges: Edges, gates: Array, scales: Array) -> Edges:
    """Return gated edge features.

    Parameters
    ----------
    features : Features
    edges : Edges
    gates : array (e, features.gates)
        Before the sigmoid.
    scales : array (e, channels)
        Multiplied on before anything else.
    """
    first, *rest = weigh_edges(features, edges, _weights(features, gates, scales))
    return (_activated(first, features.scalars), *rest)


def gate_nodes(features: Features, nodes: Nodes, gates: Array, scales: Array) -> Nodes:
    """Return gated node features; as `gate_edges`, with n for e."""
    first, *rest = weigh_nodes(features, nodes, _weights(features, gates, scales))
    return (_SILU_GAIN * jax.nn.silu(first), *rest)


def _weights(features: Features, gates: Array, scales: Array) -> Array:
    first, others = split(scales, [features.scalars, features.gates])
    return jnp.concatenate([first, others * (2 * jax.nn.sigmoid(gates))], axis=1)


def _activated(invariants: Array, scalars: int) -> Array:
    first, others = split(invariants, [scalars, invariants.shape[1] - scalars])
    return jnp.concatenate([_SILU_GAIN * jax.nn.silu(first), others], axis=1)
