"""Orders and signs of the orbitals inside a shell, as codes have them, and as a file may have them.

A convention says for each l that orbital k of a shell is ``signs[k]`` times orbital ``order[k]`` of
the format. Those of the codes are what their readers undo; a file that was never converted, or
converted twice, shows them or their inverses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import permutations, product

import numpy as np
from deeph_spec.orbitals import SHELL_LETTERS, orbital_labels

from deeph_dock.overlap_diagnosis.reading import Int, Real

Inside = tuple[Int, Real]
Convention = Mapping[int, Inside]

DEGREES = range(7)


def _alternating(degree: int) -> Real:
    return (-1.0) ** np.abs(np.arange(-degree, degree + 1))


def _odd_positive(degree: int) -> Real:
    m = np.arange(-degree, degree + 1)
    return np.where((m > 0) & (m % 2 == 1), -1.0, 1.0)


def _outwards(degree: int) -> Int:
    """Give the order m = 0, 1, -1, 2, -2, ... as places in m = -l..l."""
    m = [0, *(sign * k for k in range(1, degree + 1) for sign in (1, -1))]
    return np.array(m) + degree


_OPENMX: dict[int, Int] = {
    1: np.array([2, 0, 1]),  # x, y, z
    2: np.array([2, 4, 0, 3, 1]),  # z2, x2-y2, xy, xz, yz
    3: np.array([3, 4, 2, 5, 1, 6, 0]),  # z3, xz2, yz2, z(x2-y2), xyz, x(x2-3y2), y(3x2-y2)
}


def _order(given: Mapping[int, Int]) -> dict[int, Inside]:
    return {
        degree: (given.get(degree, np.arange(2 * degree + 1)), np.ones(2 * degree + 1))
        for degree in DEGREES
    }


CODES: dict[str, Convention] = {
    "SIESTA": {d: (np.arange(2 * d + 1), _alternating(d)) for d in DEGREES},
    "ABACUS": {d: (_outwards(d), _alternating(d)[_outwards(d)]) for d in DEGREES},
    "OpenMX": _order(_OPENMX),
    "FHI-aims": {d: (np.arange(2 * d + 1), _odd_positive(d)) for d in DEGREES},
    "PySCF": _order({1: _OPENMX[1]}),
}
"""What each code's files hold before anything is undone."""


def inverse(convention: Convention) -> dict[int, Inside]:
    """Give the convention that undoes another one.

    Parameters
    ----------
    convention : mapping of int to (order, signs)

    Returns
    -------
    dict of int to (order, signs)
    """
    return {
        degree: (np.argsort(order), signs[np.argsort(order)])
        for degree, (order, signs) in convention.items()
    }


def bundles() -> Iterator[tuple[str, Convention]]:
    """Go through conventions of all l at once.

    Yields
    ------
    words : str
    convention : mapping of int to (order, signs)
        Of each code, then what undoes it where that is another one.
    """
    for code, convention in CODES.items():
        yield f"as {code} has them", convention
    for code, convention in CODES.items():
        if not all(is_same(inside, convention[l]) for l, inside in inverse(convention).items()):
            yield f"as if converted from {code} twice", inverse(convention)


def candidates(degree: int) -> Iterator[Inside]:
    """Go through orders and signs of one l: those of codes and mixtures of them, then others.

    Parameters
    ----------
    degree : int
        l.

    Yields
    ------
    (order, signs)
        A shell and its negative count as one.
    """
    width = 2 * degree + 1
    orders = [np.arange(width)]
    for _, convention in bundles():
        orders.append(convention[degree][0])
    orders.append(np.arange(width)[::-1])
    distinct = [np.array(order) for order in dict.fromkeys(tuple(o.tolist()) for o in orders)]
    for order in distinct:
        for signs in _patterns(degree):
            yield order, signs[order]
            if not np.array_equal(signs, signs[order]):
                yield order, signs


def _patterns(degree: int) -> list[Real]:
    """Give the sign patterns that codes have, and their mirror images in m."""
    alternating, positive = _alternating(degree), _odd_positive(degree)
    halves = np.where(np.arange(-degree, degree + 1) > 0, -1.0, 1.0)
    every = (np.ones(2 * degree + 1), alternating, positive, positive[::-1], halves, halves[::-1])
    return [np.array(p) for p in dict.fromkeys(tuple(p.tolist()) for p in every)]


def all_orders(degree: int) -> Iterator[Int]:
    """Go through all orders of a p or d shell; of others through those of `candidates`.

    Parameters
    ----------
    degree : int
        l.

    Yields
    ------
    (2l + 1,) int64 array
    """
    if degree <= 2:
        for order in permutations(range(2 * degree + 1)):
            yield np.array(order)
    else:
        seen = {tuple(order.tolist()) for order, _ in candidates(degree)}
        yield from (np.array(order) for order in sorted(seen))


def all_signs(degree: int) -> Iterator[Real]:
    """Go through all signs of the orbitals of a shell.

    Parameters
    ----------
    degree : int
        l.

    Yields
    ------
    (2l + 1,) float64 array
        The first one is +.
    """
    for rest in product((1.0, -1.0), repeat=2 * degree):
        yield np.array([1.0, *rest])


def is_same(one: Inside, other: Inside) -> bool:
    """Tell whether two conventions of one l are the same but for the sign of the whole shell.

    Parameters
    ----------
    one, other : (order, signs)

    Returns
    -------
    bool
    """
    return np.array_equal(one[0], other[0]) and (
        np.array_equal(one[1], other[1]) or np.array_equal(one[1], -other[1])
    )


def plain(degree: int) -> Inside:
    """Give the format's own convention.

    Parameters
    ----------
    degree : int
        l.

    Returns
    -------
    (order, signs)
    """
    return np.arange(2 * degree + 1), np.ones(2 * degree + 1)


def describe(convention: Convention, degrees: set[int]) -> str:
    """Say what is different from the format, such as "p as px, py, pz (as OpenMX has them)".

    Parameters
    ----------
    convention : mapping of int to (order, signs)
        For l that it does not name, the format's own.
    degrees : set of int
        l that occur.

    Returns
    -------
    str
        Empty if nothing differs but signs of whole shells.
    """
    parts = []
    for degree in sorted(degrees & set(convention)):
        order, signs = convention[degree]
        if is_same((order, signs), plain(degree)):
            continue
        labels = [label.removeprefix(SHELL_LETTERS[degree]) for label in orbital_labels([degree])]
        letter = SHELL_LETTERS[degree]
        now = ", ".join(
            ("-" if sign < 0 else "") + letter + labels[k]
            for k, sign in zip(order.tolist(), signs.tolist(), strict=True)
        )
        parts.append(f"{letter} as {now}")
    if not parts:
        return ""
    whole = {d: convention.get(d, plain(d)) for d in degrees}
    known = [
        words
        for words, other in bundles()
        if all(is_same(inside, other[degree]) for degree, inside in whole.items())
    ]
    origin = f" ({' or '.join(known[:3])})" if known else ""
    return f"orbitals inside shells: {'; '.join(parts)}{origin}"
