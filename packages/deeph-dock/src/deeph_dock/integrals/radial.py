"""Radial functions in reciprocal space.

The Fourier transform of R(r) Y_lm is (-i)^l f(k) Y_lm(k/|k|) with

    f(k) = sqrt(2/pi) ∫ r^2 j_l(kr) R(r) dr

(Sankey and Niklewski, Phys. Rev. B 40, 3979 (1989), use the same expansion; the factor makes the
transform unitary: ∫ k^2 f^2 dk = ∫ r^2 R^2 dr).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.basis import RESOLVED, AtomicBasis, Shell, Wavenumbers
from deeph_dock.basis.quadrature import between

Real = NDArray[np.float64]

_TABULATED = (RESOLVED, 20.0)
_GAUSSIAN = (360.0, 35.0)
"""Largest wavenumber of exact integrals, and the width in which they end, 1/Å. Overlaps of
tabulated orbitals of C, Ga and Fe change by less than 1e-8 when both are doubled."""
_RESOLUTION = 1e-4
_FAR_END = 2e4  # 1/Å, where the transforms of the tightest Gaussians of the elements end
_FAR_PANELS, _FAR_NODES = 24, 10
_VALUES_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Nodes:
    """Nodes and weights of integrals over k.

    Attributes
    ----------
    wavenumbers, weights : (K,) float64 array
        1/Å: the integral of g(k) over k is the sum of weights * g(wavenumbers).
    """

    wavenumbers: Real
    weights: Real


def spherical_bessel(largest: int, x: Real) -> Real:
    """Evaluate j_0 ... j_L, by upward recurrence where it is stable.

    Parameters
    ----------
    largest : int
        L.
    x : (...) float64 array
        Not negative.

    Returns
    -------
    (L + 1, ...) float64 array
        Accurate to about 1e-14.
    """
    from scipy.special import spherical_jn

    result = np.empty((largest + 1, *x.shape))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = 1 / x
        sine, cosine = np.sin(x), np.cos(x)
        result[0] = sine * inverse
        if largest:
            result[1] = (result[0] - cosine) * inverse
        for degree in range(2, largest + 1):
            result[degree] = (2 * degree - 1) * inverse * result[degree - 1] - result[degree - 2]
    for degree in range(largest + 1):
        small = x < 1.5 * degree + 0.1
        if small.any():
            result[degree][small] = spherical_jn(degree, x[small])
    return result


def near_and_far(bases: list[AtomicBasis]) -> tuple[Nodes, Nodes]:
    """Choose the nodes of the integrals over k.

    Integrands are even in k and their Fourier transforms end at the sum of two cutoffs: equal
    steps are then exact but for what lies beyond the last node. A smooth end there costs nothing
    but for atoms closer than about 0.3 Å. For one and the same centre the rest counts as well: it
    is given apart for Gaussians, whose transforms are known at any k.

    Parameters
    ----------
    bases : list of AtomicBasis
        All elements.

    Returns
    -------
    near, far : Nodes
        Equal steps, and the rest; no far nodes but for Gaussians.

    Raises
    ------
    ValueError
        If the bases ask for different rules.
    """
    rules = {basis.wavenumbers for basis in bases}
    if len(rules) > 1:
        raise ValueError(f"bases of different rules over k: {rules}")
    (rule,) = rules
    nothing = Nodes(np.empty(0), np.empty(0))
    if rule is not None:
        return _midpoints(rule), nothing
    shells = [shell for basis in bases for shell in basis.shells]
    gaussian = all(shell.gaussians is not None for shell in shells)
    largest, width = _GAUSSIAN if gaussian else _TABULATED
    middle = largest - 5 * width
    reach = 2 * max(basis.cutoff for basis in bases)
    equal = _midpoints(Wavenumbers(0.9 * np.pi / reach, largest))
    share = _share_near(equal.wavenumbers, middle, width)
    near = Nodes(equal.wavenumbers, equal.weights * share)
    if not gaussian:
        return near, nothing
    edges = np.geomspace(middle - 5 * width, _FAR_END, _FAR_PANELS + 1)
    k, weights = between(edges[:-1], edges[1:], _FAR_NODES)
    return near, Nodes(k, weights * (1 - _share_near(k, middle, width)))


def _midpoints(rule: Wavenumbers) -> Nodes:
    """Give the nodes of a midpoint rule."""
    k: Real = rule.step * (np.arange(round(rule.largest / rule.step), dtype=np.float64) + 0.5)
    return Nodes(k, np.full(len(k), rule.step))


def _share_near(k: Real, middle: float, width: float) -> Real:
    """Fall from 1 to 0 around the middle."""
    from scipy.special import erfc

    share: Real = erfc((k - middle) / width) / 2
    return share


def transforms(shells: Sequence[Shell], k: Real) -> list[Real]:
    """Give f(k) of some shells.

    Parameters
    ----------
    shells : sequence of Shell
        Radial functions R(r).
    k : (K,) float64 array
        Wavenumbers, 1/Å.

    Returns
    -------
    list of (K,) float64 arrays
        Å^(3/2).
    """
    return _integrals([(shell, shell.degree, 0) for shell in shells], k)


def transforms_times_radius(shells: Sequence[Shell], k: Real, step: int) -> list[Real]:
    """Give sqrt(2/pi) times the integral of r^2 j_l'(kr) r R(r), l' = l + step.

    Parameters
    ----------
    shells : sequence of Shell
        Radial functions R(r).
    k : (K,) float64 array
        Wavenumbers, 1/Å; positive.
    step : int
        -1 (then of shells with l > 0 only) or 1.

    Returns
    -------
    list of (K,) float64 arrays
        Å^(5/2).

    Notes
    -----
    In closed form f' + (l + 1) f / k for l' = l - 1 and -f' + l f / k for l' = l + 1, by the
    recurrences of j_l (Abramowitz and Stegun 10.1.21, 10.1.22).
    """
    return _integrals([(shell, shell.degree + step, 1) for shell in shells], k)


def check_resolution(basis: AtomicBasis, own: Sequence[Real], nodes: Nodes) -> None:
    """Refuse nodes over r that are too far apart: the norm over k is then another.

    Parameters
    ----------
    basis : AtomicBasis
        Of an element.
    own : sequence of (K,) arrays
        Transforms of its shells.
    nodes : Nodes
        At these wavenumbers.

    Raises
    ------
    InputError
        Naming the shell.
    """
    for shell, f in zip(basis.shells, own, strict=True):
        norm = float(np.sum(nodes.weights * nodes.wavenumbers**2 * f**2))
        if shell.gaussians is None and not abs(norm - shell.norm) <= _RESOLUTION * shell.norm:
            raise InputError(
                f"{basis.source}: orbital {shell.name} of l = {shell.degree} has the norm "
                f"{shell.norm:.6g} over r and {norm:.6g} over k up to {RESOLVED:g}/Å, expected one "
                "number: its table is too coarse, or jumps"
            )


def _integrals(wanted: Sequence[tuple[Shell, int, int]], k: Real) -> list[Real]:
    """Integrate r^(2 + power) j_l'(kr) R for shells, l' and powers; j_l' once for equal nodes."""
    found: list[Real] = [np.empty(0)] * len(wanted)
    together: dict[tuple[int, int], list[int]] = {}
    for number, (shell, degree, power) in enumerate(wanted):
        if shell.gaussians is None:
            together.setdefault((id(shell.radii), degree), []).append(number)
        else:
            found[number] = _of_gaussians(shell, k, degree, power)
    for (_, degree), numbers in together.items():
        radii = wanted[numbers[0]][0].radii
        integrands = np.stack(
            [
                shell.weights * radii ** (2 + power) * shell.values
                for shell, _, power in (wanted[number] for number in numbers)
            ],
            axis=-1,
        )
        for number, values in zip(numbers, _on_nodes(radii, integrands, k, degree), strict=True):
            found[number] = values
    return found


