"""Work spread over processes: results as they come, dead workers, Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from deeph_dock.executors import InThisProcess, each, local_executor
from deeph_dock.workers import Request, workers
from deeph_spec.errors import InputError


def _square(n: int) -> int:
    if n == 13:
        raise ValueError("unlucky")
    return n * n


@pytest.mark.parametrize("make", [InThisProcess, partial(ThreadPoolExecutor, 3)])
@pytest.mark.parametrize("at_once", [1, 5])
def test_every_item_gives_its_result_or_its_exception(make: type, at_once: int) -> None:
    results = dict(each(_square, range(20), make, at_once))
    assert isinstance(results.pop(13), ValueError)
    assert results == {n: n * n for n in range(20) if n != 13}


def test_items_are_taken_only_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> list[int]:
        for n in range(100):
            taken.append(n)
            yield n

    results = each(_square, items(), InThisProcess, at_once=4)
    next(results)
    assert len(taken) <= 4
    results.close()


SCRIPT = """
import os, sys, time
from functools import partial
from deeph_dock.executors import each, local_executor

def work(n):
    if n == 3:
        os.kill(os.getpid(), 9)
    if n >= 100:
        print("begun", n, flush=True)
        time.sleep(n / 100)
    return n * n

if __name__ == "__main__":
    items = eval(sys.argv[1])
    try:
        for item, result in each(work, items, partial(local_executor, 2), at_once=2):
            name = result if isinstance(result, int) else type(result).__mro__[1].__name__
            print(item, name, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "work.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


def test_worker_that_dies_takes_only_its_own_item_down(script: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script), "range(8)"], capture_output=True, text=True, timeout=120
    )
    lines = sorted(done.stdout.split("\n"))
    expected = [f"{n} {n * n}" for n in range(8) if n != 3]
    assert [line for line in lines if line and not line.startswith("3 ")] == expected, done.stderr
    assert [line for line in lines if line.startswith("3 ")] == [f"3 {BrokenExecutor.__name__}"]


def test_ctrl_c_lets_the_work_under_way_finish(script: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(script), "[150, 151, *range(1000, 1050)]"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    begun = [process.stdout.readline() for _ in range(2)]
    assert all(line.startswith("begun") for line in begun)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    output, errors = process.communicate(timeout=60)
    lines = output.strip().split("\n")
    assert "150 22500" in lines, errors
    assert "151 22801" in lines
    assert lines[-1] == "interrupted"
    assert errors == ""


def test_workers_end_with_the_first_process(script: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(script), "[6000, 6001]"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail("workers outlive the process that started them")
    process.stdout.close()


def test_one_job_needs_no_process() -> None:
    assert isinstance(local_executor(1), InThisProcess)


@pytest.mark.parametrize(
    ("kind", "request_", "message"),
    [
        ("local", Request(scheduler="tcp://127.0.0.1:1"), "add --executor dask"),
        ("dask", Request(jobs=2), "-j: processes of this machine"),
        ("threads", Request(), "known are local, mpi, dask"),
    ],
)
def test_what_does_not_go_together_is_one_line(kind: str, request_: Request, message: str) -> None:
    with pytest.raises(InputError, match=message):
        workers(kind, request_)


@pytest.mark.parametrize(("kind", "package"), [("mpi", "mpi4py"), ("dask", "distributed")])
def test_missing_extra_is_named(kind: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeph_dock.workers.find_spec", lambda _: None)
    message = f'{package} is not installed; pip install "deeph-dock[{kind}]"'
    with pytest.raises(InputError, match=re.escape(message)), workers(kind, Request()):
        pass


class _Kept:
    """Something that weak references can point to."""


def _interrupted_while_destroyed(number: int) -> int:
    """Receive Ctrl-C in the callback of a weak reference, where Python drops exceptions."""
    kept = _Kept()
    callback = weakref.ref(kept, lambda _: signal.raise_signal(signal.SIGINT))
    del kept
    assert callback() is None
    return number


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_is_not_lost_while_an_object_is_destroyed() -> None:
    results = each(_interrupted_while_destroyed, [1, 2], InThisProcess)
    assert next(results) == (1, 1)
    with pytest.raises(KeyboardInterrupt):
        next(results)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
