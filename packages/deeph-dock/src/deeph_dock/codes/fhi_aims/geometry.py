"""geometry.in: lattice vectors and atoms, and where FHI-aims itself puts the atoms.

FHI-aims moves every atom of a crystal into the cell around the origin before it names lattice
vectors: f -> f - nint(f - 1e-8) in each fractional coordinate, so that f lies in (-1/2, 1/2] and
an atom on the border stays on the upper side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.fhi_aims.control import fortran_number
from deeph_dock.codes.fhi_aims.text import read_whole

Float = NDArray[np.float64]
Int = NDArray[np.int64]

BORDER = 1e-8
"""Fractional coordinate by which the border of the cell is shifted."""
SAME_PLACE = 1e-6
"""Largest difference between two prints of one position, Å; the output has eight decimals."""
_VACUUM = 30.0
_FARTHEST = 2.0**15
_FOREIGN = {
    "empty": "a ghost atom: the format has one basis for each element",
    "pseudocore": "a pseudopotential without functions",
}
_EXTERNAL = ("multipole", "homogeneous_field")


@dataclass(frozen=True, eq=False)
class Geometry:
    """Cell and atoms.

    Attributes
    ----------
    path : Path
        Where they are from.
    lattice : (3, 3) array or None
        Lattice vectors as rows, Å; None for molecules.
    positions : (n, 3) array
        Å, as given.
    species : tuple of str
        Label of each atom.
    external : tuple of str
        Keywords of external charges and fields.
    """

    path: Path
    lattice: Float | None
    positions: Float
    species: tuple[str, ...]
    external: tuple[str, ...] = ()

    def cell(self) -> Float:
        """Give the cell, for molecules a box with 30 Å of empty space in each direction."""
        if self.lattice is not None:
            return self.lattice
        return np.diag(np.ptp(self.positions, axis=0) + _VACUUM)

    def translations(self) -> Int:
        """Give the lattice vector by which FHI-aims moves each atom, (n, 3)."""
        if self.lattice is None:
            return np.zeros((len(self.positions), 3), dtype=np.int64)
        shifted = np.linalg.solve(self.lattice.T, self.positions.T).T - BORDER
        # nint rounds halves away from zero.
        return -(np.sign(shifted) * np.floor(np.abs(shifted) + 0.5)).astype(np.int64)

    def differs_from(self, other: Geometry) -> float:
        """Give the largest distance between the atoms of two geometries up to lattice vectors, Å.

        Parameters
        ----------
        other : Geometry
            With atoms in the same order.

        Returns
        -------
        float
            Infinite if cells or species differ.
        """
        if self.species != other.species or (self.lattice is None) != (other.lattice is None):
            return math.inf
        moved = self.positions - other.positions
        if self.lattice is not None and other.lattice is not None:
            if np.abs(self.lattice - other.lattice).max() > SAME_PLACE:
                return math.inf
            fractional = np.linalg.solve(self.lattice.T, moved.T).T
            moved = (fractional - np.rint(fractional)) @ self.lattice
        return float(np.linalg.norm(moved, axis=1).max())


def read_geometry(path: Path) -> Geometry:
    """Read geometry.in or geometry.in.next_step.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Geometry
        With positions as given, also outside the cell.

    Raises
    ------
    InputError
        If it cannot be read or holds what the format cannot.
    """
    return parse_geometry(read_whole(path).decode("utf-8", "replace").splitlines(), path)


def parse_geometry(lines: Iterable[str], path: Path) -> Geometry:
    """Read lines of geometry.in.

    Parameters
    ----------
    lines : iterable of str
        Lines with other keywords (moments, constraints, velocities) are read over.
    path : Path
        The file, for messages.

    Returns
    -------
    Geometry
        With positions as given, also outside the cell.

    Raises
    ------
    InputError
        If there are no atoms, or something the format cannot hold.
    """
    vectors: list[list[float]] = []
    atoms: list[list[float]] = []
    fractional: list[bool] = []
    species: list[str] = []
    external: list[str] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if words[0] in ("atom", "atom_frac"):
            atoms.append(_vector(words, path, number))
            if len(words) < 5:
                raise InputError(f"{path}: line {number}: an atom without a species")
            fractional.append(words[0] == "atom_frac")
            species.append(words[4])
        elif words[0] == "lattice_vector":
            vectors.append(_vector(words, path, number))
        elif words[0] in _FOREIGN:
            raise InputError(
                f"{path}: line {number}: {words[0]}: {_FOREIGN[words[0]]}; it cannot be converted"
            )
        elif words[0] in _EXTERNAL:
            external.append(words[0])
    if not atoms:
        raise InputError(f"{path}: no line 'atom x y z species'; the file is empty or damaged")
    lattice = _lattice(vectors, path)
    positions = np.array(atoms)
    if any(fractional):
        if lattice is None:
            raise InputError(f"{path}: atom_frac without lattice_vector")
        chosen = np.array(fractional)
        positions[chosen] = positions[chosen] @ lattice
    if lattice is not None:
        reach = np.abs(np.linalg.solve(lattice.T, positions.T)).max()
        if reach > _FARTHEST:
            raise InputError(f"{path}: an atom is {reach:.0f} cells away; the file is damaged")
    return Geometry(path, lattice, positions, tuple(species), tuple(dict.fromkeys(external)))


def _vector(words: list[str], path: Path, number: int) -> list[float]:
    """Read the three numbers after a keyword."""
    values = [fortran_number(word) for word in words[1:4]]
    if len(values) != 3 or not all(math.isfinite(x) and abs(x) < 1e6 for x in values):
        raise InputError(
            f"{path}: line {number}: '{' '.join(words[:5])}': expected three numbers after "
            f"{words[0]}"
        )
    return values


def _lattice(vectors: list[list[float]], path: Path) -> Float | None:
    """Check the lattice vectors."""
    if not vectors:
        return None
    if len(vectors) != 3:
        raise InputError(f"{path}: {len(vectors)} lattice_vector line(s), expected three or none")
    lattice = np.array(vectors)
    if not abs(np.linalg.det(lattice)) > 1e-3:
        raise InputError(f"{path}: lattice_vector: the three vectors span no volume")
    return lattice
