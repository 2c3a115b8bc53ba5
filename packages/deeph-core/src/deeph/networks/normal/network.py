"""The `normal` network, of the function class of DeepH-E3 (Gong et al., Nat. Commun. 2023).

Nodes start from their element, edges from their length and elements. Each block mixes the features
of an edge and of its two atoms by an SO(2) linear map in the frame of the edge, scaled by a
function of distance; the gated result is summed over the edges of an atom and added to the edge.
Two-layer heads map nodes and edges to the irreps of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import flax.linen as nn

from deeph.layers import (
    Around,
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
    to_nodes,
    uniform,
    weigh_all,
)
from deeph.networks.backbone import BlockNetwork, Surroundings
from deeph.networks.specification import NOTHING, Drop, NetworkSpecification

MESSAGE_RANGE = 1.5
"""Distance from which on neighbours send no messages, over the range of the distance basis.

Shorter ranges learn sheets of graphene sooner, but crystals slower, and break molecules apart.
"""


class NormalBlock(nn.Module):
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
        mixed, gates = SO2Linear((f, f), f, extra=f.gates, name="mix")(around, edge_norm(f, edges))
        scales = 1 + nn.Dense(f.channels, kernel_init=uniform(), name="mix_radial")(radial)
        mixed = drop(self, self.rates.features, gate_edges(f, mixed, gates, scales))

        # Far neighbours matter little to an atom; without the envelope they are learned as noise.
        nearness = envelope(graph.lengths, MESSAGE_RANGE * spec.r_max) / spec.neighbours**0.5
        messages = to_nodes(f, turns, weigh_all(mixed, nearness), graph.centre, graph.nodes)
        gathered, _ = NodeLinear(f, f, name="gather")(messages)
        nodes = added(nodes, drop_whole(self, self.rates.depth, gathered))
        forward = NodeFeedForward(f, spec.elements, name="forward")(
            NodeNorm(f, name="node_norm")(nodes), graph.species
        )
        nodes = added(nodes, drop(self, self.rates.projection, forward))
        update, _ = SO2Linear((f,), f, name="edge_out")(mixed)
        return (nodes, added(edges, drop_whole(self, self.rates.depth, update))), None


@dataclass(frozen=True)
class NormalNetwork(BlockNetwork):
    """Network `normal`, see `BlockNetwork`."""

    block = NormalBlock
