"""`dock convert`: folders of finished calculations become a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeph_dock.cli.options import DryRun, ExecutorKind, Flatten, Jobs, Report, Scheduler
from deeph_dock.cli.reports import (
    print_failures,
    print_trace,
    print_warnings,
    some,
    write_report,
)

if TYPE_CHECKING:
    from deeph_dock.conversion import Job, Outcome
    from deeph_dock.workers import Workers


def convert(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="SRC... DST",
            help="Folders with finished calculations, at any depth, or single calculations; then "
            "the root of the dataset: structures go to DST/dft/<id>, named as they are in SRC.",
            show_default=False,
        ),
    ],
    code: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="DFT code, e.g. siesta. [recognised by the files]"),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Matrices to write, with commas between them: overlap, hamiltonian, "
            "density-matrix, position-matrix (S, H, rho, r). [overlap,hamiltonian]",
        ),
    ] = None,
    allow_unconverged: Annotated[
        bool,
        typer.Option(
            "--allow-unconverged", help="Of unconverged runs not only the overlap, but all."
        ),
    ] = False,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    executor: ExecutorKind = "local",
    scheduler: Scheduler = "",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Convert again what is done, also over other data."),
    ] = False,
    dry_run: DryRun = False,
    report: Report = None,
) -> None:
    """Convert finished DFT calculations into the DeepH format.

    Calculations of SIESTA, OpenMX, ABACUS, FHI-aims and older DeepH programs are recognised by what
    their files hold. Each becomes a folder with POSCAR, info.json, overlap.h5 and hamiltonian.h5.
    Running it again skips what is done and unchanged.

    Example: dock convert runs data -j 4
    """
    from dataclasses import replace

    from deeph_spec.errors import InputError

    from deeph_dock.workers import Request, workers

    *sources, destination = paths
    if not sources:
        raise InputError(
            f"one folder given ({destination}), two are needed: dock convert SRC... DST"
        )
    with workers(executor, Request(jobs, scheduler, _preload(code))) as pool:
        from deeph_dock.conversion import dataset_folder, plan, preview  # while workers start

        wanted = _wanted(only)
        if pool.title:  # elsewhere, where this folder need not be the current one
            sources, destination = [path.absolute() for path in sources], destination.absolute()
        found = [
            replace(job, wanted=wanted, redo=overwrite, allow_unconverged=allow_unconverged)
            for job in plan(sources, destination, code, flatten)
        ]
        by = f", by {pool.title}" if pool.title else ""
        typer.echo(f"{len(found)} {_kinds(found)} calculation{_s(found)} in {_names(sources)}{by}")
        top = dataset_folder(destination)
        if dry_run:
            outcomes = [preview(job) for job in found]
            _print_preview(outcomes, top)
        else:
            outcomes = _convert_all(found, top, pool.for_items(len(found)))
    if report is not None:
        write_report(report, outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _preload(code: str | None) -> tuple[str, ...]:
    """Give the modules that every conversion needs, those included that others import late."""
    reader = [f"deeph_dock.codes.{code.replace('-', '_')}.run"] if code else []
    shared = ("writing", "conversion", "orbital_elements", "spin_blocks")
    late = ("numpy.ma", "email.parser", "fractions")
    return (*(f"deeph_dock.{name}" for name in shared), *late, *reader)


_SHORT = {"s": "overlap", "h": "hamiltonian", "rho": "density_matrix", "r": "position_matrix"}


def _wanted(only: str | None) -> tuple[str, ...]:
    """Understand the names of matrices."""
    from deeph_dock.conversion import WANTED

    if only is None:
        return WANTED[:2]
    names = [name.strip().lower().replace("-", "_") for name in only.split(",")]
    names = [_SHORT.get(name, name) for name in names if name]
    for name in names:
        if name not in WANTED:
            known = ", ".join(known.replace("_", "-") for known in WANTED)
            raise typer.BadParameter(f"--only: no matrix '{name}'; known are {known}")
    if not names:
        raise typer.BadParameter("--only: names no matrix")
    return tuple(name for name in WANTED if name in names)


def _convert_all(found: Sequence[Job], top: Path, pool: Workers) -> list[Outcome]:
    """Convert everything and print the summary, also when interrupted."""
    import time

    from deeph_dock.cli.progress import with_progress
    from deeph_dock.conversion import convert, remove_leftovers, sole_writer
    from deeph_dock.outcomes import outcomes_of

    outcomes: list[Outcome] = []
    start = time.monotonic()
    try:
        with sole_writer(top):
            removed = remove_leftovers(job.target for job in found)
            if removed:
                typer.echo(
                    f"removed {removed} unfinished folder{'s' * (removed > 1)} of a killed run"
                )
            done = outcomes_of(convert, found, pool.make, pool.at_once)
            for outcome in with_progress(done, len(found), "converting"):
                outcomes.append(outcome)
                print_trace(outcome)
    finally:
        _print_summary(outcomes, len(found), top, time.monotonic() - start)
    return outcomes


def _kinds(found: Sequence[Job]) -> str:
    from deeph_dock.codes import load

    return "/".join(dict.fromkeys(load(job.run.code).name for job in found))


def _names(sources: Sequence[Path]) -> str:
    return ", ".join(map(str, sources))


def _s(things: Sequence[object]) -> str:
    return "" if len(things) == 1 else "s"


def _print_preview(outcomes: Sequence[Outcome], top: Path) -> None:
    """Say what would be done."""
    meanings = {
        "new": "would be converted",
        "changed": "would be converted again (inputs changed, or --overwrite)",
        "skipped": "would be skipped (done before, inputs unchanged)",
        "failed": "would fail",
    }
    for status, meaning in meanings.items():
        ids = [outcome.id for outcome in outcomes if outcome.status == status]
        if ids:
            typer.echo(f"{len(ids):6d}  {meaning}: {some(ids)}")
    print_failures(outcomes)
    typer.echo(f"nothing was written to {top} (dry run)")


def _print_summary(outcomes: Sequence[Outcome], total: int, top: Path, seconds: float) -> None:
    """Say what was done, what failed and why, and what to know about the rest."""

    def having(*statuses: str) -> list[Outcome]:
        return [outcome for outcome in outcomes if outcome.status in statuses]

    done = having("converted", "updated")
    if done:
        size = sum(outcome.facts.get("bytes", 0) for outcome in done) / 1e6
        pairs = sum(outcome.facts.get("pairs", 0) for outcome in done)
        formulas = dict.fromkeys(outcome.facts.get("formula", "") for outcome in done)
        again = len(having("updated"))
        typer.echo(
            f"{len(done):6d}  converted to {top} in {seconds:.1f} s"
            + (f", {again} of them again" if again else "")
            + f": {some(list(formulas))}, {pairs} pairs of atoms, {size:.1f} MB"
        )
        empty = sum(outcome.facts.get("empty_overlaps", 0) for outcome in done)
        if empty:
            typer.echo(
                f"        {empty} of the pairs have no overlap: H alone reaches them (non-local "
                "pseudopotentials)"
            )
    if having("skipped"):
        typer.echo(f"{len(having('skipped')):6d}  skipped: done before, inputs unchanged")
    if len(outcomes) < total:
        typer.echo(f"{total - len(outcomes):6d}  not started; run the same command again to go on")
    print_failures(outcomes)
    print_warnings(outcomes)
