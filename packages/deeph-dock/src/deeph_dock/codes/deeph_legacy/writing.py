"""A structure of the format as a legacy folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file, write_text
from deeph_spec.structure import SYMBOLS
from h5py import h5d, h5p, h5s, h5t
from numpy.typing import NDArray

from deeph_dock.codes.deeph_legacy import MATRICES, TEXTS
from deeph_dock.codes.deeph_legacy.order import legacy_rows, reordered

Float = NDArray[np.float64]
FILES = (*TEXTS, "rlat.dat", "info.json", *MATRICES.values())
"""Files that are replaced, or removed, where a structure is exported again."""


def write_folder(source: StructureFolder, folder: Path, made_of: str) -> dict[str, Any]:
    """Fill a folder with the files of a structure in the legacy layout.

    Parameters
    ----------
    source : StructureFolder
        The structure.
    folder : Path
        An empty folder.
    made_of : str
        Kept in info.json under this name, which other programs ignore, as they do ``occupation``.

    Returns
    -------
    dict
        Facts: formula, atoms, matrices, blocks, bytes.

    Raises
    ------
    InputError
        If there is no matrix that the layout has.
    """
    structure, info = source.structure, source.info
    names = [name for name in MATRICES if source.has(name)]
    if not names:
        raise InputError(f"{source.path}: no matrix in it: nothing to export")
    shells = [info.orbital_map[symbol] for symbol in structure.symbols]
    reciprocal: Float = 2 * np.pi * np.asarray(np.linalg.inv(structure.lattice), np.float64)
    write_text(folder / "lat.dat", _columns(structure.lattice))
    write_text(folder / "rlat.dat", _columns(reciprocal.T))
    write_text(folder / "site_positions.dat", _columns(structure.positions))
    write_text(folder / "element.dat", "".join(f"{z}\n" for z in structure.numbers.tolist()))
    lines = ("  ".join(map(str, own)) + "\n" for own in shells)
    write_text(folder / "orbital_types.dat", "".join(lines))
    rows = {
        int(z): np.argsort(legacy_rows(info.orbital_map[SYMBOLS[int(z)]]))
        for z in np.unique(structure.numbers)
    }
    blocks = 0
    for name in names:
        matrix = reordered(source.matrix(name), structure.numbers, rows)
        _write_matrix(folder / MATRICES[name], matrix)
        blocks += len(matrix)
    document = {
        "nsites": len(structure),
        "isorthogonal": info.orthogonal_basis,
        "isspinful": info.spinful,
        "fermi_level": info.fermi_level,
        "made_of": made_of,
    }
    if info.occupation is not None:
        document["occupation"] = info.occupation  # not of the layout: for the way back
    write_text(folder / "info.json", json.dumps(document) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {
        "formula": structure.formula,
        "atoms": len(structure),
        "matrices": names,
        "blocks": blocks,
        "bytes": size,
    }


def _columns(vectors: Float) -> str:
    """Write vectors as columns, with all digits that a double has."""
    return "".join(" ".join(f"{x:.17e}" for x in row) + "\n" for row in vectors.T)


def _write_matrix(path: Path, matrix: BlockMatrix) -> None:
    """Write a dataset for each block, by the low level of h5py: there are thousands."""
    numbers = matrix.atom_pairs + np.array([0, 0, 0, 1, 1])
    kind = h5t.py_create(matrix.dtype)
    spaces = {
        tuple(shape): h5s.create_simple(tuple(shape))
        for shape in np.unique(matrix.chunk_shapes, axis=0).tolist()
    }
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_obj_track_times(False)  # equal matrices give equal files
    with replace_file(path) as beside, h5py.File(beside, "w") as file:

        def write(key: list[int], block: NDArray[Any]) -> None:
            space = spaces[block.shape]
            dataset = h5d.create(file.id, json.dumps(key).encode(), kind, space, properties)
            dataset.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(block), kind)

        for row, key in enumerate(numbers.tolist()):
            block = matrix.block(row)
            if block.ndim == 2:
                write(key, block)
                continue
            for direction, part in enumerate(block, start=1):
                write([*key, direction], part)
