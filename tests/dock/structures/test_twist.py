"""Twisted layers: known cells, and what every stack must keep of its layers."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from deeph_dock.structures.layer import layer_of
from deeph_dock.structures.match import stacked
from deeph_dock.structures.twist import commensurate, commensurate_angle, twisted, twisted_layers
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from vesin import NeighborList

BOND = 2.46 / math.sqrt(3)


def honeycomb(a: float = 2.46, corner: float = 60.0, numbers: tuple[int, int] = (6, 6)):
    """Graphene, or another honeycomb."""
    lattice = cell(a, a, corner)
    places = np.array([[0, 0, 0], [1 / 3, 1 / 3 if corner == 60.0 else 2 / 3, 0]])
    return Structure(lattice, places @ lattice, np.array(numbers))


def cell(a: float, b: float, corner: float, c: float = 15.0) -> np.ndarray:
    angle = math.radians(corner)
    return np.array([[a, 0, 0], [b * math.cos(angle), b * math.sin(angle), 0], [0, 0, c]])


def dichalcogenide(a: float, numbers: tuple[int, int], thickness: float = 3.2) -> Structure:
    """A 1H layer whose metal is at the border of the cell."""
    lattice = cell(a, a, 120.0, 18.0)
    positions = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0]]) @ lattice
    positions[1:, 2] = thickness / 2, 18.0 - thickness / 2
    return Structure(lattice, positions, np.array([numbers[0], numbers[1], numbers[1]]))


def bonds(structure: Structure, chosen: np.ndarray, cutoff: float) -> tuple[np.ndarray, ...]:
    """Atoms i, j and the vectors between them, among the chosen atoms."""
    i, j, vectors = NeighborList(cutoff=cutoff, full_list=True).compute(
        points=structure.positions[chosen], box=structure.lattice, periodic=True, quantities="ijD"
    )
    return i.astype(int), j.astype(int), vectors


def direction(vectors: np.ndarray, fold: int) -> float:
    """Direction of vectors in the plane, degrees, modulo 360 / fold; they must agree."""
    phases = np.exp(1j * fold * np.arctan2(vectors[:, 1], vectors[:, 0]))
    assert np.abs(phases - phases[0]).max() < 1e-6
    return math.degrees(np.angle(phases.mean())) / fold


def turn(first: float, second: float, period: float) -> float:
    """Difference of two angles, from 0 to half a period."""
    return abs((first - second + period / 2) % period - period / 2)


def halves(structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of the lower and of the upper layer."""
    heights = structure.positions[:, 2]
    below = heights < (heights.min() + heights.max()) / 2
    return np.flatnonzero(below), np.flatnonzero(~below)


@pytest.mark.parametrize(
    ("m", "n", "degrees", "atoms"),
    [
        (1, 2, 21.787, 28),
        (2, 3, 13.174, 76),
        (3, 4, 9.430, 148),
        (6, 7, 5.086, 508),
        (30, 31, 1.085, 11164),
        (31, 32, 1.050, 11908),
        (1, 4, 38.213, 28),  # 60 - 21.787: the same cell, a third of the formula's
        (1, 91, 58.915, 11164),
        (0, 1, 60.0, 4),
        (1, 1, 0.0, 4),
    ],
)
@pytest.mark.parametrize("corner", [60.0, 120.0])
def test_known_cells_of_twisted_graphene(m, n, degrees, atoms, corner):
    graphene = honeycomb(corner=corner)
    assert commensurate_angle(m, n) == pytest.approx(degrees, abs=5e-4)
    match = commensurate(graphene, graphene, m, n)
    assert match.atoms == atoms
    assert match.angle == pytest.approx(degrees, abs=5e-4)
    assert match.strain < 1e-12
    assert len(twisted(graphene, graphene, m, n, 3.35)) == atoms


def test_the_formula_of_the_angle():
    for m, n in [(1, 2), (3, 7), (30, 31)]:
        cosine = (m * m + 4 * m * n + n * n) / (2 * (m * m + m * n + n * n))
        assert math.cos(math.radians(commensurate_angle(m, n))) == pytest.approx(cosine, abs=1e-14)
        assert commensurate_angle(n, m) == commensurate_angle(m, n)


CORNERS = st.sampled_from([60.0, 120.0])


