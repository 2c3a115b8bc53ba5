"""A calculation becomes a folder: one list of pairs, and only what was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.writing import write_calculation
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from deeph_spec.validation import validate_folder

CHAIN = Structure(np.diag([3.0, 40.0, 40.0]), np.zeros((1, 3)), np.array([1]))
ON_SITE = [[0, 0, 0, 0, 0]]
NEXT = [[-1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
FARTHER = [[n, 0, 0, 0, 0] for n in range(-2, 3)]


def matrix(pairs: list[list[int]], values: list[float], size: int = 1) -> BlockMatrix:
    result = BlockMatrix.zeros(pairs, np.full((len(pairs), 2), size))
    result.entries[:] = np.concatenate([(value * np.eye(size)).ravel() for value in values])
    return result


def calculation(unconverged: str = "", **matrices: BlockMatrix) -> Calculation:
    info = SystemInfo.for_structure(CHAIN, {"H": (0,)}, fermi_level=-1.0, occupation=1)
    readers = {name: (lambda found=found: found) for name, found in matrices.items()}
    return Calculation(CHAIN, info, readers, unconverged=unconverged)


OVERLAP = matrix(NEXT, [0.1, 1.0, 0.1])
HAMILTONIAN = matrix(FARTHER, [1e-3, -2.0, -9.0, -2.0, 1e-3])
BOTH = ("overlap", "hamiltonian")


def test_all_files_get_the_union_of_the_pairs(tmp_path: Path) -> None:
    written = write_calculation(
        calculation(overlap=OVERLAP, hamiltonian=HAMILTONIAN), tmp_path, BOTH
    )
    overlap = BlockMatrix.read(tmp_path / "overlap.h5")
    hamiltonian = BlockMatrix.read(tmp_path / "hamiltonian.h5")
    assert overlap.atom_pairs.tolist() == hamiltonian.atom_pairs.tolist() == FARTHER
    assert overlap.entries.tolist() == [0.0, 0.1, 1.0, 0.1, 0.0]
    assert hamiltonian.entries.tolist() == HAMILTONIAN.entries.tolist()
    assert written.facts["empty_overlaps"] == 2
    assert written.facts["pairs"] == 5
    assert [f for f in validate_folder(tmp_path) if f.severity == "error"] == []


def test_a_later_matrix_with_fewer_pairs_is_filled_up(tmp_path: Path) -> None:
    narrow = matrix(ON_SITE, [-9.0])
    write_calculation(calculation(overlap=OVERLAP, hamiltonian=narrow), tmp_path, BOTH)
    found = BlockMatrix.read(tmp_path / "hamiltonian.h5")
    assert found.atom_pairs.tolist() == NEXT
    assert found.entries.tolist() == [0.0, -9.0, 0.0]


def test_pairs_of_both_that_differ_are_united(tmp_path: Path) -> None:
    far = matrix([FARTHER[0], FARTHER[2], FARTHER[4]], [0.5, -9.0, 0.5])
    write_calculation(calculation(overlap=OVERLAP, hamiltonian=far), tmp_path, BOTH)
    assert BlockMatrix.read(tmp_path / "overlap.h5").entries.tolist() == [0, 0.1, 1, 0.1, 0]
    assert BlockMatrix.read(tmp_path / "hamiltonian.h5").entries.tolist() == [0.5, 0, -9, 0, 0.5]


def test_blocks_with_spin_follow_the_pairs_too(tmp_path: Path) -> None:
    spinful = matrix(FARTHER, [0.0, 1.0, 2.0, 1.0, 0.0], size=2)
    write_calculation(calculation(overlap=OVERLAP, hamiltonian=spinful), tmp_path, BOTH)
    overlap = BlockMatrix.read(tmp_path / "overlap.h5")
    assert overlap.atom_pairs.tolist() == FARTHER
    assert overlap.chunk_shapes.tolist() == [[1, 1]] * 5


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    def unwanted() -> BlockMatrix:
        raise AssertionError("was read")

    whole = calculation(overlap=OVERLAP)
    readers = dict(whole.matrices) | {"hamiltonian": unwanted, "density_matrix": unwanted}
    written = write_calculation(
        Calculation(whole.structure, whole.info, readers), tmp_path, ("overlap",)
    )
    assert written.warnings == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["POSCAR", "info.json", "overlap.h5"]


def test_predictions_come_with_what_they_predict(tmp_path: Path) -> None:
    write_calculation(calculation(overlap=OVERLAP, hamiltonian_pred=HAMILTONIAN), tmp_path, BOTH)
    assert BlockMatrix.read(tmp_path / "hamiltonian_pred.h5").entries.max() == 1e-3


def test_a_position_matrix_is_not_averaged(tmp_path: Path) -> None:
    position = matrix(NEXT, [-0.3, 0.0, 0.1])
    position = position.with_entries(np.stack([position.entries, 0 * position.entries, [1, 2, 3]]))
    write_calculation(
        calculation(overlap=OVERLAP, position_matrix=position),
        tmp_path,
        ("overlap", "position_matrix"),
    )
    found = BlockMatrix.read(tmp_path / "position_matrix.h5")
    np.testing.assert_array_equal(found.entries, position.entries)


def test_of_an_unconverged_run_the_overlap_alone_is_written(tmp_path: Path) -> None:
    unfinished = calculation("set-up only", overlap=OVERLAP, hamiltonian=HAMILTONIAN)
    (tmp_path / "strict").mkdir()
    written = write_calculation(unfinished, tmp_path / "strict", BOTH)
    assert not (tmp_path / "strict" / "hamiltonian.h5").exists()
    assert "set-up only: hamiltonian left out (--allow-unconverged" in written.warnings[0]
    (tmp_path / "asked").mkdir()
    written = write_calculation(unfinished, tmp_path / "asked", BOTH, allow_unconverged=True)
    assert (tmp_path / "asked" / "hamiltonian.h5").exists()
    assert "set-up only: converted all the same" in written.warnings[0]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    written = write_calculation(calculation(overlap=OVERLAP), tmp_path, BOTH)
    assert written.warnings == ("no hamiltonian in the calculation",)


@pytest.mark.parametrize("unconverged", ["", "set-up only"])
def test_nothing_to_write_is_refused(tmp_path: Path, unconverged: str) -> None:
    unfinished = calculation(unconverged, overlap=OVERLAP)
    with pytest.raises(InputError, match=r"nothing to convert: asked for hamiltonian.*has overlap"):
        write_calculation(unfinished, tmp_path, ("hamiltonian",))


def test_the_record_names_what_was_asked_for_and_written(tmp_path: Path) -> None:
    write_calculation(calculation(overlap=OVERLAP), tmp_path, BOTH, provenance={"label": "chain"})
    provenance = json.loads((tmp_path / "info.json").read_text())["provenance"]
    assert provenance["label"] == "chain"
    assert provenance["conversion"] == {
        "asked": ["overlap", "hamiltonian"],
        "allow_unconverged": False,
        "files": ["POSCAR", "overlap.h5", "info.json"],
    }
