"""Eigenvalues as OpenMX prints them, in Hartree: .Band, and the lists of the output.

.Band: bands, spin, Fermi level; reciprocal lattice of the path (1/Bohr, with 2 pi); number of
paths and one line of each; then for each k the bands and k, and a line of eigenvalues. With
collinear spin each k comes twice, up and down.

The output lists the eigenvalues of the mesh with k of five digits. Exactly (Band_DFT_Col.c),

    k_a = -1/2 + (2 i + 1) / (2 N_a) + s_a,  s = (1e-6, -1e-6, 2e-6);  k_a = 0 where N_a = 1.

Without s eigenvalues would move by up to 1e-4 eV. Molecules have one list without k.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes import Eigenvalues
from deeph_dock.codes.openmx.matrices import HARTREE
from deeph_dock.codes.openmx.output import Output

Float = NDArray[np.float64]

_SHIFTS = np.array([1e-6, -1e-6, 2e-6])
_PRINTED = 2e-5
_SAME_LEVEL = 1e-6
_SAME_LATTICE = 1e-9
_LEVELS = b"Eigenvalues (Hartree)"
_KPOINT = re.compile(rb"kloop=\d+\s+k1=\s*(\S+)\s+k2=\s*(\S+)\s+k3=\s*(\S+)")


class Expected(NamedTuple):
    """What eigenvalues must fit.

    Attributes
    ----------
    bands : int
        Eigenvalues at one k, of one spin if it is collinear.
    spins : int
        Lists at one k: 2 for collinear spin, else 1.
    fermi_level : float
        Hartree.
    lattice : (3, 3) array
        Rows, Bohr.
    """

    bands: int
    spins: int
    fermi_level: float
    lattice: Float


def read_band(path: Path, expected: Expected) -> Eigenvalues:
    """Read a .Band file.

    Parameters
    ----------
    path : Path
        The file.
    expected : Expected
        The run.

    Returns
    -------
    Eigenvalues
        In eV, along the path.

    Raises
    ------
    InputError
        If it is damaged or of another run.
    """
    with open(path, encoding="ascii", errors="replace") as file:
        text = file.read()
    lines = text.splitlines()
    counted = lines[2].split()[:1] if len(lines) > 2 else []
    values = _numbers(path, " ".join(lines[:2]).split() + counted)
    if len(values) != 13:
        raise InputError(f"{path}: not 13 numbers in the first three lines; it was cut")
    level, reciprocal = values[2], values[3:12].reshape(3, 3)
    if int(values[0].clip(0, 1e9)) != expected.bands:
        raise InputError(
            f"{path}: {values[0]:g} bands, the matrices have {expected.bands}: not of the same run"
        )
    if abs(level - expected.fermi_level) > _SAME_LEVEL:
        raise InputError(
            f"{path}: Fermi level {level:.9g} Hartree, the matrices have "
            f"{expected.fermi_level:.9g}: not of the same run"
        )
    paths = int(values[12].clip(0, 1e6))
    table = _numbers(path, " ".join(lines[3 + paths :]).split())
    width = 4 + expected.bands
    if not len(table) or len(table) % (width * expected.spins):
        raise InputError(f"{path}: not {expected.bands} eigenvalues after each k; it was cut")
    table = table.reshape(-1, width)
    if (table[:, 0] != expected.bands).any():
        raise InputError(f"{path}: not {expected.bands} eigenvalues after each k; it is damaged")
    kpoints = table[:: expected.spins, 1:4]
    own = 2 * np.pi * np.linalg.inv(expected.lattice).T
    if np.abs(reciprocal - own).max() > _SAME_LATTICE * (1 + np.abs(own).max()):
        kpoints = kpoints @ reciprocal @ np.linalg.inv(own)  # a path in another cell
    energies = table[:, 4:].reshape(len(kpoints), expected.spins, expected.bands)
    return _eigenvalues(kpoints, energies, level)


def read_list(output: Output, expected: Expected) -> Eigenvalues:
    """Read the eigenvalues of the output, those of the last step.

    Parameters
    ----------
    output : Output
        The output.
    expected : Expected
        The run.

    Returns
    -------
    Eigenvalues
        In eV, on the mesh or, for a molecule, at Gamma.

    Raises
    ------
    InputError
        If there are none, or they are damaged or of another run.
    """
    with open(output.path, "rb") as file:
        file.seek(output.start)
        text = file.read()
    at = text.rfind(_LEVELS)
    section = text[at : text.find(b"***", text.find(b"Eigenvalues\n", at))] if at >= 0 else b""
    marks = [*_KPOINT.finditer(section)]
    if marks:
        ends = [*(mark.start() for mark in marks[1:]), len(section)]
        tables = [section[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    else:
        tables = [section.rpartition(b"Eigenvalues")[2]]
    columns = 2 if b"Up-spin" in section else 1
    energies = np.stack([_table(output.path, text, columns, expected) for text in tables])
    printed = _numbers(output.path, [word for mark in marks for word in mark.groups()])
    mesh = _mesh(output) if marks else (1, 1, 1)
    kpoints = _exact(output.path, printed.reshape(-1, 3), mesh) if marks else np.zeros((1, 3))
    level = expected.fermi_level
    found = _eigenvalues(kpoints, energies[:, : expected.spins], level)
    return Eigenvalues(found.kpoints, found.energies, found.fermi_level, mesh if marks else None)


def has_list(output: Output) -> bool:
    """Tell whether an output lists eigenvalues.

    Parameters
    ----------
    output : Output
        The output.

    Returns
    -------
    bool
        True if it does.
    """
    return output.electrons is not None


def _table(path: Path, text: bytes, columns: int, expected: Expected) -> Float:
    """Read "number, eigenvalue[s]" lines as (columns, bands)."""
    words = text.split()
    while words and not words[0].isdigit():  # column titles
        words.pop(0)
    values = _numbers(path, words)
    if len(values) % (columns + 1) or len(values) // (columns + 1) != expected.bands:
        raise InputError(
            f"{path}: eigenvalues: {len(values)} numbers where {expected.bands} levels are "
            "expected; not all are printed, or not of the same run"
        )
    return values.reshape(-1, columns + 1)[:, 1:].T


def _mesh(output: Output) -> tuple[int, int, int]:
    """Give the divisions of the k-mesh."""
    numbers = [int(abs(value)) for value in output.input.numbers("scf.Kgrid")[:3]]
    if len(numbers) < 3 or 0 in numbers:
        numbers = [4, 4, 4]
    return numbers[0], numbers[1], numbers[2]


def _exact(path: Path, printed: Float, mesh: tuple[int, int, int]) -> Float:
    """Give the k-points of the mesh that were printed with five digits."""
    exact = np.empty_like(printed)
    for axis, divisions in enumerate(mesh):
        shift = _SHIFTS[axis] if divisions > 1 else 0.0
        place = np.rint(((printed[:, axis] - shift + 0.5) * 2 * divisions - 1) / 2)
        exact[:, axis] = -0.5 + (2 * place + 1) / (2 * divisions) + shift
    if np.abs(exact - printed).max() > _PRINTED:
        raise InputError(
            f"{path}: eigenvalues: the k-points are not those of the mesh {mesh}: they are not "
            "known exactly enough"
        )
    return exact


def _eigenvalues(kpoints: Float, energies: Float, level: float) -> Eigenvalues:
    """Bring (K, S, B) in Hartree to the form of all codes."""
    ordered = np.sort(energies.swapaxes(0, 1), axis=2) * HARTREE
    return Eigenvalues(np.ascontiguousarray(kpoints), ordered, level * HARTREE)


def _numbers(path: Path, words: list[str] | list[bytes]) -> Float:
    """Turn words into finite numbers."""
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError:
        values = np.array([np.nan])
    if not np.isfinite(values).all():
        raise InputError(f"{path}: words that are no finite numbers; it was cut or is damaged")
    return values
