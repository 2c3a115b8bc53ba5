"""Checking a dataset: the rules of the format, and the proofs that its matrices are right.

Each structure gives one `Row`. The proofs are those of `deeph_dock.proofs`; their limits depend on
what the code that made the data can be held to. The reference of the eigenvalues is eigval_dft.h5
beside the matrices, or the raw run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.system import SystemInfo
from deeph_spec.validation import Finding, consistency_findings, validate_folder

from deeph_dock.basis.folder import Request as Bases
from deeph_dock.codes import Eigenvalues, Found, load
from deeph_dock.executors import describe_loss, each
from deeph_dock.overlap_diagnosis import Agreement
from deeph_dock.proofs import (
    TELLING_OVERLAP,
    EigenvalueDeviation,
    TwoCentre,
    eigenvalue_deviation,
    two_centre,
)
from deeph_dock.reference import REFERENCE_FILE, read_reference

if TYPE_CHECKING:
    from deeph_dock.basis import AtomicBasis
    from deeph_dock.overlap_diagnosis.reading import Engine

TWO_CENTRE_LIMITS = {
    "SIESTA": 1e-6,
    "OpenMX": 1e-9,
    "ABACUS": 1e-5,
    "PySCF": 1e-9,
    "FHI-aims": 2e-3,
}
"""Largest violation of the two-centre rule, by the code's own integration error."""
TWO_CENTRE_LIMIT = 2e-3
"""The same where the code is not known; wrong orders and signs cost 0.2 and more."""
HERMITIAN_LIMITS = {"single": 3e-7, "double": 1e-8}
"""Largest difference of Hermitian partners over the largest element, by precision."""
EIGENVALUE_LIMITS = {"FHI-aims": 2e-3}
"""Largest difference to the code's own eigenvalues, eV, where fewer digits are written."""
EIGENVALUE_LIMIT = 1e-4
"""The same for other codes."""
ABOVE_FERMI = 5.0
"""Eigenvalues are compared up to this energy above the Fermi level, eV."""
PAIRS_AT_MOST = 4000
"""Pairs drawn for the two-centre rule, unless all are asked for."""
OPERATIONS_AT_MOST = 2e8
"""k-points times orbitals^3 spent on eigenvalues, unless all are asked for; about a second."""
ORBITALS_AT_MOST = 2000
"""Cells with more orbitals are diagonalised only if it is asked for."""
READABLE = {"E06", "E22", "E31", "E32"}
"""Broken rules that overlaps of the basis may explain."""


@dataclass(frozen=True)
class Task:
    """One structure to check.

    Attributes
    ----------
    id : str
        Name in the dataset.
    path : Path
        Its folder.
    run : Found or None
        The raw calculation, if it is to be compared with.
    sample : bool
        Whether large structures are checked on a part of their pairs and k-points.
    bases : Bases or None
        The basis that S is recomputed from.
    """

    id: str
    path: Path
    run: Found | None = None
    sample: bool = True
    bases: Bases | None = None


@dataclass(frozen=True)
class Row:
    """Result of one structure; None where a proof was not made.

    Attributes
    ----------
    id : str
    atoms, orbitals, pairs : int or None
    empty_overlaps : int or None
        Pairs that H has and whose overlap is exactly zero.
    findings : tuple of Finding
        What the rules of the format say.
    two_centre : TwoCentre or None
    hermitian_overlap, hermitian_hamiltonian : float or None
        Largest difference of Hermitian partners; 1 and eV.
    hermitian_source : float or None
        The same in the code's own files, before the converter averaged partners.
    eigenvalues : EigenvalueDeviation or None
        eV.
    basis : Agreement or None
        S against that of the basis.
    failures : tuple of str
        Proofs that failed, one line each.
    notes : tuple of str
        What was left out, and why.
    seconds : float
    trace : str
        Where an unexpected error occurred.
    """

    id: str
    atoms: int | None = None
    orbitals: int | None = None
    pairs: int | None = None
    empty_overlaps: int | None = None
    findings: tuple[Finding, ...] = ()
    two_centre: TwoCentre | None = None
    hermitian_overlap: float | None = None
    hermitian_hamiltonian: float | None = None
    hermitian_source: float | None = None
    eigenvalues: EigenvalueDeviation | None = None
    basis: Agreement | None = None
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    trace: str = field(default="", repr=False)

    @property
    def errors(self) -> list[Finding]:
        """Findings that break a rule."""
        return [finding for finding in self.findings if finding.severity == "error"]

    @property
    def ok(self) -> bool:
        """Whether no rule is broken and no proof failed."""
        return not self.errors and not self.failures

    def to_document(self) -> dict[str, Any]:
        """Give the row as plain objects, for JSON."""
        document = asdict(self)
        document.pop("trace")
        if self.basis is not None:
            document["basis"] |= {"ok": self.basis.ok, "looks_like": self.basis.looks_like}
        return document | {"ok": self.ok}


