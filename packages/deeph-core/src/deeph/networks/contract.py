"""What every network must do, as tests that anybody can run on their own.

>>> class TestMyNetwork(NetworkContract):
...     network = staticmethod(MyNetwork)

The parameters are random in every layer: fresh ones give zero, with which nothing could fail. Each
class compiles three programs and shares them between its tests: fresh parameters, the result with
gradients in float64, the result in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
    assert_close_matrices,
    assert_equivariant,
    assert_hermitian,
    double_precision,
    random_rotations,
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
                elements, self.irreps, self.parity, self.blocks, 5.0, 6.0, natural, unnatural
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


_bench = lru_cache(maxsize=None)(Bench)


class NetworkContract:
    """Inherit, set `network`, and let pytest collect the class.

    Attributes
    ----------
    network : function
        From a `NetworkSpecification` to a `Network`.
    orbital_map : mapping
        Shells of the elements.
    spin : str
        "none" or "soc".
    parity : bool
        Whether inversion is a symmetry of the network.
    irreps : str
        Features; must reach every l of the target.
    blocks : int
        Rounds of message passing.
    double_limit, single_limit : float
        Largest violation of a symmetry in float64 and float32, over the largest entry.
    """

    network: Callable[[NetworkSpecification], Network]
    orbital_map: Mapping[str, tuple[int, ...]] = {"H": (0,), "C": (0, 1)}
    spin = "none"
    parity = True
    irreps = "8x0e+6x1o+4x2e"
    blocks = 3
    double_limit = 1e-9
    single_limit = 2e-5

    @property
    def bench(self) -> Bench:
        """The network under test, shared by all tests of the class."""
        orbital_map = tuple(self.orbital_map.items())
        make: Any = type(self).network
        return _bench(make, orbital_map, self.spin, self.parity, self.irreps, self.blocks)

    def test_fresh_parameters_give_zero(self) -> None:
        """Start from the baseline alone."""
        source = self.bench.source(self.bench.specimens["crystal"])
        outcome = self.bench.evaluate([source], self.bench.fresh)
        assert outcome.loss == 0.0
        assert not outcome.nodes[0].any()
        assert not outcome.edges[0].any()

    def test_every_irrep_of_the_target_is_reached(self) -> None:
        """Give finite numbers of the right shape, none of them zero for want of a path."""
        rep = self.bench.representation
        chosen = [self.bench.source(s) for s in self.bench.specimens.values()]
        largest = np.zeros((2, rep.channels.size))
        wanted = np.zeros((2, rep.channels.size), dtype=bool)
        for source in chosen:
            graph, outcome = source.graph, self.bench.evaluate([source])
            ends = graph.species[graph.centre], graph.species[graph.neighbour]
            parts = ((graph.species, graph.species, outcome.nodes[0]), (*ends, outcome.edges[0]))
            for kind, (first, second, values) in enumerate(parts):
                assert values.shape == (len(first), rep.channels.size)
                assert np.isfinite(values).all()
                mask = rep.mask[first, second]
                largest[kind] = np.maximum(largest[kind], np.abs(values * mask).max(axis=0))
                wanted[kind] |= mask.any(axis=0)
        names = ("on site", "off site")
        for name, found, exists in zip(names, largest, wanted, strict=True):
            dead = rep.channels.channel_of_component[exists & (found < 1e-7)]
            j, natural = rep.channels.j[dead], rep.channels.natural[dead]
            assert not len(dead), f"{name}: always zero: J = {j.tolist()}, natural {natural}"

    def test_a_rotation_rotates_the_result(self) -> None:
        """Turn H with the structure; with parity also under improper rotations."""
        self._equivariant(double=True)

    def test_a_rotation_rotates_the_result_in_single_precision(self) -> None:
        """Keep the symmetry to the rounding of float32."""
        self._equivariant(double=False)

    def _equivariant(self, double: bool) -> None:
        rotations = random_rotations(4, seed=3, inversion=self.parity)
        for name in ("crystal", "molecule"):
            specimen = self.bench.specimens[name]
            self._turns(specimen, rotations, double)

    def _turns(self, specimen: Specimen, rotations: NDArray[Any], double: bool) -> None:
        def predict(structure: Structure) -> BlockMatrix:
            return self.bench.predict(Specimen(structure, specimen.pairs), double)

        limit = self.double_limit if double else self.single_limit
        assert_equivariant(
            predict, specimen.structure, self.orbital_map, rotations=rotations, rtol=limit
        )

    def test_edges_at_and_near_the_poles_are_like_all_others(self) -> None:
        """Do not see the angle that is free for edges along the polar axis."""
        tilts = [_about_x(angle) for angle in (np.pi, np.pi / 2, 1e-3, 1e-7, 1e-12, 1e-20)]
        rotations = np.concatenate([tilts, random_rotations(2, seed=4, inversion=False)])
        for double in (True, False):
            self._turns(self.bench.specimens["chain"], rotations, double)

    def test_single_precision_and_other_padding_change_nothing_else(self) -> None:
        """Give the same numbers in float32, padded to other numbers of atoms and pairs."""
        for specimen in self.bench.specimens.values():
            single = self.bench.predict(specimen, double=False)
            assert_close_matrices(single, self.bench.predict(specimen), self.single_limit)

    def test_the_origin_and_the_choice_of_images_do_not_matter(self) -> None:
        """Shift all atoms, and move each by lattice vectors of its own."""
        specimen = self.bench.specimens["crystal"]
        cells = np.array([[0, 1, 0], [-2, 0, 0], [1, 1, -1]])
        moved = specimen.moved([0.3, -7.1, 2.0], cells)
        expected = self.bench.predict(specimen)
        pairs = expected.atom_pairs.copy()
        pairs[:, :3] += cells[pairs[:, 3]] - cells[pairs[:, 4]]
        expected = _on_other_pairs(expected, pairs)
        assert_close_matrices(self.bench.predict(moved), expected, self.double_limit)

    def test_the_order_of_atoms_does_not_matter(self) -> None:
        """Permute atoms, and find every block at its new place."""
        specimen, order = self.bench.specimens["crystal"], np.array([2, 0, 1])
        expected = self.bench.predict(specimen)
        pairs = expected.atom_pairs.copy()
        pairs[:, 3:] = np.argsort(order)[pairs[:, 3:]]
        expected = _on_other_pairs(expected, pairs)
        found = self.bench.predict(specimen.permuted(order))
        assert_close_matrices(found, expected, self.double_limit)

    def test_a_batch_is_its_structures_one_by_one(self) -> None:
        """Add up losses and gradients; that also proves that dummies count nothing."""
        sources = [self.bench.source(self.bench.specimens[n]) for n in ("molecule", "crystal")]
        together = self.bench.evaluate(sources)
        alone = [self.bench.evaluate([source]) for source in sources]
        for number, (source, single) in enumerate(zip(sources, alone, strict=True)):
            found = self.bench.matrix(source, together, number)
            assert_close_matrices(found, self.bench.matrix(source, single), self.double_limit)
        np.testing.assert_allclose(together.loss, sum(one.loss for one in alone), rtol=1e-9)
        summed = jax.tree.map(np.add, alone[0].gradient, alone[1].gradient)
        _assert_close_trees(together.gradient, summed)

    def test_dummies_do_not_count(self) -> None:
        """Give the same result, loss and gradient whatever dummy atoms and edges are like."""
        source = self.bench.source(self.bench.specimens["crystal"])
        graph = self.bench.batch([source], np.float64)
        nodes, edges = graph.node_mask == 0, graph.edge_mask == 0
        other = graph._replace(
            species=np.where(nodes, len(self.orbital_map) - 1, graph.species),
            lengths=np.where(edges, 2.2, graph.lengths),
            axes=np.where(edges[:, None], [0.6, 0.0, -0.8], graph.axes),
            turned=np.where(edges, 1.0, graph.turned),
        )
        plain, changed = (self.bench.evaluate_graph(g, [source]) for g in (graph, other))
        found = self.bench.matrix(source, changed)
        assert_close_matrices(found, self.bench.matrix(source, plain), self.double_limit)
        np.testing.assert_allclose(changed.loss, plain.loss, rtol=1e-9)
        _assert_close_trees(changed.gradient, plain.gradient)

    def test_an_edge_and_its_reverse_may_change_roles(self) -> None:
        """Give the same blocks when the reverse edge decides the frame of both."""
        source = self.bench.source(self.bench.specimens["crystal"])
        graph = source.graph
        swapped = graph._replace(axes=-graph.axes, turned=1 - graph.turned)
        other = GraphSource(swapped, source.node_pairs, source.edge_pairs)
        found = self.bench.matrix(other, self.bench.evaluate([other]))
        expected = self.bench.matrix(source, self.bench.evaluate([source]))
        assert_close_matrices(found, expected, self.double_limit)

    def test_the_result_can_be_made_hermitian(self) -> None:
        """Average with the partner in irreps as well as in blocks."""
        source = self.bench.source(self.bench.specimens["crystal"])
        outcome, rep = self.bench.evaluate([source]), self.bench.representation
        nodes, edges = hermitian_result(rep, source.graph, outcome.nodes[0], outcome.edges[0])
        found = self.bench.matrix(source, Outcome(0.0, None, [nodes], [edges]))
        expected = self.bench.matrix(source, outcome).hermitian()
        assert_close_matrices(found, expected, self.double_limit)
        assert_hermitian(found, 1e-9 * float(np.abs(found.entries).max()))

    def test_structures_far_apart_do_not_see_each_other(self) -> None:
        """Give both parts of a structure the blocks they have alone."""
        one, two = (self.bench.specimens["molecule"], self._other_molecule())
        s, t, n = one.structure, two.structure, len(one.structure)
        both = Specimen(
            Structure(
                s.lattice,
                np.concatenate([s.positions, t.positions + 12.0]),
                np.concatenate([s.numbers, t.numbers]),
            ),
            np.concatenate([one.pairs, two.shifted(n)]),
        )
        found = self.bench.predict(both)
        for part, first in ((one, 0), (two, n)):
            expected = self.bench.predict(part)
            expected = _on_other_pairs(expected, Specimen(s, expected.atom_pairs).shifted(first))
            own = found.on_pairs(expected.atom_pairs, expected.chunk_shapes)
            assert_close_matrices(own, expected, self.double_limit)

    def _other_molecule(self) -> Specimen:
        specimen = self.bench.specimens["molecule"].permuted(np.array([1, 2, 0]))
        return Specimen(specimen.structure.rotated(random_rotations(1, 8)[0]), specimen.pairs)

    def test_a_supercell_repeats_the_blocks(self) -> None:
        """Give every block of a doubled cell the value it has in the single one."""
        specimen = self.bench.specimens["crystal"]
        n = len(specimen.structure)
        single, double = self.bench.predict(specimen), self.bench.predict(specimen.doubled())
        images = double.atom_pairs
        cell, target = images[:, 3] // n, images[:, 4] // n
        origin = np.stack(
            [2 * images[:, 0] + target - cell, *images[:, 1:3].T, *(images[:, 3:] % n).T], axis=1
        )
        repeated = single.on_pairs(origin, double.chunk_shapes)
        assert_close_matrices(double, double.with_entries(repeated.entries), self.double_limit)

    def test_gradients_are_those_of_finite_differences(self) -> None:
        """Agree along random directions of all parameters at once."""
        source = self.bench.source(self.bench.specimens["crystal"])
        rng, step = np.random.default_rng(2), 1e-5
        centre = self.bench.evaluate([source])
        for _ in range(2):
            direction = jax.tree.map(lambda x: rng.normal(size=x.shape), self.bench.parameters)

            def loss(at: float, along: Any = direction) -> float:
                moved = jax.tree.map(lambda p, d: p + at * d, self.bench.parameters, along)
                return self.bench.evaluate([source], moved).loss

            slopes = jax.tree.map(lambda g, d: float(np.sum(g * d)), centre.gradient, direction)
            expected = sum(jax.tree.leaves(slopes))
            # Fourth order, so that the step may be large enough to be above rounding.
            found = (8 * (loss(step) - loss(-step)) - loss(2 * step) + loss(-2 * step)) / (
                12 * step
            )
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def _on_other_pairs(matrix: BlockMatrix, pairs: NDArray[np.int64]) -> BlockMatrix:
    """Return the same blocks, named differently."""
    return BlockMatrix(pairs, matrix.chunk_shapes, matrix.chunk_boundaries, matrix.entries)


def _about_x(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def _assert_close_trees(found: Any, expected: Any) -> None:
    """Compare gradients leaf by leaf, relative to the largest number of all."""
    size = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9 * size)
