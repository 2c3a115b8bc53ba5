"""Leaving out channels or whole updates at random in training; what stays is scaled up.

A channel is dropped with all its components, so that equivariance is kept.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax

from deeph.layers.gate import weigh_all

Array = Any
STREAM = "drop"
"""Name of the random numbers in flax."""


def drop(module: nn.Module, rate: float, parts: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return features with channels left out; unchanged at rate 0 or without random numbers.

    Parameters
    ----------
    module : flax.linen.Module
        Whose random numbers are used.
    rate : float
        Probability of a channel, for each atom or edge.
    parts : tuple of arrays (k, width) or (k, 2 l + 1, width)
        In features of edges, a channel is a channel of one M.
    """
    if rate <= 0 or not module.has_rng(STREAM):
        return parts
    result = []
    for part in parts:
        shape = (part.shape[0], *(1,) * (part.ndim - 2), part.shape[-1])
        kept = jax.random.bernoulli(module.make_rng(STREAM), 1 - rate, shape)
        result.append(part * (kept.astype(part.dtype) / (1 - rate)))
    return tuple(result)


def drop_whole(module: nn.Module, rate: float, parts: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return features that are left out for whole atoms or edges, see `drop`."""
    if rate <= 0 or not module.has_rng(STREAM):
        return parts
    kept = jax.random.bernoulli(module.make_rng(STREAM), 1 - rate, (parts[0].shape[0],))
    factor = kept.astype(parts[0].dtype) / (1 - rate)
    return weigh_all(parts, factor)
