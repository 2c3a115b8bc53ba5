"""What FHI-aims printed: version, Fermi level, electrons, convergence, geometries, eigenvalues.

Runs that were sent to one file follow each other in it; the last that got as far as a
self-consistency cycle counts.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.fhi_aims.control import fortran_number
from deeph_dock.codes.fhi_aims.geometry import Geometry, parse_geometry
from deeph_dock.codes.fhi_aims.log_file import WELCOME

Float = NDArray[np.float64]

_CYCLE = b"Begin self-consistency loop"
_ITERATION = b"Begin self-consistency iteration"
_CONVERGED = b"Self-consistency cycle converged"
_VERSION = re.compile(rb"^\s*(?:FHI-aims version\s*:\s*|Version\s+)(\S+)", re.M)
_FUNCTIONAL = re.compile(rb"^\s*XC:\s*(?:Using\s+)?(\S.*?)\s*$", re.M)
_ELECTRONS = re.compile(rb"Formal number of electrons \(from input files\)\s*:\s*(\S+)")
_FERMI = re.compile(
    rb"^\s*\|\s*Chemical potential(?: \(Fermi level\))?(?: in eV)?\s*:\s*(\S+)(?: eV)?\s*$",
    re.M | re.I,
)
_SPECIES = re.compile(rb"^\s*Reading configuration options for species (\S+)", re.M)
_CHARGE = re.compile(rb"^\s*\| Found nuclear charge\s*:\s*(\S+)", re.M)
_UPDATED = re.compile(rb"^\s*Updated atomic structure:", re.M)
_PRECEDING = re.compile(
    rb"^\s*(?:Final a|A)tomic structure (?:\(and velocities\) as|that was) used in the preceding "
    rb"time step",
    re.M,
)
_INPUT = re.compile(rb"^\s*Input geometry:\s*$", re.M)
_LISTED = re.compile(
    rb"[ \t]*\|[ \t]*\d+:[ \t]*Species[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)"
)
_ROW = re.compile(rb"[ \t]*\|[ \t]+(-?\d+\.\d+)[ \t]+(-?\d+\.\d+)[ \t]+(-?\d+\.\d+)[ \t]*$")
_EIGENVALUES = b"Writing Kohn-Sham eigenvalues."
_KPOINT = re.compile(rb"K-point:\s*\d+\s+at\s+(\S+)\s+(\S+)\s+(\S+)")
_STATE = re.compile(rb"\s*\d+\s+-?\d+\.\d+\s+\S+\s+(\S+)\s*$")
_BETWEEN = (b"Spin-up", b"Spin-down", b"K-point:", b"State ")


@dataclass(frozen=True, eq=False)
class Log:
    """Facts from the output of a run; None where it does not say.

    Attributes
    ----------
    path : Path
    version, functional : str or None
    electrons : float or None
    fermi_level : float or None
        In eV, the last one printed.
    charges : dict
        Nuclear charge of each species.
    cycles : int
        Self-consistency cycles that began; more than one for a relaxation or dynamics.
    iterations : bool
        Whether the last cycle got beyond its initialisation.
    converged : bool
        Whether the last cycle converged.
    initial : Geometry or None
        As read from geometry.in.
    last : Geometry or None
        Of the last cycle; None if it is not listed, though there were several.
    levels : bytes
        The last list of eigenvalues.
    """

    path: Path
    version: str | None
    functional: str | None
    electrons: float | None
    fermi_level: float | None
    charges: dict[str, float]
    cycles: int
    iterations: bool
    converged: bool
    initial: Geometry | None
    last: Geometry | None
    levels: bytes


def read_log(path: Path) -> Log:
    """Read the output of a run.

    Parameters
    ----------
    path : Path
        The file, not empty.

    Returns
    -------
    Log
        What it says about the last run in it.

    Raises
    ------
    InputError
        If it cannot be read, or its geometry is damaged.
    """
    text = _last_run(path)
    start = text.rfind(_CYCLE)
    cycle = text[start:] if start >= 0 else b""
    version, functional = _VERSION.search(text), _FUNCTIONAL.search(text)
    levels = list(_FERMI.finditer(cycle))
    initial = _input_geometry(text, path)
    cycles = text.count(_CYCLE)
    at = cycle.rfind(_EIGENVALUES)
    return Log(
        path,
        version=_text(version),
        functional=_text(functional),
        electrons=_number(_ELECTRONS.search(text)),
        fermi_level=_number(levels[-1]) if levels else None,
        charges=_charges(text),
        cycles=cycles,
        iterations=_ITERATION in cycle,
        converged=_CONVERGED in cycle,
        initial=initial,
        last=initial if cycles <= 1 else _last_geometry(text, start, path),
        levels=cycle[at:] if at >= 0 else b"",
    )


def _last_run(path: Path) -> bytes:
    """Give the text of the last run that began a cycle, else of the last run."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        cycle = text.rfind(_CYCLE)
        start = text.rfind(WELCOME, 0, cycle if cycle >= 0 else len(text))
        end = text.find(WELCOME, max(cycle, start + 1))
        return text[max(start, 0) : end if end >= 0 else len(text)]


