"""How fast `dock convert` is: 60 small SIESTA runs, and a large run of each code.

The runs are made here: silicon with 13 orbitals an atom, in the files of each code, with as many
elements as real runs have. For comparison the same bytes are merely read, in the same process and
just before, so that they are in the cache for both.

    command   user CPU seconds of the whole `dock convert`, start-up included
    reading   user CPU seconds of S and H from the files to blocks in memory, imports done
    memory    peak beyond that of a small run, over the size of S and H in memory

    python benchmarks/convert.py [--runs 60] [--scale 1.0]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import NamedTuple

from made_runs import abacus, fhi_aims, openmx, siesta
from made_runs.crystal import Crystal, silicon

READ = """
import json, re, resource, sys
from pathlib import Path
from deeph_dock.codes import detect, load
import deeph_dock.writing

def used():
    # ru_maxrss would be that of the parent, which made the runs.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\\s+([0-9]+) kB", status)[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime, peak

def read(folder):
    (run,) = detect(Path(folder))
    calculation = load(run.code).read(run.folder, run.label)
    return [calculation.matrices[name]() for name in ("overlap", "hamiltonian")]

read(sys.argv[1])
start, before = used()
matrices = read(sys.argv[2])
seconds, after = used()
print(json.dumps([seconds - start, (after - before) * 1024, sum(m.nbytes for m in matrices)]))
"""


class Case(NamedTuple):
    """One large run."""

    title: str
    write: Callable[[Crystal, Path], None]
    repeats: int
    lowest: float
    cutoff: float = 10.0


CASES = (
    Case("SIESTA, HSX 1", siesta.write, 5, 0.0),
    Case("ABACUS, csr text", abacus.write, 3, 0.0),
    Case("OpenMX, scfout 3.9", openmx.write, 3, 0.0),
    Case("FHI-aims, rs text", fhi_aims.write, 1, -0.5, 13.8),
)


def user(who: int) -> float:
    """Give the user CPU seconds so far."""
    return getrusage(who).ru_utime


def reading_bytes(folder: Path) -> float:
    """Give the CPU seconds, user and system, of merely reading all bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        path.read_bytes()
    start = getrusage(RUSAGE_SELF)
    for path in files:
        path.read_bytes()
    end = getrusage(RUSAGE_SELF)
    return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime


def size_of(folder: Path) -> int:
    """Give the bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def converting(source: Path, destination: Path, jobs: int = 1) -> tuple[float, float]:
    """Give user CPU and wall seconds of `dock convert`; the CPU of one process only is known."""
    dock = [sys.executable, "-c", "from deeph_dock.cli import main; main()", "convert"]
    begun, start = time.perf_counter(), user(RUSAGE_CHILDREN)
    subprocess.run(
        [*dock, str(source), str(destination), "-j", str(jobs)], check=True, capture_output=True
    )
    return user(RUSAGE_CHILDREN) - start, time.perf_counter() - begun


def reading(small: Path, large: Path) -> tuple[float, float, float]:
    """Give user CPU seconds of reading S and H, peak memory beyond, and their size in memory."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(small), str(large)],
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, peak, size = json.loads(done.stdout)
    return seconds, peak, size


def small_runs(root: Path, count: int) -> None:
    """Print the line of many small runs."""
    crystal = silicon(1, 0.0)
    for number in range(count):
        siesta.write(crystal, root / "small" / f"{number:03d}")
    source, size = root / "small", size_of(root / "small")
    start_up, _ = converting(source / "000", root / "first")
    bytes_only = reading_bytes(source)
    print(f"{count} HSX runs of 2 atoms, {size / 1e6:.0f} MB; merely reading {bytes_only:.2f} s")
    print(f"  start-up and one run: {start_up:.2f} s user CPU")
    for jobs in (1, 2):
        used, wall = converting(source, root / f"small-{jobs}", jobs)
        cpu = f"{used:.2f} s user CPU, " if jobs == 1 else ""
        print(f"  -j {jobs}: {cpu}{wall:.2f} s wall")


def large_run(root: Path, case: Case, scale: float) -> None:
    """Print the line of a large run."""
    repeats = max(1, round(case.repeats * scale ** (1 / 3)))
    name = case.title.split(",")[0]
    small, large = root / f"{name}-one", root / f"{name}-many"
    case.write(silicon(1, case.lowest, 6.0), small)
    case.write(silicon(repeats, case.lowest, case.cutoff), large)
    size = size_of(large)
    bytes_only = reading_bytes(large)
    command, _ = converting(large, root / f"{name}-data")
    seconds, peak, matrices = reading(small, large)
    print(
        f"{case.title:20s} {size / 1e6:6.1f} {command:9.2f} {seconds:9.2f} "
        f"{size / 1e6 / max(seconds, 1e-3):8.0f} {seconds / max(bytes_only, 1e-3):8.1f} "
        f"{peak / matrices:8.2f}"
    )


def main() -> None:
    """Make the runs, convert them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=60, help="number of small runs, 2 atoms each")
    parser.add_argument("--scale", type=float, default=1.0, help="of the large runs")
    parser.add_argument("--only", help="the code of which a large run is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if arguments.only is None:
            small_runs(root, arguments.runs)
        print("                         MB  command   reading     MB/s  x bytes   memory")
        for case in CASES:
            if arguments.only is None or case.title.lower().startswith(arguments.only.lower()):
                large_run(root, case, arguments.scale)


if __name__ == "__main__":
    main()
