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
import jax
import jax.numpy as jnp
from flax.linen.initializers import zeros

from deeph.graphs.graph import Graph
from deeph.layers import (
    EdgeFeatures,
    EdgeGate,
    EdgeNorm,
    Features,
    NodeGate,
    NodeLinear,
    NodeNorm,
    RadialEmbedding,
    SO2Linear,
    join,
    to_edge_frame,
    to_lab_frame,
)
from deeph.layers.features import NodeFeatures, merge_by_l
from deeph.layers.gate import gate_count
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

    def apply(self, parameters: Any, graph: Graph) -> tuple[Array, Array]:
        """Return irreps of nodes (n, size) in the lab and of edges (e, size) in edge frames."""
        return _Network(self.specification).apply({"params": parameters}, graph)


class _Network(nn.Module):
    specification: NetworkSpecification

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Array, Array]:
        spec, features, target = (
            self.specification,
            self.specification.features,
            self.specification.target,
        )
        dtype = graph.lengths.dtype
        wigner = wigner_blocks(
            EdgeFrames(graph.axes, graph.turned), max(features.l_max, target.l_max)
        )
        embed = RadialEmbedding(spec.elements, spec.r_max, name="radial")
        first, second = graph.species[graph.centre], graph.species[graph.neighbour]
        radial = embed(graph.lengths, first, second) * graph.edge_mask[:, None]
        nodes = self._first_nodes(features, graph.species, dtype)
        edges = _first_edges(features, nn.Dense(sum(features.natural), name="edges")(radial))

        blocks = nn.scan(
            _Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=spec.blocks,
        )(features, spec.elements, spec.neighbours, name="blocks")
        (nodes, edges), _ = blocks((nodes, edges), (graph, tuple(wigner), radial))

        nodes, edges = NodeNorm(features)(nodes), EdgeNorm(features)(edges)
        node_result = _NodeHead(features, target, spec.elements, name="node_head")(
            nodes, graph.species
        )
        around = join([*_ends(features, wigner, nodes, graph), edges])
        edge_result = _EdgeHead(features, target, name="edge_head")(around, radial)
        return _flat(node_result), _flat(_local(target, edge_result))

    def _first_nodes(self, features: Features, species: Array, dtype: Any) -> NodeFeatures:
        elements = self.specification.elements
        scalars = nn.Embed(elements, features.natural[0], name="elements")(species)
        result = []
        for l in range(features.l_max + 1):
            shape = (species.shape[0], 2 * l + 1, features.width(l))
            x = jnp.zeros(shape, dtype)
            result.append(x.at[:, 0, : features.natural[0]].set(scalars) if l == 0 else x)
        return tuple(result)


class _Block(nn.Module):
    """One round of message passing; carries (nodes, edges)."""

    features: Features
    elements: int
    neighbours: float

    @nn.compact
    def __call__(
        self,
        carry: tuple[NodeFeatures, EdgeFeatures],
        surroundings: tuple[Graph, tuple[Array, ...], Array],
    ) -> tuple[tuple[NodeFeatures, EdgeFeatures], None]:
        f = self.features
        nodes, edges = carry
        graph, wigner, radial = surroundings
        around = join([*_ends(f, wigner, NodeNorm(f)(nodes), graph), EdgeNorm(f)(edges)])
        mixed = SO2Linear(f, extra=gate_count(f), name="mix")(around)
        mixed = EdgeGate(f)(_scaled(f, mixed, nn.Dense(f.channels, name="mix_radial")(radial)))

        messages = to_lab_frame(f, wigner, mixed)
        total = tuple(
            jax.ops.segment_sum(
                x * graph.edge_mask[:, None, None],
                graph.centre,
                num_segments=graph.nodes,
                indices_are_sorted=True,
            )
            / self.neighbours**0.5
            for x in messages
        )
        nodes = _add(nodes, NodeLinear(f, f, name="gather")(total))
        hidden = NodeLinear(f, f, extra=gate_count(f), name="node_hidden")(NodeNorm(f)(nodes))
        hidden = _per_element(self, f, self.elements, NodeGate(f)(hidden), graph.species)
        nodes = _add(nodes, NodeLinear(f, f, name="node_out")(hidden))

        change = SO2Linear(f, name="edge_out")(mixed)
        return (nodes, jax.tree.map(jnp.add, edges, change)), None


