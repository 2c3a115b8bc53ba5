"""Files of FHI-aims one by one: what is understood, what is refused, what is warned of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.fhi_aims import FHI_AIMS
from deeph_dock.codes.fhi_aims.assembly import HARTREE
from deeph_dock.testing import assert_reproduces_eigenvalues
from deeph_spec.errors import InputError

BASIS = "\n  fn.   type   at.   n   l   m\n"
MOLECULE = {
    "geometry.in": "atom 0 0 0 H\natom 0 0 0.74 H\n",
    "control.in": "xc pbe\noutput h_s_matrices\n  species H\n    nucleus 1\n",
    "basis-indices.out": f"{BASIS}    1 atomic     1   1   0   0\n    2 atomic     2   1   0   0\n",
    "overlap-matrix.out": "  1  1  0.10D+001\n  1  2  0.60D+000\n  2  2  0.10D+001\n",
    "hamiltonian.out": "  1  1  -.40E+000\n  1  2  -.50E+000\n  2  2  -.40E+000\n",
}
CHAIN = {
    "geometry.in": (
        "lattice_vector 3 0 0\nlattice_vector 0 9 0\nlattice_vector 0 0 9\natom_frac 0.75 0 0 H\n"
    ),
    "control.in": "xc pbe\nk_grid 4 1 1\noutput_rs_matrices plain\n  species H\n    nucleus 1\n",
    "basis-indices.out": f"{BASIS}    1 atomic     1   1   0   0\n",
    "rs_indices.out": (
        "n_hamiltonian_matrix_size: 4\nn_cells_in_hamiltonian: 4\nn_basis: 1\ncell_index\n"
        " 0 0 0\n -1 0 0\n 1 0 0\n 999999999 999999999 999999999\n"
        "index_hamiltonian(1,:,:)\n 1\n 2\n 3\n 0\nindex_hamiltonian(2,:,:)\n 1\n 2\n 3\n -1\n"
        "column_index_hamiltonian\n 1\n 1\n 1\n 0\n"
    ),
    "rs_overlap.out": "  0.1E+01\n  0.2E+00\n  0.2E+00\n  0.0E+00\n",
    "rs_hamiltonian.out": " -0.4E+00\n -0.3E+00\n -0.3E+00\n  0.0E+00\n",
}
CELL = "lattice_vector 2 0 0\nlattice_vector 0 4 0\nlattice_vector 0 0 8\n"
HEAD = """MPI startup(): Warning: whatever stands before
------------------------------------------------------------
          Invoking FHI-aims ...
  FHI-aims version      : 240920.1
"""
MOLECULE_IN = """  Input geometry:
  | No unit cell requested.
  | Atomic structure:
  |       Atom                x [A]            y [A]            z [A]
  |    1: Species H             0.00000000        0.00000000        0.00000000
  |    2: Species H             0.00000000        0.00000000        0.74000000

"""
CHAIN_IN = """  Input geometry:
  | Unit cell:
  |        3.00000000        0.00000000        0.00000000
  |        0.00000000        9.00000000        0.00000000
  |        0.00000000        0.00000000        9.00000000
  | Atomic structure:
  |       Atom                x [A]            y [A]            z [A]
  |    1: Species H             2.25000000        0.00000000        0.00000000

"""
BEGIN = "          Begin self-consistency loop: Initialization.\n"
AGAIN = "          Begin self-consistency loop: Re-initialization.\n"
ITERATION = "          Begin self-consistency iteration #    1\n"
CONVERGED = "  Self-consistency cycle converged.\n"
FERMI = "  | Chemical potential (Fermi level):    -9.00000000 eV\n"
STATES = "  State    Occupation    Eigenvalue [Ha]    Eigenvalue [eV]\n"
# (h11 +- h12) / (1 +- s12): -0.9 / 1.6 and 0.1 / 0.4 Ha.
LEVELS = f"""  Writing Kohn-Sham eigenvalues.

{STATES}      1       2.00000          -0.562500          {-0.5625 * HARTREE:.5f}
      2       0.00000           0.250000           {0.25 * HARTREE:.5f}

  Highest occupied state (VBM) at     -1.00000000 eV
