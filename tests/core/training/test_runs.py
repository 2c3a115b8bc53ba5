"""Folders of runs: found again after a kill, never taken from another process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import pytest
from deeph.training.interruption import Interruption
from deeph.training.runs import (
    RunRecord,
    dataset_hash,
    differing_settings,
    find_unfinished,
    locked,
    make_run,
    mark_stopped,
    read_record,
    write_record,
)
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError


def run_of(outputs: Path, name: str, settings: str = "s", data: str = "d") -> Path:
    run = outputs / name
    run.mkdir(parents=True)
    write_record(run, RunRecord(settings, data, settings={"a.b": 1}))
    return run


def test_runs_are_named_by_date_and_time(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 9, 30, 0)
    names = [make_run(tmp_path / "deep/runs", now).name for _ in range(3)]
    assert names == ["2026-03-01_09-30-00", "2026-03-01_09-30-00_2", "2026-03-01_09-30-00_3"]


def test_a_place_that_cannot_hold_runs_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make a folder for the run"):
        make_run(tmp_path / "file")


def test_the_newest_unfinished_run_of_the_same_settings_is_found(tmp_path: Path) -> None:
    assert find_unfinished(tmp_path / "missing", "s", "d") is None
    run_of(tmp_path, "2026-01-01_00-00-00")
    newest = run_of(tmp_path, "2026-01-02_00-00-00")
    run_of(tmp_path, "2026-01-03_00-00-00", settings="other")
    run_of(tmp_path, "2026-01-04_00-00-00", data="other")
    mark_stopped(run_of(tmp_path, "2026-01-05_00-00-00"), "max_epoch", finished=True)
    (tmp_path / "2026-01-06_00-00-00").mkdir()
    broken = run_of(tmp_path, "2026-01-07_00-00-00")
    (broken / "run.json").write_text("{")
    assert find_unfinished(tmp_path, "s", "d") == newest
    mark_stopped(newest, "interrupted", finished=False)
    assert find_unfinished(tmp_path, "s", "d") == newest
    assert read_record(newest).stopped_because == "interrupted"


def test_a_run_in_use_is_passed_over_until_its_process_ends(tmp_path: Path) -> None:
    run = run_of(tmp_path, "2026-01-01_00-00-00")
    program = (
        "import sys\nfrom pathlib import Path\nfrom deeph.training.runs import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(run)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert find_unfinished(tmp_path, "s", "d") is None
        with pytest.raises(InputError, match="another process is training"), locked(run):
            pass
        process.send_signal(signal.SIGKILL)
    assert find_unfinished(tmp_path, "s", "d") == run
    with locked(run):
        pass


def test_what_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not the folder of a run: run\.json is missing"):
        read_record(tmp_path)
    (tmp_path / "run.json").write_text('{"unknown": 1}')
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path)


def test_differing_settings_are_named() -> None:
    record = RunRecord("s", "d", settings={"a": 1, "b": "x", "c": [1]})
    assert differing_settings(record, {"a": 1, "b": "y", "c": [1], "e": None}) == [
        'b was "x", is "y"',
        'e was "(not read)", is null',
    ]


def test_the_dataset_hash_sees_content_and_nothing_else(tmp_path: Path) -> None:
    for name in ("1", "2"):
        folder = tmp_path / "data/dft" / name
        folder.mkdir(parents=True)
        for file in ("POSCAR", "info.json", "overlap.h5", "hamiltonian.h5"):
            (folder / file).write_text(f"{name} {file}")
    first = dataset_hash(Dataset.open(tmp_path / "data"))
    shutil.copytree(tmp_path / "data", tmp_path / "elsewhere")
    os.utime(tmp_path / "elsewhere/dft/1/POSCAR", (0, 0))
    (tmp_path / "elsewhere/dft/1/notes.txt").write_text("more")
    assert dataset_hash(Dataset.open(tmp_path / "elsewhere")) == first
    (tmp_path / "elsewhere/dft/2/hamiltonian.h5").write_text("2 hamiltonian.h5 ")
    changed = dataset_hash(Dataset.open(tmp_path / "elsewhere"))
    assert changed != first
    (tmp_path / "elsewhere/dft/2/hamiltonian.h5").unlink()
    assert dataset_hash(Dataset.open(tmp_path / "elsewhere")) not in (first, changed)


class TestInterruption:
    """The first signal asks, the second insists, and afterwards all is as before."""

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_is_noted(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        with Interruption() as interruption:
            assert interruption.requested is None
            signal.raise_signal(number)
            assert interruption.requested is number
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert signal.getsignal(number) is before

    def test_other_threads_leave_signals_alone(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        seen = []

        def work() -> None:
            with Interruption() as interruption:
                seen.append((signal.getsignal(signal.SIGINT), interruption.requested))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [(before, None)]
