"""The overlap as target: overlap.h5, predicted into overlap_pred.h5.

A function of two atoms alone, so that its two-centre mean learns it without a network: of use as a
test, and where neither basis nor code can be had. It has no spin.
"""

from __future__ import annotations

from dataclasses import dataclass

from deeph.targets.matrices import MatrixTarget


@dataclass(frozen=True)
class OverlapTarget(MatrixTarget):
    """Labels and predictions of S."""

    kind = "S"
    quantity = "overlap"
    title = "overlap"
    unit = "1"
    shown = ("e-3", 1e3)
    prediction_file = "overlap_pred.h5"
    spinless = True
