"""SIESTA runs: the proofs on real ones, and what is refused or warned of on made ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.codes.siesta.eigenvalues import exact_kpoints
from deeph_dock.codes.siesta.fdf import geometry, read_fdf
from deeph_dock.codes.siesta.hsx import read_hsx
from deeph_dock.codes.siesta.units import SIESTA_4, SIESTA_5
from deeph_dock.proofs import eigenvalue_deviation
from deeph_dock.testing import CodeContract, assert_reproduces_eigenvalues, assert_two_centre
from deeph_spec.errors import InputError
from deeph_spec.testing import assert_hermitian

Data = Callable[[str], Path]


class TestOwnSets(CodeContract):
    """SIESTA 4.1, HSX version 0, single precision: k-points and Gamma, one and several elements."""

    @pytest.fixture(
        params=[
            "siesta/graphene_8/0001",
            "siesta/graphene_8/0013",
            "siesta/H2O_box/0001",
            "siesta/H2O_box/0042",
            "siesta/GaAs_8/0005",
            "siesta/SiC_8/0016",
            "siesta/bands_check/graphene",
            "siesta/bands_check/GaAs",
            "siesta/bands_check/SiC",
        ]
    )
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        folder = dft_data(request.param)
        (label,) = SIESTA.recognises(folder)
        return SIESTA.read(folder, label)

    def test_nothing_needs_a_warning(self, calculation: Calculation) -> None:
        assert calculation.warnings == ()
        assert calculation.info.provenance["energy_unit"] == SIESTA_4.rydberg
        assert calculation.info.provenance["scf_converged"] is True


class TestSiesta5(CodeContract):
    """SIESTA 5, HSX versions 1 and 2, double precision (one with the logical -1)."""

    @pytest.fixture(params=["Si", "sisl-files-Si_pdos_k", "sisl-files-graphene_electrode"])
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        folder = dft_data("third-party/siesta") / request.param
        (label,) = SIESTA.recognises(folder)
        return SIESTA.read(folder, label)

    two_centre_limit = 1e-8
    hermitian_limits: ClassVar = {"overlap": 1e-8, "hamiltonian": 1e-7}

    def test_units_are_those_of_the_program(self, calculation: Calculation) -> None:
        assert calculation.info.provenance["energy_unit"] == SIESTA_5.rydberg
        assert calculation.info.provenance["length_unit"] == SIESTA_5.bohr


class TestPatchedVersion2(CodeContract):
    """H and S of SIESTA 4.1 in the records of version 2: the Fermi level gives the unit away."""

    two_centre_limit = 1e-8
    hermitian_limits: ClassVar = {"overlap": 1e-8, "hamiltonian": 1e-7}

    @pytest.fixture(params=["graphene", "GaAs"])
    def calculation(
        self, request: pytest.FixtureRequest, dft_data: Data, tmp_path: Path
    ) -> Calculation:
        for name in (f"bands_check/{request.param}", "hsx_v2"):
            for path in dft_data(f"siesta/{name}").glob(f"{request.param}.*"):
                if path.suffix != ".out":
                    shutil.copyfile(path, tmp_path / path.name)
        return SIESTA.read(tmp_path, request.param)

    def test_unit_is_found_from_the_fermi_level(self, calculation: Calculation) -> None:
        assert calculation.info.provenance["hsx_version"] == 2
        assert calculation.info.provenance["energy_unit"] == SIESTA_4.rydberg

    def test_single_precision_file_of_the_same_run_agrees(
        self, calculation: Calculation, dft_data: Data
    ) -> None:
        label = calculation.info.provenance["label"]
        other = SIESTA.read(dft_data(f"siesta/bands_check/{label}"), label)
        for name, read in calculation.matrices.items():
            double, single = read(), other.matrices[name]()
            np.testing.assert_array_equal(double.atom_pairs, single.atom_pairs)
            np.testing.assert_allclose(double.entries, single.entries, rtol=2e-7, atol=1e-9)


@pytest.mark.slow
def test_many_molecules_in_a_periodic_cell(dft_data: Data) -> None:
    calculation = SIESTA.read(dft_data("siesta/H2O_24mol/0001"), "H2O_24mol")
    assert calculation.structure.symbols[:4] == ["O", "H", "H", "O"]  # the order is kept
    assert_reproduces_eigenvalues(calculation)
    overlap = calculation.matrices["overlap"]()
    assert_two_centre(calculation.structure, calculation.info.orbital_map, overlap)


def test_last_step_of_displaced_atoms(dft_data: Data) -> None:
    calculation = SIESTA.read(
        dft_data("third-party/siesta") / "sisl-files-H_chain", "h_chain_vibra"
    )
    assert calculation.warnings == (
        "13 self-consistency cycles: the matrices are those of the last",
    )
    assert_reproduces_eigenvalues(calculation, 1e-6)
    for read in calculation.matrices.values():
        assert_hermitian(read(), 1e-12)


@pytest.mark.parametrize("version", [0, 1])
def test_ancient_files_with_a_geometry_beside_them(
    dft_data: Data, tmp_path: Path, version: int
) -> None:
    folder = dft_data("third-party/siesta") / "sisl-files-ancient_HSX_v0_v1"
    shutil.copyfile(folder / f"si_pdos_kgrid.{version}.HSX", tmp_path / "si.HSX")
    later = read_hsx(folder / "si_pdos_kgrid.1.HSX")
    assert later.cell is not None
    assert later.positions is not None
    lines = [" ".join(f"{x:.9f}" for x in (*row, 0, 0, 0)) for row in later.cell]
    lines += ["2"] + [
        " ".join(map(str, (1, 14, *row, 0, 0, 0))) for row in later.positions.tolist()
    ]
    (tmp_path / "si.XV").write_text("\n".join(lines))
    calculation = SIESTA.read(tmp_path, "si")
    overlap = calculation.matrices["overlap"]()
    assert_two_centre(calculation.structure, calculation.info.orbital_map, overlap, 1e-7)
    assert_hermitian(overlap, 1e-8)
    assert any("whether the run converged is not known" in line for line in calculation.warnings)


def test_wrong_unit_is_seen_in_the_eigenvalues(dft_data: Data) -> None:
    """The control of the first proof: CODATA's rydberg costs more than the tolerance."""
    calculation = SIESTA.read(dft_data("siesta/bands_check/graphene"), "graphene")
    hamiltonian = calculation.matrices["hamiltonian"]()
    wrong = hamiltonian.entries * np.float32(SIESTA_5.rydberg / SIESTA_4.rydberg)
    assert calculation.eigenvalues is not None
    result = eigenvalue_deviation(
        calculation.structure,
        calculation.info,
        hamiltonian.with_entries(wrong),
        calculation.matrices["overlap"](),
        calculation.eigenvalues(),
        kpoints=3,
    )
    assert result.largest > 1e-4


