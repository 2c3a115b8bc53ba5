"""Radial functions in reciprocal space.

The Fourier transform of R(r) Y_lm is (-i)^l f(k) Y_lm(k/|k|) with

    f(k) = sqrt(2/pi) ∫ r^2 j_l(kr) R(r) dr

(Sankey and Niklewski, Phys. Rev. B 40, 3979 (1989), use the same expansion; the factor makes the
transform unitary: ∫ k^2 f^2 dk = ∫ r^2 R^2 dr).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis, Shell, Wavenumbers

Real = NDArray[np.float64]

_TABULATED = (300.0, 20.0)
_GAUSSIAN = (600.0, 40.0)
"""Largest wavenumber of exact integrals, and the width in which they end, 1/Å. Overlaps of
tabulated orbitals of C, Ga and Fe change by less than 1e-8 when both are doubled."""
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
    nodes, weights = np.polynomial.legendre.leggauss(_FAR_NODES)
    half = np.diff(edges)[:, None] / 2
    k = (edges[:-1, None] + half * (nodes + 1)).ravel()
    return near, Nodes(k, (half * weights).ravel() * (1 - _share_near(k, middle, width)))


def _midpoints(rule: Wavenumbers) -> Nodes:
    """Give the nodes of a midpoint rule."""
    k: Real = rule.step * (np.arange(round(rule.largest / rule.step), dtype=np.float64) + 0.5)
    return Nodes(k, np.full(len(k), rule.step))


def _share_near(k: Real, middle: float, width: float) -> Real:
    """Fall from 1 to 0 around the middle."""
    from scipy.special import erfc

    share: Real = erfc((k - middle) / width) / 2
    return share


def transform(shell: Shell, k: Real) -> Real:
    """Give f(k) of a shell.

    Parameters
    ----------
    shell : Shell
        A radial function R(r).
    k : (K,) float64 array
        Wavenumbers, 1/Å.

    Returns
    -------
    (K,) float64 array
        Å^(3/2).
    """
    if shell.gaussians is not None:
        return _gaussian_transform(shell, k)
    return _on_nodes(shell, k, shell.degree, 0)


def transform_times_radius(shell: Shell, k: Real, degree: int) -> Real:
    """Give sqrt(2/pi) times the integral of r^2 j_l'(kr) r R(r), l' = l - 1 or l + 1.

    Parameters
    ----------
    shell : Shell
        A radial function R(r).
    k : (K,) float64 array
        Wavenumbers, 1/Å; positive.
    degree : int
        l'.

    Returns
    -------
    (K,) float64 array
        Å^(5/2).

    Notes
    -----
    In closed form f' + (l + 1) f / k for l' = l - 1 and -f' + l f / k for l' = l + 1, by the
    recurrences of j_l (Abramowitz and Stegun 10.1.21, 10.1.22).
    """
    if shell.gaussians is None:
        return _on_nodes(shell, k, degree, 1)
    value, slope = _gaussian_transform(shell, k), _gaussian_slope(shell, k)
    if degree == shell.degree - 1:
        return slope + (shell.degree + 1) * value / k
    return -slope + shell.degree * value / k


def _on_nodes(shell: Shell, k: Real, degree: int, power: int) -> Real:
    """Integrate over r on the nodes of the shell, in bounded pieces."""
    integrand = shell.weights * shell.radii ** (2 + power) * shell.values
    step = max(1, _VALUES_AT_ONCE // ((degree + 1) * len(shell.radii)))
    result = np.empty(len(k))
    for start in range(0, len(k), step):
        piece = k[start : start + step]
        bessel = spherical_bessel(degree, piece[:, None] * shell.radii)[degree]
        result[start : start + step] = bessel @ integrand
    return math.sqrt(2 / math.pi) * result


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
