"""Making structures step by step, and writing each with a record of how it was made.

Random numbers of a structure come from the seed of the command and from its own name: they depend
neither on other structures nor on who makes them when.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file, replace_folder, write_text
from deeph_spec.structure import Structure
from numpy.random import Generator

from deeph_dock.structures.distances import nearest_pair

RECORD_FILE = "generated.json"
MADE_BY = "made_by"
"""Key of the record that says which version made it; another version alone changes nothing."""
FORMATS = ("poscar", "xyz", "cif")
DRAWS = 100
"""How often a structure is drawn before too small distances are given up."""

Facts = dict[str, Any]
Step = Callable[[Structure, Generator], tuple[Structure, Facts]]
"""A function of a module of this package with its settings bound by `functools.partial`."""


@dataclass(frozen=True, eq=False)
class Job:
    """One structure to make.

    Attributes
    ----------
    id : str
        Of the new structure: its path below `top`.
    structure : Structure
        What it is made from.
    steps : tuple of (str, Step)
        What to do with it, in this order, each with a name for the record.
    top : Path
        Folder for all structures.
    key : str
        Its name for the random numbers.
    seed : int
        Of the command.
    periodic : three bool
        Along which vectors it repeats.
    min_distance : float
        Å; atoms may not be nearer.
    format : str
        Of `FORMATS`.
    about : dict
        What else belongs into the record: command, options, source.
    """

    id: str
    structure: Structure
    steps: tuple[tuple[str, Step], ...]
    top: Path
    key: str
    seed: int = 1
    periodic: tuple[bool, bool, bool] = (True, True, True)
    min_distance: float = 0.5
    format: str = "poscar"
    about: Facts = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Made:
    """A structure that was made.

    Attributes
    ----------
    structure : Structure
        The atoms.
    record : dict
        How it was made.
    """

    structure: Structure
    record: Facts


def generator(seed: int, key: str) -> Generator:
    """Give the random numbers of one structure.

    Parameters
    ----------
    seed : int
        Of the command.
    key : str
        Name of the structure.

    Returns
    -------
    numpy.random.Generator
        Independent of those of any other seed or key.
    """
    digest = hashlib.sha256(key.encode()).digest()
    words = np.frombuffer(digest[:16], dtype="<u4")
    return np.random.default_rng([seed, *words.tolist()])


def make(job: Job) -> Made:
    """Make a structure, again and again until no atoms are too near.

    Parameters
    ----------
    job : Job
        What to make.

    Returns
    -------
    Made
        The structure and its record.

    Raises
    ------
    InputError
        If a step is impossible, or atoms are too near every time.
    """
    rng = generator(job.seed, job.key)
    best, pair = -1.0, (0, 0)
    for draw in range(1, DRAWS + 1):
        structure, facts, state = job.structure, [], rng.bit_generator.state
        for name, step in job.steps:
            structure, about = step(structure, rng)
            facts.append({"step": name, **about})
        distance, i, j = nearest_pair(structure, job.periodic)
        if distance >= job.min_distance:
            return Made(structure, _record(job, structure, facts, distance, draw))
        if distance > best:
            best, pair = distance, (i + 1, j + 1)
        if rng.bit_generator.state == state:  # nothing is random about it
            break
    raise InputError(
        f"atoms {pair[0]} and {pair[1]} are {best:.3g} Å apart, at least {job.min_distance:g} Å "
        f"are asked for (--min-distance)" + (f"; the best of {draw} draws" if draw > 1 else "")
    )


def _record(
    job: Job, structure: Structure, facts: list[Facts], distance: float, draw: int
) -> Facts:
    """Say how a structure was made."""
    return {
        **job.about,
        "seed": job.seed,
        "draw": draw,
        "steps": facts,
        "formula": structure.formula,
        "atoms": len(structure),
        "periodic": list(job.periodic),
        "nearest_distance": distance if np.isfinite(distance) else None,
    }


def paths(job: Job) -> tuple[Path, Path]:
    """Give the files of a structure.

    Parameters
    ----------
    job : Job
        What is made.

    Returns
    -------
    structure, record : Path, Path
        A POSCAR in a folder of its own, where calculations and matrices can join it; other formats
        side by side.
    """
    if job.format == "poscar":
        return job.top / job.id / "POSCAR", job.top / job.id / RECORD_FILE
    place = job.top / job.id
    return place.with_name(f"{place.name}.{job.format}"), place.with_name(f"{place.name}.json")


def status(job: Job, made: Made) -> str:
    """Say what is there already.

    Parameters
    ----------
    job : Job
        Where it goes.
    made : Made
        What goes there.

    Returns
    -------
    str
        "new", "skipped" (it is there, made in the same way) or "changed".
    """
    structure_file, record_file = paths(job)
    if not structure_file.exists() and not record_file.exists():
        return "new"
    try:
        there = json.loads(record_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "changed"
    wanted = json.loads(_text(made.record))
    for record in (there, wanted):
        if isinstance(record, dict):
            record.pop(MADE_BY, None)
    return "skipped" if there == wanted and structure_file.exists() else "changed"


def write(job: Job, made: Made) -> None:
    """Write a structure and its record, whole or not at all.

    Parameters
    ----------
    job : Job
        Where it goes; a structure that is there is replaced.
    made : Made
        What goes there.

    Raises
    ------
    InputError
        If there are results of a structure that would be replaced.
    """
    structure_file, record_file = paths(job)
    folder = structure_file.parent
    if job.format == "poscar" and not folder.exists():
        with replace_folder(folder) as fresh:
            made.structure.write(fresh / structure_file.name, job.id)
            write_text(fresh / record_file.name, _text(made.record))
        return
    if job.format == "poscar":
        _refuse_results(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record_file.unlink(missing_ok=True)
    if job.format == "poscar":
        made.structure.write(structure_file, job.id)
    else:
        _write_by_ase(job, made.structure, structure_file)
    write_text(record_file, _text(made.record))


def _refuse_results(folder: Path) -> None:
    """Refuse to put other atoms beside what was computed for those that are there."""
    results = [path.name for path in sorted(folder.iterdir()) if path.name[0] != "."]
    results = [name for name in results if name not in ("POSCAR", RECORD_FILE)]
    if results:
        raise InputError(
            f"{folder}: holds {results[0]}{' and more' * (len(results) > 1)}, which belongs to the "
            "structure that is there; remove the folder, or choose another place"
        )


def _text(record: Facts) -> str:
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def _write_by_ase(job: Job, structure: Structure, path: Path) -> None:
    """Write extended xyz or CIF; a CIF has a cell, whatever repeats."""
    from ase import Atoms
    from ase.io import write as write_atoms

    cell = structure.lattice if any(job.periodic) or job.format == "cif" else None
    atoms = Atoms(structure.numbers, structure.positions, cell=cell, pbc=job.periodic)
    with replace_file(path) as temporary:
        write_atoms(temporary, atoms, format="extxyz" if job.format == "xyz" else job.format)
