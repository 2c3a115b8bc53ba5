"""Splitting a dataset into train, validate and test: exact, deterministic, without leaks.

Structures that belong together (copies of each other, on request all of one folder) are one unit,
which goes into one set as a whole. Units are laid in a row in which similar ones are neighbours,
and the sets take from it in turn, each as often as its share: so every composition is spread over
the sets, however few its structures are. Orders come from hashes of the seed and the ids, and
depend on nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

from deeph_spec.dataset import SPLIT_KEYS
from deeph_spec.errors import InputError

UNUSED = len(SPLIT_KEYS)
"""Number of the set of those that no set takes."""
_STATES_AT_MOST = 2e9
"""Bits spent on proving whether units fit exactly; 250 MB."""


@dataclass(frozen=True)
class Split:
    """Which structure is in which set.

    Parameters
    ----------
    sets : dict
        Ids of train, validate and test in plain order.
    wanted : tuple of int
        Structures that each set should have.
    unused : tuple of str
        Ids in none of them.
    """

    sets: dict[str, list[str]]
    wanted: tuple[int, ...]
    unused: tuple[str, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """Structures that each set has."""
        return tuple(len(self.sets[key]) for key in SPLIT_KEYS)

    @property
    def exact(self) -> bool:
        """Whether every set has what it should."""
        return self.counts == self.wanted


def counts_of_ratio(ratio: Sequence[float], total: int) -> tuple[int, ...]:
    """Divide structures by the method of the largest remainder.

    Parameters
    ----------
    ratio : sequence of float
        Share of each set; they add up to 1.
    total : int
        Structures to divide.

    Returns
    -------
    tuple of int
        Structures of each set, which add up to `total`; each is its share rounded down or up.

    Raises
    ------
    InputError
        If a share is negative or the sum is not 1.
    """
    shown = " ".join(f"{share:g}" for share in ratio)
    if not all(math.isfinite(share) and share >= 0 for share in ratio):
        raise InputError(f"--ratio {shown}: shares are 0 or more")
    shares = [Fraction(repr(float(share))) for share in ratio]  # 0.2 is a fifth
    total_share = sum(shares, Fraction(0))
    if abs(total_share - 1) > Fraction(1, 10**6):
        raise InputError(
            f"--ratio {shown}: the sum is {float(total_share):g}, expected 1; use --counts to "
            "leave structures out"
        )
    quotas = [share * total / total_share for share in shares]
    counts = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(quotas)), key=lambda n: (counts[n] - quotas[n], n))
    for number in by_remainder[: total - sum(counts)]:
        counts[number] += 1
    return tuple(counts)


def join(groups: Iterable[Iterable[str]], ids: Iterable[str]) -> list[list[str]]:
    """Join groups that share members.

    Parameters
    ----------
    groups : iterable
        Ids that belong together.
    ids : iterable of str
        All ids.

    Returns
    -------
    list of list of str
        Units in plain order of their ids; every id is in one of them.
    """
    parent = {id: id for id in ids}

    def root(id: str) -> str:
        while parent[id] != id:
            parent[id] = parent[parent[id]]
            id = parent[id]
        return id

    for group in groups:
        first, *others = group
        for other in others:
            a, b = sorted((root(first), root(other)))
            parent[b] = a
    units: dict[str, list[str]] = {}
    for id in sorted(parent):
        units.setdefault(root(id), []).append(id)
    return list(units.values())


def split(
    units: Sequence[Sequence[str]],
    wanted: Sequence[int],
    seed: int,
    strata: Mapping[str, Sequence[str]] | None = None,
) -> Split:
    """Assign units to sets.

    Parameters
    ----------
    units : sequence
        Ids that must stay in one set, see `join`.
    wanted : sequence of int
        Structures of train, validate and test.
    seed : int
        Other seeds give other splits.
    strata : mapping, optional
        What each id is like, from coarse to fine, e.g. ("CH", "C1H4"); equal ones are spread over
        the sets.

    Returns
    -------
    Split
        Exact if units allow it. Copies that would not fit are left unused where fewer structures
        are wanted than there are.

    Raises
    ------
    InputError
        If more structures are wanted than there are.
    """
    total = sum(map(len, units))
    if sum(wanted) > total or min(wanted) < 0:
        raise InputError(
            f"{' + '.join(map(str, wanted))} = {sum(wanted)} structures are wanted, there are "
            f"{total}"
        )
    ordered = _in_a_row(units, seed, strata or {})
    rooms = [*wanted, total - sum(wanted)]
    large = sorted((unit for unit in ordered if len(unit) > 1), key=len, reverse=True)
    single = [unit for unit in ordered if len(unit) == 1]
    sets: list[list[str]] = [[] for _ in rooms]
    for unit, number in zip(large, _place_large(large, rooms, len(single)), strict=True):
        kept = unit[: rooms[number]] if rooms[UNUSED] >= len(unit) - rooms[number] else unit
        sets[number] += kept
        sets[UNUSED] += unit[len(kept) :]
        rooms[number] -= len(kept)
        rooms[UNUSED] -= len(unit) - len(kept)
    for unit, number in zip(single, _in_turn(rooms, len(single)), strict=True):
        sets[number] += unit
    named = {key: sorted(ids) for key, ids in zip(SPLIT_KEYS, sets, strict=False)}
    return Split(named, tuple(wanted), tuple(sorted(sets[UNUSED])))


def _in_a_row(
    units: Sequence[Sequence[str]], seed: int, strata: Mapping[str, Sequence[str]]
) -> list[Sequence[str]]:
    """Order units by hashes, those of one stratum next to each other."""

    def hashed(text: str) -> bytes:
        return sha256(f"{seed}:{text}".encode()).digest()

    def key(unit: Sequence[str]) -> list[bytes]:
        return [hashed(text) for text in (*strata.get(unit[0], ()), unit[0])]

    return sorted(units, key=key)


def _in_turn(rooms: Sequence[int], count: int) -> list[int]:
    """Let sets take single structures in turn, each as often as its share.

    The next goes to the set that lags most behind its share of those taken so far; so does any
    stretch of the row divide like the whole, up to one or two.
    """
    open_rooms = [max(room, 0) for room in rooms]
    total = sum(open_rooms) or 1
    taken = [0] * len(rooms)
    numbers = []
    for turn in range(1, count + 1):
        free = [n for n, room in enumerate(open_rooms) if taken[n] < room]
        number = max(free, key=lambda n: (open_rooms[n] * turn - taken[n] * total, -n))
        taken[number] += 1
        numbers.append(number)
    return numbers


def _place_large(large: Sequence[Sequence[str]], rooms: Sequence[int], singles: int) -> list[int]:
    """Choose the set of each unit of several structures, the largest units first.

    In turn as far as they fit; else so that the single ones can fill all rooms exactly, if there is
    such a way; else as near as possible.
    """
    sizes = [len(unit) for unit in large]
    left = list(rooms)
    numbers: list[int] = []
    passed, fits = 0, True
    for size in sizes:
        passed += size
        lag = [rooms[n] * passed - (rooms[n] - left[n]) * sum(rooms) for n in range(len(rooms))]
        fitting = [n for n in range(len(rooms)) if left[n] >= size]
        # What does not fit is cut, if structures may be left unused.
        cut = [n for n in range(UNUSED) if left[n] > 0 and left[UNUSED] >= size - left[n]]
        if fitting or cut:
            number = max(fitting or cut, key=lambda n: (lag[n], -n))
        else:
            fits = False
            number = max(range(UNUSED), key=lambda n: (left[n], -n))
        numbers.append(number)
        kept = min(size, left[number]) if fitting or cut else size
        left[number] -= kept
        left[UNUSED] -= size - kept
    if fits or left[UNUSED] < 0 or rooms[UNUSED]:
        return numbers
    return _exactly(sizes, rooms) or numbers


def _exactly(sizes: Sequence[int], rooms: Sequence[int]) -> list[int] | None:
    """Find sets for all units so that none is overfull, if there is a way.

    Reachable states are bits of one large integer: bit v (t + 1) + w stands for v structures in
    validate and w in test, t is the room of test; the others are in train.
    """
    train, validate, test = rooms[:UNUSED]
    width = test + 1
    bits = (validate + 1) * width
    if bits * len(sizes) > _STATES_AT_MOST:
        return None
    everything = (1 << bits) - 1
    row = (1 << width) - 1
    every_row = everything // row  # bit 0 of each row
    reachable = [1]
    for size in sizes:
        now = reachable[-1]
        after = now | ((now << (size * width)) & everything)
        if size <= test:
            low = every_row * ((1 << (width - size)) - 1)  # states with room for it in test
            after |= (now & low) << size
        reachable.append(after)
    total = sum(sizes)
    end = next(
        (
            v * width + w
            for v in range(validate, -1, -1)
            for w in range(test, -1, -1)
            if total - v - w <= train and reachable[-1] >> (v * width + w) & 1
        ),
        None,
    )
    if end is None:
        return None
    numbers: list[int] = []
    for size, before in zip(reversed(sizes), reversed(reachable[:-1]), strict=True):
        if before >> end & 1:
            numbers.append(0)
        elif end >= size * width and before >> (end - size * width) & 1:
            numbers.append(1)
            end -= size * width
        else:
            numbers.append(2)
            end -= size
    return numbers[::-1]
