"""Runs of ABACUS: the proofs on real ones of every mode, and what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.abacus import ABACUS
from deeph_dock.codes.abacus.assembly import BOHR, RYDBERG
from deeph_dock.codes.abacus.stru import read_stru
from deeph_dock.proofs import two_centre
from deeph_dock.testing import CodeContract, DamageContract, electron_count
from deeph_dock.writing import write_calculation
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import NDArray

Data = Callable[[str], Path]
Run = Callable[[str], Path]

PLAIN = ("Si2", "H2O", "SiO2_6/0001", "SiO2_6/0004", "Si2_sz_r", "Si2_sz_md")
COLLINEAR = ("Fe_spin", "Fe_spin_small", "Fe2_afm", "O2_spin")
SPINORS = ("Fe_nc", "Si2_soc", "Pb_soc", "PbO_soc", "AsH_soc_mag")
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


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


class TestRuns(CodeContract):
    """Every mode of spin, ABACUS 3.8.1."""

    two_centre_limit = 1.2e-8
    eigenvalue_limit = 2e-6
    hermitian_limits: ClassVar = {
        "overlap": 0.0,
        "hamiltonian": 1e-14,
        "density_matrix": 1e-14,
    }
    electron_limit = 2e-9
    position_limit = 2e-8

    @pytest.fixture(params=[*PLAIN, *COLLINEAR, *SPINORS])
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        return read(dft_data(f"abacus/{request.param}"))

    def test_what_the_log_says_is_there(self, calculation: Calculation) -> None:
        facts = calculation.info.provenance
        assert facts["code_version"] == "3.8.1"
        assert facts["functional"] == "PBE"
        assert facts["scf_converged"] is True
        assert facts["smearing"] == "gaussian"
        assert len(facts["kmesh"]) == 3
        assert set(facts["basis"]) == set(calculation.structure.symbols)
        assert calculation.unconverged == ""
        assert calculation.info.fermi_level is not None


class TestMoS2(CodeContract):
    """ABACUS 3.10.0: f shells, a lattice named in INPUT, H with pairs that S lacks."""

    two_centre_limit = 1e-9
    hermitian_limits: ClassVar = {"overlap": 0.0, "hamiltonian": 1e-13}

    @pytest.fixture
    def calculation(self, dft_data: Data) -> Calculation:
        return read(dft_data("third-party/abacus") / "MoS2")

    def test_the_hexagonal_lattice_has_all_digits(self, calculation: Calculation) -> None:
        a = 5.9716 * BOHR
        expected = a * np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 12]])
        np.testing.assert_allclose(calculation.structure.lattice, expected, atol=1e-14)

    def test_pairs_of_h_beyond_s_are_kept(self, calculation: Calculation, tmp_path: Path) -> None:
        overlap = calculation.matrices["overlap"]()
        hamiltonian = calculation.matrices["hamiltonian"]()
        beyond = overlap.rows_of(hamiltonian.atom_pairs) < 0
        assert np.count_nonzero(beyond) == 114
        folder = tmp_path / "out"
        folder.mkdir()
        written = write_calculation(calculation, folder, ("overlap", "hamiltonian"))
        assert written.facts["empty_overlaps"] == 114


class TestOverlapOfSpinors(CodeContract):
    """ABACUS 3.10.0, nspin 4: complex, interleaved S; H is not in the data."""

    two_centre_limit = 1e-9
    eigenvalue_limit = None

    @pytest.fixture
    def calculation(self, dft_data: Data) -> Calculation:
        return read(dft_data("third-party/abacus") / "GaAs_SOC")

    def test_it_is_real_and_without_spin(self, calculation: Calculation) -> None:
        overlap = calculation.matrices["overlap"]()
        assert overlap.dtype == np.float64
        assert calculation.info.spin == "soc"
        assert set(map(tuple, overlap.chunk_shapes.tolist())) <= {
            (a, b) for a in (13, 18) for b in (13, 18)
        }


# What get_s, and the newer names and heads, look like; these files have no log.
BARE = {
    "tests-3.8/207_NO_KP_OH2": ("data-HR-sparse_SPIN0.csr", "data-SR-sparse_SPIN0.csr"),
    "tests-3.8/out_s_multik": ("SR.csr",),
    "tests-3.8/207_NO_KP_OH_nscf": ("data-SR-sparse_SPIN0.csr", "data-rR-sparse.csr"),
    "tests-2026/scf_out_hsr": ("hrs1_nao.csr", "srs1_nao.csr"),
    "tests-2026/nscf_out_hsr_tr_rr": ("hrs1_nao.csr", "srs1_nao.csr", "rr.csr"),
}
WEAK = {
    "tests-2026/scf_out_hsr_spin4": ("hrs1_nao.csr", "srs1_nao.csr", "rr.csr"),
    "tests-3.8/207_NO_KP_OHS_SPIN4": (
        "data-HR-sparse_SPIN0.csr",
        "data-SR-sparse_SPIN0.csr",
        "data-rR-sparse.csr",
    ),
    "tests-2026/get_s": ("sr_nao.csr",),
}


def bare(dft_data: Data, name: str, target: Path) -> Path:
    """Put reference files of ABACUS' own tests together as a run left them."""
    root = dft_data("third-party/abacus")
    source = root / name
    output = target / "OUT.autotest"
    output.mkdir(parents=True)
    shutil.copyfile(source / "STRU", target / "STRU")
    shutil.copyfile(source / "INPUT", target / "INPUT")
    for orbital in (root / "orb").iterdir():
        shutil.copyfile(orbital, target / orbital.name)
    for file in {**BARE, **WEAK}[name]:
        (found,) = [
            path
            for path in source.iterdir()
            if path.name in (f"{file}.ref", f"{file}_ref", f"{file}ref")
        ]
        shutil.copyfile(found, output / file)
    return target


