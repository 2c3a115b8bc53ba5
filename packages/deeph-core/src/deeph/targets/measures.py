"""What errors are counted in: the elements of matrices, their irreps, the irreps of tensors.

In: a graph, differences of results and labels in irreps. Out: which numbers exist, how many they
are, and their absolute values, so that a loss needs to know nothing of what is learned.

Blocks and irreps are related orthonormally: squares may be summed in either. Absolute values may
not. Those of elements are what the paper reports; they depend on the axes, and getting them from
the irreps of an edge takes a rotation to the lab and one small matrix product for each two angular
momenta. The size of an irrep, the root mean square of its components, depends on no axes and costs
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import groupby
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from deeph.graphs import Graph
from deeph.representation import BlockRepresentation
from deeph.so3 import EdgeFrames, wigner_blocks

Array = Any
IntArray = NDArray[np.int64]
_FACTOR = {"none": 1, "collinear": 2, "soc": 4}
"""Elements of a matrix with spin for each one without; the corners of a collinear one are none."""


class Deviation(NamedTuple):
    """Prediction minus label of a batch, in irreps and the unit of the target.

    Attributes
    ----------
    nodes, edges : array (n, size of a node), (e, size of an edge)
        Zero where the elements of the atoms lack the component, and on dummies.
    """

    nodes: Array
    edges: Array


class Measure(Protocol):
    """What a loss has to know about a target.

    A *kind* is a group of numbers that share a weight: a pair of shells, or a channel of a tensor.
    """

    @property
    def channels(self) -> tuple[IntArray, IntArray]:
        """Channel of every component of a node's and of an edge's result."""
        ...

    @property
    def kinds(self) -> tuple[IntArray, IntArray]:
        """Kind of every channel of a node's and of an edge's result."""
        ...

    @property
    def kinds_of_moduli(self) -> tuple[IntArray, IntArray]:
        """Kind of every column of `moduli`."""
        ...

    def exists(self, graph: Graph) -> Deviation:
        """Return 1 where a component exists, 0 where not and on dummies, as `Deviation`."""
        ...

    def moduli(self, graph: Graph, difference: Deviation) -> Deviation:
        """Return the absolute values that errors are taken of, (n, k) and (e, k')."""
        ...

    def counts(self, graph: Graph) -> Deviation:
        """Return how many of each kind there are, (n, kinds) and (e, kinds); none on dummies."""
        ...


@dataclass(frozen=True)
class MatrixElements:
    """Errors of the elements of matrices, in the lab frame, as the paper defines them.

    Elements of a spin-orbit matrix are complex: their modulus counts. Of a collinear matrix the
    blocks up-up and down-down count.

    Attributes
    ----------
    representation : BlockRepresentation
    """

    representation: BlockRepresentation

    @cached_property
    def channels(self) -> tuple[IntArray, IntArray]:
        """Channel of every component."""
        channel = self.representation.channels.channel_of_component
        return channel, channel

    @cached_property
    def kinds(self) -> tuple[IntArray, IntArray]:
        """Pair of shells of every channel, a * shells + b."""
        table = self.representation.channels
        kind = table.a * len(self.representation.shells) + table.b
        return kind, kind

    @cached_property
    def kinds_of_moduli(self) -> tuple[IntArray, IntArray]:
        """Pair of shells of every element that `moduli` gives."""
        kind = np.concatenate(
            [np.repeat(g.kinds, g.matrix.shape[-1]) for g in _groups(self.representation)]
        )
        return kind, kind

    def exists(self, graph: Graph) -> Deviation:
        """Return which components exist: those of shells that both atoms have."""
        shells = _own_shells(self.representation).astype(graph.lengths.dtype)
        table = self.representation.channels
        first, second = (
            np.equal(np.arange(shells.shape[1])[:, None], x[table.channel_of_component]).astype(
                shells.dtype
            )
            for x in (table.a, table.b)
        )
        left, right = jnp.asarray(shells @ first), jnp.asarray(shells @ second)
        centre, neighbour = graph.species[graph.centre], graph.species[graph.neighbour]
        return Deviation(
            left[graph.species] * right[graph.species] * graph.node_mask[:, None],
            left[centre] * right[neighbour] * graph.edge_mask[:, None],
        )

    def moduli(self, graph: Graph, difference: Deviation) -> Deviation:
        """Return the absolute values of all elements, grouped by their shells' l."""
        rep = self.representation
        wigner = wigner_blocks(EdgeFrames(graph.axes, graph.turned), rep.l_max)
        return Deviation(
            _moduli(rep, difference.nodes), _moduli(rep, _to_lab(rep, difference.edges, wigner))
        )

    def counts(self, graph: Graph) -> Deviation:
        """Return how many elements every pair of shells has."""
        degrees = np.array([2 * l + 1 for l in self.representation.shells])
        factor = _FACTOR[self.representation.spin]
        sizes = jnp.asarray(
            _own_shells(self.representation) * degrees * factor**0.5, graph.lengths.dtype
        )

        def products(first: Array, second: Array, mask: Array) -> Array:
            outer = sizes[first][:, :, None] * sizes[second][:, None, :]
            return outer.reshape(len(first), -1) * mask[:, None]

        centre, neighbour = graph.species[graph.centre], graph.species[graph.neighbour]
        return Deviation(
            products(graph.species, graph.species, graph.node_mask),
            products(centre, neighbour, graph.edge_mask),
        )


@dataclass(frozen=True)
class MatrixIrreps(MatrixElements):
    """Errors of the irreps of matrices, which do not change when a structure is rotated.

    Every component counts as the root mean square of its irrep. Means are still taken per element
    of the blocks, so that mse is the same.
    """

    @cached_property
    def kinds_of_moduli(self) -> tuple[IntArray, IntArray]:
        """Pair of shells of every component."""
        kind = self.kinds[0][self.channels[0]]
        return kind, kind

    def moduli(self, graph: Graph, difference: Deviation) -> Deviation:
        """Return the sizes of all irreps, once for each of their components."""
        degrees = tuple(self.representation.channels.j.tolist())
        return Deviation(
            _irrep_sizes(degrees, difference.nodes), _irrep_sizes(degrees, difference.edges)
        )


@dataclass(frozen=True)
class TensorIrreps:
    """Errors of irreps of atoms and edges, which all elements have alike.

    Every component counts as the root mean square of its irrep; for a scalar that is its modulus.

    Attributes
    ----------
    node_degrees, edge_degrees : tuple of int
        J of every channel, in the order of the result; empty where there is no such result.
    """

    node_degrees: tuple[int, ...]
    edge_degrees: tuple[int, ...]

    @cached_property
    def channels(self) -> tuple[IntArray, IntArray]:
        """Channel of every component."""
        nodes, edges = (
            np.repeat(np.arange(len(degrees)), [2 * j + 1 for j in degrees]).astype(np.int64)
            for degrees in (self.node_degrees, self.edge_degrees)
        )
        return nodes, edges

    @property
    def kinds(self) -> tuple[IntArray, IntArray]:
        """Every channel is a kind."""
        return np.arange(len(self.node_degrees)), np.arange(len(self.edge_degrees))

    @property
    def kinds_of_moduli(self) -> tuple[IntArray, IntArray]:
        """Channel of every component."""
        return self.channels

    def exists(self, graph: Graph) -> Deviation:
        """Return 1 for all components of what is no dummy."""
        nodes, edges = self.channels
        return Deviation(
            jnp.repeat(graph.node_mask[:, None], len(nodes), axis=1),
            jnp.repeat(graph.edge_mask[:, None], len(edges), axis=1),
        )

    def moduli(self, graph: Graph, difference: Deviation) -> Deviation:
        """Return the sizes of all irreps, once for each of their components."""
        return Deviation(
            _irrep_sizes(self.node_degrees, difference.nodes),
            _irrep_sizes(self.edge_degrees, difference.edges),
        )

    def counts(self, graph: Graph) -> Deviation:
        """Return 2 J + 1 for every channel."""

        def products(mask: Array, degrees: Sequence[int]) -> Array:
            return mask[:, None] * jnp.asarray([2 * j + 1 for j in degrees], mask.dtype)

        return Deviation(
            products(graph.node_mask, self.node_degrees),
            products(graph.edge_mask, self.edge_degrees),
        )


def _irrep_sizes(degrees: tuple[int, ...], irreps: Array) -> Array:
    """Return the root mean square of every irrep (p, size), in the place of each component."""
    pieces, start = [irreps[:, :0]], 0
    for j, group in groupby(degrees):
        shape = (len(irreps), len(list(group)), 2 * j + 1)
        stop = start + shape[1] * shape[2]
        part = irreps[:, start:stop].reshape(shape)
        size = _absolute(part) if j == 0 else _root(jnp.mean(part * part, axis=2, keepdims=True))
        pieces.append(jnp.broadcast_to(size, shape).reshape(len(irreps), stop - start))
        start = stop
    return jnp.concatenate(pieces, axis=1)


# --- irreps to elements ---------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Group:
    """All pairs of shells (a, b) with l_a = l1 and l_b = l2.

    Attributes
    ----------
    kinds : (pairs,)
        Number of each pair of shells.
    columns : (pairs, K)
        Where their irreps stand in the flat vector.
    matrix : (1 or 2, K, elements)
        From irreps to the real and the imaginary part of the elements.
    """

    kinds: IntArray
    columns: IntArray
    matrix: NDArray[np.float64]


@lru_cache(maxsize=16)
def _groups(representation: BlockRepresentation) -> tuple[_Group, ...]:
    """Return the groups of shell pairs, with the small matrices that make elements of irreps."""
    shells, table = np.array(representation.shells), representation.channels
    groups = []
    for l1 in sorted(set(representation.shells)):
        for l2 in sorted(set(representation.shells)):
            pairs = [
                (int(a), int(b))
                for a in np.flatnonzero(shells == l1)
                for b in np.flatnonzero(shells == l2)
            ]
            groups.append(
                _Group(
                    np.array([a * len(shells) + b for a, b in pairs]),
                    np.stack([_columns(table, a, b) for a, b in pairs]),
                    _uncoupling(l1, l2, representation.spin, representation.time_reversal),
                )
            )
    return tuple(groups)


def _columns(table: Any, a: int, b: int) -> IntArray:
    """Return where the components of one pair of shells stand in the flat vector."""
    chosen = (table.a == a) & (table.b == b)
    return np.flatnonzero(chosen[table.channel_of_component])


@lru_cache(maxsize=256)
def _uncoupling(l1: int, l2: int, spin: str, time_reversal: bool) -> NDArray[np.float64]:
    """Return (1 or 2, K, elements) for one pair of shells; elements that are always zero left out.

    The representation of the two shells alone gives it, its irreps being in the same order.
    """
    shells = tuple(sorted({l1, l2}))
    small = BlockRepresentation((("H", shells),), spin, time_reversal)
    a, b = shells.index(l1), shells.index(l2)
    rows = _columns(small.channels, a, b)
    starts = np.cumsum([0, *(2 * l + 1 for l in shells)])
    padded = small.to_padded(np.eye(small.channels.size)[rows])
    padded = padded[:, :, starts[a] : starts[a + 1], starts[b] : starts[b + 1]]
    blocks = small.join_spin(padded).reshape(len(rows), -1)
    parts = np.stack([blocks.real, blocks.imag] if np.iscomplexobj(blocks) else [blocks])
    return parts[:, :, np.any(np.abs(parts) > 1e-12, axis=(0, 1))]


def _to_lab(representation: BlockRepresentation, irreps: Array, wigner: Sequence[Array]) -> Array:
    """Return irreps (e, size) taken to the lab frame; channels of equal J stand together."""
    pieces, start = [], 0
    for j, count in enumerate(np.bincount(representation.channels.j)):
        stop = start + int(count) * (2 * j + 1)
        part = irreps[:, start:stop].reshape(len(irreps), int(count), 2 * j + 1)
        # As a sum: many products of tiny matrices take twice as long on a CPU.
        turned = part if j == 0 else jnp.sum(part[:, :, None] * wigner[j][:, None], axis=3)
        pieces.append(turned.reshape(len(irreps), stop - start))
        start = stop
    return jnp.concatenate(pieces, axis=1)


def _moduli(representation: BlockRepresentation, irreps: Array) -> Array:
    """Return the absolute values (p, elements) of the elements of blocks, irreps in the lab."""
    groups = _groups(representation)
    order = np.concatenate([group.columns.reshape(-1) for group in groups])
    ordered = _permuted(irreps, tuple(order.tolist()))
    pieces, start = [], 0
    for group in groups:
        pairs, width = group.columns.shape
        part = ordered[:, start : start + pairs * width].reshape(-1, width)
        start += pairs * width
        parts = [part @ jnp.asarray(matrix, irreps.dtype) for matrix in group.matrix]
        size = _absolute(parts[0]) if len(parts) == 1 else _modulus(*parts)
        pieces.append(size.reshape(len(irreps), -1))
    return jnp.concatenate(pieces, axis=1)


def _absolute(array: Array) -> Array:
    """Return absolute values, with zero slope at zero: that of jax is one there."""
    return array * jnp.sign(array)


def _root(square: Array) -> Array:
    """Return the square root, with zero slope at zero."""
    present = square > 0
    return jnp.where(present, jnp.sqrt(jnp.where(present, square, 1)), 0)


def _modulus(real: Array, imaginary: Array) -> Array:
    """Return the modulus of complex numbers, with zero slope at zero."""
    return _root(real * real + imaginary * imaginary)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _permuted(array: Array, order: tuple[int, ...]) -> Array:
    """Return array[:, order]; unlike that of an index, its gradient is no scatter."""
    return array[:, np.array(order)]


def _permuted_forward(array: Array, order: tuple[int, ...]) -> tuple[Array, None]:
    return _permuted(array, order), None


def _permuted_backward(order: tuple[int, ...], _: None, gradient: Array) -> tuple[Array]:
    return (gradient[:, np.argsort(order)],)


_permuted.defvjp(_permuted_forward, _permuted_backward)


def _own_shells(representation: BlockRepresentation) -> NDArray[np.float64]:
    """Return which shells of the union every element has, (elements, shells)."""
    shells = representation.shells
    place = [shells[:index].count(l) for index, l in enumerate(shells)]
    return np.array(
        [
            [float(n < own.count(l)) for n, l in zip(place, shells, strict=True)]
            for _, own in representation.orbital_map
        ]
    )
