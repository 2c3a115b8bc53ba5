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
    """Atoms i, atoms j and the cells R (n, 3) of the latter."""

    first: Int
    second: Int
    cells: Int


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
    numbers = structure.numbers.tolist()
    cutoffs = np.array([bases[number].cutoff for number in numbers])
    reaches = np.array([bases[number].projector_reach for number in numbers])
    farthest = cutoffs.max() + max(cutoffs.max(), reaches.max())
    first, second, cells, distances = neighbours(structure, float(farthest))
    touching = distances < cutoffs[first] + cutoffs[second]
    linked = (distances < cutoffs[first] + reaches[second]) & (reaches[second] > 0)
    found = _Pairs(first, second, cells.astype(np.int64))
    atoms = np.arange(len(structure))
    return _joined(
        len(structure),
        _chosen(found, touching, atoms),
        _chosen(found, linked, atoms[reaches > 0]),
    )


def _chosen(pairs: _Pairs, chosen: NDArray[np.bool_], atoms: Int) -> _Pairs:
    """Take some pairs, and atoms with themselves."""
    return _Pairs(
        np.concatenate([pairs.first[chosen], atoms]),
        np.concatenate([pairs.second[chosen], atoms]),
        np.concatenate([pairs.cells[chosen], np.zeros((len(atoms), 3), np.int64)]),
    )


def _joined(count: int, touching: _Pairs, links: _Pairs) -> Int:
    """Join the links (i, k) and (j, k) to pairs (i, j), and put the touching pairs among them."""
    images, columns = _images(count, links)
    back = _back(count, images, links)
    cells = np.concatenate([touching.cells, back.cells])
    lowest = cells.min(axis=0)
    sizes = cells.max(axis=0) - lowest + 1
    codes, cell = np.unique(_encoded(cells - lowest, sizes), return_inverse=True)
    targets = cell * count + np.concatenate([touching.second, back.second])
    direct, indirect = np.split(targets, [len(touching.first)])
    width = len(codes) * count
    touch = _sparse(touching.first, direct, (count, width))
    reach = _sparse(links.first, columns, (count, len(images.first)))
    through = _sparse(back.first, indirect, (len(images.first), width))
    keys = []
    for start in range(0, count, _ATOMS_AT_ONCE):
        rows = slice(start, start + _ATOMS_AT_ONCE)
        found = reach[rows] @ through + touch[rows]
        first = start + np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
        cell, second = np.divmod(found.indices.astype(np.int64), count)
        keys.append((cell * count + first) * count + second)
    return _decoded(np.sort(np.concatenate(keys)), count, codes, lowest, sizes)


def _images(count: int, links: _Pairs) -> tuple[_Pairs, Int]:
    """Give the different (k, R) of links, as pairs without a first atom, and the one of each."""
    lowest = links.cells.min(axis=0, initial=0)
    sizes = links.cells.max(axis=0, initial=0) - lowest + 1
    codes = _encoded(links.cells - lowest, sizes) * count + links.second
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


def _encoded(cells: Int, sizes: Int) -> Int:
    """Give the cells of a box numbers, in the order of R1, R2, R3."""
    return np.asarray((cells[:, 0] * sizes[1] + cells[:, 1]) * sizes[2] + cells[:, 2])


def _decoded(keys: Int, count: int, codes: Int, lowest: Int, sizes: Int) -> Int:
    """Make rows R1, R2, R3, i, j of keys (cell, i, j)."""
    pairs = np.empty((len(keys), 5), np.int64)
    keys, pairs[:, 4] = np.divmod(keys, count)
    cell, pairs[:, 3] = np.divmod(keys, count)
    code = codes[cell]
    for axis in (2, 1, 0):
        code, pairs[:, axis] = np.divmod(code, sizes[axis])
    pairs[:, :3] += lowest
    return pairs
