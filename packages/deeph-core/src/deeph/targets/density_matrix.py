"""The density matrix as target: density_matrix.h5, predicted into density_matrix_pred.h5.

It has no unit; with both spins in a matrix without spin, as the format has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from deeph.targets.matrices import MatrixTarget


@dataclass(frozen=True)
class DensityMatrixTarget(MatrixTarget):
    """Labels and predictions of the density matrix."""

    kind = "Rho"
    quantity = "density_matrix"
    title = "density matrix"
    unit = "1"
    shown = ("e-3", 1e3)
    prediction_file = "density_matrix_pred.h5"
