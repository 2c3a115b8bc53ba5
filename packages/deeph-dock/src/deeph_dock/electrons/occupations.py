"""Meshes of k-points, occupations, and the Fermi level from the number of electrons.

In:  energies (channels, K, N) in eV on a mesh with weights, and the electrons of the cell.
Out: `FermiLevel`, and occupations between 0 and 1 of the same shape as the energies.

The level solves g sum_snk w_k f(E_snk) = N_el with g electrons per state (2 without spin, else
1). Where every k-point has the same number of bands below it and the next one lies higher, the
system is an insulator on this mesh, and the level is the middle of the gap, whatever the smearing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from deeph_spec.errors import InputError

from deeph_dock.electrons.lattice_sum import FloatArray

SMEARINGS = ("fermi-dirac", "gaussian")
DEFAULT_WIDTH_EV = 0.025
DEFAULT_SPACING = 0.1
"""Default distance of mesh points in 1/Å, reciprocal vectors with 2 pi."""
GAP_EV = 1e-4
"""A gap below this is no gap."""
_WHOLE = 1e-6  # electrons: how far from a whole number of full bands still counts as whole


@dataclass(frozen=True, eq=False)
class Mesh:
    """Gamma-centred mesh of k-points, with one of each pair k, -k left out on request.

    Attributes
    ----------
    divisions : (n1, n2, n3)
    kpoints : (K, 3) fractional, in [0, 1)
    weights : (K,), sum 1
    """

    divisions: tuple[int, int, int]
    kpoints: FloatArray
    weights: FloatArray

    def __str__(self) -> str:
        """Show the divisions, as in 6x6x1."""
        return "x".join(str(n) for n in self.divisions)


def gamma_mesh(divisions: Sequence[int], time_reversal: bool) -> Mesh:
    """Make a Gamma-centred mesh.

    Parameters
    ----------
    divisions : three int
        Points along each reciprocal vector.
    time_reversal : bool
        Whether E(-k) = E(k): then one of each pair is kept, with twice the weight.

    Raises
    ------
    InputError
        If the divisions are not three positive numbers.
    """
    if len(divisions) != 3 or min(divisions) < 1:
        raise InputError(f"mesh: expected three numbers of 1 or more, found {list(divisions)}")
    n = np.asarray(divisions, dtype=np.int64)
    points = np.stack(np.meshgrid(*(np.arange(m) for m in n), indexing="ij"), axis=-1)
    points = points.reshape(-1, 3)
    weights = np.ones(len(points))
    if time_reversal:
        own = np.ravel_multi_index(tuple(points.T), tuple(n.tolist()))
        partner = np.ravel_multi_index(tuple(((-points) % n).T), tuple(n.tolist()))
        keep = own <= partner
        weights = np.where(own == partner, 1.0, 2.0)[keep]
        points = points[keep]
    n1, n2, n3 = (int(m) for m in n)
    return Mesh((n1, n2, n3), points / n, weights / weights.sum())


def mesh_divisions(
    lattice: FloatArray, periodic: Sequence[bool], spacing: float = DEFAULT_SPACING
) -> tuple[int, int, int]:
    """Choose the divisions of a mesh from the distance of its points.

    Parameters
    ----------
    lattice : (3, 3)
        Rows, Å.
    periodic : three bool
        Directions along which the bands can disperse; one point along the others.
    spacing : float
        Largest distance of neighbouring points along each reciprocal vector, 1/Å with 2 pi.

    Returns
    -------
    (n1, n2, n3)
        n = ceil(|b| / spacing).
    """
    if not spacing > 0:
        raise InputError(f"mesh spacing: expected a positive number in 1/Å, found {spacing}")
    lengths = np.linalg.norm(2 * np.pi * np.linalg.inv(lattice), axis=0)
    n = [
        max(1, int(np.ceil(b / spacing - 1e-9))) if p else 1
        for b, p in zip(lengths.tolist(), periodic, strict=True)
    ]
    return n[0], n[1], n[2]


@dataclass(frozen=True)
class FermiLevel:
    """A Fermi level, and how it was found.

    Attributes
    ----------
    energy : float
        eV, on the energy zero of H. The middle of the gap for an insulator.
    vbm, cbm : float or None
        Highest occupied and lowest empty energy on the mesh, eV; None for a metal.
    electrons : float or None
        Electrons of the cell that were counted; None for a level taken over from elsewhere.
    mesh : (n1, n2, n3) or None
        Mesh on which it was found.
    smearing, width : str, float
        Occupation function and its width in eV; an insulator's level does not depend on them.
    source : str
        "electrons" (counted), "info.json" or "given".
    """

    energy: float
    vbm: float | None = None
    cbm: float | None = None
    electrons: float | None = None
    mesh: tuple[int, int, int] | None = None
    smearing: str = "fermi-dirac"
    width: float = DEFAULT_WIDTH_EV
    source: str = "given"

    @property
    def is_metal(self) -> bool:
        """Whether no gap was found on the mesh."""
        return self.vbm is None


def occupation(
    energies: FloatArray, level: float, smearing: str = "fermi-dirac", width: float = 0.025
) -> FloatArray:
    """Occupation 0..1 of each state.

    Parameters
    ----------
    energies : array, eV
    level : float
        Fermi level, eV.
    smearing : "fermi-dirac" or "gaussian"
        1 / (exp(x) + 1) or erfc(x) / 2 with x = (E - level) / width.
    width : float
        eV; for Fermi-Dirac the temperature k_B T.
    """
    from scipy.special import erfc, expit

    if smearing not in SMEARINGS:
        raise InputError(f"smearing '{smearing}' is unknown: known are {', '.join(SMEARINGS)}")
    if not width > 0:
        raise InputError(f"smearing width: expected a positive number in eV, found {width}")
    x = (np.asarray(energies, dtype=np.float64) - level) / width
    return expit(-x) if smearing == "fermi-dirac" else 0.5 * erfc(x)


def fermi_level(
    energies: FloatArray,
    weights: FloatArray,
    electrons: float,
    electrons_per_band: int,
    *,
    smearing: str = "fermi-dirac",
    width: float = DEFAULT_WIDTH_EV,
    mesh: tuple[int, int, int] | None = None,
) -> FermiLevel:
    """Find the Fermi level that holds all electrons.

    Parameters
    ----------
    energies : (channels, K, N)
        eV.
    weights : (K,)
        Weights of the k-points, sum 1.
    electrons : float
        Electrons of the cell, both spins; any positive number.
    electrons_per_band : int
        2 without spin, 1 for collinear and spin-orbit energies.
    smearing, width
        As in `occupation`.
    mesh
        Kept in the result.

    Raises
    ------
    InputError
        If the electrons do not fit into the bands.
    """
    energies = np.asarray(energies, dtype=np.float64)
    capacity = electrons_per_band * energies.shape[0] * energies.shape[2]
    if not 0 < electrons <= capacity:
        raise InputError(
            f"occupation: {electrons:g} electrons, but the {energies.shape[2]} bands hold 0 to "
            f"{capacity}: correct 'occupation' in info.json"
        )
    states = electrons / electrons_per_band
    vbm, cbm = band_edges(energies, states) or (None, None)
    if vbm is None or cbm is None:
        level = _solve_level(energies, weights, states, smearing, width)
    else:
        level = (vbm + cbm) / 2 if np.isfinite(cbm) else vbm
    return FermiLevel(level, vbm, cbm, electrons, mesh, smearing, width, source="electrons")


def band_edges(energies: FloatArray, states: float) -> tuple[float, float] | None:
    """Return (VBM, CBM) if `states` per cell fill the same whole bands at every k, else None.

    Parameters
    ----------
    energies : (channels, K, N)
        eV, ascending in the last axis.
    states : float
        Filled states per cell, all channels.

    Returns
    -------
    (vbm, cbm) or None
        eV; None also for a gap below `GAP_EV`. The CBM is infinite if all bands are full.
    """
    count = round(states)
    if abs(states - count) > _WHOLE or not 1 <= count <= energies.shape[0] * energies.shape[2]:
        return None
    # In an insulator the filled bands are those with the lowest maxima.
    tops, bottoms = energies.max(axis=1), energies.min(axis=1)  # (channels, N)
    vbm = float(np.sort(tops, axis=None)[count - 1])
    filled = tops <= vbm
    cbm = float(np.min(bottoms, where=~filled, initial=np.inf))
    return (vbm, cbm) if filled.sum() == count and cbm - vbm > GAP_EV else None


def _solve_level(
    energies: FloatArray, weights: FloatArray, states: float, smearing: str, width: float
) -> float:
    """Bisect for the level at which the weighted occupations sum to `states`."""
    flat = energies.transpose(1, 0, 2).reshape(len(weights), -1)

    def filled(level: float) -> float:
        return float(weights @ occupation(flat, level, smearing, width).sum(axis=1))

    finite = flat[np.isfinite(flat)]
    low, high = float(finite.min()), float(finite.max())
    reach = width
    while filled(low) > states:
        low, reach = low - reach, 2 * reach
    reach = width
    while filled(high) < states and reach < 1e6:
        high, reach = high + reach, 2 * reach
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if filled(middle) < states else (low, middle)
    return 0.5 * (low + high)
