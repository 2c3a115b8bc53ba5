"""Commands as a user types them, in a folder of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def ran(tmp_path: Path) -> Callable[..., str]:
    """Run a command in the test's folder and return what it printed; programs compile once."""
    settings = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            [str(word) for word in words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
            env=os.environ | settings,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
