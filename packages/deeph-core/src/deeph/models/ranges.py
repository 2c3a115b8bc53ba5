"""The geometry that a model has seen in training, and what of a structure lies far outside it.

In: graphs of the training structures. Out: `Ranges`, plain numbers for the model's description.
A network is smooth between what it was trained on and guesses beyond: two atoms at half the
shortest distance of the training, or an atom with thrice the neighbours, deserve a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph.graphs import Graph

_REFUSED = 0.5
"""Two atoms nearer than this part of the shortest distance in training: surely a mistake."""

_NEAR = 0.9
"""Nearer than this part of it: worth a warning."""

_FAR = 0.5
"""Å beyond the longest distance of a pair in training: worth a warning."""

_MORE, _FEWER = 1.5, 0.5
"""Neighbours beyond these parts of the most and the fewest in training: worth a warning."""


@dataclass(frozen=True)
class Ranges:
    """Distances and numbers of neighbours in the training structures.

    Attributes
    ----------
    distances : mapping
        (symbol, symbol), sorted -> shortest and longest distance in Å of such atoms of a pair.
    neighbours : mapping
        Symbol -> fewest and most pairs that such an atom is the first atom of.
    """

    distances: Mapping[tuple[str, str], tuple[float, float]]
    neighbours: Mapping[str, tuple[int, int]]

    @property
    def farthest(self) -> float:
        """Longest distance in Å of all; zero without pairs."""
        return max((longest for _, longest in self.distances.values()), default=0.0)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "distances": {"-".join(key): list(span) for key, span in self.distances.items()},
            "neighbours": {symbol: list(span) for symbol, span in self.neighbours.items()},
        }

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Ranges:
        """Return the ranges that `document` came from."""
        distances = {}
        for name, (shortest, longest) in document["distances"].items():
            first, _, second = name.partition("-")
            distances[first, second] = (float(shortest), float(longest))
        neighbours = {
            symbol: (int(fewest), int(most))
            for symbol, (fewest, most) in document["neighbours"].items()
        }
        return cls(distances, neighbours)

    def unusual(self, structure: Structure, pairs: NDArray[np.int64], name: str) -> list[str]:
        """Say what of a structure lies far outside the training.

        Parameters
        ----------
        structure : Structure
        pairs : int64 (P, 5)
            R1, R2, R3, i, j.
        name : str
            Of the structure, for the messages.

        Returns
        -------
        list of str
            One line each for distances and for neighbours, naming the worst atoms. Atoms count
            from 0.

        Raises
        ------
        InputError
            If atoms are nearer than half the shortest distance in training.
        """
        on_site = (pairs[:, 3] == pairs[:, 4]) & ~pairs[:, :3].any(axis=1)
        pairs = pairs[~on_site]
        symbols = np.array(structure.symbols)
        kinds, species = np.unique(symbols, return_inverse=True)
        lengths = np.linalg.norm(structure.pair_vectors(pairs), axis=1)
        lines = []
        centre, neighbour = pairs[:, 3], pairs[:, 4]
        found = list(self._distances(kinds, species[centre], species[neighbour], lengths))
        if found:
            ratio, row, said = min(found)
            i, j = centre[row], neighbour[row]
            count = f" (and {len(found) - 1} more pairs of elements)" if len(found) > 1 else ""
            line = (
                f"{name}: atoms {i} ({symbols[i]}) and {j} ({symbols[j]}) are "
                f"{lengths[row]:.2f} Å apart, {said}{count}"
            )
            if ratio < _REFUSED:
                raise InputError(f"{line}: are units and positions right?")
            lines.append(line)
        counts = np.bincount(centre, minlength=len(structure))
        return lines + list(self._neighbours(kinds, species, counts, name))

    def _distances(
        self,
        kinds: NDArray[np.str_],
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        lengths: NDArray[np.float64],
    ) -> Iterator[tuple[float, int, str]]:
        """Yield badness (smaller is worse), row and words for every pair of elements outside."""
        for kind in np.unique(first * len(kinds) + second):
            a, b = divmod(int(kind), len(kinds))
            if a > b:
                continue  # the reverse pairs say the same
            rows = np.flatnonzero((first == a) & (second == b))
            nearest, farthest = rows[lengths[rows].argmin()], rows[lengths[rows].argmax()]
            key = (str(kinds[a]), str(kinds[b]))
            pair = "-".join(key)
            if key not in self.distances:
                yield 0.95, int(nearest), f"but {pair} pairs were not in the training data"
                continue
            shortest, longest = self.distances[key]
            said = f"in the training data {pair} pairs are {shortest:.2f} to {longest:.2f} Å apart"
            if lengths[nearest] < _NEAR * shortest:
                yield float(lengths[nearest] / shortest), int(nearest), said
            elif lengths[farthest] > longest + _FAR:
                yield 1 + longest / float(lengths[farthest]), int(farthest), said

    def _neighbours(
        self,
        kinds: NDArray[np.str_],
        species: NDArray[np.int64],
        counts: NDArray[np.int64],
        name: str,
    ) -> Iterator[str]:
        """Yield at most one line about the atom whose number of neighbours is oddest."""
        worst: tuple[float, str] | None = None
        outside = 0
        for index, kind in enumerate(map(str, kinds)):
            if kind not in self.neighbours:
                continue
            fewest, most = self.neighbours[kind]
            atoms = np.flatnonzero(species == index)
            own = counts[atoms]
            odd = (own > _MORE * most + 1) | (own < _FEWER * fewest)
            outside += int(odd.sum())
            if not odd.any():
                continue
            excess = np.maximum((own + 1) / (most + 1), (fewest + 1) / (own + 1))
            atom = int(atoms[excess.argmax()])
            said = (
                f"{name}: atom {atom} ({kind}) has {counts[atom]} neighbours, in the training "
                f"data {kind} has {fewest} to {most}"
            )
            if worst is None or excess.max() > worst[0]:
                worst = float(excess.max()), said
        if worst is not None:
            yield worst[1] + (f" (and {outside - 1} more atoms)" if outside > 1 else "")


def measure(graphs: Iterable[Graph], symbols: tuple[str, ...]) -> Ranges:
    """Return the ranges of the unpadded graphs of training structures.

    Parameters
    ----------
    graphs : iterable of Graph
    symbols : tuple of str
        Element of each index of `Graph.species`.
    """
    distances: dict[tuple[str, str], tuple[float, float]] = {}
    neighbours: dict[str, tuple[int, int]] = {}
    for graph in graphs:
        species = np.asarray(graph.species)
        first, second = species[graph.centre], species[graph.neighbour]
        kind = first.astype(np.int64) * len(symbols) + second
        order = np.argsort(kind, kind="stable")
        kinds, starts = np.unique(kind[order], return_index=True)
        if len(kinds):
            lengths = np.asarray(graph.lengths)[order]
            low, high = np.minimum.reduceat(lengths, starts), np.maximum.reduceat(lengths, starts)
            for number, shortest, longest in zip(kinds, low, high, strict=True):
                a, b = sorted((symbols[number // len(symbols)], symbols[number % len(symbols)]))
                span = distances.get((a, b), (np.inf, 0.0))
                distances[a, b] = (min(span[0], float(shortest)), max(span[1], float(longest)))
        counts = np.bincount(graph.centre, minlength=graph.nodes)
        for index in np.unique(species):
            own = counts[species == index]
            fewest, most = neighbours.get(symbols[index], (int(own.min()), 0))
            neighbours[symbols[index]] = (min(fewest, int(own.min())), max(most, int(own.max())))
    return Ranges(dict(sorted(distances.items())), neighbours)
