"""How many channels of which irreps, and the two layouts they are stored in.

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
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = Any
NodeFeatures = tuple[Array, ...]
"""Per l an array (n, 2 l + 1, channels), natural channels first."""


class EdgeFeatures(NamedTuple):
    """Features of e edges, each in the frame of its edge, sorted by abs(M).

    Attributes
    ----------
    invariant : array (e, k)
        M = 0 of natural channels, ascending in l.
    pseudo : array (e, k')
        M = 0 of unnatural channels, ascending in l.
    pairs : tuple over M = 1..l_max of arrays (e, 2, k_M)
        (cos, sin) of natural channels with l >= M, then (sin, -cos) of unnatural ones.
    """

    invariant: Array
    pseudo: Array
    pairs: tuple[Array, ...]


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

    @cached_property
    def l_of_channel(self) -> NDArray[np.int64]:
        """Angular momenta of all channels: natural ones ascending in l, then unnatural ones."""
        l = np.arange(self.l_max + 1)
        return np.concatenate([np.repeat(l, self.natural), np.repeat(l, self.unnatural)])

    def columns(self, m: int) -> NDArray[np.int64]:
        """Return which channels have a component M = m; it is the order of `EdgeFeatures.pairs`."""
        return np.flatnonzero(self.l_of_channel >= m)


def to_edge_frame(features: Features, wigner: Sequence[Array], nodes: NodeFeatures) -> EdgeFeatures:
    """Return node features, one row per edge, in the frames of the edges.

    Parameters
    ----------
    features : Features
        Channels of `nodes`.
    wigner : sequence of arrays (e, 2 l + 1, 2 l + 1)
        Edge frame to lab, see `deeph.so3.wigner_blocks`.
    nodes : tuple over l of arrays (e, 2 l + 1, channels)
    """
    local = [jnp.einsum("eij,eic->ejc", wigner[l], x) for l, x in enumerate(nodes)]
    return split_by_m(features, local)


def to_lab_frame(features: Features, wigner: Sequence[Array], edges: EdgeFeatures) -> NodeFeatures:
    """Return edge features turned into the lab frame, per l (e, 2 l + 1, channels)."""
    return tuple(
        jnp.einsum("eij,ejc->eic", wigner[l], x) for l, x in enumerate(merge_by_l(features, edges))
    )


def split_by_m(features: Features, local: Sequence[Array]) -> EdgeFeatures:
    """Return per-l arrays (e, 2 l + 1, channels) in edge frames as `EdgeFeatures`."""
    natural = [x[..., :n] for x, n in zip(local, features.natural, strict=True)]
    unnatural = [x[..., n:] for x, n in zip(local, features.natural, strict=True)]

    def row(parts: Sequence[Array], m: int) -> list[Array]:
        return [x[:, l + m] for l, x in enumerate(parts) if l >= abs(m) and x.shape[-1]]

    def stacked(parts: list[Array]) -> Array:
        return (
            jnp.concatenate(parts, -1)
            if parts
            else jnp.zeros((local[0].shape[0], 0), local[0].dtype)
        )

    pairs = []
    for m in range(1, features.l_max + 1):
        first = stacked(row(natural, m) + row(unnatural, -m))
        second = stacked(row(natural, -m) + [-x for x in row(unnatural, m)])
        pairs.append(jnp.stack([first, second], axis=1))
    return EdgeFeatures(stacked(row(natural, 0)), stacked(row(unnatural, 0)), tuple(pairs))


def merge_by_l(features: Features, edges: EdgeFeatures) -> list[Array]:
    """Return `EdgeFeatures` as per-l arrays (e, 2 l + 1, channels), inverse of `split_by_m`."""
    merged = []
    for l in range(features.l_max + 1):
        n, u = features.natural[l], features.unnatural[l]
        natural, unnatural = sum(features.natural[:l]), sum(features.unnatural[:l])
        rows = {
            0: [
                edges.invariant[:, natural : natural + n],
                edges.pseudo[:, unnatural : unnatural + u],
            ]
        }
        for m in range(1, l + 1):
            pair = edges.pairs[m - 1]
            start = sum(features.natural[m:l])
            other = sum(features.natural[m:]) + sum(features.unnatural[m:l])
            cosine, sine = pair[:, 0, start : start + n], pair[:, 1, start : start + n]
            rows[m] = [cosine, -pair[:, 1, other : other + u]]
            rows[-m] = [sine, pair[:, 0, other : other + u]]
        merged.append(jnp.stack([jnp.concatenate(rows[m], -1) for m in range(-l, l + 1)], axis=1))
    return merged


def join(parts: Sequence[EdgeFeatures]) -> EdgeFeatures:
    """Return several edge features side by side, as input of one `SO2Linear`."""
    return EdgeFeatures(
        jnp.concatenate([p.invariant for p in parts], -1),
        jnp.concatenate([p.pseudo for p in parts], -1),
        tuple(
            jnp.concatenate(arrays, -1) for arrays in zip(*(p.pairs for p in parts), strict=True)
        ),
    )