def _text(found: re.Match[bytes] | None) -> str | None:
    """Give the first group of a match as text."""
    return found.group(1).decode("utf-8", "replace") if found is not None else None


def _number(found: re.Match[bytes] | None) -> float | None:
    """Give the first group of a match as a number, None if it is none."""
    value = fortran_number(_text(found) or "")
    return value if np.isfinite(value) else None


def _charges(text: bytes) -> dict[str, float]:
    """Give the nuclear charge of each species."""
    found: dict[str, float] = {}
    for match in _SPECIES.finditer(text):
        charge = _number(_CHARGE.search(text, match.end()))
        if charge is not None:
            found.setdefault(match.group(1).decode("utf-8", "replace"), charge)
    return found


def _input_geometry(text: bytes, path: Path) -> Geometry | None:
    """Read the geometry as it was read from geometry.in; None if it is not printed."""
    header = _INPUT.search(text)
    if header is None:
        return None
    lines: list[str] = []
    for raw in text[header.end() :].split(b"\n", 12)[:12]:
        row = _ROW.match(raw)
        if row is not None:
            lines.append("lattice_vector " + " ".join(x.decode() for x in row.groups()))
    begin = text.find(b"Atomic structure:", header.end())
    if begin < 0:
        return None
    found = False
    for raw in _lines(text, begin):
        atom = _LISTED.match(raw)
        if atom is not None:
            label, *place = (x.decode("utf-8", "replace") for x in atom.groups())
            lines.append(f"atom {' '.join(place)} {label}")
            found = True
        elif found:
            break
    return parse_geometry(lines, path) if found else None


def _last_geometry(text: bytes, start: int, path: Path) -> Geometry | None:
    """Read the geometry of the last of several cycles.

    A relaxation prints it before the cycle, dynamics after it.
    """
    after = _PRECEDING.search(text, start)
    before = [match.end() for match in _UPDATED.finditer(text, 0, start)]
    if after is None and not before:
        return None
    lines: list[str] = []
    begun = False
    for raw in _lines(text, after.end() if after is not None else before[-1]):
        line = raw.decode("utf-8", "replace")
        keyword = line.strip().partition(" ")[0]
        if keyword in ("lattice_vector", "atom", "velocity"):
            lines.append(line)
            begun = begun or keyword == "atom"
        elif begun:
            break
    if not begun:
        return None
    return parse_geometry(lines, path)


def _lines(text: bytes, start: int) -> list[bytes]:
    """Give the lines after a place, up to a generous number of atoms."""
    return text[start : start + 2**24].split(b"\n")[1:]


def read_levels(log: Log) -> tuple[Float, Float]:
    """Read the last eigenvalues that were printed.

    By default those of the first k-point; 'output k_eigenvalue N' prints those of N.

    Parameters
    ----------
    log : Log
        The output.

    Returns
    -------
    kpoints : (K, 3) array
        Fractional, with six decimals.
    energies : (S, K, B) array
        In eV; the lowest B bands.

    Raises
    ------
    InputError
        If they are damaged.
    """
    kpoints: dict[bytes, list[float]] = {}
    levels: dict[tuple[int, bytes], list[float]] = {}
    spin, at = 0, b""
    for line in log.levels.split(b"\n")[1:]:
        words = line.strip()
        state = _STATE.match(line)
        if state is not None:
            levels.setdefault((spin, at), []).append(
                fortran_number(state.group(1).decode("ascii", "replace"))
            )
        elif words.startswith((b"Spin-up", b"Spin-down")):
            spin = int(words.startswith(b"Spin-down"))
        elif words.startswith(b"K-point:"):
            found = _KPOINT.match(words)
            at = words
            if found is not None:
                kpoints[at] = [fortran_number(x.decode("ascii", "replace")) for x in found.groups()]
        elif words and not words.startswith(_BETWEEN):
            break
    spins = len({spin for spin, _ in levels})
    places = list(dict.fromkeys(at for _, at in levels))
    flat = [levels.get((spin, at), []) for spin in range(spins) for at in places]
    if not flat or not flat[0] or len({len(row) for row in flat}) > 1:
        raise InputError(f"{log.path}: the list of eigenvalues is cut or damaged")
    energies = np.array(flat).reshape(spins, len(places), -1)
    points = np.array([kpoints.get(at, [0.0, 0.0, 0.0]) for at in places])
    if not np.isfinite(energies).all() or not np.isfinite(points).all():
        raise InputError(f"{log.path}: an eigenvalue or a k-point is not a number")
    return points, energies
