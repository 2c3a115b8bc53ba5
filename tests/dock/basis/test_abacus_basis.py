"""Files .orb of ABACUS: real ones, any that is well formed, and none that is not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.basis import READERS, AtomicBasis, abacus
from deeph_spec.errors import InputError
from deeph_spec.orbitals import SHELL_LETTERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Data = Callable[[str], Path]
BOHR = 0.529177
GRID = "abacus:60"
RULE = "-" * 75
ZERO = "Sorbital-->       0\nNumber of Porbital-->       0"
fewer = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

REAL = [
    "As_gga_8au_100Ry_2s2p1d",
    "Fe_gga_6au_100Ry_4s2p1d",
    "Fe_gga_6au_100Ry_4s2p2d1f",
    "H_gga_6au_60Ry_2s1p",
    "O_gga_6au_60Ry_2s2p",
    "Pb_gga_7au_100Ry_2s2p2d1f",
    "Si_gga_6au_100Ry_2s2p1d",
]


def radial(degree: int, zeta: int, radii: np.ndarray) -> np.ndarray:
    """Give r^l (1 - (r/a)^2)^(3 + zeta), normalised: its square is a polynomial."""
    a, power = radii[-1], 3 + zeta
    x, w = np.polynomial.legendre.leggauss(40)
    r = a * (x + 1) / 2
    square = r ** (2 * degree + 2) * (1 - (r / a) ** 2) ** (2 * power)
    norm = np.sqrt(np.sum(a * w / 2 * square))
    return radii**degree * (1 - (radii / a) ** 2) ** power / norm


def orb_text(
    counts: Sequence[int],
    *,
    element: str = "Si",
    points: int = 101,
    step: float = 0.05,
    order: Sequence[int] | None = None,
    per_line: int = 4,
    digits: int = 14,
) -> str:
    """Write a file as ABACUS' generators do; `order` is that of the functions."""
    lines = [RULE, f"Element                     {element}", "Energy Cutoff(Ry)           60"]
    lines += [f"Radius Cutoff(a.u.)         {(points - 1) * step:g}"]
    lines += [f"Lmax                        {len(counts) - 1}"]
    lines += [
        f"Number of {letter.upper()}orbital-->       {count}"
        for letter, count in zip(SHELL_LETTERS, counts, strict=False)
    ]
    lines += [RULE, "SUMMARY  END", "", f"Mesh                        {points}", f"dr    {step}"]
    keys = [(degree, zeta) for degree, count in enumerate(counts) for zeta in range(count)]
    radii = step * np.arange(points)
    for place in order if order is not None else range(len(keys)):
        degree, zeta = keys[place]
        lines.append("                Type                   L                   N")
        lines.append(f"                   0 {degree:19d} {zeta:19d}")
        values = [f"{value: .{digits}e}" for value in radial(degree, zeta, radii)]
        lines += [" ".join(values[n : n + per_line]) for n in range(0, points, per_line)]
    return "\n".join(lines) + "\n"


def write(folder: Path, text: str, name: str = "Si_gga_5au_60Ry.orb") -> Path:
    path = folder / name
    path.write_text(text)
    return path


AT_ZERO, VALUE = (f"{radial(0, zeta, 0.05 * np.arange(101))[50 * zeta]:.14e}" for zeta in (0, 1))


def or_none(path: Path) -> AtomicBasis | None:
    """Read a file if it can be; any other exception is a defect."""
    try:
        return abacus.read(path)
    except InputError:
        return None


def assert_same(one: AtomicBasis, other: AtomicBasis, tolerance: float) -> None:
    assert one.degrees == other.degrees
    assert one.number == other.number
    for first, second in zip(one.shells, other.shells, strict=True):
        np.testing.assert_allclose(first.radii, second.radii, rtol=1e-14)
        np.testing.assert_allclose(first.values, second.values, atol=tolerance)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("quadrature", ["exact", "abacus:60"])
