"""The `normal` network, of the function class of DeepH-E3 (Gong et al., Nat. Commun. 2023).

Nodes start from their element, edges from their length and elements. Each block mixes the features
of an edge and of its two atoms by an SO(2) linear map in the frame of the edge, scaled by a
function of distance; the gated result is summed over the edges of an atom and added to the edge.
Two-layer heads map nodes and edges to the irreps of the target.

All blocks have equal shapes and run in one `lax.scan`: one block is compiled, not k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flax.linen as nn

from deeph.graphs.graph import Graph
from deeph.layers import (
    Edges,
    Embedding,
    Features,
    Heads,
    NodeLinear,
    NodeNorm,
    Nodes,
    RadialEmbedding,
    SO2Linear,
    Turns,
    edge_norm,
    edge_turns,
    element_scales,
    ends_of_edges,
    gate_edges,
    gate_nodes,
    result_of_edges,
    result_of_nodes,
    to_edges,
    to_nodes,
    with_both_parities,
)
from deeph.networks.specification import NetworkSpecification

Array = Any


@dataclass(frozen=True)
class NormalNetwork:
    """Network `normal`.

    Attributes
    ----------
    specification : NetworkSpecification
    """

    specification: NetworkSpecification

    def init(self, rng: Array, graph: Graph) -> Any:
        """Return fresh parameters; untrained, the network's result is zero."""
        return _Network(self.specification).init(rng, graph)["params"]

    def apply(
        self, parameters: Any, graph: Graph, rng: Array | None = None
    ) -> tuple[Array, Array]:
        """Return irreps of nodes (n, size) in the lab and of edges (e, size) in edge frames."""
        return _Network(self.specification).apply({"params": parameters}, graph)


class _Network(nn.Module):
    specification: NetworkSpecification

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Array, Array]:
        spec, f = self.specification, self.specification.features
        node_target, edge_target = spec.node_target, spec.edge_target
        hidden = with_both_parities(f, node_target, edge_target)
        turns = edge_turns(graph.axes, graph.turned, f, hidden)
        first, second = graph.species[graph.centre], graph.species[graph.neighbour]
        radial = RadialEmbedding(spec.elements, spec.r_max, name="radial")(
            graph.lengths, first, second
        )
        nodes, edges = Embedding(f, spec.elements, name="embedding")(graph.species, radial)
        blocks = nn.scan(
            _Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=spec.blocks,
        )(f, spec.elements, spec.neighbours, name="blocks")
        (nodes, edges), _ = blocks((nodes, edges), (graph, turns, radial))

        nodes, edges = NodeNorm(f, name="node_norm")(nodes), edge_norm(f, edges)
        around = _Around(f, name="around")(nodes, turns, graph)
        heads = Heads(f, hidden, node_target, edge_target, spec.elements, spec.neighbours)
        on_nodes, on_edges = heads(
            nodes, around, edges, radial, turns, graph.species, graph.centre
        )
        dtype = radial.dtype
        return (
            result_of_nodes(node_target, on_nodes, graph.nodes, dtype),
            result_of_edges(edge_target, on_edges, graph.edges, dtype),
        )


class _Around(nn.Module):
    """The two atoms of every edge, mixed in the lab and turned into its frame."""

    features: Features

    @nn.compact
    def __call__(self, nodes: Nodes, turns: Turns, graph: Graph) -> Edges:
        f = self.features
        first, _ = NodeLinear(f, f, name="first")(nodes)
        second, _ = NodeLinear(f, f, name="second")(nodes)
        return to_edges(f, turns, ends_of_edges(first, second, graph.centre, graph.neighbour))


class _Block(nn.Module):
    """One round of message passing; carries (nodes, edges)."""

    features: Features
    elements: int
    neighbours: float

    @nn.compact
    def __call__(
        self, carry: tuple[Nodes, Edges], surroundings: tuple[Graph, Turns, Array]
    ) -> tuple[tuple[Nodes, Edges], None]:
        f = self.features
        nodes, edges = carry
        graph, turns, radial = surroundings
        around = _Around(f, name="around")(NodeNorm(f, name="norm")(nodes), turns, graph)
        mixed, gates = SO2Linear((f, f), f, extra=f.gates, name="mix")(around, edge_norm(f, edges))
        scales = 1 + nn.Dense(f.channels, name="mix_radial")(radial)
        mixed = gate_edges(f, mixed, gates, scales)

        messages = to_nodes(f, turns, mixed, graph.centre, graph.nodes)
        messages = tuple(part / self.neighbours**0.5 for part in messages)
        nodes = _added(nodes, NodeLinear(f, f, name="gather")(messages)[0])
        hidden, gates = NodeLinear(f, f, extra=f.gates, name="node_hidden")(
            NodeNorm(f, name="node_norm")(nodes)
        )
        scales = element_scales(self, f, self.elements, graph.species, radial.dtype)
        hidden = gate_nodes(f, hidden, gates, scales)
        nodes = _added(nodes, NodeLinear(f, f, name="node_out")(hidden)[0])
        edges = _added(edges, SO2Linear((f,), f, name="edge_out")(mixed)[0])
        return (nodes, edges), None


def _added(first: tuple[Array, ...], second: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))
