"""SIESTA's basis files in every form: written here, read back, damaged in every way."""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph_dock.basis import siesta
from deeph_dock.basis.siesta_files import Ion, IonOrbital
from deeph_spec.errors import InputError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import netcdf_file
from scipy.special import beta

POINTS = 101
BOHR = 0.529177
FORMS = ["text", "xml", "classic", "hdf5"]
fewer = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def orbital(
    degree: int, shell: int, zeta: int = 1, cutoff: float = 4.0, polarising: bool = False
) -> IonOrbital:
    """Make R = N r^l (1 - (r/rc)^2)^3, normalised."""
    grid = np.linspace(0, cutoff, POINTS)
    norm = cutoff ** (2 * degree + 3) / 2 * beta(degree + 1.5, 7)
    values = (1 - (grid / cutoff) ** 2) ** 3 / np.sqrt(norm)
    return IonOrbital(degree, shell, zeta, polarising, cutoff, values)


def delta(points: int, cutoff: float) -> float:
    return cutoff / (points - 1)


def text(ion: Ion) -> str:
    """Give the content of `.ion`; what follows the projectors is not read by anybody here."""

    def number(value: float) -> str:
        return f"{value:26.15E}"

    lines = ["<preamble>", "<basis_specs>", "  # rcs: 4.0", "</basis_specs>", "</preamble>"]
    lines += [
        f"{ion.label[:2]:30}# Symbol",
        f"{ion.label:30}# Label",
        f"{ion.number:5d}                         # Atomic number",
        f"{ion.valence:18.11f}                             # Valence charge",
        "     12.0100000000        # Mass ",
        "     19.0222756778        # Self energy ",
        f"   2{len(ion.orbitals):4d}      # Lmax for basis, no. of nl orbitals ",
        f"   2{len(ion.projector_radii):4d}      # Lmax for projectors, no. of nl KB projectors ",
        "# PAOs:__________________________",
    ]
    for o in ion.orbitals:
        lines.append(
            f"{o.degree:3d}{o.shell:3d}{o.zeta:3d}{o.polarising:3d}  2.000000   #orbital l, n, z"
        )
        lines += _table(o.cutoff, o.values, number)
    lines.append("# KBs:__________________________")
    for at, radius in enumerate(ion.projector_radii):
        lines.append(f"{at:3d}  1   5.5306876094225066   #kb l, n (sequence number)")
        lines += _table(radius, np.cos(np.linspace(0, np.pi / 2, POINTS)), number)
    lines += ["# Vna:__________________________", ""]
    return "\n".join(lines)


def _table(cutoff: float, values: np.ndarray, number) -> list[str]:
    points = len(values)
    step = delta(points, cutoff)
    head = f" {points}{number(step)}{number(cutoff)}     # npts, delta, cutoff"
    return [head, *(number(step * n) + number(v) for n, v in enumerate(values))]


def xml(ion: Ion) -> str:
    """Give the content of `.ion.xml`."""

    def number(value: float) -> str:
        return f"{value:22.11E}"

    def radfunc(cutoff: float, values: np.ndarray) -> str:
        rows = "\n".join(_table(cutoff, values, number)[1:])
        step = delta(len(values), cutoff)
        return (
            f"<radfunc>\n<npts>{len(values):10d} </npts> \n<delta>{number(step)} </delta> \n"
            f"<cutoff>{number(cutoff)} </cutoff> \n<data>\n{rows}\n</data>\n</radfunc>\n"
        )

    parts = [
        f'<ion version="0.1">\n<symbol> {ion.label[:2]} </symbol> \n<label> {ion.label} </label> \n'
        f"<z>{ion.number:10d} </z> \n<valence>{ion.valence:18.11f} </valence> \n"
        f"<norbs_nl>{len(ion.orbitals):10d} </norbs_nl> \n"
        f"<nprojs_nl>{len(ion.projector_radii):10d} </nprojs_nl> \n<lj_projs> false </lj_projs> \n"
        "<preamble>\n<basis_specs>\n===\n</basis_specs>\n</preamble>\n<paos>\n"
    ]
    for o in ion.orbitals:
        parts.append(
            f'<orbital \n l="{o.degree:10d}" \n n="{o.shell:10d}" \n z="{o.zeta:10d}" \n'
            f' ispol="{o.polarising:10d}" \n population="     2.00000000000" \n >\n'
            + radfunc(o.cutoff, o.values)
            + "</orbital>\n"
        )
    parts.append("</paos>\n<kbs>\n")
    for at, radius in enumerate(ion.projector_radii):
        parts.append(
            f'<projector \n l="{at:10d}" \n j="    0.500000000000" \n n="         1" \n >\n'
            + radfunc(radius, np.cos(np.linspace(0, np.pi / 2, POINTS)))
            + "</projector>\n"
        )
    return "".join([*parts, "</kbs>\n</ion>\n"])