class TestRunsWithoutLog(CodeContract):
    """The heads of 3.8 with and without STEP and those of 2026; S of get_S; r."""

    two_centre_limit = 1e-8
    eigenvalue_limit = None
    position_limit = 2e-7

    @pytest.fixture(params=list(BARE))
    def calculation(
        self, request: pytest.FixtureRequest, dft_data: Data, tmp_path: Path
    ) -> Calculation:
        if request.param == "tests-2026/scf_out_hsr":  # written with five decimals
            self.two_centre_limit = 2e-6
        return read(bare(dft_data, request.param, tmp_path / "run"))

    def test_overlap_obeys_the_two_centre_rule(self, calculation: Calculation) -> None:
        overlap = calculation.matrices["overlap"]()
        result = two_centre(calculation.structure, calculation.info.orbital_map, overlap)
        assert result.largest > 0.01
        assert result.violation <= self.two_centre_limit

    def test_what_is_not_known_is_said(self, calculation: Calculation) -> None:
        assert calculation.info.fermi_level is None
        assert any("no log" in warning for warning in calculation.warnings)


@pytest.mark.parametrize("name", list(WEAK))
def test_weak_overlaps_read_as_well(dft_data: Data, tmp_path: Path, name: str) -> None:
    """Single atoms in large cells prove little: Hermitian, and S is near the identity."""
    calculation = read(bare(dft_data, name, tmp_path / "run"))
    overlap = calculation.matrices["overlap"]()
    assert overlap.dtype == np.float64
    assert overlap.hermitian_error()[0] < 1e-9
    for row in np.flatnonzero(overlap.on_site()).tolist():
        np.testing.assert_allclose(np.diag(overlap.block(row)), 1.0, atol=1e-6)
    if "hamiltonian" in calculation.matrices:
        assert calculation.info.spin == "soc"
        hamiltonian = calculation.matrices["hamiltonian"]()
        assert hamiltonian.hermitian_error()[0] < 1e-8
        (row,) = np.flatnonzero(hamiltonian.on_site()).tolist()
        up, down = np.split(hamiltonian.block(row), 2)
        # Both have a moment along z, and no spin-orbit coupling.
        assert not up[:, 13:].any()
        assert not down[:, :13].any()
        assert np.abs(up[:, :13] - down[:, 13:]).max() > 1.0
    if "position_matrix" in calculation.matrices:
        position = calculation.matrices["position_matrix"]()
        assert np.array_equal(
            position.chunk_shapes, overlap.on_pairs(position.atom_pairs).chunk_shapes
        )


