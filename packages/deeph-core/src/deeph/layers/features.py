"""How many channels of which irreps, and where their components stand in flat arrays.

A channel of angular momentum l is *natural* when its parity is (-1)^l, else *unnatural*. In the
frame of an edge the symmetry that is left is the rotations about the edge (SO(2)) and the mirror
planes that contain it. Under such a mirror the components M >= 0 of natural channels are even and
M < 0 odd; for unnatural channels it is the other way round. Therefore

- M = 0 of natural channels are invariants; M = 0 of unnatural channels change sign and mix with
  nothing else;
- for M > 0 the pair (cos, sin) of a natural channel and (sin, -cos) of an unnatural one transform
  alike, and the only linear maps between them are real matrices.

Without parity there are only rotations: all channels count as natural, and maps between pairs are
complex numbers.

Two layouts follow. *By l*: for every l an array (2 l + 1, channels), natural channels first.
*By M*: the invariants, the M = 0 of unnatural channels, then for M = 1, 2, ... an array
(2, channels with l >= M) of the pairs above. Both are permutations of one another, up to the sign
of -cos, and a layer that acts on single entries works in either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

Array = Any


@dataclass(frozen=True, eq=False)
class Layout:
    """What every entry of a flat array is.

    Attributes
    ----------
    l, m, channel : ndarray (size,)
        Angular momentum, component and channel of each entry. Channels count from 0: natural ones
        ascending in l, then unnatural ones.
    sign : ndarray (size,)
        The entry is sign times the component m.
    """

    l: NDArray[np.int64]
    m: NDArray[np.int64]
    channel: NDArray[np.int64]
    sign: NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.l)

    def expand(self, dtype: Any) -> NDArray[Any]:
        """Return the 0-1 matrix (channels, size) that repeats a number per channel."""
        channels = np.arange(self.channel.max(initial=-1) + 1)
        return np.equal(channels[:, None], self.channel).astype(dtype)

    def members(self, dtype: Any) -> NDArray[Any]:
        """Return the 0-1 matrix (size, l_max + 1) of the entries of every l."""
        return np.equal(self.l[:, None], np.arange(self.l.max(initial=0) + 1)).astype(dtype)

    def order_in(self, other: Layout) -> NDArray[np.int64]:
        """Return where in `other` the components of this layout's entries stand."""
        where = {key: index for index, key in enumerate(other._keys())}
        return np.array([where[key] for key in self._keys()], dtype=np.int64)

    def _keys(self) -> list[tuple[int, int]]:
        return list(zip(self.channel.tolist(), self.m.tolist(), strict=True))


@dataclass(frozen=True)
class Features:
    """Numbers of channels for every l.

    Attributes
    ----------
    natural, unnatural : tuple of int
        Channels of l = 0, 1, ..., both of one length.
    parity : bool
        Whether the layers keep inversion symmetry. Without it `unnatural` is all zero.
    """

    natural: tuple[int, ...]
    unnatural: tuple[int, ...]
    parity: bool = True

    @classmethod
    def of_irreps(cls, irreps: str, parity: bool) -> Features:
        """Return the features of a text such as "32x0e+16x1o+16x1e"."""
        import e3nn_jax

        parsed = e3nn_jax.Irreps(irreps)
        counts = np.zeros((2, parsed.lmax + 1), dtype=int)
        for multiplicity, (l, p) in parsed:
            counts[int(parity and p != (-1) ** l), l] += multiplicity
        return cls(tuple(map(int, counts[0])), tuple(map(int, counts[1])), parity)

    @property
    def l_max(self) -> int:
        """Largest l."""
        return len(self.natural) - 1

    def width(self, l: int) -> int:
        """Return the number of channels of one l."""
        return self.natural[l] + self.unnatural[l]

    @property
    def channels(self) -> int:
        """Number of all channels."""
        return sum(self.natural) + sum(self.unnatural)

    @property
    def gates(self) -> int:
        """Number of channels that are no natural scalars."""
        return self.channels - self.natural[0]

    @property
    def size(self) -> int:
        """Number of all components."""
        return sum((2 * l + 1) * self.width(l) for l in range(self.l_max + 1))

    @property
    def segments(self) -> tuple[int, ...]:
        """Channels of the parts of the layout by M: invariants, pseudo-invariants, M = 1, 2, ..."""
        l = self._l_of_channel
        pairs = [int(np.sum(l >= m)) for m in range(1, self.l_max + 1)]
        return (sum(self.natural), sum(self.unnatural), *pairs)

    @cached_property
    def by_l(self) -> Layout:
        """Layout of node features."""
        rows = []
        for l in range(self.l_max + 1):
            natural = sum(self.natural[:l]) + np.arange(self.natural[l])
            unnatural = sum(self.natural) + sum(self.unnatural[:l]) + np.arange(self.unnatural[l])
            channel = np.concatenate([natural, unnatural])
            rows += [(l, m, c, 1) for m in range(-l, l + 1) for c in channel]
        return _layout(rows)

    @cached_property
    def by_m(self) -> Layout:
        """Layout of edge features."""
        l, natural = self._l_of_channel, sum(self.natural)
        rows = [(l[c], 0, c, 1) for c in range(len(l))]
        for m in range(1, self.l_max + 1):
            chosen = np.flatnonzero(l >= m).tolist()
            rows += [(l[c], m if c < natural else -m, c, 1) for c in chosen]
            rows += [(l[c], -m, c, 1) if c < natural else (l[c], m, c, -1) for c in chosen]
        return _layout(rows)

    @property
    def _l_of_channel(self) -> NDArray[np.int64]:
        l = np.arange(self.l_max + 1)
        return np.concatenate([np.repeat(l, self.natural), np.repeat(l, self.unnatural)])


def _layout(rows: Sequence[tuple[Any, ...]]) -> Layout:
    l, m, channel, sign = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    return Layout(l, m, channel, sign.astype(np.float64))


def permutation(order: NDArray[np.int64]) -> Callable[[Array], Array]:
    """Return the function that reorders the last axis, out[..., k] = x[..., order[k]].

    Its derivative is the inverse reordering. Left to itself, JAX would derive a scatter-add, which
    is slow, and which for many single slices takes long to compile.
    """
    return _permutation(tuple(order.tolist()))


@lru_cache(maxsize=256)
def _permutation(order: tuple[int, ...]) -> Callable[[Array], Array]:
    forward, backward = np.array(order, np.int32), np.argsort(order).astype(np.int32)

    def taken(x: Array, index: NDArray[np.int32]) -> Array:
        barrier: Callable[[Array], Array] = jax.lax.optimization_barrier
        return barrier(x).at[..., index].get(mode="promise_in_bounds", unique_indices=True)

    @jax.custom_vjp
    def reordered(x: Array) -> Array:
        return taken(x, forward)

    reordered.defvjp(lambda x: (taken(x, forward), None), lambda _, g: (taken(g, backward),))
    return reordered
