"""Losses and errors of a batch.

In: a network's result, labels, the graph. Out: numbers. The loss is the paper's Eq. 7: the error of
a block averaged over its elements, then over the pairs of a structure (on site included), then
over structures. Blocks and irreps are related orthonormally, so squared errors are taken in irreps;
absolute errors need the blocks themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from deeph.graphs import Graph, Shape
from deeph.representation import BlockRepresentation
from deeph.so3 import EdgeFrames, wigner_blocks
from deeph.targets.hamiltonian import Labels

Array = Any


class Deviation(NamedTuple):
    """Prediction minus label of a batch, in irreps and eV.

    Attributes
    ----------
    nodes, edges : array (n, size), (e, size)
        Zero where the element pair lacks the component, and on dummies.
    """

    nodes: Array
    edges: Array


def deviation(
    representation: BlockRepresentation, graph: Graph, labels: Labels, nodes: Array, edges: Array
) -> Deviation:
    """Return scaled results minus residual labels, both (n or e, size)."""
    channel = representation.channels.channel_of_component
    mask = jnp.asarray(representation.mask, nodes.dtype)
    first, second = graph.species[graph.centre], graph.species[graph.neighbour]
    on_site = mask[graph.species, graph.species] * graph.node_mask[:, None]
    off_site = mask[first, second] * graph.edge_mask[:, None]
    return Deviation(
        (nodes * labels.node_scale[:, channel] - labels.node_residual) * on_site,
        (edges * labels.edge_scale[:, channel] - labels.edge_residual) * off_site,
    )


def weighted(
    representation: BlockRepresentation,
    labels: Labels,
    difference: Deviation,
    exponent: float,
    typical: float,
) -> Deviation:
    """Return errors weighted by (scale / typical)^(exponent - 1), scale the size of the residual.

    Exponent 1 leaves errors as they are; 0 counts every block relative to its own size, which
    gives weak, far and on-site blocks their say. Scales below a hundredth of the typical one count
    as that.
    """
    if exponent == 1:
        return difference
    channel = representation.channels.channel_of_component

    def weights(scale: Array) -> Array:
        return (jnp.maximum(scale / typical, 1e-2) ** (exponent - 1))[:, channel]

    return Deviation(
        difference.nodes * weights(labels.node_scale), difference.edges * weights(labels.edge_scale)
    )


def typical_size(labels: Sequence[Labels]) -> float:
    """Return the root mean square of all residuals of some structures, in eV."""
    residuals = [x for part in labels for x in (part.node_residual, part.edge_residual)]
    total = sum(float(np.sum(np.square(x, dtype=np.float64))) for x in residuals)
    count = sum(x.size for x in residuals)
    return max((total / max(count, 1)) ** 0.5, float(np.finfo(np.float32).tiny))


def block_elements(
    representation: BlockRepresentation, graph: Graph, difference: Deviation
) -> Deviation:
    """Return absolute values of all elements of the blocks, (n, elements) and (e, elements).

    Elements of a spin-orbit matrix are complex; their modulus is taken.
    """
    wigner = wigner_blocks(EdgeFrames(graph.axes, graph.turned), representation.l_max)
    lab = representation.rotate(difference.edges, wigner, to="lab")
    return Deviation(
        *(
            jnp.abs(representation.join_spin(representation.to_padded(x))).reshape(x.shape[0], -1)
            for x in (difference.nodes, lab)
        )
    )


def element_counts(representation: BlockRepresentation) -> np.ndarray[Any, Any]:
    """Return how many elements the block between two elements has, (elements, elements)."""
    orbitals = representation.orbital_mask.sum(1)
    factor = {"none": 1, "collinear": 2, "soc": 4}[representation.spin]
    return factor * orbitals[:, None] * orbitals[None, :]


def structure_average(
    representation: BlockRepresentation,
    graph: Graph,
    shape: Shape,
    node_sums: Array,
    edge_sums: Array,
) -> Array:
    """Return Eq. 7 from the sums over elements of every block, (n,) and (e,)."""
    counts = jnp.asarray(element_counts(representation), node_sums.dtype)
    first, second = graph.species[graph.centre], graph.species[graph.neighbour]
    nodes = node_sums / counts[graph.species, graph.species]
    edges = edge_sums / counts[first, second]

    def per_structure(node_values: Array, edge_values: Array) -> Array:
        size = shape.structures + 1
        return (
            jax.ops.segment_sum(node_values, graph.node_structure, size)
            + jax.ops.segment_sum(edge_values, graph.edge_structure, size)
        )[:-1]

    pairs = per_structure(graph.node_mask, graph.edge_mask)
    present = pairs > 0
    means = jnp.where(present, per_structure(nodes, edges) / jnp.maximum(pairs, 1), 0.0)
    return means.sum() / jnp.maximum(present.sum(), 1)


def mean_square(
    representation: BlockRepresentation, graph: Graph, shape: Shape, difference: Deviation
) -> Array:
    """Return Eq. 7 in eV^2."""
    sums = (jnp.sum(x * x, axis=1) for x in difference)
    return structure_average(representation, graph, shape, *sums)


def mean_absolute(
    representation: BlockRepresentation, graph: Graph, shape: Shape, difference: Deviation
) -> Array:
    """Return Eq. 7 with absolute instead of squared errors, in eV."""
    sums = (jnp.sum(x, axis=1) for x in block_elements(representation, graph, difference))
    return structure_average(representation, graph, shape, *sums)


LOSSES: dict[str, Callable[[BlockRepresentation, Graph, Shape, Deviation], Array]] = {
    "mse": mean_square,
    "mae": mean_absolute,
}
"""Losses by the name that the configuration uses."""


def absolute_sums(
    representation: BlockRepresentation, graph: Graph, difference: Deviation
) -> Array:
    """Return sums of absolute errors and numbers of elements: (2, 2), rows on site, off site."""
    counts = jnp.asarray(element_counts(representation), difference.nodes.dtype)
    first, second = graph.species[graph.centre], graph.species[graph.neighbour]
    sums = [jnp.sum(x) for x in block_elements(representation, graph, difference)]
    numbers = [
        jnp.sum(counts[graph.species, graph.species] * graph.node_mask),
        jnp.sum(counts[first, second] * graph.edge_mask),
    ]
    return jnp.stack([jnp.stack(sums), jnp.stack(numbers)], axis=1)
