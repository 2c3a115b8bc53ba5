"""Kinetic energies on one centre of orbitals that end with a slope, against integrals by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from deeph_dock.basis import AtomicBasis, Shell
from deeph_dock.integrals.two_centre import TwoCentre

END = 2.0  # Å


def straight(degree: int, norm: float) -> Shell:
    """Give r^l (1 - r/a), which has a slope where it ends."""
    edges = np.linspace(0, END, 201)
    x, w = np.polynomial.legendre.leggauss(6)
    half = np.diff(edges)[:, None] / 2
    r = (edges[:-1, None] + half * (x + 1)).ravel()
    return Shell(degree, r, (half * w).ravel(), norm * r**degree * (1 - r / END), END)


# The integral of r^2 R^2 is a^3/30 or a^5/105, that of r^2 R'^2 + l (l + 1) R^2 a/3 or a^3/5.
@pytest.mark.parametrize(("degree", "norm", "expected"), [(0, 30, 10.0), (1, 105, 21.0)])
def test_kinetic_energy_of_an_orbital_with_an_edge(
    degree: int, norm: float, expected: float
) -> None:
    shell = straight(degree, np.sqrt(norm / END ** (2 * degree + 3)))
    basis = AtomicBasis(6, (shell,), "made", "made")
    engine = TwoCentre({6: basis}, ("kinetic", "overlap"))
    block = engine.blocks("kinetic", 6, 6, np.zeros((1, 3)))[0]
    energy = Hartree * Bohr**2 / 2 * expected / END**2
    np.testing.assert_allclose(block, energy * np.eye(2 * degree + 1), rtol=1e-9, atol=1e-12)
    norm_block = engine.blocks("overlap", 6, 6, np.zeros((1, 3)))[0]
    np.testing.assert_allclose(norm_block, np.eye(2 * degree + 1), atol=2e-7)
