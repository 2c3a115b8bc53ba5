"""Folders made from structures: `dock export` and `dock standardize`, their loop and physics."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock.deriving import derive, plan
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.solvers.dense import eigenvalues
from deeph_dock.places import FRESH, remove_leftovers
from deeph_dock.standardizing import shifted
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.files import replace_folder
from deeph_spec.testing import random_dataset
from deeph_spec.validation import validate_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

STANDARDIZE = "deeph_dock.standardizing:standardize"
LEGACY = "deeph_dock.codes.deeph_legacy.writing:write_folder"
Dock = Callable[..., tuple[int, str, str]]


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return random_dataset(tmp_path / "data", count=3, atoms=2)


# -- the loop -------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [STANDARDIZE, LEGACY])
def test_done_is_skipped_changed_is_made_again_and_sources_stay(
    data: Path, tmp_path: Path, make: str
) -> None:
    before, out = hashes(data), tmp_path / "out"
    assert [derive(job).status for job in plan(data, out, make)] == ["converted"] * 3
    assert hashes(data) == before
    made = hashes(out)
    assert [derive(job).status for job in plan(data, out, make)] == ["skipped"] * 3
    assert hashes(out) == made
    folder = Dataset.open(data).folders[1]
    matrix = folder.hamiltonian()
    matrix.with_entries(1.5 * matrix.entries).write(folder.path / "hamiltonian.h5")
    statuses = [derive(job).status for job in plan(data, out, make)]
    assert statuses == ["skipped", "updated", "skipped"]
    assert [p for p in out.rglob("*") if p.name.startswith(".")] == []


def test_what_others_made_is_left_alone(data: Path, tmp_path: Path) -> None:
    job, *_ = plan(data, tmp_path / "out", LEGACY)
    job.target.mkdir(parents=True)
    (job.target / "mine").write_text("")
    outcome = derive(job)
    assert outcome.status == "failed"
    assert "was not made by this command" in outcome.reason
    (again, *_) = plan(data, tmp_path / "out", LEGACY, redo=True)
    assert derive(again).status == "updated"


@pytest.mark.parametrize("make", [STANDARDIZE, LEGACY])
def test_two_datasets_do_not_mix_in_one_place(data: Path, tmp_path: Path, make: str) -> None:
    other = random_dataset(tmp_path / "other", count=3, atoms=2, seed=9)
    for job in plan(data, tmp_path / "out", make):
        derive(job)
    before = hashes(tmp_path / "out")
    outcomes = [derive(job) for job in plan(other, tmp_path / "out", make)]
    assert [outcome.status for outcome in outcomes] == ["failed"] * 3
    assert "was made from other atoms than those of" in outcomes[0].reason
    assert hashes(tmp_path / "out") == before


@pytest.mark.parametrize("make", [STANDARDIZE, LEGACY])
@pytest.mark.parametrize("redo", [False, True])
def test_files_of_others_stay_when_a_folder_is_made_again(
    data: Path, tmp_path: Path, make: str, redo: bool
) -> None:
    folder = Dataset.open(data).folders[0]
    prediction = folder.path / "hamiltonian_pred.h5"
    folder.hamiltonian().write(prediction, "hamiltonian_pred")
    job, *_ = plan(data, tmp_path / "out", make, redo)
    derive(job)
    assert len(list(job.target.glob("*_pred.h5"))) == 1
    (job.target / "rc.h5").write_text("of another program")
    (job.target / "results").mkdir()
    (job.target / "results" / "bands").write_text("of another program")
    prediction.unlink()
    assert derive(job).status == "updated"
    assert (job.target / "rc.h5").read_text() == "of another program"
    assert (job.target / "results" / "bands").exists()
    assert list(job.target.glob("*_pred.h5")) == []  # it was ours, and is not in the source now
    assert [path for path in tmp_path.rglob(".*")] == []
    again, *_ = plan(data, tmp_path / "out", make)
    assert derive(again).status == "skipped"


@pytest.mark.parametrize("make", [STANDARDIZE, LEGACY])
def test_killed_between_two_files_is_made_again(
    data: Path, tmp_path: Path, make: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, *_ = plan(data, tmp_path / "whole", make)
    job, *_ = plan(data, tmp_path / "out", make)
    derive(job)
    folder = Dataset.open(data).folders[0]
    matrix = folder.hamiltonian()
    matrix.with_entries(1.5 * matrix.entries).write(folder.path / "hamiltonian.h5")
    moved = []

    def kill(source: Path, target: Path) -> None:
        if Path(source).parent.name == FRESH:
            moved.append(target)
            if len(moved) == 3:
                raise KeyboardInterrupt
        replace(source, target)

    replace = os.replace
    monkeypatch.setattr(os, "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        derive(job)
    monkeypatch.undo()
    assert derive(job).status == "updated"
    derive(whole)
    found, expected = hashes(job.target), hashes(whole.target)
    assert found == expected
    assert [path for path in tmp_path.rglob(".*")] == []


def test_what_a_killed_run_left_is_removed(data: Path, tmp_path: Path) -> None:
    job, *_ = plan(data, tmp_path / "out", LEGACY)
    derive(job)
    made = hashes(job.target)
    with replace_folder(tmp_path / "probe") as folder:
        ending = folder.name.removeprefix(".probe")
    ending = re.sub(r"\d+\.tmp$", f"{2**22 + 1}.tmp", ending)  # of a process that is gone
    for place, name in ((job.target, FRESH), (job.target.parent, job.target.name)):
        (place / f".{name}{ending}").mkdir()
    assert len(list(tmp_path.rglob("*.tmp"))) == 2
    assert remove_leftovers([job.target]) == 2
    assert hashes(job.target) == made


@pytest.mark.parametrize("inside", ["", "dft", "dft/new", ".."])
def test_places_inside_the_dataset_are_refused(data: Path, inside: str) -> None:
    with pytest.raises(InputError, match="never changed in place"):
        plan(data, data / inside, STANDARDIZE)


def test_root_dft_folder_and_single_structure_are_all_taken(data: Path, tmp_path: Path) -> None:
    ids = [folder.id for folder in Dataset.open(data)]
    for source in (data, data / "dft"):
        assert [job.id for job in plan(source, tmp_path / "out", LEGACY)] == ids
    (job,) = plan(data / "dft" / ids[0], tmp_path / "out", LEGACY)
    assert job.target == tmp_path / "out" / ids[0]


def test_damaged_structure_is_named_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    folder = Dataset.open(data).folders[0]
    content = (folder.path / "hamiltonian.h5").read_bytes()
    (folder.path / "hamiltonian.h5").write_bytes(content[: len(content) // 2])
    outcomes = [derive(job) for job in plan(data, tmp_path / "out", STANDARDIZE)]
    assert [outcome.status for outcome in outcomes] == ["failed", "converted", "converted"]
    assert "hamiltonian.h5" in outcomes[0].reason
    assert not (tmp_path / "out" / folder.id).exists()


# -- standardize ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
def test_only_the_energy_zero_moves(tmp_path: Path, spin: str) -> None:
    data = random_dataset(tmp_path / "data", count=1, atoms=2, spin=spin)
    (job,) = plan(data, tmp_path / "new" / "dft", STANDARDIZE)
    mu = derive(job).facts["mu"]
    old, new = (StructureFolder(path, "") for path in (job.source, job.target))
    assert mu != 0
    assert [f for f in validate_dataset(tmp_path / "new") if f.severity == "error"] == []
    assert new.info.fermi_level == pytest.approx(old.info.fermi_level - mu, abs=1e-12)
    levels = []
    for folder in (old, new):
        problem = HamiltonianK.from_blocks(
            folder.structure, folder.info, folder.hamiltonian(), folder.overlap()
        )
        levels.append(eigenvalues(problem, np.array([[0.1, 0.2, 0.3]])))
    np.testing.assert_allclose(levels[1], levels[0] - mu, atol=1e-9)
    assert new.info.provenance["steps"] == [f"standardize: mu = {mu!r} eV"]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.floats(-30, 30), st.sampled_from(["f4", "f8"]))
def test_the_standard_does_not_depend_on_the_zero_before(
    tmp_path_factory: pytest.TempPathFactory, seed: int, shift: float, dtype: str
) -> None:
    top = tmp_path_factory.mktemp("zero")
    data = random_dataset(top / "data", count=1, atoms=2, seed=seed, dtype=dtype)
    (folder,) = Dataset.open(data)
    (first,) = plan(data, top / "one", STANDARDIZE)
    mu = derive(first).facts["mu"]
    moved = shifted(folder.hamiltonian(), folder.overlap(), -shift)
    moved.write(folder.path / "hamiltonian.h5")
    (second,) = plan(data, top / "two", STANDARDIZE)
    assert derive(second).facts["mu"] == pytest.approx(mu + shift, abs=1e-4)
    one, two = (BlockMatrix.read(j.target / "hamiltonian.h5") for j in (first, second))
    np.testing.assert_allclose(two.entries, one.entries, atol=1e-4)


def test_again_changes_no_bit(data: Path, tmp_path: Path) -> None:
    for source, target in ((data, "one"), (tmp_path / "one", "two")):
        for job in plan(source, tmp_path / target / "dft", STANDARDIZE):
            derive(job)
    for folder in Dataset.open(tmp_path / "one"):
        other = tmp_path / "two" / "dft" / folder.id
        for name in ("POSCAR", "overlap.h5", "hamiltonian.h5"):
            assert (folder.path / name).read_bytes() == (other / name).read_bytes()
        old, new = (json.loads((p / "info.json").read_text()) for p in (folder.path, other))
        assert old["fermi_energy_eV"] == new["fermi_energy_eV"]
        assert old["provenance"]["steps"] == new["provenance"]["steps"]


def test_prediction_and_printed_eigenvalues_move_along(
    toy_run: Callable[..., Any], tmp_path: Path, dock: Dock
) -> None:
    toy_run(atoms=2).write(tmp_path / "runs" / "1")
    dock("convert", tmp_path / "runs", tmp_path / "data")
    folder = tmp_path / "data" / "dft" / "1"
    hamiltonian = BlockMatrix.read(folder / "hamiltonian.h5")
    close = hamiltonian.with_entries(hamiltonian.entries + np.float32(0.25))
    close.write(folder / "hamiltonian_pred.h5", "hamiltonian_pred")
    (folder / "band.h5").write_text("of another zero")
    (folder / "K_PATH").write_text("2 0 0 0 0.5 0 0 G X\n")
    code, out, err = dock("standardize", tmp_path / "data", tmp_path / "new")
    assert (code, err) == (0, "")
    assert "1  standardized" in out
    assert "mu " in out
    new = tmp_path / "new" / "dft" / "1"
    pair = [BlockMatrix.read(new / f"{name}.h5") for name in ("hamiltonian", "hamiltonian_pred")]
    np.testing.assert_allclose(pair[1].entries - pair[0].entries, 0.25, atol=1e-5)
    assert not (new / "band.h5").exists()
    assert (new / "K_PATH").exists()


def test_overlap_alone_is_copied(data: Path, tmp_path: Path, dock: Dock) -> None:
    folder = Dataset.open(data).folders[0]
    (folder.path / "hamiltonian.h5").unlink()
    code, out, _ = dock("standardize", data, tmp_path / "new")
    assert code == 0
    assert "1 without a Hamiltonian: copied as they were" in out


def test_split_comes_along(data: Path, tmp_path: Path, dock: Dock) -> None:
    ids = [folder.id for folder in Dataset.open(data)]
    (data / "dataset_split.json").write_text(json.dumps({"train": ids}))
    dock("standardize", data, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "dataset_split.json").read_text()) == {"train": ids}


# -- export ---------------------------------------------------------------------------------------


def test_export_and_convert_give_the_dataset_back(data: Path, tmp_path: Path, dock: Dock) -> None:
    code, out, err = dock("export", data, tmp_path / "legacy", "--to", "deeph-legacy", "-j", "2")
    assert (code, err) == (0, "")
    assert "3  exported" in out
    code, out, _ = dock("convert", tmp_path / "legacy", tmp_path / "again")
    assert code == 0
    assert out.startswith("3 DeepH legacy calculations")
    for folder in Dataset.open(data):
        other = StructureFolder(tmp_path / "again" / "dft" / folder.id, folder.id)
        expected = folder.hamiltonian().sorted().hermitian()
        np.testing.assert_array_equal(other.hamiltonian().entries, expected.entries)


def test_every_matrix_goes_there_and_back_by_the_commands(tmp_path: Path, dock: Dock) -> None:
    data = random_dataset(tmp_path / "data", count=2, atoms=2, spin="soc")
    for folder in Dataset.open(data):
        matrix, overlap = folder.hamiltonian().hermitian(), folder.overlap()
        for name in ("hamiltonian_pred", "density_matrix"):
            matrix.write(folder.path / f"{name}.h5", name)
        numbers = np.random.default_rng(0).standard_normal((3, len(overlap.entries)))
        overlap.with_entries(numbers).write(folder.path / "position_matrix.h5", "position_matrix")
    assert dock("export", data, tmp_path / "legacy", "--to", "deeph-legacy")[0] == 0
    everything = "overlap,hamiltonian,density-matrix,position-matrix"
    code, _, _ = dock("convert", tmp_path / "legacy", tmp_path / "again", "--only", everything)
    assert code == 0
    for folder in Dataset.open(data):
        other = StructureFolder(tmp_path / "again" / "dft" / folder.id, folder.id)
        assert (other.path / "POSCAR").read_bytes() == (folder.path / "POSCAR").read_bytes()
        assert other.info.orbital_map == folder.info.orbital_map
        assert other.info.fermi_level == folder.info.fermi_level
        assert other.info.occupation == folder.info.occupation
        assert other.info.spin == "soc"
        names = ("overlap", "hamiltonian_pred", "density_matrix", "position_matrix")
        for name in names:
            expected = folder.matrix(name).sorted()
            np.testing.assert_array_equal(other.matrix(name).atom_pairs, expected.atom_pairs)
            np.testing.assert_array_equal(other.matrix(name).entries, expected.entries)


def test_structures_that_cannot_be_exported_are_listed(
    data: Path, tmp_path: Path, dock: Dock
) -> None:
    first, second, third = Dataset.open(data).folders
    (first.path / "hamiltonian.h5").write_bytes(b"damaged")
    for path in second.path.glob("*.h5"):
        path.unlink()
    report = tmp_path / "report.json"
    out_folder = tmp_path / "legacy"
    code, out, _ = dock("export", data, out_folder, "--to", "deeph-legacy", "--report", report)
    assert code == 1
    assert "1  exported" in out
    assert "2  failed" in out
    assert f"{first.id}: {first.path / 'hamiltonian.h5'}: " in out
    assert f"{second.id}: {second.path}: no matrix in it: nothing to export" in out
    assert [path.name for path in out_folder.iterdir()] == [third.id]
    statuses = {outcome["id"]: outcome["status"] for outcome in json.loads(report.read_text())}
    assert statuses == {first.id: "failed", second.id: "failed", third.id: "converted"}


def test_dry_run_writes_nothing(data: Path, tmp_path: Path, dock: Dock) -> None:
    out_folder = tmp_path / "legacy"
    code, out, _ = dock("export", data, out_folder, "--to", "deeph-legacy", "--dry-run")
    assert code == 0
    assert "3  would be exported" in out
    assert not out_folder.exists()


def test_unknown_form_is_named(data: Path, tmp_path: Path, dock: Dock) -> None:
    code, _, err = dock("export", data, tmp_path / "out", "--to", "vasp")
    assert code == 1
    assert err == "error: no form 'vasp'; known are deeph-legacy\n"
