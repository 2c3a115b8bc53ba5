"""Linear maps between features: SO(2) on edges, one matrix per l on nodes.

`SO2Linear` is the tensor product with the spherical harmonics of the edge, reduced to its frame
(eSCN, Passaro and Zitnick 2023): only components of equal M mix, so one matrix per M does what
costs O(l^6) in the lab frame with O(l^3).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax.linen.initializers import lecun_normal

from deeph.layers.features import EdgeFeatures, Features, NodeFeatures

Array = Any


class SO2Linear(nn.Module):
    """Map edge features of any width to `out`, each edge in its own frame.

    Attributes
    ----------
    out : Features
        Channels of the result.
    extra : int
        Further invariants appended to `invariant`, for instance gates.
    kernel_init : initializer
        Of all matrices.
    """

    out: Features
    extra: int = 0
    kernel_init: Any = lecun_normal()

    @nn.compact
    def __call__(self, edges: EdgeFeatures) -> EdgeFeatures:
        """Return the mapped features; (e, k) -> (e, k') for every M."""
        invariant = self._dense(sum(self.out.natural) + self.extra, "m0", bias=True)(
            edges.invariant
        )
        width = sum(self.out.unnatural)
        if width and edges.pseudo.shape[-1]:
            pseudo = self._dense(width, "m0_pseudo")(edges.pseudo)
        else:
            pseudo = jnp.zeros((invariant.shape[0], width), invariant.dtype)
        pairs = []
        for m in range(1, self.out.l_max + 1):
            width = len(self.out.columns(m))
            if m > len(edges.pairs):
                pairs.append(jnp.zeros((invariant.shape[0], 2, width), invariant.dtype))
                continue
            pair = edges.pairs[m - 1]
            mapped = self._dense(width, f"m{m}")(pair)
            if not self.out.parity:
                turned = jnp.stack([-pair[:, 1], pair[:, 0]], axis=1)
                mapped = mapped + self._dense(width, f"m{m}_turned")(turned)
            pairs.append(mapped)
        return EdgeFeatures(invariant, pseudo, tuple(pairs))

    def _dense(self, width: int, name: str, bias: bool = False) -> nn.Dense:
        return nn.Dense(width, use_bias=bias, kernel_init=self.kernel_init, name=name)


class NodeLinear(nn.Module):
    """Map node features to `out`: one matrix per l and parity, a bias for l = 0 only.

    Attributes
    ----------
    given : Features
        Channels of the input.
    out : Features
        Channels of the result.
    extra : int
        Further scalars appended to the natural channels of l = 0, for instance gates.
    kernel_init : initializer
        Of all matrices.
    """

    given: Features
    out: Features
    extra: int = 0
    kernel_init: Any = lecun_normal()

    @nn.compact
    def __call__(self, nodes: NodeFeatures) -> NodeFeatures:
        """Return the mapped features; (n, 2 l + 1, c) -> (n, 2 l + 1, c') for every l."""
        result = []
        for l in range(self.out.l_max + 1):
            split = self.given.natural[l]
            wanted = (self.out.natural[l] + (self.extra if l == 0 else 0), self.out.unnatural[l])
            parts = (nodes[l][..., :split], nodes[l][..., split:])
            columns = []
            for part, width, kind in zip(parts, wanted, ("natural", "unnatural"), strict=True):
                if part.shape[-1] and width:
                    bias = l == 0 and kind == "natural"
                    dense = nn.Dense(
                        width, use_bias=bias, kernel_init=self.kernel_init, name=f"l{l}_{kind}"
                    )
                    columns.append(dense(part))
                else:
                    columns.append(jnp.zeros((*part.shape[:-1], width), part.dtype))
            result.append(jnp.concatenate(columns, -1))
        return tuple(result)
