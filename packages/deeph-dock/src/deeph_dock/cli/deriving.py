"""What commands have in common that make one folder from each structure of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from deeph_dock.deriving import Derivation
    from deeph_dock.outcomes import Outcome


def derive_all(
    work: Sequence[Derivation],
    top: Path,
    jobs: int,
    dry_run: bool,
    report: Path | None,
    done: str,
    explain: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
) -> None:
    """Make all folders, print the summary, and exit with 1 if one failed.

    Parameters
    ----------
    work : sequence of Derivation
        The folders to make.
    top : Path
        Where they are.
    jobs : int
        Processes.
    dry_run : bool
        Only say what would be done.
    report : Path or None
        File for the outcomes.
    done : str
        What was done to a structure, e.g. ``"exported"``.
    explain : callable
        Prints more about the outcomes.
    """
    from deeph_dock.cli.reports import print_failures, some, write_report
    from deeph_dock.deriving import preview

    if dry_run:
        outcomes = [preview(job) for job in work]
        meanings = {"new": f"would be {done}", "changed": f"would be {done} again"}
        for status, meaning in (*meanings.items(), ("skipped", "would be skipped")):
            ids = [outcome.id for outcome in outcomes if outcome.status == status]
            if ids:
                typer.echo(f"{len(ids):6d}  {meaning}: {some(ids)}")
        print_failures(outcomes)
        typer.echo(f"nothing was written to {top} (dry run)")
    else:
        outcomes = _derive_all(work, top, jobs, done, explain)
    if report is not None:
        write_report(report, outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _derive_all(
    work: Sequence[Derivation],
    top: Path,
    jobs: int,
    done: str,
    explain: Callable[[Sequence[Outcome]], None],
) -> list[Outcome]:
    """Make all folders and print the summary, also when interrupted."""
    import time

    from deeph_dock.cli.progress import with_progress
    from deeph_dock.cli.reports import print_failures, print_trace, print_warnings
    from deeph_dock.deriving import derive
    from deeph_dock.outcomes import outcomes_of
    from deeph_dock.places import remove_leftovers, sole_writer
    from deeph_dock.workers import Request, workers

    modules = ("deeph_dock.deriving", *{job.make.partition(":")[0] for job in work})
    outcomes: list[Outcome] = []
    start = time.monotonic()
    try:
        with workers("local", Request(jobs, "", modules)) as all_workers, sole_writer(top):
            pool = all_workers.for_items(len(work))
            remove_leftovers(job.target for job in work)
            running = outcomes_of(derive, work, pool.make, pool.at_once)
            for outcome in with_progress(running, len(work), done):
                outcomes.append(outcome)
                print_trace(outcome)
    finally:
        new = [outcome for outcome in outcomes if outcome.status in ("converted", "updated")]
        skipped = sum(outcome.status == "skipped" for outcome in outcomes)
        if new:
            size = sum(outcome.facts.get("bytes", 0) for outcome in new) / 1e6
            seconds = time.monotonic() - start
            typer.echo(f"{len(new):6d}  {done} to {top} in {seconds:.1f} s, {size:.1f} MB")
        if skipped:
            typer.echo(f"{skipped:6d}  skipped: done before, unchanged")
        if len(outcomes) < len(work):
            left = len(work) - len(outcomes)
            typer.echo(f"{left:6d}  not started; run the same command again to go on")
        print_failures(outcomes)
        print_warnings(outcomes)
        explain(outcomes)
    return outcomes
