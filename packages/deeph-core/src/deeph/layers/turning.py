"""From the lab frame into the frames of edges and back.

The Wigner matrices of an edge are made once and used by all layers. Products are written as sums
of (e, a, b, 1) times (e, a, 1, channels) over a: compilers turn them into one loop, where a batch
of small matrix products would be slower by a factor of three.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from deeph.layers.arrays import barrier, split
from deeph.layers.features import Edges, Features, Nodes
from deeph.so3 import EdgeFrames, wigner_blocks

Array = Any


class Turn(NamedTuple):
    """Wigner matrices of one l and parity and their transposes, both (e, 2 l + 1, 2 l + 1).

    Attributes
    ----------
    to_edge : array
        Rows in the lab (m = -l..l), columns in the frame of the edge: 0, +1, -1, +2, -2, ... for
        natural channels; for unnatural ones with (+M, -M) replaced by (-M, minus +M).
    to_lab : array
        The transposes.
    """

    to_edge: Array
    to_lab: Array


Turns = dict[tuple[int, bool], Turn]
"""What turns each l and parity (natural or not) between lab and edges."""


def edge_turns(axes: Array, turned: Array, *features: Features) -> Turns:
    """Return what turns features, from `deeph.graphs.Graph.axes` and `turned`."""
    kinds = sorted({(group.l, group.natural) for f in features for group in f.groups})
    blocks = wigner_blocks(EdgeFrames(axes, turned), max((l for l, _ in kinds), default=0))
    turns = {}
    for l, natural in kinds:
        block = blocks[l][:, :, _columns(l, natural)]
        block = block * _signs(l, natural).astype(block.dtype)
        turns[l, natural] = Turn(block, block.swapaxes(1, 2))
    return turns


@jax.custom_vjp
def _turned(matrices: Array, transposed: Array, x: Array) -> Array:
    """Return sum_a M[e, a, b] x[e, a, c] as (e, b, c); `transposed` serves the derivative.

    Both directions then sum over the first of the two small axes, which is what is fast.
    """
    return jnp.sum(matrices[..., None] * x[:, :, None], axis=1)


def _turned_forward(matrices: Array, transposed: Array, x: Array) -> tuple[Array, Any]:
    return _turned(matrices, transposed, x), (matrices, transposed, x)


def _turned_backward(saved: Any, g: Array) -> tuple[Array, Array, Array]:
    matrices, transposed, x = saved
    by_matrices = jnp.einsum("eac,ebc->eab", x, g)
    return by_matrices, jnp.zeros_like(transposed), _turned(transposed, matrices, g)


_turned.defvjp(_turned_forward, _turned_backward)


def _columns(l: int, natural: bool) -> NDArray[np.int64]:
    """Return where the columns 0, +1, -1, ... (natural) or 0, -1, +1, ... stand in -l..l."""
    first = 1 if natural else -1
    m = [0] + [sign * k for k in range(1, l + 1) for sign in (first, -first)]
    return np.array(m) + l


def _signs(l: int, natural: bool) -> NDArray[np.float64]:
    """Return the signs of those columns."""
    signs = np.ones(2 * l + 1)
    if not natural:
        signs[2::2] = -1
    return signs


def ends_of_edges(first: Nodes, second: Nodes, centre: Array, neighbour: Array) -> Nodes:
    """Return the sum, for every edge, of an array of its first and one of its second atom.

    Parameters
    ----------
    first, second : Nodes
        Arrays (n, 2 l + 1, width).
    centre, neighbour : int array (e,)
        First and second atom of every edge.

    Returns
    -------
    tuple of arrays (e, 2 l + 1, width)
    """
    # Whole rows are gathered, once and not for every component that is computed from them.
    rows = _flat(first)[centre] + _flat(second)[neighbour]
    return _unflat(barrier(rows), [part.shape[1:] for part in first])


def to_edges(features: Features, turns: Turns, lab: Nodes) -> Edges:
    """Return features of edges, given in the lab, in the frames of the edges.

    Parameters
    ----------
    features : Features
    turns : Turns
    lab : tuple of arrays (e, 2 l + 1, width)
        One for each group.
    """
    rows = []
    for group, part in zip(features.groups, lab, strict=True):
        turn = turns[group.l, group.natural]
        rows.append(_turned(turn.to_edge, turn.to_lab, part))
    return _by_m(features, rows)


def to_nodes(features: Features, turns: Turns, messages: Edges, centre: Array, nodes: int) -> Nodes:
    """Return the sums over the edges of each atom of messages turned into the lab.

    Parameters
    ----------
    features : Features
    turns : Turns
    messages : Edges
    centre : int array (e,)
        First atom of every edge, ascending; the sum goes there.
    nodes : int
        Number n of atoms.

    Returns
    -------
    tuple of arrays (n, 2 l + 1, width)
    """
    sums = []
    for group, part in zip(features.groups, _by_group(features, messages), strict=True):
        turn = turns[group.l, group.natural]
        lab = _turned(turn.to_lab, turn.to_edge, part)
        sums.append(jax.ops.segment_sum(lab, centre, nodes, indices_are_sorted=True))
    return tuple(sums)


def result_of_nodes(features: Features, nodes: Nodes, count: int, dtype: Any) -> Array:
    """Return node features as irreps channel by channel, (n, size).

    Channels are sorted by l, natural before unnatural; each is a run of 2 l + 1 numbers, m = -l..l.
    """
    flat = [part.swapaxes(1, 2).reshape(count, -1) for part in nodes]
    return jnp.concatenate([jnp.zeros((count, 0), dtype), *flat], axis=1)


def result_of_edges(features: Features, edges: Edges, count: int, dtype: Any) -> Array:
    """Return edge features as irreps channel by channel, in the frames of the edges, (e, size)."""
    if not features.channels:
        return jnp.zeros((count, 0), dtype)
    parts = []
    for group, part in zip(features.groups, _by_group(features, edges), strict=True):
        place = np.argsort(_columns(group.l, group.natural))
        sign = _signs(group.l, group.natural)[place]
        parts.append(_reordered(part, place) * sign[:, None].astype(part.dtype))
    return result_of_nodes(features, tuple(parts), count, dtype)


def _reordered(part: Array, order: NDArray[np.int64]) -> Array:
    """Return part[:, order]."""
    rows = split(part, [1] * part.shape[1], axis=1)
    return jnp.concatenate([rows[k] for k in order], axis=1)


def _flat(parts: Any) -> Array:
    """Return arrays (k, 2 l + 1, width) as rows (k, size)."""
    return jnp.concatenate([part.reshape(part.shape[0], -1) for part in parts], axis=1)


def _unflat(rows: Array, shapes: list[tuple[int, int]]) -> Nodes:
    """Return rows (k, size) as arrays (k, 2 l + 1, width)."""
    parts = split(rows, [components * width for components, width in shapes])
    return tuple(
        part.reshape(rows.shape[0], *shape) for part, shape in zip(parts, shapes, strict=True)
    )


def _by_m(features: Features, rows: list[Array]) -> Edges:
    """Return edge features from arrays (e, 2 l + 1, width), components 0, +1, -1, ..."""
    groups = features.groups
    pieces = [
        split(row, [1] + [2] * group.l, axis=1) for group, row in zip(groups, rows, strict=True)
    ]
    parts = []
    for natural in (True, False):
        chosen = [p[0][:, 0] for g, p in zip(groups, pieces, strict=True) if g.natural == natural]
        parts.append(jnp.concatenate(chosen, axis=-1) if chosen else rows[0][:, 0, :0])
    for m in range(1, features.l_max + 1):
        pairs = [p[m] for g, p in zip(groups, pieces, strict=True) if g.l >= m]
        parts.append(jnp.concatenate(pairs, axis=-1))
    return tuple(parts)


def _by_group(features: Features, edges: Edges) -> list[Array]:
    """Return arrays (e, 2 l + 1, width), components 0, +1, -1, ..., of edge features."""
    groups = features.groups
    pieces: list[list[Array]] = [[] for _ in groups]
    for part, natural in zip(edges[:2], (True, False), strict=True):
        chosen = [k for k, group in enumerate(groups) if group.natural == natural]
        for k, piece in zip(chosen, split(part, [groups[k].width for k in chosen]), strict=True):
            pieces[k].append(piece[:, None])
    for m, pair in enumerate(edges[2:], start=1):
        chosen = [k for k, group in enumerate(groups) if group.l >= m]
        for k, piece in zip(chosen, split(pair, [groups[k].width for k in chosen]), strict=True):
            pieces[k].append(piece)
    return [jnp.concatenate(piece, axis=1) for piece in pieces]
