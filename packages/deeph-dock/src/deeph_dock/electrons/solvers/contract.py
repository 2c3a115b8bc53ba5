"""What every solver must do, as tests that anybody can run on their own.

>>> class TestMySolver(SolverContract):
...     solver = staticmethod(my_eigenvalues)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from numpy.testing import assert_allclose

from deeph_dock.electrons.models import Model, chain, honeycomb, in_field, with_spin_orbit

TOLERANCE_EV = 1e-10
MODELS: dict[str, Callable[[], Model]] = {
    "chain": chain,
    "graphene": honeycomb,
    "boron nitride": lambda: honeycomb(mass=1.5),
    "chain in a field": lambda: in_field(chain(), 0.4),
    "spin-orbit chain": lambda: with_spin_orbit(chain(), 0.2),
    "magnetic spin-orbit chain": lambda: with_spin_orbit(chain(), 0.2, field=0.3),
}


class SolverContract:
    """Inherit, set `solver`, and let pytest collect the class."""

    solver: Any
    kpoints = np.array(
        [[0.0, 0, 0], [0.5, 0, 0], [0.21, -0.4, 0.3], [1 / 3, 1 / 3, 0], [-0.21, 0.4, 0]]
    )

    def test_energies_are_those_of_exactly_solved_models(self) -> None:
        """Hit the exact bands, in the shape (channels, K, N)."""
        for name, make in MODELS.items():
            model = make()
            energies = self.solver(model.problem(), self.kpoints)
            exact = model.bands(self.kpoints)
            assert energies.shape == exact.shape, name
            assert_allclose(energies, exact, atol=TOLERANCE_EV, rtol=0, err_msg=name)

    def test_zero_of_energy_shifts_everything(self) -> None:
        """Give E + mu for H + mu S."""
        model = honeycomb(mass=0.7)
        s = model.overlap.on_pairs(model.hamiltonian.atom_pairs, model.hamiltonian.chunk_shapes)
        shifted = model.hamiltonian.with_entries(model.hamiltonian.entries + 3.5 * s.entries)
        before = self.solver(model.problem(), self.kpoints)
        after = self.solver(replace(model, hamiltonian=shifted).problem(), self.kpoints)
        assert_allclose(after, before + 3.5, atol=TOLERANCE_EV, rtol=0)

    def test_progress_counts_every_point_once(self) -> None:
        """Report as many steps as there are k-points."""
        steps: list[int] = []
        self.solver(honeycomb().problem(), self.kpoints, progress=steps.append)
        assert sum(steps) == len(self.kpoints)

    def test_nearly_dependent_combinations_are_left_out(self) -> None:
        """Give infinity for what has less overlap than the problem asks for, the rest unchanged."""
        model = chain(overlap=-0.4995)  # S(0) = 0.001, S(1/2) = 1.999
        kpoints = np.array([[0.0, 0, 0], [0.5, 0, 0]])
        whole = self.solver(model.problem(), kpoints)
        part = self.solver(replace(model.problem(), least_overlap=0.01), kpoints)
        assert np.isfinite(whole).all()
        assert np.isposinf(part[:, 0]).all()
        assert_allclose(part[:, 1], whole[:, 1], atol=TOLERANCE_EV, rtol=0)

    def test_indefinite_overlap_is_refused(self) -> None:
        """Name the lowest eigenvalue of S(k) and k where S(k) is not positive definite."""
        message = "accepted S(0) = -0.2"
        try:
            self.solver(chain(overlap=-0.6).problem(), np.zeros((1, 3)))
        except InputError as error:
            message = str(error)
        assert all(part in message for part in ("positive definite", "-2.000e-01", "(0, 0, 0)")), (
            message
        )
