"""The main job as a user does it: commands in a shell, on SIESTA's own outputs of the example."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph.models.model_file import find_model, read_model
from deeph_dock.exports.results import read_bands
from deeph_dock.metrics import band_error, hamiltonian_error
from deeph_spec.dataset import Dataset
from deeph_spec.testing import assert_hermitian
from deeph_spec.validation import validate_dataset

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "graphene"
EPOCHS = 40
SETTINGS = """
[system]
device = "cpu"
[data]
inputs_dir = "data/dft/train"
outputs_dir = "training"
[data.graph]
graph_type = "HS"
[model.advanced]
net_irreps = "8x0e+6x1o+4x2e+2x3o+2x4e"
num_blocks = 1
gaussian_basis_rmax = 8.0
[process.train]
max_epoch = {epochs}
[process.train.optimizer]
type = "adam"
init_learning_rate = 1e-2
[process.train.scheduler]
type = "warmup_cosine_decay"
"""


def command(folder: Path, *words: str | Path, code: int = 0) -> str:
    """Run a command of the program in a folder and return what it printed."""
    program = Path(sys.executable).parent / str(words[0])
    done = subprocess.run(
        [program, *words[1:]], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    printed = done.stdout + done.stderr
    assert done.returncode == code, printed
    assert "Traceback" not in printed
    return printed


def newest(folder: Path) -> Path:
    return max(folder.iterdir(), key=lambda path: path.stat().st_mtime)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs to train on and one to predict, converted."""
    folder = tmp_path_factory.mktemp("graphene")
    with tarfile.open(EXAMPLE / "runs.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    for left in ("train/0003", "train/0004", "train/0005", "train/0006", "test/0008"):
        shutil.rmtree(folder / "runs" / left)
    printed = command(folder, "dock", "convert", "runs", "data")
    assert re.search(r"\b3 +converted to data/dft\b", printed)
    (folder / "train.toml").write_text(SETTINGS.format(epochs=EPOCHS))
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """A small training."""
    command(place, "deeph", "train", "train.toml")
    return newest(place / "training")


@pytest.fixture(scope="module")
def prediction(place: Path, run: Path) -> Path:
    command(place, "deeph", "infer", run, "data/dft/test", "-o", "predictions")
    return newest(place / "predictions")


def test_converting_again_does_nothing(place: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*.h5")}
    printed = command(place, "dock", "convert", "runs", "data")
    assert "3" in printed
    assert "unchanged" in printed
    assert before == {p: p.stat().st_mtime_ns for p in (place / "data").rglob("*.h5")}


def test_the_checks_pass_and_say_so(place: Path) -> None:
    assert "all 3 structures are right" in command(place, "dock", "check", "data")


def test_the_prediction_is_a_complete_folder(place: Path, prediction: Path, run: Path) -> None:
    written, given = Dataset.open(prediction), Dataset.open(place / "data")
    assert not [f for f in validate_dataset(prediction) if f.severity == "error"]
    folder, source = written["0007"], given["test/0007"]
    matrix = folder.matrix("hamiltonian_pred")
    assert_hermitian(matrix, atol=0.0)
    np.testing.assert_array_equal(matrix.atom_pairs, source.overlap().atom_pairs)
    np.testing.assert_array_equal(folder.structure.positions, source.structure.positions)
    link = folder.path / "overlap.h5"
    assert link.is_symlink()
    assert not os.readlink(link).startswith("/")
    model = folder.info.provenance["model"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", model)
    assert folder.info.fermi_level is None
    assert folder.info.occupation == 32


def test_the_prediction_is_far_better_than_nothing(place: Path, prediction: Path) -> None:
    reference = Dataset.open(place / "data")["test/0007"]
    predicted = Dataset.open(prediction)["0007"].matrix("hamiltonian_pred")
    error = hamiltonian_error(predicted, reference.hamiltonian(), reference.overlap())
    assert error.mae.all < 20  # the means alone leave 36, zero would be 700
    printed = command(place, "deeph", "eval", prediction, "data/dft/test", "--plot", "errors.png")
    assert f"{error.mae.all:.3f}" in printed
    assert (place / "errors.png").stat().st_size > 10_000


def test_bands_of_both_are_drawn(place: Path, prediction: Path) -> None:
    command(place, "dock", "band", "data/dft/test/0007", prediction / "dft" / "0007", "-o", "bands")
    assert (place / "bands" / "band.png").stat().st_size > 10_000
    (dft,) = (place / "bands").rglob("band.h5")
    (predicted,) = (place / "bands").rglob("band_pred.h5")
    with h5py.File(dft) as file:
        assert file["band_data"].shape[0] == 104
    error = band_error(read_bands(predicted), read_bands(dft))
    assert error.states > 100
    assert -8 < read_bands(dft).fermi.energy < 0


def test_a_training_stopped_by_a_signal_goes_on_to_the_same_end(place: Path, run: Path) -> None:
    whole, _ = read_model(find_model(run, "latest"))
    settings = SETTINGS.format(epochs=EPOCHS).replace('"training"', '"stopped"')
    (place / "stopped.toml").write_text(settings)
    program = Path(sys.executable).parent / "deeph"
    with subprocess.Popen(
        [program, "train", "stopped.toml"], cwd=place, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("Epoch 1 "):
                process.send_signal(signal.SIGINT)
    code = process.returncode
    stopped = newest(place / "stopped")
    if code != 0:  # on a fast machine the training may have ended before the signal came
        assert code == 130
        assert not json.loads((stopped / "run.json").read_text())["finished"]
        printed = command(place, "deeph", "train", "stopped.toml")
        assert "Going on with stopped/" in printed
    assert json.loads((stopped / "run.json").read_text())["finished"]
    resumed, _ = read_model(find_model(stopped, "latest"))
    flat, again = dict(_leaves(whole)), dict(_leaves(resumed))
    assert flat.keys() == again.keys()
    for name, value in flat.items():
        np.testing.assert_array_equal(value, again[name], err_msg=name)


def _leaves(tree: dict[str, object], name: str = "") -> list[tuple[str, np.ndarray]]:
    leaves = []
    for key, value in tree.items():
        if isinstance(value, dict):
            leaves += _leaves(value, f"{name}/{key}")
        else:
            leaves.append((f"{name}/{key}", np.asarray(value)))
    return leaves


def test_one_broken_structure_stops_no_other(place: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "data" / "dft" / "train", tmp_path / "some")
    with h5py.File(tmp_path / "some" / "0001" / "overlap.h5", "r+") as file:
        file["entries"][5] = np.nan
    printed = command(tmp_path, "deeph", "infer", run, "some", "-o", "out", code=1)
    assert "1 of 2 structures predicted" in printed
    assert re.search(r"error: 0001: .*overlap.h5.*entries.*NaN", printed)
    assert Dataset.open(newest(tmp_path / "out")).ids == ("0002",)


def test_nan_in_a_label_ends_in_one_line(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "data", tmp_path / "data")
    with h5py.File(tmp_path / "data/dft/train/0002/hamiltonian.h5", "r+") as file:
        file["entries"][7] = np.nan
    settings = SETTINGS.format(epochs=1) + "\n[data.dft]\nvalidation_check = {check}\n"
    for check in ("true", "false"):
        (tmp_path / "train.toml").write_text(settings.replace("{check}", check))
        printed = command(tmp_path, "deeph", "train", "train.toml", code=1)
        lines = [line for line in printed.splitlines() if line.startswith("error:")]
        assert len(lines) == 1
        assert re.search(r"0002.*hamiltonian.h5.*entries.*NaN", lines[0])


def test_the_settings_of_the_example_are_sound(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "data", tmp_path / "work" / "data")
    shutil.copy(EXAMPLE / "train.toml", tmp_path)
    command(tmp_path, "deeph", "check", "train.toml")


@pytest.mark.parametrize("package", ["deeph", "deeph_dock"])
def test_help_imports_nothing_that_takes_long(package: str) -> None:
    script = f"""
import sys
from {package}.cli import main
sys.argv = ["command", "--help"]
try:
    main()
except SystemExit:
    pass
slow = {{"jax", "flax", "optax", "numpy", "scipy", "h5py", "ase", "matplotlib", "sisl", "rich"}}
print("imported:", sorted(slow & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "Commands:" in done.stdout
    assert "imported: []" in done.stdout, done.stdout[-200:]
