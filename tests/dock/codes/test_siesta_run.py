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

    @pytest.fixture(
        params=[
            "siesta//Si",
            "siesta//sisl-files-Si_pdos_k",
            "siesta//sisl-files-graphene_electrode",
            "qe//MoS2_hpro/aobasis",
        ]
    )
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        packed, _, within = request.param.partition("//")
        folder = dft_data(f"third-party/{packed}") / within
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
@pytest.mark.parametrize(
    ("name", "count"), [("graphene_8", 20), ("H2O_box", 48), ("GaAs_8", 16), ("SiC_8", 16)]
)
def test_every_structure_of_the_sets(dft_data: Data, name: str, count: int) -> None:
    for number in range(1, count + 1):
        calculation = SIESTA.read(dft_data(f"siesta/{name}/{number:04d}"), name)
        assert calculation.warnings == ()
        assert_reproduces_eigenvalues(calculation, 2e-5, kpoints=2)
        overlap = calculation.matrices["overlap"]()
        assert_two_centre(calculation.structure, calculation.info.orbital_map, overlap, 1e-7)
        assert_hermitian(overlap, 1e-7)
        assert_hermitian(calculation.matrices["hamiltonian"](), 1e-6)


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


def test_output_that_does_not_tell_is_warned_of(
    toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = toy_run(program="Siesta Version: siesta-3.2-pl-5", converged="")
    calculation = SIESTA.read(run.write(tmp_path), "toy")
    assert calculation.unconverged == ""
    assert "scf_converged" not in calculation.info.provenance
    assert calculation.warnings == ("toy.out does not tell whether the run converged",)


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


@pytest.mark.parametrize("run", ["H2O_gamma", "C_gamma_pol", "C_gamma_nc", "C_gamma_soc"])
def test_gamma_run_in_a_small_cell_is_refused(dft_data: Data, run: str) -> None:
    folder = dft_data("third-party/siesta") / f"sisl-files-{run}"
    (label,) = SIESTA.recognises(folder)
    with pytest.raises(InputError, match=r"Gamma point alone, .* 'ForceAuxCell true'"):
        SIESTA.read(folder, label)
