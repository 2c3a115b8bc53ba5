"""Many numbers of one form at once: ``-2.46421570e-08``, as ABACUS writes them.

Each number is found by its ``e``. Three 64-bit words hold all of it; its eight decimals become an
integer by three multiplications (pairs of digits, pairs of pairs, both halves). Mantissa and power
of ten are exact in double precision, so that the quotient is the double nearest to the text; below
1e-14, where 10^k is not exact, it may be the one beside it.

Measured on 27 MB (1.7 million numbers): 0.07 s, `numpy.fromstring` 0.18 to 0.21 s.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_PIECE = 1 << 19
_DIGITS = 14
"""Characters of a number without its sign."""
_START = 11
"""Characters from the sign, or what is in its place, to the e."""
_POWERS = np.array([float(f"1e{k}") for k in range(128)])


def _form(text: str) -> tuple[np.uint64, np.uint64]:
    """Give mask and value of a word of a certain form; 0 stands for a digit, ? for anything."""
    mask = value = 0
    for place, character in enumerate(text):
        code = {"?": (0x00, 0x00), "0": (0xF0, 0x30), "+": (0xF9, 0x29)}
        # A plus or a minus differ in two bits; what else fits is told apart below.
        one, other = code.get(character, (0xFF, ord(character)))
        mask |= one << 8 * place
        value |= other << 8 * place
    return np.uint64(mask), np.uint64(value)


_HEAD = _form("?0.00000")
_TAIL = _form("0000e+00")


def read_decimals(
    text: bytes, between: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
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
        Where in the text each number ends.
    Or None if one has another form, or there is anything else.
    """
    if len(text) < _START + 4:
        return None
    characters = np.frombuffer(text, np.uint8)
    words = np.lib.stride_tricks.as_strided(
        np.frombuffer(text, "<u8", count=1), (len(text) - 7,), (1,), writeable=False
    )
    values: list[NDArray[np.float64]] = []
    ends: list[NDArray[np.int64]] = []
    length = filled = 0
    for start in range(0, len(text), _PIECE):
        piece_of_text = characters[start : start + _PIECE]
        filled += int(np.count_nonzero(piece_of_text > ord(" ")))
        marks = np.flatnonzero(piece_of_text == ord("e"))
        if not len(marks):
            continue
        marks += start - _START
        if marks[0] < 0 or marks[-1] + 7 >= len(words):
            return None
        head, middle, tail = words[marks], words[marks + 3], words[marks + 7]
        piece = _read(head, middle, tail)
        if piece is None:
            return None
        values.append(piece)
        ends.append(marks + (_START + 4))
        length += _DIGITS * len(marks) + int(np.count_nonzero(head & np.uint64(255) == ord("-")))
    if not values:
        return None
    if filled != length + between:
        return None
    return np.concatenate(values), np.concatenate(ends)


def _read(head: Words, middle: Words, tail: Words) -> NDArray[np.float64] | None:
    """Read numbers from their characters 0 to 7, 3 to 10 and 7 to 14; None if one is none."""
    mantissa, fine = _eight_digits(middle)
    lead = (head >> np.uint64(8)) & np.uint64(15)
    tens, ones = (tail >> np.uint64(48)) & np.uint64(15), (tail >> np.uint64(56)) & np.uint64(15)
    minus = (tail >> np.uint64(42)) & np.uint64(1)
    plus = (tail >> np.uint64(41)) & np.uint64(1)
    for digits in (lead, tens, ones):
        fine = fine and bool(digits.max() < 10)
    fine = fine and bool(
        (head & _HEAD[0] == _HEAD[1]).all() and (tail & _TAIL[0] == _TAIL[1]).all()
    )
    if not fine or not (minus ^ plus).all():
        return None
    sign = head & np.uint64(255)
    negative = sign == ord("-")
    if not (negative | (sign <= ord(","))).all():
        return None
    lead *= np.uint64(10**8)
    mantissa += lead
    tens *= np.uint64(10)
    tens += ones
    values = mantissa.astype(np.float64)
    if minus.all():
        values /= _POWERS[tens + np.uint64(8)]
    else:
        power = np.where(minus == 1, -tens.astype(np.int64), tens.astype(np.int64)) - 8
        scale = _POWERS[np.abs(power)]
        values = np.where(power < 0, values / scale, values * scale)
    np.negative(values, out=values, where=negative)
    return values


def _eight_digits(words: Words) -> tuple[Words, bool]:
    """Turn words of eight digits, the first in the lowest byte, into numbers; tell if they are."""
    value = words & np.uint64(0x0F0F0F0F0F0F0F0F)
    fine = not ((value + np.uint64(0x0606060606060606)) & np.uint64(0x1010101010101010)).any()
    for factor, shift, mask in (
        (1 + (10 << 8), 8, 0x00FF00FF00FF00FF),
        (1 + (100 << 16), 16, 0x0000FFFF0000FFFF),
        (1 + (10000 << 32), 32, 0x00000000FFFFFFFF),
    ):
        value *= np.uint64(factor)
        value >>= np.uint64(shift)
        value &= np.uint64(mask)
    return value, fine
