"""Irreps as text, how they turn, and Cartesian vectors and tensors written in them.

``"2x0e+1x1o"`` are two scalars and a polar vector: channel by channel, for each the components
m = -l..l in the order of `deeph_spec.orbitals`, polar axis z, so that a vector is (y, z, x). ``e``
and ``o`` say whether a channel is even or odd under inversion.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeph_spec.errors import InputError
from deeph_spec.orbitals import wigner_matrices

L_LIMIT = 13
_TERM = re.compile(r"(?:([1-9]\d*)x)?(\d+)([eo])")
_CYCLE = np.array([1, 2, 0])
"""Positions of y, z, x in (x, y, z)."""


def channels_of(irreps: str) -> tuple[tuple[int, int], ...]:
    """List l and parity of every channel.

    Parameters
    ----------
    irreps : str
        Terms ``<count>x<l><e or o>`` joined by ``+``; a count of 1 may be left out.

    Returns
    -------
    tuple of (l, parity)
        In the order of the text; parity is 1 for ``e``, -1 for ``o``.

    Raises
    ------
    InputError
        If the text is not of this form.
    """
    found: list[tuple[int, int]] = []
    for term in irreps.replace(" ", "").split("+"):
        match = _TERM.fullmatch(term)
        if not match or int(match[2]) > L_LIMIT:
            raise InputError(
                f"irreps: '{irreps}' is not like 2x0e+1x1o: expected counts, l up to {L_LIMIT}, "
                "and e or o; correct the text"
            )
        found += [(int(match[2]), 1 if match[3] == "e" else -1)] * int(match[1] or 1)
    return tuple(found)


def dimension(irreps: str) -> int:
    """Count the components of irreps, the sum of 2l+1.

    Parameters
    ----------
    irreps : str
        As for `channels_of`.

    Returns
    -------
    int
        Numbers in a row.
    """
    return sum(2 * l + 1 for l, _ in channels_of(irreps))


def rotation_of(irreps: str, rotation: ArrayLike) -> NDArray[np.float64]:
    """Give the matrix by which components turn when a structure turns by r -> Q r.

    Parameters
    ----------
    irreps : str
        As for `channels_of`.
    rotation : (3, 3) array
        Q, orthogonal, proper or improper.

    Returns
    -------
    (d, d) array
        Block diagonal; of improper rotations odd channels change sign in addition.
    """
    given = np.asarray(rotation, np.float64)
    sign = float(np.sign(np.linalg.det(given)))
    size = dimension(irreps)
    result, start = np.zeros((size, size)), 0
    for l, parity in channels_of(irreps):
        stop = start + 2 * l + 1
        factor = parity if sign < 0 else 1
        result[start:stop, start:stop] = factor * wigner_matrices(l, sign * given)
        start = stop
    return result


def from_vectors(vectors: ArrayLike) -> NDArray[np.float64]:
    """Write Cartesian vectors (x, y, z) as irreps (y, z, x): 1x1o if polar, 1x1e if axial.

    Parameters
    ----------
    vectors : (..., 3) array
        Dipoles, forces, moments, ...

    Returns
    -------
    (..., 3) array
        In the unit of the input.
    """
    return np.asarray(vectors, np.float64)[..., _CYCLE]


def to_vectors(values: ArrayLike) -> NDArray[np.float64]:
    """Write irreps (y, z, x) as Cartesian vectors (x, y, z), the inverse of `from_vectors`.

    Parameters
    ----------
    values : (..., 3) array
        Irreps of l = 1.

    Returns
    -------
    (..., 3) array
        In the unit of the input.
    """
    return np.asarray(values, np.float64)[..., np.argsort(_CYCLE)]


def from_matrices(matrices: ArrayLike) -> NDArray[np.float64]:
    """Write Cartesian 3 x 3 tensors as irreps 1x0e+1x1e+1x2e; sums of squares are equal.

    Parameters
    ----------
    matrices : (..., 3, 3) array
        T[a, b] with a, b = x, y, z: Born charges, polarisabilities, force constants, ... A
        symmetric tensor has no 1e: leave out columns 1 to 3 and declare 1x0e+1x2e.

    Returns
    -------
    (..., 9) array
        Tr T / sqrt 3; the axial vector of T - T^T over sqrt 2 as (y, z, x), where
        v_c = sum_ab epsilon_cab T_ab; the traceless symmetric part as xy, yz, z2, xz, x2-y2:
        (T_xy + T_yx) / sqrt 2, (T_yz + T_zy) / sqrt 2, (2 T_zz - T_xx - T_yy) / sqrt 6,
        (T_xz + T_zx) / sqrt 2, (T_xx - T_yy) / sqrt 2.
    """
    given = np.asarray(matrices, np.float64)
    return np.asarray(np.einsum("...ab,cab->...c", given, _basis()), np.float64)


def to_matrices(values: ArrayLike) -> NDArray[np.float64]:
    """Write irreps 1x0e+1x1e+1x2e as Cartesian 3 x 3 tensors, the inverse of `from_matrices`.

    Parameters
    ----------
    values : (..., 9) array
        Irreps.

    Returns
    -------
    (..., 3, 3) array
        T[a, b] with a, b = x, y, z.
    """
    given = np.asarray(values, np.float64)
    return np.asarray(np.einsum("...c,cab->...ab", given, _basis()), np.float64)


def _basis() -> NDArray[np.float64]:
    """Give the orthonormal tensors that the nine components belong to, (9, 3, 3)."""
    x, y, z = range(3)
    basis: Any = np.zeros((9, 3, 3))
    basis[0] = np.eye(3) / np.sqrt(3)
    for row, (a, b) in enumerate(((z, x), (x, y), (y, z)), start=1):  # axial y, z, x
        basis[row, a, b], basis[row, b, a] = 1 / np.sqrt(2), -1 / np.sqrt(2)
    for row, a, b in ((4, x, y), (5, y, z), (7, x, z)):
        basis[row, a, b] = basis[row, b, a] = 1 / np.sqrt(2)
    basis[6] = np.diag([-1, -1, 2]) / np.sqrt(6)
    basis[8] = np.diag([1, -1, 0]) / np.sqrt(2)
    return np.asarray(basis, np.float64)
