"""How large a network is: numbers of parameters, and bytes for training and inference.

In: a network and the size of a graph. Out: numbers, without allocating or compiling anything.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from deeph.graphs import Graph
from deeph.networks import Network


def smallest_graph() -> Graph:
    """Return a graph of two atoms and two edges: parameters do not depend on its size."""
    two, floats = np.zeros(2, np.int32), np.ones(2, np.float32)
    return Graph(
        species=two,
        centre=two,
        neighbour=two,
        reverse=two,
        lengths=floats,
        axes=np.ones((2, 3), np.float32),
        turned=0 * floats,
        node_structure=two,
        edge_structure=two,
        node_mask=floats,
        edge_mask=floats,
    )


def parameter_shapes(network: Network) -> Any:
    """Return the tree of shapes of the network's parameters."""
    return jax.eval_shape(lambda: network.init(jax.random.key(0), smallest_graph()))


def parameter_count(network: Network) -> int:
    """Return how many parameters a network has."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(parameter_shapes(network)))
