"""Quantities declared by irreps as targets: a row per atom, per edge, or per structure.

In: a dataset of targets.h5 (see the format, section 6), which says irreps, unit and what a row is
of; or arrays. Out: the same, predicted, in targets_pred.h5. What belongs to a structure, an energy
or a dipole, is learned as a sum over atoms: the network's result on an atom is the mean over its
structure, and is compared with an n-th of the label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.matrix_files import read_pairs
from deeph_spec.pairs import encode, find, on_site
from deeph_spec.structure import Structure
from deeph_spec.tensors import (
    PER,
    TENSOR_FILE,
    TENSOR_PREDICTION_FILE,
    Tensor,
    read_tensors,
    tensor_names,
    write_tensors,
)
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource, build_graph
from deeph.representation import NO_CHANNELS, ChannelTable, TensorRepresentation
from deeph.so3 import wigner_blocks
from deeph.targets.baseline import Baseline, fit_baseline
from deeph.targets.composition import SumBaseline, fit_sums
from deeph.targets.matrices import irreps_of, refuse_unknown
from deeph.targets.target import Comparison, Example, Labels, Note, PairCount, TargetSettings

if TYPE_CHECKING:
    from deeph.targets.measures import Measure

Array = Any
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TensorTarget:
    """Labels and predictions of a declared quantity.

    Attributes
    ----------
    representation : TensorRepresentation
    name : str
        Of the dataset.
    per : {"atom", "pair", "structure"}
        What a row is of.
    unit : str
    """

    representation: TensorRepresentation
    name: str
    per: str
    unit: str = "1"

    kind: ClassVar[str] = "tensor"
    prediction_file: ClassVar[str] = TENSOR_PREDICTION_FILE

    # --- from data or a model file ----------------------------------------------------------------

    @classmethod
    def of_data(
        cls, dataset: Dataset, ids: Sequence[str], settings: TargetSettings, note: Note
    ) -> Self:
        """Return the target whose irreps, unit and rows the first of the given structures says."""
        first = cls.read_label(dataset[ids[0]], settings.name)
        rep = TensorRepresentation.of(dataset.orbital_map, first.irreps)
        return cls(rep, first.name, first.per, first.unit)

    @classmethod
    def of_description(cls, description: Mapping[str, Any]) -> Self:
        """Return the target that `description` came from."""
        rep = TensorRepresentation.of(description["elements"], description["irreps"])
        if description["per"] not in PER:
            raise ValueError(f"per = {description['per']}")
        return cls(rep, description["name"], description["per"], description["unit"])

    @classmethod
    def needed_irreps(
        cls, dataset: Dataset, settings: TargetSettings
    ) -> tuple[tuple[int, int], ...]:
        """List (l, parity) of a row, ascending, even before odd."""
        labelled = (f for f in dataset if not cls.missing_label(f, settings))
        first = next(labelled, None)
        if first is None:
            lacks = cls.missing_label(dataset.folders[0], settings)
            raise InputError(f"{dataset.path}: no structure has labels: {lacks} is missing")
        label = cls.read_label(first, settings.name)
        return irreps_of(TensorRepresentation((), label.irreps).channels)

    @classmethod
    def label_files(cls, folder: StructureFolder) -> tuple[Path, ...]:
        """Name the file of declared quantities and the overlap."""
        return folder.file("overlap"), folder.path / TENSOR_FILE

    @classmethod
    def missing_label(cls, folder: StructureFolder, settings: TargetSettings) -> str:
        """Name what a folder lacks to be trained on."""
        if not folder.has("overlap"):
            return "overlap.h5"
        if not (folder.path / TENSOR_FILE).is_file():
            return TENSOR_FILE
        there = settings.name in tensor_names(folder.path / TENSOR_FILE)
        return "" if there else f"{TENSOR_FILE}: {settings.name or 'target_name'}"

    @classmethod
    def read_label(cls, folder: StructureFolder, name: str) -> Tensor:
        """Read the label of a folder.

        Raises
        ------
        InputError
            If it is missing, or contradicts the structure or itself.
        """
        path = folder.path / TENSOR_FILE
        if not name:
            raise InputError(
                f"model.advanced.target_name: must name a dataset of {TENSOR_FILE}; "
                f"{path} has {', '.join(tensor_names(path)) or 'none'}"
            )
        tensor = read_tensors(path, [name])[name]
        try:
            return tensor.checked(len(folder.structure))
        except InputError as error:
            raise InputError(f"{path}: {error}", rule=error.rule, key=error.key) from error

    @classmethod
    def comparisons(
        cls, predicted: StructureFolder, reference: StructureFolder
    ) -> tuple[Comparison, ...]:
        """Return all predicted quantities that the reference has too."""
        files = predicted.path / TENSOR_PREDICTION_FILE, reference.path / TENSOR_FILE
        if not all(path.is_file() for path in files):
            return ()
        found, expected = map(read_tensors, files)
        return tuple(
            Comparison(name, tensor.unit, tensor, expected[name])
            for name, tensor in found.items()
            if name in expected
        )

    # --- what a target says -----------------------------------------------------------------------

    @property
    def node_channels(self) -> ChannelTable:
        """Irreps of the result on atoms."""
        return NO_CHANNELS if self.per == "pair" else self.representation.channels

    @property
    def edge_channels(self) -> ChannelTable:
        """Irreps of the result on edges."""
        return self.representation.channels if self.per == "pair" else NO_CHANNELS

    @property
    def title(self) -> str:
        """What is learned, in words."""
        return self.name

    @property
    def shown(self) -> tuple[str, float]:
        """Unit in which errors are shown, and the factor to it."""
        unit, factor = ("meV", 1e3) if self.unit == "eV" else (self.unit.replace("1", ""), 1.0)
        return (f"{unit}/atom" if self.per == "structure" else unit, factor)

    @property
    def description(self) -> dict[str, Any]:
        """All that defines the target, as JSON values."""
        return {
            "elements": list(self.representation.elements),
            "irreps": self.representation.irreps,
            "name": self.name,
            "per": self.per,
            "unit": self.unit,
        }

    def measure(self, space: str) -> Measure:
        """Return what errors are counted in: irreps, whose size does not depend on axes."""
        from deeph.targets.measures import TensorIrreps  # imports JAX

        degrees = (tuple(map(int, t.j)) for t in (self.node_channels, self.edge_channels))
        return TensorIrreps(*degrees)

    # --- labels -----------------------------------------------------------------------------------

    def example(self, folder: StructureFolder) -> Example:
        """Return a folder's graph, whose pairs are those of the overlap, and labels.

        Raises
        ------
        InputError
            If the label is missing, or is not what the target expects.
        """
        label = self.read_label(folder, self.name)
        said, expected = (label.irreps, label.per), (self.representation.irreps, self.per)
        if said != expected:
            raise InputError(
                f"{folder.path / TENSOR_FILE}: {self.name}: {said[0]} per {said[1]}, but other "
                f"structures have {expected[0]} per {expected[1]}; make them alike"
            )
        return self.example_of(
            folder.id, folder.structure, label, read_pairs(folder.file("overlap"))
        )

    def example_of(
        self,
        name: str,
        structure: Structure,
        label: Tensor,
        pairs: NDArray[np.int64] | None = None,
    ) -> Example:
        """Return the graph and labels of a structure.

        Parameters
        ----------
        name : str
            For messages.
        structure : Structure
        label : Tensor
        pairs : int64 (P, 5), optional
            Pairs of atoms that see each other, such as those of the overlap; joined by those of
            the label.
        """
        lists = [part for part in (pairs, label.atom_pairs) if part is not None]
        source = build_graph(
            structure, np.concatenate([np.zeros((0, 5), np.int64), *lists]), self.representation
        )
        rows = self.representation.to_irreps(np.atleast_2d(label.values))
        graph, size = source.graph, rows.shape[1]
        counted = None if pairs is None else PairCount.of(source, pairs)
        nothing = np.zeros((graph.edges, 0)), np.zeros((graph.nodes, 0))
        if self.per == "structure":
            each = np.repeat(rows / graph.nodes, graph.nodes, axis=0)
            return Example(name, source, each, nothing[0], counted)
        if self.per == "atom":
            return Example(name, source, rows, nothing[0], counted)
        if label.atom_pairs is None:
            raise InputError(f"{name}: {self.name}: has no pairs")
        known, wanted = encode(label.atom_pairs, source.edge_pairs)
        found = find(known, wanted)
        edges = np.where(found[:, None] >= 0, rows[found], 0.0).reshape(-1, size)
        edges = self.representation.rotate(edges, self._wigner(source), to="edge")
        return Example(name, source, nothing[1], edges, counted)

    def _wigner(self, source: GraphSource) -> list[Array]:
        return wigner_blocks(source.frames, self.representation.l_max)

    def fit(self, examples: Sequence[Example]) -> Baseline | SumBaseline:
        """Return means and scales of training structures."""
        sources = [e.source for e in examples]
        if self.per == "structure":
            return fit_sums(sources, [e.nodes for e in examples], self.representation)
        # The fit serves matrices, which have labels on both atoms and edges: zeros stand for none.
        size = self.representation.channels.size
        nodes = [
            e.nodes if self.per == "atom" else np.zeros((len(e.nodes), size)) for e in examples
        ]
        edges = [
            e.edges if self.per == "pair" else np.zeros((len(e.edges), size)) for e in examples
        ]
        return fit_baseline(sources, nodes, edges, self.representation)

    def baseline(self, arrays: Mapping[str, NDArray[Any]]) -> Baseline | SumBaseline:
        """Return the baseline whose `arrays` these are."""
        kind = SumBaseline if self.per == "structure" else Baseline
        return kind.of_arrays(arrays)

    def labels(self, example: Example, baseline: Any) -> Labels:
        """Return the labels of an example relative to a baseline, unpadded, float64."""
        (node_mean, node_scale), (edge_mean, edge_scale) = self._known(example.source, baseline)
        return Labels(example.nodes - node_mean, example.edges - edge_mean, node_scale, edge_scale)

    def _known(
        self, source: GraphSource, baseline: Any
    ) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
        """Return means and scales of atoms and of edges, none where there is no result."""
        counts = source.graph.nodes, source.graph.edges
        none = [(np.zeros((count, 0)), np.zeros((count, 0))) for count in counts]
        if self.per == "pair":
            return none[0], baseline.edges(source, self.representation)
        return baseline.nodes(source, self.representation), none[1]

    # --- predictions ------------------------------------------------------------------------------

    def paired(self, graph: Graph, nodes: Array, edges: Array) -> tuple[Array, Array]:
        """Return a result as it is, or the mean over the atoms of each structure."""
        if self.per != "structure":
            return nodes, edges
        import jax

        # Dummies carry a number that no structure has; what they get does not count.
        count, structure = graph.nodes, graph.node_structure
        mask = graph.node_mask[:, None]
        sums = jax.ops.segment_sum(nodes * mask, structure, count)
        atoms = jax.ops.segment_sum(mask, structure, count)
        return (sums / jax.numpy.maximum(atoms, 1))[structure], edges

    def check_fits(self, other: TensorTarget) -> None:
        """Refuse to go on with data of other elements or of another quantity."""
        unknown = sorted(set(other.representation.elements) - set(self.representation.elements))
        if unknown:
            raise InputError(
                f"process.train.continued: the earlier model knows no {unknown[0]}, only "
                f"{', '.join(self.representation.elements)}"
            )
        new, old = (
            f"{t.name}, {t.representation.irreps} per {t.per} in {t.unit}" for t in (other, self)
        )
        if new != old:
            raise InputError(
                f"process.train.continued: the new data have {new}, the earlier model {old}"
            )

    def labelled(self, folder: StructureFolder) -> bool:
        """Tell whether a folder has the quantity."""
        return not self.missing_label(folder, TargetSettings(name=self.name))

    def check_input(self, folder: StructureFolder) -> None:
        """Refuse a folder with elements that the training did not have."""
        known = dict(self.representation.orbital_map)
        for symbol in sorted(set(folder.structure.symbols)):
            refuse_unknown(folder, symbol, known)

    def prediction(
        self,
        source: GraphSource,
        nodes: NDArray[Any],
        edges: NDArray[Any],
        baseline: Any,
        pairs: NDArray[np.int64],
    ) -> Tensor:
        """Return the quantity from a paired result, on the given pairs where it is per pair."""
        rep = self.representation
        channel = rep.channels.channel_of_component
        known = self._known(source, baseline)[self.per == "pair"]
        mean, scale = known
        irreps = (edges if self.per == "pair" else nodes) * scale[:, channel] + mean
        if self.per == "structure":
            return self._tensor(rep.to_rows(irreps.sum(axis=0)))
        if self.per == "atom":
            return self._tensor(rep.to_rows(irreps))
        lab = rep.to_rows(rep.rotate(irreps, self._wigner(source), to="lab"))
        wanted = pairs[~on_site(pairs)]
        have, keys = encode(source.edge_pairs, wanted)
        return self._tensor(lab[find(have, keys)], wanted)

    def _tensor(self, values: FloatArray, pairs: NDArray[np.int64] | None = None) -> Tensor:
        rep = self.representation
        return Tensor(self.name, rep.irreps, self.per, values, self.unit, pairs)

    def write(self, path: Path, prediction: Tensor, attributes: Mapping[str, str]) -> None:
        """Write a quantity in single precision, but energies, which are large, in double."""
        dtype = np.float64 if self.per == "structure" else np.float32
        write_tensors(path, [prediction], dtype, attributes)