"""
CYCLE = ITERATION + FERMI + LEVELS
MOLECULE_LOG = HEAD + MOLECULE_IN + BEGIN + CYCLE + CONVERGED
CHAIN_LOG = HEAD + CHAIN_IN + BEGIN + ITERATION + FERMI + CONVERGED
MOVED = """  Updated atomic structure:
  ------------------------------------------------------------
                         x [A]             y [A]             z [A]
            atom         0.00000000        0.00000000       -0.01000000  H
            atom         0.00000000        0.00000000        0.75000000  H
  ------------------------------------------------------------
"""
STEPPED = """  Atomic structure (and velocities) as used in the preceding time step:
                         x [A]             y [A]             z [A]            Atom
            atom         0.00000000        0.00000000       -0.02000000  H
  velocity         0.10000000        0.00000000        0.00000000
            atom         0.00000000        0.00000000        0.76000000  H
  velocity         0.10000000        0.00000000        0.00000000

"""


def write(folder: Path, files: Mapping[str, str], **changes: str | None) -> Path:
    """Write a run; names of changes have _ for . and -; None leaves a file out."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        changed: str | None = changes.pop(name.replace(".", "_").replace("-", "_"), text)
        if changed is not None:
            (folder / name).write_text(changed)
    for name, new in changes.items():
        if new is not None:
            (folder / name.replace("_log", ".log")).write_text(new)
    return folder


def read(folder: Path) -> Calculation:
    assert FHI_AIMS.recognises(folder) == ("",)
    return FHI_AIMS.read(folder, "")


def refused(folder: Path) -> str:
    """Read all of a run that is refused, and give the reason."""
    with pytest.raises(InputError) as caught:
        [matrix() for matrix in read(folder).matrices.values()]
    message = str(caught.value)
    assert "\n" not in message
    return message


# -- whole runs ---------------------------------------------------------------------------------


def test_molecule(tmp_path: Path) -> None:
    calculation = read(write(tmp_path, MOLECULE, aims_log=MOLECULE_LOG))
    assert calculation.warnings == ()
    assert calculation.info.fermi_level == -9.0
    assert calculation.info.occupation == 2.0
    np.testing.assert_array_equal(np.diag(calculation.structure.lattice), [30, 30, 30.74])
    hamiltonian = calculation.matrices["hamiltonian"]()
    assert hamiltonian.atom_pairs.tolist() == [[0, 0, 0, i, j] for i in (0, 1) for j in (0, 1)]
    np.testing.assert_allclose(
        hamiltonian.entries, np.array([-0.4, -0.5, -0.5, -0.4]) * HARTREE, rtol=1e-15
    )
    assert_reproduces_eigenvalues(calculation, 1e-5, above_fermi=50.0)


def test_chain_whose_atom_is_wrapped(tmp_path: Path) -> None:
    calculation = read(write(tmp_path, CHAIN, aims_log=CHAIN_LOG))
    assert calculation.warnings == ()
    np.testing.assert_allclose(calculation.structure.positions, [[2.25, 0, 0]])
    overlap = calculation.matrices["overlap"]()
    assert overlap.atom_pairs.tolist() == [[-1, 0, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]]
    np.testing.assert_array_equal(overlap.entries, [0.2, 1.0, 0.2])


