"""Finding the calculations below a folder, and the place of each in a dataset.

The id of a calculation is its path below the source; several labels in one folder become
``<folder>/<label>``. Folders that begin with "." or "_" are not searched, nor are those that belong
to a calculation that was found; links are followed. Only names and first bytes are looked at, and
nothing here imports numpy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeph_spec.errors import InputError

from deeph_dock.codes import Found, detect, load, names

WANTED = ("overlap", "hamiltonian", "density_matrix", "position_matrix")
"""Matrices that a calculation may give; the first two are written unless others are asked for."""
_DFT = "dft"
_INFO = "info.json"
_JOINT = "__"


@dataclass(frozen=True)
class Job:
    """One calculation and the place where it goes.

    Attributes
    ----------
    id : str
        Name in the dataset.
    run : Found
        The calculation.
    target : Path
        Folder to write.
    wanted : tuple of str
        Matrices to write, of `WANTED`.
    redo : bool
        Convert even if it is done.
    allow_unconverged : bool
        Write also what depends on a self-consistency that was not reached.
    """

    id: str
    run: Found
    target: Path
    wanted: tuple[str, ...] = WANTED[:2]
    redo: bool = False
    allow_unconverged: bool = False


def dataset_folder(destination: Path) -> Path:
    """Give the folder that holds the structures: DST/dft, or DST if it is named dft."""
    return destination if destination.name == _DFT else destination / _DFT


def plan(
    sources: Sequence[Path], destination: Path, code: str | None = None, flatten: bool = False
) -> list[Job]:
    """Find all calculations below the sources, and where each is to go.

    Parameters
    ----------
    sources : sequence of Path
        Folders to search, or folders of one calculation.
    destination : Path
        Root of the dataset.
    code : str, optional
        Look for this code only.
    flatten : bool
        Join the parts of each id by "__", so that calculations of all depths can be together.

    Returns
    -------
    list of Job
        In natural order of the ids.

    Raises
    ------
    InputError
        If nothing is found, or calculations lie at different depths, or two have one id, or one
        would lie inside a structure that is there, or around it.
    """
    top = dataset_folder(destination)
    jobs: dict[str, Job] = {}
    for source in sources:
        if not source.is_dir():
            what = "is a file, expected a folder" if source.exists() else "no such folder"
            raise InputError(f"{source}: {what}")
        found = list(_search(source, code, os.path.realpath(top)))
        if not found:
            kinds = ", ".join(f"{load(n).name} ({load(n).looks_for})" for n in _codes(code))
            raise InputError(f"{source}: no calculation found in it; looked for {kinds}")
        if not flatten:
            _refuse_mixed(source, found)
        for parts, run in found:
            id = (_JOINT if flatten else "/").join(parts or (source.absolute().name,))
            if id in jobs:
                raise InputError(
                    f"{_name(jobs[id].run)} and {_name(run)} would both become '{id}'; convert "
                    "them into different datasets"
                )
            jobs[id] = Job(id, run, top / id)
    _refuse_nested(top, jobs.values())
    return sorted(jobs.values(), key=lambda job: _natural(job.id))


def _refuse_nested(top: Path, jobs: Iterable[Job]) -> None:
    """Refuse structures inside structures of a former conversion, before any work."""
    inside: dict[Path, Job] = {}
    for job in jobs:
        for parent in job.target.parents:
            if parent == top:
                break
            inside.setdefault(parent, job)
        around = job.target.is_dir() and not (job.target / _INFO).exists()
        within = next(job.target.glob(f"[!.]*/{_INFO}"), None) if around else None
        if within is not None:
            raise InputError(
                f"'{job.id}' would lie around the structure {within.parent} of a former "
                "conversion; remove that, or choose another destination"
            )
    for parent, job in inside.items():
        if (parent / _INFO).exists():
            raise InputError(
                f"'{job.id}' would lie inside the structure {parent} of a former conversion; "
                "remove that, or choose another destination"
            )


def _codes(code: str | None) -> tuple[str, ...]:
    return names() if code is None else (code,)


def _name(run: Found) -> str:
    return f"{run.folder} ({_label(run)})"


def _label(run: Found) -> str:
    """Give the label of a calculation, or the name of its code if it has none."""
    return run.label or run.code


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Give the key of natural order: 2 before 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [*((0, int(part)) if part.isdigit() else (1, part) for part in parts), (2, text)]


def _search(
    source: Path, code: str | None, excluded: str
) -> Iterator[tuple[tuple[str, ...], Found]]:
    """Yield the parts of the id and the calculation, for all below `source`, links followed."""
    waiting: list[tuple[str, ...]] = [()]
    seen = {excluded}
    while waiting:
        parts = waiting.pop()
        folder = source.joinpath(*parts)
        real = os.path.realpath(folder)
        runs = list(detect(folder, code))
        several = len(runs) > 1
        own = parts or ((source.absolute().name,) if several else ())
        for run in runs:
            yield (*own, _label(run)) if several else own, run
        if real in seen:
            continue  # a second way to the same folder, or a link that leads back up
        seen.add(real)
        owned = {name for run in runs for name in load(run.code).own_folders(folder, run.label)}
        with os.scandir(folder) as entries:
            below = [
                e.name
                for e in entries
                if e.name[0] not in "._" and e.name not in owned and e.is_dir()
            ]
        waiting += [(*parts, name) for name in below]


def _refuse_mixed(source: Path, found: Sequence[tuple[tuple[str, ...], Found]]) -> None:
    """Refuse calculations at different depths."""
    depths = [len(run.folder.relative_to(source).parts) for _, run in found]
    levels = [(depth, len(parts)) for depth, (parts, _) in zip(depths, found, strict=True)]
    common = max(sorted(set(levels)), key=levels.count)
    odd = [
        "/".join(parts) or "." for (parts, _), at in zip(found, levels, strict=True) if at != common
    ]
    if odd:
        shown = ", ".join(sorted(odd)[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        raise InputError(
            f"{source}: calculations at different depths: most lie {common[0]} folders deep with "
            f"{'several labels' if common[1] > common[0] else 'one label'} in a folder, but not "
            f"{shown}; convert these separately, or join the names of all with --flatten"
        )
