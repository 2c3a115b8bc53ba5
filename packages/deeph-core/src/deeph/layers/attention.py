"""Attention: how much each neighbour of an atom counts, from invariants of their edge.

The weights of all edges of one atom sum to at most one, so that they depend on nothing beyond the
edges of that atom; a smooth envelope takes the farthest ones to zero.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deeph.layers.features import Features
from deeph.layers.initial import uniform

Array = Any


class Attention(nn.Module):
    """Weights of edges, one for each channel; channels of every l are dealt out to the heads.

    Attributes
    ----------
    features : Features
        Of messages.
    heads : int
    """

    features: Features
    heads: int

    @nn.compact
    def __call__(self, invariants: Array, envelope: Array, centre: Array, nodes: int) -> Array:
        """Return weights (e, channels).

        Parameters
        ----------
        invariants : array (e, heads k)
        envelope : array (e,)
            From 1 to 0 with distance.
        centre : int array (e,)
            First atom of every edge, ascending.
        nodes : int
            Number of atoms.
        """
        count = invariants.shape[0]
        hidden = smooth_leaky_relu(invariants).reshape(count, self.heads, -1)
        shape = (self.heads, hidden.shape[-1])
        vector = self.param("vector", uniform("fan_out"), shape, hidden.dtype)
        scores = jnp.sum(hidden * vector, axis=-1)
        # Any number may be taken off the scores of one atom; the largest keeps exp from overflow.
        near = envelope[:, None] > 0
        candidates = jnp.where(
            near, jax.lax.stop_gradient(scores), jnp.asarray(-1e30, scores.dtype)
        )
        largest = jax.ops.segment_max(candidates, centre, nodes, indices_are_sorted=True)
        parts = envelope[:, None] * jnp.exp(jnp.where(near, scores - largest[centre], 0.0))
        total = jax.ops.segment_sum(parts, centre, nodes, indices_are_sorted=True)
        weights = parts / jnp.where(total > 0, total, 1)[centre]
        head = [np.arange(g.width) * self.heads // g.width for g in self.features.groups]
        columns = np.eye(self.heads)[np.concatenate(head)].T
        return weights @ columns.astype(weights.dtype)


def smooth_leaky_relu(x: Array, slope: float = 0.2) -> Array:
    """Return x for large positive x and slope x for large negative x, smooth in between."""
    return x * (slope + (1 - slope) * jax.nn.sigmoid(x))


def envelope(lengths: Array, r_max: float) -> Array:
    """Return (1 - x)^2 (1 + 2 x) of x = r / r_max, zero from r_max on, for lengths (e,) in Å."""
    x = jnp.clip(lengths / r_max, 0.0, 1.0)
    return (1 - x) ** 2 * (1 + 2 * x)
