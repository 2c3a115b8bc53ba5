"""The two compiled programs of a training: one optimiser step, one evaluation.

In: network, representation, optimiser, loss. Out: jitted functions of arrays; each padded shape is
compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from deeph.graphs import Graph, Shape
from deeph.networks import Network
from deeph.targets import Labels, Target
from deeph.targets.measures import Deviation, Measure
from deeph.training.losses import (
    LossFunction,
    absolute_sums,
    deviation,
    weighted,
    without_overlap,
)

Array = Any


class StepState(NamedTuple):
    """What a step needs besides the parameters.

    Attributes
    ----------
    optimiser : tree of arrays
    mean : tree of arrays or None
        Running mean of the parameters.
    count : int32 array ()
        Steps done.
    """

    optimiser: Any
    mean: Any
    count: Array


@dataclass(frozen=True, eq=False)
class Steps:
    """Compiled programs of one training.

    Attributes
    ----------
    network : Network
    target : Target
    optimiser : optax.GradientTransformation
        Without the learning rate.
    measure : Measure
        What errors are counted in.
    loss : function
        Such as `deeph.training.losses.Loss`.
    exponent, typical : float
        Weights of errors in the loss, see `deeph.training.losses.weighted`.
    ema_decay : float
        Of the running mean of the parameters; 0: none is kept.
    seed : int
        Decides what the network leaves out.
    compiled : list of str
        What has been compiled so far, one line each.
    """

    network: Network
    target: Target
    optimiser: optax.GradientTransformation
    measure: Measure
    loss: LossFunction
    exponent: float = 1.0
    typical: float = 1.0
    ema_decay: float = 0.0
    seed: int = 0
    compiled: list[str] = field(default_factory=list)

    @cached_property
    def _programs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        compiled = partial(jax.jit, static_argnames="structures")
        return compiled(self._train_step, donate_argnums=(0, 1)), compiled(self._evaluation)

    def init(self, parameters: Any) -> StepState:
        """Return the state before the first step."""
        mean = jax.tree.map(jnp.copy, parameters) if self.ema_decay > 0 else None
        return StepState(self.optimiser.init(parameters), mean, jnp.zeros((), jnp.int32))

    def best_known(self, parameters: Any, state: StepState) -> Any:
        """Return the parameters to evaluate and to save: their mean if one is kept."""
        return parameters if state.mean is None else state.mean

    def train(
        self,
        parameters: Any,
        state: StepState,
        rate: float,
        graph: Graph,
        labels: Labels,
        structures: int,
    ) -> tuple[Any, StepState, Array]:
        """Take one step.

        Parameters
        ----------
        parameters, state : tree of arrays, StepState
            Their memory is reused.
        rate : float
            Learning rate.
        graph, labels : Graph, Labels
            A padded batch.
        structures : int
            Largest number of structures in a batch.

        Returns
        -------
        parameters, state, loss
            The loss is that of the given parameters.
        """
        step = jnp.asarray(rate, graph.lengths.dtype)
        return self._programs[0](parameters, state, step, graph, labels, structures=structures)

    def evaluate(
        self, parameters: Any, graph: Graph, labels: Labels, structures: int
    ) -> tuple[Array, Array]:
        """Return the loss, and sums of absolute errors with numbers of elements, (2, 2)."""
        return self._programs[1](parameters, graph, labels, structures=structures)

    def _deviation(
        self, parameters: Any, graph: Graph, labels: Labels, shape: Shape, key: Array | None = None
    ) -> Deviation:
        nodes, edges = self.network.apply(parameters, graph, key)
        nodes, edges = self.target.paired(graph, nodes, edges)
        difference = deviation(self.measure, graph, labels, nodes, edges)
        if labels.node_overlap is None:
            return difference
        return without_overlap(graph, shape, difference, labels.node_overlap, labels.edge_overlap)

    def _objective(
        self, graph: Graph, labels: Labels, shape: Shape, difference: Deviation
    ) -> Array:
        difference = weighted(self.measure, labels, difference, self.exponent, self.typical)
        return self.loss(graph, shape, difference)

    def _train_step(
        self,
        parameters: Any,
        state: StepState,
        rate: Array,
        graph: Graph,
        labels: Labels,
        structures: int,
    ) -> tuple[Any, StepState, Array]:
        self.compiled.append(f"train: {graph.nodes} atoms, {graph.edges} edges")
        shape = Shape(graph.nodes, graph.edges, structures)

        key = jax.random.fold_in(jax.random.key(self.seed), state.count)

        def objective(values: Any) -> Array:
            difference = self._deviation(values, graph, labels, shape, key)
            return self._objective(graph, labels, shape, difference)

        loss, gradient = jax.value_and_grad(objective)(parameters)
        updates, optimiser = self.optimiser.update(gradient, state.optimiser, parameters)
        parameters = jax.tree.map(lambda p, u: p - rate * u, parameters, updates)
        mean, count = state.mean, state.count + 1
        if mean is not None:
            # Young means forget faster, so that they do not keep the first parameters.
            keep = jnp.minimum(self.ema_decay, count / (count + 9.0)).astype(rate.dtype)
            mean = jax.tree.map(lambda m, p: keep * m + (1 - keep) * p, mean, parameters)
        return parameters, StepState(optimiser, mean, count), loss

    def _evaluation(
        self, parameters: Any, graph: Graph, labels: Labels, structures: int
    ) -> tuple[Array, Array]:
        self.compiled.append(f"evaluate: {graph.nodes} atoms, {graph.edges} edges")
        shape = Shape(graph.nodes, graph.edges, structures)
        difference = self._deviation(parameters, graph, labels, shape)
        return (
            self._objective(graph, labels, shape, difference),
            absolute_sums(self.measure, graph, difference),
        )