def dataset_findings(dataset: Path) -> list[Finding]:
    """Give what the structures of a dataset must have in common and do not.

    Parameters
    ----------
    dataset : Path
        As for `deeph_spec.dataset.structure_paths`.

    Returns
    -------
    list of Finding
        Rules that concern more than one folder.
    """
    return consistency_findings(dataset)


def check(task: Task) -> Row:
    """Check one structure.

    Parameters
    ----------
    task : Task
        The structure and how thoroughly it is checked.

    Returns
    -------
    Row
        Never raises on what a folder may hold; KeyboardInterrupt passes.
    """
    start = time.perf_counter()
    row = Row(task.id, findings=tuple(validate_folder(task.path)))
    try:
        row = _proved(task, row)
    except (InputError, OSError, MemoryError) as error:
        if not row.errors:  # else it is among the findings already
            row = replace(row, failures=(*row.failures, str(error) or type(error).__name__))
    except Exception as error:
        import traceback

        reason = " ".join(f"internal error: {type(error).__name__}: {error}".split())
        row = replace(row, failures=(*row.failures, reason), trace=traceback.format_exc())
    return replace(row, seconds=time.perf_counter() - start)


def _proved(task: Task, row: Row) -> Row:
    """Add the facts of a structure and its proofs."""
    folder = StructureFolder(task.path, task.id)
    info, structure = folder.info, folder.structure
    row = replace(row, atoms=len(structure), orbitals=info.orbits_quantity)
    source = info.provenance.get("hermitian_error")
    if isinstance(source, int | float):
        row = replace(row, hermitian_source=float(source))
    overlap = folder.overlap() if folder.has("overlap") else None
    hamiltonian = folder.hamiltonian() if folder.has("hamiltonian") else None
    for matrix in (overlap, hamiltonian):
        if matrix is not None:
            row = replace(row, pairs=max(row.pairs or 0, len(matrix)))
    if overlap is None and task.bases is not None:
        row = replace(row, notes=(*row.notes, "no overlap.h5: nothing to compare with the basis"))
    if overlap is not None and {finding.rule for finding in row.errors} <= READABLE:
        row = _with_basis(row, task, folder, overlap)
    if row.errors:
        return row  # the proofs presume that the files are as the format says
    if overlap is not None:
        row = _with_overlap(row, task, folder, overlap)
    if hamiltonian is not None:
        row = _with_hermitian(row, "hamiltonian", hamiltonian)
    if overlap is not None and hamiltonian is not None:
        row = replace(row, empty_overlaps=_empty_overlaps(overlap, hamiltonian))
        row = _with_eigenvalues(row, task, folder, hamiltonian, overlap)
    return row


def _empty_overlaps(overlap: BlockMatrix, hamiltonian: BlockMatrix) -> int:
    """Count the pairs of H whose overlap is zero or missing."""
    filled = np.zeros(len(overlap), dtype=bool)
    for rows, stack in overlap.by_shape():
        filled[rows] = (stack != 0).any(axis=(1, 2))
    rows = overlap.rows_of(hamiltonian.atom_pairs)
    return int(np.count_nonzero((rows < 0) | ~filled[rows]))