def test_printed_kpoints_are_seen_in_the_eigenvalues(dft_data: Data) -> None:
    folder = dft_data("siesta/bands_check/GaAs")
    from deeph_dock.codes.siesta.eigenvalues import read_kpoints
    from deeph_dock.codes.siesta.geometry import read_xv

    calculation = SIESTA.read(folder, "GaAs")
    assert calculation.eigenvalues is not None
    exact = calculation.eigenvalues().kpoints
    printed = read_kpoints(folder / "GaAs.KP") @ read_xv(folder / "GaAs.XV").cell.T / (2 * np.pi)
    np.testing.assert_allclose(exact * 6, np.rint(exact * 6), atol=1e-12)
    assert 1e-8 < np.abs(exact - printed).max() < 3e-6


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


# -- spin, convergence, Gamma ---------------------------------------------------------------------


def test_setup_only_run_is_named(dft_data: Data) -> None:
    calculation = SIESTA.read(dft_data("siesta/modes/graphene_hsetup"), "graphene_hsetup")
    assert calculation.unconverged == "set-up only (HSetupOnly)"
    assert calculation.info.fermi_level is None
    assert calculation.eigenvalues is None
    converged = SIESTA.read(dft_data("siesta/bands_check/graphene"), "graphene")
    np.testing.assert_array_equal(
        calculation.matrices["overlap"]().entries, converged.matrices["overlap"]().entries
    )


@pytest.mark.parametrize(
    "ending", ["SCF_NOT_CONV: SCF did not converge in maximum number of steps.", "killed"]
)
def test_run_that_did_not_converge_is_named(
    toy_run: Callable[..., Any], tmp_path: Path, ending: str
) -> None:
    calculation = SIESTA.read(toy_run(converged=ending).write(tmp_path), "toy")
    assert calculation.unconverged == "toy.out does not say that it converged"
    assert calculation.info.provenance["scf_converged"] is False


