"""One SIESTA run: which files belong to it, and what they say together.

Units. SIESTA up to 4.1 works with 1 Ry = 13.60580 eV and 1 Bohr = 0.529177 Å, SIESTA 5 with those
of CODATA 2018; with the wrong ones eigenvalues move by 8e-6 of themselves. The Fermi level, which
HSX of version 1 and 2 holds in Ry and .EIG in eV, decides; then the version in the output; then
the version of the HSX file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo

from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.siesta.assembly import Pattern, find_blocks, make_pattern
from deeph_dock.codes.siesta.eigenvalues import (
    exact_kpoints,
    read_energies,
    read_fermi_level,
    read_kpoints,
)
from deeph_dock.codes.siesta.fdf import Fdf, kmesh, read_fdf
from deeph_dock.codes.siesta.hsx import Hsx, read_hsx
from deeph_dock.codes.siesta.output import Output, find_output, read_output
from deeph_dock.codes.siesta.sites import Sites, find_sites


class Units(NamedTuple):
    """Constants of a program: 1 Ry in eV and 1 Bohr in Å."""

    rydberg: float
    bohr: float


SIESTA_4 = Units(13.60580, 0.529177)
SIESTA_5 = Units(13.605693122994, 0.529177210903)


@dataclass(frozen=True)
class Files:
    """Files of one run; None for those that are not there."""

    hsx: Path | None
    xv: Path | None
    struct_out: Path | None
    eig: Path | None
    kp: Path | None
    fdf: Path | None
    output: Path | None

    def all(self) -> tuple[Path, ...]:
        """Give those that exist."""
        found = (getattr(self, field.name) for field in fields(self))
        return tuple(path for path in found if path is not None)


def find_files(folder: Path, label: str) -> Files:
    """Find the files of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its SystemLabel.

    Returns
    -------
    Files
        Output and input are found by what they hold, the others by the label.
    """

    def named(suffix: str) -> Path | None:
        path = folder / f"{label}{suffix}"
        return path if path.is_file() else None

    inputs = sorted(p for p in folder.glob("*.fdf") if p.is_file() and read_fdf(p).label == label)
    return Files(
        hsx=named(".HSX"),
        xv=named(".XV"),
        struct_out=named(".STRUCT_OUT"),
        eig=named(".EIG"),
        kp=named(".KP"),
        fdf=inputs[0] if inputs else None,
        output=find_output(folder, label),
    )


def read_run(folder: Path, label: str) -> Calculation:
    """Read one run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its SystemLabel.

    Returns
    -------
    Calculation
        With "overlap", and "hamiltonian" if the run is self-consistent.

    Raises
    ------
    InputError
        If the run is incomplete, damaged, or of a kind that cannot be converted.
    """
    files = find_files(folder, label)
    if files.hsx is None:
        raise InputError(
            f"{folder}: the SIESTA run '{label}' has no HSX file; run it again with 'SaveHS true'"
        )
    hsx = read_hsx(files.hsx)
    if hsx.spins != 1:
        kind = {2: "collinear spin", 4: "non-collinear spin", 8: "spin-orbit coupling"}[hsx.spins]
        raise InputError(
            f"{files.hsx}: {hsx.spins} spin components ({kind}); only runs without spin can be "
            "converted so far"
        )
    fdf = read_fdf(files.fdf) if files.fdf else None
    output = read_output(files.output) if files.output else None
    printed_level = read_fermi_level(files.eig) if files.eig else None
    units = choose_units(hsx, printed_level, output)
    columns = hsx.columns()
    blocks = find_blocks(hsx, columns)
    sites = find_sites(hsx, blocks, files, units.bohr, fdf, output)
    converged, why = _convergence(fdf, output)
    structure = Structure(
        sites.cell * units.bohr, sites.positions * units.bohr, sites.numbers[hsx.species_of_atom]
    )
    level = None
    if converged is not False:
        level = printed_level if hsx.fermi_level is None else hsx.fermi_level * units.rydberg
    info = SystemInfo.for_structure(
        structure,
        sites.orbital_map(hsx),
        fermi_level=level,
        occupation=round(hsx.electrons, 9),
        provenance=_provenance(hsx, label, units, fdf, output, converged),
    )

    @cache
    def pattern() -> Pattern:
        return make_pattern(hsx, columns, blocks, sites.cells)

    def overlap() -> BlockMatrix:
        return pattern().fill(hsx.overlap(), 1.0)

    def hamiltonian() -> BlockMatrix:
        return pattern().fill(hsx.hamiltonian(), units.rydberg)

    def eigenvalues() -> Eigenvalues:
        return _eigenvalues(files, hsx, sites, fdf, output)

    matrices: dict[str, Callable[[], BlockMatrix]] = {"overlap": overlap}
    if converged is not False:
        matrices["hamiltonian"] = hamiltonian
    printed = files.eig is not None and converged is not False
    return Calculation(
        structure,
        info,
        matrices,
        eigenvalues=eigenvalues if printed else None,
        warnings=(*why, *sites.warnings, *_further_warnings(files, hsx, output, level, converged)),
    )


def choose_units(hsx: Hsx, printed_level: float | None, output: Output | None) -> Units:
    """Find the constants that the program worked with.

    Parameters
    ----------
    hsx : Hsx
        Its version, and its Fermi level in Ry where it has one.
    printed_level : float or None
        The Fermi level of .EIG, eV.
    output : Output or None
        Where the version of the program is printed.

    Returns
    -------
    Units
        Those of SIESTA 4 or of SIESTA 5.
    """
    if printed_level and hsx.fermi_level:
        ratio = printed_level / hsx.fermi_level
        for units in (SIESTA_4, SIESTA_5):
            if abs(ratio / units.rydberg - 1) < 1e-6:
                return units
    if output is not None and output.major is not None:
        return SIESTA_5 if output.major >= 5 else SIESTA_4
    return SIESTA_4 if hsx.version == 0 else SIESTA_5


def _convergence(fdf: Fdf | None, output: Output | None) -> tuple[bool | None, tuple[str, ...]]:
    """Tell whether the run is self-consistent, and what to say about it."""
    if fdf is not None and fdf.flag("HSetupOnly"):
        return False, ("set-up only (HSetupOnly): the overlap alone is converted",)
    if output is None:
        return None, ("no output of SIESTA found: whether the run converged is not known",)
    if output.converged is False:
        return False, (
            f"{output.path.name} does not say that it converged: the overlap alone is converted",
        )
    return output.converged, ()


def _further_warnings(
    files: Files, hsx: Hsx, output: Output | None, level: float | None, converged: bool | None
) -> list[str]:
    """Collect what else the user should know."""
    warnings = []
    if output is not None and output.steps > 1:
        warnings.append(
            f"{output.steps} self-consistency cycles: the matrices are those of the last"
        )
    if level is None and converged is not False:
        warnings.append(f"no {hsx.path.stem}.EIG: the Fermi level is not known")
    if files.eig is None and level is not None:
        warnings.append(f"no {hsx.path.stem}.EIG: the eigenvalues cannot be compared")
    return warnings


def _mesh(hsx: Hsx, fdf: Fdf | None, output: Output | None) -> tuple[Any, Any]:
    """Give supercell and displacement of the k-mesh from the best source there is."""
    if hsx.kcell is not None:
        return hsx.kcell, hsx.kshift
    if output is not None and output.kcell is not None:
        return output.kcell, output.kshift
    return (kmesh(fdf) if fdf is not None else None) or (None, None)


def _provenance(
    hsx: Hsx,
    label: str,
    units: Units,
    fdf: Fdf | None,
    output: Output | None,
    converged: bool | None,
) -> dict[str, Any]:
    """Describe where the data come from; what is not known is left out."""
    kcell, kshift = _mesh(hsx, fdf, output)
    diagonal = kcell is not None and not (kcell - np.diag(np.diag(kcell))).any()
    functional = output.functional if output is not None else None
    if functional is None and fdf is not None:
        functional = " ".join(filter(None, (fdf.text("XC.functional"), fdf.text("XC.authors"))))
    found = {
        "code": "SIESTA",
        "code_version": output.version if output is not None else None,
        "label": label,
        "hsx_version": hsx.version,
        "energy_unit": units.rydberg,
        "length_unit": units.bohr,
        "source_dtype": str(hsx.dtype),
        "functional": functional or None,
        "kmesh": np.diag(kcell).tolist() if diagonal else None,
        "kcell": None if diagonal or kcell is None else kcell.tolist(),
        "kshift": None if kshift is None else kshift.tolist(),
        "electronic_temperature_eV": hsx.temperature * units.rydberg,
        "smearing": output.smearing if output is not None else None,
        "scf_converged": converged,
    }
    return {key: value for key, value in found.items() if value is not None}


def _eigenvalues(
    files: Files, hsx: Hsx, sites: Sites, fdf: Fdf | None, output: Output | None
) -> Eigenvalues:
    """Read .EIG and .KP."""
    assert files.eig is not None
    energies = read_energies(files.eig)
    if energies.shape[2] != hsx.orbitals or energies.shape[0] != 1:
        raise InputError(
            f"{files.eig}: {energies.shape[2]} bands for {hsx.orbitals} orbitals of the HSX file: "
            "not of the same run"
        )
    kcell, kshift = _mesh(hsx, fdf, output)
    if files.kp is not None:
        kpoints = exact_kpoints(read_kpoints(files.kp), sites.cell, kcell, kshift)
    elif energies.shape[1] == 1:
        kpoints = np.zeros((1, 3))
    else:
        raise InputError(f"{files.eig}: {energies.shape[1]} k-points, but no .KP file beside it")
    if len(kpoints) != energies.shape[1]:
        raise InputError(
            f"{files.eig}: {energies.shape[1]} k-points, but {len(kpoints)} in {files.kp}"
        )
    diagonal = kcell is not None and not (kcell - np.diag(np.diag(kcell))).any()
    mesh = tuple(np.diag(kcell).tolist()) if diagonal else None
    return Eigenvalues(kpoints, energies, read_fermi_level(files.eig), mesh)
