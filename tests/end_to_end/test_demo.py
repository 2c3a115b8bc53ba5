"""The demo as it is shipped: it ends well, its pictures are there, its figures are good."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "graphene"


@pytest.mark.slow
def test_the_demo_predicts_hamiltonians_and_bands(tmp_path: Path) -> None:
    for name in ("demo.py", "train.toml", "infer.toml", "runs.tar.xz"):
        shutil.copy(EXAMPLE / name, tmp_path)
    programs = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "demo.py"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    errors = re.search(r"^over all +([\d.]+)", done.stdout, re.MULTILINE)
    assert errors is not None
    assert float(errors[1]) <= 8.0  # meV, all elements of both test structures
    bands = re.findall(r"^(\d{4}): predicted bands are ([\d.]+) meV off", done.stdout, re.MULTILINE)
    assert [name for name, _ in bands] == ["0007", "0008"]
    assert all(float(error) <= 50.0 for _, error in bands)
    overlap = re.search(r"S of test/0007 agrees to (\S+) \(quadrature siesta\)", done.stdout)
    assert overlap is not None
    assert float(overlap[1]) < 1e-6
    for picture in ("bands.png", "errors.png", "unseen_bands/band.png"):
        assert (tmp_path / "work" / picture).stat().st_size > 50_000
