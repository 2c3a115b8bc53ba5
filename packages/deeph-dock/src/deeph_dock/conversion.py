"""From folders of finished calculations to a dataset: plan, run, report.

Each calculation becomes ``DST/dft/<id>`` (``DST/<id>`` if DST itself is named dft), where the id is
its path below the source; several labels in one folder become ``<folder>/<label>``. A structure is
written into a folder beside its place and renamed: it is there as a whole or not at all, and
info.json is its last file. What a killed run leaves behind is removed by the next one.

Which structures are done is decided by content: info.json keeps the SHA-256 of every input file
(``provenance.inputs``). Inputs are never changed, and of a folder that is converted again only the
files that this program writes are replaced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deeph_spec.errors import InputError
from deeph_spec.files import sha256

from deeph_dock.codes import load
from deeph_dock.discovery import Job, dataset_folder, plan
from deeph_dock.executors import each
from deeph_dock.places import put_in_place, remove_leftovers, sole_writer

__all__ = [
    "PRELOAD",
    "Job",
    "Outcome",
    "convert",
    "dataset_folder",
    "plan",
    "preview",
    "remove_leftovers",
    "run",
    "sole_writer",
]

PRELOAD = ("deeph_dock.codes.siesta.run", "deeph_dock.reference", "deeph_spec.blocks")
"""Modules that every worker needs."""
NOT_HERMITIAN = {"overlap": 1e-5, "hamiltonian": 1e-3}
"""Differences between Hermitian partners (1 and eV) that no calculation has: damaged files."""


@dataclass(frozen=True)
class Outcome:
    """What became of one job.

    Attributes
    ----------
    id : str
    status : str
        "converted", "updated" (an input had changed), "skipped" (done before), "failed";
        in a preview "new", "changed" instead of the first two.
    reason : str
        Why it failed, one line.
    warnings : tuple of str
        What the user should know.
    facts : dict
        atoms, orbitals, pairs, empty_overlaps (pairs whose overlap is zero), bytes, ...
    seconds : float
        Wall time.
    trace : str
        Where an unexpected error occurred.
    """

    id: str
    status: str
    reason: str = ""
    warnings: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    trace: str = ""


def preview(job: Job) -> Outcome:
    """Say what `convert` would do with a job.

    Parameters
    ----------
    job : Job
        A calculation and its place.

    Returns
    -------
    Outcome
        "new", "changed", "skipped" or "failed"; the matrices are not read.
    """
    return _guarded(job, lambda: Outcome(job.id, _state(job, _digests(job))[0]))


def convert(job: Job) -> Outcome:
    """Convert one calculation, unless it is done.

    Parameters
    ----------
    job : Job
        A calculation and its place.

    Returns
    -------
    Outcome
        Never raises on what a calculation may hold; KeyboardInterrupt passes.
    """
    return _guarded(job, lambda: _convert(job))


def _guarded(job: Job, work: Callable[[], Outcome]) -> Outcome:
    """Turn exceptions into the outcome "failed"."""
    start = time.perf_counter()
    try:
        outcome = work()
    except InputError as error:
        outcome = Outcome(job.id, "failed", str(error))
    except OSError as error:
        outcome = Outcome(job.id, "failed", describe(error))
    except MemoryError:
        outcome = Outcome(job.id, "failed", "not enough memory; run again with fewer jobs (-j)")
    except Exception as error:
        import traceback

        reason = " ".join(f"internal error: {type(error).__name__}: {error}".split())
        outcome = Outcome(job.id, "failed", reason, trace=traceback.format_exc())
    return replace(outcome, seconds=time.perf_counter() - start)


def describe(error: OSError) -> str:
    """Say in one line what the operating system refused, and where."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _convert(job: Job) -> Outcome:
    digests = _digests(job)
    status, why = _state(job, digests)
    if status == "skipped":
        return Outcome(job.id, status)
    calculation = load(job.run.code).read(job.run.folder, job.run.label)
    warnings = [*calculation.warnings]
    with put_in_place(job.target) as folder:
        facts = _write(calculation, folder, digests, warnings)
    return Outcome(
        job.id, "converted" if status == "new" else "updated", why, tuple(warnings), facts
    )


@cache
def _converter() -> str:
    """Give name and version of this program."""
    return f"deeph-dock {version('deeph-dock')}"


