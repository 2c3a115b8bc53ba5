"""Constants of SO(3): real Clebsch-Gordan coefficients and the swap of the polar axis.

In: angular momenta. Out: small float64 arrays, computed once and cached.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from deeph_spec.orbitals import wigner_matrices
from numpy.typing import NDArray


@cache
def clebsch_gordan(l1: int, l2: int, l3: int) -> NDArray[np.float64]:
    """Return the orthonormal real coupling of two shells to one irrep.

    Parameters
    ----------
    l1, l2, l3 : int
        Angular momenta with abs(l1 - l2) <= l3 <= l1 + l2.

    Returns
    -------
    ndarray (2 l1 + 1, 2 l2 + 1, 2 l3 + 1)
        ``C`` with ``sum_ij C[i, j, m] C[i, j, n] = delta_mn``. A product of shells x, y couples
        to ``z[m] = sum_ij C[i, j, m] x[i] y[j]``. e3nn's coefficients serve unchanged, because
        its order of components is the format's for vectors written as (y, z, x).
    """
    import e3nn_jax

    coupling = np.array(e3nn_jax.clebsch_gordan(l1, l2, l3), dtype=np.float64)
    coupling *= np.sqrt(2 * l3 + 1)
    coupling.setflags(write=False)
    return coupling


@cache
def transposition_sign(l1: int, l2: int, l3: int) -> int:
    """Return s with C(l1, l2, l3)[i, j, m] = s C(l2, l1, l3)[j, i, m]."""
    overlap = np.sum(clebsch_gordan(l1, l2, l3) * clebsch_gordan(l2, l1, l3).transpose(1, 0, 2))
    return 1 if overlap > 0 else -1


@cache
def axis_swap(l: int) -> NDArray[np.float64]:
    """Return K, the half turn about (y + z) / sqrt(2), which exchanges y and z and is its inverse.

    A rotation about y is then ``K Z(beta) K`` with ``Z`` a rotation about the polar axis, so that
    no rotation but those about the polar axis is ever built from angles.
    """
    half_turn = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    swap = wigner_matrices(l, half_turn)
    swap.setflags(write=False)
    return swap
