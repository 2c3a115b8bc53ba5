"""Programs that JAX compiles are kept for the session: trainings of equal shapes share them."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Before jax is imported; child processes take part.
    _FOLDER = tempfile.mkdtemp(prefix="deeph-tests-")
    atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _FOLDER
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    # XLA takes tuning flags of the CPU for instructions when it loads a program, and says so.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
