"""Small structures with their pairs, on which networks are tested, and what can be done to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from deeph_spec.testing import neighbour_pairs
from numpy.typing import NDArray

_CUTOFF = 2.3
_MANY = 24
"""Pairs of the random graphs, before reverse and on-site pairs are added."""


class Specimen(NamedTuple):
    """A structure and its pairs.

    Attributes
    ----------
    structure : Structure
    pairs : int64 (P, 5)
        R1, R2, R3, i, j.
    """

    structure: Structure
    pairs: NDArray[np.int64]

    def permuted(self, order: NDArray[np.int64]) -> Specimen:
        """Return the same atoms in another order: atom k is what was atom order[k]."""
        s, place = self.structure, np.argsort(order)
        pairs = self.pairs.copy()
        pairs[:, 3:] = place[pairs[:, 3:]]
        return Specimen(Structure(s.lattice, s.positions[order], s.numbers[order]), pairs)

    def moved(self, shift: Sequence[float], cells: NDArray[np.int64]) -> Specimen:
        """Return the same crystal shifted, its atoms (n, 3) lattice vectors away from before."""
        s, pairs = self.structure, self.pairs.copy()
        pairs[:, :3] += cells[pairs[:, 3]] - cells[pairs[:, 4]]
        positions = s.positions + cells @ s.lattice + np.asarray(shift)
        return Specimen(Structure(s.lattice, positions, s.numbers), pairs)

    def shifted(self, first: int) -> NDArray[np.int64]:
        """Return the pairs for atoms that count from `first`."""
        return self.pairs + np.array([0, 0, 0, first, first])

    def doubled(self) -> Specimen:
        """Return the supercell of two cells along the first lattice vector."""
        s, n = self.structure, len(self.structure)
        lattice = s.lattice * np.array([[2.0], [1.0], [1.0]])
        positions = np.concatenate([s.positions, s.positions + s.lattice[0]])
        parts = []
        for cell in range(2):
            target = cell + self.pairs[:, 0]
            r1, j = target // 2, self.pairs[:, 4] + n * (target % 2)
            parts.append(
                np.stack([r1, *self.pairs[:, 1:3].T, self.pairs[:, 3] + n * cell, j], axis=1)
            )
        numbers = np.tile(s.numbers, 2)
        return Specimen(Structure(lattice, positions, numbers), np.concatenate(parts))

    def first(self, atoms: int) -> Specimen:
        """Return the piece that the first atoms and the pairs among them make."""
        s, among = self.structure, np.all(self.pairs[:, 3:] < atoms, axis=1)
        return Specimen(
            Structure(s.lattice, s.positions[:atoms], s.numbers[:atoms]), self.pairs[among]
        )


def specimens(symbols: Sequence[str]) -> dict[str, Specimen]:
    """Return structures of three atoms of the given elements.

    A crystal in which atoms are their own neighbours, a molecule, a chain along the polar axis,
    and two graphs with random pairs: such as no cutoff gives, and an atom that has none.
    """
    return {
        "crystal": _made(
            symbols,
            [[2.2, 0.1, 0.3], [0.2, 3.1, -0.2], [0.1, 0.4, 3.4]],
            [[0.1, 0.2, 0.0], [1.2, 1.3, 0.9], [0.2, 0.8, 5.1]],
        ),
        "molecule": _made(
            symbols, 30 * np.eye(3), [[0.0, 0.1, 0.2], [1.1, -0.3, 0.7], [-0.4, 1.5, 0.9]], 1
        ),
        "chain": _made(
            symbols,
            [[30.0, 0, 0], [0, 30.0, 0], [0, 0, 2.2]],
            [[0.0, 0, 0], [0.0, 0, 1.1], [1.3, 0.4, 0.3]],
        ),
        "random": _random(symbols, 5),
        "random with a lonely atom": _random(symbols, 6, lonely=True),
    }


def wire(symbols: Sequence[str], atoms: int) -> Specimen:
    """Return a crooked molecule in which each atom sees the one before and the one after it."""
    k = np.arange(atoms)
    positions = np.stack([1.6 * k, 0.5 * np.cos(2.0 * k), 0.4 * np.sin(1.3 * k)], axis=1)
    return _made(symbols, (20.0 + 2 * atoms) * np.eye(3), positions)


def _made(symbols: Sequence[str], lattice: Any, positions: Any, first: int = 0) -> Specimen:
    """Return a structure with all pairs closer than the cutoff; elements take turns."""
    count = len(positions)
    numbers = [ATOMIC_NUMBERS[symbols[(first + k) % len(symbols)]] for k in range(count)]
    structure = Structure(np.array(lattice), np.array(positions), np.array(numbers))
    return Specimen(structure, neighbour_pairs(structure, _CUTOFF))


def _random(symbols: Sequence[str], seed: int, lonely: bool = False) -> Specimen:
    """Return random atoms and some of their pairs."""
    rng = np.random.default_rng(seed)
    lattice = 3.0 * np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3))
    fractional = np.array([[0.1, 0.2, 0.0], [0.6, 0.5, 0.3], [0.2, 0.9, 0.7]])
    fractional = fractional + rng.uniform(-0.1, 0.1, (3, 3)) + rng.integers(-1, 2, (3, 3))
    numbers = np.array([ATOMIC_NUMBERS[s] for s in rng.choice(list(symbols), 3)])
    structure = Structure(lattice, fractional @ lattice, numbers)
    pairs = neighbour_pairs(structure, 5.0)
    chosen = pairs[rng.permutation(len(pairs))[:_MANY]]
    if lonely:
        chosen = chosen[np.all(chosen[:, 3:] != 2, axis=1)]
    return Specimen(structure, chosen)
