"""Predictions: those of the training, for any batch, any order of pairs, any orientation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from deeph.config import train_settings
from deeph.graphs import build_graph
from deeph.inference.predictor import Predictor
from deeph.networks import NETWORKS, NormalNetwork
from deeph.networks.bench import Specimen
from deeph.testing import (
    BondNetwork,
    assert_close_matrices,
    assert_compiles_at_most,
    assert_equivariant,
    assert_hermitian,
    random_rotations,
)
from deeph.training.setup import Training, set_up
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.testing import neighbour_pairs, random_folder, random_structure

SHELLS = {"H": (0, 0, 1), "O": (2, 0, 1)}


def made(root: Path, irreps: str, **folder: Any) -> tuple[Training, Dataset]:
    """Return a training that has not begun, but with random parameters, and its data."""
    for number, atoms in enumerate((3, 2, 3, 4)):
        path = root / "dft" / f"{number + 1}"
        random_folder(path, **{"atoms": atoms, "seed": number, "cutoff": 3.0, **folder})
    dataset = Dataset.open(root)
    settings = train_settings(
        {
            "data": {"inputs_dir": str(root), "outputs_dir": str(root / "runs")},
            "model": {
                "advanced": {
                    "net_irreps": irreps, "gaussian_basis_rmax": 4.0, "num_blocks": 2,
                }
            },
            "process": {"train": {"dataloader": {"batch_size": 2}}},
        }
    )  # fmt: skip
    split = {"train": ["1", "2", "3"], "validate": ["4", "2"]}
    return set_up(settings, dataset, split, lambda text: None), dataset


def with_noise(parameters: Any, size: float) -> Any:
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda x: np.asarray(x + size * rng.normal(size=x.shape), np.float32), parameters
    )


@pytest.fixture(scope="module")
def water(tmp_path_factory: pytest.TempPathFactory) -> tuple[Training, Dataset, Predictor]:
    """Bases that differ between elements, unsorted, with d shells; the smallest network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "normal", BondNetwork)
        training, dataset = made(
            tmp_path_factory.mktemp("water"), "4x0e+4x1o+4x2e+4x3o+4x4e",
            elements=("H", "O"), orbital_map=SHELLS,
        )  # fmt: skip
    # The toy Hamiltonian leaves little to a network: large numbers make its part visible.
    parameters = with_noise(training.parameters, 100.0)
    return training, dataset, Predictor(training.model, parameters, "")


def test_predictions_are_those_of_the_training(
    water: tuple[Training, Dataset, Predictor],
) -> None:
    training, dataset, predictor = water
    sums = np.zeros((2, 2))
    for graph, labels, structures in training.validate.all():
        _, part = training.steps.evaluate(predictor.parameters, graph, labels, structures)
        sums += np.asarray(part)
    total = np.zeros((2, 2))
    for folder, found in predictor.predict([dataset["4"], dataset["2"]]):
        expected = folder.hamiltonian().on_pairs(found.atom_pairs, found.chunk_shapes)
        error = np.abs(found.entries - expected.entries)
        on_site = np.repeat(found.on_site(), np.diff(found.chunk_boundaries))
        for row, mask in enumerate((on_site, ~on_site)):
            total[row] += [error[mask].sum(), mask.sum()]
    np.testing.assert_allclose(sums, total, rtol=1e-5)
    assert total[1, 0] > 0.1  # eV: the random parameters have their say


def test_a_batch_is_its_structures_one_by_one(
    water: tuple[Training, Dataset, Predictor],
) -> None:
    _, dataset, predictor = water
    alone = list(predictor.predict(dataset))
    for batch_size, shapes in ((3, 2), (4, 1)):
        fresh = Predictor(predictor.model, predictor.parameters, "")
        together = list(fresh.predict(dataset, batch_size, shapes))
        assert [folder.id for folder, _ in together] == ["1", "2", "3", "4"]
        assert_compiles_at_most(fresh.compiled, shapes)
        for (_, one), (_, other) in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one.atom_pairs, other.atom_pairs)
            assert_close_matrices(other, one, 1e-6)
    for folder, one in alone[:2]:
        called = predictor(folder.structure, folder.overlap().atom_pairs)
        np.testing.assert_array_equal(called.atom_pairs, one.atom_pairs)
        assert_close_matrices(called, one, 1e-6)
    count = len(predictor.compiled)
    list(predictor.predict(dataset))
    assert_compiles_at_most(predictor.compiled, count)  # nothing is compiled again


def test_pairs_and_their_order_are_those_of_the_overlap(
    water: tuple[Training, Dataset, Predictor], tmp_path: Path
) -> None:
    predictor = water[2]
    random_folder(tmp_path / "1", elements=("H", "O"), orbital_map=SHELLS, atoms=3, cutoff=3.0)
    (folder,) = Dataset.open(tmp_path)
    ((_, before),) = predictor.predict([folder])
    overlap = folder.overlap()
    np.testing.assert_array_equal(before.atom_pairs, overlap.atom_pairs)
    np.testing.assert_array_equal(before.chunk_shapes, overlap.chunk_shapes)
    order = np.random.default_rng(0).permutation(len(overlap))
    overlap.on_pairs(overlap.atom_pairs[order]).write(folder.file("overlap"), "overlap")
    ((_, after),) = predictor.predict([folder])
    np.testing.assert_array_equal(after.atom_pairs, overlap.atom_pairs[order])
    assert_close_matrices(after, before, 1e-6)
    assert_hermitian(after, 0.0)


