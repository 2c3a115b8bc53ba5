"""What a training shows: lines a physicist can read on the terminal, and a log file.

On a terminal a bar with losses and time left; anywhere else a plain line every so many seconds.
Everything also goes into ``<run>/deeph.log``, one line an epoch:

``[ 03.01-09:30:00 ] [train] Epoch 12 | Time 3.19 s | Train-Loss 4.4e-02 | Val-Loss 4.5e-02 | ...``
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from deeph_spec.files import readable

LOG_FILE = "deeph.log"
_FORMAT = "[ %(asctime)s ] [%(part)s] %(message)s"
_DATE = "%m.%d-%H:%M:%S"


class Summary(Protocol):
    """How a training ended."""

    @property
    def epochs(self) -> int:
        """Epochs done, those before a resume included."""
        ...

    @property
    def best_loss(self) -> float:
        """Lowest loss that the best model is chosen by."""
        ...

    @property
    def best_epoch(self) -> int:
        """Epoch of that loss."""
        ...

    @property
    def stopped_because(self) -> str:
        """The reason, e.g. ``max_epoch reached``."""
        ...

    @property
    def model_dir(self) -> Path:
        """Where the models are."""
        ...

    @property
    def seconds(self) -> float:
        """Wall time of this training."""
        ...


class Display(Protocol):
    """What the training loop tells to whoever looks on."""

    def start(self, run: Path, total_epochs: int, settings_lines: Sequence[str]) -> None:
        """Begin: the run's folder, how many epochs there may be, the settings in use."""
        ...

    def note(self, text: str) -> None:
        """Say something once, e.g. how many parameters the network has."""
        ...

    def warn(self, text: str) -> None:
        """Say something that the user should look into."""
        ...

    def epoch(
        self,
        number: int,
        seconds: float,
        train_loss: float,
        validation_loss: float | None,
        learning_rate_scale: float,
        maes: Mapping[str, str],
    ) -> None:
        """Report an epoch.

        Parameters
        ----------
        number : int
            Epoch, counted from 1.
        seconds : float
            Its wall time.
        train_loss, validation_loss : float
            Losses; the second is None without validation.
        learning_rate_scale : float
            Learning rate over the initial one.
        maes : mapping
            Mean absolute errors with their unit by what they are taken over, e.g. ``{"validation":
            "2.3 meV"}``; may be empty.
        """
        ...

    def finish(self, summary: Summary) -> None:
        """End, with the result."""
        ...

    def close(self) -> None:
        """Let go of terminal and log file; called once, whatever happened."""
        ...


class SilentDisplay:
    """A display that shows nothing; for programs that call the loop themselves."""

    def start(self, run: Path, total_epochs: int, settings_lines: Sequence[str]) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""

    def warn(self, text: str) -> None:
        """Show nothing."""

    def epoch(
        self,
        number: int,
        seconds: float,
        train_loss: float,
        validation_loss: float | None,
        learning_rate_scale: float,
        maes: Mapping[str, str],
    ) -> None:
        """Show nothing."""

    def finish(self, summary: Summary) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Show nothing."""


def duration(seconds: float) -> str:
    """Write a time span, e.g. ``8.2 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def epoch_line(
    number: int,
    seconds: float,
    train_loss: float,
    validation_loss: float | None,
    learning_rate_scale: float,
    maes: Mapping[str, str],
) -> str:
    """Write the log line of an epoch; see `Display.epoch` for the arguments."""
    parts = [f"Epoch {number}", f"Time {seconds:.2f} s", f"Train-Loss {train_loss:.2e}"]
    if validation_loss is not None:
        parts.append(f"Val-Loss {validation_loss:.2e}")
    parts.append(f"Scale {learning_rate_scale:.3g}")
    parts += [f"MAE {name} {value}" for name, value in maes.items()]
    return " | ".join(parts)