def test_the_overlap_of_get_s_is_that_of_the_run(dft_data: Data) -> None:
    alone = read(dft_data("abacus/SiO2_6_getS"))
    whole = read(dft_data("abacus/SiO2_6/0001"))
    assert list(alone.matrices) == ["overlap"]
    assert alone.eigenvalues is None
    assert alone.info.fermi_level is None
    assert "no Hamiltonian" in " ".join(alone.warnings)
    mine, other = alone.matrices["overlap"](), whole.matrices["overlap"]()
    assert np.array_equal(mine.atom_pairs, other.atom_pairs)
    assert np.array_equal(mine.entries, other.entries)
    assert np.array_equal(alone.structure.positions, whole.structure.positions)


def test_the_last_step_of_molecular_dynamics_is_taken(dft_data: Data) -> None:
    folder = dft_data("abacus/Si2_sz_md")
    calculation = read(folder)
    assert "step 2 is taken: the last of 3" in " ".join(calculation.warnings)
    expected = [[0.196063152222, 0.214485908561, 0.200786852882]]
    expected += [[1.503936061039, 1.565513267677, 1.609212309471]]
    np.testing.assert_allclose(calculation.structure.positions, expected, atol=1e-11)
    first = read_stru(folder / "STRU", BOHR).geometry
    start = first.positions @ first.vectors * first.constant * BOHR
    moved = Structure(calculation.structure.lattice, start, calculation.structure.numbers)
    overlap = calculation.matrices["overlap"]()
    assert two_centre(moved, calculation.info.orbital_map, overlap).violation > 1e-3


def test_steps_in_files_of_their_own_are_known(run: Run, dft_data: Data) -> None:
    folder = run("Si2_sz_md")
    together = read(dft_data("abacus/Si2_sz_md"))
    matrix = out(folder) / "matrix"
    matrix.mkdir()
    for path in sorted(out(folder).glob("*.csr")):
        steps = path.read_text().split("STEP: ")[1:]
        for number, text in enumerate(steps):
            (matrix / f"{number}_{path.name}").write_text(f"STEP: {text}")
        path.unlink()
    assert ABACUS.recognises(out(folder)) == ("",)
    calculation = read(folder)
    for name, matrix_of in calculation.matrices.items():
        assert np.array_equal(matrix_of().entries, together.matrices[name]().entries)


def test_a_step_whose_atoms_are_not_known_is_refused(run: Run) -> None:
    folder = run("Si2_sz_md")
    (out(folder) / "MD_dump").unlink()
    with pytest.raises(InputError, match="whose atoms no file has; put MD_dump"):
        read(folder)


def test_atoms_outside_the_cell_stay_where_the_input_has_them(dft_data: Data) -> None:
    folder = dft_data("abacus/Si2_soc")
    calculation = read(folder)
    expected = [[0.1, 0.05, 0.2], [1.45, 1.31, 1.4]]
    np.testing.assert_allclose(calculation.structure.positions, expected, atol=1e-6)
    overlap = calculation.matrices["overlap"]()
    # The atoms as ABACUS has them do not belong to the R of the format.
    inside = calculation.structure.positions.copy()
    inside[0] += calculation.structure.lattice[0]
    wrapped = Structure(calculation.structure.lattice, inside, calculation.structure.numbers)
    assert two_centre(wrapped, calculation.info.orbital_map, overlap).violation > 0.1


