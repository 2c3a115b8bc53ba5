"""``deeph init`` writes files that work; ``deeph check`` says what is in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from deeph.config import load_infer, load_train
from deeph.models.model_file import publish_model


def test_init_writes_a_file_adapted_to_the_dataset(deeph: Any, data: Path, here: Path) -> None:
    result = deeph("init", "data", "-o", "train.toml")
    assert result.code == 0, result.err
    assert "4 structures of 3 atoms, 4 with a Hamiltonian" in result.out
    assert "H s" in result.out
    assert "Next: deeph train train.toml" in result.out
    config = load_train("train.toml")
    assert config.data.inputs_dir == here / "data"
    loader = config.process.train.dataloader
    assert (loader.train_size, loader.validate_size, loader.test_size) == (2, 1, 1)
    text = Path("train.toml").read_text()
    assert "# Elements and shells:" in text
    assert config.model.advanced.net_irreps is not None
    assert text.count("\n# ") > 20  # every key has a comment


def test_the_basis_reaches_as_far_as_the_pairs(deeph: Any, data: Path) -> None:
    deeph("init", "data")
    from deeph_spec.dataset import Dataset

    farthest = 0.0
    for folder in Dataset.open("data"):
        vectors = folder.structure.pair_vectors(folder.hamiltonian().atom_pairs)
        farthest = max(farthest, np.linalg.norm(vectors, axis=1).max())
    rmax = load_train("train.toml").model.advanced.gaussian_basis_rmax
    assert farthest <= rmax < farthest + 0.5


def test_init_finds_the_data_from_the_folder_of_the_file(
    deeph: Any, data: Path, here: Path
) -> None:
    (here / "settings").mkdir()
    assert deeph("init", data / "dft", "-o", "settings/a.toml").code == 0
    assert 'inputs_dir = "../data"' in Path("settings/a.toml").read_text()
    assert load_train("settings/a.toml").data.inputs_dir.resolve() == data


def test_init_never_overwrites_unless_it_is_asked_to(deeph: Any, data: Path) -> None:
    Path("train.toml").write_text("mine")
    line = deeph("init", "data").line()
    assert line == ("error: train.toml: exists already; give --overwrite, or another name with -o")
    assert Path("train.toml").read_text() == "mine"
    assert deeph("init", "data", "--overwrite").code == 0
    assert load_train("train.toml")


def test_init_of_a_run_writes_an_inference_file(deeph: Any, here: Path) -> None:
    publish_model(here / "runs/r/model", "best", 3, {"w": np.ones(1)}, {})
    (here / "inputs").mkdir()
    result = deeph("init", "runs/r")
    assert result.code == 0, result.err
    assert load_infer("infer.toml").model.model_dir == here / "runs/r/model"


def test_init_of_what_is_no_dataset(deeph: Any, here: Path) -> None:
    assert deeph("init", "nothing").line() == "error: nothing: no such folder"
    (here / "empty").mkdir()
    assert "no structure found" in deeph("init", "empty").line()
    (here / "theirs/graph").mkdir(parents=True)
    assert "holds graph/ but no dft/" in deeph("init", "theirs").line()
    assert deeph("init", "empty", "-o", "no/such/a.toml").code == 1


def test_init_needs_labels(deeph: Any, data: Path) -> None:
    for path in data.rglob("hamiltonian.h5"):
        path.unlink()
    assert "no structure has a hamiltonian.h5 to learn from" in deeph("init", "data").line()


def test_init_proposes_features_that_can_express_the_data(deeph: Any, data: Path) -> None:
    result = deeph("init", "data", "--net", "sparrow")
    config = load_train("train.toml")
    assert config.model.net_type == "normal"
    irreps = config.model.advanced.net_irreps
    count = re.search(rf"Proposed features: {re.escape(irreps)}: ([\d,]+) parameters", result.out)
    assert count is not None
    assert 100_000 < int(count[1].replace(",", "")) <= 2_000_000
    assert "1x0e+1x1e+1x1o+1x2e;" in Path("train.toml").read_text()
    line = deeph("init", "data", "--net", "nomal", "--overwrite").line()
    assert line.startswith("error: --net nomal: expected one of normal")


def test_check_explains_a_good_file(deeph: Any, data: Path) -> None:
    deeph("init", "data")
    text = Path("train.toml").read_text()
    Path("train.toml").write_text(text.replace("train_size = 2\n", "\n"))
    result = deeph("check", "train.toml")
    assert result.code == 0, result.err
    assert "is a file for deeph train" in result.out
    assert "process.train.dataloader.train_size = 2" in result.out
    assert "(proposed)" in result.out
    assert "Data: 4 structures" in result.out
    assert "Split: 2 to train, 1 to validate, 1 to test" in result.out


def test_check_lists_everything_that_is_wrong(deeph: Any, data: Path) -> None:
    text = '[data]\ninputs_dir = "data"\n[model]\nloss_type = "hopad"\nnet_tpe = "normal"\n'
    Path("train.toml").write_text(text)
    result = deeph("check", "train.toml")
    assert result.code == 1
    assert len(result.err.splitlines()) == 3
    assert "model.net_tpe: unknown key; did you mean model.net_type?" in result.err
    assert "hopad" in result.err
    assert "data.outputs_dir: must be set" in result.err


def test_check_finds_features_that_are_too_small_for_the_data(deeph: Any, data: Path) -> None:
    text = '[data]\ninputs_dir = "data"\noutputs_dir = "runs"\n'
    Path("train.toml").write_text(f'{text}[model.advanced]\nnet_irreps = "8x0e"\n')
    line = deeph("check", "train.toml").line()
    assert "8x0e cannot express all that these data contain" in line
    assert "smallest features that can are 1x0e+1x1e+1x1o+1x2e" in line


def test_a_file_from_init_trains(deeph: Any, data: Path, engine: Any) -> None:
    deeph("init", "data")
    assert deeph("train", "train.toml").code == 0
    ((config, _, _),) = engine.trainings
    assert config.process.train.dataloader.train_size == 2
