"""Gates: scalars through SiLU, everything else multiplied by the sigmoid of a scalar of its own."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from deeph.layers.features import Features, Layout

Array = Any

_SILU_GAIN = 1.6765
"""Keeps the mean square of normally distributed inputs."""


class Gate:
    """Scale every channel, and gate it.

    Parameters
    ----------
    features : Features
        Channels.
    layout : Layout
        `features.by_l` or `features.by_m`; natural scalars stand first in both.
    """

    def __init__(self, features: Features, layout: Layout) -> None:
        self.features = features
        self.layout = layout

    def __call__(self, x: Array, gates: Array, scales: Array) -> Array:
        """Return gated features.

        Parameters
        ----------
        x : array (n, size)
        gates : array (n, features.gates)
            Before the sigmoid.
        scales : array (n, channels)
            Multiplied on before anything else.
        """
        scalars = self.features.natural[0]
        others = scales[:, scalars:] * 2 * jax.nn.sigmoid(gates)
        weights = jnp.concatenate([scales[:, :scalars], others], axis=-1)
        x = x * (weights @ self.layout.expand(x.dtype))
        return jnp.concatenate([_SILU_GAIN * jax.nn.silu(x[:, :scalars]), x[:, scalars:]], axis=-1)
