"""The authority for orbital order: shells, real harmonics, and how they rotate.

A shell list such as ``(0, 0, 1)`` names the angular momentum l of each shell in storage order;
a shell has 2l+1 orbitals m = -l..l. The orbitals of a shell are real spherical harmonics

    Y_lm = N_lm P_l^|m|(cos θ) {√2 cos(mφ) if m > 0, 1 if m = 0, √2 sin(|m|φ) if m < 0}

without the Condon-Shortley sign (p_x is +x), which is the order of Wikipedia's "Table of spherical
harmonics", real part: p = y, z, x; d = xy, yz, z2, xz, x2-y2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeph_spec.errors import InputError

L_MAX = 6
SHELL_LETTERS = "spdfghi"

_NAMES: tuple[tuple[str, ...], ...] = (
    ("s",),
    ("py", "pz", "px"),
    ("dxy", "dyz", "dz2", "dxz", "dx2-y2"),
    ("fy(3x2-y2)", "fxyz", "fyz2", "fz3", "fxz2", "fz(x2-y2)", "fx(x2-3y2)"),
)
_ROTATIONS_AT_ONCE = 4096


def orbital_count(shells: Sequence[int]) -> int:
    """Count the orbitals of a shell list.

    Parameters
    ----------
    shells : sequence of int
        Angular momentum of each shell.

    Returns
    -------
    int
        Sum of 2l+1.
    """
    return sum(2 * int(shell) + 1 for shell in shells)


def shell_offsets(shells: Sequence[int]) -> NDArray[np.int64]:
    """Give the position of each shell's first orbital, and the number of orbitals at the end.

    Parameters
    ----------
    shells : sequence of int
        Angular momentum of each shell.

    Returns
    -------
    (n_shells + 1,) int64 array
        Shell s has the orbitals ``offsets[s]:offsets[s + 1]``.
    """
    return np.cumsum([0, *(2 * int(shell) + 1 for shell in shells)], dtype=np.int64)


def orbital_labels(shells: Sequence[int]) -> list[str]:
    """Name every orbital of a shell list, e.g. ``["s", "py", "pz", "px"]``.

    Parameters
    ----------
    shells : sequence of int
        Angular momentum of each shell, 0..6.

    Returns
    -------
    list of str
        Cartesian names up to f; ``g-4`` .. ``i+6`` (letter and m) beyond.
    """
    labels: list[str] = []
    for shell in shells:
        if shell < len(_NAMES):
            labels += _NAMES[shell]
        else:
            labels += [f"{SHELL_LETTERS[shell]}{m:+d}" for m in range(-shell, shell + 1)]
    return labels


def shells_to_text(shells: Sequence[int]) -> str:
    """Write a shell list as ``s2p1``; the order is lost, so this is for display.

    Parameters
    ----------
    shells : sequence of int
        Angular momentum of each shell, 0..6.

    Returns
    -------
    str
        Letter and number of shells for each l that occurs, in increasing l.
    """
    shells = list(shells)
    return "".join(f"{SHELL_LETTERS[n]}{shells.count(n)}" for n in sorted(set(shells)))


def shells_from_text(text: str) -> tuple[int, ...]:
    """Read ``s2p1`` as the shell list ``(0, 0, 1)``.

    Parameters
    ----------
    text : str
        Letters of "spdfghi", each followed by a number of shells.

    Returns
    -------
    tuple of int
        Shells in the order of the text.

    Raises
    ------
    InputError
        If the text is not of this form.
    """
    if not re.fullmatch(rf"([{SHELL_LETTERS}][1-9]\d*)+", text):
        raise InputError(f"'{text}' is not a shell text: expected letters and counts like 's2p1'")
    shells: list[int] = []
    for letter, count in re.findall(r"([a-z])(\d+)", text):
        shells += [SHELL_LETTERS.index(letter)] * int(count)
    return tuple(shells)


def real_harmonics(degree: int, vectors: ArrayLike) -> NDArray[np.float64]:
    """Evaluate the real spherical harmonics of degree l in the format's order.

    They are orthonormal on the unit sphere and are evaluated at the direction of each vector. The
    zero vector has no direction: it gets the mean over the sphere, zero for l > 0.

    Parameters
    ----------
    degree : int
        The l of Y_lm, 0 or more; accurate to about 1e-13 up to l = 13.
    vectors : (..., 3) array
        Vectors of any length and unit.

    Returns
    -------
    (..., 2l + 1) array
        Y_lm, m = -l..l.

    Notes
    -----
    Y_lm = N_lm Π_l^|m|(z) Re or Im of (x + iy)^|m|, with Π_l^m = P_l^m / sin^m θ from
    (l - m) Π_l^m = (2l - 1) z Π_{l-1}^m - (l + m - 1) Π_{l-2}^m, Π_m^m = (2m - 1)!! (Abramowitz
    and Stegun 8.5.3, Condon-Shortley sign left out).
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    length = np.linalg.norm(vectors, axis=-1)
    at_zero = length == 0
    x, y, z = np.moveaxis(vectors / np.where(at_zero, 1.0, length)[..., None], -1, 0)
    power = x + 1j * y
    rise = np.ones_like(power)
    result = np.empty((*x.shape, 2 * degree + 1))
    for m in range(degree + 1):
        before = np.zeros_like(z)
        legendre = np.full_like(z, math.prod(range(1, 2 * m, 2)))
        for n in range(m + 1, degree + 1):
            following = ((2 * n - 1) * z * legendre - (n + m - 1) * before) / (n - m)
            before, legendre = legendre, following
        norm = (
            (2 * degree + 1)
            / (4 * math.pi)
            * math.factorial(degree - m)
            / math.factorial(degree + m)
        )
        if m == 0:
            result[..., degree] = math.sqrt(norm) * legendre
        else:
            result[..., degree + m] = math.sqrt(2 * norm) * legendre * rise.real
            result[..., degree - m] = math.sqrt(2 * norm) * legendre * rise.imag
        rise = rise * power
    if degree > 0:
        result[at_zero] = 0.0
    return result


