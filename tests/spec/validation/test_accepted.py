"""Everything the format says MUST be accepted: no errors, whatever the file looks like."""

from __future__ import annotations

import json
import os
import shutil

import h5py
import numpy as np
import pytest
from deeph_spec.dataset import Dataset
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from deeph_spec.testing import random_folder, toy_matrices
from deeph_spec.validation import validate_dataset, validate_folder

H, S = "hamiltonian.h5", "overlap.h5"
INDICES = ("atom_pairs", "chunk_shapes", "chunk_boundaries")


def rules(folder, severity="error"):
    return [str(finding) for finding in validate_folder(folder) if finding.severity == severity]


@pytest.mark.parametrize("index", ["<i4", ">i4", "<i8", ">i8", "i2"])
@pytest.mark.parametrize("name", [H, S, "density_matrix.h5", "position_matrix.h5"])
def test_integer_types_and_byte_orders(broken, index, name):
    folder = broken()
    folder.h5(name, lambda a: a.update({key: a[key].astype(index) for key in INDICES}))
    assert rules(folder.path) == []


@pytest.mark.parametrize("index", [">u2", "u4", "u8"])
def test_unsigned_integers(broken, index):
    folder = broken()
    for name in (H, S):
        pairs = folder.arrays(name)["atom_pairs"]
        folder.reorder(name, np.flatnonzero((pairs[:, :3] == 0).all(axis=1)))
        folder.h5(name, lambda a: a.update({key: a[key].astype(index) for key in INDICES}))
    (folder.path / "density_matrix.h5").unlink()
    (folder.path / "position_matrix.h5").unlink()
    assert rules(folder.path) == []


@pytest.mark.parametrize(
    ("spin", "dtype"),
    [
        ("none", "<f4"),
        ("none", ">f4"),
        ("none", ">f8"),
        ("collinear", "f4"),
        ("collinear", "c8"),
        ("collinear", ">c16"),
        ("soc", "c8"),
        ("soc", ">c8"),
        ("soc", ">c16"),
    ],
)
def test_entry_types_and_byte_orders(broken, spin, dtype):
    folder = broken(spin)
    folder.h5(H, lambda a: a.update(entries=a["entries"].astype(dtype)))
    assert rules(folder.path) == []
    folder.h5(S, lambda a: a.update(entries=a["entries"].astype(">f4")))
    assert rules(folder.path) == []


def test_any_order_of_pairs_and_different_orders(broken):
    folder = broken()
    rng = np.random.default_rng(0)
    count = len(folder.arrays(H)["atom_pairs"])
    for name in (H, S, "density_matrix.h5", "position_matrix.h5"):
        folder.reorder(name, rng.permutation(count))
    assert validate_folder(folder.path) == []


@pytest.mark.parametrize("longer", [H, S])
def test_different_sets_of_pairs(broken, longer):
    folder = broken()
    shorter = S if longer == H else H
    (folder.path / "density_matrix.h5").unlink()
    pairs = folder.arrays(shorter)["atom_pairs"]
    folder.reorder(shorter, np.flatnonzero((np.abs(pairs[:, :3]) < 2).all(axis=1)))
    assert rules(folder.path) == []
    assert ["W04" in text for text in rules(folder.path, "warning")] == [True]


@pytest.mark.parametrize(
    "storage",
    [
        {"chunks": True},
        {"compression": "gzip"},
        {"compression": "lzf"},
        {"compression": "gzip", "shuffle": True},
    ],
)
def test_storage(broken, storage):
    folder = broken()
    for name in (H, S, "position_matrix.h5"):
        arrays = folder.arrays(name)
        folder.store(name, arrays, **dict.fromkeys(arrays, storage))
    assert validate_folder(folder.path) == []


def test_other_content_of_matrix_files(broken):
    folder = broken()
    with h5py.File(folder.path / H, "a") as file:
        file["scalar"] = 1.0
        file["more"] = np.arange(4)
        file.create_group("group")["inner"] = "text"
        file.attrs["note"] = "x"
        file["entries"].attrs["unit"] = "eV"
    assert validate_folder(folder.path) == []


def test_other_keys_and_other_files(broken):
    folder = broken()
    folder.info(basis="x", max_num_neighbors=3, mine=[1, {"a": None}])
    (folder.path / "notes.txt").write_text("x")
    (folder.path / "band.h5").write_text("not looked at")
    (folder.path / "sub").mkdir()
    (folder.path / "K_PATH").write_text("# path\n\n20 0 0 0 0.5 0 0 GAMMA K_1  # one\n")
    assert validate_folder(folder.path) == []


@pytest.mark.parametrize("key", ["occupation", "spin", "format_version", "provenance"])
def test_optional_keys(broken, key):
    folder = broken()
    folder.info(**{key: ...})
    assert validate_folder(folder.path) == []
    folder.info(**{key: None})
    assert rules(folder.path) == []


def test_unknown_fermi_level(broken):
    folder = broken()
    folder.info(fermi_energy_eV=None)
    assert validate_folder(folder.path) == []


def test_overlap_only_and_label_only(broken):
    folder = broken()
    (folder.path / "density_matrix.h5").unlink()
    (folder.path / S).rename(folder.path / "saved")
    assert rules(folder.path) == []
    assert ["W14" in text for text in rules(folder.path, "warning")] == [True]
    (folder.path / H).unlink()
    (folder.path / "saved").rename(folder.path / S)
    assert validate_folder(folder.path) == []


