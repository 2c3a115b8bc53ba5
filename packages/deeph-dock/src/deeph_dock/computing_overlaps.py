"""The loop over structures whose overlaps are computed from a basis.

Each structure becomes ``OUT/dft/<id>``, as a whole or not at all, see `deeph_dock.restarts`. Of a
matrix only pieces are ever in memory: it is written as it is computed. What grows with a structure
is the list of its pairs, 180 bytes for each while they are found; a block of carbon in a DZP basis
has 1352 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS, SYMBOLS, Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis
from deeph_dock.basis.folder import Request, read_bases
from deeph_dock.discovery import dataset_folder
from deeph_dock.integrals.operators import OPERATORS
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_dock.outcomes import Outcome, guarded
from deeph_dock.overlap_matrices import MATRICES, OF_WORKERS, find_pairs, write_matrix
from deeph_dock.places import Record, put_in_place
from deeph_dock.restarts import hashes, state
from deeph_dock.structure_files import Given, boxed, find_structures, too_close
from deeph_dock.writing import converter, created

PRELOAD = ("deeph_dock.computing_overlaps", *OF_WORKERS)
"""Modules that every worker needs."""
CLOSEST = 0.3
"""Atoms nearer than this are a mistake, Å."""
EMPTY = 30.0
"""Space around molecules, Å."""
_WITHOUT_LINKS = ("openmx", "pyscf")
"""Codes whose H has no pairs that are linked through projectors alone."""

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """What to compute.

    Attributes
    ----------
    basis : Request
        Where the radial functions are.
    pattern : str
        Of `deeph_dock.overlap_matrices.PATTERNS`.
    also : tuple of str
        Quantities beside the overlap.
    spin : str
        "none", "collinear" or "soc": what info.json says of the matrices to come.
    """

    basis: Request
    pattern: str = "hamiltonian"
    also: tuple[str, ...] = ()
    spin: str = "none"

    @property
    def quantities(self) -> tuple[str, ...]:
        """All quantities, the overlap first."""
        return ("overlap", *(name for name in OPERATORS if name in self.also))


@dataclass(frozen=True, eq=False)
class Task:
    """One structure.

    Attributes
    ----------
    given : Given
        The structure, its id, and whether it repeats.
    target : Path
        Folder to write.
    settings : Settings
        What to compute.
    numbers : tuple of int
        Elements of all structures, whose bases are read together.
    jobs : int
        Processes that compute it.
    redo : bool
        Compute even if it is done, also over other data.
    """

    given: Given
    target: Path
    settings: Settings
    numbers: tuple[int, ...]
    jobs: int = 1
    redo: bool = False

    @property
    def id(self) -> str:
        """Name in the dataset."""
        return self.given.id


def plan(
    sources: Sequence[Path],
    destination: Path,
    settings: Settings,
    *,
    jobs: int = 1,
    kind: str | None = None,
    flatten: bool = False,
    redo: bool = False,
) -> list[Task]:
    """Find all structures, read their bases, and say where each is to go.

    Parameters
    ----------
    sources : sequence of Path
        Structure files, or folders of them.
    destination : Path
        Root of the dataset.
    settings : Settings
        What to compute.
    jobs : int
        Cores to use: for several structures at once, or for each if there are fewer.
    kind, flatten
        As in `deeph_dock.structure_files.find_structures`.
    redo : bool
        As in `Task`.

    Returns
    -------
    list of Task
        In natural order of the ids.

    Raises
    ------
    InputError
        If there is no structure, ids do not fit together, or the bases are not as they should be.
    """
    top = dataset_folder(destination)
    bases_of.cache_clear()  # files may have changed since the last call
    _integrals.cache_clear()
    found = find_structures(sources, top, flatten, kind)
    numbers = sorted({n for one in found if one.structure for n in one.structure.numbers.tolist()})
    if not numbers:
        raise InputError(next(one.problem for one in found if one.structure is None))
    bases_of(settings.basis, tuple(numbers))
    shared = jobs if len(found) < jobs else 1
    return [Task(one, top / one.id, settings, tuple(numbers), shared, redo) for one in found]


@lru_cache(maxsize=2)
def bases_of(request: Request, numbers: tuple[int, ...]) -> Mapping[int, AtomicBasis]:
    """Read bases once in each process.

    Parameters
    ----------
    request : Request
        Where they are.
    numbers : tuple of int
        Atomic numbers.

    Returns
    -------
    mapping of int to AtomicBasis
        Of these elements.
    """
    return MappingProxyType(read_bases(request, numbers))


@lru_cache(maxsize=2)
def _integrals(
    request: Request, numbers: tuple[int, ...], quantities: tuple[str, ...]
) -> TwoCentre:
    """Keep the tables of a process from structure to structure."""
    return TwoCentre(bases_of(request, numbers), quantities)


def preview(task: Task) -> Outcome:
    """Say what `compute` would do.

    Parameters
    ----------
    task : Task
        A structure and its place.

    Returns
    -------
    Outcome
        "new", "changed", "skipped" or "failed"; facts: formula, atoms, orbitals, pairs, bytes.
    """
    return guarded(task.id, lambda: _preview(task))


def _preview(task: Task) -> Outcome:
    status, why, _ = _state(task)
    if status == "skipped":
        return Outcome(task.id, status)
    structure = _structure(task)
    info = _info(task, structure)
    bases = bases_of(task.settings.basis, task.numbers)
    pairs = find_pairs(task.settings.pattern, structure, bases, task.given.periodic)
    counts = info.orbital_counts(structure)
    size = 8 * int((counts[pairs[:, 3]] * counts[pairs[:, 4]]).sum())
    copies = sum(OPERATORS[name].components for name in task.settings.quantities)
    facts = _facts(structure, info, pairs) | {"bytes": copies * size}
    return Outcome(task.id, status, why, facts=facts)


def compute(task: Task) -> Outcome:
    """Compute and write one structure, unless it is done.

    Parameters
    ----------
    task : Task
        A structure and its place.

    Returns
    -------
    Outcome
        "converted" (new), "updated", "skipped" or "failed". Never raises on what a structure may
        be; KeyboardInterrupt passes.
    """
    return guarded(task.id, lambda: _compute(task))


def _compute(task: Task) -> Outcome:
    status, why, files = _state(task)
    if status == "skipped":
        return Outcome(task.id, status)
    structure, settings = _structure(task), task.settings
    info = _info(task, structure)
    bases = bases_of(settings.basis, task.numbers)
    with put_in_place(task.target, files) as folder:
        structure.write(folder / "POSCAR")
        pairs = find_pairs(settings.pattern, structure, bases, task.given.periodic)
        integrals = _integrals(settings.basis, task.numbers, settings.quantities)
        for quantity in settings.quantities:
            path = folder / f"{MATRICES[quantity]}.h5"
            write_matrix(path, structure, integrals, pairs, quantity, task.jobs)
        written = tuple(sorted(path.name for path in folder.iterdir()))
        _with_record(info, task, (*written, "info.json")).write(folder / "info.json")
        size = sum(path.stat().st_size for path in folder.iterdir())
    facts = _facts(structure, info, pairs) | {"bytes": size}
    done = "converted" if status == "new" else "updated"
    return Outcome(task.id, done, why, _warnings(task, info, bases), facts)


def _structure(task: Task) -> Structure:
    """Give the structure in its cell, or raise what is wrong with it."""
    given = task.given
    structure = given.usable()
    close = too_close(structure, given.periodic, CLOSEST)
    if close:
        raise InputError(f"{given.source}: {close}, expected at least {CLOSEST} Å: a mistake?")
    if all(given.periodic):
        return structure
    bases = bases_of(task.settings.basis, task.numbers)
    reach = 2 * max(bases[number].cutoff for number in structure.numbers.tolist())
    cell = boxed(structure, given.periodic, max(EMPTY, reach + 1.0))
    return replace(structure, lattice=cell)


def _info(task: Task, structure: Structure) -> SystemInfo:
    """Describe the matrices."""
    bases = bases_of(task.settings.basis, task.numbers)
    elements = sorted(set(structure.numbers.tolist()))
    charges = [bases[number].valence for number in structure.numbers.tolist()]
    known = [charge for charge in charges if charge is not None]
    return SystemInfo.for_structure(
        structure,
        {SYMBOLS[number]: bases[number].degrees for number in elements},
        spin=task.settings.spin,
        fermi_level=None,
        occupation=sum(known) if len(known) == len(charges) else None,
        # Unknown electrons are said to be unknown.
        extras={} if len(known) == len(charges) else {"occupation": None},
    )


def _with_record(info: SystemInfo, task: Task, files: tuple[str, ...]) -> SystemInfo:
    """Add where it all comes from."""
    bases = bases_of(task.settings.basis, task.numbers)
    used = {SYMBOLS[number]: bases[number] for number in sorted(bases)}
    used = {symbol: basis for symbol, basis in used.items() if symbol in info.orbital_map}
    first = next(iter(used.values()))
    wanted = _wanted(task)
    provenance: dict[str, Any] = {
        "code": first.code,
        "converter": converter(),
        "created": created(),
        "source": task.given.source,
        "overlap": "computed from the basis",
        "basis": {s: basis.facts.get("orbitals", basis.source) for s, basis in used.items()},
        "pseudopotentials": {
            symbol: basis.facts["pseudopotential"]
            for symbol, basis in used.items()
            if "pseudopotential" in basis.facts
        },
        "quadrature": first.quadrature,
        "pattern": task.settings.pattern,
        "inputs": _inputs(task),
        "settings": _settings(task),
        "conversion": Record(wanted, False, files).to_document(),
    }
    return replace(info, provenance={key: value for key, value in provenance.items() if value})


def _wanted(task: Task) -> tuple[str, ...]:
    return tuple(MATRICES[quantity] for quantity in task.settings.quantities)


def _settings(task: Task) -> dict[str, Any]:
    """Give what the result depends on, of JSON."""
    settings = task.settings
    bases = bases_of(settings.basis, task.numbers)
    elements = sorted(set(task.given.usable().numbers.tolist()))
    return {
        "basis": {SYMBOLS[number]: _fingerprint(bases[number]) for number in elements},
        "pattern": settings.pattern,
        "spin": settings.spin,
    }


@lru_cache(maxsize=256)
def _fingerprint(basis: AtomicBasis) -> str:
    """Give a hash of everything that S of a basis depends on; once for all structures."""
    content = hashlib.sha256(repr((basis.quadrature, basis.wavenumbers)).encode())
    content.update(repr((basis.valence, basis.projector_reach)).encode())
    for shell in basis.shells:
        content.update(repr((shell.degree, shell.cutoff)).encode())
        for values in (shell.radii, shell.weights, shell.values):
            content.update(np.ascontiguousarray(values).tobytes())
    return f"{basis.source} {content.hexdigest()[:16]}"


def _inputs(task: Task) -> dict[str, str]:
    return hashes(task.given.usable(), task.given.periodic, _settings(task))


def _state(task: Task) -> tuple[str, str, tuple[str, ...]]:
    """Look at the target: "new", "changed" or "skipped", why, and files written before."""
    command = "dock compute-overlap"
    return state(task.target, _inputs(task), _settings(task), _wanted(task), command, task.redo)


def _facts(structure: Structure, info: SystemInfo, pairs: Int) -> dict[str, Any]:
    return {
        "formula": structure.formula,
        "atoms": len(structure),
        "orbitals": info.orbits_quantity,
        "pairs": len(pairs),
    }


def _warnings(task: Task, info: SystemInfo, bases: Mapping[int, AtomicBasis]) -> tuple[str, ...]:
    """Say what the user should know."""
    found = []
    used = {symbol: bases[ATOMIC_NUMBERS[symbol]] for symbol in info.orbital_map}
    bare = [symbol for symbol, basis in used.items() if basis.valence is None]
    if bare:
        found.append(
            f"occupation is null: no valence charge of {', '.join(bare)} in the basis files; put "
            "their pseudopotentials beside them"
        )
    if task.settings.pattern == "hamiltonian" and not any(
        basis.projector_reach or basis.code in _WITHOUT_LINKS for basis in used.values()
    ):
        found.append(
            "pairs are those whose orbitals touch: no reach of projectors is in the basis files"
        )
    return tuple(found)
