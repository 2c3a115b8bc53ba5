"""The fast harmonics are those of the format."""

from __future__ import annotations

import numpy as np
from deeph_dock.integrals.harmonics import harmonics
from deeph_spec.orbitals import real_harmonics


def test_all_degrees_at_once_are_those_one_by_one() -> None:
    rng = np.random.default_rng(0)
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    vectors = np.concatenate([rng.normal(size=(200, 3)) * rng.uniform(0.1, 9, (200, 1)), axes])
    found = harmonics(9, vectors, np.linalg.norm(vectors, axis=1))
    for degree in range(10):
        rows = found[degree**2 : (degree + 1) ** 2]
        np.testing.assert_allclose(rows, real_harmonics(degree, vectors).T, rtol=0, atol=1e-13)
    at_zero = harmonics(2, np.zeros((1, 3)), np.zeros(1))
    np.testing.assert_allclose(at_zero[0], real_harmonics(0, np.zeros((1, 3)))[:, 0])
