"""A reading: what numbers of a file are taken to mean, and the overlaps they should then be.

The same numbers can be read in many ways: other lengths, another R, other atoms, other orbitals.
Under each reading the basis says what the overlap of every pair is, and the difference to the
stored one is what a reading is judged by. Norms of the blocks of two shells do not depend on the
order and the signs of the orbitals in a shell, so that they judge places alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.orbitals import orbital_count, shell_offsets
from deeph_spec.ragged import gather, shape_groups
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis

Real = NDArray[np.float64]
Int = NDArray[np.int64]

PAIRS_AT_ONCE = 2048


class Engine(Protocol):
    """What computes overlaps: `deeph_dock.integrals.two_centre.TwoCentre`."""

    def blocks(self, quantity: str, first: int, second: int, vectors: Real) -> Real:
        """Give the integrals (p, a, b) between two elements at r_j - r_i."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What does not change while readings are tried.

    Attributes
    ----------
    structure : Structure
        As POSCAR has it.
    overlap : BlockMatrix
        As stored.
    bases : mapping of int to AtomicBasis
        By atomic number.
    engine : Engine
        Gives the overlaps of these bases.
    tolerance : float
        Differences up to this are none.
    """

    structure: Structure
    overlap: BlockMatrix
    bases: Mapping[int, AtomicBasis]
    engine: Engine
    tolerance: float

    @cached_property
    def shells(self) -> dict[int, tuple[int, ...]]:
        """The l of each shell of the basis, by atomic number."""
        return {number: basis.degrees for number, basis in self.bases.items()}

    @cached_property
    def reach(self) -> dict[int, float]:
        """Largest radius of an orbital, Å, by atomic number."""
        return {number: basis.cutoff for number, basis in self.bases.items()}

    def computed(self, first: int, second: int, vectors: Real) -> Real:
        """Give overlaps (p, a, b) of two elements; zero beyond the sum of their radii."""
        distances = np.sqrt(np.einsum("pc,pc->p", vectors, vectors))
        near = distances < self.reach[first] + self.reach[second]
        if near.all():
            return self.engine.blocks("overlap", first, second, vectors)
        shape = (orbital_count(self.shells[first]), orbital_count(self.shells[second]))
        result = np.zeros((len(vectors), *shape))
        result[near] = self.engine.blocks("overlap", first, second, vectors[near])
        return result


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read the file.

    Attributes
    ----------
    lattice, positions, numbers : arrays
        Cell, and where the atoms of the matrices are, in their order there; Å.
    sense : int
        Atom j is at tau_j + sense * R.A.
    shells : mapping of int to tuple of int
        By atomic number: the basis's shell that each shell in the matrices is.
    inside : mapping of int to (order, signs)
        By l: orbital k of a shell in the matrices is signs[k] times orbital order[k] of the format.
    flips : mapping of int to tuple of int
        By atomic number: the sign of each shell in the matrices.
    transposed : bool
        Whether blocks have the orbitals of j as rows.
    factor : float
        S is stored times this.
    causes : tuple of str
        In which ways this differs from what the format says, in words.
    """

    lattice: Real
    positions: Real
    numbers: Int
    shells: Mapping[int, tuple[int, ...]]
    sense: int = 1
    inside: Mapping[int, tuple[Int, Real]] = field(default_factory=dict)
    flips: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    transposed: bool = False
    factor: float = 1.0
    causes: tuple[str, ...] = ()

    def but(self, cause: str, **changes: Any) -> Reading:
        """Give a reading that differs in one thing more."""
        return replace(self, causes=(*self.causes, cause), **changes)

    def vectors(self, pairs: Int) -> Real:
        """Give r_j - r_i of pairs, Å, (p, 3)."""
        offset = self.positions[pairs[:, 4]] - self.positions[pairs[:, 3]]
        vectors: Real = offset + self.sense * pairs[:, :3] @ self.lattice
        return vectors

    def orbitals(self, number: int, degrees: tuple[int, ...]) -> tuple[Int, Real]:
        """Give the basis's orbital that each orbital in the matrices is, and its sign.

        Parameters
        ----------
        number : int
            Atomic number.
        degrees : tuple of int
            l of each shell of the basis.

        Returns
        -------
        order : (n,) int64 array
        signs : (n,) float64 array
        """
        offsets = shell_offsets(degrees)
        sources = self.shells[number]
        flips = self.flips.get(number, (1,) * len(sources))
        order, signs = [], []
        for source, flip in zip(sources, flips, strict=True):
            width = 2 * degrees[source] + 1
            own, sign = self.inside.get(degrees[source], (np.arange(width), np.ones(width)))
            order.append(offsets[source] + own)
            signs.append(flip * sign)
        return np.concatenate(order), np.concatenate(signs)


