"""The scfout file of OpenMX: its parts, and where each matrix is.

Little-endian int32 and float64 without record marks. Vectors are four numbers of which the first is
not used. A matrix is n doubles: of each atom i, of each of its neighbours, the block of row-major
<i, 0|M|j, R>. In this order:

1. atoms; spin + 4 version; atoms in the central, left and right region; images of the cell
2. version 3 only: orders of the position matrices
3. vector and (R1, R2, R3) of each image, the cell itself included
4. orbitals of each atom; number of neighbours of each atom, itself not counted
5. atom of each neighbour, from 1; image of each neighbour. The first of an atom is itself
6. lattice, reciprocal lattice, positions
7. H: 1 matrix without spin, 2 collinear (up, down), 4 non-collinear
8. non-collinear only: 3 matrices, the imaginary part of H
9. S; position relative to atom i: x, y, z, for every order
10. version 3 only: momentum, 3 matrices
11. density matrix, as many as 7; version 3 only: its imaginary part, 2 matrices
12. solver, Fermi level, temperature, dipoles, electrons, spin
13. number of lines of the input, each in 256 bytes

Version 0 is OpenMX 3.8 and older, 3 is 3.9 (source of 3.8.5 and 3.9.9: SCF2File.c; measured on
files of both); 1 and 2 were never released. Some builds of 4.0 write the matrices of the
exchange-correlation potential after 13; people append the output there. A file that ends after 9
and lacks 7 and 8 holds overlaps alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.pairs import encode, partner_rows
from deeph_spec.ragged import boundaries_of
from numpy.typing import NDArray

from deeph_dock.codes.openmx.files import BANNER

Float = NDArray[np.float64]
Int = NDArray[np.int64]

VERSIONS = {0: "3.8 or older", 3: "3.9 or 4.0"}
SOLVERS = {1: "recursion", 2: "cluster", 3: "band", 4: "NEGF", 5: "divide-conquer", 8: "krylov"}
_LINE = 256
_MOST_ORBITALS = 10_000
_FARTHEST = 2**15
_GEOMETRY_ERROR = 1e-6


class Section(NamedTuple):
    """Where the matrices of one kind are: byte of the first, and how many."""

    start: int
    number: int


@dataclass(frozen=True, eq=False)
class Scfout:
    """What the file holds besides the matrices; lengths in Bohr, energies in Hartree.

    Attributes
    ----------
    path : Path
    version : int
        Of the layout.
    spins : int
        Matrices of H: 1, 2 or 4.
    orbitals : (n,) int64
        Of each atom.
    pairs : (P, 5) int64
        R1, R2, R3, i, j in the order of the file.
    offsets : (P + 1,) int64
        Where each block starts in a matrix, in doubles.
    lattice : (3, 3) array
        Rows.
    positions : (n, 3) array
    sections : dict of Section
        By "hamiltonian", "imaginary", "overlap", "position", "density", "imaginary_density".
    fermi_level, temperature, electrons : float or None
        Hartree, K; None in a file with overlaps alone.
    solver : int or None
    text : str
        The input; empty if the file has none.
    output : int or None
        Byte where an output was appended.
    """

    path: Path
    version: int
    spins: int
    orbitals: Int
    pairs: Int
    offsets: Int
    lattice: Float
    positions: Float
    sections: dict[str, Section]
    fermi_level: float | None = None
    temperature: float | None = None
    electrons: float | None = None
    solver: int | None = None
    text: str = ""
    output: int | None = None

    @property
    def shapes(self) -> Int:
        """Rows and columns of each block, (P, 2)."""
        return self.orbitals[self.pairs[:, 3:]]


class _Reader:
    """Reads one array after another, none of which may reach beyond the end of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        self.at = 0
        self._file = open(path, "rb")  # noqa: SIM115  closed by the one function that makes it

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def left(self) -> int:
        """Bytes that follow."""
        return self.size - self.at

    def need(self, what: str, size: int) -> None:
        """Refuse a part that the file is too short for."""
        if size > self.left:
            raise InputError(
                f"{self.path}: {what}: {size} bytes expected at byte {self.at}, the file has "
                f"{self.left} more; it was cut or is damaged, copy it again"
            )

    def read(self, what: str, dtype: str, *shape: int) -> NDArray[Any]:
        """Read an array."""
        count = int(np.prod(shape, dtype=object))
        self.need(what, count * np.dtype(dtype).itemsize)
        self._file.seek(self.at)
        array = np.fromfile(self._file, dtype, count).reshape(shape)
        self.at += array.nbytes
        return array

    def vectors(self, what: str, dtype: str, count: int) -> NDArray[Any]:
        """Read vectors of three numbers."""
        found = self.read(what, dtype, count, 4)[:, 1:]
        if found.dtype.kind == "f" and not np.isfinite(found).all():
            raise self.damage(what, "NaN or infinity")
        return found.astype(np.float64 if found.dtype.kind == "f" else np.int64)

    def text(self, what: str, size: int) -> bytes:
        """Read bytes."""
        return self.read(what, "u1", size).tobytes()

    def damage(self, what: str, found: str) -> InputError:
        """Make the exception for numbers that cannot be."""
        return InputError(f"{self.path}: {what}: {found}; the file is damaged, copy it again")


