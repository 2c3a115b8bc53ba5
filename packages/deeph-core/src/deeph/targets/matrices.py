"""Matrices in a basis of atomic orbitals as targets: labels from files, predictions as blocks.

Hamiltonian, density matrix and overlap share everything but names and units: each is a few lines
in a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import h5py
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import MATRIX_FILES, Dataset, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file
from deeph_spec.matrix_files import read_pairs
from deeph_spec.spin import spin_of
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource, build_graph
from deeph.representation import BlockRepresentation, ChannelTable
from deeph.so3 import wigner_blocks
from deeph.targets.baseline import Baseline, fit_baseline
from deeph.targets.magnetism import keeps_time_reversal
from deeph.targets.target import (
    Comparison,
    Example,
    Labels,
    Note,
    PairCount,
    TargetSettings,
)

if TYPE_CHECKING:
    from deeph.targets.measures import Measure

Array = Any
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class MatrixTarget:
    """Labels and predictions of a matrix in a given representation.

    Attributes
    ----------
    representation : BlockRepresentation
    with_overlap : bool
        Whether pairs that only the overlap has are edges too.
    gauge : bool
        Whether matrices are learned modulo mu S.
    """

    representation: BlockRepresentation
    with_overlap: bool = False
    gauge: bool = False

    kind: ClassVar[str]
    quantity: ClassVar[str]
    title: ClassVar[str]
    unit: ClassVar[str]
    shown: ClassVar[tuple[str, float]]
    prediction_file: ClassVar[str]
    spinless: ClassVar[bool] = False
    """Whether the matrix has no spin even where others have."""

    # --- from data or a model file ----------------------------------------------------------------

    @classmethod
    def of_data(
        cls, dataset: Dataset, ids: Sequence[str], settings: TargetSettings, note: Note
    ) -> Self:
        """Return the target that fits elements and spin of the given structures.

        Raises
        ------
        InputError
            If the matrices are magnetic, see `deeph.targets.magnetism`.
        """
        spin, orbitals = cls._spin(dataset), dataset.orbital_map
        full = BlockRepresentation.of(orbitals, spin, False, settings.further_shells)
        kept = BlockRepresentation.of(orbitals, spin, True, settings.further_shells)
        if spin != "none":
            folders = [dataset[id] for id in ids]
            names = cls.quantity, cls.title
            if not keeps_time_reversal(full, kept, folders, names, settings.time_reversal, note):
                return cls(full, settings.with_overlap, settings.gauge)
        return cls(kept, settings.with_overlap, settings.gauge)

    @classmethod
    def of_description(cls, description: Mapping[str, Any]) -> Self:
        """Return the target that `description` came from."""
        representation = BlockRepresentation.of(**description["representation"])
        return cls(representation, description["graph_type"] == "HS", description["gauge"])

    @classmethod
    def needed_irreps(
        cls, dataset: Dataset, settings: TargetSettings
    ) -> tuple[tuple[int, int], ...]:
        """List (l, parity) of the blocks between all shells, ascending, even before odd."""
        rep = BlockRepresentation.of(
            dataset.orbital_map, cls._spin(dataset), True, settings.further_shells
        )
        return irreps_of(rep.channels)

    @classmethod
    def label_files(cls, folder: StructureFolder) -> tuple[Path, ...]:
        """Name the matrix and the overlap."""
        return tuple(folder.file(name) for name in dict.fromkeys(("overlap", cls.quantity)))

    @classmethod
    def missing_label(cls, folder: StructureFolder, settings: TargetSettings) -> str:
        """Name the file that a folder lacks to be trained on."""
        needed = [cls.quantity, *(["overlap"] if settings.with_overlap or settings.gauge else [])]
        return next((MATRIX_FILES[name][0] for name in needed if not folder.has(name)), "")

    @classmethod
    def comparisons(
        cls, predicted: StructureFolder, reference: StructureFolder
    ) -> tuple[Comparison, ...]:
        """Return predicted and reference matrix, if both are there."""
        if not predicted.has(f"{cls.quantity}_pred") or not reference.has(cls.quantity):
            return ()
        found = predicted.matrix(f"{cls.quantity}_pred"), reference.matrix(cls.quantity)
        return (Comparison(cls.quantity, cls.unit, *found),)

    @classmethod
    def _spin(cls, dataset: Dataset) -> str:
        if cls.spinless or not dataset.folders[0].info.spinful:
            return "none"
        if dataset.spin is not None:
            return dataset.spin
        # The published layout does not say it, and there is no Hamiltonian that shows it.
        labelled = next((folder for folder in dataset if folder.has(cls.quantity)), None)
        if labelled is None:
            lacks = MATRIX_FILES[cls.quantity][0]
            raise InputError(f"{dataset.path}: no structure has {lacks}, which training needs")
        return spin_of(labelled.info, labelled.matrix(cls.quantity))

    # --- what a target says -----------------------------------------------------------------------

    @property
    def node_channels(self) -> ChannelTable:
        """Irreps of on-site blocks."""
        return self.representation.channels

    @property
    def edge_channels(self) -> ChannelTable:
        """Irreps of off-site blocks."""
        return self.representation.channels

    @property
    def description(self) -> dict[str, Any]:
        """All that defines the target, as JSON values."""
        rep = self.representation
        return {
            "representation": {
                "orbital_map": {symbol: list(shells) for symbol, shells in rep.orbital_map},
                "spin": rep.spin,
                "time_reversal": rep.time_reversal,
                "further_shells": list(rep.further_shells),
            },
            "graph_type": "HS" if self.with_overlap else self.kind,
            "gauge": self.gauge,
            "unit": self.unit,
        }

    def measure(self, space: str) -> Measure:
        """Return what errors are counted in: "elements" of blocks, or their "irreps"."""
        from deeph.targets.measures import MatrixElements, MatrixIrreps  # imports JAX

        return {"elements": MatrixElements, "irreps": MatrixIrreps}[space](self.representation)

    # --- labels -----------------------------------------------------------------------------------

    def example(self, folder: StructureFolder) -> Example:
        """Return a folder's graph and labels.

        Raises
        ------
        InputError
            If the folder has no such matrix, or it holds NaN or inf.
        """
        path = folder.file(self.quantity)
        matrix = folder.matrix(self.quantity)
        bad = ~np.isfinite(matrix.entries)
        if bad.any():
            row = int(np.searchsorted(matrix.chunk_boundaries, np.flatnonzero(bad)[0], "right")) - 1
            pair = matrix.atom_pairs[row].tolist()
            raise InputError(
                f"{path}: entries: NaN or inf in the block of pair {pair}; convert the structure "
                "again or leave it out"
            )
        there = folder.has("overlap")
        if self.gauge:
            overlap = folder.overlap()
            return self.example_of(folder.id, folder.structure, matrix, overlap=overlap)
        pairs = read_pairs(folder.file("overlap")) if there or self.with_overlap else None
        return self.example_of(folder.id, folder.structure, matrix, pairs)

    def example_of(
        self,
        name: str,
        structure: Structure,
        label: BlockMatrix,
        pairs: NDArray[np.int64] | None = None,
        overlap: BlockMatrix | None = None,
    ) -> Example:
        """Return the graph and labels of a structure.

        Parameters
        ----------
        name : str
            For messages.
        structure : Structure
        label : BlockMatrix
            The matrix; blocks that it does not have are zero.
        pairs : int64 (P, 5), optional
            Of the overlap.
        overlap : BlockMatrix, optional
            Needed to learn modulo mu S; gives `pairs`.
        """
        if overlap is not None:
            pairs = overlap.atom_pairs
        joined = [label.atom_pairs]
        if pairs is not None and self.with_overlap:
            joined.append(pairs)
        source = build_graph(structure, np.concatenate(joined), self.representation)
        nodes, edges = self._irreps(label, source)
        counted = None if pairs is None else PairCount.of(source, pairs)
        if not self.gauge:
            return Example(name, source, nodes, edges, counted)
        if overlap is None:
            raise InputError(f"{name}: no overlap is given, which learning modulo mu S needs")
        if self.representation.spin != "none":
            overlap = _twice(overlap)
        along = self._irreps(overlap, source)
        norm = sum(float(np.sum(s * s)) for s in along)
        mu = sum(float(np.sum(s * x)) for s, x in zip(along, (nodes, edges), strict=True)) / norm
        return Example(name, source, nodes - mu * along[0], edges - mu * along[1], counted, along)

    def _irreps(self, matrix: BlockMatrix, source: GraphSource) -> tuple[FloatArray, FloatArray]:
        rep, species = self.representation, source.graph.species.astype(np.int64)
        irreps = rep.to_irreps(rep.gather(matrix, species))
        rows = matrix.rows_of(np.concatenate([source.node_pairs, source.edge_pairs]))
        chosen = np.where(rows[:, None] >= 0, irreps[rows], 0.0)
        nodes, edges = chosen[: source.graph.nodes], chosen[source.graph.nodes :]
        return nodes, rep.rotate(edges, wigner_blocks(source.frames, rep.l_max), to="edge")

    def fit(self, examples: Sequence[Example]) -> Baseline:
        """Return means and scales of training structures."""
        return fit_baseline(
            [e.source for e in examples],
            [e.nodes for e in examples],
            [e.edges for e in examples],
            self.representation,
        )

    def baseline(self, arrays: Mapping[str, NDArray[Any]]) -> Baseline:
        """Return the baseline whose `arrays` these are."""
        return Baseline.of_arrays(arrays)

    def labels(self, example: Example, baseline: Baseline) -> Labels:
        """Return the labels of an example relative to a baseline, unpadded, float64."""
        node_mean, node_scale = baseline.nodes(example.source, self.representation)
        edge_mean, edge_scale = baseline.edges(example.source, self.representation)
        along = example.overlap or (None, None)
        return Labels(
            example.nodes - node_mean, example.edges - edge_mean, node_scale, edge_scale, *along
        )

    # --- predictions ------------------------------------------------------------------------------

    def paired(self, graph: Graph, nodes: Array, edges: Array) -> tuple[Array, Array]:
        """Return a network's result made Hermitian."""
        return hermitian_result(self.representation, graph, nodes, edges)

    def check_fits(self, other: MatrixTarget) -> None:
        """Refuse to go on with data of other shells or another spin."""
        known, rep = dict(self.representation.orbital_map), other.representation
        for symbol, shells in rep.orbital_map:
            if known.get(symbol) != shells:
                raise InputError(
                    f"process.train.continued: {symbol} has shells {list(shells)} in the new data, "
                    f"but the earlier model knows {known.get(symbol, 'no such element')}"
                )
        if rep.spin != self.representation.spin:
            raise InputError(
                f"process.train.continued: the new data have spin {rep.spin}, the earlier model "
                f"{self.representation.spin}"
            )
        if self.representation.time_reversal and not rep.time_reversal:
            raise InputError(
                "process.train.continued: model.advanced.time_reversal is false, but the earlier "
                "model has left out what changes sign under time reversal"
            )

    def labelled(self, folder: StructureFolder) -> bool:
        """Tell whether a folder has the matrix."""
        return folder.has(self.quantity)

    def check_input(self, folder: StructureFolder) -> None:
        """Refuse a folder whose spin or basis is not that of the training."""
        info, spin = folder.info, self.representation.spin
        if not self.spinless and info.spinful != (spin != "none"):
            raise InputError(
                f"{folder.path / 'info.json'}: spinful: {str(info.spinful).lower()}, but the model "
                f"was trained on data with spin '{spin}'"
            )
        known = dict(self.representation.orbital_map)
        for symbol in sorted(set(folder.structure.symbols)):
            shells = tuple(info.orbital_map.get(symbol, ()))
            refuse_unknown(folder, symbol, known)
            if known[symbol] != shells:
                raise InputError(
                    f"{folder.path / 'info.json'}: elements_orbital_map: {symbol} has shells "
                    f"{list(shells)}, but the model was trained with {list(known[symbol])}: use "
                    "the basis of the training"
                )

    def blocks(
        self, source: GraphSource, nodes: NDArray[Any], edges: NDArray[Any], baseline: Baseline
    ) -> BlockMatrix:
        """Return blocks, on site first, from residuals in irreps.

        Parameters
        ----------
        source : GraphSource
        nodes, edges : ndarray (n, size), (e, size)
            Predicted residuals, in the unit of the matrix.
        baseline : Baseline
        """
        node_mean, _ = baseline.nodes(source, self.representation)
        edge_mean, _ = baseline.edges(source, self.representation)
        return self._blocks(source, nodes + node_mean, edges + edge_mean)

    def _blocks(self, source: GraphSource, nodes: NDArray[Any], edges: NDArray[Any]) -> BlockMatrix:
        """Return blocks from whole irreps, those of edges in their frames."""
        rep = self.representation
        lab = rep.rotate(edges, wigner_blocks(source.frames, rep.l_max), to="lab")
        species = source.graph.species.astype(np.int64)
        pairs = np.concatenate([source.node_pairs, source.edge_pairs])
        first, second = species[pairs[:, 3]], species[pairs[:, 4]]
        irreps = np.concatenate([nodes, lab]) * rep.mask[first, second]
        return rep.scatter(rep.to_padded(irreps), pairs, species)

    def prediction(
        self,
        source: GraphSource,
        nodes: NDArray[Any],
        edges: NDArray[Any],
        baseline: Baseline,
        pairs: NDArray[np.int64],
    ) -> BlockMatrix:
        """Return the matrix on the given pairs, exactly Hermitian, from a paired result."""
        channel = self.representation.channels.channel_of_component
        node_mean, node_scale = baseline.nodes(source, self.representation)
        edge_mean, edge_scale = baseline.edges(source, self.representation)
        matrix = self._blocks(
            source,
            nodes * node_scale[:, channel] + node_mean,
            edges * edge_scale[:, channel] + edge_mean,
        )
        return matrix.hermitian().on_pairs(pairs)

    def write(self, path: Path, prediction: BlockMatrix, attributes: Mapping[str, str]) -> None:
        """Write a matrix in single precision."""
        single = np.complex64 if prediction.dtype.kind == "c" else np.float32
        with replace_file(path) as beside:
            prediction.with_entries(prediction.entries.astype(single)).write(beside, self.quantity)
            with h5py.File(beside, "r+", locking=False) as file:
                file.attrs.update(attributes)


def refuse_unknown(folder: StructureFolder, symbol: str, known: Mapping[str, Any]) -> None:
    """Refuse an element that a model does not know."""
    if symbol not in known:
        raise InputError(
            f"{folder.path}: {symbol} is unknown to the model, which knows {', '.join(known)}"
        )


def irreps_of(*tables: ChannelTable) -> tuple[tuple[int, int], ...]:
    """List (l, parity) of channels, each once, ascending, even before odd."""
    found = {
        (int(j), (1 if natural else -1) * (-1) ** int(j))
        for table in tables
        for j, natural in zip(table.j, table.natural, strict=True)
    }
    return tuple(sorted(found, key=lambda irrep: (irrep[0], -irrep[1])))


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


def _twice(overlap: BlockMatrix) -> BlockMatrix:
    """Return an overlap with spin: S for up and S for down."""
    shapes = 2 * overlap.chunk_shapes
    groups = (
        (rows, np.kron(np.eye(2), stack)) for rows, stack in overlap.by_shape()
    )  # (p, 2 a, 2 b)
    return BlockMatrix.from_stacks(overlap.atom_pairs, shapes, groups)
