"""The two compiled programs of a training: one optimiser step, one evaluation.

In: network, representation, optimiser, loss. Out: jitted functions of arrays; each padded shape is
compiled once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

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
    compiled: list[str] = field(default_factory=list)

    @cached_property
    def _programs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        compiled = partial(jax.jit, static_argnames="structures")
        return compiled(self._train_step, donate_argnums=(0, 1)), compiled(self._evaluation)

    def train(
        self,
        parameters: Any,
        state: Any,
        rate: float,
        graph: Graph,
        labels: Labels,
        structures: int,
    ) -> tuple[Any, Any, Array]:
        """Take one step.

        Parameters
        ----------
        parameters, state : tree of arrays
            Of network and optimiser; their memory is reused.
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

    def _deviation(self, parameters: Any, graph: Graph, labels: Labels, shape: Shape) -> Deviation:
        nodes, edges = self.network.apply(parameters, graph)
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
        state: Any,
        rate: Array,
        graph: Graph,
        labels: Labels,
        structures: int,
    ) -> tuple[Any, Any, Array]:
        self.compiled.append(f"train: {graph.nodes} atoms, {graph.edges} edges")
        shape = Shape(graph.nodes, graph.edges, structures)

        def objective(values: Any) -> Array:
            return self._objective(
                graph, labels, shape, self._deviation(values, graph, labels, shape)
            )

        loss, gradient = jax.value_and_grad(objective)(parameters)
        updates, state = self.optimiser.update(gradient, state, parameters)
        parameters = jax.tree.map(lambda p, u: p - rate * u, parameters, updates)
        return parameters, state, loss

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
