"""Displacements and strains: their limits, their spread, and what a strain does to a cell."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_dock.structures.perturb import displacements, perturb, random_strain, strained
from deeph_spec.testing import random_structure

MANY = 20_000


def test_uniform_displacements_fill_their_range():
    steps = displacements(MANY, 0.1, np.random.default_rng(0))
    assert np.abs(steps).max() <= 0.1
    assert np.abs(steps).max() > 0.0999
    # Of a uniform density on +-a: standard deviation a / sqrt(3), mean 0, components independent.
    assert steps.std(axis=0) == pytest.approx(np.full(3, 0.1 / np.sqrt(3)), rel=0.02)
    assert np.abs(steps.mean(axis=0)).max() < 5 * 0.1 / np.sqrt(3 * MANY)
    assert np.abs(np.corrcoef(steps.T) - np.eye(3)).max() < 0.03


def test_gaussian_displacements_have_their_deviation():
    steps = displacements(MANY, 0.1, np.random.default_rng(0), "gaussian")
    assert steps.std() == pytest.approx(0.1, rel=0.02)
    assert np.mean(np.abs(steps) < 0.1) == pytest.approx(0.6827, abs=0.01)


def test_full_strain_is_symmetric_and_within_its_amplitude():
    drawn = np.array([random_strain(0.02, np.random.default_rng(k)) for k in range(500)])
    assert np.array_equal(drawn, np.swapaxes(drawn, 1, 2))
    assert 0.0195 < np.abs(drawn).max() <= 0.02
    assert (drawn.std(axis=0) > 0.01).all()  # all six components are drawn


def test_in_plane_strain_leaves_the_normal_alone():
    normal = np.array([1.0, 2.0, -0.5])
    strain = random_strain(0.05, np.random.default_rng(3), "in-plane", normal)
    assert np.abs(strain - strain.T).max() < 1e-17
    assert np.abs(strain @ normal).max() < 1e-16
    assert np.linalg.matrix_rank(strain, tol=1e-8) == 2
    flat = random_strain(0.05, np.random.default_rng(3), "in-plane")
    assert not flat[2].any()
    assert np.linalg.eigvalsh(flat)[[0, 2]] == pytest.approx(np.linalg.eigvalsh(strain)[[0, 2]])


def test_volume_under_strain():
    structure = random_structure(("C", "H"), 4, 0)
    strain = random_strain(0.03, np.random.default_rng(1))
    after = strained(structure, strain)
    assert after.volume == pytest.approx(structure.volume * np.linalg.det(np.eye(3) + strain))
    assert after.fractional == pytest.approx(structure.fractional, abs=1e-13)
    same = random_strain(0.03, np.random.default_rng(1), "hydrostatic")
    factor = 1 + same[0, 0]
    assert strained(structure, same).volume == pytest.approx(structure.volume * factor**3)
    assert abs(factor - 1) <= 0.03


def test_in_plane_strain_of_a_structure_keeps_the_height_of_its_cell():
    structure = random_structure(("C",), 3, 2)
    after, facts = perturb(structure, np.random.default_rng(0), strain=0.1, kind="in-plane", axis=0)
    across = np.cross(structure.lattice[1], structure.lattice[2])
    across /= np.linalg.norm(across)
    assert after.lattice @ across == pytest.approx(structure.lattice @ across, abs=1e-13)
    assert after.positions @ across == pytest.approx(structure.positions @ across, abs=1e-13)
    assert np.abs(after.lattice - structure.lattice).max() > 1e-3
    assert "largest_displacement" not in facts


def test_perturb_says_what_it_did():
    structure = random_structure(("C",), 5, 0)
    after, facts = perturb(structure, np.random.default_rng(7), displacement=0.2, strain=0.02)
    moved = after.positions - strained(structure, np.array(facts["strain"])).positions
    assert facts["largest_displacement"] == pytest.approx(np.linalg.norm(moved, axis=1).max())
    assert np.abs(moved).max() <= 0.2
    same, _ = perturb(structure, np.random.default_rng(7), displacement=0.2, strain=0.02)
    assert np.array_equal(same.positions, after.positions)
    other, _ = perturb(structure, np.random.default_rng(8), displacement=0.2, strain=0.02)
    assert not np.array_equal(other.positions, after.positions)
