"""Where the atoms are: the text files in which SIESTA writes cell and positions.

===========  ==========================  =========================================
file         cell                        atoms
===========  ==========================  =========================================
.XV          Bohr, one vector a line     species, Z, position (Bohr), velocities
.STRUCT_OUT  Å, one vector a line        species, Z, position (fractional)
===========  ==========================  =========================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Geometry:
    """Cell and atoms as one file gives them.

    Attributes
    ----------
    source : Path
        The file.
    cell : (3, 3)
        Lattice vectors as rows, Bohr.
    positions : (n, 3)
        Bohr, not wrapped.
    species : (n,) int64
        Index of each atom's species, from 0.
    numbers : (n,) int64
        Atomic numbers; negative or zero for ghost atoms.
    """

    source: Path
    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    species: NDArray[np.int64]
    numbers: NDArray[np.int64]


def read_xv(path: Path) -> Geometry:
    """Read an .XV file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Geometry
        Positions of the last step.

    Raises
    ------
    InputError
        If the file is not as it should be.
    """
    cell, atoms = _tables(path, per_vector=6, per_atom=8)
    return Geometry(path, cell[:, :3], atoms[:, 2:5], *_integers(path, atoms))


def read_struct_out(path: Path, bohr: float) -> Geometry:
    """Read a .STRUCT_OUT file.

    Parameters
    ----------
    path : Path
        The file.
    bohr : float
        The code's Bohr radius in Å.

    Returns
    -------
    Geometry
        Positions of the last step.

    Raises
    ------
    InputError
        If the file is not as it should be.
    """
    cell, atoms = _tables(path, per_vector=3, per_atom=5)
    cell = cell / bohr
    return Geometry(path, cell, atoms[:, 2:5] @ cell, *_integers(path, atoms))


def _tables(
    path: Path, per_vector: int, per_atom: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read three vectors, the number of atoms, and one line for each atom."""
    words = path.read_text(encoding="ascii", errors="replace").replace("D", "E").split()
    head = 3 * per_vector
    try:
        count = int(words[head])
        values = np.array(words[: head + 1 + per_atom * count], dtype=np.float64)
        atoms = values[head + 1 :].reshape(count, per_atom)
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path}: damaged: expected three lattice vectors, a number of atoms and {per_atom} "
            "numbers for each of them"
        ) from error
    if count < 1 or not np.isfinite(values).all():
        raise InputError(f"{path}: damaged: no atoms, or numbers that are not finite")
    cell = values[:head].reshape(3, per_vector)
    if abs(np.linalg.det(cell[:, :3])) < 1e-2:
        raise InputError(f"{path}: damaged: the lattice vectors span no volume")
    return cell, atoms


def _integers(
    path: Path, atoms: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give species index and atomic number of each atom."""
    table = np.rint(atoms[:, :2])
    if (
        not np.array_equal(table, atoms[:, :2])
        or table[:, 0].min() < 1
        or np.abs(table).max() > 1e6
    ):
        raise InputError(f"{path}: damaged: species and atomic numbers must be whole numbers")
    integers = table.astype(np.int64)
    return integers[:, 0] - 1, integers[:, 1]
