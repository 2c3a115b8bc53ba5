"""What a training shows on a terminal, in a batch job, and in its log file."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from deeph.training.display import Display, SilentDisplay, TrainingDisplay, duration, epoch_line


@dataclass
class Ended:
    epochs: int = 30
    best_loss: float = 0.00042
    best_epoch: int = 28
    stopped_because: str = "max_epoch reached"
    model_dir: Path = Path("runs/x/model")
    seconds: float = 200.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def close() -> Iterator[list[TrainingDisplay]]:
    displays: list[TrainingDisplay] = []
    yield displays
    for display in displays:
        display.close()
    assert not logging.getLogger("deeph").handlers


def played(display: Display, run: Path, epochs: int = 30) -> None:
    display.start(run, epochs, ('model.loss_type = "mse"  (default)',))
    display.note("the network has 12 345 parameters")
    display.warn("no validation structures: schedule and best model follow the training loss")
    for number in range(1, epochs + 1):
        display.epoch(
            number, 3.194, 0.044 / number, 0.045 / number, 1.0, {"validation": "2.35 meV"}
        )
    display.finish(Ended())
    display.close()


def test_the_log_has_a_line_for_every_epoch(tmp_path: Path, close: list[TrainingDisplay]) -> None:
    display = TrainingDisplay(io.StringIO())
    close.append(display)
    played(display, tmp_path / "run")
    lines = (tmp_path / "run/deeph.log").read_text().splitlines()
    stamp = r"\[ \d\d\.\d\d-\d\d:\d\d:\d\d \] "
    assert all(re.match(stamp + r"\[(system|train)\] ", line) for line in lines)
    epochs = [line for line in lines if "[train] Epoch" in line]
    assert len(epochs) == 30
    assert re.fullmatch(
        stamp
        + r"\[train\] Epoch 2 \| Time 3\.19 s \| Train-Loss 2\.20e-02 \| Val-Loss 2\.25e-02 "
        + r"\| Scale 1 \| MAE validation 2\.35 meV",
        epochs[1],
    )
    assert any('model.loss_type = "mse"' in line for line in lines)
    assert any("warning: no validation" in line for line in lines)


def test_without_a_terminal_lines_come_from_time_to_time(
    tmp_path: Path, close: list[TrainingDisplay]
) -> None:
    stream = io.StringIO()
    display = TrainingDisplay(stream, every=1000.0)
    close.append(display)
    played(display, tmp_path)
    text = stream.getvalue()
    shown = re.findall(r"^Epoch (\d+) ", text, re.MULTILINE)
    assert shown == ["1", "30"]  # the first at once, the last at the end
    assert "\x1b" not in text
    assert "Training stopped after epoch 30 and 3 min 20 s: max_epoch reached" in text
    assert "Lowest loss 4.200e-04 in epoch 28; models are in runs/x/model" in text


def test_every_line_is_shown_when_epochs_are_slow(
    tmp_path: Path, close: list[TrainingDisplay]
) -> None:
    stream = io.StringIO()
    display = TrainingDisplay(stream, every=0.0)
    close.append(display)
    played(display, tmp_path, 5)
    assert len(re.findall(r"^Epoch ", stream.getvalue(), re.MULTILINE)) == 5


def test_a_terminal_gets_a_bar_with_losses(
    tmp_path: Path, close: list[TrainingDisplay], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    display = TrainingDisplay(stream)
    close.append(display)
    played(display, tmp_path)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "30/30" in plain
    assert "MAE: validation 2.35 meV" in plain
    assert "the network has 12 345 parameters" in plain
    assert not re.search(r"^Epoch ", plain, re.MULTILINE)


@pytest.mark.parametrize(("bar", "kind"), [(False, "xterm"), (True, "dumb")])
def test_the_bar_can_be_switched_off(
    tmp_path: Path,
    close: list[TrainingDisplay],
    monkeypatch: pytest.MonkeyPatch,
    bar: bool,
    kind: str,
) -> None:
    monkeypatch.setenv("TERM", kind)
    stream = Terminal()
    display = TrainingDisplay(stream, bar=bar)
    close.append(display)
    played(display, tmp_path)
    assert "30/30" not in stream.getvalue()
    assert "Epoch 1 |" in stream.getvalue()


def test_the_log_level_and_other_loggers_of_the_program(
    tmp_path: Path, close: list[TrainingDisplay]
) -> None:
    display = TrainingDisplay(io.StringIO(), log_level="warning")
    close.append(display)
    display.start(tmp_path, 1, ())
    display.note("not this")
    logging.getLogger("deeph.graphs").warning("but this")
    display.close()
    (line,) = (tmp_path / "deeph.log").read_text().splitlines()
    assert line.endswith("[system] but this")


def test_nothing_is_printed_by_handlers_of_others(
    tmp_path: Path, close: list[TrainingDisplay], caplog: pytest.LogCaptureFixture
) -> None:
    display = TrainingDisplay(io.StringIO())
    close.append(display)
    played(display, tmp_path)
    assert caplog.records == []
    logging.getLogger("deeph").warning("afterwards all is as before")
    assert len(caplog.records) == 1


def test_a_resumed_run_appends_to_its_log(tmp_path: Path, close: list[TrainingDisplay]) -> None:
    for _ in range(2):
        display = TrainingDisplay(io.StringIO())
        close.append(display)
        played(display, tmp_path, 3)
    log = (tmp_path / "deeph.log").read_text()
    assert log.count("[train] Epoch 3 |") == 2


def test_a_silent_display_is_a_display(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    played(SilentDisplay(), tmp_path / "run")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "run").exists()


def test_lines_without_validation_have_no_validation_loss() -> None:
    assert "Val-Loss" not in epoch_line(1, 1.0, 1.0, None, 1.0, {})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (8.24, "8.2 s"),
        (59.97, "1 min 00 s"),
        (200.2, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
