"""One run of OpenMX: what its files say together.

OpenMX works with 1 Hartree = 27.2113845 eV and 1 Bohr = 0.529177249 Å (openmx_common.h, measured).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.openmx.eigenvalues import Expected, has_list, read_band, read_list
from deeph_dock.codes.openmx.files import Files, find_files
from deeph_dock.codes.openmx.inputs import BOHR, Input, parse_input
from deeph_dock.codes.openmx.matrices import (
    HARTREE,
    Matrices,
    Places,
    find_places,
    orbital_order,
)
from deeph_dock.codes.openmx.motion import positions_of_the_matrices
from deeph_dock.codes.openmx.output import Output, read_output
from deeph_dock.codes.openmx.scfout import SOLVERS, VERSIONS, Scfout, read_scfout
from deeph_dock.codes.openmx.sites import (
    Basis,
    Geometry,
    check_reach,
    find_basis,
    find_geometry,
    same_atoms,
)

KELVIN = 8.617251324e-5
"""1 K of OpenMX in eV."""
_SPINS = {1: "none", 2: "collinear", 4: "soc"}
_SAME_LEVEL = 1e-6
_SAME_CHARGE = 1e-3


def read_run(folder: Path, label: str) -> Calculation:
    """Read one run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its System.Name.

    Returns
    -------
    Calculation
        With all matrices that there are.

    Raises
    ------
    InputError
        If the run is incomplete, damaged, or of a kind that cannot be converted.
    """
    files = find_files(folder, label)
    if files.overlaps:
        from deeph_dock.codes.openmx.overlaps import read_overlaps

        return read_overlaps(files, label)
    if files.scfout is None:
        raise InputError(
            f"{folder}: the OpenMX run '{label}' has no scfout file; run it again with 'HS.fileout "
            "on'"
        )
    file = read_scfout(files.scfout)
    output = _output(files, file)
    words = _words(files, file, output)
    basis = find_basis(words, file.orbitals)
    geometry = find_geometry(
        file.lattice * BOHR,
        file.positions * BOHR,
        words,
        output,
        lambda: positions_of_the_matrices(file, files.last, basis.contracted),
    )
    pairs = moved_pairs(file.pairs, geometry)
    check_reach(geometry, pairs, basis.radii, str(file.path))
    unconverged = output.unconverged() if output is not None and file.solver is not None else ""
    structure = Structure(geometry.lattice, geometry.positions, basis.numbers)
    level = file.fermi_level
    info = SystemInfo.for_structure(
        structure,
        basis.orbital_map,
        spin=_SPINS[file.spins],
        fermi_level=None if level is None or unconverged else level * HARTREE,
        occupation=None if file.electrons is None else round(file.electrons, 9),
        provenance=_provenance(file, label, words, output, basis, unconverged),
    )
    matrices, left_out = _matrices(file, basis, pairs, geometry)
    eigenvalues = None
    if "hamiltonian" in matrices and not unconverged:
        eigenvalues = _eigenvalues(files, file, output)
    return Calculation(
        structure,
        info,
        matrices,
        eigenvalues=eigenvalues,
        warnings=(*left_out, *_warnings(file, output, words, basis, geometry)),
        unconverged=unconverged,
    )


def moved_pairs(pairs: NDArray[np.int64], geometry: Geometry) -> NDArray[np.int64]:
    """Give the pairs of the file for the atoms of the input: R = R' + n_j - n_i."""
    if not geometry.translations.any():
        return pairs
    moved = pairs.copy()
    moved[:, :3] += geometry.translations[pairs[:, 4]] - geometry.translations[pairs[:, 3]]
    return moved


def _output(files: Files, file: Scfout) -> Output | None:
    """Read the output, and check that it is of the same run."""
    output = None
    if files.output is not None:
        output = read_output(files.output)
    elif file.output is not None:
        output = read_output(file.path, file.output)
    if output is None or file.fermi_level is None or file.electrons is None:
        return output
    for what, printed, stored, limit in (
        ("Fermi level", output.fermi_level, file.fermi_level, _SAME_LEVEL),
        ("electrons", output.electrons, file.electrons, _SAME_CHARGE),
    ):
        if printed is not None and abs(printed - stored) > limit:
            raise InputError(
                f"{output.path}: {what} {printed:.9g}, but {stored:.9g} in {file.path.name}: not "
                "of one run, or damaged"
            )
    return output


def _words(files: Files, file: Scfout, output: Output | None) -> Input:
    """Give the input: the copy in the file, that in the output, or the input itself."""
    if file.text:
        words = parse_input(file.text, str(file.path))
    elif output is not None:
        words = output.input
    elif files.input is not None:
        text = files.input.read_text(encoding="utf-8", errors="replace")
        words = parse_input(text, str(files.input))
    else:
        raise InputError(
            f"{file.path}: holds no copy of the input, so that elements and shells are not known; "
            "put the input (*.dat) or the output of the run beside it"
        )
    if output is not None and not same_atoms(words, output.input):
        raise InputError(
            f"{output.path}: other species, atoms or cell than in the input in {file.path.name}: "
            "not of one run, or damaged"
        )
    return words


