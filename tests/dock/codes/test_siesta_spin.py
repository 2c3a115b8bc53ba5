"""SIESTA runs with spin: the proofs on real runs, the rules on made ones, and damage."""

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
from deeph_dock.orbital_elements import Pattern
from deeph_dock.spin_blocks import adjoint, collinear, spinor
from deeph_dock.testing import CodeContract, DamageContract, spin_orbit_strengths
from deeph_spec.blocks import BlockMatrix
from deeph_spec.testing import assert_hermitian
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
        params=[
            "Bi_hexagonal_soc",
            "Pt2_soc",
            "SrTiO3_noncollinear",
            "SrTiO3_polarized",
            "fe_bcc_polarized",
        ]
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
    ("folder", "element", "shell"),
    [
        ("siesta/modes/GaAs_soc", "As", 2),
        ("siesta/modes/GaAs_soc", "Ga", 2),
        ("third-party/siesta//sisl-files-Bi_hexagonal_soc", "Bi", 1),
    ],
)
def test_spin_orbit_coupling_is_positive_and_equal_along_all_axes(
    dft_data: Data, folder: str, element: str, shell: int
) -> None:
    packed, _, within = folder.partition("//")
    path = dft_data(packed) / within
    (label,) = SIESTA.recognises(path)
    strengths = spin_orbit_strengths(SIESTA.read(path, label), element, shell)
    assert min(strengths) > 0.05
    assert np.ptp(strengths) < 0.01 * max(strengths)


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


# -- the rules of the components ------------------------------------------------------------------


def random_spin(run: Any, spins: int, seed: int) -> tuple[tuple[BlockMatrix, ...], BlockMatrix]:
    """Make a random Hermitian H and its components as SIESTA numbers them."""
    rng = np.random.default_rng(seed)
    plain = run.overlap.sorted()

    def symmetric() -> BlockMatrix:
        return plain.with_entries(rng.uniform(-1, 1, len(plain.entries))).hermitian()

    def antisymmetric() -> BlockMatrix:
        of = plain.with_entries(1j * rng.uniform(-1, 1, len(plain.entries))).hermitian()
        return plain.with_entries(of.entries.imag)

    if spins == 2:
        up, down = symmetric(), symmetric()
        return (up, down), collinear(up, down)
    up, down, real, imaginary = (symmetric() for _ in range(4))
    parts = [up, down, real, imaginary]
    up_up, down_down = up.entries.astype(complex), down.entries.astype(complex)
    down_up = real.entries + 1j * imaginary.entries
    up_down = down_up.conj()
    if spins == 8:
        i_up, i_down, more, other = (antisymmetric() for _ in range(4))
        up_up, down_down = up_up - 1j * i_up.entries, down_down - 1j * i_down.entries
        # Any du is allowed: ud is its adjoint.
        down_up = down_up + more.entries + 1j * other.entries
        up_down = adjoint(plain.with_entries(down_up)).entries
        parts = [up, down]
        parts += [plain.with_entries(x) for x in (down_up.real, down_up.imag)]
        parts += [i_up, i_down]
        parts += [plain.with_entries(x) for x in (up_down.real, -up_down.imag)]
    matrix = spinor(*(plain.with_entries(x) for x in (up_up, up_down, down_up, down_down)))
    return tuple(parts), matrix


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([2, 4, 8]),
    st.sampled_from(["f4", "f8"]),
    st.sampled_from(["<", ">"]),
)
def test_spin_is_read_back(
    toy_run: Toy,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    version: int,
    spins: int,
    dtype: str,
    order: str,
) -> None:
    run = toy_run(seed=seed, version=version, order=order, spins=spins, dtype=dtype)
    components, expected = random_spin(run, spins, seed)
    written = run.but(components=components)
    folder = written.write(tmp_path_factory.mktemp("run"), leave_out=(".EIG", ".KP"))
    calculation = SIESTA.read(folder, "toy")
    assert calculation.info.spin == ("collinear" if spins == 2 else "soc")
    found = calculation.matrices["hamiltonian"]()
    np.testing.assert_array_equal(found.atom_pairs, expected.atom_pairs)
    single = version == 0 or dtype == "f4"
    np.testing.assert_allclose(found.entries, expected.entries, atol=1e-6 if single else 1e-14)
    assert_hermitian(found, 1e-6 if single else 1e-14)


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


# -- damage ---------------------------------------------------------------------------------------


class TestDamageRealRuns(DamageContract):
    """HSX version 0 with each kind of spin, versions 1 and 2; with .DM where there is one."""

    matrix_files = ("*.HSX", "*.DM")
    flips = 150

    @pytest.fixture
    def code(self) -> Code:
        return SIESTA

    @pytest.fixture(
        params=[
            "siesta/H2O_box/0007",
            "siesta/modes/O2_spin",
            "siesta/modes/Fe_nc",
            "siesta/modes/Pt_soc",
            "third-party/siesta//sisl-files-graphene_electrode",
            "third-party/siesta//sisl-files-Pt2_soc",
            "third-party/siesta//sisl-files-fe_bcc_polarized",
            "third-party/siesta//Si",
        ]
    )
    def run(self, request: pytest.FixtureRequest, dft_data: Data, tmp_path: Path) -> Path:
        packed, _, within = request.param.partition("//")
        (tmp_path / "run").mkdir()
        for path in (dft_data(packed) / within).iterdir():
            if path.is_file():
                shutil.copyfile(path, tmp_path / "run" / path.name)
        return tmp_path / "run"


class TestDamageLaterVersions(DamageContract):
    """Made runs of versions 1 and 2, of which every byte has a meaning."""

    matrix_files = ("*.HSX", "*.DM")
    flips = 500

    @pytest.fixture
    def code(self) -> Code:
        return SIESTA

    @pytest.fixture(params=[1, 2])
    def run(self, request: pytest.FixtureRequest, toy_run: Toy, tmp_path: Path) -> Path:
        run = toy_run(version=request.param, spins=4, atoms=2, cutoff=3.0, dtype="f8")
        run.write(tmp_path / "run")
        (tmp_path / "run" / "toy.DM").write_bytes(run.dm(run.counted([run.overlap] * 4)))
        return tmp_path / "run"
