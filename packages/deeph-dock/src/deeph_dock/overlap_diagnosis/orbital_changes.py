"""Readings with other orbitals: shells in another order, orders and signs inside shells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import permutations, product
from math import factorial, prod

import numpy as np
from deeph_spec.orbitals import SHELL_LETTERS, shell_offsets
from deeph_spec.structure import SYMBOLS

from deeph_dock.overlap_diagnosis.conventions import (
    Convention,
    Inside,
    all_orders,
    all_signs,
    bundles,
    candidates,
    describe,
    plain,
)
from deeph_dock.overlap_diagnosis.reading import (
    Int,
    Problem,
    Reading,
    Real,
    groups,
    shell_norms,
    shell_starts,
)

ORDERS_AT_MOST = 5040
"""Orders of the shells of an element that are tried."""
_STRONGEST = 40  # pairs that orders inside shells are tried on
_Node = tuple[int, int]  # atomic number, shell in the matrices


@dataclass(frozen=True, eq=False)
class ShellPair:
    """The blocks of two shells, of all pairs of two elements in a sample.

    Attributes
    ----------
    left, right : (number, shell)
    degrees : (l, l)
    expected, stored : (p, 2l + 1, 2l + 1) arrays
    """

    left: _Node
    right: _Node
    degrees: tuple[int, int]
    expected: Real
    stored: Real

    def compare(self, convention: Convention) -> tuple[float, int, bool]:
        """Give the difference under a convention, the relative sign, and if the sign matters."""
        (rows, left), (columns, right) = (convention.get(d, plain(d)) for d in self.degrees)
        made = self.expected[:, rows[:, None], columns] * (left[:, None] * right)
        plus = float(np.abs(made - self.stored).max(initial=0.0))
        minus = float(np.abs(made + self.stored).max(initial=0.0))
        return min(plus, minus), 1 if plus <= minus else -1, max(plus, minus) > 5 * min(plus, minus)


def orbital_conventions(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Try other orders and signs of the orbitals inside shells, and signs of whole shells.

    Parameters
    ----------
    problem : Problem
        What does not change.
    rows : (m,) int64 array
        A sample of pairs.
    reading : Reading
        What is known so far.

    Yields
    ------
    Reading
        With one cause more.
    """
    if reading.inside or reading.flips:
        return
    pairs = _shell_pairs(problem, rows, reading)
    degrees = {degree for pair in pairs for degree in pair.degrees}
    listed: list[Convention] = [*(convention for _, convention in bundles()), {}]
    limit = problem.tolerance
    if all(_misfit(pairs, convention) > limit for convention in listed):
        listed.append(_one_by_one(pairs, degrees, limit))
    best = min(_misfit(pairs, convention) for convention in listed)
    for convention in listed:
        if _misfit(pairs, convention) > max(limit, 1.5 * best):
            continue
        flips = _flips(pairs, convention, reading, limit)
        if flips is None:
            continue
        shared = {d: convention.get(d, plain(d)) for d in degrees}
        shared, flips = _folded(shared, flips, problem, reading)
        words = _words(shared, flips, degrees, problem, reading)
        if words:
            yield reading.but(words, inside=shared, flips=flips)


def _shell_pairs(problem: Problem, rows: Int, reading: Reading) -> list[ShellPair]:
    """Cut the blocks of a sample into those of two shells; leave out what is zero."""
    found = []
    for group in groups(problem, reading, rows):
        numbers = group.numbers[::-1] if reading.transposed else group.numbers
        strongest = np.argsort(-np.abs(group.stored).max(axis=(1, 2)), kind="stable")[:_STRONGEST]
        starts = shell_starts(problem, reading, group)
        stored, expected = group.stored[strongest], group.expected[strongest]
        degrees = [[problem.shells[z][s] for s in reading.shells[z]] for z in numbers]
        for a, (row, left) in enumerate(zip(starts[0].tolist(), degrees[0], strict=True)):
            for b, (column, right) in enumerate(zip(starts[1].tolist(), degrees[1], strict=True)):
                height, width = (
                    slice(row, row + 2 * left + 1),
                    slice(column, column + 2 * right + 1),
                )
                pair = ShellPair(
                    (numbers[0], a),
                    (numbers[1], b),
                    (left, right),
                    expected[:, height, width],
                    stored[:, height, width],
                )
                if max(np.abs(x).max(initial=0.0) for x in (pair.expected, pair.stored)) > 0:
                    found.append(pair)
    return found


