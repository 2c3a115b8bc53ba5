"""Geometry, species, basis and matrices of molecules: what is understood and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.fhi_aims import FHI_AIMS
from deeph_dock.codes.fhi_aims.geometry import read_geometry
from deeph_spec.errors import InputError

BASIS = "\n  fn.   type   at.   n   l   m\n"
MOLECULE = {
    "geometry.in": "atom 0 0 0 H\natom 0 0 0.74 H\n",
    "control.in": "xc pbe\noutput h_s_matrices\n  species H\n    nucleus 1\n",
    "basis-indices.out": f"{BASIS}    1 atomic     1   1   0   0\n    2 atomic     2   1   0   0\n",
    "overlap-matrix.out": "  1  1  0.10D+001\n  1  2  0.60D+000\n  2  2  0.10D+001\n",
    "hamiltonian.out": "  1  1  -.40E+000\n  1  2  -.50E+000\n  2  2  -.40E+000\n",
}
CELL = "lattice_vector 2 0 0\nlattice_vector 0 4 0\nlattice_vector 0 0 8\n"


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


# -- geometry.in --------------------------------------------------------------------------------


def test_atoms_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "geometry.in"
    path.write_text(
        "# a comment\n" + CELL + "\n  atom 1.d0 -2.5 9 A  # here\n   initial_moment 2\n"
        "atom_frac 0.5 0.25 -1.5 B\n  constrain_relaxation x\nhomogeneous_field 0 0 1\n"
    )
    geometry = read_geometry(path)
    assert geometry.positions.tolist() == [[1, -2.5, 9], [1, 1, -12]]
    assert geometry.species == ("A", "B")
    assert geometry.external == ("homogeneous_field",)
    # f = (0.5, -0.625, 1.125) and (0.5, 0.25, -1.5): the upper border stays, the lower goes up.
    assert geometry.translations().tolist() == [[0, 1, -1], [0, 0, 2]]


@pytest.mark.parametrize(
    ("fraction", "moved"),
    [
        (0.5, 0),
        (0.5 + 5e-9, 0),
        (0.5 + 2e-8, -1),
        (-0.5, 1),
        (-0.5 + 2e-8, 0),
        (1.25, -1),
        (-3.0, 3),
    ],
)
def test_border_of_the_cell(fraction: float, moved: int, tmp_path: Path) -> None:
    path = tmp_path / "geometry.in"
    path.write_text(CELL + f"atom_frac {fraction!r} 0 0 A\n")
    assert read_geometry(path).translations().tolist() == [[moved, 0, 0]]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "no line 'atom x y z species'"),
        ("atom 0 0 x H\n", "line 1: 'atom 0 0 x H': expected three numbers"),
        ("atom 0 0 nan H\n", "expected three numbers"),
        ("atom 0 0 0\n", "an atom without a species"),
        ("atom_frac 0 0 0 H\n", "atom_frac without lattice_vector"),
        ("lattice_vector 1 0 0\natom 0 0 0 H\n", "1 lattice_vector line"),
        ("lattice_vector 1 0 0\n" * 3 + "atom 0 0 0 H\n", "span no volume"),
        (CELL + "atom 9e5 0 0 H\n", "cells away"),
        ("atom 0 0 0 H\nempty 0 0 1 H\n", "line 2: empty: a ghost atom"),
        ("atom 0 0 0 H\npseudocore 0 0 1 H\n", "pseudocore: a pseudopotential"),
    ],
)
def test_geometry_that_is_refused(text: str, why: str, tmp_path: Path) -> None:
    assert why in refused(write(tmp_path, MOLECULE, geometry_in=text))


def test_geometry_that_is_missing(tmp_path: Path) -> None:
    assert "geometry.in: missing" in refused(write(tmp_path, MOLECULE, geometry_in=None))


# -- control.in --------------------------------------------------------------------------------


def test_elements_come_from_the_nucleus_never_from_the_label(tmp_path: Path) -> None:
    geometry = MOLECULE["geometry.in"].replace("H", "Pt_SOC")
    control = MOLECULE["control.in"].replace("species H", "species Pt_SOC") + "charge 154\n"
    write(tmp_path, MOLECULE, geometry_in=geometry, control_in=control.replace("1\n", "78.\n"))
    assert read(tmp_path).structure.symbols == ["Pt", "Pt"]
    write(tmp_path, MOLECULE, geometry_in=geometry, control_in=control.replace("1\n", "1.25\n"))
    assert "species Pt_SOC: nucleus 1.25 is no element" in refused(tmp_path)
    write(tmp_path, MOLECULE, geometry_in=geometry)
    assert "species Pt_SOC: neither control.in nor the output" in refused(tmp_path)


# -- basis-indices.out --------------------------------------------------------------------------


def test_two_bases_of_one_element(tmp_path: Path) -> None:
    geometry = "atom 0 0 0 H1\natom 0 0 0.74 H2\n"
    species = "  species H{}\n    nucleus 1\n    hydro 2 p {}  # comment\n"
    control = "xc pbe\n" + species.format(1, 3.5) + species.format(2, 3.5)
    write(tmp_path, MOLECULE, geometry_in=geometry, control_in=control)
    assert read(tmp_path).info.orbital_map == {"H": (0,)}
    control = control.replace("3.5", "1.5", 1)  # another radial function of the same n and l
    write(tmp_path, MOLECULE, geometry_in=geometry, control_in=control)
    assert "atoms 1 (H1) and 2 (H2) are both H but have different" in refused(tmp_path)
    basis = MOLECULE["basis-indices.out"].replace("2 atomic     2   1", "2 ionic      2   1")
    assert "atoms 1 (H) and 2 (H) are both H" in refused(
        write(tmp_path, MOLECULE, basis_indices_out=basis)
    )


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("l   m\n", "l   k\n", "expected the header"),
        ("   0\n    2", "\n    2", "expected the header"),
        ("    2 atomic", "    3 atomic", "function 2 has the number 3"),
        ("     2   1", "     3   1", "belong to atoms 1 to 3"),
        ("     2   1", "   ***   1", "*** stands for numbers too wide"),
        ("     2   1", "   2.5   1", "does not hold whole numbers"),
        ("   0   0\n    2", "   1   0\n    2", "no 3 functions of one atom"),
        ("   0   0\n    2", "   7  -7\n    2", "l = 7"),
        ("   0   0\n    2", "  -1   0\n    2", "l = -1"),
        ("    2 atomic     2   1   0   0\n", "", "belong to atoms 1 to 1"),
    ],
)
def test_damaged_basis(old: str, new: str, why: str, tmp_path: Path) -> None:
    basis = MOLECULE["basis-indices.out"].replace(old, new, 1)
    assert basis != MOLECULE["basis-indices.out"]
    write(tmp_path, MOLECULE, basis_indices_out=basis)
    message = refused(tmp_path)
    assert why in message
    assert "basis-indices.out" in message


# -- matrices of molecules -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("  1  2", "  2  1", "do not run through i <= j"),
        ("  1  2", "  1  3", "two whole numbers from 1 to 2"),
        ("  1  2", "  1 1.5", "two whole numbers from 1 to 2"),
        ("  2  2  -.40E+000\n", "", "do not run through i <= j up to j = 2"),
        ("-.50E+000", "-.50F+000", "something is not a number"),
        ("  1  2  -.50E+000", "  1  2", "numbers, expected 9"),
        ("  2  2  -.40E+000\n", "  2  2  -.40E+00", "the last line breaks off"),
    ],
)
def test_damaged_molecule(old: str, new: str, why: str, tmp_path: Path) -> None:
    text = MOLECULE["hamiltonian.out"].replace(old, new, 1)
    assert why in refused(write(tmp_path, MOLECULE, hamiltonian_out=text))


def test_other_elements_in_s_than_in_h(tmp_path: Path) -> None:
    text = MOLECULE["hamiltonian.out"].replace("  1  2  -.50E+000\n", "")
    message = refused(write(tmp_path, MOLECULE, hamiltonian_out=text))
    assert "hamiltonian.out: i, j: other elements than in overlap-matrix.out" in message


def test_old_layout_of_a_molecule(tmp_path: Path) -> None:
    text = "            1           2\n    1  -0.40000000  -0.50000000\n    2  -0.5  -0.4\n"
    message = refused(write(tmp_path, MOLECULE, hamiltonian_out=text))
    assert "run again with 'output h_s_matrices'" in message
