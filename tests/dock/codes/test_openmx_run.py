"""OpenMX runs: the proofs on real ones of every spin mode, by 3.8 and 3.9."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.openmx import OPENMX
from deeph_dock.codes.openmx.eigenvalues import Expected, read_list
from deeph_dock.codes.openmx.output import read_output
from deeph_dock.codes.openmx.scfout import read_scfout
from deeph_dock.proofs import eigenvalue_deviation
from deeph_dock.spin_blocks import adjoint
from deeph_dock.testing import CodeContract, assert_reproduces_eigenvalues
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.orbitals import shell_offsets

Data = Callable[[str], Path]

CRYSTALS = [
    "MoS2_12/0001",
    "Bi2Se3_SOC_5/0001",
    "bands_check/MoS2",
    "bands_check/Bi2Se3_SOC",
    "modes/Fe_bcc_collinear",
    "modes/SeO_NC_SOC_magnetic",
    "modes_v38/SeO_NC_SOC_magnetic",
]
MOLECULES = [
    "modes/H2O_nonspin",
    "modes/H2O_f",
    "modes/O2_collinear",
    "modes/O2_NC_noSOC",
    "modes_v38/H2O_nonspin",
    "modes_v38/O2_collinear",
    "modes_v38/O2_NC_noSOC",
]


def _read(dft_data: Data, name: str) -> Calculation:
    return OPENMX.read(dft_data(f"openmx/{name}"), "openmx")


class TestRuns(CodeContract):
    """Every run with a scfout: S is exact, H converged to 1e-8 Hartree, r is from a grid."""

    two_centre_limit = 5e-12
    eigenvalue_limit = 5e-7
    hermitian_limits: ClassVar = {
        "overlap": 3e-10,
        "hamiltonian": 1e-7,
        "density_matrix": 1e-12,
    }
    electron_limit = 1e-10
    position_limit = 2e-4

    @pytest.fixture(params=[*CRYSTALS, *MOLECULES])
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        if "Bi2Se3" in request.param:  # the grid of 120 Ry is coarse for its orbitals
            self.position_limit = 6e-3
        folder = dft_data(f"openmx/{request.param}")
        assert OPENMX.recognises(folder) == ("openmx",)
        return OPENMX.read(folder, "openmx")

    def test_everything_is_converged_and_said(self, calculation: Calculation) -> None:
        assert calculation.unconverged == ""
        facts = calculation.info.provenance
        assert facts["scf_converged"] is True
        assert facts["functional"] == "GGA-PBE"
        assert facts["electronic_temperature_eV"] == pytest.approx(300 * 8.617333e-5, rel=1e-4)
        assert (
            set(facts["basis"])
            == set(facts["pseudopotentials"])
            == set(calculation.info.orbital_map)
        )
        assert "/" not in str(facts)
        assert set(calculation.matrices) >= {"overlap", "hamiltonian", "position_matrix"}

    def test_the_density_matrix_is_there_where_the_file_has_all_of_it(
        self, calculation: Calculation
    ) -> None:
        info = calculation.info
        lost = info.spin == "soc" and info.provenance["code_version"] == "3.8.5"
        assert ("density_matrix" not in calculation.matrices) == lost
        assert any("3.8 does not store" in line for line in calculation.warnings) == lost
        assert len(calculation.warnings) == lost


@pytest.mark.parametrize("name", CRYSTALS)
def test_eigenvalues_listed_in_the_output_are_reproduced_as_well(dft_data: Data, name: str) -> None:
    """On the mesh, whose points the output gives with five digits and OpenMX shifts by 1e-6."""
    calculation = _read(dft_data, name)
    folder = dft_data(f"openmx/{name}")
    file = read_scfout(folder / "openmx.scfout")
    bands = int(file.orbitals.sum()) * (2 if file.spins == 4 else 1)
    assert file.fermi_level is not None
    expected = Expected(bands, 2 if file.spins == 2 else 1, file.fermi_level, file.lattice)
    listed = read_list(read_output(folder / "openmx.out"), expected)
    assert listed.kmesh == tuple(calculation.info.provenance["kmesh"])
    assert_reproduces_eigenvalues(
        replace(calculation, eigenvalues=lambda: listed), 2e-7, above_fermi=100, kpoints=3
    )


@pytest.mark.parametrize(
    ("data", "name"), [("MoS2_12", "0001"), ("Bi2Se3_SOC_5", "0001")], ids=["MoS2", "Bi2Se3"]
)
def test_published_form_of_the_same_run_is_the_same(dft_data: Data, data: str, name: str) -> None:
    """Folders that another converter wrote in single precision."""
    calculation = _read(dft_data, f"{data}/{name}")
    other = StructureFolder(dft_data(f"deeph/{data}/{name}"), name)
    assert other.info.orbital_map == calculation.info.orbital_map
    assert other.info.fermi_level == pytest.approx(calculation.info.fermi_level, abs=1e-5)
    np.testing.assert_array_equal(other.structure.numbers, calculation.structure.numbers)
    np.testing.assert_allclose(
        other.structure.positions, calculation.structure.positions, atol=1e-8
    )
    for kind, theirs in (("overlap", other.overlap()), ("hamiltonian", other.hamiltonian())):
        ours = calculation.matrices[kind]()
        assert len(theirs) == len(ours)
        sorted_theirs = theirs.on_pairs(ours.atom_pairs)
        np.testing.assert_allclose(sorted_theirs.entries, ours.entries, rtol=1e-6, atol=2e-6)


def _deviation(calculation: Calculation, hamiltonian: BlockMatrix) -> float:
    assert calculation.eigenvalues is not None
    return eigenvalue_deviation(
        calculation.structure,
        calculation.info,
        hamiltonian,
        calculation.matrices["overlap"](),
        calculation.eigenvalues(),
        kpoints=4,
    ).largest


@pytest.mark.parametrize("folder", ["modes", "modes_v38"])
def test_signs_of_the_imaginary_part_and_of_k_show_where_spin_and_lattice_have_no_symmetry(
    dft_data: Data, folder: str
) -> None:
    """The control of the eigenvalues: a magnetic crystal without inversion, with spin-orbit."""
    calculation = _read(dft_data, f"{folder}/SeO_NC_SOC_magnetic")
    hamiltonian = calculation.matrices["hamiltonian"]()
    assert _deviation(calculation, hamiltonian) < 1e-7
    assert _deviation(calculation, hamiltonian.with_entries(hamiltonian.entries.conj())) > 5e-3
    assert calculation.eigenvalues is not None
    listed = calculation.eigenvalues()
    opposite = replace(listed, kpoints=-listed.kpoints)
    backwards = replace(calculation, eigenvalues=lambda: opposite)
    assert _deviation(backwards, hamiltonian) > 5e-3


def _spin_orbit(calculation: Calculation, element: str, shell: int) -> list[float]:
    """Project H of one atom on s_a L_a, a = x, y, z: the strength of the coupling by each."""
    info, structure = calculation.info, calculation.structure
    hamiltonian = calculation.matrices["hamiltonian"]()
    atom = structure.symbols.index(element)
    (row,) = hamiltonian.rows_of(np.array([[0, 0, 0, atom, atom]]))
    block = hamiltonian.block(int(row))
    start = int(shell_offsets(info.orbital_map[element])[shell])
    assert info.orbital_map[element][shell] == 1
    rows = start + np.arange(3)
    rows = np.concatenate([rows, rows + len(block) // 2])
    part = block[np.ix_(rows, rows)]
    y, z, x = np.eye(3)
    momenta = [1j * (np.outer(v, u) - np.outer(u, v)) for u, v in ((y, z), (z, x), (x, y))]
    pauli = [np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
    strengths = []
    for sigma, momentum in zip(pauli, momenta, strict=True):
        operator = np.kron(sigma / 2, momentum)
        overlap = np.vdot(operator, part).real / np.vdot(operator, operator).real
        strengths.append(float(overlap))
    return strengths


def test_spin_orbit_coupling_is_positive_and_equal_along_all_axes(dft_data: Data) -> None:
    """A wrong relation of the spin parts breaks the equality, conjugation the sign of two."""
    calculation = _read(dft_data, "bands_check/Bi2Se3_SOC")
    strengths = _spin_orbit(calculation, "Bi", 2)
    assert min(strengths) > 1.0
    assert np.ptp(strengths) < 0.01 * max(strengths)


@pytest.mark.parametrize("name", ["modes/SeO_NC_SOC_magnetic", "modes/O2_NC_noSOC"])
def test_density_matrix_gives_the_band_energy(dft_data: Data, name: str) -> None:
    """Tr(rho H) is Uele of the output: the conjugate of the file's matrix, and no other spin."""
    calculation = _read(dft_data, name)
    hamiltonian = calculation.matrices["hamiltonian"]()
    density = calculation.matrices["density_matrix"]()

    def energy(rho: BlockMatrix) -> float:
        return float((rho.entries * hamiltonian.entries.conj()).sum().real) / 27.2113845

    text = (dft_data(f"openmx/{name}") / "openmx.out").read_text()
    printed = float(text.rpartition("Uele.")[2].split()[0])
    assert energy(density) == pytest.approx(printed, abs=1e-8)
    assert abs(energy(density.with_entries(density.entries.conj())) - printed) > 1e-4
    np.testing.assert_allclose(adjoint(density).entries, density.entries, atol=1e-12)