def _on_nodes(radii: Real, integrands: Real, k: Real, degree: int) -> Real:
    """Integrate over r on nodes, in bounded pieces: (n, K)."""
    step = max(1, _VALUES_AT_ONCE // ((degree + 1) * len(radii)))
    result = np.empty((len(k), integrands.shape[1]))
    for start in range(0, len(k), step):
        rows = slice(start, start + step)
        result[rows] = spherical_bessel(degree, k[rows, None] * radii)[degree] @ integrands
    result *= math.sqrt(2 / math.pi)
    return np.ascontiguousarray(result.T)


def _of_gaussians(shell: Shell, k: Real, degree: int, power: int) -> Real:
    """Integrate in closed form."""
    value = _gaussian_transform(shell, k)
    if power == 0:
        return value
    slope = _gaussian_slope(shell, k)
    if degree == shell.degree - 1:
        return slope + (shell.degree + 1) * value / k
    return -slope + shell.degree * value / k


def _gaussian_terms(shell: Shell, k: Real) -> tuple[Real, Real]:
    """Give the exponents and the transform of every Gaussian, (g, K).

    ∫ r^(l+2) exp(-a r^2) j_l(kr) dr = sqrt(pi) k^l exp(-k^2 / 4a) / (2^(l+2) a^(l+3/2))
    (Gradshteyn and Ryzhik 6.631.4 for half-integer order).
    """
    assert shell.gaussians is not None
    degree = shell.degree
    exponents, coefficients = (np.asarray(values)[:, None] for values in shell.gaussians)
    factors = coefficients * math.sqrt(2) / (2 ** (degree + 2) * exponents ** (degree + 1.5))
    return exponents, factors * k**degree * np.exp(-(k**2) / (4 * exponents))


def _gaussian_transform(shell: Shell, k: Real) -> Real:
    total: Real = _gaussian_terms(shell, k)[1].sum(axis=0)
    return total


def _gaussian_slope(shell: Shell, k: Real) -> Real:
    """Give df/dk."""
    exponents, terms = _gaussian_terms(shell, k)
    slope: Real = (terms * (shell.degree / k - k / (2 * exponents))).sum(axis=0)
    return slope
