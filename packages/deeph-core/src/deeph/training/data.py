"""Structures for training: which ones, their labels, and padded batches of them.

In: a `Dataset`, sizes or a split. Out: `TrainingSet`s that yield `Graph`, `Labels` batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph.graphs import Graph, Shape, concatenate, padded_shapes, smallest_fitting
from deeph.representation import BlockRepresentation
from deeph.targets.baseline import Baseline
from deeph.targets.hamiltonian import Example, HamiltonianTarget, Labels, batch_labels

_MAGNETIC = 1e-3
"""In eV: parts of a Hamiltonian that change sign under time reversal, when larger than this."""


@dataclass(frozen=True, eq=False)
class Batches:
    """Examples with labels, batched and padded.

    Attributes
    ----------
    examples : tuple of Example
    labels : tuple of Labels
        Unpadded, in the training's precision.
    shapes : tuple of Shape
        Padded shapes, ascending.
    batch_size : int
    dtype : numpy dtype
    """

    examples: tuple[Example, ...]
    labels: tuple[Labels, ...]
    shapes: tuple[Shape, ...]
    batch_size: int
    dtype: Any

    def __len__(self) -> int:
        return -(-len(self.examples) // self.batch_size)

    def in_order(self, order: NDArray[np.int64]) -> Iterator[tuple[Graph, Labels, int]]:
        """Yield graph, labels and largest number of structures of batches, in the given order."""
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            graphs = [self.examples[index].source.graph for index in chosen]
            shape = smallest_fitting(
                self.shapes, sum(g.nodes for g in graphs), sum(g.edges for g in graphs)
            )
            graph = concatenate(graphs, shape, self.dtype)
            yield (
                graph,
                batch_labels([self.labels[i] for i in chosen], shape, self.dtype),
                shape.structures,
            )

    def shuffled(self, seed: int, epoch: int) -> Iterator[tuple[Graph, Labels, int]]:
        """Yield the batches of one epoch; the order depends on seed and epoch alone."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self.examples))
        return self.in_order(order)

    def all(self) -> Iterator[tuple[Graph, Labels, int]]:
        """Yield all batches in their order."""
        return self.in_order(np.arange(len(self.examples)))


def batches(
    target: HamiltonianTarget,
    baseline: Baseline,
    examples: Sequence[Example],
    shapes: Sequence[Shape],
    batch_size: int,
    dtype: Any,
) -> Batches:
    """Return examples with their labels relative to a baseline."""
    labels = tuple(
        Labels(*(array.astype(dtype) for array in target.labels(example, baseline)))
        for example in examples
    )
    return Batches(tuple(examples), labels, tuple(shapes), batch_size, dtype)


def shapes_of(examples: Sequence[Example], batch_size: int, count: int) -> tuple[Shape, ...]:
    """Return the padded shapes for all given examples."""
    sizes = [(e.source.graph.nodes, e.source.graph.edges) for e in examples]
    return padded_shapes(sizes, batch_size, count)


def random_split(
    ids: Sequence[str], counts: tuple[int, int, int], seed: int
) -> dict[str, list[str]]:
    """Divide ids at random into train, validate and test; each list keeps the order of `ids`."""
    order = np.random.default_rng(seed).permutation(len(ids))
    ends = np.cumsum(counts)
    parts = np.split(order[: ends[-1]], ends[:-1])
    return {
        name: [ids[index] for index in sorted(part)]
        for name, part in zip(("train", "validate", "test"), parts, strict=True)
    }


def representation_of(
    dataset: Dataset, further_shells: Sequence[int], examined: Sequence[str]
) -> BlockRepresentation:
    """Return the representation that fits a dataset's elements and spin.

    Parameters
    ----------
    dataset : Dataset
    further_shells : sequence of int
        Shells of the union beyond those of the elements.
    examined : sequence of str
        Structures whose Hamiltonians are looked at for magnetism.

    Raises
    ------
    InputError
        If the Hamiltonians change under time reversal: a network that sees only the structure
        cannot learn the direction of moments.
    """
    spin = dataset.spin or "none"
    if spin == "none":
        return BlockRepresentation.of(dataset.orbital_map, spin, True, further_shells)
    full = BlockRepresentation.of(dataset.orbital_map, spin, False, further_shells)
    kept = BlockRepresentation.of(dataset.orbital_map, spin, True, further_shells)
    names, even = full.channels.spin_components, kept.channels.spin_components
    widths = [3 if name.startswith("vector") else 1 for name in names]
    odd = np.repeat([name not in even for name in names], widths)
    for id in examined:
        folder = dataset[id]
        padded = full.gather(folder.hamiltonian(), full.species(folder.structure.numbers))
        size = float(np.abs(padded[:, odd]).max(initial=0.0))
        if size > _MAGNETIC:
            raise InputError(
                f"{folder.path / 'hamiltonian.h5'}: entries: the Hamiltonian is magnetic (up to "
                f"{size:.2g} eV change sign under time reversal); networks that take moments as "
                "input are not part of this version: train on non-magnetic structures"
            )
    return kept