@lru_cache(maxsize=32)
def _sphere_points(degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give points (K, 3) on half a sphere and weighted harmonics (K, 2l+1) there.

    Gauss-Legendre in z times equal steps in φ integrates products of two harmonics of degree l
    exactly. Such a product is even under inversion, so one half of the sphere, twice, is enough.
    """
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
    half = nodes > -1e-12
    z, weight = nodes[half], np.where(nodes[half] > 1e-12, 2.0, 1.0) * weights[half]
    phi = 2 * np.pi * np.arange(2 * degree + 1) / (2 * degree + 1)
    rho = np.sqrt(1 - z**2)[:, None]
    points = np.stack(
        np.broadcast_arrays(rho * np.cos(phi), rho * np.sin(phi), z[:, None]), axis=-1
    ).reshape(-1, 3)
    weight = np.repeat(weight * 2 * np.pi / len(phi), len(phi))
    return points, weight[:, None] * real_harmonics(degree, points)


def wigner_matrices(degree: int, rotations: ArrayLike) -> NDArray[np.float64]:
    """Give the matrices D with Y_l(Q r) = D Y_l(r), real harmonics in the format's order.

    Parameters
    ----------
    degree : int
        The l of Y_lm, 0 or more.
    rotations : (..., 3, 3) array
        Orthogonal matrices Q, proper or improper (inversion included).

    Returns
    -------
    (..., 2l + 1, 2l + 1) array
        Orthogonal matrices, accurate to better than 1e-13 for l <= 8.

    Raises
    ------
    ValueError
        If a matrix is not orthogonal to 1e-8.

    Notes
    -----
    D = sum_k w_k Y(Q r_k) Y(r_k)^T on quadrature points r_k, which is the least-squares solution on
    points that are perfectly conditioned: no phase convention of Euler angles can creep in.
    """
    rotations = np.asarray(rotations, dtype=np.float64)
    flat = rotations.reshape(-1, 3, 3)
    if flat.size and np.abs(flat @ flat.swapaxes(1, 2) - np.eye(3)).max() > 1e-8:
        raise ValueError("rotations must be orthogonal 3 x 3 matrices")
    points, weighted = _sphere_points(degree)
    result = np.empty((len(flat), 2 * degree + 1, 2 * degree + 1))
    for first in range(0, len(flat), _ROTATIONS_AT_ONCE):  # bounds the memory
        part = flat[first : first + _ROTATIONS_AT_ONCE]
        turned = real_harmonics(degree, np.einsum("nab,kb->nka", part, points))
        result[first : first + _ROTATIONS_AT_ONCE] = turned.swapaxes(1, 2) @ weighted
    return result.reshape(*rotations.shape[:-2], 2 * degree + 1, 2 * degree + 1)
