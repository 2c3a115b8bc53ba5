"""A trained model as a function from structures to what it has learned.

In: model file, `Structure`s with the pairs of their overlaps. Out: what the model's target
predicts: a `BlockMatrix` on the same pairs, or a `Tensor`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from deeph_spec.dataset import StructureFolder
from deeph_spec.matrix_files import read_pairs
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource, Shape, build_graph, concatenate, padded_shapes
from deeph.graphs.padding import smallest_fitting
from deeph.inference.sizing import Plan, plan
from deeph.models.model import Model, read_published
from deeph.models.model_file import find_model, model_identity
from deeph.networks.memory import available_memory, inference_memory
from deeph.targets import Target

Pairs = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Predictor:
    """Predicts with one model.

    Attributes
    ----------
    model : Model
    parameters : tree of arrays
        Of the network.
    identity : str
        SHA-256 of the model file.
    compiled : list of str
        What has been compiled so far, one line each.
    """

    model: Model
    parameters: Any
    identity: str
    compiled: list[str] = field(default_factory=list)

    @cached_property
    def _result(self) -> Callable[[Any, Graph], tuple[Any, Any]]:
        return jax.jit(self._compute)

    @classmethod
    def load(cls, model_dir: Path, which: str = "best", epoch: int = -1) -> Predictor:
        """Return the predictor of a model file, a folder of models or a run.

        Parameters
        ----------
        model_dir : Path
        which : {"best", "latest"}
        epoch : int
            Of a latest model; -1: the newest.

        Raises
        ------
        InputError
            If there is no such model, or the file is damaged.
        """
        path = find_model(Path(model_dir), which, epoch)
        model, parameters, _ = read_published(path)
        return cls(model, parameters, model_identity(path))

    @property
    def network(self) -> str:
        """Name of the network."""
        return self.model.name

    @property
    def trained_on(self) -> str:
        """Hash of the structures it was trained on."""
        return self.model.trained_on

    @property
    def target(self) -> Target:
        """What is predicted, and how it is written."""
        return self.model.target

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found in training that concerns predictions, one line each."""
        return self.model.notes

    @property
    def orbital_map(self) -> dict[str, tuple[int, ...]]:
        """Shells of the elements it knows; none where orbitals play no part."""
        return dict(self.model.representation.orbital_map)

    def __call__(self, structure: Structure, pairs: Pairs) -> Any:
        """Return the prediction for one structure.

        Parameters
        ----------
        structure : Structure
            n atoms.
        pairs : int64 (P, 5)
            Of its overlap: R1, R2, R3, i, j.

        Returns
        -------
        BlockMatrix or Tensor
            A matrix is on the given pairs, in their order, and Hermitian.
        """
        source = build_graph(structure, pairs, self.model.representation)
        (shape,) = padded_shapes([(source.graph.nodes, source.graph.edges)], 1, 1)
        return self._predictions([source], [pairs], shape)[0]

    def examine(self, folder: StructureFolder) -> list[str]:
        """Say in a line each what of a structure lies far outside the training.

        Raises
        ------
        InputError
            If the model cannot predict the structure at all: unknown elements, another basis or
            spin, atoms on top of each other.
        """
        self.target.check_input(folder)
        if self.model.ranges is None:
            return []
        pairs = read_pairs(folder.file("overlap"))
        return self.model.ranges.unusual(folder.structure, pairs, folder.id)

    def plan(self, sizes: Mapping[str, tuple[int, int]], batch_size: int, shapes: int) -> Plan:
        """Choose how many structures are predicted at once, see `deeph.inference.sizing.plan`.

        Parameters
        ----------
        sizes : mapping
            Structure -> atoms and pairs.
        batch_size, shapes : int
            What is asked for: structures at once, padded shapes.
        """
        leaves = jax.tree.leaves(self.parameters)
        memory = inference_memory(
            self.model.name,
            self.model.network.specification,
            sum(leaf.size for leaf in leaves),
            leaves[0].dtype.itemsize,
        )
        return plan(memory, sizes, batch_size, shapes, available_memory())

    def predict(
        self, folders: Iterable[StructureFolder], batch_size: int = 1, shapes: int = 1
    ) -> Iterator[tuple[StructureFolder, Any]]:
        """Yield folders with their predictions, on the pairs of their overlap.

        Parameters
        ----------
        folders : iterable of StructureFolder
            With overlap.h5.
        batch_size : int
            Structures computed together.
        shapes : int
            Number of padded shapes that are compiled.

        Raises
        ------
        InputError
            If a structure has elements, shells or a spin that the model does not know.
        """
        folders = list(folders)
        pairs = [self._pairs(folder) for folder in folders]
        sizes = [
            (len(folder.structure), len(listed))
            for folder, listed in zip(folders, pairs, strict=True)
        ]
        padded = padded_shapes(sizes, batch_size, shapes) if folders else ()
        for start in range(0, len(folders), batch_size):
            part = slice(start, start + batch_size)
            sources = [
                build_graph(folder.structure, listed, self.model.representation)
                for folder, listed in zip(folders[part], pairs[part], strict=True)
            ]
            shape = smallest_fitting(
                padded, sum(s.graph.nodes for s in sources), sum(s.graph.edges for s in sources)
            )
            results = self._predictions(sources, pairs[part], shape)
            yield from zip(folders[part], results, strict=True)

    def _pairs(self, folder: StructureFolder) -> Pairs:
        """Return the pairs of a folder's overlap, after checking what the folder says of itself."""
        self.target.check_input(folder)
        return read_pairs(folder.file("overlap"))

    def _predictions(
        self, sources: list[GraphSource], pairs: list[Pairs], shape: Shape
    ) -> list[Any]:
        """Return the predictions for several structures, computed together."""
        leaf = jax.tree.leaves(self.parameters)[0]
        graph = concatenate([s.graph for s in sources], shape, leaf.dtype)
        nodes, edges = (np.asarray(x, np.float64) for x in self._result(self.parameters, graph))
        results, node, edge = [], 0, 0
        for source, listed in zip(sources, pairs, strict=True):
            n, e = source.graph.nodes, source.graph.edges
            parts = nodes[node : node + n], edges[edge : edge + e]
            results.append(self.target.prediction(source, *parts, self.model.baseline, listed))
            node, edge = node + n, edge + e
        return results

    def _compute(self, parameters: Any, graph: Graph) -> tuple[Any, Any]:
        self.compiled.append(f"{graph.nodes} atoms, {graph.edges} edges")
        nodes, edges = self.model.network.apply(parameters, graph)
        return self.target.paired(graph, nodes, edges)