def _copy(dft_data: Data, tmp_path: Path, name: str) -> Path:
    folder = shutil.copytree(dft_data(f"openmx/{name}"), tmp_path / "run")
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def test_output_may_have_another_name_or_stand_at_the_end_of_the_scfout(
    dft_data: Data, tmp_path: Path
) -> None:
    folder = _copy(dft_data, tmp_path, "modes/H2O_nonspin")
    whole = OPENMX.read(folder, "openmx")
    (folder / "openmx.out").rename(folder / "slurm.log")
    renamed = OPENMX.read(folder, "openmx")
    assert renamed.info == whole.info
    text = (folder / "slurm.log").read_bytes()
    (folder / "slurm.log").unlink()
    with open(folder / "openmx.scfout", "ab") as file:
        file.write(text)
    appended = OPENMX.read(folder, "openmx")
    assert appended.info == whole.info
    assert appended.warnings == ()
    assert_reproduces_eigenvalues(appended, 2e-7)


def test_run_without_output_is_read_with_a_warning(dft_data: Data, tmp_path: Path) -> None:
    folder = _copy(dft_data, tmp_path, "modes/Fe_bcc_collinear")
    (folder / "openmx.out").unlink()
    calculation = OPENMX.read(folder, "openmx")
    assert calculation.warnings == (
        "no output of OpenMX found: whether the run converged is not known",
    )
    assert "scf_converged" not in calculation.info.provenance
    assert_reproduces_eigenvalues(calculation, 1e-7)


