"""H(k) and S(k) of a crystal from its real-space blocks.

In:  `BlockMatrix` of H (eV) and of S, whose pairs may differ in order and in number.
Out: stacks of complex matrices, or sparse matrices, at fractional k:

    O(k) = sum_R exp(+2 pi i k.R) O(R)                     (DeepH-pack paper, Eq. 4)

The phase holds R alone, not the positions of the atoms. Without spin there is one problem
H(k) c = E S(k) c (Eq. 3) of size N; collinear spin makes two of size N, up and down; spin-orbit
and non-collinear spin make one of size 2N, all up orbitals first, then all down ones, and S(k)
stands twice on the diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
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
STACK_BYTES = 128 * 2**20
"""Largest stack of H(k) and S(k) made at once by `HamiltonianK.chunks`."""
TIME_REVERSAL_EV = 1e-5
"""Largest violation of time reversal in H(R) of spinors that still counts as rounding."""


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


@dataclass(frozen=True, eq=False)
class HamiltonianK:
    """The eigenproblem H(k) c = E S(k) c of one structure, for every k (paper Eq. 3).

    Attributes
    ----------
    spin : "none", "collinear" or "soc"
    hamiltonians : one `LatticeSum` per spin channel, eV
        Two (up, down) for collinear spin, one otherwise.
    overlap : LatticeSum or None
        S, of the same size; None for an orthogonal basis.
    time_reversal : bool
        Whether E(-k) = E(k): true for real H(R); for spinors it is tested on the blocks.
    coupled_axes : (3,) bool
        Lattice directions along which any two cells are coupled by H or S. The bands do not
        depend on k along the others: molecules have none, slabs two.
    """

    spin: str
    hamiltonians: tuple[LatticeSum, ...]
    overlap: LatticeSum | None
    time_reversal: bool
    coupled_axes: tuple[bool, bool, bool]

    @property
    def size(self) -> int:
        """Order of each eigenproblem: orbitals of the cell, twice that with spin-orbit."""
        return self.hamiltonians[0].size

    @property
    def channels(self) -> int:
        """Number of independent spin channels: 2 for collinear spin, else 1."""
        return len(self.hamiltonians)

    @property
    def electrons_per_band(self) -> int:
        """Electrons that one state holds: 2 without spin, else 1."""
        return 2 if self.spin == "none" else 1

    @classmethod
    def from_blocks(
        cls,
        structure: Structure,
        info: SystemInfo,
        hamiltonian: BlockMatrix,
        overlap: BlockMatrix | None,
    ) -> HamiltonianK:
        """Assemble the problem once, for any number of k-points.

        Parameters
        ----------
        structure, info
            The cell and its orbitals.
        hamiltonian : BlockMatrix
            H in eV; spin as `info` says, found from the blocks where it does not.
        overlap : BlockMatrix or None
            S, always without spin; None is allowed for an orthogonal basis only.

        Raises
        ------
        InputError
            If S is missing or blocks do not have the sizes that `info` gives to their atoms.
        """
        if overlap is None and not info.orthogonal_basis:
            raise InputError(
                "overlap.h5: S is missing, and info.json says that the basis is not orthogonal "
                "(orthogonal_basis false): bands need the overlap"
            )
        counts = np.asarray(info.orbital_counts(structure), dtype=np.int64)
        _check("H", hamiltonian, counts * info.spin_factor)
        if overlap is not None:
            _check("S", overlap, counts)
        spin = spin_of(info, hamiltonian)
        channels, sites = _spin_channels(hamiltonian, spin, counts)
        sums = tuple(_lattice_sum(groups, sites) for groups in channels)
        s_groups = None if overlap is None else list(_spin_free(overlap))
        if s_groups is not None and spin == "soc":
            s_groups += [Blocks(g.cells, g.sites + len(counts), g.stack) for g in s_groups]
        matrices = [hamiltonian] if overlap is None else [hamiltonian, overlap]
        coupled = np.any([np.any(m.atom_pairs[:, :3] != 0, axis=0) for m in matrices], axis=0)
        return cls(
            spin=spin,
            hamiltonians=sums,
            overlap=None if s_groups is None else _lattice_sum(s_groups, sites),
            time_reversal=(
                _time_reversal_error(hamiltonian) <= TIME_REVERSAL_EV
                if spin == "soc"
                else all(h.is_real for h in sums)
            ),
            coupled_axes=(bool(coupled[0]), bool(coupled[1]), bool(coupled[2])),
        )

    def dense_stack(self, kpoints: FloatArray) -> tuple[ComplexArray, ComplexArray]:
        """Return H(k) and S(k) as full matrices.

        Parameters
        ----------
        kpoints : (K, 3)
            Fractional coordinates.

        Returns
        -------
        h : (channels, K, N, N) complex128, eV
        s : (K, N, N) complex128
        """
        kpoints = np.asarray(kpoints, dtype=np.float64).reshape(-1, 3)
        h = np.stack([channel.dense(kpoints) for channel in self.hamiltonians])
        if self.overlap is None:
            s = np.tile(np.eye(self.size, dtype=np.complex128), (len(kpoints), 1, 1))
        else:
            s = self.overlap.dense(kpoints)
        return h, s

    def chunks(self, kpoints: FloatArray, max_bytes: int = STACK_BYTES) -> Iterator[slice]:
        """Cut (K, 3) k-points into runs whose `dense_stack` stays below `max_bytes`."""
        per_k = 16 * self.size**2 * (self.channels + 2)
        length = max(1, max_bytes // per_k)
        for start in range(0, len(kpoints), length):
            yield slice(start, min(start + length, len(kpoints)))


def bloch_phases(kpoints: FloatArray, cells: IntArray) -> ComplexArray:
    """Return exp(2 pi i k.R), (K, n_R), exactly +-1 where k.R is a multiple of one half."""
    turns = np.asarray(kpoints, dtype=np.float64) @ cells.T
    turns -= np.round(turns)
    phases = np.exp(2j * np.pi * turns)
    halves = np.abs(turns) == 0.5
    phases[halves] = -1.0  # exp gives an imaginary part of 1e-16: real problems stay real
    return phases


def spin_of(info: SystemInfo, hamiltonian: BlockMatrix) -> str:
    """Return "none", "collinear" or "soc", looking at all blocks where `info` does not say.

    The published layout has no key for it: zero up-down parts and no imaginary part mean
    collinear.
    """
    if info.spin is not None:
        return info.spin
    if not info.spinful:
        return "none"
    for _, stack in hamiltonian.by_shape():
        spinor = _spinor(stack)
        if np.any(stack.imag) or np.any(spinor[:, 0, 1]) or np.any(spinor[:, 1, 0]):
            return "soc"
    return "collinear"


def _check(name: str, matrix: BlockMatrix, sizes: IntArray) -> None:
    """Raise unless every block has the rows and columns of its atoms and finite entries."""
    atoms = matrix.atom_pairs[:, 3:]
    if len(atoms) == 0 or atoms.min() < 0 or atoms.max() >= len(sizes):
        raise InputError(
            f"{name}: atom_pairs: atoms must be 0..{len(sizes) - 1} as in POSCAR, found "
            + ("no pairs" if len(atoms) == 0 else f"{atoms.min()}..{atoms.max()}")
            + ": is the file of another structure?"
        )
    wrong = np.flatnonzero(np.any(matrix.chunk_shapes != sizes[atoms], axis=1))
    if len(wrong):
        row = int(wrong[0])
        i, j = (int(x) for x in atoms[row])
        raise InputError(
            f"{name}: chunk_shapes row {row}: found {tuple(matrix.chunk_shapes[row].tolist())}, "
            f"but atoms {i} and {j} have {int(sizes[i])} and {int(sizes[j])} orbitals by "
            f"info.json ({len(wrong)} rows differ): is the file of another structure or basis?"
        )
    if not np.isfinite(matrix.entries).all():
        entry = int(np.flatnonzero(~np.isfinite(matrix.entries))[0])
        row = int(np.searchsorted(matrix.chunk_boundaries, entry, side="right")) - 1
        raise InputError(
            f"{name}: entries: NaN or infinite values, first in the block of pair "
            f"{tuple(matrix.atom_pairs[row].tolist())}: compute or convert this matrix again"
        )


def _spinor(stack: NDArray[Any]) -> NDArray[Any]:
    """View blocks (p, 2a, 2b) as (p, 2, 2, a, b): spin of row, spin of column."""
    p, rows, columns = stack.shape
    return stack.reshape(p, 2, rows // 2, 2, columns // 2).transpose(0, 1, 3, 2, 4)


def _spin_free(matrix: BlockMatrix) -> Iterator[Blocks]:
    for rows, stack in matrix.by_shape():
        pairs = matrix.atom_pairs[rows]
        yield Blocks(pairs[:, :3], pairs[:, 3:], stack)


def _spin_channels(
    matrix: BlockMatrix, spin: str, counts: IntArray
) -> tuple[list[list[Blocks]], IntArray]:
    """Split H into independent channels of spin-free blocks, and count the orbitals per site.

    With spin-orbit each atom becomes two sites, i (up) and n_atoms + i (down).
    """
    groups = list(_spin_free(matrix))
    if spin == "none":
        return [groups], counts
    spinors = [(g, _spinor(g.stack)) for g in groups]
    if spin == "collinear":
        channels = []
        for s in (0, 1):
            parts = [(g, v[:, s, s]) for g, v in spinors]
            real = not any(np.iscomplexobj(v) and np.any(v.imag) for _, v in parts)
            channels.append([Blocks(g.cells, g.sites, v.real if real else v) for g, v in parts])
        return channels, counts
    both = [
        Blocks(g.cells, g.sites + len(counts) * np.array([s, t]), v[:, s, t])
        for g, v in spinors
        for s in (0, 1)
        for t in (0, 1)
    ]
    return [both], np.concatenate([counts, counts])


def _time_reversal_error(matrix: BlockMatrix) -> float:
    """Return max |H - Theta H Theta^-1| over spinor blocks, Theta = i sigma_y K.

    It vanishes if H^0 is real and H^x,y,z are imaginary: uu = dd*, ud = -du*.
    """
    worst = 0.0
    for _, stack in matrix.by_shape():
        v = _spinor(stack)
        worst = max(
            worst,
            float(np.max(np.abs(v[:, 0, 0] - v[:, 1, 1].conj()), initial=0.0)),
            float(np.max(np.abs(v[:, 0, 1] + v[:, 1, 0].conj()), initial=0.0)),
        )
    return worst


def _lattice_sum(groups: Sequence[Blocks], sizes: IntArray) -> LatticeSum:
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
