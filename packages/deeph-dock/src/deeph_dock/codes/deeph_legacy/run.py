"""One legacy folder as a calculation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.orbitals import L_MAX
from deeph_spec.pairs import partners
from deeph_spec.structure import SYMBOLS, Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.codes import Calculation
from deeph_dock.codes.deeph_legacy import IN_LOCAL_FRAMES, matrix_files
from deeph_dock.codes.deeph_legacy.files import (
    is_complex,
    read_columns,
    read_info,
    read_matrix,
    read_whole_numbers,
)
from deeph_dock.codes.deeph_legacy.order import legacy_rows, reordered

_WITHOUT_SPIN = ("overlap", "position_matrix")
_LARGEST = 1e9  # of an energy in eV, and of electrons


def read_folder(folder: Path) -> Calculation:
    """Read a legacy folder.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    Calculation
        With the matrices that have a file.

    Raises
    ------
    InputError
        If the folder is incomplete or damaged, or holds matrices in local frames only.
    """
    there = matrix_files(folder)
    local = [name for name in IN_LOCAL_FRAMES if (folder / name).is_file()]
    if not there:
        raise InputError(
            f"{folder}: {' and '.join(local)} {'are' if len(local) > 1 else 'is'} in the frames of "
            "rc.h5, not in that of the crystal; put hamiltonians.h5 or hamiltonians_pred.h5 beside"
        )
    structure, orbital_map = _read_atoms(folder)
    warnings: tuple[str, ...] = ()
    path = folder / "info.json"
    found = read_info(path)
    info = _system(path, found, structure, orbital_map, there)
    if "density_matrix" in there and not info.spinful and "made_of" not in found:
        warnings += (
            f"{there['density_matrix'].name}: taken as it is; of OpenMX runs older programs wrote "
            "that of one spin, half of what the format holds: check Tr(rho S)",
        )
    if local:
        warnings += (f"{', '.join(local)} in local frames: left out",)

    def reader(name: str) -> Callable[[], BlockMatrix]:
        return lambda: _read_matrix(there[name], name, structure, info)

    return Calculation(structure, info, {name: reader(name) for name in there}, warnings=warnings)


def _read_atoms(folder: Path) -> tuple[Structure, dict[str, tuple[int, ...]]]:
    """Read cell, atoms and the shells of each element."""
    lattice = read_columns(folder / "lat.dat")
    positions = read_columns(folder / "site_positions.dat")
    numbers = np.array([z for row in read_whole_numbers(folder / "element.dat") for z in row])
    shells = read_whole_numbers(folder / "orbital_types.dat")
    if lattice.shape != (3, 3) or abs(np.linalg.det(lattice)) < 1e-3:
        raise InputError(f"{folder / 'lat.dat'}: not three vectors that span a volume")
    if not len(numbers) == len(positions) == len(shells):
        raise InputError(
            f"{folder}: site_positions.dat has {len(positions)} atoms, element.dat {len(numbers)}, "
            f"orbital_types.dat {len(shells)}: files of different structures"
        )
    if any(int(z) not in SYMBOLS for z in numbers):
        raise InputError(f"{folder / 'element.dat'}: holds a number that is no element")
    orbital_map: dict[str, tuple[int, ...]] = {}
    for atom, (z, own) in enumerate(zip(numbers.tolist(), shells, strict=True), start=1):
        if any(not 0 <= degree <= L_MAX for degree in own):
            raise InputError(f"{folder / 'orbital_types.dat'}: line {atom}: l outside 0..{L_MAX}")
        known = orbital_map.setdefault(SYMBOLS[z], tuple(own))
        if known != tuple(own):
            raise InputError(
                f"{folder / 'orbital_types.dat'}: line {atom}: {SYMBOLS[z]} has the shells {own}, "
                f"another {SYMBOLS[z]} has {list(known)}; the format holds one basis per element"
            )
    return Structure(lattice, positions, numbers), orbital_map


def _system(
    path: Path,
    found: dict[str, Any],
    structure: Structure,
    orbital_map: dict[str, tuple[int, ...]],
    there: dict[str, Path],
) -> SystemInfo:
    """Check what info.json says, and find the kind of spin."""
    spinful = found.get("isspinful", False)
    if not isinstance(spinful, bool):
        raise InputError(f"{path}: isspinful: {spinful!r}, expected true or false")
    if found.get("nsites", len(structure)) != len(structure):
        raise InputError(
            f"{path}: nsites: {found['nsites']!r}, site_positions.dat has {len(structure)} atoms"
        )
    complex_ones = [is_complex(file) for name, file in there.items() if name not in _WITHOUT_SPIN]
    spin = None if spinful and not complex_ones else "none"
    if spinful and complex_ones:
        spin = "soc" if any(complex_ones) else "collinear"
    provenance: dict[str, Any] = {"code": "DeepH legacy"}
    return SystemInfo.for_structure(
        structure,
        orbital_map,
        spin=spin,
        spinful=spinful,
        orthogonal_basis=found.get("isorthogonal") is True,
        fermi_level=_number(path, found, "fermi_level"),
        occupation=_number(path, found, "occupation"),
        provenance=provenance,
    )


def _number(path: Path, found: dict[str, Any], key: str) -> float | None:
    """Give a number of info.json, or None if it is not there."""
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise InputError(f"{path}: {key}: {str(value)[:40]!r}, expected a number or null")
    return float(value)


def _read_matrix(path: Path, name: str, structure: Structure, info: SystemInfo) -> BlockMatrix:
    """Read one matrix into the order of the format, closed under (-R, j, i)."""
    factor = 1 if name in _WITHOUT_SPIN else info.spin_factor
    sizes = factor * info.orbital_counts(structure)
    matrix = read_matrix(path, sizes, directions=3 if name == "position_matrix" else 1)
    if not info.spinful and matrix.dtype.kind == "c":
        raise InputError(f"{path}: complex blocks, but info.json says isspinful false")
    if name == "overlap" and matrix.dtype.kind == "c":
        raise InputError(f"{path}: complex overlaps; expected real ones, without spin")
    rows = {
        int(z): legacy_rows(info.orbital_map[SYMBOLS[int(z)]]) for z in np.unique(structure.numbers)
    }
    matrix = reordered(matrix, structure.numbers, rows)
    lonely = matrix.partner_rows() < 0
    if lonely.any():
        _refuse_gaps(matrix, lonely, path, name)
        matrix = _completed(matrix, lonely)
    return matrix


def _refuse_gaps(matrix: BlockMatrix, lonely: NDArray[np.bool_], path: Path, name: str) -> None:
    """Refuse a file that lacks single partners: a name in it is damaged, or it was cut.

    Programs wrote all blocks, or one of each pair; of predictions any may be missing.
    """
    both = ~lonely & ~matrix.on_site()
    if name == "position_matrix" or (both.any() and not name.endswith("_pred")):
        *cell, i, j = (matrix.atom_pairs[np.argmax(lonely)] + [0, 0, 0, 1, 1]).tolist()
        missing = [*(-x for x in cell), j, i]
        raise InputError(
            f"{path}: '{[*cell, i, j]}' is there and its partner '{missing}' is not; the file is "
            "damaged or incomplete"
        )


def _completed(matrix: BlockMatrix, lonely: NDArray[np.bool_]) -> BlockMatrix:
    """Add the blocks of which only the Hermitian partner is there."""
    pairs = np.concatenate([matrix.atom_pairs, partners(matrix.atom_pairs[lonely])])
    shapes = np.concatenate([matrix.chunk_shapes, matrix.chunk_shapes[lonely][:, ::-1]])
    place_of_partner = np.full(len(matrix), -1)
    place_of_partner[lonely] = len(matrix) + np.arange(np.count_nonzero(lonely))
    groups = []
    for rows, stack in matrix.by_shape():
        groups.append((rows, stack))
        added = lonely[rows]
        if added.any():
            adjoint = stack[added].conj().swapaxes(1, 2)
            groups.append((place_of_partner[rows[added]], adjoint))
    return BlockMatrix.from_stacks(pairs, shapes, groups).sorted()
