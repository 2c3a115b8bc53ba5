"""A progress bar for work that takes more than two seconds, on a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
_PATIENCE = 2.0


def with_progress(items: Iterable[Item], total: int, doing: str) -> Iterator[Item]:
    """Pass items on, and show how many have passed.

    Parameters
    ----------
    items : iterable
        Results as they come.
    total : int
        How many there will be.
    doing : str
        What is being done, e.g. ``"converting"``.

    Yields
    ------
    item
        Unchanged.
    """
    start = time.monotonic()
    bar: Any = None
    try:
        for done, item in enumerate(items, start=1):
            if bar is None and sys.stderr.isatty() and time.monotonic() - start > _PATIENCE:
                bar = _new_bar()
                bar.start()
                task = bar.add_task(doing, total=total)
            if bar is not None:
                bar.update(task, completed=done)
            yield item
    finally:
        if bar is not None:
            bar.stop()


def _new_bar() -> Any:
    """Make a bar that vanishes when it is done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
