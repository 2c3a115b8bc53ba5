"""Derivatives, gradient, kinetic energy and position: relations between one another."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_spec.structure import Structure

FIRST, SECOND = 6, 42
PAIRS = [(FIRST, FIRST), (FIRST, SECOND), (SECOND, FIRST), (SECOND, SECOND)]


@pytest.fixture(scope="module")
def engine(smooth_bases):
    return TwoCentre(smooth_bases, ("overlap", "kinetic", "gradient", "position"))


@pytest.fixture(scope="module")
def vectors():
    """Vectors from 0.4 Å to beyond the farthest overlaps, one of them along z."""
    random = np.random.default_rng(7)
    directions = random.normal(size=(20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = directions * np.linspace(0.4, 3.5, 20)[:, None]
    found[3] = [0, 0, -np.linalg.norm(found[3])]
    return found


def moved(engine, first, second, vectors, axis, step):
    return engine.blocks("overlap", first, second, vectors + step * np.eye(3)[axis])


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_derivatives_are_differences_of_overlaps(engine, vectors, first, second):
    found = engine.overlap_derivative(first, second, vectors)
    h = 1e-3
    for axis in range(3):
        m2, m1, p1, p2 = (
            moved(engine, first, second, vectors, axis, n * h) for n in (-2, -1, 1, 2)
        )
        differences = (m2 - 8 * m1 + 8 * p1 - p2) / (12 * h)
        assert np.abs(differences).max() > 0.1
        assert np.abs(found[axis] - differences).max() < 1e-6


def test_at_one_place_derivatives_are_differences_too(engine):
    zero = np.zeros((1, 3))
    found = engine.overlap_derivative(FIRST, SECOND, zero)
    for axis in range(3):
        steps = [moved(engine, FIRST, SECOND, zero, axis, n * 0.02) for n in (-2, -1, 1, 2)]
        differences = (steps[0] - 8 * steps[1] + 8 * steps[2] - steps[3]) / 0.24
        assert np.abs(found[axis]).max() > 1
        assert np.abs(found[axis] - differences).max() < 2e-3  # of steps of 0.02 Å


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_moving_either_atom_is_moving_the_other_the_other_way(engine, vectors, first, second):
    # <i|d/dr j> = -<d/dr i|j>, which is minus the transpose of the gradient of the turned pair
    gradient = engine.blocks("gradient", first, second, vectors)
    turned = engine.blocks("gradient", second, first, -vectors)
    assert np.abs(gradient).max() > 0.5
    assert np.abs(gradient + turned.swapaxes(-1, -2)).max() < 1e-8
    assert np.array_equal(engine.overlap_derivative(first, second, vectors), -gradient)


def test_gradients_on_an_atom_are_antisymmetric(engine):
    gradient = engine.blocks("gradient", SECOND, SECOND, np.zeros((1, 3)))[:, 0]
    assert np.abs(gradient + gradient.swapaxes(-1, -2)).max() < 1e-12
    assert np.abs(gradient).max() > 1


@pytest.mark.parametrize("quantity", ["overlap", "kinetic"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_overlap_and_kinetic_energy_are_hermitian(engine, vectors, quantity, first, second):
    there = engine.blocks(quantity, first, second, vectors)
    back = engine.blocks(quantity, second, first, -vectors)
    assert np.abs(there - back.swapaxes(-1, -2)).max() < 1e-12 * np.abs(there).max()


def test_kinetic_energies_are_minus_the_second_derivatives_of_overlaps(engine, vectors):
    # nabla^2 of the second function is that by its place.
    h = 0.02
    inside = vectors[2:-2]
    laplacian = np.zeros_like(engine.blocks("overlap", FIRST, SECOND, inside))
    for axis in range(3):
        steps = [moved(engine, FIRST, SECOND, inside, axis, n * h) for n in range(-3, 4)]
        weights = np.array([2, -27, 270, -490, 270, -27, 2]) / (180 * h**2)
        laplacian += np.einsum("n,npab->pab", weights, np.stack(steps))
    kinetic = engine.blocks("kinetic", FIRST, SECOND, inside)
    expected = -Hartree * Bohr**2 / 2 * laplacian
    assert np.abs(kinetic).max() > 10
    assert np.abs(kinetic - expected).max() < 1e-5 * np.abs(kinetic).max()


def test_kinetic_energies_on_an_atom_are_positive(engine):
    for number in (FIRST, SECOND):
        kinetic = engine.blocks("kinetic", number, number, np.zeros((1, 3)))[0]
        assert np.linalg.eigvalsh(kinetic).min() > 0.01


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_positions_from_either_atom_differ_by_the_vector_times_the_overlap(
    engine, vectors, first, second
):
    # <i|r - r_j|j> = <i|r - r_i|j> - (r_j - r_i) <i|j>
    from_second = engine.blocks("position", first, second, vectors)
    from_first = engine.blocks("position", second, first, -vectors).swapaxes(-1, -2)
    overlap = engine.blocks("overlap", first, second, vectors)
    shift = vectors.T[:, :, None, None] * overlap
    assert np.abs(shift).max() > 0.2
    assert np.abs(from_second - (from_first - shift)).max() < 1e-9


def test_positions_of_a_structure_do_not_depend_on_its_place_but_by_overlaps(engine):
    numbers, lattice = np.array([FIRST, SECOND]), np.diag([2.9, 3.1, 3.3])
    positions = np.array([[0.1, 0.2, 0.3], [1.4, 1.2, 1.6]])
    here = Structure(lattice, positions, numbers)
    offset = np.array([0.7, -1.3, 2.1])
    there = Structure(lattice, positions + offset, numbers)
    pairs = touching_pairs(here, engine.bases)
    overlap = compute(here, engine, pairs)
    before, after = (compute(s, engine, pairs, "position") for s in (here, there))
    assert np.abs(after.entries - before.entries - offset[:, None] * overlap.entries).max() < 1e-12
    # Hermitian: the partner, seen from the origin of its own cell, is moved by its R.
    partner = overlap.partner_rows()
    for row in range(0, len(pairs), 7):
        one, other = before.block(row), before.block(int(partner[row]))
        shift = pairs[row, :3] @ lattice
        expected = np.swapaxes(other, -1, -2) + shift[:, None, None] * overlap.block(row)
        assert np.abs(one - expected).max() < 1e-9
