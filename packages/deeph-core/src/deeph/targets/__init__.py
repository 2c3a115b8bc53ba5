"""What is learned: how labels are read, what is subtracted from them, how they are scaled.

A target turns a folder of the format into labels for a network and a network's result into a file.
A new one is a file here that follows `deeph.targets.target.Target`, and a line in `TARGETS`.
"""

from deeph.targets.baseline import Baseline, fit_baseline
from deeph.targets.density_matrix import DensityMatrixTarget
from deeph.targets.energies import EnergyTarget
from deeph.targets.hamiltonian import HamiltonianTarget
from deeph.targets.matrices import MatrixTarget, hermitian_result
from deeph.targets.overlap import OverlapTarget
from deeph.targets.target import Example, Labels, Target, TargetSettings, batch_labels
from deeph.targets.tensors import TensorTarget

TARGETS: dict[str, type[Target]] = {
    target.kind: target
    for target in (
        HamiltonianTarget,
        DensityMatrixTarget,
        OverlapTarget,
        TensorTarget,
        EnergyTarget,
    )
}
"""Targets by the name that the configuration and model files use."""

__all__ = [
    "TARGETS",
    "Baseline",
    "DensityMatrixTarget",
    "EnergyTarget",
    "Example",
    "HamiltonianTarget",
    "Labels",
    "MatrixTarget",
    "OverlapTarget",
    "Target",
    "TargetSettings",
    "TensorTarget",
    "batch_labels",
    "fit_baseline",
    "hermitian_result",
]
