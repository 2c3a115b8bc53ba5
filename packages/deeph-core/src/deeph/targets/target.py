"""What a target has to say: which irreps, how labels are read and scaled, what is written.

In: folders of the format, or plain arrays. Out: `Example`s (graphs with irreps as labels), `Labels`
(what a loss compares with), and predictions in the format. Everything else - training, inference,
models - knows a target by this protocol alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.pairs import encode, find, on_site
from deeph_spec.structure import Structure
from deeph_spec.tensors import Tensor
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource
from deeph.graphs.padding import Shape, pad
from deeph.representation import ChannelTable, Representation

if TYPE_CHECKING:
    from deeph.targets.measures import Measure

Array = Any
FloatArray = NDArray[np.float64]
Prediction = BlockMatrix | Tensor
Note = Callable[[str], None]


@dataclass(frozen=True)
class TargetSettings:
    """What a user decides about a target.

    Attributes
    ----------
    with_overlap : bool
        Whether pairs that only the overlap has are edges too.
    further_shells : tuple of int
        Shells of the union beyond those of the elements.
    time_reversal : {"auto", "true", "false"}
        Whether matrices with spin are those of non-magnetic systems; auto: as the data are.
    gauge : bool
        Whether H is learned modulo mu S.
    name : str
        Name of a declared quantity, a dataset of targets.h5.
    """

    with_overlap: bool = False
    further_shells: tuple[int, ...] = ()
    time_reversal: str = "auto"
    gauge: bool = False
    name: str = ""


class PairCount(NamedTuple):
    """How the pairs of a graph in training differ from those that a prediction would have.

    Attributes
    ----------
    edges : int
        Pairs of the graph.
    only_in_training : int
        Those that the overlap does not list: a prediction takes its pairs from there.
    only_in_predictions : int
        Pairs of the overlap that the graph lacks.
    """

    edges: int
    only_in_training: int
    only_in_predictions: int

    @classmethod
    def of(cls, source: GraphSource, overlap: NDArray[np.int64]) -> PairCount:
        """Compare the edges of a graph with the pairs (P, 5) of an overlap."""
        known, other = encode(source.edge_pairs, overlap[~on_site(overlap)])
        lost, new = int(np.sum(find(other, known) < 0)), int(np.sum(find(known, other) < 0))
        return cls(len(known), lost, new)


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
        Irreps of atoms in the lab frame, in the unit of the target.
    edges : ndarray (e, size)
        Irreps of edges in their frames.
    pairs : PairCount or None
        How its pairs differ from those of a prediction, where an overlap is known.
    overlap : (ndarray (n, size), ndarray (e, size)) or None
        Irreps of the overlap (with spin twice on the diagonal), where labels are modulo mu S.
    """

    name: str
    source: GraphSource
    nodes: FloatArray
    edges: FloatArray
    pairs: PairCount | None = None
    overlap: tuple[FloatArray, FloatArray] | None = None


class Labels(NamedTuple):
    """What a batch's result is compared with; float, padded as the graph.

    Attributes
    ----------
    node_residual, edge_residual : array (n, size), (e, size)
        Label minus baseline, in the unit of the target.
    node_scale, edge_scale : array (n, channels), (e, channels)
        The network's result times this is its prediction of the residual.
    node_overlap, edge_overlap : array (n, size), (e, size), optional
        Irreps of the overlap (with spin twice on the diagonal), where errors along it do not count.
    """

    node_residual: Array
    edge_residual: Array
    node_scale: Array
    edge_scale: Array
    node_overlap: Array | None = None
    edge_overlap: Array | None = None


def batch_labels(labels: Sequence[Labels], shape: Shape, dtype: Any) -> Labels:
    """Return the labels of several structures, padded as `deeph.graphs.concatenate` pads graphs."""
    lengths = (shape.nodes, shape.edges) * 3
    return Labels(
        *(
            None if parts[0] is None else pad(np.concatenate(parts).astype(dtype), length)
            for parts, length in zip(zip(*labels, strict=True), lengths, strict=True)
        )
    )


class Fitted(Protocol):
    """What is known of a target without a network: means and scales, fitted to the data."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as named arrays, for a model file."""
        ...


class Comparison(NamedTuple):
    """A prediction and what it should be, both as the format has them."""

    name: str
    unit: str
    predicted: Prediction
    reference: Prediction


