"""One computed matrix: which pairs of atoms it has, and how it is written piece by piece.

Of the matrix only pieces are ever in memory; what grows with a structure is the list of its pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import ContextVar
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np
from deeph_spec.matrix_files import write_in_pieces
from deeph_spec.ragged import boundaries_of
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis
from deeph_dock.basis.gaussian import reaches
from deeph_dock.integrals.assembly import block_shapes, entries_of, pieces
from deeph_dock.integrals.neighbours import pairs_up_to, touching_pairs
from deeph_dock.integrals.operators import OPERATORS
from deeph_dock.integrals.patterns import linked_pairs
from deeph_dock.integrals.two_centre import TwoCentre

PATTERNS = MappingProxyType({"overlap": touching_pairs, "hamiltonian": linked_pairs})
"""Pairs of atoms: whose orbitals touch, and also those linked through projectors of a third."""
MATRICES = MappingProxyType(
    {
        "overlap": "overlap",
        "kinetic": "kinetic_matrix",
        "position": "position_matrix",
        "gradient": "gradient_matrix",
    }
)
"""Name in the format of every quantity of `deeph_dock.integrals.operators.OPERATORS`."""

Int = NDArray[np.int64]
Advance = Callable[[int], None]
WATCH: ContextVar[Callable[[str, int], Advance] | None] = ContextVar("watch", default=None)
"""Takes a quantity and its number of pairs; gives a function that takes how many more are done."""


def find_pairs(
    pattern: str,
    structure: Structure,
    bases: Mapping[int, AtomicBasis],
    periodic: Sequence[bool] = (True, True, True),
) -> Int:
    """Find the pairs that the matrices of a structure have.

    Parameters
    ----------
    pattern : str
        Of `PATTERNS`. Those of Hamiltonians of PySCF are of other rules: all pairs of a molecule,
        and in crystals those of which orbitals of the elements overlap.
    structure : Structure
        Atoms and cell.
    bases : mapping of int to AtomicBasis
        By atomic number.
    periodic : sequence of bool
        Directions in which it repeats.

    Returns
    -------
    (P, 5) int64 array
        R1, R2, R3, i, j, sorted.
    """
    if pattern != "hamiltonian" or any(basis.code != "pyscf" for basis in bases.values()):
        return PATTERNS[pattern](structure, bases)
    if any(periodic):
        present = {number: bases[number] for number in set(structure.numbers.tolist())}
        return pairs_up_to(structure, reaches(present))
    atoms = len(structure)
    pairs = np.zeros((atoms**2, 5), np.int64)
    pairs[:, 3:] = np.indices((atoms, atoms)).reshape(2, -1).T
    return pairs


def write_matrix(
    path: Path,
    structure: Structure,
    integrals: TwoCentre,
    pairs: Int,
    quantity: str,
    threads: int = 1,
) -> None:
    """Compute a matrix and write it, piece by piece.

    Parameters
    ----------
    path : Path
        File to write.
    structure : Structure
        The atoms.
    integrals : TwoCentre
        With the quantity.
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.
    quantity : str
        Of `deeph_dock.integrals.operators.OPERATORS`.
    threads : int
        How many compute at once.
    """
    shapes = block_shapes(structure, integrals, pairs)
    boundaries = boundaries_of(shapes)
    integrals.prepare(quantity, structure.numbers)
    with write_in_pieces(path, pairs, shapes, MATRICES[quantity]) as put:

        def make(rows: slice) -> None:
            entries = entries_of(structure, integrals, quantity, pairs[rows])
            put(int(boundaries[rows.start]), entries)

        watch = WATCH.get()
        advance = watch(quantity, len(pairs)) if watch is not None else _nobody
        work = pieces(boundaries, OPERATORS[quantity].components)
        if threads == 1:
            for rows in work:
                make(rows)
                advance(rows.stop - rows.start)
            return
        with ThreadPoolExecutor(threads) as pool:
            running = {pool.submit(make, rows): rows for rows in islice(work, 2 * threads)}
            while running:
                done = next(as_completed(running))
                done.result()
                rows = running.pop(done)
                advance(rows.stop - rows.start)
                running |= {pool.submit(make, rows): rows for rows in islice(work, 1)}


def _nobody(pairs: int) -> None:
    """Tell nobody of progress."""