def _contents(ion: Ion) -> tuple[dict[str, object], dict[str, tuple[tuple[str, ...], np.ndarray]]]:
    orbitals = ion.orbitals
    attributes = {
        "Element": ion.label[:2],
        "Label": ion.label,
        "Atomic_number": np.int32(ion.number),
        "Valence_charge": np.float64(ion.valence),
        "Number_of_orbitals": np.int32(sum(2 * o.degree + 1 for o in orbitals)),
    }
    whole = {"l": "degree", "n": "shell", "z": "zeta", "ispol": "polarising"}
    variables = {
        f"orbnl_{key}": (("norbs",), np.array([getattr(o, name) for o in orbitals], np.int32))
        for key, name in whole.items()
    }
    variables["cutoff"] = (("norbs",), np.array([o.cutoff for o in orbitals]))
    steps = [delta(len(o.values), o.cutoff) for o in orbitals]
    variables["delta"] = (("norbs",), np.array(steps))
    variables["orb"] = (("norbs", "ntb"), np.array([o.values for o in orbitals]))
    if ion.projector_radii:
        radii = np.array(ion.projector_radii)
        variables["kbcutoff"] = (("nkbs",), radii)
        variables["kbdelta"] = (("nkbs",), radii / (POINTS - 1))
        shape = np.cos(np.linspace(0, np.pi / 2, POINTS))
        variables["proj"] = (("nkbs", "ntb"), np.tile(shape, (len(radii), 1)))
    return attributes, variables


def write_classic(path: Path, ion: Ion) -> Path:
    """Write `.ion.nc` as netCDF of format 1."""
    attributes, variables = _contents(ion)
    with netcdf_file(path, "w", version=1) as file:
        for name, value in attributes.items():
            setattr(file, name, value)
        for name, (dimensions, data) in variables.items():
            for dimension, size in zip(dimensions, data.shape, strict=True):
                if dimension not in file.dimensions:
                    file.createDimension(dimension, size)
            file.createVariable(name, data.dtype, dimensions)[...] = data
    return path


def write_hdf5(path: Path, ion: Ion) -> Path:
    """Write `.ion.nc` as netCDF 4 has it: HDF5, whose dimensions are data sets as well."""
    attributes, variables = _contents(ion)
    with h5py.File(path, "w") as file:
        for name, value in attributes.items():
            file.attrs[name] = np.bytes_(value) if isinstance(value, str) else value
        for name, (dimensions, data) in variables.items():
            for dimension, size in zip(dimensions, data.shape, strict=True):
                if dimension not in file:
                    file.create_dataset(dimension, data=np.zeros(size, ">f4"))
            file.create_dataset(name, data=data)
    return path


def write_all(folder: Path, ion: Ion) -> dict[str, Path]:
    """Write the basis in every form, by name of the form."""
    paths = {
        "text": folder / "X.ion",
        "xml": folder / "X.ion.xml",
        "classic": write_classic(folder / "X.ion.nc", ion),
        "hdf5": write_hdf5(folder / "X4.ion.nc", ion),
    }
    paths["text"].write_text(text(ion))
    paths["xml"].write_text(xml(ion))
    return paths


CARBON = Ion(
    "C_tip",
    6,
    4.0,
    (orbital(0, 2), orbital(0, 2, 2, 3.1), orbital(1, 2, 1, 4.5), orbital(2, 3, 1, 4.5, True)),
    (1.5, 1.75),
)