@pytest.mark.parametrize("log", [True, False])
def test_moving_atoms_by_lattice_vectors_moves_everything_along(
    run: Run, dft_data: Data, log: bool
) -> None:
    """STRU may have its atoms anywhere: S, r and R follow; the log stays as it is."""
    before = read(dft_data("abacus/Si2_sz_r"))
    folder = run("Si2_sz_r")
    old = "1.300000000000     1.380000000000     1.410000000000"
    change(folder / "STRU", old, "9.445  -4.050  4.125")  # + 0, 3, -2 lattice vectors less
    if not log:
        (out(folder) / "running_scf.log").unlink()
        shutil.copyfile(
            dft_data("abacus/basis/") / "Si_dojo_6au_sz.orb", folder / "Si_dojo_6au_sz.orb"
        )
    after = read(folder)
    n = np.rint(
        np.linalg.solve(
            before.structure.lattice.T, (after.structure.positions - before.structure.positions).T
        ).T
    ).astype(int)
    assert n[1].any()
    np.testing.assert_allclose(
        after.structure.positions,
        before.structure.positions + n @ before.structure.lattice,
        atol=1e-9,
    )
    pairs = after.matrices["overlap"]().atom_pairs.copy()
    pairs[:, :3] += n[pairs[:, 4]] - n[pairs[:, 3]]
    original = before.matrices["overlap"]()
    rows = original.rows_of(pairs)
    assert (rows >= 0).all()
    assert after.matrices["overlap"]().block(3) == pytest.approx(original.block(int(rows[3])))
    position, overlap = after.matrices["position_matrix"](), after.matrices["overlap"]()
    for row in np.flatnonzero(position.on_site()).tolist():
        atom = position.atom_pairs[row, 3]
        centre = np.einsum("cii->ci", position.block(row))
        expected = np.repeat(after.structure.positions[atom][:, None], 4, axis=1)
        np.testing.assert_allclose(centre, expected, atol=1e-7)
    from deeph_dock.testing import position_error

    assert position_error(after.structure, position, overlap) < 1e-7


class TestSpin:
    """Signs that eigenvalues do not see."""

    @staticmethod
    def shell(calculation: Calculation, atom: int, l: int, number: int) -> NDArray[Any]:
        """Give the on-site block of a shell, with spin."""
        hamiltonian = calculation.matrices["hamiltonian"]()
        row = int(hamiltonian.rows_of([[0, 0, 0, atom, atom]])[0])
        block = hamiltonian.block(row)
        shells = calculation.info.orbital_map[calculation.structure.symbols[atom]]
        starts = np.cumsum([0, *(2 * degree + 1 for degree in shells)])
        (first,) = [starts[k] for k, d in enumerate(shells) if d == l][number : number + 1]
        size = len(block) // 2
        within = np.r_[first : first + 2 * l + 1]
        chosen = np.r_[within, within + size]
        return block[np.ix_(chosen, chosen)]

    @pytest.mark.parametrize(
        ("name", "atom", "values"),
        [("Pb_soc", 0, (0.917, 1.433)), ("AsH_soc_mag", 0, (0.1967, 0.2011))],
    )
    def test_spin_and_orbital_moment_are_coupled_alike_in_all_directions(
        self, dft_data: Data, name: str, atom: int, values: tuple[float, float]
    ) -> None:
        """lambda_a = Re tr(O^+ H) / tr(O^+ O) with O = s_a L_a is positive and isotropic."""
        # <b| L_a |c> = -i eps_abc for p_x, p_y, p_z; the format has y, z, x.
        epsilon = np.zeros((3, 3, 3))
        for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            epsilon[a, b, c], epsilon[a, c, b] = 1, -1
        momentum = (-1j * epsilon)[:, [1, 2, 0]][:, :, [1, 2, 0]]
        calculation = read(dft_data(f"abacus/{name}"))
        for number, value in enumerate(values):
            block = self.shell(calculation, atom, 1, number)
            for axis in range(3):
                operator = np.kron(PAULI[axis] / 2, momentum[axis])
                strength = np.vdot(operator, block).real / np.vdot(operator, operator).real
                assert strength == pytest.approx(value, abs=6e-4)

    def test_spin_up_is_where_the_moment_is(self, dft_data: Data) -> None:
        """The atom with the moment +2.3 has the lower spin up."""
        calculation = read(dft_data("abacus/Fe2_afm"))
        hamiltonian = calculation.matrices["hamiltonian"]()
        assert not np.iscomplexobj(hamiltonian.entries)
        for atom, sign in ((0, -1), (1, 1)):
            block = hamiltonian.block(int(hamiltonian.rows_of([[0, 0, 0, atom, atom]])[0]))
            size = len(block) // 2
            d = slice(size - 5, size)
            splitting = np.diag(block[:size, :size] - block[size:, size:])[d] / RYDBERG
            assert (np.sign(splitting) == sign).all()
            assert not block[:size, size:].any()

    def test_turned_moments_turn_h_and_rho(self, dft_data: Data) -> None:
        """Fe_nc is Fe_spin_small with its moment along n; ABACUS prints -n_y."""
        n = np.array([0.75, -0.4330127, 0.5])
        collinear = read(dft_data("abacus/Fe_spin_small"))
        turned = read(dft_data("abacus/Fe_nc"))
        for name, limit in (("hamiltonian", 1e-6), ("density_matrix", 2e-5)):
            reference = collinear.matrices[name]()
            found = turned.matrices[name]()
            along = np.einsum("a,aij->ij", n, PAULI)
            for row in range(0, len(found), 7):
                place = int(reference.rows_of(found.atom_pairs[row : row + 1])[0])
                block = reference.block(place)
                half = len(block) // 2
                up, down = block[:half, :half], block[half:, half:]
                expected = np.kron(np.eye(2), (up + down) / 2) + np.kron(along, (up - down) / 2)
                np.testing.assert_allclose(found.block(row), expected, atol=limit)

    def test_a_density_of_coupled_spins_is_left_out(self, run: Run) -> None:
        """Its imaginary parts are not in the file."""
        folder = run("Fe_nc")
        (folder / "INPUT").write_text((folder / "INPUT").read_text() + "\nlspinorb 1\n")
        calculation = read(folder)
        assert "density_matrix" not in calculation.matrices
        assert "lack the imaginary parts" in " ".join(calculation.warnings)

    def test_a_missing_channel_is_named(self, run: Run) -> None:
        folder = run("O2_spin")
        (out(folder) / "data-HR-sparse_SPIN1.csr").unlink()
        with pytest.raises(InputError, match="nspin 2, but 1 Hamiltonians"):
            read(folder)


