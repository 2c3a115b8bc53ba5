"""A validator reports and does not raise, keeps to its memory, and misses nothing."""

from __future__ import annotations

import os
import shutil
import tracemalloc

import h5py
import numpy as np
import pytest
from deeph_spec.blocks import BlockMatrix
from deeph_spec.matrix_files import OpenMatrix
from deeph_spec.pairs import partner_rows
from deeph_spec.testing import random_folder, random_structure, toy_matrices
from deeph_spec.validation import consistency_findings, validate_dataset, validate_folder
from deeph_spec.validation.scan import scan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

H, S = "hamiltonian.h5", "overlap.h5"
KEYS = ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries")
FOLDERS = settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return random_folder(tmp_path_factory.mktemp("robust") / "x", atoms=2)


@pytest.fixture
def folder(template, tmp_path):
    def fresh():
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        return shutil.copytree(template, tmp_path / "x")

    return fresh


def never_fails(path):
    found = validate_folder(path)
    assert "E00" not in {finding.rule for finding in found}, "\n".join(map(str, found))
    assert all("\n" not in str(finding) for finding in found)
    return found


@given(data=st.data())
@FOLDERS
def test_any_text_damage(folder, data):
    path = folder()
    name = data.draw(st.sampled_from(["POSCAR", "info.json"]))
    content = bytearray((path / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        first = data.draw(st.integers(0, len(content)))
        last = data.draw(st.integers(first, min(len(content), first + 40)))
        content[first:last] = data.draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [b"1e308", b"-1e308", b"\n", b"0", b"null", b"{}", b"9" * 400, b"1e-320"]
            )
        )
    (path / name).write_bytes(content)
    never_fails(path)


@given(data=st.data())
@FOLDERS
def test_any_array_in_place_of_a_dataset(folder, data):
    path = folder()
    name, key = data.draw(st.sampled_from([H, S])), data.draw(st.sampled_from(KEYS))
    dtype = data.draw(st.sampled_from(["i1", "i4", ">i8", "u8", "f2", "f8", "c16", "S3", "?"]))
    array = data.draw(arrays(dtype, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6)))
    with h5py.File(path / name, "a") as file:
        del file[key]
        file[key] = array
    found = never_fails(path)
    assert any(finding.severity == "error" and finding.file == name for finding in found)


@given(data=st.data())
@FOLDERS
def test_any_number_in_an_index(folder, data):
    path = folder()
    name, key = data.draw(st.sampled_from([H, S])), data.draw(st.sampled_from(KEYS))
    with h5py.File(path / name, "a") as file:
        values = file[key][()]
        place = data.draw(st.integers(0, values.size - 1))
        numbers = st.sampled_from([-(2**63), -1, 0, 1, 2, 7, 2**31, 2**40, 2**63 - 1])
        if key == "entries":
            numbers = st.sampled_from([np.nan, -np.inf, 1e300, -1e300, 1e-300, 0.0, 5.0])
        values.flat[place] = data.draw(numbers)
        file[key][...] = values
    never_fails(path)


@pytest.mark.parametrize(
    "cell",
    [
        "1e150 0 0\n0 1 0\n0 0 1",
        "1e6 0 0\n0 1e-3 0\n0 0 1",
        "1000 0 0\n0 1000 0\n0 0 2",
        "1e5 0 0\n1e5 1e-4 0\n0 0 1e-3",
        "1e-320 0 0\n0 1e308 0\n0 0 1e308",
    ],
)
def test_an_absurd_cell(folder, cell):
    path = folder()
    lines = (path / "POSCAR").read_text().splitlines()
    lines[2:5] = cell.splitlines()
    (path / "POSCAR").write_text("\n".join(lines))
    never_fails(path)


@pytest.mark.parametrize("without", [(), ("POSCAR",), ("POSCAR", "info.json")])
@pytest.mark.parametrize("index", [26, 2**40, 2**62])
def test_an_absurd_atom_index_costs_no_memory(folder, index, without):
    path = folder()
    for name in without:
        (path / name).unlink()
    with h5py.File(path / H, "a") as file:
        file["atom_pairs"][0, 3] = index
    found = never_fails(path)
    assert [finding.file for finding in found if finding.rule == "E18"] == [H]


@given(st.floats(0, 1))
@FOLDERS
def test_any_truncation(folder, fraction):
    path = folder()
    content = (path / H).read_bytes()
    (path / H).write_bytes(content[: int(fraction * (len(content) - 1))])
    assert "E15" in {finding.rule for finding in never_fails(path)}


@pytest.mark.parametrize(
    "dataset", [h5py.Empty("f8"), "text", np.zeros(3, [("a", "i4"), ("b", "f8")])]
)
def test_odd_datasets(folder, dataset):
    path = folder()
    for name in (H, S):
        for key in KEYS:
            with h5py.File(path / name, "a") as file:
                del file[key]
                file[key] = dataset
            assert never_fails(path)