@given(st.integers(0, 12), st.integers(0, 12), CORNERS, CORNERS)
@settings(max_examples=40, deadline=None)
def test_layers_stay_what_they_were(m, n, bottom_corner, top_corner):
    assume(math.gcd(m, n) == 1)
    bottom, top = honeycomb(corner=bottom_corner), honeycomb(corner=top_corner)
    structure = twisted(bottom, top, m, n, 3.35, vacuum=16.65, shift=(0.37, 0.81))
    cells = (m * m + m * n + n * n) // (3 if (m - n) % 3 == 0 else 1)
    assert len(structure) == 4 * cells
    assert np.linalg.det(structure.lattice) > 0
    assert structure.lattice[2].tolist() == [0, 0, 20.0]
    assert structure.volume == pytest.approx(cells * bottom.volume / 15 * 20, rel=1e-12)
    assert structure.fractional.min() > -1e-8
    assert structure.fractional.max() < 1
    directions = []
    for chosen in halves(structure):
        i, _, vectors = bonds(structure, chosen, 1.2 * BOND)
        assert np.bincount(i).tolist() == [3] * (2 * cells)  # every atom, and each once
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), BOND, rtol=1e-10)
        np.testing.assert_allclose(vectors[:, 2], 0, atol=1e-12)
        directions.append(direction(vectors, 6))
    expected = commensurate_angle(m, n)
    assert turn(*directions, 60) == pytest.approx(min(expected, 60 - expected), abs=1e-8)


def test_the_top_turns_anticlockwise_if_m_is_smaller():
    graphene = honeycomb()
    for m, n, sign in [(1, 2, 1), (2, 1, -1)]:
        structure = twisted(graphene, graphene, m, n, 3.35)
        below, above = (direction(bonds(structure, c, 1.6)[2], 6) for c in halves(structure))
        turned = (above - below + 30) % 60 - 30
        assert turned == pytest.approx(sign * 21.7867893, abs=1e-6)


