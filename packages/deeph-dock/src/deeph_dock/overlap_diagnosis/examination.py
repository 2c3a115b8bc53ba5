"""Comparing all stored overlaps with those of a basis, and naming the first pair that differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.orbitals import orbital_count, orbital_labels, shells_to_text
from deeph_spec.structure import ATOMIC_NUMBERS, SYMBOLS, Structure

from deeph_dock.basis import AtomicBasis
from deeph_dock.overlap_diagnosis.reading import (
    Engine,
    Int,
    Problem,
    Reading,
    Real,
    deviations,
    groups,
)
from deeph_dock.overlap_diagnosis.search import Explanation, explain
from deeph_dock.overlap_diagnosis.values import without_spin

TOLERANCES: dict[tuple[str, str], float] = {
    ("siesta", "exact"): 2e-5,
    ("siesta", "siesta"): 4e-7,
    ("openmx", "exact"): 1e-6,
    ("openmx", "openmx"): 1e-6,
    ("abacus", "exact"): 1e-6,
    ("pyscf", "exact"): 1e-7,
}
"""Largest difference to the code's own overlaps, by code and quadrature of the basis."""
TOLERANCE = 2e-5
"""The same for others."""
SINGLE = 4e-7
"""Least tolerance for S in single precision."""


@dataclass(frozen=True)
class Agreement:
    """How stored overlaps compare with those of a basis.

    Attributes
    ----------
    largest : float
        Largest |difference|, over all pairs whose blocks have the size of their orbitals.
    tolerance : float
        What is taken for none.
    pairs : int
        Pairs that were compared.
    wrong : int
        Pairs that differ by more than the tolerance.
    pair : tuple of int or None
        R1, R2, R3, i, j of the first of them in the order of the file.
    where : str
        Elements, distance, and the element of S of that pair that differs most, with both numbers.
    causes : tuple of str
        What was found to make the stored numbers those of the basis; the words of each.
    alternatives : tuple of str
        Other single causes that explain the same numbers as well.
    left : float or None
        Largest difference that remains when the causes are undone.
    hint : str
        What is known where no cause was found, or not all of it.
    notes : tuple of str
        What is not wrong but worth knowing.
    """

    largest: float
    tolerance: float
    pairs: int
    wrong: int = 0
    pair: tuple[int, ...] | None = None
    where: str = ""
    causes: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    left: float | None = None
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether S is that of the basis."""
        return not self.wrong and not self.hint

    @property
    def looks_like(self) -> str:
        """The causes in one phrase, or that there is none."""
        if self.ok:
            return ""
        if not self.causes:
            return self.hint or "nothing that is known here"
        words = "; and ".join(self.causes)
        if self.alternatives:
            words += f"; or as well: {'; or '.join(self.alternatives)}"
        if self.left is not None and self.left > self.tolerance:
            rest = f": {self.hint}" if self.hint else ""
            words += f"; differences up to {self.left:.2g} remain, of another cause{rest}"
        return words

    def __str__(self) -> str:
        if self.ok:
            return f"S is that of the basis: largest difference {self.largest:.2g}"
        if self.pair is None:
            return self.looks_like
        return (
            f"{self.where}; {self.wrong} of {self.pairs} pairs differ, by up to {self.largest:.2g} "
            f"(tolerance {self.tolerance:g}); looks like: {self.looks_like}"
        )


def tolerance_of(bases: Mapping[int, AtomicBasis], overlap: BlockMatrix) -> float:
    """Give the difference to a code's own overlaps that its basis can be held to.

    Parameters
    ----------
    bases : mapping of int to AtomicBasis
        By atomic number.
    overlap : BlockMatrix
        Whose precision counts, too.

    Returns
    -------
    float
        Of the least accurate basis.
    """
    limits = [TOLERANCES.get((b.code, b.quadrature), TOLERANCE) for b in bases.values()]
    single = overlap.dtype in (np.float32, np.complex64)
    return max([*limits, SINGLE if single else 0.0])


def unlike_elements(
    orbital_map: Mapping[str, Sequence[int]], bases: Mapping[int, AtomicBasis]
) -> list[str]:
    """Say which elements have other shells than their basis.

    Parameters
    ----------
    orbital_map : mapping
        Shells of each element in the dataset.
    bases : mapping of int to AtomicBasis
        By atomic number.

    Returns
    -------
    list of str
        One phrase for each element with other l, or another number of them.
    """
    unlike = []
    for symbol, shells in orbital_map.items():
        basis = bases.get(ATOMIC_NUMBERS[symbol])
        if basis is not None and sorted(shells) != sorted(basis.degrees):
            unlike.append(
                f"{symbol} has {shells_to_text(tuple(shells))} in info.json and "
                f"{shells_to_text(basis.degrees)} in {basis.source}"
            )
    return unlike


def examine(
    structure: Structure,
    orbital_map: Mapping[str, Sequence[int]],
    overlap: BlockMatrix,
    bases: Mapping[int, AtomicBasis],
    engine: Engine,
    tolerance: float | None = None,
) -> Agreement:
    """Compare stored overlaps with those of a basis, and find out why they differ.

    Parameters
    ----------
    structure : Structure
        Atoms as POSCAR has them.
    orbital_map : mapping
        Shells of each element in storage order.
    overlap : BlockMatrix
        S as stored, real, without spin.
    bases : mapping of int to AtomicBasis
        For every element, by atomic number.
    engine : Engine
        Computes overlaps of these bases.
    tolerance : float, optional
        Differences up to this are none; without it that of `tolerance_of`.

    Returns
    -------
    Agreement
    """
    limit = tolerance_of(bases, overlap) if tolerance is None else tolerance
    unlike = unlike_elements({s: orbital_map[s] for s in structure.elements}, bases)
    if unlike:
        hint = f"another basis: {'; '.join(unlike)}"
        return Agreement(0.0, limit, 0, hint=hint)
    present = np.unique(structure.numbers).tolist()
    problem = Problem(structure, overlap, bases, engine, limit)
    sizes = {number: orbital_count(problem.shells[number]) for number in present}
    halved = without_spin(problem, np.array([sizes[z] for z in structure.numbers.tolist()]))
    if halved is not None:
        words, half = halved
        found = examine(structure, orbital_map, half, bases, engine, limit)
        return replace(
            found,
            wrong=len(overlap),
            pair=tuple(overlap.atom_pairs[0].tolist()),
            where=f"pair {_pair(overlap.atom_pairs[0])}: a block of "
            f"{' x '.join(str(n) for n in overlap.chunk_shapes[0].tolist())}, the basis has half",
            causes=(f"S is doubled for spin: {words}", *found.causes),
            left=found.largest if found.left is None else found.left,
        )
    sources = {n: _matched(tuple(orbital_map[SYMBOLS[n]]), problem.shells[n]) for n in present}
    reading = Reading(structure.lattice, structure.positions, structure.numbers, sources)
    differences = deviations(problem, reading, np.arange(len(overlap)))
    wrong = np.flatnonzero(~(differences <= limit))
    notes = tuple(
        f"{SYMBOLS[n]}: the shells of info.json stand in another order than those of "
        f"{bases[n].source}; they are compared one by one"
        for n in present
        if tuple(orbital_map[SYMBOLS[n]]) != problem.shells[n]
    )
    largest = float(differences[np.isfinite(differences)].max(initial=0.0))
    if not len(wrong):
        return _with_missing(problem, reading, Agreement(largest, limit, len(overlap), notes=notes))
    first = int(wrong[0])
    explanation: Explanation = explain(problem, reading, differences)
    return Agreement(
        largest,
        limit,
        len(overlap),
        len(wrong),
        tuple(overlap.atom_pairs[first].tolist()),
        _where(problem, reading, first),
        explanation.causes,
        explanation.alternatives,
        explanation.left,
        explanation.hint,
        notes,
    )


def _matched(given: tuple[int, ...], basis: tuple[int, ...]) -> tuple[int, ...]:
    """Match the shells of one l in the order in which they stand."""
    by_degree = {d: [k for k, own in enumerate(basis) if own == d] for d in set(basis)}
    return tuple(by_degree[degree].pop(0) for degree in given)


def _where(problem: Problem, reading: Reading, row: int) -> str:
    """Name a pair, and the two numbers that differ most."""
    pair = problem.overlap.atom_pairs[row]
    i, j = int(pair[3]), int(pair[4])
    symbols = problem.structure.symbols
    distance = float(np.linalg.norm(reading.vectors(pair[None])[0]))
    name = f"pair {_pair(pair)}, {symbols[i]}-{symbols[j]}"
    name += f" at {distance:.3f} Å"
    for group in groups(problem, reading, np.array([row])):
        difference = np.abs(group.stored - group.expected)[0]
        a, b = np.unravel_index(int(np.argmax(difference)), difference.shape)
        labels = [_labels(problem, reading, number) for number in group.numbers]
        return (
            f"{name}: <{labels[0][a]}|{labels[1][b]}> is {group.stored[0, a, b]:.6g}, the basis "
            f"gives {group.expected[0, a, b]:.6g}"
        )
    shape = problem.overlap.chunk_shapes[row].tolist()
    sizes = [orbital_count(problem.shells[int(problem.structure.numbers[atom])]) for atom in (i, j)]
    return f"{name}: a block of {shape[0]} x {shape[1]}, the basis has {sizes[0]} x {sizes[1]}"


def _pair(pair: Int) -> str:
    return f"({', '.join(str(x) for x in pair.tolist())})"


def _labels(problem: Problem, reading: Reading, number: int) -> list[str]:
    """Name the orbitals of an element, with the number of the shell among those of its l."""
    degrees = [problem.shells[number][source] for source in reading.shells[number]]
    labels = []
    for place, degree in enumerate(degrees):
        count = degrees[:place].count(degree) + 1
        more = f"({count})" if degrees.count(degree) > 1 else ""
        labels += [f"{label}{more}" for label in orbital_labels([degree])]
    return labels


def _with_missing(problem: Problem, reading: Reading, agreement: Agreement) -> Agreement:
    """Add pairs that the file lacks although their orbitals overlap."""
    pairs = missing_pairs(problem, reading)
    if not len(pairs):
        return agreement
    first = pairs[0]
    i, j = (problem.structure.symbols[atom] for atom in first[3:].tolist())
    distance = float(np.linalg.norm(reading.vectors(first[None])[0]))
    return replace(
        agreement,
        hint=(
            f"all stored pairs agree, but {len(pairs)} pairs whose orbitals overlap are not "
            f"stored, the first is {_pair(first)}, {i}-{j} at "
            f"{distance:.3f} Å: pairs were cut off, or the basis of the run reached less far"
        ),
    )


def missing_pairs(problem: Problem, reading: Reading) -> Int:
    """List pairs of the structure that are not stored and overlap by more than the tolerance.

    Parameters
    ----------
    problem : Problem
    reading : Reading
        Where the atoms are.

    Returns
    -------
    (m, 5) int64 array
        In the order of (R1, R2, R3, i, j).
    """
    from deeph_dock.integrals.neighbours import touching_pairs

    structure = Structure(reading.lattice, reading.positions, reading.numbers)
    pairs = touching_pairs(structure, problem.bases)
    pairs = pairs[problem.overlap.rows_of(pairs) < 0]
    overlapping = np.zeros(len(pairs), dtype=bool)
    kinds = reading.numbers[pairs[:, 3:]]
    for i, j in np.unique(kinds, axis=0).tolist() if len(pairs) else []:
        here = np.flatnonzero((kinds == (i, j)).all(axis=1))
        for start in range(0, len(here), 2048):
            part = here[start : start + 2048]
            blocks: Real = problem.computed(i, j, reading.vectors(pairs[part]))
            overlapping[part] = np.abs(blocks).max(axis=(1, 2), initial=0.0) > problem.tolerance
    return pairs[overlapping]
