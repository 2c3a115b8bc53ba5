"""The search for causes: readings one after another, until the overlaps of the basis come out.

In each round every change of `CHANGES` is tried on the reading so far. A change is a cause if all
differences vanish, or become ten times smaller with it. Where several vanish them alike, all are
named. Causes that hide each other (another order of orbitals, and other places) are told apart by
norms, which do not depend on the orbitals: the places are found first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from deeph_spec.orbitals import shell_offsets
from deeph_spec.structure import SYMBOLS

from deeph_dock.overlap_diagnosis.displacements import moved_atoms
from deeph_dock.overlap_diagnosis.orbital_changes import (
    orbital_conventions,
    orders_of,
    shell_names,
    shell_orders,
)
from deeph_dock.overlap_diagnosis.places import (
    atom_orders,
    lattice_vectors,
    units,
    wrapped_atoms,
)
from deeph_dock.overlap_diagnosis.reading import (
    Int,
    Problem,
    Reading,
    Real,
    deviations,
    groups,
    largest_entries,
    norm_deviations,
)
from deeph_dock.overlap_diagnosis.values import factors, is_identity, transposed_blocks

Change = Callable[[Problem, Int, Reading], Iterator[Reading]]

CHANGES: tuple[tuple[Change, ...], ...] = (
    (orbital_conventions, transposed_blocks, lattice_vectors, units, factors, shell_orders),
    (atom_orders,),
    (wrapped_atoms,),
    (moved_atoms,),
)
"""Changes of one tier are tried together; those of a later one if none before is the cause."""
HIDING: tuple[Change, ...] = (
    factors,
    units,
    lattice_vectors,
    transposed_blocks,
    atom_orders,
    wrapped_atoms,
    shell_orders,
)
"""Changes of which two are tried at once, the first one before the second, if no single one helps:
with one of them alone not even norms agree."""
PAIRS_OF_CHANGES = 50000
"""Pairs of atoms in a file for which that is done."""
ALTERNATIVES = 3
"""Other causes that are named."""
ROUNDS = 3
"""Causes at once."""
SMALLER = 0.1
"""What a change must make of the differences to be a cause."""
TELLING = 0.01
"""Overlaps that tell something."""
PAIRS = 400
"""Pairs of a sample."""


@dataclass(frozen=True)
class Explanation:
    """Why overlaps differ.

    Attributes
    ----------
    causes, alternatives : tuple of str
    left : float
        Largest difference when the causes are undone, over all pairs.
    hint : str
        Where nothing explains it all.
    """

    causes: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    left: float | None = None
    hint: str = ""


@dataclass(frozen=True)
class _Level:
    """How well a reading fits: typical and largest difference of blocks, and of their norms.

    ``own`` is the largest of the blocks of atoms with themselves, which no place changes.
    """

    full: float
    typical: float
    norm: float
    typical_norm: float
    own: float


def explain(problem: Problem, reading: Reading, differences: Real) -> Explanation:
    """Find out why stored overlaps are not those of the basis.

    Parameters
    ----------
    problem : Problem
    reading : Reading
        The file as the format says it is to be read.
    differences : (P,) array
        Largest difference of each pair under it.

    Returns
    -------
    Explanation
    """
    if is_identity(problem):
        cause = "S is the identity: a basis that was made orthogonal, or S was never written"
        return Explanation((cause,), left=0.0)
    start, first = reading, float(differences.max())
    largest = largest_entries(problem.overlap)
    for _ in range(ROUNDS):
        rows = _sample(problem, differences, largest)
        found = _round(problem, rows, reading, _signal(rows, largest))
        if found is None:
            break
        known = len(reading.causes)
        reading, others, done = found
        differences = deviations(problem, reading, np.arange(len(differences)))
        if done and differences.max() <= problem.tolerance:
            alternatives = {
                "; and ".join(other.causes[known:]): None
                for other in others
                if deviations(problem, other, np.arange(len(differences))).max()
                <= problem.tolerance
            }
            alternatives.pop("; and ".join(reading.causes[known:]), None)
            return Explanation(
                reading.causes, tuple(alternatives)[:ALTERNATIVES], float(differences.max())
            )
    return _unfinished(problem, start, first, reading, differences)


def _round(
    problem: Problem, rows: Int, reading: Reading, signal: float
) -> tuple[Reading, list[Reading], bool] | None:
    """Give the best reading with a cause more, its equals, and if it explains the sample."""
    now = _level(problem, rows, reading)
    better: list[tuple[float, Reading]] = []
    for tier in CHANGES:
        if better and tier is CHANGES[-1]:
            break  # moves are fitted to what nothing else makes smaller
        perfect = []
        for change in tier:
            for tried in change(problem, rows, reading):
                level = _level(problem, rows, tried)
                if level.full <= problem.tolerance:
                    perfect.append(tried)
                elif change is not moved_atoms:
                    gain = _gain(now, level, problem.tolerance, signal)
                    if change is factors and now.own > problem.tolerance >= level.own:
                        gain = problem.tolerance / now.own  # which no place can do
                    if gain < SMALLER:
                        better.append((gain, tried))
        if perfect:
            return perfect[0], perfect[1:], True
    if not better and len(problem.overlap) <= PAIRS_OF_CHANGES:
        perfect = []
        for tried in _two_changes(problem, rows, reading):
            level = _level(problem, rows, tried)
            if level.full <= problem.tolerance:
                perfect.append(tried)
            gain = _gain(now, level, problem.tolerance, signal)
            if gain < SMALLER:
                better.append((gain, tried))
        if perfect:
            return perfect[0], perfect[1:], True
    if not better:
        return None
    return min(better, key=lambda pair: pair[0])[1], [], False


def _two_changes(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Make two changes at once, of two kinds."""
    for place, change in enumerate(HIDING):
        for first in change(problem, rows, reading):
            for other in HIDING[place + 1 :]:
                yield from other(problem, rows, first)


