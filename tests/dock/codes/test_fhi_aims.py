"""FHI-aims runs: the proofs on real ones, and made ones of every kind that read back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.fhi_aims import FHI_AIMS
from deeph_dock.codes.fhi_aims.assembly import HARTREE
from deeph_dock.proofs import two_centre
from deeph_dock.testing import CodeContract, DamageContract
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import SYMBOLS, Structure
from deeph_spec.testing import random_structure, toy_matrices
from hypothesis import given, settings
from hypothesis import strategies as st

Data = Callable[[str], Path]
Shells = Sequence[tuple[str, int, int]]

BASIS: dict[str, Shells] = {
    "H": [("atomic", 1, 0), ("hydro", 2, 1)],
    # Equal n and l, another type: shells of their own.
    "C": [("ionic", 2, 0), ("atomic", 2, 0), ("atomic", 2, 1), ("hydro", 2, 1), ("hydro", 3, 2)],
    "Ti": [("atomic", 4, 0), ("ionic", 4, 1), ("hydro", 4, 3), ("hydro", 5, 4)],
}


@dataclass(frozen=True, eq=False)
class ToyRun:
    """What a run holds, in the units of the format; `write` makes the files of FHI-aims."""

    structure: Structure
    basis: Mapping[str, Shells]
    overlap: BlockMatrix
    hamiltonian: tuple[BlockMatrix, ...]  # one, or spin up and down
    hdf5: bool = False
    molecule: bool = False
    exponent: str = "E"
    sparse: bool = False
    log: str = ""

    def but(self, **changes: Any) -> ToyRun:
        return replace(self, **changes)

    def write(self, folder: Path) -> Path:
        """Write all files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "geometry.in").write_text(self.geometry())
        (folder / "control.in").write_text(self.control())
        (folder / "basis-indices.out").write_text(self.basis_indices())
        if self.log:
            (folder / "aims.out").write_text(self.log)
        if self.molecule:
            self._write_cluster(folder)
        else:
            self._write_periodic(folder)
        return folder

    def geometry(self) -> str:
        lines = ["# made for a test"]
        if not self.molecule:
            lines += ["lattice_vector {:.17g} {:.17g} {:.17g}".format(*row) for row in self.lattice]
        for position, symbol in zip(self.structure.positions, self.structure.symbols, strict=True):
            lines += ["atom {:.17g} {:.17g} {:.17g} ".format(*position) + f"{symbol}_x"]
            lines += ["  constrain_relaxation .true.", "  initial_moment 1.0"]
        return "\n".join(lines) + "\n"

    def control(self) -> str:
        spin = "collinear" if len(self.hamiltonian) == 2 else "none"
        lines = ["xc pbe", f"spin {spin}", "k_grid 2 2 1 # a comment", "occupation_type fermi 1d-2"]
        lines += ["output h_s_matrices" if self.molecule else f"output_rs_matrices {self.kind}"]
        for symbol in self.structure.elements:
            number = next(z for z, s in SYMBOLS.items() if s == symbol)
            lines += [f"  species {symbol}_x", f"    nucleus {number}", "    cut_pot 4 2 1"]
        return "\n".join(lines) + "\n"

    def basis_indices(self) -> str:
        lines, fn = ["", "  fn.   type   at.   n   l   m"], 0
        for atom, symbol in enumerate(self.structure.symbols, 1):
            for kind, n, l in self.basis[symbol]:
                for m in range(-l, l + 1):
                    fn += 1
                    lines.append(f"{fn:5d} {kind:8s} {atom:3d} {n:3d} {l:3d} {m:3d}")
        return "\n".join(lines) + "\n"

    # -- matrices -----------------------------------------------------------------------------

    @property
    def kind(self) -> str:
        return "hdf5" if self.hdf5 else "plain"

    @property
    def lattice(self) -> np.ndarray:
        return self.structure.lattice

    @property
    def offsets(self) -> np.ndarray:
        counts = [sum(2 * l + 1 for _, _, l in self.basis[s]) for s in self.structure.symbols]
        return np.concatenate([[0], np.cumsum(counts)])

    def signs(self) -> np.ndarray:
        m = [
            m
            for symbol in self.structure.symbols
            for _, _, l in self.basis[symbol]
            for m in range(-l, l + 1)
        ]
        return np.array([-1.0 if k > 0 and k % 2 else 1.0 for k in m])

    def wrapped_by(self) -> np.ndarray:
        """Lattice vector that brings each atom into the cell around the origin, (-1/2, 1/2]."""
        if self.molecule:
            return np.zeros((len(self.structure), 3), dtype=int)
        return -np.ceil(self.structure.fractional - 0.5 - 1e-9).astype(int)

    def dense(self, matrix: BlockMatrix) -> dict[tuple[int, ...], np.ndarray]:
        """<c, 0| M |r, R> of each cell R, for the wrapped atoms and the functions of the code."""
        n, at, signs = self.wrapped_by(), self.offsets, self.signs()
        cells: dict[tuple[int, ...], np.ndarray] = {}
        for row, (*cell, i, j) in enumerate(matrix.atom_pairs.tolist()):
            key = tuple((np.array(cell) + n[i] - n[j]).tolist())
            whole = cells.setdefault(key, np.full((at[-1], at[-1]), np.nan))
            whole[at[i] : at[i + 1], at[j] : at[j + 1]] = matrix.block(row)
        return {key: signs[:, None] * whole * signs for key, whole in cells.items()}

    def _write_periodic(self, folder: Path) -> None:
        size = int(self.offsets[-1])
        cells = {"S": self.dense(self.overlap)}
        names = ["rs_hamiltonian"]
        if len(self.hamiltonian) == 2:
            names = [
                "rs_hamiltonian_up",
                "rs_hamiltonian_down" if self.hdf5 else "rs_hamiltonian_dn",
            ]
        for name, matrix in zip(names, self.hamiltonian, strict=True):
            scaled = self.dense(matrix)
            cells[name] = {key: whole / HARTREE for key, whole in scaled.items()}
        keys = sorted(cells["S"], key=lambda key: (any(key), key))
        first, last, columns = [], [], []
        values: dict[str, list[float]] = {name: [] for name in cells}
        for key in keys:
            for r in range(size):
                stored = [c for c in range(r + 1) if not np.isnan(cells["S"][key][c, r])]
                first.append(len(columns) + 1 if stored else 0)
                columns += [c + 1 for c in stored]
                last.append(len(columns) if stored else -1)
                for name, of_cell in cells.items():
                    values[name] += [float(of_cell[key][c, r]) for c in stored]
        first, last, columns = first + [0] * size, last + [-1] * size, [*columns, 0]
        listed = [*keys, (999999999,) * 3]

        def rows(numbers: Sequence[int]) -> str:
            table = np.reshape(numbers, (len(listed), size))
            return "".join("".join(f"{x:10d} " for x in row) + "\n" for row in table.tolist())

        (folder / "rs_indices.out").write_text(
            f"n_hamiltonian_matrix_size: {len(columns):12d}\n"
            f"n_cells_in_hamiltonian: {len(listed):12d}\nn_basis: {size:12d}\ncell_index\n"
            + "".join("{:10d} {:10d} {:10d}\n".format(*key) for key in listed)
            + f"index_hamiltonian(1,:,:)\n{rows(first)}index_hamiltonian(2,:,:)\n{rows(last)}"
            + "column_index_hamiltonian\n"
            + "".join(f"{x:10d}\n" for x in columns)
        )
        for name, listed_values in values.items():
            stem = "rs_overlap" if name == "S" else name
            if self.hdf5:
                with h5py.File(folder / f"{stem}.h5", "w") as file:
                    file["sparse_matrix"] = [*listed_values, 0.0]
            else:
                lines = [f"{x:24.16E}\n" for x in [*listed_values, 0.0]]
                (folder / f"{stem}.out").write_text("".join(lines))

    def _write_cluster(self, folder: Path) -> None:
        names = ["hamiltonian.out"]
        if len(self.hamiltonian) == 2:
            names = ["hamiltonian_up.out", "hamiltonian_dn.out"]
        files = [("overlap-matrix.out", self.overlap, 1.0)]
        files += [(n, m, HARTREE) for n, m in zip(names, self.hamiltonian, strict=True)]
        for name, matrix, unit in files:
            whole = self.dense(matrix)[(0, 0, 0)]
            lines = []
            for j in range(len(whole)):
                for i in range(j + 1):
                    if np.isnan(whole[i, j]) and self.sparse:
                        continue
                    mantissa, _, power = f"{np.nan_to_num(whole[i, j]) / unit:.16E}".partition("E")
                    number = f"{mantissa}{self.exponent}{int(power):+04d}"
                    lines.append(f"{i + 1:6d}{j + 1:6d} {number:>24s}\n")
            (folder / name).write_text("".join(lines))


