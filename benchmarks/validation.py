"""Time of validating a matrix file of a million blocks, as a ratio to merely reading its bytes.

    python benchmarks/validation.py [blocks]

Writes a float32 Hamiltonian and a float64 overlap with blocks of 4 x 4 to 13 x 13 into a temporary
folder, then prints seconds and ratios. The bytes are in the page cache when they are read.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from deeph_spec.validation import validate_folder

SHELLS = {"H": (0, 1), "C": (0, 0, 1, 1), "Mo": (0, 0, 1, 1, 2)}
NEIGHBOURS = 60


def make_folder(folder: Path, blocks: int) -> None:
    """Write a valid folder: atoms on a grid, each with neighbours up to 60 index steps away."""
    rng = np.random.default_rng(0)
    atoms = blocks // (2 * NEIGHBOURS + 1)
    side = int(np.ceil(atoms ** (1 / 3)))
    grid = np.stack(np.unravel_index(np.arange(atoms), (side,) * 3), axis=1)
    numbers = np.sort(rng.choice([1, 6, 42], atoms))
    structure = Structure(2.0 * side * np.eye(3), 2.0 * grid, numbers)
    info = SystemInfo.for_structure(structure, SHELLS)
    sizes = info.orbital_counts(structure)
    first = np.repeat(np.arange(atoms), NEIGHBOURS)
    step = np.tile(np.arange(1, NEIGHBOURS + 1), atoms)
    wraps = first + step >= atoms
    half = np.zeros((len(first), 5), np.int64)
    half[:, 0], half[:, 3], half[:, 4] = wraps, first, (first + step) % atoms
    other = np.concatenate([-half[:, :3], half[:, 4:], half[:, 3:4]], axis=1)
    own = np.zeros((atoms, 5), np.int64)
    own[:, 3] = own[:, 4] = np.arange(atoms)
    pairs = np.concatenate([own, half, other])
    matrix = BlockMatrix.zeros(pairs, sizes[pairs[:, 3:]]).sorted()
    values = 0.01 * rng.standard_normal(len(matrix.entries))
    symmetric = matrix.with_entries(values).hermitian()
    levels = [
        (rows, np.linspace(1.0, 1.05, stack.shape[1]))
        for rows, stack in symmetric.by_shape()
        if stack.shape[1] == stack.shape[2]
    ]
    for rows, level in levels:
        for row in rows[symmetric.on_site()[rows]].tolist():
            symmetric.block(row)[...] += np.diag(level)
    structure.write(folder / "POSCAR")
    symmetric.write(folder / "overlap.h5", "overlap")
    hamiltonian = symmetric.with_entries((200 * symmetric.entries).astype(np.float32))
    hamiltonian.write(folder / "hamiltonian.h5", "hamiltonian")
    info.write(folder / "info.json")


def read_bytes(folder: Path) -> None:
    """Read every dataset of both files with h5py."""
    for name in ("overlap.h5", "hamiltonian.h5"):
        with h5py.File(folder / name, "r") as file:
            for dataset in file.values():
                dataset[()]


def timed(call: Callable[[], object]) -> float:
    """Give the seconds of the quicker of two calls."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Print one line for each step."""
    blocks = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder, blocks)
        overlap = BlockMatrix.read(folder / "overlap.h5")
        megabytes = sum(path.stat().st_size for path in folder.glob("*.h5")) / 1e6
        print(f"{len(overlap)} blocks in each of two files, {megabytes:.0f} MB together")
        reading = timed(lambda: read_bytes(folder))
        findings = validate_folder(folder)
        assert not [finding for finding in findings if finding.severity == "error"], findings
        steps = {
            "read the bytes with h5py": reading,
            "BlockMatrix.read, both files": timed(
                lambda: [BlockMatrix.read(folder / f"{q}.h5") for q in ("overlap", "hamiltonian")]
            ),
            "validate_folder": timed(lambda: validate_folder(folder)),
            "partner_rows, one file": timed(overlap.partner_rows),
            "hermitian_error, one file": timed(overlap.hermitian_error),
        }
        for step, seconds in steps.items():
            print(f"{step:32s} {seconds:7.2f} s   {seconds / reading:6.1f} x reading")


if __name__ == "__main__":
    main()
