"""What networks have in common: embedding, equal blocks in one scan, heads.

All blocks have equal shapes: one of them is compiled, not k.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn

from deeph.graphs.graph import Graph
from deeph.layers import (
    Around,
    Embedding,
    Heads,
    NodeNorm,
    RadialEmbedding,
    Turns,
    edge_norm,
    edge_turns,
    result_of_edges,
    result_of_nodes,
    with_both_parities,
)
from deeph.layers.drop import STREAM
from deeph.networks.specification import NOTHING, Drop, NetworkSpecification

Array = Any


class Surroundings(NamedTuple):
    """What every block is given besides the features.

    Attributes
    ----------
    graph : Graph
    turns : Turns
        Between the lab and the frames of edges.
    radial : array (e, k)
        Scalars of an edge from its length and elements.
    """

    graph: Graph
    turns: Turns
    radial: Array


class Backbone(nn.Module):
    """A network around a block.

    Attributes
    ----------
    specification : NetworkSpecification
    block : function
        From (specification, drop, name) to a module that maps (nodes, edges) and `Surroundings`
        to ((nodes, edges), None), such as a flax module class.
    drop : Drop
    remat : bool
        Compute what is inside the blocks anew in the backward pass instead of keeping it.
    """

    specification: NetworkSpecification
    block: Callable[..., Any]
    drop: Drop = NOTHING
    remat: bool = False

    @nn.compact
    def __call__(self, graph: Graph) -> tuple[Array, Array]:
        """Return irreps of nodes (n, size) in the lab and of edges (e, size) in edge frames."""
        spec, f = self.specification, self.specification.features
        node_target, edge_target = spec.node_target, spec.edge_target
        hidden = with_both_parities(f, node_target, edge_target)
        turns = edge_turns(graph.axes, graph.turned, f, hidden)
        first, second = graph.species[graph.centre], graph.species[graph.neighbour]
        radial = RadialEmbedding(spec.elements, spec.r_max, name="radial")(
            graph.lengths, first, second
        )
        features = Embedding(f, spec.elements, name="embedding")(graph.species, radial)
        blocks = nn.scan(
            nn.remat(self.block, prevent_cse=False) if self.remat else self.block,
            variable_axes={"params": 0},
            split_rngs={"params": True, STREAM: True},
            in_axes=nn.broadcast,
            length=spec.blocks,
        )(spec, self.drop, name="blocks")
        (nodes, edges), _ = blocks(features, Surroundings(graph, turns, radial))

        nodes, edges = NodeNorm(f, name="node_norm")(nodes), edge_norm(f, edges)
        around = Around(f, name="around")(nodes, turns, graph.centre, graph.neighbour)
        heads = Heads(
            f, hidden, node_target, edge_target, spec.elements, spec.neighbours, name="heads"
        )
        on_nodes, on_edges = heads(nodes, around, edges, radial, turns, graph.species, graph.centre)
        return (
            result_of_nodes(node_target, on_nodes, graph.nodes, radial.dtype),
            result_of_edges(edge_target, on_edges, graph.edges, radial.dtype),
        )


@dataclass(frozen=True)
class BlockNetwork:
    """A network that is a backbone with blocks of one kind; name the kind in a subclass.

    Attributes
    ----------
    specification : NetworkSpecification
    drop : Drop
        What is left out in training.
    remat : bool
        Save memory in training at the cost of time.
    """

    block: ClassVar[Callable[..., Any]]
    specification: NetworkSpecification
    drop: Drop = NOTHING
    remat: bool = False

    def init(self, rng: Array, graph: Graph) -> Any:
        """Return fresh parameters; untrained, the network's result is zero."""
        return self._backbone.init(rng, graph)["params"]

    def apply(self, parameters: Any, graph: Graph, rng: Array | None = None) -> tuple[Array, Array]:
        """Return irreps of nodes (n, size) in the lab and of edges (e, size) in edge frames.

        With a key, what `drop` says is left out.
        """
        rngs = {STREAM: rng} if rng is not None and self.drop.any else None
        return self._backbone.apply({"params": parameters}, graph, rngs=rngs)

    @property
    def _backbone(self) -> Backbone:
        return Backbone(self.specification, type(self).block, self.drop, self.remat)