def test_real_files(dft_data: Data, name: str, quadrature: str) -> None:
    path = dft_data("abacus/basis") / f"{name}.orb"
    basis = abacus.read(path, quadrature)
    counts = re.findall(r"(\d)([spdf])", name.rsplit("_", 1)[1])
    degrees = [SHELL_LETTERS.index(l) for count, l in counts for _ in range(int(count))]
    assert basis.degrees == tuple(degrees)
    assert basis.cutoff == pytest.approx(float(name.split("_")[2][:-2]) * BOHR, rel=1e-14)
    assert (basis.code, basis.source, basis.quadrature) == ("abacus", path.name, quadrature)
    assert (basis.valence, basis.projector_reach) == (None, 0.0)
    for shell in basis.shells:
        assert shell.norm == pytest.approx(1.0, abs=1e-7)
        assert shell.radii[-1] <= shell.cutoff
        assert shell.weights.sum() == pytest.approx(shell.cutoff, rel=1e-12)


def test_it_is_the_reader_of_abacus(dft_data: Data) -> None:
    assert READERS["abacus"] == abacus.__name__
    found = sorted(p.name for p in dft_data("abacus/basis").iterdir() if abacus.recognises(p))
    assert len(found) == 10
    assert all(name.endswith(".orb") for name in found)


def test_values_keep_the_sign_and_the_scale_of_the_file(tmp_path: Path) -> None:
    text = orb_text([1, 1])
    path = write(tmp_path, text)
    grid = abacus.read(path, GRID)
    for degree, shell in enumerate(grid.shells):
        expected = radial(degree, 0, shell.radii / BOHR)
        np.testing.assert_allclose(shell.values * BOHR**1.5, expected, atol=1e-9)
    negative = re.sub(r" (?=\d\.\d+e)", "-", text)
    turned = abacus.read(write(tmp_path, negative, "negative.orb"), GRID)
    for one, other in zip(grid.shells, turned.shells, strict=True):
        np.testing.assert_allclose(one.values, -other.values, rtol=1e-14)


@pytest.mark.parametrize("points", [101, 100])
def test_simpson_integrates_cubic_polynomials(tmp_path: Path, points: int) -> None:
    """With an even number of points, too, where the end needs another rule."""
    (shell,) = abacus.read(write(tmp_path, orb_text([1], points=points)), GRID).shells
    assert len(shell.radii) == points
    for power in range(4):
        found = np.sum(shell.weights * shell.radii**power)
        assert found == pytest.approx(shell.cutoff ** (power + 1) / (power + 1), rel=1e-13)


def test_functions_are_normalised_as_abacus_does(tmp_path: Path) -> None:
    text = orb_text([1], step=0.04)
    (shell,) = abacus.read(write(tmp_path, text), GRID).shells
    scaled = re.sub(r"-?\d\.\d+e[+-]\d\d", lambda m: f"{float(m[0]) * 1.00005:.14e}", text)
    (other,) = abacus.read(write(tmp_path, scaled, "scaled.orb"), GRID).shells
    np.testing.assert_allclose(other.values, shell.values, rtol=1e-12)
    assert other.norm == pytest.approx(1, abs=1e-13)
    assert (shell.name, shell.degree) == ("s zeta 1", 0)


@pytest.mark.parametrize("points", [101, 100])
def test_integrals_over_r_are_exact(tmp_path: Path, points: int) -> None:
    """<r^2> of r^l (1 - (r/a)^2)^n, a quotient of two Beta functions."""
    from scipy.special import beta

    basis = abacus.read(write(tmp_path, orb_text([1, 1, 1], points=points)))
    for degree, shell in enumerate(basis.shells):
        a = shell.cutoff
        expected = a**2 * beta(degree + 2.5, 7) / beta(degree + 1.5, 7)
        found = np.sum(shell.weights * shell.radii**4 * shell.values**2)
        assert found == pytest.approx(expected, rel=1e-6)  # that of the splines, steps of 0.05


