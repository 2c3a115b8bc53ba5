"""Many numbers of one form at once: ``-2.46421570e-08``, as ABACUS writes them.

Each number is found by its ``e``. Three 64-bit words hold all of it; its eight decimals become an
integer by three multiplications (pairs of digits, pairs of pairs, both halves), its exponent is
looked up. Mantissa and power of ten are exact in double precision, so that the quotient is the
double nearest to the text; below 1e-14 and above 1e8, where the power is not exact, it may be the
one beside it.

Measured on 27 MB (1.7 million numbers): 0.07 s, `numpy.fromstring` 0.16 s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Words = NDArray[np.uint64]

_PIECE = 1 << 17
"""Bytes at a time: arrays of the numbers in them are small enough to be allocated at no cost."""
_DIGITS = 14
"""Characters of a number without its sign."""
_START = 11
"""Characters from the sign, or what is in its place, to the e."""
_LEAD_AND_POINT = np.uint64(0xFFF000), np.uint64(0x2E3000)
"""A digit (but for its value) and a point, in the second and third character."""


def _divisors() -> Float:
    """Give 10^(8 - exponent) for what stands behind the e, not a number where that is none.

    The place is: the two digits as they are in memory, and the two bits in which + and - differ.
    """
    table = np.full(1 << 18, np.nan)
    for exponent in range(100):
        tens, ones = divmod(exponent, 10)
        digits = ord("0") + tens | (ord("0") + ones) << 8
        for sign, character in ((1, "+"), (-1, "-")):
            bits = (ord(character) >> 1) & 3
            table[digits | bits << 16] = float(f"1e{8 - sign * exponent}")
    return table


_DIVISORS = _divisors()


def read_decimals(text: bytes, between: int = 0) -> tuple[Float, Int] | None:
    """Read numbers with eight decimals and two digits of exponent.

    Parameters
    ----------
    text : bytes
        Numbers with anything that is no digit between them, and something before the first.
    between : int
        Characters that neither belong to a number nor are white: brackets and commas.

    Returns
    -------
    values : (n,) float64 array
        The numbers.
    ends : (n,) int64 array
        Where in the text each number ends, if there is something between them; else empty.
    Or None if one has another form, or there is anything else.
    """
    if len(text) < _START + 4:
        return None
    characters = np.frombuffer(text, np.uint8)
    words = np.lib.stride_tricks.as_strided(
        np.frombuffer(text, "<u8", count=1), (len(text) - 7,), (1,), writeable=False
    )
    values: list[Float] = []
    ends: list[Int] = []
    length = filled = 0
    for start in range(0, len(text), _PIECE):
        part = characters[start : start + _PIECE]
        filled += int(np.count_nonzero(part > ord(" ")))
        marks = np.flatnonzero(part == ord("e"))
        if not len(marks):
            continue
        marks += start - _START
        if marks[0] < 0 or marks[-1] + 7 >= len(words):
            return None
        read = _read(words[marks], words[marks + 3], words[marks + 7])
        if read is None:
            return None
        numbers, minuses = read
        values.append(numbers)
        if between:
            ends.append(marks + (_START + 4))
        length += _DIGITS * len(marks) + minuses
    if not values or filled != length + between:
        return None
    return np.concatenate(values), np.concatenate(ends) if between else np.empty(0, np.int64)


def _read(head: Words, middle: Words, tail: Words) -> tuple[Float, int] | None:
    """Read numbers from their characters 0 to 7, 3 to 10 and 7 to 14, and count the minuses.

    None if one is no number.
    """
    mantissa, fine = _eight_digits(middle)
    lead = head >> np.uint64(8)
    lead &= np.uint64(15)
    mask, form = _LEAD_AND_POINT
    fine = fine and bool(lead.max() < 10) and bool((head & mask == form).all())
    # A minus is the one odd character that may stand here: its last bit becomes the sign bit.
    before = head & np.uint64(255)
    minuses = int(np.count_nonzero(before == ord("-")))
    odd = int(np.count_nonzero(head & np.uint64(1)))
    if not fine or before.max() > ord("-") or odd != minuses:
        return None
    lead *= np.uint64(10**8)
    mantissa += lead
    place = tail >> np.uint64(48)
    tail >>= np.uint64(25)  # bits 1 and 2 of the sixth character
    tail &= np.uint64(3 << 16)
    place |= tail
    values: Float = mantissa.astype(np.float64)
    values /= _DIVISORS[place]
    if not np.isfinite(values).all():
        return None
    head <<= np.uint64(63)
    values.view(np.uint64)[:] |= head
    return values, minuses


def _eight_digits(words: Words) -> tuple[Words, bool]:
    """Turn words of eight digits, the first in the lowest byte, into numbers; tell if they are."""
    value = words - np.uint64(0x3030303030303030)
    other = words + np.uint64(0x4646464646464646)  # beyond 9 the highest bit is set
    other |= value
    other &= np.uint64(0x8080808080808080)
    value *= np.uint64(1 + (10 << 8))
    value >>= np.uint64(8)
    value &= np.uint64(0x00FF00FF00FF00FF)
    value *= np.uint64(1 + (100 << 16))
    value >>= np.uint64(16)
    value &= np.uint64(0x0000FFFF0000FFFF)
    value *= np.uint64(1 + (10000 << 32))
    value >>= np.uint64(32)
    return value, not other.any()
