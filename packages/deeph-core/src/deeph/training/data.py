"""Structures for training: which ones, and padded batches of them with their labels.

In: examples of a target. Out: `Batches` that yield `Graph`, `Labels`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.dataset import Dataset
from deeph_spec.orbitals import shells_from_text
from numpy.typing import NDArray

from deeph.config import TrainConfig, resolve_training
from deeph.graphs import Graph, Shape, concatenate, padded_shapes, smallest_fitting
from deeph.targets import TARGETS, Example, Labels, Target, TargetSettings, batch_labels


def target_settings(config: TrainConfig) -> TargetSettings:
    """Return what the settings say of the target."""
    common, advanced = config.data.graph.common_orbital_types, config.model.advanced
    return TargetSettings(
        with_overlap=config.data.graph.graph_type == "HS",
        further_shells=shells_from_text(common) if common else (),
        time_reversal=advanced.time_reversal,
        gauge=advanced.standardize_gauge,
        name=advanced.target_name,
    )


def resolved(config: TrainConfig, dataset: Dataset, structures: int) -> TrainConfig:
    """Return the settings with what the data decide, see `deeph.config.resolve_training`."""
    kind = TARGETS[config.model.target_type]
    irreps = kind.needed_irreps(dataset, target_settings(config))
    return resolve_training(config, irreps, dataset.orbital_map, structures)


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
    target: Target,
    baseline: Any,
    examples: Sequence[Example],
    shapes: Sequence[Shape],
    batch_size: int,
    dtype: Any,
) -> Batches:
    """Return examples with their labels relative to a baseline."""
    labels = tuple(
        Labels(*(None if x is None else x.astype(dtype) for x in target.labels(example, baseline)))
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


def differing_pairs(examples: Sequence[Example], label: str) -> list[str]:
    """Say in a line each how the pairs of training and of predictions differ; empty if they agree.

    A prediction takes its pairs from the overlap. Pairs that only the labels have, such as those
    of atoms that one non-local projector joins, are then missing, also as ways for messages.

    Parameters
    ----------
    examples : sequence of Example
        Those of which the overlap is known are counted.
    label : str
        What is learned, in words.
    """
    counts = [e.pairs for e in examples if e.pairs is not None]
    edges, lost, new = (sum(c[k] for c in counts) for k in range(3))
    lines = []
    if lost:
        lines.append(
            f"{lost} of {edges} pairs in training are in no overlap.h5: predictions, whose pairs "
            "are those of the overlap, lack such pairs unless it lists them, with zeros (dock "
            "convert and dock compute-overlap --like write it so)"
        )
    if new:
        lines.append(
            f"{new} pairs of overlaps have no {label} and were left out of the graphs in training, "
            'but predictions have them: data.graph.graph_type = "HS" takes them in'
        )
    return lines
