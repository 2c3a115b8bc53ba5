"""Numbers in bulk from the text files of FHI-aims, and what a damaged file looks like."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import DTypeLike, NDArray

_NO_LETTER = re.compile(rb"(?<=\d)(?=[+-]\d{3}\b)")
"""Where Fortran leaves the E out: 0.123-101 is 0.123E-101."""


def read_whole(path: Path) -> bytes:
    """Read a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    InputError
        If it cannot be read or is empty.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty; copy it again or run again")
    return text


def check_end(text: bytes, path: Path) -> None:
    """Refuse a text that breaks off in its last number.

    Parameters
    ----------
    text : bytes
        Lines of one width.
    path : Path
        The file, for messages.

    Raises
    ------
    InputError
        If the last line has no end and is shorter than the one before it.
    """
    *_, before, last = (b"", *text[-1024:].split(b"\n"))
    if last and len(last) < len(before):
        raise InputError(
            f"{path}: the last line breaks off: the file is cut; copy it again or run again"
        )


def parse_numbers(
    text: bytes, dtype: DTypeLike, counts: tuple[int, ...], path: Path, key: str
) -> NDArray[Any]:
    """Parse numbers that are separated by white space.

    Parameters
    ----------
    text : bytes
        Nothing but numbers.
    dtype : dtype
        int64 or float64.
    counts : tuple of int
        How many numbers there may be, the most likely first.
    path, key
        For messages.

    Returns
    -------
    array
        Finite.

    Raises
    ------
    InputError
        If there is anything else, another number of them, or one that is not finite.
    """
    values = _parsed(text, dtype)
    if values is None or len(values) not in counts:
        values = _parsed(_NO_LETTER.sub(b"E", text), dtype)
    if values is None:
        raise InputError(f"{path}: {key}: something is not a number; the file is damaged")
    if len(values) not in counts:
        raise InputError(
            f"{path}: {key}: {len(values)} numbers, expected {counts[0]}; the file is cut or "
            "damaged, or of another run"
        )
    check_finite(values, path, key)
    return values


def check_finite(values: NDArray[Any], path: Path, key: str) -> None:
    """Refuse numbers that are not finite.

    Parameters
    ----------
    values : array
        Of any type.
    path, key
        For messages.

    Raises
    ------
    InputError
        If one of them is not.
    """
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"{path}: {key}: number {at + 1} is {values[at]}; the run failed or the file is damaged"
        )


def _parsed(text: bytes, dtype: DTypeLike) -> NDArray[Any] | None:
    """Parse numbers; None if there is anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return np.fromstring(text, dtype=dtype, sep=" ")
    except (DeprecationWarning, ValueError):
        return None