def test_density_matrix_of_a_run_repeated_in_its_folder(run: Run, dft_data: Data) -> None:
    """ABACUS appends to the file: the last one counts."""
    folder = run("Si2")
    path = out(folder) / "data-DMR-sparse_SPIN0.csr"
    text = path.read_text()
    path.write_text(re.sub(r"(\d)e-02", r"\1e-03", text) + text)
    matrix = read(folder).matrices["density_matrix"]()
    whole = read(dft_data("abacus/Si2"))
    assert np.array_equal(matrix.entries, whole.matrices["density_matrix"]().entries)
    assert electron_count(matrix, whole.matrices["overlap"]()) == pytest.approx(8.0, abs=1e-7)


class TestDamage(DamageContract):
    """The smallest run, with its log."""

    matrix_files = ("OUT.*/*.csr",)
    name = "H2O"

    @pytest.fixture
    def code(self) -> Any:
        return ABACUS

    @pytest.fixture
    def run(self, dft_data: Data, tmp_path: Path) -> Path:
        source = dft_data(f"abacus/{self.name}")
        return shutil.copytree(source, tmp_path / "run", copy_function=shutil.copyfile)


class TestDamageToManyFiles(TestDamage):
    """H, S and r with many lattice vectors."""

    name = "Si2_sz_r"
    flips = 300


class TestDamageToSpinors(TestDamage):
    """Complex numbers."""

    name = "AsH_soc_mag"
    flips = 300


class TestDamageToDynamics(TestDamage):
    """Several steps, atoms from another file."""

    name = "Si2_sz_md"
    flips = 200


class TestDamageToNewerFiles(DamageContract):
    """Heads with cell and atoms, lists in lines, no log."""

    matrix_files = ("OUT.*/*.csr",)
    flips = 500

    @pytest.fixture
    def code(self) -> Any:
        return ABACUS

    @pytest.fixture
    def run(self, dft_data: Data, tmp_path: Path) -> Path:
        return bare(dft_data, "tests-2026/nscf_out_hsr_tr_rr", tmp_path / "run")


def test_matrices_of_the_format_are_written(dft_data: Data, tmp_path: Path) -> None:
    """All four of them, with one list of pairs."""
    calculation = read(dft_data("abacus/Si2_sz_r"))
    wanted = ("overlap", "hamiltonian", "position_matrix")
    write_calculation(calculation, tmp_path, wanted)
    pairs = [BlockMatrix.read(tmp_path / f"{name}.h5").atom_pairs for name in wanted]
    assert all(np.array_equal(pairs[0], other) for other in pairs)