def toy_run(
    elements: Sequence[str] = ("C", "H"), atoms: int = 3, seed: int = 0, **changes: Any
) -> ToyRun:
    """Make a run of a random crystal, its atoms pushed out of the cell, or of a molecule."""
    structure = random_structure(elements, atoms, seed)
    rng = np.random.default_rng(seed)
    molecule = changes.get("molecule", False)
    if molecule:
        structure = Structure(60 * np.eye(3), structure.positions, structure.numbers)
    else:
        pushed = rng.integers(-2, 3, (atoms, 3)) @ structure.lattice
        structure = Structure(structure.lattice, structure.positions + pushed, structure.numbers)
    shells = {symbol: tuple(l for *_, l in BASIS[symbol]) for symbol in elements}
    spin = changes.pop("spin", "none")
    overlap, hamiltonian = toy_matrices(structure, shells, "none", 4.0)
    channels = (hamiltonian,)
    if spin == "collinear":
        channels = (hamiltonian, hamiltonian.with_entries(hamiltonian.entries * 0.75 + 0.125))
    return ToyRun(structure, BASIS, overlap, channels, **changes)


def read(folder: Path) -> Calculation:
    assert FHI_AIMS.recognises(folder) == ("",)
    return FHI_AIMS.read(folder, "")


def assert_reads_back(run: ToyRun, folder: Path) -> Calculation:
    calculation = read(run.write(folder))
    assert calculation.structure.symbols == run.structure.symbols
    np.testing.assert_array_equal(calculation.structure.positions, run.structure.positions)
    shells = {s: tuple(l for *_, l in run.basis[s]) for s in run.structure.elements}
    assert calculation.info.orbital_map == shells
    overlap, hamiltonian = (calculation.matrices[n]() for n in ("overlap", "hamiltonian"))
    expected = run.overlap.sorted()
    np.testing.assert_array_equal(overlap.atom_pairs, expected.atom_pairs)
    np.testing.assert_allclose(overlap.entries, expected.entries, rtol=1e-15, atol=1e-16)
    np.testing.assert_array_equal(hamiltonian.atom_pairs, expected.atom_pairs)
    channels = [part.sorted() for part in run.hamiltonian]
    for row in range(len(hamiltonian)):
        block, up = hamiltonian.block(row), channels[0].block(row)
        if len(channels) == 1:
            np.testing.assert_allclose(block, up, rtol=1e-14, atol=1e-14)
        else:
            a, b = up.shape
            np.testing.assert_allclose(block[:a, :b], up, rtol=1e-14, atol=1e-14)
            down = channels[1].block(row)
            np.testing.assert_allclose(block[a:, b:], down, rtol=1e-14, atol=1e-14)
            assert not block[:a, b:].any()
            assert not block[a:, :b].any()
    return calculation


