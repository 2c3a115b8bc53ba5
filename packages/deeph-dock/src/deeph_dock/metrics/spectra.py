"""How far a predicted spectrum is from its reference: Eqs. 12, 13, 14 and 16 of the paper.

In: energies (channels, K, N) in eV on k-points with weights, states at one k-point; bands are
matched by index. Out: numbers. All errors are taken over the states that a *window* of the
reference's energies holds, and with the zero of energy removed (Eq. 16).
"""

from __future__ import annotations

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]
Mask = NDArray[np.bool_]

WINDOW_EV = 6.0
"""Width of the window about the Fermi level before it is widened."""
LEAST_BANDS = 10
"""Bands that the window holds at least."""
DEGENERATE_EV = 5e-3
"""States nearer than this count as one subspace."""
_POINTS_PER_WIDTH = 10
_REACH = 6.0
"""Widths beyond which a Gaussian is zero."""


def energy_window(
    energies: FloatArray, fermi: float, width: float = WINDOW_EV, least_bands: int = LEAST_BANDS
) -> tuple[float, float]:
    """Return the window about the Fermi level, widened evenly until it holds enough bands.

    Parameters
    ----------
    energies : (channels, K, N)
        Of the reference, eV.
    fermi : float
        Its Fermi level, eV.
    width : float
        In all, eV.
    least_bands : int
        A band counts when any of its states lies within; of fewer bands all are taken.

    Returns
    -------
    (low, high)
        eV, both ends included.
    """
    distance = np.sort(np.abs(energies - fermi).min(axis=1), axis=None)  # one number per band
    distance = distance[np.isfinite(distance)]  # without those left out as nearly dependent
    half = max(width / 2, float(distance[min(least_bands, len(distance)) - 1]))
    return fermi - half, fermi + half


def in_window(energies: FloatArray, window: tuple[float, float]) -> Mask:
    """Return which states lie in a window, ends included."""
    # An end may be the energy of a state, up to rounding.
    return np.asarray((energies >= window[0] - 1e-9) & (energies <= window[1] + 1e-9))


def nearest_levels(energies: FloatArray, fermi: float, occupied: int, empty: int) -> Mask:
    """Return the highest occupied and the lowest empty states at every k-point, for molecules.

    Parameters
    ----------
    energies : (channels, K, N)
        eV, ascending in the last axis.
    fermi : float
        eV.
    occupied, empty : int
        How many of them in each channel; fewer where there are not as many.
    """
    filled = (energies < fermi).sum(axis=2, keepdims=True)
    place = np.arange(energies.shape[2])
    return np.asarray((place >= filled - occupied) & (place < filled + empty))


def band_shift(
    prediction: FloatArray, reference: FloatArray, weights: FloatArray, inside: Mask
) -> float:
    """Return the median of E_pred - E_ref over the window (Eq. 16), eV.

    Parameters
    ----------
    prediction, reference : (channels, K, N)
        eV.
    weights : (K,)
        Of the k-points: a point that stands for k and -k counts twice.
    inside : (channels, K, N) bool
        The window.
    """
    differences = prediction[inside] - reference[inside]
    _refuse_empty(differences)
    order = np.argsort(differences, kind="stable")
    counts = np.broadcast_to(weights[:, None], inside.shape)[inside][order]
    reached = np.cumsum(counts)
    half = reached[-1] / 2
    # Where half of the weight ends between two differences, the median is their mean.
    low = int(np.searchsorted(reached, half * (1 - 1e-12)))
    high = min(int(np.searchsorted(reached, half * (1 + 1e-12), side="right")), len(order) - 1)
    return float((differences[order[low]] + differences[order[high]]) / 2)