@pytest.mark.parametrize("form", FORMS)
def test_functions_radii_and_charge_are_those_of_the_file(tmp_path: Path, form: str) -> None:
    path = write_all(tmp_path, CARBON)[form]
    assert siesta.recognises(path)
    basis = siesta.read(path)
    assert (basis.number, basis.valence, basis.code) == (6, 4.0, "siesta")
    assert basis.degrees == (0, 0, 1, 2)
    assert [s.name for s in basis.shells] == [
        "2s zeta 1", "2s zeta 2", "2p zeta 1", "3d zeta 1 polarisation",
    ]  # fmt: skip
    assert basis.facts == {"species": "C_tip"}
    assert basis.projector_reach == pytest.approx(1.75 * BOHR, abs=1e-11)
    assert basis.cutoff == pytest.approx(4.5 * BOHR, abs=1e-11)
    for shell, made in zip(basis.shells, CARBON.orbitals, strict=True):
        r = shell.radii / BOHR
        expected = made.values[0] * r**made.degree * (1 - (r / made.cutoff) ** 2) ** 3
        scale = np.abs(expected).max()
        np.testing.assert_allclose(shell.values * BOHR**1.5, expected, atol=3e-7 * scale)
        assert shell.norm == pytest.approx(1, abs=1e-7)
        assert 0 < shell.radii[0] < shell.radii[-1] < shell.cutoff
        assert shell.weights.sum() == pytest.approx(shell.cutoff, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_the_grid_of_the_code_is_a_plain_sum(tmp_path: Path, form: str) -> None:
    path = write_all(tmp_path, CARBON)[form]
    basis = siesta.read(path, "siesta")
    assert basis.quadrature == "siesta"
    assert basis.wavenumbers is not None
    assert basis.wavenumbers.largest == pytest.approx(100 / BOHR)
    assert siesta.read(path).wavenumbers is None
    for shell in basis.shells:
        np.testing.assert_allclose(shell.radii, np.arange(len(shell.radii)) * np.pi / 100 * BOHR)
        np.testing.assert_allclose(shell.weights, np.pi / 100 * BOHR)
        assert shell.radii[-1] < shell.cutoff <= shell.radii[-1] + np.pi / 100 * BOHR


shells = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 7), st.integers(1, 3)),
    min_size=1,
    max_size=5,
    unique=True,
)


