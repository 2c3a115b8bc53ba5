"""Matrices of crystals: which elements there are (rs_indices.out), and their values.

rs_indices.out holds three sizes, the lattice vectors R of all cells, the first and the last
element of each row of each cell, and the column of each element, all counted from 1::

    n_hamiltonian_matrix_size:        89403
    n_cells_in_hamiltonian:          112
    n_basis:           50
    cell_index
             0          0          0
    ...
     999999999  999999999  999999999
    index_hamiltonian(1,:,:)
    index_hamiltonian(2,:,:)
    column_index_hamiltonian

The last cell and the last element are fillers; an empty row goes from 0 to -1. Only columns up to
the row are stored, in every cell: with M the stored number of cell R, row r and column c,

    <c, 0 | M | r, R> = <r, 0 | M | c, -R> = M,

where R belongs to atoms in the cell around the origin (see `deeph_dock.codes.fhi_aims.geometry`).

rs_overlap and rs_hamiltonian hold one number for each element, as text (.out) or as the data set
``sparse_matrix`` of an HDF5 file (.h5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.fhi_aims.text import check_end, check_finite, parse_numbers, read_whole
from deeph_dock.orbital_elements import Elements

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_SIZES = re.compile(
    rb"\s*n_hamiltonian_matrix_size:\s*(\d{1,15})\s+n_cells_in_hamiltonian:\s*(\d{1,9})\s+"
    rb"n_basis:\s*(\d{1,9})\s+cell_index\s"
)
_FIRST, _LAST = b"index_hamiltonian(1,:,:)", b"index_hamiltonian(2,:,:)"
_COLUMNS = b"column_index_hamiltonian"
_FILLER = 999999999
_FARTHEST = 2**15
_DATA_SET = "sparse_matrix"
_UNREADABLE = (
    *(OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError),
    *(MemoryError, OverflowError, IndexError),
)
"""What h5py raises when a file is damaged."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Which elements a run stores.

    Attributes
    ----------
    path : Path
        rs_indices.out.
    elements : Elements
        Row, column and cell of each.
    cells : (C, 3) int64
        R of each cell: the element's row is the orbital in it.
    size : int
        Numbers in the files of values, the filler included.
    """

    path: Path
    elements: Elements
    cells: Int
    size: int


def read_indices(path: Path, orbitals: int) -> Stored:
    """Read rs_indices.out.

    Parameters
    ----------
    path : Path
        The file.
    orbitals : int
        Basis functions of the cell.

    Returns
    -------
    Stored
        Sorted by cell, row and column.

    Raises
    ------
    InputError
        If it is damaged, cut, or of another basis.
    """
    text = read_whole(path)
    sizes = _SIZES.match(text)
    places = [text.find(header) for header in (_FIRST, _LAST, _COLUMNS)]
    if sizes is None or not sizes.end() < places[0] < places[1] < places[2]:
        raise InputError(
            f"{path}: expected n_hamiltonian_matrix_size, n_cells_in_hamiltonian, n_basis, "
            "cell_index, index_hamiltonian(1,:,:) and (2,:,:), column_index_hamiltonian; the file "
            "is cut or damaged"
        )
    size, cell_count, basis = (int(number) for number in sizes.groups())
    if basis != orbitals:
        raise InputError(
            f"{path}: n_basis: {basis}, but basis-indices.out has {orbitals} functions: damaged or "
            "not of the same run"
        )

    def section(start: int, end: int | None, count: int, key: str) -> Int:
        return parse_numbers(text[start:end], np.int64, (count,), path, key)

    cells = section(sizes.end(), places[0], 3 * cell_count, "cell_index").reshape(-1, 3)
    first, last = (
        section(start + len(_FIRST), end, cell_count * basis, _FIRST.decode()).reshape(-1, basis)
        for start, end in ((places[0], places[1]), (places[1], places[2]))
    )
    columns = section(places[2] + len(_COLUMNS), None, size, _COLUMNS.decode())
    if cell_count and (cells[-1] == _FILLER).all():
        if (first[-1] > 0).any():
            raise InputError(f"{path}: cell_index: the filler cell has elements; damaged")
        cells, first, last = cells[:-1], first[:-1], last[:-1]
    _check_cells(cells, path)
    if size and columns[-1] == 0:
        columns = columns[:-1]
    else:
        check_end(text, path)  # a filler that is cut does no harm
    lengths = _lengths(first, last, len(columns), path)
    row = np.tile(np.arange(basis, dtype=np.int32), len(cells))
    rows = np.repeat(row, lengths)
    within = (columns < 1) | (columns > rows + 1)
    # In a row of a cell columns ascend.
    heads = np.zeros(len(columns), dtype=bool)
    heads[(np.cumsum(lengths) - lengths)[lengths > 0]] = True
    within[1:] |= (np.diff(columns) <= 0) & ~heads[1:]
    if within.any():
        at = int(np.flatnonzero(within)[0])
        raise InputError(
            f"{path}: {_COLUMNS.decode()}: element {at + 1} is in row {rows[at] + 1} and column "
            f"{columns[at]}; columns ascend up to the row; the file is damaged"
        )
    images = np.repeat(np.repeat(np.arange(len(cells), dtype=np.int32), basis), lengths)
    elements = Elements(rows, (columns - 1).astype(np.int32), images)
    return Stored(path, elements, cells, size)


def _check_cells(cells: Int, path: Path) -> None:
    """Refuse lattice vectors that are not a set with all opposites."""
    if not len(cells) or np.abs(cells).max() > _FARTHEST:
        raise InputError(f"{path}: cell_index: no cells, or one out of reach; the file is damaged")
    listed = {tuple(cell) for cell in cells.tolist()}
    opposite = {(-a, -b, -c) for a, b, c in listed}
    if len(listed) != len(cells) or listed != opposite:
        raise InputError(
            f"{path}: cell_index: a cell occurs twice or without its opposite; the file is damaged"
        )


def _lengths(first: Int, last: Int, count: int, path: Path) -> Int:
    """Give the number of elements of each row; the rows must follow each other without gaps."""
    first, last = first.ravel(), last.ravel()
    filled = first > 0
    start, end = first[filled], last[filled]
    follows = np.array_equal(start, np.concatenate([[1], end[:-1] + 1])) if len(start) else False
    if not follows or (end < start).any() or end[-1] != count or (last[~filled] > 0).any():
        raise InputError(
            f"{path}: index_hamiltonian: the rows do not take up elements 1 to {count} one after "
            "another; the file is cut or damaged"
        )
    return np.where(filled, last - first + 1, 0)


def read_values(path: Path, stored: Stored) -> Float:
    """Read the values of a matrix.

    Parameters
    ----------
    path : Path
        A .out or .h5 file.
    stored : Stored
        The elements.

    Returns
    -------
    (elements,) array
        In the unit of the file.

    Raises
    ------
    InputError
        If it is damaged, cut, or has another number of values.
    """
    count = len(stored.elements)
    counts = (stored.size, count)  # some write the filler, some do not
    if path.suffix == ".h5":
        values = _from_hdf5(path, counts)
    else:
        text = read_whole(path)
        values = parse_numbers(text, np.float64, counts, path, "values")
        if len(values) == count:
            check_end(text, path)
    if (values[count:] != 0).any():
        raise InputError(
            f"{path}: values: the filler at the end is {values[-1]:g}, expected 0; the file is "
            "damaged"
        )
    return values[:count]


def _from_hdf5(path: Path, counts: tuple[int, ...]) -> Float:
    """Read the values of an HDF5 file."""
    import h5py

    try:
        with h5py.File(path, "r", locking=False) as file:
            data = file[_DATA_SET]
            shape, kind = tuple(data.shape), data.id.get_type()
            # By type, not by dtype: numpy takes a damaged description of float64 for float64.
            known = (h5py.h5t.IEEE_F64LE, h5py.h5t.IEEE_F64BE, h5py.h5t.IEEE_F32LE)
            fits = data.size in counts and max(shape, default=0) == data.size
            if fits and any(kind.equal(number) for number in known):
                values = np.asarray(data[()], dtype=np.float64).reshape(-1)
                check_finite(values, path, _DATA_SET)
                return values
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: {_DATA_SET}: cannot be read: {' '.join(str(error).split())}; the file is cut "
            "or damaged, or not of FHI-aims"
        ) from error
    raise InputError(
        f"{path}: {_DATA_SET}: shape {shape}, expected {counts[0]} real numbers: "
        "damaged or not of the same run as rs_indices.out"
    )