class Target(Protocol):
    """One kind of thing to learn; a class of them is a value of `deeph.targets.TARGETS`.

    Attributes
    ----------
    kind : str
        Its key in `deeph.targets.TARGETS` and its name in the configuration.
    prediction_file : str
        Name of the file of a prediction.
    """

    kind: ClassVar[str]
    prediction_file: ClassVar[str]

    # --- of the class: from data or a model file to a target --------------------------------------

    @classmethod
    def of_data(
        cls, dataset: Dataset, ids: Sequence[str], settings: TargetSettings, note: Note
    ) -> Target:
        """Return the target that fits the given structures; what cannot be learned is refused."""
        ...

    @classmethod
    def of_description(cls, description: Mapping[str, Any]) -> Target:
        """Return the target that `description` came from."""
        ...

    @classmethod
    def needed_irreps(
        cls, dataset: Dataset, settings: TargetSettings
    ) -> tuple[tuple[int, int], ...]:
        """List (l, parity) that a network has to express, ascending, even before odd."""
        ...

    @classmethod
    def label_files(cls, folder: StructureFolder) -> tuple[Path, ...]:
        """Name the files that training reads beside POSCAR and info.json."""
        ...

    @classmethod
    def missing_label(cls, folder: StructureFolder, settings: TargetSettings) -> str:
        """Name what a folder lacks to be trained on, or return an empty text."""
        ...

    @classmethod
    def comparisons(
        cls, predicted: StructureFolder, reference: StructureFolder
    ) -> tuple[Comparison, ...]:
        """Return everything in a predicted folder that has a reference."""
        ...

    # --- of a target ------------------------------------------------------------------------------

    @property
    def representation(self) -> Representation:
        """Elements and irreps."""
        ...

    @property
    def node_channels(self) -> ChannelTable:
        """Irreps of the result on atoms; none if there is no such result."""
        ...

    @property
    def edge_channels(self) -> ChannelTable:
        """Irreps of the result on edges."""
        ...

    @property
    def title(self) -> str:
        """What is learned, in words."""
        ...

    @property
    def unit(self) -> str:
        """Unit of labels and predictions."""
        ...

    @property
    def shown(self) -> tuple[str, float]:
        """Unit in which errors are shown, and the factor to it."""
        ...

    @property
    def description(self) -> dict[str, Any]:
        """All that defines the target, as JSON values."""
        ...

    def example(self, folder: StructureFolder) -> Example:
        """Return a folder's graph and labels."""
        ...

    def example_of(
        self, name: str, structure: Structure, label: Any, pairs: NDArray[np.int64] | None = None
    ) -> Example:
        """Return the graph and labels of a structure from what is in memory."""
        ...

    def fit(self, examples: Sequence[Example]) -> Any:
        """Return the baseline of training structures."""
        ...

    def baseline(self, arrays: Mapping[str, NDArray[Any]]) -> Any:
        """Return the baseline whose `arrays` these are."""
        ...

    def labels(self, example: Example, baseline: Any) -> Labels:
        """Return the labels of an example relative to a baseline, unpadded, float64."""
        ...

    def paired(self, graph: Graph, nodes: Array, edges: Array) -> tuple[Array, Array]:
        """Return a network's result with the symmetry of the target: jax arrays in and out."""
        ...

    def measure(self, space: str) -> Measure:
        """Return what errors are counted in: "elements" of files, or "irreps"."""
        ...

    def check_fits(self, other: Any) -> None:
        """Refuse to go on with the target of other data that this one does not cover."""
        ...

    def labelled(self, folder: StructureFolder) -> bool:
        """Tell whether a folder has what a prediction can be compared with."""
        ...

    def check_input(self, folder: StructureFolder) -> None:
        """Refuse a folder that a model of this target cannot predict."""
        ...

    def prediction(
        self,
        source: GraphSource,
        nodes: NDArray[Any],
        edges: NDArray[Any],
        baseline: Any,
        pairs: NDArray[np.int64],
    ) -> Any:
        """Return a prediction from a paired result, on the given pairs where it is per pair."""
        ...

    def write(self, path: Path, prediction: Any, attributes: Mapping[str, str]) -> None:
        """Write a prediction atomically, with attributes of the file."""
        ...
