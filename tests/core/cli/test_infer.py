"""``deeph infer``: with a file or without, a broken structure never stops the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from deeph.models.model_file import publish_model
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.testing import random_dataset, random_folder
from deeph_spec.validation import validate_dataset


@pytest.fixture(autouse=True)
def model(data: Path, here: Path) -> Path:
    publish_model(here / "run/model", "best", 3, {"w": np.ones(2)}, {"network": "normal"})
    return here / "run"


SETTINGS = (
    '[data]\ninputs_dir = "data"\noutputs_dir = "out"\n[model]\nmodel_dir = "run/model"\n'
    "[process.infer.dataloader]\nbatch_size = 3\n"
)


def test_with_a_file(deeph: Any, engine: Any) -> None:
    Path("infer.toml").write_text(SETTINGS)
    result = deeph("infer", "infer.toml", "batch_size=2", "multi_way_jit_num=5")
    assert result.code == 0, result.err
    (place,) = Path("out").iterdir()
    written = Dataset.open(place)
    assert written.ids == ("0001", "0002", "0003", "0004")
    assert not [f for f in validate_dataset(written) if f.severity == "error"]
    assert engine.batches == [(list(written.ids), 2, 5)]
    assert "4 of 4 structures predicted" in result.out
    hints = result.out.splitlines()[-2:]
    assert hints == [
        f"Compare with DFT: deeph eval {place}",
        f"Draw the bands:   dock band {place}",
    ]
    assert (place / "infer.toml").is_file()
    # The copy of the settings runs again.
    assert deeph("infer", place / "infer.toml").code == 0


def test_without_labels_the_reference_has_to_be_named(
    deeph: Any, engine: Any, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overlaps(self: object, folders: list[StructureFolder], *sizes: int) -> object:
        return ((folder, folder.overlap()) for folder in folders)

    monkeypatch.setattr(sys.modules["deeph.inference.predictor"].Predictor, "predict", overlaps)
    (data / "dft/0001/hamiltonian.h5").unlink()
    compare, _ = deeph("infer", "run", "data/dft/0001").out.splitlines()[-2:]
    assert compare.endswith(" REFERENCE")


def test_without_a_file(deeph: Any, engine: Any) -> None:
    result = deeph("infer", "run", "data/dft/0002", "-o", "here")
    assert result.code == 0, result.err
    (place,) = Path("here").iterdir()
    assert (place / "dft/0002/hamiltonian_pred.h5").is_file()
    assert deeph("infer", "run/model/best/epoch_3.h5", "data").code == 0
    assert len(list(Path("predictions").glob("*/dft/*"))) == 4


def test_several_folders_keep_their_names_apart(deeph: Any, engine: Any) -> None:
    random_dataset("other", 1, atoms=3)
    assert deeph("infer", "run", "data", "other").code == 0
    (place,) = Path("predictions").iterdir()
    assert sorted(
        p.parent.relative_to(place / "dft").as_posix() for p in place.rglob("POSCAR")
    ) == [
        "data/0001",
        "data/0002",
        "data/0003",
        "data/0004",
        "other/0001",
    ]
    assert "two structures would be written" in deeph("infer", "run", "other", "other").line()


def test_beside_the_inputs(deeph: Any, engine: Any, data: Path) -> None:
    result = deeph("infer", "run", "data", "--to-input")
    assert result.code == 0, result.err
    assert len(list(data.rglob("hamiltonian_pred.h5"))) == 4
    assert "predicted beside their inputs" in result.out
    assert not Path("predictions").exists()


def test_what_the_model_does_not_know_is_named_before_anything_is_predicted(
    deeph: Any, engine: Any
) -> None:
    engine.unknown, engine.odd = {"0002"}, {"0001", "0003"}
    result = deeph("infer", "run", "data")
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith("error: 0002: ")
    assert line.endswith("Og is unknown to the model")
    assert [ids for ids, _, _ in engine.batches] == [["0001", "0003", "0004"]]
    assert "warning: 0001: looks odd" in result.out
    assert "warning: 0003: looks odd" in result.out


def test_a_batch_is_made_as_small_as_memory_wants_it(deeph: Any, engine: Any) -> None:
    engine.free = int(7.5e9)  # three atoms a structure, and one for padding
    result = deeph("infer", "run", "data", "--batch-size", "4")
    assert result.code == 0, result.err
    assert "warning: 4 structures at once need about 13 GB of memory, but 7.5 GB are" in result.out
    assert engine.batches[0][1] == 2
    engine.free = None
    assert "Memory: about 13 GB" in deeph("infer", "run", "data", "--batch-size", "4").out
    engine.free = int(1e9)
    result = deeph("infer", "run", "data")
    assert len(result.err.splitlines()) == 4
    assert "0001: 3 atoms with " in result.err
    assert "need about 3 GB of memory, but 1 GB are free" in result.err


def test_a_broken_structure_is_named_and_the_others_are_predicted(
    deeph: Any, engine: Any, data: Path
) -> None:
    (data / "dft/0001/overlap.h5").write_bytes(b"no")
    (data / "dft/0003/overlap.h5").unlink()
    with h5py.File(data / "dft/0004/hamiltonian.h5", "r+") as file:
        file["entries"][0] = np.nan  # a label, which is not read
    result = deeph("infer", "run", "data")
    assert result.code == 1
    errors = result.err.splitlines()
    assert len(errors) == 2
    assert errors[0].startswith("error: 0001: E15 ")
    assert errors[1].startswith("error: 0003: ")
    assert errors[1].endswith("overlap.h5 is missing; dock convert makes it from a DFT run")
    assert "2 of 4 structures predicted" in result.out
    assert len(list(Path("predictions").glob("*/dft/*"))) == 2


def test_a_folder_without_info_is_not_passed_over(deeph: Any, engine: Any, data: Path) -> None:
    (data / "dft/0002/info.json").unlink()
    result = deeph("infer", "run", "data")
    assert result.code == 1
    assert result.err == f"error: 0002: {data}: info.json is missing\n"
    assert "3 of 4 structures predicted" in result.out


def test_the_structure_that_fails_in_a_batch_is_found(deeph: Any, engine: Any, data: Path) -> None:
    engine.broken = {"0002"}
    result = deeph("infer", "run", "data", "--batch-size", "4")
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith("error: 0002: ")
    assert "Og is not an element of the model" in line
    assert len(list(Path("predictions").glob("*/dft/*"))) == 3
    assert engine.batches[0] == (["0001", "0002", "0003", "0004"], 4, 1)
    engine.broken = {"0001"}
    assert len(deeph("infer", "run", "data/dft/0001").err.splitlines()) == 1


def test_what_is_wrong_is_one_line(deeph: Any, engine: Any, here: Path) -> None:
    assert deeph("infer", "runn", "data").line() == "error: runn: no such run or model"
    assert "name the folders to predict" in deeph("infer", "run").line()
    assert deeph("infer", "runn").line() == "error: runn: no such run or model"
    assert deeph("infer", "run", "nowhere").line() == "error: nowhere: no such folder"
    (here / "text.h5").write_text("no model")
    assert "is not a model file" in deeph("infer", "text.h5", "data").line()
    (here / "bare/model").mkdir(parents=True)
    assert "holds no model" in deeph("infer", "bare", "data").line()
    assert "holds no latest model" in deeph("infer", "run", "data", "--which", "latest").line()
    assert "expected one of best, latest" in deeph("infer", "run", "data", "--which", "x").line()
    Path("infer.toml").write_text(SETTINGS)
    assert "set the keys in the file" in deeph("infer", "infer.toml", "-o", "x").line()
    assert "unknown key" in deeph("infer", "infer.toml", "batchsize=3").line()
    assert "several devices" in deeph("infer", "run", "data", "--device", "gpu*2").line()
    random_folder("single", atoms=2)
    assert deeph("infer", "run", "single").code == 0
