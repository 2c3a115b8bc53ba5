"""BlockMatrix: a sparse matrix of a crystal as ragged blocks, one per pair of atoms.

Block p, ``entries[boundaries[p]:boundaries[p + 1]]`` in row-major order, is

    O_{ia,jb}(R) = <phi_ia in cell 0 | O | phi_jb in cell R>,   (R1, R2, R3, i, j) = atom_pairs[p].

Blocks have as many shapes as there are pairs of elements, so everything here works on groups of
equal shape: ``for rows, stack in matrix.by_shape()`` gives stacks of (p, a, b). A position matrix
has entries (3, E) for x, y, z, and stacks (3, p, a, b).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from deeph_spec import pairs as pair_lists
from deeph_spec.errors import InputError
from deeph_spec.matrix_files import iter_read, read, read_pairs, write
from deeph_spec.ragged import (
    boundaries_of,
    differing,
    gather,
    scatter,
    shape_groups,
    shapes_from_atoms,
)

__all__ = ["BlockMatrix", "iter_read", "merge_pairs", "read", "read_pairs"]

Int = NDArray[np.int64]
Combined = TypeVar("Combined")
_BYTES_AT_ONCE = 2**20  # so that temporary arrays stay in the cache


@dataclass(frozen=True, eq=False)
class BlockMatrix:
    """Blocks of one matrix.

    Parameters
    ----------
    atom_pairs : (P, 5) int64 array
        R1, R2, R3, i, j of each block.
    chunk_shapes : (P, 2) int64 array
        Rows and columns of each block.
    chunk_boundaries : (P + 1,) int64 array
        Offsets into the entries; the first is 0, without gaps.
    entries : (E,) array, or (3, E) for a position matrix
        All blocks, one after another, in the unit of the quantity.
    """

    atom_pairs: Int
    chunk_shapes: Int
    chunk_boundaries: Int
    entries: NDArray[Any]

    def __post_init__(self) -> None:
        count = len(self.atom_pairs)
        wanted = ((count, 5), (count, 2), (count + 1,))
        found = (self.atom_pairs.shape, self.chunk_shapes.shape, self.chunk_boundaries.shape)
        if found != wanted or self.chunk_boundaries[-1] != self.entries.shape[-1]:
            raise ValueError(
                f"atom_pairs, chunk_shapes, chunk_boundaries {found} and {self.entries.shape} "
                "entries do not fit together"
            )

    def __len__(self) -> int:
        return len(self.atom_pairs)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries."""
        return self.entries.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the four arrays."""
        indices = (self.atom_pairs, self.chunk_shapes, self.chunk_boundaries)
        return self.entries.nbytes + sum(array.nbytes for array in indices)

    # -- making ---------------------------------------------------------------------------------

    @classmethod
    def zeros(
        cls, atom_pairs: ArrayLike, chunk_shapes: ArrayLike, dtype: DTypeLike = np.float64
    ) -> BlockMatrix:
        """Make a matrix of zeros.

        Parameters
        ----------
        atom_pairs : (P, 5) int array
            R1, R2, R3, i, j of each block.
        chunk_shapes : (P, 2) int array
            Rows and columns of each block.
        dtype : dtype
            Type of the entries.

        Returns
        -------
        BlockMatrix
            With writable entries.
        """
        atom_pairs = np.array(atom_pairs, dtype=np.int64).reshape(-1, 5)
        chunk_shapes = np.array(chunk_shapes, dtype=np.int64).reshape(-1, 2)
        boundaries = boundaries_of(chunk_shapes)
        return cls(atom_pairs, chunk_shapes, boundaries, np.zeros(int(boundaries[-1]), dtype))

    @classmethod
    def from_stacks(
        cls,
        atom_pairs: ArrayLike,
        chunk_shapes: ArrayLike,
        groups: Iterable[tuple[ArrayLike, ArrayLike]],
    ) -> BlockMatrix:
        """Put stacks of equal shape together; blocks that no group names are zero.

        Parameters
        ----------
        atom_pairs : (P, 5) int array
            R1, R2, R3, i, j of each block.
        chunk_shapes : (P, 2) int array
            Rows and columns of each block.
        groups : iterable of (rows, stack)
            Row numbers (p,) and blocks (p, a, b), or (3, p, a, b) for a position matrix.

        Returns
        -------
        BlockMatrix
            With the common type of the stacks.
        """
        listed = [(np.asarray(rows), np.asarray(stack)) for rows, stack in groups]
        dtype = np.result_type(*(stack for _, stack in listed)) if listed else np.float64
        matrix = cls.zeros(atom_pairs, chunk_shapes, dtype)
        leading = listed[0][1].shape[:-3] if listed else ()
        if leading:
            entries = np.zeros((*leading, matrix.entries.shape[-1]), dtype)
            matrix = replace(matrix, entries=entries)
        for rows, stack in listed:
            if (matrix.chunk_shapes[rows] != stack.shape[-2:]).any():
                raise ValueError(f"a stack of shape {stack.shape} is given to other block shapes")
            scatter(matrix.entries, matrix.chunk_boundaries[rows], stack)
        return matrix

    def with_entries(self, entries: NDArray[Any]) -> BlockMatrix:
        """Give the same pairs with other entries.

        Parameters
        ----------
        entries : (E,) or (3, E) array
            Entries in the order of this matrix.

        Returns
        -------
        BlockMatrix
            Sharing the index arrays with this one.
        """
        return replace(self, entries=entries)

    # -- looking --------------------------------------------------------------------------------

    def block(self, row: int) -> NDArray[Any]:
        """Give one block as a view.

        Parameters
        ----------
        row : int
            Number of the pair.

        Returns
        -------
        (a, b) array, or (3, a, b) for a position matrix
            View of the entries.
        """
        first, last = self.chunk_boundaries[row], self.chunk_boundaries[row + 1]
        shape = (*self.entries.shape[:-1], *self.chunk_shapes[row].tolist())
        return self.entries[..., first:last].reshape(shape)

    def by_shape(self) -> Iterator[tuple[Int, NDArray[Any]]]:
        """Go through the blocks in groups of equal shape.

        Yields
        ------
        rows : (p,) int64 array
            Row numbers of the group, increasing.
        stack : (p, a, b) array, or (3, p, a, b) for a position matrix
            Their blocks: a view when the group is one contiguous run, else a copy.
        """
        for rows, (height, width) in shape_groups(self.chunk_shapes):
            yield rows, gather(self.entries, self.chunk_boundaries[rows], height, width)

    def on_site(self) -> NDArray[np.bool_]:
        """Tell which pairs are an atom with itself.

        Returns
        -------
        (P,) bool array
            True for (0, 0, 0, i, i).
        """
        return pair_lists.on_site(self.atom_pairs)

    def rows_of(self, pairs: ArrayLike) -> Int:
        """Find pairs.

        Parameters
        ----------
        pairs : (Q, 5) int array
            R1, R2, R3, i, j.

        Returns
        -------
        (Q,) int64 array
            Row of each, -1 where it is not stored.
        """
        return pair_lists.rows_of(self.atom_pairs, np.asarray(pairs, dtype=np.int64).reshape(-1, 5))

    def partner_rows(self) -> Int:
        """Find the Hermitian partner (-R, j, i) of every pair.

        Returns
        -------
        (P,) int64 array
            Row of the partner, -1 where it is not stored.
        """
        return pair_lists.partner_rows(self.atom_pairs)

    # -- changing -------------------------------------------------------------------------------

    def sorted(self) -> BlockMatrix:
        """Give the matrix in the order of (R1, R2, R3, i, j).

        Returns
        -------
        BlockMatrix
            This one if it is in order.
        """
        (keys,) = pair_lists.encode(self.atom_pairs)
        if np.all(keys[1:] >= keys[:-1]):
            return self
        order = np.argsort(keys, kind="stable")
        return self._taken(order, self.atom_pairs[order], self.chunk_shapes[order])

    def on_pairs(self, pairs: ArrayLike, shapes: ArrayLike | None = None) -> BlockMatrix:
        """Give the matrix on another list of pairs; those it lacks are zero, others are dropped.

        Parameters
        ----------
        pairs : (Q, 5) int array
            The pairs wanted, in the order wanted.
        shapes : (Q, 2) int array, optional
            Their block shapes; without it, from the sizes of the atoms in this matrix.

        Returns
        -------
        BlockMatrix
            On exactly these pairs.

        Raises
        ------
        InputError
            If a shape differs from that of the stored block, or an atom's size is not known.
        """
        pairs = np.asarray(pairs, dtype=np.int64).reshape(-1, 5)
        if shapes is None:
            shapes = shapes_from_atoms(self.atom_pairs, self.chunk_shapes, pairs)
        shapes = np.asarray(shapes, dtype=np.int64).reshape(-1, 2)
        rows = self.rows_of(pairs)
        stored = np.flatnonzero(rows >= 0)
        wrong = stored[differing(self.chunk_shapes[rows[stored]], shapes[stored])]
        if len(wrong):
            first = int(wrong[0])
            found = _x(self.chunk_shapes[rows[first]])
            raise InputError(
                f"pair {tuple(pairs[first].tolist())}: block of {found} where "
                f"{_x(shapes[first])} is expected; are these matrices of one structure?"
            )
        return self._taken(rows, pairs, shapes)

    def _taken(self, rows: Int, pairs: Int, shapes: Int) -> BlockMatrix:
        """Take block rows[q] for each pair q; -1 gives zeros."""
        boundaries = boundaries_of(shapes)
        entries = np.zeros((*self.entries.shape[:-1], int(boundaries[-1])), self.dtype)
        for members, (height, width) in shape_groups(shapes):
            kept = members[rows[members] >= 0]
            stack = gather(self.entries, self.chunk_boundaries[rows[kept]], height, width)
            scatter(entries, boundaries[kept], stack)
        return BlockMatrix(pairs, shapes, boundaries, entries)

    def hermitian_error(self) -> tuple[float, int]:
        """Measure max |O_ij(R) - O_ji(-R)^dagger| over all entries.

        Returns
        -------
        error : float
            Largest difference in the unit of the entries; a partner that is not stored counts as
            zero. NaN entries give NaN.
        row : int
            The block where it occurs; -1 for a matrix without blocks.
        """
        worst, worst_row = 0.0, -1
        for rows, difference in self._with_partner(lambda own, other: np.abs(own - other)):
            largest = difference.reshape(len(rows), -1).max(axis=1, initial=0.0)
            at = int(np.argmax(largest))  # NaN counts as the largest
            if worst_row < 0 or not largest[at] <= worst:
                worst, worst_row = float(largest[at]), int(rows[at])
            if np.isnan(worst):
                break
        return worst, worst_row

    def hermitian(self) -> BlockMatrix:
        """Average every block with the adjoint of its partner.

        Returns
        -------
        BlockMatrix
            Exactly Hermitian.

        Raises
        ------
        InputError
            If a partner is not stored.
        """
        self._refuse_lonely()
        entries = np.empty_like(self.entries)
        for rows, mean in self._with_partner(lambda own, other: (own + other) / 2):
            scatter(entries, self.chunk_boundaries[rows], mean)
        return self.with_entries(entries)

    def averaged(self) -> tuple[BlockMatrix, float, int]:
        """Do `hermitian_error` and `hermitian` in one pass over the entries.

        Returns
        -------
        matrix : BlockMatrix
            Exactly Hermitian.
        error : float
            Largest difference of a block and the adjoint of its partner.
        row : int
            The block where it occurs; -1 for a matrix without blocks.

        Raises
        ------
        InputError
            If a partner is not stored.
        """
        self._refuse_lonely()
        entries = np.empty_like(self.entries)
        worst, worst_row = 0.0, -1

        def combine(own: NDArray[Any], other: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
            return (own + other) / 2, np.abs(own - other)

        for rows, (mean, difference) in self._with_partner(combine):
            scatter(entries, self.chunk_boundaries[rows], mean)
            largest = difference.reshape(len(rows), -1).max(axis=1, initial=0.0)
            at = int(np.argmax(largest))  # NaN counts as the largest
            if worst_row < 0 or not (largest[at] <= worst or np.isnan(worst)):
                worst, worst_row = float(largest[at]), int(rows[at])
        return self.with_entries(entries), worst, worst_row

    def _refuse_lonely(self) -> None:
        """Refuse a matrix in which a pair has no partner."""
        lonely = np.flatnonzero(self.partner_rows() < 0)
        if len(lonely):
            pair = tuple(self.atom_pairs[lonely[0]].tolist())
            raise InputError(
                f"pair {pair} has no partner (-R, j, i), so that the matrix cannot be made "
                "Hermitian; complete the pairs first"
            )

    def _with_partner(
        self, combine: Callable[[NDArray[Any], NDArray[Any]], Combined]
    ) -> Iterator[tuple[Int, Combined]]:
        """Yield rows and combine(block, adjoint of the partner's block), in bounded pieces."""
        partner = self.partner_rows()
        wrong = differing(self.chunk_shapes[partner], self.chunk_shapes[:, ::-1]) & (partner >= 0)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise InputError(
                f"pair {tuple(self.atom_pairs[first].tolist())}: block of "
                f"{_x(self.chunk_shapes[first])}, its partner of "
                f"{_x(self.chunk_shapes[partner[first]])}; expected the transposed shape"
            )
        for group, (height, width) in shape_groups(self.chunk_shapes):
            step = max(1, _BYTES_AT_ONCE // (height * width * self.dtype.itemsize or 1))
            for start in range(0, len(group), step):
                rows = group[start : start + step]
                own = gather(self.entries, self.chunk_boundaries[rows], height, width)
                stored = partner[rows] >= 0
                source = np.where(stored, partner[rows], rows)  # any block of this size will do
                other = gather(self.entries, self.chunk_boundaries[source], width, height)
                other = other.conj().swapaxes(-1, -2)
                if not stored.all():
                    other = np.where(stored[:, None, None], other, np.zeros((), self.dtype))
                yield rows, combine(own, other)

    # -- files ----------------------------------------------------------------------------------

    @classmethod
    def read(
        cls, path: str | os.PathLike[str], where: Callable[[Int], ArrayLike] | None = None
    ) -> BlockMatrix:
        """Read a matrix file.

        Parameters
        ----------
        path : path-like
            The file.
        where : callable, optional
            Takes atom_pairs (P, 5), gives a mask (P,) or the rows wanted, increasing. Only their
            entries are read.

        Returns
        -------
        BlockMatrix
            Indices as int64, entries in native byte order and the precision of the file.

        Raises
        ------
        InputError
            With file and key, if the file is missing or not a matrix.
        """
        return read(path, where)

    def write(
        self,
        path: str | os.PathLike[str],
        quantity: str = "hamiltonian",
        compress: bool = False,
    ) -> None:
        """Write a matrix file atomically, in the order of this matrix.

        Parameters
        ----------
        path : path-like
            Target; its folder must exist.
        quantity : str
            hamiltonian, overlap, density_matrix, position_matrix or another name.
        compress : bool
            Chunks of 1 MiB with shuffle and gzip 4 instead of contiguous data.
        """
        write(self, path, quantity, compress)


def _x(shape: Int) -> str:
    return f"{shape[0]} x {shape[1]}"


def merge_pairs(*matrices: BlockMatrix) -> tuple[Int, Int]:
    """Give the union of the pairs of several matrices of one structure, sorted.

    Parameters
    ----------
    *matrices : BlockMatrix
        At least one. The block shapes are those of the first; a spinful matrix among others gets
        its own from ``on_pairs(pairs)`` without shapes.

    Returns
    -------
    pairs : (Q, 5) int64 array
        Sorted by (R1, R2, R3, i, j), each once.
    shapes : (Q, 2) int64 array
        Block shapes in the first matrix.
    """
    everything = np.concatenate([matrix.atom_pairs for matrix in matrices])
    (keys,) = pair_lists.encode(everything)
    _, first = np.unique(keys, return_index=True)
    pairs = everything[first]
    lead = matrices[0]
    return pairs, shapes_from_atoms(lead.atom_pairs, lead.chunk_shapes, pairs)
