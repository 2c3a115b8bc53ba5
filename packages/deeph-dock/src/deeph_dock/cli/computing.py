"""What commands have in common that compute many structures, each into a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import typer

if TYPE_CHECKING:
    from deeph_dock.outcomes import Outcome
    from deeph_dock.workers import Workers

Show = Callable[[Sequence["Outcome"]], None]
"""Prints what is known of the structures."""


class Placed(Protocol):
    """A piece of work with a place for its result."""

    @property
    def id(self) -> str:
        """Name of the structure."""

    @property
    def target(self) -> Path:
        """Folder to write."""


Work = TypeVar("Work", bound=Placed)


def compute_all(
    compute: Callable[[Work], Outcome], tasks: Sequence[Work], top: Path, pool: Workers, show: Show
) -> list[Outcome]:
    """Compute everything and say what was done, also when interrupted.

    Parameters
    ----------
    compute : callable
        Computes one structure.
    tasks : sequence
        All of them.
    top : Path
        The folder of the dataset that holds the structures.
    pool : Workers
        Who computes.
    show : callable
        Prints a table of those that were computed.

    Returns
    -------
    list of Outcome
        Of all structures.
    """
    import time

    from deeph_dock.cli.progress import with_progress
    from deeph_dock.cli.reports import print_trace
    from deeph_dock.outcomes import outcomes_of
    from deeph_dock.places import remove_leftovers, sole_writer

    outcomes: list[Outcome] = []
    start = time.monotonic()
    with sole_writer(top):
        try:
            remove_leftovers(task.target for task in tasks)
            done = outcomes_of(compute, tasks, pool.make, pool.at_once)
            for outcome in with_progress(done, len(tasks), "computing"):
                outcomes.append(outcome)
                print_trace(outcome)
        finally:
            _print_summary(outcomes, len(tasks), top, time.monotonic() - start, show)
    return outcomes


def print_preview(outcomes: Sequence[Outcome], top: Path, show: Show) -> None:
    """Say what would be done.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Previews of all structures.
    top : Path
        Where they would go.
    show : callable
        Prints a table of those that would be computed.
    """
    from deeph_dock.cli.reports import print_failures

    meanings = {
        "new": "would be computed",
        "changed": "would be computed again",
        "skipped": "would be skipped (done before, unchanged)",
    }
    show([outcome for outcome in outcomes if outcome.status in ("new", "changed")])
    for status, meaning in meanings.items():
        count = sum(outcome.status == status for outcome in outcomes)
        if count:
            typer.echo(f"{count:6d}  {meaning}")
    print_failures(outcomes)
    typer.echo(f"nothing was written to {top} (dry run)")


def _print_summary(
    outcomes: Sequence[Outcome], total: int, top: Path, seconds: float, show: Show
) -> None:
    """Say what was done, what failed and why, and what to know about the rest."""
    from deeph_dock.cli.reports import print_failures, print_warnings

    done = [outcome for outcome in outcomes if outcome.status in ("converted", "updated")]
    show(done)
    if done:
        again = sum(outcome.status == "updated" for outcome in done)
        size = sum(outcome.facts["bytes"] for outcome in done) / 1e6
        typer.echo(
            f"{len(done):6d}  computed in {seconds:.1f} s to {top}, {size:.1f} MB"
            + (f", {again} of them again" if again else "")
        )
    skipped = sum(outcome.status == "skipped" for outcome in outcomes)
    if skipped:
        typer.echo(f"{skipped:6d}  skipped: done before, unchanged")
    if len(outcomes) < total:
        typer.echo(f"{total - len(outcomes):6d}  not done; run the same command again to go on")
    print_failures(outcomes)
    print_warnings(outcomes)