def _with_overlap(row: Row, task: Task, folder: StructureFolder, overlap: BlockMatrix) -> Row:
    """Add the two-centre rule and the Hermiticity of S."""
    at_most = PAIRS_AT_MOST if task.sample else None
    result = two_centre(folder.structure, folder.info.orbital_map, overlap, at_most)
    failures, notes = [*row.failures], [*row.notes]
    limit = TWO_CENTRE_LIMITS.get(str(folder.info.provenance.get("code")), TWO_CENTRE_LIMIT)
    if not result.violation <= limit:
        failures.append(
            f"two-centre rule: the overlap of pair {result.pair} violates it by "
            f"{result.violation:.2g}, limit {limit:g}: order or signs of orbitals are wrong, or R "
            "does not belong to the positions"
        )
    elif result.largest < TELLING_OVERLAP:
        notes.append(
            f"two-centre rule: overlaps between atoms reach {result.largest:.2g} only, which "
            "proves little"
        )
    if result.checked < result.available:
        notes.append(f"two-centre rule: {result.checked} of {result.available} pairs (--full: all)")
    row = replace(row, two_centre=result, failures=tuple(failures), notes=tuple(notes))
    return _with_hermitian(row, "overlap", overlap)


def _with_basis(row: Row, task: Task, folder: StructureFolder, overlap: BlockMatrix) -> Row:
    """Add the comparison of S with that of the basis."""
    if task.bases is None:
        return row
    from deeph_dock.overlap_diagnosis import examine

    bases, engine = _engine(*_named(task.bases, folder))
    agreement = examine(folder.structure, folder.info.orbital_map, overlap, bases, engine)
    failures, notes = row.failures, row.notes
    if not agreement.ok:
        failures += (f"basis: {agreement}",)
    return replace(row, basis=agreement, failures=failures, notes=(*notes, *agreement.notes))


def _named(request: Bases, folder: StructureFolder) -> tuple[Bases, tuple[int, ...]]:
    """Name the orbitals that the structure has, if the user does not; and give its elements."""
    structure, info = folder.structure, folder.info
    elements = tuple(np.unique(structure.numbers).tolist())
    if request.orbitals:
        return request, elements
    kept = info.provenance.get("basis")
    named = kept if isinstance(kept, Mapping) else {}
    shells = tuple((symbol, info.orbital_map[symbol]) for symbol in structure.elements)
    own = tuple((symbol, str(named[symbol])) for symbol in structure.elements if symbol in named)
    return replace(request, orbitals=_names_of(request, shells, own)), elements


@lru_cache(maxsize=64)
def _names_of(
    request: Bases,
    shells: tuple[tuple[str, tuple[int, ...]], ...],
    kept: tuple[tuple[str, str], ...],
) -> tuple[str, ...]:
    """Name orbitals of files that hold more of them than a run uses: once for equal structures."""
    from deeph_dock.basis.folder import named_like

    return named_like(request, dict(shells), dict(kept))


@lru_cache(maxsize=8)
def _engine(request: Bases, elements: tuple[int, ...]) -> tuple[dict[int, AtomicBasis], Engine]:
    """Read the bases of some elements and tabulate their integrals, once for all structures."""
    from deeph_dock.basis.folder import read_bases
    from deeph_dock.integrals.two_centre import TwoCentre as Integrals

    bases = read_bases(request, elements)
    return bases, Integrals(bases)


def _with_hermitian(row: Row, name: str, matrix: BlockMatrix) -> Row:
    """Add the Hermiticity of one matrix."""
    error, at = matrix.hermitian_error()
    precision = (
        "single"
        if matrix.dtype.itemsize in (4, 8)
        and matrix.dtype
        in (
            np.float32,
            np.complex64,
        )
        else "double"
    )
    scale = max(1.0, float(np.abs(matrix.entries).max(initial=0.0)))
    failures = row.failures
    if not error <= HERMITIAN_LIMITS[precision] * scale:
        pair = tuple(matrix.atom_pairs[at].tolist())
        failures += (
            f"Hermiticity: the {name} block of {pair} and its partner differ by {error:.2g}, "
            f"limit {HERMITIAN_LIMITS[precision] * scale:.2g}",
        )
    if name == "overlap":
        return replace(row, hermitian_overlap=error, failures=failures)
    return replace(row, hermitian_hamiltonian=error, failures=failures)


