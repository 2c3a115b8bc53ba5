"""From the lab frame into the frames of edges and back, for whole feature arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from deeph.layers.features import Features, permutation

Array = Any


def rotate_by_l(features: Features, wigner: Sequence[Array], x: Array, to_edge: bool) -> Array:
    """Return features (e, size), laid out by l, in the frame of the edge or back in the lab.

    Parameters
    ----------
    features : Features
    wigner : sequence of arrays (e, 2 l + 1, 2 l + 1)
        From the edge's frame to the lab, see `deeph.so3.wigner_blocks`.
    x : array (e, size)
    to_edge : bool
        Direction.
    """
    equation = "eij,eic->ejc" if to_edge else "eij,ejc->eic"
    parts, start = [], 0
    for l in range(features.l_max + 1):
        stop = start + (2 * l + 1) * features.width(l)
        part = x[:, start:stop]
        if l > 0 and stop > start:
            part = part.reshape(x.shape[0], 2 * l + 1, -1)
            part = jnp.einsum(equation, wigner[l], part).reshape(x.shape[0], -1)
        parts.append(part)
        start = stop
    return jnp.concatenate(parts, axis=-1)


def around_edges(
    features: Features,
    wigner: Sequence[Array],
    nodes: Array,
    edges: Array,
    ends: tuple[Array, Array],
) -> Array:
    """Return what an edge sees: its two atoms, turned into its frame, and itself.

    Parameters
    ----------
    features : Features
        Channels of nodes and edges alike.
    wigner : sequence of arrays (2 e, 2 l + 1, 2 l + 1)
        Frames of all edges, twice.
    nodes : array (n, size)
        Laid out by l.
    edges : array (e, size)
        Laid out by M.
    ends : (int array (e,), int array (e,))
        First and second atom of every edge.

    Returns
    -------
    array (e, 3 size)
        Laid out by M, in every part first atom, second atom, edge.
    """
    count = edges.shape[0]
    atoms = rotate_by_l(features, wigner, nodes[jnp.concatenate(ends)], to_edge=True)
    order, sign = _joined(features)
    joined = jnp.concatenate([atoms[:count], atoms[count:], edges], axis=-1)
    return permutation(order)(joined) * sign.astype(joined.dtype)


def to_nodes(
    features: Features, wigner: Sequence[Array], messages: Array, centre: Array, nodes: int
) -> Array:
    """Return the sums over the edges of each atom of messages turned into the lab.

    Parameters
    ----------
    features : Features
    wigner : sequence of arrays (e, 2 l + 1, 2 l + 1)
    messages : array (e, size)
        Laid out by M.
    centre : int array (e,)
        First atom of every edge, ascending; the sum goes there.
    nodes : int
        Number n of atoms.

    Returns
    -------
    array (n, size)
        Laid out by l.
    """
    lab = rotate_by_l(features, wigner, _by_l(features, messages), to_edge=False)
    return jax.ops.segment_sum(lab, centre, nodes, indices_are_sorted=True)


def result_of_edges(features: Features, edges: Array) -> Array:
    """Return edge features (e, size), laid out by M, as irreps channel by channel."""
    return result_of_nodes(features, _by_l(features, edges))


def result_of_nodes(features: Features, nodes: Array) -> Array:
    """Return node features (n, size), laid out by l, as irreps channel by channel.

    Channels are sorted by l, natural before unnatural; each is a run of 2 l + 1 numbers.
    """
    layout = features.by_l
    natural = layout.channel < sum(features.natural)
    order = np.lexsort((layout.m, layout.channel, ~natural, layout.l))
    return permutation(order)(nodes)


def _by_l(features: Features, edges: Array) -> Array:
    """Return edge features laid out by l."""
    order = features.by_l.order_in(features.by_m)
    sign = features.by_m.sign[order].astype(edges.dtype)
    return permutation(order)(edges) * sign


@lru_cache(maxsize=64)
def _joined(features: Features) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return order and signs that bring two node features and an edge feature together by M."""
    by_l, by_m, size = features.by_l, features.by_m, features.size
    own = by_m.order_in(by_l)
    order, sign, start = [], [], 0
    parts = list(features.segments[:2])
    parts += [width for width in features.segments[2:] for _ in range(2)]
    for width in parts:
        part = np.arange(start, start + width)
        order += [own[part], size + own[part], 2 * size + part]
        sign += [by_m.sign[part], by_m.sign[part], np.ones(width)]
        start += width
    return np.concatenate(order), np.concatenate(sign)
