"""Matrices in csr files: for each lattice vector R the values, their columns, and row pointers.

Elements are <row, 0| M |column, R>; both halves of the matrix and both R and -R are stored, within
a row by ascending column. A lattice vector without elements has its first line only (heads A and
B) or empty lists (C and D). Text is read by whole lists, see `deeph_dock.codes.abacus.numbers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.abacus.headers import Head, last_step, read_head
from deeph_dock.codes.abacus.numbers import complexes, integers, reals

Int = NDArray[np.int64]
Int32 = NDArray[np.int32]

_FARTHEST = 2**15


@dataclass(frozen=True, eq=False)
class Csr:
    """Elements of one matrix of one step.

    Attributes
    ----------
    path : Path
        The file.
    head : Head
        Its head.
    steps : int
        Steps in the file; this is the last.
    cells : (n, 3) int64
        Lattice vectors R, each once.
    images : (elements,) int32
        Number of the lattice vector of each element.
    rows, columns : (elements,) int32
        Row and column of each element.
    values : (elements,) float64 or complex128
        In the unit of the file.
    """

    path: Path
    head: Head
    steps: int
    cells: Int
    images: Int32
    rows: Int32
    columns: Int32
    values: NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Parts:
    """The elements of one matrix, an array for each lattice vector."""

    rows: list[Int32] = field(default_factory=list)
    columns: list[Int32] = field(default_factory=list)
    values: list[NDArray[Any]] = field(default_factory=list)


def read_csr(path: Path) -> Csr:
    """Read the last step of a csr file.

    Parameters
    ----------
    path : Path
        H, S or a density matrix.

    Returns
    -------
    Csr
        Its elements, at least one.

    Raises
    ------
    InputError
        If it is cut, damaged, or contradicts itself.
    """
    (matrix,) = _read(path, 1)
    return matrix


def read_position(path: Path) -> tuple[Csr, Csr, Csr]:
    """Read the last step of a csr file with the three parts of the position matrix.

    Parameters
    ----------
    path : Path
        A file whose head says r(R).

    Returns
    -------
    tuple of Csr
        x, y and z.

    Raises
    ------
    InputError
        If it is cut, damaged, or contradicts itself.
    """
    x, y, z = _read(path, 3)
    return x, y, z


def _read(path: Path, count: int) -> list[Csr]:
    data = path.read_bytes()
    step, more = _read_step(data, 0, path, count)
    steps = 1
    if more:
        start, steps = last_step(data)
        step, more = _read_step(data, start, path, count)
        if more or steps == 1:
            raise InputError(
                f"{path}: text after the lattice vectors that its head counts; damaged"
            )
    del data  # before the parts are joined: that needs them twice
    head, cells, found = step
    return [_joined(path, head, steps, cells, parts) for parts in found]


def _read_step(
    data: bytes, start: int, path: Path, count: int
) -> tuple[tuple[Head, Int, list[_Parts]], bool]:
    """Read one step; tell as well whether there is text behind it."""
    head = read_head(data, start, path)
    lines = _Lines(data, head.end, path)
    cells = np.empty((head.cells, 3), np.int64)
    found = [_Parts() for _ in range(count)]
    for number in range(head.cells):
        what = f"lattice vector {number + 1} of {head.cells}"
        first = lines.integers(what, 4 if count == 1 else 3)
        cells[number] = first[:3]
        for parts in found:
            elements = int(first[3]) if count == 1 else int(lines.integers(what, 1)[0])
            if not 0 <= elements <= len(data) // 4:
                raise InputError(f"{path}: {what}: {elements} elements; the file is damaged")
            _read_part(lines, elements, head.dimension, what, parts)
    if np.abs(cells).max() > _FARTHEST or len(np.unique(cells, axis=0)) != len(cells):
        raise InputError(f"{path}: lattice vectors: one is there twice or too far; damaged")
    return (head, cells, found), lines.more()


def _read_part(lines: _Lines, count: int, dimension: int, what: str, parts: _Parts) -> None:
    """Read values, columns and row pointers of a lattice vector."""
    values, numbers = lines.lists(count, dimension, what)
    path = lines.path
    if not count and not len(numbers):
        numbers = np.zeros(dimension + 1, np.int64)
    if len(values) != count or len(numbers) != count + dimension + 1:
        raise InputError(
            f"{path}: {what}: {len(values)} values and {len(numbers)} indices, expected {count} "
            f"and {count} + {dimension} + 1; the file is cut or damaged"
        )
    columns, pointers = numbers[:count], numbers[count:]
    lengths = np.diff(pointers)
    if pointers[0] != 0 or pointers[-1] != count or (lengths < 0).any():
        raise InputError(f"{path}: {what}: row pointers do not rise from 0 to {count}; damaged")
    rows = np.repeat(np.arange(dimension, dtype=np.int32), lengths)
    if count:
        if columns.min() < 0 or columns.max() >= dimension:
            raise InputError(
                f"{path}: {what}: column {columns.max()}, there are {dimension}; damaged"
            )
        if ((np.diff(columns) <= 0) & (rows[1:] == rows[:-1])).any():
            raise InputError(f"{path}: {what}: columns of a row are not ascending; damaged")
        if not np.isfinite(values).all():
            raise InputError(f"{path}: {what}: a value is not a finite number")
    parts.rows.append(rows)
    parts.columns.append(columns.astype(np.int32))
    parts.values.append(values)


def _joined(path: Path, head: Head, steps: int, cells: Int, parts: _Parts) -> Csr:
    counts = [len(rows) for rows in parts.rows]
    if not any(counts):
        raise InputError(f"{path}: {head.matrix}(R) has no elements at all")

    def join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
        joined = np.concatenate([array for array in arrays if len(array)])
        arrays.clear()
        return joined

    images = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    rows, columns, values = join(parts.rows), join(parts.columns), join(parts.values)
    return Csr(path, head, steps, cells, images, rows, columns, values)


class _Lines:
    """The text of a file, read line by line and list by list."""

    def __init__(self, data: bytes, start: int, path: Path) -> None:
        self.data, self.at, self.path = data, start, path

    def _line(self) -> bytes:
        """Give the next line that is neither blank nor a comment."""
        while self.at < len(self.data):
            start, self.at = self.at, self._end_of_line(self.at)
            line = self.data[start : self.at].strip()
            if line and not line.startswith(b"#"):
                return line
        return b""

    def _end_of_line(self, start: int) -> int:
        end = self.data.find(b"\n", start)
        return len(self.data) if end < 0 else end + 1

    def more(self) -> bool:
        """Tell whether anything is left but blanks and comments."""
        return bool(self._line())

    def integers(self, what: str, count: int) -> Int:
        """Read the line of a lattice vector."""
        line = self._line()
        try:
            numbers = np.array([int(word) for word in line.split()], np.int64)
        except (ValueError, OverflowError):
            numbers = np.empty(0, np.int64)
        if len(numbers) != count:
            found = repr(line[:40].decode("ascii", "replace")) if line else "the end of the file"
            raise InputError(
                f"{self.path}: {what}: expected {count} whole numbers, found {found}; the file is "
                "cut or damaged"
            )
        return numbers

    def lists(self, count: int, dimension: int, what: str) -> tuple[NDArray[Any], Int]:
        """Read the values, and the columns together with the row pointers."""
        try:
            if self.data[self.at : self.at + 16].lstrip().startswith(b"# CSR values"):
                return self._marked_lists(dimension)
            if not count:
                return np.empty(0), np.empty(0, np.int64)
            middle = self._end_of_line(self.at)
            end = self._end_of_line(self._end_of_line(middle))
            values = _values(self.data[self.at : middle])
            numbers = integers(self.data[middle:end])
        except ValueError as error:
            raise InputError(f"{self.path}: {what}: {error}; the file is damaged") from None
        self.at = end
        return values, numbers

    def _marked_lists(self, dimension: int) -> tuple[NDArray[Any], Int]:
        """Read lists with a comment before each, wrapped into lines."""
        bounds = []
        for mark in (b"# CSR values", b"# CSR column indices", b"# CSR row pointers"):
            start = self.data.find(mark, self.at)
            if start < 0:
                raise ValueError(f"no '{mark.decode()}'")
            bounds.append((start, self._end_of_line(start)))
            self.at = bounds[-1][1]
        values = _values(self.data[bounds[0][1] : bounds[1][0]])
        columns = integers(self.data[bounds[1][1] : bounds[2][0]])
        return values, np.concatenate([columns, self._pointers(dimension + 1)])

    def _pointers(self, count: int) -> Int:
        """Read lines until there are enough numbers."""
        found: list[Int] = []
        there = 0
        for line in self._number_lines():
            found.append(integers(line))
            there += len(found[-1])
            if there >= count:
                break
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def _number_lines(self) -> Iterator[bytes]:
        while self.at < len(self.data):
            end = self._end_of_line(self.at)
            line = self.data[self.at : end]
            if not line.strip():
                return
            self.at = end
            yield line


def _values(text: bytes) -> NDArray[Any]:
    return complexes(text) if b"(" in text[:64] else reals(text)
