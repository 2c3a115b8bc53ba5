"""Root-mean-square norm within one node or one edge, one per l, with a learned scale per channel.

No statistics across a structure or a batch: cutting a structure does not change its numbers.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np

from deeph.layers.features import Layout

Array = Any

_EPSILON = 1e-3
"""Added to the mean square: features far below 0.03 are not blown up to one."""


class Norm(nn.Module):
    """Divide the features of each node or edge and l by their root mean square.

    Attributes
    ----------
    layout : Layout
        Of the features.
    """

    layout: Layout

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return normalised features (n, size)."""
        members = self.layout.members(x.dtype)
        mean_square = (x * x) @ (members / np.maximum(members.sum(0), 1))
        channels = int(self.layout.channel.max()) + 1
        scale = self.param("scale", nn.initializers.ones, (channels,), x.dtype)
        inverse = jax.lax.rsqrt(mean_square + _EPSILON) @ members.T
        return x * inverse * (scale @ self.layout.expand(x.dtype))
