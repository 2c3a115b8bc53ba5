"""Legacy folders: read as they were published, written and read back bit by bit, damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph_dock.codes import Code
from deeph_dock.codes.deeph_legacy import DEEPH_LEGACY
from deeph_dock.codes.deeph_legacy.order import legacy_rows
from deeph_dock.codes.deeph_legacy.writing import write_folder
from deeph_dock.testing import DamageContract, assert_two_centre
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.testing import random_folder
from hypothesis import given, settings
from hypothesis import strategies as st

Data = Callable[[str], Path]
Dock = Callable[..., tuple[int, str, str]]
SHELLS = {"H": (0, 1), "C": (0, 0, 1, 2, 3), "O": (1, 0, 4)}


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """Give a small legacy folder with H."""
    random_folder(tmp_path / "new", atoms=2, seed=1, cutoff=4.0)
    (tmp_path / "legacy").mkdir()
    write_folder(StructureFolder(tmp_path / "new", "new"), tmp_path / "legacy", "test")
    return tmp_path / "legacy"


# -- published folders ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "matrices"),
    [("MoTe2", ["overlap", "hamiltonian"]), ("Bi2Se3_SOC", ["overlap"])],
)
def test_published_update_of_a_published_folder(
    dft_data: Data, name: str, matrices: list[str]
) -> None:
    folder = dft_data("third-party/deeph_legacy") / name
    calculation = DEEPH_LEGACY.read(folder / "legacy", "")
    theirs = StructureFolder(folder / "updated", name)
    assert list(calculation.matrices) == matrices
    assert calculation.info.fermi_level == theirs.info.fermi_level
    assert calculation.info.spinful == theirs.info.spinful
    assert calculation.info.orbital_map == theirs.info.orbital_map
    np.testing.assert_allclose(
        calculation.structure.positions, theirs.structure.positions, atol=1e-12
    )
    for kind, read in calculation.matrices.items():
        ours, expected = read(), theirs.matrix(kind)
        assert len(ours) == len(expected)
        np.testing.assert_array_equal(ours.entries, expected.on_pairs(ours.atom_pairs).entries)
    overlap = calculation.matrices["overlap"]()
    assert_two_centre(calculation.structure, calculation.info.orbital_map, overlap, 1e-12)


# -- there and back -------------------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["none", "collinear", "soc"]),
    st.sampled_from(["single", "double"]),
)
def test_way_there_and_back_changes_no_bit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, spin: str, precision: str
) -> None:
    top = tmp_path_factory.mktemp("legacy")
    kinds = {"single": ("f4", "c8"), "double": ("f8", "c16")}[precision]
    dtype = kinds[spin == "soc"]
    random_folder(top / "new", orbital_map=SHELLS, spin=spin, seed=seed, atoms=3, dtype=dtype)
    source = StructureFolder(top / "new", "new")
    source.hamiltonian().write(top / "new" / "hamiltonian_pred.h5", "hamiltonian_pred")
    (top / "legacy").mkdir()
    write_folder(source, top / "legacy", "sha256:0")
    assert DEEPH_LEGACY.recognises(top / "legacy") == ("",)
    found = DEEPH_LEGACY.read(top / "legacy", "")
    np.testing.assert_array_equal(found.structure.lattice, source.structure.lattice)
    np.testing.assert_array_equal(found.structure.positions, source.structure.positions)
    np.testing.assert_array_equal(found.structure.numbers, source.structure.numbers)
    assert found.info.orbital_map == source.info.orbital_map
    assert found.info.fermi_level == source.info.fermi_level
    assert found.info.occupation == source.info.occupation
    assert found.info.spin == spin
    for name in ("overlap", "hamiltonian", "hamiltonian_pred"):
        ours, expected = found.matrices[name](), source.matrix(name).sorted()
        assert ours.dtype == expected.dtype
        np.testing.assert_array_equal(ours.atom_pairs, expected.atom_pairs)
        np.testing.assert_array_equal(ours.entries, expected.entries)


def test_position_matrices_have_a_sixth_number(tmp_path: Path) -> None:
    random_folder(tmp_path / "new", atoms=2)
    source = StructureFolder(tmp_path / "new", "new")
    overlap = source.overlap().sorted()
    numbers = np.random.default_rng(0).standard_normal((3, len(overlap.entries)))
    position = overlap.with_entries(numbers)
    position.write(tmp_path / "new" / "position_matrix.h5", "position_matrix")
    (tmp_path / "legacy").mkdir()
    write_folder(source, tmp_path / "legacy", "x")
    with h5py.File(tmp_path / "legacy" / "position_matrixs.h5") as file:
        assert len(file) == 3 * len(overlap)
        assert all(len(json.loads(name)) == 6 for name in file)
    found = DEEPH_LEGACY.read(tmp_path / "legacy", "").matrices["position_matrix"]()
    np.testing.assert_array_equal(found.entries, numbers)


def test_order_of_the_atoms_is_kept(tmp_path: Path) -> None:
    random_folder(tmp_path / "new", atoms=3, seed=2, orbital_map=SHELLS)
    source = StructureFolder(tmp_path / "new", "new")
    legacy = tmp_path / "legacy"
    legacy.mkdir()
    write_folder(source, legacy, "x")
    before = DEEPH_LEGACY.read(legacy, "")
    old = before.matrices["hamiltonian"]()
    order = [1, 2, 0]
    for name in ("element.dat", "orbital_types.dat"):
        lines = (legacy / name).read_text().splitlines()
        (legacy / name).write_text("".join(lines[i] + "\n" for i in order))
    np.savetxt(legacy / "site_positions.dat", source.structure.positions[order].T, "%.17e")
    with h5py.File(legacy / "hamiltonians.h5") as file:
        blocks = {tuple(json.loads(name)): block[()] for name, block in file.items()}
    with h5py.File(legacy / "hamiltonians.h5", "w") as file:
        for (*cell, i, j), block in blocks.items():
            file[json.dumps([*cell, order.index(i - 1) + 1, order.index(j - 1) + 1])] = block
    after = DEEPH_LEGACY.read(legacy, "")
    np.testing.assert_array_equal(after.structure.numbers, before.structure.numbers[order])
    new = after.matrices["hamiltonian"]()
    for row, (*cell, i, j) in enumerate(new.atom_pairs.tolist()):
        (place,) = old.rows_of(np.array([[*cell, order[i], order[j]]]))
        np.testing.assert_array_equal(new.block(row), old.block(int(place)))


def test_equal_structures_give_equal_files(legacy: Path, tmp_path: Path) -> None:
    (tmp_path / "twice").mkdir()
    write_folder(StructureFolder(tmp_path / "new", "new"), tmp_path / "twice", "test")
    names = sorted(path.name for path in legacy.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "twice").iterdir())
    for name in names:
        assert (legacy / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


def test_orbitals_are_in_the_order_of_openmx() -> None:
    assert legacy_rows((0, 1, 2, 3)).tolist() == [
        0,
        *(1 + np.array([1, 2, 0])),
        *(4 + np.array([2, 4, 0, 3, 1])),
        *(9 + np.array([6, 4, 2, 0, 1, 3, 5])),
    ]
    assert legacy_rows((4,)).tolist() == [8, 6, 4, 2, 0, 1, 3, 5, 7]


def test_files_are_those_of_the_layout(legacy: Path) -> None:
    source = StructureFolder(legacy.parent / "new", "new")
    lattice = np.loadtxt(legacy / "lat.dat")
    np.testing.assert_array_equal(lattice.T, source.structure.lattice)
    reciprocal = np.loadtxt(legacy / "rlat.dat")
    np.testing.assert_allclose(lattice.T @ reciprocal, 2 * np.pi * np.eye(3), atol=1e-12)
    assert np.loadtxt(legacy / "site_positions.dat").shape == (3, 2)
    with h5py.File(legacy / "hamiltonians.h5") as file:
        assert "[0, 0, 0, 1, 1]" in file  # atoms from 1, a blank after each comma


# -- what older programs wrote --------------------------------------------------------------------


def test_names_without_blanks_are_the_same(legacy: Path) -> None:
    before = DEEPH_LEGACY.read(legacy, "").matrices["hamiltonian"]()
    with h5py.File(legacy / "hamiltonians.h5", "r+") as file:
        for name in list(file):
            file.move(name, name.replace(" ", ""))
    after = DEEPH_LEGACY.read(legacy, "").matrices["hamiltonian"]()
    np.testing.assert_array_equal(after.entries, before.entries)


def test_partners_that_a_prediction_lacks_are_completed(legacy: Path) -> None:
    whole = DEEPH_LEGACY.read(legacy, "").matrices["hamiltonian"]().hermitian()
    with h5py.File(legacy / "hamiltonians.h5", "r") as file:
        kept = {}
        for name in file:
            *cell, i, j = json.loads(name)
            if json.dumps([*(-x for x in cell), j, i]) not in kept:
                kept[name] = file[name][()]
    with h5py.File(legacy / "hamiltonians_pred.h5", "w") as file:
        for name, block in kept.items():
            file[name] = block
    found = DEEPH_LEGACY.read(legacy, "").matrices["hamiltonian_pred"]()
    assert len(kept) < len(found)
    np.testing.assert_array_equal(found.atom_pairs, whole.atom_pairs)
    np.testing.assert_allclose(found.entries, whole.entries, atol=1e-12)


def _without_partners(name: str, folder: Path) -> None:
    with h5py.File(folder / name, "r+") as file:
        for key in list(file):
            *cell, i, j = json.loads(key)
            partner = [*(-x for x in cell), j, i]
            if partner < [*cell, i, j] and json.dumps(partner) in file:
                del file[key]


def test_partners_that_were_predicted_one_by_one_are_averaged(
    legacy: Path, tmp_path: Path, dock: Dock
) -> None:
    shutil.copy(legacy / "hamiltonians.h5", legacy / "hamiltonians_pred.h5")
    with h5py.File(legacy / "hamiltonians_pred.h5", "r+") as file:
        name = next(name for name in file if json.loads(name)[3:] == [1, 2])
        file[name][0, 0] += 0.02
        *cell, _, _ = json.loads(name)
    assert dock("convert", legacy, tmp_path / "again")[0] == 0
    folder = StructureFolder(tmp_path / "again" / "dft" / "legacy", "legacy")
    predicted = folder.matrix("hamiltonian_pred")
    for pair in ([*cell, 0, 1], [*(-x for x in cell), 1, 0]):
        (row,) = predicted.rows_of(np.array([pair]))
        off = predicted.block(int(row)) - folder.hamiltonian().block(int(row))
        assert off[0, 0] == pytest.approx(0.01, abs=1e-12)
    shutil.move(legacy / "hamiltonians_pred.h5", legacy / "hamiltonians.h5")
    code, out, _ = dock("convert", legacy, tmp_path / "third")
    assert code == 1
    assert "the hamiltonian is not Hermitian" in out


def test_half_of_a_matrix_is_completed(legacy: Path) -> None:
    whole = DEEPH_LEGACY.read(legacy, "").matrices["hamiltonian"]().hermitian()
    _without_partners("hamiltonians.h5", legacy)
    found = DEEPH_LEGACY.read(legacy, "").matrices["hamiltonian"]()
    np.testing.assert_array_equal(found.atom_pairs, whole.atom_pairs)
    np.testing.assert_allclose(found.entries, whole.entries, atol=1e-12)


def test_one_missing_partner_is_named_but_of_a_prediction(legacy: Path) -> None:
    shutil.copy(legacy / "hamiltonians.h5", legacy / "hamiltonians_pred.h5")
    for name in ("hamiltonians.h5", "hamiltonians_pred.h5"):
        with h5py.File(legacy / name, "r+") as file:
            lost = next(key for key in file if json.loads(key)[3] != json.loads(key)[4])
            del file[lost]
    matrices = DEEPH_LEGACY.read(legacy, "").matrices
    assert len(matrices["hamiltonian_pred"]()) == len(matrices["overlap"]())
    with pytest.raises(InputError) as caught:
        matrices["hamiltonian"]()
    assert f"its partner '{lost}' is not" in str(caught.value)


@pytest.mark.parametrize("spelling", ["density_matrixs", "density_matrices"])
def test_density_matrix_in_both_spellings_may_be_of_one_spin(legacy: Path, spelling: str) -> None:
    shutil.copy(legacy / "hamiltonians.h5", legacy / f"{spelling}.h5")
    found = DEEPH_LEGACY.read(legacy, "")
    np.testing.assert_array_equal(
        found.matrices["density_matrix"]().entries, found.matrices["hamiltonian"]().entries
    )
    assert found.warnings == ()  # written by ourselves: of both spins
    info = json.loads((legacy / "info.json").read_text())
    del info["made_of"]
    (legacy / "info.json").write_text(json.dumps(info))
    (warning,) = DEEPH_LEGACY.read(legacy, "").warnings
    assert f"{spelling}.h5: taken as it is; of OpenMX runs" in warning
    assert legacy / f"{spelling}.h5" in DEEPH_LEGACY.inputs(legacy, "")


def test_bare_info_of_a_prediction_is_enough(legacy: Path) -> None:
    (legacy / "info.json").write_text('{"isspinful": false}')
    info = DEEPH_LEGACY.read(legacy, "").info
    assert (info.fermi_level, info.occupation, info.orthogonal_basis) == (None, None, False)


def test_matrices_in_local_frames_are_refused_by_name(legacy: Path) -> None:
    (legacy / "hamiltonians.h5").rename(legacy / "rh.h5")
    assert "rh.h5 in local frames: left out" in DEEPH_LEGACY.read(legacy, "").warnings
    (legacy / "overlaps.h5").unlink()
    with pytest.raises(InputError, match=r"rh\.h5 is in the frames of rc\.h5"):
        DEEPH_LEGACY.read(legacy, "")


def test_spinful_folder_without_hamiltonian_stays_spinful(dft_data: Data) -> None:
    folder = dft_data("third-party/deeph_legacy") / "Bi2Se3_SOC" / "legacy"
    info = DEEPH_LEGACY.read(folder, "").info
    assert info.spinful
    assert info.spin is None


# -- bad input ------------------------------------------------------------------------------------


def _text(name: str, text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(text)

    return change


def _dataset(name: str, block: np.ndarray) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with h5py.File(folder / "hamiltonians.h5", "r+") as file:
            if name in file:
                del file[name]
            file[name] = block

    return change


def _group(folder: Path) -> None:
    with h5py.File(folder / "hamiltonians.h5", "r+") as file:
        del file["[0, 0, 0, 1, 1]"]
        file.create_group("[0, 0, 0, 1, 1]")


def _same_place(folder: Path) -> None:
    with h5py.File(folder / "hamiltonians.h5", "r+") as file:
        one, two = list(file)[:2]
        offsets = [file[name].id.get_offset() for name in (one, two)]
    content = (folder / "hamiltonians.h5").read_bytes()
    old, new = (offset.to_bytes(8, "little") for offset in offsets)
    (folder / "hamiltonians.h5").write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "lat.dat").unlink(), r"lat\.dat: missing"),
        (_text("lat.dat", "1 0 0\n0 1 0\n"), r"lat\.dat: 2 lines"),
        (_text("lat.dat", "1 0 0\n0 x 0\n0 0 1\n"), r"lat\.dat: line 2: not numbers"),
        (_text("lat.dat", "1 0 0\n1 0 0\n0 0 1\n"), r"lat\.dat: not three vectors"),
        (_text("site_positions.dat", "0\n0\n0\n"), r"site_positions\.dat has 1 atoms"),
        (_text("element.dat", "1\n0\n"), r"element\.dat: holds a number that is no element"),
        (_text("element.dat", "1\n6.5\n"), r"element\.dat: holds numbers that are not whole"),
        (_text("orbital_types.dat", "0 1\n0 9\n"), r"orbital_types\.dat: line 2: l outside"),
        (_text("element.dat", "6\n6\n"), r"orbital_types\.dat: line 2: C has the shells"),
        (_text("info.json", "{"), r"info\.json: not JSON"),
        (_text("info.json", '{"isspinful": 1}'), r"info\.json: isspinful: 1"),
        (_text("info.json", '{"fermi_level": "x"}'), r"info\.json: fermi_level: 'x'"),
        (_text("info.json", '{"nsites": 5}'), r"info\.json: nsites: 5"),
        (_text("hamiltonians.h5", "text"), r"hamiltonians\.h5: not an HDF5 file"),
        (_dataset("[0, 0, 0, 1]", np.eye(2)), r"dataset '\[0, 0, 0, 1\]'"),
        (_dataset("[0, 0, 0, 1, 3]", np.eye(2)), r"an atom outside 1\.\.2"),
        (_dataset("[0,0,0,1,1]", np.eye(4)), "is there twice"),
        (_dataset("[0, 0, 0, 1, 1]", np.eye(3)), r"expected \(\d+, \d+\) of float64"),
        (_dataset("[0, 0, 0, 1, 1]", np.full((4, 4), np.nan)), "NaN|expected"),
        (_dataset("[0, 0, 0, 1, 1, 1]", np.eye(4)), "names have other than 5 numbers"),
        (_dataset("[0, 0, 0, 1, 1]", np.float64(1)), r"\(\) of float64, expected"),
        (_dataset("[0, 0, 0, 1, 1]", np.eye(4, dtype="f4")), "float32, expected .* of float64"),
        (_group, r"hamiltonians\.h5: .*damaged"),
        (_same_place, "two blocks are at the same place"),
        (_text("info.json", '{"fermi_level": 1e999}'), "fermi_level: 'inf', expected a number"),
        (_text("info.json", '{"fermi_level": 1' + "0" * 400 + "}"), "fermi_level: .* expected"),
        (_text("info.json", '{"occupation": true}'), "occupation: 'True', expected a number"),
    ],
)
def test_what_is_wrong_is_named(legacy: Path, change: Callable[[Path], None], message: str) -> None:
    change(legacy)
    with pytest.raises(InputError, match=message):
        DEEPH_LEGACY.read(legacy, "").matrices["hamiltonian"]()


def test_complex_blocks_without_spin_are_refused(tmp_path: Path) -> None:
    random_folder(tmp_path / "new", atoms=2, spin="soc")
    (tmp_path / "legacy").mkdir()
    write_folder(StructureFolder(tmp_path / "new", "new"), tmp_path / "legacy", "x")
    info = json.loads((tmp_path / "legacy" / "info.json").read_text())
    (tmp_path / "legacy" / "info.json").write_text(json.dumps(info | {"isspinful": False}))
    with pytest.raises(InputError, match=r"hamiltonians\.h5"):
        DEEPH_LEGACY.read(tmp_path / "legacy", "").matrices["hamiltonian"]()


class TestDamage(DamageContract):
    """A small folder."""

    matrix_files = ("*.h5",)
    flips = 600

    @pytest.fixture
    def code(self) -> Code:
        return DEEPH_LEGACY

    @pytest.fixture
    def run(self, legacy: Path, tmp_path: Path) -> Path:
        shutil.copytree(legacy, tmp_path / "run")
        return tmp_path / "run"