def _matrices(
    file: Scfout, basis: Basis, pairs: NDArray[np.int64], geometry: Geometry
) -> tuple[dict[str, Callable[[], BlockMatrix]], list[str]]:
    """Give the matrices that can be converted, and what to say about the others."""
    elements = np.unique(basis.numbers)
    shells = {
        int(number): basis.orbital_map[symbol]
        for number, symbol in zip(
            basis.numbers.tolist(),
            Structure(geometry.lattice, geometry.positions, basis.numbers).symbols,
            strict=True,
        )
    }

    @cache
    def places() -> Places:
        orders = [orbital_order(shells[number]) for number in elements.tolist()]
        kinds = np.searchsorted(elements, basis.numbers)
        return find_places(pairs, file.orbitals, kinds, orders)

    @cache
    def matrices() -> Matrices:
        return Matrices(file, places(), geometry.origins)

    found: dict[str, Callable[[], BlockMatrix]] = {"overlap": lambda: matrices().overlap()}
    left_out = []
    if "hamiltonian" in file.sections:
        if basis.contracted and file.spins == 4:
            left_out.append(
                "contracted orbitals with non-collinear spin: OpenMX does not store the imaginary "
                "part of H in them; hamiltonian left out"
            )
        else:
            found["hamiltonian"] = lambda: matrices().hamiltonian()
        if file.spins == 4 and "imaginary_density" not in file.sections:
            left_out.append(
                "OpenMX 3.8 does not store the imaginary part of the density matrix of "
                "non-collinear runs; density_matrix left out"
            )
        else:
            found["density_matrix"] = lambda: matrices().density_matrix()
    if "position0" in file.sections:
        if basis.contracted:
            left_out.append(
                "contracted orbitals: whether the position matrix is in them is not known; "
                "position_matrix left out"
            )
        else:
            found["position_matrix"] = lambda: matrices().position_matrix()
    return found, left_out


def _eigenvalues(
    files: Files, file: Scfout, output: Output | None
) -> Callable[[], Eigenvalues] | None:
    """Give the function that reads the eigenvalues, None if there are none."""
    assert file.fermi_level is not None
    bands = int(file.orbitals.sum()) * (2 if file.spins == 4 else 1)
    spins = 2 if file.spins == 2 else 1
    expected = Expected(bands, spins, file.fermi_level, file.lattice)
    band = files.band
    if band is not None:
        return lambda: read_band(band, expected)
    if output is not None and has_list(output):
        return lambda: read_list(output, expected)
    return None


def _warnings(
    file: Scfout, output: Output | None, words: Input, basis: Basis, geometry: Geometry
) -> list[str]:
    """Collect what else the user should know."""
    warnings = []
    steps = output.steps if output is not None else 1
    if steps > 1:
        warnings.append(f"{steps} steps of {words.word('MD.Type')}: the matrices are of the last")
    elif output is None and words.moves:
        warnings.append(f"MD.Type {words.word('MD.Type')}: the matrices are of the last step")
    if not np.array_equal(geometry.origins, geometry.positions):
        warnings.append(
            "OpenMX moved the atoms after the last step: positions are those before, of "
            f"{file.path.stem}.md2"
        )
    if output is None and file.fermi_level is not None:
        warnings.append("no output of OpenMX found: whether the run converged is not known")
    for symbol, names in basis.potentials.items():
        if ", " in names:
            warnings.append(f"several pseudopotentials of {symbol}: {names}")
    return warnings


def _provenance(
    file: Scfout,
    label: str,
    words: Input,
    output: Output | None,
    basis: Basis,
    unconverged: str,
) -> dict[str, Any]:
    """Describe where the data come from; what is not known is left out."""
    mesh = [int(abs(value)) for value in words.numbers("scf.Kgrid")[:3]]
    converged = None if output is None or file.solver is None else not unconverged
    found: dict[str, Any] = {
        "code": "OpenMX",
        "code_version": output.version if output is not None else VERSIONS[file.version],
        "label": label,
        "scfout_version": file.version,
        "energy_unit": HARTREE,
        "length_unit": BOHR,
        "source_dtype": "float64",
        "functional": words.word("scf.XcType") or None,
        "solver": None if file.solver is None else SOLVERS.get(file.solver, str(file.solver)),
        "kmesh": mesh if len(mesh) == 3 and file.solver != 2 else None,
        "electronic_temperature_eV": None
        if file.temperature is None
        else file.temperature * KELVIN,
        "smearing": None if file.temperature is None else "fermi-dirac",
        "scf_converged": converged,
        "pseudopotentials": basis.potentials,
        "basis": basis.bases,
    }
    return {key: value for key, value in found.items() if value is not None}
