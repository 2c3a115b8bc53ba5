"""Eigenstates at one k-point, with the same care for nearly dependent orbitals as eigenvalues.

In: a `HamiltonianK` and k. Out: energies and coefficients, normalised with S(k).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from deeph_spec.errors import InputError
from scipy.linalg import LinAlgError, eigh

from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.lattice_sum import ComplexArray, FloatArray


class States(NamedTuple):
    """Eigenstates at one k-point.

    Attributes
    ----------
    energies : (channels, M)
        eV, ascending.
    coefficients : (channels, N, M)
        c of state m in column m; c^dagger S c = 1.
    overlap : (N, N)
        S(k).
    """

    energies: FloatArray
    coefficients: ComplexArray
    overlap: ComplexArray


def eigenstates(problem: HamiltonianK, kpoint: FloatArray) -> States:
    """Solve H(k) c = E S(k) c for energies and states (paper Eq. 3).

    Parameters
    ----------
    problem : HamiltonianK
        What its `least_overlap` leaves out makes M smaller than N.
    kpoint : (3,)
        Fractional.

    Raises
    ------
    InputError
        If S(k) is not positive definite.
    """
    h, s = problem.dense_stack(np.reshape(kpoint, (1, 3)))
    sizes, vectors = np.linalg.eigh(s[0])
    kept = sizes >= problem.least_overlap
    if problem.least_overlap > 0 and sizes[0] > 0 and not kept.all():
        basis = vectors[:, kept] / np.sqrt(sizes[kept])
        solved = [np.linalg.eigh(basis.conj().T @ one @ basis) for one in h[:, 0]]
        found = [(energies, basis @ inner) for energies, inner in solved]
    else:
        try:
            found = [eigh(one, s[0], check_finite=False) for one in h[:, 0]]
        except LinAlgError as failure:
            raise InputError(
                f"S(k) is not positive definite: its lowest eigenvalue is {sizes[0]:.3e}: the "
                "overlap is damaged or the basis is linearly dependent"
            ) from failure
    return States(
        np.stack([energies for energies, _ in found]),
        np.stack([coefficients for _, coefficients in found]).astype(np.complex128),
        s[0],
    )