def test_run_that_did_not_converge_says_so(dft_data: Data, tmp_path: Path) -> None:
    folder = _copy(dft_data, tmp_path, "modes/H2O_nonspin")
    text = (folder / "openmx.out").read_text()
    lines = [line for line in text.splitlines() if "SCF=  16" not in line]
    (folder / "openmx.out").write_text("\n".join(lines))
    calculation = OPENMX.read(folder, "openmx")
    assert calculation.unconverged.startswith(
        "openmx.out: not converged after 15 iterations, Uele changed by "
    )
    assert calculation.info.fermi_level is None
    assert calculation.info.provenance["scf_converged"] is False
    assert calculation.eigenvalues is None
    assert "hamiltonian" in calculation.matrices


def test_last_step_of_moving_atoms_is_said(dft_data: Data, tmp_path: Path) -> None:
    folder = _copy(dft_data, tmp_path, "modes/H2O_nonspin")
    scfout = (folder / "openmx.scfout").read_bytes()
    (folder / "openmx.scfout").write_bytes(
        scfout.replace(b"MD.Type nomd\n\0", b"MD.Type Opt\n\0\0")
    )
    text = (folder / "openmx.out").read_text().replace("MD.Type nomd", "MD.Type Opt")
    head, mark, rest = text.partition("                  SCF history at MD= 1")
    first = mark + "\n\n   SCF=   1  NormRD=  1.0  Uele= -3.1\n\n"
    (folder / "openmx.out").write_text(head + first + mark.replace("1", "7") + rest)
    calculation = OPENMX.read(folder, "openmx")
    assert calculation.warnings == ("7 steps of Opt: the matrices are of the last",)
    assert calculation.unconverged == ""


