"""From one half of a symmetric matrix to blocks over atoms.

Stored is one number for each pair of orbitals: element (r, c) of image -R, with c <= r where
R = 0. The other half is its transpose; the diagonal of R = 0, and for every other R the elements
(r, r), are stored in both halves and taken from their own place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.fhi_aims.basis import Basis
from deeph_dock.codes.fhi_aims.cluster import Triangle, read_triangle
from deeph_dock.codes.fhi_aims.files import MatrixFiles
from deeph_dock.codes.fhi_aims.periodic import Stored, read_indices, read_values
from deeph_dock.orbital_elements import Elements, Pattern, find_blocks, make_pattern
from deeph_dock.spin_blocks import adjoint, collinear

Float = NDArray[np.float64]
Int = NDArray[np.int64]

HARTREE = 27.2113845
"""1 Ha in eV, with which FHI-aims prints its eigenvalues."""
_LARGEST_OVERLAP = 2.0


class Matrices(Protocol):
    """Reads the matrices of a run."""

    def overlap(self) -> BlockMatrix:
        """Read S."""

    def hamiltonian(self) -> BlockMatrix:
        """Read H in eV, collinear spin as [[up, 0], [0, down]]."""


def symmetric(pattern: Pattern, elements: Elements, values: Float, unit: float) -> BlockMatrix:
    """Make a matrix of its stored half.

    Parameters
    ----------
    pattern : Pattern
        Where the stored elements go.
    elements : Elements
        The stored elements.
    values : (elements,) array
        Their values.
    unit : float
        Factor to the unit of the format.

    Returns
    -------
    BlockMatrix
        Both halves.
    """
    half = pattern.fill(values, unit)
    twice = half.entries.copy()
    twice[pattern.places[elements.rows == elements.columns]] = 0.0
    half.entries[:] += adjoint(half.with_entries(twice)).entries
    return half


class PeriodicMatrices:
    """Matrices of a crystal.

    Parameters
    ----------
    indices : Path
        rs_indices.out.
    files : MatrixFiles
        Those of the values.
    basis : Basis
        Its functions.
    translations : (n, 3) int64 array
        Lattice vector by which FHI-aims moved each atom.
    """

    def __init__(self, indices: Path, files: MatrixFiles, basis: Basis, translations: Int) -> None:
        self._indices = indices
        self._files = files
        self._basis = basis
        self._translations = translations

    @cached_property
    def _stored(self) -> Stored:
        return read_indices(self._indices, self._basis.size)

    @cached_property
    def _pattern(self) -> Pattern:
        stored, layout = self._stored, self._basis.layout
        blocks = find_blocks(layout.atoms, stored.elements)
        moved = self._translations[blocks.atoms]
        cells = -stored.cells[blocks.images] + moved[:, 1] - moved[:, 0]
        return make_pattern(layout, stored.elements, blocks, cells, stored.path)

    def _read(self, path: Path, unit: float) -> BlockMatrix:
        values = read_values(path, self._stored)
        return symmetric(self._pattern, self._stored.elements, values, unit)

    def overlap(self) -> BlockMatrix:
        """Read S.

        Returns
        -------
        BlockMatrix
            On the pairs of rs_indices.out.

        Raises
        ------
        InputError
            If a file is missing or damaged.
        """
        return checked_overlap(self._read(self._files.overlap, 1.0), self._files.overlap)

    def hamiltonian(self) -> BlockMatrix:
        """Read H.

        Returns
        -------
        BlockMatrix
            In eV, on the pairs of rs_indices.out.

        Raises
        ------
        InputError
            If a file is missing or damaged.
        """
        return _with_spin([self._read(path, HARTREE) for path in self._files.hamiltonian])


class ClusterMatrices:
    """Matrices of a molecule.

    Parameters
    ----------
    files : MatrixFiles
        Those of the values.
    basis : Basis
        Its functions.
    """

    def __init__(self, files: MatrixFiles, basis: Basis) -> None:
        self._files = files
        self._basis = basis

    @cached_property
    def _triangles(self) -> dict[Path, Triangle]:
        """All matrices: they hold the same elements."""
        paths = (self._files.overlap, *self._files.hamiltonian)
        found = {path: read_triangle(path, self._basis.size) for path in paths}
        first = found[paths[0]]
        for other in found.values():
            if not np.array_equal(first.rows, other.rows) or not np.array_equal(
                first.columns, other.columns
            ):
                raise InputError(
                    f"{other.path}: i, j: other elements than in {first.path.name}: damaged or not "
                    "of the same run"
                )
        return found

    @cached_property
    def _kept(self) -> NDArray[np.bool_]:
        """Whether each element belongs to a pair of atoms that overlap."""
        return coupled(tuple(self._triangles.values()), self._basis.layout.atoms)

    @cached_property
    def _elements(self) -> Elements:
        first = self._triangles[self._files.overlap]
        rows, columns = (k[self._kept].astype(np.int32) for k in (first.rows, first.columns))
        return Elements(rows, columns, np.zeros_like(rows))

    @cached_property
    def _pattern(self) -> Pattern:
        layout = self._basis.layout
        blocks = find_blocks(layout.atoms, self._elements)
        cells = np.zeros((len(blocks.images), 3), dtype=np.int64)
        return make_pattern(layout, self._elements, blocks, cells, self._files.overlap)

    def _read(self, path: Path, unit: float) -> BlockMatrix:
        values = self._triangles[path].values[self._kept]
        return symmetric(self._pattern, self._elements, values, unit)

    def overlap(self) -> BlockMatrix:
        """Read S.

        Returns
        -------
        BlockMatrix
            With R = 0.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        return checked_overlap(self._read(self._files.overlap, 1.0), self._files.overlap)

    def hamiltonian(self) -> BlockMatrix:
        """Read H.

        Returns
        -------
        BlockMatrix
            In eV, with R = 0.

        Raises
        ------
        InputError
            If a file is damaged.
        """
        return _with_spin([self._read(path, HARTREE) for path in self._files.hamiltonian])