def test_eigenvalues_of_two_channels_at_k_points(tmp_path: Path) -> None:
    # E(k) = (h0 + 2 h1 cos k) / (1 + 2 s1 cos k), down shifted by 0.1 Ha S.
    levels = "  Writing Kohn-Sham eigenvalues.\n"
    for number, k in enumerate([0.0, 0.25], 1):
        wave = 2 * np.cos(2 * np.pi * k)
        up = (-0.4 - 0.3 * wave) / (1 + 0.2 * wave)
        for spin, energy in (("up", up), ("down", up + 0.1)):
            levels += "\n" if spin == "up" else ""
            levels += f"  Spin-{spin} eigenvalues: \n  K-point: {number:7d} at {k:10.6f}"
            levels += f"    0.000000    0.000000 (in units of recip. lattice)\n\n{STATES}"
            levels += f"      1       1.00000 {energy:14.6f} {energy * HARTREE:15.5f}\n\n"
    down = "".join(f" {x:.16E}\n" for x in (-0.3, -0.28, -0.28, 0.0))
    write(
        tmp_path,
        CHAIN,
        control_in=CHAIN["control.in"] + "spin collinear\n",
        rs_hamiltonian_out=None,
        aims_log=HEAD + CHAIN_IN + BEGIN + ITERATION + FERMI + levels + CONVERGED,
    )
    (tmp_path / "rs_hamiltonian_up.out").write_text(CHAIN["rs_hamiltonian.out"])
    (tmp_path / "rs_hamiltonian_dn.out").write_text(down)
    calculation = read(tmp_path)
    assert calculation.info.spin == "collinear"
    assert calculation.eigenvalues is not None
    printed = calculation.eigenvalues()
    assert printed.kpoints.tolist() == [[0, 0, 0], [0.25, 0, 0]]
    assert printed.energies.shape == (2, 2, 1)
    assert_reproduces_eigenvalues(calculation, 1e-5, above_fermi=50.0)


def test_k_points_are_moved_to_the_mesh(tmp_path: Path) -> None:
    levels = "  Writing Kohn-Sham eigenvalues.\n"
    for k in ("0.333333", "0.123457"):
        levels += f"  K-point:  1 at {k}  -0.250000  0.500000 (in units of recip. lattice)\n\n"
        levels += f"{STATES}      1       2.00000   -1.000000   -27.21138\n\n"
    write(
        tmp_path,
        CHAIN,
        control_in=CHAIN["control.in"] + "k_grid 3 2 1\nk_offset 0 0.25 0.5\n",
        aims_log=CHAIN_LOG.replace(CONVERGED, levels + CONVERGED),
    )
    calculation = read(tmp_path)
    assert calculation.eigenvalues is not None
    kpoints = calculation.eigenvalues().kpoints
    assert kpoints[0].tolist() == [1 / 3, -0.25, 0.5]
    assert kpoints[1].tolist() == [0.123457, -0.25, 0.5]
    assert calculation.info.provenance["kshift"] == [0, 0.25, 0.5]


def test_far_atoms_of_a_molecule_are_no_pair(tmp_path: Path) -> None:
    zero = {name: MOLECULE[name].replace("2  0.60D", "2  0.00D") for name in MOLECULE}
    zero["hamiltonian.out"] = zero["hamiltonian.out"].replace("-.50E", "0.00E")
    calculation = read(write(tmp_path, zero))
    assert calculation.matrices["overlap"]().atom_pairs[:, 3:].tolist() == [[0, 0], [1, 1]]
    write(tmp_path, zero, hamiltonian_out=MOLECULE["hamiltonian.out"])
    assert "atoms 1 and 2: all elements are 0 in this file or in overlap" in refused(tmp_path)


# -- recognition --------------------------------------------------------------------------------


def test_recognised_by_content(tmp_path: Path) -> None:
    (tmp_path / "rs_indices.out").write_text("something else\n")
    (tmp_path / "basis-indices.out").write_bytes(b"\xff\x00")
    assert FHI_AIMS.recognises(tmp_path) == ()
    (tmp_path / "rs_indices.out").write_text(CHAIN["rs_indices.out"])
    assert FHI_AIMS.recognises(tmp_path) == ("",)


def test_run_without_matrices_is_told_what_it_needs(tmp_path: Path) -> None:
    for name in ("geometry.in", "control.in"):
        (tmp_path / name).write_text(CHAIN[name])
    assert FHI_AIMS.recognises(tmp_path) == ()  # it has not run yet
    (tmp_path / "job.o4711").write_text(CHAIN_LOG)
    assert "put 'output_rs_matrices plain' into control.in" in refused(tmp_path)
    (tmp_path / "geometry.in").write_text(MOLECULE["geometry.in"])
    (tmp_path / "job.o4711").write_text(MOLECULE_LOG)
    assert "put 'output h_s_matrices' into control.in" in refused(tmp_path)


