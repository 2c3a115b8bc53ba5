"""Gaussian bases: the functions are PySCF's, in its order, and integrals over r are exact."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest
from deeph_dock.basis.gaussian import (
    LEFT_OUT,
    Contraction,
    gaussian_basis,
    shells_of,
)
from deeph_dock.codes.pyscf.orbitals import read_orbitals
from deeph_dock.engines.pyscf import Settings, build
from deeph_spec.errors import InputError
from deeph_spec.orbitals import real_harmonics
from deeph_spec.structure import ATOMIC_NUMBERS, Structure

pytest.importorskip("pyscf", reason="PySCF is not installed (deeph-dock[pyscf])")

CASES = [
    ("sto-3g", "H"),
    ("sto-3g", "O"),
    ("6-31g**", "Si"),
    ("def2-svp", "I"),  # with a core potential
    ("cc-pvqz", "C"),  # general contractions, up to g
    ("cc-pvtz", "Br"),  # exponents up to 1e7
    ("aug-cc-pvdz", "O"),  # diffuse
    ("gth-szv", "C"),
    ("gth-dzvp-molopt-sr", "Mo"),
]


def built(name: str, symbol: str) -> Any:
    """Build one atom as ``dock run pyscf`` does."""
    structure = Structure(np.eye(3) * 20, np.zeros((1, 3)), np.array([ATOMIC_NUMBERS[symbol]]))
    return build(structure, crystal=False, settings=Settings(basis=name))


@pytest.mark.parametrize(("name", "symbol"), CASES)
def test_shells_and_electrons_are_those_of_a_run(name, symbol):
    mol, basis = built(name, symbol), gaussian_basis(name, ATOMIC_NUMBERS[symbol])
    assert basis.degrees == read_orbitals(mol).orbital_map[symbol]
    assert basis.valence == mol.tot_electrons()
    assert (basis.number, basis.source, basis.code) == (ATOMIC_NUMBERS[symbol], name, "pyscf")


@pytest.mark.parametrize(("name", "symbol"), CASES)
def test_orbitals_have_the_values_of_pyscf(name, symbol):
    from pyscf.lib import param

    mol, basis = built(name, symbol), gaussian_basis(name, ATOMIC_NUMBERS[symbol])
    order = read_orbitals(mol).order
    direction = np.array([0.3, -0.5, 0.812])
    direction /= np.linalg.norm(direction)
    column = 0
    for shell in basis.shells:
        points = shell.radii[:, None] * direction
        theirs = mol.eval_gto("GTOval_sph", points / param.BOHR) * param.BOHR**-1.5
        harmonics = real_harmonics(shell.degree, direction)
        stop = column + len(harmonics)
        expected = theirs[:, order[column:stop]]
        scale = np.abs(expected).max()
        own = shell.values[:, None] * harmonics
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-13 * scale)
        column = stop
    assert column == mol.nao


@pytest.mark.parametrize(("name", "symbol"), CASES)
def test_integrals_on_the_nodes_are_those_in_closed_form(name, symbol):
    for shell in gaussian_basis(name, ATOMIC_NUMBERS[symbol]).shells:
        assert shell.norm == pytest.approx(1, abs=1e-12)
        assert shell.radii[0] > 0
        assert np.all(np.diff(shell.radii) > 0)
        assert shell.radii[-1] < shell.cutoff
        exponents, coefficients = shell.gaussians
        # With r^l exp(-r^2): the integral of r^(2l+2) exp(-a r^2) is gamma(l + 3/2) / 2 a^(l+3/2).
        power = shell.degree + 1.5
        exact = math.gamma(power) / 2 * np.sum(coefficients / (exponents + 1) ** power)
        probe = shell.radii**shell.degree * np.exp(-(shell.radii**2))
        found = np.sum(shell.weights * shell.radii**2 * shell.values * probe)
        assert found == pytest.approx(exact, abs=LEFT_OUT)


def test_what_is_cut_off_is_as_small_as_stated():
    for degree, exponent in ((0, 0.4), (2, 3.0), (4, 50.0)):
        one = Contraction(degree, np.array([exponent]), np.array([1.0]))
        (shell,) = shells_of([one])
        radii = np.linspace(shell.cutoff, 2 * shell.cutoff, 20001)
        tail = np.sqrt(np.trapezoid((radii * one(radii)) ** 2, radii) / shell.norm)
        assert 0.8 * LEFT_OUT < tail <= LEFT_OUT


def test_the_core_can_be_chosen():
    assert gaussian_basis("gth-szv", 6, core="none").valence == 6
    assert gaussian_basis("gth-szv", 6).facts == {"core": "gth-pbe"}
    assert gaussian_basis("gth-szv", 6, core="gth-pade").valence == 4
    assert gaussian_basis("def2-svp", 53).valence == 25
    assert gaussian_basis("def2-svp", 53).facts == {"core": "def2-svp"}
    assert gaussian_basis("def2-svp", 8).facts == {"core": "none"}


@pytest.mark.parametrize(
    ("name", "number", "core", "words"),
    [
        ("no-such-basis", 6, None, "no-such-basis"),
        ("sto-3g", 92, None, "sto-3g.*of U"),
        ("gth-szv", 6, "gth-nonsense", "core: gth-nonsense"),
        (" ", 6, None, "empty"),
        ("sto-3g", 131, None, "atomic number 131"),
        ("sto-3g", 0, None, "atomic number 0"),
    ],
)
def test_what_pyscf_does_not_know_is_one_line(name, number, core, words):
    with pytest.raises(InputError, match=words) as caught:
        gaussian_basis(name, number, core)
    assert "\n" not in str(caught.value)


def test_without_pyscf_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyscf.gto", None)
    with pytest.raises(InputError, match=r"pip install 'deeph-dock\[pyscf\]'"):
        gaussian_basis("sto-3g", 6)
