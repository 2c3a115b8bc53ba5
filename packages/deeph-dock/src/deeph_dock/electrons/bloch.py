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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.spin import spin_of
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.electrons.lattice_sum import (
    Blocks,
    ComplexArray,
    FloatArray,
    IntArray,
    LatticeSum,
    lattice_sum,
)

STACK_BYTES = 128 * 2**20
"""Largest stack of H(k) and S(k) made at once by `HamiltonianK.chunks`."""
LARGEST_H_VIOLATION_EV = 0.1
LARGEST_S_VIOLATION = 1e-4
"""Violations of Hermiticity beyond these are damage or a wrong convention, not error."""
TIME_REVERSAL_EV = 1e-5
"""Largest violation of time reversal in H(R) of spinors that still counts as rounding."""


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
    least_overlap : float
        Combinations of orbitals whose eigenvalue of S(k) lies below it are left out. Zero keeps
        all. In a nearly dependent basis an error of H is divided by that eigenvalue: with errors
        of some meV, as predictions have, such states may fall from 100 eV below the Fermi level.
    """

    spin: str
    hamiltonians: tuple[LatticeSum, ...]
    overlap: LatticeSum | None
    time_reversal: bool
    coupled_axes: tuple[bool, bool, bool]
    least_overlap: float = 0.0

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

        Returns
        -------
        HamiltonianK
            Of the Hermitian parts of H and S: files hold them to rounding, predictions to their
            error.

        Raises
        ------
        InputError
            If S is missing, blocks do not have the sizes that `info` gives to their atoms, entries
            are not finite, or a matrix is far from Hermitian.
        """
        if overlap is None and not info.orthogonal_basis:
            raise InputError(
                "overlap.h5: S is missing, and info.json says that the basis is not orthogonal "
                "(orthogonal_basis false): bands need the overlap"
            )
        counts = np.asarray(info.orbital_counts(structure), dtype=np.int64)
        _check("H", hamiltonian, counts * info.spin_factor)
        hamiltonian = _hermitian("H", hamiltonian, LARGEST_H_VIOLATION_EV)
        if overlap is not None:
            _check("S", overlap, counts)
            overlap = _hermitian("S", overlap, LARGEST_S_VIOLATION)
        spin = spin_of(info, hamiltonian)
        channels, sites = _spin_channels(hamiltonian, spin, counts)
        sums = tuple(lattice_sum(groups, sites) for groups in channels)
        s_groups = None if overlap is None else list(_spin_free(overlap))
        if s_groups is not None and spin == "soc":
            s_groups += [Blocks(g.cells, g.sites + len(counts), g.stack) for g in s_groups]
        matrices = [hamiltonian] if overlap is None else [hamiltonian, overlap]
        coupled = np.any([np.any(m.atom_pairs[:, :3] != 0, axis=0) for m in matrices], axis=0)
        return cls(
            spin=spin,
            hamiltonians=sums,
            overlap=None if s_groups is None else lattice_sum(s_groups, sites),
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


def _hermitian(name: str, matrix: BlockMatrix, largest: float) -> BlockMatrix:
    """Return the Hermitian part; raise if that is not what the matrix means."""
    error, row = matrix.hermitian_error()
    if error > largest:
        pair = tuple(matrix.atom_pairs[row].tolist())
        raise InputError(
            f"{name}: entries: the block of pair {pair} and that of its partner (-R, j, i) differ "
            f"by {error:.3g} from being Hermitian, more than {largest:g}: 'dock check' tells what "
            "is wrong with this folder"
        )
    return matrix.hermitian() if error > 0 else matrix


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
