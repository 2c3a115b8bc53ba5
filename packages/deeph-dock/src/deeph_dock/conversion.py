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
from pathlib import Path
from typing import NamedTuple

from deeph_spec.errors import InputError
from deeph_spec.files import sha256

from deeph_dock.codes import load
from deeph_dock.discovery import WANTED, Job, dataset_folder, plan
from deeph_dock.outcomes import Outcome, describe, guarded
from deeph_dock.places import Record, put_in_place, remove_leftovers, sole_writer

__all__ = [
    "WANTED",
    "Job",
    "Outcome",
    "convert",
    "dataset_folder",
    "describe",
    "plan",
    "preview",
    "remove_leftovers",
    "sole_writer",
]


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
    return guarded(job.id, lambda: Outcome(job.id, _state(job, _digests(job)).status))


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
    return guarded(job.id, lambda: _convert(job))


def _convert(job: Job) -> Outcome:
    digests = _digests(job)
    state = _state(job, digests)
    if state.status == "skipped":
        return Outcome(job.id, "skipped")
    from deeph_dock.writing import write_calculation

    calculation = load(job.run.code).read(job.run.folder, job.run.label)
    with put_in_place(job.target, state.files) as folder:
        written = write_calculation(
            calculation, folder, state.wanted, job.allow_unconverged, {"inputs": digests}
        )
    status = "converted" if state.status == "new" else "updated"
    return Outcome(job.id, status, state.why, written.warnings, written.facts)


def _digests(job: Job) -> dict[str, str]:
    """Give the hash of every input file by its name."""
    inputs = load(job.run.code).inputs(job.run.folder, job.run.label)
    return {
        Path(os.path.relpath(path, job.run.folder)).as_posix(): f"sha256:{sha256(path)}"
        for path in inputs
    }


class _State(NamedTuple):
    """What is at the target of a job, compared with the inputs.

    `status` is "new", "changed" or "skipped"; `wanted` are the matrices to write, those of a former
    conversion included; `files` are the files it wrote.
    """

    status: str
    why: str
    wanted: tuple[str, ...]
    files: tuple[str, ...]


def _state(job: Job, digests: dict[str, str]) -> _State:
    """Look at the target.

    Raises
    ------
    InputError
        If something else is there.
    """
    info = job.target / "info.json"
    if not os.path.lexists(info):
        return _State("new", "", job.wanted, Record().files)
    from deeph_spec.system import SystemInfo

    try:
        provenance = SystemInfo.read(info).provenance
    except InputError:
        provenance = {}
    record = Record.of(provenance)
    if job.redo:
        return _State("changed", "asked for", job.wanted, record.files)
    known = provenance.get("inputs")
    if not isinstance(known, dict) or not known:
        raise InputError(
            f"{job.target}: exists and was not written by dock convert; choose another "
            "destination, or --overwrite its files"
        )
    wanted = tuple(name for name in WANTED if name in {*record.asked, *job.wanted})
    there = all((job.target / name).exists() for name in record.files)
    same = wanted == record.asked and job.allow_unconverged == record.allow_unconverged
    if known == digests and there and same:
        return _State("skipped", "", wanted, record.files)
    if not set(known.values()) & set(digests.values()):
        raise InputError(
            f"{job.target}: holds another calculation, none of its input files is one of "
            f"{job.run.folder}; choose another destination, or --overwrite it"
        )
    differ = sorted(n for n in known.keys() | digests.keys() if known.get(n) != digests.get(n))
    why = f"changed: {', '.join(differ) or 'a file of the dataset is missing'}"
    if not differ and not same:
        why = "other matrices asked for"
    return _State("changed", why, wanted, record.files)
