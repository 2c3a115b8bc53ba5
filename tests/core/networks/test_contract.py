"""The contract of networks, run for every network there is, and for wrong ones it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.graphs import Graph
from deeph.networks import NETWORKS, NormalNetwork
from deeph.networks.contract import NetworkContract
from deeph.testing import BondNetwork

Array = Any


class TestNormal(NetworkContract):
    network = NormalNetwork


class TestNormalWithoutParityForOneElement(NetworkContract):
    network = NormalNetwork
    orbital_map = {"Si": (1, 0)}  # noqa: RUF012 - read only
    parity = False
    irreps = "8x0e+6x1e+4x2e"


def test_every_network_has_passed() -> None:
    classes = NetworkContract.__subclasses__()
    assert set(NETWORKS.values()) <= {cls.network for cls in classes}


Wrong = Callable[[Array, Array, Graph, Any], tuple[Array, Array]]


def suspect(wrong: Wrong | None, **settings: Any) -> Any:
    """Return the contract of a network whose result is changed by a function."""

    class Suspect(BondNetwork):
        def apply(
            self, parameters: Any, graph: Graph, rng: Array | None = None
        ) -> tuple[Array, Array]:
            result = super().apply(parameters, graph, rng)
            return wrong(*result, graph, parameters) if wrong else result

    return type("Suspected", (NetworkContract,), {"network": Suspect, **settings})()


HONEST = suspect(None)
CHECKS = [name for name in dir(NetworkContract) if name.startswith("test_")]
# The target of H (0) and C (0, 1): two 0e, two 1o, one 1e, one 2e.
VECTOR, AXIAL = 2, 8


@pytest.mark.parametrize(
    "check", sorted(set(CHECKS) - {"test_every_irrep_of_the_target_is_reached"})
)
def test_the_smallest_network_passes(check: str) -> None:
    getattr(HONEST, check)()


def knows_the_lab(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes.at[:, VECTOR].add(0.01 * graph.node_mask), edges


def sees_the_free_angle(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes, edges.at[:, VECTOR].add(0.01)


def mixes_parities(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes, edges.at[:, AXIAL + 1].add(0.01)


def knows_which_edge_is_forward(
    nodes: Array, edges: Array, graph: Graph, _: Any
) -> tuple[Array, Array]:
    return nodes, edges * (1 + 0.01 * graph.turned[:, None])


def counts_atoms(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes * (1 + 0.01 * jnp.arange(graph.nodes))[:, None], edges


def depends_on_the_others(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes * (1 + 0.01 * graph.node_mask.sum()), edges


def depends_on_dummies(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes * (1 + 0.01 * graph.lengths.mean()), edges


def depends_on_padding(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes * (1 + 1 / graph.nodes), edges


def loses_a_gradient(
    nodes: Array, edges: Array, graph: Graph, parameters: Any
) -> tuple[Array, Array]:
    factor = 1 + 0.01 * jnp.sum(parameters["atom"])
    return nodes * jax.lax.stop_gradient(factor), edges


def starts_somewhere(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes.at[:, 0].add(1e-3), edges


def loses_digits(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return (nodes.astype(jnp.bfloat16)).astype(nodes.dtype), edges


@pytest.mark.parametrize(
    ("wrong", "checks"),
    [
        (knows_the_lab, ["a_rotation_rotates_the_result", "edges_at_and_near_the_poles"]),
        (sees_the_free_angle, ["a_rotation_rotates_the_result", "edges_at_and_near_the_poles"]),
        (mixes_parities, ["a_rotation_rotates_the_result"]),
        (knows_which_edge_is_forward, ["an_edge_and_its_reverse"]),
        (counts_atoms, ["the_order_of_atoms", "a_batch_is", "a_supercell"]),
        (depends_on_the_others, ["a_batch_is", "structures_far_apart", "a_supercell"]),
        (depends_on_dummies, ["dummies_do_not_count", "a_batch_is"]),
        (depends_on_padding, ["single_precision_and_other_padding"]),
        (loses_a_gradient, ["gradients_are"]),
        (starts_somewhere, ["fresh_parameters"]),
        (loses_digits, ["a_rotation_rotates_the_result_in_single_precision"]),
        (None, ["every_irrep"]),  # single bonds do not reach M > 0
    ],
)
def test_wrong_networks_are_refused(wrong: Wrong | None, checks: list[str]) -> None:
    contract = suspect(wrong)
    for check in checks:
        (name, *_) = [name for name in CHECKS if name.startswith(f"test_{check}")]
        with pytest.raises(AssertionError):
            getattr(contract, name)()


def test_parity_is_only_asked_of_networks_that_promise_it() -> None:
    suspect(mixes_parities, parity=False).test_a_rotation_rotates_the_result()


def test_normal_without_parity_does_break_inversion() -> None:
    # Else the option would have no effect, and the tests above would prove less than they seem to.
    contract = TestNormalWithoutParityForOneElement()
    inversion = -np.eye(3)[None]
    with pytest.raises(AssertionError, match="improper rotation"):
        contract._turns(contract.bench.specimens["crystal"], inversion, True)
