"""Overlaps of the overlap-only OpenMX of DeepH (github.com/mzjb/overlap-only-OpenMX).

That program stops after S and writes ``output/overlaps_N.h5``, one file for each MPI process: a
dataset "[R1, R2, R3, i, j]" (atoms from 1) for each block, in the orbital order of OpenMX. Cell and
atoms are in the input only.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.pairs import encode, partner_rows
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.codes import Calculation
from deeph_dock.codes.openmx.files import Files
from deeph_dock.codes.openmx.inputs import BOHR, Input, parse_input
from deeph_dock.codes.openmx.matrices import orbital_order
from deeph_dock.codes.openmx.sites import Geometry, check_reach, find_basis

Int = NDArray[np.int64]
Blocks = dict[tuple[int, ...], NDArray[np.float64]]

_FARTHEST = 2**15
_HERMITIAN = 1e-6


def read_overlaps(files: Files, label: str) -> Calculation:
    """Read the overlaps of one run.

    Parameters
    ----------
    files : Files
        With overlaps and the input.
    label : str
        Name of the run.

    Returns
    -------
    Calculation
        With "overlap" alone.

    Raises
    ------
    InputError
        If a file is damaged, or the input is not there.
    """
    folder = files.overlaps[0].parent
    if files.input is None:
        raise InputError(
            f"{folder.parent}: overlaps of the overlap-only OpenMX, but no input (*.dat): put it "
            "there, it holds the cell and the atoms"
        )
    text = files.input.read_text(encoding="utf-8", errors="replace")
    words = parse_input(text, str(files.input))
    lattice = words.lattice()
    if lattice is None:
        raise words.problem("Atoms.UnitVectors", "missing: the cell that OpenMX chose is not known")
    positions = words.positions(lattice)
    blocks = _read_blocks(files.overlaps, len(positions))
    pairs = np.array(sorted(blocks), dtype=np.int64).reshape(-1, 5)
    sizes = np.zeros(len(positions), dtype=np.int64)
    for pair in pairs[(pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1)].tolist():
        sizes[pair[3]] = len(blocks[tuple(pair)])
    if not sizes.all():
        raise InputError(
            f"{folder}: no on-site block of atom {int(np.argmin(sizes)) + 1} of "
            f"{files.input.name}; a file of another process is missing, or not of one run"
        )
    basis = find_basis(words, sizes)
    _check_shapes(folder, blocks, sizes)
    (keys,) = encode(pairs)
    if (partner_rows(pairs) < 0).any() or len(np.unique(keys)) != len(keys):
        raise InputError(
            f"{folder}: a pair without its partner (-R, j, i): a file of another process is "
            "missing, or one is damaged"
        )
    geometry, pairs_here = _place(lattice, positions, words, pairs, basis.radii)
    structure = Structure(geometry.lattice, geometry.positions, basis.numbers)
    orders = [orbital_order(basis.orbital_map[symbol]) for symbol in structure.symbols]

    def overlap() -> BlockMatrix:
        order = np.argsort(encode(pairs_here)[0])
        result = BlockMatrix.zeros(pairs_here[order], sizes[pairs_here[order, 3:]])
        for row, source in enumerate(pairs[order].tolist()):
            block = blocks[tuple(source)]
            result.block(row)[:] = block[orders[source[3]]][:, orders[source[4]]]
        error, _ = result.hermitian_error()
        if not error <= _HERMITIAN:
            raise InputError(
                f"{folder}: a block and that of (-R, j, i) differ by {error:.3g}: not of one run, "
                "or damaged"
            )
        return result

    info = SystemInfo.for_structure(
        structure,
        basis.orbital_map,
        spin="none",
        provenance={
            "code": "OpenMX",
            "code_version": "overlap-only",
            "label": label,
            "length_unit": BOHR,
            "source_dtype": "float64",
            "pseudopotentials": basis.potentials,
            "basis": basis.bases,
        },
    )
    return Calculation(structure, info, {"overlap": overlap})


def _read_blocks(paths: tuple[Path, ...], atoms: int) -> Blocks:
    """Read all blocks by R1, R2, R3, i, j with atoms from 0."""
    blocks: Blocks = {}
    for path in paths:
        try:
            with h5py.File(path, "r", locking=False) as file:
                for name, dataset in file.items():
                    blocks[_pair(path, name, atoms)] = np.asarray(dataset[()], dtype=np.float64)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"{path}: cannot be read ({reason}); it was cut or is damaged"
            ) from None
    for pair, block in blocks.items():
        if block.ndim != 2 or not np.isfinite(block).all():
            raise InputError(
                f"{paths[0].parent}: block {list(pair)}: not a matrix of finite numbers; damaged"
            )
    return blocks


def _pair(path: Path, name: str, atoms: int) -> tuple[int, ...]:
    """Read the name of a block."""
    try:
        numbers = json.loads(name)
    except ValueError:
        numbers = None
    if not (
        isinstance(numbers, list)
        and len(numbers) == 5
        and all(type(number) is int for number in numbers)
        and all(abs(number) < _FARTHEST for number in numbers[:3])
        and all(1 <= number <= atoms for number in numbers[3:])
    ):
        raise InputError(
            f"{path}: dataset '{name}': not [R1, R2, R3, i, j] with atoms from 1 to {atoms}"
        )
    return (*numbers[:3], numbers[3] - 1, numbers[4] - 1)


def _check_shapes(folder: Path, blocks: Blocks, sizes: Int) -> None:
    """Check every block against the orbitals of its atoms."""
    for pair, block in blocks.items():
        expected = (int(sizes[pair[3]]), int(sizes[pair[4]]))
        if block.shape != expected:
            raise InputError(
                f"{folder}: block {list(pair)}: {block.shape} where {expected} is expected; damaged"
            )


def _place(
    lattice: NDArray[np.float64],
    positions: NDArray[np.float64],
    words: Input,
    pairs: Int,
    radii: NDArray[np.float64],
) -> tuple[Geometry, Int]:
    """Find whether R refers to the positions of the input or, if fractional, to those in the cell.

    Two atoms with a block are not farther apart than their orbitals reach, which tells.
    """
    still = np.zeros((len(positions), 3), dtype=np.int64)
    geometry = Geometry(lattice, positions, still, positions)
    inside = np.floor(np.linalg.solve(lattice.T, positions.T).T).astype(np.int64)
    if words.fractional and inside.any() and not np.isfinite(radii).all():
        raise words.problem(
            "Atoms.SpeciesAndCoordinates",
            "fractional positions outside the cell, and a basis whose name does not tell its "
            "radius: what R refers to is not known; write them inside the cell and run again",
        )
    try:
        check_reach(geometry, pairs, radii, words.source)
    except InputError:
        if not words.fractional:
            raise
        moved = pairs.copy()
        moved[:, :3] += inside[pairs[:, 3]] - inside[pairs[:, 4]]
        check_reach(geometry, moved, radii, words.source)
        return geometry, moved
    return geometry, pairs
