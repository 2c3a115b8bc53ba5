"""Batches: which structures, in which order; and which data are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget, fit_baseline
from deeph.training.data import (
    Batches,
    batches,
    random_split,
    representation_of,
    shapes_of,
)
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError
from deeph_spec.testing import random_dataset, random_folder

SHELLS = {"H": (0,), "C": (0, 1)}


@pytest.fixture(scope="module")
def batched(tmp_path_factory: pytest.TempPathFactory) -> Batches:
    """Seven structures in batches of three."""
    root = tmp_path_factory.mktemp("data")
    for number in range(7):
        path = root / "dft" / str(number)
        random_folder(path, atoms=2 + number % 3, seed=number, orbital_map=SHELLS, cutoff=2.8)
    target = HamiltonianTarget(BlockRepresentation.of(SHELLS, "none"))
    examples = [target.example(folder, with_overlap=False) for folder in Dataset.open(root)]
    parts = zip(*((e.source, e.nodes, e.edges) for e in examples), strict=True)
    baseline = fit_baseline(*map(list, parts), target.representation)
    return batches(target, baseline, examples, shapes_of(examples, 3, 2), 3, np.float32)


def contents(batched: Batches, seed: int, epoch: int) -> list[bytes]:
    return [
        b"".join(np.ascontiguousarray(array).tobytes() for array in (*graph, *labels))
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
    assert {array.dtype for array in labels} == {np.dtype(np.float32)}


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


def dataset(path: Path, spin: str) -> Dataset:
    return Dataset.open(random_dataset(path, 2, atoms=2, cutoff=2.8, orbital_map=SHELLS, spin=spin))


@pytest.mark.parametrize("spin", ["collinear", "soc"])
def test_magnetic_data_are_refused_in_one_line(tmp_path: Path, spin: str) -> None:
    data = dataset(tmp_path, spin)
    with pytest.raises(InputError) as error:
        representation_of(data, (), data.ids)
    text = str(error.value)
    assert "hamiltonian.h5: entries: the Hamiltonian is magnetic" in text
    assert str(tmp_path) in text
    assert "non-magnetic" in text


@pytest.mark.parametrize("spin", ["collinear", "soc"])
def test_without_moments_spin_is_half_the_work(
    tmp_path: Path, spin: str, without_moments: Callable[[BlockMatrix], BlockMatrix]
) -> None:
    data = dataset(tmp_path, spin)
    for folder in data:
        without_moments(folder.hamiltonian()).write(folder.file("hamiltonian"))
    rep = representation_of(data, (), data.ids)
    assert (rep.spin, rep.time_reversal) == (spin, True)
    target = HamiltonianTarget(rep)
    example = target.example(data.folders[0], with_overlap=False)
    empty = fit_baseline([example.source], [example.nodes], [example.edges], rep)
    labels = target.labels(example, empty)
    matrix = target.blocks(example.source, labels.node_residual, labels.edge_residual, empty)
    expected = data.folders[0].hamiltonian()
    found = matrix.on_pairs(expected.atom_pairs, expected.chunk_shapes)
    np.testing.assert_allclose(found.entries, expected.entries, atol=1e-11)
    assert found.dtype == expected.dtype


def test_the_union_of_shells_can_be_made_wider(tmp_path: Path) -> None:
    data = dataset(tmp_path, "none")
    assert representation_of(data, (), data.ids).shells == (0, 1)
    assert representation_of(data, (0, 0, 1, 2), data.ids).shells == (0, 0, 1, 2)
