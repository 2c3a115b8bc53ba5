"""Orbital order, signs and rotations: what the whole format rests on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from deeph_spec.errors import InputError
from deeph_spec.orbitals import (
    L_MAX,
    orbital_count,
    orbital_labels,
    real_harmonics,
    shell_offsets,
    shells_from_text,
    shells_to_text,
    wigner_matrices,
)


def sphere(degree):
    """Points and weights that integrate products of two harmonics of this degree exactly."""
    z, weight = np.polynomial.legendre.leggauss(degree + 1)
    phi = np.pi * np.arange(2 * degree + 2) / (degree + 1)
    rho = np.sqrt(1 - z**2)[:, None]
    points = np.stack(
        np.broadcast_arrays(rho * np.cos(phi), rho * np.sin(phi), z[:, None]), axis=-1
    )
    return points.reshape(-1, 3), np.repeat(weight * np.pi / (degree + 1), len(phi))


def random_rotations(count, seed=0, determinant=1.0):
    rotations = np.linalg.qr(np.random.default_rng(seed).normal(size=(count, 3, 3)))[0]
    return rotations * (determinant * np.linalg.det(rotations))[:, None, None]


def unit_vectors(count=40, seed=1):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_harmonics_of_all_degrees_are_orthonormal():
    points, weights = sphere(13)
    every = np.concatenate([real_harmonics(degree, points) for degree in range(14)], axis=1)
    assert np.allclose(every.T @ (weights[:, None] * every), np.eye(14**2), atol=1e-12)


@pytest.mark.parametrize(
    ("degree", "polynomials"),
    [
        (0, lambda x, y, z: [1 + 0 * x]),
        (1, lambda x, y, z: [y, z, x]),
        (
            2,
            lambda x, y, z: [x * y, y * z, 3 * z**2 - 1, x * z, x**2 - y**2],
        ),
        (
            3,
            lambda x, y, z: [
                y * (3 * x**2 - y**2),
                x * y * z,
                y * (5 * z**2 - 1),
                z * (5 * z**2 - 3),
                x * (5 * z**2 - 1),
                z * (x**2 - y**2),
                x * (x**2 - 3 * y**2),
            ],
        ),
    ],
)
def test_order_and_sign_are_those_of_the_format(degree, polynomials):
    """p = y z x; d = xy yz z2 xz x2-y2; f as tabulated; every prefactor is positive."""
    x, y, z = unit_vectors().T
    found = real_harmonics(degree, np.stack([x, y, z], axis=1))
    for m, polynomial in enumerate(polynomials(x, y, z)):
        ratio = found[:, m] / polynomial
        assert np.allclose(ratio, ratio[0], rtol=1e-12), m
        assert ratio[0] > 0, m


def test_p_orbitals_have_no_condon_shortley_sign():
    assert np.allclose(
        real_harmonics(1, np.eye(3)),
        math.sqrt(3 / (4 * math.pi)) * np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    )


def test_only_the_direction_of_a_vector_matters():
    vectors = unit_vectors()
    for degree in range(L_MAX + 1):
        expected = real_harmonics(degree, vectors)
        assert np.allclose(real_harmonics(degree, 7.3 * vectors), expected, atol=1e-14)


def test_the_zero_vector_gives_the_mean_over_the_sphere():
    points, weights = sphere(4)
    for degree in range(5):
        mean = weights @ real_harmonics(degree, points) / (4 * np.pi)
        assert np.allclose(real_harmonics(degree, np.zeros(3)), mean, atol=1e-14)


@pytest.mark.parametrize("degree", range(9))
def test_parity(degree):
    vectors = unit_vectors()
    turned = real_harmonics(degree, -vectors)
    assert np.allclose(turned, (-1) ** degree * real_harmonics(degree, vectors), atol=1e-14)


@pytest.mark.parametrize("degree", range(9))
@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_wigner_matrices_rotate_the_harmonics(degree, determinant):
    rotations, vectors = random_rotations(6, determinant=determinant), unit_vectors()
    turned = real_harmonics(degree, np.einsum("nab,kb->nka", rotations, vectors))
    matrices = wigner_matrices(degree, rotations)
    expected = np.einsum("nab,kb->nka", matrices, real_harmonics(degree, vectors))
    assert np.abs(turned - expected).max() < 1e-12
    identity = np.eye(2 * degree + 1)
    assert np.abs(matrices @ matrices.swapaxes(1, 2) - identity).max() < 1e-12


@pytest.mark.parametrize("degree", range(9))
def test_wigner_matrices_are_a_homomorphism(degree):
    first, second = random_rotations(5, 2), random_rotations(5, 3, determinant=-1.0)
    product = wigner_matrices(degree, first @ second)
    factors = wigner_matrices(degree, first) @ wigner_matrices(degree, second)
    assert np.abs(product - factors).max() < 1e-12
    if degree:  # and not in the other order
        other = wigner_matrices(degree, second) @ wigner_matrices(degree, first)
        assert np.abs(product - other).max() > 0.1


@pytest.mark.parametrize("degree", range(9))
def test_inversion_is_the_parity(degree):
    assert np.allclose(
        wigner_matrices(degree, -np.eye(3)), (-1) ** degree * np.eye(2 * degree + 1), atol=1e-12
    )


def test_wigner_matrix_of_p_is_the_rotation_in_the_order_y_z_x():
    rotation = random_rotations(1)[0]
    order = [1, 2, 0]
    assert np.allclose(wigner_matrices(1, rotation), rotation[np.ix_(order, order)], atol=1e-14)


def test_wigner_matrices_work_on_any_number_of_rotations():
    rotations = random_rotations(4100)  # more than are done at once
    matrices = wigner_matrices(1, rotations.reshape(2, 2050, 3, 3))
    assert matrices.shape == (2, 2050, 3, 3)
    assert np.allclose(matrices[1, -1], wigner_matrices(1, rotations[-1]), atol=1e-14)
    assert wigner_matrices(2, np.zeros((0, 3, 3))).shape == (0, 5, 5)


def test_wigner_matrices_refuse_what_is_no_rotation():
    with pytest.raises(ValueError, match="orthogonal"):
        wigner_matrices(1, 1.1 * np.eye(3))


def test_counts_offsets_and_labels():
    assert orbital_count((0, 0, 1, 3)) == 12
    assert shell_offsets((0, 0, 1, 3)).tolist() == [0, 1, 2, 5, 12]
    assert shell_offsets(()).tolist() == [0]
    assert orbital_labels((1, 0, 2)) == [
        "py",
        "pz",
        "px",
        "s",
        "dxy",
        "dyz",
        "dz2",
        "dxz",
        "dx2-y2",
    ]
    assert orbital_labels((4,))[0] == "g-4"
    assert orbital_labels((6,))[-1] == "i+6"
    assert [len(orbital_labels((shell,))) for shell in range(7)] == [1, 3, 5, 7, 9, 11, 13]


def test_shell_texts():
    assert shells_to_text((0, 1, 0, 2)) == "s2p1d1"
    assert shells_from_text("s2p1d1") == (0, 0, 1, 2)
    assert shells_from_text("f1s1") == (3, 0)
    for wrong in ("", "s", "2s", "s0", "x1", "s2 p1"):
        with pytest.raises(InputError, match="shell text"):
            shells_from_text(wrong)
