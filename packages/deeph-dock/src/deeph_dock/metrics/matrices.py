"""How far a predicted matrix is from its reference: Eqs. 11 and 15 of the DeepH-pack paper.

Matrices may differ in the order and in the set of their pairs. What counts are the stored pairs of
the reference: a pair that the prediction lacks is a prediction of zero there, and is counted and
named; pairs that the prediction has beyond them are counted too, but enter no number.

The zero of energy is a gauge: H and H + mu S are the same physics. So errors come twice, as the
matrices stand, and with Eq. 15's mu S removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
_NAMED = 10
"""How many missing pairs are kept by name."""


@dataclass(frozen=True)
class MeanErrors:
    """Mean absolute errors over on-site blocks (0, i, i), all others, and all."""

    all: float
    on_site: float
    off_site: float


@dataclass(frozen=True)
class MatrixError:
    """Errors of a predicted matrix.

    Attributes
    ----------
    mae : MeanErrors
        Mean |dH| over all elements of all stored pairs of the reference.
    mae_gauge_free : MeanErrors or None
        The same after removing mu S (Eq. 11 with Eq. 15); None without S.
    mu : float or None
        Eq. 15, in the unit of the matrix (eV for H); None without S.
    rmse, max : float
        Root of the mean square and largest |dH|, as the matrices stand.
    elements, elements_on_site : int
        Number of (complex) elements counted.
    missing : int
        Pairs of the reference that the prediction lacks.
    missing_pairs : tuple of (R1, R2, R3, i, j)
        The first few of them.
    additional : int
        Pairs of the prediction beyond those of the reference; not counted in any error.
    """

    mae: MeanErrors
    mae_gauge_free: MeanErrors | None
    mu: float | None
    rmse: float
    max: float
    elements: int
    elements_on_site: int
    missing: int
    missing_pairs: tuple[tuple[int, ...], ...]
    additional: int


def hamiltonian_error(
    prediction: BlockMatrix, reference: BlockMatrix, overlap: BlockMatrix | None = None
) -> MatrixError:
    """Compare a predicted Hamiltonian with its reference (Eqs. 11 and 15).

    Parameters
    ----------
    prediction, reference : BlockMatrix
        eV; any order and set of pairs, of the same structure and spin.
    overlap : BlockMatrix, optional
        S without spin. With it the gauge-free errors are given as well.

    Returns
    -------
    MatrixError
        In meV; mu in eV.

    Raises
    ------
    InputError
        If block sizes differ or there are no common pairs.
    """
    return matrix_error(prediction, reference, overlap, factor=1e3)


def matrix_error(
    prediction: BlockMatrix,
    reference: BlockMatrix,
    overlap: BlockMatrix | None = None,
    *,
    factor: float = 1.0,
) -> MatrixError:
    """Compare a predicted matrix of any kind with its reference, see `hamiltonian_error`.

    Parameters
    ----------
    prediction, reference : BlockMatrix
    overlap : BlockMatrix, optional
        S, where the matrix is defined up to mu S only.
    factor : float
        From the unit of the matrix to that of the errors.
    """
    missing = np.flatnonzero(prediction.rows_of(reference.atom_pairs) < 0)
    difference = deviation(prediction, reference)
    mu = None if overlap is None else gauge_shift(difference, overlap)
    absolute = factor * np.abs(difference.entries)
    on_site = np.repeat(reference.on_site(), np.diff(reference.chunk_boundaries))
    gauge_free = None
    if overlap is not None and mu is not None:
        shifted = difference.entries - mu * spinor_overlap(overlap, reference)
        gauge_free = _means(factor * np.abs(shifted), on_site)
    return MatrixError(
        mae=_means(absolute, on_site),
        mae_gauge_free=gauge_free,
        mu=mu,
        rmse=float(np.sqrt(np.mean(absolute**2))),
        max=float(absolute.max()),
        elements=len(absolute),
        elements_on_site=int(on_site.sum()),
        missing=len(missing),
        missing_pairs=tuple(
            tuple(pair) for pair in reference.atom_pairs[missing[:_NAMED]].tolist()
        ),
        additional=len(prediction) - (len(reference) - len(missing)),
    )


def deviation(prediction: BlockMatrix, reference: BlockMatrix) -> BlockMatrix:
    """Return prediction - reference on the pairs of the reference, in double precision.

    Raises
    ------
    InputError
        If block sizes differ or there are no common pairs.
    """
    if np.all(prediction.rows_of(reference.atom_pairs) < 0):
        raise InputError(
            "prediction and reference have no common atom pair: are they of one structure?"
        )
    predicted = prediction.on_pairs(reference.atom_pairs, reference.chunk_shapes)
    # float64: sums over 10^7 single-precision errors would lose digits.
    wide = np.complex128 if predicted.dtype.kind == "c" or reference.dtype.kind == "c" else float
    return reference.with_entries(np.subtract(predicted.entries, reference.entries, dtype=wide))


def gauge_shift(difference: BlockMatrix, overlap: BlockMatrix) -> float:
    """Return mu = sum dH S / sum S^2 over all stored pairs (Eq. 15), eV.

    With spin S stands twice on the diagonal: mu = Re sum (dH_uu + dH_dd) S / (2 sum S^2).
    """
    s = spinor_overlap(overlap, difference)
    norm = float(s @ s)
    if norm == 0.0:
        raise InputError("S and H have no common atom pair where S is not zero")
    return float(difference.entries.real @ s) / norm


def overlap_trace(matrix: BlockMatrix, overlap: BlockMatrix) -> float:
    """Return Re sum M S over all stored pairs: of a density matrix the number of electrons."""
    return float(matrix.entries.real @ spinor_overlap(overlap, matrix))


def spinor_overlap(overlap: BlockMatrix, like: BlockMatrix) -> FloatArray:
    """Entries (E,) of S on the pairs and with the spin of another matrix.

    Parameters
    ----------
    overlap : BlockMatrix
        S without spin.
    like : BlockMatrix
        H, with or without spin; pairs that S lacks get zeros.
    """
    spins = _spins(overlap, like)
    s = overlap.on_pairs(like.atom_pairs, like.chunk_shapes // spins)
    if spins == 1:
        return np.asarray(s.entries.real, dtype=np.float64)
    out = BlockMatrix.zeros(like.atom_pairs, like.chunk_shapes, np.float64)

    def groups() -> Iterator[tuple[NDArray[np.int64], FloatArray]]:
        for rows, stack in s.by_shape():
            p, a, b = stack.shape
            doubled = np.zeros((p, 2, a, 2, b))
            doubled[:, 0, :, 0] = doubled[:, 1, :, 1] = stack.real
            yield rows, doubled.reshape(p, 2 * a, 2 * b)

    out = BlockMatrix.from_stacks(like.atom_pairs, like.chunk_shapes, groups())
    return np.asarray(out.entries, dtype=np.float64)


def _spins(overlap: BlockMatrix, like: BlockMatrix) -> int:
    """Tell whether blocks of `like` are once or twice as large as those of S."""
    rows = overlap.rows_of(like.atom_pairs)
    common = np.flatnonzero(rows >= 0)
    if len(common) == 0:
        raise InputError("S and H have no common atom pair: are they of one structure?")
    small, large = overlap.chunk_shapes[rows[common[0]]], like.chunk_shapes[common[0]]
    return 2 if np.array_equal(2 * small, large) else 1


def _means(absolute: FloatArray, on_site: NDArray[np.bool_]) -> MeanErrors:
    def mean(values: FloatArray) -> float:
        return float(values.mean()) if len(values) else float("nan")

    return MeanErrors(mean(absolute), mean(absolute[on_site]), mean(absolute[~on_site]))
