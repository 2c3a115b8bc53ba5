"""Matrices of molecules: hamiltonian.out and overlap-matrix.out.

One line ``i j value`` for each element with i <= j, counted from 1, sorted by j and then i; zeros
may be left out, but not on the diagonal. Exponents have three digits, with E or D.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.fhi_aims.text import check_end, parse_numbers, read_whole

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_HEADED = re.compile(rb"\s*\d+(\s+\d+)*[ \t]*\n")


@dataclass(frozen=True, eq=False)
class Triangle:
    """Elements of one half of a symmetric matrix.

    Attributes
    ----------
    path : Path
    rows, columns : (elements,) int64
        Counted from 0; columns do not exceed rows.
    values : (elements,) array
        In the unit of the file.
    """

    path: Path
    rows: Int
    columns: Int
    values: Float


def read_triangle(path: Path, orbitals: int) -> Triangle:
    """Read a matrix of a molecule.

    Parameters
    ----------
    path : Path
        hamiltonian.out, hamiltonian_up.out, hamiltonian_dn.out or overlap-matrix.out.
    orbitals : int
        Basis functions.

    Returns
    -------
    Triangle
        Sorted by row and column.

    Raises
    ------
    InputError
        If it is damaged, cut, of another basis, or in the layout of older versions.
    """
    text = read_whole(path)
    if _HEADED.match(text):
        raise InputError(
            f"{path}: five columns under a header, as 'output matrices' writes them; they have too "
            "few digits: run again with 'output h_s_matrices'"
        )
    check_end(text, path)
    lines = text.rstrip().count(b"\n") + 1
    text = text.replace(b"D", b"E")
    table = parse_numbers(text, np.float64, (3 * lines,), path, "i j value").reshape(-1, 3)
    indices = table[:, :2]
    if not ((indices >= 1) & (indices <= orbitals) & (indices == np.floor(indices))).all():
        raise InputError(
            f"{path}: i, j: a line does not begin with two whole numbers from 1 to {orbitals}, the "
            "functions of basis-indices.out: damaged or not of the same run"
        )
    columns, rows = indices.astype(np.int64).T - 1
    if not _is_triangle(rows, columns, orbitals):
        raise InputError(
            f"{path}: i, j: the lines do not run through i <= j up to j = {orbitals}; the file is "
            "cut or damaged, or not of the same run as basis-indices.out"
        )
    return Triangle(path, rows, columns, table[:, 2])


def _is_triangle(rows: Int, columns: Int, orbitals: int) -> bool:
    """Tell whether each row's columns ascend and end with the diagonal, and no row is missing."""
    ends = np.flatnonzero(rows == columns)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    if not np.array_equal(rows[ends], np.arange(orbitals)) or ends[-1] != len(rows) - 1:
        return False
    ascending = np.diff(columns) > 0
    ascending[starts[1:] - 1] = True
    return bool(ascending.all()) and np.array_equal(rows, np.repeat(rows[ends], ends - starts + 1))
