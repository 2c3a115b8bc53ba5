"""Block matrices in HDF5: overlap.h5, hamiltonian.h5 and their like.

Four datasets at the root: atom_pairs (P, 5), chunk_shapes (P, 2), chunk_boundaries (P + 1,) and
entries (E,), or (3, E) for a position matrix. Reading takes any byte order, integer type, chunking
and built-in compression, uses no file locks (they hang on network file systems), and never holds
more of the entries than what is asked for.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeph_spec.errors import InputError
from deeph_spec.files import replace_file, require_space
from deeph_spec.ragged import boundaries_of, gather, scatter, shape_groups
from deeph_spec.system import FORMAT_VERSION

if TYPE_CHECKING:
    from deeph_spec.blocks import BlockMatrix

Int = NDArray[np.int64]
UNITS = {
    "hamiltonian": "eV",
    "overlap": "1",
    "density_matrix": "1",
    "position_matrix": "Å",
    "kinetic_matrix": "eV",
    "gradient_matrix": "1/Å",
}
VECTORS = ("position_matrix", "gradient_matrix")
"""Quantities with three components: entries are (3, E)."""
KEYS = ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries")
MAX_BYTES = 256 * 2**20
ENTRY_TYPES = tuple(map(np.dtype, ("f4", "f8", "c8", "c16")))
_WRITE_AT_MOST = 2**30  # systems refuse more than 2 GiB in one call
_OVERHEAD = 2**13  # of HDF5 itself
_GAP_BYTES = 2**20  # reading so much costs as much as another call
_CHUNK_BYTES = 2**20


@contextmanager
def open_matrix(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Open a matrix file for reading, without locking; every failure is an `InputError`.

    Parameters
    ----------
    path : path-like
        The file.

    Yields
    ------
    h5py.File
        The open file. Errors of reading inside the block are turned into `InputError` as well.

    Raises
    ------
    InputError
        If the file is missing, not HDF5, truncated, or open in a writer.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: {_why(path, str(error))}", rule="E15") from error


def _why(path: Path, message: str) -> str:
    """Say in plain words why HDF5 could not read a file."""
    if not path.exists():
        return "no such file, or a link to nowhere; make it anew"
    if not path.is_file():
        return "not a file; remove it"
    if "Permission denied" in message:
        return "no permission to read it; change its mode"
    if "already open for" in message or "unable to lock" in message:
        return "is being written, or its writer was killed; wait, or make it anew"
    if "truncated" in message:
        return "truncated HDF5 file; copy it anew"
    if "signature" in message:
        return "not an HDF5 file; make it anew"
    if "filter" in message:
        return f"compressed with a filter that is not built in; rewrite it with gzip ({message})"
    return f"damaged HDF5 file; copy it anew ({message})"


def _dataset(file: h5py.File, key: str, path: Path) -> h5py.Dataset:
    """Give one dataset of the file."""
    try:
        item = file.get(key)
    except KeyError:  # a link to nowhere
        item = None
    if not isinstance(item, h5py.Dataset):
        found = "a group" if item is not None else "missing"
        raise InputError(
            f"{path}: {key}: {found}, expected a dataset; found {', '.join(file) or 'nothing'}",
            rule="E16",
            key=key,
        )
    return item


def _indices(file: h5py.File, key: str, width: int, path: Path) -> Int:
    """Read an integer dataset as int64: (P, width), or one-dimensional for width 0."""
    dataset = _dataset(file, key, path)
    shaped = dataset.ndim == 2 and dataset.shape[1] == width if width else dataset.ndim == 1
    if not shaped or dataset.dtype.kind not in "iu":
        expected = f"integers (P, {width})" if width else "integers (P + 1,)"
        rule = {"atom_pairs": "E17", "chunk_shapes": "E22"}.get(key, "E23")
        raise InputError(
            f"{path}: {key}: {dataset.dtype} of shape {dataset.shape}, expected {expected}",
            rule=rule,
            key=key,
        )
    return dataset[()].astype(np.int64)


def read_pairs(path: str | os.PathLike[str]) -> Int:
    """Read the pairs of a matrix file and nothing else.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    (P, 5) int64 array
        R1, R2, R3, i, j.

    Raises
    ------
    InputError
        With file and key, if they cannot be read.
    """
    with open_matrix(path) as file:
        return _indices(file, "atom_pairs", 5, Path(path))


def _slabs(starts: Int, ends: Int, gap: int, most: int) -> Iterator[tuple[int, int]]:
    """Cut blocks into runs [first, last) without large gaps and with at most `most` entries."""
    cuts = np.flatnonzero(starts[1:] - ends[:-1] > gap) + 1
    edges = [0, *cuts.tolist(), len(starts)]
    for run_first, run_last in pairwise(edges):
        first = run_first
        while first < run_last:
            last = int(np.searchsorted(ends[:run_last], starts[first] + most, side="right"))
            last = max(last, first + 1)
            yield first, last
            first = last


@dataclass(frozen=True, eq=False)
class OpenMatrix:
    """A matrix file that is open, with its indices in memory and its entries on the disk.

    Parameters
    ----------
    atom_pairs : (P, 5) int64 array
        R1, R2, R3, i, j of each block.
    chunk_shapes : (P, 2) int64 array
        Rows and columns of each block.
    chunk_boundaries : (P + 1,) int64 array
        Offsets into the entries.
    entries : h5py.Dataset
        (E,) or (3, E).
    """

    atom_pairs: Int
    chunk_shapes: Int
    chunk_boundaries: Int
    entries: h5py.Dataset

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries, in native byte order."""
        return self.entries.dtype.newbyteorder("=")

    def everything(self) -> BlockMatrix:
        """Read all blocks.

        Returns
        -------
        BlockMatrix
            In the order of the file.
        """
        values = np.empty(self.entries.shape, self.dtype)
        if values.size:
            self.entries.read_direct(values)
        return self._blocks(slice(None), self.chunk_boundaries, values)

    def some(self, rows: Int, max_bytes: int = MAX_BYTES) -> BlockMatrix:
        """Read some blocks, in slabs that bridge small gaps.

        Parameters
        ----------
        rows : (Q,) int64 array
            Increasing row numbers.
        max_bytes : int
            Most bytes of entries in a slab, beside those returned.

        Returns
        -------
        BlockMatrix
            These blocks.
        """
        starts, ends = self.chunk_boundaries[rows], self.chunk_boundaries[rows + 1]
        kept = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(ends - starts, out=kept[1:])
        values = np.empty((*self.entries.shape[:-1], int(kept[-1])), self.dtype)
        size = self.dtype.itemsize
        for first, last in _slabs(starts, ends, _GAP_BYTES // size, max_bytes // size):
            low = int(starts[first])
            slab = self.entries[..., low : int(ends[last - 1])]
            for members, (height, width) in shape_groups(self.chunk_shapes[rows[first:last]]):
                stack = gather(slab, starts[first + members] - low, height, width)
                scatter(values, kept[first + members], stack)
        return self._blocks(rows, kept, values)

    def pieces(self, max_bytes: int = MAX_BYTES) -> Iterator[tuple[int, BlockMatrix]]:
        """Read all blocks in pieces of bounded size.

        Parameters
        ----------
        max_bytes : int
            Most bytes of entries in a piece; a single larger block is a piece of its own.

        Yields
        ------
        first : int
            Row number of the first block.
        piece : BlockMatrix
            Consecutive blocks.
        """
        starts, ends = self.chunk_boundaries[:-1], self.chunk_boundaries[1:]
        most = max_bytes // (self.dtype.itemsize * math.prod(self.entries.shape[:-1]))
        for first, last in _slabs(starts, ends, 0, most):
            low, high = int(starts[first]), int(starts[first] if first == last else ends[last - 1])
            values = self.entries[..., low:high].astype(self.dtype, copy=False)
            rows = slice(first, last)
            yield first, self._blocks(rows, self.chunk_boundaries[first : last + 1] - low, values)

    def _blocks(self, rows: slice | Int, boundaries: Int, values: NDArray[Any]) -> BlockMatrix:
        from deeph_spec.blocks import BlockMatrix

        return BlockMatrix(self.atom_pairs[rows], self.chunk_shapes[rows], boundaries, values)


def _checked(file: h5py.File, path: Path) -> OpenMatrix:
    """Read the three index datasets and check that they fit the entries."""
    pairs = _indices(file, "atom_pairs", 5, path)
    shapes = _indices(file, "chunk_shapes", 2, path)
    boundaries = _indices(file, "chunk_boundaries", 0, path)
    entries = _dataset(file, "entries", path)
    if len(shapes) != len(pairs) or (shapes < 0).any():
        raise InputError(
            f"{path}: chunk_shapes: {len(shapes)} rows for {len(pairs)} pairs, or negative numbers",
            rule="E22",
            key="chunk_shapes",
        )
    if len(boundaries) != len(pairs) + 1 or boundaries[0] != 0:
        raise InputError(
            f"{path}: chunk_boundaries: {len(boundaries)} numbers for {len(pairs)} pairs, "
            "expected one more than pairs, the first 0",
            rule="E23",
            key="chunk_boundaries",
        )
    wrong = np.flatnonzero(np.diff(boundaries) != shapes[:, 0] * shapes[:, 1])
    if len(wrong):
        row = int(wrong[0])
        size = int(boundaries[row + 1]) - int(boundaries[row])
        raise InputError(
            f"{path}: chunk_boundaries: block {row} has {size} "
            f"entries by its boundaries, {shapes[row, 0]} x {shapes[row, 1]} by chunk_shapes",
            rule="E24" if (boundaries < 0).any() else "E23",
            key="chunk_boundaries",
        )
    matrix = OpenMatrix(pairs, shapes, boundaries, entries)
    fits = entries.shape in ((boundaries[-1],), (3, boundaries[-1]))
    if not fits or matrix.dtype not in ENTRY_TYPES:
        raise InputError(
            f"{path}: entries: {entries.dtype} of shape {entries.shape}, expected "
            f"{boundaries[-1]} real or complex numbers of 32 or 64 bits",
            rule="E25",
            key="entries",
        )
    return matrix


def read(
    path: str | os.PathLike[str], where: Callable[[Int], ArrayLike] | None = None
) -> BlockMatrix:
    """Read a matrix file, see `BlockMatrix.read`.

    Parameters
    ----------
    path : path-like
        The file.
    where : callable, optional
        Takes atom_pairs (P, 5), gives a mask (P,) or the rows wanted.

    Returns
    -------
    BlockMatrix
        All blocks, or those wanted in the order of the file.

    Raises
    ------
    InputError
        With file and key, if the file is missing or not a matrix.
    """
    with open_matrix(path) as file:
        matrix = _checked(file, Path(path))
        if where is None:
            return matrix.everything()
        rows = np.arange(len(matrix.atom_pairs))[np.asarray(where(matrix.atom_pairs))]
        return matrix.some(np.unique(rows))


def iter_read(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Iterator[BlockMatrix]:
    """Read a matrix file in pieces of whole blocks, in the order of the file.

    Parameters
    ----------
    path : path-like
        The file.
    max_bytes : int
        Most bytes of entries in a piece; a single larger block is a piece of its own.

    Yields
    ------
    BlockMatrix
        Consecutive blocks.

    Raises
    ------
    InputError
        With file and key, if the file is missing or not a matrix.
    """
    with open_matrix(path) as file:
        for _, piece in _checked(file, Path(path)).pieces(max_bytes):
            yield piece


def write(
    matrix: BlockMatrix,
    path: str | os.PathLike[str],
    quantity: str = "hamiltonian",
    compress: bool = False,
) -> None:
    """Write a matrix file atomically, see `BlockMatrix.write`.

    Parameters
    ----------
    matrix : BlockMatrix
        What to write.
    path : path-like
        Target; its folder must exist.
    quantity : str
        Name of the quantity, kept as an attribute beside its unit.
    compress : bool
        Chunks of 1 MiB with shuffle and gzip 4 instead of contiguous data.
    """
    if not compress:
        require_space(path, matrix.nbytes + _OVERHEAD)
    with replace_file(path) as temporary, h5py.File(temporary, "w") as file:
        _write_attributes(file, quantity)
        for key in KEYS:
            values = getattr(matrix, key)
            file.create_dataset(key, data=values, **_storage(values, compress))


def _write_attributes(file: h5py.File, quantity: str) -> None:
    """Write what is said about a whole file."""
    file.attrs["format_version"] = FORMAT_VERSION
    file.attrs["quantity"] = quantity
    file.attrs["unit"] = UNITS.get(quantity.removesuffix("_pred"), "")


@dataclass(frozen=True)
class Places:
    """Where the entries of a matrix are in a file; other processes can be given it.

    Attributes
    ----------
    path : Path
        The file.
    start : int
        Its byte where the entries begin.
    total : int
        Number of entries, of each component.
    """

    path: Path
    start: int
    total: int

    def __call__(self, first: int, entries: NDArray[np.float64]) -> None:
        """Write entries (n,) or (3, n), from the one with this number."""
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            for row, values in enumerate(np.atleast_2d(entries)):
                offset = self.start + 8 * (row * self.total + first)
                _write_at(descriptor, np.ascontiguousarray(values), offset)
        finally:
            os.close(descriptor)


@contextmanager
def write_in_pieces(
    path: str | os.PathLike[str],
    atom_pairs: Int,
    chunk_shapes: Int,
    quantity: str,
) -> Iterator[Places]:
    """Write a matrix file atomically whose float64 entries come in pieces, in any order.

    Nothing of the entries is kept in memory, and several processes may write at once.

    Parameters
    ----------
    path : path-like
        Target; its folder must exist.
    atom_pairs : (P, 5) int64 array
        R1, R2, R3, i, j of each block.
    chunk_shapes : (P, 2) int64 array
        Rows and columns of each block.
    quantity : str
        Name of the quantity, kept as an attribute beside its unit; the entries of `VECTORS` are
        (3, E).

    Yields
    ------
    Places
        Takes the number of the first entry and entries (n,) or (3, n); all must be given before
        the block ends.
    """
    boundaries = boundaries_of(chunk_shapes)
    total = int(boundaries[-1])
    components = 3 if quantity in VECTORS else 1
    indices = atom_pairs.nbytes + chunk_shapes.nbytes + boundaries.nbytes
    require_space(path, indices + 8 * components * total + _OVERHEAD)
    with replace_file(path) as temporary:
        with h5py.File(temporary, "w") as file:
            _write_attributes(file, quantity)
            for key, values in zip(KEYS, (atom_pairs, chunk_shapes, boundaries), strict=False):
                file.create_dataset(key, data=values)
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            settings.set_obj_track_times(False)  # equal data, equal bytes
            space = h5py.h5s.create_simple((3, total) if components == 3 else (total,))
            made = h5py.h5d.create(file.id, b"entries", h5py.h5t.NATIVE_DOUBLE, space, settings)
            start = made.get_offset()
        yield Places(temporary, start, total)


def _write_at(descriptor: int, values: NDArray[np.float64], offset: int) -> None:
    """Write numbers at a place of a file, and ask that they go to the disk meanwhile."""
    data = values.view(np.uint8).data
    done = 0
    while done < len(data):
        done += os.pwrite(descriptor, data[done : done + _WRITE_AT_MOST], offset + done)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, len(data), os.POSIX_FADV_DONTNEED)


def _storage(values: NDArray[Any], compress: bool) -> dict[str, Any]:
    """Give the storage settings of a dataset."""
    if not compress or not values.size:
        return {}
    row = values.dtype.itemsize * (values.shape[1] if len(values) > 3 and values.ndim == 2 else 1)
    length = max(1, min(_CHUNK_BYTES // row, max(values.shape)))
    if values.ndim == 1:
        chunks: tuple[int, ...] = (length,)
    elif values.shape[1] > values.shape[0]:
        chunks = (1, length)
    else:
        chunks = (length, values.shape[1])
    return {"chunks": chunks, "compression": "gzip", "compression_opts": 4, "shuffle": True}
