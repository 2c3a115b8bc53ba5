"""The files of a legacy folder.

====================  ============================================================================
lat.dat               3 x 3, lattice vectors as columns, Å
rlat.dat              reciprocal vectors as columns, with 2 pi, 1/Å
site_positions.dat    3 x n, positions as columns, Cartesian, Å
element.dat           atomic number of each atom
orbital_types.dat     for each atom a line with l of each shell
info.json             nsites, isorthogonal, isspinful, fermi_level (eV)
overlaps.h5, ...      a dataset for each block, its name "[R1, R2, R3, i, j]" with atoms counted
                      from 1; position matrices have a sixth number, 1 to 3, for the direction
====================  ============================================================================

Energies are in eV, lengths in Å. Overlaps have no spin, also where H has.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from h5py import h5d, h5s, h5t
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_NAME = re.compile(r"\[\s*-?\d{1,9}\s*(?:,\s*-?\d{1,9}\s*){4,5}\]")
_LARGEST_R = 2**15
_KINDS = tuple(np.dtype(kind) for kind in ("f4", "f8", "c8", "c16"))


def read_numbers(path: Path) -> list[list[float]]:
    """Read a text file of numbers, line by line.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of list of float
        The numbers of each line that has some.

    Raises
    ------
    InputError
        If the file is missing, or something in it is no finite number.
    """
    try:
        text = path.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text; the file is damaged") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; a legacy folder needs it") from error
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            row = [float(word) for word in line.split()]
        except ValueError as error:
            raise InputError(f"{path}: line {number}: not numbers: '{line[:40]}'") from error
        if not np.isfinite(row).all():
            raise InputError(f"{path}: line {number}: not finite")
        if row:
            rows.append(row)
    return rows


def read_columns(path: Path) -> Float:
    """Read vectors that stand in columns.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    (n, 3) array
        One vector a row.

    Raises
    ------
    InputError
        If there are not three lines of equal length.
    """
    rows = read_numbers(path)
    if len(rows) != 3 or len({len(row) for row in rows}) != 1:
        raise InputError(
            f"{path}: {len(rows)} lines of {sorted({len(r) for r in rows})} numbers, expected 3 "
            "lines (x, y, z) with a number for each vector"
        )
    return np.array(rows).T


def read_whole_numbers(path: Path) -> list[list[int]]:
    """Read a text file of whole numbers, line by line.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of list of int
        The numbers of each line.

    Raises
    ------
    InputError
        If a number is not whole.
    """
    rows = read_numbers(path)
    if any(value != int(value) or abs(value) > 1e6 for row in rows for value in row):
        raise InputError(f"{path}: holds numbers that are not whole")
    return [[int(value) for value in row] for row in rows]


def read_info(path: Path) -> dict[str, Any]:
    """Read info.json.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Its keys.

    Raises
    ------
    InputError
        If it is missing or not a JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: missing; a legacy folder needs it") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}".splitlines()[0]) from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: not a JSON object")
    return found


def is_complex(path: Path) -> bool:
    """Tell whether the blocks of a matrix file are complex; damaged files are not."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return any(file[name].dtype.kind == "c" for name in list(file)[:1])
    except (OSError, RuntimeError, KeyError, AttributeError, TypeError, ValueError):
        return False


def read_matrix(path: Path, sizes: Int, directions: int = 1) -> BlockMatrix:
    """Read a matrix as it is, in the order of its orbitals, pairs sorted.

    Parameters
    ----------
    path : Path
        The file.
    sizes : (n,) int64 array
        Rows of each atom.
    directions : int
        3 for a position matrix, whose names have a sixth number.

    Returns
    -------
    BlockMatrix
        On the pairs of the file; entries (3, E) for a position matrix.

    Raises
    ------
    InputError
        If a name or a block is not as expected.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _read_open(file, path, sizes, directions)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not an HDF5 file, cut off or damaged: {reason}") from error


