"""Readings with other places: units, lattice vectors, the order of atoms, wrapped atoms."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from deeph_spec.structure import SYMBOLS, Structure
from numpy.typing import NDArray

from deeph_dock.overlap_diagnosis.reading import (
    Int,
    Problem,
    Reading,
    Real,
    deviations,
    largest_entries,
    norm_deviations,
    size_deviations,
)

BOHRS = (0.529177, 0.529177249, 0.52917721)
"""Å: of SIESTA and ABACUS, OpenMX, and others."""
BOHR_MATTERS = 1e-4
"""Differences above this are not of the digits of Bohr."""
IMAGES = 2
"""Atoms are looked for up to this many lattice vectors away."""
NAMES_AT_MOST = 6
"""Atoms that are named."""
ATOMS_AT_MOST = 2000
"""Atoms of which an order is looked for."""
PAIRS_AT_MOST = 5e6
"""Pairs of touching atoms that are made for it."""
ISLANDS_AT_MOST = 500
"""Islands of atoms that are joined."""
_LINKS = 12  # pairs that decide between two places of an atom


def units(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Try lengths of POSCAR that are Bohr taken as Å, or the reverse.

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
    for power, words in (
        (1, "in Bohr, taken as Å (1.8897 times too large)"),
        (-1, "multiplied by 0.5292 once too often (Bohr to Å)"),
    ):
        for what, both in (
            ("lengths in POSCAR are {}", (True, True)),
            ("lattice vectors in POSCAR are {}, positions are not", (True, False)),
            ("positions in POSCAR are {}, lattice vectors are not", (False, True)),
        ):
            for bohr in BOHRS:
                lattice = reading.lattice * (bohr**power if both[0] else 1.0)
                positions = reading.positions * (bohr**power if both[1] else 1.0)
                tried = reading.but(what.format(words), lattice=lattice, positions=positions)
                yield tried
                if not norm_deviations(problem, tried, rows).max() < BOHR_MATTERS:
                    break


def lattice_vectors(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Try the other sign of R, and a lattice written as columns.

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
    if reading.sense == 1:
        yield reading.but("R has the other sign: atom j is at tau_j - R.A", sense=-1)
    if not np.allclose(reading.lattice, reading.lattice.T, atol=1e-6):
        fractional = np.linalg.solve(reading.lattice.T, reading.positions.T).T
        turned = reading.lattice.T
        yield reading.but("lattice vectors are columns, not rows", lattice=turned)
        yield reading.but(
            "lattice vectors are columns, not rows, also where fractional positions were "
            "multiplied by them",
            lattice=turned,
            positions=fractional @ turned,
        )


def atom_orders(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Try atoms in another order: reversed, shifted by one, sorted, or told by their neighbours.

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
    count = len(reading.numbers)
    if count < 2:
        return
    numbers = reading.numbers
    names = np.array([SYMBOLS[number] for number in numbers.tolist()])
    sorts = [np.argsort(numbers, kind="stable"), np.argsort(names, kind="stable")]
    tried = [(np.roll(np.arange(count), step), f"shifted by {step:+d}") for step in (1, -1)]
    tried.append((np.arange(count)[::-1], "reversed"))
    for order in sorts:
        tried += [(order, "sorted by element"), (np.argsort(order), "not sorted by element")]
    if count <= ATOMS_AT_MOST:
        told = _order_by_neighbours(problem, reading)
        if told is not None:
            tried.append((told, ""))
    seen = {tuple(range(count))}
    for order, how in tried:
        if tuple(order.tolist()) in seen:
            continue
        seen.add(tuple(order.tolist()))
        yield reading.but(
            f"atoms in another order than in POSCAR{f' ({how})' if how else ''}: {_moves(order)}",
            positions=reading.positions[order],
            numbers=numbers[order],
        )


def _moves(order: Int) -> str:
    """Say which atoms stand where."""
    moved = np.flatnonzero(order != np.arange(len(order)))
    named = [f"{atom} of the matrices is {order[atom]}" for atom in moved[:3].tolist()]
    more = f", and {len(moved) - 3} more" if len(moved) > 3 else ""
    return f"atom {', '.join(named)} of POSCAR{more} (from 0)"


def _order_by_neighbours(problem: Problem, reading: Reading) -> Int | None:
    """Match atoms by the overlaps with all their neighbours, which do not depend on R."""
    from scipy.optimize import linear_sum_assignment

    stored = _prints(
        len(reading.numbers), problem.overlap.atom_pairs, _norms(problem, reading, True)
    )
    pairs = _neighbours(problem, reading)
    if pairs is None:
        return None
    pairs = pairs[pairs[:, :3].any(axis=1) | (pairs[:, 3] != pairs[:, 4])]
    norms = np.zeros(len(pairs))
    first, second = reading.numbers[pairs[:, 3]], reading.numbers[pairs[:, 4]]
    vectors = reading.vectors(pairs)
    for i, j in product(reading.shells, repeat=2):
        here = np.flatnonzero((first == i) & (second == j))
        for start in range(0, len(here), 2048):
            part = here[start : start + 2048]
            blocks = problem.computed(i, j, vectors[part])
            norms[part] = np.sqrt(np.einsum("pab,pab->p", blocks, blocks))
    expected = _prints(len(reading.numbers), pairs, norms)
    cost = np.abs(stored[:, None] - expected[None]).max(axis=2)
    # Of equal atoms each keeps its place.
    cost -= 0.1 * problem.tolerance * np.eye(len(cost))
    sizes = np.zeros(len(cost), np.int64)
    sizes[problem.overlap.atom_pairs[:, 3]] = problem.overlap.chunk_shapes[:, 0]
    wanted = {z: len(reading.orbitals(z, problem.shells[z])[0]) for z in reading.shells}
    fits = sizes[:, None] == np.array([wanted.get(z, -1) for z in reading.numbers.tolist()])
    row, column = linear_sum_assignment(np.where(fits, cost, 1e3))
    order = np.empty(len(cost), np.int64)
    order[row] = column
    return order if np.median(cost[row, column]) < 0.05 else None


def _neighbours(problem: Problem, reading: Reading) -> Int | None:
    """List the pairs whose orbitals touch; None where there are too many to be true."""
    from deeph_dock.integrals.neighbours import touching_pairs

    cutoff = 2 * max(problem.reach.values())
    volume = abs(float(np.linalg.det(reading.lattice)))
    if len(reading.numbers) ** 2 * cutoff**3 * 4.2 / volume > PAIRS_AT_MOST:
        return None
    structure = Structure(reading.lattice, reading.positions, reading.numbers)
    pairs: Int = touching_pairs(structure, problem.bases)
    return pairs


def _norms(problem: Problem, reading: Reading, off_site: bool) -> Real:
    """Give the Frobenius norm of each stored block, (P,)."""
    overlap = problem.overlap
    starts = np.minimum(overlap.chunk_boundaries[:-1], max(len(overlap.entries) - 1, 0))
    squares = np.add.reduceat(overlap.entries.astype(np.float64) ** 2, starts)
    norms: Real = np.sqrt(np.where(np.diff(overlap.chunk_boundaries) > 0, squares, 0.0))
    norms /= reading.factor
    if off_site:
        norms[overlap.on_site()] = 0.0
    return norms


def _prints(count: int, pairs: Int, norms: Real, length: int = 24) -> Real:
    """Give the largest norms of each atom's pairs in descending order, (atoms, length)."""
    order = np.lexsort((-norms, pairs[:, 3]))
    atoms = pairs[order, 3]
    rank = np.arange(len(order)) - np.searchsorted(atoms, atoms)
    kept = rank < length
    result = np.zeros((count, length))
    result[atoms[kept], rank[kept]] = norms[order][kept]
    return result