def _gain(now: _Level, then: _Level, tolerance: float, signal: float) -> float:
    """Give what is left of the differences, of blocks or of their norms, whichever is less."""
    enough = SMALLER * signal  # a difference as large as S itself is no success
    full = then.full / now.full if then.typical <= enough and now.full > tolerance else 1.0
    norm = 1.0
    if now.norm > 2 * tolerance and then.typical_norm <= enough:
        norm = max(then.norm, tolerance) / now.norm
    return min(full, norm)


def _level(problem: Problem, rows: Int, reading: Reading) -> _Level:
    """Measure how well a reading fits a sample."""
    full = deviations(problem, reading, rows)
    if not np.isfinite(full).all():
        return _Level(np.inf, np.inf, np.inf, np.inf, np.inf)
    norm = norm_deviations(problem, reading, rows)
    return _Level(
        float(full.max()),
        float(np.median(full)),
        float(norm.max()),
        float(np.median(norm)),
        float(full[problem.overlap.on_site()[rows]].max(initial=0.0)),
    )


def _signal(rows: Int, largest: Real) -> float:
    """Give the typical size of S in the pairs of a sample that tell something."""
    sizes = largest[rows]
    return float(np.median(sizes[sizes > TELLING])) if (sizes > TELLING).any() else 0.0


