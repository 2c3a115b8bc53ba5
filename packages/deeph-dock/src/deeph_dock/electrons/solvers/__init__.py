"""Ways to solve H(k) c = E S(k) c: one function each, all with the contract of `dense`.

A solver is one file and one line here; `contract.SolverContract` tests it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Protocol

from deeph_spec.errors import InputError

from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.lattice_sum import FloatArray


class Solver(Protocol):
    """Eigenvalues (channels, K, N) in eV of a problem at fractional k-points (K, 3)."""

    def __call__(
        self,
        problem: HamiltonianK,
        kpoints: FloatArray,
        *,
        jobs: int = 1,
        progress: Callable[[int], None] | None = None,
    ) -> FloatArray:
        """Solve; report the number of k-points done through `progress`."""


SOLVERS = {"dense": "deeph_dock.electrons.solvers.dense:eigenvalues"}


def solver(name: str) -> Solver:
    """Return the solver registered under `name`.

    Raises
    ------
    InputError
        If there is none; names those that exist.
    """
    if name not in SOLVERS:
        raise InputError(f"unknown solver '{name}': known are {', '.join(sorted(SOLVERS))}")
    module, function = SOLVERS[name].split(":")
    found: Solver = getattr(import_module(module), function)
    return found
