"""Putting the facts of all structures together, in the memory of a few numbers for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from numpy.typing import NDArray

from deeph_dock.duplicates import copies
from deeph_dock.summary.entries import BIN, EntryStatistics, added, total
from deeph_dock.summary.facts import Facts
from deeph_dock.summary.mixtures import Provenance, mixtures

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Span:
    """Least, median and largest of some numbers, and for how many structures they are known."""

    least: float
    median: float
    largest: float
    known: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Span | None:
        """Give the span of those that are not None; None if all are."""
        known = [value for value in values if value is not None]
        if not known:
            return None
        return cls(min(known), float(np.median(known)), max(known), len(known))


@dataclass(frozen=True, eq=False)
class Summary:
    """Summary of a dataset.

    Parameters
    ----------
    structures : int
        Those that could be read.
    unreadable : dict
        Why the others could not be, by id.
    shells : dict
        The different shell lists of each element, with the number of structures.
    compositions : dict
        Structures of each.
    spins, matrices : dict
        Structures of each kind of spin, and with each matrix.
    sizes : dict
        Spans of atoms, orbitals, pairs, and bytes.
    atom_counts : int64 array
        Atoms of each structure.
    bytes : int
        Of all matrices together.
    fermi_level, electrons : Span or None
        eV; of the cell.
    distances : int64 array
        Off-site pairs in intervals of `BIN`.
    reach : dict
        Largest distance of each pair of elements, Å.
    neighbours : tuple
        Least, mean and most off-site pairs of an atom.
    overlap, hamiltonian : EntryStatistics
        Of the entries that were read; 1 and eV.
    read, read_whole : int
        Structures of which entries, and all entries, were read.
    empty : tuple of int
        Pairs of H that were read, and those of them with an overlap of exactly zero.
    copies : tuple
        Ids of structures that are copies of each other.
    provenance : dict
        Values of each key, with the number of structures.
    standardized : int
        Structures without a free energy zero.
    warnings : tuple of str
        What should not differ and does.
    """

    structures: int
    unreadable: dict[str, str]
    shells: dict[str, dict[tuple[int, ...], int]]
    compositions: dict[str, int]
    spins: dict[str, int]
    matrices: dict[str, int]
    sizes: dict[str, Span | None]
    atom_counts: Int
    bytes: int
    fermi_level: Span | None
    electrons: Span | None
    distances: Int
    reach: dict[str, float]
    neighbours: tuple[int, float, int]
    overlap: EntryStatistics
    hamiltonian: EntryStatistics
    read: int
    read_whole: int
    empty: tuple[int, int]
    copies: tuple[tuple[str, ...], ...]
    provenance: dict[str, dict[str, int]]
    standardized: int
    warnings: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Give everything as plain objects, for JSON."""

        def span(value: Span | None) -> dict[str, float] | None:
            return None if value is None else asdict(value)

        return {
            "structures": self.structures,
            "unreadable": self.unreadable,
            "shells": {
                element: [{"shells": list(s), "structures": n} for s, n in lists.items()]
                for element, lists in self.shells.items()
            },
            "compositions": self.compositions,
            "spin": self.spins,
            "matrices": self.matrices,
            "sizes": {name: span(value) for name, value in self.sizes.items()},
            "bytes": self.bytes,
            "fermi_energy_eV": span(self.fermi_level),
            "electrons": span(self.electrons),
            "distance_bin": BIN,
            "pairs_by_distance": self.distances.tolist(),
            "reach": self.reach,
            "neighbours": dict(zip(("least", "mean", "most"), self.neighbours, strict=True)),
            "overlap": self.overlap.to_document(),
            "hamiltonian_eV": self.hamiltonian.to_document(),
            "entries_read_of": {"structures": self.read, "whole": self.read_whole},
            "pairs_without_overlap": {"of": self.empty[0], "zero": self.empty[1]},
            "copies": [list(ids) for ids in self.copies],
            "provenance": self.provenance,
            "standardized": self.standardized,
            "warnings": list(self.warnings),
        }


@dataclass
class _Collected:
    """What grows while facts come in."""

    unreadable: dict[str, str] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)
    compositions: Counter[str] = field(default_factory=Counter)
    prints: list[Any] = field(default_factory=list)
    shells: dict[str, dict[tuple[int, ...], list[str]]] = field(default_factory=dict)
    spins: dict[str, list[str]] = field(default_factory=dict)
    matrices: Counter[str] = field(default_factory=Counter)
    numbers: dict[str, list[float | None]] = field(default_factory=dict)
    distances: Int = field(default_factory=lambda: np.zeros(0, np.int64))
    reach: dict[str, float] = field(default_factory=dict)
    neighbours: list[tuple[int, int, int]] = field(default_factory=list)
    atoms_with_pairs: int = 0
    overlap: EntryStatistics = field(default_factory=EntryStatistics)
    hamiltonian: EntryStatistics = field(default_factory=EntryStatistics)
    read: list[bool] = field(default_factory=list)
    empty: list[tuple[int, int]] = field(default_factory=list)
    provenance: Provenance = field(default_factory=Provenance)

    def add(self, facts: Facts) -> None:
        """Take in one structure."""
        if facts.error:
            self.unreadable[facts.id] = facts.error
            return
        self.ids.append(facts.id)
        self.compositions[facts.composition] += 1
        self.prints.append(facts.print)
        for element, shells in facts.shells.items():
            self.shells.setdefault(element, {}).setdefault(tuple(shells), []).append(facts.id)
        self.spins.setdefault(facts.spin, []).append(facts.id)
        self.matrices.update(facts.matrices)
        for name in ("atoms", "orbitals", "pairs", "bytes", "fermi_level", "electrons"):
            self.numbers.setdefault(name, []).append(getattr(facts, name))
        self.provenance.add(facts.id, facts.provenance, facts.cell)
        if facts.pairs is None:
            return
        self.distances = added(self.distances, facts.distances)
        for name, distance in facts.reach.items():
            self.reach[name] = max(distance, self.reach.get(name, 0.0))
        self.neighbours.append(facts.neighbours)
        self.atoms_with_pairs += facts.atoms
        if facts.overlap is not None:
            self.overlap.add(facts.overlap)
        if facts.hamiltonian is not None:
            self.hamiltonian.add(facts.hamiltonian)
        if facts.overlap is not None or facts.hamiltonian is not None:
            self.read.append(facts.whole)
            self.empty.append(facts.empty)