@dataclass(frozen=True, eq=False)
class Group:
    """Pairs of two elements, and what they are and should be.

    Attributes
    ----------
    members : (p,) int64 array
        Where they stand in the list of rows asked for.
    numbers : tuple of int
        Atomic numbers of i and j under the reading.
    stored, expected : (p, a, b) arrays
        Blocks of the file, and of the basis under the reading.
    """

    members: Int
    numbers: tuple[int, int]
    stored: Real
    expected: Real


def groups(
    problem: Problem, reading: Reading, rows: Int, vectors: Real | None = None
) -> Iterator[Group]:
    """Go through pairs in bounded pieces, of two elements and one shape each.

    Parameters
    ----------
    problem : Problem
    reading : Reading
    rows : (m,) int64 array
        Row numbers of the pairs.
    vectors : (m, 3) array, optional
        Instead of those of the reading, Å.

    Yields
    ------
    Group
        Nothing for pairs whose blocks do not have the shape that the reading gives them.
    """
    overlap = problem.overlap
    radix = int(reading.numbers.max()) + 1
    kinds = {number: reading.orbitals(number, problem.shells[number]) for number in reading.shells}
    usual = {z: np.array_equal(order, np.arange(len(order))) for z, (order, _) in kinds.items()}
    for group, shape in shape_groups(overlap.chunk_shapes[rows]):
        pairs = overlap.atom_pairs[rows[group]]
        first, second = reading.numbers[pairs[:, 3]], reading.numbers[pairs[:, 4]]
        keys = first * radix + second
        for key in np.unique(keys).tolist():
            i, j = divmod(key, radix)
            if i not in kinds or j not in kinds:
                continue
            (left, left_signs), (right, right_signs) = kinds[i], kinds[j]
            made = (len(left), len(right))
            if shape != (made[::-1] if reading.transposed else made):
                continue
            same = np.flatnonzero(keys == key)
            for start in range(0, len(same), PAIRS_AT_ONCE):
                here = same[start : start + PAIRS_AT_ONCE]
                members = group[here]
                stored = gather(
                    overlap.entries, overlap.chunk_boundaries[rows[members]], *shape
                ).astype(np.float64, copy=False)
                if vectors is None:
                    expected = problem.computed(i, j, reading.vectors(pairs[here]))
                else:
                    expected = problem.computed(i, j, vectors[members])
                if not (usual[i] and usual[j]):
                    expected = expected[:, left[:, None], right]
                scale = reading.factor * left_signs[:, None] * right_signs
                if (scale != 1).any():
                    expected *= scale
                if reading.transposed:
                    expected = expected.swapaxes(1, 2)
                yield Group(members, (i, j), stored, expected)


def deviations(problem: Problem, reading: Reading, rows: Int, vectors: Real | None = None) -> Real:
    """Give the largest |difference| of the elements of each pair.

    Parameters
    ----------
    problem : Problem
    reading : Reading
    rows : (m,) int64 array
        Row numbers of the pairs.
    vectors : (m, 3) array, optional
        Instead of those of the reading, Å.

    Returns
    -------
    (m,) float64 array
        Infinity where the shape of a block is not that of the reading.
    """

    def largest(group: Group) -> Real:
        return _largest(group.stored - group.expected)

    return _measured(problem, reading, rows, vectors, largest)


