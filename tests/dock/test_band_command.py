"""dock band: files, pictures, table, and one clear line for whatever is wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.cli import run
from deeph_dock.electrons.models import Model, chain, honeycomb, in_field
from deeph_dock.exports.results import read_bands

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def band(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["band", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def write(folder: Path, model: Model, prediction: float | None = None) -> Path:
    folder.mkdir(parents=True)
    model.structure.write(folder / "POSCAR")
    model.overlap.write(folder / "overlap.h5", "overlap")
    model.hamiltonian.write(folder / "hamiltonian.h5")
    if prediction is not None:
        h = model.hamiltonian
        changed = h.with_entries(h.entries * (1 + prediction))
        changed.write(folder / "hamiltonian_pred.h5")
    model.info.write(folder / "info.json")
    return folder


def edit_info(folder: Path, **values: object) -> None:
    document = json.loads((folder / "info.json").read_text())
    document.update(values)
    document = {key: value for key, value in document.items() if value != "absent"}
    (folder / "info.json").write_text(json.dumps(document))


def test_one_folder_gives_numbers_and_pictures(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb(overlap=0.0, mass=1.0))
    code, out, err = band(folder, "--mesh", 6, 6, 1)
    assert (code, err) == (0, "")
    for name in ("band.h5", "band.png", "band.pdf"):
        assert (folder / name).stat().st_size > 1000
        assert name in out
    assert not (folder / "band_pred.h5").exists()
    assert not list(folder.glob(".*"))  # nothing half written
    assert "path Γ-M-K-Γ" in out
    row = next(line for line in out.splitlines() if line.startswith("0001"))
    assert row.split() == ["0001", "DFT", "0.0000", "-1.0000", "1.0000", "2.0000", "2", "6x6x1"]
    bands = read_bands(folder / "band.h5")
    np.testing.assert_allclose(
        bands.energies, honeycomb(overlap=0.0, mass=1.0).bands(bands.path.kpoints), atol=1e-10
    )


def test_dft_and_prediction_are_drawn_together_and_compared(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb(overlap=0.0, mass=1.0), prediction=0.01)
    code, out, _ = band(folder)
    assert code == 0
    dft, predicted = (read_bands(folder / name) for name in ("band.h5", "band_pred.h5"))
    assert (dft.matrix, predicted.matrix) == ("hamiltonian", "hamiltonian_pred")
    inside = np.abs(dft.energies) <= 3
    mean = 1e3 * np.abs(predicted.energies - dft.energies)[inside].mean()
    assert f"prediction - DFT: mean |dE| {mean:.1f} meV" in out


def test_predictions_need_no_dft(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb(mass=1.0), prediction=0.0)
    (folder / "hamiltonian.h5").unlink()
    code, out, _ = band(folder)
    assert code == 0
    assert (folder / "band_pred.h5").exists()
    assert not (folder / "band.h5").exists()
    assert "dE" not in out


def test_a_dataset_gives_a_picture_of_each_structure(band: Command, tmp_path: Path) -> None:
    for name in ("1", "2"):
        write(tmp_path / "data" / "dft" / name, honeycomb(mass=float(name)))
    code, out, _ = band(tmp_path / "data", "--points", 20)
    assert code == 0
    for name in ("1", "2"):
        assert (tmp_path / "data" / "dft" / name / "band.png").exists()
    assert out.index("4.0000") > out.index("2.0000")  # both gaps


def test_one_broken_structure_does_not_stop_the_others(band: Command, tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        write(tmp_path / "data" / "dft" / name, honeycomb(mass=1.0))
    (tmp_path / "data" / "dft" / "2" / "overlap.h5").unlink()
    code, _, err = band(tmp_path / "data", "--points", 20)
    assert code == 1
    assert err.splitlines()[0].startswith(f"error: {tmp_path / 'data' / 'dft' / '2'}: overlap.h5")
    assert "1 of 3 structures failed" in err
    assert (tmp_path / "data" / "dft" / "3" / "band.png").exists()


def test_a_folder_without_info_is_not_passed_over(band: Command, tmp_path: Path) -> None:
    for name in ("1", "2"):
        write(tmp_path / "data" / "dft" / name, honeycomb(mass=1.0))
    (tmp_path / "data" / "dft" / "2" / "info.json").unlink()
    code, _, err = band(tmp_path / "data", "--points", 10)
    assert code == 1
    assert f"error: {tmp_path / 'data'}: 2: info.json is missing" in err
    assert "1 of 2 structures failed" in err
    assert (tmp_path / "data" / "dft" / "1" / "band.h5").exists()


def test_several_folders_make_one_picture(band: Command, tmp_path: Path) -> None:
    one = write(tmp_path / "a" / "0001", honeycomb(mass=1.0))
    other = write(tmp_path / "b" / "0001", honeycomb(mass=1.2))
    code, out, _ = band(one, other, "-o", tmp_path / "out", "--points", 20)
    assert code == 0
    written = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")}
    assert written == {"a_0001/band.h5", "b_0001/band.h5", "band.png", "band.pdf"}
    assert "a/0001" in out  # told apart by their paths
    assert not (one / "band.h5").exists()


def test_datasets_are_matched_by_id(band: Command, tmp_path: Path) -> None:
    for root, amount in (("dft_run", None), ("predicted", 0.02)):
        for name in ("1", "2"):
            folder = write(tmp_path / root / "dft" / name, honeycomb(mass=1.0), amount)
            if amount is not None:
                (folder / "hamiltonian.h5").unlink()
    code, out, _ = band(tmp_path / "dft_run", tmp_path / "predicted", "-o", tmp_path / "out")
    assert code == 0
    assert out.count("prediction - ") == 2  # compared with the DFT of the other dataset
    assert (tmp_path / "out" / "2" / "band.png").exists()


def test_unrelated_structures_are_not_compared(band: Command, tmp_path: Path) -> None:
    one = write(tmp_path / "1", honeycomb(mass=1.0))
    moved = honeycomb(mass=1.0)
    displaced = moved.structure.positions + np.array([[0, 0, 0.1], [0, 0, 0]])
    structure = replace(moved.structure, positions=displaced)
    other = write(tmp_path / "2", replace(moved, structure=structure), prediction=0.1)
    (other / "hamiltonian.h5").unlink()
    code, out, _ = band(one, other, "--points", 20)
    assert code == 0
    assert "|dE|" not in out


def test_path_from_the_folder_from_a_file_or_from_the_cell(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb(mass=1.0))
    (folder / "K_PATH").write_text("5 0 0 0 .5 0 0 GAMMA M\n")
    given = tmp_path / "other"
    given.write_text("7 0 0 0 .333 .333 0 GAMMA K\n")
    assert "path Γ-M, 5 k-points (from K_PATH)" in band(folder)[1]
    assert "path Γ-K, 7 k-points (from other)" in band(folder, "--kpath", given)[1]
    assert "path Γ-M-K-Γ" in band(folder, "--kpath", "auto")[1]
    assert "path Γ-M-K-Γ" in band(folder, "--points", 20)[1]


def test_fermi_level_without_electrons(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb(mass=1.0))
    edit_info(folder, occupation="absent", fermi_energy_eV=0.25)
    code, out, _ = band(folder)
    assert code == 0
    assert "note: 0001 DFT: E_F is fermi_energy_eV of info.json" in out
    assert read_bands(folder / "band.h5").fermi.energy == 0.25
    edit_info(folder, fermi_energy_eV=None)
    code, out, err = band(folder)
    assert code == 1
    assert "neither 'occupation' nor 'fermi_energy_eV'" in err
    assert "--fermi" in err
    assert len(err.splitlines()) == 1
    assert band(folder, "--fermi", -0.1)[0] == 0
    assert read_bands(folder / "band.h5").fermi.energy == -0.1


def test_electrons_are_counted_from_the_bands_of_dft(band: Command, tmp_path: Path) -> None:
    """The published layout has the Fermi level of DFT only; predictions have none at all."""
    folder = write(tmp_path / "dft" / "0001", honeycomb(mass=1.0))
    edit_info(folder, occupation="absent", fermi_energy_eV=0.25)
    predicted = write(tmp_path / "pred" / "0001", honeycomb(mass=1.1), prediction=0.0)
    (predicted / "hamiltonian.h5").unlink()
    edit_info(predicted, occupation="absent", fermi_energy_eV=None)
    code, _, err = band(folder, predicted, "--mesh", 6, 6, 1)
    assert (code, err) == (0, "")
    fermi = read_bands(predicted / "band_pred.h5").fermi
    assert (fermi.source, fermi.electrons) == ("electrons", 2.0)
    edit_info(folder, fermi_energy_eV=-2.0)  # inside a band: how many there are is not known
    assert "neither 'occupation' nor" in band(folder, predicted)[2]
    edit_info(folder, fermi_energy_eV=0.25)
    other = write(tmp_path / "other" / "0001", chain())  # has electrons of its own
    edit_info(other, occupation="absent", fermi_energy_eV=None)
    assert "neither 'occupation' nor" in band(folder, other)[2]


def test_levels_beyond_a_wide_gap_are_compared(band: Command, tmp_path: Path) -> None:
    """Nothing lies within 3 eV of the Fermi level of most molecules."""
    code, out, _ = band(write(tmp_path / "0001", honeycomb(mass=5.0), prediction=0.01))
    assert code == 0
    assert "nan" not in out
    assert "within E_F-8..E_F+8 eV" in out


def test_notes_on_gaps_that_mesh_or_path_miss(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb())
    _, out, _ = band(folder, "--mesh", 4, 4, 1)
    assert "the mesh is too coarse" in out
    (folder / "K_PATH").write_text("5 0 0 0 .5 0 0 GAMMA M\n")
    edit_info(folder)
    shutil.rmtree(folder)
    folder = write(tmp_path / "0001", honeycomb(mass=0.5))
    (folder / "K_PATH").write_text("5 0 0 0 .5 0 0 GAMMA M\n")
    _, out, _ = band(folder, "--mesh", 6, 6, 1)
    assert "the gap of 1.0000 eV lies off the path" in out


def test_spins_are_in_one_file(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", in_field(chain(), 0.3))
    code, out, _ = band(folder)
    assert code == 0
    assert "metal" in out
    assert read_bands(folder / "band.h5").energies.shape[0] == 2


def broken(spoil: Callable[[Path], object]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        folder = write(root / "0001", honeycomb(mass=1.0))
        spoil(folder)
        return folder

    return make


def _indefinite(folder: Path) -> None:
    shutil.rmtree(folder)
    write(folder, honeycomb(overlap=0.5))


def _not_a_number(folder: Path) -> None:
    h = honeycomb().hamiltonian
    h.with_entries(np.full(len(h.entries), np.nan)).write(folder / "hamiltonian.h5")


@pytest.mark.parametrize(
    ("make", "arguments", "expected"),
    [
        (lambda root: root / "nowhere", (), "no such folder"),
        (lambda root: root, (), "no structure found"),
        (broken(lambda f: (f / "overlap.h5").unlink()), (), "overlap.h5 is missing"),
        (broken(lambda f: (f / "hamiltonian.h5").unlink()), (), "no Hamiltonian"),
        (broken(lambda f: (f / "hamiltonian.h5").write_bytes(b"HDF")), (), "not an HDF5 file"),
        (broken(_not_a_number), (), "hamiltonian.h5: H: entries: NaN"),
        (broken(_indefinite), ("--mesh", 6, 6, 1), "not positive definite"),
        (broken(lambda f: edit_info(f, occupation=1e6)), (), "occupation"),
        (broken(lambda f: edit_info(f, occupation="many")), (), "info.json: occupation"),
        (broken(lambda f: (f / "K_PATH").write_text("1 2 3\n")), (), "K_PATH: line 1"),
        (broken(lambda f: None), ("--kpath", "/no/such/file"), "cannot be read as a K_PATH"),
        (broken(lambda f: None), ("--window", 3, -3), "--window: expected EMIN below EMAX"),
        (broken(lambda f: None), ("--window", 300, 400), "--window: no states between"),
        (broken(lambda f: None), ("--points", 1), "--points"),
        (broken(lambda f: None), ("--mesh", 0, 1, 1), "mesh: expected three numbers of 1 or more"),
        (broken(lambda f: None), ("--density", -1), "mesh spacing"),
        (broken(lambda f: None), ("--smearing", "cold"), "known are fermi-dirac, gaussian"),
    ],
)
def test_bad_input_is_one_line(
    band: Command, tmp_path: Path, make, arguments: tuple[object, ...], expected: str
) -> None:
    folder = make(tmp_path)
    code, out, err = band(folder, *arguments)
    assert code == 1
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert expected in err
    assert "Traceback" not in err
    assert "internal" not in err
    assert not list(tmp_path.rglob("band.*"))  # nothing written


def test_what_cannot_be_written_is_one_line(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb(mass=1.0))
    (tmp_path / "taken").write_text("a file")
    code, _, err = band(folder, "-o", tmp_path / "taken")
    assert code == 1
    assert "cannot be written" in err
    assert "--out" in err
    assert (tmp_path / "taken").read_text() == "a file"


def test_old_results_survive_a_failure(band: Command, tmp_path: Path) -> None:
    folder = write(tmp_path / "0001", honeycomb(mass=1.0))
    band(folder)
    before = {path.name: path.read_bytes() for path in folder.glob("band.*")}
    assert len(before) == 3
    assert band(folder, "--window", 300, 400)[0] == 1
    assert {path.name: path.read_bytes() for path in folder.glob("band.*")} == before
