"""Linear maps between features: SO(2) on edges, one matrix per l and parity on nodes.

`SO2Linear` is the tensor product with the spherical harmonics of the edge, reduced to its frame
(eSCN, Passaro and Zitnick 2023): only components of equal M mix, so one matrix per M does what
costs O(l^6) in the lab frame with O(l^3).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.initializers import zeros

from deeph.layers.arrays import product, split
from deeph.layers.features import Edges, Features, Nodes
from deeph.layers.initial import uniform

Array = Any


class SO2Linear(nn.Module):
    """Map features of edges, each edge in its own frame.

    Attributes
    ----------
    given : tuple of Features
        Channels of the inputs, whose maps are added.
    out : Features
        Channels of the result.
    extra : int
        Further invariants, returned apart, for instance gates.
    zero : bool
        Start from zero instead of random matrices.
    """

    given: tuple[Features, ...]
    out: Features
    extra: int = 0
    zero: bool = False

    @nn.compact
    def __call__(self, *inputs: Edges) -> tuple[Edges, Array]:
        """Return the features and the further invariants (e, extra)."""
        wanted = self.out.widths
        dtype = inputs[0][0].dtype
        invariant = self._mapped(inputs, 0, wanted[0] + self.extra, "m0")
        bias = self.param("bias", zeros, (wanted[0] + self.extra,), dtype)
        invariant = invariant + bias
        first, further = split(invariant, [wanted[0], self.extra])
        parts = [first]
        if len(wanted) > 1:
            parts.append(self._mapped(inputs, 1, wanted[1], "pseudo"))
        for m, width in enumerate(wanted[2:], start=1):
            mapped = self._mapped(inputs, m + 1, width, f"m{m}")
            if not self.out.parity:
                crossed = self._mapped(inputs, m + 1, width, f"m{m}_turned")
                mapped = mapped + jnp.stack([-crossed[:, 1], crossed[:, 0]], axis=1)
            parts.append(mapped)
        return tuple(parts), further

    def _mapped(self, inputs: tuple[Edges, ...], part: int, width: int, name: str) -> Array:
        """Return the sum of the maps of one part of all inputs."""
        arrays = [edges[part] if part < len(edges) else None for edges in inputs]
        fan_in = sum(x.shape[-1] for x in arrays if x is not None)
        total = None
        for k, x in enumerate(arrays):
            if x is None or not x.shape[-1] or not width:
                continue
            # Every input counts with its share of the common fan-in.
            initial = zeros if self.zero else uniform(share=x.shape[-1] / fan_in)
            kernel = self.param(f"{name}_{k}", initial, (x.shape[-1], width), x.dtype)
            mapped = product(x, kernel)
            total = mapped if total is None else total + mapped
        if total is not None:
            return total
        first = inputs[0][0]
        shape = (first.shape[0], width) if part < 2 else (first.shape[0], 2, width)
        return jnp.zeros(shape, first.dtype)


class NodeLinear(nn.Module):
    """Map features of nodes: one matrix for every l and parity.

    Attributes
    ----------
    given : Features
        Channels of the input.
    out : Features
        Channels of the result; groups that the input lacks are zero.
    extra : int
        Further scalars, returned apart, for instance gates.
    zero : bool
        Start from zero instead of random matrices.
    """

    given: Features
    out: Features
    extra: int = 0
    zero: bool = False

    @nn.compact
    def __call__(self, nodes: Nodes) -> tuple[Nodes, Array]:
        """Return the features and the further scalars (n, extra)."""
        initial = zeros if self.zero else uniform()
        there = {group[:2]: x for group, x in zip(self.given.groups, nodes, strict=True)}
        count, dtype = nodes[0].shape[0], nodes[0].dtype
        extra = jnp.zeros((count, 0), dtype)
        result = []
        for l, natural, width in self.out.groups:
            x = there.get((l, natural))
            if x is None:
                result.append(jnp.zeros((count, 2 * l + 1, width), dtype))
                continue
            scalar = l == 0 and natural
            columns = width + self.extra if scalar else width
            name = f"l{l}" if natural else f"l{l}_unnatural"
            mapped = product(x, self.param(name, initial, (x.shape[-1], columns), dtype))
            if scalar:
                mapped = mapped + self.param("bias", zeros, (columns,), dtype)
                extra = mapped[:, 0, width:]
            result.append(mapped[..., :width])
        return tuple(result), extra
