"""Eigenvalues and k-points as SIESTA prints them: .EIG and .KP.

.EIG: Fermi level (eV); bands, spins, k-points; then for each k its number and the bands, for
collinear spin those of spin up and then those of spin down.
.KP: number of k-points; then number, kx, ky, kz (1/Bohr, with 2 pi) and weight of each.

The six digits of .KP would cost 1e-4 eV, so k is moved to the nearest point of the mesh.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_DENOMINATOR_LIMIT = 64
_ROUNDING = 1e-6
"""Largest error of a number printed as 0.123456E+00, twice: cell and k are rounded both."""


def read_fermi_level(path: Path) -> float:
    """Read the Fermi level (eV) from the first line of an .EIG file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    float
        In eV.

    Raises
    ------
    InputError
        If there is no number.
    """
    with open(path, encoding="ascii", errors="replace") as file:
        words = file.readline().split()
    try:
        level = float(words[0])
    except (ValueError, IndexError):
        level = np.nan
    if not np.isfinite(level):
        raise InputError(f"{path}: line 1: no Fermi level; the file is damaged")
    return level


def read_energies(path: Path) -> Float:
    """Read all eigenvalues of an .EIG file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    (S, K, B) array
        In eV; S is 2 for collinear spin, else 1.

    Raises
    ------
    InputError
        If it does not hold as many numbers as it says.
    """
    values = _numbers(path)
    if len(values) >= 4:
        bands, spins, kpoints = (int(x) for x in values[1:4].clip(0, 1e9))
        lists = 2 if spins == 2 else 1
        if len(values) - 4 == kpoints * (1 + lists * bands):
            table = values[4:].reshape(kpoints, -1)[:, 1:]
            return np.ascontiguousarray(table.reshape(kpoints, lists, bands).swapaxes(0, 1))
    raise InputError(f"{path}: does not hold as many eigenvalues as its second line says")


def read_kpoints(path: Path) -> Float:
    """Read the k-points of a .KP file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    (K, 3) array
        Cartesian, 1/Bohr, 2 pi included, six digits.

    Raises
    ------
    InputError
        If it does not hold as many numbers as it says.
    """
    values = _numbers(path)
    if len(values) > 1 and len(values) == 1 + 5 * int(values[0]):
        return values[1:].reshape(-1, 5)[:, 1:4]
    raise InputError(f"{path}: does not hold as many k-points as its first line says")


def _numbers(path: Path) -> Float:
    """Read all numbers of a file."""
    text = path.read_text(encoding="ascii", errors="replace")
    try:
        values = np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: holds something that is not a number: {error}") from error
    if not np.isfinite(values).all():
        raise InputError(f"{path}: holds NaN or infinity")
    return values


def exact_kpoints(
    printed: Float, cell: Float, kcell: Int | None = None, kshift: Float | None = None
) -> Float:
    """Find the k-points that were rounded to six digits.

    The points k of a mesh fulfil ``kcell @ k = integers + kshift``. Without a mesh, or where a
    point is none of it, each component becomes the nearest fraction with a small denominator, if
    there is one within the rounding error.

    Parameters
    ----------
    printed : (K, 3) array
        Cartesian, 1/Bohr, 2 pi included.
    cell : (3, 3) array
        Lattice vectors as rows, Bohr.
    kcell : (3, 3) int array, optional
        Supercell of the mesh, rows in units of the lattice vectors.
    kshift : (3,) array, optional
        Displacement along each of them.

    Returns
    -------
    (K, 3) array
        Fractional coordinates.
    """
    fractional = printed @ cell.T / (2 * np.pi)
    exponent = np.floor(np.log10(np.maximum(np.abs(printed), 0.1))) + 1
    error = _ROUNDING * 10**exponent @ np.abs(cell).T / (2 * np.pi)
    exact = np.array(
        [_fraction(x, e) for x, e in zip(fractional.ravel(), error.ravel(), strict=True)]
    ).reshape(-1, 3)
    if kcell is None or abs(np.linalg.det(kcell)) < 0.5:
        return exact
    shift = np.zeros(3) if kshift is None else kshift
    mesh = np.linalg.solve(kcell, (np.rint(fractional @ kcell.T - shift) + shift).T).T
    on_mesh = np.all(np.abs(mesh - fractional) <= error, axis=1)
    return np.where(on_mesh[:, None], mesh, exact)


def _fraction(value: float, error: float) -> float:
    """Give the simplest fraction within the error, or the value itself."""
    nearest = float(Fraction(value).limit_denominator(_DENOMINATOR_LIMIT))
    return nearest if abs(nearest - value) <= error else value
