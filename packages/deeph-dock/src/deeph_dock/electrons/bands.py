"""Band structures: energies along a path, with the Fermi level of a mesh as the zero of energy.

In:  a `HamiltonianK`, a `KPath`, and a `FermiLevel` (from electrons, from info.json, or given).
Out: `Bands`, a plain result; `exports.results` writes it, `plots.bands` draws it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo

from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.kpath import KPath, periodic_axes
from deeph_dock.electrons.lattice_sum import FloatArray
from deeph_dock.electrons.occupations import (
    DEFAULT_SPACING,
    DEFAULT_WIDTH_EV,
    GAP_EV,
    FermiLevel,
    Mesh,
    fermi_level,
    gamma_mesh,
    mesh_divisions,
    occupation,
)
from deeph_dock.electrons.solvers import solver

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class Bands:
    """Energies along a path.

    Attributes
    ----------
    path : KPath
    energies : (channels, K, N)
        eV, on the energy zero of H, ascending in the last axis; channels up, down for collinear
        spin, else one.
    fermi : FermiLevel
    lattice : (3, 3)
        Rows, Å.
    spin : "none", "collinear" or "soc"
    label : str
        Name in figures and tables.
    matrix : str
        What was diagonalised: "hamiltonian" or "hamiltonian_pred".
    """

    path: KPath
    energies: FloatArray
    fermi: FermiLevel
    lattice: FloatArray
    spin: str = "none"
    label: str = ""
    matrix: str = "hamiltonian"

    @property
    def distances(self) -> FloatArray:
        """Length along the path, (K,), 1/Å without 2 pi."""
        return self.path.distances(self.lattice)

    @property
    def occupations(self) -> FloatArray:
        """Occupation 0..1 of each state, (channels, K, N)."""
        return occupation(self.energies, self.fermi.energy, self.fermi.smearing, self.fermi.width)

    @cached_property
    def _edges(self) -> tuple[float, float] | None:
        """VBM and CBM over mesh and path together, None without a gap."""
        below = self.energies < self.fermi.energy
        counts = below.sum(axis=2)
        counted = self.fermi.source == "electrons"
        if np.any(counts != counts[:, :1]) or (counted and self.fermi.is_metal):
            return None
        vbm = float(np.max(self.energies, where=below, initial=-np.inf))
        cbm = float(np.min(self.energies, where=~below, initial=np.inf))
        if self.fermi.vbm is not None and self.fermi.cbm is not None:
            vbm, cbm = max(vbm, self.fermi.vbm), min(cbm, self.fermi.cbm)
        return (vbm, cbm) if cbm - vbm > GAP_EV else None

    @property
    def is_metal(self) -> bool:
        """Whether bands cross the Fermi level, on the mesh or on the path."""
        return self._edges is None

    @property
    def vbm(self) -> float | None:
        """Highest occupied energy of mesh and path, eV; None for a metal."""
        return None if self._edges is None else self._edges[0]

    @property
    def cbm(self) -> float | None:
        """Lowest empty energy of mesh and path, eV; None for a metal."""
        return None if self._edges is None else self._edges[1]

    @property
    def gap(self) -> float:
        """Gap in eV, 0 for a metal."""
        return 0.0 if self._edges is None else self._edges[1] - self._edges[0]


def choose_mesh(
    problem: HamiltonianK,
    structure: Structure,
    divisions: Sequence[int] | None = None,
    spacing: float = DEFAULT_SPACING,
) -> Mesh:
    """Make the mesh on which electrons are counted.

    Parameters
    ----------
    problem : HamiltonianK
    structure : Structure
    divisions : three int, optional
        Given mesh; without it one of the given spacing along the periodic directions.
    spacing : float
        1/Å, reciprocal vectors with 2 pi.
    """
    if divisions is None:
        periodic = periodic_axes(structure, problem.coupled_axes)
        divisions = mesh_divisions(structure.lattice, periodic, spacing)
    return gamma_mesh(divisions, problem.time_reversal)


def find_fermi_level(
    problem: HamiltonianK,
    info: SystemInfo,
    mesh: Mesh,
    *,
    smearing: str = "fermi-dirac",
    width: float = DEFAULT_WIDTH_EV,
    jobs: int = 1,
    progress: Progress | None = None,
) -> FermiLevel:
    """Find the Fermi level: counted from `occupation`, else taken from info.json.

    Parameters
    ----------
    problem : HamiltonianK
    info : SystemInfo
    mesh : Mesh
        See `choose_mesh`.
    smearing, width
        See `occupations.occupation`.
    jobs, progress
        See `solvers.dense.eigenvalues`.

    Raises
    ------
    InputError
        If info.json has neither.
    """
    if info.occupation is not None:
        energies = solver("dense")(problem, mesh.kpoints, jobs=jobs, progress=progress)
        return fermi_level(
            energies,
            mesh.weights,
            info.occupation,
            problem.electrons_per_band,
            smearing=smearing,
            width=width,
            mesh=mesh.divisions,
        )
    if info.fermi_level is not None:
        return FermiLevel(info.fermi_level, smearing=smearing, width=width, source="info.json")
    raise InputError(
        "info.json: the Fermi level is not known: neither 'occupation' nor 'fermi_energy_eV' is "
        "set; add 'occupation' (electrons of the cell, both spins) or give a level in eV by --fermi"
    )


def compute_bands(
    problem: HamiltonianK,
    structure: Structure,
    path: KPath,
    fermi: FermiLevel,
    *,
    label: str = "",
    matrix: str = "hamiltonian",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Bands:
    """Compute the bands along a path.

    Parameters
    ----------
    problem : HamiltonianK
    structure : Structure
    path : KPath
    fermi : FermiLevel
        Zero of energy of the picture and of band.h5.
    label, matrix : str
        Kept in the result.
    jobs, progress
        See `solvers.dense.eigenvalues`.

    Returns
    -------
    Bands
    """
    kpoints = path.kpoints
    fresh = path.fresh
    energies = solver("dense")(problem, kpoints[fresh], jobs=jobs, progress=progress)
    return Bands(
        path=path,
        energies=energies[:, np.cumsum(fresh) - 1],
        fermi=fermi,
        lattice=np.asarray(structure.lattice, dtype=np.float64),
        spin=problem.spin,
        label=label,
        matrix=matrix,
    )
