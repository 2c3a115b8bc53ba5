"""The progress bar: there when it helps, absent everywhere else."""

from __future__ import annotations

import io
import sys

import pytest
from deeph_dock.cli import progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "patience", "shown"), [(1, 0, 1), (1, 60, 0), (0, 0, 0)])
def test_bar_appears_on_a_terminal_after_a_while_only(
    monkeypatch: pytest.MonkeyPatch, terminal: int, patience: float, shown: int
) -> None:
    stream = _Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(progress, "_PATIENCE", patience)
    assert list(progress.with_progress(iter(range(5)), 5, "converting")) == list(range(5))
    assert ("converting" in stream.getvalue()) == bool(shown)


def test_bar_ends_when_the_work_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def items() -> object:
        yield 1
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setattr(progress, "_PATIENCE", 0)
    with pytest.raises(KeyboardInterrupt):
        list(progress.with_progress(items(), 5, "converting"))