class _NodeHead(nn.Module):
    features: Features
    target: Features
    elements: int

    @nn.compact
    def __call__(self, nodes: NodeFeatures, species: Array) -> NodeFeatures:
        f = self.features
        hidden = NodeGate(f)(NodeLinear(f, f, extra=gate_count(f), name="hidden")(nodes))
        hidden = _per_element(self, f, self.elements, hidden, species)
        return NodeLinear(f, self.target, kernel_init=zeros, name="out")(hidden)


class _EdgeHead(nn.Module):
    features: Features
    target: Features

    @nn.compact
    def __call__(self, around: EdgeFeatures, radial: Array) -> EdgeFeatures:
        f = self.features
        hidden = SO2Linear(f, extra=gate_count(f), name="hidden")(around)
        hidden = EdgeGate(f)(_scaled(f, hidden, nn.Dense(f.channels, name="hidden_radial")(radial)))
        return SO2Linear(self.target, kernel_init=zeros, name="out")(hidden)


def _ends(
    features: Features, wigner: Any, nodes: NodeFeatures, graph: Graph
) -> tuple[EdgeFeatures, EdgeFeatures]:
    """Return the features of the first and of the second atom of each edge, in its frame."""
    first = to_edge_frame(features, wigner, tuple(x[graph.centre] for x in nodes))
    second = to_edge_frame(features, wigner, tuple(x[graph.neighbour] for x in nodes))
    return first, second


def _first_edges(features: Features, invariants: Array) -> EdgeFeatures:
    """Return edge features with the given invariants and zero elsewhere."""
    e, dtype = invariants.shape[0], invariants.dtype
    pairs = tuple(
        jnp.zeros((e, 2, len(features.columns(m))), dtype) for m in range(1, features.l_max + 1)
    )
    return EdgeFeatures(invariants, jnp.zeros((e, sum(features.unnatural)), dtype), pairs)


def _scaled(features: Features, edges: EdgeFeatures, weights: Array) -> EdgeFeatures:
    """Return features times 1 + weights (e, channels); appended gates are left alone."""
    weights = 1 + weights
    natural = sum(features.natural)
    return EdgeFeatures(
        jnp.concatenate(
            [edges.invariant[:, :natural] * weights[:, :natural], edges.invariant[:, natural:]], -1
        ),
        edges.pseudo * weights[:, natural:],
        tuple(
            p * weights[:, None, features.columns(m)] for m, p in enumerate(edges.pairs, start=1)
        ),
    )


def _per_element(
    module: nn.Module, features: Features, elements: int, nodes: NodeFeatures, species: Array
) -> NodeFeatures:
    """Return features times a learned factor per element and channel."""
    scales = module.param(
        "element_scales", nn.initializers.ones, (elements, features.channels), nodes[0].dtype
    )[species]
    result, start = [], 0
    for l, x in enumerate(nodes):
        result.append(x * scales[:, None, start : start + features.width(l)])
        start += features.width(l)
    return tuple(result)


def _add(first: NodeFeatures, second: NodeFeatures) -> NodeFeatures:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _local(features: Features, edges: EdgeFeatures) -> NodeFeatures:
    return tuple(merge_by_l(features, edges))


def _flat(parts: NodeFeatures) -> Array:
    """Return per-l arrays (n, 2 l + 1, channels) as vectors (n, size), channel by channel."""
    return jnp.concatenate([x.swapaxes(1, 2).reshape(x.shape[0], -1) for x in parts], axis=-1)