@fewer
@given(shells, st.integers(1, 118), st.integers(0, 3), st.floats(0.5, 12.0), st.integers(0, 10**6))
def test_every_form_says_the_same(
    tmp_path: Path,
    shells: list[tuple[int, int, int]],
    number: int,
    projectors: int,
    cutoff: float,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    made = []
    for degree, shell, zeta in shells:
        one = orbital(degree, shell, zeta, cutoff * rng.uniform(0.8, 1.2), bool(rng.integers(2)))
        made.append(replace(one, values=one.values * rng.choice([-1.0, 1.0])))
    radii = tuple(rng.uniform(0.2, 3.0, projectors).tolist())
    ion = Ion("X1", number, float(rng.uniform(0.1, number)), tuple(made), radii)
    found = {form: siesta.read_ion(path) for form, path in write_all(tmp_path, ion).items()}
    for form, other in found.items():
        digits = {"text": 1e-15, "xml": 1e-11}.get(form, 0.0)
        assert (other.label, other.number) == (ion.label, ion.number)
        assert other.valence == pytest.approx(ion.valence, abs=1e-10)
        assert [o.name for o in other.orbitals] == [o.name for o in made]
        np.testing.assert_allclose(other.projector_radii, radii, rtol=digits)
        for one, mine in zip(other.orbitals, made, strict=True):
            assert one.cutoff == pytest.approx(mine.cutoff, rel=digits, abs=0)
            np.testing.assert_allclose(one.values, mine.values, rtol=digits)
    assert siesta.read(tmp_path / "X.ion").degrees == tuple(degree for degree, _, _ in shells)


def test_exponents_of_three_digits_have_no_letter(tmp_path: Path) -> None:
    value = CARBON.orbitals[0].values[-2]
    content = text(CARBON).replace(f"{value:26.15E}", "     0.693340000000000-309", 1)
    assert content != text(CARBON)
    path = tmp_path / "C.ion"
    path.write_text(content)
    assert siesta.read_ion(path).orbitals[0].values[-2] == pytest.approx(0.69334e-309, abs=1e-320)


def line(number: int, new: str) -> Callable[[str], str]:
    """Replace a line, counted from that of '# PAOs'."""

    def change(content: str) -> str:
        lines = content.splitlines()
        at = next(n for n, row in enumerate(lines) if row.startswith("# PAOs")) + number
        lines[at] = new
        return "\n".join(lines)

    return change


def swap(old: str, new: str) -> Callable[[str], str]:
    def change(content: str) -> str:
        assert old in content
        return content.replace(old, new, 1)

    return change


def without(pattern: str) -> Callable[[str], str]:
    def change(content: str) -> str:
        changed, times = re.subn(pattern, "", content, count=1)
        assert times == 1
        return changed

    return change


BAD_TEXTS: list[tuple[Callable[[str], str], str]] = [
    (lambda c: c[: len(c) // 2], "cut off"),
    (lambda c: c[: c.index("# KBs")], "line 427: expected '# KBs'; the file is cut off"),
    (lambda c: c[: c.index("# PAOs")], "no line '# PAOs'"),
    (line(-6, "    -6      # Atomic number"), "atomic number -6: a ghost atom"),
    (line(-6, "   201      # Atomic number"), "atomic number 201: a synthetic atom"),
    (line(-6, "  six       # Atomic number"), "line 8: number 1 is 'six'"),
    (line(-5, "  7.0       # Valence charge"), "valence charge 7 of C, expected 0 to 6"),
    (line(-5, "  NaN       # Valence charge"), "line 9: 'NaN' is not a number"),
    (line(-2, "   2   5     # Lmax"), "4 orbitals, its header says 5"),
    (line(-1, "   2   1     # Lmax"), "2 projectors, its header says 1"),
    (line(1, "  9  2  1  0"), "line 15: l = 9, expected 0 to 6"),
    (line(1, "  0  0  1  0"), "line 15: n = 0"),
    (line(1, "  0  2  2  0"), "orbital 2s zeta 2 stands in it 2 times"),
    (line(1, "  0  2"), "line 15: 2 numbers, expected 4"),
    (line(2, " 101  0.04 3.9"), r"(npts - 1) * delta is 4, the cutoff 3.9"),
    (line(2, " 101  0.05 5.0"), "radius 2 is 0.04, expected 1 * delta = 0.05"),
    (line(2, " 101  -0.04 -4.0"), "cutoff -4, expected at least 4 points and a radius in Bohr"),
    (line(2, " 99  0.04 3.92"), "line 116: 2 numbers, expected 4"),
    (line(9, " 0.24  NaN"), "value 7 is nan, expected a number"),
    (line(9, " 0.24  1e300"), "value 7 is 1e+300, expected a number"),
    (line(9, " 0.24  ******"), "lines from 17: number 14 is '******'"),
    (line(9, " 0.24"), "line 23: expected a radius and a value, found '0.24'"),
    (line(103, " 4.0  0.5"), "ends in 0.5 at the cutoff, expected 0"),
    (line(3, " 0.0  90.0"), "orbital 2s zeta 1 has norm"),
    (without(r"(?m)^# PAOs.*\n(.*\n){412}"), "no line '# PAOs'"),
]


@pytest.mark.parametrize(("change", "message"), BAD_TEXTS)
def test_a_damaged_text_is_named(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    path = tmp_path / "C.ion"
    path.write_text(change(text(CARBON)))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        siesta.read(path)
    assert str(caught.value).startswith(str(path))


BAD_XML: list[tuple[Callable[[str], str], str]] = [
    (lambda c: c[: len(c) // 2], "not a complete XML file"),
    (swap("<ion ", "<iron ", ), "not a basis file of SIESTA"),
    (without(r"<valence>.*</valence>"), "<valence>: 0 numbers, expected 1"),
    (swap("<z>         6", "<z>        -6"), "ghost atom"),
    (swap("<norbs_nl>         4", "<norbs_nl>         3"), "4 orbitals, its header says 3"),
    (swap("<nprojs_nl>         2", "<nprojs_nl>         0"), "2 projectors, its header says 0"),
    (without(r' n="         2"'), "orbital 1, n: 0 numbers, expected 1"),
    (swap('l="         0"', 'l="       -1"'), "orbital 1: l = -1"),
    (without(r"(?s)<radfunc>.*?</radfunc>"), "orbital 1: no <radfunc>"),
    (swap("<npts>       101", "<npts>       100"), "orbital 1: (npts - 1) * delta is 3.96"),
    (without(r"(?m)^ +3.96000000000E\+00 +\S+$"), "orbital 1: 100 values, npts says 101"),
    (without(r"3.96000000000E\+00"), "orbital 1, <data>: 201 numbers, expected pairs"),
    (swap("3.96000000000E+00", "3.96000000000E-01"), "orbital 1: radius 100 is 0.396"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BAD_XML)
def test_damaged_xml_is_named(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = tmp_path / "C.ion.xml"
    path.write_text(change(xml(CARBON)))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        siesta.read(path)
    assert str(caught.value).startswith(str(path))


def remove(key: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[key]

    return change


def put(key: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[key]
        file.create_dataset(key, data=value)

    return change


BAD_NETCDF: list[tuple[Callable[[h5py.File], None], str]] = [
    (remove("orb"), "no variable orb"),
    (remove("kbdelta"), "no variable kbdelta, though there are projectors"),
    (lambda f: f.attrs.pop("Valence_charge"), "no attribute Valence_charge"),
    (lambda f: f.attrs.modify("Atomic_number", -6), "ghost atom"),
    (lambda f: f.attrs.modify("Number_of_orbitals", 13), "10 orbitals, Number_of_orbitals says 13"),
    (put("orbnl_l", np.zeros(3, np.int32)), "orbnl_l has shape (3,), expected 4 entries"),
    (put("orbnl_l", np.zeros(4, "S1")), "orbnl_l holds |S1, expected numbers"),
    (put("orb", np.ones(4)), "orb has 1 dimensions"),
    (put("orb", np.full((4, POINTS), np.nan)), "orbital 1: value 1 is nan"),
    (put("orb", np.zeros((4, POINTS))), "orbital 1: all values are zero"),
    (put("cutoff", np.full(4, 400.0)), "cutoff 400, expected"),
    (put("kbcutoff", np.array([np.inf, 1])), "projector 1: npts 101, cutoff inf"),
]


@pytest.mark.parametrize(("change", "message"), BAD_NETCDF)
def test_damaged_netcdf_is_named(
    tmp_path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    path = write_hdf5(tmp_path / "C.ion.nc", CARBON)
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        siesta.read(path)
    assert str(caught.value).startswith(str(path))


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    paths = write_all(tmp_path_factory.mktemp("whole"), CARBON)
    return {form: path.read_bytes() for form, path in paths.items()}


@settings(fewer, max_examples=120)
@given(st.sampled_from(FORMS), st.floats(0, 1), st.binary(max_size=3), st.booleans())
def test_no_damage_is_a_traceback(
    tmp_path: Path,
    contents: dict[str, bytes],
    form: str,
    place: float,
    other: bytes,
    cut: bool,
) -> None:
    whole = contents[form]
    at = int(place * len(whole))
    path = tmp_path / "C.ion"
    path.write_bytes(whole[:at] if cut else whole[:at] + other + whole[at + len(other) :])
    assert siesta.recognises(path) in (True, False)
    message = str(path)
    try:
        assert len(siesta.read_ion(path).orbitals) == 4
    except InputError as error:
        message = str(error)
    assert message.startswith(str(path))
    assert "\n" not in message


def test_netcdf_that_is_cut_is_said_to_be(tmp_path: Path, contents: dict[str, bytes]) -> None:
    path = tmp_path / "C.ion.nc"
    for form in ("classic", "hdf5"):
        path.write_bytes(contents[form][:-1000])
        with pytest.raises(InputError, match=r"C\.ion\.nc: .*(cut off|truncated)"):
            siesta.read(path)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\0" * 500, b"<?xml version='1.0'?><svg/>", b"CDF\x01" + b"\0" * 100,
        b"CDF\x05orbnl_l", b"\x89HDF\r\n\x1a\n" + b"\0" * 400, b"# Symbolic\n", b"H 1.0 2.0\n",
        "Übung".encode("latin-1"),
    ],
)  # fmt: skip
def test_other_files_are_not_taken_for_a_basis(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "C.ion"
    path.write_bytes(content)
    recognised = siesta.recognises(path)
    assert not recognised or content.startswith(b"# Symbol")
    with pytest.raises(InputError, match=r"C\.ion: "):
        siesta.read(path)


def test_what_is_no_file_is_no_basis(tmp_path: Path) -> None:
    assert not siesta.recognises(tmp_path)
    assert not siesta.recognises(tmp_path / "C.ion")
    with pytest.raises(InputError, match="no such file"):
        siesta.read(tmp_path / "C.ion")
    assert siesta.valence(tmp_path / "C.psf") is None


def test_choices_that_a_file_does_not_have_are_refused(tmp_path: Path) -> None:
    path = write_all(tmp_path, CARBON)["text"]
    with pytest.raises(InputError, match="quadrature 'simpson' of SIESTA bases, expected exact or"):
        siesta.read(path, "simpson")
    with pytest.raises(InputError, match=r"X\.ion: orbitals 'C6.0-s2p1': .*leave them out"):
        siesta.read(path, "exact", "C6.0-s2p1")


def test_a_file_as_siesta_wrote_it(tmp_path: Path) -> None:
    packed = Path(__file__).parents[1] / "data/siesta/C.ion.xz"
    path = tmp_path / "C.ion"
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    basis = siesta.read(path)
    assert (basis.number, basis.valence, basis.degrees) == (6, 4.0, (0, 0, 1, 1, 2))
    assert [round(s.cutoff / BOHR, 4) for s in basis.shells] == [
        4.2980, 3.3893, 5.1200, 3.5188, 5.1200,
    ]  # fmt: skip
    assert basis.projector_reach / BOHR == pytest.approx(1.7691638672, abs=1e-9)
    assert max(abs(shell.norm - 1) for shell in basis.shells) < 1e-8