def read_scfout(path: Path) -> Scfout:
    """Read everything but the matrices.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Scfout
        Checked: the length of the file, the images against the lattice, every pair against its
        partner.

    Raises
    ------
    InputError
        If the file is cut, damaged or of a version that is not known.
    """
    reader = _Reader(path)
    try:
        return _read(reader)
    finally:
        reader.close()


def _read(reader: _Reader) -> Scfout:
    head = reader.read("sizes", "<i4", 6).tolist()
    atoms, switch, centre, left, right, images = head
    version, spin = divmod(switch, 4)
    if version not in VERSIONS:
        raise InputError(
            f"{reader.path}: version {version} of the scfout file; known are 0 (OpenMX 3.8 and "
            "older) and 3 (3.9); if your OpenMX is newer, ask for its support"
        )
    if atoms < 1 or spin == 2 or images < 0 or not 0 <= centre <= atoms:
        raise reader.damage("sizes", f"{head}")
    if left or right:
        raise InputError(
            f"{reader.path}: {left} and {right} atoms of electrodes: a transport (NEGF) run; its H "
            "is not that of a crystal, convert the runs of electrodes and device cells instead"
        )
    orders = int(reader.read("orders", "<i4", 1)[0]) if version == 3 else 1
    if not 1 <= orders <= 100:
        raise reader.damage("orders of position matrices", str(orders))
    vectors = reader.vectors("image vectors", "<f8", images + 1)
    cells = reader.vectors("image indices", "<i4", images + 1)
    orbitals = reader.read("orbitals", "<i4", atoms).astype(np.int64)
    neighbours = reader.read("numbers of neighbours", "<i4", atoms).astype(np.int64) + 1
    if (orbitals < 1).any() or (orbitals > _MOST_ORBITALS).any() or (neighbours < 1).any():
        raise reader.damage("orbitals and neighbours", "numbers that cannot be")
    count = int(neighbours.sum())
    second = reader.read("neighbours", "<i4", count).astype(np.int64) - 1
    image = reader.read("images of neighbours", "<i4", count).astype(np.int64)
    if not _within(second, atoms) or not _within(image, images + 1):
        raise reader.damage("neighbours", "an atom or image that is not there")
    lattice = reader.vectors("lattice", "<f8", 3)
    reciprocal = reader.vectors("reciprocal lattice", "<f8", 3)
    positions = reader.vectors("positions", "<f8", atoms)
    _check_geometry(reader, lattice, reciprocal, positions, vectors, cells)
    first = np.repeat(np.arange(atoms), neighbours)
    pairs = np.column_stack([cells[image], first, second])
    _check_pairs(reader, pairs, np.cumsum(neighbours) - neighbours)
    offsets = boundaries_of(orbitals[pairs[:, 3:]])
    spins = (1, 2, 0, 4)[spin]
    fixed = (reader.path, version, spins, orbitals, pairs, offsets, lattice, positions)
    matrix = 8 * int(offsets[-1])
    if reader.left == matrix * (1 + 3 * orders) or reader.left == matrix:
        return Scfout(*fixed, _sections(reader, matrix, _overlap_layout(orders), reader.left))
    layout = _layout(version, spins, orders)
    size = matrix * sum(number for _, number in layout)
    reader.need("matrices", size)
    sections = _sections(reader, matrix, layout, size)
    return Scfout(*fixed, sections, **_tail(reader, matrix * spins))