def band_mae(
    prediction: FloatArray,
    reference: FloatArray,
    weights: FloatArray,
    inside: Mask,
    shift: float,
) -> float:
    """Return the mean of |E_pred - E_ref - shift| over the window (Eq. 12), eV.

    Parameters
    ----------
    prediction, reference, weights, inside
        As in `band_shift`.
    shift : float
        Eq. 16, eV.
    """
    differences = np.abs(prediction[inside] - reference[inside] - shift)
    _refuse_empty(differences)
    counts = np.broadcast_to(weights[:, None], inside.shape)[inside]
    return float(counts @ differences / counts.sum())


def density_of_states(
    energies: FloatArray, weights: FloatArray, grid: FloatArray, width: float
) -> FloatArray:
    """Return the density of states of the cell, one electron per state, in 1/eV.

    Parameters
    ----------
    energies : (channels, K, N)
        eV.
    weights : (K,)
        Sum 1.
    grid : (G,)
        Ascending, eV.
    width : float
        Of the Gaussian exp(-x^2) / (sqrt(pi) width), x = (e - E) / width, eV.
    """
    out = np.zeros(len(grid))
    near = (energies > grid[0] - _REACH * width) & (energies < grid[-1] + _REACH * width)
    counts = np.broadcast_to(weights[:, None], energies.shape)[near]
    centres = energies[near]
    for start in range(0, len(centres), 1024):
        part = slice(start, start + 1024)
        x = (grid[:, None] - centres[part]) / width
        out += np.exp(-(x**2)) @ counts[part]
    return out / (np.sqrt(np.pi) * width)


def dos_error(
    prediction: FloatArray,
    reference: FloatArray,
    weights: FloatArray,
    window: tuple[float, float],
    shift: float,
    width: float,
) -> float:
    """Return int |D_pred(e + shift) - D_ref(e)| de / int D_ref(e) de over the window (Eq. 13).

    Parameters
    ----------
    prediction, reference : (channels, K, N)
        eV.
    weights : (K,)
        Sum 1.
    window : (low, high)
        eV.
    shift : float
        Eq. 16, eV.
    width : float
        Of the Gaussians, see `density_of_states`, eV.
    """
    if not width > 0:
        raise InputError(f"width of the density of states: found {width}, expected above zero (eV)")
    low, high = window
    points = int(np.ceil((high - low) / width * _POINTS_PER_WIDTH)) + 2
    grid = np.linspace(low, high, points)
    expected = density_of_states(reference, weights, grid, width)
    found = density_of_states(prediction, weights, grid + shift, width)
    whole = float(np.trapezoid(expected, grid))
    if whole == 0.0:
        raise InputError(f"the window {low:.3f}..{high:.3f} eV holds no states")
    return float(np.trapezoid(np.abs(found - expected), grid)) / whole


def state_error(
    prediction: ComplexArray,
    reference: ComplexArray,
    overlap: ComplexArray,
    energies: FloatArray,
    inside: Mask,
    degenerate: float = DEGENERATE_EV,
) -> float:
    """Return the RMS distance of states from their degenerate subspaces (Eq. 14).

    sqrt(mean over n of (1 - sum_g |<psi_g,ref | psi_n,pred>|^2)), with n over the window and g over
    the states of the reference whose energies differ from E_n by at most `degenerate`; inner
    products are c^dagger S c.

    Parameters
    ----------
    prediction, reference : (channels, N, M)
        Coefficients of M states in their columns, normalised with S, ascending in energy.
    overlap : (N, N)
        S(k).
    energies : (channels, M)
        Of the reference, eV.
    inside : (channels, M) bool
        The window.
    degenerate : float
        eV.
    """
    lost = []
    for own, true, levels, chosen in zip(prediction, reference, energies, inside, strict=True):
        weights = np.abs(true.conj().T @ (overlap @ own[:, chosen])) ** 2  # (g, n)
        near = np.abs(levels[:, None] - levels[chosen]) <= degenerate
        lost.append(1 - np.sum(weights * near, axis=0))
    values = np.concatenate(lost)
    _refuse_empty(values)
    return float(np.sqrt(max(values.mean(), 0.0)))


def _refuse_empty(values: FloatArray) -> None:
    if not len(values):
        raise InputError("the window holds no states of the reference")
