"""Padding of graphs to few shapes, so that few programs are compiled.

In: graphs or trees of arrays of single structures. Out: batches of fixed shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeph.graphs.graph import Graph


class Shape(NamedTuple):
    """Size of a padded batch; nodes and edges include at least one dummy node."""

    nodes: int
    edges: int
    structures: int


def padded_shapes(
    sizes: Sequence[tuple[int, int]], batch_size: int, count: int
) -> tuple[Shape, ...]:
    """Return at most `count` shapes, ascending, that hold every batch of the given structures.

    Parameters
    ----------
    sizes : sequence of (int, int)
        Atoms and edges of every structure.
    batch_size : int
        Structures per batch.
    count : int
        Largest number of shapes.

    Notes
    -----
    The largest shape holds the `batch_size` largest structures. Smaller ones hold the batches of
    a division of the sorted structures into `count` parts. Edges are rounded up to multiples of
    16.
    """
    array = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    ordered = np.sort(array, axis=0)
    ends = np.unique(np.ceil(np.arange(1, count + 1) * len(array) / count).astype(int))
    shapes = []
    for end in ends:
        nodes, edges = ordered[max(0, end - batch_size) : end].sum(axis=0)
        shapes.append(Shape(int(nodes) + 1, _round_up(int(edges) + 1), batch_size))
    return tuple(sorted(set(shapes)))


def smallest_fitting(shapes: Sequence[Shape], nodes: int, edges: int) -> Shape:
    """Return the smallest shape with room for so many real nodes and edges and a dummy node.

    Raises
    ------
    ValueError
        If none is large enough.
    """
    for shape in shapes:
        if nodes < shape.nodes and edges <= shape.edges:
            return shape
    raise ValueError(f"no padded shape holds {nodes} atoms and {edges} edges")


def concatenate(graphs: Sequence[Graph], shape: Shape, dtype: Any = np.float32) -> Graph:
    """Return one padded graph of several structures' graphs.

    Parameters
    ----------
    graphs : sequence of Graph
        Unpadded, one structure each.
    shape : Shape
        Size of the result.
    dtype : dtype
        Of the floating-point arrays.
    """
    nodes = np.cumsum([0] + [g.nodes for g in graphs])
    edges = np.cumsum([0] + [g.edges for g in graphs])
    dummy_node, dummy_edges = shape.nodes - 1, np.arange(edges[-1], shape.edges)

    def joined(name: str, shift: NDArray[Any] | None, length: int, fill: Any) -> NDArray[Any]:
        parts = [getattr(g, name) for g in graphs]
        if shift is not None:
            parts = [part + offset for part, offset in zip(parts, shift, strict=False)]
        array = pad(np.concatenate(parts), length, fill)
        return array.astype(dtype if np.issubdtype(array.dtype, np.floating) else np.int32)

    index = np.arange(len(graphs))
    return Graph(
        species=joined("species", None, shape.nodes, 0),
        centre=joined("centre", nodes, shape.edges, dummy_node),
        neighbour=joined("neighbour", nodes, shape.edges, dummy_node),
        reverse=joined("reverse", edges, shape.edges, dummy_edges),
        lengths=joined("lengths", None, shape.edges, 1.0),
        axes=joined("axes", None, shape.edges, np.array([0.0, 0.0, 1.0])),
        turned=joined("turned", None, shape.edges, 0.0),
        node_structure=joined("node_structure", index, shape.nodes, shape.structures),
        edge_structure=joined("edge_structure", index, shape.edges, shape.structures),
        node_mask=joined("node_mask", None, shape.nodes, 0.0),
        edge_mask=joined("edge_mask", None, shape.edges, 0.0),
    )


def pad(array: NDArray[Any], length: int, fill: Any = 0) -> NDArray[Any]:
    """Return an array whose first axis is lengthened to `length` by `fill`."""
    result = np.empty((length, *array.shape[1:]), array.dtype)
    result[: len(array)] = array
    result[len(array) :] = fill
    return result


def _round_up(number: int, multiple: int = 16) -> int:
    return -(-number // multiple) * multiple
