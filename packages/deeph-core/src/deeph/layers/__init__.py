"""Equivariant layers on plain arrays.

Node features live in the lab frame: a tuple over l of arrays (n, 2 l + 1, channels). Edge features
live in the frame of their edge, see `deeph.layers.features.EdgeFeatures`.
"""

from deeph.layers.features import EdgeFeatures, Features, join, to_edge_frame, to_lab_frame
from deeph.layers.gate import EdgeGate, NodeGate
from deeph.layers.linear import NodeLinear, SO2Linear
from deeph.layers.norm import EdgeNorm, NodeNorm
from deeph.layers.radial import RadialEmbedding, gaussians

__all__ = [
    "EdgeFeatures",
    "EdgeGate",
    "EdgeNorm",
    "Features",
    "NodeGate",
    "NodeLinear",
    "NodeNorm",
    "RadialEmbedding",
    "SO2Linear",
    "gaussians",
    "join",
    "to_edge_frame",
    "to_lab_frame",
]
