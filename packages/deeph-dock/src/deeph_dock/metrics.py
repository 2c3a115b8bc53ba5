"""How far a prediction is from its reference: Eqs. 11, 12, 15 and 16 of the DeepH-pack paper.

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

from deeph_dock.electrons.bands import Bands

FloatArray = NDArray[np.float64]
_NAMED = 10
"""How many missing pairs are kept by name."""


@dataclass(frozen=True)
class MeanErrors:
    """Mean absolute errors in meV over on-site blocks (0, i, i), all others, and all."""

    all: float
    on_site: float
    off_site: float


@dataclass(frozen=True)
class HamiltonianError:
    """Errors of a predicted Hamiltonian.

    Attributes
    ----------
    mae : MeanErrors
        Mean |dH| over all elements of all stored pairs of the reference, meV.
    mae_gauge_free : MeanErrors or None
        The same after removing mu S (Eq. 11 with Eq. 15); None without S.
    mu : float or None
        Eq. 15, eV; None without S.
    rmse, max : float
        Root of the mean square and largest |dH|, as the matrices stand, meV.
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
) -> HamiltonianError:
    """Compare a predicted Hamiltonian with its reference (Eqs. 11 and 15).

    Parameters
    ----------
    prediction, reference : BlockMatrix
        eV; any order and set of pairs, of the same structure and spin.
    overlap : BlockMatrix, optional
        S without spin. With it the gauge-free errors are given as well.

    Raises
    ------
    InputError
        If block sizes differ or there are no common pairs.
    """
    rows = prediction.rows_of(reference.atom_pairs)
    missing = np.flatnonzero(rows < 0)
    if len(missing) == len(rows):
        raise InputError(
            "prediction and reference have no common atom pair: are they of one structure?"
        )
    predicted = prediction.on_pairs(reference.atom_pairs, reference.chunk_shapes)
    # float64: sums over 10^7 single-precision errors would lose digits.
    wide = np.complex128 if predicted.dtype.kind == "c" or reference.dtype.kind == "c" else float
    difference = reference.with_entries(
        np.subtract(predicted.entries, reference.entries, dtype=wide)
    )
    mu = None if overlap is None else gauge_shift(difference, overlap)
    absolute = np.abs(difference.entries)
    on_site = np.repeat(reference.on_site(), np.diff(reference.chunk_boundaries))
    gauge_free = None
    if overlap is not None and mu is not None:
        shifted = difference.entries - mu * spinor_overlap(overlap, reference)
        gauge_free = _means(np.abs(shifted), on_site)
    return HamiltonianError(
        mae=_means(absolute, on_site),
        mae_gauge_free=gauge_free,
        mu=mu,
        rmse=1e3 * float(np.sqrt(np.mean(absolute**2))),
        max=1e3 * float(absolute.max()),
        elements=len(absolute),
        elements_on_site=int(on_site.sum()),
        missing=len(missing),
        missing_pairs=tuple(
            tuple(pair) for pair in reference.atom_pairs[missing[:_NAMED]].tolist()
        ),
        additional=len(prediction) - (len(rows) - len(missing)),
    )


def gauge_shift(difference: BlockMatrix, overlap: BlockMatrix) -> float:
    """Return mu = sum dH S / sum S^2 over all stored pairs (Eq. 15), eV.

    With spin S stands twice on the diagonal: mu = Re sum (dH_uu + dH_dd) S / (2 sum S^2).
    """
    s = spinor_overlap(overlap, difference)
    norm = float(s @ s)
    if norm == 0.0:
        raise InputError("S and H have no common atom pair where S is not zero")
    return float(difference.entries.real @ s) / norm


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
        return 1e3 * float(values.mean()) if len(values) else float("nan")

    return MeanErrors(mean(absolute), mean(absolute[on_site]), mean(absolute[~on_site]))


@dataclass(frozen=True)
class BandError:
    """Errors of predicted bands, matched by index at the same k-points.

    Attributes
    ----------
    mae : float
        Mean |dE| in meV over states of the reference within the window, each set at its own Fermi
        level.
    max : float
        Largest of them, meV.
    mae_median_free : float
        Eq. 12 in meV: the median difference (Eq. 16) removed instead.
    shift : float
        Eq. 16: that median, eV, of the energies as they stand.
    window : (low, high)
        eV, relative to the reference's Fermi level. For `mae_median_free` it is widened until it
        holds `least_bands`.
    states : int
        States counted in `mae`.
    """

    mae: float
    max: float
    mae_median_free: float
    shift: float
    window: tuple[float, float]
    states: int


def band_error(
    prediction: Bands,
    reference: Bands,
    window: tuple[float, float] = (-3.0, 3.0),
    least_bands: int = 10,
) -> BandError:
    """Compare bands on the same path (Eqs. 12 and 16, and simply at each one's Fermi level).

    Parameters
    ----------
    prediction, reference : Bands
        Of equal shape, on the same k-points.
    window : (low, high)
        States counted, by the reference's energies relative to its Fermi level, eV.
    least_bands : int
        For Eq. 12 the window is widened until it holds this many bands.

    Raises
    ------
    InputError
        If the k-points or the number of bands differ.
    """
    ours, theirs = prediction.energies, reference.energies
    if ours.shape != theirs.shape or not np.allclose(
        prediction.path.kpoints, reference.path.kpoints, atol=1e-9
    ):
        raise InputError(
            f"bands cannot be compared: {ours.shape} and {theirs.shape} (spin channels, k-points, "
            "bands), or other k-points: compute both along one path"
        )
    relative = theirs - reference.fermi.energy
    inside = (relative >= window[0]) & (relative <= window[1])
    errors = np.abs(ours[inside] - prediction.fermi.energy - relative[inside])
    wide = _widened(relative, window, least_bands)
    counted = (relative >= wide[0]) & (relative <= wide[1])
    differences = ours[counted] - theirs[counted]
    shift = float(np.median(differences))
    return BandError(
        mae=1e3 * float(errors.mean()) if len(errors) else float("nan"),
        max=1e3 * float(errors.max()) if len(errors) else float("nan"),
        mae_median_free=1e3 * float(np.abs(differences - shift).mean()),
        shift=shift,
        window=window,
        states=len(errors),
    )


def _widened(
    relative: FloatArray, window: tuple[float, float], least_bands: int
) -> tuple[float, float]:
    """Widen a window evenly until states of `least_bands` bands (or all) lie in it."""
    centre, half = (window[0] + window[1]) / 2, (window[1] - window[0]) / 2
    nearest = np.sort(np.abs(relative - centre).min(axis=1), axis=None)  # one number per band
    needed = nearest[min(least_bands, len(nearest)) - 1]
    half = max(half, float(needed))
    return centre - half, centre + half
