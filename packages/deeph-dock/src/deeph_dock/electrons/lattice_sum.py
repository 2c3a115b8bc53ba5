"""One matrix of a crystal as a sum over lattice vectors, assembled from blocks without a loop.

In:  stacks of blocks of equal shape between sites (atoms, or atoms with a spin), with their R.
Out: `LatticeSum`, which gives O(k) = sum_R exp(+2 pi i k.R) O(R) (DeepH-pack paper, Eq. 4) as full
matrices for many k, or as a sparse matrix for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
IntArray = NDArray[np.int64]

DENSE_TERMS_BYTES = 128 * 2**20
"""Largest (n_R, N*N) array that is kept to form H(k) by one matrix product."""
DENSE_TERMS_FILL = 0.05
"""Smallest share of stored elements for which that product is worth its zeros."""


class Blocks(NamedTuple):
    """Blocks of one shape between spin-free sites: the form in which matrices are assembled."""

    cells: IntArray  # (p, 3) R
    sites: IntArray  # (p, 2) row and column site
    stack: NDArray[Any]  # (p, a, b)


@dataclass(frozen=True, eq=False)
class LatticeSum:
    """One matrix of the cell as a sum over lattice vectors.

    Attributes
    ----------
    cells : (n_R, 3) int64
        The lattice vectors R that occur.
    indptr, indices : (N+1,), (nnz,)
        Rows and columns of the union over R of all stored elements, as in a CSR matrix.
    terms : sparse (nnz, n_R)
        Element of the union (row) in cell R (column): the elements of O(k) are
        ``terms @ exp(2 pi i R.k)``.
    """

    cells: IntArray
    indptr: NDArray[Any]
    indices: NDArray[Any]
    terms: csr_array

    @property
    def size(self) -> int:
        """Rows N of the matrix."""
        return len(self.indptr) - 1

    @property
    def is_real(self) -> bool:
        """Whether all O(R) are real, so that O(-k) is the conjugate of O(k)."""
        return self.terms.dtype.kind == "f"

    @cached_property
    def _dense_terms(self) -> NDArray[Any] | None:
        """(n_R, N*N), or None where it would be too large or too empty."""
        elements = len(self.cells) * self.size**2
        if elements * self.terms.dtype.itemsize > DENSE_TERMS_BYTES:
            return None
        if self.terms.nnz < DENSE_TERMS_FILL * elements:
            return None
        dense = np.zeros((len(self.cells), self.size**2), dtype=self.terms.dtype)
        by_cell = self.terms.tocsc()
        for cell, (start, stop) in enumerate(pairwise(by_cell.indptr)):
            dense[cell, self._flat[by_cell.indices[start:stop]]] = by_cell.data[start:stop]
        return dense

    @cached_property
    def _flat(self) -> IntArray:
        """Position of each element of the union in a flat N x N matrix, (nnz,)."""
        rows = np.repeat(np.arange(self.size, dtype=np.int64), np.diff(self.indptr))
        return rows * self.size + self.indices

    def dense(self, kpoints: FloatArray) -> ComplexArray:
        """Return O(k) as full matrices.

        Parameters
        ----------
        kpoints : (K, 3)
            Fractional coordinates.

        Returns
        -------
        (K, N, N) complex128
            ``out[n] = sum_R exp(2 pi i kpoints[n].R) O(R)``.
        """
        phases = bloch_phases(kpoints, self.cells)
        terms = self._dense_terms
        if terms is None:
            out = np.zeros((len(phases), self.size**2), dtype=np.complex128)
            out[:, self._flat] = self._elements(phases).T
        elif self.is_real:  # two real products are half the work of a complex one
            out = np.empty((len(phases), self.size**2), dtype=np.complex128)
            out.real = phases.real @ terms
            out.imag = phases.imag @ terms
        else:
            out = phases @ terms
        return out.reshape(len(phases), self.size, self.size)

    def sparse(self, kpoint: FloatArray) -> csr_array:
        """Return O(k) at one k (3,) as a complex CSR matrix (N, N)."""
        from scipy.sparse import csr_array

        elements = self._elements(bloch_phases(kpoint[None, :], self.cells))[:, 0]
        return csr_array((elements, self.indices, self.indptr), shape=(self.size, self.size))

    def _elements(self, phases: ComplexArray) -> ComplexArray:
        """Elements of O(k) in the order of the union, (nnz, K)."""
        if not self.is_real:
            return self.terms @ np.ascontiguousarray(phases.T)
        both = self.terms @ np.concatenate([phases.real, phases.imag]).T
        return both[:, : len(phases)] + 1j * both[:, len(phases) :]


def bloch_phases(kpoints: FloatArray, cells: IntArray) -> ComplexArray:
    """Return exp(2 pi i k.R), (K, n_R), exactly +-1 where k.R is a multiple of one half."""
    turns = np.asarray(kpoints, dtype=np.float64) @ cells.T
    turns -= np.round(turns)
    phases = np.exp(2j * np.pi * turns)
    halves = np.abs(turns) == 0.5
    phases[halves] = -1.0  # exp gives an imaginary part of 1e-16: real problems stay real
    return phases


def lattice_sum(groups: Sequence[Blocks], sizes: IntArray) -> LatticeSum:
    """Scatter blocks into a `LatticeSum`, without sorting elements and without loops over blocks.

    Only the blocks are sorted, by (row site, column site). All elements of one site pair share
    their place in the union of all R, so each element's slot follows from its block by arithmetic.
    """
    from scipy.sparse import csr_array

    sites = np.concatenate([g.sites for g in groups])
    cells, cell_of = _unique_cells(np.concatenate([g.cells for g in groups]))
    offsets = np.concatenate([[0], np.cumsum(sizes)])

    # Site pairs in the order of a CSR matrix; images = how many R each of them has.
    key = sites[:, 0] * len(sizes) + sites[:, 1]
    order = np.lexsort((cell_of, key))
    pair_key, first, images = np.unique(key[order], return_index=True, return_counts=True)
    pair_of = np.empty(len(key), dtype=np.int64)
    pair_of[order] = np.repeat(np.arange(len(pair_key)), images)
    image_rank = np.empty(len(key), dtype=np.int64)
    image_rank[order] = np.arange(len(key)) - np.repeat(first, images)
    pair_row, pair_column = pair_key // len(sizes), pair_key % len(sizes)

    # Where a pair starts within the rows of its row site: elements, and elements times images.
    width = sizes[pair_column]
    row_length, column_start = _running(width, pair_row, len(sizes))
    row_terms, term_start = _running(width * images, pair_row, len(sizes))
    row_of = np.repeat(np.arange(len(sizes)), sizes)
    indptr = np.concatenate([[0], np.cumsum(row_length[row_of])])
    term_row = np.concatenate([[0], np.cumsum(row_terms[row_of])])

    elements = int(indptr[-1])
    indices = np.empty(elements, dtype=np.int64)
    term_counts = np.empty(elements, dtype=np.int64)
    dtype = np.complex128 if any(np.iscomplexobj(g.stack) for g in groups) else np.float64
    data = np.empty(int(term_row[-1]), dtype=dtype)
    columns = np.empty(int(term_row[-1]), dtype=np.int32)
    start = 0
    for group in groups:
        p, a, b = group.stack.shape
        block = slice(start, start + p)
        start += p
        pair = pair_of[block]
        rows = offsets[group.sites[:, 0]][:, None] + np.arange(a)  # (p, a)
        within = np.arange(b)
        element = (indptr[rows] + column_start[pair][:, None])[:, :, None] + within
        indices[element] = (offsets[group.sites[:, 1]][:, None] + within)[:, None, :]
        term_counts[element] = images[pair][:, None, None]
        slot = (term_row[rows] + (term_start[pair] + image_rank[block])[:, None])[:, :, None]
        slot = slot + within * images[pair][:, None, None]
        data[slot] = group.stack
        columns[slot] = cell_of[block][:, None, None]
    term_indptr = np.concatenate([[0], np.cumsum(term_counts)])
    terms = csr_array((data, columns, term_indptr), shape=(elements, len(cells)))
    small = np.int32 if elements < 2**31 else np.int64
    return LatticeSum(cells, indptr.astype(small), indices.astype(small), terms)


def _unique_cells(cells: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct R, sorted, (n_R, 3), and the index of each given one."""
    low = cells.min(axis=0)
    shape = tuple((cells.max(axis=0) - low + 1).tolist())
    keys = np.ravel_multi_index(tuple((cells - low).T), shape)
    flat, inverse = np.unique(keys, return_inverse=True)
    return np.stack(np.unravel_index(flat, shape), axis=1).astype(np.int64) + low, inverse


def _running(values: IntArray, owner: IntArray, owners: int) -> tuple[IntArray, IntArray]:
    """Sum `values` per owner (sorted), and give each its start among its owner's values."""
    totals = np.bincount(owner, weights=values, minlength=owners).astype(np.int64)
    before = np.cumsum(values) - values
    return totals, before - (np.cumsum(totals) - totals)[owner]
