"""The yard: CPU seconds of 50 float32 products of 1024 x 1024 matrices in this process."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

PRODUCTS, SIDE = 50, 1024
FLOPS = 2 * PRODUCTS * SIDE**3


def yard(repeats: int = 3) -> float:
    """Measure the yard; the quickest of some repeats, since neighbours only slow it down."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, SIDE, SIDE)).astype(np.float32)
    a @ b
    return min(_fifty(a, b) for _ in range(repeats))


def _fifty(a: np.ndarray, b: np.ndarray) -> float:
    start = time.process_time()
    for _ in range(PRODUCTS):
        a @ b
    return time.process_time() - start


def cpu_seconds(call: Callable[[], object], least: float = 3.0, most: int = 50) -> float:
    """Give the median CPU seconds of a call, repeated for `least` seconds, at least 3 times."""
    call()
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < least and len(seconds) < most):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return median(seconds)
