"""SIESTA runs with spin, and density matrices: the proofs on real runs and made ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from deeph_dock.codes import Calculation, Code
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.codes.siesta import spins as spin_rules
from deeph_dock.codes.siesta.density import read_density
from deeph_dock.codes.siesta.hsx import read_hsx
from deeph_dock.orbital_elements import Pattern
from deeph_dock.testing import (
    CodeContract,
    DamageContract,
    electron_count,
    spin_orbit_strengths,
)
from deeph_spec.errors import InputError
from hypothesis import given
from hypothesis import strategies as st

Data = Callable[[str], Path]
Toy = Callable[..., Any]


class TestSiesta4(CodeContract):
    """HSX version 0, single precision, all kinds of spin; with .DM where there is one."""

    two_centre_limit = 2e-8

    @pytest.fixture(params=["O2_spin", "Fe_spin", "Fe_nc", "Pt_soc", "GaAs_soc", "FePt_soc"])
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        return SIESTA.read(dft_data(f"siesta/modes/{request.param}"), request.param)

    def test_kind_of_spin_is_known(self, calculation: Calculation) -> None:
        label = calculation.info.provenance["label"]
        assert calculation.info.spin == ("collinear" if label.endswith("_spin") else "soc")
        assert calculation.warnings == ()


class TestSiesta5(CodeContract):
    """HSX version 1, double precision."""

    two_centre_limit = 1e-8
    hermitian_limits: ClassVar = {"overlap": 1e-8, "hamiltonian": 1e-7}

    @pytest.fixture(
        params=["Bi_hexagonal_soc", "Pt2_soc", "SrTiO3_noncollinear", "fe_bcc_polarized"]
    )
    def calculation(self, request: pytest.FixtureRequest, dft_data: Data) -> Calculation:
        folder = dft_data("third-party/siesta") / f"sisl-files-{request.param}"
        (label,) = SIESTA.recognises(folder)
        return SIESTA.read(folder, label)


class TestVersion2(CodeContract):
    """The same H and S as in HSX version 0, in the records of version 2."""

    two_centre_limit = 1e-8
    hermitian_limits: ClassVar = {"overlap": 1e-8, "hamiltonian": 1e-7}

    @pytest.fixture(params=["Fe_spin", "Fe_nc", "Pt_soc"])
    def calculation(
        self, request: pytest.FixtureRequest, dft_data: Data, tmp_path: Path
    ) -> Calculation:
        label = request.param
        for path in dft_data(f"siesta/modes/{label}").iterdir():
            if path.is_file():
                shutil.copyfile(path, tmp_path / path.name)
        shutil.copyfile(dft_data("siesta/hsx_v2") / f"{label}.HSX", tmp_path / f"{label}.HSX")
        return SIESTA.read(tmp_path, label)

    def test_file_of_version_0_agrees(self, calculation: Calculation, dft_data: Data) -> None:
        label = calculation.info.provenance["label"]
        other = SIESTA.read(dft_data(f"siesta/modes/{label}"), label)
        for name, read in calculation.matrices.items():
            double, single = read(), other.matrices[name]()
            np.testing.assert_array_equal(double.atom_pairs, single.atom_pairs)
            np.testing.assert_allclose(double.entries, single.entries, rtol=5e-7, atol=2e-7)


@pytest.mark.parametrize(
    ("run", "element", "shell"), [("GaAs_soc", "As", 2), ("GaAs_soc", "Ga", 2)]
)
def test_spin_orbit_coupling_is_positive_and_equal_along_all_axes(
    dft_data: Data, run: str, element: str, shell: int
) -> None:
    calculation = SIESTA.read(dft_data(f"siesta/modes/{run}"), run)
    strengths = spin_orbit_strengths(calculation, element, shell)
    assert min(strengths) > 0.05
    assert np.ptp(strengths) < 0.01 * max(strengths)


def test_moment_of_the_density_matrix_points_where_the_input_says(dft_data: Data) -> None:
    """Fe_nc: theta 60, phi 30 degrees; the eigenvalues do not see the direction."""
    calculation = SIESTA.read(dft_data("siesta/modes/Fe_nc"), "Fe_nc")
    rho, overlap = (calculation.matrices[name]() for name in ("density_matrix", "overlap"))
    density, overlap = rho.hermitian(), overlap.hermitian()
    n = calculation.info.orbits_quantity
    parts = np.zeros((2, 2), dtype=complex)
    for row in range(len(density)):
        block = density.block(row).reshape(2, n, 2, n)
        parts += np.einsum("aibj,ij->ab", block, overlap.block(row))
    # rho_ud = <c_u c_d^*>: the moment is tr(sigma rho).
    moment = np.array(
        [2 * parts[0, 1].real, -2 * parts[0, 1].imag, (parts[0, 0] - parts[1, 1]).real]
    )
    theta, phi = np.radians([60, 30])
    direction = np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)])
    assert np.linalg.norm(moment) == pytest.approx(2.355, abs=0.01)
    np.testing.assert_allclose(moment / np.linalg.norm(moment), direction, atol=1e-3)


def test_hamiltonian_and_density_matrix_see_the_same_moment(dft_data: Data) -> None:
    """In Fe_nc the exchange field of H lowers the spin that rho holds more of."""
    calculation = SIESTA.read(dft_data("siesta/modes/Fe_nc"), "Fe_nc")
    fields = []
    for name in ("hamiltonian", "density_matrix"):
        matrix = calculation.matrices[name]()
        (row,) = matrix.rows_of(np.array([[0, 0, 0, 0, 0]]))
        block = matrix.block(int(row))
        n = calculation.info.orbits_quantity
        up_down = np.trace(block[:n, n:])
        up, down = np.trace(block[:n, :n]).real, np.trace(block[n:, n:]).real
        fields.append(np.array([2 * up_down.real, -2 * up_down.imag, up - down]))
    exchange, moment = fields
    cosine = exchange @ moment / np.linalg.norm(exchange) / np.linalg.norm(moment)
    assert cosine == pytest.approx(-1, abs=1e-3)


def test_collinear_electrons_of_each_spin(dft_data: Data) -> None:
    calculation = SIESTA.read(dft_data("siesta/modes/O2_spin"), "O2_spin")
    rho, overlap = (calculation.matrices[name]() for name in ("density_matrix", "overlap"))
    moment = 0.0
    for row in range(len(rho)):
        block, n = rho.block(row), len(overlap.block(row))
        moment += float(((block[:n, :n] - block[n:, n:]) * overlap.block(row)).sum())
    assert moment == pytest.approx(2.0, abs=1e-4)


# -- the rules of the components ------------------------------------------------------------------

ONE = Pattern(
    np.zeros((1, 5), np.int64),
    np.ones((1, 2), np.int64),
    np.zeros(1, np.int64),
    np.ones(1, np.int8),
)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_components_stand_where_siesta_has_them(kind: str) -> None:
    def component(spin: int) -> np.ndarray:
        return np.array([10.0 ** -(spin + 1)], dtype=kind)

    def ours(spins: int, rule: str) -> np.ndarray:
        if rule == "H":
            return spin_rules.hamiltonian(ONE, component, spins, 2.0).block(0) / 2.0
        return spin_rules.density_matrix(ONE, component, spins).block(0)

    a, b, c, d, e, f, g, h = (float(component(k)[0]) for k in range(8))
    expected = {
        (1, "H"): [[a]],
        (2, "H"): [[a, 0], [0, b]],
        (4, "H"): [[a, c - 1j * d], [c + 1j * d, b]],
        (8, "H"): [[a - 1j * e, g - 1j * h], [c + 1j * d, b - 1j * f]],
        (2, "rho"): [[a, 0], [0, b]],
        (4, "rho"): [[a, c - 1j * d], [c + 1j * d, b]],
        (8, "rho"): [[a + 1j * e, c - 1j * d], [g + 1j * h, b + 1j * f]],
    }
    for (spins, rule), block in expected.items():
        found = ours(spins, rule)
        np.testing.assert_allclose(found, block, rtol=1e-6)
        assert found.dtype == (np.dtype(f"c{2 * int(kind[1])}") if spins > 2 else np.dtype(kind))


# -- DM files -------------------------------------------------------------------------------------


def dm(run: Any, generation: int, columns_of: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """Write the overlap of a run as its density matrix, with or without the supercell."""
    pieces: list[bytes] = []

    def record(values: Any, kind: str) -> None:
        data = np.asarray(values).astype(f"{run.order}{kind}").tobytes()
        marker = np.array(len(data), f"{run.order}i4").tobytes()
        pieces.append(marker + data + marker)

    cells, rows = run.rows()
    rows = [tuple(part[columns_of(row[0])] for part in row) for row in rows]
    supercell = (2 * np.abs(cells).max(axis=0) + 1).tolist()
    record([run.size, run.spins, *(supercell if generation else [])], "i4")
    record([len(columns) for columns, *_ in rows], "i4")
    for columns, *_ in rows:
        record(columns + 1, "i4")
    for _ in range(run.spins):
        for _, _, s, _ in rows:
            record(s, "f8")
    return b"".join(pieces)


def everything(columns: np.ndarray) -> np.ndarray:
    return np.arange(len(columns))


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 1]),
    st.sampled_from(["<", ">"]),
    st.sampled_from([1, 2, 4]),
)
def test_what_is_written_is_read_back(
    toy_run: Toy,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    version: int,
    generation: int,
    order: str,
    spins: int,
) -> None:
    run = toy_run(seed=seed, version=version, order=order, spins=spins)
    folder = run.write(tmp_path_factory.mktemp("run"), leave_out=(".EIG", ".KP"))
    (folder / "toy.DM").write_bytes(dm(run, generation, everything))
    calculation = SIESTA.read(folder, "toy")
    found = calculation.matrices["density_matrix"]()
    expected = run.overlap.sorted()
    assert found.dtype == (np.complex128 if spins == 4 else np.float64)
    n = len(expected.block(0))
    np.testing.assert_allclose(
        found.block(0)[:n, : expected.block(0).shape[1]], expected.block(0), atol=1e-14
    )
    total = electron_count(found, expected)
    channels = 1 if spins == 1 else 2
    assert total == pytest.approx(channels * float((expected.entries**2).sum()), rel=1e-9)


def test_density_matrix_may_have_other_elements_than_the_hamiltonian(
    toy_run: Toy, tmp_path: Path
) -> None:
    run = toy_run(seed=3)
    run.write(tmp_path)

    def home(columns: np.ndarray) -> np.ndarray:
        return np.flatnonzero(columns < run.size)

    (tmp_path / "toy.DM").write_bytes(dm(run, 1, home))
    found = SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()
    assert (found.atom_pairs[:, :3] == 0).all()
    expected = run.overlap.on_pairs(found.atom_pairs)
    np.testing.assert_allclose(found.entries, expected.entries, atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spins": 2}, "2 spin components, toy.HSX has .* and 1: not of the same run"),
        ({"cutoff": 9.0}, "a supercell of .*: of another step of the run"),
    ],
)
def test_density_matrix_of_another_run_is_refused(
    toy_run: Toy, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    toy_run().write(tmp_path)
    (tmp_path / "toy.DM").write_bytes(dm(toy_run(**changes), 1, everything))
    with pytest.raises(InputError, match=rf"toy\.DM: sizes: .*{message}"):
        SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()


def test_density_matrix_with_nan_is_refused(dft_data: Data, tmp_path: Path) -> None:
    folder = dft_data("siesta/modes/O2_spin")
    content = bytearray((folder / "O2_spin.DM").read_bytes())
    content[-12:-4] = np.float64(np.nan).tobytes()
    (tmp_path / "O2_spin.DM").write_bytes(content)
    density = read_density(tmp_path / "O2_spin.DM", read_hsx(folder / "O2_spin.HSX"))
    with pytest.raises(InputError, match="NaN or absurd"):
        density.component(1)


# -- damage ---------------------------------------------------------------------------------------


class TestDamageVersion0(DamageContract):
    """Spin-orbit coupling in single precision, with .DM: a real run."""

    matrix_files = ("*.HSX", "*.DM")

    @pytest.fixture
    def code(self) -> Code:
        return SIESTA

    @pytest.fixture
    def run(self, dft_data: Data, tmp_path: Path) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(
            dft_data("siesta/modes/O2_spin"), folder, ignore=shutil.ignore_patterns("basis")
        )
        return folder


class TestDamageLaterVersions(DamageContract):
    """Made runs of versions 1 and 2, of which every byte has a meaning."""

    matrix_files = ("*.HSX", "*.DM")

    @pytest.fixture
    def code(self) -> Code:
        return SIESTA

    @pytest.fixture(params=[1, 2])
    def run(self, request: pytest.FixtureRequest, toy_run: Toy, tmp_path: Path) -> Path:
        run = toy_run(version=request.param, spins=4, atoms=2, cutoff=3.0, dtype="f8")
        run.write(tmp_path / "run")
        (tmp_path / "run" / "toy.DM").write_bytes(dm(run, 1, everything))
        return tmp_path / "run"
