"""``deeph train``: runs, going on after a stop, and everything that can be wrong before it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from deeph.config import load_train
from deeph.training.checkpoints import save_state
from deeph_spec.errors import InputError

SETTINGS = '[data]\ninputs_dir = "data"\noutputs_dir = "runs"\n'


@pytest.fixture(autouse=True)
def settings(data: Path) -> Path:
    Path("train.toml").write_text(SETTINGS)
    return Path("train.toml")


def runs() -> list[Path]:
    return sorted(Path("runs").resolve().iterdir())


def test_a_training_gets_a_folder_with_everything_about_it(deeph: Any, engine: Any) -> None:
    result = deeph("train", "train.toml", "max_epoch=7", "loss_type=mae")
    assert result.code == 0, result.err
    (run,) = runs()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d", run.name)
    ((config, where, resume),) = engine.trainings
    assert (where, resume) == (run, False)
    assert config.process.train.max_epoch == 7
    # What the file left open is filled in from the data and the machine.
    assert config.model.advanced.net_irreps.startswith("64x0e+")
    assert config.process.train.dataloader.train_size == 4
    assert config.system.device == "cpu"
    again = load_train(run / "train.toml")
    assert again.process.train.max_epoch == 7
    assert again.model.advanced.net_irreps == config.model.advanced.net_irreps
    record = json.loads((run / "run.json").read_text())
    assert record["finished"] is True
    assert record["stopped_because"] == "max_epoch reached"
    assert "[train] Epoch 1 |" in (run / "deeph.log").read_text()
    assert "4 structures checked against the format: no errors" in result.out
    assert f"Predict with: deeph infer runs/{run.name} FOLDER" in result.out


def test_the_same_command_goes_on_after_a_stop(deeph: Any, engine: Any) -> None:
    engine.ends = "interrupted"
    result = deeph("train", "train.toml")
    assert result.code == 130
    assert "Saved. Go on with: deeph train train.toml" in result.out
    engine.ends = "max_epoch reached"
    # More epochs are still the same training; other settings are not.
    save_state(runs()[0] / "states", {"w": np.ones(1)}, {})
    result = deeph("train", "train.toml", "max_epoch=20000")
    assert result.code == 0
    assert f"Going on with runs/{runs()[0].name}, which was stopped" in result.out
    assert [resume for _, _, resume in engine.trainings] == [False, True]
    assert len(runs()) == 1
    # It has come to its end: the next one starts anew.
    deeph("train", "train.toml")
    assert [resume for _, _, resume in engine.trainings] == [False, True, False]
    assert len(runs()) == 2


def test_a_killed_training_goes_on(deeph: Any, engine: Any) -> None:
    engine.ends = KeyboardInterrupt()
    result = deeph("train", "train.toml")
    assert result.code == 130
    assert "Go on with: deeph train train.toml" in result.out
    engine.ends = "max_epoch reached"
    result = deeph("train", "train.toml")
    assert result.code == 0
    assert "was stopped before anything was saved: starting again in it" in result.out
    assert engine.trainings[1][1:] == (engine.trainings[0][1], True)


def test_other_settings_other_data_and_fresh_start_anew(
    deeph: Any, engine: Any, data: Path
) -> None:
    engine.ends = "interrupted"
    deeph("train", "train.toml")
    deeph("train", "train.toml", "--fresh")
    deeph("train", "train.toml", "random_seed=1")
    with h5py.File(data / "dft/0001/hamiltonian.h5", "r+") as file:
        file.attrs["note"] = "changed"
    deeph("train", "train.toml")
    assert [resume for _, _, resume in engine.trainings] == [False] * 4
    assert len(runs()) == 4
    deeph("train", "train.toml")
    assert engine.trainings[-1][1:] == (runs()[3], True)


def test_resume_names_a_run_and_what_differs(deeph: Any, engine: Any) -> None:
    deeph("train", "train.toml")
    (run,) = runs()
    assert deeph("train", "train.toml", "--resume", run).code == 0
    assert engine.trainings[-1][2] is True
    line = deeph("train", "train.toml", "num_blocks=5", "--resume", run).line()
    assert "was trained with other settings: model.advanced.num_blocks was 3, is 5" in line
    assert "is not the folder of a run" in deeph("train", "train.toml", "--resume", "data").line()
    assert "contradict" in deeph("train", "train.toml", "--resume", run, "--fresh").line()


def test_not_a_number_in_h_stops_before_training(deeph: Any, engine: Any, data: Path) -> None:
    with h5py.File(data / "dft/0003/hamiltonian.h5", "r+") as file:
        file["entries"][5] = np.nan
    line = deeph("train", "train.toml").line()
    assert line.startswith("error: E26 ")
    assert "0003/hamiltonian.h5: entries: " in line
    assert not engine.trainings
    assert not Path("runs").exists()


def test_a_failure_of_the_engine_is_one_line(deeph: Any, engine: Any) -> None:
    engine.ends = InputError("0002: the loss is not a number in epoch 3; lower the learning rate")
    line = deeph("train", "train.toml").line()
    assert line.startswith("error: 0002: the loss is not a number")
    engine.ends = ZeroDivisionError("by zero")
    line = deeph("train", "train.toml").line()
    assert line == (
        "internal error: ZeroDivisionError: by zero (run again with --debug to see where)"
    )
    result = deeph("--debug", "train", "train.toml")
    assert "Traceback" in result.err
    assert result.code == 1


def test_structures_without_hamiltonian_are_named(deeph: Any, engine: Any, data: Path) -> None:
    (data / "dft/0002/hamiltonian.h5").unlink()
    line = deeph("train", "train.toml").line()
    assert "0002: no hamiltonian.h5, which training needs" in line
    split = {"train": ["0001"], "validate": ["0003"], "test": ["0002"]}
    Path("split.json").write_text(json.dumps(split))
    result = deeph("train", "train.toml", "dataset_split_json=split.json")
    assert result.code == 0, result.err
    assert "2 structures checked" in result.out


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('inputs_dir = "nowhere"', 'train.toml: data.inputs_dir = "nowhere": '),
        ('inputs_dir = "empty"', "no structure found"),
        ('inputs_dir = "data"\nextra = 1', "train.toml: data.extra: unknown key"),
        ("inputs_dir = ", "train.toml: not valid TOML: "),
    ],
)
def test_what_is_wrong_in_the_file_is_one_line(
    deeph: Any, engine: Any, change: str, expected: str
) -> None:
    Path("empty").mkdir()
    Path("train.toml").write_text(SETTINGS.replace('inputs_dir = "data"', change))
    line = deeph("train", "train.toml").line()
    assert line.startswith("error: ")
    assert expected in line
    assert not engine.trainings


def test_the_split_is_checked(deeph: Any, engine: Any) -> None:
    Path("split.json").write_text('{"train": ["0001", "9999"]}')
    line = deeph("train", "train.toml", "dataset_split_json=split.json").line()
    assert "no structure '9999'" in line
    Path("split.json").write_text('{"validate": ["0001"]}')
    line = deeph("train", "train.toml", "dataset_split_json=split.json").line()
    assert "train: lists no structure" in line
    line = deeph("train", "train.toml", "train_size=4", "test_size=3").line()
    assert "ask for 7 structures" in line
    assert not engine.trainings


def test_outputs_that_cannot_be_made_are_an_error(deeph: Any, engine: Any) -> None:
    Path("runs").write_text("a file")
    assert "cannot make a folder for the run" in deeph("train", "train.toml").line()


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", "ready cpu"), ("tpu", 'system.device = "tpu": not there; this machine has ')],
)
def test_the_device_must_be_there(here: Path, device: str, expected: str) -> None:
    program = (
        "import sys\nfrom deeph.cli.runtime import prepare_jax\n"
        "from deeph.config.system import System\nfrom deeph_spec.errors import InputError\n"
        "try:\n    print('ready', prepare_jax(System(device=sys.argv[1], float_type='fp64'))[0])\n"
        "except InputError as error:\n    print(error)\n"
        "else:\n    import jax.numpy as jnp\n    assert jnp.ones(1).dtype == jnp.float64\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, device],
        capture_output=True,
        text=True,
        check=True,
        env={"HOME": str(here), "PATH": ""},
    )
    assert expected in done.stdout
    assert list((here / ".cache/deeph").iterdir())


def test_repeating_a_finished_training_says_that_it_starts_anew(deeph: Any, engine: Any) -> None:
    deeph("train", "train.toml")
    (first,) = runs()
    again = deeph("train", "train.toml")
    assert f"runs/{first.name} has finished with these settings; this is a new run" in again.out
    assert len(runs()) == 2
    assert "has finished" not in deeph("train", "train.toml", "--fresh").out
