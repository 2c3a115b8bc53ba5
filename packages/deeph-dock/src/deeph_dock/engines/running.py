"""The loop over structures of an engine: plan, compute, restart.

Each structure becomes ``OUT/dft/<id>``, as a whole or not at all, see `deeph_dock.restarts`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix

from deeph_dock.codes import Calculation
from deeph_dock.discovery import WANTED, dataset_folder
from deeph_dock.engines import pyscf as engine
from deeph_dock.engines.pyscf import Settings
from deeph_dock.outcomes import Outcome, guarded
from deeph_dock.places import put_in_place
from deeph_dock.restarts import hashes, state
from deeph_dock.structure_files import Given, find_structures

PRELOAD = ("deeph_dock.engines.running", "deeph_dock.writing", "pyscf.dft", "pyscf.pbc.dft")
"""Modules that every worker needs."""

_NO_GAP = 0.01  # eV


@dataclass(frozen=True, eq=False)
class Task:
    """One structure to compute.

    Attributes
    ----------
    given : Given
        The structure, its id, and whether it repeats.
    target : Path
        Folder to write.
    settings : Settings
        What to compute.
    wanted : tuple of str
        Matrices to write.
    threads : int
        Threads of PySCF.
    redo : bool
        Compute even if it is done, also over other data.
    """

    given: Given
    target: Path
    settings: Settings
    wanted: tuple[str, ...] = WANTED[:2]
    threads: int = 1
    redo: bool = False

    @property
    def id(self) -> str:
        """Name in the dataset."""
        return self.given.id

    @property
    def crystal(self) -> bool:
        """Whether it repeats."""
        return any(self.given.periodic)


def plan(
    sources: Sequence[Path],
    destination: Path,
    settings: Settings,
    *,
    kind: str | None = None,
    flatten: bool = False,
    wanted: tuple[str, ...] = WANTED[:2],
    threads: int = 1,
    redo: bool = False,
) -> list[Task]:
    """Find all structures, and where each is to go.

    Parameters
    ----------
    sources : sequence of Path
        Structure files, or folders of them.
    destination : Path
        Root of the dataset.
    settings : Settings
        What to compute. A dataset has one kind of spin: if any structure has an odd number of
        electrons, all get two spin channels; crystals with smearing do not need them.
    kind, flatten
        As in `deeph_dock.structure_files.find_structures`.
    wanted, threads, redo
        As in `Task`.

    Returns
    -------
    list of Task
        In natural order of the ids.

    Raises
    ------
    InputError
        If there is no structure, ids do not fit together, or settings are unknown.
    """
    engine.check_settings(settings)
    top = dataset_folder(destination)
    found = find_structures(sources, top, flatten, kind)
    if settings.spin is None and not settings.polarised:
        settings = replace(settings, polarised=any(_is_odd(one, settings) for one in found))
    elif settings.spin:
        settings = replace(settings, polarised=True)
    return [Task(one, top / one.id, settings, wanted, threads, redo) for one in found]


def _is_odd(one: Given, settings: Settings) -> bool:
    """Whether a structure has an unpaired electron; atomic numbers tell, cores are even."""
    if one.structure is None or (any(one.periodic) and settings.smearing):
        return False
    return bool((int(one.structure.numbers.sum()) - settings.charge) % 2)


def preview(task: Task) -> Outcome:
    """Say what `compute` would do.

    Parameters
    ----------
    task : Task
        A structure and its place.

    Returns
    -------
    Outcome
        "new", "changed", "skipped" or "failed"; facts: kind, atoms, orbitals, electrons, kmesh.
    """
    return guarded(task.id, lambda: _preview(task))


def _preview(task: Task) -> Outcome:
    status, why, _ = _state(task)
    if status == "skipped":
        return Outcome(task.id, status)
    structure = task.given.usable()
    mol = engine.build(structure, task.crystal, task.settings)
    facts: dict[str, Any] = {
        "formula": structure.formula,
        "kind": "crystal" if task.crystal else "molecule",
        "atoms": len(structure),
        "orbitals": int(mol.nao_nr()),
        "electrons": int(mol.nelectron),
    }
    if task.crystal:
        facts["kmesh"] = engine.kmesh(structure, task.given.periodic, task.settings)
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
    with _interruptible():
        return guarded(task.id, lambda: _compute(task))


def _compute(task: Task) -> Outcome:
    status, why, files = _state(task)
    if status == "skipped":
        return Outcome(task.id, status)
    structure = task.given.usable()
    from threadpoolctl import threadpool_limits

    from deeph_dock.codes.pyscf import from_scf
    from deeph_dock.writing import write_calculation

    with threadpool_limits(task.threads), _pyscf_threads(task.threads):
        # PySCF wants right-handed vectors: all three with the other sign are the same lattice.
        opposite = task.crystal and np.linalg.det(structure.lattice) < 0
        right = replace(structure, lattice=-structure.lattice) if opposite else structure
        mf = engine.solve(right, task.given.periodic, task.settings)
        calculation = from_scf(mf, task.settings.smallest_overlap)
        if opposite:
            calculation = _with_opposite_vectors(calculation)
        # The structure as it was given: through Bohr and back its last digit may differ.
        own = replace(structure, lattice=calculation.structure.lattice)
        calculation = replace(calculation, structure=structure if task.crystal else own)
        provenance = {
            "inputs": _hashes(task),
            "source": task.given.source,
            "settings": task.settings.for_kind(task.crystal),
        }
        with put_in_place(task.target, files) as folder:
            written = write_calculation(calculation, folder, task.wanted, False, provenance)
    facts = written.facts | {
        "kind": "crystal" if task.crystal else "molecule",
        "cycles": int(mf.cycles),
        "energy": calculation.info.provenance["total_energy_eV"],
        "spin": calculation.info.spin,
        "gap": _gap(calculation),
    }
    if "kmesh" in calculation.info.provenance:
        facts["kmesh"] = calculation.info.provenance["kmesh"]
    done = "converted" if status == "new" else "updated"
    return Outcome(task.id, done, why, written.warnings, facts)


def _with_opposite_vectors(calculation: Calculation) -> Calculation:
    """Change the sign of all R and k."""
    turn = np.array([-1, -1, -1, 1, 1])

    def turned(read: Callable[[], BlockMatrix]) -> Callable[[], BlockMatrix]:
        def give() -> BlockMatrix:
            matrix = read()
            return replace(matrix, atom_pairs=matrix.atom_pairs * turn).sorted()

        return give

    matrices = {name: turned(read) for name, read in calculation.matrices.items()}
    eigenvalues = calculation.eigenvalues
    if eigenvalues is None:
        return replace(calculation, matrices=matrices)
    reference = eigenvalues()
    reference = replace(reference, kpoints=-reference.kpoints)
    return replace(calculation, matrices=matrices, eigenvalues=lambda: reference)


def _gap(calculation: Calculation) -> float | None:
    """Give the distance of the levels around the Fermi level, eV; None for a metal."""
    if calculation.eigenvalues is None or calculation.info.fermi_level is None:
        return None
    energies, level = calculation.eigenvalues().energies, calculation.info.fermi_level
    if np.abs(energies - level).min() < _NO_GAP:
        return None
    below, above = energies[energies <= level], energies[energies > level]
    return float(above.min() - below.max()) if len(below) and len(above) else None


def _hashes(task: Task) -> dict[str, str]:
    """Give the hashes by which a structure that is done is recognised."""
    settings = task.settings.for_kind(task.crystal)
    return hashes(task.given.usable(), task.given.periodic, settings)


def _state(task: Task) -> tuple[str, str, tuple[str, ...]]:
    """Look at the target: "new", "changed" or "skipped", why, and files written before."""
    settings = task.settings.for_kind(task.crystal)
    inputs = _hashes(task)
    return state(task.target, inputs, settings, task.wanted, "dock run", task.redo)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C end a calculation also in worker processes, which ignore it otherwise."""
    first = threading.current_thread() is threading.main_thread()
    if not first or signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _pyscf_threads(count: int) -> Iterator[None]:
    """Set the threads of PySCF's own loops."""
    from pyscf.lib import num_threads

    before = num_threads()
    num_threads(count)
    try:
        yield
    finally:
        num_threads(before)