def _misfit(pairs: list[ShellPair], convention: Convention) -> float:
    """Give the largest difference, whatever the signs of whole shells."""
    return max((pair.compare(convention)[0] for pair in pairs), default=np.inf)


def _one_by_one(pairs: list[ShellPair], degrees: set[int], limit: float) -> dict[int, Inside]:
    """Find order and signs of p, then of d given those of p, and so on."""
    found: dict[int, Inside] = {}
    for degree in sorted(degrees - {0}):
        known = [p for p in pairs if max(p.degrees) == degree]
        best, least = plain(degree), np.inf
        for inside in candidates(degree):
            misfit = _misfit(known, found | {degree: inside})
            if misfit < 0.99 * least:
                best, least = inside, misfit
            if least <= limit:
                break
        else:
            best = _any_order(known, degree, found, (best, least))
        found[degree] = best
    return found


def _any_order(
    pairs: list[ShellPair], degree: int, known: Convention, best: tuple[Inside, float]
) -> Inside:
    """Try every order by absolute values alone, and every sign for the best three."""
    magnitudes = [
        replace(pair, expected=np.abs(pair.expected), stored=np.abs(pair.stored)) for pair in pairs
    ]
    unsigned = {d: (order, np.ones(len(order))) for d, (order, _) in known.items()}
    ones = np.ones(2 * degree + 1)
    orders = sorted(
        all_orders(degree), key=lambda o: _misfit(magnitudes, unsigned | {degree: (o, ones)})
    )
    inside, least = best
    for order in orders[:3]:
        for signs in all_signs(degree):
            misfit = _misfit(pairs, {**known, degree: (order, signs)})
            if misfit < 0.99 * least:
                inside, least = (order, signs), misfit
    return inside


def _flips(
    pairs: list[ShellPair], convention: Convention, reading: Reading, limit: float
) -> dict[int, tuple[int, ...]] | None:
    """Find the signs of whole shells from the relative ones; None if they contradict each other."""
    links: dict[_Node, list[tuple[_Node, int]]] = {}
    for pair in pairs:
        _, sign, matters = pair.compare(convention)
        if matters and np.abs(pair.stored).max() > 10 * limit:
            links.setdefault(pair.left, []).append((pair.right, sign))
            links.setdefault(pair.right, []).append((pair.left, sign))
    signs: dict[_Node, int] = {}
    for start in sorted(links):
        if start in signs:
            continue
        island, signs[start] = [start], 1
        for node in island:
            for other, sign in links[node]:
                if other not in signs:
                    signs[other] = sign * signs[node]
                    island.append(other)
                elif signs[other] != sign * signs[node]:
                    return None
        if sum(signs[node] for node in island) < 0:  # what most shells have is +
            signs.update({node: -signs[node] for node in island})
    return {
        number: tuple(signs.get((number, shell), 1) for shell in range(len(sources)))
        for number, sources in reading.shells.items()
    }


def _folded(
    inside: dict[int, Inside],
    flips: dict[int, tuple[int, ...]],
    problem: Problem,
    reading: Reading,
) -> tuple[dict[int, Inside], dict[int, tuple[int, ...]]]:
    """Make a sign that all shells of one l have part of the convention, if it has others."""
    for degree, (order, signs) in list(inside.items()):
        of_degree = [
            (number, shell)
            for number, sources in reading.shells.items()
            for shell, source in enumerate(sources)
            if problem.shells[number][source] == degree
        ]
        usual = np.array_equal(order, np.arange(len(order))) and abs(signs.sum()) == len(signs)
        if not usual and all(flips[number][shell] < 0 for number, shell in of_degree):
            inside = inside | {degree: (order, -signs)}
            for number, shell in of_degree:
                row = list(flips[number])
                row[shell] = 1
                flips = flips | {number: tuple(row)}
    return inside, flips


def _words(
    inside: Convention,
    flips: Mapping[int, tuple[int, ...]],
    degrees: set[int],
    problem: Problem,
    reading: Reading,
) -> str:
    """Say what is different; empty if nothing is."""
    words = describe(inside, degrees)
    file_degrees = {
        number: [problem.shells[number][source] for source in sources]
        for number, sources in reading.shells.items()
    }
    if all(
        flip == (-1) ** degree
        for number, row in flips.items()
        for flip, degree in zip(row, file_degrees[number], strict=True)
    ) and degrees - {0}:
        odd = "every p shell" if max(degrees) < 3 else "every shell of odd l"
        sign = f"the sign of {odd}, or S taken from j to i (blocks transposed, or r -> -r)"
        return f"{words}, and {sign}" if words else sign
    wrong = [
        f"{SYMBOLS[number]} {shell_names(file_degrees[number])[shell]}"
        for number, row in flips.items()
        for shell, flip in enumerate(row)
        if flip < 0
    ]
    if wrong:
        sign = f"the sign of whole shells: {', '.join(wrong)}"
        return f"{words}, and {sign}" if words else sign
    return words