class TestCrystals(CodeContract):
    """Real crystals: f functions, atoms outside the central cell, two spin channels."""

    two_centre_limit = 1e-3
    eigenvalue_limit = None
    hermitian_limits: ClassVar = {"overlap": 1e-15, "hamiltonian": 2e-14}

    @pytest.fixture(params=["Si", "MoS2_spin"])
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        return read(dft_data("third-party/fhi_aims") / request.param)

    def test_missing_output_is_named(self, calculation: Calculation) -> None:
        assert "no output of FHI-aims" in calculation.warnings[0]
        assert calculation.info.fermi_level is None
        electrons = {"Si2": 28.0, "S2Mo": 74.0}
        assert calculation.info.occupation == electrons[calculation.structure.formula]

    def test_second_variation_is_told(self, calculation: Calculation) -> None:
        spin_orbit = ["spin-orbit" in warning for warning in calculation.warnings]
        assert any(spin_orbit) == (calculation.info.spin == "collinear")


class TestAtoms(CodeContract):
    """Real atoms with g functions; the output holds several runs, each broken off at its end."""

    eigenvalue_limit = 1e-5  # eV are printed with five decimals
    hermitian_limits: ClassVar = {"overlap": 0.0, "hamiltonian": 0.0}

    @pytest.fixture(params=["atom_Mo", "atom_Te"])
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        return read(dft_data("third-party/fhi_aims") / request.param)

    def test_overlap_obeys_the_two_centre_rule(self, calculation: Calculation) -> None:
        """One atom has no axis; its functions are normalised, those of other l, m orthogonal."""
        overlap = calculation.matrices["overlap"]()
        assert overlap.atom_pairs.tolist() == [[0, 0, 0, 0, 0]]
        np.testing.assert_allclose(overlap.block(0), np.eye(len(overlap.block(0))), atol=2e-4)

    def test_facts_of_the_output(self, calculation: Calculation) -> None:
        info = calculation.info
        assert calculation.warnings == ()
        assert calculation.unconverged == ""
        assert info.provenance["code_version"] == "240920.1"
        assert info.provenance["scf_converged"] is True
        assert (info.occupation, info.fermi_level) in ((42.0, -4.21873519), (52.0, -5.88067348))
        assert (np.diag(calculation.structure.lattice) == 30.0).all()
        assert calculation.eigenvalues is not None  # the occupied states and some more
        assert calculation.eigenvalues().energies.shape in ((1, 1, 27), (1, 1, 32))


