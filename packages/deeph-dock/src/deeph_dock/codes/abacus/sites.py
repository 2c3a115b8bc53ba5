"""Where the atoms of a run are, and where ABACUS moved them.

ABACUS moves all atoms into the cell before it counts lattice vectors. The structure keeps the
positions of the input; the difference is a lattice vector n of each atom. What ABACUS used is in
the log, in the heads of newer csr files, for molecular dynamics in MD_dump, and decides: STRU is
taken where it agrees up to lattice vectors, and gives all its digits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import SMALLEST_VOLUME
from numpy.typing import NDArray

from deeph_dock.codes.abacus.assembly import BOHR
from deeph_dock.codes.abacus.files import Files
from deeph_dock.codes.abacus.headers import Head
from deeph_dock.codes.abacus.log import Log
from deeph_dock.codes.abacus.stru import Geometry, Species, Stru, fractional, read_stru

Float = NDArray[np.float64]
Int = NDArray[np.int64]

CLOSE = 1e-6
"""Positions that differ by less, in lattice constants, are the same: the log has ten digits."""
_SAME_CELL = 2e-5  # six digits
_ON_THE_EDGE = 1e-12
_MOVING = ("md", "relax", "cell-relax")


@dataclass(frozen=True, eq=False)
class Sites:
    """Cell and atoms.

    Attributes
    ----------
    lattice : (3, 3)
        Lattice vectors as rows, Å.
    positions : (n, 3)
        Cartesian, Å, as the input has them.
    moved : (n, 3) int64
        Lattice vectors by which ABACUS moved each atom.
    constant : float
        Lattice constant, Bohr.
    species : tuple of Species
        In the order of the matrices.
    warnings : tuple of str
        What the user should know.
    """

    lattice: Float
    positions: Float
    moved: Int
    constant: float
    species: tuple[Species, ...]
    warnings: tuple[str, ...] = ()


def find_sites(files: Files, head: Head, log: Log | None, latname: str) -> Sites:
    """Find cell and atoms of the step that the matrices are of.

    Parameters
    ----------
    files : Files
        Files of the run.
    head : Head
        Head of the matrices.
    log : Log or None
        Log of the run.
    latname : str
        Kind of Bravais lattice in INPUT, "none" if the vectors are in STRU.

    Returns
    -------
    Sites
        With the species.

    Raises
    ------
    InputError
        If no file has the atoms of that step.
    """
    stru, reasons = _stru(files, log, latname)
    moving = bool(head.step) or (log is not None and log.calculation in _MOVING)
    used = _used(files, head, log, stru, moving)
    species = _species(log, stru, head, files)
    labels = tuple(one.label for one in species for _ in range(one.atoms))
    given = [(stru.geometry, "STRU")] if stru is not None else []
    for path in files.geometries if moving else ():
        try:
            given.append((read_stru(path, BOHR).geometry, path.name))
        except InputError as error:
            reasons.append(str(error))
    if used is None:
        if stru is None:
            raise InputError(
                f"{files.out}: no file has cell and atoms: put STRU above it or the log into it"
                + "".join(f" ({reason})" for reason in reasons)
            )
        if moving:
            raise InputError(
                f"{files.out}: the matrices are of step {head.step}, whose atoms no file has; put "
                "MD_dump or the log beside them"
            )
        inside = _into_cell(stru.geometry.positions)
        why = "no log: that the atoms of STRU are those of the matrices is not confirmed"
        return _sites(stru.geometry, inside, species, (why,))
    for geometry, _ in given:
        moved = _translations(geometry, used)
        if moved is not None:
            return _sites(geometry, moved, species, ())
    if len(used.labels) != len(labels):
        raise InputError(
            f"{used.source}: {len(used.labels)} atoms, {len(labels)} of the species: damaged"
        )
    where = Path(used.source).name
    warnings: tuple[str, ...] = ()
    if given and not moving:
        warnings = (f"STRU differs from the atoms of the run: those of {where} are taken",)
    rough = stru is None or used.vectors is not stru.geometry.vectors
    if rough and used.source != str(files.trajectory):
        warnings += (f"the cell is that of {where}, with six digits",)
    return _sites(used, np.zeros((len(used.labels), 3), np.int64), species, warnings)


def _stru(files: Files, log: Log | None, latname: str) -> tuple[Stru | None, list[str]]:
    """Read STRU, if it is there and whole."""
    if files.stru is None:
        return None, []
    try:
        vectors = log.vectors if log is not None else None
        return read_stru(files.stru, BOHR, latname, vectors), []
    except InputError as error:
        if log is None:
            raise
        return None, [str(error)]


def _species(log: Log | None, stru: Stru | None, head: Head, files: Files) -> tuple[Species, ...]:
    """Give the species; the log decides, STRU adds the names of the orbitals."""
    said = log.species if log is not None else ()
    if not said:
        if stru is not None:
            return stru.species
        raise InputError(f"{log.path if log else files.out}: no species of atoms; cut or damaged")
    if stru is None or [s.label for s in stru.species] != [s.label for s in said]:
        return said
    return tuple(
        Species(one.label, one.atoms, one.pseudopotential or other.pseudopotential, other.orbital)
        for one, other in zip(said, stru.species, strict=True)
    )


def _used(
    files: Files, head: Head, log: Log | None, stru: Stru | None, moving: bool
) -> Geometry | None:
    """Find the atoms as ABACUS used them: in the cell, of the right step."""
    rough = _from_head(head, files) if head.cell_text else None
    if rough is None and moving and files.trajectory is not None and head.step is not None:
        rough = _from_trajectory(files.trajectory, head.step)
        if rough is not None:
            return rough
    if rough is None and log is not None and not (log.calculation == "md" and head.step):
        rough = _from_log(log, stru, head.step or 0)
    if rough is None or stru is None:
        return rough
    # The log and the head have six digits of the cell: STRU has more, if it is the same.
    exact, given = stru.geometry.constant, stru.geometry.vectors
    cell = rough.vectors * rough.constant
    if np.abs(given * exact - cell).max() > _SAME_CELL * np.abs(cell).max():
        return rough
    return Geometry(rough.source, exact, given, rough.positions, rough.labels)


def _from_log(log: Log, stru: Stru | None, step: int) -> Geometry | None:
    """Read the atoms of the last cycle off the log."""
    listed, constant, vectors = log.positions(step), log.constant, log.vectors
    if listed is None or constant is None:
        return None
    if vectors is None:
        if stru is None:
            return None
        vectors = stru.geometry.vectors
    kind, positions = listed
    if kind == "CARTESIAN":
        cell = vectors
        if stru is not None and np.abs(stru.geometry.vectors - vectors).max() < _SAME_CELL * (
            np.abs(vectors).max()
        ):
            cell = stru.geometry.vectors
        positions = fractional(positions, cell)
    labels = tuple(one.label for one in log.species for _ in range(one.atoms))
    if len(labels) != len(positions):
        raise InputError(
            f"{log.path}: {len(positions)} positions of {len(labels)} atoms; cut or damaged"
        )
    return Geometry(str(log.path), constant, vectors, positions, labels)


def _from_head(head: Head, files: Files) -> Geometry:
    """Read the atoms off the head of a csr file of the newest kind."""
    where = files.overlap or files.out
    lines = [line.split() for line in head.cell_text.decode("utf-8", "replace").splitlines()]
    lines = [words for words in lines if words]
    try:
        constant = float(lines[1][0]) / BOHR
        vectors = np.array([[float(word) for word in words] for words in lines[2:5]])
        counts = [int(word) for word in lines[6]]
        kind, rows = lines[7][0], lines[8:]
        positions = np.array([[float(word) for word in words[:3]] for words in rows])
        if sum(counts) != len(positions):
            raise ValueError
        labels = tuple(label for label, n in zip(lines[5], counts, strict=True) for _ in range(n))
        usable = kind == "Direct" and positions.shape == (len(labels), 3)
        usable = usable and vectors.shape == (3, 3) and 1e-3 < constant < 1e6
        if not usable or not abs(np.linalg.det(vectors)) > 1e-9:
            raise ValueError
    except (ValueError, IndexError):
        raise InputError(f"{where}: head of the csr file: cell and atoms are damaged") from None
    return Geometry(str(where), constant, vectors, positions, labels)


def _from_trajectory(path: Path, step: int) -> Geometry | None:
    """Read the atoms of a step of molecular dynamics, and move them into the cell."""
    text = path.read_text("utf-8", errors="replace")
    found = re.search(rf"^MDSTEP:\s+{step}\s*$(.*?)(?=^MDSTEP|\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return None
    lines = [line.split() for line in found[1].splitlines() if line.strip()]
    rows = [words for words in lines if words[0].isdecimal() and len(words) >= 5]
    try:
        (scale,) = (float(words[1]) for words in lines if words[0] == "LATTICE_CONSTANT:")
        start = [words[0] for words in lines].index("LATTICE_VECTORS")
        vectors = np.array(
            [[float(w) for w in words[:3]] for words in lines[start + 1 : start + 4]]
        )
        positions = np.array([[float(word) for word in words[2:5]] for words in rows])
        inside = fractional(positions, vectors * scale)
        if vectors.shape != (3, 3) or not np.isfinite(inside).all() or not len(rows):
            raise ValueError
    except (ValueError, np.linalg.LinAlgError):
        raise InputError(f"{path}: MDSTEP {step}: cut or damaged") from None
    labels = tuple(words[1] for words in rows)
    inside = inside + _into_cell(inside)
    return Geometry(str(path), scale / BOHR, vectors, inside, labels)


def _translations(given: Geometry, used: Geometry) -> Int | None:
    """Give the lattice vectors from one geometry to another, None if they are not the same."""
    if given.labels != used.labels:
        return None
    cells = given.vectors * given.constant, used.vectors * used.constant
    if np.abs(cells[0] - cells[1]).max() > _SAME_CELL * np.abs(cells[1]).max():
        return None
    difference = used.positions - given.positions
    moved = np.rint(difference)
    away = (difference - moved) @ given.vectors
    if np.abs(moved).max(initial=0.0) > 2**15 or np.abs(away).max(initial=0.0) > CLOSE:
        return None
    return moved.astype(np.int64)


def _into_cell(positions: Float) -> Int:
    """Give the lattice vectors that move atoms into the cell."""
    moved: Int = -np.floor(positions + _ON_THE_EDGE).astype(np.int64)
    return moved


def _sites(
    geometry: Geometry, moved: Int, species: Sequence[Species], warnings: tuple[str, ...]
) -> Sites:
    lattice = geometry.vectors * (geometry.constant * BOHR)
    finite = np.isfinite(lattice).all() and np.isfinite(geometry.positions).all()
    if not finite or not abs(np.linalg.det(lattice)) > SMALLEST_VOLUME:
        raise InputError(f"{geometry.source}: no usable cell or atoms; the file is damaged")
    positions = geometry.positions @ lattice
    return Sites(lattice, positions, moved, geometry.constant, tuple(species), warnings)