def _with_eigenvalues(
    row: Row,
    task: Task,
    folder: StructureFolder,
    hamiltonian: BlockMatrix,
    overlap: BlockMatrix,
) -> Row:
    """Add the comparison with the code's own eigenvalues, if they are there."""
    reference = _reference(task, folder.info)
    if reference is None:
        return row
    size = folder.info.orbits_quantity * folder.info.spin_factor
    if task.sample and size > ORBITALS_AT_MOST:
        note = f"eigenvalues: {size} orbitals, not diagonalised (--full: they are)"
        return replace(row, notes=(*row.notes, note))
    kpoints = max(1, int(OPERATIONS_AT_MOST / size**3)) if task.sample else None
    result = eigenvalue_deviation(
        folder.structure, folder.info, hamiltonian, overlap, reference, ABOVE_FERMI, kpoints
    )
    failures, notes = row.failures, row.notes
    limit = EIGENVALUE_LIMITS.get(str(folder.info.provenance.get("code")), EIGENVALUE_LIMIT)
    if not result.largest <= limit:
        failures += (
            f"eigenvalues: they differ from the code's own by {result.largest * 1e3:.3g} meV below "
            f"E_F + {ABOVE_FERMI:g} eV, limit {limit * 1e3:g} meV: H, S or the energy "
            "unit are wrong",
        )
    if result.kpoints < result.available:
        notes += (f"eigenvalues: {result.kpoints} of {result.available} k-points (--full: all)",)
    return replace(row, eigenvalues=result, failures=failures, notes=notes)


def _reference(task: Task, info: SystemInfo) -> Eigenvalues | None:
    """Find the code's own eigenvalues: in the raw run if it is given, else beside the matrices."""
    if task.run is not None:
        calculation = load(task.run.code).read(task.run.folder, task.run.label)
        if calculation.structure.symbols and info.atoms_quantity != len(calculation.structure):
            raise InputError(
                f"{task.run.folder}: {len(calculation.structure)} atoms, the structure "
                f"'{task.id}' has {info.atoms_quantity}: not its run"
            )
        return calculation.eigenvalues() if calculation.eigenvalues is not None else None
    path = task.path / REFERENCE_FILE
    return read_reference(path) if path.exists() else None


def run(
    tasks: Iterable[Task], make_executor: Callable[[], Executor], at_once: int = 1
) -> Iterator[Row]:
    """Check all structures, and give the rows in the order in which they come.

    Parameters
    ----------
    tasks : iterable of Task
        One for each structure.
    make_executor : callable
        Makes the executor that does the work.
    at_once : int
        Structures given to it before the first row.

    Yields
    ------
    Row
        One for each task.
    """
    for task, result in each(check, tasks, make_executor, at_once):
        if isinstance(result, Exception):
            yield Row(task.id, failures=(describe_loss(result),))
        else:
            yield result


def check_bases(dataset_paths: Mapping[str, Path], bases: Bases) -> None:
    """Read the bases that the first structure needs, to refuse wrong ones before any work.

    Parameters
    ----------
    dataset_paths : mapping
        Folder of each structure.
    bases : Bases
        Where the bases are.

    Raises
    ------
    InputError
        If there are none, an element has two, or none, or a file is damaged.
    """
    _engine.cache_clear()  # files may have changed since the last call
    _names_of.cache_clear()
    for id, path in dataset_paths.items():
        folder = StructureFolder(path, id)
        try:
            known = set(folder.structure.elements) <= set(folder.info.orbital_map)
        except InputError:
            continue  # said when the structure is checked
        if known:
            _engine(*_named(bases, folder))  # kept for the structures that this process checks
            return


def runs_by_id(source: Path, ids: Iterable[str]) -> Mapping[str, Found]:
    """Find the raw calculation of each structure.

    Parameters
    ----------
    source : Path
        The folder from which the dataset was converted.
    ids : iterable of str
        Names of the structures.

    Returns
    -------
    mapping
        The calculation of each id that has one.

    Raises
    ------
    InputError
        If there is no calculation, or none of these names.
    """
    from deeph_dock.discovery import plan

    wanted = set(ids)
    found = {job.id: job.run for job in plan([source], Path(os.devnull)) if job.id in wanted}
    if not found:
        raise InputError(
            f"{source}: no calculation of any structure of the dataset; give the folder that was "
            "converted"
        )
    return found
