"""The standard energy zero: what it is, and that it is found once only."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.metrics import gauge_shift
from deeph_dock.standardizing import shifted, standard_shift
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.testing import random_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

Dock = Callable[..., tuple[int, str, str]]
PAIRS = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return random_dataset(tmp_path / "data", count=12, atoms=2)


def matrix(entries: np.ndarray, size: int) -> BlockMatrix:
    """Four blocks of size times size between two atoms."""
    shapes = np.full((4, 2), size)
    boundaries = np.arange(5) * size * size
    return BlockMatrix(PAIRS, shapes, boundaries, entries)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(0, 2**31),
    st.floats(-1e3, 1e3),
    st.floats(1e-2, 1e5),
    st.sampled_from(["none", "collinear", "soc"]),
    st.sampled_from(["single", "double"]),
)
def test_second_shift_is_none(
    seed: int, zero: float, size: float, spin: str, precision: str
) -> None:
    random = np.random.default_rng(seed)
    upper = random.standard_normal((3, 3))
    blocks = np.stack([np.eye(3), 0.1 * upper, 0.1 * upper.T, np.eye(3)])
    overlap = matrix(blocks.ravel(), 3)
    width = 3 if spin == "none" else 6
    entries = size * random.standard_normal(4 * width * width) + zero
    if spin == "soc":
        entries = entries + 1j * size * random.standard_normal(4 * width * width)
    if precision == "single":
        entries = entries.astype(np.complex64 if spin == "soc" else np.float32)
    first = matrix(entries, width)
    mu = standard_shift(first, overlap)
    second = shifted(first, overlap, mu) if mu else first
    assert second.dtype == first.dtype
    assert standard_shift(second, overlap) == 0.0
    # mu is the shift for which H is smallest; others are tried that single precision resolves
    norm = np.linalg.norm(second.entries.astype(complex))
    largest = float(np.abs(second.entries).max())
    for other in (0.1 * largest, -0.1 * largest):
        assert np.linalg.norm(shifted(second, overlap, other).entries.astype(complex)) > norm


def test_shift_that_is_there_is_not_taken_for_rounding() -> None:
    overlap = matrix(np.tile(np.eye(3).ravel(), 4), 3)
    kept, rounding = (overlap.with_entries(overlap.entries * mu) for mu in (2e-5, 5e-6))
    assert standard_shift(kept, overlap) == pytest.approx(2e-5)
    assert standard_shift(rounding, overlap) == 0.0


def test_dry_run_prints_each_shift_and_writes_nothing(
    data: Path, tmp_path: Path, dock: Dock
) -> None:
    code, out, _ = dock("standardize", data, tmp_path / "new", "--dry-run")
    assert code == 0
    for path in sorted((data / "dft").iterdir()):
        folder = StructureFolder(path, path.name)
        mu = gauge_shift(folder.hamiltonian(), folder.overlap())
        assert f"{path.name}: mu {mu:.6f} eV" in out
    assert not (tmp_path / "new").exists()


def test_killed_run_goes_on(data: Path, tmp_path: Path, dock: Dock) -> None:
    new, whole = tmp_path / "new", tmp_path / "whole"
    command = "import sys; from deeph_dock.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "standardize", str(data), str(new)],
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not list(new.glob("dft/[!.]*/info.json")) and time.monotonic() < end:
        time.sleep(0.001)
    process.kill()
    process.wait()
    for path in new.glob("dft/[!.]*"):
        assert {"POSCAR", "info.json", "overlap.h5", "hamiltonian.h5"} <= set(
            child.name for child in path.iterdir()
        )
    code, _, err = dock("standardize", data, new)
    assert code == 0, err
    dock("standardize", data, whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(new) for path in new.rglob("*") if path.is_file())
    for file in files:
        assert (whole / file).read_bytes() == (new / file).read_bytes(), file
