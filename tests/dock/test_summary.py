"""Summaries: numbers known by hand, mixtures named, sampling said, bad folders survived."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock import cli
from deeph_dock.summary import Summary, facts, facts_of, summarise, tasks
from deeph_dock.summary.collecting import decay_length, mean_and_largest
from deeph_dock.summary.entries import BIN, EntryStatistics, joined
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import structure_paths
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from deeph_spec.testing import random_dataset, random_folder

Dock = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dock(capsys: pytest.CaptureFixture[str]) -> Dock:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def _summary(path: Path, full: bool = False) -> Summary:
    folders = structure_paths(path)
    return summarise(facts_of(tasks(folders, full)), folders)


def _write_dimer(folder: Path, distance: float = 1.1, **info: Any) -> None:
    """Write HC in a box of 10 Å: H has one orbital, C has four, and all entries are known."""
    folder.mkdir(parents=True)
    positions = np.array([[0.0, 0, 0], [0, 0, distance]])
    structure = Structure(10 * np.eye(3), positions, np.array([1, 6]))
    pairs = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]])
    shapes = np.array([[1, 1], [1, 4], [4, 1], [4, 4]])
    overlap = BlockMatrix.zeros(pairs, shapes)
    overlap.block(0)[...] = 1
    overlap.block(3)[...] = np.eye(4)
    hamiltonian = BlockMatrix.zeros(pairs, shapes)
    hamiltonian.block(0)[...] = -13
    hamiltonian.block(3)[...] = np.diag([-20, -10, -10, -8])
    hamiltonian.block(1)[...] = [[-4, 0, 2, 0]]
    hamiltonian.block(2)[...] = hamiltonian.block(1).T
    structure.write(folder / "POSCAR")
    overlap.write(folder / "overlap.h5", "overlap")
    hamiltonian.write(folder / "hamiltonian.h5")
    settings = {"fermi_level": -5.0, "occupation": 5.0, "spin": "none"} | info
    shells = {"H": (0,), "C": (0, 1)}
    SystemInfo.for_structure(structure, shells, **settings).write(folder / "info.json")


# -- numbers --------------------------------------------------------------------------------------


def test_numbers_known_by_hand(tmp_path: Path) -> None:
    _write_dimer(tmp_path / "dft/a")
    _write_dimer(tmp_path / "dft/b", 1.4, fermi_level=-3.0, occupation=None)
    summary = _summary(tmp_path)
    assert summary.structures == 2
    assert summary.compositions == {"H1C1": 2}
    assert summary.shells == {"H": {(0,): 2}, "C": {(0, 1): 2}}
    assert summary.spins == {"none": 2}
    assert summary.matrices == {"overlap": 2, "hamiltonian": 2}
    spans = {name: (s.least, s.median, s.largest) for name, s in summary.sizes.items() if s}
    assert spans["atoms"] == (2, 2, 2)
    assert spans["orbitals"] == (5, 5, 5)
    assert spans["pairs"] == (4, 4, 4)
    assert summary.bytes == sum(file.stat().st_size for file in tmp_path.rglob("*.h5"))
    assert summary.fermi_level is not None
    assert summary.fermi_level.median == -4.0
    assert summary.electrons is not None
    assert (summary.electrons.least, summary.electrons.known) == (5.0, 1)
    assert summary.reach == {"H-C": pytest.approx(1.4)}
    assert summary.neighbours == (1, 1.0, 1)
    assert np.flatnonzero(summary.distances).tolist() == [int(1.1 / BIN), int(1.4 / BIN)]
    assert summary.distances.sum() == 4
    h, s = summary.hamiltonian, summary.overlap
    assert h.on_site["H"].tolist() == [2, 26, 13]
    assert h.on_site["C"].tolist() == [32, 96, 20]
    assert h.off_site["H-C"].sum(axis=1)[:2].tolist() == [16, 24]  # two blocks of 4 numbers each
    assert h.off_site["H-C"][2].max() == 4
    assert mean_and_largest(h, on_site=False) == (1.5, 4)
    assert s.on_site["C"].tolist() == [32, 8, 1]
    assert s.off_site["H-C"][1:].max() == 0
    assert summary.empty == (8, 4)  # both off-site pairs of both
    assert (summary.read, summary.read_whole) == (2, 2)
    assert summary.copies == ()
    assert summary.warnings == ()


def test_statistics_agree_with_all_blocks_one_by_one(tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "x", elements=("H", "C", "O"), atoms=6, spin="soc")
    summary = _summary(tmp_path)
    structure, matrix = (
        Structure.read(folder / "POSCAR"),
        BlockMatrix.read(folder / "hamiltonian.h5"),
    )
    expected: dict[tuple[str, int], list[float]] = {}
    for row, (r1, r2, r3, i, j) in enumerate(matrix.atom_pairs.tolist()):
        if (r1, r2, r3) == (0, 0, 0) and i == j:
            continue
        a, b = sorted((i, j), key=lambda atom: structure.numbers[atom])
        name = f"{structure.symbols[a]}-{structure.symbols[b]}"
        distance = np.linalg.norm(structure.pair_vectors(matrix.atom_pairs[row : row + 1]))
        expected.setdefault((name, int(distance / BIN)), []).extend(abs(matrix.block(row)).ravel())
    found = {
        (name, place): values[:, place]
        for name, values in summary.hamiltonian.off_site.items()
        for place in np.flatnonzero(values[0]).tolist()
    }
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        np.testing.assert_allclose(found[key], [len(values), sum(values), max(values)], rtol=1e-12)


def test_decay_length_of_an_exponential() -> None:
    places = (np.arange(12) + 0.5) * BIN
    values = np.array([np.full(12, 3.0), 3 * np.exp(-places / 0.8), np.exp(-places / 0.8)])
    statistics = EntryStatistics({}, {"C-C": values, "H-H": values[:, :2]})
    assert decay_length(statistics, "C-C") == pytest.approx(0.8)
    assert decay_length(statistics, "H-H") is None
    values[1, 8:] *= 1e-9  # the end of the orbitals is no decay
    assert decay_length(statistics, "C-C") == pytest.approx(0.8)


def test_tallies_of_different_length_add_up_in_either_order() -> None:
    short, long = np.array([[1.0], [2.0], [2.0]]), np.array([[1.0, 4.0], [1.0, 8.0], [1.0, 3.0]])
    expected = [[2, 4], [3, 8], [2, 3]]
    assert joined(short, long).tolist() == joined(long, short).tolist() == expected
    assert short.tolist() == [[1], [2], [2]]


# -- sampling -------------------------------------------------------------------------------------


def test_entries_of_some_structures_are_read_and_it_is_said(
    dock: Dock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_dataset(tmp_path, 6, atoms=2, cutoff=3.0)
    monkeypatch.setattr(facts, "STRUCTURES_READ", 2)
    summary = _summary(tmp_path)
    assert (summary.structures, summary.read, summary.read_whole) == (6, 2, 2)
    assert "entries of 2 of 6 structures were read (--full: all)" in dock(
        "check", tmp_path, "--summary"
    )[1].replace("\n", " ")
    everything = _summary(tmp_path, full=True)
    assert (everything.read, everything.read_whole) == (6, 6)
    assert "|H| and |S|: all entries" in dock("check", tmp_path, "--summary", "--full")[1]


def test_part_of_the_pairs_of_large_structures_is_read(
    dock: Dock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_folder(tmp_path / "a", atoms=8, cutoff=6.0)
    whole = _summary(tmp_path)
    monkeypatch.setattr(facts, "BYTES_READ", 64 * 5 * 16 * 10)
    part = _summary(tmp_path)
    assert (part.read, part.read_whole) == (1, 0)
    assert 0 < part.empty[0] < whole.empty[0]
    assert part.sizes == whole.sizes  # counted without reading entries
    assert part.reach == whole.reach
    for name, values in part.hamiltonian.off_site.items():
        assert (values[0] <= whole.hamiltonian.off_site[name][0][: values.shape[1]]).all()
        assert (values[2] <= whole.hamiltonian.off_site[name][2][: values.shape[1]]).all()
    assert set(part.hamiltonian.on_site) == {"H", "C"}
    printed = dock("check", tmp_path, "--summary")[1].replace("\n", " ")
    assert "of 1 of them a part of the pairs" in printed


def test_pieces_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_folder(tmp_path / "a", atoms=5)
    whole = _summary(tmp_path, full=True).to_document()
    monkeypatch.setattr(facts, "PIECE_BYTES", 999)
    pieces = _summary(tmp_path, full=True).to_document()
    for key in ("hamiltonian_eV", "overlap"):
        for name, numbers in whole[key]["off_site"].items():
            assert pieces[key]["off_site"][name]["max"] == numbers["max"]
            assert pieces[key]["off_site"][name]["entries"] == numbers["entries"]
    assert pieces["pairs_without_overlap"] == whole["pairs_without_overlap"]


# -- what is mixed --------------------------------------------------------------------------------


def _provenance(folder: Path, **values: Any) -> None:
    info = SystemInfo.read(folder / "info.json")
    replace(info, provenance={**info.provenance, **values}).write(folder / "info.json")


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        ("functional", ("PBE", "PBE", "LDA"), "functionals are mixed: PBE (2), LDA (1: 0003)"),
        ("code", ("SIESTA", "OpenMX", "SIESTA"), "codes are mixed: SIESTA (2), OpenMX (1: 0002)"),
        ("code_version", ("5.2", "5.2", "4.1"), "versions of the code are mixed: 5.2 (2), 4.1"),
        ("energy_unit", (13.6058, 13.6057, 13.6058), "energy units are mixed: 13.6058 (2)"),
        ("basis", ({"C": "DZP"}, {"C": "SZ"}, {}), "bases of C are mixed: DZP (1), SZ (1: 0002)"),
        (
            "pseudopotentials",
            ({"C": "C.psf"}, {"C": "C.psml"}, {"C": "C.psf"}),
            "pseudopotentials of C are mixed: C.psf (2), C.psml (1: 0002)",
        ),
        ("kmesh", ([9, 9, 9], [9, 9, 9], [2, 2, 2]), "densities of k-points differ: "),
        ("steps", (["standardize: mu = 1 eV"], [], []), "standardised are 1 of 3: 0001"),
        ("scf_converged", (True, False, True), "not converged: 0002"),
    ],
)
def test_mixtures_are_named(
    tmp_path: Path, key: str, values: tuple[Any, ...], message: str
) -> None:
    random_dataset(tmp_path, 3, atoms=2, cutoff=3.0)
    for number, value in enumerate(values, start=1):
        _provenance(tmp_path / f"dft/{number:04d}", **{key: value})
    (warning,) = _summary(tmp_path).warnings
    assert warning.startswith(message)
    for number in (1, 2, 3):
        _provenance(tmp_path / f"dft/{number:04d}", **{key: values[0]})
    settled = _summary(tmp_path)
    assert settled.warnings == ()
    assert settled.standardized == (3 if key == "steps" else 0)


def test_unknown_values_are_no_mixture(tmp_path: Path) -> None:
    random_dataset(tmp_path, 2, atoms=2, cutoff=3.0)
    _provenance(tmp_path / "dft/0001", functional="PBE", kmesh="many", basis=None, steps=7)
    assert _summary(tmp_path).warnings == ()


def test_mixed_spin_and_shells(tmp_path: Path) -> None:
    random_folder(tmp_path / "a", atoms=2, cutoff=3.0)
    random_folder(tmp_path / "b", atoms=2, cutoff=3.0, spin="collinear", seed=1)
    shells = {"H": (0, 1), "C": (0, 0, 1)}
    random_folder(tmp_path / "c", atoms=2, cutoff=3.0, orbital_map=shells, seed=2)
    assert _summary(tmp_path).warnings == (
        "shells of H differ: s (2), s p (1: c)",
        "kinds of spin are mixed: none (2), collinear (1: b)",
    )


def test_copies_are_named(dock: Dock, tmp_path: Path) -> None:
    random_dataset(tmp_path, 3, atoms=3, cutoff=3.0)
    shutil.copytree(tmp_path / "dft/0002", tmp_path / "dft/0010")
    assert _summary(tmp_path).copies == (("0002", "0010"),)
    assert (
        "2 structures are copies of others: 0002 = 0010" in dock("check", tmp_path, "--summary")[1]
    )


# -- the command ----------------------------------------------------------------------------------


def test_text_json_and_picture(dock: Dock, tmp_path: Path) -> None:
    random_dataset(tmp_path / "data", 4, atoms=3, elements=("H", "C", "O"))
    picture, report = tmp_path / "summary.png", tmp_path / "summary.json"
    code, out, err = dock(
        "check", tmp_path / "data", "--summary", "--json", report, "--plot", picture
    )
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines()[1:-1])) <= 80
    for text in ("compositions  H1C1O1 4", "spin          none", "overlap in all", "H-C", "O-O"):
        assert text in out
    document = json.loads(report.read_text())
    assert document["structures"] == 4
    assert document["sizes"]["atoms"] == {"least": 3, "median": 3.0, "largest": 3, "known": 4}
    assert document["warnings"] == []
    assert picture.read_bytes().startswith(b"\x89PNG")
    before = picture.read_bytes()
    assert dock("check", tmp_path / "data", "--summary", "--plot", picture)[0] == 0
    assert picture.read_bytes() == before


def test_two_processes_give_the_same(dock: Dock, tmp_path: Path) -> None:
    random_dataset(tmp_path / "data", 40, atoms=2, cutoff=3.0)
    alone = dock("check", tmp_path / "data", "--summary")
    assert alone[0] == 0
    assert dock("check", tmp_path / "data", "--summary", "-j", 2) == alone


def test_bad_folders_are_named_and_do_not_stop_it(dock: Dock, tmp_path: Path) -> None:
    dft = random_dataset(tmp_path, 6, atoms=2, cutoff=3.0) / "dft"
    (dft / "0001/info.json").write_text("{")
    (dft / "0002/POSCAR").unlink()
    (dft / "0003/hamiltonian.h5").write_bytes(b"no HDF5")
    shutil.copy(random_folder(tmp_path / "other", atoms=5) / "POSCAR", dft / "0004/POSCAR")
    code, out, _ = dock("check", tmp_path, "--summary", "--json", tmp_path / "s.json")
    assert code == 1
    assert "2 structures in" in out
    assert "4 cannot be read:" in out
    unreadable = json.loads((tmp_path / "s.json").read_text())["unreadable"]
    assert list(unreadable) == ["0001", "0002", "0003", "0004"]
    assert "info.json: not JSON" in unreadable["0001"]
    assert "POSCAR cannot be read: missing" in unreadable["0002"]
    assert "not an HDF5 file" in unreadable["0003"]
    assert "info.json has 2 atoms, POSCAR 5" in unreadable["0004"]


def test_nothing_readable_is_said(dock: Dock, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "a", atoms=2)
    (folder / "info.json").unlink()
    code, out, err = dock("check", tmp_path, "--summary", "--plot", tmp_path / "x.png")
    assert (code, err) == (1, "")
    assert "0 structures in" in out
    assert not (tmp_path / "x.png").exists()


def test_nan_is_named(tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "a", atoms=2, cutoff=3.0)
    matrix = BlockMatrix.read(folder / "hamiltonian.h5")
    matrix.entries[0] = np.nan
    matrix.write(folder / "hamiltonian.h5")
    assert "NaN or infinity in pair" in _summary(tmp_path).unreadable["a"]


def test_folders_without_matrices(dock: Dock, tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "dft/a", atoms=2)
    random_folder(tmp_path / "dft/b", atoms=2, seed=1)
    for name in ("overlap.h5", "hamiltonian.h5"):
        (folder / name).unlink()
    code, out, _ = dock("check", tmp_path, "--summary", "--plot", tmp_path / "x.png")
    assert code == 0
    assert "overlap in 1 (50.0%), hamiltonian in 1 (50.0%)" in out
    shutil.rmtree(tmp_path / "dft/b")
    code, out, _ = dock("check", tmp_path, "--summary", "--plot", tmp_path / "y.png")
    assert code == 0
    assert "no entries were read" in out


def test_picture_needs_a_summary_and_a_known_format(dock: Dock, tmp_path: Path) -> None:
    random_folder(tmp_path / "a", atoms=2, cutoff=3.0)
    assert dock("check", tmp_path, "--plot", "x.png")[0] == 2
    assert dock("check", tmp_path, "--summary", "--runs", tmp_path)[0] == 2
    code, _, err = dock("check", tmp_path, "--summary", "--plot", tmp_path / "x.bmp")
    assert code == 1
    assert ".png, .pdf, .svg" in err


# -- every command takes every kind of folder -----------------------------------------------------


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = random_dataset(tmp_path_factory.mktemp("places") / "data", 3, atoms=2, cutoff=3.0)
    plain = root.parent / "plain"
    shutil.copytree(root / "dft", plain / "sub")
    return {
        "root": root,
        "dft": root / "dft",
        "folder of structures": plain / "sub",
        "folder above": plain,
        "structure": root / "dft/0002",
    }


@pytest.mark.parametrize(
    "place", ["root", "dft", "folder of structures", "folder above", "structure"]
)
@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["check", "--summary"],
        ["split", "--dry-run"],
        ["band"],
        ["export", "--to", "deeph-legacy"],
        ["standardize"],
    ],
)
def test_commands_take_any_folder(
    dock: Dock, places: dict[str, Path], tmp_path: Path, command: list[str], place: str
) -> None:
    name, *options = command
    if name == "band":
        options = ["-o", str(tmp_path / "bands"), "--points", "5", "--mesh", "1", "1", "1"]
    if name in ("export", "standardize"):
        options = [str(tmp_path / "out"), *options]
    code, out, err = dock(name, places[place], *options)
    if (name, place) == ("split", "structure"):
        assert code == 1
        assert "one structure cannot be split" in err
        return
    assert (code, err) == (0, "")
    count = 1 if place == "structure" else 3
    if "--summary" in options:
        assert f"{count} structure{'s' * (count > 1)} in" in out
    if name == "band":
        assert len(list((tmp_path / "bands").rglob("band.h5"))) == count
    made = {"export": "hamiltonians.h5", "standardize": "hamiltonian.h5"}
    if name in made:
        assert len(list((tmp_path / "out").rglob(made[name]))) == count


@pytest.mark.parametrize(
    "arguments",
    [
        ["check"],
        ["check", "--summary"],
        ["split"],
        ["band"],
        ["export", "out", "--to", "deeph-legacy"],
        ["standardize", "out"],
    ],
)
@pytest.mark.parametrize("where", ["empty", "missing", "file"])
def test_commands_refuse_what_holds_no_structure(
    dock: Dock, tmp_path: Path, arguments: list[str], where: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    code, _, err = dock(arguments[0], tmp_path / where, *arguments[1:])
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert str(tmp_path / where) in err
