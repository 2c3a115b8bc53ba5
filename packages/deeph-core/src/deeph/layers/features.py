"""How many channels of which irreps, and in which arrays their components stand.

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

Channels of one l and parity are a *group*; groups are sorted by l, natural first, and channels by
groups. **Node features** are one array (n, 2 l + 1, width) for every group. **Edge features** are
one array for every M: invariants (e, natural channels), pseudo-invariants (e, unnatural channels),
then for M = 1, 2, ... the pairs (e, 2, channels with l >= M), which are the last ones of all
channels. Channels are contiguous, so that every map between channels is one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

Array = Any
Nodes = tuple[Array, ...]
Edges = tuple[Array, ...]


class Group(NamedTuple):
    """Channels of one l and parity.

    Attributes
    ----------
    l : int
    natural : bool
        Whether their parity is (-1)^l.
    width : int
        How many.
    """

    l: int
    natural: bool
    width: int


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

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Channels by l and parity, in the order of all channels; none of them is empty."""
        counts = enumerate(zip(self.natural, self.unnatural, strict=True))
        both = [
            group
            for l, (natural, unnatural) in counts
            for group in (Group(l, True, natural), Group(l, False, unnatural))
        ]
        return tuple(group for group in both if group.width)

    @property
    def l_max(self) -> int:
        """Largest l; -1 if there are no channels."""
        return len(self.natural) - 1

    @property
    def scalars(self) -> int:
        """Number of natural channels of l = 0, the first of all channels."""
        return self.natural[0] if self.natural else 0

    @property
    def channels(self) -> int:
        """Number of all channels."""
        return sum(self.natural) + sum(self.unnatural)

    @property
    def gates(self) -> int:
        """Number of channels that are no natural scalars."""
        return self.channels - self.scalars

    @property
    def size(self) -> int:
        """Number of all components."""
        return sum((2 * group.l + 1) * group.width for group in self.groups)

    def above(self, m: int) -> int:
        """Return the number of channels with l >= M, which are the last ones."""
        return sum(group.width for group in self.groups if group.l >= m)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of every array of edge features: invariants, pseudo-invariants, M = 1, 2, ..."""
        pairs = [self.above(m) for m in range(1, self.l_max + 1)]
        return (sum(self.natural), sum(self.unnatural), *pairs)

    def by_parity(self, weights: Array) -> tuple[Array, Array]:
        """Return the columns of weights (e, channels) of natural and of unnatural channels."""
        import jax.numpy as jnp

        from deeph.layers.arrays import split

        if not any(self.unnatural):
            return weights, weights[:, :0]
        parts = split(weights, [group.width for group in self.groups])
        natural, unnatural = (
            jnp.concatenate(
                [p for p, group in zip(parts, self.groups, strict=True) if group.natural == wanted],
                axis=1,
            )
            for wanted in (True, False)
        )
        return natural, unnatural
