"""POSCAR: every way it may be written, and every way it may be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS, SYMBOLS, Structure
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

CELL = "3.0 0.0 0.0\n0.5 4.0 0.0\n0.0 0.25 5.0\n"
LATTICE = np.array([[3.0, 0.0, 0.0], [0.5, 4.0, 0.0], [0.0, 0.25, 5.0]])


def read(tmp_path, text):
    path = tmp_path / "POSCAR"
    path.write_text(text)
    return Structure.read(path)


def poscar(scale="1.0", cell=CELL, symbols="Mo S", counts="1 2", mode="Direct", rest=None):
    rest = "0.1 0.2 0.3\n0.5 0.5 0.5\n-0.25 1.75 0.0\n" if rest is None else rest
    return f"comment\n{scale}\n{cell}{symbols}\n{counts}\n{mode}\n{rest}"


FRACTIONAL = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5], [-0.25, 1.75, 0.0]])


def test_direct_positions_are_not_wrapped(tmp_path):
    structure = read(tmp_path, poscar())
    assert structure.symbols == ["Mo", "S", "S"]
    assert np.array_equal(structure.lattice, LATTICE)
    assert np.allclose(structure.positions, FRACTIONAL @ LATTICE, atol=1e-15)
    assert np.allclose(structure.fractional, FRACTIONAL, atol=1e-15)


@pytest.mark.parametrize("mode", ["Cartesian", "cartesian", "K", "kartesisch"])
def test_cartesian_positions(tmp_path, mode):
    assert np.array_equal(read(tmp_path, poscar(mode=mode)).positions, FRACTIONAL)


@pytest.mark.parametrize("mode", ["Direct", "d", "fractional", ""])
def test_every_other_mode_is_direct(tmp_path, mode):
    assert np.allclose(read(tmp_path, poscar(mode=mode)).fractional, FRACTIONAL)


def test_one_scale_multiplies_lattice_and_cartesian_positions(tmp_path):
    structure = read(tmp_path, poscar(scale="2.0", mode="C"))
    assert np.array_equal(structure.lattice, 2 * LATTICE)
    assert np.array_equal(structure.positions, 2 * FRACTIONAL)
    assert np.allclose(read(tmp_path, poscar(scale="2.0")).fractional, FRACTIONAL)


def test_three_scales_multiply_cartesian_components(tmp_path):
    scale = np.array([2.0, 3.0, 4.0])
    structure = read(tmp_path, poscar(scale="2.0 3.0 4.0", mode="C"))
    assert np.array_equal(structure.lattice, LATTICE * scale)
    assert np.array_equal(structure.positions, FRACTIONAL * scale)


def test_a_negative_scale_is_the_volume(tmp_path):
    structure = read(tmp_path, poscar(scale="-480.0", mode="C"))
    assert structure.volume == pytest.approx(480.0, rel=1e-13)
    factor = (480.0 / 60.0) ** (1 / 3)
    assert np.allclose(structure.positions, factor * FRACTIONAL)


def test_selective_dynamics_and_velocities_are_dropped(tmp_path):
    text = poscar(
        mode="Selective dynamics\nCartesian",
        rest="0 0 0 T T F\n1 0 0 F F F\n0 1 0 T T T\n\n0.1 0.1 0.1\n0 0 0\n0 0 0\n",
    )
    structure = read(tmp_path, text)
    assert np.array_equal(structure.positions, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


def test_a_repeated_symbol_keeps_the_order_of_lines(tmp_path):
    structure = read(tmp_path, poscar(symbols="O H O", counts="1 1 1"))
    assert structure.symbols == ["O", "H", "O"]
    assert structure.elements == ("H", "O")
    assert structure.formula == "O2H"
    structure.write(tmp_path / "again")
    assert (tmp_path / "again").read_text().splitlines()[5:7] == ["O H O", "1 1 1"]
    assert Structure.read(tmp_path / "again").symbols == ["O", "H", "O"]


def test_placeholder_elements_are_read(tmp_path):
    structure = read(tmp_path, poscar(symbols="My1 My6", counts="1 2"))
    assert structure.numbers.tolist() == [131, 136, 136]
    assert SYMBOLS[118] == "Og"
    assert ATOMIC_NUMBERS["Mo"] == 42


def test_fortran_exponents_comments_and_windows_line_ends(tmp_path):
    text = poscar(counts="1 2 ! atoms", rest="1d-1 0.2D0 0.3\n.5 .5 .5 label\n0 0 0\n")
    structure = read(tmp_path, text.replace("\n", "\r\n"))
    assert structure.fractional[0] == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("text", "rule", "key"),
    [
        (poscar(scale="one"), "E03", "line 2"),
        (poscar(scale="0.0"), "E03", "line 2"),
        (poscar(scale="1 -1 1"), "E03", "line 2"),
        (poscar(cell="3 0 0\n0 4\n0 0 5\n"), "E03", "line 4"),
        (poscar(rest="0 0 0\n0.5 nan 0\n0 0 0\n"), "E03", "line 10"),
        (poscar(rest="0 0 0\n0.5 inf 0\n0 0 0\n"), "E03", "line 10"),
        (poscar(rest="0 0 0\n0.5 0.5 0.5\n"), "E03", "line 11"),
        (poscar(rest="0 0 0\n\n0.5 0.5 0.5\n"), "E03", "line 10"),
        ("", "E03", "line 3"),
        ("comment\n1.0\n", "E03", "line 3"),
        (poscar(symbols="1 2", counts="Direct"), "E04", "line 6"),
        (poscar(symbols=""), "E04", "line 6"),
        (poscar(symbols="Fe_pv S"), "E04", "line 6"),
        (poscar(symbols="Mo1 S"), "E04", "line 6"),
        (poscar(symbols="Mo Xx"), "E04", "line 6"),
        (poscar(counts="3"), "E04", "line 7"),
        (poscar(counts="0 3"), "E04", "line 7"),
        (poscar(counts="-1 3"), "E04", "line 7"),
        (poscar(counts="1 2.0"), "E04", "line 7"),
        (poscar(cell="0 0 0\n0 0 0\n0 0 0\n"), "E05", "lattice"),
        (poscar(cell="1 0 0\n0 1 0\n1 1 0\n"), "E05", "lattice"),
        (poscar(scale="-10", cell="1 0 0\n0 1 0\n1 1 0\n"), "E05", "lattice"),
        (poscar(rest="1e308 1e308 0\n0 0 0\n0 0 0\n", scale="9.9"), "E03", ""),
        (poscar(cell="1d300 0 0\n0 1d300 0\n0 0 1\n"), "E05", "lattice"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, text, rule, key):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert caught.value.rule == rule
    assert caught.value.key == key
    assert str(tmp_path / "POSCAR") in str(caught.value)
    assert "\n" not in str(caught.value)
    if key.startswith("line"):
        assert key in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="missing") as caught:
        Structure.read(tmp_path / "POSCAR")
    assert caught.value.rule == "E01"
    with pytest.raises(InputError, match=r"[Dd]irectory"):
        Structure.read(tmp_path)


finite = st.floats(-1e6, 1e6, allow_nan=False)
structures = st.integers(1, 6).flatmap(
    lambda n: st.builds(
        lambda skew, positions, numbers: Structure(np.eye(3) * 7 + skew, positions, numbers),
        arrays(float, (3, 3), elements=st.floats(-2, 2)),
        arrays(float, (n, 3), elements=finite),
        arrays(int, n, elements=st.sampled_from([1, 6, 8, 42, 131])),
    )
)


@given(structures)
def test_writing_and_reading_keeps_every_bit(tmp_path_factory, structure):
    path = tmp_path_factory.mktemp("poscar") / "POSCAR"
    structure.write(path)
    again = Structure.read(path)
    assert again.lattice.tobytes() == structure.lattice.tobytes()
    assert again.positions.tobytes() == structure.positions.tobytes()
    assert again.numbers.tolist() == structure.numbers.tolist()
    again.write(path.parent / "twice")
    assert (path.parent / "twice").read_bytes() == path.read_bytes()


def test_the_file_is_one_that_others_read(tmp_path):
    structure = Structure(LATTICE, FRACTIONAL @ LATTICE, [42, 16, 16])
    structure.write(tmp_path / "POSCAR", comment="two\nlines")
    lines = (tmp_path / "POSCAR").read_text().splitlines()
    assert lines[0] == "two lines"
    assert lines[1] == "1.0"
    assert lines[5:8] == ["Mo S", "1 2", "Cartesian"]
    ase_io = pytest.importorskip("ase.io")
    atoms = ase_io.read(tmp_path / "POSCAR", format="vasp")
    assert atoms.get_chemical_symbols() == ["Mo", "S", "S"]
    assert np.allclose(atoms.positions, structure.positions, atol=1e-14)


def test_pair_vectors_and_rotation():
    structure = Structure(LATTICE, FRACTIONAL @ LATTICE, [42, 16, 16])
    pairs = np.array([[0, 0, 0, 0, 0], [1, -1, 2, 0, 2], [-1, 1, -2, 2, 0]])
    vectors = structure.pair_vectors(pairs)
    shift = LATTICE[0] - LATTICE[1] + 2 * LATTICE[2]
    assert np.allclose(vectors[1], structure.positions[2] + shift - structure.positions[0])
    assert np.allclose(vectors[0], 0)
    assert np.allclose(vectors[2], -vectors[1])
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = structure.rotated(rotation)
    assert np.allclose(turned.pair_vectors(pairs), vectors @ rotation.T)
    assert turned.volume == pytest.approx(structure.volume)


def test_a_structure_is_frozen_and_checked():
    positions = np.zeros((2, 3))
    structure = Structure(LATTICE, positions, [1, 1])
    positions[0] = 5.0
    assert not structure.positions.any()
    with pytest.raises(ValueError, match="read-only"):
        structure.positions[0] = 1.0
    with pytest.raises(ValueError, match="do not fit"):
        Structure(LATTICE, positions, [1])
    with pytest.raises(ValueError, match="shape"):
        Structure(LATTICE, np.zeros((2, 2)), [1, 1])
    assert len(structure) == 2
