"""DM: the file in which SIESTA keeps the density matrix, both generations known.

The generation is recognised by the length of the first record:

=================  =====================================================================
first record       written by
=================  =====================================================================
8 bytes            SIESTA up to 4.0: orbitals, spin components
20 bytes           SIESTA 4.1 and later: the same, and the images along the three vectors
=================  =====================================================================

Then the number of elements of each row, the columns of each row, and for each spin component the
elements of each row, in double precision. Columns are those of the supercell of the HSX file, of
which this file says nothing but its size; the elements need not be those of H.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.siesta.assembly import complete_pattern, elements_of
from deeph_dock.codes.siesta.hsx import Hsx
from deeph_dock.codes.siesta.records import Records
from deeph_dock.orbital_elements import Blocks, Pattern, find_blocks

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_ELECTRON_TOLERANCE = 1e-4
"""SIESTA's own trace is right to 1e-6; after a move of 0.01 Å it is wrong by 1e-3."""
_LARGEST = 1e3
"""Elements of a density matrix beyond this are no physics."""


@dataclass(frozen=True, eq=False)
class Density:
    """What a DM file holds; the elements are read when they are asked for.

    Attributes
    ----------
    counts : (N,) int64
        Elements of each row.
    columns : (elements,) int32
        Column of each element in the supercell, from 0.
    spins : int
        Spin components: 1, 2, 4 or 8.
    supercell : tuple of int or None
        Images along the three lattice vectors; None up to SIESTA 4.0.
    """

    path: Path
    counts: Int
    columns: NDArray[np.int32]
    spins: int
    supercell: tuple[int, ...] | None
    _records: Records = field(kw_only=True, repr=False)
    _start: int = field(kw_only=True, repr=False)

    def component(self, spin: int) -> Float:
        """Read one spin component, (elements,)."""
        size = int(self.counts.sum()) * 8 + 8 * len(self.counts)
        values = self._records.rows(
            "density matrix", self._start + spin * size, self.counts, np.float64
        )
        if not (values.min() > -_LARGEST and values.max() < _LARGEST):  # false for NaN, too
            raise InputError(
                f"{self.path}: density matrix: holds NaN or absurd numbers ({values.min():.3g}.."
                f"{values.max():.3g}); the run went wrong, or the file is damaged"
            )
        return values


def read_density(path: Path, hsx: Hsx) -> Density:
    """Read everything but the elements of a DM file.

    Parameters
    ----------
    path : Path
        The file.
    hsx : Hsx
        The HSX file of the same run.

    Returns
    -------
    Density
        Where its elements are, and a method that reads them.

    Raises
    ------
    InputError
        If the file is damaged, or not of the run.
    """
    records = Records(path, first_lengths=(8, 20))
    length = (records.next_length() or 0) // 4
    orbitals, spins, *supercell = records.read("sizes", (np.int32, length))[0].tolist()
    if orbitals != hsx.orbitals or spins != hsx.spins:
        raise InputError(
            f"{path}: sizes: {orbitals} orbitals and {spins} spin components, {hsx.path.name} has "
            f"{hsx.orbitals} and {hsx.spins}: not of the same run, or damaged"
        )
    if supercell and math.prod(supercell) != hsx.images:
        raise InputError(
            f"{path}: sizes: a supercell of {supercell} cells, {hsx.path.name} has {hsx.images} "
            "in all: of another step of the run; run SIESTA again with the last geometry"
        )
    counts = records.read("elements in each row", (np.int32, orbitals))[0].astype(np.int64)
    if counts.min() < 1:
        raise InputError(f"{path}: elements in each row: a row has {counts.min()}; damaged")
    columns_at = records.skip_rows("column indices", counts, 4)
    start = records.at
    for _ in range(spins):
        records.skip_rows("density matrix", counts, 8)
    if records.next_length() is not None or records.at != len(records):
        raise InputError(
            f"{path}: {len(records) - records.at} bytes follow where the density matrix ends; the "
            "file is damaged, or of a generation that is not known"
        )
    columns = records.rows("column indices", columns_at, counts, np.int32) - np.int32(1)
    if columns.min() < 0 or columns.max() >= hsx.orbitals * hsx.images:
        raise InputError(
            f"{path}: column indices: found {columns.min() + 1}..{columns.max() + 1}, expected "
            f"1..{hsx.orbitals * hsx.images}; the file is damaged"
        )
    return Density(
        path,
        counts,
        columns,
        spins,
        supercell=tuple(supercell) or None,
        _records=records,
        _start=start,
    )


