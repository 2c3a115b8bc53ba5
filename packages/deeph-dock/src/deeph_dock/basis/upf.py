"""UPF files of pseudopotentials, versions 1 and 2: element, valence charge, reach of projectors.

Version 2 has attributes, ``<PP_HEADER element="Si" z_valence="4.00" .../>``; version 1 has lines
between ``<PP_HEADER>`` and ``</PP_HEADER>``, a value and what it is: ``4.00 Z valence``. Radii are
in Bohr, projectors are r beta(r).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS
from numpy.typing import NDArray

Real = NDArray[np.float64]

BOHR = 0.529177
"""1 Bohr in Å, as ABACUS has it."""
_HEADER = re.compile(rb"<PP_HEADER\b(.*?)(?:/\s*>|</PP_HEADER\s*>)", re.DOTALL | re.IGNORECASE)
_SIGNS = (b"<UPF ", b"<PP_HEADER", b"<PP_INFO")
_FIRST_BYTES = 1 << 20
"""A header is within these: notes before it may be long."""
_SMALLEST = 1e-10
"""Projectors end where they are never larger, as in ABACUS."""
_MOST_CHARGE = 118.0


@dataclass(frozen=True)
class Pseudopotential:
    """What is used of a pseudopotential.

    Attributes
    ----------
    number : int
        Atomic number.
    valence : float
        Electrons of the neutral atom outside the core.
    projector_reach : float
        Where the longest non-local projector ends, Å; 0 without any.
    """

    number: int
    valence: float
    projector_reach: float


def recognises(path: Path) -> bool:
    """Tell whether a file is a pseudopotential in UPF, by its first bytes.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    bool
        False as well if it cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return any(sign in start for sign in _SIGNS)


def valence(path: Path) -> tuple[int, float] | None:
    """Read the charge of a pseudopotential; the rest of the file may be damaged.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    tuple of int and float, or None
        Atomic number and valence charge; None if it is no UPF file.

    Raises
    ------
    InputError
        If it is one without element or charge.
    """
    if not recognises(path):
        return None
    with open(path, "rb") as file:
        return _header(path, file.read(_FIRST_BYTES))


def read(path: Path) -> Pseudopotential:
    """Read a pseudopotential.

    Parameters
    ----------
    path : Path
        A UPF file.

    Returns
    -------
    Pseudopotential
        Element, charge, and reach of the projectors.

    Raises
    ------
    InputError
        If it is no UPF file, or a damaged one.
    """
    if not recognises(path):
        raise InputError(f"{path}: no pseudopotential in UPF: neither <UPF> nor <PP_HEADER>")
    text = path.read_bytes()
    number, charge = _header(path, text)
    return Pseudopotential(number, charge, _reach(path, text))


def _header(path: Path, text: bytes) -> tuple[int, float]:
    found = _HEADER.search(text)
    if found is None:
        raise InputError(f"{path}: PP_HEADER is not complete; the file is cut off: get it again")
    header = found[1].decode("ascii", errors="replace")
    symbol = _value(header, "element", r"^\s*(\S+)\s+Element\b").capitalize()
    number = ATOMIC_NUMBERS.get(symbol, 0)
    if not 1 <= number <= 118:
        raise InputError(f"{path}: PP_HEADER: element is '{symbol}'; expected a symbol such as Si")
    given = _value(header, "z_valence", r"^\s*(\S+)\s+Z valence\b")
    charge = _number(given)
    if not 0 < charge <= _MOST_CHARGE:
        raise InputError(
            f"{path}: PP_HEADER: z_valence of {symbol} is '{given}'; expected a positive charge"
        )
    return number, charge


def _value(header: str, key: str, line: str) -> str:
    """Take a value of the header: an attribute, or the start of a line."""
    attribute = rf"""\b{key}\s*=\s*(["'])(.*?)\1"""
    found = re.search(attribute, header, re.DOTALL)
    if found is not None:
        return found[2].strip()
    found = re.search(line, header, re.MULTILINE | re.IGNORECASE)
    return found[1] if found is not None else ""


def _number(text: str) -> float:
    """Read a number, of Fortran as well; NaN for anything else."""
    try:
        return float(re.sub("[dD]", "e", text))
    except ValueError:
        return float("nan")


def _reach(path: Path, text: bytes) -> float:
    """Find where projectors end: at the last value that is not zero, rounded up to an odd count.

    Rounding is that of ABACUS, which links atoms by this radius.
    """
    announced = _announced(text)
    projectors = list(_projectors(text))
    if announced is not None and len(projectors) != announced:
        raise InputError(
            f"{path}: PP_NONLOCAL has {len(projectors)} complete PP_BETA, PP_HEADER says "
            f"{announced}; the file is cut off: get it again"
        )
    if not projectors:
        return 0.0
    found = re.search(rb"<PP_R\b[^>]*>(.*?)</PP_R\s*>", text, re.DOTALL)
    radii = _numbers(path, "PP_R", found[1] if found is not None else b"")
    if len(radii) < 2 or (np.diff(radii) <= 0).any():
        raise InputError(f"{path}: PP_R has {len(radii)} radii, or they do not increase; damaged")
    last = 0.0
    for place, values in enumerate(projectors, 1):
        beta = _numbers(path, f"PP_BETA {place}", values)[: len(radii)]
        large = np.flatnonzero(np.abs(beta) > _SMALLEST)
        if len(large):
            used = int(large[-1]) + 1 - int(large[-1]) % 2
            last = max(last, float(radii[used - 1]))
    return last * BOHR


def _announced(text: bytes) -> int | None:
    """Read how many projectors the header names."""
    found = _HEADER.search(text)
    header = found[1].decode("ascii", errors="replace") if found is not None else ""
    given = _value(header, "number_of_proj", r"^\s*\d+\s+(\d+)\s+Number of Wave[^\n]*Projectors")
    return int(given) if given.isdecimal() else None


def _projectors(text: bytes) -> list[bytes]:
    """Cut out the numbers of every projector."""
    found = re.findall(rb"<PP_BETA(\.\d+\b)?([^>]*)>(.*?)</PP_BETA", text, re.DOTALL)
    numbers = []
    for name, _, content in found:
        if name:
            numbers.append(content)
            continue
        # Version 1: "1 0 Beta L", how many numbers, then they, and perhaps radii.
        lines = content.strip().split(b"\n", 2)
        count = lines[1].split()[0] if len(lines) == 3 and lines[1].split() else b"0"
        values = lines[2].split() if len(lines) == 3 else []
        numbers.append(b" ".join(values[: int(count) if count.isdigit() else 0]))
    return numbers


def _numbers(path: Path, key: str, text: bytes) -> Real:
    try:
        values = np.array(text.upper().replace(b"D", b"E").split(), np.float64)
    except ValueError:
        values = np.full(1, np.nan)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {key} has something that is no number; damaged: get it again")
    return values
