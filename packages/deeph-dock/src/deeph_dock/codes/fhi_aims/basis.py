"""basis-indices.out: atom, type, n, l and m of every basis function.

One line for each function, after a header::

      fn.   type   at.   n   l   m
        1 atomic     1   1   0   0

A shell is a run of 2 l + 1 functions of one atom with m = -l..l. Shells stay in the order of the
file, and two of equal n and l but another type (a 3s that is "atomic" and one that is "ionic")
stay apart. The real harmonics are those of the format but for the sign of odd m > 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.fhi_aims.text import read_whole
from deeph_dock.orbital_elements import Layout

_HEADER = ["fn.", "type", "at.", "n", "l", "m"]
_LARGEST_L = 6
_LETTERS = "spdfghi"


class Shell(NamedTuple):
    """A shell: type of its radial function, n and l."""

    type: str
    n: int
    l: int

    def __str__(self) -> str:
        return f"{self.n}{_LETTERS[self.l]} {self.type}"


@dataclass(frozen=True, eq=False)
class Basis:
    """The basis functions of a run.

    Attributes
    ----------
    path : Path
    layout : Layout
        Atom, place and sign of each function.
    shells : tuple of tuple of Shell
        Of each atom, in the order of the file.
    """

    path: Path
    layout: Layout
    shells: tuple[tuple[Shell, ...], ...]

    @property
    def size(self) -> int:
        """Number of functions."""
        return len(self.layout.atoms)


def orbital_signs(m: NDArray[np.int64]) -> NDArray[np.int8]:
    """Give the sign of each function against the format's: -1 for odd m > 0.

    Parameters
    ----------
    m : (N,) array
        Magnetic quantum number.

    Returns
    -------
    (N,) int8 array
        1 or -1.
    """
    return np.where((m > 0) & (m % 2 == 1), -1, 1).astype(np.int8)


def read_basis(path: Path, atoms: int) -> Basis:
    """Read basis-indices.out.

    Parameters
    ----------
    path : Path
        The file.
    atoms : int
        Atoms of the structure.

    Returns
    -------
    Basis
        Of all atoms.

    Raises
    ------
    InputError
        If it is damaged, cut, or has other atoms.
    """
    words = read_whole(path).decode("ascii", "replace").split()
    if words[:6] != _HEADER or len(words) % 6 or len(words) == 6:
        raise InputError(
            f"{path}: expected the header 'fn. type at. n l m' and six columns; the file is "
            "damaged or not of FHI-aims"
        )
    table = np.array(words[6:]).reshape(-1, 6)
    try:
        fn, atom, n, l, m = (table[:, k].astype(np.int64) for k in (0, 2, 3, 4, 5))
    except (ValueError, OverflowError) as error:
        kind = "*** stands for numbers too wide for their column" if "***" in words else str(error)
        raise InputError(f"{path}: a column does not hold whole numbers: {kind}") from error
    if not np.array_equal(fn, np.arange(1, len(fn) + 1)):
        at = int(np.flatnonzero(fn != np.arange(1, len(fn) + 1))[0])
        raise InputError(f"{path}: function {at + 1} has the number {fn[at]}; the file is damaged")
    new = np.diff(atom, prepend=0)
    if not np.isin(new, (0, 1)).all() or atom[-1] != atoms:
        raise InputError(
            f"{path}: at.: the functions belong to atoms {atom.min()} to {atom.max()}, expected 1 "
            f"to {atoms} in this order; the file is cut or damaged, or of another run"
        )
    shells = _shells(path, atom - 1, table[:, 1].tolist(), n, l, m, atoms)
    first = np.flatnonzero(new)
    places = np.arange(len(fn)) - first[atom - 1]
    return Basis(path, Layout(atom - 1, places, orbital_signs(m)), shells)


def _shells(
    path: Path,
    atom: NDArray[np.int64],
    types: list[str],
    n: NDArray[np.int64],
    l: NDArray[np.int64],
    m: NDArray[np.int64],
    atoms: int,
) -> tuple[tuple[Shell, ...], ...]:
    """Find the shells of each atom."""
    found: list[list[Shell]] = [[] for _ in range(atoms)]
    degrees = l.tolist()
    labels = list(zip(atom.tolist(), types, n.tolist(), degrees, strict=True))
    at = 0
    while at < len(labels):
        degree = degrees[at]
        if not 0 <= degree <= _LARGEST_L:
            raise InputError(
                f"{path}: function {at + 1}: l = {degree}; the format has l = 0 to {_LARGEST_L}"
            )
        run = slice(at, at + 2 * degree + 1)
        whole = m[run].tolist() == list(range(-degree, degree + 1))
        if not whole or len(set(labels[run])) != 1:
            raise InputError(
                f"{path}: function {at + 1}: no {2 * degree + 1} functions of one atom, type, n "
                f"and l with m = {-degree} to {degree}; the file is cut or damaged"
            )
        found[labels[at][0]].append(Shell(*labels[at][1:]))
        at = run.stop
    return tuple(map(tuple, found))
