"""One run of FHI-aims: what its files say together.

Energies are in Hartree of 27.2113845 eV, with which FHI-aims itself prints eigenvalues; lengths are
in Å. Every electron counts: the basis includes the cores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.fhi_aims.assembly import (
    HARTREE,
    ClusterMatrices,
    Matrices,
    PeriodicMatrices,
)
from deeph_dock.codes.fhi_aims.basis import Basis, Shell, read_basis
from deeph_dock.codes.fhi_aims.control import Control, fortran_number, read_control
from deeph_dock.codes.fhi_aims.files import (
    Files,
    MatrixFiles,
    cluster_files,
    find_files,
    periodic_files,
)
from deeph_dock.codes.fhi_aims.log import Log, read_levels, read_log
from deeph_dock.codes.fhi_aims.sites import Sites, element_shells, find_sites

_ROUNDING = 2e-6
"""Largest difference between a k-point printed with six decimals and that of the mesh."""


def read_run(folder: Path) -> Calculation:
    """Read one run.

    Parameters
    ----------
    folder : Path
        Its folder.

    Returns
    -------
    Calculation
        With "overlap", and "hamiltonian" if it is there.

    Raises
    ------
    InputError
        If the run is incomplete, damaged, or of a kind that cannot be converted.
    """
    files = find_files(folder)
    control = read_control(files.control) if files.control is not None else None
    log = read_log(files.log) if files.log is not None and files.log.stat().st_size else None
    sites = find_sites(files, control, log)
    chosen, matrices, basis = _matrices(files, control, sites)
    shells = element_shells(sites, basis, control)
    unconverged = _unconverged(log)
    electrons = _electrons(sites, control, log)
    _check_electrons(electrons, basis, files)
    info = SystemInfo.for_structure(
        sites.structure(),
        {symbol: tuple(shell.l for shell in listed) for symbol, listed in shells.items()},
        spin=chosen.spin,
        fermi_level=log.fermi_level if log is not None and not unconverged else None,
        occupation=electrons,
        provenance=_provenance(control, log, shells),
    )
    thunks: dict[str, Callable[[], BlockMatrix]] = {"overlap": matrices.overlap}
    if chosen.hamiltonian:
        thunks["hamiltonian"] = matrices.hamiltonian

    def eigenvalues() -> Eigenvalues:
        assert log is not None
        return _eigenvalues(log, control, info, len(basis.layout.atoms))

    printed = log is not None and bool(log.levels) and not unconverged
    return Calculation(
        sites.structure(),
        info,
        thunks,
        eigenvalues=eigenvalues if printed and chosen.hamiltonian else None,
        warnings=(*sites.warnings, *_warnings(chosen, sites, control, log, electrons)),
        unconverged=unconverged,
    )


def _matrices(
    files: Files, control: Control | None, sites: Sites
) -> tuple[MatrixFiles, Matrices, Basis]:
    """Find the matrices of a crystal or molecule, and its basis."""
    atoms = len(sites.numbers)
    periodic = [name for name in files.matrices if name.startswith("rs_")]
    cluster = [name for name in files.matrices if not name.startswith("rs_")]
    crystal = sites.geometry.lattice is not None
    if files.indices is None and not files.matrices:
        keyword = "output_rs_matrices plain" if crystal else "output h_s_matrices"
        raise InputError(
            f"{files.folder}: FHI-aims wrote no matrices here; put '{keyword}' into control.in and "
            "run again"
        )
    if crystal and files.indices is None and not periodic:
        raise InputError(
            f"{files.folder / cluster[0]}: of a crystal this file holds one k-point only; put "
            "'output_rs_matrices plain' into control.in and run again"
        )
    if not crystal and not cluster:
        raise InputError(
            f"{sites.geometry.path}: no lattice_vector, but the folder holds matrices of a "
            "crystal; copy the files of one run"
        )
    if files.basis is None:
        raise InputError(
            f"{files.folder / 'basis-indices.out'}: missing: which function is which cannot be "
            "known; FHI-aims writes it together with the matrices, copy it"
        )
    basis = read_basis(files.basis, atoms)
    if not crystal:
        chosen = cluster_files(files, control)
        return chosen, ClusterMatrices(chosen, basis), basis
    chosen = periodic_files(files, control)
    assert files.indices is not None
    moved = sites.geometry.translations()
    return chosen, PeriodicMatrices(files.indices, chosen, basis, moved), basis


def _unconverged(log: Log | None) -> str:
    """Say why H is not self-consistent, as far as the output tells."""
    if log is None or log.converged:
        return ""
    if not log.iterations:
        return f"{log.path.name} tells of no self-consistency iteration"
    return f"{log.path.name} does not say that the self-consistency cycle converged"


def _electrons(sites: Sites, control: Control | None, log: Log | None) -> float | None:
    """Count the electrons: all of the neutral atoms, less the charge of the system."""
    given = control.numbers("charge", 1) if control is not None else None
    printed = log.electrons if log is not None else None
    if control is None:
        return printed
    counted = float(sites.numbers.sum()) - (given[0] if given is not None else 0.0)
    if printed is not None and abs(printed - counted) > 1e-3:
        assert log is not None
        raise InputError(
            f"{log.path}: {printed:g} electrons, but {counted:g} of the nuclei in geometry.in and "
            "the charge in control.in: not of the same run"
        )
    return counted


def _check_electrons(electrons: float | None, basis: Basis, files: Files) -> None:
    """Refuse a number of electrons that the functions cannot hold."""
    if electrons is not None and not 0 < electrons <= 2 * basis.size:
        raise InputError(
            f"{files.control or files.log}: {electrons:g} electrons in {basis.size} functions of "
            f"{basis.path.name}: damaged or not of the same run"
        )


def _warnings(
    chosen: MatrixFiles,
    sites: Sites,
    control: Control | None,
    log: Log | None,
    electrons: float | None,
) -> list[str]:
    """Collect what the user should know."""
    warnings = []
    if log is None:
        warnings.append(
            "no output of FHI-aims found: whether the run converged and its Fermi level are not "
            "known"
        )
    elif log.converged and log.fermi_level is None:
        warnings.append(
            f"{log.path.name} holds no chemical potential: the Fermi level is not known"
        )
    if electrons is None:
        warnings.append("no control.in: the number of electrons is not known")
    if not chosen.hamiltonian:
        warnings.append("no Hamiltonian beside the overlap: the overlap alone is converted")
    if control is not None and control.flag("include_spin_orbit"):
        warnings.append(
            "include_spin_orbit is a second-variational correction of eigenvalues: the Hamiltonian "
            "that FHI-aims writes has no spin-orbit coupling"
        )
    if control is not None and control.hybrid is not None:
        warnings.append(
            f"xc {control.hybrid} has exact exchange, which FHI-aims may add after the matrix that "
            "it writes: compare the eigenvalues before you use this Hamiltonian"
        )
    for keyword in sites.geometry.external:
        warnings.append(
            f"geometry.in has '{keyword}': the Hamiltonian holds an external potential that the "
            "structure does not tell of"
        )
    return warnings


def _mesh(control: Control | None) -> tuple[tuple[int, int, int] | None, tuple[float, ...]]:
    """Give divisions and shift of the k-mesh."""
    grid = control.numbers("k_grid", 3) if control is not None else None
    if control is None or grid is None or not all(1 <= n <= 10**4 and n == int(n) for n in grid):
        return None, (0.0, 0.0, 0.0)
    offset = control.numbers("k_offset", 3) or (0.0, 0.0, 0.0)
    return (int(grid[0]), int(grid[1]), int(grid[2])), offset


def _provenance(
    control: Control | None, log: Log | None, shells: Mapping[str, tuple[Shell, ...]]
) -> dict[str, Any]:
    """Describe where the data come from; what is not known is left out."""
    mesh, offset = _mesh(control)
    occupation = control.keywords.get("occupation_type", ()) if control is not None else ()
    width = fortran_number(occupation[1]) if len(occupation) > 1 else np.nan
    functional = control.value("xc") if control is not None else ""
    fermi = bool(occupation) and occupation[0].lower() == "fermi"
    found = {
        "code": "FHI-aims",
        "code_version": log.version if log is not None else None,
        "energy_unit": HARTREE,
        "length_unit": 1.0,
        "source_dtype": "float64",
        "functional": functional or (log.functional if log is not None else None) or None,
        "relativistic": (control.value("relativistic") if control is not None else "") or None,
        "kmesh": list(mesh) if mesh is not None else None,
        "kshift": list(offset) if mesh is not None else None,
        "electronic_temperature_eV": width if fermi and np.isfinite(width) else None,
        "smearing": " ".join(occupation).lower() or None,
        "scf_converged": log.converged if log is not None else None,
        "basis": {
            symbol: ", ".join(str(shell) for shell in listed) for symbol, listed in shells.items()
        },
    }
    return {key: value for key, value in found.items() if value is not None}


def _eigenvalues(log: Log, control: Control | None, info: SystemInfo, orbitals: int) -> Eigenvalues:
    """Read the printed eigenvalues, at k-points as exact as the mesh."""
    kpoints, energies = read_levels(log)
    channels = 2 if info.spin == "collinear" else 1
    if energies.shape[0] != channels or energies.shape[2] > orbitals:
        raise InputError(
            f"{log.path}: {energies.shape[2]} eigenvalues in {energies.shape[0]} spin channels, "
            f"{orbitals} functions in {channels} of the matrices: not of one run"
        )
    mesh, offset = _mesh(control)
    if mesh is None:
        return Eigenvalues(kpoints, energies, log.fermi_level)
    whole = len(kpoints) == int(np.prod(mesh))
    exact = _exact_kpoints(kpoints, np.array(mesh), np.array(offset))
    return Eigenvalues(exact, energies, log.fermi_level, mesh if whole else None)


def _exact_kpoints(
    kpoints: NDArray[np.float64], mesh: NDArray[np.int64], offset: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Move printed k-points to those of the mesh, k = n / N + offset, where they are close."""
    nearest = np.rint((kpoints - offset) * mesh) / mesh + offset
    close = np.abs(nearest - kpoints).max(axis=1) < _ROUNDING
    return np.where(close[:, None], nearest, kpoints)