def shell_names(degrees: list[int] | tuple[int, ...]) -> list[str]:
    """Name shells by letter and number.

    Parameters
    ----------
    degrees : sequence of int
        l of each shell.

    Returns
    -------
    list of str
        Such as s1, s2, p1.
    """
    seen = [degrees[:place].count(degree) for place, degree in enumerate(degrees)]
    return [
        f"{SHELL_LETTERS[degree]}{count + 1}" for degree, count in zip(degrees, seen, strict=True)
    ]


def shell_orders(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Try other orders of the shells of each element, by norms alone.

    Parameters
    ----------
    problem : Problem
        What does not change.
    rows : (m,) int64 array
        A sample of pairs.
    reading : Reading
        What is known so far.

    Yields
    ------
    Reading
        With one cause more.
    """
    usual = {number: tuple(range(len(problem.shells[number]))) for number in reading.shells}
    parts = [
        (
            group.numbers[::-1] if reading.transposed else group.numbers,
            group.stored**2,
            shell_norms(
                group.expected, *shell_starts(problem, replace(reading, shells=usual), group)
            ),
        )
        for group in groups(problem, replace(reading, shells=usual, inside={}, flips={}), rows)
    ]
    found = dict(reading.shells)
    for alone in (True, False):  # first by pairs of one element, then by all
        for number in found:
            found[number] = _best_order(problem, number, found, parts, alone)
    changed = [number for number in found if found[number] != reading.shells[number]]
    if changed:
        words = "; ".join(
            f"{SYMBOLS[z]} has {_listed(problem, z, found[z])} where the basis has "
            f"{_listed(problem, z, reading.shells[z])}"
            for z in changed
        )
        yield reading.but(f"shells in another order: {words}", shells=found)


def _listed(problem: Problem, number: int, sources: tuple[int, ...]) -> str:
    names = shell_names(problem.shells[number])
    return " ".join(names[source] for source in sources)


def _best_order(
    problem: Problem,
    number: int,
    orders: Mapping[int, tuple[int, ...]],
    parts: list[tuple[tuple[int, int], Real, Real]],
    alone: bool,
) -> tuple[int, ...]:
    """Find the order of one element's shells that fits the norms best, given the others'."""
    wanted = [
        part
        for part in parts
        if (part[0] == (number, number) if alone else number in part[0]) and len(part[1])
    ]
    best, least = orders[number], np.inf
    if not wanted:
        return best
    for order in orders_of(problem.shells[number], orders[number]):
        tried = {**orders, number: order}
        misfit = 0.0
        for (left, right), squares, norms in wanted:
            rows, columns = (
                shell_offsets([problem.shells[z][source] for source in tried[z]])[:-1]
                for z in (left, right)
            )
            found = np.sqrt(np.add.reduceat(np.add.reduceat(squares, rows, 1), columns, 2))
            expected = norms[:, tried[left]][:, :, tried[right]]
            misfit = max(misfit, float(np.abs(found - expected).max(initial=0.0)))
            if misfit >= least:
                break
        if misfit < 0.5 * least and misfit < least - 0.5 * problem.tolerance:
            best, least = order, misfit
    return best


def orders_of(degrees: tuple[int, ...], usual: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Go through the orders of shells: the usual one, those that keep the list of l, then all.

    Parameters
    ----------
    degrees : tuple of int
        l of each shell of the basis.
    usual : tuple of int
        Shells of the basis in the order to begin with.

    Yields
    ------
    tuple of int
        Not more than a few times `ORDERS_AT_MOST`.
    """
    yield usual
    wanted = [degrees[source] for source in usual]
    places = [[p for p, own in enumerate(wanted) if own == d] for d in sorted(set(wanted))]
    if prod(factorial(len(same)) for same in places) <= ORDERS_AT_MOST:
        for moved in product(*(permutations(same) for same in places)):
            order = list(usual)
            for same, others in zip(places, moved, strict=True):
                for place, other in zip(same, others, strict=True):
                    order[place] = usual[other]
            if tuple(order) != usual:
                yield tuple(order)
    if factorial(len(degrees)) <= ORDERS_AT_MOST:
        for every in permutations(usual):
            if [degrees[source] for source in every] != wanted:
                yield every