def test_predictions_are_checked_like_labels(broken):
    folder = broken()
    (folder.path / H).rename(folder.path / "hamiltonian_pred.h5")
    assert validate_folder(folder.path) == []
    folder.h5("hamiltonian_pred.h5", lambda a: a.update(entries=0 * a["entries"]))
    assert any("E34" in text for text in rules(folder.path))


@pytest.mark.parametrize("shells", [(0, 1, 0), (2, 0, 1), (0, 3), (4, 0), (6, 5, 0, 0), (1,)])
def test_unsorted_shells_and_high_l(tmp_path, shells):
    folder = random_folder(tmp_path / "x", orbital_map={"H": (0,), "C": shells}, atoms=3)
    assert validate_folder(folder) == []


def test_one_atom(tmp_path):
    folder = random_folder(tmp_path / "x", elements=("C",), atoms=1)
    assert validate_folder(folder) == []


def write(folder, structure, shells, cutoff=5.0):
    overlap, hamiltonian = toy_matrices(structure, shells, cutoff=cutoff)
    folder.mkdir()
    structure.write(folder / "POSCAR")
    overlap.write(folder / S, "overlap")
    hamiltonian.write(folder / H)
    SystemInfo.for_structure(structure, shells).write(folder / "info.json")
    return folder


def test_a_molecule_has_home_cell_pairs_only(tmp_path):
    structure = Structure(40 * np.eye(3), [[0, 0, 0], [0, 0, 1.5], [0, 1.3, 0]], [8, 1, 1])
    folder = write(tmp_path / "x", structure, {"O": (0, 1), "H": (0,)})
    assert not Dataset.open(folder)["x"].overlap().atom_pairs[:, :3].any()
    assert validate_folder(folder) == []


def test_a_left_handed_lattice_with_atoms_far_outside(tmp_path):
    lattice = np.array([[0.0, 3, 0], [3.5, 0, 0.5], [0, 0, 4]])
    assert np.linalg.det(lattice) < 0
    structure = Structure(lattice, [[100.1, -50.3, 7.7], [1.1, 2.2, 3.3]], [6, 1])
    folder = write(tmp_path / "x", structure, {"C": (0, 1), "H": (0,)}, cutoff=4.0)
    assert validate_folder(folder) == []


@pytest.mark.parametrize("factor", [0.985, 1.014])
def test_on_site_overlaps_not_equal_to_one(broken, factor):
    folder = broken()
    (folder.path / "density_matrix.h5").unlink()
    folder.h5(S, lambda a: a.update(entries=factor * a["entries"]))
    assert validate_folder(folder.path) == []


def test_links_to_files_and_folders(broken, tmp_path):
    folder = broken()
    shutil.move(folder.path, tmp_path / "store")
    folder.path.mkdir()
    for path in (tmp_path / "store").iterdir():
        (folder.path / path.name).symlink_to(os.path.relpath(path, folder.path))
    (folder.root / "dft" / "0002").symlink_to(tmp_path / "store", target_is_directory=True)
    assert validate_dataset(folder.root) == []
    assert Dataset.open(folder.root).ids == ("0001", "0002")


def test_a_read_only_folder(broken):
    folder = broken()
    for path in folder.path.iterdir():
        path.chmod(0o444)
    folder.path.chmod(0o555)
    try:
        assert validate_folder(folder.path) == []
    finally:
        folder.path.chmod(0o755)


@pytest.mark.parametrize(
    ("name", "rule"),
    [(H, "E15"), (S, "E15"), ("POSCAR", "E01"), ("info.json", "E02"), ("K_PATH", "E37")],
)
def test_a_file_gone_between_listing_and_reading_is_reported(broken, monkeypatch, name, rule):
    folder = broken()
    (folder.path / "K_PATH").write_text("")
    listing = os.listdir(folder.path)
    (folder.path / name).unlink()
    monkeypatch.setattr("deeph_spec.validation.folders.os.listdir", lambda _: listing)
    found = [finding for finding in validate_folder(folder.path) if finding.rule == rule]
    assert [finding.file for finding in found] == [name]


def test_a_link_to_nowhere_is_reported(broken):
    folder = broken()
    (folder.path / S).unlink()
    (folder.path / S).symlink_to("gone.h5")
    (found,) = [finding for finding in validate_folder(folder.path) if finding.rule == "E15"]
    assert "link to nowhere" in found.message


def test_a_folder_of_a_force_field(broken):
    folder = broken()
    for path in folder.path.glob("*.h5"):
        path.unlink()
    document = {"atoms_quantity": 4, "elements_force_rcut_map": {"O": 6.0}, "max_num_neighbors": 9}
    (folder.path / "info.json").write_text(json.dumps(document))
    assert validate_folder(folder.path) == []
    (folder.path / "info.json").write_text(json.dumps(document | {"atoms_quantity": 3}))
    assert any("E09" in text for text in rules(folder.path))


def test_elements_without_atoms_in_the_map(broken):
    folder = broken()
    folder.shells(Bi=[0, 1, 2])
    assert validate_folder(folder.path) == []


@pytest.mark.parametrize(
    "name",
    ["deeph/MoS2_12", "deeph/Bi2Se3_SOC_5", "third-party/dataset13", "third-party/eigen"],
)
def test_published_data(dft_data, name):
    found = validate_dataset(dft_data(name))
    assert [str(finding) for finding in found if finding.severity == "error"] == []
    assert {finding.rule for finding in found} <= {"W06", "W07", "W11"}