def _digests(job: Job) -> dict[str, str]:
    """Give the hash of every input file by its name."""
    inputs = load(job.run.code).inputs(job.run.folder, job.run.label)
    return {
        path.relative_to(job.run.folder).as_posix(): f"sha256:{sha256(path)}" for path in inputs
    }


def _state(job: Job, digests: dict[str, str]) -> tuple[str, str]:
    """Compare what is at the target with the inputs: "new", "changed" or "skipped", and why.

    Raises
    ------
    InputError
        If something else is at the target.
    """
    info = job.target / "info.json"
    if not os.path.lexists(info):
        return "new", ""
    from deeph_spec.system import SystemInfo

    if job.redo:
        return "changed", "asked for"
    try:
        known = SystemInfo.read(info).provenance.get("inputs")
    except InputError:
        known = None
    if not isinstance(known, dict) or not known:
        raise InputError(
            f"{job.target}: exists and was not written by dock convert; choose another "
            "destination, or --overwrite its files"
        )
    if known == digests and all((job.target / name).exists() for name in ("POSCAR", "overlap.h5")):
        return "skipped", ""
    if not set(known.values()) & set(digests.values()):
        raise InputError(
            f"{job.target}: holds another calculation, none of its input files is one of "
            f"{job.run.folder}; choose another destination, or --overwrite it"
        )
    differ = sorted(n for n in known.keys() | digests.keys() if known.get(n) != digests.get(n))
    return "changed", f"changed: {', '.join(differ) or 'a file of the dataset is missing'}"


def _write(
    calculation: Any, folder: Path, digests: dict[str, str], warnings: list[str]
) -> dict[str, Any]:
    """Fill a folder; add to the warnings; give the facts of the outcome."""
    import numpy as np

    from deeph_dock.reference import REFERENCE_FILE, write_reference

    structure, info = calculation.structure, calculation.info
    facts: dict[str, Any] = {"formula": structure.formula, "atoms": len(structure)}
    facts["orbitals"] = info.orbits_quantity
    structure.write(folder / "POSCAR")
    errors = {}
    for name, read in calculation.matrices.items():
        matrix = read()
        errors[name], row = matrix.hermitian_error()
        if not errors[name] <= NOT_HERMITIAN.get(name, np.inf):
            pair = tuple(matrix.atom_pairs[row].tolist())
            raise InputError(
                f"the {name} is not Hermitian: the block of {pair} and its partner differ by "
                f"{errors[name]:.3g}; the file is damaged"
            )
        matrix.hermitian().write(folder / f"{name}.h5", quantity=name)
        facts["pairs"] = len(matrix)
        if name == "overlap":
            filled = np.add.reduceat(matrix.entries != 0, matrix.chunk_boundaries[:-1])
            facts["empty_overlaps"] = int(np.count_nonzero(filled == 0))
    if calculation.eigenvalues is not None:
        try:
            write_reference(folder / REFERENCE_FILE, calculation.eigenvalues())
        except InputError as error:
            warnings.append(f"eigenvalues not kept for comparison: {error}")
    head = {
        "code": info.provenance.get("code"),
        "code_version": info.provenance.get("code_version"),
        "converter": _converter(),
        "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "inputs": digests,
    }
    provenance = {key: value for key, value in head.items() if value is not None} | {
        key: value for key, value in info.provenance.items() if key not in head
    }
    provenance["hermitian_error"] = max(errors.values(), default=0.0)
    replace(info, provenance=provenance).write(folder / "info.json")
    facts["bytes"] = sum(path.stat().st_size for path in folder.iterdir())
    return facts


def run(
    jobs: Iterable[Job],
    function: Callable[[Job], Outcome],
    make_executor: Callable[[], Executor],
    at_once: int = 1,
) -> Iterator[Outcome]:
    """Do all jobs, and give the outcomes in the order in which they come.

    Parameters
    ----------
    jobs : iterable of Job
        From `plan`.
    function : callable
        `convert` or `preview`.
    make_executor : callable
        Makes the executor that does the work.
    at_once : int
        Jobs given to it before the first outcome.

    Yields
    ------
    Outcome
        One for each job.

    Raises
    ------
    KeyboardInterrupt
        After the outcomes of the jobs that were under way.
    """
    for job, result in each(function, jobs, make_executor, at_once):
        if isinstance(result, Exception):
            reason = "its process died, killed or out of memory; run again with fewer jobs (-j)"
            yield Outcome(job.id, "failed", reason)
        else:
            yield result
