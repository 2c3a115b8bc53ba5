"""Equivariant layers on flat arrays.

Features of nodes (n, size) are in the lab frame, features of edges (e, size) in the frame of their
edge; `deeph.layers.features` says which entry is what.
"""

from deeph.layers.features import Features, Layout, permutation
from deeph.layers.gate import Gate
from deeph.layers.linear import NodeLinear, SO2Linear
from deeph.layers.norm import Norm
from deeph.layers.radial import RadialEmbedding, gaussians
from deeph.layers.turning import around_edges, result_of_edges, rotate_by_l, to_nodes

__all__ = [
    "Features",
    "Gate",
    "Layout",
    "NodeLinear",
    "Norm",
    "RadialEmbedding",
    "SO2Linear",
    "around_edges",
    "gaussians",
    "permutation",
    "result_of_edges",
    "rotate_by_l",
    "to_nodes",
]