def checked_overlap(matrix: BlockMatrix, path: Path) -> BlockMatrix:
    """Refuse an overlap that cannot be one of normalised functions.

    Parameters
    ----------
    matrix : BlockMatrix
        S.
    path : Path
        Its file, for messages.

    Returns
    -------
    BlockMatrix
        The same.

    Raises
    ------
    InputError
        If an element exceeds 2.
    """
    largest = float(np.abs(matrix.entries).max(initial=0.0))
    if not largest <= _LARGEST_OVERLAP:
        raise InputError(
            f"{path}: values: an overlap of {largest:.3g} between normalised functions; the file "
            "is damaged"
        )
    return matrix


def coupled(triangles: Sequence[Triangle], atoms: Int) -> NDArray[np.bool_]:
    """Tell which elements belong to pairs of atoms that overlap.

    Molecules are written whole: between atoms that are far apart all elements are 0. Where no
    functions overlap, there is nothing to integrate, so that this is the same for H and S.

    Parameters
    ----------
    triangles : sequence of Triangle
        Of the same elements; the first is S.
    atoms : (N,) int64 array
        Atom of each function.

    Returns
    -------
    (elements,) bool array
        True as well for all elements of one atom.

    Raises
    ------
    InputError
        If one matrix has elements between two atoms where another has none.
    """
    first = triangles[0]
    count = int(atoms.max()) + 1
    pair = atoms[first.rows] * count + atoms[first.columns]
    same = atoms[first.rows] == atoms[first.columns]
    found = np.zeros((len(triangles), int(pair.max()) + 1), dtype=bool)
    for row, triangle in zip(found, triangles, strict=True):
        row[pair[same | (triangle.values != 0)]] = True
        if (row != found[0]).any():
            second, one = divmod(int(np.flatnonzero(row != found[0])[0]), count)
            raise InputError(
                f"{triangle.path}: atoms {one + 1} and {second + 1}: all elements are 0 in this "
                f"file or in {first.path.name}, but not in both: damaged or not of the same run"
            )
    return np.asarray(found[0][pair])


def _with_spin(channels: Sequence[BlockMatrix]) -> BlockMatrix:
    """Give the matrix of one channel or of two."""
    return channels[0] if len(channels) == 1 else collinear(channels[0], channels[1])
