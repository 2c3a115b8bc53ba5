"""Writing a calculation as a structure folder of the format.

One matrix is in memory at a time: each is read, checked, averaged with its Hermitian partner and
written. All get one list of pairs: where a matrix has pairs that an earlier one lacked, as H has
beyond the reach of S, the earlier file is written again with blocks of zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix, merge_pairs
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes import Calculation
from deeph_dock.places import WRITTEN, Record
from deeph_dock.reference import REFERENCE_FILE, write_reference

PREDICTION = "_pred"
"""End of the name of a predicted matrix."""
NOT_HERMITIAN = {"overlap": 1e-5, "hamiltonian": 1e-3, "density_matrix": 1e-3}
"""Differences between Hermitian partners (1, eV, 1) that no calculation has: damaged files.

Networks that predict the two partners one by one have any.
"""
_OF_THE_BASIS = ("overlap", "position_matrix")
"""Matrices that do not depend on the self-consistency."""


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes
    ----------
    facts : dict
        formula, atoms, orbitals, matrices, pairs, empty_overlaps (pairs whose overlap is zero),
        bytes.
    warnings : tuple of str
        What the user should know.
    """

    facts: dict[str, Any]
    warnings: tuple[str, ...]


def write_calculation(
    calculation: Calculation,
    folder: Path,
    wanted: Sequence[str],
    allow_unconverged: bool = False,
    provenance: Mapping[str, Any] | None = None,
) -> Written:
    """Fill a folder with POSCAR, the matrices, the code's eigenvalues and, last, info.json.

    Parameters
    ----------
    calculation : Calculation
        What to write.
    folder : Path
        An empty folder.
    wanted : sequence of str
        Names of matrices; predictions of them are written with them.
    allow_unconverged : bool
        Write also what depends on a self-consistency that was not reached.
    provenance : mapping, optional
        Further entries of ``provenance`` in info.json.

    Returns
    -------
    Written
        Facts and warnings.

    Raises
    ------
    InputError
        If a matrix is damaged, or there is none of those wanted.
    """
    names, warnings = _chosen(calculation, wanted, allow_unconverged)
    structure, info = calculation.structure, calculation.info
    structure.write(folder / "POSCAR")
    pairs: NDArray[np.int64] | None = None
    behind: list[str] = []  # written with fewer pairs than there are now
    done: list[str] = []
    error, empty = 0.0, 0
    for name in names:
        matrix, difference = _averaged(name, calculation.matrices[name]())
        error = max(error, difference)
        if pairs is None:
            pairs = matrix.atom_pairs
        elif not np.array_equal(matrix.atom_pairs, pairs):
            before = len(pairs)
            matrix, pairs = _on_common_pairs(matrix, pairs)
            if len(pairs) > before:
                behind = [*done]
                empty += (len(pairs) - before) * ("overlap" in done)
        if name == "overlap":
            empty = _empty_blocks(matrix)
        matrix.write(folder / f"{name}.h5", quantity=name)
        done.append(name)
        del matrix
    assert pairs is not None
    for name in behind:
        earlier = BlockMatrix.read(folder / f"{name}.h5")
        earlier.on_pairs(pairs).write(folder / f"{name}.h5", quantity=name)
    if calculation.eigenvalues is not None:
        try:
            write_reference(folder / REFERENCE_FILE, calculation.eigenvalues())
        except InputError as problem:
            warnings.append(f"eigenvalues not kept for comparison: {problem}")
    there = {path.name for path in folder.iterdir()} | {"info.json"}
    files = tuple(name for name in WRITTEN if name in there)
    head = {
        "code": info.provenance.get("code"),
        "code_version": info.provenance.get("code_version"),
        "converter": converter(),
        "created": created(),
        **(provenance or {}),
        "conversion": Record(tuple(wanted), allow_unconverged, files).to_document(),
    }
    merged = {key: value for key, value in head.items() if value is not None} | {
        key: value for key, value in info.provenance.items() if key not in head
    }
    merged["hermitian_error"] = error
    replace(info, provenance=merged).write(folder / "info.json")
    facts: dict[str, Any] = {
        "formula": structure.formula,
        "atoms": len(structure),
        "orbitals": info.orbits_quantity,
        "matrices": names,
        "pairs": len(pairs),
    }
    if "overlap" in names:
        facts["empty_overlaps"] = empty
    facts["bytes"] = sum(path.stat().st_size for path in folder.iterdir())
    return Written(facts, tuple(warnings))


def created() -> str:
    """Give the time as info.json has it: UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@cache
def converter() -> str:
    """Give name and version of this program."""
    return f"deeph-dock {version('deeph-dock')}"


def _chosen(
    calculation: Calculation, wanted: Sequence[str], allow_unconverged: bool
) -> tuple[list[str], list[str]]:
    """Give the matrices to write, and the warnings about the others."""
    warnings = [*calculation.warnings]
    there = list(calculation.matrices)
    names = [name for name in there if name.removesuffix(PREDICTION) in wanted]
    if calculation.unconverged:
        kept = [name for name in names if name in _OF_THE_BASIS]
        if allow_unconverged:
            warnings.append(f"{calculation.unconverged}: converted all the same, as asked for")
        else:
            left_out = ", ".join(name for name in names if name not in kept)
            if left_out:
                warnings.append(
                    f"{calculation.unconverged}: {left_out} left out (--allow-unconverged "
                    "converts it)"
                )
            names = kept
    covered = {name.removesuffix(PREDICTION) for name in there}
    missing = [name for name in wanted if name not in covered]
    if missing and not calculation.unconverged:
        warnings.append(f"no {', '.join(missing)} in the calculation")
    if not names:
        reason = f" ({calculation.unconverged})" if calculation.unconverged else ""
        raise InputError(
            f"nothing to convert: asked for {', '.join(wanted)}, the calculation has "
            f"{', '.join(there) or 'no matrix'}{reason}"
        )
    return names, warnings


def _averaged(name: str, matrix: BlockMatrix) -> tuple[BlockMatrix, float]:
    """Average a matrix with its adjoint; give the largest difference of the two.

    A position matrix is not Hermitian, and stays as it is.
    """
    if name == "position_matrix":
        return matrix, 0.0
    averaged, error, row = matrix.averaged()
    if not error <= NOT_HERMITIAN.get(name, np.inf):
        pair = tuple(matrix.atom_pairs[row].tolist())
        raise InputError(
            f"the {name} is not Hermitian: the block of {pair} and its partner differ by "
            f"{error:.3g}; the file is damaged"
        )
    return averaged, error


def _on_common_pairs(
    matrix: BlockMatrix, pairs: NDArray[np.int64]
) -> tuple[BlockMatrix, NDArray[np.int64]]:
    """Bring a matrix to the union of its pairs and those before, and give the union."""
    before = BlockMatrix.zeros(pairs, np.zeros((len(pairs), 2), np.int64))
    union, _ = merge_pairs(matrix, before)
    return matrix.on_pairs(union), union


def _empty_blocks(matrix: BlockMatrix) -> int:
    """Count the blocks that are exactly zero."""
    filled = np.add.reduceat(matrix.entries != 0, matrix.chunk_boundaries[:-1])
    return int(np.count_nonzero(filled == 0))
