"""Bases made of polynomials: known at every radius, zero and smooth at the cutoff."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from deeph_dock.basis import AtomicBasis, Shell
from deeph_spec.orbitals import real_harmonics
from numpy.polynomial import Polynomial
from numpy.typing import NDArray

Real = NDArray[np.float64]

INTERVALS = 20
"""Of 32 nodes each: j_l(kr) is integrated for k up to 600/Å."""


@dataclass(frozen=True)
class SmoothFunction:
    """R(r) = r^l P(r^2) inside the cutoff, P = factor (1 - r^2 / cutoff^2)^6 (1 - node r^2)."""

    degree: int
    cutoff: float
    node: float
    factor: float

    @property
    def polynomial(self) -> Polynomial:
        return self.factor * Polynomial([1, -1 / self.cutoff**2]) ** 6 * Polynomial([1, -self.node])

    def solid(self, polynomial: Polynomial, points: Real) -> Real:
        """Give r^l polynomial(r^2) Y_lm at points, (n, 2l + 1); zero beyond the cutoff."""
        square = np.sum(points**2, axis=-1)
        radial = np.where(square < self.cutoff**2, polynomial(square), 0.0)
        radial *= square ** (self.degree / 2)
        return radial[:, None] * real_harmonics(self.degree, points)

    def orbitals(self, points: Real) -> Real:
        return self.solid(self.polynomial, points)

    def laplacian(self, points: Real) -> Real:
        """Give nabla^2 of the orbitals: r^l (4 s P''(s) + (4l + 6) P'(s)) Y_lm with s = r^2."""
        first, second = self.polynomial.deriv(), self.polynomial.deriv(2)
        changed = 4 * Polynomial([0, 1]) * second + (4 * self.degree + 6) * first
        return self.solid(changed, points)

    def shell(self) -> Shell:
        x, w = np.polynomial.legendre.leggauss(32)
        half = self.cutoff / (2 * INTERVALS)
        radii = (half * (2 * np.arange(INTERVALS)[:, None] + 1 + x)).ravel()
        values = radii**self.degree * self.polynomial(radii**2)
        return Shell(self.degree, radii, np.tile(half * w, INTERVALS), values, self.cutoff)


def element(number: int, shells: list[tuple[int, float, float]]) -> list[SmoothFunction]:
    """Make normalised functions of an element from (l, cutoff, node); every other one negative."""
    made = []
    for place, (degree, cutoff, node) in enumerate(shells):
        norm = SmoothFunction(degree, cutoff, node, 1.0).shell().norm
        made.append(SmoothFunction(degree, cutoff, node, (-1) ** (place + number) / norm**0.5))
    return made


FIRST, SECOND = 6, 42
FUNCTIONS = {
    FIRST: element(
        FIRST,
        [(0, 1.7, 0.8), (0, 1.5, 0.0), (1, 1.7, 0.0), (2, 1.5, 0.9), (3, 1.5, 0.0), (4, 1.7, 0.0)],
    ),
    SECOND: element(  # shells in no order
        SECOND,
        [(3, 1.3, 1.0), (0, 1.6, 0.0), (4, 1.3, 0.0), (2, 1.3, 0.0), (1, 1.6, 1.1)],
    ),
}
"""Two elements with s to g shells."""


def basis_of(number: int) -> AtomicBasis:
    shells = tuple(function.shell() for function in FUNCTIONS[number])
    return AtomicBasis(number, shells, "polynomials", "made here")


@pytest.fixture(scope="session")
def functions() -> dict[int, list[SmoothFunction]]:
    return FUNCTIONS


@pytest.fixture(scope="session")
def smooth_bases() -> dict[int, AtomicBasis]:
    return {number: basis_of(number) for number in FUNCTIONS}