@pytest.mark.parametrize("step", [0.01, 0.04, 0.2])
def test_no_wavenumber_is_mistaken_for_a_smaller_one(tmp_path: Path, step: float) -> None:
    """On equal steps h of a grid k and 2 pi / h - k are one; nodes must tell them apart."""
    from scipy.interpolate import CubicSpline
    from scipy.special import spherical_jn

    path = write(tmp_path, orb_text([1, 0, 1], points=round(4 / step) + 1, step=step))
    on_grid = abacus.read(path, GRID)
    x, w = np.polynomial.legendre.leggauss(48)
    for shell, grid in zip(abacus.read(path).shells, on_grid.shells, strict=True):
        half = np.diff(grid.radii[:: max(1, round(0.04 / step))])[:, None] / 2
        centres = grid.radii[:: max(1, round(0.04 / step))][:-1, None] + half
        fine = (centres + half * x).ravel()
        spline = CubicSpline(grid.radii, grid.values)(fine)
        alias = 2 * np.pi / (step * BOHR)
        for k in (1.0, 33.0, 300.0, *(alias * np.array([1, 2, 3]) - 2)):
            if k > 300:
                continue
            exact = np.sum(
                (half * w).ravel() * fine**2 * spherical_jn(shell.degree, k * fine) * spline
            )
            bessel = spherical_jn(shell.degree, k * shell.radii)
            found = np.sum(shell.weights * shell.radii**2 * bessel * shell.values)
            assert found == pytest.approx(exact, abs=1e-9)


@fewer
@given(data=st.data())
def test_any_order_and_layout_is_read(tmp_path: Path, data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=5).filter(any))
    order = data.draw(st.permutations(range(sum(counts))))
    points = data.draw(st.integers(40, 90))
    layout = {
        "element": data.draw(st.sampled_from(["H", "Si", "Og"])),
        "points": points,
        "step": 4 / (points - 1),
    }
    plain = abacus.read(write(tmp_path, orb_text(counts, **layout)), GRID)
    mixed = orb_text(counts, **layout, order=order, per_line=data.draw(st.integers(1, 9)))
    ending = data.draw(st.sampled_from(["\n", "\r\n", "  \n", "\n\n"]))
    path = tmp_path / "mixed.orb"
    path.write_bytes(mixed.replace("\n", ending).encode())
    assert_same(plain, abacus.read(path, GRID), 1e-13)
    assert plain.degrees == tuple(l for l, count in enumerate(counts) for _ in range(count))


def test_functions_that_the_head_does_not_name_are_not_used(tmp_path: Path) -> None:
    """ABACUS' own tests have such files: the head was edited, the functions were not."""
    text = orb_text([2, 2, 1])
    smaller = text.replace("Sorbital-->       2", "Sorbital-->       1")
    smaller = smaller.replace("Porbital-->       2", "Porbital-->       1")
    smaller = smaller.replace("Dorbital-->       1", "Dorbital-->       0")
    basis = abacus.read(write(tmp_path, smaller))
    assert_same(basis, abacus.read(write(tmp_path, orb_text([1, 1]), "small.orb")), 1e-12)
    assert basis.facts["unused_functions"] == "3"


