"""The Hamiltonian as target: labels from hamiltonian.h5, predictions as blocks.

In: folders of the format. Out: `Example`s (graphs with irreps as labels), `Labels` (what the loss
compares with), and blocks from a network's result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.matrix_files import read_pairs
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource, build_graph
from deeph.graphs.padding import Shape, pad
from deeph.representation import BlockRepresentation
from deeph.so3 import wigner_blocks
from deeph.targets.baseline import Baseline

Array = Any


@dataclass(frozen=True, eq=False)
class Example:
    """A structure with labels, float64.

    Attributes
    ----------
    name : str
        Id of the structure.
    source : GraphSource
        Its graph.
    nodes : ndarray (n, size)
        On-site irreps in the lab frame, eV.
    edges : ndarray (e, size)
        Irreps of edges in their frames, eV.
    """

    name: str
    source: GraphSource
    nodes: NDArray[np.float64]
    edges: NDArray[np.float64]


class Labels(NamedTuple):
    """What a batch's result is compared with; float, padded as the graph.

    Attributes
    ----------
    node_residual, edge_residual : array (n, size), (e, size)
        Label minus baseline, eV.
    node_scale, edge_scale : array (n, channels), (e, channels)
        The network's result times this is its prediction of the residual, eV.
    """

    node_residual: Array
    edge_residual: Array
    node_scale: Array
    edge_scale: Array


@dataclass(frozen=True)
class HamiltonianTarget:
    """Labels and predictions of H in a given representation.

    Attributes
    ----------
    representation : BlockRepresentation
    """

    representation: BlockRepresentation
    quantity = "hamiltonian"

    def example(self, folder: StructureFolder, with_overlap: bool) -> Example:
        """Return a folder's graph and labels.

        Parameters
        ----------
        folder : StructureFolder
        with_overlap : bool
            Whether pairs that only the overlap has are edges too (graph_type HS).

        Raises
        ------
        InputError
            If the folder has no Hamiltonian, or the Hamiltonian holds NaN or inf.
        """
        matrix = folder.matrix(self.quantity)
        bad = ~np.isfinite(matrix.entries)
        if bad.any():
            row = int(np.searchsorted(matrix.chunk_boundaries, np.flatnonzero(bad)[0], "right")) - 1
            pair = matrix.atom_pairs[row].tolist()
            raise InputError(
                f"{folder.path / 'hamiltonian.h5'}: entries: NaN or inf in the block of pair "
                f"{pair}; convert the structure again or leave it out"
            )
        pairs = [matrix.atom_pairs]
        if with_overlap:
            pairs.append(read_pairs(folder.file("overlap")))
        source = build_graph(folder.structure, np.concatenate(pairs), self.representation)
        nodes, edges = self._irreps(matrix, source)
        return Example(folder.id, source, nodes, edges)

    def labels(self, example: Example, baseline: Baseline) -> Labels:
        """Return the labels of an example relative to a baseline, unpadded, float64."""
        node_mean, node_scale = baseline.nodes(example.source, self.representation)
        edge_mean, edge_scale = baseline.edges(example.source, self.representation)
        return Labels(example.nodes - node_mean, example.edges - edge_mean, node_scale, edge_scale)

    def blocks(
        self, source: GraphSource, nodes: NDArray[Any], edges: NDArray[Any], baseline: Baseline
    ) -> BlockMatrix:
        """Return blocks, on site first, from scaled residuals in irreps.

        Parameters
        ----------
        source : GraphSource
        nodes, edges : ndarray (n, size), (e, size)
            Predicted residuals in eV, times their scales.
        baseline : Baseline
        """
        rep = self.representation
        nodes = nodes + baseline.nodes(source, rep)[0]
        edges = edges + baseline.edges(source, rep)[0]
        lab = rep.rotate(edges, wigner_blocks(source.frames, rep.l_max), to="lab")
        species = source.graph.species.astype(np.int64)
        pairs = np.concatenate([source.node_pairs, source.edge_pairs])
        first, second = species[pairs[:, 3]], species[pairs[:, 4]]
        irreps = np.concatenate([nodes, lab]) * rep.mask[first, second]
        return rep.scatter(rep.to_padded(irreps), pairs, species)

    def _irreps(
        self, matrix: BlockMatrix, source: GraphSource
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rep, species = self.representation, source.graph.species.astype(np.int64)
        irreps = rep.to_irreps(rep.gather(matrix, species))
        rows = matrix.rows_of(np.concatenate([source.node_pairs, source.edge_pairs]))
        chosen = np.where(rows[:, None] >= 0, irreps[rows], 0.0)
        nodes, edges = chosen[: source.graph.nodes], chosen[source.graph.nodes :]
        return nodes, rep.rotate(edges, wigner_blocks(source.frames, rep.l_max), to="edge")


def batch_labels(labels: Sequence[Labels], shape: Shape, dtype: Any) -> Labels:
    """Return the labels of several structures, padded as `deeph.graphs.concatenate` pads graphs."""
    lengths = (shape.nodes, shape.edges, shape.nodes, shape.edges)
    return Labels(
        *(
            pad(np.concatenate(parts).astype(dtype), length)
            for parts, length in zip(zip(*labels, strict=True), lengths, strict=True)
        )
    )


def hermitian_result(
    representation: BlockRepresentation, graph: Graph, nodes: Array, edges: Array
) -> tuple[Array, Array]:
    """Return a network's result made Hermitian: the mean of each block and its partner's adjoint.

    Parameters
    ----------
    representation : BlockRepresentation
    graph : Graph
    nodes, edges : array (n, size), (e, size)
        Irreps of nodes in the lab, of edges in their frames.
    """
    permutation, on_site, off_site = representation.mirror
    on_site, off_site = on_site.astype(nodes.dtype), off_site.astype(edges.dtype)
    return (
        (nodes + on_site * nodes[:, permutation]) / 2,
        (edges + off_site * edges[graph.reverse][:, permutation]) / 2,
    )
