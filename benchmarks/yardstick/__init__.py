"""What benchmarks of networks measure with: one thread, the yard, where a program spends time."""

from __future__ import annotations

import os


def one_thread() -> dict[str, str]:
    """Return the environment of a process in which NumPy and XLA compute in one thread."""
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
        "NPROC": "1",  # threads of XLA's own pool, which the flag leaves alone
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
