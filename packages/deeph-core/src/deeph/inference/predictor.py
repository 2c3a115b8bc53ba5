"""A trained model as a function from structures to Hamiltonians.

In: model file, `Structure`s with their pairs. Out: `BlockMatrix` on the same pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.matrix_files import read_pairs
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource, Shape, build_graph, concatenate, padded_shapes
from deeph.graphs.padding import smallest_fitting
from deeph.models.model import Model, read_published
from deeph.models.model_file import find_model, model_identity
from deeph.targets.hamiltonian import hermitian_result


@dataclass(frozen=True, eq=False)
class Predictor:
    """Predicts Hamiltonians with one model.

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
    def orbital_map(self) -> dict[str, tuple[int, ...]]:
        """Shells of the elements it knows."""
        return dict(self.model.representation.orbital_map)

    @property
    def spin(self) -> str:
        """Spin structure of what it predicts."""
        return self.model.representation.spin

    def __call__(self, structure: Structure, pairs: NDArray[np.int64]) -> BlockMatrix:
        """Return H in eV of one structure.

        Parameters
        ----------
        structure : Structure
            n atoms.
        pairs : int64 (P, 5)
            Of its overlap: R1, R2, R3, i, j.

        Returns
        -------
        BlockMatrix
            On the given pairs, in their order, Hermitian.
        """
        source = build_graph(structure, pairs, self.model.representation)
        (shape,) = padded_shapes([(source.graph.nodes, source.graph.edges)], 1, 1)
        return self._blocks([source], shape)[0].hermitian().on_pairs(pairs)

    def predict(
        self, folders: Iterable[StructureFolder], batch_size: int = 1, shapes: int = 1
    ) -> Iterator[tuple[StructureFolder, BlockMatrix]]:
        """Yield folders with their predicted H in eV, on the pairs of their overlap.

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
            blocks = self._blocks(sources, shape)
            for folder, listed, matrix in zip(folders[part], pairs[part], blocks, strict=True):
                yield folder, matrix.hermitian().on_pairs(listed)

    def _pairs(self, folder: StructureFolder) -> NDArray[np.int64]:
        """Return the pairs of a folder's overlap, after checking what the folder says of itself."""
        info, known = folder.info, self.orbital_map
        if info.spinful != (self.spin != "none"):
            raise InputError(
                f"{folder.path / 'info.json'}: spinful: {str(info.spinful).lower()}, but the model "
                f"was trained on data with spin '{self.spin}'"
            )
        for symbol in sorted(set(folder.structure.symbols)):
            shells = tuple(info.orbital_map.get(symbol, ()))
            if symbol not in known:
                raise InputError(
                    f"{folder.path}: {symbol} is unknown to the model, which knows "
                    f"{', '.join(known)}"
                )
            if known[symbol] != shells:
                raise InputError(
                    f"{folder.path / 'info.json'}: elements_orbital_map: {symbol} has shells "
                    f"{list(shells)}, but the model was trained with {list(known[symbol])}: use "
                    "the basis of the training"
                )
        return read_pairs(folder.file("overlap"))

    def _blocks(self, sources: list[GraphSource], shape: Shape) -> list[BlockMatrix]:
        """Return the predicted blocks of several structures."""
        leaf = jax.tree.leaves(self.parameters)[0]
        rep = self.model.representation
        graph = concatenate([s.graph for s in sources], shape, leaf.dtype)
        nodes, edges = (np.asarray(x, np.float64) for x in self._result(self.parameters, graph))
        target, channel = self.model.target, rep.channels.channel_of_component
        results, node, edge = [], 0, 0
        for source in sources:
            n, e = source.graph.nodes, source.graph.edges
            node_scale = self.model.baseline.nodes(source, rep)[1][:, channel]
            edge_scale = self.model.baseline.edges(source, rep)[1][:, channel]
            results.append(
                target.blocks(
                    source,
                    nodes[node : node + n] * node_scale,
                    edges[edge : edge + e] * edge_scale,
                    self.model.baseline,
                )
            )
            node, edge = node + n, edge + e
        return results

    def _compute(self, parameters: Any, graph: Graph) -> tuple[Any, Any]:
        self.compiled.append(f"{graph.nodes} atoms, {graph.edges} edges")
        nodes, edges = self.model.network.apply(parameters, graph)
        return hermitian_result(self.model.representation, graph, nodes, edges)