def _read_open(file: h5py.File, path: Path, sizes: Int, directions: int) -> BlockMatrix:
    """Read the blocks one after another by the low level of h5py: there are thousands."""
    group = file.id
    names = [name.decode("utf-8", "replace") for name in group]
    keys = _keys(names, path, len(sizes), directions)
    order = np.lexsort(keys.T[::-1])
    pairs = keys[order][::directions, :5]
    if (
        len(order) % directions
        or (keys[order][:, 5].reshape(-1, directions) != np.arange(directions)).any()
    ):
        raise InputError(f"{path}: a block is there twice, or without one of its directions")
    if (pairs[1:] == pairs[:-1]).all(axis=1).any():
        raise InputError(f"{path}: a block is there twice, with different blanks in its name")
    first = h5d.open(group, names[0].encode())
    kind, stored = first.dtype.newbyteorder("="), first.get_type()
    if kind not in _KINDS:
        raise InputError(
            f"{path}: '{names[0]}': type {first.dtype}, expected real or complex numbers of single "
            "or double precision"
        )
    matrix = BlockMatrix.zeros(pairs, sizes[pairs[:, 3:]], kind)
    entries = np.zeros((directions, len(matrix.entries)), kind)
    bounds, shapes = matrix.chunk_boundaries.tolist(), matrix.chunk_shapes.tolist()
    in_memory = h5t.py_create(kind)
    spans: list[tuple[int | None, int]] = []
    for place, row in enumerate(order.tolist()):
        block = h5d.open(group, names[row].encode())
        pair, direction = divmod(place, directions)
        if block.shape != tuple(shapes[pair]) or not block.get_type().equal(stored):
            raise InputError(
                f"{path}: '{names[row]}': {block.shape} of {block.dtype}, expected "
                f"{tuple(shapes[pair])} of {first.dtype} by orbital_types.dat and '{names[0]}'"
            )
        target = entries[direction, bounds[pair] : bounds[pair + 1]]
        spans.append((block.get_offset(), target.nbytes))
        if target.size:
            block.read(h5s.ALL, h5s.ALL, target.reshape(shapes[pair]), in_memory)
    contiguous = np.array([span for span in spans if span[0] is not None], np.int64).reshape(-1, 2)
    starts, lengths = contiguous[np.argsort(contiguous[:, 0])].T
    if (starts[1:] < starts[:-1] + lengths[:-1]).any():
        raise InputError(f"{path}: two blocks are at the same place; the file is damaged")
    if not np.isfinite(entries).all():
        raise InputError(f"{path}: holds NaN or infinity; the file is damaged")
    return matrix.with_entries(entries if directions > 1 else entries[0])


def _keys(names: list[str], path: Path, atoms: int, directions: int) -> Int:
    """Give R1, R2, R3, i, j, direction of each name, atoms and directions counted from 0."""
    if not names:
        raise InputError(f"{path}: holds no block")
    numbers = []
    for name in names:
        if not _NAME.fullmatch(name.strip()):
            raise InputError(f"{path}: dataset '{name[:40]}': expected a name [R1, R2, R3, i, j]")
        numbers.append([int(word) for word in name.strip()[1:-1].split(",")])
    width = 5 if directions == 1 else 6
    if any(len(row) != width for row in numbers):
        raise InputError(f"{path}: names have other than {width} numbers")
    keys = np.array(numbers, dtype=np.int64)
    keys[:, 3:] -= 1
    if directions == 1:
        keys = np.concatenate([keys, np.zeros((len(keys), 1), np.int64)], axis=1)
    if (
        keys[:, 3:5].min() < 0
        or keys[:, 3:5].max() >= atoms
        or np.abs(keys[:, :3]).max() > _LARGEST_R
    ):
        raise InputError(f"{path}: a name has an atom outside 1..{atoms}, or R beyond {_LARGEST_R}")
    return keys