@given(st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_square_lattices(m, n):
    assume(math.gcd(m, n) == 1)
    lattice = cell(3.8, 3.8, 90.0)
    layer = Structure(lattice, np.array([[0, 0, 5.0], [0, 1.9, 6.0]]), np.array([26, 34]))
    structure = twisted(layer, layer, m, n, 5.5)
    cells = (m * m + n * n) // (2 if m % 2 == n % 2 == 1 else 1)
    assert len(structure) == 4 * cells
    assert commensurate(layer, layer, m, n).strain < 1e-12
    directions = []
    for chosen in halves(structure):
        iron = chosen[structure.numbers[chosen] == 26]
        i, _, vectors = bonds(structure, iron, 4.0)
        assert np.bincount(i).tolist() == [4] * cells
        directions.append(direction(vectors, 4))
    expected = commensurate_angle(m, n, "square")
    assert turn(*directions, 90) == pytest.approx(min(expected, 90 - expected), abs=1e-8)


def test_a_layer_across_the_border_of_its_cell_stays_whole():
    layer = dichalcogenide(3.16, (42, 16))
    structure = twisted(layer, layer, 1, 2, 6.2, vacuum=15.0)
    heights = np.unique(structure.positions[:, 2].round(9))
    np.testing.assert_allclose(heights, 7.5 + np.array([0, 1.6, 3.2, 6.2, 7.8, 9.4]))
    assert structure.lattice[2, 2] == pytest.approx(9.4 + 15.0)
    metals = structure.positions[structure.numbers == 42]
    np.testing.assert_allclose(np.unique(metals[:, 2].round(9)), [9.1, 15.3])


def test_up_stays_up_and_three_fold_layers_turn_by_their_own_angle():
    """A layer with two different faces, from left-handed cells and any orientation."""
    lattice, positions, _ = (
        getattr(dichalcogenide(3.2, (42, 16)), name) for name in ("lattice", "positions", "numbers")
    )
    janus = Structure(lattice, positions, np.array([42, 16, 34]))
    left = Structure(lattice * [[1], [-1], [1]], positions, janus.numbers)
    tilt = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    tilt *= np.linalg.det(tilt)
    for lower in (janus, left, janus.rotated(tilt)):
        structure = twisted(lower, janus, 2, 3, 6.4)
        angles = []
        for chosen in halves(structure):
            numbers = structure.numbers[chosen]
            sulphur, metal, selenium = (
                structure.positions[chosen][numbers == z, 2].mean() for z in (16, 42, 34)
            )
            assert selenium < metal < sulphur
            i, j, vectors = bonds(structure, chosen, 2.6)
            angles.append(direction(vectors[(numbers[i] == 42) & (numbers[j] == 16)], 3))
        assert turn(*angles, 120) == pytest.approx(commensurate_angle(2, 3), abs=1e-8)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_different_layers_share_the_strain_as_asked(share):
    graphene, nitride = honeycomb(), honeycomb(2.504, numbers=(5, 7))
    ratio = 2.504 / 2.46
    match = commensurate(graphene, nitride, 1, 2, share)
    bottom, top = ratio**share - 1, ratio ** (share - 1) - 1
    assert match.bottom_strain == pytest.approx((bottom, bottom), abs=1e-12)
    assert match.top_strain == pytest.approx((top, top), abs=1e-12)
    structure = stacked(graphene, nitride, match, 3.3)
    lengths = [np.linalg.norm(bonds(structure, c, 1.7)[2], axis=1) for c in halves(structure)]
    np.testing.assert_allclose(lengths[0], BOND * (1 + bottom), rtol=1e-9)
    np.testing.assert_allclose(lengths[1], BOND * ratio * (1 + top), rtol=1e-9)


def test_trilayers_and_double_bilayers():
    graphene = honeycomb()
    structure = twisted_layers([graphene] * 3, [False, True, False], 2, 3, [3.35, 3.4])
    assert len(structure) == 6 * 19
    lower, _, upper = structure.positions.reshape(3, 38, 3)
    np.testing.assert_allclose(upper - lower, np.tile([0, 0, 6.75], (38, 1)), atol=1e-12)
    stackings = [(0, 0), (1 / 3, 1 / 3), (0, 0), (1 / 3, 1 / 3)]
    double = twisted_layers(
        [graphene] * 4, [False, False, True, True], 2, 3, [3.35] * 3, shifts=stackings
    )
    for pair in np.arange(4 * 38).reshape(2, 76):
        _, _, vectors = bonds(double, pair, 3.4)
        upright = np.hypot(vectors[:, 0], vectors[:, 1]) < 1e-6
        assert np.count_nonzero(upright) == 38  # half of the atoms of each layer: AB


def test_forty_thousand_atoms_in_a_blink():
    graphene = honeycomb()
    start = time.process_time()
    structure = twisted(graphene, graphene, 61, 62, 3.35)
    assert len(structure) == 45388
    assert time.process_time() - start < 0.5


def test_numbers_that_name_no_cell():
    graphene = honeycomb()
    with pytest.raises(InputError, match=r"\(2, 4\).*give \(1, 2\)"):
        twisted(graphene, graphene, 2, 4, 3.35)
    for m, n in [(0, 0), (-1, 2)]:
        with pytest.raises(InputError, match=r"such as \(30, 31\)"):
            commensurate_angle(m, n)
    with pytest.raises(InputError, match="hexagonal, square"):
        commensurate_angle(1, 2, "cubic")
    rectangle = Structure(cell(3.0, 4.0, 90.0), np.zeros((1, 3)), np.array([6]))
    with pytest.raises(InputError, match=r"3\.0000 and 4\.0000 Å at 90\.00 degrees.*give an angle"):
        twisted(rectangle, rectangle, 1, 2, 3.35)
    square = Structure(cell(3.0, 3.0, 90.0), np.zeros((1, 3)), np.array([6]))
    with pytest.raises(InputError, match="hexagonal and square"):
        twisted(graphene, square, 1, 2, 3.35)


def test_stacks_that_cannot_be():
    layer = dichalcogenide(3.16, (42, 16))
    with pytest.raises(InputError, match=r"leaves 0\.15 Å.*3\.20 and 3\.20 Å thick: give 6\.4 Å"):
        twisted(layer, layer, 1, 2, 3.35)
    for vacuum in (0.0, -3.0, math.nan):
        with pytest.raises(InputError, match="vacuum"):
            twisted(layer, layer, 1, 2, 6.2, vacuum=vacuum)
    with pytest.raises(InputError, match="share"):
        commensurate(layer, layer, 1, 2, share=1.5)
    with pytest.raises(InputError, match="no atoms"):
        layer_of(Structure(np.eye(3), np.zeros((0, 3)), np.zeros(0)))
    flat = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0]])
    with pytest.raises(InputError, match="volume"):
        layer_of(Structure(flat, np.zeros((1, 3)), np.array([6])))
    upright = Structure(layer.lattice[[1, 2, 0]], layer.positions, layer.numbers)
    with pytest.raises(InputError, match=r"along a3 of layer MoS2.*wider than 1\.82 Å"):
        layer_of(upright)
    with pytest.raises(InputError, match="2 layers, 1 turns"):
        twisted_layers([layer, layer], [False], 1, 2, [6.2])
    with pytest.raises(InputError, match="2 layers need 1 distances, found 2"):
        twisted_layers([layer, layer], [False, True], 1, 2, [6.2, 6.2])
