"""Linear maps between features: SO(2) on edges, one matrix per l on nodes.

`SO2Linear` is the tensor product with the spherical harmonics of the edge, reduced to its frame
(eSCN, Passaro and Zitnick 2023): only components of equal M mix, so one matrix per M does what
costs O(l^6) in the lab frame with O(l^3).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import lecun_normal, zeros

from deeph.layers.features import Features

Array = Any


class SO2Linear(nn.Module):
    """Map features laid out by M to `out`, each edge in its own frame.

    Attributes
    ----------
    segments : tuple of int
        Channels of the parts of the input, see `Features.segments`.
    out : Features
        Channels of the result.
    extra : int
        Further invariants, returned apart, for instance gates.
    kernel_init : initializer
        Of all matrices.
    """

    segments: tuple[int, ...]
    out: Features
    extra: int = 0
    kernel_init: Any = lecun_normal()

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the features (e, size) and the further invariants (e, extra)."""
        wanted = self.out.segments
        invariant = self._dense(wanted[0] + self.extra, "m0", bias=True)(x[:, : self.segments[0]])
        parts, start = [invariant[:, : wanted[0]]], self.segments[0]
        stop = start + self.segments[1]
        parts.append(self._mapped(x[:, start:stop], wanted[1], "m0_pseudo"))
        for m, width in enumerate(wanted[2:], start=1):
            given = self.segments[m + 1] if m + 1 < len(self.segments) else 0
            start, stop = stop, stop + 2 * given
            pair = x[:, start:stop].reshape(x.shape[0], 2, given)
            mapped = self._mapped(pair, width, f"m{m}")
            if not self.out.parity and given:
                turned = jnp.stack([-pair[:, 1], pair[:, 0]], axis=1)
                mapped = mapped + self._mapped(turned, width, f"m{m}_turned")
            parts.append(mapped.reshape(x.shape[0], 2 * width))
        return jnp.concatenate(parts, axis=-1), invariant[:, wanted[0] :]

    def _mapped(self, part: Array, width: int, name: str) -> Array:
        if not part.shape[-1] or not width:
            return jnp.zeros((*part.shape[:-1], width), part.dtype)
        return self._dense(width, name)(part)

    def _dense(self, width: int, name: str, bias: bool = False) -> nn.Dense:
        return nn.Dense(width, use_bias=bias, kernel_init=self.kernel_init, name=name)


class NodeLinear(nn.Module):
    """Map node features laid out by l to `out`: one matrix per l, blocks for the two parities.

    Attributes
    ----------
    given : Features
        Channels of the input.
    out : Features
        Channels of the result.
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
    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the features (n, size) and the further scalars (n, extra)."""
        scalars = x[:, : self.given.natural[0]]
        parts, start = [], 0
        for l in range(self.out.l_max + 1):
            width = self.given.width(l) if l <= self.given.l_max else 0
            stop = start + (2 * l + 1) * width
            part = x[:, start:stop].reshape(x.shape[0], 2 * l + 1, width)
            mapped = part @ self._matrix(l, width, x.dtype)
            parts.append(mapped.reshape(x.shape[0], -1))
            start = stop
        flat = jnp.concatenate(parts, axis=-1)
        bias = self.param("bias", zeros, (self.out.natural[0],), x.dtype)
        flat = flat + jnp.pad(bias, (0, flat.shape[-1] - bias.shape[0]))
        if not self.extra:
            return flat, flat[:, :0]
        return flat, nn.Dense(self.extra, name="extra")(scalars)

    def _matrix(self, l: int, width: int, dtype: Any) -> Array:
        split = self.given.natural[l] if width else 0
        rows = np.arange(width) < split
        columns = np.arange(self.out.width(l)) < self.out.natural[l]
        same = (rows[:, None] == columns).astype(dtype)
        fan_in = np.maximum(same.sum(0), 1)
        if not same.size:
            return jnp.zeros(same.shape, dtype)
        initial = zeros if self.zero else nn.initializers.normal(1.0)
        return self.param(f"l{l}", initial, same.shape, dtype) * (same / np.sqrt(fan_in))
