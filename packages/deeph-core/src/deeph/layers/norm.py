"""Root-mean-square norms within one node or one edge, one per l, with a learned scale per channel.

No statistics across a structure or a batch: cutting a structure does not change its numbers.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from deeph.layers.features import EdgeFeatures, Features, NodeFeatures

_EPSILON = 1e-3
"""Added to the mean square: features far below 0.03 are not blown up to one."""


class NodeNorm(nn.Module):
    """Divide the features of each node and l by their root mean square."""

    features: Features

    @nn.compact
    def __call__(self, nodes: NodeFeatures) -> NodeFeatures:
        """Return normalised features of the same shapes."""
        result = []
        for l, x in enumerate(nodes):
            scale = self.param(f"scale_{l}", nn.initializers.ones, (x.shape[-1],), x.dtype)
            mean_square = jnp.mean(x * x, axis=(1, 2), keepdims=True)
            result.append(x * jax.lax.rsqrt(mean_square + _EPSILON) * scale)
        return tuple(result)


class EdgeNorm(nn.Module):
    """Divide the features of each edge and l by their root mean square."""

    features: Features

    @nn.compact
    def __call__(self, edges: EdgeFeatures) -> EdgeFeatures:
        """Return normalised features of the same shapes."""
        f = self.features
        dtype = edges.invariant.dtype
        natural = sum(f.natural)
        l_of_channel = f.l_of_channel
        member = np.equal(l_of_channel[:, None], np.arange(f.l_max + 1)).astype(dtype)
        size = np.maximum(member.sum(0) * (2 * np.arange(f.l_max + 1) + 1), 1).astype(dtype)
        square = jnp.concatenate([edges.invariant, edges.pseudo], -1) ** 2 @ member
        for m, pair in enumerate(edges.pairs, start=1):
            square += jnp.sum(pair * pair, axis=1) @ member[f.columns(m)]
        scale = self.param("scale", nn.initializers.ones, (len(l_of_channel),), dtype)
        weights = jax.lax.rsqrt(square / size + _EPSILON)[:, l_of_channel] * scale
        return EdgeFeatures(
            edges.invariant * weights[:, :natural],
            edges.pseudo * weights[:, natural:],
            tuple(p * weights[:, None, f.columns(m)] for m, p in enumerate(edges.pairs, start=1)),
        )
