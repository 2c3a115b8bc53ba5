"""`dock check --basis` on real data: right ones pass, spoiled ones are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.conversion import convert, plan
from deeph_dock.overlap_diagnosis.conventions import CODES
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure

Data = Callable[[str], Path]
Dock = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def converted(dft_data: Data, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Convert a run, once; give the root of the dataset."""
    done: dict[str, Path] = {}

    def dataset(run: str) -> Path:
        if run not in done:
            root = tmp_path_factory.mktemp("dataset")
            shutil.copytree(dft_data(run), root / "runs" / "one")
            for job in plan([root / "runs"], root):
                assert convert(job).status == "converted"
            shutil.rmtree(root / "runs")
            done[run] = root
        return done[run]

    return dataset


@pytest.fixture
def graphene(converted: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(converted("siesta/graphene_8/0001"), tmp_path / "data"))


@pytest.fixture
def carbon(dft_data: Data) -> Path:
    return dft_data("siesta/graphene_8/basis")


def _failure(dock: Dock, *arguments: object) -> str:
    """Give the one line about the basis of a check that fails."""
    code, out, err = dock("check", *arguments)
    assert (code, err) == (1, "")
    lines = [line for line in out.splitlines() if ": basis: " in line]
    assert len(lines) == 1
    return lines[0]


# -- right data -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "basis", "options", "limit"),
    [
        ("siesta/graphene_8/0001", "siesta/graphene_8/basis", (), 1e-5),
        ("siesta/graphene_8/0001", "siesta/graphene_8/basis", ("--quadrature", "siesta"), 2e-7),
        ("siesta/H2O_box/0001", "siesta/H2O_box/basis", ("--quadrature", "siesta"), 2e-7),
        ("openmx/MoS2_12/0001", "openmx/basis", (), 5e-7),
        ("abacus/Si2", "abacus/basis/Si_gga_6au_100Ry_2s2p1d.orb", (), 1e-7),
    ],
)
def test_overlaps_of_codes_are_those_of_their_bases(
    dock: Dock,
    dft_data: Data,
    converted: Callable[[str], Path],
    tmp_path: Path,
    run: str,
    basis: str,
    options: tuple[str, ...],
    limit: float,
) -> None:
    root = converted(run)
    source = dft_data(basis.partition("/basis/")[0] + "/basis") if ".orb" in basis else None
    source = source / Path(basis).name if source is not None else dft_data(basis)
    report = tmp_path / "report.json"
    code, out, err = dock("check", root, "--basis", source, *options, "--json", report)
    assert (code, err) == (0, "")
    assert any(line.split()[-2:] == ["basis", "verdict"] for line in out.splitlines())
    assert out.splitlines()[-1].endswith("; S is that of the basis")
    (row,) = json.loads(report.read_text())["structures"]
    assert row["basis"]["ok"]
    assert row["basis"]["wrong"] == 0
    assert row["basis"]["pairs"] == row["pairs"]
    assert 0 < row["basis"]["largest"] < limit


def test_without_a_basis_nothing_is_compared(dock: Dock, graphene: Path) -> None:
    code, out, _ = dock("check", graphene)
    assert code == 0
    assert "basis" not in out


# -- spoiled data ---------------------------------------------------------------------------------


def _spoil(root: Path, change: Callable[[BlockMatrix], BlockMatrix]) -> BlockMatrix:
    """Change overlap.h5; H, which would no longer belong to it, goes."""
    folder = root / "dft" / "one"
    for name in ("hamiltonian.h5", "eigval_dft.h5"):
        (folder / name).unlink()
    matrix = BlockMatrix.read(folder / "overlap.h5")
    changed = change(matrix)
    changed.write(folder / "overlap.h5", quantity="overlap")
    return changed


def test_orbitals_as_a_code_has_them_are_named(dock: Dock, graphene: Path, carbon: Path) -> None:
    order, signs = [], []
    for degree, count in ((0, 2), (1, 2), (2, 1)):
        for _ in range(count):
            own, sign = CODES["OpenMX"][degree]
            order += (len(order) + own).tolist()
            signs += sign.tolist()

    def change(matrix: BlockMatrix) -> BlockMatrix:
        (_, stack), *rest = matrix.by_shape()
        assert not rest
        changed = stack[:, order][:, :, order] * np.outer(signs, signs)
        return matrix.with_entries(changed.astype(np.float32).ravel())

    spoiled = _spoil(graphene, change)
    line = _failure(dock, graphene, "--basis", carbon, "--quadrature", "siesta")
    assert "looks like: orbitals inside shells: p as px, py, pz; d as dz2, dx2-y2," in line
    assert line.endswith("(as OpenMX has them)")
    assert "remain" not in line
    assert f" of {len(spoiled)} pairs differ" in line


