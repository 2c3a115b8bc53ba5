"""First parameters: uniform numbers, for which few operations are compiled.

Normal ones would need the inverse error function in every one of a hundred parameters, which takes
longer to compile than everything else that comes before the first step.
"""

from __future__ import annotations

from typing import Any, Literal

from flax.linen.initializers import variance_scaling


def uniform(axis: Literal["fan_in", "fan_out"] = "fan_in", share: float = 1.0) -> Any:
    """Return the initialiser of matrices (a, b) with variance share / a.

    With `axis` "fan_out", for tables (elements, b), the variance is share / b.
    """
    return variance_scaling(share, axis, "uniform")
