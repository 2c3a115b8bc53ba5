"""The contract of networks, run for every network there is, and for wrong ones it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import SkipTest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.graphs import Graph
from deeph.networks import NETWORKS, NetworkSpecification
from deeph.networks.contract import NetworkContract
from deeph.targets import hermitian_result
from deeph.testing import BondNetwork

Array = Any


class TestNormal(NetworkContract):
    network = NETWORKS["normal"]


class TestAccurate(NetworkContract):
    network = NETWORKS["accurate"]


BY_NAME = pytest.mark.parametrize("name", sorted(NETWORKS))


def test_every_network_has_passed() -> None:
    classes = NetworkContract.__subclasses__()
    assert set(NETWORKS.values()) <= {cls.network for cls in classes}


Wrong = Callable[[Array, Array, Graph, Any], tuple[Array, Array]]


def suspect(wrong: Wrong | None, **settings: Any) -> Any:
    """Return the contract of a network whose result is changed by a function."""

    @dataclass(frozen=True)
    class Suspect(BondNetwork):
        def apply(
            self, parameters: Any, graph: Graph, rng: Array | None = None
        ) -> tuple[Array, Array]:
            result = super().apply(parameters, graph, rng)
            return wrong(*result, graph, parameters) if wrong else result

    return contract(Suspect, **settings)


def contract(network: Any, **settings: Any) -> Any:
    return type("Suspected", (NetworkContract,), {"network": network, **settings})()


HONEST = suspect(None)
CHECKS = [name for name in dir(NetworkContract) if name.startswith("test_")]
# The target of H (0) and C (0, 1): two 0e, two 1o, one 1e, one 2e.
VECTOR, AXIAL = 2, 8


@pytest.mark.parametrize(
    "check",
    sorted(
        set(CHECKS)
        - {
            "test_every_irrep_of_the_target_is_reached",  # single bonds do not reach M > 0
            "test_time_reversal_is_a_symmetry_of_what_has_no_moments",  # see below
        }
    ),
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


def is_lost_without_neighbours(
    nodes: Array, edges: Array, graph: Graph, _: Any
) -> tuple[Array, Array]:
    degree = jax.ops.segment_sum(graph.edge_mask, graph.centre, graph.nodes)
    return nodes / degree[:, None], edges


def takes_the_mean_of_the_graph(
    nodes: Array, edges: Array, graph: Graph, _: Any
) -> tuple[Array, Array]:
    mean = jnp.sum(graph.lengths * graph.edge_mask) / jnp.sum(graph.edge_mask)
    return nodes, edges * (1 + 0.01 * mean)


def sees_where_an_edge_points(
    nodes: Array, edges: Array, graph: Graph, _: Any
) -> tuple[Array, Array]:
    return nodes, edges * (1 + 0.01 * graph.axes[:, 2:])


def tilts_at_the_poles(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    at_pole = jnp.hypot(graph.axes[:, 0], graph.axes[:, 1]) < 1e-6
    return nodes, edges * (1 + 0.01 * at_pole[:, None])


def forgets_the_first_atom(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes.at[0].multiply(1.01), edges


def computes_in_double(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return nodes.astype(jnp.float32), edges


def is_hermitian_already(nodes: Array, edges: Array, graph: Graph, _: Any) -> tuple[Array, Array]:
    return hermitian_result(HONEST.bench.representation, graph, nodes, edges)


def turns_after_training(
    nodes: Array, edges: Array, graph: Graph, parameters: Any
) -> tuple[Array, Array]:
    learned = jnp.sum(parameters["atom"] ** 2) < 0.5  # the random ones are larger
    return nodes.at[:, VECTOR].add(learned * graph.node_mask), edges


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
        (is_lost_without_neighbours, ["a_rotation_rotates", "the_order_of_atoms", "every_irrep"]),
        (takes_the_mean_of_the_graph, ["a_piece_gives", "a_batch_is"]),
        (sees_where_an_edge_points, ["a_rotation_rotates", "an_edge_and_its_reverse"]),
        (tilts_at_the_poles, ["edges_at_and_near_the_poles"]),
        (forgets_the_first_atom, ["the_order_of_atoms", "a_supercell"]),
        (computes_in_double, ["what_exists_is_of"]),
        (is_hermitian_already, ["the_result_can_be_made_hermitian"]),
        (turns_after_training, ["training_leaves"]),
        (None, ["every_irrep"]),  # single bonds do not reach M > 0
    ],
)
def test_wrong_networks_are_refused(wrong: Wrong | None, checks: list[str]) -> None:
    contract = suspect(wrong)
    for check in checks:
        (name, *_) = [name for name in CHECKS if name.startswith(f"test_{check}")]
        with pytest.raises(AssertionError):
            getattr(contract, name)()


def test_what_only_one_check_sees_passes_the_others() -> None:
    # Else the checks above might fail for reasons of their own.
    suspect(turns_after_training).test_a_rotation_rotates_the_result()
    suspect(tilts_at_the_poles).test_a_rotation_rotates_the_result()
    suspect(takes_the_mean_of_the_graph).test_a_rotation_rotates_the_result()


@dataclass(frozen=True)
class LeavesComponentsOut(BondNetwork):
    """Drops numbers instead of channels, which turns nothing back."""

    def _kept(self, values: Array, channel: Any, rng: Array, part: int) -> Array:
        keep = jax.random.bernoulli(jax.random.fold_in(rng, part), 0.7, values.shape)
        return values * keep


@dataclass(frozen=True)
class LeavesOutAlways(BondNetwork):
    """Scales by what training would leave, also in inference."""

    def apply(self, parameters: Any, graph: Graph, rng: Array | None = None) -> tuple[Array, Array]:
        nodes, edges = super().apply(parameters, graph, rng)
        return nodes * (1 - self.drop.features), edges


@dataclass(frozen=True)
class LeavesNothingOut(BondNetwork):
    """Has rates, and does not look at them."""

    def apply(self, parameters: Any, graph: Graph, rng: Array | None = None) -> tuple[Array, Array]:
        return super().apply(parameters, graph)


@dataclass(frozen=True)
class ForgetsADerivative(BondNetwork):
    """Takes what it computes anew for a constant."""

    def apply(self, parameters: Any, graph: Graph, rng: Array | None = None) -> tuple[Array, Array]:
        nodes, edges = super().apply(parameters, graph)
        return nodes, jax.lax.stop_gradient(edges) if self.remat else edges


@pytest.mark.parametrize(
    ("network", "check"),
    [
        (ForgetsADerivative, "computing_anew_changes_nothing"),
        (LeavesComponentsOut, "leaving_parts_out_keeps_the_symmetry"),
        (LeavesOutAlways, "nothing_is_left_out_without_random_numbers"),
        (LeavesNothingOut, "what_is_left_out_follows_from_the_random_numbers"),
    ],
)
def test_networks_that_train_wrongly_are_refused(network: Any, check: str) -> None:
    with pytest.raises(AssertionError):
        getattr(contract(network), f"test_{check}")()


@dataclass(frozen=True)
class Plain:
    """Has no rates at all."""

    specification: NetworkSpecification


def test_networks_without_options_are_not_asked_about_them() -> None:
    with pytest.raises(SkipTest, match="leaves nothing out"):
        contract(Plain).test_nothing_is_left_out_without_random_numbers()
    with pytest.raises(SkipTest, match="keeps all"):
        contract(Plain).bench.recomputing  # noqa: B018 - reading it is the test


@pytest.mark.parametrize("time_reversal", [True, False])
def test_time_reversal_is_kept_where_there_are_no_moments(time_reversal: bool) -> None:
    spins = suspect(None, orbital_map={"C": (0, 1)}, spin="soc", time_reversal=time_reversal)
    spins.test_time_reversal_is_a_symmetry_of_what_has_no_moments()
    with pytest.raises(SkipTest, match="without spin-orbit"):
        HONEST.test_time_reversal_is_a_symmetry_of_what_has_no_moments()


def test_parity_is_only_asked_of_networks_that_promise_it() -> None:
    suspect(mixes_parities, parity=False).test_a_rotation_rotates_the_result()


@BY_NAME
def test_without_parity_rotations_are_kept_and_inversion_is_not(name: str) -> None:
    # Were it kept, the option would have no effect, and the rest would prove less than it seems to.
    plain = contract(
        NETWORKS[name], orbital_map={"Si": (1, 0)}, parity=False, irreps="8x0e+6x1e+4x2e"
    )
    plain.test_a_rotation_rotates_the_result()
    plain._poles(double=True)
    with pytest.raises(AssertionError, match="improper rotation"):
        plain._turns(plain.bench.specimens["crystal"], -np.eye(3)[None], True)