def test_predictions_turn_with_the_structure(
    water: tuple[Training, Dataset, Predictor],
) -> None:
    _, dataset, predictor = water
    folder = dataset["3"]
    pairs = folder.overlap().atom_pairs
    assert_equivariant(
        lambda structure: predictor(structure, pairs),
        folder.structure,
        SHELLS,
        rotations=random_rotations(3),
        rtol=2e-5,
    )
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(
            lambda structure: predictor(folder.structure, pairs), folder.structure, SHELLS
        )


def test_a_supercell_repeats_the_blocks(water: tuple[Training, Dataset, Predictor]) -> None:
    _, dataset, predictor = water
    folder = dataset["1"]
    cell = Specimen(folder.structure, folder.overlap().atom_pairs)
    twice, n = cell.doubled(), len(cell.structure)
    single, double = predictor(*cell), predictor(*twice)
    first, second = (double.atom_pairs[:, column] // n for column in (3, 4))
    origin = double.atom_pairs.copy()
    origin[:, 0] = 2 * origin[:, 0] + second - first
    origin[:, 3:] %= n
    expected = double.with_entries(single.on_pairs(origin, double.chunk_shapes).entries)
    assert_close_matrices(double, expected, 1e-6)


def test_one_atom_alone_has_its_own_block(water: tuple[Training, Dataset, Predictor]) -> None:
    predictor = water[2]
    atom = Structure(30 * np.eye(3), np.zeros((1, 3)), np.array([8]))
    found = predictor(atom, np.zeros((1, 5), np.int64))
    assert found.chunk_shapes.tolist() == [[9, 9]]
    block = found.block(0)
    np.testing.assert_allclose(block, block.T)
    # A sphere: every shell is degenerate, shells of different l do not mix.
    np.testing.assert_allclose(block[:5, :5], block[0, 0] * np.eye(5), atol=1e-6)
    assert np.abs(block[:5, 5:]).max() < 1e-6
    assert np.abs(block).max() > 1


def folder_of(path: Path, orbital_map: Mapping[str, Any], elements: tuple[str, ...]) -> Dataset:
    random_folder(path / "1", elements=elements, orbital_map=orbital_map, atoms=2, cutoff=3.0)
    return Dataset.open(path)


@pytest.mark.parametrize(
    ("elements", "orbital_map", "message"),
    [
        (("H", "C"), {"H": (0, 0, 1), "C": (0, 1)}, "C is unknown to the model, which knows H, O"),
        (("H", "O"), {"H": (0, 0, 1), "O": (0, 1, 2)},
         r"O has shells \[0, 1, 2\], but the model was trained with \[2, 0, 1\]"),
        (("H", "O"), {"H": (0, 1), "O": (2, 0, 1)}, r"H has shells \[0, 1\]"),
    ],
)  # fmt: skip
def test_what_the_model_does_not_know_is_refused(
    water: tuple[Training, Dataset, Predictor], tmp_path: Path, elements: Any, orbital_map: Any,
    message: str,
) -> None:  # fmt: skip
    dataset = folder_of(tmp_path, orbital_map, elements)
    with pytest.raises(InputError, match=message) as error:
        list(water[2].predict(dataset))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_published_model_predicts_the_same(
    water: tuple[Training, Dataset, Predictor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, dataset, predictor = water
    monkeypatch.setitem(NETWORKS, "normal", BondNetwork)
    path = training.publish(tmp_path, "best", 3, 0.1, predictor.parameters, 1)
    other = jax.tree.map(np.zeros_like, predictor.parameters)
    training.publish(tmp_path, "latest", 4, None, other, 1)
    expected = [matrix for _, matrix in predictor.predict(dataset)]
    for place in (path, tmp_path, tmp_path / "model"):
        loaded = Predictor.load(place)
        assert loaded.orbital_map == SHELLS
        assert (loaded.target, loaded.network) == (training.model.target, "normal")
        assert len(loaded.identity) == 64
        for (_, one), same in zip(loaded.predict(dataset), expected, strict=True):
            np.testing.assert_array_equal(one.entries, same.entries)
    latest = Predictor.load(tmp_path, "latest")
    assert latest.identity != loaded.identity
    (_, one), *_ = latest.predict(dataset)
    assert np.abs(one.entries - expected[0].entries).max() > 0.1


def test_the_normal_network_predicts_equivariantly_with_everything_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shells = {"H": (0,), "C": (0, 1)}
    monkeypatch.setitem(NETWORKS, "normal", BondNetwork)  # its fresh parameters cost nothing
    model = made(tmp_path, "8x0e+6x1o+4x2e", orbital_map=shells)[0].model
    network = NormalNetwork(model.network.specification)
    # Another structure than those of the training.
    structure = random_structure(("C", "H"), 3, seed=50)
    pairs, rep = neighbour_pairs(structure, 3.0), model.representation
    source = build_graph(structure, pairs, rep)
    shapes = jax.eval_shape(network.init, jax.random.key(0), source.graph)
    parameters = with_noise(jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes), 0.3)
    predictor = Predictor(replace(model, network=network), parameters, "")
    nothing = (np.zeros((count, rep.channels.size)) for count in (3, source.graph.edges))
    baseline = model.target.blocks(source, *nothing, model.baseline).on_pairs(pairs)
    found = predictor(structure, pairs)
    assert np.abs(found.entries - baseline.entries).max() > 1e-4  # eV: the network's part
    assert_equivariant(
        lambda structure: predictor(structure, pairs),
        structure,
        shells,
        rotations=random_rotations(4),
        rtol=2e-5,
    )
    assert_hermitian(found, 0.0)
    assert_compiles_at_most(predictor.compiled, 1)
