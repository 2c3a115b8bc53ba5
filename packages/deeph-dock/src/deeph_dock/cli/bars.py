"""Progress bars for a chain of tasks, each a number of steps; see `progress` for plain loops."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeph_dock.bandstructures import Task

_PATIENCE = 2.0  # seconds before a bar appears


@contextmanager
def task_bars() -> Iterator[Task]:
    """Offer progress bars on standard error, shown only for work that takes a while."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    current: list[Any] = []

    def task(name: str, length: int) -> Callable[[int], None]:
        for old in current:
            bars.remove_task(old)
        current[:] = [bars.add_task(name, total=length)]
        begun = time.monotonic()

        def advance(steps: int) -> None:
            bars.advance(current[0], steps)
            if not bars.live.is_started and time.monotonic() - begun > _PATIENCE:
                bars.start()

        return advance

    try:
        yield task
    finally:
        bars.stop()