def _sample(problem: Problem, differences: Real, largest: Real) -> Int:
    """Draw pairs: a half of those that differ, the rest of those that tell something."""
    rng = np.random.default_rng(0)
    wrong = np.flatnonzero(differences > problem.tolerance)
    telling = np.flatnonzero((largest > TELLING) & ~problem.overlap.on_site())
    on_site = np.flatnonzero(problem.overlap.on_site())
    drawn = [
        rng.choice(rows, size, replace=False) if len(rows) > size else rows
        for rows, size in ((wrong, PAIRS // 2), (telling, PAIRS // 2), (on_site, PAIRS // 10))
    ]
    return np.unique(np.concatenate(drawn)).astype(np.int64)


def _unfinished(
    problem: Problem, start: Reading, first: float, reading: Reading, differences: Real
) -> Explanation:
    """Say how far the causes go, and what is known of the rest.

    Changes that made only norms agree are no causes if nothing came of them; a factor that makes
    all on-site blocks right is one.
    """
    left = float(differences.max())
    if not left <= SMALLER * first:
        reading = start
        own = np.flatnonzero(problem.overlap.on_site())
        if not deviations(problem, start, own).max(initial=0.0) <= problem.tolerance:
            for tried in factors(problem, own, start):
                if deviations(problem, tried, own).max() <= problem.tolerance:
                    reading = tried
        differences = deviations(problem, reading, np.arange(len(differences)))
        left = float(differences.max())
    return Explanation(reading.causes, (), left, _hint(problem, reading, differences))


def _hint(problem: Problem, reading: Reading, differences: Real) -> str:
    """Say what is known of differences without a cause."""
    wrong = np.flatnonzero(~(differences <= problem.tolerance))
    if not np.isfinite(differences[wrong]).all():
        at = int(wrong[np.flatnonzero(~np.isfinite(differences[wrong]))[0]])
        pair = ", ".join(str(x) for x in problem.overlap.atom_pairs[at].tolist())
        return f"blocks of another size than the orbitals of POSCAR's atoms, as pair ({pair})"
    basis = "" if reading.causes else _basis_of_one_atom(problem, reading, differences)
    if basis:
        return basis
    if len(wrong) <= 2 and len(differences) > 4:
        return "no known cause; no other pair differs: were these numbers changed?"
    ends = problem.overlap.atom_pairs[wrong][:, 3:]
    for atom in ends[0].tolist():
        if len(wrong) > 2 and len(reading.numbers) > 2 and (ends == atom).any(axis=1).all():
            return f"no known cause; every pair that differs has atom {atom} in it"
    if not reading.causes:
        basis = _other_basis(problem, reading)
        if basis:
            return basis
    return f"no known cause{_only_shells(problem, reading, wrong)}"


def _basis_of_one_atom(problem: Problem, reading: Reading, differences: Real) -> str:
    """Tell whether overlaps of the orbitals of one atom are those of other radial functions.

    Then they are the same for all atoms of an element, zero between different l or m, and equal
    for all m.
    """
    own = np.flatnonzero(problem.overlap.on_site())
    elements, tolerance = [], problem.tolerance
    for group in groups(problem, reading, own):
        number = group.numbers[0]
        degrees = tuple(problem.shells[number][source] for source in reading.shells[number])
        if differences[own[group.members]].max() <= tolerance:
            continue
        usual = group.stored.mean(axis=0)
        if np.abs(group.stored - usual).max() > tolerance:
            return ""
        stored, left = _shell_numbers(usual, degrees)
        expected, _ = _shell_numbers(group.expected[0], degrees)
        if left > tolerance:
            return ""
        # Other orders and signs of shells change these numbers, too.
        for order in orders_of(degrees, tuple(range(len(degrees)))):
            turned = np.abs(expected[list(order)][:, list(order)])
            if np.abs(np.abs(stored) - turned).max() <= tolerance:
                return ""
        elements.append(SYMBOLS[number])
    if not elements:
        return ""
    return (
        "another basis (other radial functions, or another quadrature): already the overlaps of "
        f"orbitals of one and the same atom are others for {', '.join(dict.fromkeys(elements))}"
    )


def _shell_numbers(block: Real, degrees: tuple[int, ...]) -> tuple[Real, float]:
    """Give the one number of each two shells of an atom, and the largest element beside it."""
    offsets = shell_offsets(degrees)
    numbers, left = np.zeros((len(degrees), len(degrees))), 0.0
    for a, first in enumerate(degrees):
        for b, second in enumerate(degrees):
            part = block[offsets[a] : offsets[a + 1], offsets[b] : offsets[b + 1]]
            if first == second:
                numbers[a, b] = part[0, 0]
                part = part - part[0, 0] * np.eye(len(part))
            left = max(left, float(np.abs(part).max()))
    return numbers, left


def _other_basis(problem: Problem, reading: Reading) -> str:
    """Tell whether S is one of two-centre integrals at these places, if of other functions."""
    from deeph_dock.proofs import two_centre

    shells = {
        SYMBOLS[z]: tuple(problem.shells[z][source] for source in sources)
        for z, sources in reading.shells.items()
    }
    if max(degree for row in shells.values() for degree in row) == 0:
        return ""  # between s orbitals every number is a two-centre integral
    result = two_centre(problem.structure, shells, problem.overlap, 2000)
    if result.violation > problem.tolerance or result.largest < TELLING:
        return ""
    return (
        "another basis (other radial functions or cutoffs), or all lengths scaled: S has the "
        "symmetry of two-centre integrals at these places"
        + _only_shells(problem, reading, np.arange(len(problem.overlap)))
    )


def _only_shells(problem: Problem, reading: Reading, rows: Int) -> str:
    """Name the one shell that all differences have in common, if there is one."""
    named: dict[tuple[int, int], int] = {}
    count = 0
    for group in groups(problem, reading, rows[: 4 * PAIRS]):
        bad = np.abs(group.stored - group.expected) > problem.tolerance
        ends = group.numbers[::-1] if reading.transposed else group.numbers
        marks = [_shell_marks(problem, reading, number) for number in ends]
        for _, a, b in np.argwhere(bad).tolist():
            count += 1
            for key in {(ends[0], marks[0][a]), (ends[1], marks[1][b])}:
                named[key] = named.get(key, 0) + 1
    common = [key for key, times in named.items() if times == count]
    if count < 3 or len(common) != 1:
        return ""
    number, shell = common[0]
    degrees: Sequence[int] = [problem.shells[number][s] for s in reading.shells[number]]
    name = shell_names(tuple(degrees))[shell]
    return f"; only overlaps with shell {name} of {SYMBOLS[number]} differ"


def _shell_marks(problem: Problem, reading: Reading, number: int) -> list[int]:
    """Give the shell of each orbital of an element."""
    degrees = [problem.shells[number][source] for source in reading.shells[number]]
    return [shell for shell, degree in enumerate(degrees) for _ in range(2 * degree + 1)]