def norm_deviations(
    problem: Problem, reading: Reading, rows: Int, vectors: Real | None = None
) -> Real:
    """Give the largest |difference| of the norms of the blocks of two shells, of each pair.

    Parameters
    ----------
    problem : Problem
    reading : Reading
    rows : (m,) int64 array
        Row numbers of the pairs.
    vectors : (m, 3) array, optional
        Instead of those of the reading, Å.

    Returns
    -------
    (m,) float64 array
        Infinity where the shape of a block is not that of the reading.
    """

    def largest(group: Group) -> Real:
        starts = shell_starts(problem, reading, group)
        return _largest(shell_norms(group.stored, *starts) - shell_norms(group.expected, *starts))

    return _measured(problem, reading, rows, vectors, largest)


def size_deviations(
    problem: Problem, reading: Reading, rows: Int, vectors: Real | None = None
) -> Real:
    """Give the |difference| of the norms of whole blocks, which no order of orbitals changes.

    Parameters
    ----------
    problem : Problem
    reading : Reading
    rows : (m,) int64 array
        Row numbers of the pairs.
    vectors : (m, 3) array, optional
        Instead of those of the reading, Å.

    Returns
    -------
    (m,) float64 array
        Infinity where the shape of a block is not that of the reading.
    """

    def difference(group: Group) -> Real:
        stored, expected = (
            np.sqrt(np.einsum("pab,pab->p", blocks, blocks))
            for blocks in (group.stored, group.expected)
        )
        return np.abs(stored - expected)

    return _measured(problem, reading, rows, vectors, difference)


def _measured(
    problem: Problem,
    reading: Reading,
    rows: Int,
    vectors: Real | None,
    measure: Callable[[Group], Real],
) -> Real:
    """Measure every pair, group by group; infinity where the shape of a block is another."""
    result = np.full(len(rows), np.inf)
    for group in groups(problem, reading, rows, vectors):
        result[group.members] = measure(group)
    return result


def _largest(differences: Real) -> Real:
    """Give the largest |element| of each of (m, a, b) blocks."""
    largest: Real = np.abs(differences).max(axis=(1, 2), initial=0.0)
    return largest


def shell_starts(problem: Problem, reading: Reading, group: Group) -> tuple[Int, Int]:
    """Give where shells begin in the rows and columns of the blocks of a group.

    Parameters
    ----------
    problem : Problem
    reading : Reading
    group : Group

    Returns
    -------
    rows, columns : int64 arrays
    """
    i, j = group.numbers[::-1] if reading.transposed else group.numbers
    first, second = (
        shell_offsets([problem.shells[number][source] for source in reading.shells[number]])[:-1]
        for number in (i, j)
    )
    return first, second


def shell_norms(blocks: Real, rows: Int, columns: Int) -> Real:
    """Give the Frobenius norms of the blocks of two shells.

    Parameters
    ----------
    blocks : (p, a, b) array
    rows, columns : int64 arrays
        Where shells begin.

    Returns
    -------
    (p, shells, shells) float64 array
    """
    squares = np.add.reduceat(np.add.reduceat(blocks * blocks, rows, axis=1), columns, axis=2)
    norms: Real = np.sqrt(squares)
    return norms


def largest_entries(overlap: BlockMatrix) -> Real:
    """Give the largest |element| of every stored block.

    Parameters
    ----------
    overlap : BlockMatrix

    Returns
    -------
    (P,) float64 array
    """
    result = np.zeros(len(overlap))
    for rows, (height, width) in shape_groups(overlap.chunk_shapes):
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            part = rows[start : start + PAIRS_AT_ONCE]
            stack = gather(overlap.entries, overlap.chunk_boundaries[part], height, width)
            result[part] = np.abs(stack).max(axis=(1, 2), initial=0.0)
    return result