def wrapped_atoms(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Look for atoms that stand a lattice vector away from where R belongs to.

    Atoms whose pairs agree keep their places; islands of them are joined by the lattice vectors
    that make the pairs between them agree. Norms tell where orbitals do not.

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
    count = len(reading.numbers)
    if count < 2:
        return
    pairs = problem.overlap.atom_pairs
    largest = largest_entries(problem.overlap)
    telling = (pairs[:, 3] != pairs[:, 4]) & (largest > 100 * problem.tolerance)
    if not telling.any():
        return
    every = np.arange(len(pairs))
    for measure in (deviations, size_deviations):
        agrees = measure(problem, reading, every) <= problem.tolerance
        shifts = _island_shifts(problem, reading, measure, agrees & telling, telling, largest)
        moved = np.flatnonzero(shifts.any(axis=1))
        if not len(moved):
            continue
        words = _by_vector(shifts, moved)
        tried = reading.but(
            "atoms moved by lattice vectors (wrapped into the cell) without R; R fits with these "
            f"moved back: {words}",
            positions=reading.positions + shifts @ reading.lattice,
        )
        yield tried
        if deviations(problem, tried, rows).max() <= problem.tolerance:
            return


def _by_vector(shifts: Int, moved: Int) -> str:
    """Say which atoms are moved by which vector, in the order of the first atom of each."""
    vectors, which = np.unique(shifts[moved], axis=0, return_inverse=True)
    sets = [moved[which.ravel() == k] for k in range(len(vectors))]
    sets.sort(key=lambda atoms: int(atoms[0]))
    named = [f"{_atoms(atoms)} by {_vector(shifts[atoms[0]].tolist())}" for atoms in sets]
    more = len(named) - NAMES_AT_MOST
    return ", ".join(named[:NAMES_AT_MOST]) + (f", and {more} more vectors" if more > 0 else "")


def _atoms(atoms: Int) -> str:
    named = ", ".join(str(atom) for atom in atoms[:NAMES_AT_MOST].tolist())
    more = len(atoms) - NAMES_AT_MOST
    return f"atom{'s' * (len(atoms) > 1)} {named}" + (f" and {more} more" if more > 0 else "")


def _vector(vector: list[int]) -> str:
    return f"({', '.join(str(x) for x in vector)})"


def _island_shifts(
    problem: Problem,
    reading: Reading,
    measure: Any,
    good: NDArray[np.bool_],
    telling: NDArray[np.bool_],
    largest: Real,
) -> Int:
    """Give the lattice vector by which each atom has to move, (n, 3); the most keep their place."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs, count = problem.overlap.atom_pairs, len(reading.numbers)
    i, j = pairs[:, 3], pairs[:, 4]
    graph = coo_array((np.ones(int(good.sum())), (i[good], j[good])), shape=(count, count))
    islands, island = connected_components(graph, directed=False)
    shifts = np.zeros((count, 3), np.int64)
    if not 1 < islands <= ISLANDS_AT_MOST:
        return shifts
    between = np.flatnonzero(telling & (island[i] != island[j]))
    between = between[np.lexsort((-largest[between], i[between]))]
    rank = np.arange(len(between)) - np.searchsorted(i[between], i[between])
    between = between[rank < 2 * _LINKS]
    between = between[np.argsort(-largest[between], kind="stable")]
    placed = np.zeros(islands, dtype=bool)
    failed: set[int] = set()
    for _ in range(islands):
        links = between[placed[island[i[between]]] & ~placed[island[j[between]]]]
        links = links[~np.isin(island[j[links]], list(failed))] if failed else links
        if not len(links):
            waiting = np.bincount(island, minlength=islands) * ~placed
            if failed:
                waiting[list(failed)] = 0
            if not waiting.any():
                break
            placed[int(np.argmax(waiting))] = True  # the largest, and one of each molecule
            continue
        target = int(island[j[links[0]]])
        links = links[island[j[links]] == target][:_LINKS]
        shift = _shift(problem, reading, measure, links, shifts[i[links]])
        if shift is None:
            failed.add(target)
            continue
        shifts[island == target] = shift
        placed[target] = True
    values, counts = np.unique(shifts, axis=0, return_counts=True)
    usual: Int = values[int(np.argmax(counts))]
    return shifts - usual


def _shift(problem: Problem, reading: Reading, measure: Any, links: Int, before: Int) -> Int | None:
    """Give the lattice vector of the atoms j of some pairs that makes all of them agree."""
    reach = range(-IMAGES, IMAGES + 1)
    tried = np.array(sorted(product(reach, repeat=3), key=lambda m: (sum(map(abs, m)), m)))
    vectors = reading.vectors(problem.overlap.atom_pairs[links]) - before @ reading.lattice
    every = (vectors + (tried @ reading.lattice)[:, None]).reshape(-1, 3)
    misfits = measure(problem, reading, np.tile(links, len(tried)), every)
    misfits = misfits.reshape(len(tried), len(links)).max(axis=1)
    best = int(np.argmin(misfits))
    enough = max(problem.tolerance, 0.1 * misfits[0])
    if misfits[best] > enough:
        return None
    result: Int = tried[best]
    return result
