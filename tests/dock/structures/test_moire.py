"""Quasi-one-dimensional moire cells: size, strain, and the stackings they pass through."""

from __future__ import annotations

import math

import numpy as np
import pytest
from deeph_dock.structures.layer import layer_of
from deeph_dock.structures.match import stacked
from deeph_dock.structures.moire import quasi_one_dimensional, quasi_one_dimensional_match
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

A = 3.52


def telluride(corner: float = 120.0, a: float = A) -> Structure:
    """1H MoTe2."""
    angle = math.radians(corner)
    lattice = np.array([[a, 0, 0], [a * math.cos(angle), a * math.sin(angle), 0], [0, 0, 20.0]])
    sites = [[1 / 3, 2 / 3], [2 / 3, 1 / 3]] if corner == 120.0 else [[1 / 3] * 2, [2 / 3] * 2]
    places = np.column_stack([np.array(sites)[[0, 1, 1]] @ lattice[:2, :2], [10.0, 11.8, 8.2]])
    return Structure(lattice, places, np.array([42, 52, 52]))


MOTE2 = telluride()


@pytest.mark.parametrize("corner", [60.0, 120.0])
def test_the_cell_of_the_paper(corner):
    layer = telluride(corner)
    match = quasi_one_dimensional_match(layer, layer)
    assert match.atoms == 93
    structure, facts = quasi_one_dimensional(
        layer, np.random.default_rng(5), layer, (6.9, 7.9), match
    )
    assert len(structure) == 93
    assert np.count_nonzero(structure.numbers == 42) == 31
    np.testing.assert_allclose(np.linalg.norm(structure.lattice[:2], axis=1), [15 * A, A])
    assert match.top_strain == pytest.approx((-0.0672, 0.0050), abs=5e-5)
    assert match.bottom_strain == (0, 0)
    assert abs(match.angle) == pytest.approx(1.067, abs=1e-3)
    metals = structure.positions[structure.numbers == 42, 2]
    assert np.unique(metals.round(9)) == pytest.approx([metals[0], metals[0] + facts["distance"]])
    assert 6.9 <= facts["distance"] <= 7.9
    assert np.linalg.det(structure.lattice) > 0


@pytest.mark.parametrize(
    ("settings", "atoms", "strain"),
    [
        ({"across": (1, 2)}, 186, -1 / 16),
        ({"across": (1, 2), "cells": (16, 15)}, 186, 1 / 15),
        ({"cells": (15, 17)}, 96, -2 / 17),
        ({"cells": (7, 9), "along": (0, 1)}, 48, -2 / 9),
        ({"cells": (10, 10)}, 60, 0.0),
    ],
)
def test_uniaxial_strain_where_the_lattice_allows_it(settings, atoms, strain):
    match = quasi_one_dimensional_match(MOTE2, MOTE2, **settings)
    assert match.atoms == atoms
    assert match.angle == pytest.approx(0, abs=1e-9)
    assert match.top_strain == pytest.approx(sorted([strain, 0.0]), abs=1e-12)


def test_no_other_corner_has_less_strain():
    """The choice of the corner against all others."""
    for cells in [(15, 16), (8, 11), (5, 6), (14, 17)]:
        match = quasi_one_dimensional_match(MOTE2, MOTE2, cells)
        layer = layer_of(MOTE2)
        lower = np.array(match.bottom_matrix) @ layer.lattice
        strains = []
        for move in range(-4, 5):
            upper = np.array(match.top_matrix)
            upper[0] += (0, move)
            mapping = np.linalg.solve(upper @ layer.lattice, lower)
            strains.append(np.abs(np.linalg.svd(mapping, compute_uv=False) - 1).max())
        assert match.strain == pytest.approx(min(strains), abs=1e-12)


def test_shared_strain():
    whole = quasi_one_dimensional_match(MOTE2, MOTE2)
    half = quasi_one_dimensional_match(MOTE2, MOTE2, share=0.5)
    for e, bottom, top in zip(
        whole.top_strain, reversed(half.bottom_strain), half.top_strain, strict=True
    ):
        assert 1 + top == pytest.approx(math.sqrt(1 + e))
        assert 1 + bottom == pytest.approx(1 / math.sqrt(1 + e))
    structure = stacked(MOTE2, MOTE2, half, 7.0)
    assert len(structure) == 93


