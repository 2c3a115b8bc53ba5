"""Text files of SIESTA: geometry, k-points, input, elements; what is missing or contradicts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.codes.siesta.eigenvalues import exact_kpoints
from deeph_dock.codes.siesta.fdf import geometry, read_fdf
from deeph_spec.errors import InputError

Data = Callable[[str], Path]


# -- k-points -------------------------------------------------------------------------------------


def _six_digits(values: np.ndarray) -> np.ndarray:
    """Print as SIESTA does, 0.123456E+00, and read back."""
    return np.array([float(f"{x:.5e}") for x in values.ravel()]).reshape(values.shape)


@pytest.mark.parametrize("shift", [[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.0, 0.5]])
@pytest.mark.parametrize("length", [3.0, 8.0, 60.0])
def test_six_digits_are_completed_on_any_mesh(shift: list[float], length: float) -> None:
    rng = np.random.default_rng(1)
    cell = length * (np.eye(3) + rng.uniform(-0.1, 0.1, (3, 3)))
    kcell = np.array([[0, 9, 0], [7, 1, 0], [-1, 0, 67]])
    k = np.linalg.solve(kcell, (rng.integers(-3, 4, (20, 3)) + shift).T).T
    printed = _six_digits(2 * np.pi * k @ np.linalg.inv(cell).T)
    np.testing.assert_allclose(exact_kpoints(printed, cell, kcell, np.array(shift)), k, atol=1e-13)


def test_six_digits_are_completed_without_a_mesh_where_fractions_are_simple() -> None:
    cell = np.diag([9.0, 11.0, 5.0])
    k = np.array([[1 / 3, -5 / 12, 0.0], [0.123456789, 1 / 7, 0.5]])
    printed = _six_digits(2 * np.pi * k @ np.linalg.inv(cell).T)
    found = exact_kpoints(printed, cell)
    np.testing.assert_allclose(found[:, 1:], k[:, 1:], atol=1e-13)
    assert abs(found[1, 0] - k[1, 0]) < 3e-6  # no simple fraction: left as printed


# -- files that are missing or contradict each other ----------------------------------------------


def test_version_0_without_geometry_names_what_it_needs(
    toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    toy_run().write(tmp_path, leave_out=[".XV"])
    with pytest.raises(InputError, match=r"toy\.HSX: HSX version 0 holds no cell, and toy\.XV"):
        SIESTA.read(tmp_path, "toy")


@pytest.mark.parametrize("version", [1, 2])
def test_later_versions_need_a_source_of_atomic_numbers(
    toy_run: Callable[..., Any], tmp_path: Path, version: int
) -> None:
    run = toy_run(version=version, dtype="f8")
    run.write(tmp_path, leave_out=[".XV"])
    with pytest.raises(InputError, match="no file gives its atomic number"):
        SIESTA.read(tmp_path, "toy")
    with open(tmp_path / "toy.out", "a") as file:
        for index, symbol in enumerate(run.symbols, start=1):
            z = {"H": 1, "C": 6}[symbol]
            file.write(f"Species number:   {index} Atomic number:   {z:2d} Label: any\n")
    calculation = SIESTA.read(tmp_path, "toy")
    assert calculation.structure.symbols == run.structure.symbols


def test_geometry_comes_from_struct_out_or_the_input_too(dft_data: Data, tmp_path: Path) -> None:
    folder = dft_data("siesta/GaAs_8/0001")
    for path in folder.iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    expected = SIESTA.read(tmp_path, "GaAs_8")
    (tmp_path / "GaAs_8.XV").unlink()
    struct_out = SIESTA.read(tmp_path, "GaAs_8")
    (tmp_path / "GaAs_8.STRUCT_OUT").unlink()
    fdf = SIESTA.read(tmp_path, "GaAs_8")
    for found in (struct_out, fdf):
        np.testing.assert_allclose(found.structure.lattice, expected.structure.lattice, atol=1e-8)
        np.testing.assert_allclose(
            found.structure.positions, expected.structure.positions, atol=2e-8
        )
        pairs = expected.matrices["overlap"]().atom_pairs
        np.testing.assert_array_equal(found.matrices["overlap"]().atom_pairs, pairs)


def test_geometry_of_another_step_is_not_used(toy_run: Callable[..., Any], tmp_path: Path) -> None:
    run = toy_run()
    run.write(tmp_path)
    moved = run.but(structure=run.structure.rotated(np.eye(3)))
    moved.structure.positions.flags.writeable = True
    moved.structure.positions[1, 0] += 0.01
    (tmp_path / "toy.XV").write_text(moved.xv())
    with pytest.raises(InputError, match=r"toy\.XV: not the geometry of the matrices: .* 0\.0189"):
        SIESTA.read(tmp_path, "toy")
    later = run.but(version=1)
    (tmp_path / "toy.HSX").write_bytes(later.hsx())
    calculation = SIESTA.read(tmp_path, "toy")
    np.testing.assert_allclose(calculation.structure.positions, run.structure.positions, atol=1e-9)
    assert any("toy.XV is 0.0189 Bohr away" in line for line in calculation.warnings)


def test_struct_out_is_used_where_the_atoms_have_moved_on(dft_data: Data, tmp_path: Path) -> None:
    """A relaxation that ended by its number of steps: .XV holds the step that was not computed."""
    for path in dft_data("siesta/H2O_box/0001").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    expected = SIESTA.read(tmp_path, "H2O_box").structure
    lines = (tmp_path / "H2O_box.XV").read_text().splitlines()
    words = lines[4].split()
    words[2] = f"{float(words[2]) + 0.02:.9f}"
    lines[4] = " ".join(words)
    (tmp_path / "H2O_box.XV").write_text("\n".join(lines))
    found = SIESTA.read(tmp_path, "H2O_box").structure
    np.testing.assert_allclose(found.positions, expected.positions, atol=2e-8)


def test_ingredients_are_named_by_element(dft_data: Data) -> None:
    calculation = SIESTA.read(dft_data("siesta/modes/FePt_soc"), "FePt_soc")
    provenance = calculation.info.provenance
    assert provenance["pseudopotentials"] == {"Fe": "Fe_SOC.psf", "Pt": "Pt_SOC.psf"}
    assert provenance["basis"] == {
        "Fe": "n=4 0 2 P 1 6.001 5.853 1.000 1.000; n=3 2 2 3.462 2.074 1.000 1.000",
        "Pt": "n=6 0 2 P 1 5.861 5.716 1.000 1.000; n=5 2 2 4.130 2.874 1.000 1.000",
    }
    later = dft_data("third-party/siesta") / "sisl-files-SrTiO3_polarized"
    provenance = SIESTA.read(later, "SrTiO3").info.provenance
    assert provenance["pseudopotentials"] == {"O": "O.psml", "Sr": "Sr.psml", "Ti": "Ti.psml"}
    assert provenance["basis"]["O"].startswith("n=2 0 2 4.957 3.604")


def test_inputs_are_all_files_that_matter(dft_data: Data, tmp_path: Path) -> None:
    for path in dft_data("siesta/modes/O2_spin").iterdir():
        if path.is_file():
            shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / "mesh.fdf").write_text("%block kgrid_Monkhorst_Pack < mesh.txt\n%include RUN.fdf\n")
    with open(tmp_path / "RUN.fdf", "a") as file:
        file.write("%include mesh.fdf\n")
    (tmp_path / "other.fdf").write_text("SystemLabel other\n")
    (tmp_path / "notes.txt").write_text("the oxygen molecule\n")
    named = ["HSX", "DM", "XV", "STRUCT_OUT", "EIG", "KP", "ORB_INDX"]
    expected = [f"O2_spin.{suffix}" for suffix in named]
    expected += ["RUN.fdf", "mesh.fdf", "O2_spin.out"]
    assert [path.name for path in SIESTA.inputs(tmp_path, "O2_spin")] == expected


def test_damaged_text_files_are_refused_or_do_not_matter(dft_data: Data, tmp_path: Path) -> None:
    for path in dft_data("siesta/H2O_box/0001").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    whole = {path: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".HSX"}
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(50):
        for path, data in whole.items():
            damaged = bytearray(data)
            kind, at = int(rng.integers(3)), int(rng.integers(len(damaged)))
            if kind == 0:
                damaged = damaged[:at]
            elif kind == 1:
                damaged[at] = int(rng.integers(0, 256))
            else:
                damaged[at:at] = rng.choice([b" nan ", b" 1e400 ", b" -5 ", b"\n", b"x", b"9" * 30])
            other = list(whole)[int(rng.integers(len(whole)))]
            other.unlink()  # so that the next source is asked, too
            path.write_bytes(bytes(damaged))
            try:
                calculation = SIESTA.read(tmp_path, "H2O_box")
                if calculation.eigenvalues is not None:
                    calculation.eigenvalues()
            except InputError:
                refused += 1
            for undamaged in (path, other):
                undamaged.write_bytes(whole[undamaged])
    assert 20 < refused < 250


def test_atoms_of_another_run_are_refused(toy_run: Callable[..., Any], tmp_path: Path) -> None:
    toy_run(atoms=3).write(tmp_path)
    (tmp_path / "toy.XV").write_text(toy_run(atoms=4).xv())
    with pytest.raises(InputError, match=r"toy\.XV: 4 atoms or their species differ"):
        SIESTA.read(tmp_path, "toy")


def test_run_without_hsx_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "bulk.ORB_INDX").write_text("")
    assert SIESTA.recognises(tmp_path) == ("bulk",)
    with pytest.raises(
        InputError, match=r"'bulk' has no HSX file; run it again with 'SaveHS true'"
    ):
        SIESTA.read(tmp_path, "bulk")


# -- elements -------------------------------------------------------------------------------------


def test_element_is_the_atomic_number_not_the_label(
    toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = toy_run(orbital_map={"H": (0, 1)}, atoms=2)
    run.write(tmp_path)
    data = (tmp_path / "toy.HSX").read_bytes()
    (tmp_path / "toy.HSX").write_bytes(data.replace(b"H".ljust(20), b"Pt_SOC".ljust(20)))
    assert SIESTA.read(tmp_path, "toy").structure.symbols == ["H", "H"]


@pytest.mark.parametrize("z", [-6, 0, 201])
def test_ghost_and_mixed_atoms_are_refused(
    toy_run: Callable[..., Any], tmp_path: Path, z: int
) -> None:
    run = toy_run(orbital_map={"C": (0, 1)}, atoms=1)
    run.write(tmp_path)
    text = (tmp_path / "toy.XV").read_text()
    (tmp_path / "toy.XV").write_text(text.replace("\n1 6 ", f"\n1 {z} "))
    with pytest.raises(InputError, match=f"species C has the atomic number {z}: ghost and mixed"):
        SIESTA.read(tmp_path, "toy")


def test_two_bases_of_one_element_are_refused(toy_run: Callable[..., Any], tmp_path: Path) -> None:
    run = toy_run(orbital_map={"H": (0,), "C": (0, 1)}, atoms=2)
    run.write(tmp_path)
    text = (tmp_path / "toy.XV").read_text()
    (tmp_path / "toy.XV").write_text(text.replace("\n1 1 ", "\n1 6 "))
    with pytest.raises(InputError, match="species H, C are all C but have different bases"):
        SIESTA.read(tmp_path, "toy")


def test_two_labels_of_one_basis_are_one_element(
    toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = toy_run(orbital_map={"H": (0, 1), "C": (0, 1)}, atoms=4)
    run.write(tmp_path)
    text = (tmp_path / "toy.XV").read_text()
    (tmp_path / "toy.XV").write_text(text.replace("\n1 1 ", "\n1 6 "))
    calculation = SIESTA.read(tmp_path, "toy")
    assert calculation.info.orbital_map == {"C": (0, 1)}
    assert any("taken as one basis" in line for line in calculation.warnings)
    radii = {"H": 4.0, "C": 5.0}
    rows = [
        f"{n} 1 1 {symbol} {k} 2 0 0 1 F s {radii[symbol]} 0 0 0 {n}"
        for n, (symbol, k) in enumerate(
            [(s, k) for s in run.structure.symbols for k in range(1, 5)], start=1
        )
    ]
    (tmp_path / "toy.ORB_INDX").write_text("\n".join(["16 16 = orbitals", "", "io ia", *rows]))
    with pytest.raises(InputError, match="their orbitals have different radii"):
        SIESTA.read(tmp_path, "toy")


# -- the input file -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "scale"),
    [
        ("Ang", 1.0),
        ("NotScaledCartesianBohr", 1 / 0.529177),
        ("ScaledCartesian", 1 / 4.0),
        ("Fractional", None),
    ],
)
def test_input_geometry_in_all_its_forms(tmp_path: Path, form: str, scale: float | None) -> None:
    cell = np.array([[4.0, 0.0, 0.0], [0.0, 6.0, 0.0], [1.0, 0.0, 8.0]])
    positions = np.array([[0.5, 0.25, -1.0], [2.0, 7.0, 3.0]])
    given = positions @ np.linalg.inv(cell) if scale is None else positions * scale
    rows = [
        " ".join(f"{x:.12f}" for x in r) + f" {k}  # atom"
        for r, k in zip(given, (2, 1), strict=True)
    ]
    vectors = "\n".join(" ".join(f"{x / 4:.12f}" for x in v) for v in cell)
    (tmp_path / "atoms.fdf").write_text(
        f"%block AtomicCoordinatesAndAtomicSpecies\n{chr(10).join(rows)}\n%endblock x\n"
    )
    (tmp_path / "run.fdf").write_text(
        f"system_label water ; lattice_constant 9 Ang\nLatticeConstant 4.d0 Ang\n"
        f"%block LatticeVectors\n{vectors}\n%endblock LatticeVectors\n"
        f"%include atoms.fdf\nAtomic-Coordinates-Format {form}\n"
        "%block ChemicalSpeciesLabel\n1 1 H\n2 8 O.pbe\n%endblock ChemicalSpeciesLabel\n"
    )
    fdf = read_fdf(tmp_path / "run.fdf")
    assert fdf.label == "water"
    found = geometry(fdf, 0.529177)
    np.testing.assert_allclose(found.cell * 0.529177, cell, atol=1e-9)
    np.testing.assert_allclose(found.positions * 0.529177, positions, atol=1e-9)
    assert found.numbers.tolist() == [8, 1]


def test_cell_parameters_give_the_cell(tmp_path: Path) -> None:
    (tmp_path / "run.fdf").write_text(
        "LatticeConstant 1.0 Ang\n%block LatticeParameters\n2.0 3.0 4.0 90. 90. 120.\n%endblock\n"
        "%block AtomicCoordinatesAndAtomicSpecies\n0 0 0 1\n%endblock\n"
        "%block ChemicalSpeciesLabel\n1 6 C\n%endblock\n"
    )
    cell = geometry(read_fdf(tmp_path / "run.fdf"), 0.5).cell * 0.5
    np.testing.assert_allclose(np.linalg.norm(cell, axis=1), [2, 3, 4], atol=1e-12)
    np.testing.assert_allclose(cell[0] @ cell[1], 2 * 3 * np.cos(2 * np.pi / 3), atol=1e-12)
    np.testing.assert_allclose(cell[2], [0, 0, 4], atol=1e-12)


def test_block_in_another_file_does_not_hide_what_follows(tmp_path: Path) -> None:
    (tmp_path / "run.fdf").write_text(
        "%block AtomicCoordinatesAndAtomicSpecies < atoms.txt\nHSetupOnly true\n"
        "%block ChemicalSpeciesLabel\n1 6 C\n%endblock\nSystemLabel diamond\n"
    )
    fdf = read_fdf(tmp_path / "run.fdf")
    assert fdf.flag("HSetupOnly")
    assert fdf.label == "diamond"
    with pytest.raises(InputError, match="cell or atoms cannot be read from the input"):
        geometry(fdf, 0.529177)


@pytest.mark.parametrize("what", ["Zmatrix", "AtomicCoordinatesOrigin", "Supercell"])
def test_input_that_is_not_understood_says_so(tmp_path: Path, what: str) -> None:
    (tmp_path / "run.fdf").write_text(f"%block {what}\n1 0 0\n%endblock\n")
    with pytest.raises(InputError, match=f"{what} is not understood; keep the .XV"):
        geometry(read_fdf(tmp_path / "run.fdf"), 0.529177)
