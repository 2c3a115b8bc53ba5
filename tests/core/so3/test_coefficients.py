"""Coupling coefficients: orthonormal, and covariant under rotations of the format's harmonics."""

from __future__ import annotations

from itertools import product

import e3nn_jax
import numpy as np
import pytest
from deeph.so3 import clebsch_gordan, transposition_sign
from deeph.so3.coefficients import axis_swap
from deeph.testing import double_precision, random_rotations
from deeph_spec.orbitals import wigner_matrices

SHELLS = list(product(range(5), repeat=2))
SPINS = [(l, 1) for l in range(5, 9)]
"""Products of two g shells are coupled to the axial vector of spin."""
TRIPLES = [(l1, l2, l3) for l1, l2 in SHELLS + SPINS for l3 in range(abs(l1 - l2), l1 + l2 + 1)]
ROTATIONS = random_rotations(3, seed=1, inversion=False)


def test_couplings_are_orthonormal_and_complete() -> None:
    for l1, l2 in SHELLS + SPINS:
        stacked = np.concatenate(
            [clebsch_gordan(l1, l2, l3) for l3 in range(abs(l1 - l2), l1 + l2 + 1)], axis=-1
        ).reshape((2 * l1 + 1) * (2 * l2 + 1), -1)
        np.testing.assert_allclose(stacked.T @ stacked, np.eye(stacked.shape[1]), atol=1e-13)
        assert stacked.shape[0] == stacked.shape[1]


@pytest.mark.parametrize("l3", range(10))
def test_couplings_turn_with_the_harmonics_of_the_format(l3: int) -> None:
    for l1, l2, _ in (t for t in TRIPLES if t[2] == l3):
        coupling = clebsch_gordan(l1, l2, l3)
        for q in ROTATIONS:
            first, second, third = (wigner_matrices(l, q) for l in (l1, l2, l3))
            turned = np.einsum("ia,jb,abm->ijm", first, second, coupling)
            np.testing.assert_allclose(turned, coupling @ third, atol=1e-12)
            if l3 > 0:  # the negation: turned the other way it is another coupling
                assert np.abs(turned - coupling @ third.T).max() > 1e-2


@pytest.mark.parametrize("l", range(1, 7))
def test_e3nn_agrees_for_vectors_written_as_y_z_x(l: int) -> None:
    cyclic = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])  # (x, y, z) -> (y, z, x)
    with double_precision():
        for q in ROTATIONS:
            theirs = e3nn_jax.Irrep(l, 1).D_from_matrix(cyclic @ q @ cyclic.T)
            np.testing.assert_allclose(np.asarray(theirs), wigner_matrices(l, q), atol=2e-6)


@pytest.mark.parametrize("l3", range(10))
def test_exchanging_the_factors_costs_at_most_a_sign(l3: int) -> None:
    signs = set()
    for l1, l2, _ in (t for t in TRIPLES if t[2] == l3):
        sign = transposition_sign(l1, l2, l3)
        signs.add(sign)
        exchanged = clebsch_gordan(l2, l1, l3).transpose(1, 0, 2)
        np.testing.assert_allclose(clebsch_gordan(l1, l2, l3), sign * exchanged, atol=1e-13)
        if l1 == l2:
            assert sign == (-1) ** l3  # symmetric and antisymmetric products of a shell
    assert signs <= {1, -1}


@pytest.mark.parametrize("l", range(7))
def test_axis_swap_exchanges_y_and_z(l: int) -> None:
    swap = axis_swap(l)
    np.testing.assert_allclose(swap @ swap, np.eye(2 * l + 1), atol=1e-13)
    about_z = wigner_matrices(l, turn_about(2, 0.7))
    np.testing.assert_allclose(
        swap @ about_z @ swap, wigner_matrices(l, turn_about(1, 0.7)), atol=1e-12
    )


def turn_about(axis: int, angle: float) -> np.ndarray:
    b, c = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[b, b] = rotation[c, c] = np.cos(angle)
    rotation[c, b], rotation[b, c] = np.sin(angle), -np.sin(angle)
    return rotation


def test_cached_constants_cannot_be_changed() -> None:
    for array in (clebsch_gordan(1, 1, 2), axis_swap(2)):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