def test_wrapped_atoms_are_named(dock: Dock, graphene: Path, carbon: Path, tmp_path: Path) -> None:
    path = graphene / "dft" / "one" / "POSCAR"
    structure = Structure.read(path)
    shifts = np.zeros((8, 3))
    shifts[[2, 5]] = [1, 0, 0]
    Structure(
        structure.lattice, structure.positions + shifts @ structure.lattice, structure.numbers
    ).write(path)
    report = tmp_path / "report.json"
    line = _failure(dock, graphene, "--basis", carbon, "--json", report)
    assert "looks like: atoms moved by lattice vectors" in line
    assert line.endswith("R fits with these moved back: atoms 2, 5 by (-1, 0, 0)")
    found = json.loads(report.read_text())["structures"][0]["basis"]
    assert not found["ok"]
    assert found["looks_like"] in line
    assert found["wrong"] > 0
    assert len(found["pair"]) == 5


def test_a_step_of_a_relaxation_is_measured(dock: Dock, graphene: Path, carbon: Path) -> None:
    path = graphene / "dft" / "one" / "POSCAR"
    structure = Structure.read(path)
    moves = np.random.default_rng(3).normal(0, 0.005, (8, 3))
    Structure(structure.lattice, structure.positions + moves, structure.numbers).write(path)
    line = _failure(dock, graphene, "--basis", carbon)
    assert "looks like: atoms moved after the matrices were made: 0.00" in line
    assert "a step of a relaxation?" in line


def test_bohr_taken_for_angstrom_is_named(dock: Dock, graphene: Path, carbon: Path) -> None:
    path = graphene / "dft" / "one" / "POSCAR"
    structure = Structure.read(path)
    Structure(
        structure.lattice / 0.529177, structure.positions / 0.529177, structure.numbers
    ).write(path)
    line = _failure(dock, graphene, "--basis", carbon)
    assert line.endswith(
        "looks like: lengths in POSCAR are in Bohr, taken as Å (1.8897 times too large)"
    )


def test_other_orbitals_of_the_files_of_openmx_are_another_basis(
    dock: Dock, dft_data: Data, converted: Callable[[str], Path]
) -> None:
    """Without names those of info.json are taken, and agree."""
    root = converted("openmx/MoS2_12/0001")
    names = ("--orbitals", "Mo7.0-s3p2d1", "--orbitals", "S7.0-s2p2")
    line = _failure(dock, root, "--basis", dft_data("openmx/basis"), *names)
    assert line.endswith("basis: another basis: Mo has s2p2d1 in info.json and s3p2d1 in Mo7.0.pao")


def test_a_sorted_poscar_is_named_beside_the_rule_that_it_breaks(
    dock: Dock, dft_data: Data, converted: Callable[[str], Path], tmp_path: Path
) -> None:
    root = shutil.copytree(converted("siesta/H2O_box/0001"), tmp_path / "data")
    path = root / "dft" / "one" / "POSCAR"
    structure = Structure.read(path)
    assert structure.symbols == ["O", "H", "H"]
    order = [1, 2, 0]
    Structure(structure.lattice, structure.positions[order], structure.numbers[order]).write(path)
    line = _failure(dock, root, "--basis", dft_data("siesta/H2O_box/basis"))
    assert "a block of" in line
    assert "looks like: atoms in another order than in POSCAR" in line
    assert "atom 0 of the matrices is 2" in line


def test_a_structure_without_overlap_is_noted(dock: Dock, graphene: Path, carbon: Path) -> None:
    (graphene / "dft" / "one" / "overlap.h5").unlink()
    _, out, _ = dock("check", graphene, "--basis", carbon)
    assert "no overlap.h5: nothing to compare with the basis" in out


def test_the_basis_of_another_set_is_noticed(dock: Dock, dft_data: Data, graphene: Path) -> None:
    """Carbon of SiC: the same shells, other radii."""
    line = _failure(dock, graphene, "--basis", dft_data("siesta/SiC_8/basis"))
    assert "looks like: another basis" in line
    assert line.endswith("others for C")


# -- bad input ------------------------------------------------------------------------------------


def _one_line(result: tuple[int, str, str]) -> str:
    code, _, errors = result
    assert code == 1
    assert errors.count("\n") == 1, errors
    return errors


def test_wrong_bases_are_refused_before_any_work(
    dock: Dock, dft_data: Data, graphene: Path, tmp_path: Path
) -> None:
    missing = dock("check", graphene, "--basis", dft_data("siesta/H2O_box/basis"))
    assert "no basis of C; there are those of" in _one_line(missing)
    nowhere = dock("check", graphene, "--basis", tmp_path / "nowhere")
    assert "no such file or folder" in _one_line(nowhere)
    (tmp_path / "empty").mkdir()
    empty = dock("check", graphene, "--basis", tmp_path / "empty")
    assert "no basis files among 0 files" in _one_line(empty)


def test_options_that_do_not_fit_are_refused(dock: Dock, graphene: Path, carbon: Path) -> None:
    for options in (
        ("--quadrature", "siesta"),
        ("--orbitals", "C6.0-s2p2d1"),
        ("--basis", carbon, "--summary"),
    ):
        code, _, errors = dock("check", graphene, *options)
        assert code == 2
        assert "--basis" in errors