def test_inputs_are_all_files_that_are_read(tmp_path: Path) -> None:
    write(tmp_path, CHAIN, aims_log=CHAIN_LOG)
    (tmp_path / "notes.txt").write_text("mine\n")
    names = {path.name for path in FHI_AIMS.inputs(tmp_path, "")}
    assert names == {*CHAIN, "aims.log"}
    assert FHI_AIMS.own_folders(tmp_path, "") == ()


# -- output -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "  | Chemical potential (Fermi level):    -5.25000000 eV\n",
        "  | Chemical potential (Fermi level) in eV      :  -.52500000E+01\n",
        "  | Chemical Potential                          :    -5.25000000 eV\n",
    ],
)
def test_fermi_level_of_every_version(line: str, tmp_path: Path) -> None:
    calculation = read(write(tmp_path, MOLECULE, aims_log=MOLECULE_LOG + line))
    assert calculation.info.fermi_level == -5.25


def test_output_without_level_or_levels(tmp_path: Path) -> None:
    log = MOLECULE_LOG.replace(FERMI, "").replace(LEVELS, "")
    calculation = read(write(tmp_path, MOLECULE, aims_log=log))
    assert calculation.info.fermi_level is None
    assert calculation.eigenvalues is None
    assert calculation.warnings == (
        "aims.log holds no chemical potential: the Fermi level is not known",
    )


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (MOLECULE_LOG.replace(CONVERGED, ""), "does not say that the self-consistency cycle"),
        (HEAD + MOLECULE_IN + BEGIN, "tells of no self-consistency iteration"),
        (MOLECULE_LOG + HEAD + MOLECULE_IN + BEGIN + CYCLE, "does not say"),
    ],
)
def test_unconverged_runs(log: str, why: str, tmp_path: Path) -> None:
    calculation = read(write(tmp_path, MOLECULE, aims_log=log))
    assert why in calculation.unconverged
    assert calculation.info.fermi_level is None
    assert calculation.eigenvalues is None
    assert calculation.info.provenance["scf_converged"] is False
    assert set(calculation.matrices) == {"overlap", "hamiltonian"}


def test_last_run_of_several_in_one_output(tmp_path: Path) -> None:
    other = MOLECULE_LOG.replace("-9.0", "-8.0").replace("240920.1", "250320")
    # The last one stopped before it began.
    calculation = read(write(tmp_path, MOLECULE, aims_log=MOLECULE_LOG + other + HEAD))
    assert calculation.info.fermi_level == -8.0
    assert calculation.info.provenance["code_version"] == "250320"


def test_of_several_outputs_that_which_asks_for_matrices(tmp_path: Path) -> None:
    asked = MOLECULE_LOG.replace("  Input", "  output   h_s_matrices\n  Input", 1)
    write(tmp_path, MOLECULE, aims_log=asked)
    (tmp_path / "later.out").write_text(MOLECULE_LOG.replace("-9.0", "-8.0"))
    os.utime(tmp_path / "aims.log", (1, 1))
    assert read(tmp_path).info.fermi_level == -9.0


@pytest.mark.parametrize(
    "levels",
    [
        LEVELS.replace(f"{0.25 * HARTREE:.5f}", "********"),
        LEVELS.replace("State", "Stata"),
        "  Writing Kohn-Sham eigenvalues.\n",
    ],
)
def test_damaged_eigenvalues(levels: str, tmp_path: Path) -> None:
    log = MOLECULE_LOG.replace(LEVELS, levels)
    calculation = read(write(tmp_path, MOLECULE, aims_log=log))
    assert calculation.eigenvalues is not None
    with pytest.raises(InputError, match=r"aims\.log: "):
        calculation.eigenvalues()


def test_eigenvalues_of_another_run(tmp_path: Path) -> None:
    log = MOLECULE_LOG.replace("  Highest", "      3       0.00000  1.0  27.2\n  Highest")
    log = log.replace("\n\n      3", "\n      3")
    calculation = read(write(tmp_path, MOLECULE, aims_log=log))
    assert calculation.eigenvalues is not None
    with pytest.raises(InputError, match="3 eigenvalues in 1 spin channels, 2 functions"):
        calculation.eigenvalues()


