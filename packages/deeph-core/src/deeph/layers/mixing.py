"""What blocks of all networks do with nodes and edges."""

from __future__ import annotations

from typing import Any

import flax.linen as nn

from deeph.layers.features import Edges, Features, Nodes
from deeph.layers.gate import gate_nodes
from deeph.layers.heads import element_scales
from deeph.layers.linear import NodeLinear
from deeph.layers.turning import Turns, ends_of_edges, to_edges

Array = Any


class Around(nn.Module):
    """The two atoms of every edge, mixed in the lab and turned into its frame.

    Attributes
    ----------
    features : Features
    """

    features: Features

    @nn.compact
    def __call__(self, nodes: Nodes, turns: Turns, centre: Array, neighbour: Array) -> Edges:
        """Return features of edges from those of nodes."""
        f = self.features
        first, _ = NodeLinear(f, f, name="first")(nodes)
        second, _ = NodeLinear(f, f, name="second")(nodes)
        return to_edges(f, turns, ends_of_edges(first, second, centre, neighbour))


class NodeFeedForward(nn.Module):
    """Linear map, gate with a factor for every element, linear map.

    Attributes
    ----------
    features : Features
    elements : int
        Number of elements.
    """

    features: Features
    elements: int

    @nn.compact
    def __call__(self, nodes: Nodes, species: Array) -> Nodes:
        """Return features of nodes."""
        f = self.features
        hidden, gates = NodeLinear(f, f, extra=f.gates, name="hidden")(nodes)
        scales = element_scales(self, f, self.elements, species, gates.dtype)
        return NodeLinear(f, f, name="out")(gate_nodes(f, hidden, gates, scales))[0]


def added(first: tuple[Array, ...], second: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return sums of features."""
    return tuple(a + b for a, b in zip(first, second, strict=True))
