"""Conversion: planning, atomic writing, running again, killed runs, broken structures."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from deeph_dock import conversion
from deeph_dock.codes import load
from deeph_dock.conversion import Job, Outcome, convert, plan, preview
from deeph_dock.executors import InThisProcess
from deeph_dock.outcomes import outcomes_of
from deeph_dock.places import remove_leftovers, sole_writer
from deeph_dock.reference import read_reference
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError
from deeph_spec.validation import validate_dataset

Toy = Callable[..., Any]
DEFAULT_FILES = ("POSCAR", "overlap.h5", "hamiltonian.h5", "eigval_dft.h5", "info.json")


@pytest.fixture
def runs(toy_run: Toy, tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        toy_run(seed=number, atoms=2).write(tmp_path / "runs" / str(number))
    return tmp_path / "runs"


def _all(source: Path, destination: Path, **settings: Any) -> list[Outcome]:
    with sole_writer(conversion.dataset_folder(destination)):
        jobs = [replace(job, **settings) for job in plan([source], destination)]
        remove_leftovers(job.target for job in jobs)
        return list(outcomes_of(convert, jobs, InThisProcess))


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# -- planning -------------------------------------------------------------------------------------


def test_names_are_kept_and_sorted_as_people_do(runs: Path, tmp_path: Path) -> None:
    jobs = plan([runs], tmp_path / "data")
    assert [job.id for job in jobs] == ["1", "2", "10"]
    assert jobs[0].target == tmp_path / "data" / "dft" / "1"
    assert plan([runs], tmp_path / "dft")[0].target == tmp_path / "dft" / "1"


def test_single_run_is_named_after_its_folder(runs: Path, tmp_path: Path) -> None:
    (job,) = plan([runs / "10"], tmp_path / "data")
    assert job.id == "10"


def test_nested_folders_keep_their_path(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    shutil.copytree(runs, tmp_path / "all" / "a")
    shutil.copytree(runs, tmp_path / "all" / "b")
    ids = [job.id for job in plan([tmp_path / "all"], tmp_path / "data")]
    assert ids == ["a/1", "a/2", "a/10", "b/1", "b/2", "b/10"]


def test_several_labels_become_folders(toy_run: Toy, tmp_path: Path) -> None:
    for label in ("water", "ice"):
        toy_run(atoms=2, label=label).write(tmp_path / "runs" / "one")
    ids = [job.id for job in plan([tmp_path / "runs"], tmp_path / "data")]
    assert ids == ["one/ice", "one/water"]
    ids = [job.id for job in plan([tmp_path / "runs" / "one"], tmp_path / "data")]
    assert ids == ["one/ice", "one/water"]
    outcomes = _all(tmp_path / "runs", tmp_path / "data")
    assert [outcome.status for outcome in outcomes] == ["converted"] * 2
    assert len(Dataset.open(tmp_path / "data")) == 2


def test_mixed_depths_are_refused_naming_the_odd_one(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "1", runs / "old" / "1")
    with pytest.raises(InputError, match=r"different depths: most lie 1 folders deep .* old/1;"):
        plan([runs], tmp_path / "data")
    shutil.rmtree(runs / "old")
    for path in (runs / "1").iterdir():
        shutil.copyfile(path, runs / path.name)
    with pytest.raises(InputError, match=r"different depths.* but not \.;"):
        plan([runs], tmp_path / "data")


def test_links_are_followed_but_not_in_circles(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "a").symlink_to(runs / "1")
    (tmp_path / "linked" / "b").symlink_to(runs / "1")
    (tmp_path / "linked" / "a2").mkdir()
    (tmp_path / "linked" / "a2" / "up").symlink_to(tmp_path / "linked")
    (tmp_path / "linked" / "_not").symlink_to(runs)
    assert [job.id for job in plan([tmp_path / "linked"], tmp_path / "data")] == ["a", "b"]


def test_destination_inside_the_source_is_not_searched(runs: Path) -> None:
    first = _all(runs, runs / "data")
    shutil.copyfile(runs / "1" / "toy.HSX", runs / "data" / "dft" / "1" / "toy.HSX")
    again = _all(runs, runs / "data")
    assert [o.status for o in first] == ["converted"] * 3
    assert [o.status for o in again] == ["skipped"] * 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such folder"),
        (lambda path: path.write_text(""), "is a file, expected a folder"),
        (lambda path: path.mkdir(), r"no calculation found in it; looked for SIESTA \(\*\.HSX\)"),
    ],
)
def test_source_without_calculations_is_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    make(tmp_path / "runs")
    with pytest.raises(InputError, match=message):
        plan([tmp_path / "runs"], tmp_path / "data")


def test_two_sources_with_one_name_are_refused(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would both become '1'"):
        plan([runs, runs / "1"], tmp_path / "data")


def test_structures_inside_structures_are_refused_before_any_work(
    toy_run: Toy, tmp_path: Path
) -> None:
    """A second label in a folder gives the first another id."""
    toy_run(atoms=2).write(tmp_path / "runs" / "1")
    _all(tmp_path / "runs", tmp_path / "data")
    toy_run(atoms=2, label="other").write(tmp_path / "runs" / "1")
    with pytest.raises(InputError, match=r"'1/other' would lie inside the structure .*dft/1 of"):
        plan([tmp_path / "runs"], tmp_path / "data")
    _all(tmp_path / "runs", tmp_path / "more")
    (tmp_path / "runs" / "1" / "other.HSX").unlink()
    with pytest.raises(InputError, match=r"'1' would lie around the structure .*dft/1/"):
        plan([tmp_path / "runs"], tmp_path / "more")


# -- what is written ------------------------------------------------------------------------------


def test_dataset_is_valid_and_holds_what_the_run_held(
    toy_run: Toy, runs: Path, tmp_path: Path
) -> None:
    before = _hashes(runs)
    outcomes = _all(runs, tmp_path / "data")
    assert [(o.id, o.status) for o in outcomes] == [
        ("1", "converted"),
        ("2", "converted"),
        ("10", "converted"),
    ]
    assert _hashes(runs) == before
    found = validate_dataset(tmp_path / "data")
    assert [finding for finding in found if finding.severity == "error"] == []
    run = toy_run(seed=10, atoms=2)
    folder = Dataset.open(tmp_path / "data")["10"]
    np.testing.assert_allclose(folder.structure.positions, run.structure.positions, atol=1e-9)
    for name, expected in (("overlap", run.overlap), ("hamiltonian", run.hamiltonian)):
        matrix = folder.matrix(name)
        assert matrix.hermitian_error()[0] == 0
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(matrix.entries, expected.sorted().entries, atol=1e-5, rtol=2e-7)
    assert sorted(path.name for path in folder.path.iterdir()) == sorted(DEFAULT_FILES)


def test_info_says_where_the_data_come_from(runs: Path, tmp_path: Path) -> None:
    _all(runs, tmp_path / "data")
    text = (tmp_path / "data" / "dft" / "1" / "info.json").read_text()
    provenance = json.loads(text)["provenance"]
    digest = hashlib.sha256((runs / "1" / "toy.HSX").read_bytes()).hexdigest()
    assert provenance["inputs"]["toy.HSX"] == f"sha256:{digest}"
    assert set(provenance["inputs"]) == {"toy.HSX", "toy.XV", "toy.EIG", "toy.KP", "toy.out"}
    assert provenance["code"] == "SIESTA"
    assert provenance["code_version"] == "v4.1-b4-133"
    assert provenance["converter"].startswith("deeph-dock ")
    assert provenance["created"].endswith("Z")
    assert provenance["source_dtype"] == "float32"
    assert 0 <= provenance["hermitian_error"] < 1e-5
    assert str(tmp_path) not in text


def test_eigenvalues_are_kept_beside_the_matrices(toy_run: Toy, runs: Path, tmp_path: Path) -> None:
    _all(runs, tmp_path / "data")
    reference = read_reference(tmp_path / "data" / "dft" / "1" / "eigval_dft.h5")
    size = toy_run(seed=1, atoms=2).size
    np.testing.assert_allclose(reference.energies[0, 0], np.linspace(-10, 20, size), atol=1e-6)
    np.testing.assert_array_equal(reference.kpoints, np.zeros((1, 3)))
    assert reference.fermi_level == -1.25


def test_eigenvalues_that_cannot_be_read_are_left_out_with_a_warning(
    runs: Path, tmp_path: Path
) -> None:
    (runs / "2" / "toy.EIG").write_text("-1.25\n 3 1 1\n 1 0.0 0.1 0.2\n")
    outcome = _all(runs, tmp_path / "data")[1]
    assert outcome.status == "converted"
    assert any("eigenvalues not kept" in warning for warning in outcome.warnings)
    assert not (tmp_path / "data" / "dft" / "2" / "eigval_dft.h5").exists()


def test_partners_are_averaged_and_their_difference_recorded(toy_run: Toy, tmp_path: Path) -> None:
    run = toy_run(atoms=2, version=1, dtype="f8")
    row = int(np.flatnonzero(~run.hamiltonian.on_site())[0])
    run.hamiltonian.block(row)[0, 0] += 4e-5
    run.write(tmp_path / "runs" / "1")
    _all(tmp_path / "runs", tmp_path / "data")
    folder = Dataset.open(tmp_path / "data").folders[0]
    assert folder.hamiltonian().hermitian_error()[0] == 0
    assert folder.info.provenance["hermitian_error"] == pytest.approx(4e-5, rel=1e-6)


def test_matrix_that_is_not_hermitian_is_refused(toy_run: Toy, tmp_path: Path) -> None:
    run = toy_run(atoms=2)
    row = int(np.flatnonzero(~run.hamiltonian.on_site())[0])
    run.hamiltonian.block(row)[0, 0] += 0.1
    run.write(tmp_path / "runs" / "1")
    (outcome,) = _all(tmp_path / "runs", tmp_path / "data")
    assert outcome.status == "failed"
    assert "the hamiltonian is not Hermitian" in outcome.reason
    assert list((tmp_path / "data" / "dft").iterdir()) == []


def test_pairs_that_only_h_reaches_are_counted(toy_run: Toy, tmp_path: Path) -> None:
    run = toy_run(atoms=2)
    (row,) = run.overlap.rows_of(run.overlap.atom_pairs[[0]]).tolist()
    partner = int(run.overlap.partner_rows()[row])
    for p in (row, partner):
        run.overlap.block(p)[...] = 0
    run.write(tmp_path / "runs" / "1")
    (outcome,) = _all(tmp_path / "runs", tmp_path / "data")
    assert outcome.facts["empty_overlaps"] == len({row, partner})


# -- running again --------------------------------------------------------------------------------


def test_what_is_done_is_skipped_and_what_changed_is_not(
    toy_run: Toy, runs: Path, tmp_path: Path
) -> None:
    _all(runs, tmp_path / "data")
    (tmp_path / "data" / "dft" / "2" / "hamiltonian_pred.h5").write_text("mine")
    before = _hashes(tmp_path / "data")
    assert [o.status for o in _all(runs, tmp_path / "data")] == ["skipped"] * 3
    assert _hashes(tmp_path / "data") == before
    run = toy_run(seed=2, atoms=2)
    run.hamiltonian.entries[:] *= 1.5
    (runs / "2" / "toy.HSX").write_bytes(run.hsx())
    assert [preview(job).status for job in plan([runs], tmp_path / "data")] == [
        "skipped",
        "changed",
        "skipped",
    ]
    assert _hashes(tmp_path / "data") == before
    outcomes = _all(runs, tmp_path / "data")
    assert [o.status for o in outcomes] == ["skipped", "updated", "skipped"]
    assert outcomes[1].reason == "changed: toy.HSX"
    folder = Dataset.open(tmp_path / "data")["2"]
    np.testing.assert_allclose(
        folder.hamiltonian().entries, run.hamiltonian.sorted().entries, atol=1e-5
    )
    assert (folder.path / "hamiltonian_pred.h5").read_text() == "mine"
    assert sorted(p.name for p in folder.path.iterdir()) == sorted(
        [*DEFAULT_FILES, "hamiltonian_pred.h5"]
    )


def test_file_that_appears_or_goes_is_a_change(runs: Path, tmp_path: Path) -> None:
    output = (runs / "1" / "toy.out").read_text()
    (runs / "1" / "toy.out").unlink()
    _all(runs, tmp_path / "data")
    (runs / "1" / "toy.out").write_text(output)
    assert [o.status for o in _all(runs, tmp_path / "data")] == ["updated", "skipped", "skipped"]
    (tmp_path / "data" / "dft" / "2" / "overlap.h5").unlink()
    assert [o.status for o in _all(runs, tmp_path / "data")] == ["skipped", "updated", "skipped"]


def test_hamiltonian_of_a_run_that_no_longer_converges_goes(
    toy_run: Toy, runs: Path, tmp_path: Path
) -> None:
    _all(runs, tmp_path / "data")
    bad = toy_run(seed=1, atoms=2, converged="SCF_NOT_CONV")
    (runs / "1" / "toy.out").write_text(bad.out())
    assert _all(runs, tmp_path / "data")[0].status == "updated"
    names = sorted(p.name for p in (tmp_path / "data" / "dft" / "1").iterdir())
    assert names == ["POSCAR", "info.json", "overlap.h5"]


def test_broken_update_leaves_the_old_structure_whole(runs: Path, tmp_path: Path) -> None:
    _all(runs, tmp_path / "data")
    before = _hashes(tmp_path / "data")
    path = runs / "1" / "toy.HSX"
    path.write_bytes(path.read_bytes()[:-100])
    outcome = _all(runs, tmp_path / "data")[0]
    assert outcome.status == "failed"
    assert "toy.HSX: cut off" in outcome.reason
    assert _hashes(tmp_path / "data") == before


def test_overwrite_converts_everything_again(runs: Path, tmp_path: Path) -> None:
    _all(runs, tmp_path / "data")
    outcomes = _all(runs, tmp_path / "data", redo=True)
    assert [o.status for o in outcomes] == ["updated"] * 3


def test_structure_of_somebody_else_is_not_touched(runs: Path, tmp_path: Path) -> None:
    other = tmp_path / "data" / "dft" / "1"
    other.mkdir(parents=True)
    (other / "info.json").write_text('{"atoms_quantity": 1}')
    before = _hashes(other)
    outcomes = _all(runs, tmp_path / "data")
    assert [o.status for o in outcomes] == ["failed", "converted", "converted"]
    assert "was not written by dock convert" in outcomes[0].reason
    assert _hashes(other) == before


def test_runs_of_another_source_do_not_mix(toy_run: Toy, runs: Path, tmp_path: Path) -> None:
    _all(runs, tmp_path / "data")
    other = toy_run(seed=77, atoms=2, fermi=-3.0, label="other")
    other.but(converged="SCF cycle converged after 7 iterations").write(tmp_path / "runs2" / "1")
    (tmp_path / "runs2" / "1" / "other.KP").unlink()
    before = _hashes(tmp_path / "data")
    (outcome,) = _all(tmp_path / "runs2", tmp_path / "data")
    assert outcome.status == "failed"
    assert "holds another calculation" in outcome.reason
    assert _hashes(tmp_path / "data") == before


def test_second_conversion_into_one_dataset_waits_outside(tmp_path: Path) -> None:
    with (
        sole_writer(tmp_path / "dft"),
        pytest.raises(InputError, match="another dock command is writing here"),
        sole_writer(tmp_path / "dft"),
    ):
        pass


# -- things that go wrong -------------------------------------------------------------------------


def test_broken_structure_does_not_stop_the_others(runs: Path, tmp_path: Path) -> None:
    (runs / "1" / "toy.HSX").write_bytes(b"\0" * 50)
    (runs / "2" / "toy.XV").unlink()
    outcomes = _all(runs, tmp_path / "data")
    assert [o.status for o in outcomes] == ["failed", "failed", "converted"]
    assert "toy.HSX: begins with a record of 0 bytes" in outcomes[0].reason
    assert "toy.XV" in outcomes[1].reason
    assert [p.name for p in (tmp_path / "data" / "dft").iterdir()] == ["10"]


def test_full_disk_is_one_named_failure(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = BlockMatrix.write

    def full(self: BlockMatrix, path: Path, *args: Any, **kwargs: Any) -> None:
        if "hamiltonian" in str(path) and ".2." in str(path):
            raise OSError(28, "No space left on device", str(path))
        write(self, path, *args, **kwargs)

    monkeypatch.setattr(BlockMatrix, "write", full)
    outcomes = _all(runs, tmp_path / "data")
    assert [o.status for o in outcomes] == ["converted", "failed", "converted"]
    assert outcomes[1].reason.endswith("No space left on device")
    assert sorted(p.name for p in (tmp_path / "data" / "dft").iterdir()) == ["1", "10"]


def test_unexpected_error_is_a_failure_with_its_trace(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("deeph_dock.codes.siesta.run.read_run", broken)
    outcome = _all(runs, tmp_path / "data")[0]
    assert outcome.reason == "internal error: ZeroDivisionError: oh"
    assert "Traceback" in outcome.trace


def test_leftovers_of_dead_processes_are_removed_and_of_living_ones_not(
    runs: Path, tmp_path: Path
) -> None:
    top = tmp_path / "data" / "dft"
    top.mkdir(parents=True)
    host = socket.gethostname()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        f".1.{host}.{dead.pid}.tmp": False,
        f".1.{host}.{os.getpid()}.tmp": True,
        f".1.elsewhere.{dead.pid}.tmp": True,
        f".mine.{host}.{dead.pid}.tmp": True,
    }
    for name in names:
        (top / name).mkdir()
        (top / name / "POSCAR").write_text("half")
    jobs = plan([runs], tmp_path / "data")
    assert remove_leftovers(job.target for job in jobs) == 1
    assert {name: (top / name).exists() for name in names} == names


def test_half_done_replacement_is_completed(runs: Path, tmp_path: Path) -> None:
    """As after a kill between the replaced files: no info.json, fresh files beside old ones."""
    _all(runs, tmp_path / "data")
    target = tmp_path / "data" / "dft" / "1"
    whole = _hashes(target)
    (target / ".converted").mkdir()
    for name in ("hamiltonian.h5", "info.json"):
        os.replace(target / name, target / ".converted" / name)
    (target / "overlap.h5").write_text("old")
    assert _all(runs, tmp_path / "data")[0].status == "converted"
    again = _hashes(target)
    assert set(again) == set(whole)
    assert all(again[name] == whole[name] for name in ("POSCAR", "overlap.h5", "hamiltonian.h5"))


@pytest.mark.slow
def test_killed_at_any_moment_leaves_no_half_structure(toy_run: Toy, tmp_path: Path) -> None:
    for number in range(30):
        toy_run(seed=number, atoms=3).write(tmp_path / "runs" / f"{number:02d}")
    dock = [sys.executable, "-c", "from deeph_dock.cli import main; main()"]
    destination = tmp_path / "data"
    expected = {o.id: o for o in _all(tmp_path / "runs", tmp_path / "whole")}
    reference = {id: _hashes(tmp_path / "whole" / "dft" / id) for id in expected}
    rng = np.random.default_rng(0)
    kills = 0
    for attempt in range(60):
        if kills == 20:
            break
        jobs = ["-j", "2"] if attempt % 4 == 3 else []
        more = ["--overwrite"] if attempt % 3 == 2 else []
        process = subprocess.Popen(
            [*dock, "convert", str(tmp_path / "runs"), str(destination), *jobs, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(rng.uniform(0.25, 0.75))
        process.kill()
        kills += process.wait() == -9
        process.communicate()
        for folder in (destination / "dft").glob("[0-9]*"):
            if not (folder / "info.json").exists():
                continue  # known to be unfinished
            for name, digest in reference[folder.name].items():
                if name not in ("info.json", "eigval_dft.h5"):
                    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
            read_reference(folder / "eigval_dft.h5")
            json.loads((folder / "info.json").read_text())
    assert kills == 20
    deadline = time.monotonic() + 30  # workers of the last one end; what they leave names them
    while time.monotonic() < deadline and any(
        Path("/proc", path.name.split(".")[-2]).exists()
        for path in (destination / "dft").glob(".*.tmp")
    ):
        time.sleep(0.1)
    time.sleep(0.5)
    done = subprocess.run(
        [*dock, "convert", str(tmp_path / "runs"), str(destination)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "failed" not in done.stdout
    found = [path.name for path in (destination / "dft").rglob("*") if path.is_dir()]
    assert sorted(found) == sorted(reference)
    findings = validate_dataset(destination)
    assert [f for f in findings if f.severity == "error" or f.rule == "W12"] == []


def test_job_can_be_sent_to_another_process(runs: Path, tmp_path: Path) -> None:
    import pickle

    (job, *_) = plan([runs], tmp_path / "data")
    assert pickle.loads(pickle.dumps(job)) == job
    assert isinstance(replace(job, redo=True), Job)
    outcome = convert(job)
    assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_reference_with_two_spin_channels_is_kept(tmp_path: Path) -> None:
    from deeph_dock.codes import Eigenvalues
    from deeph_dock.reference import write_reference

    energies = np.random.default_rng(0).standard_normal((2, 4, 7))
    kpoints = np.random.default_rng(1).random((4, 3))
    write_reference(tmp_path / "e.h5", Eigenvalues(kpoints, energies, 0.5, (2, 2, 1)))
    found = read_reference(tmp_path / "e.h5")
    np.testing.assert_array_equal(found.energies, energies)
    np.testing.assert_array_equal(found.kpoints, kpoints)
    assert (found.fermi_level, found.kmesh) == (0.5, (2, 2, 1))


def test_reference_that_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "e.h5").write_text("no")
    with pytest.raises(InputError, match=r"e\.h5: not a file of eigenvalues"):
        read_reference(tmp_path / "e.h5")
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["kpoints"] = np.zeros((2, 3))
    with pytest.raises(InputError, match=r"f\.h5: not a file of eigenvalues"):
        read_reference(tmp_path / "f.h5")


# -- choices --------------------------------------------------------------------------------------


def test_flatten_joins_the_names_of_all_depths(runs: Path, tmp_path: Path) -> None:
    (runs / "deep").mkdir()
    (runs / "10").rename(runs / "deep" / "10")
    jobs = plan([runs], tmp_path / "data", flatten=True)
    assert [job.id for job in jobs] == ["1", "2", "deep__10"]


def test_folders_of_a_calculation_are_not_searched(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / "1" / "OUT.x").mkdir()
    (runs / "2" / "toy.HSX").rename(runs / "1" / "OUT.x" / "other.HSX")
    monkeypatch.setattr(type(load("siesta")), "own_folders", lambda *_: ("OUT.x",))
    assert [job.id for job in plan([runs], tmp_path / "data")] == ["1", "10"]


def test_other_matrices_asked_for_later_join_those_before(runs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    _all(runs, data, wanted=("overlap",))
    assert not (data / "dft" / "1" / "hamiltonian.h5").exists()
    assert {o.status for o in _all(runs, data, wanted=("overlap",))} == {"skipped"}
    outcomes = _all(runs, data, wanted=("hamiltonian",))
    assert {(o.status, o.reason) for o in outcomes} == {("updated", "other matrices asked for")}
    assert (data / "dft" / "1" / "hamiltonian.h5").exists()
    assert (data / "dft" / "1" / "overlap.h5").exists()
    assert {o.status for o in _all(runs, data, wanted=("overlap",))} == {"skipped"}
    _all(runs, data, wanted=("overlap",), redo=True)
    assert not (data / "dft" / "1" / "hamiltonian.h5").exists()


def test_prediction_of_somebody_else_survives_an_update(runs: Path, tmp_path: Path) -> None:
    _all(runs, tmp_path / "data")
    (tmp_path / "data" / "dft" / "1" / "hamiltonian_pred.h5").write_text("mine")
    _all(runs, tmp_path / "data", redo=True)
    assert (tmp_path / "data" / "dft" / "1" / "hamiltonian_pred.h5").read_text() == "mine"
