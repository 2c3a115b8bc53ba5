"""Relaxations and dynamics: where the atoms were when the matrices were made.

OpenMX moves the atoms after every step, also after the last of dynamics or of a relaxation that did
not converge, and only then writes the scfout file (openmx.c): its positions tau' are then not those
tau of its matrices. The position matrix of the file, which counts from tau', tells by how much:

    tau_i - tau'_i = sum_a <a| r - tau'_i |a> / sum_a <a|a>,   a: all orbitals of atom i,

since complete shells have no dipole (measured on files of atoms that did not move: 2e-6 Å, with a
coarse grid 1e-4 Å). The positions themselves, with seven digits, are in .md2, written before the
atoms are moved (iterout.c).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.openmx.inputs import BOHR
from deeph_dock.codes.openmx.scfout import Scfout

Float = NDArray[np.float64]

MOVED = 5e-4
"""Motion that is more than the error of the grid, Å."""
_PRINTED = 1e-6


def find_displacements(file: Scfout) -> Float:
    """Find how far each atom is from where its position in the file is.

    Parameters
    ----------
    file : Scfout
        With position matrices; orbitals not contracted.

    Returns
    -------
    (n, 3) array
        tau - tau' in Å, with the error of the grid.

    Raises
    ------
    InputError
        If the file is cut or damaged.
    """
    names = ("overlap", "position0", "position1", "position2")
    first = np.searchsorted(file.pairs[:, 3], np.arange(len(file.orbitals)))
    traces = np.empty((len(first), 4))
    with open(file.path, "rb") as stream:
        for atom, row in enumerate(first.tolist()):
            size = int(file.orbitals[atom])
            for column, name in enumerate(names):
                stream.seek(file.sections[name].start + 8 * int(file.offsets[row]))
                block = np.fromfile(stream, "<f8", size * size)
                traces[atom, column] = block[:: size + 1].sum() if len(block) == size**2 else np.nan
    if not np.isfinite(traces).all() or not (traces[:, 0] > 0).all():
        raise InputError(
            f"{file.path}: overlap and position of an atom with itself: NaN or not positive; the "
            "file is damaged, copy it again"
        )
    return traces[:, 1:] / traces[:, :1] * BOHR


def read_last_positions(path: Path, atoms: int) -> Float:
    """Read the positions of the last step from a .md2 file.

    Parameters
    ----------
    path : Path
        The file.
    atoms : int
        How many there are.

    Returns
    -------
    (n, 3) array
        Å, seven digits.

    Raises
    ------
    InputError
        If it does not hold as many.
    """
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()[2:]
    try:
        rows = [[float(word) for word in line.split()[2:5]] for line in lines if line.strip()]
        positions = np.array(rows, dtype=np.float64).reshape(-1, 3)
    except ValueError:
        positions = np.zeros((0, 3))
    if len(positions) != atoms or not np.isfinite(positions).all():
        raise InputError(f"{path}: not the positions of {atoms} atoms; it was cut or is damaged")
    return positions


def positions_of_the_matrices(file: Scfout, last: Path | None, contracted: bool) -> Float:
    """Find where the atoms were when the matrices of a relaxation or dynamics were made.

    Parameters
    ----------
    file : Scfout
        The file.
    last : Path or None
        Its .md2 file.
    contracted : bool
        Whether orbitals are contracted: then the position matrix does not tell.

    Returns
    -------
    (n, 3) array
        Å: of the file if atoms did not move after the last step, else of .md2.

    Raises
    ------
    InputError
        If they moved and .md2 is not there or of another run.
    """
    written = file.positions * BOHR
    listed = None if last is None else read_last_positions(last, len(written))
    if listed is not None and np.abs(listed - written).max() < _PRINTED:
        return written
    if contracted or "position0" not in file.sections:
        if listed is not None:
            return listed
        raise InputError(
            f"{file.path}: whether OpenMX moved the atoms after the last step cannot be known; put "
            f"{file.path.stem}.md2 beside it"
        )
    shifts = find_displacements(file)
    if np.abs(shifts).max() <= MOVED:
        return written
    if listed is None:
        raise InputError(
            f"{file.path}: OpenMX moved the atoms by up to {np.abs(shifts).max():.2g} Å after the "
            f"matrices were made; put {file.path.stem}.md2 beside it, which holds their positions "
            "before"
        )
    error = np.abs(listed - written - shifts).max()
    if error > MOVED:
        raise InputError(
            f"{last}: an atom is {error:.2g} Å from where the matrices of {file.path.name} have "
            "it: not of one run, or damaged"
        )
    return listed