class TestDamageToAnAtom(DamageContract):
    """Text of a molecule: i j value."""

    matrix_files = ("hamiltonian.out", "overlap-matrix.out")

    @pytest.fixture
    def code(self) -> Any:
        return FHI_AIMS

    @pytest.fixture
    def run(self, dft_data: Data, tmp_path: Path) -> Path:
        return shutil.copytree(dft_data("third-party/fhi_aims/atom_Te"), tmp_path / "run")


class TestDamageToAMolecule(TestDamageToAnAtom):
    """Two channels, sparse."""

    matrix_files = ("hamiltonian_*.out", "overlap-matrix.out")

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        run = toy_run(molecule=True, spin="collinear", exponent="D")
        return run.write(tmp_path / "run")


class TestDamageToACrystal(TestDamageToAnAtom):
    """Text of a small crystal with two channels."""

    matrix_files = ("rs_*.out",)

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        return toy_run(("H",), 2, spin="collinear").write(tmp_path / "run")


class TestDamageToHdf5(TestDamageToAnAtom):
    """HDF5 of a small crystal."""

    matrix_files = ("rs_*.h5",)

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        return toy_run(("H",), 2, hdf5=True).write(tmp_path / "run")


class TestDamageToRealCrystals(TestDamageToAnAtom):
    """Large text: fewer bytes."""

    matrix_files = ("rs_*.out",)
    cuts = 4
    flips = 60

    @pytest.fixture(params=["Si", "MoS2_spin"])
    def run(self, request: pytest.FixtureRequest, dft_data: Data, tmp_path: Path) -> Path:
        return shutil.copytree(dft_data("third-party/fhi_aims") / request.param, tmp_path / "run")


@settings(deadline=None, max_examples=25)
@given(
    elements=st.lists(st.sampled_from(sorted(BASIS)), min_size=1, max_size=2, unique=True),
    atoms=st.integers(1, 3),
    seed=st.integers(0, 10**6),
    spin=st.sampled_from(["none", "collinear"]),
    hdf5=st.booleans(),
)
def test_crystals_read_back(
    elements: list[str],
    atoms: int,
    seed: int,
    spin: str,
    hdf5: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = toy_run(elements, max(atoms, len(elements)), seed, spin=spin, hdf5=hdf5)
    calculation = assert_reads_back(run, tmp_path_factory.mktemp("run"))
    overlap = calculation.matrices["overlap"]()
    result = two_centre(calculation.structure, calculation.info.orbital_map, overlap)
    assert result.violation < 1e-12


@settings(deadline=None, max_examples=25)
@given(
    elements=st.lists(st.sampled_from(sorted(BASIS)), min_size=1, max_size=2, unique=True),
    atoms=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    spin=st.sampled_from(["none", "collinear"]),
    exponent=st.sampled_from("ED"),
    sparse=st.booleans(),
)
def test_molecules_read_back(
    elements: list[str],
    atoms: int,
    seed: int,
    spin: str,
    exponent: str,
    sparse: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = toy_run(
        elements,
        max(atoms, len(elements)),
        seed,
        spin=spin,
        molecule=True,
        exponent=exponent,
        sparse=sparse,
    )
    calculation = assert_reads_back(run, tmp_path_factory.mktemp("run"))
    free = calculation.structure.lattice - np.diag(np.ptp(run.structure.positions, axis=0))
    np.testing.assert_allclose(free, 30 * np.eye(3), atol=1e-12)
