"""Checking: a right dataset passes, each kind of wrong one is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deeph_dock import checking
from deeph_dock.checking import Task, check, dataset_findings, runs_by_id
from deeph_dock.conversion import convert, plan
from deeph_dock.executors import InThisProcess
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder, structure_paths
from deeph_spec.errors import InputError
from deeph_spec.testing import random_dataset


@pytest.fixture(scope="module")
def runs(dft_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("graphene_8/0001", "graphene_8/0002"):
        shutil.copytree(dft_data(f"siesta/{name}"), folder / name.rpartition("/")[2])
    return folder


@pytest.fixture(scope="module")
def converted(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for job in plan([runs], root):
        assert convert(job).status == "converted"
    return root


@pytest.fixture
def dataset(converted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted, tmp_path / "data"))


def _task(dataset: Path, id: str = "0001") -> Task:
    return Task(id, dataset / "dft" / id)


def _rewrite(dataset: Path, name: str, entries: Callable[[np.ndarray], np.ndarray]) -> None:
    path = dataset / "dft" / "0001" / f"{name}.h5"
    matrix = BlockMatrix.read(path)
    matrix.with_entries(entries(matrix.entries)).write(path, quantity=name)


def test_converted_runs_pass_every_proof(converted: Path) -> None:
    rows = list(
        checking.run([_task(converted, id) for id in structure_paths(converted)], InThisProcess)
    )
    assert [row.id for row in rows] == ["0001", "0002"]
    for row in rows:
        assert row.ok, row
        assert (row.atoms, row.orbitals) == (8, 104)
        assert row.findings == ()
        assert row.two_centre is not None
        assert row.two_centre.violation < 1e-7
        assert row.eigenvalues is not None
        assert row.eigenvalues.largest < 1e-6
        assert row.eigenvalues.kpoints == row.eigenvalues.available == 22
        assert (row.hermitian_overlap, row.hermitian_hamiltonian) == (0, 0)
        assert row.hermitian_source is not None
        assert row.hermitian_source < 1e-6
    assert rows[0].empty_overlaps == 44
    assert dataset_findings(converted) == []
    json.dumps([row.to_document() for row in rows])


def test_raw_run_can_be_compared_with(runs: Path, dataset: Path) -> None:
    (dataset / "dft" / "0001" / "eigval_dft.h5").unlink()
    assert check(_task(dataset)).eigenvalues is None
    found = runs_by_id(runs, ["0001", "0002", "0003"])
    assert sorted(found) == ["0001", "0002"]
    row = check(replace(_task(dataset), run=found["0001"]))
    assert row.eigenvalues is not None
    assert row.eigenvalues.largest < 1e-6


def test_runs_of_another_dataset_are_refused(runs: Path) -> None:
    with pytest.raises(InputError, match="no calculation of any structure of the dataset"):
        runs_by_id(runs, ["a", "b"])


def test_swapped_orbitals_fail_the_two_centre_rule(dataset: Path) -> None:
    folder = dataset / "dft" / "0001"
    order = np.array([0, 1, 4, 2, 3, 7, 5, 6, 8, 9, 10, 11, 12])
    for name in ("overlap", "hamiltonian"):
        matrix = BlockMatrix.read(folder / f"{name}.h5")
        stacks = [(rows, stack[:, order][:, :, order]) for rows, stack in matrix.by_shape()]
        BlockMatrix.from_stacks(matrix.atom_pairs, matrix.chunk_shapes, stacks).write(
            folder / f"{name}.h5", quantity=name
        )
    row = check(_task(dataset))
    assert not row.ok
    assert len(row.failures) == 1
    assert row.failures[0].startswith("two-centre rule: the overlap of pair")
    assert row.eigenvalues is not None
    assert row.eigenvalues.largest < 1e-6  # which eigenvalues do not see


def test_wrong_energy_unit_fails_the_eigenvalues(dataset: Path) -> None:
    _rewrite(dataset, "hamiltonian", lambda entries: entries * np.float32(1.0001))
    row = check(_task(dataset))
    assert [failure.split(":")[0] for failure in row.failures] == ["eigenvalues"]
    assert row.two_centre is not None
    assert row.two_centre.violation < 1e-7


def test_difference_of_partners_fails_hermiticity(dataset: Path) -> None:
    def changed(entries: np.ndarray) -> np.ndarray:
        entries = entries.copy()
        entries[1] += 3e-4
        return entries

    _rewrite(dataset, "hamiltonian", changed)
    row = check(_task(dataset))
    assert any(failure.startswith("Hermiticity: the hamiltonian block") for failure in row.failures)


def test_broken_file_is_a_finding_and_no_proof_is_made(dataset: Path) -> None:
    path = dataset / "dft" / "0001" / "hamiltonian.h5"
    path.write_bytes(path.read_bytes()[:3000])
    row = check(_task(dataset))
    assert not row.ok
    assert row.errors
    assert row.errors[0].file == "hamiltonian.h5"
    assert row.two_centre is None
    assert row.failures == ()


def test_nan_is_named_with_its_rule(dataset: Path) -> None:
    def spoiled(entries: np.ndarray) -> np.ndarray:
        entries = entries.copy()
        entries[5] = np.nan
        return entries

    _rewrite(dataset, "hamiltonian", spoiled)
    row = check(_task(dataset))
    assert "E26" in [finding.rule for finding in row.errors]


def test_folder_without_poscar_is_listed_and_fails(dataset: Path) -> None:
    (dataset / "dft" / "0001" / "POSCAR").unlink()
    assert list(structure_paths(dataset)) == ["0001", "0002"]
    row = check(_task(dataset))
    assert "E01" in [finding.rule for finding in row.errors]


def test_zero_overlaps_of_pairs_that_h_reaches_are_no_fault(
    dft_data: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(dft_data("siesta/GaAs_8/0001"), tmp_path / "runs" / "0001")
    for job in plan([tmp_path / "runs"], tmp_path / "data"):
        convert(job)
    row = check(_task(tmp_path / "data"))
    assert row.findings == ()
    assert row.empty_overlaps is not None
    assert row.pairs is not None
    assert row.empty_overlaps > row.pairs / 2


def test_overlap_alone_is_checked_as_far_as_it_goes(dataset: Path) -> None:
    (dataset / "dft" / "0001" / "hamiltonian.h5").unlink()
    row = check(_task(dataset))
    assert row.ok
    assert row.two_centre is not None
    assert row.hermitian_hamiltonian is None
    assert row.eigenvalues is None


def test_large_structures_are_sampled_and_say_so(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "PAIRS_AT_MOST", 50)
    monkeypatch.setattr(checking, "OPERATIONS_AT_MOST", 4 * 104**3 + 1)
    row = check(_task(dataset))
    assert row.ok
    assert row.notes == (
        "two-centre rule: 50 of 288 pairs (--full: all)",
        "eigenvalues: 4 of 22 k-points (--full: all)",
    )
    full = check(replace(_task(dataset), sample=False))
    assert full.notes == ()
    monkeypatch.setattr(checking, "ORBITALS_AT_MOST", 100)
    assert (
        "eigenvalues: 104 orbitals, not diagonalised (--full: they are)"
        in check(_task(dataset)).notes
    )


def test_published_layout_without_provenance_is_checked(tmp_path: Path) -> None:
    root = random_dataset(tmp_path / "data", 2)
    for id, path in structure_paths(root).items():
        row = check(Task(id, path))
        assert row.ok, row
        assert row.two_centre is not None
        assert row.eigenvalues is None


def test_contradicting_structures_are_named(dataset: Path) -> None:
    path = dataset / "dft" / "0002" / "info.json"
    info = json.loads(path.read_text())
    info["elements_orbital_map"]["C"] = [0, 0, 1, 2, 1]
    path.write_text(json.dumps(info))
    findings = dataset_findings(dataset)
    assert [finding.rule for finding in findings] == ["E35"]


@pytest.mark.parametrize("form", ["root", "dft", "structure"])
def test_root_dft_and_one_structure_are_all_accepted(converted: Path, form: str) -> None:
    path = {"root": converted, "dft": converted / "dft", "structure": converted / "dft" / "0002"}
    ids = list(structure_paths(path[form]))
    assert ids == (["0002"] if form == "structure" else ["0001", "0002"])


@pytest.mark.parametrize("form", ["missing", "file", "empty"])
def test_folder_without_structures_is_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "data"
    if form == "file":
        path.write_text("")
    elif form == "empty":
        path.mkdir()
    message = {"missing": "no such folder", "file": "is a file", "empty": "no structure in it"}
    with pytest.raises(InputError, match=message[form]):
        structure_paths(path)


def test_unexpected_error_fails_the_structure_and_keeps_its_trace(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(checking, "two_centre", broken)
    row = check(_task(dataset))
    assert row.failures == ("internal error: ZeroDivisionError: oh",)
    assert "Traceback" in row.trace
    assert StructureFolder(dataset / "dft" / "0001", "0001").has("overlap")
