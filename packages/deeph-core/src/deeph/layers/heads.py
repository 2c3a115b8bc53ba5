"""From features of nodes and edges to the irreps of a target: two layers with a gate between.

Features of natural parity alone cannot express targets of unnatural parity (a p-p' block's L = 1,
most of spin-orbit coupling). For M > 0 the frame of an edge does not tell the two apart; for M = 0
the cross products of two pairs, u_0 v_1 - u_1 v_0, are the pseudo-invariants that are missing.
Both reach the nodes with the messages of the last round, which the head of the nodes reads.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from deeph.layers.arrays import product
from deeph.layers.features import Edges, Features, Nodes
from deeph.layers.gate import gate_edges, gate_nodes
from deeph.layers.initial import uniform
from deeph.layers.linear import NodeLinear, SO2Linear
from deeph.layers.turning import Turns, to_nodes

Array = Any


def with_both_parities(features: Features, *targets: Features) -> Features:
    """Return features joined by as many unnatural channels as targets of unnatural parity need.

    Half as many as natural ones of every l > 0, and of l = 0 where a target has such. Features
    that have unnatural channels, or keep no parity, are returned as they are.
    """
    if not features.parity or any(features.unnatural):
        return features
    if not any(any(target.unnatural) for target in targets):
        return features
    wanted = max(target.unnatural[0] for target in targets if target.unnatural)
    first = min(features.natural[0] // 2, wanted)
    rest = tuple(-(-count // 2) for count in features.natural[1:])
    return Features(features.natural, (first, *rest), True)


class PseudoInvariants(nn.Module):
    """Add cross products of pairs to the M = 0 components of unnatural channels.

    Attributes
    ----------
    features : Features
    """

    features: Features

    @nn.compact
    def __call__(self, edges: Edges) -> Edges:
        """Return the features with more pseudo-invariants."""
        width = self.features.widths[1] if len(edges) > 1 else 0
        if not width or len(edges) < 3:
            return edges
        products = []
        for m, pair in enumerate(edges[2:], start=1):
            size = pair.shape[-1]
            kernel = self.param(f"m{m}", uniform(), (size, size), pair.dtype)
            other = product(pair, kernel)
            products.append(pair[:, 0] * other[:, 1] - pair[:, 1] * other[:, 0])
        joined = jnp.concatenate(products, axis=-1)
        out = self.param("out", uniform(), (joined.shape[-1], width), joined.dtype)
        return (edges[0], edges[1] + product(joined, out), *edges[2:])


class Heads(nn.Module):
    """Map what edges and their atoms hold to the irreps of the targets.

    Attributes
    ----------
    features : Features
        Of nodes and edges.
    hidden : Features
        Between the two layers, see `with_both_parities`.
    node_target, edge_target : Features
        Of the results; one without channels has no head.
    elements : int
        Number of elements.
    neighbours : float
        Average number of edges of an atom.
    """

    features: Features
    hidden: Features
    node_target: Features
    edge_target: Features
    elements: int
    neighbours: float

    @nn.compact
    def __call__(
        self,
        nodes: Nodes,
        around: Edges,
        edges: Edges,
        radial: Array,
        turns: Turns,
        species: Array,
        centre: Array,
    ) -> tuple[Nodes, Edges]:
        """Return the results on nodes and edges, laid out as features.

        Parameters
        ----------
        nodes : Nodes
            Of atoms.
        around : Edges
            Of the two atoms of every edge, turned into its frame.
        edges : Edges
        radial : array (e, k)
            Scalars of lengths and elements.
        turns : Turns
        species : int array (n,)
        centre : int array (e,)
        """
        f, h = self.features, self.hidden
        mixed, gates = SO2Linear((f, f), h, extra=h.gates, name="edge_hidden")(around, edges)
        scales = 1 + nn.Dense(h.channels, kernel_init=uniform(), name="edge_radial")(radial)
        mixed = PseudoInvariants(h, name="pseudo")(mixed)
        mixed = gate_edges(h, mixed, gates, scales)
        edge_result: Edges = ()
        if self.edge_target.channels:
            edge_result, _ = SO2Linear((h,), self.edge_target, zero=True, name="edge_out")(mixed)
        node_result: Nodes = ()
        if self.node_target.channels:
            messages = to_nodes(h, turns, mixed, centre, species.shape[0])
            messages = tuple(part / self.neighbours**0.5 for part in messages)
            own, gates = NodeLinear(f, h, extra=h.gates, name="node_hidden")(nodes)
            more, more_gates = NodeLinear(h, h, extra=h.gates, name="node_messages")(messages)
            scales = element_scales(self, h, self.elements, species, own[0].dtype)
            summed = tuple(a + b for a, b in zip(own, more, strict=True))
            summed = gate_nodes(h, summed, gates + more_gates, scales)
            node_result, _ = NodeLinear(h, self.node_target, zero=True, name="node_out")(summed)
        return node_result, edge_result


def element_scales(
    module: nn.Module, features: Features, elements: int, species: Array, dtype: Any
) -> Array:
    """Return a learned factor per atom and channel, (n, channels), from its element."""
    shape = (elements, features.channels)
    factors = module.param("element_scales", nn.initializers.ones, shape, dtype)
    return factors[species]
