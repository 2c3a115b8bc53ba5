"""Molecules: one block for every two atoms, in a box with 30 Å of empty space around them."""

from __future__ import annotations

from typing import Any

import numpy as np
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.codes.pyscf.orbitals import Orbitals
from deeph_dock.codes.pyscf.scf import Source, Term, real_if_real, spin_parts

EMPTY_SPACE = 30.0
"""Distance of a molecule to its images, Å."""


def box(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the cell of a molecule.

    Parameters
    ----------
    positions : (n, 3) array
        Å.

    Returns
    -------
    (3, 3) array
        Rows, Å; whole numbers, so that molecules of one size have one cell.
    """
    return np.diag(np.ceil(np.ptp(positions, axis=0) + EMPTY_SPACE))


def molecule(mf: Any, orbitals: Orbitals, spin: str) -> Source:
    """Find what a molecule's matrices are made of.

    Parameters
    ----------
    mf : pyscf.scf.hf.SCF
        Of a molecule; it has run.
    orbitals : Orbitals
        Its orbitals.
    spin : str
        "none", "collinear" or "soc".

    Returns
    -------
    Source
        With the positions as they are; they need not lie in the box.
    """
    from pyscf.lib import param

    positions = mf.mol.atom_coords() * param.BOHR
    atoms = len(positions)
    pairs = np.zeros((atoms**2, 5), dtype=np.int64)
    pairs[:, 3:] = np.indices((atoms, atoms)).reshape(2, -1).T

    def terms(matrix: Any) -> list[Term]:
        return [
            lambda cells, part=part: np.broadcast_to(part, (len(cells), *part.shape))  # type: ignore[misc]
            for part in real_if_real(spin_parts(matrix, spin, orbitals), spin)
        ]

    def density() -> list[Term]:
        found = np.asarray(mf.make_rdm1())
        return terms(found.sum(axis=0) if mf.istype("ROHF") and found.ndim == 3 else found)

    return Source(
        structure=Structure(box(positions), positions, orbitals.numbers),
        kpoints=np.zeros((1, 3)),
        pairs=lambda: pairs,
        vectors=lambda cells: np.zeros((len(cells), 3)),
        hamiltonian=lambda: (pairs, terms(mf.get_fock(dm=mf.make_rdm1()))),
        density=density,
        provenance={},
    )
