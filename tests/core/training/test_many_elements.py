"""Models of many elements: work in Python does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pytest
from deeph.graphs import GraphSource, build_graph
from deeph.networks import NETWORKS, NetworkSpecification
from deeph.networks.memory import smallest_graph
from deeph.representation import BlockRepresentation
from deeph.targets import fit_baseline, splines
from deeph_spec.structure import SYMBOLS, Structure
from deeph_spec.testing import neighbour_pairs

SHELLS = (0, 0, 0, 1, 1, 2, 2, 3)
MANY = [SYMBOLS[number] for number in range(1, 61)]


def equations(trace: Callable[[], object]) -> int:
    """Return how many operations a function consists of, those of inner functions included."""

    def count(jaxpr: jax.extend.core.Jaxpr) -> int:
        inner = [
            count(value.jaxpr if hasattr(value, "jaxpr") else value)
            for equation in jaxpr.eqns
            for value in equation.params.values()
            if hasattr(value, "eqns") or hasattr(value, "jaxpr")
        ]
        return len(jaxpr.eqns) + sum(inner)

    return count(jax.make_jaxpr(trace)().jaxpr)


def test_a_basis_is_coupled_once_for_all_elements() -> None:
    one = BlockRepresentation.of({"Fe": SHELLS}, "none")
    many = BlockRepresentation.of(dict.fromkeys(MANY, SHELLS), "none")
    assert len(many._couplings) == len(one._couplings) < 70
    assert many.mask.shape == (60, 60, one.channels.size)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_as_many_operations_for_sixty_elements_as_for_two(name: str) -> None:
    def made(elements: int) -> int:
        counts = ((6, 4, 3), (0, 3, 2))
        specification = NetworkSpecification(
            elements, "4x0e+3x1o+2x2e", True, 2, 5.0, 9.0, *counts, *counts
        )
        network = NETWORKS[name](specification)
        return equations(lambda: network.init(jax.random.key(0), smallest_graph()))

    assert made(60) == made(2)


def _crystal(seed: int) -> Structure:
    """Return 64 atoms, a cell of 4 x 4 x 4 displaced sites with all elements in random order."""
    rng = np.random.default_rng(seed)
    sites = np.stack(np.meshgrid(*[np.arange(4.0)] * 3, indexing="ij"), -1).reshape(-1, 3)
    numbers = rng.permutation(np.arange(64) % 60 + 1)
    return Structure(8.8 * np.eye(3), 2.2 * sites + rng.normal(0, 0.1, (64, 3)), numbers)


def test_a_baseline_of_sixty_elements_solves_small_systems(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rep = BlockRepresentation.of(dict.fromkeys(MANY, (0, 1)), "none")
    sources: list[GraphSource] = []
    for seed in range(2):
        structure = _crystal(seed)
        sources.append(build_graph(structure, neighbour_pairs(structure, 3.3), rep))
    solved: list[int] = []
    solve = np.linalg.solve

    def watched(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
        solved.append(matrices.shape[-1])
        return solve(matrices, right)

    monkeypatch.setattr(splines.np.linalg, "solve", watched)
    rng = np.random.default_rng(0)
    labels = [
        (rng.normal(size=(s.graph.nodes, rep.channels.size)),
         rng.normal(size=(s.graph.edges, rep.channels.size)))
        for s in sources
    ]  # fmt: skip
    baseline = fit_baseline(sources, [n for n, _ in labels], [e for _, e in labels], rep)
    pairs = len(baseline.grids)
    unknowns = sum(grid.size for key, grid in baseline.grids.items() if key[0] == 30)
    # At most four atoms of an element with five components of J = 2, and a constant.
    assert max(solved) <= 21 < unknowns
    # Means and scales of every pair, a fit per element and J; at most three folds each.
    assert len(solved) <= 3 * (2 * pairs + 60 * (rep.l_max + 1))
    assert all(np.isfinite(array).all() for array in baseline.arrays().values())
