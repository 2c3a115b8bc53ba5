"""What is learned: how labels are read, what is subtracted from them, how they are scaled.

A target turns a folder of the format into labels for a network and a network's result into blocks.
A new one is a file here and a line in `TARGETS`.
"""

from deeph.targets.baseline import Baseline, fit_baseline
from deeph.targets.hamiltonian import Example, HamiltonianTarget, Labels

TARGETS = {"H": HamiltonianTarget}
"""Targets by the name that the configuration and model files use."""

__all__ = ["TARGETS", "Baseline", "Example", "HamiltonianTarget", "Labels", "fit_baseline"]
