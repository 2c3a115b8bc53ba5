"""Integrals of three real spherical harmonics over the sphere."""

from __future__ import annotations

from functools import cache

import numpy as np
from deeph_spec.orbitals import real_harmonics
from numpy.typing import NDArray

Real = NDArray[np.float64]


@cache
def gaunt(first: int, second: int, third: int) -> Real:
    """Integrate Y_l1m1 Y_l2m2 Y_l3m3 over the sphere.

    Gauss-Legendre in z times equal steps in the azimuth is exact for polynomials of the degree
    l1 + l2 + l3.

    Parameters
    ----------
    first, second, third : int
        l1, l2, l3.

    Returns
    -------
    (2 l1 + 1, 2 l2 + 1, 2 l3 + 1) float64 array
        Read-only, in the format's order of m; zero unless the three obey the triangle rule and
        their sum is even.
    """
    degree = first + second + third
    nodes, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    azimuths = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    rho = np.sqrt(1 - nodes**2)[:, None]
    sides = (rho * np.cos(azimuths), rho * np.sin(azimuths), nodes[:, None])
    points = np.stack(np.broadcast_arrays(*sides), axis=-1).reshape(-1, 3)
    weight = np.repeat(weights, degree + 1) * (2 * np.pi / (degree + 1))
    y1, y2, y3 = (real_harmonics(degree, points) for degree in (first, second, third))
    integrals = np.einsum("p,pa,pb,pc->abc", weight, y1, y2, y3)
    integrals[np.abs(integrals) < 1e-14] = 0.0
    integrals.flags.writeable = False
    return integrals


@cache
def times_direction(degree: int, product: int) -> Real:
    """Give the coefficients of x/r, y/r, z/r times Y_lm in the harmonics of degree l'.

    Parameters
    ----------
    degree, product : int
        l and l' = l - 1 or l + 1.

    Returns
    -------
    (3, 2l + 1, 2l' + 1) float64 array
        Read-only: (r_c / r) Y_lm = sum over l' and m' of coefficients[c, m, m'] Y_l'm'.
    """
    along = gaunt(1, degree, product)[[2, 0, 1]]  # Y_1m are y, z, x
    coefficients = np.sqrt(4 * np.pi / 3) * along
    coefficients.flags.writeable = False
    return coefficients
