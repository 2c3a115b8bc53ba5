"""One computed matrix: which pairs of atoms it has, and how it is written piece by piece.

Of the matrix only pieces are ever in memory; what grows with a structure is the list of its pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
from deeph_spec.matrix_files import Places, write_in_pieces
from deeph_spec.ragged import boundaries_of
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis
from deeph_dock.basis.gaussian import reaches
from deeph_dock.executors import each, local_executor
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
OF_WORKERS = ("deeph_dock.overlap_matrices", "scipy.interpolate", "scipy.special")
"""Modules that every worker needs."""
_SHARES = 16
"""Shares of a matrix for each process."""

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
    jobs: int = 1,
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
    jobs : int
        How many processes compute it: threads would wait for each other at every step.
    """
    shapes = block_shapes(structure, integrals, pairs)
    boundaries = boundaries_of(shapes)
    integrals.prepare(quantity, structure.numbers)
    starts = [rows.start for rows in pieces(boundaries, OPERATORS[quantity].components)]
    cuts = [*starts[:: 1 + len(starts) // (_SHARES * jobs)], len(pairs)]
    jobs = min(jobs, len(cuts) - 1)
    watch = WATCH.get()
    advance = watch(quantity, len(pairs)) if watch is not None else _nobody
    with write_in_pieces(path, pairs, shapes, MATRICES[quantity]) as places:
        shares = (
            _Share(
                structure, integrals, pairs[first:last], quantity, places, int(boundaries[first])
            )
            for first, last in pairwise(cuts)
        )
        make = partial(local_executor, jobs, OF_WORKERS)
        for share, error in each(_write_share, shares, make, jobs + 1 if jobs > 1 else 1):
            if isinstance(error, Exception):
                raise error
            advance(len(share.pairs))


@dataclass(frozen=True, eq=False)
class _Share:
    """Consecutive blocks of a matrix, and the number of their first entry."""

    structure: Structure
    integrals: TwoCentre
    pairs: Int
    quantity: str
    places: Places
    first: int


def _write_share(share: _Share) -> None:
    """Compute blocks and write them to their places."""
    from threadpoolctl import threadpool_limits

    structure, integrals, quantity = share.structure, share.integrals, share.quantity
    boundaries = boundaries_of(block_shapes(structure, integrals, share.pairs))
    # Products of small matrices: threads of the library would only wait for each other.
    with threadpool_limits(1):
        for rows in pieces(boundaries, OPERATORS[quantity].components):
            entries = entries_of(structure, integrals, quantity, share.pairs[rows])
            share.places(share.first + int(boundaries[rows.start]), entries)


def _nobody(pairs: int) -> None:
    """Tell nobody of progress."""
