"""Three proofs that H and S mean what the format says they mean.

1. Eigenvalues: those of the converted matrices are those that the code printed.
2. Two-centre rule: an overlap of two atomic orbitals is symmetric about the axis between them. In
   axes with z along d = tau_j + R - tau_i, the block T = D(Q) S D(Q)^T with Q d = |d| z has
   T[m, m'] = 0 for m != m' and T[m, m] = T[-m, -m] (Slater and Koster, Phys. Rev. 94, 1498).
   Any other order or sign of the orbitals inside a shell, and any R that does not belong to the
   positions, violates it by 0.2 or more.
3. Hermiticity: the block of (-R, j, i) is the adjoint of that of (R, i, j).

Eigenvalues alone are blind to the order of the orbitals and to atoms moved by a lattice vector;
the two-centre rule alone is blind to the energy unit, to the sign of a whole shell, and to
transposed blocks of equal species. Together little is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.orbitals import orbital_count, shell_offsets, wigner_matrices
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

if TYPE_CHECKING:
    from deeph_dock.codes import Eigenvalues

Float = NDArray[np.float64]

SAME_PLACE = 1e-3
"""Distance below which two atoms have no axis between them, Å."""
TELLING_OVERLAP = 0.05
"""Overlap between different atoms below which the two-centre rule says little."""
_AT_ONCE = 2048


@dataclass(frozen=True)
class TwoCentre:
    """Result of the two-centre rule on an overlap matrix.

    Attributes
    ----------
    violation : float
        Largest element that the rule forbids, or half the largest difference of two it calls equal.
    pair : tuple of int or None
        R1, R2, R3, i, j of the block where it occurs; None if no pair has an axis.
    checked, available : int
        Pairs that were looked at, and pairs of different places with an overlap that is not zero.
    largest : float
        Largest overlap in the pairs looked at.
    """

    violation: float
    pair: tuple[int, ...] | None
    checked: int
    available: int
    largest: float


def two_centre(
    structure: Structure,
    orbital_map: Mapping[str, Sequence[int]],
    overlap: BlockMatrix,
    at_most: int | None = None,
) -> TwoCentre:
    """Measure how far an overlap matrix is from a matrix of two-centre integrals.

    Parameters
    ----------
    structure : Structure
        Atoms; positions in Å.
    orbital_map : mapping
        Shells of each element, in storage order.
    overlap : BlockMatrix
        S, without spin.
    at_most : int, optional
        Look at this many pairs, drawn at random but always the same; without it at all.

    Returns
    -------
    TwoCentre
        The largest violation.

    Raises
    ------
    InputError
        If blocks do not have the sizes of the orbitals.
    """
    vectors = structure.pair_vectors(overlap.atom_pairs)
    apart = np.linalg.norm(vectors, axis=1) > SAME_PLACE
    sizes = np.diff(overlap.chunk_boundaries)
    if len(overlap.entries):
        starts = np.minimum(overlap.chunk_boundaries[:-1], len(overlap.entries) - 1)
        largest = np.where(sizes > 0, np.maximum.reduceat(np.abs(overlap.entries), starts), 0.0)
        apart &= largest > 0
    rows = np.flatnonzero(apart)
    available = len(rows)
    if at_most is not None and available > at_most:
        rows = np.sort(np.random.default_rng(0).choice(rows, at_most, replace=False))
    chosen = np.zeros(len(overlap), dtype=bool)
    chosen[rows] = True
    kinds = structure.numbers[overlap.atom_pairs[:, 3:]]
    symbols = dict(zip(structure.numbers.tolist(), structure.symbols, strict=True))
    worst, worst_row, most = 0.0, -1, 0.0
    for members, stack in overlap.by_shape():
        for first, second in np.unique(kinds[members], axis=0).tolist():
            here = np.flatnonzero((kinds[members] == (first, second)).all(axis=1) & chosen[members])
            shells = orbital_map[symbols[first]], orbital_map[symbols[second]]
            _check_size(stack.shape[1:], shells, symbols[first], symbols[second])
            for start in range(0, len(here), _AT_ONCE):
                part = here[start : start + _AT_ONCE]
                violation = _violations(stack[part], vectors[members[part]], *shells)
                most = max(most, float(np.abs(stack[part]).max(initial=0.0)))
                at = int(np.argmax(violation)) if len(violation) else 0
                if len(violation) and not violation[at] <= worst:
                    worst, worst_row = float(violation[at]), int(members[part[at]])
    if worst_row < 0 and len(rows):
        worst_row = int(rows[0])
    pair = tuple(overlap.atom_pairs[worst_row].tolist()) if worst_row >= 0 else None
    return TwoCentre(worst, pair, len(rows), available, most)


def _check_size(
    shape: tuple[int, ...], shells: tuple[Sequence[int], Sequence[int]], first: str, second: str
) -> None:
    """Refuse blocks that do not have the sizes of the orbitals."""
    expected = tuple(orbital_count(s) for s in shells)
    if shape != expected:
        raise InputError(
            f"overlap.h5: a block between {first} and {second} is {shape[0]} x {shape[1]}, their "
            f"shells have {expected[0]} and {expected[1]} orbitals"
        )


def axis_rotations(vectors: Float) -> Float:
    """Give rotations Q that turn vectors to the z axis.

    Parameters
    ----------
    vectors : (p, 3) array
        None of them zero.

    Returns
    -------
    (p, 3, 3) array
        Proper rotations with Q v = |v| z.
    """
    z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    least = np.eye(3)[np.argmin(np.abs(z), axis=1)]  # the axis farthest from each vector
    x = np.cross(least, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=1)


def orbital_rotations(shells: Sequence[int], rotations: Float) -> Float:
    """Give the matrices that turn all orbitals of an atom.

    Parameters
    ----------
    shells : sequence of int
        l of each shell.
    rotations : (p, 3, 3) array
        Orthogonal matrices.

    Returns
    -------
    (p, n, n) array
        Block-diagonal, one Wigner matrix for each shell.
    """
    offsets = shell_offsets(shells)
    wigner = {k: wigner_matrices(k, rotations) for k in set(shells)}
    turned = np.zeros((len(rotations), int(offsets[-1]), int(offsets[-1])))
    for k, start, stop in zip(shells, offsets[:-1], offsets[1:], strict=True):
        turned[:, start:stop, start:stop] = wigner[k]
    return turned


def _magnetic(shells: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give m of each orbital, and the orbital of the same shell with -m."""
    m = np.concatenate([np.arange(-k, k + 1) for k in shells])
    return m, np.arange(len(m)) - 2 * m


