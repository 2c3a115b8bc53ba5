"""Atoms and printed eigenvalues of ABACUS: STRU and the lists of levels."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.abacus import ABACUS
from deeph_dock.codes.abacus.assembly import BOHR
from deeph_dock.codes.abacus.stru import read_stru
from deeph_spec.errors import InputError

Data = Callable[[str], Path]
Run = Callable[[str], Path]


@pytest.fixture
def run(dft_data: Data, tmp_path: Path) -> Run:
    """Return a function that gives a private copy of a run."""

    def copied(name: str) -> Path:
        source = dft_data(f"abacus/{name}")
        return shutil.copytree(source, tmp_path / "run", copy_function=shutil.copyfile)

    return copied


def read(folder: Path) -> Calculation:
    (label,) = ABACUS.recognises(folder)
    return ABACUS.read(folder, label)


def out(folder: Path) -> Path:
    (found,) = folder.glob("OUT.*")
    return found


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, f"no '{old}' in {path.name}"
    path.write_text(text.replace(old, new))


STRU = """ATOMIC_SPECIES
Si 28.085 pseudo/Si_ONCV_PBE-1.0.upf upf201   // a comment

NUMERICAL_ORBITAL
./Si_gga_6au_100Ry_2s2p1d.orb

LATTICE_CONSTANT
10.0 # Bohr

LATTICE_VECTORS
1 0 0 # first
0 2 0
0 0 3

ATOMIC_POSITIONS
{kind}

