"""What commands that work on many structures print at their end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from deeph_dock.checking import Row
    from deeph_dock.outcomes import Outcome


def print_failures(outcomes: Iterable[Outcome]) -> None:
    """Print how many structures failed, and why.

    Parameters
    ----------
    outcomes : iterable of Outcome
        Of all structures.
    """
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        typer.echo(f"{len(failed):6d}  failed")
    for outcome in failed:
        typer.echo(f"        {outcome.id}: {outcome.reason}")


def print_warnings(outcomes: Iterable[Outcome]) -> None:
    """Print each warning once, with the structures it is about.

    Parameters
    ----------
    outcomes : iterable of Outcome
        Of all structures.
    """
    about: dict[str, list[str]] = {}
    for outcome in outcomes:
        for warning in outcome.warnings:
            about.setdefault(warning, []).append(outcome.id)
    for warning, ids in about.items():
        typer.echo(f"warning: {some(ids)}: {warning}")


def print_trace(outcome: Outcome | Row) -> None:
    """Print where an unexpected error occurred, if the user asked for it by --debug.

    Parameters
    ----------
    outcome : Outcome or Row
        Of one structure.
    """
    import sys

    if outcome.trace and "--debug" in sys.argv:
        typer.echo(outcome.trace, err=True)


def some(names: Sequence[str], most: int = 6, between: str = ", ") -> str:
    """List names, but not more than a line can hold.

    Parameters
    ----------
    names : sequence of str
        What to list.
    most : int
        How many at most.
    between : str
        What stands between two.

    Returns
    -------
    str
        The first of them, and how many more there are.
    """
    shown = between.join(names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write what became of every structure, as JSON.

    Parameters
    ----------
    path : Path
        The file.
    outcomes : sequence of Outcome
        Of all structures.
    """
    import json
    from dataclasses import asdict

    from deeph_spec.files import write_text

    document = [asdict(outcome) for outcome in outcomes]
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
