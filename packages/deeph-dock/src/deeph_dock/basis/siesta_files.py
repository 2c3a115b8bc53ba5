"""What SIESTA's basis files hold: `.ion` (text), `.ion.xml` and `.ion.nc`, in one type.

SIESTA writes the three of them side by side, with the same tables: `.ion` with 16 digits (12 in
SIESTA 4.0 and before), `.ion.xml` with 12, `.ion.nc` all of them. Each orbital is a table of
R(r) / r^l on the radii n rc / (npts - 1), n = 0 to npts - 1, in Bohr and Bohr^(-3/2 - l), in the
order of the orbitals of the matrices. Files of SIESTA 3 to 5 are known: those of version 5 may
give projectors a total angular momentum j, of which nothing is needed here.

`.ion.nc` is netCDF of any kind: the classic one by SciPy, the one of version 4 (HDF5) by h5py.
`deeph_dock.basis.siesta_text` parses the two texts, `deeph_dock.basis.siesta_netcdf` the third.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.orbitals import L_MAX, SHELL_LETTERS
from deeph_spec.structure import SYMBOLS
from numpy.typing import ArrayLike, NDArray

Real = NDArray[np.float64]

# Of the radius: that of `.ion.xml` and its spacing are rounded to 12 digits, so that they differ
# by up to 3e-11 in the files seen.
_SAME_RADIUS = 1e-6
# Of the largest value: a table that does not end in zero has lost its end.
_ZERO_AT_END = 1e-3
# Bohr; radii in use are 0.5 to 15, and 1e-5 of projectors that are nothing.
_SHORTEST, _LONGEST = 1e-7, 100.0
_LARGEST = 1e12  # Bohr^(-3/2 - l)


@dataclass(frozen=True, eq=False)
class IonOrbital:
    """One table of R(r) / r^l.

    Attributes
    ----------
    degree, shell, zeta : int
        l, n and the number among those of the same n and l, from 1.
    polarising : bool
        Whether it polarises another shell.
    cutoff : float
        Radius of the last point, Bohr.
    values : (n,) float64 array
        R / r^l at n radii of equal distance from 0 to the cutoff, Bohr^(-3/2 - l).
    """

    degree: int
    shell: int
    zeta: int
    polarising: bool
    cutoff: float
    values: Real

    @property
    def name(self) -> str:
        """Such as "2p zeta 1"."""
        suffix = " polarisation" if self.polarising else ""
        return f"{self.shell}{SHELL_LETTERS[self.degree]} zeta {self.zeta}{suffix}"


@dataclass(frozen=True, eq=False)
class Ion:
    """Contents of a basis file.

    Attributes
    ----------
    label : str
        The species label of the run.
    number : int
        Atomic number.
    valence : float
        Electrons of the neutral pseudo-atom.
    orbitals : tuple of IonOrbital
        In the order of the file, which is that of the matrices.
    projector_radii : tuple of float
        Radii of the Kleinman-Bylander projectors, Bohr.
    """

    label: str
    number: int
    valence: float
    orbitals: tuple[IonOrbital, ...]
    projector_radii: tuple[float, ...]


def check_orbital(
    where: str,
    quantum_numbers: tuple[int, int, int],
    polarising: bool,
    grid: tuple[int, float, float],
    values: ArrayLike,
    radii: Real | None = None,
) -> IonOrbital:
    """Make an orbital of what a file says about it, if that can be.

    Parameters
    ----------
    where : str
        File and place within it, for messages.
    quantum_numbers : (l, n, zeta)
        As in the file.
    polarising : bool
        As in the file.
    grid : (npts, delta, cutoff)
        As in the file, Bohr.
    values : (n,) array
        The table.
    radii : (n,) float64 array, optional
        Its first column, where the file has one.

    Returns
    -------
    IonOrbital
        With npts values.

    Raises
    ------
    InputError
        If the numbers contradict each other or cannot be.
    """
    degree, shell, zeta = quantum_numbers
    if not 0 <= degree <= L_MAX:
        raise InputError(f"{where}: l = {degree}, expected 0 to {L_MAX}")
    if shell <= 0 or zeta <= 0:
        raise InputError(f"{where}: n = {shell}, zeta = {zeta}, expected numbers from 1")
    cutoff = check_grid(where, grid)
    table = np.asarray(values, dtype=np.float64)
    if len(table) != grid[0]:
        raise InputError(f"{where}: {len(table)} values, npts says {grid[0]}")
    possible = np.abs(table) < _LARGEST
    if not possible.all():
        row = int(np.argmin(possible))
        raise InputError(f"{where}: value {row + 1} is {table[row]:g}, expected a number")
    if radii is not None:
        same = np.abs(radii - np.linspace(0, cutoff, len(table))) <= _SAME_RADIUS * cutoff
        if not same.all():
            row = int(np.argmin(same))
            raise InputError(
                f"{where}: radius {row + 1} is {radii[row]:.6g}, expected {row} * delta = "
                f"{row * grid[1]:.6g}; lines are missing or damaged"
            )
    largest = np.abs(table).max()
    if largest == 0:
        raise InputError(f"{where}: all values are zero")
    if abs(table[-1]) > _ZERO_AT_END * largest:
        raise InputError(
            f"{where}: the table ends in {table[-1]:.3g} at the cutoff, expected 0; its end is lost"
        )
    return IonOrbital(degree, shell, zeta, polarising, cutoff, table)


def check_grid(where: str, grid: tuple[int, float, float]) -> float:
    """Give the cutoff of a table, if its grid makes sense.

    Parameters
    ----------
    where : str
        File and place within it, for messages.
    grid : (npts, delta, cutoff)
        As in the file, Bohr.

    Returns
    -------
    float
        The cutoff, Bohr.

    Raises
    ------
    InputError
        If not cutoff = (npts - 1) delta with at least four points, or the radius cannot be.
    """
    points, delta, cutoff = grid
    if not (_SHORTEST < cutoff < _LONGEST and points >= 4):
        raise InputError(
            f"{where}: npts {points}, cutoff {cutoff:g}, expected at least 4 points and a radius "
            f"in Bohr between {_SHORTEST:g} and {_LONGEST:g}"
        )
    if not abs((points - 1) * delta - cutoff) <= _SAME_RADIUS * cutoff:
        raise InputError(
            f"{where}: (npts - 1) * delta is {(points - 1) * delta:.9g}, the cutoff {cutoff:.9g}"
        )
    return cutoff


def check_ion(
    path: Path,
    label: str,
    number: int,
    valence: float,
    orbitals: Iterable[IonOrbital],
    projector_radii: Iterable[float],
) -> Ion:
    """Make an `Ion` of what a file says, if that can be an element's basis.

    Parameters
    ----------
    path : Path
        The file, for messages.
    label : str
        Of the species.
    number : int
        Atomic number; that of ghost atoms is negative, that of mixed ones above 200.
    valence : float
        Valence charge.
    orbitals : iterable of IonOrbital
        Of the file.
    projector_radii : iterable of float
        Of the file, Bohr.

    Returns
    -------
    Ion
        The same.

    Raises
    ------
    InputError
        If it is no basis of an element, or an orbital is there twice.
    """
    if number < 0:
        raise InputError(
            f"{path}: species {label} has atomic number {number}: a ghost atom, orbitals without "
            "an element, which structures have no symbol for; give the basis of a real element"
        )
    if number not in SYMBOLS:
        raise InputError(
            f"{path}: species {label} has atomic number {number}: a synthetic atom (above 200) or "
            "no element; give the basis of a real element"
        )
    # Hydrogen that saturates surfaces has up to 1.75 electrons.
    if not (np.isfinite(valence) and 0 < valence < number + 1):
        raise InputError(
            f"{path}: valence charge {valence:g} of {SYMBOLS[number]}, expected 0 to {number}"
        )
    shells = tuple(orbitals)
    if not shells:
        raise InputError(f"{path}: no orbitals; expected those of {SYMBOLS[number]}")
    names = [orbital.name for orbital in shells]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: orbital {name} stands in it {names.count(name)} times")
    return Ion(label, number, float(valence), shells, tuple(projector_radii))
