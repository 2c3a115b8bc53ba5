"""A network on a bench: small structures, and its results for them, compiled once.

In: a network's maker and what it is made for. Out: `Bench`, which the tests of
`deeph.networks.contract` ask for results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from deeph_spec.testing import neighbour_pairs
from numpy.typing import NDArray

from deeph.graphs import Graph, GraphSource, Shape, build_graph, concatenate
from deeph.networks import Network
from deeph.networks.specification import NetworkSpecification
from deeph.representation import BlockRepresentation
from deeph.so3 import wigner_blocks
from deeph.targets.hamiltonian import hermitian_result
from deeph.testing import (
    double_precision,
)

Array = Any
_QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiler options: the programs run a few dozen times each, compiling them is what takes long."""


class Specimen(NamedTuple):
    """A structure and its pairs.

    Attributes
    ----------
    structure : Structure
    pairs : int64 (P, 5)
        R1, R2, R3, i, j.
    """

    structure: Structure
    pairs: NDArray[np.int64]

    def permuted(self, order: NDArray[np.int64]) -> Specimen:
        """Return the same atoms in another order: atom k is what was atom order[k]."""
        s, place = self.structure, np.argsort(order)
        pairs = self.pairs.copy()
        pairs[:, 3:] = place[pairs[:, 3:]]
        return Specimen(Structure(s.lattice, s.positions[order], s.numbers[order]), pairs)

    def moved(self, shift: Sequence[float], cells: NDArray[np.int64]) -> Specimen:
        """Return the same crystal shifted, its atoms (n, 3) lattice vectors away from before."""
        s, pairs = self.structure, self.pairs.copy()
        pairs[:, :3] += cells[pairs[:, 3]] - cells[pairs[:, 4]]
        positions = s.positions + cells @ s.lattice + np.asarray(shift)
        return Specimen(Structure(s.lattice, positions, s.numbers), pairs)

    def shifted(self, first: int) -> NDArray[np.int64]:
        """Return the pairs for atoms that count from `first`."""
        return self.pairs + np.array([0, 0, 0, first, first])

    def doubled(self) -> Specimen:
        """Return the supercell of two cells along the first lattice vector."""
        s, n = self.structure, len(self.structure)
        lattice = s.lattice * np.array([[2.0], [1.0], [1.0]])
        positions = np.concatenate([s.positions, s.positions + s.lattice[0]])
        parts = []
        for cell in range(2):
            target = cell + self.pairs[:, 0]
            r1, j = target // 2, self.pairs[:, 4] + n * (target % 2)
            parts.append(
                np.stack([r1, *self.pairs[:, 1:3].T, self.pairs[:, 3] + n * cell, j], axis=1)
            )
        numbers = np.tile(s.numbers, 2)
        return Specimen(Structure(lattice, positions, numbers), np.concatenate(parts))


def specimens(symbols: Sequence[str]) -> dict[str, Specimen]:
    """Return a crystal, a molecule and a chain along the polar axis, of the given elements."""

    def made(lattice: Any, positions: Any, first: int) -> Specimen:
        count = len(positions)
        numbers = [ATOMIC_NUMBERS[symbols[(first + k) % len(symbols)]] for k in range(count)]
        structure = Structure(np.array(lattice), np.array(positions), np.array(numbers))
        return Specimen(structure, neighbour_pairs(structure, 2.3))

    return {
        "crystal": made(
            [[2.2, 0.1, 0.3], [0.2, 3.1, -0.2], [0.1, 0.4, 3.4]],
            [[0.1, 0.2, 0.0], [1.2, 1.3, 0.9], [0.2, 0.8, 5.1]],
            first=0,
        ),
        "molecule": made(
            30 * np.eye(3), [[0.0, 0.1, 0.2], [1.1, -0.3, 0.7], [-0.4, 1.5, 0.9]], first=1
        ),
        "chain": made(
            [[30.0, 0, 0], [0, 30.0, 0], [0, 0, 2.2]],
            [[0.0, 0, 0], [0.0, 0, 1.1], [1.3, 0.4, 0.3]],
            first=0,
        ),
    }


