"""What every network must do, as tests that anybody can run on their own.

>>> class TestMyNetwork(NetworkContract):
...     network = staticmethod(MyNetwork)

Symmetries are proven with parameters that are random in every layer (fresh ones give zero, with
which nothing could fail) and with such as training leaves behind. Each class compiles a few
programs and shares them between its tests: fresh parameters, the result in float64 and in float32,
loss and gradient, and the result with parts left out where the network knows that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from unittest import SkipTest

import jax
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph.graphs import GraphSource
from deeph.networks import Network
from deeph.networks.bench import Bench, Outcome
from deeph.networks.specification import NetworkSpecification
from deeph.networks.specimens import Specimen
from deeph.targets import hermitian_result
from deeph.testing import (
    assert_close_matrices,
    assert_equivariant,
    assert_hermitian,
    random_rotations,
    relative_difference,
    time_reversed,
)

Array = Any
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
    time_reversal : bool
        Whether matrices with spin are those of systems without moments.
    parity : bool
        Whether inversion is a symmetry of the network.
    irreps : str
        Features; must reach every l of the target.
    blocks : int
        Rounds of message passing.
    double_limit, single_limit : float
        Largest violation of a symmetry in float64 and float32, over the largest entry. Networks
        here stay below 1e-14 and 2e-6; what is allowed is rounding, nothing else.
    """

    network: Callable[[NetworkSpecification], Network]
    orbital_map: Mapping[str, tuple[int, ...]] = {"H": (0,), "C": (0, 1)}
    spin = "none"
    time_reversal = True
    parity = True
    irreps = "8x0e+6x1o+4x2e"
    blocks = 3
    double_limit = 1e-12
    single_limit = 1e-5

    @property
    def bench(self) -> Bench:
        """The network under test, shared by all tests of the class."""
        make: Any = type(self).network
        return _bench(
            make,
            tuple(self.orbital_map.items()),
            self.spin,
            self.time_reversal,
            self.parity,
            self.irreps,
            self.blocks,
        )

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
            graph, outcome = source.graph, self.bench.result(source)
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

    def test_what_exists_is_of_the_type_that_was_given(self) -> None:
        """Compute in float32 what is given in float32, also where JAX could do better."""
        source = self.bench.source(self.bench.specimens["molecule"])
        for double, dtype in ((True, np.float64), (False, np.float32)):
            outcome = self.bench.result(source, double)
            assert outcome.nodes[0].dtype == outcome.edges[0].dtype == dtype

    def test_parameters_do_not_depend_on_the_graph(self) -> None:
        """Make parameters of equal shapes for any structure."""
        one, other = (self.bench.shapes(self.bench.specimens[n]) for n in ("molecule", "crystal"))
        assert jax.tree.leaves(one) == jax.tree.leaves(other)

    def test_a_rotation_rotates_the_result(self) -> None:
        """Turn H with the structure; with parity also under improper rotations."""
        self._equivariant(double=True)

    def test_a_rotation_rotates_the_result_in_single_precision(self) -> None:
        """Keep the symmetry to the rounding of float32."""
        self._equivariant(double=False)

    def _equivariant(self, double: bool, parameters: Any = None) -> None:
        rotations = random_rotations(4, seed=3, inversion=self.parity)
        for name, specimen in self.bench.specimens.items():
            if name != "chain":  # which has a test of its own
                self._turns(specimen, rotations, double, parameters)

    def _turns(
        self, specimen: Specimen, rotations: NDArray[Any], double: bool, parameters: Any = None
    ) -> None:
        def predict(structure: Structure) -> BlockMatrix:
            return self.bench.predict(Specimen(structure, specimen.pairs), double, parameters)

        limit = self.double_limit if double else self.single_limit
        assert_equivariant(
            predict, specimen.structure, self.orbital_map, rotations=rotations, rtol=limit
        )

    def test_training_leaves_all_symmetries(self) -> None:
        """Keep them with parameters that have learned something."""
        trained, losses = self.bench.trained
        assert losses[-1] < losses[0], f"the loss does not fall: {losses}"
        for double in (True, False):
            self._equivariant(double, trained)
            self._poles(double, trained)
        self._origin(trained)
        self._order(trained)
        self._supercell(trained)

    def test_edges_at_and_near_the_poles_are_like_all_others(self) -> None:
        """Do not see the angle that is free for edges along the polar axis."""
        for double in (True, False):
            self._poles(double)

    def _poles(self, double: bool, parameters: Any = None) -> None:
        tilts = [_about_x(angle) for angle in (np.pi, np.pi / 2, 1e-3, 1e-7, 1e-12, 1e-20)]
        rotations = np.concatenate([tilts, random_rotations(2, seed=4, inversion=False)])
        self._turns(self.bench.specimens["chain"], rotations, double, parameters)

    def test_single_precision_and_other_padding_change_nothing_else(self) -> None:
        """Give the same numbers in float32, padded to other numbers of atoms and pairs."""
        for specimen in self.bench.specimens.values():
            single = self.bench.predict(specimen, double=False)
            assert_close_matrices(single, self.bench.predict(specimen), self.single_limit)

    def test_the_origin_and_the_choice_of_images_do_not_matter(self) -> None:
        """Shift all atoms, and move each by lattice vectors of its own."""
        self._origin()

    def _origin(self, parameters: Any = None) -> None:
        specimen = self.bench.specimens["crystal"]
        cells = np.array([[0, 1, 0], [-2, 0, 0], [1, 1, -1]])
        moved = specimen.moved([0.3, -7.1, 2.0], cells)
        expected = self.bench.predict(specimen, parameters=parameters)
        pairs = expected.atom_pairs.copy()
        pairs[:, :3] += cells[pairs[:, 3]] - cells[pairs[:, 4]]
        expected = _on_other_pairs(expected, pairs)
        found = self.bench.predict(moved, parameters=parameters)
        assert_close_matrices(found, expected, self.double_limit)

    def test_the_order_of_atoms_does_not_matter(self) -> None:
        """Permute atoms, and find every block at its new place."""
        self._order()

    def _order(self, parameters: Any = None) -> None:
        for name, places in (("crystal", [2, 0, 1]), ("random with a lonely atom", [1, 2, 0])):
            self._permuted(self.bench.specimens[name], np.array(places), parameters)

    def _permuted(self, specimen: Specimen, order: NDArray[Any], parameters: Any) -> None:
        expected = self.bench.predict(specimen, parameters=parameters)
        pairs = expected.atom_pairs.copy()
        pairs[:, 3:] = np.argsort(order)[pairs[:, 3:]]
        expected = _on_other_pairs(expected, pairs)
        found = self.bench.predict(specimen.permuted(order), parameters=parameters)
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
        found = self.bench.matrix(other, self.bench.result(other))
        expected = self.bench.matrix(source, self.bench.result(source))
        assert_close_matrices(found, expected, self.double_limit)

    def test_the_result_can_be_made_hermitian(self) -> None:
        """Average with the partner in irreps as well as in blocks, where it is exact."""
        source = self.bench.source(self.bench.specimens["crystal"])
        outcome, rep = self.bench.result(source), self.bench.representation
        nodes, edges = hermitian_result(rep, source.graph, outcome.nodes[0], outcome.edges[0])
        found = self.bench.matrix(source, Outcome(0.0, None, [nodes], [edges]))
        plain = self.bench.matrix(source, outcome)
        assert relative_difference(plain, plain.hermitian()) > 1e-3, "nothing was to be done"
        assert_close_matrices(found, plain.hermitian(), self.double_limit)
        assert_hermitian(found, self.double_limit * float(np.abs(found.entries).max()))
        assert_hermitian(found.hermitian(), 0.0)

    def test_time_reversal_is_a_symmetry_of_what_has_no_moments(self) -> None:
        """Keep sigma_y H* sigma_y = H to the last digit, or break it where moments are."""
        if self.spin != "soc":
            raise SkipTest("real matrices without spin-orbit coupling cannot break it")
        matrix = self.bench.predict(self.bench.specimens["crystal"])
        difference = relative_difference(time_reversed(matrix), matrix)
        if self.time_reversal:
            assert difference <= self.double_limit, f"broken by {difference:.3g}"
        else:
            assert difference > 1e-3, "kept, though nothing asks for it"

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
        self._supercell()

    def _supercell(self, parameters: Any = None) -> None:
        specimen = self.bench.specimens["crystal"]
        n = len(specimen.structure)
        single, double = (
            self.bench.predict(s, parameters=parameters) for s in (specimen, specimen.doubled())
        )
        images = double.atom_pairs
        cell, target = images[:, 3] // n, images[:, 4] // n
        origin = np.stack(
            [2 * images[:, 0] + target - cell, *images[:, 1:3].T, *(images[:, 3:] % n).T], axis=1
        )
        repeated = single.on_pairs(origin, double.chunk_shapes)
        assert_close_matrices(double, double.with_entries(repeated.entries), self.double_limit)

    def test_a_piece_gives_the_rows_of_atoms_that_see_no_end(self) -> None:
        """Give the same blocks whatever lies beyond the reach of the rounds of messages.

        Blocks of an atom know its neighbours, and these what `blocks` steps away from them is.
        """
        whole, atoms = self.bench.wire, self.blocks + 2
        piece = self.bench.predict(whole.first(atoms))
        own = piece.atom_pairs[:, 3] == 0
        rows, shapes = piece.atom_pairs[own], piece.chunk_shapes[own]
        assert len(rows) == 2
        found = piece.on_pairs(rows, shapes)
        expected = self.bench.predict(whole).on_pairs(rows, shapes)
        assert_close_matrices(found, expected, self.double_limit)

    def test_nothing_is_left_out_without_random_numbers(self) -> None:
        """Compute in inference what the network without drop rates computes."""
        plain, dropping = self.bench.network, self.bench.dropping
        assert self.bench.program(dropping) == self.bench.program(plain)

    def test_what_is_left_out_follows_from_the_random_numbers(self) -> None:
        """Leave out the same for equal ones, and something else for others."""
        specimen, seeds = self.bench.specimens["crystal"], (0, 0, 1)
        first, same, other = (self.bench.predict_dropping(specimen, seed) for seed in seeds)
        assert relative_difference(same, first) == 0.0
        assert relative_difference(other, first) > 1e-3
        assert relative_difference(self.bench.predict(specimen), first) > 1e-3

    def test_leaving_parts_out_keeps_the_symmetry(self) -> None:
        """Leave out whole channels, atoms or edges, such that what is left turns as it should."""
        specimen = self.bench.specimens["crystal"]

        def predict(structure: Structure) -> BlockMatrix:
            return self.bench.predict_dropping(Specimen(structure, specimen.pairs), 3)

        assert_equivariant(
            predict,
            specimen.structure,
            self.orbital_map,
            rotations=random_rotations(4, seed=3, inversion=self.parity),
            rtol=self.double_limit,
        )

    def test_computing_anew_changes_nothing(self) -> None:
        """Give the same result and gradient where less is kept for the derivative."""
        source = self.bench.source(self.bench.specimens["crystal"])
        kept, anew = (bench.evaluate([source]) for bench in (self.bench, self.bench.recomputing))
        matrices = [self.bench.matrix(source, outcome) for outcome in (anew, kept)]
        assert_close_matrices(matrices[0], matrices[1], self.double_limit)
        _assert_close_trees(anew.gradient, kept.gradient)

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
