"""From a structure and its list of pairs to a graph.

In: `Structure`, pairs of the format, a `BlockRepresentation`. Out: `GraphSource`, the graph with
what is needed to find its blocks in files again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph.graphs.graph import Graph
from deeph.representation import Representation
from deeph.so3 import EdgeFrames, edge_frames


@dataclass(frozen=True, eq=False)
class GraphSource:
    """The graph of one structure, in float64 and without padding, with its pairs.

    Attributes
    ----------
    graph : Graph
    node_pairs : int64 (n, 5)
        On-site pair of every node.
    edge_pairs : int64 (e, 5)
        Pair of every edge.
    """

    graph: Graph
    node_pairs: NDArray[np.int64]
    edge_pairs: NDArray[np.int64]

    @property
    def frames(self) -> EdgeFrames:
        """Frames of the edges, float64."""
        return EdgeFrames(self.graph.axes, self.graph.turned)


def graph_pairs(*pair_lists: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the union of pair lists (P, 5), sorted by (i, R1, R2, R3, j), reverse pairs added."""
    pairs = np.concatenate(pair_lists)
    backwards = np.concatenate([-pairs[:, :3], pairs[:, 4:5], pairs[:, 3:4]], axis=1)
    ordered = np.concatenate([pairs, backwards])[:, [3, 0, 1, 2, 4]]
    return np.unique(ordered, axis=0)[:, [1, 2, 3, 0, 4]]


def build_graph(
    structure: Structure, pairs: NDArray[np.int64], representation: Representation
) -> GraphSource:
    """Return the graph of a structure whose edges are the given pairs.

    Parameters
    ----------
    structure : Structure
        n atoms.
    pairs : int64 (P, 5)
        R1, R2, R3, i, j; completed by reverse and on-site pairs.
    representation : BlockRepresentation
        Gives the index of each element.

    Raises
    ------
    InputError
        If an element is unknown, a pair names an atom that is not there, or two atoms coincide.
    """
    atoms = len(structure)
    if len(pairs) and not 0 <= pairs[:, 3:].min() <= pairs[:, 3:].max() < atoms:
        raise InputError(f"a pair names an atom outside 0..{atoms - 1}")
    pairs = graph_pairs(pairs)
    on_site = (pairs[:, 3] == pairs[:, 4]) & np.all(pairs[:, :3] == 0, axis=1)
    edges = pairs[~on_site]
    reverse = _reverse_rows(edges)
    vectors = structure.pair_vectors(edges)
    lengths = np.linalg.norm(vectors, axis=1)
    if len(edges) and lengths.min() < 1e-3:
        row = int(lengths.argmin())
        raise InputError(
            f"atoms {edges[row, 3]} and {edges[row, 4]} (R = {edges[row, :3].tolist()}) coincide"
        )
    frames = edge_frames(vectors, reverse)
    graph = Graph(
        species=representation.species(structure.numbers).astype(np.int32),
        centre=edges[:, 3].astype(np.int32),
        neighbour=edges[:, 4].astype(np.int32),
        reverse=reverse.astype(np.int32),
        lengths=lengths,
        axes=frames.axes,
        turned=frames.turned,
        node_structure=np.zeros(atoms, np.int32),
        edge_structure=np.zeros(len(edges), np.int32),
        node_mask=np.ones(atoms),
        edge_mask=np.ones(len(edges)),
    )
    atom = np.arange(atoms, dtype=np.int64)
    node_pairs = np.stack([0 * atom, 0 * atom, 0 * atom, atom, atom], axis=1)
    return GraphSource(graph, node_pairs, edges)


def _reverse_rows(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row of (-R, j, i) for every pair of a list that is closed under reversal."""
    if not len(edges):
        return np.zeros(0, np.int64)
    empty = np.zeros(0)
    shapes = np.zeros((len(edges), 2), np.int64)
    lookup = BlockMatrix(edges, shapes, np.zeros(len(edges) + 1, np.int64), empty)
    return lookup.partner_rows()
