"""What the subcommands of `dock generate` have in common: reading, making, writing, summing up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from deeph_spec.errors import InputError

from deeph_dock.cli.generate.pictures import check_name, draw_stackings

if TYPE_CHECKING:
    from deeph_spec.structure import Structure

    from deeph_dock.outcomes import Outcome
    from deeph_dock.structure_files import Given
    from deeph_dock.structures.recording import Job, Step

    Steps = tuple[tuple[str, Step], ...]
    Plan = Callable[[Structure, str], Mapping[str, Steps]]
    """Takes a structure and its id; gives the steps of each new structure by its name."""


FACTS = ("formula", "atoms", "nearest_distance", "draw", "steps")
"""What is kept of a structure's record for the summary and the picture."""


@dataclass(frozen=True)
class Ask:
    """What was asked for, whatever is made.

    Attributes
    ----------
    command : str
        Subcommand.
    paths : list of Path
        Structures, and at the end the folder for the new ones.
    options : dict
        That decide what a structure is like, for its record.
    seed, min_distance, format
        Of `deeph_dock.structures.recording.Job`.
    jobs : int
        Processes.
    flatten, overwrite, dry_run : bool
        Of the command line.
    above : Given or None
        The other layer, of commands that stack two.
    plot : Path or None
        For the picture of stackings.
    """

    command: str
    paths: list[Path]
    options: dict[str, Any]
    seed: int = 1
    min_distance: float = 0.5
    format: str = "poscar"
    jobs: int = 1
    flatten: bool = False
    overwrite: bool = False
    dry_run: bool = False
    above: Given | None = None
    plot: Path | None = None


@dataclass(frozen=True)
class Task:
    """A structure to make and write."""

    job: Job
    overwrite: bool
    dry_run: bool

    @property
    def id(self) -> str:
        """Name of the structure."""
        return self.job.id


def numbered(variants: Sequence[Steps], label: str = "") -> dict[str, Steps]:
    """Name structures by numbers from 0001.

    Parameters
    ----------
    variants : sequence of steps
        Of each structure.
    label : str
        What comes before the number.

    Returns
    -------
    dict
        In the same order.
    """
    digits = max(4, len(str(len(variants))))
    return {f"{label}{n:0{digits}d}": steps for n, steps in enumerate(variants, start=1)}


def generate(ask: Ask, plan: Plan, given: Sequence[Given] | None = None) -> None:
    """Make structures from all that were given, print what was made, and exit.

    Parameters
    ----------
    ask : Ask
        What was asked for.
    plan : callable
        Says which steps make the structures.
    given : sequence of Given, optional
        What they are made from; what is found under the paths without it.

    Raises
    ------
    InputError
        If none can be made.
    """
    from deeph_dock.structure_files import find_structures

    *sources, top = ask.paths
    if not sources:
        raise InputError(
            f"one path given ({top}), two are needed: dock generate {ask.command} STRUCTURES... OUT"
        )
    if top.exists() and not top.is_dir():
        raise InputError(f"{top}: is a file, expected a folder for the new structures")
    if ask.plot is not None:
        check_name(ask.plot)
    if given is None:
        given = find_structures(sources, top, ask.flatten)
    tasks, failures = _plan_all(ask, plan, given, top)
    made = _make_all(ask, tasks, top)
    outcomes = [*failures, *made]
    if ask.plot is not None:
        draw_stackings(ask.plot, tasks, made)
    _finish(ask, outcomes, len(tasks) + len(failures), len(given), top)


def _plan_all(
    ask: Ask, plan: Plan, given: Sequence[Given], top: Path
) -> tuple[list[Task], list[Outcome]]:
    """Plan every structure; say for which that is impossible."""
    from deeph_dock.outcomes import Outcome
    from deeph_dock.structures.recording import Job

    tasks: list[Task] = []
    failures: list[Outcome] = []
    for one in given:
        try:
            if one.structure is None or one.problem:
                raise InputError(one.problem)
            variants = plan(one.structure, one.id)
        except InputError as error:
            failures.append(Outcome(one.id, "failed", str(error)))
            continue
        about = _about(ask, one)
        joint = "__" if ask.flatten else "/"
        for name, steps in variants.items():
            job = Job(
                id=f"{one.id}{joint}{name}" if name else one.id,
                structure=one.structure,
                steps=steps,
                top=top,
                key=f"{ask.command} {one.id} {name}",
                seed=ask.seed,
                periodic=one.periodic,
                min_distance=ask.min_distance,
                format=ask.format,
                about=about,
            )
            tasks.append(Task(job, ask.overwrite, ask.dry_run))
    return tasks, failures


def _about(ask: Ask, one: Given) -> dict[str, Any]:
    """Say for the record what was asked for, and what a structure is made from."""
    from importlib.metadata import version

    from deeph_dock.structures.recording import MADE_BY

    return {
        "command": f"dock generate {ask.command}",
        MADE_BY: f"deeph-dock {version('deeph-dock')}",
        "source": _source(one),
        **({} if ask.above is None else {"above": _source(ask.above)}),
        "options": {**ask.options, "min_distance": ask.min_distance},
    }