def summarise(facts: Iterable[Facts], folders: Mapping[str, Path]) -> Summary:
    """Put the facts of all structures together.

    Parameters
    ----------
    facts : iterable of Facts
        In any order.
    folders : mapping
        Folder of each id, in the order of the dataset.

    Returns
    -------
    Summary
        Of those that could be read.
    """
    found = _Collected()
    for one in facts:
        found.add(one)
    order = {id: number for number, id in enumerate(folders)}

    def ordered(ids: Iterable[str]) -> list[str]:
        return sorted(ids, key=lambda id: order.get(id, 0))

    same = copies(found.prints, lambda n: Structure.read(folders[found.ids[n]] / "POSCAR"))
    sizes = {name: Span.of(found.numbers.get(name, ())) for name in _SIZES}
    return Summary(
        structures=len(found.ids),
        unreadable={id: found.unreadable[id] for id in ordered(found.unreadable)},
        shells={
            element: {shells: len(ids) for shells, ids in sorted(lists.items())}
            for element, lists in sorted(found.shells.items(), key=_by_number)
        },
        compositions=dict(found.compositions.most_common()),
        spins={spin: len(ids) for spin, ids in sorted(found.spins.items())},
        matrices=dict(found.matrices),
        sizes=sizes,
        atom_counts=np.array(found.numbers.get("atoms", []), dtype=np.int64),
        bytes=sum(int(value or 0) for value in found.numbers.get("bytes", [])),
        fermi_level=Span.of(found.numbers.get("fermi_level", ())),
        electrons=Span.of(found.numbers.get("electrons", ())),
        distances=found.distances,
        reach=dict(sorted(found.reach.items())),
        neighbours=_neighbours(found.neighbours, found.atoms_with_pairs),
        overlap=found.overlap,
        hamiltonian=found.hamiltonian,
        read=len(found.read),
        read_whole=sum(found.read),
        empty=(sum(n for n, _ in found.empty), sum(n for _, n in found.empty)),
        copies=tuple(
            sorted(
                (tuple(ordered(found.ids[n] for n in numbers)) for numbers in same),
                key=lambda ids: order[ids[0]],
            )
        ),
        provenance=found.provenance.counts(),
        standardized=len(found.provenance.standardized),
        warnings=tuple(mixtures(found.shells, found.spins, found.provenance, ordered)),
    )


_TELLING = 1e-3
_SIZES = ("atoms", "orbitals", "pairs", "bytes")


def _by_number(item: tuple[str, Any]) -> int:
    return ATOMIC_NUMBERS.get(item[0], 0)


def _neighbours(found: Sequence[tuple[int, int, int]], atoms: int) -> tuple[int, float, int]:
    """Give least, mean and most."""
    if not found:
        return 0, 0.0, 0
    mean = sum(n for _, n, _ in found) / atoms
    return min(n for n, _, _ in found), mean, max(n for _, _, n in found)


def decay_length(statistics: EntryStatistics, name: str) -> float | None:
    """Give the distance over which mean |entries| of a pair of elements fall by a factor of e.

    Parameters
    ----------
    statistics : EntryStatistics
        Of entries that were read.
    name : str
        Pair of elements.

    Returns
    -------
    float or None
        Å, by least squares of the logarithm over the intervals whose mean is above `_TELLING` of
        the largest: beyond it the ends of orbitals would rule. None for fewer than three.
    """
    counts, sums, _ = statistics.off_site[name]
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)
    places = np.flatnonzero(means > _TELLING * means.max(initial=0.0))
    if len(places) < 3:
        return None
    slope = np.polyfit((places + 0.5) * BIN, np.log(means[places]), 1)[0]
    return float(-1 / slope) if slope < 0 else None


def mean_and_largest(statistics: EntryStatistics, on_site: bool) -> tuple[float, float] | None:
    """Give mean and largest |entries| of all elements together; None if none were read."""
    tallies = statistics.on_site if on_site else statistics.off_site
    count, summed, largest = total(tallies.values())
    return (float(summed / count), float(largest)) if count else None
