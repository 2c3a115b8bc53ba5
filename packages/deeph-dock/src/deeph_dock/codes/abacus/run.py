"""One run of ABACUS: what its files say together.

Units: ABACUS works with 1 Ry = 13.605698 eV and 1 Bohr = 0.529177 Å.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import SYMBOLS, Structure
from deeph_spec.system import SystemInfo

from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.abacus.assembly import (
    BOHR,
    RYDBERG,
    Basis,
    collinear_matrix,
    density_of_moments,
    position_matrix,
    real_matrix,
    spinor_matrix,
    spinor_overlap,
)
from deeph_dock.codes.abacus.csr import Csr, read_csr, read_position
from deeph_dock.codes.abacus.files import Files, find_files
from deeph_dock.codes.abacus.headers import Head, peek
from deeph_dock.codes.abacus.inputs import WIDTH, number, read_input, read_mesh
from deeph_dock.codes.abacus.levels import read_levels
from deeph_dock.codes.abacus.log import Log, read_log
from deeph_dock.codes.abacus.sites import Sites, find_sites
from deeph_dock.codes.abacus.species import (
    Elements,
    find_elements,
    shells_of_orbital_file,
    shells_of_orbital_list,
    shells_of_orbital_name,
)
from deeph_dock.codes.abacus.stru import Species

_SPINS = {1: "none", 2: "collinear", 4: "soc"}


def read_run(folder: Path, label: str) -> Calculation:
    """Read one run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its suffix; "" if the folder is the output itself.

    Returns
    -------
    Calculation
        With "overlap", and those of "hamiltonian", "density_matrix" and "position_matrix" that
        the run wrote.

    Raises
    ------
    InputError
        If the run is incomplete, damaged, or of a kind that cannot be converted.
    """
    files = find_files(folder, label)
    log = read_log(files.log) if files.log is not None else None
    parameters = read_input(files.parameters) if files.parameters is not None else {}
    if files.overlap is None:
        raise _no_matrices(files, parameters)
    # Only molecular dynamics puts several steps into one file.
    head, steps = peek(files.overlap, whole=log is None or log.calculation == "md")
    sites = find_sites(files, head, log, parameters.get("latname", "none").split()[0].lower())
    places = _places(folder, files, parameters)
    elements = _elements(files, log, sites, places)
    counts = [one.atoms for one in sites.species]
    basis = Basis(
        tuple(s for s, n in zip(elements.shells, counts, strict=True) for _ in range(n)),
        sites.moved,
    )
    nspin = _nspin(files, head, log, parameters, basis)
    structure = Structure(
        sites.lattice, sites.positions, np.repeat(np.array(elements.numbers), counts)
    )
    matrices, left_out = _matrices(files, head, basis, nspin, parameters, structure)
    unconverged = _unconverged(log, files)
    level = log.fermi_level if log is not None and files.hamiltonian and not unconverged else None
    info = SystemInfo.for_structure(
        structure,
        {SYMBOLS[z]: s for z, s in zip(elements.numbers, elements.shells, strict=True)},
        spin=_SPINS[nspin],
        fermi_level=level,
        occupation=_electrons(log, parameters),
        provenance=_provenance(files, log, parameters, label, sites, elements),
    )
    printed = [path for path in files.levels if not path.name.startswith("BANDS")]
    has_levels = bool(printed and files.hamiltonian and not unconverged)

    def eigenvalues() -> Eigenvalues:
        return _eigenvalues(files, info, level, sites, basis)

    warnings = [*sites.warnings, *elements.warnings, *left_out]
    warnings += _warnings(files, log, head, steps, level, unconverged)
    return Calculation(
        structure,
        info,
        matrices,
        eigenvalues=eigenvalues if has_levels else None,
        warnings=tuple(warnings),
        unconverged=unconverged,
    )


def _no_matrices(files: Files, parameters: dict[str, str]) -> InputError:
    """Say what to do to get matrices."""
    wrote = f"{files.out}: ABACUS wrote no overlap in csr files here"
    if parameters.get("basis_type", "lcao").lower() == "pw":
        return InputError(
            f"{wrote}: plane waves have none; put 'basis_type lcao' and 'out_mat_hs2 1' into INPUT "
            "and run again"
        )
    if parameters.get("gamma_only", "0").split()[0].lower() in ("1", "true", "t"):
        return InputError(
            f"{wrote}: with 'gamma_only 1' it cannot; put 'gamma_only 0' and 'out_mat_hs2 1' into "
            "INPUT, with the Gamma point alone in KPT, and run again"
        )
    return InputError(f"{wrote}; put 'out_mat_hs2 1' into INPUT and run again")


def _places(folder: Path, files: Files, parameters: dict[str, str]) -> list[Path]:
    """Give the folders where pseudopotentials and orbitals may be."""
    bases = [files.stru.parent] if files.stru is not None else [folder]
    named = [parameters[k].strip("\"'") for k in ("pseudo_dir", "orbital_dir") if k in parameters]
    return [base / name for base in bases for name in ("", *named)]


def _elements(files: Files, log: Log | None, sites: Sites, places: Sequence[Path]) -> Elements:
    """Find element and shells of each species."""
    source = log.path if log is not None else files.stru or files.out
    shells = list(log.shells) if log is not None else []
    if len(shells) != len(sites.species) or not all(shells):
        counts = np.array([one.atoms for one in sites.species])
        first = (np.cumsum(counts) - counts).tolist()
        listed = shells_of_orbital_list(files.orbitals, first) if files.orbitals else None
        shells = listed or [_shells(one, places, source) for one in sites.species]
    return find_elements(sites.species, shells, places, source)


def _shells(species: Species, places: Sequence[Path], source: Path) -> tuple[int, ...]:
    """Find the shells of a species without the log."""
    name = species.orbital
    found = shells_of_orbital_name(name)
    for place in places if found is None and name else ():
        found = found or shells_of_orbital_file(place / str(name))
    if found is None:
        raise InputError(
            f"{source}: species {species.label}: its shells are not known; put the log of the run "
            f"beside the csr files, or the orbitals ({name or 'not named in STRU'}) beside STRU"
        )
    return found


def _nspin(
    files: Files, head: Head, log: Log | None, parameters: dict[str, str], basis: Basis
) -> int:
    """Find the number of spin components: 1, 2 or 4."""
    if head.dimension == 2 * basis.size:
        return 4
    if head.dimension != basis.size:
        raise InputError(
            f"{files.overlap}: {head.dimension} rows, the atoms have {basis.size} orbitals: the "
            "files are damaged or not of one run"
        )
    said = log.nspin if log is not None else None
    if said is None:
        given = number(parameters, "nspin")
        said = int(given) if given in (1.0, 2.0, 4.0) else None
    channels = len(files.hamiltonian)
    if said is None:
        said = 2 if channels == 2 else 1
    if said == 4 or (channels and channels != said):
        raise InputError(
            f"{files.out}: nspin {said}, but {channels} Hamiltonians of {head.dimension} rows for "
            f"{basis.size} orbitals: a file is missing, or they are not of one run"
        )
    return said


def _matrices(
    files: Files,
    head: Head,
    basis: Basis,
    nspin: int,
    parameters: dict[str, str],
    structure: Structure,
) -> tuple[dict[str, Callable[[], BlockMatrix]], list[str]]:
    """Give the matrices that there are, and why others are not."""
    overlap_path = files.overlap
    assert overlap_path is not None

    def of_this_step(csr: Csr) -> Csr:
        if csr.head.dimension != head.dimension or (csr.head.step or 0) != (head.step or 0):
            raise InputError(
                f"{csr.path}: step {csr.head.step} with {csr.head.dimension} rows, "
                f"{overlap_path.name} has step {head.step} with {head.dimension}: not of one run"
            )
        return csr

    def overlap() -> BlockMatrix:
        csr = of_this_step(read_csr(overlap_path))
        return spinor_overlap(csr, basis) if nspin == 4 else real_matrix(csr, basis)

    def channels(paths: Sequence[Path], unit: float) -> BlockMatrix:
        if nspin == 4:
            return spinor_matrix(of_this_step(read_csr(paths[0])), basis, unit)
        found = [real_matrix(of_this_step(read_csr(path)), basis, unit) for path in paths]
        return collinear_matrix(*found) if nspin == 2 else found[0]

    def position() -> BlockMatrix:
        assert files.position is not None
        parts = [of_this_step(csr) for csr in read_position(files.position)]
        return position_matrix(parts, overlap(), basis, structure.lattice)

    def density() -> BlockMatrix:
        if nspin == 4:
            return density_of_moments(of_this_step(read_csr(files.density[0])), basis)
        return channels(files.density, 1.0)

    matrices: dict[str, Callable[[], BlockMatrix]] = {"overlap": overlap}
    left_out: list[str] = []
    if files.hamiltonian:
        matrices["hamiltonian"] = lambda: channels(files.hamiltonian, RYDBERG)
    if files.density:
        reason = _no_density(files, nspin, parameters)
        if reason:
            left_out.append(f"density matrix left out: {reason}")
        else:
            matrices["density_matrix"] = density
    if files.position is not None:
        matrices["position_matrix"] = position
    return matrices, left_out


def _no_density(files: Files, nspin: int, parameters: dict[str, str]) -> str:
    """Say why the density matrix cannot be converted; empty if it can."""
    if nspin == 2 and len(files.density) != 2:
        return f"{len(files.density)} file for two spin channels"
    if nspin != 4:
        return ""
    if not parameters:
        return "with nspin 4 it needs INPUT, to know whether there is spin-orbit coupling"
    coupled = parameters.get("lspinorb", "0").split()[0].lower() in ("1", "true", "t")
    if coupled or peek(files.density[0], whole=False)[0].cell_text:
        return (
            "with nspin 4 ABACUS writes real densities of charge and moment, which lack the "
            "imaginary parts that spin-orbit coupling gives"
        )
    return ""


def _unconverged(log: Log | None, files: Files) -> str:
    """Say why H is not self-consistent, as far as the log tells."""
    if log is None or not files.hamiltonian or log.converged or log.calculation == "nscf":
        return ""
    if log.converged is False:
        return f"{log.path.name} says that the self-consistency cycle did not converge"
    return f"{log.path.name} does not say that the self-consistency cycle converged"


def _electrons(log: Log | None, parameters: dict[str, str]) -> float | None:
    """Give the electrons: those that INPUT sets, else those that ABACUS counted."""
    given = number(parameters, "nelec")
    if given:
        return given
    counted = log.electrons if log is not None else None
    return counted if counted else None


def _warnings(
    files: Files, log: Log | None, head: Head, steps: int, level: float | None, unconverged: str
) -> list[str]:
    """Collect what the user should know."""
    assert files.overlap is not None
    warnings = []
    if steps > 1 or head.step:
        number_of = f" of {steps} in {files.overlap.name}" if steps > 1 else ""
        warnings.append(f"step {head.step} is taken: the last{number_of}")
    if log is None:
        warnings.append(
            "no log of ABACUS: whether the run converged and its Fermi level are unknown"
        )
    elif files.hamiltonian and not unconverged and level is None:
        warnings.append(f"{log.path.name} has no single Fermi level: it is not known")
    if log is not None and log.calculation == "nscf":
        warnings.append("calculation nscf: whether its density is self-consistent is not known")
    if not files.hamiltonian:
        warnings.append("no Hamiltonian beside the overlap: the overlap alone is converted")
    return warnings


def _provenance(
    files: Files,
    log: Log | None,
    parameters: dict[str, str],
    label: str,
    sites: Sites,
    elements: Elements,
) -> dict[str, Any]:
    """Describe where the data come from; what is not known is left out."""
    mesh = read_mesh(files.mesh) if files.mesh is not None else None
    if number(parameters, "kspacing"):
        mesh = None
    functional = parameters.get("dft_functional", "default").split()[0]
    if functional == "default":
        functional = (log.functional if log is not None else None) or ""
    width = number(parameters, "smearing_sigma")
    smearing = parameters.get("smearing_method", "").split()
    symbols = [SYMBOLS[z] for z in elements.numbers]

    def named(kind: str) -> dict[str, str] | None:
        pairs = zip(symbols, sites.species, strict=True)
        return {s: getattr(one, kind) for s, one in pairs if getattr(one, kind)} or None

    found = {
        "code": "ABACUS",
        "code_version": log.version if log is not None else None,
        "label": label or None,
        "energy_unit": RYDBERG,
        "length_unit": BOHR,
        "source_dtype": "float64",
        "functional": functional.upper() or None,
        "kmesh": list(mesh[0]) if mesh is not None else None,
        "kshift": list(mesh[1]) if mesh is not None else None,
        "electronic_temperature_eV": (
            (WIDTH if width is None else width) * RYDBERG
            if smearing and smearing[0].lower() != "fixed"
            else None
        ),
        "smearing": smearing[0].lower() if smearing else None,
        "scf_converged": log.converged if log is not None and files.hamiltonian else None,
        "pseudopotentials": named("pseudopotential"),
        "basis": named("orbital"),
    }
    return {key: value for key, value in found.items() if value is not None}


def _eigenvalues(
    files: Files, info: SystemInfo, level: float | None, sites: Sites, basis: Basis
) -> Eigenvalues:
    """Read the printed eigenvalues, and compare their number with the matrices."""
    kpoints, energies = read_levels(files.levels, sites.lattice / (sites.constant * BOHR))
    channels = 2 if info.spin == "collinear" else 1
    most = basis.size * (2 if info.spin == "soc" else 1)
    if len(energies) != channels or energies.shape[2] > most:
        raise InputError(
            f"{files.levels[0]}: {energies.shape[2]} levels in {len(energies)} spin channels, "
            f"{most} orbitals in {channels} of the matrices: not of one run"
        )
    mesh = info.provenance.get("kmesh")
    divisions = (mesh[0], mesh[1], mesh[2]) if mesh else None
    return Eigenvalues(kpoints, energies, level, divisions)
