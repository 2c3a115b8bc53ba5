"""The examples of the page about Python run as they stand, one after the other."""

from __future__ import annotations

import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "python.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
USED = ("train/0001", "train/0002", "test/0007")
SETTINGS = """
[data]
inputs_dir = "data"
outputs_dir = "runs"
[model.advanced]
net_irreps = "4x0e+3x1o+2x2e+2x3o+2x4e"
num_blocks = 1
gaussian_basis_rmax = 8.0
[process.train]
max_epoch = 1
"""


@pytest.mark.slow
def test_the_examples_run_one_after_the_other(ran: Callable[..., str], tmp_path: Path) -> None:
    with tarfile.open(ROOT / "examples" / "graphene" / "runs.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "calculations").mkdir()
    for used in USED:
        (tmp_path / "runs" / used).rename(tmp_path / "calculations" / Path(used).name)
    (tmp_path / "runs").rename(tmp_path / "unused")
    (tmp_path / "train.toml").write_text(SETTINGS)
    ran("dock", "convert", "calculations", "data")
    ran("deeph", "train", "train.toml")
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) > 8
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    printed = ran(sys.executable, "-W", "error", "page.py")
    assert "nan" not in printed
