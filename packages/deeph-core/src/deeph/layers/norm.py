"""Root-mean-square norms within one node or one edge.

No statistics across a structure or a batch: cutting a structure does not change its numbers.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from deeph.layers.features import Edges, Features, Nodes
from deeph.layers.gate import weigh_all

Array = Any

_EPSILON = 1e-3
"""Added to the mean square: features far below 0.03 are not blown up to one."""


class NodeNorm(nn.Module):
    """Divide the features of each node, by l and parity, by their root mean square.

    Attributes
    ----------
    features : Features
    """

    features: Features

    @nn.compact
    def __call__(self, nodes: Nodes) -> Nodes:
        """Return normalised features with a learned scale per channel."""
        parts = []
        for group, part in zip(self.features.groups, nodes, strict=True):
            name = f"scale_l{group.l}" if group.natural else f"scale_l{group.l}_unnatural"
            scale = self.param(name, nn.initializers.ones, (group.width,), part.dtype)
            mean_square = jnp.mean(part * part, axis=(1, 2), keepdims=True)
            parts.append(part * jax.lax.rsqrt(mean_square + _EPSILON) * scale)
        return tuple(parts)


def edge_norm(features: Features, edges: Edges) -> Edges:
    """Return edge features divided by the root mean square of all of them, edge by edge."""
    squares = [jnp.sum(part * part, axis=tuple(range(1, part.ndim))) for part in edges]
    total = jnp.sum(jnp.stack(squares), axis=0)
    inverse = jax.lax.rsqrt(total / max(features.size, 1) + _EPSILON)
    return weigh_all(edges, inverse)