def test_output_of_another_run_is_refused(dft_data: Data, tmp_path: Path) -> None:
    folder = _copy(dft_data, tmp_path, "modes/O2_NC_noSOC")
    other = dft_data("openmx/modes/O2_collinear") / "openmx.out"
    shutil.copyfile(other, folder / "openmx.out")
    with pytest.raises(InputError, match=r"openmx\.out: Fermi level .* not of one run"):
        OPENMX.read(folder, "openmx")


def test_bands_of_another_run_are_not_used(dft_data: Data, tmp_path: Path) -> None:
    folder = _copy(dft_data, tmp_path, "bands_check/MoS2")
    other = dft_data("openmx/modes/Fe_bcc_collinear") / "openmx.Band"
    shutil.copyfile(other, folder / "openmx.Band")
    calculation = OPENMX.read(folder, "openmx")
    assert calculation.eigenvalues is not None
    with pytest.raises(InputError, match=r"openmx\.Band: 13 bands, the matrices have 29"):
        calculation.eigenvalues()


def test_damaged_bands_are_named(dft_data: Data, tmp_path: Path) -> None:
    """Cut anywhere, or with another character: named, or one number is wrong."""
    folder = _copy(dft_data, tmp_path, "modes/Fe_bcc_collinear")
    path = folder / "openmx.Band"
    whole = path.read_bytes()
    calculation = OPENMX.read(folder, "openmx")
    assert calculation.eigenvalues is not None
    rng = np.random.default_rng(3)
    named: list[str] = []
    for at in [*rng.integers(0, 400, 80).tolist(), *rng.integers(0, len(whole), 80).tolist()]:
        for damaged in (whole[:at], whole[:at] + b"*" + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                calculation.eigenvalues()
            except InputError as error:
                named.append(str(error))
    assert len(named) > 250
    assert all("openmx.Band: " in message for message in named)


def test_bands_along_a_path_in_another_cell_are_those_of_this_one(
    dft_data: Data, tmp_path: Path
) -> None:
    """Band.KPath.UnitCell: k counts in the reciprocal lattice that the file names."""
    folder = _copy(dft_data, tmp_path, "bands_check/MoS2")
    lines = (folder / "openmx.Band").read_text().splitlines()
    reciprocal = np.array(lines[1].split(), dtype=float).reshape(3, 3)
    turned = np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 1]]) @ reciprocal
    lines[1] = " ".join(map(repr, turned.ravel().tolist()))
    start = 3 + int(lines[2])
    for place in range(start, len(lines), 2):
        number, *k = lines[place].split()
        in_turned = np.array(k, dtype=float) @ reciprocal @ np.linalg.inv(turned)
        lines[place] = f"{number} " + " ".join(map(repr, in_turned.tolist()))
    (folder / "openmx.Band").write_text("\n".join(lines))
    assert_reproduces_eigenvalues(OPENMX.read(folder, "openmx"), 1e-7, kpoints=4)


def test_run_that_wrote_no_scfout_is_named(dft_data: Data, tmp_path: Path) -> None:
    folder = _copy(dft_data, tmp_path, "MoS2_12/0002")
    assert OPENMX.recognises(folder) == ("openmx",)
    with pytest.raises(InputError, match=r"no scfout file; run it again with 'HS\.fileout on'"):
        OPENMX.read(folder, "openmx")