def density_pattern(density: Density, hsx: Hsx, blocks: Blocks, cells: Int) -> Pattern:
    """Find the place of every element of a density matrix, by the lattice vectors of H.

    Parameters
    ----------
    density : Density
        Its elements.
    hsx : Hsx
        Atoms and orbitals.
    blocks : Blocks
        Blocks of H and S.
    cells : (P, 3) int64 array
        Lattice vector R of each of them.

    Returns
    -------
    Pattern
        Pairs sorted by (R1, R2, R3, i, j).

    Raises
    ------
    InputError
        If its images are not those of H, or not known, or elements are there once instead of
        twice.
    """
    elements = elements_of(density.counts, density.columns)
    own = find_blocks(hsx.atom_of_orbital, elements)
    atoms = len(hsx.species_of_atom)

    def keys(some: Blocks) -> Int:
        return (some.images * atoms + some.atoms[:, 0]) * atoms + some.atoms[:, 1]

    table = np.zeros((hsx.images, 3), np.int64)
    known = np.zeros(hsx.images, bool)
    table[blocks.images], known[blocks.images] = cells, True
    # Not so for positions that differ by lattice vectors from those that SIESTA worked with.
    alike = np.array_equal(table[blocks.images], cells)
    if alike and density.supercell is not None:
        reach = np.abs(cells).max(axis=0)
        if (reach > np.array(density.supercell) // 2).any():
            raise _of_another_step(density, hsx, "its supercell is another")
    there, wanted = keys(blocks), keys(own)  # both increase
    at = np.minimum(np.searchsorted(there, wanted), len(there) - 1)
    missing = there[at] != wanted
    if missing.any() and (hsx.folded or not alike or not known[own.images].all()):
        raise _of_another_step(density, hsx, "it connects atoms in images that are not known")
    found = np.where(missing[:, None], table[own.images], cells[at])
    return complete_pattern(hsx, elements, own, found, density.path)


def check_electrons(
    density: Density, pattern: Pattern, overlap: BlockMatrix, electrons: float
) -> None:
    """Check that rho S has as many electrons as the run: so that the two are of one step.

    SIESTA writes .DM in every cycle, but .HSX at the end of a step.

    Parameters
    ----------
    density : Density
        Its elements.
    pattern : Pattern
        Where they go.
    overlap : BlockMatrix
        S of the run.
    electrons : float
        Of both spins.

    Raises
    ------
    InputError
        If the trace of rho S is another number.
    """
    values = density.component(0)
    if density.spins > 1:
        values = values + density.component(1)
    charge = pattern.fill(values)
    same = overlap.on_pairs(charge.atom_pairs, charge.chunk_shapes)
    counted = float(np.dot(charge.entries, same.entries.astype(np.float64)))
    if not abs(counted - electrons) <= _ELECTRON_TOLERANCE * max(1.0, electrons):
        raise InputError(
            f"{density.path}: holds {counted:.6g} electrons with the overlap of the run, which has "
            f"{electrons:.6g}: of another step of the run, or damaged"
        )


def _of_another_step(density: Density, hsx: Hsx, why: str) -> InputError:
    return InputError(
        f"{density.path}: not of the same step as {hsx.path.name}: {why}; run SIESTA again with "
        "the last geometry"
    )
