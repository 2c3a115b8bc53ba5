"""Structures as graphs of atoms and pairs: what the networks see."""

from deeph.graphs.build import GraphSource, build_graph, graph_pairs
from deeph.graphs.graph import Graph
from deeph.graphs.padding import Shape, concatenate, padded_shapes, smallest_fitting

__all__ = [
    "Graph",
    "GraphSource",
    "Shape",
    "build_graph",
    "concatenate",
    "graph_pairs",
    "padded_shapes",
    "smallest_fitting",
]
