"""``deeph eval``: errors that are known beforehand come out in meV."""

from __future__ import annotations

import builtins
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from deeph.models.model_file import publish_model
from deeph_dock.electrons.models import honeycomb
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.tensors import Tensor, write_tensors


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


def test_errors_are_given_by_elements_and_shells(deeph: Any, predictions: Path) -> None:
    document = json.loads(deeph("eval", predictions, "data", "--json").out)
    pairs = document["by_elements"]
    assert set(pairs) <= {"H", "C", "H-H", "H-C", "C-H", "C-C"}
    total = sum(v["mae"] * v["elements"] for v in pairs.values())
    elements = sum(v["elements"] for v in pairs.values())
    expected = document["mae_gauge_free"]["all"]
    assert total / elements == pytest.approx(expected)
    assert document["gauge_free_maps"] is True
    shells = document["by_shells"]
    assert len(shells["mae"]) == len(shells["shells"])
    assert sorted(document["worst"]) == ["0001", "0002", "0003", "0004"]
    first = document["structures"][document["worst"][0]]["mae_gauge_free"]["all"]
    assert first == max(v["mae_gauge_free"]["all"] for v in document["structures"].values())


@pytest.fixture
def models(here: Path) -> Path:
    """Make predictions of two gapped honeycombs beside their DFT: one with the physics changed."""
    for id, factor in (("good", 1.0), ("poor", 1.02)):
        model = honeycomb(mass=1.0)
        folder = here / "models/dft" / id
        folder.mkdir(parents=True)
        model.structure.write(folder / "POSCAR")
        model.info.write(folder / "info.json")
        model.overlap.write(folder / "overlap.h5", "overlap")
        h = model.hamiltonian
        h.write(folder / "hamiltonian.h5", "hamiltonian")
        other = factor * h.entries + 0.3 * model.overlap.entries
        h.with_entries(other).write(folder / "hamiltonian_pred.h5", "hamiltonian")
    return here / "models"


SPECTRUM = ("--bands", "--dos", "--states", "--window", "30", "--mesh", "3", "3", "1")


def test_spectra_are_compared_when_asked_for(deeph: Any, models: Path) -> None:
    document = json.loads(deeph("eval", models, *SPECTRUM, "--json").out)
    good, poor = (document["structures"][id]["spectrum"] for id in ("good", "poor"))
    assert good["band_mae"] == pytest.approx(0.0, abs=1e-9)
    assert good["dos"] == pytest.approx(0.0, abs=1e-9)
    assert good["states"] == pytest.approx(0.0, abs=1e-7)
    assert good["shift"] == pytest.approx(300.0)
    assert poor["band_mae"] > 10
    assert poor["mesh"] == [3, 3, 1]
    mean = document["spectrum"]["mean"]["band_mae"]
    assert mean == pytest.approx((good["band_mae"] + poor["band_mae"]) / 2)
    assert document["spectrum"]["settings"]["window"] == 30
    lines = deeph("eval", models, *SPECTRUM).out.splitlines()
    (start,) = [n for n, line in enumerate(lines) if line.startswith("Errors within the window")]
    assert lines[start + 1].split()[:5] == [
        "structure", "bands/meV", "DOS/1e-3", "states/1e-2", "median/meV",
    ]  # fmt: skip
    assert lines[start + 2].split()[:5] == ["good", "0.000", "0.000", "0.000", "300.000"]
    assert lines[start + 4].split()[1] == f"{mean:.3f}"


def test_levels_stand_in_for_a_window(deeph: Any, models: Path) -> None:
    document = json.loads(deeph("eval", models, "--bands", "--levels", 1, 1, "--json").out)
    spectrum = document["structures"]["poor"]["spectrum"]
    assert spectrum["levels_per_point"] == pytest.approx(2.0)
    assert spectrum["dos"] is None
    assert spectrum["states"] is None


def test_without_being_asked_nothing_is_diagonalised(deeph: Any, models: Path) -> None:
    document = json.loads(deeph("eval", models, "--json").out)
    assert "spectrum" not in document
    assert "spectrum" not in document["structures"]["good"]


