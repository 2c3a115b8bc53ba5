"""A network on a bench: small structures, and its results for them, compiled once.

In: a network's maker and what it is made for. Out: `Bench`, which the tests of
`deeph.networks.contract` ask for results.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple
from unittest import SkipTest

import jax
import jax.numpy as jnp
import numpy as np
from deeph_spec.blocks import BlockMatrix
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource, Shape, build_graph, concatenate
from deeph.networks import Network
from deeph.networks.specification import Drop, NetworkSpecification
from deeph.networks.specimens import Specimen, specimens, wire
from deeph.representation import BlockRepresentation
from deeph.so3 import wigner_blocks
from deeph.targets import hermitian_result
from deeph.testing import double_precision

Array = Any
_QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiler options: the programs run a few dozen times each, compiling them is what takes long."""

_HEADS = 2
_STEPS, _RATE = 6, 0.02


class Outcome(NamedTuple):
    """What a network gives for a batch: loss, its gradient, the unpadded result."""

    loss: float
    gradient: Any
    nodes: list[NDArray[Any]]
    edges: list[NDArray[Any]]


@dataclass(frozen=True)
class Bench:
    """A network with random parameters, and the programs compiled from it.

    Attributes
    ----------
    make : function
        From a specification to a network.
    orbital_map : tuple of (str, tuple of int)
        Shells of each element.
    spin : str
    time_reversal : bool
        Whether what vanishes without magnetism is left out.
    parity : bool
    irreps : str
        Features of the network.
    blocks : int
    """

    make: Callable[[NetworkSpecification], Network]
    orbital_map: tuple[tuple[str, tuple[int, ...]], ...]
    spin: str
    time_reversal: bool
    parity: bool
    irreps: str
    blocks: int

    @cached_property
    def representation(self) -> BlockRepresentation:
        """Irreps of the target."""
        return BlockRepresentation.of(dict(self.orbital_map), self.spin, self.time_reversal)

    @cached_property
    def network(self) -> Network:
        """The network, with a target as the representation has it."""
        rep = self.representation
        natural, unnatural = rep.channels.counts(rep.l_max)
        return self.make(
            NetworkSpecification(
                elements=len(rep.orbital_map),
                irreps=self.irreps,
                parity=self.parity,
                blocks=self.blocks,
                r_max=5.0,
                neighbours=6.0,
                node_natural=natural,
                node_unnatural=unnatural,
                edge_natural=natural,
                edge_unnatural=unnatural,
                heads=_HEADS,
            )
        )

    @cached_property
    def symbols(self) -> list[str]:
        """Elements by atomic number."""
        return [symbol for symbol, _ in self.representation.orbital_map]

    @cached_property
    def specimens(self) -> dict[str, Specimen]:
        """Structures of these elements."""
        return specimens(self.symbols)

    @cached_property
    def wire(self) -> Specimen:
        """A molecule so long that its ends do not see each other."""
        return wire(self.symbols, self.blocks + 4)

    def source(self, specimen: Specimen) -> GraphSource:
        """Return the graph of a specimen."""
        return build_graph(specimen.structure, specimen.pairs, self.representation)

    @cached_property
    def shape(self) -> Shape:
        """Room for two specimens, and for dummies."""
        graphs = [self.source(specimen).graph for specimen in self.specimens.values()]
        nodes, edges = max(g.nodes for g in graphs), max(g.edges for g in graphs)
        return Shape(max(2 * nodes, len(self.wire.structure)) + 2, 2 * edges + 5, 2)

    @cached_property
    def fresh(self) -> Any:
        """Parameters as the network makes them, in float64."""
        with double_precision():
            graph = self.batch([self.source(self.specimens["molecule"])], np.float64)
            made = jax.jit(self.network.init, compiler_options=_QUICKLY)(jax.random.key(0), graph)
            return jax.tree.map(lambda x: np.asarray(x, np.float64), made)

    @cached_property
    def parameters(self) -> Any:
        """Random parameters that give every layer a say, also those that start from zero."""
        rng = np.random.default_rng(1)

        def drawn(leaf: Any) -> NDArray[np.float64]:
            noise = rng.normal(size=leaf.shape)
            return (
                0.6 * noise * leaf.shape[-2] ** -0.5 if len(leaf.shape) > 1 else 0.5 + 0.3 * noise
            )

        return jax.tree.map(drawn, self.shapes(self.specimens["molecule"]))

    def shapes(self, specimen: Specimen) -> Any:
        """Return shapes and types of the parameters that are made for a graph."""
        graph = self.batch([self.source(specimen)], np.float32)
        with double_precision(False):
            return jax.eval_shape(self.network.init, jax.random.key(0), graph)

    @cached_property
    def trained(self) -> tuple[Any, list[float]]:
        """Fresh parameters after a few steps towards random labels, and the loss at each.

        Every number moves by an equal amount against the sign of its slope, less in every step:
        Adam without memory.
        """
        sources = [self.source(self.specimens[name]) for name in ("crystal", "molecule")]
        rng, parameters, losses = np.random.default_rng(4), self.fresh, []
        size = self.representation.channels.size
        labels = [rng.normal(size=(count, size)) for count in self.shape[:2]]
        for step in range(_STEPS):
            graph = self.batch(sources, np.float64)
            outcome = self.evaluate_graph(graph, sources, parameters, labels)
            losses.append(outcome.loss)
            rate = _RATE / (step + 1)
            parameters = jax.tree.map(
                lambda p, slope, rate=rate: p - rate * np.sign(slope), parameters, outcome.gradient
            )
        return parameters, losses

    def batch(self, sources: Sequence[GraphSource], dtype: Any) -> Graph:
        """Return a padded batch; in float32 padded to more atoms and pairs."""
        more = 0 if dtype == np.float64 else 3
        shape = Shape(self.shape.nodes + more, self.shape.edges + 7 * more, 2)
        return concatenate([source.graph for source in sources], shape, dtype)

    @cached_property
    def _objective(self) -> Callable[..., Any]:
        def objective(parameters: Any, graph: Graph, labels: Any) -> tuple[Array, Any]:
            nodes, edges = self.network.apply(parameters, graph)
            paired = hermitian_result(self.representation, graph, nodes, edges)
            loss = jnp.sum((paired[0] - labels[0]) ** 2 * graph.node_mask[:, None])
            loss += jnp.sum((paired[1] - labels[1]) ** 2 * graph.edge_mask[:, None])
            return loss, (nodes, edges)

        return jax.jit(jax.value_and_grad(objective, has_aux=True), compiler_options=_QUICKLY)

    @cached_property
    def _result(self) -> Callable[..., Any]:
        return jax.jit(self.network.apply, compiler_options=_QUICKLY)

    @cached_property
    def recomputing(self) -> Bench:
        """The same with a network that keeps less for the derivative and computes it anew.

        Raises
        ------
        unittest.SkipTest
            If the network knows no such thing.
        """
        made: Any = self.network
        if not any(field.name == "remat" for field in fields(made)):
            raise SkipTest("the network keeps all that it computes")
        make: Any = self.make
        return replace(self, make=lambda specification: make(specification, remat=True))

    @cached_property
    def dropping(self) -> Network:
        """The network with parts left out at random in training.

        Raises
        ------
        unittest.SkipTest
            If the network knows no such thing.
        """
        made: Any = self.network
        if not any(field.name == "drop" for field in fields(made)):
            raise SkipTest("the network leaves nothing out")
        dropping: Network = replace(made, drop=Drop(0.3, 0.3, 0.3))
        return dropping

    @cached_property
    def _dropped(self) -> Callable[..., Any]:
        return jax.jit(self.dropping.apply, compiler_options=_QUICKLY)

    def evaluate(self, sources: Sequence[GraphSource], parameters: Any = None) -> Outcome:
        """Return sum of squares, gradient and result of a batch in float64."""
        return self.evaluate_graph(self.batch(sources, np.float64), sources, parameters)

    def evaluate_graph(
        self,
        graph: Graph,
        sources: Sequence[GraphSource],
        parameters: Any = None,
        labels: Sequence[NDArray[np.float64]] | None = None,
    ) -> Outcome:
        """Return the same for a batch that was already padded, relative to padded labels."""
        parameters = self.parameters if parameters is None else parameters
        if labels is None:
            size = self.representation.channels.size
            labels = [np.zeros((graph.nodes, size)), np.zeros((graph.edges, size))]
        with double_precision():
            (loss, (nodes, edges)), gradient = self._objective(parameters, graph, list(labels))
            gradient = jax.tree.map(np.asarray, gradient)
        return Outcome(float(loss), gradient, *_apart(sources, nodes, edges))

    def result(self, source: GraphSource, double: bool = True, parameters: Any = None) -> Outcome:
        """Return the result alone, without loss and gradient."""
        dtype = np.float64 if double else np.float32
        parameters = self.parameters if parameters is None else parameters
        with double_precision(double):
            parameters = jax.tree.map(lambda x: np.asarray(x, dtype), parameters)
            nodes, edges = self._result(parameters, self.batch([source], dtype))
        return Outcome(np.nan, None, *_apart([source], nodes, edges))

    def matrix(self, source: GraphSource, outcome: Outcome, number: int = 0) -> BlockMatrix:
        """Return the result for one structure of a batch as blocks, not made Hermitian.

        Raises
        ------
        AssertionError
            If it holds NaN or inf.
        """
        rep, graph = self.representation, source.graph
        nodes, edges = (x[number].astype(np.float64) for x in (outcome.nodes, outcome.edges))
        assert np.isfinite(nodes).all(), "the result of an atom is NaN or inf"
        assert np.isfinite(edges).all(), "the result of an edge is NaN or inf"
        lab = rep.rotate(edges, wigner_blocks(source.frames, rep.l_max), to="lab")
        pairs = np.concatenate([source.node_pairs, source.edge_pairs])
        species = graph.species.astype(np.int64)
        irreps = np.concatenate([nodes, lab])
        irreps = irreps * rep.mask[species[pairs[:, 3]], species[pairs[:, 4]]]
        return rep.scatter(rep.to_padded(irreps), pairs, species)

    def predict(
        self, specimen: Specimen, double: bool = True, parameters: Any = None
    ) -> BlockMatrix:
        """Return the blocks of one structure, not made Hermitian."""
        source = self.source(specimen)
        return self.matrix(source, self.result(source, double, parameters))

    def predict_dropping(self, specimen: Specimen, seed: int) -> BlockMatrix:
        """Return what is left of the blocks where parts of the network are left out."""
        source = self.source(specimen)
        with double_precision():
            graph = self.batch([source], np.float64)
            nodes, edges = self._dropped(self.parameters, graph, jax.random.key(seed))
        return self.matrix(source, Outcome(np.nan, None, *_apart([source], nodes, edges)))

    def program(self, network: Network) -> str:
        """Return the text of what a network computes without random numbers."""
        graph = self.batch([self.source(self.specimens["molecule"])], np.float32)
        with double_precision(False):
            shapes = self.shapes(self.specimens["molecule"])
            text = str(jax.make_jaxpr(network.apply)(shapes, graph))
        return re.sub(r"0x[0-9a-f]+", "", text)


def _apart(
    sources: Sequence[GraphSource], nodes: Array, edges: Array
) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """Return the results of every structure of a batch."""
    node_ends = np.cumsum([source.graph.nodes for source in sources])
    edge_ends = np.cumsum([source.graph.edges for source in sources])
    return (
        np.split(np.asarray(nodes), node_ends)[:-1],
        np.split(np.asarray(edges), edge_ends)[:-1],
    )
