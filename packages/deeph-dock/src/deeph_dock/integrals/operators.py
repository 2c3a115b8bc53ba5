"""The operators whose two-centre integrals are known, as what they make of an orbital.

An operator turns R(r) Y_lm into a sum of orbitals R'(r) Y_l'm' on the same centre, so that its
integrals are overlaps of other orbitals: the kinetic energy keeps l and multiplies the transform
by k^2; position and gradient lead to l - 1 and l + 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from deeph_dock.basis import Shell
from deeph_dock.integrals.gaunt import times_direction
from deeph_dock.integrals.radial import transforms_times_radius

Real = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Image:
    """One of the functions that an operator makes of the orbitals of a shell.

    Attributes
    ----------
    degree : int
        l' of the function.
    transform : (K,) float64 array
        Its radial transform.
    coefficients : (C, 2l + 1, 2l' + 1) float64 array
        Component c of the operator, applied to Y_lm, has the share coefficients[c, m, m'] of
        Y_l'm'.
    """

    degree: int
    transform: Real
    coefficients: Real


@dataclass(frozen=True)
class Operator:
    """An operator.

    Attributes
    ----------
    components : int
        1, or 3 for a vector.
    unit : str
        Of the integrals.
    accuracy : float
        Largest error of the splines midway between knots, in this unit, or relative to the largest
        integral where that is above 1.
    images : callable
        Takes shells, their transforms (K,) and the wavenumbers (K,) in 1/Å; gives the functions
        that each of the shells becomes.
    same_centre : callable or None
        Takes two tabulated shells of one l and one centre; gives the integral of their orbitals
        of one m. None where that over k converges as well.
    """

    components: int
    unit: str
    accuracy: float
    images: Callable[[Sequence[Shell], Sequence[Real], Real], list[list[Image]]]
    same_centre: Callable[[Shell, Shell], float] | None = None


def _overlap(shells: Sequence[Shell], own: Sequence[Real], k: Real) -> list[list[Image]]:
    return [
        [Image(shell.degree, f, np.eye(2 * shell.degree + 1)[None])]
        for shell, f in zip(shells, own, strict=True)
    ]


def _kinetic(shells: Sequence[Shell], own: Sequence[Real], k: Real) -> list[list[Image]]:
    energy = _half_inverse_mass() * k**2
    return [
        [Image(shell.degree, energy * f, np.eye(2 * shell.degree + 1)[None])]
        for shell, f in zip(shells, own, strict=True)
    ]


def _kinetic_of_one_centre(first: Shell, second: Shell) -> float:
    """Integrate hbar^2/2m (r^2 R_a' R_b' + l (l + 1) R_a R_b) over r.

    Tabulated orbitals end with a slope at their cutoff: the integrand over k falls off as k^-2
    only, and what lies beyond the last k is worth meV.
    """
    from scipy.interpolate import CubicSpline

    inner, outer = sorted((first, second), key=lambda shell: float(shell.radii[-1]))
    r, weights, degree = inner.radii, inner.weights, inner.degree
    other = CubicSpline(outer.radii, outer.values)
    slopes = CubicSpline(r, inner.values)(r, 1) * other(r, 1)
    centrifugal = degree * (degree + 1) * inner.values * other(r)
    return _half_inverse_mass() * float(np.sum(weights * (r**2 * slopes + centrifugal)))


def _half_inverse_mass() -> float:
    """Give hbar^2/2m, eV Å^2."""
    from ase.units import Bohr, Hartree

    return float(Hartree * Bohr**2 / 2)


def _gradient(shells: Sequence[Shell], own: Sequence[Real], k: Real) -> list[list[Image]]:
    """Multiply the transform (-i)^l f Y_lm by i k."""
    made = []
    for shell, f in zip(shells, own, strict=True):
        up, down = shell.degree + 1, shell.degree - 1
        images = [Image(up, -k * f, times_direction(shell.degree, up))]
        if down >= 0:
            images.append(Image(down, k * f, times_direction(shell.degree, down)))
        made.append(images)
    return made


def _position(shells: Sequence[Shell], _: Sequence[Real], k: Real) -> list[list[Image]]:
    made: list[list[Image]] = [[] for _ in shells]
    for step in (1, -1):
        chosen = [number for number, shell in enumerate(shells) if shell.degree + step >= 0]
        times_r = transforms_times_radius([shells[number] for number in chosen], k, step)
        for number, f in zip(chosen, times_r, strict=True):
            degree = shells[number].degree
            made[number].append(Image(degree + step, f, times_direction(degree, degree + step)))
    return made


OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "overlap": Operator(1, "1", 1e-9, _overlap),
        "kinetic": Operator(1, "eV", 1e-7, _kinetic, _kinetic_of_one_centre),
        "gradient": Operator(3, "1/Å", 1e-8, _gradient),
        "position": Operator(3, "Å", 1e-9, _position),
    }
)
"""<i| O |j>: 1, -hbar^2/2m nabla^2, d/dr, and r - r_j with r_j the centre of the second orbital."""
