"""The heads of csr files: which matrix it is, of which step, and how large.

Four styles are known; the name of a file does not tell which one it has:

A   ``STEP: 0`` / ``Matrix Dimension of H(R): 26`` / ``Matrix number of H(R): 93``
B   the same without STEP
C   ``IONIC_STEP: 1``, the two lines, and a box of comments
D   `` --- Ionic Step 1 ---``, comments such as ``26 # number of localized basis``, the cell and
    the atoms, and a box of comments

A file of molecular dynamics may hold several steps, one after another, each with a head.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deeph_spec.errors import InputError

HEAD = 512
"""Bytes by which a file is recognised."""
_OLD = re.compile(
    rb"(?:(?:IONIC_)?STEP:\s*(\d{1,9})\s*\n)?\s*Matrix Dimension of (\w+)\(?R?\)?:\s*(\d{1,9})\s*\n"
    rb"\s*Matrix number of \w+\(?R?\)?:\s*(\d{1,9})\s*\n"
)
_NEW = re.compile(rb"\s*--- Ionic Step (\d{1,9}) ---\s*\n\s*# print .*? (\w+)\(R\)\s*\n")
_COUNTED = {
    "dimension": rb"^\s*(\d{1,9}) # number of localized basis\s*$",
    "cells": rb"^\s*(\d{1,9}) # number of Bravais lattice vector R\s*$",
}
_SPIN = re.compile(rb"^ *2 # number of spin directions\s*^ *([12]) # spin index", re.MULTILINE)
_MOST = 10**8
_ENOUGH = 1 << 16


@dataclass(frozen=True)
class Head:
    """Head of one step of a csr file.

    Attributes
    ----------
    matrix : str
        "H", "S", "DM", "r", or another that is not converted.
    step : int or None
        Number of the step from 0; None if the file does not say.
    dimension : int
        Rows of the matrix.
    cells : int
        Lattice vectors R in the file.
    cell_text : bytes
        Style D: cell and atoms; else empty.
    end : int
        Where in the file the head ends.
    """

    matrix: str
    step: int | None
    dimension: int
    cells: int
    cell_text: bytes
    end: int


class Kind(NamedTuple):
    """What a file holds: which matrix, of which step and spin channel, both from 0."""

    matrix: str
    step: int | None = None
    spin: int | None = None


def kind_of(head: bytes) -> Kind | None:
    """Tell from the first bytes of a csr file what it holds.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes.

    Returns
    -------
    Kind or None
        Step and spin where the file says them; None for a file that is no csr file.
    """
    found = _OLD.match(head)
    if found is not None:
        return Kind(found[2].decode(), _step(found[1], head))
    found = _NEW.match(head)
    if found is not None:
        spin = _SPIN.search(head)
        return Kind(found[2].decode(), int(found[1]) - 1, int(spin[1]) - 1 if spin else None)
    return None


def read_head(data: bytes, start: int, path: Path) -> Head:
    """Read the head of a step.

    Parameters
    ----------
    data : bytes
        The whole file.
    start : int
        Where the step begins.
    path : Path
        The file, for messages.

    Returns
    -------
    Head
        What it says.

    Raises
    ------
    InputError
        If it is incomplete or of no known style.
    """
    found = _OLD.match(data, start)
    if found is not None:
        dimension, cells = int(found[3]), int(found[4])
        head = Head(
            found[2].decode(), _step(found[1], found[0]), dimension, cells, b"", found.end()
        )
        return _checked(head, path)
    found = _NEW.match(data, start)
    box = data.find(b"#---", start)
    if found is None or box < 0:
        raise InputError(
            f"{path}: no head of a csr file at byte {start}: neither 'Matrix Dimension of ..' nor "
            f"'--- Ionic Step ..' with all its lines; the file is cut or damaged"
        )
    text = data[found.end() : box]
    numbers: dict[str, int] = {}
    end = 0
    for key, pattern in _COUNTED.items():
        line = re.search(pattern, text, re.MULTILINE)
        if line is None:
            raise InputError(f"{path}: head of the csr file: no line for the {key}; damaged")
        numbers[key], end = int(line[1]), max(end, line.end())
    head = Head(
        matrix=found[2].decode(),
        step=int(found[1]) - 1,
        dimension=numbers["dimension"],
        cells=numbers["cells"],
        cell_text=text[end:],
        end=box,
    )
    return _checked(head, path)


def peek(path: Path, whole: bool) -> tuple[Head, int]:
    """Read the head of the last step of a file.

    Parameters
    ----------
    path : Path
        A csr file.
    whole : bool
        Look for further steps; without it the file is taken to hold one step.

    Returns
    -------
    head : Head
        Of the last step.
    steps : int
        Steps in the file.

    Raises
    ------
    InputError
        If the head is incomplete or of no known style.
    """
    with open(path, "rb") as file:
        data = file.read() if whole else file.read(_ENOUGH)
        if not whole and b"# CSR values" not in data and data.lstrip().startswith(b"---"):
            data += file.read()  # many atoms
    start, steps = last_step(data) if whole else (0, 1)
    return read_head(data, start, path), steps


def last_step(data: bytes) -> tuple[int, int]:
    """Find the last step in a file.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    start : int
        Where its head begins.
    steps : int
        Steps in the file, at least 1.
    """
    new = data[:HEAD].lstrip().startswith(b"---")
    marks = (b"--- Ionic Step",) if new else (b"STEP:", b"Matrix Dimension of ")
    for mark in marks:
        start = data.rfind(mark)
        if start >= 0:
            return data.rfind(b"\n", 0, start) + 1, data.count(mark)
    return 0, 1


def _step(number: bytes | None, head: bytes) -> int | None:
    """Count steps from 0: STEP does, IONIC_STEP begins with 1."""
    if number is None:
        return None
    return int(number) - (1 if head.lstrip().startswith(b"IONIC") else 0)


def _checked(head: Head, path: Path) -> Head:
    if not 0 < head.dimension <= _MOST or not 0 < head.cells <= _MOST:
        raise InputError(
            f"{path}: head of the csr file: {head.dimension} rows and {head.cells} lattice "
            "vectors; the file is damaged, or the run wrote no elements"
        )
    return head
