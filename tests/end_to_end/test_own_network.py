"""The example of a user's own network: it trains, predicts, and passes the tests of networks."""

from __future__ import annotations

import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
OWN = EXAMPLES / "own_network"
LEFT_OUT = ("train/0003", "train/0004", "train/0005", "train/0006", "test/0008")


def test_it_trains_and_is_compared_with_dft(ran: Callable[..., str], tmp_path: Path) -> None:
    with tarfile.open(EXAMPLES / "graphene" / "runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for left in LEFT_OUT:
        shutil.rmtree(tmp_path / "runs" / left)
    ran(Path(sys.executable).parent / "dock", "convert", "runs", "data")
    small = ("net_irreps=4x0e+3x1o+3x2e+2x3o+2x4e", "num_blocks=1")

    def error(epochs: int) -> float:
        words = (sys.executable, OWN / "own_network.py", "data", *small, f"max_epoch={epochs}")
        printed = ran(*words)
        found = re.search(r"^0007 ([\d.]+) meV$", printed, re.M)
        assert found, printed
        return float(found[1])

    assert error(60) < 0.9 * error(1)


@pytest.mark.slow
def test_it_passes_the_tests_of_networks(ran: Callable[..., str], tmp_path: Path) -> None:
    for name in ("own_network.py", "test_own_network.py"):
        shutil.copy(OWN / name, tmp_path)
    printed = ran(
        *(sys.executable, "-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider"),
        "test_own_network.py",
    )
    assert re.search(r"\b\d+ passed", printed)
    assert "failed" not in printed
