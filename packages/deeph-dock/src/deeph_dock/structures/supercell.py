"""Supercells by integer matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray


def cells_of(matrix: ArrayLike) -> NDArray[np.int64]:
    """List the cells that fill a supercell.

    Parameters
    ----------
    matrix : (3, 3) int array
        Rows: the vectors of the supercell in units of those of the cell.

    Returns
    -------
    (abs(det), 3) int array
        R of the cells, in lexicographic order: those whose origin lies in the supercell, that is
        0 <= R M^-1 < 1, decided in whole numbers.

    Raises
    ------
    InputError
        If the matrix spans no volume.
    """
    rows = np.asarray(matrix, dtype=np.int64)
    adjugate = np.stack([np.cross(rows[(k + 1) % 3], rows[(k + 2) % 3]) for k in range(3)], axis=1)
    volume = int(rows[0] @ adjugate[:, 0])
    if not volume:
        raise InputError(f"the matrix {rows.tolist()} spans no volume; its determinant is 0")
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3) @ rows
    axes = [np.arange(corners[:, k].min(), corners[:, k].max() + 1) for k in range(3)]
    candidates = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    scaled = candidates @ adjugate * np.sign(volume)
    return candidates[((scaled >= 0) & (scaled < abs(volume))).all(axis=1)]


def supercell(structure: Structure, matrix: ArrayLike) -> Structure:
    """Repeat a cell.

    Parameters
    ----------
    structure : Structure
        n atoms.
    matrix : (3, 3) int array
        Rows: the new lattice vectors in units of the old ones.

    Returns
    -------
    Structure
        Atom ``i * N + k`` is atom i in the k-th of the N cells of `cells_of`: the order of atoms
        stays, and elements that stood together still do. Nothing is wrapped.

    Raises
    ------
    InputError
        If the matrix spans no volume.
    """
    cells = cells_of(matrix)
    positions = structure.positions[:, None] + (cells @ structure.lattice)[None]
    return Structure(
        np.asarray(matrix, dtype=np.int64) @ structure.lattice,
        positions.reshape(-1, 3),
        np.repeat(structure.numbers, len(cells)),
    )


def repeat(
    structure: Structure, rng: Generator, matrix: ArrayLike
) -> tuple[Structure, dict[str, Any]]:
    """Repeat a cell, as a step; nothing about it is random.

    Parameters
    ----------
    structure, matrix
        Of `supercell`.
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Structure, dict
        The supercell, and its matrix.
    """
    return supercell(structure, matrix), {"matrix": np.asarray(matrix, dtype=np.int64).tolist()}
