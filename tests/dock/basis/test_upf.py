"""Pseudopotentials in UPF: charge and reach of both versions, and damaged files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.basis import upf
from deeph_spec.errors import InputError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Data = Callable[[str], Path]
BOHR = 0.529177
RADII = 0.02 * np.arange(120)
fewer = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

REAL = {
    "As_ONCV_PBE_FR-1.1.upf": (33, 5, "AsH_soc_mag"),
    "Fe_ONCV_PBE-1.0.upf": (26, 16, "Fe_spin"),
    "O_ONCV_PBE-1.0.upf": (8, 6, "H2O"),
    "Pb_ONCV_PBE_FR-1.0.upf": (82, 14, "Pb_soc"),
    "Si_ONCV_PBE-1.0.upf": (14, 4, "Si2"),
    "Si_ONCV_PBE_FR-1.1.upf": (14, 4, "Si2_soc"),
    "Si_dojo_nsoc.upf": (14, 4, "Si2_sz_r"),
}
"""Element, charge, and a run whose longest projector is of this file."""


def numbers(values: np.ndarray) -> str:
    text = [f"{value:.10E}" for value in values]
    return "\n".join(" ".join(text[n : n + 4]) for n in range(0, len(text), 4))


def projector(last: int) -> np.ndarray:
    """Give r beta(r), not zero up to the point `last`."""
    values = RADII * np.exp(-RADII)
    values[last + 1 :] = 0
    return values


def version_2(lasts: tuple[int, ...], charge: str = " 4.00") -> str:
    lines = ['<UPF version="2.0.1">', "<PP_INFO>", "made <by hand> & element='Xx'", "</PP_INFO>"]
    lines += ["<PP_HEADER", ' pseudo_type="NC"', '  element="Si "', f' z_valence="{charge}"']
    lines += [f' number_of_proj="{len(lasts)}"/>', "<PP_MESH>", '<PP_R type="real" size="120">']
    lines += [numbers(RADII), "</PP_R>", "</PP_MESH>", "<PP_NONLOCAL>"]
    for place, last in enumerate(lasts, 1):
        lines += [f'<PP_BETA.{place} type="real"', ' cutoff_radius="9.9" >']
        lines += [numbers(projector(last)), f"</PP_BETA.{place}>"]
    return "\n".join([*lines, "</PP_NONLOCAL>", "</UPF>", ""])


def version_1(lasts: tuple[int, ...], charge: str = " 4.00000000000") -> str:
    lines = ["<PP_INFO>", "made by hand", "</PP_INFO>", "<PP_HEADER>"]
    lines += ["   0                   Version Number", "  Si                   Element"]
    lines += ["   NC                  Norm - Conserving pseudopotential"]
    lines += [f"   {charge}      Z valence", "   120   Number of points in mesh"]
    lines += [f"    2    {len(lasts)}     Number of Wavefunctions, Number of Projectors"]
    lines += ["</PP_HEADER>", "<PP_MESH>", "  <PP_R>", numbers(RADII), "  </PP_R>", "</PP_MESH>"]
    lines += ["<PP_NONLOCAL>"]
    for place, last in enumerate(lasts, 1):
        lines += ["  <PP_BETA>", f"    {place}    0             Beta    L", "   120"]
        lines += [numbers(projector(last)), "  1.5000 1.5000", "  </PP_BETA>"]
    return "\n".join([*lines, "</PP_NONLOCAL>", ""])


VERSIONS = pytest.mark.parametrize("written", [version_1, version_2])


def write(folder: Path, text: str) -> Path:
    path = folder / "Si.upf"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", REAL)
def test_real_files(dft_data: Data, name: str) -> None:
    """The reach is that of the log of ABACUS, which has three digits."""
    number, charge, run = REAL[name]
    path = dft_data("abacus/basis") / name
    found = upf.read(path)
    assert (found.number, found.valence) == upf.valence(path) == (number, charge)
    (log,) = dft_data(f"abacus/{run}").glob("OUT.*/running_scf.log")
    printed = re.search(r"longest nonlocal projector rcut \(Bohr\) = (\S+)", log.read_text())
    assert printed is not None
    assert found.projector_reach / BOHR == pytest.approx(float(printed[1]), abs=1e-9)


def test_files_of_quantum_espresso(dft_data: Data) -> None:
    folder = dft_data("third-party/qe") / "MoS2_hpro/pseudos"
    assert upf.valence(folder / "Mo.upf") == (42, 14.0)
    assert upf.valence(folder / "S.upf") == (16, 6.0)
    assert upf.read(folder / "S.upf").projector_reach == pytest.approx(1.66 * BOHR)


@VERSIONS
@fewer
@given(lasts=st.lists(st.integers(1, 118), max_size=4).map(tuple))
def test_projectors_end_with_the_longest(
    tmp_path: Path, written: Callable[..., str], lasts: tuple[int, ...]
) -> None:
    """At the last of an odd number of points that holds all that is not zero, or all but one."""
    found = upf.read(write(tmp_path, written(lasts)))
    ends = [last if last % 2 == 0 else last - 1 for last in lasts]
    assert found.projector_reach == pytest.approx(BOHR * 0.02 * max(ends, default=0), abs=1e-12)
    assert (found.number, found.valence) == (14, 4.0)


@VERSIONS
@pytest.mark.parametrize(
    ("charge", "valence"),
    [("4", 4.0), ("4.5", 4.5), ("1.3000000000D+01", 13.0), ("0.4E+1", 4.0), ("+4.", 4.0)],
)
def test_charges_are_read_in_any_form(
    tmp_path: Path, written: Callable[..., str], charge: str, valence: float
) -> None:
    assert upf.valence(write(tmp_path, written((5,), charge))) == (14, valence)


@VERSIONS
def test_files_of_old_programs(tmp_path: Path, written: Callable[..., str]) -> None:
    """Symbols in capitals, exponents of Fortran, projectors on more points than the grid."""
    text = written((40,)).replace("Si", "SI")
    text = re.sub(r"(\d\.\d{10})E([+-]\d\d)", r"\1D\2", text)
    found = upf.read(write(tmp_path, text))
    assert (found.number, found.valence) == (14, 4.0)
    assert found.projector_reach == pytest.approx(0.8 * BOHR)
    first, last = re.findall(r"<PP_R\b[^>]*>|</PP_R>", text)
    start = text.index(first) + len(first)
    numbers = text[start : text.index(last)].split()[:31]
    shorter = text[:start] + " ".join(numbers) + text[text.index(last) :]
    assert upf.read(write(tmp_path, shorter)).projector_reach == pytest.approx(0.6 * BOHR)


@VERSIONS
@pytest.mark.parametrize("charge", ["-4", "0", "nan", "four", "", "400"])
def test_no_charge_is_one_line(tmp_path: Path, written: Callable[..., str], charge: str) -> None:
    path = write(tmp_path, written((5,), charge))
    with pytest.raises(InputError, match=r"PP_HEADER: z_valence of Si is .* expected a positive"):
        upf.valence(path)


@VERSIONS
@fewer
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_files_give_the_charge_or_say_so(
    tmp_path: Path, written: Callable[..., str], share: float
) -> None:
    text = written((20, 41))
    path = write(tmp_path, text[: int(share * len(text))])
    header = path.read_text().find("/>" if written is version_2 else "</PP_HEADER>")
    if not upf.recognises(path):
        assert upf.valence(path) is None
    elif header < 0:
        with pytest.raises(InputError, match="PP_HEADER is not complete"):
            upf.valence(path)
    else:
        assert upf.valence(path) == (14, 4.0)
    if "</PP_BETA" in path.read_text() and path.read_text().count("</PP_BETA") == 2:
        assert upf.read(path).projector_reach == pytest.approx(0.8 * BOHR)
    else:
        with pytest.raises(InputError, match=re.escape(str(path))):
            upf.read(path)


@VERSIONS
@fewer
@given(places=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=9), data=st.data())
def test_changed_bytes_are_refused_or_read(
    tmp_path: Path, written: Callable[..., str], places: list[float], data: st.DataObject
) -> None:
    content = bytearray(written((20, 41)).encode())
    for place in places:
        content[int(place * len(content))] = data.draw(st.integers(0, 255))
    path = tmp_path / "changed.upf"
    path.write_bytes(content)
    for reader in (upf.valence, upf.read):
        with contextlib.suppress(InputError):
            reader(path)


@VERSIONS
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Si", "Xx", "PP_HEADER: element is 'Xx'"),
        ("4.0000000000E-02", "4.0000000000x-02", "PP_R has something that is no number"),
        ("4.0000000000E-02", "-4.0000000000E-02", "PP_R has 120 radii, or they do not increase"),
        ("1.9603973466E-02", "nan", "PP_BETA 1 has something that is no number"),
    ],
)
def test_damage_is_one_line(
    tmp_path: Path, written: Callable[..., str], old: str, new: str, message: str
) -> None:
    text = written((5,))
    assert old in text
    path = write(tmp_path, text.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        upf.read(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_other_files_are_none(tmp_path: Path) -> None:
    path = tmp_path / "other"
    assert upf.valence(path) is None
    assert upf.valence(tmp_path) is None
    path.write_bytes(b"\x00\xff PP_HEADER")
    assert upf.valence(path) is None
    with pytest.raises(InputError, match="no pseudopotential in UPF"):
        upf.read(path)