# -- moving atoms -------------------------------------------------------------------------------

RELAX = MOLECULE["control.in"] + "relax_geometry bfgs 1e-2\n"


def test_relaxation_gives_the_last_step(tmp_path: Path) -> None:
    log = MOLECULE_LOG + MOVED + AGAIN + CYCLE + CONVERGED
    write(tmp_path, MOLECULE, control_in=RELAX, aims_log=log)
    calculation = read(tmp_path)
    np.testing.assert_array_equal(calculation.structure.positions[:, 2], [-0.01, 0.75])
    assert calculation.warnings == (
        "2 self-consistency cycles of moving atoms: the matrices are those of the last",
    )
    # With all digits where they are there.
    (tmp_path / "geometry.in.next_step").write_text("atom 0 0 -0.010000001 H\natom 0 0 .75 H\n")
    assert read(tmp_path).structure.positions[0, 2] == -0.010000001
    # But not if it is a later one.
    (tmp_path / "geometry.in.next_step").write_text("atom 0 0 -0.03 H\natom 0 0 .77 H\n")
    assert read(tmp_path).structure.positions[0, 2] == -0.01


def test_relaxation_of_a_crystal(tmp_path: Path) -> None:
    first, second = (line for line in MOVED.splitlines(keepends=True) if " atom  " in line)
    cell = CELL.replace("lattice_vector 2", "lattice_vector 3.1").replace(" 4 ", " 9 ")
    moved = MOVED.replace(second, "").replace(first, cell.replace("8", "9") + first)
    log = CHAIN_LOG + moved + AGAIN + ITERATION + FERMI + CONVERGED
    control = CHAIN["control.in"] + "relax_geometry bfgs 1e-2\nrelax_unit_cell full\n"
    structure = read(write(tmp_path, CHAIN, control_in=control, aims_log=log)).structure
    assert structure.lattice[0, 0] == 3.1
    assert structure.positions.tolist() == [[0, 0, -0.01]]


def test_relaxation_that_moved_nothing(tmp_path: Path) -> None:
    calculation = read(write(tmp_path, MOLECULE, control_in=RELAX, aims_log=MOLECULE_LOG))
    assert calculation.warnings == ()
    assert calculation.structure.positions[1, 2] == 0.74


def test_dynamics_give_the_last_step(tmp_path: Path) -> None:
    control = MOLECULE["control.in"] + "MD_run 1.0 NVE\n"
    log = MOLECULE_LOG + STEPPED + AGAIN + CYCLE + CONVERGED
    write(tmp_path, MOLECULE, control_in=control, aims_log=log)
    assert "does not list its geometry" in refused(tmp_path)  # the last step is not listed
    (tmp_path / "aims.log").write_text(log + STEPPED.replace("0.76", "0.79"))
    assert read(tmp_path).structure.positions[1, 2] == 0.79


def test_cycle_that_was_started_anew(tmp_path: Path) -> None:
    log = MOLECULE_LOG.replace(CONVERGED, AGAIN + CYCLE + CONVERGED)
    assert read(write(tmp_path, MOLECULE, aims_log=log)).warnings == ()


@pytest.mark.parametrize("ending", ["", CONVERGED])
def test_geometry_that_cannot_be_known(ending: str, tmp_path: Path) -> None:
    moved = MOVED if not ending else "  Updated atomic structure:\n"
    log = MOLECULE_LOG + moved + AGAIN + CYCLE + ending
    write(tmp_path, MOLECULE, control_in=RELAX, aims_log=log)
    assert "the last of 2 self-consistency cycles" in refused(tmp_path)


def test_moving_atoms_without_output(tmp_path: Path) -> None:
    write(tmp_path, MOLECULE, control_in=RELAX)
    assert "relax_geometry: the atoms moved" in refused(tmp_path)
    (tmp_path / "geometry.in.next_step").write_text("atom 0 0 0 H\natom 0 0 .75 H\n")
    calculation = read(tmp_path)
    assert calculation.structure.positions[1, 2] == 0.75
    assert "geometry.in.next_step is taken" in calculation.warnings[0]
    write(tmp_path, MOLECULE, control_in=MOLECULE["control.in"] + "MD_run 1.0 NVE\n")
    assert "MD_run: the atoms moved" in refused(tmp_path)


