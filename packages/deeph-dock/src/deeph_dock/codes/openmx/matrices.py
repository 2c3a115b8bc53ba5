"""Matrices of a scfout file as blocks of the format.

The file is read in pieces of a few MB, whole blocks of each, and of the matrices asked for only:
memory is that of the result and some MB. In a piece, blocks of equal shape are permuted and put in
their places at once.

Orbitals of OpenMX: p x, y, z; d z2, x2-y2, xy, xz, yz; f z3, xz2, yz2, z(x2-y2), xyz, x(x2-3y2),
y(3x2-y2), without further signs (measured to f). Spin, with H0.. and I0.. in the order of the file:

    off        H0                                   rho = 2 DM0
    collinear  up H0, down H1                       up DM0, down DM1
    non-coll.  uu = H0 + i I0, dd = H1 + i I1,      uu = DM0 - i iDM0, dd = DM1 - i iDM1,
               ud = H2 + i (H3 + I2)                ud = DM2 - i DM3

and du(R, i, j) = ud(-R, j, i)^dagger, which is not stored. The file holds the conjugate of the
density matrix sum_n f_n c_n c_n^dagger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.orbitals import shell_offsets
from deeph_spec.pairs import encode, partner_rows
from deeph_spec.ragged import boundaries_of, gather, scatter, shape_groups
from numpy.typing import NDArray

from deeph_dock.codes.openmx.inputs import BOHR
from deeph_dock.codes.openmx.scfout import Scfout

Float = NDArray[np.float64]
Int = NDArray[np.int64]

HARTREE = 27.2113845
"""1 Hartree of OpenMX in eV."""
ORDERS: dict[int, tuple[int, ...]] = {
    0: (0,),
    1: (1, 2, 0),
    2: (2, 4, 0, 3, 1),
    3: (6, 4, 2, 0, 1, 3, 5),
}
"""Row of OpenMX for each row of the format, in a shell."""
_PIECE = 2**16
_LARGEST = 1e6


def orbital_order(shells: Sequence[int]) -> Int:
    """Give the orbital of OpenMX for each orbital of the format.

    Parameters
    ----------
    shells : sequence of int
        l of each shell, 0 to 3.

    Returns
    -------
    (N,) int64 array
        Indices.
    """
    starts = shell_offsets(shells)[:-1]
    return np.concatenate(
        [start + np.array(ORDERS[k]) for k, start in zip(shells, starts, strict=True)]
    )


@dataclass(frozen=True, eq=False)
class Places:
    """Where the blocks of the file go.

    Attributes
    ----------
    pairs, shapes : (P, 5), (P, 2) int64
        Of the format: sorted by (R1, R2, R3, i, j).
    rows : (P,) int64
        Row of each block of the file.
    partners : (P,) int64
        Row of the Hermitian partner of each block of the file.
    kinds : (P, 2) int64
        Kinds of the two atoms of each block of the file.
    orders : list of arrays
        Orbital order of each kind of atom.
    """

    pairs: Int
    shapes: Int
    rows: Int
    partners: Int
    kinds: Int
    orders: list[Int]


def find_places(pairs: Int, orbitals: Int, kinds: Int, orders: list[Int]) -> Places:
    """Find where the blocks of a file go.

    Parameters
    ----------
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j in the order of the file, closed under (-R, j, i).
    orbitals : (n,) int64 array
        Of each atom.
    kinds : (n,) int64 array
        Kind of each atom.
    orders : list of arrays
        Orbital order of each kind.

    Returns
    -------
    Places
        For `read_matrix` and its like.
    """
    (keys,) = encode(pairs)
    order = np.argsort(keys)
    rows = np.empty(len(order), dtype=np.int64)
    rows[order] = np.arange(len(order))
    ordered = pairs[order]
    return Places(
        ordered,
        orbitals[ordered[:, 3:]],
        rows,
        rows[partner_rows(pairs)],
        kinds[pairs[:, 3:]],
        orders,
    )


class Matrices:
    """The matrices of one scfout file, each read when it is asked for.

    Parameters
    ----------
    file : Scfout
        Where they are.
    places : Places
        Where their blocks go.
    origins : (n, 3) array
        What the position matrix of each atom counts from, Å.
    """

    def __init__(self, file: Scfout, places: Places, origins: Float) -> None:
        self._file, self._places, self._origins = file, places, origins

    def overlap(self) -> BlockMatrix:
        """Read S."""
        result = self._empty(np.float64, 1)
        for piece in self._pieces([("overlap", 0)]):
            piece.put(result, piece.stacks[0])
        _check_overlap(result, self._file.path)
        return result

    def hamiltonian(self) -> BlockMatrix:
        """Read H in eV."""
        names = [("hamiltonian", number) for number in range(self._file.spins)]
        if self._file.spins == 4:
            names += [("imaginary", number) for number in range(3)]
        return self._spin_matrix(names, HARTREE, _spinor_hamiltonian)

    def density_matrix(self) -> BlockMatrix:
        """Read the density matrix, both spins included."""
        names = [("density", number) for number in range(self._file.spins)]
        if self._file.spins == 4:
            names += [("imaginary_density", number) for number in range(2)]
        unit = 2.0 if self._file.spins == 1 else 1.0
        return self._spin_matrix(names, unit, _spinor_density)

    def position_matrix(self) -> BlockMatrix:
        """Read <i|r|j> in Å, from the origin of the positions."""
        result = self._empty(np.float64, 1)
        entries: Float = np.zeros((3, result.entries.shape[0]))
        result = result.with_entries(entries)
        names = [("overlap", 0), *((f"position{axis}", 0) for axis in range(3))]
        for piece in self._pieces(names):
            origin = self._origins[self._file.pairs[piece.members, 3]]
            overlap, *relative = piece.stacks
            for axis in range(3):
                absolute = relative[axis] * BOHR
                absolute += origin[:, axis, None, None] * overlap
                scatter(entries[axis], result.chunk_boundaries[piece.rows], absolute)
        return result

    def _spin_matrix(
        self,
        names: list[tuple[str, int]],
        unit: float,
        spinor: Callable[[list[Float]], tuple[Any, Any, Any]],
    ) -> BlockMatrix:
        """Read a matrix that carries spin."""
        spins = self._file.spins
        result = self._empty(np.complex128 if spins == 4 else np.float64, 1 if spins == 1 else 2)
        for piece in self._pieces(names):
            for stack in piece.stacks:
                stack *= unit
            if spins == 1:
                piece.put(result, piece.stacks[0])
            elif spins == 2:
                piece.put_spin(result, piece.rows, 0, 0, piece.stacks[0])
                piece.put_spin(result, piece.rows, 1, 1, piece.stacks[1])
            else:
                up_up, up_down, down_down = spinor(piece.stacks)
                piece.put_spin(result, piece.rows, 0, 0, up_up)
                piece.put_spin(result, piece.rows, 0, 1, up_down)
                piece.put_spin(result, piece.rows, 1, 1, down_down)
                adjoint = up_down.conj().swapaxes(1, 2)
                piece.put_spin(result, piece.partners, 1, 0, adjoint)
        return result

    def _empty(self, dtype: type, factor: int) -> BlockMatrix:
        """Make the result."""
        shapes = factor * self._places.shapes
        boundaries = boundaries_of(shapes)
        entries: NDArray[Any] = np.zeros(int(boundaries[-1]), dtype)
        return BlockMatrix(self._places.pairs, shapes, boundaries, entries)

    def _pieces(self, names: list[tuple[str, int]]) -> Iterator[_Piece]:
        """Read blocks of equal kinds of atoms, of several matrices at once."""
        file, places = self._file, self._places
        starts = _piece_starts(file.offsets)
        for name, _ in names:
            if name not in file.sections:
                raise InputError(f"{file.path}: {name}: the file does not hold it")
        matrix = 8 * int(file.offsets[-1])
        with open(file.path, "rb") as stream:
            for first, last in pairwise(starts):
                begin, end = int(file.offsets[first]), int(file.offsets[last])
                parts = []
                for name, number in names:
                    section = file.sections[name]
                    stream.seek(section.start + number * matrix + 8 * begin)
                    part = np.fromfile(stream, "<f8", end - begin)
                    _check_part(part, end - begin, file.path, name)
                    parts.append(part)
                for inside, (left, right) in shape_groups(places.kinds[first:last]):
                    members = first + inside
                    rows, columns = places.orders[left], places.orders[right]
                    flat = (rows[:, None] * len(columns) + columns).ravel()
                    offsets = file.offsets[members] - begin
                    shape = (len(members), len(rows), len(columns))
                    stacks = [
                        gather(part, offsets, 1, flat.size)[:, 0][:, flat].reshape(shape)
                        for part in parts
                    ]
                    yield _Piece(members, places.rows[members], places.partners[members], stacks)


@dataclass(frozen=True, eq=False)
class _Piece:
    """Blocks of one shape.

    Attributes
    ----------
    members : (p,) int64
        Their numbers in the file.
    rows, partners : (p,) int64
        Their rows, and those of their partners, in the result.
    stacks : list of (p, a, b) arrays
        Of each matrix, in the orbital order of the format.
    """

    members: Int
    rows: Int
    partners: Int
    stacks: list[Float]

    def put(self, result: BlockMatrix, stack: NDArray[Any]) -> None:
        """Put whole blocks in their places."""
        scatter(result.entries, result.chunk_boundaries[self.rows], stack)

    @staticmethod
    def put_spin(result: BlockMatrix, rows: Int, up: int, side: int, stack: NDArray[Any]) -> None:
        """Put one of the four spin parts of blocks in its place."""
        _, height, width = stack.shape
        starts = result.chunk_boundaries[rows] + up * 2 * height * width + side * width
        # The part that would start at each entry: rows of the block are 2 width apart.
        step = result.entries.itemsize
        parts = np.lib.stride_tricks.as_strided(
            result.entries,
            (len(result.entries) - (2 * height - 1) * width + 1, height, width),
            (step, 2 * width * step, step),
        )
        parts[starts] = stack


def _spinor_hamiltonian(parts: list[Float]) -> tuple[Any, Any, Any]:
    """Give uu, ud, dd from H0..H3, I0..I2."""
    h0, h1, h2, h3, i0, i1, i2 = parts
    return _complex(h0, i0), _complex(h2, h3 + i2), _complex(h1, i1)


def _spinor_density(parts: list[Float]) -> tuple[Any, Any, Any]:
    """Give uu, ud, dd from DM0..DM3, iDM0, iDM1."""
    d0, d1, d2, d3, i0, i1 = parts
    return _complex(d0, -i0), _complex(d2, -d3), _complex(d1, -i1)


def _complex(real: Float, imaginary: Float) -> NDArray[np.complex128]:
    result = np.empty(real.shape, np.complex128)
    result.real = real
    result.imag = imaginary
    return result


def _piece_starts(offsets: Int) -> list[int]:
    """Divide blocks into pieces of bounded size."""
    count = len(offsets) - 1
    wanted = np.arange(_PIECE, int(offsets[-1]), _PIECE)
    inner = np.searchsorted(offsets, wanted).tolist()
    return sorted({0, *(place for place in inner if 0 < place < count), count})


def _check_part(part: Float, expected: int, path: Path, name: str) -> None:
    """Refuse a part that is cut or holds NaN."""
    if len(part) != expected:
        raise InputError(f"{path}: {name}: the file became shorter while it was read")
    if not max(float(part.max(initial=0.0)), -float(part.min(initial=0.0))) < _LARGEST:
        raise InputError(
            f"{path}: {name}: holds NaN or absurd numbers; the file is damaged, copy it again"
        )


def _check_overlap(overlap: BlockMatrix, path: Path) -> None:
    """Refuse an S whose diagonal is not positive."""
    rows = np.flatnonzero(overlap.on_site())
    sizes = overlap.chunk_shapes[rows, 0]
    first = np.cumsum(sizes) - sizes
    within = np.arange(int(sizes.sum())) - np.repeat(first, sizes)
    diagonal = np.repeat(overlap.chunk_boundaries[rows], sizes) + within * np.repeat(
        sizes + 1, sizes
    )
    if not (overlap.entries[diagonal] > 0).all():
        raise InputError(
            f"{path}: overlap: an element on the diagonal is not positive; the file is damaged, "
            "copy it again"
        )
