"""One structure's folder: POSCAR, info.json, matrices, K_PATH."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from deeph_spec.dataset import INFO_FILE, MATRIX_FILES, POSCAR_FILE
from deeph_spec.errors import InputError, Problem
from deeph_spec.matrix_files import MAX_BYTES
from deeph_spec.orbitals import orbital_count
from deeph_spec.structure import Structure
from deeph_spec.system import problems, read_document
from deeph_spec.tensors import TENSOR_FILE, TENSOR_PREDICTION_FILE, read_tensors
from deeph_spec.validation.distances import closest_pair
from deeph_spec.validation.findings import Finding, finding, problem_of
from deeph_spec.validation.indices import Expected
from deeph_spec.validation.matrices import Pattern, check_matrix, check_trace, compare_patterns

_CLOSEST = 0.1
_FORCE_FIELD_KEYS = {"atoms_quantity", "elements_force_rcut_map", "max_num_neighbors"}


def validate_folder(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> list[Finding]:
    """Check one structure's folder.

    Parameters
    ----------
    path : path-like
        The folder.
    max_bytes : int
        Most bytes of matrix entries held at a time.

    Returns
    -------
    list of Finding
        Errors and warnings, file by file; empty if all is well.
    """
    folder = Path(path)
    found: list[Finding] = []

    def report(file: str, listed: list[Problem]) -> None:
        found.extend(finding(str(folder), file, problem) for problem in listed)

    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        message = f"the folder cannot be read: {error.strerror}"
        return [finding(str(folder), "", Problem("E01", "", message, "check the path"))]
    try:
        report("", _leftovers(names))
        wrong, structure = _check_poscar(folder)
        report(POSCAR_FILE, wrong)
        wrong, document = _check_info(folder, structure)
        report(INFO_FILE, wrong)
        expected = _expected(structure, document)
        patterns: dict[str, Pattern] = {}
        for quantity, files in MATRIX_FILES.items():
            for file in (name for name in files if name in names):
                wrong, pattern = check_matrix(folder / file, quantity, expected, max_bytes)
                report(file, wrong)
                if pattern is not None:
                    patterns[quantity] = pattern
        _check_together(folder, names, patterns, expected, max_bytes, report)
        for file in (TENSOR_FILE, TENSOR_PREDICTION_FILE):
            if file in names:
                report(file, check_tensors(folder / file, structure))
        if "K_PATH" in names:
            report("K_PATH", check_k_path(folder / "K_PATH"))
    except Exception as error:
        # One broken structure must never stop the others; the rule says whose fault it is.
        message = f"internal error: {type(error).__name__}: {error}"
        report("", [Problem("E00", "", message, "please report this, with the folder")])
    return found


def _leftovers(names: list[str]) -> list[Problem]:
    """Name temporary files that a killed run left behind: W12."""
    return [
        Problem("W12", name, "temporary file of a run that was killed or goes on", "remove it")
        for name in names
        if name.endswith(".tmp")
    ]


def _check_poscar(folder: Path) -> tuple[list[Problem], Structure | None]:
    """Read POSCAR: E01, E03 to E06, W11."""
    path = folder / POSCAR_FILE
    try:
        structure = Structure.read(path)
        text = path.read_text(encoding="utf-8", errors="replace")
    except InputError as error:
        return [problem_of(error, path, "E01")], None
    except OSError as error:
        return [Problem("E01", "", f"cannot be read: {error.strerror}", "copy it anew")], None
    return _closest_atoms(structure) + _precision(text), structure


def _closest_atoms(structure: Structure) -> list[Problem]:
    """Find two atoms on top of each other, images included: E06."""
    pair = closest_pair(structure.lattice, structure.positions, _CLOSEST)
    if pair is None:
        return []
    first, second, distance = pair
    message = (
        f"atoms {first} and {second} (counted from 0, images included) are "
        f"{distance:.3g} Å apart, expected at least {_CLOSEST} Å"
    )
    remedy = "remove the atom that is there twice, or correct the lattice"
    return [Problem("E06", "positions", message, remedy)]


def _precision(text: str) -> list[Problem]:
    """Count the decimals of the positions: W11."""
    words = [word for line in text.splitlines()[7:] for word in line.split()[:3]]
    numbers = re.findall(r"(?:^|\s)(-?\d*\.(\d+))", " ".join(words))
    most = max((len(decimals) for _, decimals in numbers), default=6)
    symmetric = all(abs(float(number)) in (0.0, 0.5) for number, _ in numbers)
    if symmetric or most >= 6:
        return []
    message = f"positions have {most} decimals, expected 6 or more"
    return [Problem("W11", "positions", message, "write them with full precision")]


def _check_info(
    folder: Path, structure: Structure | None
) -> tuple[list[Problem], dict[str, Any] | None]:
    """Read info.json: E02, E07 to E14, W07."""
    path = folder / INFO_FILE
    try:
        document = read_document(path)
    except InputError as error:
        return [problem_of(error, path, "E07")], None
    found = problems(document)
    if "elements_force_rcut_map" in document and set(document) <= _FORCE_FIELD_KEYS:
        found = [problem for problem in found if problem.key == "atoms_quantity"]
    if structure is not None:
        found += _against_structure(document, structure)
    if document.get("fermi_energy_eV") == 0.0:
        message = "exactly 0.0: some converters write this for an unknown level"
        found.append(Problem("W07", "fermi_energy_eV", message, "write null if it is unknown"))
    return found, document


def _against_structure(document: dict[str, Any], structure: Structure) -> list[Problem]:
    """Compare info.json with POSCAR: E09, E10, E11."""
    found = []
    atoms = document.get("atoms_quantity")
    if isinstance(atoms, int) and not isinstance(atoms, bool) and atoms != len(structure):
        message = f"{atoms} atoms, POSCAR has {len(structure)}"
        found.append(Problem("E09", "atoms_quantity", message, "correct the one that is wrong"))
    shells = document.get("elements_orbital_map")
    if not isinstance(shells, dict):
        return found
    missing = [symbol for symbol in structure.elements if symbol not in shells]
    if missing:
        message = f"no shells for {', '.join(missing)}, which POSCAR has"
        found.append(Problem("E10", "elements_orbital_map", message, "add the shells"))
    counts = _orbital_counts(structure, document)
    orbits = document.get("orbits_quantity")
    if counts is None or not isinstance(orbits, int) or isinstance(orbits, bool):
        return found
    total = int(counts.sum())
    if orbits != total:
        twice = ": spin counted?" if orbits == 2 * total else ""
        message = f"{orbits} orbitals, elements_orbital_map and POSCAR give {total}{twice}"
        remedy = "write spatial orbitals, without spin"
        found.append(Problem("E11", "orbits_quantity", message, remedy))
    return found


def _orbital_counts(
    structure: Structure, document: dict[str, Any]
) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    """Count orbitals of each atom, if the map allows it."""
    shells = document.get("elements_orbital_map")
    if any(
        problem.rule == "E10" or problem.key == "elements_orbital_map"
        for problem in problems(document)
    ) or not isinstance(shells, dict):
        return None
    if any(symbol not in shells for symbol in structure.elements):
        return None
    counts = {symbol: orbital_count(shells[symbol]) for symbol in structure.elements}
    return np.array([counts[symbol] for symbol in structure.symbols], dtype=np.int64)


def _expected(structure: Structure | None, document: dict[str, Any] | None) -> Expected:
    """Collect what the matrices must agree with, as far as it is known."""
    document = document or {}
    spinful, spin = document.get("spinful"), document.get("spin")
    level, electrons = document.get("fermi_energy_eV"), document.get("occupation")
    return Expected(
        symbols=None if structure is None else structure.symbols,
        orbitals=None if structure is None else _orbital_counts(structure, document),
        spinful=spinful if isinstance(spinful, bool) else None,
        spin=spin if isinstance(spin, str) else None,
        electrons=_number(electrons),
        fermi_level=_number(level),
    )


def _number(value: object) -> float | None:
    """Give a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        return None
    return float(value) if math.isfinite(value) else None


