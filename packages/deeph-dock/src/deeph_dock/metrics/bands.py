"""How far predicted bands are from their reference along a path, as `dock band` reports it.

Eqs. 12 and 16 of the DeepH-pack paper, and simply each at its own Fermi level. `spectra` has the
paper's errors over a mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from deeph_spec.errors import InputError

from deeph_dock.electrons.bands import Bands
from deeph_dock.metrics.spectra import energy_window, in_window


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
    centre, width = (window[0] + window[1]) / 2, window[1] - window[0]
    counted = in_window(relative, energy_window(relative, centre, width, least_bands))
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