class TrainingDisplay:
    """Shows a training on a terminal or in a batch job's output, and writes its log file.

    Parameters
    ----------
    stream : text stream, optional
        Where to show; standard output by default.
    bar : bool
        Whether a terminal gets a progress bar.
    log_level : str
        Least important messages in the log file.
    every : float
        Seconds between two plain lines where there is no bar.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        bar: bool = True,
        log_level: str = "info",
        every: float = 10.0,
    ) -> None:
        self._stream = stream or sys.stdout
        dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
        self._bar = bar and self._stream.isatty() and not dumb
        self._level = log_level.upper()
        self._every = every
        self._handler: logging.Handler | None = None
        self._live: Any = None
        self._progress: Any = None
        self._shown_at = -float("inf")
        self._last = ""
        self._lowest = float("inf")

    def start(self, run: Path, total_epochs: int, settings_lines: Sequence[str]) -> None:
        """Open the log file and show the settings."""
        self._open_log(run)
        self._say("Settings of this run:", "system")
        for line in settings_lines:
            self._say(f"  {line}", "system")
        self._say(f"Run folder: {readable(run)}", "system")
        if self._bar:
            self._open_bar(total_epochs)

    def note(self, text: str) -> None:
        """Show a line."""
        self._say(text, "system")

    def warn(self, text: str) -> None:
        """Show a line marked as a warning."""
        self._say(f"warning: {text}", "system", logging.WARNING)

    def epoch(
        self,
        number: int,
        seconds: float,
        train_loss: float,
        validation_loss: float | None,
        learning_rate_scale: float,
        maes: Mapping[str, str],
    ) -> None:
        """Log an epoch, and show it in the bar or from time to time as a line."""
        line = epoch_line(number, seconds, train_loss, validation_loss, learning_rate_scale, maes)
        self._log(line, "train", logging.INFO)
        followed = train_loss if validation_loss is None else validation_loss
        self._lowest = min(self._lowest, followed)
        self._last = line
        if self._live is not None:
            losses = [f"loss {train_loss:.2e}"]
            if validation_loss is not None:
                losses.append(f"validation {validation_loss:.2e}")
            losses += [f"lowest {self._lowest:.2e}", f"learning rate x {learning_rate_scale:.3g}"]
            errors = [f"{name} {value}" for name, value in maes.items()]
            lines = ["  ".join(losses)] + (["MAE: " + "  ".join(errors)] if errors else [])
            self._bar_shows(number, lines)
        elif time.monotonic() - self._shown_at >= self._every:
            self._shown_at = time.monotonic()
            self._last = ""
            self._print(line)

    def finish(self, summary: Summary) -> None:
        """Close the bar and say how training ended."""
        self._close_bar()
        if self._last:
            self._print(self._last)
            self._last = ""
        self._say(
            f"Training stopped after epoch {summary.epochs} and {duration(summary.seconds)}: "
            f"{summary.stopped_because}",
            "train",
        )
        if summary.best_epoch > 0:
            self._say(
                f"Lowest loss {summary.best_loss:.3e} in epoch {summary.best_epoch}; "
                f"models are in {readable(summary.model_dir)}",
                "train",
            )

    def close(self) -> None:
        """Close the bar and the log file."""
        self._close_bar()
        if self._handler is not None:
            logger = logging.getLogger("deeph")
            logger.removeHandler(self._handler)
            logger.propagate = True
            self._handler.close()
            self._handler = None

    def _open_log(self, run: Path) -> None:
        """Append to the run's log file whatever is logged under the name deeph."""
        run.mkdir(parents=True, exist_ok=True)
        logger = logging.getLogger("deeph")
        self._handler = logging.FileHandler(run / LOG_FILE, encoding="utf-8")
        self._handler.setFormatter(logging.Formatter(_FORMAT, _DATE, defaults={"part": "system"}))
        self._handler.setLevel(self._level)
        logger.addHandler(self._handler)
        logger.setLevel(self._level)
        # Libraries may hang a handler on the root logger, which would print every line twice.
        logger.propagate = False

    def _log(self, text: str, part: str, level: int) -> None:
        """Write to the log file only."""
        if self._handler is not None:
            logging.getLogger("deeph").log(level, text, extra={"part": part})

    def _print(self, text: str) -> None:
        """Write to the terminal, above the bar if there is one."""
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=self._stream, flush=True)

    def _say(self, text: str, part: str, level: int = logging.INFO) -> None:
        """Write to terminal and log file."""
        self._print(text)
        self._log(text, part, level)

    def _open_bar(self, total_epochs: int) -> None:
        """Show a bar; rich is imported here because it takes a moment."""
        from rich import progress
        from rich.console import Console
        from rich.live import Live

        self._progress = progress.Progress(
            progress.TextColumn("epoch"),
            progress.MofNCompleteColumn(),
            progress.BarColumn(bar_width=30),
            progress.TimeRemainingColumn(),
            progress.TextColumn("left"),
        )
        self._progress.add_task("", total=total_epochs)
        self._live = Live(self._progress, console=Console(file=self._stream), refresh_per_second=4)
        self._live.start()

    def _bar_shows(self, epoch: int, lines: Sequence[str]) -> None:
        """Move the bar and replace the lines below it."""
        from rich.console import Group
        from rich.text import Text

        self._progress.update(self._progress.task_ids[0], completed=epoch)
        below = (Text(line, no_wrap=True, overflow="ellipsis") for line in lines)
        self._live.update(Group(self._progress, *below))

    def _close_bar(self) -> None:
        """Leave the bar's last state on the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._last = ""
