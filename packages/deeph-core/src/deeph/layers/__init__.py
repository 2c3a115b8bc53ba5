"""Building blocks of equivariant networks; every one of them works on plain arrays.

Node features live in the lab frame, edge features in the frame of their edge, see
`deeph.layers.features`.
"""

from deeph.layers.arrays import endings, product, split
from deeph.layers.attention import Attention, envelope
from deeph.layers.drop import drop, drop_whole
from deeph.layers.embedding import Embedding
from deeph.layers.features import Edges, Features, Group, Nodes
from deeph.layers.gate import gate_edges, gate_nodes, weigh_all, weigh_edges, weigh_nodes
from deeph.layers.heads import Heads, PseudoInvariants, element_scales, with_both_parities
from deeph.layers.initial import uniform
from deeph.layers.linear import NodeLinear, SO2Linear
from deeph.layers.mixing import Around, NodeFeedForward, added
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
    "Around",
    "Attention",
    "Edges",
    "Embedding",
    "Features",
    "Group",
    "Heads",
    "NodeFeedForward",
    "NodeLinear",
    "NodeNorm",
    "Nodes",
    "PseudoInvariants",
    "RadialEmbedding",
    "SO2Linear",
    "Turn",
    "Turns",
    "added",
    "drop",
    "drop_whole",
    "edge_norm",
    "edge_turns",
    "element_scales",
    "endings",
    "ends_of_edges",
    "envelope",
    "gate_edges",
    "gate_nodes",
    "gaussians",
    "product",
    "result_of_edges",
    "result_of_nodes",
    "split",
    "to_edges",
    "to_nodes",
    "uniform",
    "weigh_all",
    "weigh_edges",
    "weigh_nodes",
    "with_both_parities",
]
