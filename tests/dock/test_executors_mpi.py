"""Work spread over ranks of MPI: the same dataset, Ctrl-C, ranks that die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

MPIEXEC = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH')}")
DOCK = (sys.executable, "-c", "from deeph_dock.cli import main; main()")


def _environment() -> dict[str, str]:
    """Allow more ranks than cores, and the user root, where Open MPI asks for permission."""
    return {
        **os.environ,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }


def _start(ranks: int, *command: str) -> subprocess.Popen[str]:
    assert MPIEXEC is not None
    return subprocess.Popen(
        [MPIEXEC, "-n", str(ranks), *command],
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    """Wait, and leave no process behind if it takes too long."""
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


@pytest.fixture(scope="module", autouse=True)
def _mpi() -> None:
    if find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed")
    if MPIEXEC is None:
        pytest.skip("there is no mpiexec")
    size = "from mpi4py import MPI; print(MPI.COMM_WORLD.size)"
    output, errors = _end(_start(2, sys.executable, "-c", size), 60)
    if "".join(output.split()) != "22":  # the lines of two ranks may run into one another
        pytest.skip(f"mpiexec does not start two ranks of mpi4py's MPI: {errors[-300:]}")


SCRIPT = """
import os, sys, time
from deeph_dock.executors import each
from deeph_dock.workers import Request, workers

def work(n):
    if n == 3:
        raise ValueError("three")
    if n == 99:
        os.kill(os.getpid(), 9)
    if n >= 100:
        print("begun", n, flush=True)
        time.sleep(n / 100)
    return n * n, os.getpid()

if __name__ == "__main__":
    with workers("mpi", Request()) as pool:
        here = os.getpid()
        if sys.argv[1] == "fail":
            raise RuntimeError("planning failed")
        try:
            for item, result in each(work, eval(sys.argv[1]), pool.make, pool.at_once):
                if isinstance(result, tuple):
                    print(item, result[0], "here" if result[1] == here else "there", flush=True)
                else:
                    print(item, type(result).__name__, flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "work.py"
    path.write_text(textwrap.dedent(SCRIPT))
    return path


@pytest.mark.parametrize("ranks", [2, 3])
def test_other_ranks_do_the_work(script: Path, ranks: int) -> None:
    process = _start(ranks, sys.executable, str(script), "range(20)")
    output, errors = _end(process, 60)
    expected = [f"{n} {n * n} there" if n != 3 else "3 ValueError" for n in range(20)]
    assert sorted(output.strip().split("\n")) == sorted(expected), errors
    assert process.returncode == 0


def test_exception_of_the_first_rank_ends_all(script: Path) -> None:
    process = _start(2, sys.executable, str(script), "fail")
    _, errors = _end(process, 60)
    assert errors.count("RuntimeError: planning failed") == 1
    assert process.returncode != 0


def test_rank_that_dies_ends_all(script: Path) -> None:
    process = _start(3, sys.executable, str(script), "[1, 99, *range(2000, 2050)]")
    _end(process, 60)
    assert process.returncode != 0


def test_ctrl_c_ends_all(script: Path) -> None:
    process = _start(2, sys.executable, str(script), "[300, *range(1000, 1050)]")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("begun 300")
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all ranks
    _end(process, 60)
    assert time.monotonic() - begin < 40


def test_one_rank_is_told_how_to_start_more(tmp_path: Path) -> None:
    command = [*DOCK, "convert", str(tmp_path), str(tmp_path / "data"), "--executor", "mpi"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=_environment())
    assert done.returncode == 1
    assert done.stderr.startswith("error: --executor mpi: there is one process only; start several")
    assert done.stderr.count("\n") == 1


def test_dataset_is_that_of_one_process(toy_run: Callable[..., Any], tmp_path: Path) -> None:
    source = tmp_path / "runs"
    for number in range(5):
        toy_run(seed=number, atoms=2).write(source / str(number))
    here, there = tmp_path / "here", tmp_path / "there"
    subprocess.run(
        [*DOCK, "convert", str(source), str(here)], check=True, capture_output=True, timeout=60
    )
    arguments = ["convert", str(source), str(there), "--executor", "mpi"]
    process = _start(3, *DOCK, *arguments)
    output, errors = _end(process, 120)
    assert process.returncode == 0, errors
    assert "by 2 ranks of MPI" in output
    assert output.count("converted to") == 1
    files = sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(there) for p in there.rglob("*") if p.is_file())
    for name in files:
        if name.name != "info.json":  # which has the time
            assert (here / name).read_bytes() == (there / name).read_bytes(), name
    again, errors = _end(_start(3, *DOCK, *arguments), 120)
    assert "skipped: done before" in again, errors