Si
0.0
1
{x} {y} {z} 1 1 1 mag 1.0
"""


class TestStru:
    """The input file."""

    @pytest.mark.parametrize(
        ("kind", "given", "expected"),
        [
            ("Direct", (0.25, 1.5, -0.25), (0.25, 1.5, -0.25)),
            ("Cartesian", (0.25, 3.0, -0.75), (0.25, 1.5, -0.25)),
            ("Cartesian_au", (2.5, 30.0, -7.5), (0.25, 1.5, -0.25)),
            (
                "Cartesian_angstrom",
                (2.5 * BOHR, 30 * BOHR, -7.5 * BOHR),
                (0.25, 1.5, -0.25),
            ),
            ("Cartesian_angstrom_center_xy", (0.0, 0.0, 3 * BOHR), (0.5, 0.5, 0.1)),
            ("Cartesian_angstrom_center_xyz", (0.0, 0.0, 3 * BOHR), (0.5, 0.5, 0.6)),
        ],
    )
    def test_coordinates_of_every_kind(
        self,
        tmp_path: Path,
        kind: str,
        given: tuple[float, float, float],
        expected: tuple[float, float, float],
    ) -> None:
        path = tmp_path / "STRU"
        x, y, z = given
        path.write_text(STRU.format(kind=kind, x=x, y=y, z=z))
        stru = read_stru(path, BOHR)
        np.testing.assert_allclose(stru.geometry.positions, [expected], atol=1e-12)
        (species,) = stru.species
        assert species.pseudopotential == "Si_ONCV_PBE-1.0.upf"
        assert species.orbital == "Si_gga_6au_100Ry_2s2p1d.orb"

    @pytest.mark.parametrize(
        ("latname", "parameters", "vectors"),
        [
            ("sc", "", [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
            ("fcc", "", [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]]),
            ("bcc", "", [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]]),
            ("st", "1.5", [[1, 0, 0], [0, 1, 0], [0, 0, 1.5]]),
            ("so", "1.5 2", [[1, 0, 0], [0, 1.5, 0], [0, 0, 2]]),
        ],
    )
    def test_lattices_named_in_the_input(
        self, tmp_path: Path, latname: str, parameters: str, vectors: list[list[float]]
    ) -> None:
        path = tmp_path / "STRU"
        text = STRU.format(kind="Direct", x=0, y=0, z=0)
        block = "LATTICE_VECTORS\n1 0 0 # first\n0 2 0\n0 0 3\n"
        path.write_text(text.replace(block, f"LATTICE_PARAMETERS\n{parameters}\n"))
        np.testing.assert_allclose(read_stru(path, BOHR, latname).geometry.vectors, vectors)

    @pytest.mark.parametrize("latname", ["none", "user_defined_lattice", "test"])
    def test_vectors_count_where_no_lattice_is_named(self, tmp_path: Path, latname: str) -> None:
        path = tmp_path / "STRU"
        path.write_text(STRU.format(kind="Direct", x=0, y=0, z=0))
        vectors = read_stru(path, BOHR, latname).geometry.vectors
        assert np.array_equal(vectors, np.diag([1.0, 2.0, 3.0]))

    def test_species_without_atoms_are_left_out(self, tmp_path: Path) -> None:
        path = tmp_path / "STRU"
        text = STRU.format(kind="Direct", x=0, y=0, z=0)
        text = text.replace("ATOMIC_SPECIES\n", "ATOMIC_SPECIES\nC 12 C.upf\n")
        text = text.replace("NUMERICAL_ORBITAL\n", "NUMERICAL_ORBITAL\nC_2s1p.orb\n")
        path.write_text(text.replace("Direct\n", "Direct\n\nC\n0.0\n0\n"))
        (species,) = read_stru(path, BOHR).species
        assert species.label == "Si"
        assert species.orbital == "Si_gga_6au_100Ry_2s2p1d.orb"

    def test_other_lattices_are_taken_from_the_log(self, tmp_path: Path) -> None:
        path = tmp_path / "STRU"
        text = STRU.format(kind="Direct", x=0, y=0, z=0)
        path.write_text(text.replace("LATTICE_VECTORS", "LATTICE_PARAMETERS"))
        printed = np.diag([1.0, 2.0, 3.0])
        stru = read_stru(path, BOHR, "triclinic", printed)
        assert np.array_equal(stru.geometry.vectors, printed)
        with pytest.raises(InputError, match="latname triclinic"):
            read_stru(path, BOHR, "triclinic")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("LATTICE_CONSTANT", "LATTICE", "no section LATTICE_CONSTANT"),
            ("0 2 0", "0 2 x", "LATTICE_VECTORS: expected 3 lines"),
            ("0 2 0", "0 0 0", "cell of 0 Bohr"),
            ("10.0 # Bohr", "nan", "LATTICE_CONSTANT"),
            ("Direct", "Fractional", "'Fractional' are not known"),
            ("\n1\n0 0", "\n2\n0 0", "expected 2 lines"),
            ("\n1\n0 0", "\nx\n0 0", "no number of atoms"),
        ],
    )
    def test_damage_is_named(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        path = tmp_path / "STRU"
        text = STRU.format(kind="Direct", x=0, y=0, z=0)
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(InputError, match=message):
            read_stru(path, BOHR)


class TestLevels:
    """Eigenvalues in the files of all versions."""

    def newer(self, folder: Path) -> None:
        """Replace istate.info by eig_occ.txt, with a step before the last."""
        calculation = read(folder)
        assert calculation.eigenvalues is not None
        printed = calculation.eigenvalues()
        vectors = calculation.structure.lattice / (1.889726125457828 * BOHR)
        cartesian = printed.kpoints @ np.linalg.inv(vectors).T
        text = ""
        for step, shift in ((1, 3.0), (2, 0.0)):
            text += f"{step}     # ionic step\n Electronic state energy (eV) and occupations\n"
            text += f" Spin number {len(printed.energies)}\n"
            for spin, energies in enumerate(printed.energies):
                for number, (k, levels) in enumerate(zip(cartesian, energies, strict=True)):
                    point = " ".join(f"{x:#.8g}" for x in k)
                    text += f" spin={spin + 1} k-point={number + 1}/{len(cartesian)} "
                    text += f"Cartesian={point} (2109 plane wave)\n"
                    rows = (f" {b + 1} {e + shift:#.16g} 1.0" for b, e in enumerate(levels))
                    text += "\n".join(rows) + "\n\n"
        (out(folder) / "eig_occ.txt").write_text(text)
        for path in (*out(folder).glob("BANDS*"), out(folder) / "istate.info"):
            path.unlink()

    @pytest.mark.parametrize("name", ["Si2_sz_r", "O2_spin"])
    def test_newer_files_give_the_same(self, run: Run, dft_data: Data, name: str) -> None:
        folder = run(name)
        self.newer(folder)
        new, old = read(folder).eigenvalues, read(dft_data(f"abacus/{name}")).eigenvalues
        assert new is not None
        assert old is not None
        np.testing.assert_allclose(new().kpoints, old().kpoints, atol=1e-12)
        np.testing.assert_allclose(new().energies, old().energies, atol=1e-11)

    def test_kpoints_that_are_no_numbers_are_named(self, run: Run) -> None:
        folder = run("Si2_sz_r")
        self.newer(folder)
        path = out(folder) / "eig_occ.txt"
        path.write_text(re.sub(r"Cartesian=\S+", "Cartesian=nan", path.read_text()))
        eigenvalues = read(folder).eigenvalues
        assert eigenvalues is not None
        with pytest.raises(InputError, match="not finite"):
            eigenvalues()

    def test_rounded_kpoints_stand_for_fractions(self, dft_data: Data) -> None:
        """istate.info of two channels has 0.333333."""
        eigenvalues = read(dft_data("abacus/Fe_spin")).eigenvalues
        assert eigenvalues is not None
        sixths = eigenvalues().kpoints * 6
        np.testing.assert_allclose(sixths, np.rint(sixths), atol=1e-14)

    def test_two_channels_have_the_digits_of_bands(self, run: Run, dft_data: Data) -> None:
        folder = run("O2_spin")
        (out(folder) / "BANDS_2.dat").unlink()
        rough, fine = read(folder).eigenvalues, read(dft_data("abacus/O2_spin")).eigenvalues
        assert rough is not None
        assert fine is not None
        difference = np.abs(rough().energies - fine().energies).max()
        assert 1e-8 < difference < 1e-3

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("Kpoint = 2", "Kpoin = 2", "4 k-points, 3 of them whole"),
            ("12.92899498117077", "x", "no row of numbers"),
            ("12.92899498117077", "nan", "finite"),
            ("(0.3333333333333299 0 0)", "(0.33333 0)", "too few numbers|no row"),
        ],
    )
    def test_damage_is_named(self, run: Run, old: str, new: str, message: str) -> None:
        folder = run("Si2_sz_r")
        change(out(folder) / "istate.info", old, new)
        eigenvalues = read(folder).eigenvalues
        assert eigenvalues is not None
        with pytest.raises(InputError, match=message):
            eigenvalues()


def test_elements_without_partner_are_refused_unless_tiny(run: Run) -> None:
    """ABACUS drops elements below 1e-10: rounding may drop one of two."""
    folder = run("H2O")
    path = out(folder) / "data-SR-sparse_SPIN0.csr"
    lines = path.read_text().splitlines(keepends=True)
    columns = [int(word) for word in lines[5].split()]
    row_ends = [int(word) for word in lines[6].split()]
    # Let the first row lose its last element, which is not on the diagonal.
    at = row_ends[1] - 1
    assert columns[at] != 0
    values = lines[4].split()
    tiny = [*values]
    partner = row_ends[columns[at]] + columns[
        row_ends[columns[at]] : row_ends[columns[at] + 1]
    ].index(0)
    tiny[partner] = "1.00000000e-10"
    del values[at], tiny[at]
    head = [*lines[:3], f"0 0 0 {len(values)}\n"]
    ends = f" {' '.join(str(end - (end > at)) for end in row_ends)}\n"
    others = f" {' '.join(map(str, [*columns[:at], *columns[at + 1 :]]))}\n"
    path.write_text("".join([*head, f" {' '.join(values)}\n", others, ends]))
    with pytest.raises(InputError, match="have no partner"):
        read(folder).matrices["overlap"]()
    path.write_text("".join([*head, f" {' '.join(tiny)}\n", others, ends]))
    assert read(folder).matrices["overlap"]().hermitian_error()[0] == pytest.approx(1e-10)


def test_an_overlap_that_depends_on_spin_is_refused(run: Run) -> None:
    folder = run("AsH_soc_mag")
    path = out(folder) / "data-SR-sparse_SPIN0.csr"
    change(path, "(1.00000000e+00,0.00000000e+00)", "(1.00000000e+00,1.00000000e-03)")
    with pytest.raises(InputError, match="differ, or it is complex"):
        read(folder).matrices["overlap"]()


def test_matrices_of_different_steps_are_refused(run: Run) -> None:
    folder = run("H2O")
    change(out(folder) / "data-HR-sparse_SPIN0.csr", "STEP: 0", "STEP: 3")
    calculation = read(folder)
    with pytest.raises(InputError, match="not of one run"):
        calculation.matrices["hamiltonian"]()
