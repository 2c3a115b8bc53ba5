"""The loop of everything that makes one folder from each structure of a dataset.

Each new folder appears as a whole. Its info.json keeps ``made_of``, a hash of the files it was made
from: a folder is done while that is the same, and made again when it changed, unless the atoms are
others: then it is another structure's. Only the files of the maker are replaced, one by one; what
others have put there stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from deeph_spec.dataset import StructureFolder, structure_paths
from deeph_spec.errors import InputError
from deeph_spec.files import replace_folder, sha256, write_text

from deeph_dock.outcomes import Outcome, guarded
from deeph_dock.places import FRESH

MADE_OF = "made_of"
_INFO = "info.json"
_ATOMS = ", atoms "
_INTERRUPTED = "interrupted"
Facts = dict[str, Any]
Make = Callable[[StructureFolder, Path, str], Facts]
"""Takes a structure, the empty folder to fill and the value of ``made_of``; gives facts.

Its module names the files that it may write in ``FILES``.
"""


@dataclass(frozen=True)
class Derivation:
    """A folder to make from one structure.

    Attributes
    ----------
    id : str
        Name in the dataset.
    source, target : Path
        Folder of the structure, and folder to make.
    make : str
        ``"module:function"`` of the type `Make`.
    redo : bool
        Make it even if it is done, also in the place of other data.
    """

    id: str
    source: Path
    target: Path
    make: str
    redo: bool = False


def plan(dataset: Path, destination: Path, make: str, redo: bool = False) -> list[Derivation]:
    """Find the structures of a dataset, and where each new folder goes.

    Parameters
    ----------
    dataset : Path
        A root that holds dft, a dft folder, any folder of structures, or one structure.
    destination : Path
        Folder below which they go, under the same ids.
    make : str
        ``"module:function"`` that fills a folder.
    redo : bool
        Make also what is done.

    Returns
    -------
    list of Derivation
        In natural order of the ids.

    Raises
    ------
    InputError
        If there is no structure, or the destination is inside the dataset or the reverse.
    """
    found = structure_paths(dataset)
    inner, outer = Path(os.path.realpath(destination)), Path(os.path.realpath(dataset))
    if inner == outer or inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise InputError(
            f"{destination}: is inside {dataset}, or the reverse; choose another destination: "
            "datasets are never changed in place"
        )
    return [Derivation(id, path, destination / id, make, redo) for id, path in found.items()]


def preview(job: Derivation) -> Outcome:
    """Say what `derive` would do.

    Parameters
    ----------
    job : Derivation
        A structure and its place.

    Returns
    -------
    Outcome
        "new", "changed", "skipped" or "failed".
    """
    return guarded(job.id, lambda: Outcome(job.id, _status(job, _made_of(job))))


def derive(job: Derivation) -> Outcome:
    """Make one folder, unless it is done.

    Parameters
    ----------
    job : Derivation
        A structure and its place.

    Returns
    -------
    Outcome
        Never raises on what a structure may hold; KeyboardInterrupt passes.
    """
    return guarded(job.id, lambda: _derive(job))


def _derive(job: Derivation) -> Outcome:
    made_of = _made_of(job)
    status = _status(job, made_of)
    if status == "skipped":
        return Outcome(job.id, status)
    module, _, name = job.make.partition(":")
    make = cast("Make", getattr(import_module(module), name))
    job.target.parent.mkdir(parents=True, exist_ok=True)
    files: tuple[str, ...] = import_module(module).FILES
    with _whole(job.target, files) as folder:
        facts = make(StructureFolder(job.source, job.id), folder, made_of)
    return Outcome(job.id, "converted" if status == "new" else "updated", facts=facts)


@contextmanager
def _whole(target: Path, files: tuple[str, ...]) -> Iterator[Path]:
    """Give a folder to fill, and make it the target, or its files those of the target.

    In a folder that exists info.json says "interrupted" until all files are replaced: a killed run
    is made again.
    """
    if not target.exists():
        with replace_folder(target) as folder:
            yield folder
        return
    fresh = target / FRESH
    if fresh.exists():
        shutil.rmtree(fresh)
    with replace_folder(fresh) as folder:
        yield folder
    write_text(target / _INFO, json.dumps({MADE_OF: _INTERRUPTED}) + "\n")
    for name in files:
        if not (fresh / name).exists():
            (target / name).unlink(missing_ok=True)
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == _INFO):
        os.replace(path, target / path.name)
    fresh.rmdir()


def _made_of(job: Derivation) -> str:
    """Give the hash of the files and the form, and that of the atoms: the same structure or not."""
    content = hashlib.sha256(job.make.encode())
    for path in sorted(job.source.iterdir()):
        if path.is_file() and (path.suffix == ".h5" or path.name in ("POSCAR", _INFO)):
            content.update(f"{path.name} {sha256(path)}\n".encode())
    return f"sha256:{content.hexdigest()}{_ATOMS}{sha256(job.source / 'POSCAR')[:16]}"


def _status(job: Derivation, made_of: str) -> str:
    """Compare what is at the target: "new", "changed" or "skipped".

    Raises
    ------
    InputError
        If something else is there.
    """
    if not os.path.lexists(job.target):
        return "new"
    if job.redo:
        return "changed"
    try:
        document = json.loads((job.target / _INFO).read_text(encoding="utf-8"))
        known = document.get(MADE_OF) or document.get("provenance", {}).get(MADE_OF)
    except (OSError, ValueError, AttributeError):
        known = None
    if not isinstance(known, str):
        raise InputError(
            f"{job.target}: exists and was not made by this command; choose another destination, "
            "or --overwrite it"
        )
    if known != _INTERRUPTED and known.partition(_ATOMS)[2] != made_of.partition(_ATOMS)[2]:
        raise InputError(
            f"{job.target}: was made from other atoms than those of {job.source}; choose another "
            "destination, or --overwrite it"
        )
    return "skipped" if known == made_of else "changed"
