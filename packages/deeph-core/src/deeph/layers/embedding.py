"""The first features: of nodes from their element, of edges from length and elements."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from deeph.layers.features import Edges, Features, Nodes
from deeph.layers.initial import uniform

Array = Any


class Embedding(nn.Module):
    """Invariants of atoms and edges; everything that has a direction starts from zero.

    Attributes
    ----------
    features : Features
    elements : int
        Number of elements.
    """

    features: Features
    elements: int

    @nn.compact
    def __call__(self, species: Array, radial: Array) -> tuple[Nodes, Edges]:
        """Return features of nodes and edges from elements (n,) and scalars (e, k) of edges."""
        f, dtype = self.features, radial.dtype
        n, e = species.shape[0], radial.shape[0]
        scalars = nn.Embed(
            self.elements, f.scalars, embedding_init=uniform("fan_out"), name="elements"
        )(species).astype(dtype)
        rest = [jnp.zeros((n, 2 * l + 1, width), dtype) for l, _, width in f.groups[1:]]
        invariants = nn.Dense(f.widths[0], kernel_init=uniform(), name="edges")(radial)
        others = [jnp.zeros((e, width), dtype) for width in f.widths[1:2]]
        pairs = [jnp.zeros((e, 2, width), dtype) for width in f.widths[2:]]
        return (scalars[:, None], *rest), (invariants, *others, *pairs)
