"""From csr elements to blocks: order and signs of orbitals, spin, and lattice vectors.

Inside a shell ABACUS counts m = 0, 1, -1, 2, -2, ... and its functions carry the sign (-1)^m. With
two spinor components row 2 i + s is component s of orbital i, up first; the elements are those of
H as written, without conjugation. Lattice vectors R' of the files belong to the atoms that ABACUS
moved into the cell, tau' = tau + n; for the positions tau of the input

    R = R' + n_j - n_i,     <i0| r |jR> = <i0| r |jR>' - (n_i A) S_ij(R).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix, merge_pairs
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.abacus.csr import Csr
from deeph_dock.orbital_elements import Elements, Layout, Pattern, find_blocks, make_pattern
from deeph_dock.spin_blocks import adjoint, collinear, spinor

Int = NDArray[np.int64]
Float = NDArray[np.float64]

RYDBERG = 13.605698
"""1 Ry in eV, as ABACUS has it."""
BOHR = 0.529177
"""1 Bohr in Å, as ABACUS has it."""
DROPPED = 1e-10
"""Smaller elements are not in the files."""


@dataclass(frozen=True, eq=False)
class Basis:
    """The orbitals of a run, and where its atoms were moved.

    Attributes
    ----------
    shells : tuple of tuple of int
        l of each shell of each atom.
    moved : (n, 3) int64
        Lattice vectors n by which the atoms of the files are away from those of the structure.
    """

    shells: tuple[tuple[int, ...], ...]
    moved: Int

    @property
    def size(self) -> int:
        """Orbitals of the cell, without spin."""
        return sum(2 * degree + 1 for shells in self.shells for degree in shells)


def layout(shells: Sequence[Sequence[int]], components: int = 1) -> Layout:
    """Say where each row of a matrix of ABACUS goes in the blocks of its atom.

    Parameters
    ----------
    shells : sequence of sequence of int
        l of each shell of each atom.
    components : int
        2 for rows that are spinor components.

    Returns
    -------
    Layout
        Spin is the outer index inside a block.
    """
    atoms: list[int] = []
    places: list[int] = []
    signs: list[int] = []
    for atom, degrees in enumerate(shells):
        size = sum(2 * degree + 1 for degree in degrees)
        first = 0
        for degree in degrees:
            for index in range(2 * degree + 1):
                m = (index + 1) // 2 if index % 2 else -index // 2
                for spin in range(components):
                    atoms.append(atom)
                    places.append(spin * size + first + degree + m)
                    signs.append(-1 if m % 2 else 1)
            first += 2 * degree + 1
    return Layout(np.array(atoms), np.array(places), np.array(signs, np.int8))


def real_matrix(csr: Csr, basis: Basis, unit: float = 1.0) -> BlockMatrix:
    """Make the matrix of a run without spinors: as S, and H or rho of one spin channel.

    Parameters
    ----------
    csr : Csr
        As many rows as there are orbitals, real.
    basis : Basis
        Orbitals of the run.
    unit : float
        Factor to the unit of the format.

    Returns
    -------
    BlockMatrix
        In the unit of the format.

    Raises
    ------
    InputError
        If elements lack their Hermitian partners.
    """
    return _filled(csr, basis, 1, csr.values, unit)


def spinor_matrix(csr: Csr, basis: Basis, unit: float) -> BlockMatrix:
    """Make H of a run with spinors.

    Parameters
    ----------
    csr : Csr
        Twice as many rows as there are orbitals, complex.
    basis : Basis
        Orbitals of the run.
    unit : float
        Factor to the unit of the format.

    Returns
    -------
    BlockMatrix
        [[uu, ud], [du, dd]], in the unit of the format.

    Raises
    ------
    InputError
        If elements lack their Hermitian partners.
    """
    return _filled(csr, basis, 2, csr.values.astype(np.complex128, copy=False), unit)


def spinor_overlap(csr: Csr, basis: Basis) -> BlockMatrix:
    """Make S of a run with spinors: that of one component; both are equal, and S is real.

    Parameters
    ----------
    csr : Csr
        Twice as many rows as there are orbitals.
    basis : Basis
        Orbitals of the run.

    Returns
    -------
    BlockMatrix
        Real, without spin.

    Raises
    ------
    InputError
        If S depends on spin or is complex, or elements lack their Hermitian partners.
    """
    up = part(csr, 0, 0)
    largest = [np.abs(part(csr, row, 1 - row).values).max(initial=0.0) for row in (0, 1)]
    down = part(csr, 1, 1)
    equal = len(up.values) == len(down.values) and np.array_equal(up.columns, down.columns)
    if equal:
        largest.append(np.abs(up.values - down.values).max(initial=0.0))
    largest.append(np.abs(csr.values.imag).max(initial=0.0))
    if not equal or max(largest) > 1e-8:
        raise InputError(
            f"{csr.path}: the overlap of spin up and down differ, or it is complex; damaged"
        )
    return _filled(up, basis, 1, np.ascontiguousarray(up.values.real), 1.0)


def part(csr: Csr, row: int, column: int) -> Csr:
    """Take the elements between two spinor components.

    Parameters
    ----------
    csr : Csr
        Twice as many rows as there are orbitals.
    row, column : int
        0 for up, 1 for down.

    Returns
    -------
    Csr
        Its rows and columns are orbitals.
    """
    kept = (csr.rows % 2 == row) & (csr.columns % 2 == column)
    return Csr(
        csr.path,
        csr.head,
        csr.steps,
        csr.cells,
        csr.images[kept],
        csr.rows[kept] // 2,
        csr.columns[kept] // 2,
        csr.values[kept],
    )


def collinear_matrix(up: BlockMatrix, down: BlockMatrix) -> BlockMatrix:
    """Put two spin channels into one matrix, on the union of their pairs.

    Parameters
    ----------
    up, down : BlockMatrix
        Without spin.

    Returns
    -------
    BlockMatrix
        [[up, 0], [0, down]].
    """
    if not np.array_equal(up.atom_pairs, down.atom_pairs):
        up, down = on_union(up, down)
    return collinear(up, down)


def density_of_moments(csr: Csr, basis: Basis) -> BlockMatrix:
    """Make the density matrix of spinors from the four real numbers that the file has of each pair.

    They are n, m_x, -m_y and m_z in the places of uu, ud, du and dd: ABACUS counts the y component
    of moments with the other sign. rho = (n + m . sigma) / 2.

    Parameters
    ----------
    csr : Csr
        Twice as many rows as there are orbitals, real.
    basis : Basis
        Orbitals of the run.

    Returns
    -------
    BlockMatrix
        [[uu, ud], [du, dd]], complex.
    """
    components = [_block_matrix(part(csr, *place), basis) for place in np.ndindex(2, 2)]
    n, mx, minus_my, mz = on_union(*components)

    def mixed(one: BlockMatrix, other: BlockMatrix, factor: complex) -> BlockMatrix:
        return one.with_entries((one.entries + factor * other.entries) / 2)

    return spinor(
        mixed(n, mz, 1), mixed(mx, minus_my, 1j), mixed(mx, minus_my, -1j), mixed(n, mz, -1)
    )


def position_matrix(
    parts: Sequence[Csr], overlap: BlockMatrix, basis: Basis, lattice: Float
) -> BlockMatrix:
    """Make the position matrix with the origin and the atoms of the structure.

    Parameters
    ----------
    parts : sequence of Csr
        x, y, z, in Bohr.
    overlap : BlockMatrix
        S, without spin.
    basis : Basis
        Orbitals of the run.
    lattice : (3, 3) array
        Lattice vectors as rows, Å.

    Returns
    -------
    BlockMatrix
        Entries (3, E), Å.
    """
    if parts[0].head.dimension == 2 * basis.size:
        parts = [part(component, 0, 0) for component in parts]
    matrices = [_block_matrix(component, basis) for component in parts]
    moved = basis.moved.any()
    together = on_union(*matrices, overlap) if moved else on_union(*matrices)
    entries = np.stack([matrix.entries for matrix in together[:3]]) * BOHR
    first = together[0]
    if moved:
        shifts = (basis.moved @ lattice)[first.atom_pairs[:, 3]]
        lengths = np.diff(first.chunk_boundaries)
        entries -= np.repeat(shifts, lengths, axis=0).T * together[3].entries
    return first.with_entries(entries)


def on_union(*matrices: BlockMatrix) -> list[BlockMatrix]:
    """Bring matrices to one list of pairs, with zeros where one has no block.

    Parameters
    ----------
    *matrices : BlockMatrix
        Of the same orbitals.

    Returns
    -------
    list of BlockMatrix
        In the order given.
    """
    pairs, shapes = merge_pairs(*matrices)
    return [matrix.on_pairs(pairs, shapes) for matrix in matrices]


def _pattern(csr: Csr, basis: Basis, components: int) -> Pattern:
    orbitals = layout(basis.shells, components)
    elements = Elements(csr.rows, csr.columns, csr.images)
    blocks = find_blocks(orbitals.atoms, elements)
    i, j = blocks.atoms.T
    cells = csr.cells[blocks.images] + basis.moved[j] - basis.moved[i]
    return make_pattern(orbitals, elements, blocks, cells, csr.path)


def _block_matrix(csr: Csr, basis: Basis) -> BlockMatrix:
    """Fill blocks of a matrix that needs no Hermitian partners."""
    if not len(csr.values):
        raise InputError(f"{csr.path}: one of the components has no elements; damaged")
    return _pattern(csr, basis, 1).fill(csr.values)


def _filled(
    csr: Csr, basis: Basis, components: int, values: NDArray[Any], unit: float
) -> BlockMatrix:
    if not len(values):
        raise InputError(f"{csr.path}: no elements of this spin; damaged")
    pattern = _pattern(csr, basis, components)
    matrix = pattern.fill(values, unit)
    if not pattern.is_symmetric():
        _check_lonely(pattern, matrix, unit, csr.path)
    return matrix


def _check_lonely(pattern: Pattern, matrix: BlockMatrix, unit: float, path: Path) -> None:
    """Refuse elements without partner, unless rounding decided that the partner was dropped."""
    filled = BlockMatrix.zeros(pattern.pairs, pattern.shapes, np.int8)
    filled.entries[pattern.places] = 1
    lonely = (filled.entries == 1) & (adjoint(filled).entries == 0)
    largest = np.abs(matrix.entries[lonely]).max(initial=0.0) / unit
    if largest > 1.01 * DROPPED:
        raise InputError(
            f"{path}: {np.count_nonzero(lonely)} elements, up to {largest:.3g}, have no partner "
            "with row and column exchanged and -R; the file is damaged or of another kind"
        )
