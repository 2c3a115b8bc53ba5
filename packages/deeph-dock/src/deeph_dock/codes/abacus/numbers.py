"""Numbers from text in bulk: by `numpy.fromstring`, and faster where all have the usual form."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph_dock.codes.abacus.decimals import read_decimals

_MANY = 4096
"""Text in bytes from which on the fast way is the faster one."""
_BRACKETS = bytes.maketrans(b"(,)", b"   ")


def reals(text: bytes) -> NDArray[np.float64]:
    """Read numbers between white space.

    Parameters
    ----------
    text : bytes
        The numbers.

    Returns
    -------
    (n,) float64 array
        The doubles nearest to the text.

    Raises
    ------
    ValueError
        If anything else is there.
    """
    if len(text) > _MANY:
        fast = read_decimals(text)
        if fast is not None:
            return fast[0]
    return _from_text(text, np.float64)


def complexes(text: bytes) -> NDArray[np.complex128]:
    """Read complex numbers ``(re,im)`` between white space.

    Parameters
    ----------
    text : bytes
        The numbers.

    Returns
    -------
    (n,) complex128 array
        The numbers.

    Raises
    ------
    ValueError
        If anything else is there.
    """
    count = text.count(b",")
    if not text.count(b"(") == text.count(b")") == count:
        raise ValueError("a complex number is not closed")
    if len(text) > _MANY:
        fast = read_decimals(text, 3 * count)
        if fast is not None and _in_pairs(text, fast[1], count):
            return fast[0].view(np.complex128)
    parts = _from_text(text.translate(_BRACKETS), np.float64)
    if len(parts) != 2 * count:
        raise ValueError(f"{len(parts)} numbers in {count} brackets")
    return parts.view(np.complex128)


def integers(text: bytes) -> NDArray[np.int64]:
    """Read whole numbers between white space.

    Parameters
    ----------
    text : bytes
        The numbers.

    Returns
    -------
    (n,) int64 array
        The numbers.

    Raises
    ------
    ValueError
        If anything else is there.
    """
    return _from_text(text, np.int64)


def _in_pairs(text: bytes, ends: NDArray[np.int64], count: int) -> bool:
    """Tell whether a comma follows every first number, and a bracket every second."""
    characters = np.frombuffer(text, np.uint8)
    if len(ends) != 2 * count or ends[-1] >= len(text):
        return False
    behind = characters[ends]
    return bool((behind[::2] == ord(",")).all() and (behind[1::2] == ord(")")).all())


def _from_text(text: bytes, dtype: type[Any]) -> NDArray[Any]:
    if not text or text.isspace():
        return np.empty(0, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for what is no number
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except DeprecationWarning:
            raise ValueError("something that is no number") from None
