"""What benchmarks of networks measure with: one thread, the yard, where a program spends time."""

from __future__ import annotations

import os


def one_thread() -> None:
    """Let NumPy and XLA compute in one thread; call it before either is imported."""
    for name in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{name}_NUM_THREADS"] = "1"
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    os.environ["NPROC"] = "1"  # threads of XLA's own pool, which the flag leaves alone
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