def _within(values: Int, limit: int) -> bool:
    return bool((values >= 0).all() and (values < limit).all())


def _layout(version: int, spins: int, orders: int) -> list[tuple[str, int]]:
    """Give the names and numbers of the matrices in a file with a Hamiltonian."""
    new = version == 3
    return [
        ("hamiltonian", spins),
        ("imaginary", 3 if spins == 4 else 0),
        *_overlap_layout(orders),
        ("momentum", 3 if new else 0),
        ("density", spins),
        ("imaginary_density", 2 if new else 0),
    ]


def _overlap_layout(orders: int) -> list[tuple[str, int]]:
    """Give the names and numbers of the matrices that do not need a Hamiltonian."""
    return [("overlap", 1), *((f"position{axis}", orders) for axis in range(3))]


def _sections(
    reader: _Reader, matrix: int, layout: list[tuple[str, int]], size: int
) -> dict[str, Section]:
    """Find where the matrices are, and go to their end."""
    sections, at, end = {}, reader.at, reader.at + size
    for name, number in layout:
        if number and at < end:
            sections[name] = Section(at, number)
        at += number * matrix
    reader.at = end
    return sections


def _tail(reader: _Reader, potential: int) -> dict[str, Any]:
    """Read what follows the matrices."""
    solver = int(reader.read("solver", "<i4", 1)[0])
    numbers = reader.read("Fermi level and electrons", "<f8", 10).tolist()
    level, temperature, electrons = numbers[0], numbers[1], numbers[8]
    if not (abs(level) < 1e3 and 0 <= temperature < 1e7 and 0 < electrons < 1e9):
        raise reader.damage(
            "Fermi level, temperature, electrons",
            f"{level:g} Hartree, {temperature:g} K, {electrons:g}",
        )
    if solver == 4:
        raise InputError(
            f"{reader.path}: solver 4: a transport (NEGF) run; its H is not that of a crystal"
        )
    text, output = "", None
    if reader.left:
        lines = int(reader.read("lines of the input", "<i4", 1)[0])
        if lines < 0:
            raise reader.damage("lines of the input", str(lines))
        records = reader.text("input", _LINE * lines)
        text = b"".join(
            records[at : at + _LINE].split(b"\0", 1)[0] for at in range(0, len(records), _LINE)
        ).decode("utf-8", "replace")
    if reader.left and reader.left != potential:
        output, following = reader.at, min(reader.left, 4096)
        if BANNER not in reader.text("output", following):
            raise reader.damage(
                f"byte {output}", f"{reader.size - output} bytes that belong to nothing"
            )
    return {
        "fermi_level": level,
        "temperature": temperature,
        "electrons": electrons,
        "solver": solver,
        "text": text,
        "output": output,
    }


def _check_geometry(
    reader: _Reader, lattice: Float, reciprocal: Float, positions: Float, vectors: Float, cells: Int
) -> None:
    """Check that lattices belong together, and the images to the lattice."""
    largest = max(float(np.abs(part).max()) for part in (lattice, reciprocal, positions, vectors))
    if not largest < 1e9 or not np.abs(cells).max() < _FARTHEST:
        raise reader.damage("lattice, positions, images", "absurd numbers")
    if np.abs(lattice @ reciprocal.T / (2 * np.pi) - np.eye(3)).max() > _GEOMETRY_ERROR:
        raise reader.damage("lattice", "it does not belong to the reciprocal lattice")
    if np.abs(vectors - cells @ lattice).max() > _GEOMETRY_ERROR or cells[0].any():
        raise reader.damage(
            "images",
            "their vectors do not belong to the lattice (if the cell was relaxed: it changed after "
            "the matrices were made, run once more with MD.Type nomd)",
        )


def _check_pairs(reader: _Reader, pairs: Int, own: Int) -> None:
    """Check that every atom comes first among its neighbours, and each pair once, with partner."""
    at_home = pairs[own]
    if at_home[:, :3].any() or (at_home[:, 3] != at_home[:, 4]).any():
        raise reader.damage("neighbours", "an atom is not the first of its own neighbours")
    (keys,) = encode(pairs)
    if len(np.unique(keys)) != len(keys) or (partner_rows(pairs) < 0).any():
        raise reader.damage(
            "neighbours", "a pair of atoms occurs twice, or without its partner (-R, j, i)"
        )
