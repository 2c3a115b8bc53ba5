"""Matrix files: what the values of the entries must obey, and how H, S and rho fit together.

Rules E15, E26 to E34, E38 and the warnings about matrices. The indices are checked in `indices`,
the entries are gone through once in `scan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deeph_spec import pairs as pair_lists
from deeph_spec.errors import InputError, Problem
from deeph_spec.matrix_files import MAX_BYTES, OpenMatrix, open_matrix
from deeph_spec.validation.findings import problem_of
from deeph_spec.validation.indices import Expected, check_indices, is_spinful, kind_of
from deeph_spec.validation.scan import GammaSum, Scan, on_site_diagonals, scan

Int = NDArray[np.int64]
Float = NDArray[np.float64]
# Largest Hermitian error without a warning, and without an error.
_HERMITIAN = {
    "overlap": ("E32", 1e-8, 1e-5, ""),
    "hamiltonian": ("E33", 1e-6, 1e-3, " eV"),
    "density_matrix": ("E33", 1e-5, 1e-5, ""),
}
_LARGEST_ENERGY = 1e6
_LARGEST_GAMMA = 3000
_SINGULAR = 1e-6
_FERMI_MARGIN = 5.0
_NARROW = 5.0
_TRACE_TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Pattern:
    """Pairs and block shapes of a matrix file.

    Parameters
    ----------
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.
    shapes : (P, 2) int64 array
        Rows and columns of each block.
    usable : bool
        Whether the entries can be taken apart into blocks.
    """

    pairs: Int
    shapes: Int
    usable: bool


def check_matrix(
    path: Path, quantity: str, expected: Expected, max_bytes: int = MAX_BYTES
) -> tuple[list[Problem], Pattern | None]:
    """Check one matrix file.

    Parameters
    ----------
    path : Path
        The file.
    quantity : str
        E.g. overlap, hamiltonian_pred.
    expected : Expected
        What POSCAR and info.json say.
    max_bytes : int
        Most bytes of entries held at a time.

    Returns
    -------
    problems : list of Problem
        What is wrong.
    pattern : Pattern or None
        Its pairs, if they can be read.
    """
    kind = kind_of(quantity)
    try:
        # Absurd numbers are findings, not warnings of the arithmetic on them.
        with open_matrix(path) as file, np.errstate(over="ignore", invalid="ignore"):
            indices = check_indices(file, kind, expected)
            found, matrix = indices.problems, indices.matrix
            if matrix is not None:
                found += _type_problems(matrix, kind, expected)
                found += _value_problems(matrix, indices.partner, kind, expected, max_bytes)
            if indices.pairs is None or indices.shapes is None:
                return found, None
            return found, Pattern(indices.pairs, indices.shapes, usable=matrix is not None)
    except InputError as error:
        return [problem_of(error, path, "E15")], None


def _type_problems(matrix: OpenMatrix, kind: str, expected: Expected) -> list[Problem]:
    """Check real and complex: E27, E28, E29."""
    is_complex = matrix.dtype.kind == "c"
    if kind == "overlap" and is_complex:
        message = f"type {matrix.dtype}, expected real numbers: S has no spin"
        return [Problem("E27", "entries", message, "write the real part, if the rest is zero")]
    if kind == "hamiltonian" and is_complex and expected.spinful is False:
        message = f"type {matrix.dtype} while spinful is false: readers drop the imaginary part"
        return [Problem("E28", "entries", message, "write real numbers, or correct spinful")]
    if kind == "hamiltonian" and not is_complex and expected.spin == "soc":
        message = f"type {matrix.dtype} while spin is 'soc', expected complex numbers"
        return [Problem("E29", "entries", message, "correct spin, or make the file anew")]
    return []


def _value_problems(
    matrix: OpenMatrix, partner: Int, kind: str, expected: Expected, max_bytes: int
) -> list[Problem]:
    """Check the entries: E26, E30 to E34 and warnings."""
    diagonal, offsets = np.zeros(0), np.zeros(1, np.int64)
    if kind in ("overlap", "hamiltonian"):
        diagonal, offsets = on_site_diagonals(matrix, max_bytes)
    overlap_like = kind == "overlap"
    positive = overlap_like and bool((diagonal > 0).all())
    gamma = GammaSum(offsets) if positive and offsets[-1] <= _LARGEST_GAMMA else None
    tolerance = _HERMITIAN.get(kind, ("", 1.0, 1.0, ""))[1]
    result = scan(
        matrix,
        partner,
        spinful=bool(is_spinful(kind, expected)),
        diagonal=diagonal if positive else None,
        offsets=offsets,
        gamma=gamma,
        tolerance=tolerance,
        max_bytes=max_bytes,
    )
    if result.broken_row >= 0:
        message = f"NaN or infinity in block {_block(matrix, result.broken_row)}"
        return [Problem("E26", "entries", message, "the calculation failed: make the file anew")]
    found = _hermitian_problems(matrix, kind, result)
    if overlap_like:
        found += _overlap_problems(matrix, result, diagonal, offsets, gamma)
    if kind == "hamiltonian":
        found += _hamiltonian_problems(matrix, result, diagonal, expected)
    # Pairs that only non-local projectors link have no overlap: zeros are normal there.
    if not overlap_like and 2 * result.zero_blocks > len(matrix.atom_pairs):
        message = f"{result.zero_blocks} of {len(matrix.atom_pairs)} blocks are zero"
        remedy = "leave out pairs beyond the reach of the orbitals"
        found.append(Problem("W05", "entries", message, remedy))
    return found


def _block(matrix: OpenMatrix, row: int) -> str:
    r1, r2, r3, i, j = matrix.atom_pairs[row].tolist()
    return f"{row}: R = ({r1}, {r2}, {r3}), i = {i}, j = {j}"


def _hermitian_problems(matrix: OpenMatrix, kind: str, result: Scan) -> list[Problem]:
    """Judge the Hermitian error: E32, E33, W01."""
    if kind not in _HERMITIAN:
        return []
    rule, warn, fail, unit = _HERMITIAN[kind]
    if result.hermitian_error <= warn:
        return []
    message = (
        f"Hermitian error {result.hermitian_error:.3g}{unit} in block "
        f"{_block(matrix, result.hermitian_row)}, expected at most {warn:g}{unit}"
    )
    if result.hermitian_error > fail:
        return [Problem(rule, "entries", message, "check the order of orbitals, R and atoms")]
    return [Problem("W01", "entries", message, "average each block with its partner")]


def _overlap_problems(
    matrix: OpenMatrix, result: Scan, diagonal: Float, offsets: Int, gamma: GammaSum | None
) -> list[Problem]:
    """Judge an overlap: E31, W02, W03."""
    known = np.isfinite(diagonal)
    bad = np.flatnonzero(known & (diagonal <= 0))
    if len(bad):
        atom = int(np.searchsorted(offsets, bad[0], side="right")) - 1
        orbital = int(bad[0] - offsets[atom])
        message = f"<phi|phi> of orbital {orbital} of atom {atom} is {diagonal[bad[0]]:.6g}"
        return [Problem("E31", "entries", f"{message}, expected above 0", "make the file anew")]
    if result.schwarz_row >= 0:
        message = f"|S_ij|^2 > S_ii S_jj in block {_block(matrix, result.schwarz_row)}"
        return [Problem("E31", "entries", message, "this is no overlap: make the file anew")]
    found = []
    odd = np.flatnonzero(known & ((diagonal < 0.9) | (diagonal > 1.1)))
    if len(odd):
        message = (
            f"{len(odd)} of {len(diagonal)} on-site diagonal values lie outside 0.9..1.1, "
            f"the first is {diagonal[odd[0]]:.4g}"
        )
        found.append(Problem("W02", "entries", message, "check the normalisation of the basis"))
    usable = gamma is not None and known.all() and np.isfinite(gamma.matrix).all()
    if gamma is not None and usable and _is_singular(gamma.matrix):
        lowest = float(np.linalg.eigvalsh(gamma.matrix)[0])
        message = f"lowest eigenvalue of S(Gamma) is {lowest:.3g}, expected above {_SINGULAR:g}"
        remedy = "expect unstable eigenvalues; check the structure and the basis"
        found.append(Problem("W03", "entries", message, remedy))
    return found


def _is_singular(matrix: Float) -> bool:
    """Tell whether the lowest eigenvalue is at most 1e-6, by a Cholesky factorisation."""
    try:
        np.linalg.cholesky(matrix - _SINGULAR * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return True
    return False


def _hamiltonian_problems(
    matrix: OpenMatrix, result: Scan, diagonal: Float, expected: Expected
) -> list[Problem]:
    """Judge a Hamiltonian: E30, E34, W06, W07, W09."""
    if result.largest == 0:
        return [Problem("E34", "entries", "all entries are zero", "make the file anew")]
    if result.largest > _LARGEST_ENERGY:
        message = f"an entry of {result.largest:.3g} eV, expected below {_LARGEST_ENERGY:g} eV"
        return [Problem("E34", "entries", message, "check the unit, or make the file anew")]
    found = []
    if expected.spinful and expected.spin == "collinear" and result.mixed_row >= 0:
        message = f"up-down parts are not zero in block {_block(matrix, result.mixed_row)}"
        remedy = "set spin to 'soc' (with complex entries), or make the file anew"
        found.append(Problem("E30", "entries", message, remedy))
    if expected.spinful and expected.spin is None:
        looks = "collinear" if result.mixed_row < 0 and not result.is_complex else "soc"
        message = f"info.json has no spin while spinful is true: entries look like '{looks}'"
        found.append(Problem("W06", "entries", message, f'add "spin": "{looks}" to info.json'))
    known = diagonal[np.isfinite(diagonal)]
    if not len(known):
        return found
    low, high, level = float(known.min()), float(known.max()), expected.fermi_level
    if level is not None and not low - _FERMI_MARGIN <= level <= high + _FERMI_MARGIN:
        message = f"Fermi level {level:g} eV, while on-site energies are {low:.4g}..{high:.4g} eV"
        remedy = "check its zero and unit, or set fermi_energy_eV to null"
        found.append(Problem("W07", "entries", message, remedy))
    several = expected.orbitals is not None and expected.orbitals.max() > 3  # s and p, say
    if several and high - low < _NARROW:
        message = f"on-site energies span {high - low:.3g} eV only: looks like Hartree or Rydberg"
        found.append(Problem("W09", "entries", message, "check the unit: entries are in eV"))
    return found


def compare_patterns(hamiltonian: Pattern, overlap: Pattern) -> list[Problem]:
    """Check that H and S belong to one structure: E38, W04.

    Parameters
    ----------
    hamiltonian, overlap : Pattern
        Pairs and shapes of the two files. All blocks of H may be doubled by spin.

    Returns
    -------
    list of Problem
        About hamiltonian.h5.
    """
    remedy = "the two files are of different structures: copy the right one"
    rows, plain = _atom_sizes(hamiltonian), _atom_sizes(overlap)
    if len(rows) != len(plain):
        message = f"{len(rows)} atoms, but {len(plain)} in overlap.h5"
        return [Problem("E38", "atom_pairs", message, remedy)]
    factor = 2 if rows.sum() > 1.5 * plain.sum() else 1
    differ = np.flatnonzero(rows != factor * plain)
    if len(differ):
        atom = int(differ[0])
        message = f"{rows[atom]} rows for atom {atom}, but {plain[atom]} in overlap.h5"
        return [Problem("E38", "chunk_shapes", message, remedy)]
    shared = int(np.count_nonzero(pair_lists.rows_of(overlap.pairs, hamiltonian.pairs) >= 0))
    if not shared:
        return [Problem("E38", "atom_pairs", "no pair in common with overlap.h5", remedy)]
    more_h, more_s = len(hamiltonian.pairs) - shared, len(overlap.pairs) - shared
    if more_h or more_s:
        message = f"{more_h} pairs are not in overlap.h5, and {more_s} of overlap.h5 not here"
        return [Problem("W04", "atom_pairs", message, "write both with one list of pairs")]
    return []


def _atom_sizes(pattern: Pattern) -> Int:
    """Give the number of orbitals of each atom; 0 for an atom that has no pair."""
    sizes = np.zeros(int(pattern.pairs[:, 3:].max()) + 1, np.int64)
    sizes[pattern.pairs[:, 3]] = pattern.shapes[:, 0]
    return sizes


def check_trace(
    density_path: Path, overlap_path: Path, expected: Expected, max_bytes: int = MAX_BYTES
) -> list[Problem]:
    """Compare the sum of rho_ij(R) conj(S_ij(R)) with the number of electrons: W10.

    Parameters
    ----------
    density_path, overlap_path : Path
        Two files that have passed `check_matrix`.
    expected : Expected
        With the number of electrons.
    max_bytes : int
        Most bytes of entries held at a time.

    Returns
    -------
    list of Problem
        About density_matrix.h5.
    """
    if expected.electrons is None or expected.spinful is None:
        return []
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            trace = _trace(density_path, overlap_path, expected, max_bytes)
    except InputError as error:
        return [problem_of(error, density_path, "E15")]
    if abs(trace - expected.electrons) <= _TRACE_TOLERANCE * max(1.0, expected.electrons):
        return []
    message = f"trace of rho S is {trace:.6g}, occupation is {expected.electrons:g}"
    ratio = expected.electrons / trace if trace else 0.0
    if abs(ratio - 2) < 1e-3:
        return [Problem("W10", "entries", f"{message}: one spin only", "multiply by 2")]
    return [Problem("W10", "entries", message, "check spin, conjugation and occupation")]


def _trace(density_path: Path, overlap_path: Path, expected: Expected, max_bytes: int) -> float:
    """Sum rho_ij(R) conj(S_ij(R)) over all pairs, both spins."""
    total = 0.0
    with open_matrix(density_path) as file, open_matrix(overlap_path) as other:
        density = check_indices(file, "density_matrix", expected).matrix
        overlap = check_indices(other, "overlap", expected).matrix
        if density is None or overlap is None:
            raise InputError(f"{density_path}: changed while it was read; check again")
        for _, piece in density.pieces(max(1, max_bytes // 4)):
            rows = pair_lists.rows_of(overlap.atom_pairs, piece.atom_pairs)
            partial = overlap.some(np.unique(rows[rows >= 0]), max_bytes)
            for members, stack in piece.by_shape():
                height, width = stack.shape[1], stack.shape[2]
                if expected.spinful:
                    height, width = height // 2, width // 2
                    stack = stack[:, :height, :width] + stack[:, height:, width:]
                shapes = np.tile([height, width], (len(members), 1))
                blocks = partial.on_pairs(piece.atom_pairs[members], shapes).entries
                total += float(np.vdot(blocks, stack.reshape(-1)).real)
    return total