def _violations(
    stack: NDArray[Any], vectors: Float, first: Sequence[int], second: Sequence[int]
) -> Float:
    """Give the largest violation in each block, (p,)."""
    rotations = axis_rotations(vectors)
    left = orbital_rotations(first, rotations)
    right = orbital_rotations(second, rotations)
    turned = left @ stack @ right.swapaxes(1, 2)
    (m_left, mirror_left), (m_right, mirror_right) = _magnetic(first), _magnetic(second)
    mirrored = turned[:, mirror_left][:, :, mirror_right]
    allowed = m_left[:, None] == m_right
    wrong = np.where(allowed, (turned - mirrored) / 2, turned)
    return np.abs(wrong).max(axis=(1, 2), initial=0.0)


@dataclass(frozen=True)
class EigenvalueDeviation:
    """Result of the comparison with the code's own eigenvalues.

    Attributes
    ----------
    largest : float
        Largest difference below the limit, eV.
    states : int
        Eigenvalues that were compared.
    kpoints, available : int
        k-points that were solved, and k-points of the reference.
    """

    largest: float
    states: int
    kpoints: int
    available: int


def eigenvalue_deviation(
    structure: Structure,
    info: SystemInfo,
    hamiltonian: BlockMatrix,
    overlap: BlockMatrix,
    reference: Eigenvalues,
    above_fermi: float = 5.0,
    kpoints: int | None = None,
) -> EigenvalueDeviation:
    """Compare the eigenvalues of H and S with those that the code printed.

    Parameters
    ----------
    structure, info
        The cell and its orbitals.
    hamiltonian : BlockMatrix
        eV.
    overlap : BlockMatrix
        Without spin.
    reference : Eigenvalues
        As the code printed them, from the lowest band on: all, or as many as it printed.
    above_fermi : float
        Compare up to this energy above the Fermi level, eV: states far above it drift where the
        code wrote single precision.
    kpoints : int, optional
        Solve at this many k-points, evenly spaced in the list; without it at all.

    Returns
    -------
    EigenvalueDeviation
        The largest difference.

    Raises
    ------
    InputError
        If the number of bands differs, the Fermi level is not known, or S(k) is singular.
    """
    from deeph_dock.electrons.bloch import HamiltonianK
    from deeph_dock.electrons.solvers.dense import eigenvalues

    level = info.fermi_level if info.fermi_level is not None else reference.fermi_level
    if level is None:
        raise InputError("the Fermi level is not known: eigenvalues cannot be compared below it")
    problem = HamiltonianK.from_blocks(structure, info, hamiltonian, overlap)
    available = len(reference.kpoints)
    count = available if kpoints is None else min(max(kpoints, 1), available)
    chosen = np.unique(np.linspace(0, available - 1, count).round().astype(np.int64))
    expected = reference.energies[:, chosen]
    bands = expected.shape[2]
    if expected.shape[0] != problem.channels or bands > problem.size:
        raise InputError(
            f"{expected.shape[2]} bands in {expected.shape[0]} spin channels in the reference, "
            f"{problem.size} in {problem.channels} of H: not of one calculation"
        )
    found = eigenvalues(problem, reference.kpoints[chosen])[..., :bands]
    below = expected < level + above_fermi
    difference = np.abs(found - expected)[below]
    return EigenvalueDeviation(
        float(difference.max(initial=0.0)), int(below.sum()), len(chosen), available
    )
