"""What an edge knows without directions: its length and the elements of its two atoms."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from deeph.layers.initial import uniform

Array = Any


def gaussians(lengths: Array, r_max: float, count: int) -> Array:
    """Return Gaussians exp(-(r - r_k)^2 / (2 w^2)) on a grid of distances.

    Parameters
    ----------
    lengths : array (e,)
        Distances in Å.
    r_max : float
        Centre of the last Gaussian in Å; the first is at 0. The width is their spacing.
    count : int
        Number of Gaussians.

    Returns
    -------
    array (e, count)
    """
    centres = jnp.linspace(0.0, r_max, count, dtype=lengths.dtype)
    return jnp.exp(-0.5 * ((lengths[:, None] - centres) * ((count - 1) / r_max)) ** 2)


class RadialEmbedding(nn.Module):
    """Scalars of an edge from its length and the elements of both atoms.

    Attributes
    ----------
    elements : int
        Number of elements.
    r_max : float
        Range of the Gaussians in Å.
    count : int
        Number of Gaussians.
    width : int
        Number of scalars returned.
    """

    elements: int
    r_max: float
    count: int = 48
    width: int = 64

    @nn.compact
    def __call__(self, lengths: Array, first: Array, second: Array) -> Array:
        """Return scalars (e, width) of lengths (e,) and elements (e,), (e,)."""
        table = nn.Embed(self.elements**2, self.width, embedding_init=uniform("fan_out"))
        basis = gaussians(lengths, self.r_max, self.count)
        hidden = nn.Dense(self.width, kernel_init=uniform())(basis)
        hidden = hidden + table(first * self.elements + second)
        return nn.silu(nn.Dense(self.width, kernel_init=uniform())(nn.silu(hidden)))
