"""Rotations: orthogonal, equally likely, rigid."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_dock.structures.rotate import random_rotation, rotate, rotation_about, turned_in_cell
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure

WATER = Structure(np.eye(3) * 8, [[1, 2, 3], [1.76, 2.59, 3], [0.24, 2.59, 3]], [8, 1, 1])


def distances(structure: Structure) -> np.ndarray:
    return np.linalg.norm(structure.positions[:, None] - structure.positions, axis=-1)


def test_random_rotations_are_proper_and_equally_likely():
    rng = np.random.default_rng(0)
    drawn = np.array([random_rotation(rng) for _ in range(4000)])
    assert np.abs(drawn @ np.swapaxes(drawn, 1, 2) - np.eye(3)).max() < 1e-14
    assert np.linalg.det(drawn) == pytest.approx(1)
    # Of the uniform measure: <Q> = 0, <Q_ij^2> = 1/3, and the trace is 1 + 2 cos(t), where t has
    # the density (1 - cos t) / pi, so that <trace> = 0 and <trace^2> = 1.
    assert np.abs(drawn.mean(axis=0)).max() < 0.05
    assert np.abs((drawn**2).mean(axis=0) - 1 / 3).max() < 0.03
    trace = np.trace(drawn, axis1=1, axis2=2)
    assert np.mean(trace) == pytest.approx(0, abs=0.06)
    assert np.mean(trace**2) == pytest.approx(1, abs=0.1)


def test_improper_ones_are_one_in_two():
    rng = np.random.default_rng(1)
    determinants = [np.linalg.det(random_rotation(rng, improper=True)) for _ in range(400)]
    assert np.abs(determinants) == pytest.approx(1)
    assert 150 < sum(d < 0 for d in determinants) < 250


def test_rotation_about_an_axis():
    assert rotation_about([0, 0, 2], 90) @ [1, 0, 0] == pytest.approx([0, 1, 0])
    turn = rotation_about([1, 1, 1], 120)
    assert turn == pytest.approx(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), abs=1e-15)
    assert rotation_about([1, -2, 3], 17) @ [1, -2, 3] == pytest.approx([1, -2, 3])
    for axis in ([0, 0, 0], [np.nan, 0, 1]):
        with pytest.raises(InputError, match="needs a direction"):
            rotation_about(axis, 10)


def test_crystals_turn_with_their_cell():
    structure = random_structure(("C", "H"), 5, 0)
    turned, facts = rotate(structure, np.random.default_rng(2))
    matrix = np.array(facts["rotation"])
    assert turned.positions == pytest.approx(structure.positions @ matrix.T, abs=1e-14)
    assert turned.lattice == pytest.approx(structure.lattice @ matrix.T, abs=1e-14)
    assert turned.fractional == pytest.approx(structure.fractional, abs=1e-12)
    assert distances(turned) == pytest.approx(distances(structure), abs=1e-12)


def test_molecules_turn_in_their_box():
    given = rotation_about([1, 2, 0], 77)
    turned, facts = rotate(WATER, np.random.default_rng(0), rotation=given, keep_cell=True)
    assert np.array_equal(turned.lattice, WATER.lattice)
    assert turned.positions.mean(axis=0) == pytest.approx(WATER.positions.mean(axis=0))
    assert distances(turned) == pytest.approx(distances(WATER), abs=1e-13)
    assert not np.allclose(turned.positions, WATER.positions)
    assert facts["rotation"] == given.tolist()
    back = turned_in_cell(turned, given.T)
    assert back.positions == pytest.approx(WATER.positions, abs=1e-14)
