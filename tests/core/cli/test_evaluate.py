"""``deeph eval``: errors that are known beforehand come out in meV."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.models.model_file import publish_model
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder


@pytest.fixture
def predictions(deeph: Any, engine: Any, data: Path, here: Path) -> Path:
    """Predict with an error of exactly 2 meV in every element."""
    publish_model(here / "run/model", "best", 3, {"w": np.ones(2)}, {})
    engine.error = 2e-3
    assert deeph("infer", "run", "data", "-o", "out").code == 0
    (place,) = Path("out").iterdir()
    return place


def test_the_table_names_every_structure_in_mev(deeph: Any, predictions: Path) -> None:
    result = deeph("eval", predictions, "data")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "Mean absolute error of H in meV"
    assert all(line == line.rstrip() for line in lines)
    rows = {line.split()[0]: line.split() for line in lines[3:]}
    assert set(rows) == {"0001", "0002", "0003", "0004", "over", "By"}
    assert rows["By"][:5] == ["By", "elements", "(mu", "S", "removed):"]
    for id in ("0001", "0002", "0003", "0004"):
        atoms, all_, on_site, off_site = rows[id][1:5]
        assert atoms == "3"
        assert {all_, on_site, off_site} == {"2.000"}
    assert rows["over"][2:5] == ["2.000", "2.000", "2.000"]


def test_removing_mu_s_removes_what_is_proportional_to_s(
    deeph: Any, predictions: Path, data: Path
) -> None:
    for folder in Dataset.open(predictions):
        reference = StructureFolder(data / "dft" / folder.id, folder.id)
        s, h = reference.overlap(), reference.hamiltonian()
        s = s.on_pairs(h.atom_pairs, h.chunk_shapes)
        shifted = h.with_entries(h.entries + 0.5 * s.entries)
        shifted.write(folder.path / "hamiltonian_pred.h5", "hamiltonian")
    document = json.loads(deeph("eval", predictions, "data", "--json").out)
    assert document["unit"] == "meV"
    assert document["mae"]["all"] > 10
    assert document["mae_gauge_free"]["all"] < 1e-6
    for structure in document["structures"].values():
        assert abs(structure["mu"] - 500.0) < 1e-6


def test_the_average_counts_every_element_once(deeph: Any, predictions: Path) -> None:
    document = json.loads(deeph("eval", predictions, "--json").out)
    sizes = {k: v["elements"] for k, v in document["structures"].items()}
    expected = sum(v["mae"]["all"] * sizes[k] for k, v in document["structures"].items())
    assert document["mae"]["all"] == pytest.approx(expected / sum(sizes.values()))


def test_without_a_reference_the_origin_of_the_overlap_is_used(
    deeph: Any, predictions: Path, data: Path
) -> None:
    assert deeph("eval", predictions).out == deeph("eval", predictions, "data").out
    result = deeph("eval", predictions / "dft/0002")
    assert result.code == 0
    assert "0002" in result.out
    for path in data.rglob("hamiltonian.h5"):
        path.unlink()
    line = deeph("eval", predictions).line()
    assert "no hamiltonian.h5 to compare with" in line
    assert "deeph eval PREDICTIONS REFERENCE" in line


def test_a_prediction_beside_its_label_is_compared_with_it(
    deeph: Any, engine: Any, data: Path, predictions: Path
) -> None:
    assert deeph("infer", "run", "data", "--to-input").code == 0
    document = json.loads(deeph("eval", "data", "--json").out)
    assert document["mae"]["all"] == pytest.approx(2.0, rel=1e-4)


def test_the_picture_is_drawn(deeph: Any, predictions: Path) -> None:
    result = deeph("eval", predictions, "data", "--plot", "errors.png")
    assert result.code == 0, result.err
    assert "Errors drawn in errors.png" in result.out
    assert Path("errors.png").read_bytes().startswith(b"\x89PNG")


def test_one_broken_file_does_not_hide_the_others(deeph: Any, predictions: Path) -> None:
    (predictions / "dft/0002/hamiltonian_pred.h5").write_bytes(b"no")
    result = deeph("eval", predictions, "data")
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith("error: 0002: ")
    assert "0001" in result.out
    assert "0002" not in result.out


def test_labels_that_cannot_be_compared_are_named_and_not_averaged(
    deeph: Any, predictions: Path
) -> None:
    broken = Path("data/dft/0001/hamiltonian.h5")
    label = StructureFolder(broken.parent, "0001").hamiltonian()
    label.with_entries(np.where(np.arange(len(label.entries)) == 7, np.nan, label.entries)).write(
        broken
    )
    other = Path("data/dft/0002/hamiltonian.h5")
    BlockMatrix.zeros(label.atom_pairs, 2 * label.chunk_shapes, np.dtype(float)).write(other)
    result = deeph("eval", predictions, "data")
    assert result.code == 1
    assert "nan" not in result.out
    first, second = result.err.splitlines()
    assert first == f"error: 0001: {broken}: entries: NaN or infinity; make the file anew"
    assert second.startswith(f"error: 0002: {other}: pair (")


def test_what_is_wrong_is_one_line(deeph: Any, predictions: Path, data: Path) -> None:
    assert "no hamiltonian_pred.h5 in its 4 structures" in deeph("eval", "data").line()
    assert "no such folder" in deeph("eval", "nowhere").line()
    (data / "dft/0003").rename(data / "dft/0033")
    assert "has no structure '0003'" in deeph("eval", predictions, "data").line()
    (data / "dft/0033").rename(data / "dft/0003")
    (data / "dft/0003/hamiltonian.h5").unlink()
    assert "0003: no hamiltonian.h5 to compare" in deeph("eval", predictions, "data").line()


def test_without_deeph_dock_a_line_says_how_to_get_it(
    deeph: Any, predictions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def without_dock(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("deeph_dock"):
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_dock)
    line = deeph("eval", predictions, "data").line()
    assert "pip install 'deeph-core[eval]'" in line
