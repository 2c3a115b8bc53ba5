"""Work spread by Dask over a cluster on this machine: results, dead workers, a lost scheduler."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deeph_dock.executors import each
from deeph_dock.workers import Request, workers
from deeph_spec.errors import InputError

pytest.importorskip("distributed", reason="distributed is not installed")

DOCK = (sys.executable, "-c", "from deeph_dock.cli import main; main()")
# A process of its own: the threads of a cluster would live on in the one that runs the tests.
CLUSTER = """
import sys, time
from distributed import LocalCluster

if __name__ == "__main__":
    cluster = LocalCluster(
        n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=None
    )
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
    cluster.close()
"""


class Cluster:
    """A scheduler and its workers, which end with the process that started them."""

    def __init__(self, folder: Path, count: int) -> None:
        script = folder / "cluster.py"
        script.write_text(CLUSTER)
        # Tests hand their own functions over by name.
        path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
            },
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()

    def kill(self) -> None:
        """Let the scheduler vanish; its workers end by themselves."""
        self.process.kill()
        self.stop()

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), 2)
    yield cluster
    cluster.stop()


SCRIPT = """
import os, sys, time
from deeph_dock.executors import describe_loss, each
from deeph_dock.workers import Request, workers

def work(n):
    if n == 3:
        raise ValueError("three")
    if n == 13:
        os._exit(1)
    time.sleep(n / 100 if n >= 100 else 0)
    return n * n, os.getpid()

if __name__ == "__main__":
    with workers("dask", Request(scheduler=sys.argv[1])) as pool:
        print(pool.title, flush=True)
        try:
            for item, result in each(work, eval(sys.argv[2]), pool.make, pool.at_once):
                if isinstance(result, tuple):
                    where = "here" if result[1] == os.getpid() else "there"
                    print(item, result[0], where, flush=True)
                else:
                    print(item, type(result).__name__, describe_loss(result), flush=True)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "work.py"
    path.write_text(SCRIPT)
    return path


def _start(script: Path, cluster: Cluster, items: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), cluster.address, items],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait, and leave no process behind if it takes too long."""
    try:
        return process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise


def test_workers_give_results_and_exceptions(script: Path, cluster: Cluster) -> None:
    output, errors = _end(_start(script, cluster, "range(12)"))
    title, *lines = output.strip().split("\n")
    assert title == "2 threads of Dask", errors
    failed = "3 ValueError a worker could not do it: ValueError: three"
    expected = [f"{n} {n * n} there" if n != 3 else failed for n in range(12)]
    assert sorted(lines) == sorted(expected)


def test_worker_that_dies_takes_only_its_own_item_down(script: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    output, errors = _end(_start(script, cluster, "[1, 13, 2]"))
    cluster.stop()
    lines = sorted(output.strip().split("\n")[1:])
    assert lines[0] == "1 1 there", errors
    assert lines[1].startswith("13 KilledWorker its process died")
    assert lines[2].startswith("2 ")


def test_ctrl_c_lets_the_work_under_way_finish(script: Path, cluster: Cluster) -> None:
    process = _start(script, cluster, "[1, 200, *range(201, 260)]")
    assert process.stdout is not None
    for _ in range(2):  # the title, and the first item
        process.stdout.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output, errors = _end(process)
    lines = output.strip().split("\n")
    assert "200 40000 there" in lines, errors
    assert len(lines) < 10
    assert lines[-1] == "interrupted"


def test_scheduler_that_is_lost_does_not_hang(script: Path, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, 1)
    process = _start(script, cluster, "[1, 6000]")
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    cluster.kill()
    output, errors = _end(process)
    assert process.returncode != 0, output
    assert ": lost; when it is back, run the same command again" in errors


def test_command_gives_the_dataset_of_one_process(
    toy_run: Callable[..., Any], cluster: Cluster, tmp_path: Path
) -> None:
    for number in range(5):
        toy_run(seed=number, atoms=2).write(tmp_path / "runs" / str(number))
    options = ["--executor", "dask", "--scheduler", cluster.address]
    for destination, more in (("here", []), ("there", options)):
        done = subprocess.run(
            [*DOCK, "convert", "runs", destination, *more],  # workers are in another folder
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "by 2 threads of Dask" in done.stdout
    here, there = tmp_path / "here", tmp_path / "there"
    files = sorted(path.relative_to(here) for path in here.rglob("*") if path.is_file())
    assert files == sorted(p.relative_to(there) for p in there.rglob("*") if p.is_file())
    for name in files:
        if name.name != "info.json":  # which has the time
            assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_scheduler_may_be_named_by_its_file(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": cluster.address}))
    with workers("dask", Request(scheduler=str(file))) as pool:
        assert dict(each(abs, [-1, 2], pool.make, pool.at_once)) == {-1: 1, 2: 2}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "is missing"),
        ("nowhere", "no such file"),
        ("tcp://127.0.0.1:1", "no scheduler of Dask"),
    ],
)
def test_scheduler_that_is_not_there_is_one_line(
    where: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deeph_dock.workers._PATIENCE", "1s")
    with pytest.raises(InputError, match=message), workers("dask", Request(scheduler=where)):
        pass