def test_output_of_another_geometry(tmp_path: Path) -> None:
    write(tmp_path, MOLECULE, geometry_in="atom 0 0 0 H\natom 0 0 0.8 H\n", aims_log=MOLECULE_LOG)
    assert "not the geometry that aims.log lists" in refused(tmp_path)
    crystal = "lattice_vector 9 0 0\nlattice_vector 0 9 0\nlattice_vector 0 0 9\n"
    write(tmp_path, MOLECULE, geometry_in=crystal + MOLECULE["geometry.in"])
    assert "not the geometry that aims.log lists" in refused(tmp_path)


# -- control.in ---------------------------------------------------------------------------------


def test_without_control_the_output_tells(tmp_path: Path) -> None:
    told = (
        "  Reading configuration options for species H   .\n  | Found nuclear charge :   1.0000\n"
        "  XC: Using PBE gradient-corrected functionals.\n"
        "  | Formal number of electrons (from input files) :       2.0000000000\n"
    )
    log = MOLECULE_LOG.replace("  Input", told + "  Input", 1)
    info = read(write(tmp_path, MOLECULE, control_in=None, aims_log=log)).info
    assert info.occupation == 2.0
    assert info.provenance["functional"] == "PBE gradient-corrected functionals."
    log = log.replace("2.0000000000", "")
    calculation = read(write(tmp_path, MOLECULE, control_in=None, aims_log=log))
    assert calculation.info.occupation is None
    assert calculation.warnings == ("no control.in: the number of electrons is not known",)


def test_charge_counts(tmp_path: Path) -> None:
    control = MOLECULE["control.in"] + "charge 1.d0\n"
    assert read(write(tmp_path, MOLECULE, control_in=control)).info.occupation == 1.0
    write(tmp_path, MOLECULE, control_in=control.replace("1.d0", "-3"))
    assert "5 electrons in 2 functions" in refused(tmp_path)
    write(tmp_path, MOLECULE, control_in=control.replace("1.d0", "one"))
    assert "charge: 'one' is not 1 number" in refused(tmp_path)
    formal = "  | Formal number of electrons (from input files) :       2.0000000000\n"
    write(tmp_path, MOLECULE, control_in=control, aims_log=MOLECULE_LOG + formal)
    assert "2 electrons, but 1 of the nuclei" in refused(tmp_path)


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ("include_spin_orbit\n", "no spin-orbit coupling"),
        ("include_spin_orbit .false.\n", ""),
        ("xc hse06 0.11\n", "xc hse06 has exact exchange"),
    ],
)
def test_what_the_hamiltonian_may_lack_is_told(more: str, warned: str, tmp_path: Path) -> None:
    control = MOLECULE["control.in"] + more
    calculation = read(write(tmp_path, MOLECULE, control_in=control, aims_log=MOLECULE_LOG))
    assert len(calculation.warnings) == bool(warned)
    assert all(warned in warning for warning in calculation.warnings)


def test_external_potential_is_told(tmp_path: Path) -> None:
    geometry = MOLECULE["geometry.in"] + "multipole 0 0 9 0 1.0\n"
    calculation = read(write(tmp_path, MOLECULE, geometry_in=geometry, aims_log=MOLECULE_LOG))
    assert "geometry.in has 'multipole'" in calculation.warnings[0]


def test_provenance(tmp_path: Path) -> None:
    control = CHAIN["control.in"] + "occupation_type fermi 0.05\nrelativistic atomic_zora scalar\n"
    provenance = read(
        write(tmp_path, CHAIN, control_in=control, aims_log=CHAIN_LOG)
    ).info.provenance
    expected: dict[str, Any] = {
        "code": "FHI-aims",
        "code_version": "240920.1",
        "energy_unit": HARTREE,
        "length_unit": 1.0,
        "source_dtype": "float64",
        "functional": "pbe",
        "relativistic": "atomic_zora scalar",
        "kmesh": [4, 1, 1],
        "kshift": [0.0, 0.0, 0.0],
        "electronic_temperature_eV": 0.05,
        "smearing": "fermi 0.05",
        "scf_converged": True,
        "basis": {"H": "1s atomic"},
    }
    assert provenance == expected


