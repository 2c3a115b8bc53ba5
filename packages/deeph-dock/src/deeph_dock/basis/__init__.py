"""AtomicBasis: the radial functions of an element, from the basis files of a code.

A reader gives every radial function together with the nodes and weights of the integrals over it,
in Å and Å^(-3/2): what follows never asks which code a basis is of. Where a code integrates on a
grid of its own, and that grid is wanted, its nodes are those of the grid.

A reader is one module of this package with the four names of `BasisReader`, and a line in
`READERS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

READERS = {
    "siesta": "deeph_dock.basis.siesta",
    "openmx": "deeph_dock.basis.openmx",
    "abacus": "deeph_dock.basis.abacus",
    "fhi-aims": "deeph_dock.basis.fhi_aims",
}
"""Module of each kind of basis file; Gaussian bases have names, not files."""

RESOLVED = 300.0
"""Nodes are dense enough for integrals of R(r) j_l(kr) up to this k, 1/Å."""


@dataclass(frozen=True, eq=False)
class Shell:
    """The 2l + 1 orbitals R(r) Y_lm of one radial function.

    Attributes
    ----------
    degree : int
        l.
    radii : (n,) float64 array
        Nodes of the integrals over r, increasing, Å; dense enough for j_l(kr) up to `RESOLVED`.
        Shells of one element may share one array: Bessel functions are then evaluated once.
    weights : (n,) float64 array
        Their weights, Å: the integral of f(r) over r is the sum of weights * f(radii).
    values : (n,) float64 array
        R at the nodes, Å^(-3/2), with the sign of the file.
    cutoff : float
        R is zero beyond, Å.
    name : str
        What the code calls it, such as "2p zeta 1"; for messages.
    gaussians : (exponents (g,), coefficients (g,)) or None
        Where R(r) = r^l sum of c exp(-a r^2), with a in 1/Å^2 and c in Å^(-3/2-l): integrals over
        r are then done in closed form, not on the nodes.
    """

    degree: int
    radii: Real
    weights: Real
    values: Real
    cutoff: float
    name: str = ""
    gaussians: tuple[Real, Real] | None = None

    @property
    def norm(self) -> float:
        """Integral of R^2 r^2; 1 for normalised orbitals."""
        return float(np.sum(self.weights * self.radii**2 * self.values**2))


@dataclass(frozen=True)
class Wavenumbers:
    """Midpoint rule over k: nodes (n + 1/2) step below the largest.

    Attributes
    ----------
    step, largest : float
        1/Å.
    """

    step: float
    largest: float


@dataclass(frozen=True, eq=False)
class AtomicBasis:
    """The orbitals of one element.

    Attributes
    ----------
    number : int
        Atomic number.
    shells : tuple of Shell
        In the order of the code's matrices, which is that of ``elements_orbital_map``.
    source : str
        Name of the file, or of the basis set.
    code : str
        Key of `READERS`, or "pyscf".
    valence : float or None
        Electrons of the neutral atom outside the pseudopotential's core; None if unknown.
    projector_reach : float
        Largest radius of a non-local projector, Å; 0 without any, or if unknown.
    wavenumbers : Wavenumbers or None
        The code's own rule over k, where it is wanted; None to integrate until converged.
    quadrature : str
        How integrals over r are done: "exact", or the name of a code's grid.
    facts : dict
        More for provenance: contraction, pseudopotential file, ...
    """

    number: int
    shells: tuple[Shell, ...]
    source: str
    code: str
    valence: float | None = None
    projector_reach: float = 0.0
    wavenumbers: Wavenumbers | None = None
    quadrature: str = "exact"
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def degrees(self) -> tuple[int, ...]:
        """The l of every shell, as in ``elements_orbital_map``."""
        return tuple(shell.degree for shell in self.shells)

    @property
    def cutoff(self) -> float:
        """Radius of the largest shell, Å."""
        return max(shell.cutoff for shell in self.shells)


class BasisReader(Protocol):
    """What a module of `READERS` has."""

    LOOKS_FOR: str
    """Files it reads, for messages: "*.ion, *.ion.xml, *.ion.nc"."""

    QUADRATURES: tuple[str, ...]
    """Ways to integrate over r that it knows; the first is the default, "exact"."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether a file is one of its basis files, by the first bytes; never raise."""

    @staticmethod
    def read(path: Path, quadrature: str, orbitals: str | None) -> AtomicBasis:
        """Read a basis file; ``orbitals`` chooses shells, such as "Mo7.0-s3p2d1" of OpenMX."""

    @staticmethod
    def valence(path: Path) -> tuple[int, float] | None:
        """Give atomic number and valence charge of a pseudopotential file; None for other files."""
