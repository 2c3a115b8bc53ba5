"""OpenMX's .pao files: names of orbitals, what is read, how it is interpolated, what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.basis.openmx import (
    BOHR,
    QUADRATURES,
    parse_orbitals,
    read,
    recognises,
    valence,
)
from deeph_spec.errors import InputError
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

Real = NDArray[np.float64]

CUTOFF = 4.0
KNOTS = np.exp(np.linspace(-7.0, np.log(4.6), 300))

HEADER = """
number.optpao 1
<Contraction.coefficients1
  1
  Atom=  1  L= 0  Mul= 0  p=  0   1.000000000000000
Contraction.coefficients1>
System.Name            {name}
AtomSpecies            {number}
total.electron         {electrons}
valence.electron       {valence}   # of the pseudopotential
radial.cutoff.pao      {cutoff}    # default=5.0 (Bohr)
grid.num.output        300
PAO.Lmax   2
PAO.Mul    3
"""


def smooth(degree: int, column: int) -> Real:
    """A function of a basis: r^l times something that ends smoothly at the cutoff."""
    inside = np.clip(1 - (KNOTS / CUTOFF) ** 2, 0, None)
    return np.asarray(KNOTS**degree * inside**3 * (1 + column * KNOTS))


def write_pao(
    folder: Path,
    name: str = "O4.0",
    function: Callable[[int, int], Real] = smooth,
    knots: Sequence[float] | Real = KNOTS,
    **changed: object,
) -> Path:
    """Write a file with three functions of each l up to 2."""
    words = {
        "name": name,
        "number": 8,
        "electrons": "8.0",
        "valence": "6.0",
        "cutoff": CUTOFF,
        **changed,
    }
    lines = [HEADER.format(**words)]
    for degree in range(3):
        columns = [np.log(knots), np.asarray(knots), *(function(degree, c) for c in range(3))]
        lines.append(f"<pseudo.atomic.orbitals.L={degree}" + degree * " ")
        lines += [" ".join(f"{value:.15e}" for value in row) for row in zip(*columns, strict=True)]
        lines.append(f"pseudo.atomic.orbitals.L={degree}>")
    path = folder / f"{name}.pao"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_vps(path: Path, charge: float, number: float = 8, electrons: float | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"AtomSpecies  {number}\ntotal.electron  {number if electrons is None else electrons}\n"
        f"valence.electron  {charge}\n<Pseudo.Potentials\n"
    )
    return path


@pytest.mark.parametrize(
    ("text", "pao", "degrees", "number"),
    [
        ("Mo7.0-s3p2d1", "Mo7.0", (0, 0, 0, 1, 1, 2), 42),
        ("Fe5.0S-s2p2d1", "Fe5.0S", (0, 0, 1, 1, 2), 26),
        ("S7.0-p2s1", "S7.0", (0, 1, 1), 16),
        ("H5.0-s12", "H5.0", (0,) * 12, 1),
        ("Pb8.0-s2p0f1g1", "Pb8.0", (0, 0, 3, 4), 82),
        ("mine-s1", "mine", (0,), None),
    ],
)
def test_names_of_orbitals(
    text: str, pao: str, degrees: tuple[int, ...], number: int | None
) -> None:
    found = parse_orbitals(text)
    assert (found.pao, found.degrees, found.number) == (pao, degrees, number)


@given(st.dictionaries(st.integers(0, 4), st.integers(1, 20), min_size=1))
def test_names_round_trip(counts: dict[int, int]) -> None:
    text = "C6.0-" + "".join(f"{'spdfg'[degree]}{count}" for degree, count in counts.items())
    assert parse_orbitals(text).counts == counts
    assert list(parse_orbitals(text).counts) == sorted(counts)


@pytest.mark.parametrize(
    "text",
    ["Mo7.0", "Mo7.0-", "-s1", "Mo7.0-s", "Mo7.0-3s", "Mo7.0-s1x2", "Mo7.0-S2", "Mo 7.0-s1", ""],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"such as Mo7\.0-s3p2d1"):
        parse_orbitals(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("C6.0-s4>2p2>1", r"contracted .* such as C6\.0-s4p2$"),
        ("C6.0-s4p2>1", r"contracted .* such as C6\.0-s4p2$"),
        ("C6.0-s2p1s1", "s stands there twice"),
        ("C6.0-s0p0", "no orbitals at all"),
    ],
)
def test_names_that_cannot_be_used(text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        parse_orbitals(text)


@pytest.mark.parametrize("quadrature", QUADRATURES)
def test_shells_are_the_first_columns_in_the_order_of_l(tmp_path: Path, quadrature: str) -> None:
    path = write_pao(tmp_path)
    basis = read(path, quadrature, "O4.0-d1p2s1")
    assert (basis.number, basis.code, basis.source) == (8, "openmx", "O4.0.pao")
    assert basis.degrees == (0, 1, 1, 2)
    assert basis.quadrature == quadrature
    assert [shell.name for shell in basis.shells] == ["s 1", "p 1", "p 2", "d 1"]
    assert basis.cutoff == pytest.approx(CUTOFF * BOHR, rel=1e-15)
    for shell, (degree, column) in zip(basis.shells, [(0, 0), (1, 0), (1, 1), (2, 0)], strict=True):
        r = shell.radii / BOHR
        inside = np.clip(1 - (r / CUTOFF) ** 2, 0, None)
        expected = r**degree * inside**3 * (1 + column * r) * BOHR**-1.5
        # Third-order interpolation in steps of 0.03 r.
        np.testing.assert_allclose(shell.values, expected, atol=2e-4 * np.abs(expected).max())


def test_interpolation_is_exact_for_parabolas(tmp_path: Path) -> None:
    # The slope of the parabola through three knots is then that of the function.
    path = write_pao(tmp_path, function=lambda degree, column: 2 - 3 * KNOTS + KNOTS**2)
    shell = read(path, "exact", "O4.0-s1").shells[0]
    r = shell.radii / BOHR
    expected = (2 - 3 * r + r**2) * BOHR**-1.5
    np.testing.assert_allclose(shell.values, expected, atol=1e-12)


def test_interpolation_between_uneven_knots(tmp_path: Path) -> None:
    knots = np.array([1.0, 2.0, 4.0, 5.0, 7.0])
    path = write_pao(
        tmp_path,
        function=lambda degree, column: np.array([0.0, 0.0, 1.0, 0.0, 0.0]),
        knots=knots,
        cutoff=5.0,
    )
    shell = read(path, "openmx", "O4.0-s1").shells[0]
    # Slopes of the parabolas: 1/6 at r = 2, -1/2 at r = 4. Hermite's polynomial at the middle:
    # (0 + 1) / 2 + 2 (1/6 + 1/2) / 8.
    middle = np.interp(3.0, shell.radii / BOHR, shell.values * BOHR**1.5)
    assert middle == pytest.approx(0.5 + 1 / 6, abs=1e-5)


def test_weights_integrate_from_the_first_knot_to_half_a_bohr_beyond(tmp_path: Path) -> None:
    path = write_pao(tmp_path)
    first, end = KNOTS[0] * BOHR, (CUTOFF + 0.5) * BOHR
    for quadrature, error in (("exact", 1e-13), ("openmx", 1e-5)):
        shell = read(path, quadrature, "O4.0-s1").shells[0]
        assert (np.diff(shell.radii) > 0).all()
        assert first <= shell.radii[0]
        assert shell.radii[-1] <= end * (1 + 1e-15)
        integral = np.sum(shell.weights * shell.radii**4)
        assert integral == pytest.approx((end**5 - first**5) / 5, rel=error)


def test_openmx_grid(tmp_path: Path) -> None:
    basis = read(write_pao(tmp_path), "openmx", "O4.0-s1")
    radii = basis.shells[0].radii
    np.testing.assert_allclose(radii, np.linspace(KNOTS[0], CUTOFF + 0.5, 901) * BOHR, rtol=1e-14)
    assert basis.wavenumbers is not None
    assert basis.wavenumbers.largest * BOHR == pytest.approx(60)
    assert basis.wavenumbers.largest / basis.wavenumbers.step == pytest.approx(900)
    assert read(write_pao(tmp_path), "exact", "O4.0-s1").wavenumbers is None


def test_exact_quadrature_is_converged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deeph_dock.basis import openmx
    from scipy.special import spherical_jn

    path = write_pao(tmp_path)
    k = np.array([0.0, 1.0, 30.0, 100.0, 300.0])

    def transforms() -> Real:
        shells = read(path, "exact", "O4.0-s2p1").shells
        return np.array(
            [
                [np.sum(s.weights * s.radii**2 * s.values * spherical_jn(s.degree, x * s.radii))]
                for s in shells
                for x in k
            ]
        )

    usual = transforms()
    monkeypatch.setattr(openmx, "_FEWEST", 12)
    monkeypatch.setattr(openmx, "RESOLVED", 2800.0)
    converged = transforms()
    assert np.abs(usual - converged).max() < 1e-9
    monkeypatch.setattr(openmx, "_FEWEST", 2)
    monkeypatch.setattr(openmx, "RESOLVED", 190.0)
    assert np.abs(transforms() - converged).max() > 1e-7


def test_valence_of_the_orbitals_alone(tmp_path: Path) -> None:
    basis = read(write_pao(tmp_path), "exact", "O4.0-s1")
    assert basis.valence == 6.0
    assert basis.facts == {"orbitals": "O4.0-s1"}


def test_valence_of_pseudopotentials_near_the_file(tmp_path: Path) -> None:
    path = write_pao(tmp_path / "PAO", "O4.0")
    write_vps(tmp_path / "VPS" / "O_PBE19.vps", 7.0)
    write_vps(tmp_path / "VPS" / "O_PBE13.vps", 7.0)
    write_vps(tmp_path / "VPS" / "Os_PBE19.vps", 14.0, 76)
    found = read(path, "exact", "O4.0-s1")
    assert found.valence == 7.0
    assert found.facts["pseudopotential"] == "O_PBE13, O_PBE19"


@pytest.mark.parametrize(("own", "expected"), [("14.0", 14.0), ("16.0", 16.0), ("8.0", None)])
def test_valence_where_pseudopotentials_differ(
    tmp_path: Path, own: str, expected: float | None
) -> None:
    path = write_pao(tmp_path, "Fe4.0S", number=26, electrons="26.0", valence=own)
    write_vps(tmp_path / "Fe_PBE19S.vps", 14.0, 26)
    write_vps(tmp_path / "Fe_PBE19H.vps", 16.0, 26)
    assert read(path, "exact", "Fe4.0S-s1").valence == expected


def test_valence_files(tmp_path: Path) -> None:
    assert valence(write_vps(tmp_path / "O_PBE19.vps", 6.0)) == (8, 6.0)
    # A core hole: one electron less in all.
    assert valence(write_vps(tmp_path / "O_1s.vps", 6.0, electrons=7.0)) == (8, 7.0)
    assert valence(write_vps(tmp_path / "E.vps", 0.0, 0)) is None
    assert valence(write_vps(tmp_path / "H0.5.vps", 0.5, 0.5)) is None
    assert valence(write_pao(tmp_path)) is None
    assert valence(tmp_path / "absent.vps") is None


def test_recognises_by_name_and_contents(tmp_path: Path) -> None:
    assert recognises(write_pao(tmp_path))
    (tmp_path / "folder.pao").mkdir()
    (tmp_path / "binary.pao").write_bytes(b"AtomSpecies 8\n\0\0")
    (tmp_path / "other.pao").write_text("AtomSpecimens 8\n")
    for name in ("absent.pao", "folder.pao", "binary.pao", "other.pao"):
        assert not recognises(tmp_path / name)
    assert not recognises(write_vps(tmp_path / "O_PBE19.vps", 6.0))


@pytest.mark.parametrize(
    ("orbitals", "match"),
    [
        (None, r"name the orbitals .* such as O4\.0-s2p2d1"),
        ("O5.0-s2p1", r"are those of O5\.0\.pao; expected O4\.0-s2p1"),
        ("O4.0-s4", r"4 s orbitals asked for \(s4\), it has 3"),
        ("O4.0-s1f1", r"no f orbitals .* PAO.Lmax is 2"),
        ("O4.0-s2>1", "contracted"),
    ],
)
def test_orbitals_that_the_file_has_not(tmp_path: Path, orbitals: str | None, match: str) -> None:
    with pytest.raises(InputError, match=match) as error:
        read(write_pao(tmp_path), "exact", orbitals)
    assert "\n" not in str(error.value)


def test_another_quadrature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="quadrature 'siesta' of OpenMX bases, expected exact or"):
        read(write_pao(tmp_path), "siesta", "O4.0-s1")


def test_another_element_is_refused(tmp_path: Path) -> None:
    path = write_pao(tmp_path, "S4.0")
    with pytest.raises(InputError, match=r"AtomSpecies 8 \(O\), but the name is one of S"):
        read(path, "exact", "S4.0-s1")


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("AtomSpecies            8", "", "no AtomSpecies"),
        ("AtomSpecies            8", "AtomSpecies 0.5", "virtual atom"),
        ("AtomSpecies            8", "AtomSpecies 0", "empty or virtual"),
        ("radial.cutoff.pao      4.0", "", r"radial\.cutoff\.pao missing"),
        ("radial.cutoff.pao      4.0", "radial.cutoff.pao -1", r"radial\.cutoff\.pao -1"),
        ("radial.cutoff.pao      4.0", "radial.cutoff.pao 5.0", "expected them to include"),
        ("pseudo.atomic.orbitals.L=0>", "", "not a whole table"),
        ("<pseudo.atomic.orbitals.L=0\n", "<pseudo.atomic.orbitals.L=0\n1 2 3 4\n", "whole table"),
        ("<pseudo.atomic.orbitals.L=0\n", "<pseudo.atomic.orbitals.L=0\n1 2 a 4 5\n", "no numbers"),
        ("<pseudo.atomic.orbitals.L=0\n", "<pseudo.atomic.orbitals.L=0\n1 2 nan 4 5\n", "NaN"),
        ("<pseudo.atomic.orbitals.L=0\n", "<pseudo.atomic.orbitals.L=0\n1 2 3 4 5\n", "increase"),
        (
            "<pseudo.atomic.orbitals.L=1 \n",
            "<pseudo.atomic.orbitals.L=1\n-9 1e-4 3 4 5\n",
            "differ",
        ),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, old: str, new: str, match: str) -> None:
    path = write_pao(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=match) as error:
        read(path, "exact", "O4.0-s1p1")
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "O4.0.pao", "exact", "O4.0-s1")


def test_files_of_the_database(dft_data: Callable[[str], Path]) -> None:
    folder = dft_data("openmx/basis") / "PAO"
    for orbitals, number, charge, cutoff, potentials in (
        ("Mo7.0-s2p2d1", 42, 14.0, 7.0, "Mo_PBE19"),
        ("Fe5.0S-s2p2d1", 26, 14.0, 5.0, "Fe_PBE19S"),
        ("H5.0-s2p1", 1, 1.0, 5.0, "H_PBE13, H_PBE19"),
    ):
        path = folder / f"{orbitals.partition('-')[0]}.pao"
        assert recognises(path)
        basis = read(path, "exact", orbitals)
        assert (basis.number, basis.valence) == (number, charge)
        assert basis.cutoff == pytest.approx(cutoff * BOHR)
        assert basis.facts["pseudopotential"] == potentials
        assert valence(folder.parent / "VPS" / f"{potentials.split(', ')[0]}.vps") == (
            number,
            charge,
        )
    # The diagonal of OpenMX's overlaps of Mo, which are not normalised.
    norms = [shell.norm for shell in read(folder / "Mo7.0.pao", "exact", "Mo7.0-s2p2d1").shells]
    expected = [1.0000316064, 0.9850957010, 1.0000424778, 0.9999250390, 0.9922454220]
    np.testing.assert_allclose(norms, expected, atol=5e-8)