def test_what_is_wrong_with_spectra_is_one_line(deeph: Any, models: Path) -> None:
    assert "window: found -1" in deeph("eval", models, "--bands", "--window", -1).line()
    assert "spacing of the mesh: found 0" in deeph("eval", models, "--dos", "--density", 0).line()
    assert "mesh: found (0, 1, 1)" in deeph("eval", models, "--bands", "--mesh", 0, 1, 1).line()
    for id in ("good", "poor"):
        info = models / "dft" / id / "info.json"
        content = json.loads(info.read_text())
        content.pop("occupation")
        info.write_text(json.dumps({**content, "fermi_energy_eV": None}))
    line = deeph("eval", models, "--bands").line()
    place = models / "dft/good/info.json"
    assert line.startswith(f"error: {place}: occupation: neither it nor fermi_energy_eV is set")


def test_other_matrices_and_quantities_are_compared_where_predicted(
    deeph: Any, models: Path
) -> None:
    for id in ("good", "poor"):
        folder = StructureFolder(models / "dft" / id, id)
        folder.file("hamiltonian_pred").unlink()
        s = folder.overlap()
        s.write(folder.path / "density_matrix.h5", "density_matrix")
        wrong = s.with_entries(s.entries + 0.01)
        wrong.write(folder.path / "density_matrix_pred.h5", "density_matrix")
        s.with_entries(s.entries - 0.002).write(folder.path / "overlap_pred.h5", "overlap")
        charges = Tensor("charges", "1x0e", "atom", np.zeros((2, 1)), "e")
        write_tensors(folder.path / "targets.h5", [charges])
        found = replace(charges, values=charges.values + (0.5 if id == "poor" else 0.1))
        write_tensors(folder.path / "targets_pred.h5", [found])
    document = json.loads(deeph("eval", models, "--json").out)
    assert document["mae"] is None
    assert document["density_matrix"]["mae"]["all"] == pytest.approx(0.01)
    assert document["overlap"]["mae"]["all"] == pytest.approx(0.002)
    good = document["structures"]["good"]
    electrons = 0.01 * sum(StructureFolder(models / "dft/good", "good").overlap().entries)
    assert good["density_matrix"]["electrons"] == pytest.approx(electrons)
    assert good["tensors"]["charges"]["mae"] == pytest.approx(0.1)
    assert document["tensors"]["charges"]["mae"] == pytest.approx(0.3)
    assert document["tensors"]["charges"]["worst"] == ["poor", "good"]
    text = deeph("eval", models).out
    assert "Mean absolute error of the density matrix, in 1e-3" in text
    assert "Mean absolute error of the overlap, in 1e-3" in text
    assert "Errors of other quantities over all structures" in text
    assert "draws errors of Hamiltonians" in deeph("eval", models, "--plot", "a.png").line()


def test_energies_of_force_files_are_compared(deeph: Any, models: Path) -> None:
    folder = models / "dft/good"
    (folder / "hamiltonian_pred.h5").unlink()
    with h5py.File(folder / "force.h5", "w") as file:
        file["energy"] = -10.0
    energy = Tensor("energy", "1x0e", "structure", np.array([-9.75]), "eV")
    write_tensors(folder / "targets_pred.h5", [energy])
    document = json.loads(deeph("eval", folder, "--json").out)
    assert document["tensors"]["energy"]["mae"] == pytest.approx(0.25)
    assert document["tensors"]["energy"]["unit"] == "eV"
    (folder / "force.h5").unlink()
    assert "no targets.h5 to compare with" in deeph("eval", folder).line()


def test_a_reference_of_another_structure_is_refused(deeph: Any, predictions: Path) -> None:
    place = predictions / "dft/0001/POSCAR"
    text = place.read_text()
    place.unlink()
    lines = text.splitlines()
    lines[2] = " 30.0 0.0 0.0"
    place.write_text("\n".join(lines) + "\n")
    result = deeph("eval", predictions, "data")
    assert result.code == 1
    (line,) = result.err.splitlines()
    assert line.startswith(f"error: 0001: {place}: atoms or cell are ")
    assert "is it the same structure?" in line


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
