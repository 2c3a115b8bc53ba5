"""Pairs of atoms whose orbitals touch, from a neighbour list that scales linearly."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from deeph_spec.pairs import encode
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis

Int = NDArray[np.int64]
Real = NDArray[np.float64]

_MOST_CELLS = 5e4


def touching_pairs(structure: Structure, bases: Mapping[int, AtomicBasis]) -> Int:
    """Find the pairs of atoms closer than the sum of the radii of their largest orbitals.

    Parameters
    ----------
    structure : Structure
        Atoms and cell; all three directions are periodic.
    bases : mapping of int to AtomicBasis
        By atomic number.

    Returns
    -------
    (P, 5) int64 array
        R1, R2, R3, i, j, sorted, with every atom and itself.
    """
    numbers = bases.keys()
    radius = {number: bases[number].cutoff for number in numbers}
    sums = {(i, j): radius[i] + radius[j] for i in numbers for j in numbers}
    below = {pair: float(np.nextafter(reach, 0.0)) for pair, reach in sums.items()}
    return pairs_up_to(structure, below)


def pairs_up_to(structure: Structure, reaches: Mapping[tuple[int, int], float]) -> Int:
    """Find the pairs of atoms up to a distance that depends on their elements.

    Parameters
    ----------
    structure : Structure
        Atoms and cell; all three directions are periodic.
    reaches : mapping of (int, int) to float
        Largest distance of a pair by atomic numbers, Å; the same for (i, j) and (j, i).

    Returns
    -------
    (P, 5) int64 array
        R1, R2, R3, i, j, sorted, with every atom and itself.
    """
    elements, element = np.unique(structure.numbers, return_inverse=True)
    limits = np.array([[reaches[i, j] for j in elements.tolist()] for i in elements.tolist()])
    farthest = float(np.nextafter(limits.max(), np.inf))
    first, second, cells, distances = neighbours(structure, farthest)
    if np.ptp(limits):
        near = distances <= limits[element[first], element[second]]
        first, second, cells = first[near], second[near], cells[near]
    return sorted_pairs(first, second, cells, len(structure))


def neighbours(structure: Structure, reach: float) -> tuple[Int, Int, Int, Real]:
    """List all pairs of atoms closer than a distance, images included.

    Parameters
    ----------
    structure : Structure
        Atoms and cell, which may be smaller than the distance.
    reach : float
        Å.

    Returns
    -------
    first, second : (n,) int64 arrays
        i and j: both directions of a pair, without an atom and itself in one cell.
    cells : (n, 3) int array
        R of j.
    distances : (n,) float64 array
        Å.
    """
    from vesin import NeighborList

    box = _without_empty_space(structure, reach)
    farther = _reach_of_search(box, reach)
    first, second, cells, distances = NeighborList(cutoff=farther, full_list=True).compute(
        structure.positions, box, True, "ijSd"
    )
    if farther > reach:
        near = distances < reach
        first, second, cells, distances = first[near], second[near], cells[near], distances[near]
    return first.astype(np.int64), second.astype(np.int64), cells, distances


def _without_empty_space(structure: Structure, reach: float) -> Real:
    """Shorten cell vectors along which no image is near: search costs grow with the volume."""
    box = np.array(structure.lattice)
    inverse = np.linalg.inv(box)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    extents = np.ptp(structure.positions @ inverse, axis=0) * heights
    enough = extents + 1.01 * reach
    shorter = np.where(heights > 2 * enough, enough / heights, 1.0)
    return box * shorter[:, None]


def _reach_of_search(box: Real, reach: float) -> float:
    """Enlarge the reach until vesin 0.6 can count its cells: more than 10^5 may end the process."""
    heights = 1 / np.linalg.norm(np.linalg.inv(box), axis=0)
    while np.maximum(heights // reach, 1.0).prod() > _MOST_CELLS:
        reach *= 1.2
    return reach


def sorted_pairs(first: Int, second: Int, cells: NDArray[np.integer], atoms: int) -> Int:
    """Put pairs into the order of the format, and every atom and itself among them.

    Parameters
    ----------
    first, second : (n,) int64 arrays
        i and j.
    cells : (n, 3) int array
        R.
    atoms : int
        Number of atoms.

    Returns
    -------
    (n + atoms, 5) int64 array
        R1, R2, R3, i, j.
    """
    pairs = np.zeros((len(first) + atoms, 5), np.int64)
    pairs[: len(first), :3] = cells
    pairs[: len(first), 3], pairs[: len(first), 4] = first, second
    pairs[len(first) :, 3:] = np.arange(atoms)[:, None]
    (keys,) = encode(pairs)
    return pairs[np.argsort(keys)]
