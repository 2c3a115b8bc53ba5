"""The golden folders of every version still read to the numbers written beside them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph_spec.dataset import Dataset
from deeph_spec.validation import validate_dataset

GOLDEN = Path(__file__).parents[2] / "spec" / "golden"
NUMBERS = json.loads((GOLDEN / "numbers.json").read_text())
KEYS = ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries")
OURS = [name for name in NUMBERS if name.startswith("1.")]


def open_folder(name):
    (folder,) = Dataset.open((GOLDEN / name).parents[1])
    assert folder.path == GOLDEN / name
    return folder


def test_every_folder_is_listed():
    found = {str(path.parent.relative_to(GOLDEN)) for path in GOLDEN.rglob("POSCAR")}
    assert found == set(NUMBERS)
    assert {name.split("/")[0] for name in found} == {"0", "1.0"}


@pytest.mark.parametrize("name", NUMBERS)
def test_structure_and_info(name):
    folder, numbers = open_folder(name), NUMBERS[name]
    assert folder.structure.formula == numbers["formula"]
    assert folder.structure.volume == pytest.approx(numbers["volume"], rel=1e-13)
    assert folder.structure.positions.sum(axis=0) == pytest.approx(numbers["positions_sum"])
    assert folder.info.orbital_counts(folder.structure).tolist() == numbers["orbitals"]
    for key in ("spinful", "spin", "fermi_level", "format_version"):
        assert getattr(folder.info, key) == numbers[key]


@pytest.mark.parametrize("quantity", ["overlap", "hamiltonian"])
@pytest.mark.parametrize("name", NUMBERS)
def test_matrices(name, quantity):
    matrix, numbers = open_folder(name).matrix(quantity), NUMBERS[name][quantity]
    assert (len(matrix), str(matrix.dtype)) == (numbers["pairs"], numbers["dtype"])
    tolerance = 1e-6 if matrix.dtype in (np.float32, np.complex64) else 1e-12
    assert np.linalg.norm(matrix.entries) == pytest.approx(numbers["norm"], rel=tolerance)
    assert complex(matrix.entries.sum()) == pytest.approx(complex(*numbers["sum"]), rel=1e-5)
    (row,) = matrix.rows_of(numbers["pair"])
    value = matrix.block(row)[tuple(numbers["element"])]
    assert complex(value) == pytest.approx(complex(*numbers["value"]), rel=tolerance)
    assert matrix.hermitian_error()[0] < 1e-6


@pytest.mark.parametrize("quantity", ["overlap", "hamiltonian"])
@pytest.mark.parametrize("name", NUMBERS)
def test_blocks_are_those_of_the_bare_file(name, quantity):
    """A few lines of h5py and the text of the format give the same blocks as the reader."""
    folder = open_folder(name)
    matrix = folder.matrix(quantity)
    with h5py.File(GOLDEN / name / f"{quantity}.h5") as file:
        bare = {key: file[key][()] for key in KEYS}
    for row, pair in enumerate(bare["atom_pairs"]):
        start, end = bare["chunk_boundaries"][row : row + 2]
        block = bare["entries"][start:end].reshape(bare["chunk_shapes"][row])
        (found,) = matrix.rows_of(pair)
        assert np.array_equal(matrix.block(found), block)


@pytest.mark.parametrize("name", NUMBERS)
def test_they_are_valid(name):
    found = validate_dataset((GOLDEN / name).parents[1])
    expected = {"W04", "W06", "W08"} if name.startswith("0/") else set()
    assert {finding.rule for finding in found} == expected


@pytest.mark.parametrize("name", OURS)
def test_writing_gives_equal_bytes(name, tmp_path):
    folder = open_folder(name)
    folder.structure.write(tmp_path / "POSCAR")
    folder.info.write(tmp_path / "info.json")
    for file in ("POSCAR", "info.json"):
        assert (tmp_path / file).read_bytes() == (GOLDEN / name / file).read_bytes()
    for quantity in ("overlap", "hamiltonian"):
        path = tmp_path / f"{quantity}.h5"
        folder.matrix(quantity).sorted().write(path, quantity)
        with h5py.File(path) as ours, h5py.File(GOLDEN / name / path.name) as golden:
            assert dict(ours.attrs) == dict(golden.attrs)
            assert set(ours) == set(golden) == set(KEYS)
            for key in KEYS:
                assert ours[key].dtype == golden[key].dtype
                assert ours[key][()].tobytes() == golden[key][()].tobytes()
                assert ours[key].chunks is golden[key].chunks is None


def test_the_published_layout_is_kept_when_it_is_written_again(tmp_path):
    name = "0/soc/dft/0001"
    folder = open_folder(name)
    folder.info.write(tmp_path / "info.json")
    document = json.loads((tmp_path / "info.json").read_text())
    assert document == json.loads((GOLDEN / name / "info.json").read_text())
    assert "format_version" not in document
