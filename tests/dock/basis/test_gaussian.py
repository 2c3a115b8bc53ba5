"""Gaussian bases: the functions are PySCF's, in its order, and integrals over r are exact."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from deeph_dock.basis.gaussian import (
    LEFT_OUT,
    RESOLVED,
    Contraction,
    gaussian_basis,
    shells_of,
)
from deeph_dock.codes.pyscf.orbitals import read_orbitals
from deeph_dock.engines.pyscf import Settings, build
from deeph_spec.errors import InputError
from deeph_spec.orbitals import real_harmonics
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from scipy.special import spherical_jn

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
    direction = np.array([0.3, -0.5, 0.812])
    direction /= np.linalg.norm(direction)
    radii = basis.shells[int(np.argmax([s.cutoff for s in basis.shells]))].radii[::7]
    theirs = mol.eval_gto("GTOval_sph", radii[:, None] * direction / param.BOHR)
    theirs = theirs[:, read_orbitals(mol).order] * param.BOHR**-1.5
    column = 0
    for shell in basis.shells:
        inside = radii <= shell.radii[-1]
        own = shell.values[: 7 * inside.sum() : 7]
        harmonics = real_harmonics(shell.degree, direction)
        stop = column + len(harmonics)
        expected = theirs[inside, column:stop]
        scale = np.abs(expected).max()
        np.testing.assert_allclose(own[:, None] * harmonics, expected, rtol=0, atol=1e-13 * scale)
        assert np.abs(theirs[~inside, column:stop]).max(initial=0) < 1e-7
        column = stop
    assert column == theirs.shape[1]


@pytest.mark.parametrize(("name", "symbol"), CASES)
def test_integrals_over_r_are_exact(name, symbol):
    basis = gaussian_basis(name, ATOMIC_NUMBERS[symbol])
    for shell in basis.shells:
        assert shell.norm == pytest.approx(1, abs=1e-12)
    longest = max(basis.shells, key=lambda shell: shell.cutoff)
    for shell in basis.shells:  # nodes of one are the first nodes of another
        assert np.array_equal(shell.radii, longest.radii[: len(shell.radii)])
        assert np.array_equal(shell.weights, longest.weights[: len(shell.radii)])
        assert shell.radii[-1] < shell.cutoff


@pytest.mark.parametrize("exponent", [0.3, 5.0, 3e5])  # 1/Å^2: diffuse, valence, tight core
@pytest.mark.parametrize("degree", [0, 1, 4])
def test_transforms_are_those_known_in_closed_form(exponent, degree):
    # The integral of r^(l+2) exp(-a r^2) j_l(kr): sqrt(pi/2) k^l exp(-k^2/4a) / (2a)^(l+3/2)
    wide = Contraction(0, np.array([0.2]), np.array([1.0]))
    one = Contraction(degree, np.array([exponent]), np.array([1.0]))
    norm = 1 / np.sqrt(shells_of([one])[0].norm)
    shell, _ = shells_of([Contraction(degree, one.exponents, norm * one.coefficients), wide])
    k = np.array([0.0, 0.5, 3.0, 20.0, 0.95 * RESOLVED])
    found = spherical_jn(degree, k[:, None] * shell.radii) @ (
        shell.weights * shell.radii**2 * shell.values
    )
    exact = norm * np.sqrt(np.pi / 2) * k**degree * np.exp(-(k**2) / (4 * exponent))
    exact /= (2 * exponent) ** (degree + 1.5)
    np.testing.assert_allclose(found, exact, rtol=0, atol=10 * LEFT_OUT)


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
