"""The `accurate` network: SO(2) convolutions with attention, of the class of DeepH-2.

Sources: DeepH-2 (Wang et al., arXiv 2401.17015), eSCN (Passaro and Zitnick, ICML 2023) and
EquiformerV2 (Liao et al., ICLR 2024). Each block passes the normed features of an edge and its two
atoms through a first SO(2) map with a gate. A second one gives the values that the atoms gather,
weighted by attention among the edges of an atom; a third one updates the edge, which stays in its
frame. A feed-forward layer on the atoms follows.
"""

from __future__ import annotations

from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp

from deeph.layers import (
    Around,
    Attention,
    Edges,
    NodeFeedForward,
    NodeLinear,
    NodeNorm,
    Nodes,
    SO2Linear,
    added,
    drop,
    drop_whole,
    edge_norm,
    envelope,
    gate_edges,
    split,
    to_nodes,
    uniform,
    weigh_edges,
)
from deeph.networks.backbone import BlockNetwork, Surroundings
from deeph.networks.specification import NOTHING, Drop, NetworkSpecification

MESSAGE_RANGE = 1.5
"""Distance where the envelope of attention ends, over the range of the distance basis."""

_WIDTH = 16
"""Invariants from which one head computes its weights."""


class AccurateBlock(nn.Module):
    """One round of message passing; carries (nodes, edges).

    Attributes
    ----------
    specification : NetworkSpecification
    rates : Drop
    """

    specification: NetworkSpecification
    rates: Drop = NOTHING

    @nn.compact
    def __call__(
        self, carry: tuple[Nodes, Edges], surroundings: Surroundings
    ) -> tuple[tuple[Nodes, Edges], None]:
        """Return the features after the round."""
        spec, f = self.specification, self.specification.features
        nodes, edges = carry
        graph, turns, radial = surroundings
        around = Around(f, name="around")(
            NodeNorm(f, name="norm")(nodes), turns, graph.centre, graph.neighbour
        )
        asked = spec.heads * _WIDTH
        mixed, further = SO2Linear((f, f), f, extra=f.gates + asked, name="mix")(
            around, edge_norm(f, edges)
        )
        gates, invariants = split(further, [f.gates, asked])
        by_length = nn.Dense(f.channels + asked, kernel_init=uniform(), name="mix_radial")(radial)
        scales, shift = split(by_length, [f.channels, asked])
        mixed = gate_edges(f, mixed, gates, 1 + scales)

        nearness = envelope(graph.lengths, MESSAGE_RANGE * spec.r_max)
        weights = Attention(f, spec.heads, name="attention")(
            invariants + shift, nearness, graph.centre, graph.nodes
        )
        values, _ = SO2Linear((f,), f, name="values")(mixed)
        values = weigh_edges(f, values, weights * jnp.asarray(spec.neighbours**0.5, weights.dtype))
        values = drop(self, self.rates.features, values)
        messages = to_nodes(f, turns, values, graph.centre, graph.nodes)
        gathered, _ = NodeLinear(f, f, name="gather")(messages)
        nodes = added(nodes, drop_whole(self, self.rates.depth, gathered))
        forward = NodeFeedForward(f, spec.elements, name="forward")(
            NodeNorm(f, name="node_norm")(nodes), graph.species
        )
        nodes = added(nodes, drop(self, self.rates.projection, forward))
        update, _ = SO2Linear((f,), f, name="edge_out")(mixed)
        return (nodes, added(edges, drop_whole(self, self.rates.depth, update))), None


@dataclass(frozen=True)
class AccurateNetwork(BlockNetwork):
    """Network `accurate`, see `BlockNetwork`."""

    block = AccurateBlock
