"""Gaussian basis sets by name, through PySCF.

The radial function of a contracted shell is

    R(r) = sum_p c_p N_p r^l exp(-a_p r^2),    N_p: each primitive normalised by itself,

in the order of ``mol._bas``, contraction by contraction, which is that of PySCF's matrices.

Gaussians have no cutoff. Each shell ends where the norm of what is left out is `LEFT_OUT`: by
Cauchy and Schwarz, overlaps at distances beyond the sum of two cutoffs are below twice that.

Transforms of Gaussians are known in closed form, so that tight cores cost nothing. The nodes serve
all else: Gauss-Legendre in intervals that double from the tightest primitive outwards.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.orbitals import L_MAX, SHELL_LETTERS
from deeph_spec.structure import SYMBOLS

from deeph_dock.basis import AtomicBasis, Real, Shell
from deeph_dock.basis.quadrature import between

LEFT_OUT = 1e-9
"""Norm of the part of an orbital beyond its cutoff, relative to the whole."""
SMALLEST_OVERLAP = 1e-10
"""Pairs of atoms that cannot overlap by more have no block, as in ``dock run pyscf``."""
_STEP, _FARTHEST = 0.25, 80.0  # Bohr: distances at which overlaps are looked at
_NODES = 32  # of each interval
_FIRST = 0.5  # length of the first interval, of 1/sqrt(largest exponent)
_SAMPLES = 8192

MISSING = (
    "PySCF is not installed, and Gaussian basis sets come from it; install it with: "
    "pip install 'deeph-dock[pyscf]' (it has no packages for Windows; use WSL there)"
)


@dataclass(frozen=True, eq=False)
class Contraction:
    """A radial function r^l sum_p coefficients exp(-exponents r^2).

    Attributes
    ----------
    degree : int
        l.
    exponents : (n,) array
        1/Å^2.
    coefficients : (n,) array
        Å^(-3/2 - l), with all normalisation.
    """

    degree: int
    exponents: Real
    coefficients: Real

    def __call__(self, radii: Real) -> Real:
        """Evaluate at radii (Å)."""
        gaussians = np.exp(-np.multiply.outer(radii**2, self.exponents))
        return np.asarray(radii**self.degree * (gaussians @ self.coefficients))


def gaussian_basis(name: str, number: int, core: str | None = None) -> AtomicBasis:
    """Give the orbitals of an element in a Gaussian basis set.

    Parameters
    ----------
    name : str
        As PySCF knows it: sto-3g, def2-svp, cc-pvtz, gth-dzvp-molopt-sr, ...
    number : int
        Atomic number.
    core : str, optional
        Effective core potential or pseudopotential of PySCF, or "none"; it decides how many
        electrons are valence. Without it, what ``dock run pyscf`` takes: gth-pbe for names that
        start with gth-, otherwise the core potential that belongs to the basis, if there is one.

    Returns
    -------
    AtomicBasis
        Its shells in the order of PySCF's matrices, lengths by PySCF's Bohr.

    Raises
    ------
    InputError
        If PySCF is not there, knows no such basis or core, or not for this element, or if a shell
        is beyond l = 6.
    """
    symbol = SYMBOLS.get(number)
    if symbol is None or number > 118:
        raise InputError(f"basis '{name}': no Gaussian functions for atomic number {number}")
    mol, core = _atom(name, symbol, core)
    contractions = _contractions(mol)
    highest = max(contraction.degree for contraction in contractions)
    if highest > L_MAX:
        raise InputError(
            f"basis '{name}': {symbol} has a shell with l = {highest}, the format has l up to "
            f"{L_MAX} ({SHELL_LETTERS[-1]}); choose another basis"
        )
    return AtomicBasis(
        number=number,
        shells=tuple(shells_of(contractions)),
        source=name,
        code="pyscf",
        valence=float(mol.atom_charge(0)),
        facts={"core": core},
    )


def reaches(
    bases: Mapping[int, AtomicBasis], smallest: float = SMALLEST_OVERLAP
) -> dict[tuple[int, int], float]:
    """Find how far from each other atoms have blocks in crystals of ``dock run pyscf``.

    The sums of cutoffs reach farther: they bound the error of every overlap, not that of the most
    diffuse ones, and lead to more than twice as many pairs.

    Parameters
    ----------
    bases : mapping of int to AtomicBasis
        Of one Gaussian basis set.
    smallest : float
        Overlap below which two orbitals count as apart.

    Returns
    -------
    dict
        For each two atomic numbers the largest distance of a pair, Å.
    """
    return {
        (first, second): _reach(bases[first].source, *sorted((first, second)), smallest)
        for first in bases
        for second in bases
    }


@lru_cache(maxsize=1024)
def _reach(name: str, first: int, second: int, smallest: float) -> float:
    """Look at overlaps in steps of `_STEP` for the last that is not too small."""
    from pyscf.gto import Mole, intor_cross
    from pyscf.lib import param

    distances = np.arange(_STEP, _FARTHEST + _STEP, _STEP)
    mols = []
    for number, places in ((first, np.zeros(1)), (second, distances)):
        mol = Mole()
        mol.atom = [(SYMBOLS[number], (0.0, 0.0, z)) for z in places.tolist()]
        mol.basis, mol.unit, mol.spin, mol.verbose = name, "Bohr", None, 0
        mols.append(mol.build(False, False))
    overlaps = np.abs(intor_cross("int1e_ovlp_sph", *mols))
    largest = overlaps.reshape(len(overlaps), len(distances), -1).max(axis=(0, 2))
    last = np.flatnonzero(largest >= smallest)
    farthest = float(distances[last[-1]]) if len(last) else 0.0
    return (farthest + 1e-6) * float(param.BOHR)  # so that a pair and its partner never differ


def shells_of(contractions: Sequence[Contraction]) -> list[Shell]:
    """Give contracted Gaussians their cutoffs and nodes.

    Parameters
    ----------
    contractions : sequence of Contraction
        Of one element, in the order of its orbitals.

    Returns
    -------
    list of Shell
        In this order.
    """
    counts: dict[int, int] = {}
    shells = []
    for contraction in contractions:
        degree = contraction.degree
        counts[degree] = counts.get(degree, 0) + 1
        cutoff = _cutoff(contraction)
        radii, weights = _nodes(_FIRST / float(np.sqrt(contraction.exponents.max())), cutoff)
        shells.append(
            Shell(
                degree,
                radii,
                weights,
                contraction(radii),
                cutoff,
                f"{SHELL_LETTERS[degree]} {counts[degree]}",
                (contraction.exponents, contraction.coefficients),
            )
        )
    return shells


def _atom(name: str, symbol: str, core: str | None) -> tuple[Any, str]:
    """Build an atom with PySCF; give it and the name of its core."""
    try:
        from pyscf.gto import Mole
    except ImportError as error:
        raise InputError(MISSING) from error
    if not name.strip():
        raise InputError("the name of the Gaussian basis set is empty; such as def2-svp")
    mol = Mole()
    mol.atom, mol.basis, mol.spin, mol.verbose = [(symbol, (0.0, 0.0, 0.0))], name, None, 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PySCF recommends to look elsewhere
        if core is None:
            core = "gth-pbe" if name.lower().startswith("gth-") else _own_core(name, symbol)
        if core.lower().startswith("gth-"):
            mol.pseudo = core
        elif core != "none":
            mol.ecp = {symbol: core}
        try:
            mol.build(False, False)
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"basis '{name}' (core: {core}) of {symbol}: PySCF has none ({reason}); choose "
                "another name, see pyscf.gto.basis"
            ) from error
    if mol.nbas == 0:
        raise InputError(f"basis '{name}' of {symbol}: PySCF finds no functions in it")
    return mol, core


def _own_core(name: str, symbol: str) -> str:
    """Give the name of the basis if a core potential belongs to it, or "none"."""
    from pyscf.gto.basis import load_ecp

    try:
        return name if load_ecp(name, symbol) else "none"
    except (RuntimeError, KeyError, ValueError, OSError):
        return "none"  # PySCF raises one of these where there is none


def _contractions(mol: Any) -> list[Contraction]:
    """Take the radial functions from a built molecule, in Å."""
    from pyscf.gto import gto_norm
    from pyscf.lib import param

    bohr = float(param.BOHR)
    found = []
    for row in range(mol.nbas):
        degree, exponents = int(mol.bas_angular(row)), np.asarray(mol.bas_exp(row))
        columns = np.asarray(mol.bas_ctr_coeff(row)).T * gto_norm(degree, exponents)
        found += [
            Contraction(degree, exponents / bohr**2, column * bohr ** (-1.5 - degree))
            for column in columns
        ]
    return found


def _cutoff(contraction: Contraction) -> float:
    """Find the radius beyond which the norm is `LEFT_OUT`."""
    farthest = np.sqrt((40.0 + 10 * contraction.degree) / contraction.exponents.min())
    radii = np.linspace(0.0, farthest, _SAMPLES)
    density = (radii * contraction(radii)) ** 2
    outside = np.cumsum(density[::-1])[::-1]
    return float(radii[np.flatnonzero(outside > LEFT_OUT**2 * outside[0])[-1] + 1])


def _nodes(first: float, cutoff: float) -> tuple[Real, Real]:
    """Give nodes and weights of intervals that double in length up to the cutoff."""
    intervals = 1 + max(0, int(np.ceil(np.log2(cutoff / first))))
    ends = np.concatenate([[0.0], cutoff * 0.5 ** np.arange(intervals)[::-1]])
    return between(ends[:-1], ends[1:], _NODES)
