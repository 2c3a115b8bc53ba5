"""Bands, densities of states and eigenstates of a predicted H against DFT's: from files to errors.

Both Hamiltonians are solved with the overlap of the structure on one mesh of k-points, in one
space: combinations of orbitals that are nearly dependent are left out of both, so that a perfect
prediction has no error (see decision 013 for why they are left out at all).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.electrons.bands import choose_mesh
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.occupations import Mesh, fermi_level
from deeph_dock.electrons.solvers import solver
from deeph_dock.electrons.states import eigenstates
from deeph_dock.metrics.spectra import (
    LEAST_BANDS,
    WINDOW_EV,
    band_mae,
    band_shift,
    dos_error,
    energy_window,
    in_window,
    nearest_levels,
    state_error,
)

QUANTITIES = ("bands", "dos", "states")
SPACING = 0.07
"""Spacing of the mesh, 1/Å with 2 pi: the widest of the paper's."""
DOS_WIDTH_EV = 0.05
LEAST_OVERLAP = 1e-3
Task = Callable[[str, int], Callable[[int], None]]
"""Called with the name and length of a piece of work; returns what reports steps of it."""


@dataclass(frozen=True)
class SpectrumSettings:
    """Which errors, and on which states.

    Attributes
    ----------
    quantities : tuple of str
        Of "bands" (Eqs. 12, 16), "dos" (Eq. 13), "states" (Eq. 14, at Gamma).
    window : float
        Width of the window about the Fermi level, eV, widened until it holds `least_bands`.
    least_bands : int
    levels : (occupied, empty) or None
        Instead of a window so many of the highest occupied and of the lowest empty levels.
    mesh : (n1, n2, n3) or None
        Mesh; None makes one of the given spacing.
    spacing : float
        1/Å, reciprocal vectors with 2 pi.
    dos_width : float
        Of the Gaussians of the density of states, eV.
    least_overlap : float
        See `HamiltonianK.least_overlap`.
    jobs : int
        Processes.
    """

    quantities: tuple[str, ...] = QUANTITIES
    window: float = WINDOW_EV
    least_bands: int = LEAST_BANDS
    levels: tuple[int, int] | None = None
    mesh: tuple[int, int, int] | None = None
    spacing: float = SPACING
    dos_width: float = DOS_WIDTH_EV
    least_overlap: float = LEAST_OVERLAP
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, value in (("window", self.window), ("spacing of the mesh", self.spacing),
                            ("width of the density of states", self.dos_width)):  # fmt: skip
            if not 0 < value < np.inf:
                raise InputError(f"{name}: found {value}, expected a number above zero")
        if self.mesh is not None and min(self.mesh) < 1:
            raise InputError(f"mesh: found {self.mesh}, expected three numbers of 1 or more")
        if self.least_bands < 1:
            raise InputError(f"least bands: found {self.least_bands}, expected 1 or more")
        if self.levels is not None and (min(self.levels) < 0 or max(self.levels) == 0):
            raise InputError(
                f"levels: found {self.levels[0]} {self.levels[1]}, expected how many occupied and "
                "how many empty levels"
            )


@dataclass(frozen=True)
class SpectrumError:
    """Errors of the spectrum of one structure; None what was not asked for.

    Errors of states are None as well where no state at Gamma lies in the window.

    Attributes
    ----------
    band_mae : float or None
        Eq. 12, meV.
    dos : float or None
        Eq. 13, without unit.
    states : float or None
        Eq. 14, without unit.
    shift : float
        Eq. 16, meV.
    window : (low, high)
        eV, relative to the Fermi level of the reference.
    levels_per_point : float
        States within the window at one k-point, on average: N'_band.
    fermi : float
        Fermi level of the reference, eV.
    mesh : (n1, n2, n3)
    left_out : int
        Largest number of nearly dependent combinations of orbitals left out at any k-point.
    """

    band_mae: float | None
    dos: float | None
    states: float | None
    shift: float
    window: tuple[float, float]
    levels_per_point: float
    fermi: float
    mesh: tuple[int, int, int]
    left_out: int


def _silent(name: str, length: int) -> Callable[[int], None]:
    return lambda steps: None


