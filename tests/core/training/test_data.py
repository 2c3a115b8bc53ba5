"""Batches: which structures, in which order."""

from __future__ import annotations

import numpy as np
import pytest
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget
from deeph.training.data import (
    Batches,
    batches,
    random_split,
    shapes_of,
)
from deeph_spec.dataset import Dataset
from deeph_spec.testing import random_folder

SHELLS = {"H": (0,), "C": (0, 1)}


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Batches:
    """Seven structures in batches of three."""
    root = tmp_path_factory.mktemp("data")
    for number in range(7):
        path = root / "dft" / str(number)
        random_folder(path, atoms=2 + number % 3, seed=number, orbital_map=SHELLS, cutoff=2.8)
    target = HamiltonianTarget(BlockRepresentation.of(SHELLS, "none"))
    examples = [target.example(folder) for folder in Dataset.open(root)]
    return batches(target, target.fit(examples), examples, shapes_of(examples, 3, 2), 3, np.float32)


def contents(batched: Batches, seed: int, epoch: int) -> list[bytes]:
    return [
        b"".join(
            np.ascontiguousarray(array).tobytes()
            for array in (*graph, *labels)
            if array is not None
        )
        for graph, labels, _ in batched.shuffled(seed, epoch)
    ]


def test_the_order_depends_on_seed_and_epoch_alone(batched: Batches) -> None:
    first = contents(batched, 1, 0)
    assert contents(batched, 1, 0) == first
    assert contents(batched, 1, 1) != first
    assert contents(batched, 2, 0) != first


def test_every_structure_comes_once_an_epoch(batched: Batches) -> None:
    assert len(batched) == 3
    wanted = sorted(float(label.node_residual.sum()) for label in batched.labels)
    for epoch in range(3):
        sums, structures = [], 0
        for graph, labels, most in batched.shuffled(5, epoch):
            assert most == 3
            here = set(graph.node_structure[graph.node_mask > 0].tolist())
            structures += len(here)
            sums += [
                float(labels.node_residual[graph.node_structure == number].sum()) for number in here
            ]
        assert structures == 7
        np.testing.assert_allclose(sorted(sums), wanted, rtol=1e-4, atol=1e-6)


def test_batches_in_order_are_those_of_the_file(batched: Batches) -> None:
    graph, labels, _ = next(batched.all())
    count = sum(example.source.graph.nodes for example in batched.examples[:3])
    assert graph.node_mask.sum() == count
    joined = np.concatenate([label.node_residual for label in batched.labels[:3]])
    np.testing.assert_array_equal(labels.node_residual[:count], joined)
    assert {array.dtype for array in labels if array is not None} == {np.dtype(np.float32)}


def test_few_shapes_hold_all_batches(batched: Batches) -> None:
    assert len(batched.shapes) == 2
    seen = {
        (graph.nodes, graph.edges)
        for epoch in range(20)
        for graph, _, _ in batched.shuffled(0, epoch)
    }
    assert seen <= {(shape.nodes, shape.edges) for shape in batched.shapes}


def test_a_random_split_is_a_split() -> None:
    ids = [f"{number:03d}" for number in range(20)]
    split = random_split(ids, (10, 5, 3), seed=4)
    assert {name: len(part) for name, part in split.items()} == {
        "train": 10, "validate": 5, "test": 3
    }  # fmt: skip
    together = [id for part in split.values() for id in part]
    assert len(set(together)) == 18
    assert all(part == sorted(part) for part in split.values())
    assert split == random_split(ids, (10, 5, 3), seed=4)
    assert split != random_split(ids, (10, 5, 3), seed=5)
    assert random_split(ids, (20, 0, 0), seed=0)["validate"] == []
