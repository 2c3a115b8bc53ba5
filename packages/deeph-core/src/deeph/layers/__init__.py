"""Building blocks of equivariant networks; every one of them works on plain arrays.

Node features live in the lab frame, edge features in the frame of their edge, see
`deeph.layers.features`.
"""

from deeph.layers.embedding import Embedding
from deeph.layers.features import Edges, Features, Group, Nodes
from deeph.layers.gate import gate_edges, gate_nodes, weigh_edges, weigh_nodes
from deeph.layers.heads import Heads, PseudoInvariants, element_scales, with_both_parities
from deeph.layers.linear import NodeLinear, SO2Linear
from deeph.layers.norm import NodeNorm, edge_norm
from deeph.layers.radial import RadialEmbedding, gaussians
from deeph.layers.turning import (
    Turn,
    Turns,
    edge_turns,
    ends_of_edges,
    result_of_edges,
    result_of_nodes,
    to_edges,
    to_nodes,
)

__all__ = [
    "Edges",
    "Embedding",
    "Features",
    "Group",
    "Heads",
    "NodeLinear",
    "NodeNorm",
    "Nodes",
    "PseudoInvariants",
    "RadialEmbedding",
    "SO2Linear",
    "Turn",
    "Turns",
    "edge_norm",
    "edge_turns",
    "element_scales",
    "ends_of_edges",
    "gate_edges",
    "gate_nodes",
    "gaussians",
    "result_of_edges",
    "result_of_nodes",
    "to_edges",
    "to_nodes",
    "weigh_edges",
    "weigh_nodes",
    "with_both_parities",
]