def test_run_without_output_is_converted_with_a_warning(
    toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    calculation = SIESTA.read(toy_run().write(tmp_path, leave_out=[".out", ".EIG"]), "toy")
    assert list(calculation.matrices) == ["overlap", "hamiltonian"]
    assert calculation.info.fermi_level is None
    assert calculation.warnings == (
        "no output of SIESTA found: whether the run converged is not known",
        "no toy.EIG: the Fermi level is not known",
    )


def _gamma_run(dft_data: Data, folder: Path, make: Callable[..., Any]) -> Path:
    """Write H2O_box/0001 as a version-1 file of one image, as SIESTA 5 does for Gamma alone."""
    source = dft_data("siesta/H2O_box/0001")
    original = SIESTA.read(source, "H2O_box")
    template = make(atoms=1)
    run = template.but(
        structure=original.structure,
        orbital_map=original.info.orbital_map,
        overlap=original.matrices["overlap"](),
        hamiltonian=original.matrices["hamiltonian"](),
        label="H2O_box",
        version=1,
        dtype="f8",
    )
    run.write(folder, leave_out=[".out", ".EIG", ".KP"])
    shutil.copyfile(source / "H2O_box.ORB_INDX", folder / "H2O_box.ORB_INDX")
    return folder


def test_gamma_run_in_a_wide_cell_is_read(
    dft_data: Data, toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = _gamma_run(dft_data, tmp_path, toy_run)
    with pytest.raises(InputError, match="ForceAuxCell"):  # projectors of unknown radius
        SIESTA.read(folder, "H2O_box")
    output = dft_data("siesta/H2O_box/0001") / "H2O_box.out"
    lines = [line for line in output.read_text().splitlines() if "auxiliary" not in line]
    (folder / "H2O_box.out").write_text("\n".join(lines))
    calculation = SIESTA.read(folder, "H2O_box")
    original = SIESTA.read(dft_data("siesta/H2O_box/0001"), "H2O_box")
    np.testing.assert_array_equal(
        calculation.matrices["overlap"]().atom_pairs, original.matrices["overlap"]().atom_pairs
    )


def test_gamma_run_of_a_molecule_across_the_border_finds_its_images(
    dft_data: Data, toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    folder = _gamma_run(dft_data, tmp_path, toy_run)
    shutil.copyfile(dft_data("siesta/H2O_box/0001") / "H2O_box.out", folder / "H2O_box.out")
    text = (folder / "H2O_box.out").read_text().replace("auxiliary", "")
    (folder / "H2O_box.out").write_text(text)
    # Move the first hydrogen by a lattice vector: H and S of a folded run do not change.
    data = bytearray((folder / "H2O_box.HSX").read_bytes())
    hsx = read_hsx(folder / "H2O_box.HSX")
    assert hsx.positions is not None
    assert hsx.cell is not None
    at = bytes(data).index(hsx.positions.tobytes())
    moved = hsx.positions.copy()
    moved[1] += hsx.cell[0]
    data[at : at + moved.nbytes] = moved.tobytes()
    (folder / "H2O_box.HSX").write_bytes(bytes(data))
    (folder / "H2O_box.XV").unlink()
    calculation = SIESTA.read(folder, "H2O_box")
    overlap = calculation.matrices["overlap"]()
    assert overlap.rows_of([[-1, 0, 0, 0, 1], [1, 0, 0, 1, 0], [0, 0, 0, 0, 2]]).min() >= 0
    assert_two_centre(calculation.structure, calculation.info.orbital_map, overlap)


def test_gamma_run_in_a_small_cell_is_refused(dft_data: Data) -> None:
    folder = dft_data("third-party/siesta") / "sisl-files-H2O_gamma"
    with pytest.raises(InputError, match=r"Gamma point alone, .* 'ForceAuxCell true'"):
        SIESTA.read(folder, "h2o_dipole")


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


@pytest.mark.parametrize("what", ["Zmatrix", "AtomicCoordinatesOrigin", "Supercell"])
def test_input_that_is_not_understood_says_so(tmp_path: Path, what: str) -> None:
    (tmp_path / "run.fdf").write_text(f"%block {what}\n1 0 0\n%endblock\n")
    with pytest.raises(InputError, match=f"{what} is not understood; keep the .XV"):
        geometry(read_fdf(tmp_path / "run.fdf"), 0.529177)
