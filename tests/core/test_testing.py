"""The proof helpers prove something: they fail where they should."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.testing import (
    assert_close_matrices,
    assert_compiles_at_most,
    assert_equivariant,
    assert_hermitian,
    double_precision,
    random_rotations,
    relative_difference,
    rotated_matrix,
)
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure, toy_matrices

SHELLS = {"H": (0, 1), "C": (1, 0)}
STRUCTURE = random_structure(("H", "C"), 3, seed=2)


def hamiltonian(structure: Structure) -> BlockMatrix:
    return toy_matrices(structure, SHELLS, cutoff=3.2)[1]


def test_rotations_are_orthogonal_and_every_second_one_improper() -> None:
    rotations = random_rotations(200, seed=3)
    products = rotations @ rotations.swapaxes(1, 2)
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(3), products.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), np.tile([1.0, -1.0], 100))
    np.testing.assert_allclose(np.linalg.det(random_rotations(5, inversion=False)), 1.0)
    assert np.abs(random_rotations(400, inversion=False).mean(axis=0)).max() < 0.15  # uniform
    np.testing.assert_array_equal(random_rotations(3, seed=1), random_rotations(3, seed=1))
    assert np.abs(random_rotations(3, seed=1) - random_rotations(3, seed=2)).max() > 0.1


def test_a_model_of_a_hamiltonian_passes() -> None:
    assert assert_equivariant(hamiltonian, STRUCTURE, SHELLS, rtol=1e-11) > 0


def test_a_matrix_that_stands_still_fails() -> None:
    fixed = hamiltonian(STRUCTURE)
    with pytest.raises(AssertionError, match=r"not equivariant: off by .* after the rotation"):
        assert_equivariant(lambda structure: fixed, STRUCTURE, SHELLS)


def test_a_pseudoscalar_fails_under_inversion_only() -> None:
    def handed(structure: Structure) -> BlockMatrix:
        matrix = hamiltonian(structure)
        return matrix.with_entries(matrix.entries * np.sign(np.linalg.det(structure.lattice)))

    proper = random_rotations(3, inversion=False)
    assert_equivariant(handed, STRUCTURE, SHELLS, rotations=proper, rtol=1e-11)
    with pytest.raises(AssertionError, match="after the improper rotation"):
        assert_equivariant(handed, STRUCTURE, SHELLS)


def test_a_rotation_there_and_back_changes_nothing() -> None:
    matrix = toy_matrices(STRUCTURE, SHELLS, "soc", cutoff=3.2)[1]
    for rotation in random_rotations(2):
        there = rotated_matrix(matrix, STRUCTURE, SHELLS, rotation)
        assert relative_difference(there, matrix) > 0.01
        back = rotated_matrix(there, STRUCTURE.rotated(rotation), SHELLS, rotation.T)
        assert_close_matrices(back, matrix, 1e-13)
        assert_hermitian(there, 1e-12)


def test_differences_are_measured_pair_by_pair() -> None:
    matrix = hamiltonian(STRUCTURE)
    order = np.arange(len(matrix))[::-1]
    assert relative_difference(matrix.on_pairs(matrix.atom_pairs[order]), matrix) == 0.0
    largest = np.abs(matrix.entries).max()
    changed = matrix.with_entries(matrix.entries + 1e-3 * largest)
    assert relative_difference(changed, matrix) == pytest.approx(1e-3)
    with pytest.raises(AssertionError, match=r"differ by 0\.001 > 0\.0001"):
        assert_close_matrices(changed, matrix, 1e-4)
    with pytest.raises(AssertionError, match="pairs found"):
        relative_difference(matrix.on_pairs(matrix.atom_pairs[1:]), matrix)
    elsewhere = matrix.atom_pairs.copy()
    elsewhere[0, 0] += 50
    with pytest.raises(AssertionError, match="is missing"):
        relative_difference(matrix.on_pairs(elsewhere), matrix)
    with pytest.raises(AssertionError, match="nothing can be proven"):
        relative_difference(matrix, matrix.with_entries(0 * matrix.entries))


def test_programs_are_counted() -> None:
    assert_compiles_at_most(["train: 3 atoms"], 1)
    with pytest.raises(AssertionError, match="2 programs compiled, not 1:\n  one\n  two"):
        assert_compiles_at_most(["one", "two"], 1)


def test_double_precision_ends_with_its_context() -> None:
    before = jnp.ones(1).dtype
    with double_precision():
        assert jnp.ones(1).dtype == np.float64
        with double_precision(False):
            assert jnp.ones(1).dtype == np.float32
        assert jnp.ones(1).dtype == np.float64
    assert jnp.ones(1).dtype == before
    with pytest.raises(RuntimeError), double_precision():
        raise RuntimeError
    assert jax.numpy.ones(1).dtype == before