# -- which files --------------------------------------------------------------------------------


def test_files_of_two_runs_in_one_folder(tmp_path: Path) -> None:
    told = "  Reading configuration options for species H\n  | Found nuclear charge : 1.\n"
    write(tmp_path, CHAIN, control_in=None, aims_log=CHAIN_LOG.replace(CHAIN_IN, told + CHAIN_IN))
    for spin in ("up", "dn"):
        (tmp_path / f"rs_hamiltonian_{spin}.out").write_text(CHAIN["rs_hamiltonian.out"])
    assert "nothing says which of them" in refused(tmp_path)
    (tmp_path / "control.in").write_text(CHAIN["control.in"])
    assert read(tmp_path).info.spin == "none"
    (tmp_path / "control.in").write_text(CHAIN["control.in"] + "spin collinear\n")
    assert read(tmp_path).info.spin == "collinear"
    (tmp_path / "rs_hamiltonian_dn.out").unlink()
    assert "rs_hamiltonian_dn.out: missing, but rs_hamiltonian_up.out is there" in refused(tmp_path)
    (tmp_path / "rs_overlap.h5").write_text("")
    (tmp_path / "control.in").write_text("  species H\n    nucleus 1\n")
    assert "control.in does not say which of them" in refused(tmp_path)


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("rs_indices.out", "rs_indices.out: missing; run again with 'output_rs_matrices plain'"),
        ("rs_overlap.out", "rs_overlap.out: missing, as is rs_overlap.h5"),
        ("basis-indices.out", "basis-indices.out: missing"),
    ],
)
def test_missing_files_of_a_crystal(missing: str, why: str, tmp_path: Path) -> None:
    write(tmp_path, CHAIN)
    (tmp_path / missing).unlink()
    assert why in refused(tmp_path)


def test_other_name_of_spin_down(tmp_path: Path) -> None:
    write(tmp_path, CHAIN, rs_hamiltonian_out=None, rs_overlap_out=None)
    values = {"overlap": [1, 0.2, 0.2, 0], "hamiltonian_up": [1, 2, 2, 0]}
    values["hamiltonian_dn"] = [3, 4, 4, 0]
    for name, numbers in values.items():
        with h5py.File(tmp_path / f"rs_{name}.h5", "w") as file:
            file["sparse_matrix"] = np.array(numbers, dtype=np.float64)
    (tmp_path / "control.in").write_text(CHAIN["control.in"] + "spin collinear\n")
    blocks = read(tmp_path).matrices["hamiltonian"]()
    np.testing.assert_allclose(blocks.block(0), np.diag([2, 4]) * HARTREE)
    (tmp_path / "rs_hamiltonian_dn.h5").unlink()
    assert "rs_hamiltonian_down.h5: missing" in refused(tmp_path)


@pytest.mark.parametrize("data", [[1.0, 0.2], [[1.0, 0.2, 0.2, 0.0]] * 2, [1, 2, 3, 0]])
def test_hdf5_of_another_run(data: list[Any], tmp_path: Path) -> None:
    write(tmp_path, CHAIN, rs_overlap_out=None, rs_hamiltonian_out=None)
    with h5py.File(tmp_path / "rs_overlap.h5", "w") as file:
        file["sparse_matrix"] = data
    assert "rs_overlap.h5: sparse_matrix: shape" in refused(tmp_path)


def test_overlap_alone(tmp_path: Path) -> None:
    calculation = read(write(tmp_path, CHAIN, rs_hamiltonian_out=None))
    assert set(calculation.matrices) == {"overlap"}
    assert "no Hamiltonian beside the overlap" in calculation.warnings[1]


