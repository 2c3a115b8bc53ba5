"""Numbers from text in bulk."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    parts = reals(text.translate(_BRACKETS))
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


def _from_text(text: bytes, dtype: type[Any]) -> NDArray[Any]:
    if not text.strip():
        return np.empty(0, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for what is no number
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except DeprecationWarning:
            raise ValueError("something that is no number") from None
