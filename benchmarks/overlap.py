"""How fast `dock compute-overlap` is: twisted bilayer graphene of 1000 to 44 000 atoms.

The basis is a double-zeta one of SIESTA, 13 orbitals an atom. Every figure is that of
a whole process, from POSCAR to overlap.h5 on the disk, start-up included; the median of the runs.

    CPU      seconds of user and system
    ms/atom  milliseconds an atom above a run of the smallest structure, which is start-up and
             tables; of so many copies of a structure that they have 44 000 atoms together. System
             time is mostly that of copying the bytes of the file
    memory   peak beyond that of the smallest structure, over the size of the matrix
    -j 2     wall seconds of one process over those of two

Beside it stand what the machine does in one thread (50 products of float32 matrices of 1024 x
1024), copying as many bytes in memory and writing them to the disk, and, with `--peer`, the same
structures by the program HPRO, which must be installed for that Python: runs in turn.

    python benchmarks/overlap.py [--runs 3] [--largest 44000] [--peer PYTHON]
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from deeph_dock.structures.twist import twisted
from deeph_spec.structure import Structure

CARBON = Path(__file__).parents[1] / "tests/dock/data/siesta/C.ion.xz"
SIZES = ((1, 2), (9, 10), (15, 16), (30, 31), (60, 61))
PEER_LARGEST = 12_000  # the peer needs 2.5 GB there
MANY, OF_SIZE = 24, 2884

DOCK = (sys.executable, "-c", "from deeph_dock.cli import main; main()", "compute-overlap")
YARD = """
import time
import numpy as np
a = np.ones((1024, 1024), np.float32)
a @ a
start = time.perf_counter()
for _ in range(50):
    a @ a
print(time.perf_counter() - start)
"""
BYTES = """
import os, sys, time
import numpy as np
name, size = sys.argv[1], int(sys.argv[2])
slab, other = np.ones(2**21), np.zeros(2**21)
steps = size // slab.nbytes
start = time.perf_counter()
for _ in range(steps):
    other[:] = slab
copied = time.perf_counter() - start
start = time.perf_counter()
with open(name, "wb", buffering=0) as file:
    for _ in range(steps):
        file.write(slab)
    written = time.perf_counter() - start
    os.fsync(file.fileno())
print(copied, written, time.perf_counter() - start)
os.unlink(name)
"""
PEER = """
import sys
from HPRO.io.aodata import AOData
from HPRO.io.deephio import save_mat_deeph, save_structure_deeph
from HPRO.io.struio import from_poscar
from HPRO.v2h.twocenter import calc_overlap
source, basis, target = sys.argv[1:]
with open(source) as file:
    structure = from_poscar(file)
overlap = calc_overlap(AOData(structure, basis_path_root=basis, aocode="siesta"))
save_structure_deeph(structure, target)
save_mat_deeph(target, overlap, "overlap")
"""
DIFFERENCE = """
import sys
import numpy as np
from deeph_spec.blocks import BlockMatrix
ours, peers = (BlockMatrix.read(folder + "/overlap.h5") for folder in sys.argv[1:])
rows = ours.rows_of(peers.atom_pairs)
assert len(ours) == len(peers) and (rows >= 0).all(), "other pairs"
print(np.abs(ours.on_pairs(peers.atom_pairs).entries - peers.entries).max())
"""


class Spent(NamedTuple):
    """What a process used: CPU and wall seconds, peak memory in bytes."""

    user: float
    system: float
    wall: float
    peak: int

    @property
    def cpu(self) -> float:
        """User and system together."""
        return self.user + self.system


class Size(NamedTuple):
    """A structure and its matrix."""

    folder: Path
    atoms: int


def spent(*command: str | Path) -> Spent:
    """Run a command in one thread, quietly."""
    settings = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    start = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | settings,
    )
    assert process.stdout is not None
    message = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{message}")
    return Spent(usage.ru_utime, usage.ru_stime, wall, usage.ru_maxrss * 1024)


def output(script: str, *arguments: str | Path) -> list[float]:
    """Give the numbers that a script prints."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    settings = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | settings
    )
    return [float(word) for word in done.stdout.split()]


def middle(runs: list[Spent]) -> Spent:
    """Give the median of every figure."""
    return Spent(*(median(values) for values in zip(*runs, strict=True)))


def bilayer(m: int, n: int) -> Structure:
    """Twist two layers of graphene."""
    lattice = 2.46 * np.array([[1, 0, 0], [0.5, 0.75**0.5, 0], [0, 0, 8]])
    atoms = np.array([[0, 0, 0], [1 / 3, 1 / 3, 0]]) @ lattice
    layer = Structure(lattice, atoms, np.array([6, 6]))
    return twisted(layer, layer, m, n, distance=3.35)


def write(root: Path, largest: int) -> list[Size]:
    """Write the structures, each in a folder of its own."""
    sizes = []
    for m, n in SIZES:
        structure = bilayer(m, n)
        if len(structure) <= largest:
            folder = root / f"atoms-{len(structure)}"
            folder.mkdir()
            structure.write(folder / "POSCAR")
            sizes.append(Size(folder, len(structure)))
    return sizes


def in_turn(count: int, *calls: Callable[[], Spent]) -> list[Spent]:
    """Call each in turn, several times; give the medians."""
    runs = [[call() for call in calls] for _ in range(count)]
    return [middle(list(column)) for column in zip(*runs, strict=True)]


def computing(options: list[str], source: Path, target: Path, jobs: int = 1) -> Spent:
    """Compute overlaps from structures to files."""
    return spent(*DOCK, source, *options, "-o", target, "-j", str(jobs))


def by_the_peer(python: str, basis: Path, source: Path, target: Path) -> Spent:
    """Compute the same by HPRO."""
    return spent(python, "-c", PEER, source / "POSCAR", basis, target)


