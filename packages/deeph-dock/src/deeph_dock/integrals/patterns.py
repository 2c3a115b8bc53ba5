"""Pairs of atoms that the Hamiltonian of SIESTA has: more than those whose orbitals touch.

SIESTA stores the pair of an atom i and an atom j (in the cell R) if

    |r_j - r_i| < c_i + c_j                                         their orbitals touch, or
    |r_k - r_i| < c_i + p_k  and  |r_k - r_j| < c_j + p_k           for some atom k,

where c is the radius of the largest orbital of an atom and p that of its largest Kleinman-Bylander
projector; both conditions are strict. (It decides for each pair of orbitals, by their own radii;
the largest ones decide for the atoms.) In the pairs of the second kind S is zero and H is not.

With the sparse matrices L[i, (k, R)] of the atoms k that i reaches, and B[(k, R), (j, R')] of those
that reach k, the pairs of the second kind are the entries of L B. The cost is linear in the number
of atoms, and the memory beyond that of the result is that of L and B.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis
from deeph_dock.integrals.neighbours import neighbours

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Int = NDArray[np.int64]

_ATOMS_AT_ONCE = 4096


class _Pairs(NamedTuple):
    """Atoms i, atoms j and the cells of the latter, each as one number (see `_Cells`)."""

    first: Int
    second: Int
    cells: Int


class _Cells:
    """Numbers of cells R, such that the number of a difference is the difference of the numbers.

    They are R1 s1 + R2 s2 + R3 with strides for differences of all cells given.
    """

    def __init__(self, cells: NDArray[np.integer]) -> None:
        self._half = 2 * np.abs(cells).max(axis=0, initial=0).astype(np.int64)
        sizes = (2 * self._half + 1).tolist()
        self._strides = (sizes[1] * sizes[2], sizes[2], 1)

    def encoded(self, cells: NDArray[np.integer]) -> Int:
        """Give the numbers of cells (n, 3); their order is that of R1, R2, R3."""
        numbers = np.zeros(len(cells), np.int64)
        for axis, stride in enumerate(self._strides):
            numbers += cells[:, axis] * np.int64(stride)
        return numbers

    def decoded(self, numbers: Int) -> Int:
        """Give the cells (n, 3) of numbers."""
        rest = numbers + sum(
            half * stride for half, stride in zip(self._half.tolist(), self._strides, strict=True)
        )
        cells = np.empty((len(numbers), 3), np.int64)
        for axis, stride in enumerate(self._strides):
            cells[:, axis], rest = np.divmod(rest, stride)
        return cells - self._half


def linked_pairs(structure: Structure, bases: Mapping[int, AtomicBasis]) -> Int:
    """Find the pairs of atoms that touch or are linked through the projectors of a third one.

    Parameters
    ----------
    structure : Structure
        Atoms and cell; all three directions are periodic.
    bases : mapping of int to AtomicBasis
        By atomic number; of their shells the largest radius, and the reach of the projectors.

    Returns
    -------
    (P, 5) int64 array
        R1, R2, R3, i, j, sorted, with every atom and itself, and with every pair its partner
        (-R, j, i).
    """
    count = len(structure)
    elements, element = np.unique(structure.numbers, return_inverse=True)
    cutoffs = np.array([bases[number].cutoff for number in elements.tolist()])[element]
    reaches = np.array([bases[number].projector_reach for number in elements.tolist()])[element]
    farthest = float(cutoffs.max() + max(cutoffs.max(), reaches.max()))
    first, second, images, distances = neighbours(structure, farthest)
    cells = _Cells(images)
    found = _Pairs(first, second, cells.encoded(images))
    atoms = np.arange(count)
    touching = _chosen(found, distances < cutoffs[first] + cutoffs[second], atoms)
    centres = reaches > 0
    linked = (distances < cutoffs[first] + reaches[second]) & centres[second]
    keys, numbers = _joined(count, touching, _chosen(found, linked, atoms[centres]))
    keys.sort()
    pairs = np.empty((len(keys), 5), np.int64)
    keys, pairs[:, 4] = np.divmod(keys, count)
    keys, pairs[:, 3] = np.divmod(keys, count)
    pairs[:, :3] = cells.decoded(numbers)[keys]
    return pairs


def _chosen(pairs: _Pairs, chosen: NDArray[np.bool_], atoms: Int) -> _Pairs:
    """Take some pairs, and atoms with themselves."""
    return _Pairs(
        np.concatenate([pairs.first[chosen], atoms]),
        np.concatenate([pairs.second[chosen], atoms]),
        np.concatenate([pairs.cells[chosen], np.zeros(len(atoms), np.int64)]),
    )


def _joined(count: int, touching: _Pairs, links: _Pairs) -> tuple[Int, Int]:
    """Join the links (i, k) and (j, k) to pairs (i, j), and put the touching pairs among them.

    Parameters
    ----------
    count : int
        Number of atoms.
    touching, links : _Pairs
        Atoms i with atoms j, and with atoms k that have projectors.

    Returns
    -------
    keys : (P,) int64 array
        (c count + i) count + j, in no order.
    numbers : (C,) int64 array
        Numbers of the cells c, ascending.
    """
    images, columns = _images(count, links)
    back = _back(count, images, links)
    numbers, cell = np.unique(np.concatenate([touching.cells, back.cells]), return_inverse=True)
    targets = cell * count + np.concatenate([touching.second, back.second])
    direct, indirect = np.split(targets, [len(touching.first)])
    width = len(numbers) * count
    touch = _sparse(touching.first, direct, (count, width))
    reach = _sparse(links.first, columns, (count, len(images.first)))
    through = _sparse(back.first, indirect, (len(images.first), width))
    keys = []
    for start in range(0, count, _ATOMS_AT_ONCE):
        rows = slice(start, start + _ATOMS_AT_ONCE)
        found = reach[rows] @ through + touch[rows]
        first = start + np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
        # (c count + j) and i make (c count + i) count + j.
        target = found.indices.astype(np.int64)
        second = target % count
        keys.append((target - second + first) * count + second)
    return np.concatenate(keys), numbers


def _images(count: int, links: _Pairs) -> tuple[_Pairs, Int]:
    """Give the different (k, R) of links, with their own numbers as first, and that of each."""
    codes = links.cells * count + links.second
    chosen, inverse = np.unique(codes, return_index=True, return_inverse=True)[1:]
    return _Pairs(np.arange(len(chosen)), links.second[chosen], links.cells[chosen]), inverse


def _back(count: int, images: _Pairs, links: _Pairs) -> _Pairs:
    """Give the atoms j, and their cells, that reach each image (k, R)."""
    order = np.argsort(links.second, kind="stable")
    many = np.bincount(links.second, minlength=count)
    begin = np.cumsum(many) - many
    lengths = many[images.second]
    ends = np.cumsum(lengths)
    rows = np.repeat(images.first, lengths)
    within = np.arange(len(rows)) - (ends - lengths)[rows]
    chosen = order[begin[images.second][rows] + within]
    return _Pairs(rows, links.first[chosen], images.cells[rows] - links.cells[chosen])


def _sparse(rows: Int, columns: Int, shape: tuple[int, int]) -> csr_array:
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(rows), dtype=np.bool_), (rows, columns)), shape=shape)
