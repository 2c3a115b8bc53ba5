"""The Hamiltonian as target: hamiltonian.h5 in eV, predicted into hamiltonian_pred.h5."""

from __future__ import annotations

from dataclasses import dataclass

from deeph.targets.matrices import MatrixTarget


@dataclass(frozen=True)
class HamiltonianTarget(MatrixTarget):
    """Labels and predictions of H; only H may be learned modulo mu S."""

    kind = "H"
    quantity = "hamiltonian"
    title = "Hamiltonian"
    unit = "eV"
    shown = ("meV", 1e3)
    prediction_file = "hamiltonian_pred.h5"
