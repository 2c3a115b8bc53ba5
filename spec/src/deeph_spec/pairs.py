"""Looking up atom pairs (R1, R2, R3, i, j) in lists of millions.

Each row becomes one int64 key by mixed radix, with the actual ranges of the five columns as bases,
so that the order of keys is the lexicographic order of rows. Where the product of the ranges does
not fit into 62 bits the key is the rank of the row instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pairs = NDArray[np.int64]
_KEY_LIMIT = 2**62


def partners(pairs: Pairs) -> Pairs:
    """Give (-R, j, i) of every row (R, i, j).

    Parameters
    ----------
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.

    Returns
    -------
    (P, 5) int64 array
        The Hermitian partner of each row.
    """
    return np.concatenate([-pairs[:, :3], pairs[:, 4:5], pairs[:, 3:4]], axis=1)


def on_site(pairs: Pairs) -> NDArray[np.bool_]:
    """Tell which rows are an atom with itself, (0, 0, 0, i, i).

    Parameters
    ----------
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.

    Returns
    -------
    (P,) bool array
        True for on-site pairs.
    """
    at_home = (pairs[:, 0] == 0) & (pairs[:, 1] == 0) & (pairs[:, 2] == 0)
    same: NDArray[np.bool_] = at_home & (pairs[:, 3] == pairs[:, 4])
    return same


def encode(*lists: Pairs) -> list[NDArray[np.int64]]:
    """Turn rows into integers: equal rows get equal keys, and keys sort like rows.

    Parameters
    ----------
    *lists : (P, 5) int64 arrays
        Lists whose keys are to be compared with each other.

    Returns
    -------
    list of (P,) int64 arrays
        Keys of each list.
    """
    filled = [rows for rows in lists if len(rows)]
    if not filled:
        return [np.zeros(0, np.int64) for _ in lists]
    lowest = np.min([rows.min(axis=0) for rows in filled], axis=0)
    highest = np.max([rows.max(axis=0) for rows in filled], axis=0)
    sizes = [int(high) - int(low) + 1 for low, high in zip(lowest, highest, strict=True)]
    total = 1
    for size in sizes:
        total *= size
    if total >= _KEY_LIMIT:
        return _ranks(lists)
    keys = []
    for rows in lists:
        key = rows[:, 0] - lowest[0]
        for column in range(1, rows.shape[1]):
            key = key * sizes[column] + (rows[:, column] - lowest[column])
        keys.append(key)
    return keys


def _ranks(lists: tuple[Pairs, ...]) -> list[NDArray[np.int64]]:
    """Give distinct rows of all lists consecutive numbers, in lexicographic order."""
    rows = np.concatenate(lists)
    order = np.lexsort(rows.T[::-1])
    new = np.any(rows[order][1:] != rows[order][:-1], axis=1)
    ranks = np.empty(len(rows), np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(new)])
    return np.split(ranks, np.cumsum([len(part) for part in lists])[:-1])


def find(keys: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the position in `keys` of each key wanted, or -1.

    Parameters
    ----------
    keys : (P,) int64 array
        Keys in any order; of equal ones the first is found.
    wanted : (Q,) int64 array
        Keys to look for.

    Returns
    -------
    (Q,) int64 array
        Positions in `keys`.
    """
    rows = np.full(len(wanted), -1, np.int64)
    if not len(keys) or not len(wanted):
        return rows
    order = _order(keys)
    asked = _order(wanted)  # searching in order is ten times as fast as at random
    keys, wanted = keys[order], wanted[asked]
    place = np.searchsorted(keys, wanted)
    place[place == len(keys)] = 0
    rows[asked] = np.where(keys[place] == wanted, order[place], -1)
    return rows


def _order(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the stable sorting order of keys, quickly where they are distinct or in order."""
    if np.all(keys[1:] >= keys[:-1]):
        return np.arange(len(keys))
    order = np.argsort(keys)
    if np.any(keys[order][1:] == keys[order][:-1]):
        return np.argsort(keys, kind="stable")
    return order


def rows_of(pairs: Pairs, wanted: Pairs) -> NDArray[np.int64]:
    """Give the row in `pairs` of each pair wanted, or -1.

    Parameters
    ----------
    pairs : (P, 5) int64 array
        The list to search; of equal rows the first is found.
    wanted : (Q, 5) int64 array
        Pairs to look for.

    Returns
    -------
    (Q,) int64 array
        Rows of `pairs`.
    """
    keys, wanted_keys = encode(pairs, wanted)
    return find(keys, wanted_keys)


def partner_rows(pairs: Pairs) -> NDArray[np.int64]:
    """Give the row of the Hermitian partner (-R, j, i) of each row, or -1.

    Parameters
    ----------
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.

    Returns
    -------
    (P,) int64 array
        Rows of `pairs`.
    """
    return rows_of(pairs, partners(pairs))
