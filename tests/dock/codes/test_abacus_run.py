"""Runs of ABACUS: the proofs on real ones of every mode, and what is refused."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from deeph_dock.codes import Calculation, detect
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


class TestRecognition:
    """By content, wherever the files are."""

    def test_several_outputs_are_several_runs(self, run: Run) -> None:
        folder = run("H2O")
        shutil.copytree(out(folder), folder / "OUT.again")
        assert ABACUS.recognises(folder) == ("H2O", "again")
        assert ABACUS.own_folders(folder, "again") == ("OUT.again",)
        (folder / "INPUT").write_text("INPUT_PARAMETERS\nsuffix again\n")
        one, two = (ABACUS.read(folder, label) for label in ABACUS.recognises(folder))
        assert "kmesh" not in one.info.provenance  # INPUT and KPT are those of the other run
        assert "kmesh" in two.info.provenance
        assert np.array_equal(one.structure.positions, two.structure.positions)

    def test_an_output_folder_is_enough(self, run: Run, tmp_path: Path, dft_data: Data) -> None:
        whole = read(dft_data("abacus/Si2_soc"))
        folder = run("Si2_soc")
        assert ABACUS.recognises(out(folder)) == ("",)
        inside = ABACUS.read(out(folder), "")
        assert np.array_equal(inside.structure.positions, whole.structure.positions)
        alone = shutil.move(out(folder), tmp_path / "alone")
        calculation = ABACUS.read(Path(alone), "")
        # Without STRU the atoms are where ABACUS moved them: the other picture of the same.
        violation = two_centre(
            calculation.structure,
            calculation.info.orbital_map,
            calculation.matrices["overlap"](),
        ).violation
        assert violation < 2e-5  # the cell has six digits
        assert abs(calculation.structure.positions[0, 0] - 2.815) < 1e-5

    def test_names_do_not_matter(self, run: Run, dft_data: Data) -> None:
        folder = run("Fe_spin_small")
        names = {
            "data-HR-sparse_SPIN0.csr": "hrs1_nao.csr",
            "data-HR-sparse_SPIN1.csr": "hrs2_nao.csr",
            "data-SR-sparse_SPIN0.csr": "srs1_nao.csr",
            "data-DMR-sparse_SPIN0.csr": "dmrs1_nao.csr",
            "data-DMR-sparse_SPIN1.csr": "dmrs2_nao.csr",
        }
        for old, new in names.items():
            (out(folder) / old).rename(out(folder) / new)
        calculation, whole = read(folder), read(dft_data("abacus/Fe_spin_small"))
        for name, matrix in whole.matrices.items():
            assert np.array_equal(calculation.matrices[name]().entries, matrix().entries)

    def test_the_overlap_of_the_run_is_preferred(self, run: Run) -> None:
        folder = run("H2O")
        shutil.copyfile(out(folder) / "data-SR-sparse_SPIN0.csr", out(folder) / "SR.csr")
        assert out(folder) / "data-SR-sparse_SPIN0.csr" in ABACUS.inputs(folder, "H2O")

    def test_two_files_of_one_matrix_are_refused(self, run: Run) -> None:
        folder = run("H2O")
        shutil.copyfile(out(folder) / "data-HR-sparse_SPIN0.csr", out(folder) / "hrs1_nao.csr")
        with pytest.raises(InputError, match=r"H\(R\) of spin 1, as data-HR-sparse_SPIN0.csr is"):
            read(folder)

    def test_a_run_with_gamma_alone_says_what_to_do(self, dft_data: Data) -> None:
        with pytest.raises(InputError, match="put 'gamma_only 0' and 'out_mat_hs2 1'"):
            read(dft_data("abacus/H2O_gamma"))

    def test_a_run_without_matrices_says_what_to_do(self, run: Run) -> None:
        folder = run("H2O")
        for path in out(folder).glob("*.csr"):
            path.unlink()
        with pytest.raises(InputError, match="put 'out_mat_hs2 1' into INPUT"):
            read(folder)
        change(folder / "INPUT", "lcao", "pw")
        with pytest.raises(InputError, match="plane waves have none"):
            read(folder)

    def test_it_is_in_the_registry(self, dft_data: Data) -> None:
        (found,) = detect(dft_data("abacus/H2O"))
        assert (found.code, found.label) == ("abacus", "H2O")


def modernised(text: str) -> str:
    """Write a log in the words of 2026."""
    text = text.replace(" charge density convergence is achieved", " #SCF IS CONVERGED#")
    text = text.replace("AUTOSET number of electrons: ", "Autoset the number of electrons")
    text = text.replace("atom label =", "Atom label =")
    text = text.replace("number of atom for this type", "Number of atoms for this type")
    text = re.sub(r" EFERMI = .*\n", "", text)
    text = re.sub(r"tau[cd]_([A-Za-z]+)\d+", r"\1", text)
    return text.replace("CARTESIAN COORDINATES ( UNIT =  ", " CARTESIAN COORDINATES ( UNIT = ")


class TestLogs:
    """What a log says in all its words."""

    def test_the_words_of_newer_logs_are_known(self, run: Run, dft_data: Data) -> None:
        folder = run("SiO2_6/0001")
        log = out(folder) / "running_scf.log"
        log.write_text(modernised(log.read_text()))
        new, old = read(folder), read(dft_data("abacus/SiO2_6/0001"))
        assert new.unconverged == ""
        assert new.info.fermi_level == pytest.approx(old.info.fermi_level, abs=1e-8)
        assert new.info.occupation == old.info.occupation
        assert new.info.orbital_map == old.info.orbital_map
        assert np.array_equal(new.structure.positions, old.structure.positions)

    @pytest.mark.parametrize(
        ("new", "reason"),
        [
            (" convergence has NOT been achieved!", "says that the self-consistency cycle did not"),
            (" !!SCF IS NOT CONVERGED!!", "says that the self-consistency cycle did not"),
            ("", "does not say that the self-consistency cycle converged"),
        ],
    )
    def test_runs_that_did_not_converge_are_told(self, run: Run, new: str, reason: str) -> None:
        folder = run("H2O")
        change(out(folder) / "running_scf.log", " charge density convergence is achieved", new)
        calculation = read(folder)
        assert reason in calculation.unconverged
        assert calculation.info.fermi_level is None
        assert calculation.eigenvalues is None
        assert "hamiltonian" in calculation.matrices

    def test_electrons_of_the_input_count(self, run: Run) -> None:
        folder = run("H2O")
        (folder / "INPUT").write_text((folder / "INPUT").read_text() + "\nnelec 7.5\n")
        assert read(folder).info.occupation == 7.5

    def test_without_stru_the_log_has_the_atoms(self, run: Run, dft_data: Data) -> None:
        folder = run("SiO2_6/0002")
        (folder / "STRU").unlink()
        calculation, whole = read(folder), read(dft_data("abacus/SiO2_6/0002"))
        assert "running_scf.log, with six digits" in " ".join(calculation.warnings)
        np.testing.assert_allclose(
            calculation.structure.positions, whole.structure.positions, atol=2e-5
        )
        assert calculation.structure.symbols == whole.structure.symbols

    def test_a_stru_of_another_run_is_not_taken(self, run: Run, dft_data: Data) -> None:
        folder = run("SiO2_6/0002")
        shutil.copyfile(dft_data("abacus/SiO2_6/0003") / "STRU", folder / "STRU")
        calculation = read(folder)
        assert "STRU differs from the atoms of the run" in " ".join(calculation.warnings)
        overlap = calculation.matrices["overlap"]()
        result = two_centre(calculation.structure, calculation.info.orbital_map, overlap)
        assert result.violation < 2e-5

    def test_positions_of_a_relaxation_are_those_of_the_last_cycle(self, run: Run) -> None:
        """Atoms are listed after each step: the matrices belong to those before the last cycle."""
        folder = run("Si2_sz_r")
        log = out(folder) / "running_scf.log"
        text = log.read_text()
        listed = re.search(r"CARTESIAN COORDINATES .*\n.*\n(tau.*\n)+", text)
        assert listed is not None
        earlier = listed[0].replace("1.3800000000", "1.3700000000")
        later = listed[0].replace("1.3800000000", "1.3900000000")
        text = text.replace(listed[0], earlier) + later
        text = text.replace(" SELF-CONSISTENT", f"{listed[0]}\n SELF-CONSISTENT")
        log.unlink()
        log = out(folder) / "running_relax.log"
        log.write_text(text)
        stru = (folder / "STRU").read_text()
        (folder / "STRU").write_text(stru.replace("1.380000000000", "1.370000000000"))
        for path in out(folder).glob("*.csr"):
            change(path, "STEP: 0", "STEP: 1")
        calculation = read(folder)
        assert calculation.structure.positions[1, 1] == pytest.approx(1.38, abs=1e-6)
        assert "step 1 is taken" in " ".join(calculation.warnings)
        log.write_text(text.replace(listed[0], ""))
        with pytest.raises(InputError, match="step 1, whose atoms no file has"):
            read(folder)
        log.write_text(text)
        (out(folder) / "STRU_ION_D").write_text(stru.replace("1.410000000000", "1.410000000001"))
        exact = read(folder)
        assert exact.structure.positions[1, 2] == pytest.approx(
            1.410000000001 * 1.889726125457828 * BOHR, abs=1e-13
        )

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("number of zeta = 2", "number of zeta = 1", "the atoms have"),
            ("atom label = O", "atom = O", "no label or number of atoms"),
            ("number of atom for this type = 2", "number of atom for this type = 3", "atoms"),
        ],
    )
    def test_logs_that_contradict_the_matrices_are_named(
        self, run: Run, old: str, new: str, message: str
    ) -> None:
        folder = run("H2O")
        (folder / "STRU").unlink()
        change(out(folder) / "running_scf.log", old, new)
        with pytest.raises(InputError, match=message):
            read(folder)


class TestElements:
    """From the files of a species, not from its label."""

    def relabelled(self, run: Run, label: str) -> Path:
        folder = run("H2O")
        stru = folder / "STRU"
        stru.write_text(re.sub(r"(?m)^O(?=\s|$)", label, stru.read_text()))
        log = out(folder) / "running_scf.log"
        text = log.read_text().replace("atom label = O\n", f"atom label = {label}\n")
        log.write_text(text.replace("tauc_O1", f"tauc_{label}1"))
        return folder

    @pytest.mark.parametrize("label", ["O_SOC", "Pt1", "X"])
    def test_the_pseudopotential_decides(self, run: Run, label: str) -> None:
        assert read(self.relabelled(run, label)).structure.symbols == ["O", "H", "H"]

    def hide(self, folder: Path) -> None:
        for path in (folder / "STRU", out(folder) / "running_scf.log"):
            text = path.read_text().replace("O_ONCV_PBE-1.0.upf", "my.upf")
            path.write_text(text.replace("O_gga_6au_60Ry_2s2p1d.orb", "my.orb"))

    def test_then_the_content_of_its_files(self, run: Run) -> None:
        folder = self.relabelled(run, "N1")
        self.hide(folder)
        (folder / "my.upf").write_text('<UPF version="2.0.1">\n<PP_HEADER\n   element="O "\n')
        assert read(folder).structure.symbols == ["O", "H", "H"]

    def test_then_the_label_with_a_warning(self, run: Run) -> None:
        folder = self.relabelled(run, "O2a")
        self.hide(folder)
        calculation = read(folder)
        assert calculation.structure.symbols == ["O", "H", "H"]
        assert "species O2a is taken as O" in " ".join(calculation.warnings)

    def test_or_nothing(self, run: Run) -> None:
        folder = self.relabelled(run, "X9")
        self.hide(folder)
        with pytest.raises(InputError, match="species X9: neither its label nor"):
            read(folder)

    def test_ghosts_are_refused(self, run: Run) -> None:
        with pytest.raises(InputError, match="basis functions only"):
            read(self.relabelled(run, "O_empty"))

    def test_two_bases_of_one_element_are_refused(self, run: Run) -> None:
        folder = self.relabelled(run, "H1")
        for path in (folder / "STRU", out(folder) / "running_scf.log"):
            text = path.read_text().replace("O_ONCV_PBE-1.0.upf", "H_ONCV_PBE-1.0.upf")
            path.write_text(text.replace("O_gga_6au_60Ry_2s2p1d.orb", "H_gga_6au_60Ry_2s2p1d.orb"))
        with pytest.raises(InputError, match="H1, H are all H but have different bases"):
            read(folder)

    def test_shells_come_from_the_list_of_orbitals_too(self, run: Run, dft_data: Data) -> None:
        folder = run("AsH_soc_mag")
        log = out(folder) / "running_scf.log"
        log.write_text(re.sub(r".*number of zeta.*\n", "", log.read_text()))
        calculation, whole = read(folder), read(dft_data("abacus/AsH_soc_mag"))
        assert calculation.info.orbital_map == whole.info.orbital_map
        (out(folder) / "Orbital").unlink()
        assert read(folder).info.orbital_map == whole.info.orbital_map


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
