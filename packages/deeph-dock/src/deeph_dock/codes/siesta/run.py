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
from numpy.typing import NDArray

from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.siesta import spins
from deeph_dock.codes.siesta.assembly import complete_pattern, elements_of, layout_of
from deeph_dock.codes.siesta.density import Density, read_density
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
from deeph_dock.orbital_elements import Blocks, Pattern, find_blocks, make_pattern

Int = NDArray[np.int64]

_UNKNOWN = np.iinfo(np.int64).min


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
    dm: Path | None
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
        dm=named(".DM"),
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
    fdf = read_fdf(files.fdf) if files.fdf else None
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
        provenance=_provenance(hsx, label, units, fdf, output, converged),
    )

    @cache
    def pattern() -> Pattern:
        return complete_pattern(hsx, elements, blocks, sites.cells)

    def overlap() -> BlockMatrix:
        return pattern().fill(hsx.overlap(), 1.0)

    def hamiltonian() -> BlockMatrix:
        return spins.hamiltonian(pattern(), hsx.hamiltonian, hsx.spins, units.rydberg)

    def density_matrix() -> BlockMatrix:
        assert files.dm is not None
        density = read_density(files.dm, hsx)
        places = _density_pattern(density, hsx, blocks, sites.cells)
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


def _density_pattern(density: Density, hsx: Hsx, blocks: Blocks, cells: Int) -> Pattern:
    """Find the place of every element of a density matrix, by the lattice vectors of H."""
    elements = elements_of(density.counts, density.columns)
    own = find_blocks(hsx.atom_of_orbital, elements)
    atoms = len(hsx.species_of_atom)

    def keys(some: Blocks) -> Int:
        return (some.images * atoms + some.atoms[:, 0]) * atoms + some.atoms[:, 1]

    known, wanted = keys(blocks), keys(own)  # both increase
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    found = cells[at]
    missing = known[at] != wanted
    if missing.any():
        _, first = np.unique(blocks.images, return_index=True)
        table = np.full((hsx.images, 3), _UNKNOWN)
        table[blocks.images[first]] = cells[first]
        found = np.where(missing[:, None], table[own.images], found)
        if hsx.folded or (found == _UNKNOWN).any():
            raise InputError(
                f"{density.path}: connects atoms that {hsx.path.name} does not, and their periodic "
                "image is not known: of another step of the run"
            )
    return make_pattern(layout_of(hsx), elements, own, found, density.path)


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


def _convergence(fdf: Fdf | None, output: Output | None) -> tuple[str, tuple[str, ...]]:
    """Say why the run is not self-consistent, if it is not, and warn if nobody knows."""
    if fdf is not None and fdf.flag("HSetupOnly"):
        return "set-up only (HSetupOnly)", ()
    if output is None:
        return "", ("no output of SIESTA found: whether the run converged is not known",)
    if output.converged is False:
        return f"{output.path.name} does not say that it converged", ()
    return "", ()


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
    channels, _, bands = energies.shape
    expected = 2 if hsx.spins == 2 else 1, hsx.orbitals * (2 if hsx.spins > 2 else 1)
    if (channels, bands) != expected:
        raise InputError(
            f"{files.eig}: {bands} bands in {channels} spin channels, {hsx.path.name} has "
            f"{hsx.orbitals} orbitals and {hsx.spins} spin components: not of the same run"
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