def test_names_that_are_folders(folder):
    path = folder()
    for name in ("POSCAR", "info.json", H, "K_PATH"):
        (path / name).unlink(missing_ok=True)
        (path / name).mkdir()
    assert {"E01", "E02", "E15", "E37"} <= {finding.rule for finding in never_fails(path)}


def test_no_folder_at_all(tmp_path):
    assert [finding.rule for finding in never_fails(tmp_path / "gone")] == ["E01"]
    (tmp_path / "file").write_text("x")
    assert [finding.rule for finding in never_fails(tmp_path / "file")] == ["E01"]
    assert {finding.rule for finding in never_fails(tmp_path)} == {"E01", "E02"}
    assert [finding.rule for finding in validate_dataset(tmp_path / "gone")] == ["E39"]
    assert [finding.rule for finding in consistency_findings(tmp_path)] == ["E39"]


def test_an_error_of_the_validator_itself_is_a_finding(folder, monkeypatch):
    path = folder()

    def fail(*_):
        raise ZeroDivisionError("odd\nthing")

    monkeypatch.setattr("deeph_spec.validation.folders.check_matrix", fail)
    (finding,) = validate_folder(path)
    assert finding.rule == "E00"
    assert "ZeroDivisionError: odd thing" in str(finding)


def test_one_broken_structure_does_not_stop_the_others(template, tmp_path):
    for name in ("1", "2", "3"):
        shutil.copytree(template, tmp_path / "dft" / name)
    (tmp_path / "dft" / "1" / "POSCAR").unlink()
    os.remove(tmp_path / "dft" / "2" / H)
    (tmp_path / "dft" / "2" / S).write_bytes(b"")
    found = {
        (finding.rule, os.path.basename(finding.folder)) for finding in validate_dataset(tmp_path)
    }
    assert found == {("E01", "1"), ("E15", "2")}


@pytest.mark.parametrize("max_bytes", [1, 1000, 2**28])
@pytest.mark.parametrize("spin", ["none", "soc"])
def test_small_pieces_find_the_same(tmp_path, max_bytes, spin):
    folder = random_folder(tmp_path / "x", elements=("O", "H"), atoms=5, spin=spin)
    assert validate_folder(folder, max_bytes=max_bytes) == []
    matrix = BlockMatrix.read(folder / H)
    row = int(np.flatnonzero(~matrix.on_site())[-1])
    matrix.block(row)[0, 0] += 0.5
    matrix.write(folder / H)
    (finding,) = validate_folder(folder, max_bytes=max_bytes)
    assert finding.rule == "E33"
    assert "0.5 eV" in finding.message


def big_overlap(seed, disturbed, size):
    """An overlap of many blocks in random order, with some blocks disturbed."""
    overlap, _ = toy_matrices(random_structure(("O", "H", "C"), 27, seed))
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(overlap))
    matrix = overlap.on_pairs(overlap.atom_pairs[shuffled])
    rows = rng.choice(np.flatnonzero(~matrix.on_site()), disturbed, replace=False)
    for row in rows.tolist():
        block = matrix.block(row)
        block[tuple(rng.integers(0, block.shape))] += size * rng.choice([-1, 1])
    return matrix


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [2e-8, 1e-3])
def test_the_sketch_finds_what_the_plain_comparison_finds(tmp_path, seed, size):
    matrix = big_overlap(seed, disturbed=(1, 40, 900)[seed % 3], size=size)
    matrix.write(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        opened = OpenMatrix(
            matrix.atom_pairs, matrix.chunk_shapes, matrix.chunk_boundaries, file["entries"]
        )
        result = scan(opened, partner_rows(matrix.atom_pairs), tolerance=1e-8, max_bytes=40_000)
    error, row = matrix.hermitian_error()
    assert result.hermitian_error == pytest.approx(error, rel=1e-9)
    assert result.hermitian_row in (row, matrix.partner_rows()[row])


def test_memory_stays_bounded(tmp_path):
    """A file of 32 MB is checked with a limit of 4 MB: indices and pieces, never the whole."""
    atoms, orbitals = 40, 50
    pairs = np.stack(np.meshgrid([0], [0], [0], *[np.arange(atoms)] * 2), axis=-1).reshape(-1, 5)
    matrix = BlockMatrix.zeros(pairs, np.full((len(pairs), 2), orbitals))
    values = np.random.default_rng(0).normal(size=matrix.entries.size)
    matrix.with_entries(values).hermitian().write(tmp_path / H)
    assert values.nbytes == 32_000_000
    validate_folder(tmp_path, max_bytes=2**22)
    tracemalloc.start()
    found = validate_folder(tmp_path, max_bytes=2**22)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {finding.rule for finding in found} == {"E01", "E02", "W14"}
    assert peak < 12e6
