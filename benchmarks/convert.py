"""How fast `dock convert` is: many small SIESTA runs, and a large one.

The runs are made here: HSX of version 1 in double precision, 13 orbitals an atom, with the numbers
of elements that real silicon has. For comparison the same bytes are merely read, in the same
process and just before, so that they are in the cache for both. Seconds are user + system CPU.

    python benchmarks/convert.py [--atoms 216] [--runs 60]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

import numpy as np
from vesin import NeighborList

BOHR = 0.529177210903
QUANTUM_NUMBERS = [(3, 0, 1), (3, 0, 2), *[(3, 1, 1)] * 3, *[(3, 1, 2)] * 3, *[(3, 2, 1)] * 5]
ORBITALS = len(QUANTUM_NUMBERS)
CUTOFF = 10.0  # Angstrom; about 200 neighbours in silicon


def silicon(cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Give lattice and positions (Angstrom) of cells^3 primitive cells."""
    primitive = 2.715 * (1 - np.eye(3))
    shifts = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), -1).reshape(-1, 3)
    corners = shifts @ primitive
    positions = np.concatenate([corners, corners + 1.3575])
    rng = np.random.default_rng(cells)
    return cells * primitive, positions + rng.uniform(-0.05, 0.05, positions.shape)


def write_run(folder: Path, cells: int) -> int:
    """Write one run; give its bytes."""
    folder.mkdir(parents=True)
    lattice, positions = silicon(cells)
    atoms = len(positions)
    first, second, images, distance = NeighborList(cutoff=CUTOFF, full_list=True).compute(
        positions, lattice, True, "ijSd"
    )
    own = np.arange(atoms)
    first, second = np.concatenate([own, first]), np.concatenate([own, second])
    images = np.concatenate([np.zeros((atoms, 3), int), images.astype(int)])
    distance = np.concatenate([np.zeros(atoms), distance])
    reach = np.abs(images).max(axis=0)
    axes = [np.r_[0 : n + 1, -n:0] for n in reach]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    size = 2 * reach + 1
    image = np.ravel_multi_index(tuple((images % size).T), tuple(size))
    order = np.lexsort((second, image, first))
    rng = np.random.default_rng(0)
    base = rng.standard_normal((ORBITALS, ORBITALS))
    base = base + base.T
    with open(folder / "si.HSX", "wb") as file:

        def record(*arrays: np.ndarray | bytes) -> None:
            data = b"".join(a if isinstance(a, bytes) else a.tobytes() for a in arrays)
            marker = np.int32(len(data)).tobytes()
            file.write(marker + data + marker)

        starts = np.searchsorted(first[order], np.arange(atoms + 1))
        record(np.int32(1))
        record(np.int32(1))
        record(np.array([atoms, atoms * ORBITALS, 1, 1, *size], np.int32))
        record(lattice / BOHR, np.array([-0.3, 4.0 * atoms, 0.0019]))
        kinds, last = np.ones(atoms, np.int32), (np.arange(atoms) + 1) * ORBITALS
        record(offsets.astype(np.int32), positions / BOHR, kinds, last.astype(np.int32))
        record(b"Si".ljust(20), np.array([4.0]), np.array([ORBITALS], np.int32))
        record(np.array(QUANTUM_NUMBERS, np.int32))
        record(np.repeat(np.diff(starts) * ORBITALS, ORBITALS).astype(np.int32))
        blocks = [order[a:b] for a, b in pairwise(starts)]
        within = np.arange(ORBITALS)
        for block in blocks:
            head = (image[block] * atoms + second[block]) * ORBITALS
            columns = (head[:, None] + within).ravel().astype(np.int32) + 1
            for _ in range(ORBITALS):
                record(columns)
        for factor in (1.0, 0.1):
            for block in blocks:
                decay = factor * np.exp(-distance[block])[:, None]
                for orbital in range(ORBITALS):
                    row = decay * base[orbital]
                    if factor == 0.1:
                        row[np.argmin(distance[block]), orbital] = 1.0
                    record(row.ravel())
    vectors = [" ".join(f"{x:.9f}" for x in (*v, 0, 0, 0)) for v in lattice / BOHR]
    lines = [f"1 14 {x:.9f} {y:.9f} {z:.9f} 0 0 0" for x, y, z in positions / BOHR]
    (folder / "si.XV").write_text("\n".join([*vectors, str(atoms), *lines]))
    head = "Siesta Version  : 5.2.2\nWELCOME TO SIESTA\nreinit: System Label: si\n"
    (folder / "si.out").write_text(head + "SCF cycle converged after 9 iterations\n")
    return sum(path.stat().st_size for path in folder.iterdir())


def cpu(who: int) -> float:
    """Give the CPU seconds used so far."""
    usage = getrusage(who)
    return usage.ru_utime + usage.ru_stime


def reading(folder: Path) -> float:
    """Give the CPU seconds of merely reading all bytes."""
    for path in folder.rglob("*.*"):
        path.read_bytes()
    start = cpu(RUSAGE_SELF)
    for path in folder.rglob("*.*"):
        path.read_bytes()
    return cpu(RUSAGE_SELF) - start


def converting(source: Path, destination: Path, jobs: int) -> tuple[float, float]:
    """Give CPU and wall seconds of `dock convert`; the CPU of one process only is known."""
    dock = [sys.executable, "-c", "from deeph_dock.cli import main; main()", "convert"]
    begun, start = time.perf_counter(), cpu(RUSAGE_CHILDREN)
    subprocess.run(
        [*dock, str(source), str(destination), "-j", str(jobs)], check=True, capture_output=True
    )
    return cpu(RUSAGE_CHILDREN) - start, time.perf_counter() - begun


def main() -> None:
    """Make the runs, convert them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=250, help="of the large run: 2 n^3")
    parser.add_argument("--runs", type=int, default=60, help="number of small runs, 2 atoms each")
    arguments = parser.parse_args()
    cells = max(1, round((arguments.atoms / 2) ** (1 / 3)))
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        small = sum(write_run(root / "small" / f"{n:03d}", 1) for n in range(arguments.runs))
        large = write_run(root / "large" / "1", cells)
        cases = [
            (f"{arguments.runs} runs of 2 atoms", "small", small, 1),
            (f"{arguments.runs} runs of 2 atoms", "small", small, 2),
            (f"1 run of {2 * cells**3} atoms", "large", large, 1),
        ]
        start_up, _ = converting(root / "small" / "000", root / "first", 1)
        print(f"start-up and one small run: {start_up:.2f} s CPU")
        print("what                      -j    MB    CPU s   wall s   MB/s   times reading")
        for title, folder, size, jobs in cases:
            read = reading(root / folder)
            used, wall = converting(root / folder, root / f"{folder}-{jobs}", jobs)
            rates = f"{size / 1e6 / used:6.0f} {used / max(read, 1e-3):10.1f}"
            print(
                f"{title:24s} {jobs:3d} {size / 1e6:6.0f} "
                + (f"{used:8.2f} {wall:8.2f} {rates}" if jobs == 1 else f"{'-':>8s} {wall:8.2f}")
            )


if __name__ == "__main__":
    main()
