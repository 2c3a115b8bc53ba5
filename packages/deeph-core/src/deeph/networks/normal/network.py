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
import jax.numpy as jnp
from flax.linen.initializers import zeros

from deeph.graphs.graph import Graph
from deeph.layers import (
    Features,
    Gate,
    NodeLinear,
    Norm,
    RadialEmbedding,
    SO2Linear,
    around_edges,
    result_of_edges,
    to_nodes,
)
from deeph.layers.turning import result_of_nodes
from deeph.networks.specification import NetworkSpecification
from deeph.so3 import EdgeFrames, wigner_blocks

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

    def apply(self, parameters: Any, graph: Graph, rng: Array | None = None) -> tuple[Array, Array]:
        """Return irreps of nodes (n, size) in the lab and of edges (e, size) in edge frames."""
        return _Network(self.specification).apply({"params": parameters}, graph)


class _Network(nn.Module):
    specification: NetworkSpecification

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Array, Array]:
        spec, f = self.specification, self.specification.features
        wigner = wigner_blocks(EdgeFrames(graph.axes, graph.turned), f.l_max)
        first, second = graph.species[graph.centre], graph.species[graph.neighbour]
        radial = RadialEmbedding(spec.elements, spec.r_max, name="radial")(
            graph.lengths, first, second
        )
        scalars = nn.Embed(spec.elements, f.natural[0], name="elements")(graph.species)
        scalars = scalars.astype(graph.lengths.dtype)  # fresh parameters are always float32
        nodes = jnp.pad(scalars, ((0, 0), (0, f.size - scalars.shape[1])))
        invariants = nn.Dense(f.segments[0], name="edges")(radial)
        edges = jnp.pad(invariants, ((0, 0), (0, f.size - invariants.shape[1])))

        blocks = nn.scan(
            _Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=spec.blocks,
        )(f, spec.elements, spec.neighbours, name="blocks")
        twice = [jnp.concatenate([d, d]) for d in wigner]
        (nodes, edges), _ = blocks((nodes, edges), (graph, wigner, twice, radial))

        nodes, edges = Norm(f.by_l, name="node_norm")(nodes), Norm(f.by_m, name="edge_norm")(edges)
        node_result = _NodeHead(f, spec.node_target, spec.elements, name="node_head")(
            nodes, graph.species
        )
        around = around_edges(f, twice, nodes, edges, (graph.centre, graph.neighbour))
        edge_result = _EdgeHead(f, spec.edge_target, name="edge_head")(around, radial)
        return (
            result_of_nodes(spec.node_target, node_result),
            result_of_edges(spec.edge_target, edge_result),
        )


class _Block(nn.Module):
    """One round of message passing; carries (nodes, edges)."""

    features: Features
    elements: int
    neighbours: float

    @nn.compact
    def __call__(
        self, carry: tuple[Array, Array], surroundings: tuple[Graph, Any, Any, Array]
    ) -> tuple[tuple[Array, Array], None]:
        f = self.features
        nodes, edges = carry
        graph, wigner, twice, radial = surroundings
        around = around_edges(
            f,
            twice,
            Norm(f.by_l, name="norm")(nodes),
            Norm(f.by_m, name="edge_norm")(edges),
            (graph.centre, graph.neighbour),
        )
        mixed, gates = SO2Linear(_thrice(f), f, extra=f.gates, name="mix")(around)
        scales = 1 + nn.Dense(f.channels, name="mix_radial")(radial)
        mixed = Gate(f, f.by_m)(mixed, gates, scales)

        messages = to_nodes(f, wigner, mixed, graph.centre, graph.nodes)
        messages = messages / self.neighbours**0.5
        nodes = nodes + NodeLinear(f, f, name="gather")(messages)[0]
        hidden, gates = NodeLinear(f, f, extra=f.gates, name="node_hidden")(
            Norm(f.by_l, name="node_norm")(nodes)
        )
        scales = _element_scales(self, f, self.elements, graph.species, nodes.dtype)
        hidden = Gate(f, f.by_l)(hidden, gates, scales)
        nodes = nodes + NodeLinear(f, f, name="node_out")(hidden)[0]
        edges = edges + SO2Linear(f.segments, f, name="edge_out")(mixed)[0]
        return (nodes, edges), None


class _NodeHead(nn.Module):
    features: Features
    target: Features
    elements: int

    @nn.compact
    def __call__(self, nodes: Array, species: Array) -> Array:
        f = self.features
        hidden, gates = NodeLinear(f, f, extra=f.gates, name="hidden")(nodes)
        scales = _element_scales(self, f, self.elements, species, nodes.dtype)
        hidden = Gate(f, f.by_l)(hidden, gates, scales)
        return NodeLinear(f, self.target, zero=True, name="out")(hidden)[0]


class _EdgeHead(nn.Module):
    features: Features
    target: Features

    @nn.compact
    def __call__(self, around: Array, radial: Array) -> Array:
        f = self.features
        hidden, gates = SO2Linear(_thrice(f), f, extra=f.gates, name="hidden")(around)
        scales = 1 + nn.Dense(f.channels, name="hidden_radial")(radial)
        hidden = Gate(f, f.by_m)(hidden, gates, scales)
        return SO2Linear(f.segments, self.target, kernel_init=zeros, name="out")(hidden)[0]


def _thrice(features: Features) -> tuple[int, ...]:
    """Return the parts of what an edge sees: two atoms and itself."""
    return tuple(3 * width for width in features.segments)


def _element_scales(
    module: nn.Module, features: Features, elements: int, species: Array, dtype: Any
) -> Array:
    """Return a learned factor per atom and channel, (n, channels), from its element."""
    shape = (elements, features.channels)
    return module.param("element_scales", nn.initializers.ones, shape, dtype)[species]