class Outcome(NamedTuple):
    """What a network gives for a batch: sums of squares, their gradient, the unpadded result."""

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
    parity : bool
    irreps : str
        Features of the network.
    blocks : int
    """

    make: Callable[[NetworkSpecification], Network]
    orbital_map: tuple[tuple[str, tuple[int, ...]], ...]
    spin: str
    parity: bool
    irreps: str
    blocks: int

    @cached_property
    def representation(self) -> BlockRepresentation:
        """Irreps of the target."""
        return BlockRepresentation.of(dict(self.orbital_map), self.spin)

    @cached_property
    def network(self) -> Network:
        """The network, with a target as the representation has it."""
        rep = self.representation
        natural, unnatural = rep.channels.counts(rep.l_max)
        elements = len(rep.orbital_map)
        return self.make(
            NetworkSpecification(
                elements,
                self.irreps,
                self.parity,
                self.blocks,
                5.0,
                6.0,
                natural,
                unnatural,
                natural,
                unnatural,
            )
        )

    @cached_property
    def specimens(self) -> dict[str, Specimen]:
        """Structures of these elements."""
        return specimens([symbol for symbol, _ in self.representation.orbital_map])

    def source(self, specimen: Specimen) -> GraphSource:
        """Return the graph of a specimen."""
        return build_graph(specimen.structure, specimen.pairs, self.representation)

    @cached_property
    def shape(self) -> Shape:
        """Room for two specimens, and for dummies."""
        graphs = [self.source(specimen).graph for specimen in self.specimens.values()]
        nodes, edges = max(g.nodes for g in graphs), max(g.edges for g in graphs)
        return Shape(2 * nodes + 2, 2 * edges + 5, 2)

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
            return noise * leaf.shape[-2] ** -0.5 if len(leaf.shape) > 1 else 0.5 + 0.3 * noise

        graph = self.batch([self.source(self.specimens["molecule"])], np.float32)
        with double_precision(False):
            shapes = jax.eval_shape(self.network.init, jax.random.key(0), graph)
        return jax.tree.map(drawn, shapes)

    def batch(self, sources: Sequence[GraphSource], dtype: Any) -> Graph:
        """Return a padded batch; in float32 padded to more atoms and pairs."""
        more = 0 if dtype == np.float64 else 3
        shape = Shape(self.shape.nodes + more, self.shape.edges + 7 * more, 2)
        return concatenate([source.graph for source in sources], shape, dtype)

    @cached_property
    def _programs(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        def objective(parameters: Any, graph: Graph) -> tuple[Array, Any]:
            nodes, edges = self.network.apply(parameters, graph)
            paired = hermitian_result(self.representation, graph, nodes, edges)
            loss = jnp.sum(paired[0] ** 2 * graph.node_mask[:, None])
            return loss + jnp.sum(paired[1] ** 2 * graph.edge_mask[:, None]), (nodes, edges)

        full = jax.jit(jax.value_and_grad(objective, has_aux=True), compiler_options=_QUICKLY)
        return full, jax.jit(self.network.apply, compiler_options=_QUICKLY)

    def evaluate(self, sources: Sequence[GraphSource], parameters: Any = None) -> Outcome:
        """Return loss, gradient and result of a batch in float64."""
        return self.evaluate_graph(self.batch(sources, np.float64), sources, parameters)

    def evaluate_graph(
        self, graph: Graph, sources: Sequence[GraphSource], parameters: Any = None
    ) -> Outcome:
        """Return the same for a batch that was already padded."""
        parameters = self.parameters if parameters is None else parameters
        with double_precision():
            (loss, (nodes, edges)), gradient = self._programs[0](parameters, graph)
            gradient = jax.tree.map(np.asarray, gradient)
        return Outcome(float(loss), gradient, *_apart(sources, nodes, edges))

    def result(self, source: GraphSource, double: bool) -> Outcome:
        """Return the result alone, without loss and gradient."""
        dtype = np.float64 if double else np.float32
        with double_precision(double):
            parameters = jax.tree.map(lambda x: np.asarray(x, dtype), self.parameters)
            nodes, edges = self._programs[1](parameters, self.batch([source], dtype))
        return Outcome(np.nan, None, *_apart([source], nodes, edges))

    def matrix(self, source: GraphSource, outcome: Outcome, number: int = 0) -> BlockMatrix:
        """Return the result for one structure of a batch as blocks, not made Hermitian."""
        rep, graph = self.representation, source.graph
        edges = outcome.edges[number].astype(np.float64)
        lab = rep.rotate(edges, wigner_blocks(source.frames, rep.l_max), to="lab")
        pairs = np.concatenate([source.node_pairs, source.edge_pairs])
        species = graph.species.astype(np.int64)
        irreps = np.concatenate([outcome.nodes[number].astype(np.float64), lab])
        irreps = irreps * rep.mask[species[pairs[:, 3]], species[pairs[:, 4]]]
        return rep.scatter(rep.to_padded(irreps), pairs, species)

    def predict(self, specimen: Specimen, double: bool = True) -> BlockMatrix:
        """Return the blocks of one structure, not made Hermitian."""
        source = self.source(specimen)
        outcome = self.evaluate([source]) if double else self.result(source, double=False)
        return self.matrix(source, outcome)


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