def _check_together(
    folder: Path,
    names: list[str],
    patterns: dict[str, Pattern],
    expected: Expected,
    max_bytes: int,
    report: Any,
) -> None:
    """Compare the matrices of a folder: E38, W04, W10, W14."""
    overlap = patterns.get("overlap")
    for quantity in ("hamiltonian", "hamiltonian_pred"):
        file = MATRIX_FILES[quantity][0]
        if quantity in patterns and overlap is not None:
            report(file, compare_patterns(patterns[quantity], overlap))
    if "hamiltonian.h5" in names and "overlap.h5" not in names:
        message = "there is no overlap.h5 beside it: eigenvalues cannot be computed"
        report("hamiltonian.h5", [Problem("W14", "", message, "add overlap.h5")])
    usable = {quantity for quantity, pattern in patterns.items() if pattern.usable}
    if {"density_matrix", "overlap"} <= usable:
        paths = folder / "density_matrix.h5", folder / "overlap.h5"
        report("density_matrix.h5", check_trace(*paths, expected, max_bytes))


def check_tensors(path: Path, structure: Structure | None) -> list[Problem]:
    """Check the quantities of a file that declares them by irreps: E15, E40.

    Parameters
    ----------
    path : Path
        The file.
    structure : Structure or None
        Its atoms, if they are known.

    Returns
    -------
    list of Problem
        One for each quantity that is wrong.
    """
    found = []
    try:
        tensors = read_tensors(path)
    except InputError as error:
        return [problem_of(error, path, "E40")]
    for tensor in tensors.values():
        try:
            tensor.checked(None if structure is None else len(structure))
        except InputError as error:
            found.append(problem_of(error, path, "E40"))
    return found


def check_k_path(path: Path) -> list[Problem]:
    """Check the lines of a K_PATH: E37.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list of Problem
        One for each line that is wrong.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return [Problem("E37", "", f"cannot be read: {error.strerror}", "copy it anew")]
    found = []
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        problem = _segment_problem(words)
        if problem:
            remedy = "write: n  k1 k2 k3  k1 k2 k3  label label"
            found.append(Problem("E37", f"line {number}", problem, remedy))
    return found


def _segment_problem(words: list[str]) -> str:
    """Say what is wrong with a segment; empty if nothing is."""
    if len(words) != 9:
        return f"{len(words)} fields, expected 9"
    if not re.fullmatch(r"\d{1,9}", words[0]) or int(words[0]) < 2:
        return f"found {words[0]} points, expected a whole number of 2 or more"
    try:
        finite = all(math.isfinite(float(word)) for word in words[1:7])
    except ValueError:
        finite = False
    return "" if finite else f"found '{' '.join(words[1:7])}', expected 6 finite numbers"
