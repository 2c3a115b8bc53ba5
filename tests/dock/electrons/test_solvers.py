"""The dense solver passes the contract, alone and with processes."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from deeph_dock.electrons.models import honeycomb, in_field
from deeph_dock.electrons.solvers import SOLVERS, dense, solver
from deeph_dock.electrons.solvers.contract import SolverContract
from deeph_spec.errors import InputError


class TestDense(SolverContract):
    solver = staticmethod(dense.eigenvalues)


def test_processes_give_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "PROCESS_OPERATIONS", 0)
    problem = in_field(honeycomb(mass=0.3), 0.2).problem()
    kpoints = np.random.default_rng(0).random((37, 3))
    steps: list[int] = []
    parallel = dense.eigenvalues(problem, kpoints, jobs=2, progress=steps.append)
    np.testing.assert_array_equal(parallel, dense.eigenvalues(problem, kpoints))
    assert sum(steps) == 37
    assert len(steps) > 2  # progress is seen on the way


def test_an_indefinite_overlap_in_a_process_is_the_same_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dense, "PROCESS_OPERATIONS", 0)
    problem = honeycomb(overlap=0.6).problem()
    with pytest.raises(InputError, match="not positive definite"):
        dense.eigenvalues(problem, np.zeros((4, 3)), jobs=2)


def test_points_where_k_is_minus_k_are_solved_as_real(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = []

    def recorded(a: np.ndarray, b: np.ndarray, **options: object) -> np.ndarray:
        kinds.append(a.dtype.kind)
        return scipy.linalg.eigh(a, b, **options)

    monkeypatch.setattr(dense, "eigh", recorded)
    dense.eigenvalues(honeycomb().problem(), np.array([[0.0, 0, 0], [0.5, 0.5, 0], [0.3, 0.1, 0]]))
    assert kinds == ["f", "f", "c"]


def test_solvers_are_found_by_name() -> None:
    assert solver("dense") is dense.eigenvalues
    with pytest.raises(InputError, match="unknown solver 'lucky': known are dense"):
        solver("lucky")
    assert all(callable(solver(name)) for name in SOLVERS)
