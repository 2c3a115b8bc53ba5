"""Removing the freedom of the energy zero from Hamiltonians.

H and H + mu S are the same physics, but a network that learns H must learn mu as well, which
depends on the cell and not on the surroundings of an atom. So each structure is given the zero at
which H and S are as different as can be,

    H' = H - mu S,    mu = sum H S / sum S^2    (Eq. 15)

over all elements of all stored pairs (least squares; with spin S stands twice on the diagonal).
Fermi level and eigenvalues move along. Doing it again changes nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder

from deeph_dock.metrics import gauge_shift, spinor_overlap
from deeph_dock.places import WRITTEN
from deeph_dock.reference import REFERENCE_FILE, read_reference, write_reference

NEGLIGIBLE = 1e-5
"""A shift below this, or below the precision of H, is rounding and is not applied, eV."""
RESULTS = ("band.h5", "dos.h5", "eigval.h5", "fermi_energy.json", "hamiltonian_raw.h5")
"""Files of another energy zero, which are not copied."""
FILES = WRITTEN
"""Files that are replaced, or removed, where a structure is standardized again."""
_SHIFTED = ("hamiltonian", "hamiltonian_pred")


def standardize(source: StructureFolder, folder: Path, made_of: str) -> dict[str, Any]:
    """Fill a folder with a structure whose H has the standard energy zero.

    A prediction moves by the shift of H, so that their difference stays; where there is no H it has
    its own shift.

    Parameters
    ----------
    source : StructureFolder
        The structure.
    folder : Path
        An empty folder.
    made_of : str
        Kept in ``provenance`` of info.json under this name.

    Returns
    -------
    dict
        Facts: formula, mu (eV; None if there is no Hamiltonian), bytes.

    Raises
    ------
    InputError
        If a file is damaged, or H and S do not belong together.
    """
    names = [name for name in _SHIFTED if source.has(name)]
    mu = None
    written = {"info.json"}
    if names:
        overlap = source.overlap()
        mu = standard_shift(source.matrix(names[0]), overlap)
        for name in names if mu else ():
            shifted(source.matrix(name), overlap, mu).write(folder / f"{name}.h5", name)
            written.add(f"{name}.h5")
        if mu and (source.path / REFERENCE_FILE).exists():
            found = read_reference(source.path / REFERENCE_FILE)
            level = None if found.fermi_level is None else found.fermi_level - mu
            moved = replace(found, energies=found.energies - mu, fermi_level=level)
            write_reference(folder / REFERENCE_FILE, moved)
            written.add(REFERENCE_FILE)
    for path in sorted(source.path.iterdir()):
        if path.is_file() and path.name not in (*written, *RESULTS) and path.name[0] != ".":
            shutil.copyfile(path, folder / path.name)
    info = source.info
    steps = [*info.provenance.get("steps", ())]
    if mu:
        steps.append(f"standardize: mu = {mu!r} eV")
    level = info.fermi_level
    if mu and level is not None:
        level -= mu
    provenance = {**info.provenance, "made_of": made_of, **({"steps": steps} if steps else {})}
    replace(info, fermi_level=level, provenance=provenance).write(folder / "info.json")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"formula": source.structure.formula, "mu": mu, "bytes": size}


def standard_shift(hamiltonian: BlockMatrix, overlap: BlockMatrix) -> float:
    """Give mu of Eq. 15, or 0 where it is rounding.

    Parameters
    ----------
    hamiltonian : BlockMatrix
        eV, with or without spin.
    overlap : BlockMatrix
        S without spin.

    Returns
    -------
    float
        eV.
    """
    mu = gauge_shift(hamiltonian, overlap)
    largest = float(np.abs(hamiltonian.entries).max(initial=0.0))
    rounding = float(np.finfo(hamiltonian.dtype).eps) * largest
    return mu if abs(mu) >= max(NEGLIGIBLE, rounding) else 0.0


def shift_of(source: StructureFolder) -> float | None:
    """Give the shift that `standardize` would apply.

    Parameters
    ----------
    source : StructureFolder
        The structure.

    Returns
    -------
    float or None
        eV; None if there is no Hamiltonian.

    Raises
    ------
    InputError
        If a file is damaged, or H and S do not belong together.
    """
    for name in _SHIFTED:
        if source.has(name):
            return standard_shift(source.matrix(name), source.overlap())
    return None


def shifted(hamiltonian: BlockMatrix, overlap: BlockMatrix, mu: float) -> BlockMatrix:
    """Give H - mu S.

    Parameters
    ----------
    hamiltonian : BlockMatrix
        eV, with or without spin.
    overlap : BlockMatrix
        S without spin; pairs that it lacks count as zero.
    mu : float
        eV.

    Returns
    -------
    BlockMatrix
        On the pairs and in the precision of H.
    """
    wide = np.complex128 if np.iscomplexobj(hamiltonian.entries) else np.float64
    entries = hamiltonian.entries.astype(wide)
    entries -= mu * spinor_overlap(overlap, hamiltonian)
    return hamiltonian.with_entries(entries.astype(hamiltonian.dtype))