def sizes_table(
    root: Path, options: list[str], sizes: list[Size], runs: int, peer: str | None
) -> None:
    """Print a line for each size, and how well `peer` agrees."""
    print(
        "  atoms     MB    user  system    wall  memory"
        "    copy   write   fsync   peer CPU  MB   CPU  wall   max |dS|"
    )
    basis = Path(options[1])
    least = None
    for size in sizes:
        ours, theirs = root / f"ours-{size.atoms}", root / "theirs"
        calls = [partial(computing, options, size.folder, ours)]
        if peer and size.atoms <= PEER_LARGEST:
            calls.append(partial(by_the_peer, peer, basis, size.folder, theirs))
        computing(options, size.folder, ours)  # warm
        mine, *others = in_turn(runs, *calls)
        least = least or mine
        result = ours / "dft" / size.folder.name
        written = (result / "overlap.h5").stat().st_size
        memory, put, synced = output(BYTES, root / "bytes", str(written))
        print(
            f"{size.atoms:7d} {written / 1e6:6.0f} {mine.user:7.2f} {mine.system:7.2f} "
            f"{mine.wall:7.2f} {(mine.peak - least.peak) / written:7.2f} {memory:7.2f} {put:7.2f} "
            f"{synced:7.2f}",
            end="",
        )
        for other in others:
            (difference,) = output(DIFFERENCE, result, theirs)
            print(
                f"   {other.cpu:8.2f} {other.peak / 1e6:4.0f} {other.cpu / mine.cpu:4.1f}x"
                f" {other.wall / mine.wall:4.1f}x   {difference:8.1e}",
                end="",
            )
        print(flush=True)
        shutil.rmtree(ours)


def copied(root: Path, size: Size, count: int) -> Path:
    """Make a folder with so many copies of a structure."""
    folder = root / f"{count}-of-{size.atoms}"
    for number in range(count):
        (folder / f"{number}").mkdir(parents=True)
        shutil.copy(size.folder / "POSCAR", folder / f"{number}")
    return folder


def linear_table(root: Path, options: list[str], sizes: list[Size], runs: int) -> None:
    """Print what an atom costs in structures of different size."""
    least, *others = sizes
    counts = [max(1, round(others[-1].atoms / size.atoms)) for size in others]
    folders = [copied(root, size, count) for size, count in zip(others, counts, strict=True)]
    calls = [partial(computing, options, folder, root / "linear") for folder in folders]
    start, *used = in_turn(runs, partial(computing, options, least.folder, root / "linear"), *calls)
    print("\n          atoms   ms/atom: user     CPU    wall")
    for size, count, mine in zip(others, counts, used, strict=True):
        each = 1e3 / (count * size.atoms)
        print(
            f"{count:5d} x {size.atoms:7d}  {each * (mine.user - start.user):13.3f} "
            f"{each * (mine.cpu - start.cpu):7.3f} {each * (mine.wall - start.wall):7.3f}",
            flush=True,
        )
    shutil.rmtree(root / "linear")


def choices_table(root: Path, options: list[str], sizes: list[Size], runs: int) -> None:
    """Print what other settings cost for a large structure."""
    size = [size for size in sizes if size.atoms <= PEER_LARGEST][-1]
    choices = {
        "as above": (),
        "--quadrature siesta": ("--quadrature", "siesta"),
        "--pattern hamiltonian": ("--pattern", "hamiltonian"),
        "--also kinetic": ("--also", "kinetic"),
        "--also position,gradient": ("--also", "position,gradient"),
    }
    settings = [options + list(choice) for choice in choices.values()]
    found = in_turn(
        runs, *(partial(computing, setting, size.folder, root / "other") for setting in settings)
    )
    print(f"\n{size.atoms} atoms                user  system    wall   peak MB")
    for title, used in zip(choices, found, strict=True):
        print(
            f"{title:25s} {used.user:7.2f} {used.system:7.2f} {used.wall:7.2f}"
            f" {used.peak / 1e6:9.0f}"
        )


def jobs_table(root: Path, options: list[str], sizes: list[Size], runs: int) -> None:
    """Print what a second process gives: for one large structure, and for many."""
    size = [size for size in sizes if size.atoms <= OF_SIZE][-1]
    print("\n                            -j 1    -j 2   wall seconds")
    for title, source in (
        (f"{sizes[-1].atoms} atoms", sizes[-1].folder),
        (f"{MANY} x {size.atoms} atoms", copied(root, size, MANY)),
    ):
        one, two = in_turn(
            runs, *(partial(computing, options, source, root / "jobs", jobs) for jobs in (1, 2))
        )
        print(f"{title:24s} {one.wall:7.2f} {two.wall:7.2f}   {one.wall / two.wall:.2f} x")


def main() -> None:
    """Make the structures, compute, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3, help="of everything")
    parser.add_argument("--largest", type=int, default=45_000, help="number of atoms")
    parser.add_argument("--peer", help="a Python that has HPRO")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        basis = root / "basis"
        basis.mkdir()
        (basis / "C.ion").write_bytes(lzma.decompress(CARBON.read_bytes()))
        options = ["--basis", str(basis), "--pattern", "overlap", "--overwrite"]
        sizes = write(root, arguments.largest)
        print(f"yard, 50 products: {median(output(YARD)[0] for _ in range(3)):.2f} s")
        sizes_table(root, options, sizes, arguments.runs, arguments.peer)
        linear_table(root, options, sizes, arguments.runs)
        choices_table(root, options, sizes, arguments.runs)
        jobs_table(root, options, sizes, arguments.runs)
        print(f"yard, 50 products: {median(output(YARD)[0] for _ in range(3)):.2f} s")


if __name__ == "__main__":
    main()
