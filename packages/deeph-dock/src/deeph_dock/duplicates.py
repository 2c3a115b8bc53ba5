"""Copies of one structure: equal up to the order of atoms, lattice vectors, shifts and rotations.

Fractional positions do not change when a crystal is rotated with its cell, and lattice translations
change them by whole numbers. So two structures are copies if the lengths of their lattice vectors
and face diagonals agree, and a common shift brings the fractional positions of one onto those of
the other. Every structure gets a fingerprint that copies share, so that few pairs are compared: the
lengths, and moduli of structure factors, |F_h| = |sum_j w_j exp(2 pi i h.x_j)|, which a shift of
all atoms does not change. Cells of one crystal that are chosen differently are not recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from deeph_spec.structure import Structure
from numpy.typing import NDArray

TOLERANCE = 1e-6
"""Atoms of copies lie that close to each other, Å."""
_WAVES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [2, -1, 1], [3, 1, 2]])
_SAFETY = 4.0
"""Fingerprints of copies differ by the first-order bound at most; this covers other lattices."""
_FIRST_ATOMS = 8
Array = NDArray[np.float64]


def fingerprint(structure: Structure) -> tuple[str, Array, Array]:
    """Give what copies of a structure have in common.

    Parameters
    ----------
    structure : Structure
        Atoms and cell.

    Returns
    -------
    composition : str
        Elements by atomic number with their counts, e.g. "H4C1".
    values : (13,) array
        Six lengths in Å and seven moduli of structure factors, between 0 and 1.
    tolerances : (13,) array
        How much they may differ between copies.
    """
    weights = structure.numbers / structure.numbers.sum()
    phases = np.exp(2j * np.pi * (structure.fractional @ _WAVES.T))
    lengths = _lengths(structure)
    # |d F_h| <= 2 pi |h B| |d r| with B the reciprocal vectors as rows.
    slopes = 2 * np.pi * np.linalg.norm(_WAVES @ np.linalg.inv(structure.lattice).T, axis=1)
    bounds = np.concatenate([np.full(len(lengths), 2.0), slopes])
    values = np.concatenate([lengths, np.abs(weights @ phases)])
    return composition(structure), values, _SAFETY * TOLERANCE * bounds + 1e-12


def composition(structure: Structure) -> str:
    """Name elements and counts, sorted by atomic number.

    Parameters
    ----------
    structure : Structure
        Atoms and cell.

    Returns
    -------
    str
        E.g. "H4C1"; equal for all orders of the atoms.
    """
    symbols = structure.symbols
    return "".join(f"{symbol}{symbols.count(symbol)}" for symbol in structure.elements)


def copies(
    fingerprints: Sequence[tuple[str, Array, Array]], read: Callable[[int], Structure]
) -> list[list[int]]:
    """Find structures that are copies of each other.

    Parameters
    ----------
    fingerprints : sequence
        Of each structure, see `fingerprint`.
    read : callable
        Gives the structure of a number; called for few of them.

    Returns
    -------
    list of list of int
        Increasing numbers of each set of two or more copies, in order of the first.
    """
    groups: dict[str, list[int]] = {}
    for number, (formula, _, _) in enumerate(fingerprints):
        groups.setdefault(formula, []).append(number)
    found: list[list[int]] = []
    for members in groups.values():
        values = np.array([fingerprints[number][1] for number in members])
        tolerances = np.array([fingerprints[number][2] for number in members])
        places = _within(values, tolerances, partial(_read_member, read, members))
        found += [sorted(members[p] for p in those) for those in places if len(those) > 1]
    return sorted(found)


def _read_member(read: Callable[[int], Structure], members: Sequence[int], place: int) -> Structure:
    """Read the structure at one place of a group."""
    return read(members[place])


def _within(values: Array, tolerances: Array, read: Callable[[int], Structure]) -> list[list[int]]:
    """Divide structures of one composition into sets of copies."""
    # Along a direction that no symmetry prefers, copies are neighbours.
    direction = np.sqrt(np.arange(2, values.shape[1] + 2)) % 1
    line, widths = values @ direction, tolerances @ direction
    order = np.argsort(line, kind="stable")
    sets: list[list[int]] = []
    firsts: list[int] = []  # one of each set, in order along the line
    kept: dict[int, Structure] = {}
    widest = widths.max(initial=0.0)
    start = 0
    for place in order.tolist():
        while start < len(firsts) and line[firsts[start]] < line[place] - widest:
            kept.pop(firsts[start], None)
            start += 1
        near = np.array(firsts[start:], dtype=np.int64)
        close = (np.abs(values[near] - values[place]) <= tolerances[place]).all(axis=1)
        for index in np.flatnonzero(close).tolist():
            first = firsts[start + index]
            if first not in kept:
                kept[first] = read(first)
            if are_copies(kept[first], read(place)):
                sets[start + index].append(place)
                break
        else:
            firsts.append(place)
            sets.append([place])
    return sets


def are_copies(first: Structure, second: Structure) -> bool:
    """Tell whether two structures are copies within `TOLERANCE`.

    Parameters
    ----------
    first, second : Structure
        In any order of atoms, shifted or rotated.

    Returns
    -------
    bool
        False for differently chosen cells.
    """
    if composition(first) != composition(second):
        return False
    if np.abs(_lengths(first) - _lengths(second)).max() > 2 * TOLERANCE:
        return False
    x, y = first.fractional, second.fractional
    lattice = first.lattice
    if np.array_equal(first.numbers, second.numbers) and _small(y - x - (y[0] - x[0]), lattice):
        return True
    kinds, counts = np.unique(first.numbers, return_counts=True)
    rarest = kinds[np.argmin(counts)]
    anchor = x[np.flatnonzero(first.numbers == rarest)[0]]
    return any(
        _onto(x + (target - anchor), first.numbers, y, second.numbers, lattice)
        for target in y[second.numbers == rarest]
    )


def _onto(
    x: Array, numbers: NDArray[np.int64], y: Array, others: NDArray[np.int64], lattice: Array
) -> bool:
    """Whether atoms at fractional x lie on atoms of their element at y, each on one of its own."""
    from scipy.spatial import cKDTree

    tree = cKDTree(_wrapped(y), boxsize=1.0)
    for part in (slice(0, _FIRST_ATOMS), slice(None)):  # most shifts fail at the first atoms
        _, nearest = tree.query(_wrapped(x[part]))
        if not np.array_equal(others[nearest], numbers[part]):
            return False
        if not _small(y[nearest] - x[part], lattice) or len(set(nearest)) < len(nearest):
            return False
    return True


def _small(difference: Array, lattice: Array) -> bool:
    """Whether fractional differences are lattice vectors within the tolerance.

    The shift was taken from one atom, which may be off by the tolerance itself.
    """
    rest = (difference - np.round(difference)) @ lattice
    return bool(np.linalg.norm(rest, axis=1).max(initial=0.0) <= 2 * TOLERANCE)


def _wrapped(x: Array) -> Array:
    """Give fractional positions in [0, 1), which the remainder of -1e-17 is not."""
    inside = x - np.floor(x)
    inside[inside >= 1.0] = 0.0
    return inside


def _lengths(structure: Structure) -> Array:
    """Give the lengths of lattice vectors and of the sums of two: they fix the cell's shape."""
    a, b, c = structure.lattice
    return np.linalg.norm([a, b, c, a + b, b + c, c + a], axis=1)
