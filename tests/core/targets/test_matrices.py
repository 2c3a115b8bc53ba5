"""Density matrices and overlaps as targets; pairs that training and predictions do not share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph.config import TrainConfig, train_settings
from deeph.inference.predictor import Predictor
from deeph.inference.writer import write_folder
from deeph.networks import NETWORKS
from deeph.targets import TARGETS, HamiltonianTarget, MatrixTarget, TargetSettings
from deeph.testing import BondNetwork
from deeph.training.runs import dataset_hash
from deeph.training.setup import Training, set_up
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.testing import random_folder
from deeph_spec.validation import validate_folder

SHELLS = {"H": (0, 0), "C": (0, 1)}


def settings(root: Path, target: str, *more: str) -> TrainConfig:
    return train_settings(
        {
            "data": {"inputs_dir": str(root), "outputs_dir": str(root / "runs")},
            "model": {
                "target_type": target,
                "advanced": {
                    "net_irreps": "4x0e+4x1o+4x1e+4x2e", "gaussian_basis_rmax": 4.0,
                    "num_blocks": 1,
                },
            },
        },
        None,
        more,
    )  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "normal", BondNetwork)


def made(root: Path, spin: str = "none", count: int = 3) -> Dataset:
    """Return structures whose density matrix is a tenth of the Hamiltonian, without moments."""
    for number in range(count):
        path = random_folder(
            root / "dft" / str(number), atoms=2 + number % 2, seed=number, orbital_map=SHELLS,
            spin=spin, cutoff=3.0,
        )  # fmt: skip
        folder = StructureFolder(path, str(number))
        matrix = folder.hamiltonian()
        if spin == "collinear":
            matrix = unpolarised(matrix)
            matrix.write(path / "hamiltonian.h5")
        matrix.with_entries(matrix.entries / 10).write(path / "density_matrix.h5", "density_matrix")
    return Dataset.open(root)


def unpolarised(matrix: BlockMatrix) -> BlockMatrix:
    groups = []
    for rows, stack in matrix.by_shape():
        n, m = stack.shape[1] // 2, stack.shape[2] // 2
        mean = (stack[:, :n, :m] + stack[:, n:, m:]) / 2
        groups.append((rows, np.kron(np.eye(2), mean)))
    return BlockMatrix.from_stacks(matrix.atom_pairs, matrix.chunk_shapes, groups)


def trained(root: Path, config: TrainConfig, dataset: Dataset) -> tuple[Training, list[str]]:
    lines: list[str] = []
    split = {"train": list(dataset.ids[:-1]), "validate": [dataset.ids[-1]]}
    return set_up(config, dataset, split, lines.append), lines


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("spin", ["none", "collinear"])
@pytest.mark.parametrize(("kind", "quantity"), [("Rho", "density_matrix"), ("S", "overlap")])
def test_every_matrix_is_trained_predicted_and_written(
    tmp_path: Path, kind: str, quantity: str, spin: str
) -> None:
    dataset = made(tmp_path, spin)
    training, lines = trained(tmp_path, settings(tmp_path, kind), dataset)
    assert any("e-3 (root mean square) to be learned" in line for line in lines)
    assert not [line for line in lines if line.startswith("Warning")]
    path = training.publish(tmp_path / "run", "best", 1, None, training.parameters, 1)
    predictor = Predictor.load(path)
    assert predictor.target == training.model.target
    assert isinstance(predictor.target, MatrixTarget)
    assert predictor.target.representation.spin == ("none" if kind == "S" else spin)
    ((folder, found),) = predictor.predict([dataset.folders[-1]])
    expected = folder.matrix(quantity)
    np.testing.assert_array_equal(found.chunk_shapes, expected.chunk_shapes)
    assert np.abs(found.entries - expected.entries).max() < 0.5 * np.abs(expected.entries).max()
    written = StructureFolder(write_folder(tmp_path / "out", folder, found, predictor), "out")
    errors = [f for f in validate_folder(written.path) if f.severity == "error"]
    assert not errors
    with h5py.File(written.path / f"{quantity}_pred.h5") as file:
        assert (file.attrs["quantity"], file.attrs["unit"]) == (quantity, "1")
        assert file["entries"].dtype == np.float32
    (comparison,) = TARGETS[kind].comparisons(written, folder)
    assert (comparison.name, comparison.unit) == (quantity, "1")
    assert TARGETS["H"].comparisons(written, folder) == ()


@pytest.mark.usefixtures("quick")
def test_the_two_centre_mean_learns_overlaps(tmp_path: Path) -> None:
    dataset = made(tmp_path, count=12)
    training, _ = trained(tmp_path, settings(tmp_path, "S"), dataset)
    predictor = Predictor(training.model, training.parameters, "")
    ((folder, found),) = predictor.predict([dataset.folders[-1]])
    error = np.abs(found.entries - folder.overlap().entries)
    assert error.mean() < 0.02 * np.abs(folder.overlap().entries).mean()


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = made(tmp_path, count=1).folders[0]
    (folder.path / "density_matrix.h5").unlink()
    plain, joined = TargetSettings(), TargetSettings(with_overlap=True)
    assert TARGETS["Rho"].missing_label(folder, plain) == "density_matrix.h5"
    assert TARGETS["H"].missing_label(folder, plain) == ""
    (folder.path / "overlap.h5").unlink()
    assert TARGETS["H"].missing_label(folder, plain) == ""
    assert TARGETS["H"].missing_label(folder, joined) == "overlap.h5"
    assert TARGETS["S"].missing_label(folder, plain) == "overlap.h5"


def test_the_hash_of_the_data_is_that_of_what_is_read(tmp_path: Path) -> None:
    folders = made(tmp_path, count=1).folders
    before = {kind: dataset_hash(folders, target.label_files) for kind, target in TARGETS.items()}
    matrix = folders[0].matrix("density_matrix")
    matrix.with_entries(2 * matrix.entries).write(folders[0].file("density_matrix"))
    after = {kind: dataset_hash(folders, target.label_files) for kind, target in TARGETS.items()}
    assert [kind for kind in TARGETS if before[kind] != after[kind]] == ["Rho"]


def test_needed_irreps_follow_shells_and_spin(tmp_path: Path) -> None:
    dataset = made(tmp_path / "a", count=1)
    natural = ((0, 1), (1, 1), (1, -1), (2, 1))
    assert HamiltonianTarget.needed_irreps(dataset, TargetSettings()) == natural
    wider = HamiltonianTarget.needed_irreps(dataset, TargetSettings(further_shells=(2,)))
    assert max(wider) == (4, 1)
    random_folder(tmp_path / "b/dft/0", atoms=2, orbital_map=SHELLS, spin="soc", cutoff=3.0)
    spinful = Dataset.open(tmp_path / "b")
    assert max(l for l, _ in HamiltonianTarget.needed_irreps(spinful, TargetSettings())) == 3
    assert TARGETS["S"].needed_irreps(spinful, TargetSettings()) == natural


def test_density_matrices_alone_show_their_spin(tmp_path: Path) -> None:
    dataset = made(tmp_path, "collinear", count=1)
    folder = dataset.folders[0]
    (folder.path / "hamiltonian.h5").unlink()
    replace(folder.info, spin=None).write(folder.path / "info.json")
    dataset = Dataset.open(tmp_path)
    assert dataset.spin is None
    target = TARGETS["Rho"].of_data(dataset, ["0"], TargetSettings(), print)
    assert isinstance(target, MatrixTarget)
    assert target.representation.spin == "collinear"


def shorten(folder: StructureFolder, quantity: str, length: float) -> int:
    """Remove pairs longer than a length from a file; return how many."""
    matrix = folder.matrix(quantity)
    far = np.linalg.norm(folder.structure.pair_vectors(matrix.atom_pairs), axis=1) > length
    matrix.on_pairs(matrix.atom_pairs[~far]).write(folder.file(quantity), quantity)
    return int(far.sum())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("graph", ["H", "HS"])
def test_pairs_that_predictions_lack_are_said_in_training_and_in_the_model(
    tmp_path: Path, graph: str
) -> None:
    dataset = made(tmp_path)
    lost = shorten(dataset["1"], "overlap", 2.5)
    assert lost > 0
    training, lines = trained(tmp_path, settings(tmp_path, "H", f"graph_type={graph}"), dataset)
    (warning,) = [line for line in lines if line.startswith("Warning")]
    assert warning.startswith(f"Warning: {lost} of ")
    assert "in no overlap.h5" in warning
    path = training.publish(tmp_path / "run", "best", 1, None, training.parameters, 1)
    predictor = Predictor.load(path)
    assert [f"Warning: {note}" for note in predictor.notes] == [warning]
    # An overlap that lists those pairs, with zeros, gives them back.
    folder = dataset["1"]
    short = dict(predictor.predict([folder]))[folder]
    label = folder.hamiltonian()
    assert len(short) == len(label) - lost
    folder.overlap().on_pairs(label.atom_pairs, label.chunk_shapes).write(folder.file("overlap"))
    whole = dict(predictor.predict([folder]))[folder]
    assert len(whole) == len(label)
    assert predictor.model.ranges == training.model.ranges


@pytest.mark.usefixtures("quick")
def test_pairs_that_training_lacks_are_said_and_joined(tmp_path: Path) -> None:
    dataset = made(tmp_path)
    lost = shorten(dataset["1"], "hamiltonian", 2.5)
    training, lines = trained(tmp_path, settings(tmp_path, "H", "graph_type=H"), dataset)
    (warning,) = [line for line in lines if line.startswith("Warning")]
    assert warning.startswith(f"Warning: {lost} pairs of overlaps have no Hamiltonian")
    assert 'graph_type = "HS"' in warning
    assert len(training.model.notes) == 1
    training, lines = trained(tmp_path, settings(tmp_path, "H", "graph_type=HS"), dataset)
    assert not [line for line in lines if line.startswith("Warning")]
    assert training.model.notes == ()


def test_without_an_overlap_nothing_is_said(tmp_path: Path) -> None:
    dataset = made(tmp_path, count=1)
    (dataset["0"].path / "overlap.h5").unlink()
    target = HamiltonianTarget.of_data(dataset, ["0"], TargetSettings(), print)
    assert target.example(dataset["0"]).pairs is None


def test_matrices_are_learned_without_files(tmp_path: Path) -> None:
    folder = made(tmp_path, count=1).folders[0]
    target = HamiltonianTarget.of_data(Dataset.open(tmp_path), ["0"], TargetSettings(), print)
    given = target.example(folder)
    made_here = target.example_of(
        "mine", folder.structure, folder.hamiltonian(), folder.overlap().atom_pairs
    )
    np.testing.assert_array_equal(given.nodes, made_here.nodes)
    np.testing.assert_array_equal(given.edges, made_here.edges)
    assert given.pairs == made_here.pairs


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
def test_the_zero_of_energy_is_taken_out_of_labels(tmp_path: Path, spin: str) -> None:
    path = random_folder(tmp_path / "0", atoms=2, orbital_map=SHELLS, spin=spin, cutoff=3.0)
    folder = StructureFolder(path, "0")
    plain = HamiltonianTarget.of_description(
        {
            "representation": {"orbital_map": SHELLS, "spin": spin, "time_reversal": False},
            "graph_type": "HS",
            "gauge": True,
        }
    )
    before = plain.example(folder)
    assert before.overlap is not None
    assert abs(sum(float(np.sum(s * x)) for s, x in zip(before.overlap,
               (before.nodes, before.edges), strict=True))) < 1e-9  # fmt: skip
    hamiltonian, overlap = folder.hamiltonian(), folder.overlap()
    shift = overlap
    if spin != "none":
        groups = ((rows, np.kron(np.eye(2), stack)) for rows, stack in overlap.by_shape())
        shift = BlockMatrix.from_stacks(overlap.atom_pairs, 2 * overlap.chunk_shapes, groups)
    moved = hamiltonian.with_entries(
        hamiltonian.entries
        + 3.7 * shift.on_pairs(hamiltonian.atom_pairs, hamiltonian.chunk_shapes).entries
    )
    after = plain.example_of("0", folder.structure, moved, overlap=overlap)
    np.testing.assert_allclose(after.nodes, before.nodes, atol=1e-9)
    np.testing.assert_allclose(after.edges, before.edges, atol=1e-9)
    with pytest.raises(InputError, match="no overlap is given"):
        plain.example_of("0", folder.structure, moved)