@pytest.mark.parametrize(
    ("settings", "direction", "steps"),
    [
        ({}, (1, 0), 16),
        ({"across": (1, 2)}, (1, 0), 32),  # two rows, half a vector apart
        ({"cells": (15, 17)}, (2, 1), 17),
    ],
)
def test_all_stackings_of_a_line_evenly(settings, direction, steps):
    """Where metals above lie in the cells below: on a line, all the way round, at equal steps."""
    match = quasi_one_dimensional_match(MOTE2, MOTE2, **settings)
    structure = stacked(MOTE2, MOTE2, match, 7.0)
    primitive = np.linalg.inv(match.bottom_matrix) @ structure.lattice[:2, :2]
    metals = structure.positions[structure.numbers == 42]
    above = metals[metals[:, 2] > metals[:, 2].mean(), :2]
    places = (above - above[0]) @ np.linalg.inv(primitive)
    off_line = places @ [-direction[1], direction[0]]
    np.testing.assert_allclose(off_line, np.rint(off_line), atol=1e-9)
    along = np.unique((places[:, 0] % 1).round(9) % 1)
    np.testing.assert_allclose(along, np.arange(steps) / steps, atol=1e-8)


def test_stackings_are_drawn_and_repeat_with_the_seed():
    match = quasi_one_dimensional_match(MOTE2, MOTE2)
    drawn = [
        quasi_one_dimensional(MOTE2, np.random.default_rng(seed), MOTE2, (6.9, 7.9), match)
        for seed in (1, 1, 2)
    ]
    same, again, other = (structure.positions for structure, _ in drawn)
    np.testing.assert_array_equal(same, again)
    assert np.abs(same - other).max() > 0.1
    facts = drawn[0][1]
    shifted = stacked(MOTE2, MOTE2, match, facts["distance"], shift=facts["shift"])
    np.testing.assert_array_equal(shifted.positions, same)
    assert facts["top_matrix"] == [list(row) for row in match.top_matrix]


def test_antiparallel_layers_are_turned_by_half_a_turn():
    """Mo to Te bonds of the top point the other way."""
    for antiparallel, sign in ((False, 1), (True, -1)):
        match = quasi_one_dimensional_match(MOTE2, MOTE2, (10, 10), antiparallel=antiparallel)
        structure = stacked(MOTE2, MOTE2, match, 7.0)
        directions = []
        for layer in (np.arange(30), np.arange(30, 60)):
            positions, numbers = structure.positions[layer], structure.numbers[layer]
            metal = positions[numbers == 42][4]
            others = positions[numbers == 52]
            cells = np.array([[i, j] for i in (-1, 0, 1) for j in range(-3, 4)])
            images = (others[:, :2] + (cells @ structure.lattice[:2, :2])[:, None]).reshape(-1, 2)
            bonds = images - metal[:2]
            bonds = bonds[np.linalg.norm(bonds, axis=1) < 0.7 * A]
            phases = np.exp(3j * np.arctan2(bonds[:, 1], bonds[:, 0]))
            np.testing.assert_allclose(phases, phases[0], atol=1e-6)
            directions.append(phases[0])
        assert directions[1] == pytest.approx(sign * directions[0], abs=1e-6)


def test_numbers_that_make_no_cell():
    with pytest.raises(InputError, match=r"200%.*15 and 16"):
        quasi_one_dimensional_match(MOTE2, MOTE2, (3, 1))
    with pytest.raises(InputError, match="two numbers from 1"):
        quasi_one_dimensional_match(MOTE2, MOTE2, (0, 1))
    for along, across in [((0, 0), None), ((1, 0), (2, 0))]:
        with pytest.raises(InputError, match="two directions"):
            quasi_one_dimensional_match(MOTE2, MOTE2, along=along, across=across)
    match = quasi_one_dimensional_match(MOTE2, MOTE2)
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match="lower one first"):
        quasi_one_dimensional(MOTE2, rng, MOTE2, (7.9, 6.9), match)
    with pytest.raises(InputError, match="outer atoms"):
        quasi_one_dimensional(MOTE2, rng, MOTE2, (3.0, 3.5), match)