def test_matrices_of_the_wrong_kind(tmp_path: Path) -> None:
    write(tmp_path, MOLECULE, geometry_in=CHAIN["geometry.in"])
    assert "of a crystal this file holds one k-point only" in refused(tmp_path)
    other = tmp_path / "other"
    write(other, CHAIN, geometry_in="atom 0 0 0 H\n")
    assert "no lattice_vector, but the folder holds matrices of a crystal" in refused(other)
    (other / "geometry.in").write_text(MOLECULE["geometry.in"])
    write(other, MOLECULE, overlap_matrix_out=None)
    assert "overlap-matrix.out: missing" in refused(other)


# -- matrices -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("indices", "n_basis: 1", "n_basis: 2", "n_basis: 2, but basis-indices.out has 1"),
        ("indices", "n_basis:", "n_basic:", "expected n_hamiltonian_matrix_size"),
        ("indices", "size: 4", "size: 999999999", "4 numbers, expected 999999999"),
        ("indices", "hamiltonian: 4", "hamiltonian: 5", "12 numbers, expected 15"),
        ("indices", " 1 0 0\n", " 2 0 0\n", "occurs twice or without its opposite"),
        ("indices", " 1 0 0\n", " -1 0 0\n", "occurs twice or without its opposite"),
        ("indices", "-1 0 0\n 1", "-99999 0 0\n 99999", "out of reach"),
        ("indices", " 1\n 2\n 3\n 0\n", " 1\n 2\n 3\n 4\n", "the filler cell has elements"),
        ("indices", " 1\n 2\n 3\n 0\n", " 1\n 1\n 3\n 0\n", "the rows do not take up elements"),
        ("indices", " 1\n 2\n 3\n -1\n", " 1\n 2\n 4\n -1\n", "the rows do not take up elements"),
        ("indices", " 1\n 1\n 1\n 0\n", " 1\n 2\n 1\n 0\n", "element 2 is in row 1 and column 2"),
        ("indices", " 1\n 1\n 1\n 0\n", " 1\n x\n 1\n 0\n", "something is not a number"),
        ("indices", " 1\n 1\n 1\n 0\n", " 1\n 1\n 1\n", "3 numbers, expected 4"),
        ("overlap", "0.2E+00\n  0.0E+00\n", "0.2E+0", "the last line breaks off"),
        ("overlap", "0.0E+00", "0.1E+00", "the filler at the end is 0.1"),
        ("overlap", "0.1E+01", "0.1E+99", "an overlap of 1e+98"),
        ("overlap", "0.1E+01", "NaN", "number 1 is nan"),
        ("hamiltonian", "-0.4E+00", "Infinity", "number 1 is inf"),
        ("hamiltonian", " -0.4E+00\n -0.3E+00\n", "", "2 numbers, expected 4"),
        ("hamiltonian", "-0.4E+00", "*******", "something is not a number"),
    ],
)
def test_damaged_crystal(name: str, old: str, new: str, why: str, tmp_path: Path) -> None:
    write(tmp_path, CHAIN)
    path = tmp_path / f"rs_{name}.out"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    message = refused(tmp_path)
    assert why in message
    assert path.name in message


@pytest.mark.parametrize("name", ["rs_indices", "rs_overlap", "rs_hamiltonian"])
def test_files_without_filler_and_without_a_last_end(name: str, tmp_path: Path) -> None:
    expected = read(write(tmp_path, CHAIN)).matrices["overlap"]().entries
    text = CHAIN[f"{name}.out"].replace("  0.0E+00\n", "").rstrip("\n")
    (tmp_path / f"{name}.out").write_text(text)
    calculation = read(tmp_path)
    np.testing.assert_array_equal(calculation.matrices["overlap"]().entries, expected)
    assert len(calculation.matrices["hamiltonian"]().entries) == 3


def test_exponents_without_a_letter(tmp_path: Path) -> None:
    overlap = CHAIN["rs_overlap.out"].replace("0.2E+00", "0.2-101")
    calculation = read(write(tmp_path, CHAIN, rs_overlap_out=overlap))
    np.testing.assert_array_equal(calculation.matrices["overlap"]().entries, [2e-102, 1, 2e-102])
