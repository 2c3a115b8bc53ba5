"""One SIESTA run: which files belong to it, and what they say together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo

from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.siesta import spins
from deeph_dock.codes.siesta.assembly import complete_pattern, elements_of
from deeph_dock.codes.siesta.density import check_electrons, density_pattern, read_density
from deeph_dock.codes.siesta.eigenvalues import (
    exact_kpoints,
    read_energies,
    read_fermi_level,
    read_kpoints,
)
from deeph_dock.codes.siesta.fdf import Fdf, read_fdf
from deeph_dock.codes.siesta.hsx import Hsx, read_hsx
from deeph_dock.codes.siesta.output import Output, find_output, read_output
from deeph_dock.codes.siesta.provenance import divisions, ingredients, mesh_of, provenance
from deeph_dock.codes.siesta.sites import Sites, find_sites
from deeph_dock.codes.siesta.units import choose_units
from deeph_dock.orbital_elements import Pattern, find_blocks


@dataclass(frozen=True)
class Files:
    """Files of one run; None for those that are not there. The input has been read already."""

    hsx: Path | None
    dm: Path | None
    xv: Path | None
    struct_out: Path | None
    eig: Path | None
    kp: Path | None
    orb_indx: Path | None
    fdf: Fdf | None
    output: Path | None

    def all(self) -> tuple[Path, ...]:
        """Give those that exist."""
        named = (self.hsx, self.dm, self.xv, self.struct_out, self.eig, self.kp, self.orb_indx)
        inputs = () if self.fdf is None else (self.fdf.path, *self.fdf.included)
        return tuple(path for path in (*named, *inputs, self.output) if path is not None)


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

    inputs = (read_fdf(path) for path in sorted(folder.glob("*.fdf")) if path.is_file())
    return Files(
        hsx=named(".HSX"),
        dm=named(".DM"),
        xv=named(".XV"),
        struct_out=named(".STRUCT_OUT"),
        eig=named(".EIG"),
        kp=named(".KP"),
        orb_indx=named(".ORB_INDX"),
        fdf=next((fdf for fdf in inputs if fdf.label == label), None),
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
        With "overlap", "hamiltonian", and "density_matrix" if there is a .DM file.

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
    fdf = files.fdf
    output = read_output(files.output) if files.output else None
    printed_level = read_fermi_level(files.eig) if files.eig else None
    units = choose_units(hsx, printed_level, output)
    elements = elements_of(hsx.counts, hsx.columns())
    blocks = find_blocks(hsx.atom_of_orbital, elements)
    sites = find_sites(hsx, blocks, files, units.bohr, fdf, output)
    unconverged, why = _convergence(fdf, output)
    converged = False if unconverged else None if output is None else output.converged
    structure = Structure(
        sites.cell * units.bohr, sites.positions * units.bohr, sites.numbers[hsx.species_of_atom]
    )
    level = None
    if converged is not False:
        level = printed_level if hsx.fermi_level is None else hsx.fermi_level * units.rydberg
    info = SystemInfo.for_structure(
        structure,
        sites.orbital_map(hsx),
        spin=spins.KINDS[hsx.spins],
        fermi_level=level,
        occupation=round(hsx.electrons, 9),
        provenance=provenance(hsx, label, units, fdf, output, converged)
        | ingredients(hsx, sites.numbers, output),
    )

    @cache
    def pattern() -> Pattern:
        return complete_pattern(hsx, elements, blocks, sites.cells, hsx.path)

    def overlap() -> BlockMatrix:
        return pattern().fill(hsx.overlap(), 1.0)

    def hamiltonian() -> BlockMatrix:
        return spins.hamiltonian(pattern(), hsx.hamiltonian, hsx.spins, units.rydberg)

    def density_matrix() -> BlockMatrix:
        assert files.dm is not None
        density = read_density(files.dm, hsx)
        places = density_pattern(density, hsx, blocks, sites.cells)
        check_electrons(density, places, overlap(), hsx.electrons)
        return spins.density_matrix(places, density.component, hsx.spins)

    def eigenvalues() -> Eigenvalues:
        return _eigenvalues(files, hsx, sites, fdf, output)

    matrices: dict[str, Callable[[], BlockMatrix]] = {
        "overlap": overlap,
        "hamiltonian": hamiltonian,
    }
    if files.dm is not None:
        matrices["density_matrix"] = density_matrix
    printed = files.eig is not None and converged is not False
    return Calculation(
        structure,
        info,
        matrices,
        eigenvalues=eigenvalues if printed else None,
        warnings=(*why, *sites.warnings, *_further_warnings(files, hsx, output, level, converged)),
        unconverged=unconverged,
    )


def _convergence(fdf: Fdf | None, output: Output | None) -> tuple[str, tuple[str, ...]]:
    """Say why the run is not self-consistent, if it is not, and warn if nobody knows."""
    if fdf is not None and fdf.flag("HSetupOnly"):
        return "set-up only (HSetupOnly)", ()
    if output is None:
        return "", ("no output of SIESTA found: whether the run converged is not known",)
    if output.converged is None:
        return "", (f"{output.path.name} does not tell whether the run converged",)
    return ("" if output.converged else f"{output.path.name} does not say that it converged"), ()


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


def _eigenvalues(
    files: Files, hsx: Hsx, sites: Sites, fdf: Fdf | None, output: Output | None
) -> Eigenvalues:
    """Read .EIG and .KP."""
    assert files.eig is not None
    energies = read_energies(files.eig)
    channels, _, bands = energies.shape
    expected = 2 if hsx.spins == 2 else 1, hsx.orbitals * (2 if hsx.spins > 2 else 1)
    if (channels, bands) != expected:
        raise InputError(
            f"{files.eig}: {bands} bands in {channels} spin channels, {hsx.path.name} has "
            f"{hsx.orbitals} orbitals and {hsx.spins} spin components: not of the same run"
        )
    kcell, kshift = mesh_of(hsx, fdf, output)
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
    return Eigenvalues(kpoints, energies, read_fermi_level(files.eig), divisions(kcell))