def test_wavenumbers_of_abacus_end_at_the_energy_cutoff(tmp_path: Path) -> None:
    """sqrt(20) / 0.01 = 447.2: ABACUS has 451 points; sqrt(21) / 0.01 = 458.3: 463, always odd."""
    path = write(tmp_path, orb_text([1]))
    assert abacus.read(path).wavenumbers is None
    for energy, largest in ((20, 4.50), (21, 4.62)):
        rule = abacus.read(path, f"abacus:{energy}").wavenumbers
        assert rule is not None
        assert rule.largest * BOHR == pytest.approx(largest, abs=1e-12)
        assert rule.step * BOHR == pytest.approx(0.01, abs=1e-15)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Element                     Si", "Element    Xx", "'Element' is Xx"),
        ("Element                     Si\n", "", "no line 'Element'"),
        ("(Ry)           60", "(Ry)    sixty", r"'Energy Cutoff\(Ry\)' is sixty"),
        ("(a.u.)         5", "(a.u.)   7", "'Radius Cutoff.a.u..' is 7, but .* end at 5"),
        ("Lmax                        1", "Lmax      0.5", "'Lmax' is 0.5; expected a whole"),
        ("Lmax                        1", "Lmax      9", "'Lmax' is 9; expected .* 0 to 6"),
        ("Lmax                        1", "Lmax      2", "no line 'Number of Dorbital-->'"),
        ("Sorbital-->       2", "Sorbital-->       3", "no function with L 0, N 2"),
        ("Sorbital-->       2", "Sorbital-->      -1", "'Number of Sorbital-->' is -1"),
        ("Sorbital-->       2\nNumber of Porbital-->       1", ZERO, "no functions"),
        ("Mesh                        101", "Mesh   100", "function 1 has 101 values"),
        ("Mesh                        101", "Mesh   1e9", "'Mesh' is 1e9"),
        ("dr    0.05", "dr    nan", "'dr' is nan"),
        ("dr    0.05", "dr    0.06", "but 'Mesh' and 'dr' end at 6"),
        ("dr    0.05", "dr    0.0498", "has norm 0.99"),
        ("dr    0.05", "", "no line 'dr'"),
        ("0                   1\n", "0                   0\n", "two functions with L 0, N 0"),
        ("0                   0                   0", "0   0.5   0", "no whole numbers"),
        ("0                   0                   0", "0   0", "function 1 has 100 values"),
        (VALUE, f"{VALUE} 1.0", "function 2 has 102 values"),
        (VALUE, "", "function 2 has 100 values"),
        (VALUE, "x", "function 2 has something that is no number"),
        (VALUE, "nan", "function 2 has something that is no number"),
        (VALUE, "1e+999", "function 2 has something that is no number"),
        (VALUE, VALUE.replace("e-01", "e+01"), "L 0, N 1 has norm"),
        (AT_ZERO, AT_ZERO.replace("e-01", "e+01"), "L 0, N 0 has norm 1.0"),
        ("Radius Cutoff", "Radius", "no numerical atomic orbitals of ABACUS"),
        ("SUMMARY", "\xe9", "no character of text"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = orb_text([2, 1])
    assert old in text
    path = write(tmp_path, text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        abacus.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@fewer
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_files_are_refused(tmp_path: Path, share: float) -> None:
    text = orb_text([1, 1], points=41, step=0.1)
    whole = abacus.read(write(tmp_path, text))
    cut = write(tmp_path, text[: int(share * len(text))], "cut.orb")
    basis = or_none(cut)
    if basis is not None:  # digits of the last value, which is 0
        assert_same(basis, whole, 1e-12)


@fewer
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_changed_bytes_are_refused_or_read(tmp_path: Path, place: float, byte: int) -> None:
    content = bytearray(orb_text([1, 1], points=41, step=0.1).encode())
    content[int(place * len(content))] = byte
    path = tmp_path / "changed.orb"
    path.write_bytes(content)
    basis = or_none(path)
    assert basis is None or all(abs(shell.norm - 1) < 1e-3 for shell in basis.shells)


def test_what_is_asked_for_must_be_known(tmp_path: Path) -> None:
    path = write(tmp_path, orb_text([1]))
    with pytest.raises(InputError, match=r"orbitals 'Si7.0-s2' are asked for"):
        abacus.read(path, "exact", "Si7.0-s2")
    for name in (
        "siesta",
        "abacus",
        "abacus:",
        "abacus:many",
        "abacus:-1",
        "abacus:0.1",
        "exact:3",
    ):
        with pytest.raises(InputError, match=f"integrals '{name}' are not known"):
            abacus.read(path, name)


def test_other_files_are_not_recognised(tmp_path: Path) -> None:
    assert abacus.recognises(write(tmp_path, orb_text([1])))
    for number, content in enumerate(
        (b"", b"\x89HDF\r\n", b"<UPF version='2.0.1'>", b"Element Si")
    ):
        path = tmp_path / f"{number}.orb"
        path.write_bytes(content)
        assert not abacus.recognises(path)
        with pytest.raises(InputError, match="no numerical atomic orbitals"):
            abacus.read(path)
    assert not abacus.recognises(tmp_path)
    assert not abacus.recognises(tmp_path / "missing.orb")


def test_charges_come_from_pseudopotentials(dft_data: Data) -> None:
    folder = dft_data("abacus/basis")
    assert abacus.valence(folder / "Pb_ONCV_PBE_FR-1.0.upf") == (82, 14.0)
    assert abacus.valence(folder / "H_gga_6au_60Ry_2s1p.orb") is None