def spectrum_error(
    reference: StructureFolder,
    prediction: BlockMatrix,
    truth: BlockMatrix,
    overlap: BlockMatrix | None,
    settings: SpectrumSettings | None = None,
    task: Task = _silent,
) -> SpectrumError:
    """Compare the spectra of a predicted and a true Hamiltonian.

    Parameters
    ----------
    reference : StructureFolder
        Gives structure, orbitals, and electrons or Fermi level.
    prediction, truth : BlockMatrix
        H, eV.
    overlap : BlockMatrix or None
        S; None for an orthogonal basis.
    settings : SpectrumSettings, optional
    task : callable, optional
        For progress bars.

    Raises
    ------
    InputError
        If a matrix does not fit, S is not positive definite, or the Fermi level is not known.
    """
    settings = settings or SpectrumSettings()
    ours, theirs = (
        replace(
            HamiltonianK.from_blocks(reference.structure, reference.info, h, overlap),
            least_overlap=settings.least_overlap,
        )
        for h in (prediction, truth)
    )
    mesh = choose_mesh(
        replace(theirs, time_reversal=ours.time_reversal and theirs.time_reversal),
        reference.structure,
        settings.mesh,
        settings.spacing,
    )
    # Densities of states and the median need the bands as well; states need the window alone.
    advance = task(f"{reference.id}: {mesh} mesh", 2 * len(mesh.kpoints))
    expected, found = (
        solver("dense")(problem, mesh.kpoints, jobs=settings.jobs, progress=advance)
        for problem in (theirs, ours)
    )
    fermi = _fermi(reference, theirs, expected, mesh)
    window, inside = _window(expected, fermi, settings)
    shift = band_shift(found, expected, mesh.weights, inside)
    wanted = settings.quantities
    return SpectrumError(
        band_mae=1e3 * band_mae(found, expected, mesh.weights, inside, shift)
        if "bands" in wanted
        else None,
        dos=dos_error(found, expected, mesh.weights, window, shift, settings.dos_width)
        if "dos" in wanted
        else None,
        states=_states(ours, theirs, fermi, window, settings) if "states" in wanted else None,
        shift=1e3 * shift,
        window=(window[0] - fermi, window[1] - fermi),
        levels_per_point=float(mesh.weights @ inside.sum(axis=(0, 2))),
        fermi=fermi,
        mesh=mesh.divisions,
        left_out=int(np.isinf(expected).sum(axis=2).max()),
    )


def _fermi(
    reference: StructureFolder, problem: HamiltonianK, energies: NDArray[np.float64], mesh: Mesh
) -> float:
    """Return the Fermi level: counted on the mesh, or else taken from info.json, eV."""
    info = reference.info
    if info.occupation is not None:
        electrons, each = info.occupation, problem.electrons_per_band
        return fermi_level(energies, mesh.weights, electrons, each, mesh=mesh.divisions).energy
    if info.fermi_level is not None:
        return info.fermi_level
    raise InputError(
        f"{reference.path / 'info.json'}: occupation: neither it nor fermi_energy_eV is set: the "
        "window of the errors is about the Fermi level; add 'occupation' (electrons of the cell)"
    )


def _window(
    energies: NDArray[np.float64], fermi: float, settings: SpectrumSettings
) -> tuple[tuple[float, float], NDArray[np.bool_]]:
    """Return the window in eV, and the states in it."""
    if settings.levels is None:
        window = energy_window(energies, fermi, settings.window, settings.least_bands)
        return window, in_window(energies, window)
    inside = nearest_levels(energies, fermi, *settings.levels)
    chosen = energies[inside]
    if not len(chosen) or not np.isfinite(chosen).all():
        raise InputError(f"levels: {settings.levels[0]} and {settings.levels[1]} are not there")
    return (float(chosen.min()), float(chosen.max())), inside


def _states(
    ours: HamiltonianK,
    theirs: HamiltonianK,
    fermi: float,
    window: tuple[float, float],
    settings: SpectrumSettings,
) -> float | None:
    """Return Eq. 14 at Gamma; None without a state in the window."""
    gamma = np.zeros(3)
    found, expected = eigenstates(ours, gamma), eigenstates(theirs, gamma)
    inside = in_window(expected.energies, window)
    if settings.levels is not None:
        inside = nearest_levels(expected.energies[:, None], fermi, *settings.levels)[:, 0]
    if not inside.any():
        return None
    return state_error(
        found.coefficients, expected.coefficients, expected.overlap, expected.energies, inside
    )