def _source(one: Given) -> dict[str, str]:
    """Name a structure, and the content of its file."""
    from deeph_spec.files import sha256

    return {"id": one.id, "file": one.source, "sha256": sha256(one.path)}


def carry_out(task: Task) -> Outcome:
    """Make a structure and write it, unless it is there.

    Parameters
    ----------
    task : Task
        What to make.

    Returns
    -------
    Outcome
        "converted", "updated", "skipped" or "failed"; in a dry run "new" or "changed".
    """
    from deeph_dock.outcomes import guarded

    return guarded(task.id, lambda: _carry_out(task))


def _carry_out(task: Task) -> Outcome:
    from deeph_dock.outcomes import Outcome
    from deeph_dock.structures.recording import make, paths, status, write

    made = make(task.job)
    found = status(task.job, made)
    facts = {key: made.record[key] for key in FACTS}
    if found == "changed" and not task.overwrite:
        raise InputError(
            f"{paths(task.job)[0]}: there already, and made in another way; --overwrite replaces it"
        )
    if task.dry_run or found == "skipped":
        return Outcome(task.id, found, facts=facts)
    write(task.job, made)
    return Outcome(task.id, "converted" if found == "new" else "updated", facts=facts)


def _make_all(ask: Ask, tasks: Sequence[Task], top: Path) -> list[Outcome]:
    """Make everything, here or in other processes; after Ctrl-C say what was done."""
    from contextlib import nullcontext

    from deeph_dock.cli.progress import with_progress
    from deeph_dock.cli.reports import print_trace
    from deeph_dock.outcomes import outcomes_of
    from deeph_dock.places import remove_leftovers, sole_writer
    from deeph_dock.workers import Request, workers

    modules = ("deeph_dock.cli.generate.making", "deeph_dock.structures.recording", "numpy")
    outcomes: list[Outcome] = []
    if not tasks:
        return outcomes
    try:
        with (
            workers("local", Request(ask.jobs, "", modules)) as all_workers,
            nullcontext() if ask.dry_run else sole_writer(top),
        ):
            if not ask.dry_run:
                remove_leftovers(task.job.top / task.id for task in tasks)
            pool = all_workers.for_items(len(tasks))
            running = outcomes_of(carry_out, tasks, pool.make, pool.at_once)
            for outcome in with_progress(running, len(tasks), "making structures"):
                outcomes.append(outcome)
                print_trace(outcome)
    except KeyboardInterrupt:
        left = len(tasks) - len(outcomes)
        typer.echo(f"{left:6d}  not made; run the same command again to go on")
        raise
    return outcomes


def _finish(ask: Ask, outcomes: Sequence[Outcome], total: int, sources: int, top: Path) -> None:
    """Print the summary, and exit with 1 if something failed."""
    from deeph_dock.cli.reports import print_failures

    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if len(failed) == total:
        more = f" ({total - 1} more failed)" if total > 1 else ""
        raise InputError(f"{failed[0].id}: {failed[0].reason}{more}")
    new = [o for o in outcomes if o.status in ("converted", "updated", "new", "changed")]
    if new:
        verb = "would be made" if ask.dry_run else "made"
        where = "" if ask.dry_run else f" in {top}"
        plural = "s" * (len(new) > 1)
        of = f" from {sources}" if sources > 1 else ""
        typer.echo(f"{len(new)} structure{plural}{of} {verb}{where}: {_sizes(new)}")
    same = sum(outcome.status == "skipped" for outcome in outcomes)
    if same:
        plural = "s were" if same > 1 else " was"
        typer.echo(f"{same} structure{plural} there already, made in the same way")
    if ask.dry_run:
        typer.echo(f"nothing was written to {top} (dry run)")
    print_failures(outcomes)
    if failed:
        raise typer.Exit(1)


def _sizes(outcomes: Sequence[Outcome]) -> str:
    """Say how many atoms structures have and how near they are."""
    atoms = [outcome.facts["atoms"] for outcome in outcomes]
    near = [
        o.facts["nearest_distance"] for o in outcomes if o.facts["nearest_distance"] is not None
    ]
    again = sum(outcome.facts["draw"] > 1 for outcome in outcomes)
    formulas = {outcome.facts["formula"] for outcome in outcomes}
    parts = [(formulas.pop() + ", " if len(formulas) == 1 else "") + _range(atoms) + " atoms"]
    if near:
        parts.append(
            f"nearest atoms {_range([f'{d:.3f}' for d in (min(near), max(near))])} Å apart"
        )
    if again:
        parts.append(f"{again} drawn more than once")
    return ", ".join(parts)


def _range(values: Sequence[Any]) -> str:
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} to {high}"
