"""Proofs as assertions: equivariance of predictions and of the representation, programs compiled.

Rotating a structure by Q rotates its Hamiltonian: with Y_l(Q r) = D^l(Q) Y_l(r) for every shell,
H'_ij = D_i H_ij D_j^T, and with spin H'_ij = (U x D_i) H_ij (U x D_j)^dagger, U in SU(2). The D
come from `deeph_spec.orbitals.wigner_matrices`, which shares nothing with the networks' rotations.

>>> assert_equivariant(lambda s: predictor(s, pairs), structure, predictor.orbital_map)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.orbitals import orbital_count, wigner_matrices
from deeph_spec.structure import Structure
from deeph_spec.testing import assert_hermitian
from numpy.typing import NDArray

from deeph.graphs.graph import Graph
from deeph.networks.specification import Drop, NetworkSpecification
from deeph.representation import BlockRepresentation
from deeph.so3 import EdgeFrames, wigner_blocks

Array = Any

__all__ = [
    "BondNetwork",
    "assert_close_matrices",
    "assert_compiles_at_most",
    "assert_equivariant",
    "assert_hermitian",
    "assert_representation_equivariant",
    "double_precision",
    "random_rotations",
    "relative_difference",
    "rotated_matrix",
    "spin_rotation",
    "time_reversed",
]


@contextmanager
def double_precision(enabled: bool = True) -> Iterator[None]:
    """Let JAX compute in float64 inside the context, whatever was set before.

    Products of matrices are taken in full precision; accelerators round them otherwise.

    Parameters
    ----------
    enabled : bool
        False: in float32.
    """
    import jax

    settings: Any = jax.config
    before = bool(settings.jax_enable_x64)
    settings.update("jax_enable_x64", enabled)
    try:
        with jax.default_matmul_precision("highest"):
            yield
    finally:
        settings.update("jax_enable_x64", before)


def random_rotations(count: int, seed: int = 0, *, inversion: bool = True) -> NDArray[np.float64]:
    """Return random rotations, uniformly distributed.

    Parameters
    ----------
    count : int
    seed : int
        Equal seeds give equal rotations.
    inversion : bool
        Whether every second one is multiplied by the inversion.

    Returns
    -------
    ndarray (count, 3, 3)
        Orthogonal matrices; the first is proper.
    """
    rng = np.random.default_rng(seed)
    rotations, upper = np.linalg.qr(rng.normal(size=(count, 3, 3)))
    rotations = rotations * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None, :]
    rotations = rotations * np.sign(np.linalg.det(rotations))[:, None, None]
    if inversion:
        rotations[1::2] *= -1
    return np.asarray(rotations, dtype=np.float64)


def spin_rotation(rotation: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return how spin turns: U with U (v . sigma) U^dagger = (Q v) . sigma.

    Parameters
    ----------
    rotation : ndarray (3, 3)
        Orthogonal; spin does not see the inversion.

    Returns
    -------
    ndarray (2, 2)
        cos(theta / 2) - i sin(theta / 2) n . sigma; of the two signs, either.
    """
    from scipy.spatial.transform import Rotation

    proper = rotation * np.sign(np.linalg.det(rotation))
    x, y, z, w = Rotation.from_matrix(proper).as_quat()
    return np.array([[w - 1j * z, -1j * x - y], [-1j * x + y, w + 1j * z]])


def rotated_matrix(
    matrix: BlockMatrix,
    structure: Structure,
    orbital_map: Mapping[str, Sequence[int]],
    rotation: NDArray[np.float64],
) -> BlockMatrix:
    """Return the matrix of the structure after the rotation r -> Q r, on the same pairs.

    Parameters
    ----------
    matrix : BlockMatrix
        Blocks of `structure`. Complex ones carry spin-orbit coupling, and spin turns with the
        orbitals; real ones of twice the orbitals are collinear, and spin stays as it is.
    structure : Structure
    orbital_map : mapping
        Shells of each element, in storage order.
    rotation : ndarray (3, 3)
        Q, proper or improper.

    Returns
    -------
    BlockMatrix
        Of at least double precision.
    """
    turns = {}
    for symbol, shells in orbital_map.items():
        turns[symbol] = np.zeros((orbital_count(shells),) * 2)
        start = 0
        for l in shells:
            stop = start + 2 * l + 1
            turns[symbol][start:stop, start:stop] = wigner_matrices(l, rotation)
            start = stop
    complex_spin = np.iscomplexobj(matrix.entries)
    spin = spin_rotation(rotation) if complex_spin else np.eye(2)
    symbols = np.array(structure.symbols)
    first, second = symbols[matrix.atom_pairs[:, 3]], symbols[matrix.atom_pairs[:, 4]]
    entries = np.empty(len(matrix.entries), np.complex128 if complex_spin else np.float64)
    result = matrix.with_entries(entries)
    for row in range(len(matrix)):
        left: NDArray[Any] = turns[first[row]]
        right: NDArray[Any] = turns[second[row]]
        if len(left) < matrix.chunk_shapes[row, 0]:
            left, right = np.kron(spin, left), np.kron(spin, right)
        result.block(row)[...] = left @ matrix.block(row) @ right.conj().T
    return result


def time_reversed(matrix: BlockMatrix) -> BlockMatrix:
    """Return sigma_y H* sigma_y, which is H where there are no moments.

    Parameters
    ----------
    matrix : BlockMatrix
        With spin-orbit coupling.
    """
    result = matrix.with_entries(np.empty_like(matrix.entries))
    flip = np.array([[0, -1j], [1j, 0]])
    for row in range(len(matrix)):
        block = matrix.block(row).conj()
        left, right = (np.kron(flip, np.eye(size // 2)) for size in block.shape)
        result.block(row)[...] = left @ block @ right
    return result


def relative_difference(found: BlockMatrix, expected: BlockMatrix) -> float:
    """Return max |found - expected| over max |expected|, pairs matched.

    Parameters
    ----------
    found, expected : BlockMatrix
        On equal sets of pairs.

    Raises
    ------
    AssertionError
        If the pairs differ, or `expected` is zero, which would prove nothing.
    """
    assert len(found) == len(expected), f"{len(found)} pairs found, {len(expected)} expected"
    missing = np.flatnonzero(found.rows_of(expected.atom_pairs) < 0)
    assert not len(missing), f"pair {expected.atom_pairs[missing[0]].tolist()} is missing"
    same = found.on_pairs(expected.atom_pairs, expected.chunk_shapes)
    size = float(np.abs(expected.entries).max(initial=0.0))
    assert size > 0, "the matrix is zero: nothing can be proven with it"
    return float(np.abs(same.entries - expected.entries).max()) / size


def assert_close_matrices(found: BlockMatrix, expected: BlockMatrix, rtol: float) -> float:
    """Assert that two matrices agree, relative to the largest entry, and return the difference."""
    error = relative_difference(found, expected)
    assert error <= rtol, f"the matrices differ by {error:.3g} > {rtol:.3g} of the largest entry"
    return error


def assert_equivariant(
    predict: Callable[[Structure], BlockMatrix],
    structure: Structure,
    orbital_map: Mapping[str, Sequence[int]],
    *,
    rotations: NDArray[np.float64] | None = None,
    rtol: float = 2e-5,
) -> float:
    """Assert that rotating a structure rotates what is predicted for it.

    Parameters
    ----------
    predict : function
        From a structure to a matrix; R, i, j of its pairs must not depend on the rotation. With an
        untrained network, whose result is zero, it proves nothing: randomise the parameters.
    structure : Structure
    orbital_map : mapping
        Shells of each element, in storage order.
    rotations : ndarray (k, 3, 3), optional
        Orthogonal matrices; without it four random ones, every second one with inversion.
    rtol : float
        Largest difference allowed, over the largest entry: 2e-5 suits float32, 1e-12 float64.

    Returns
    -------
    float
        The largest relative difference found.

    Raises
    ------
    AssertionError
        Naming the rotation.
    """
    worst = 0.0
    reference = predict(structure)
    for rotation in random_rotations(4) if rotations is None else rotations:
        expected = rotated_matrix(reference, structure, orbital_map, rotation)
        error = relative_difference(predict(structure.rotated(rotation)), expected)
        kind = "rotation" if np.linalg.det(rotation) > 0 else "improper rotation"
        assert error <= rtol, (
            f"not equivariant: off by {error:.3g} > {rtol:.3g} of the largest entry after the "
            f"{kind} {np.round(rotation, 4).tolist()}"
        )
        worst = max(worst, error)
    return worst


def assert_representation_equivariant(
    representation: BlockRepresentation, *, seed: int = 0, count: int = 4, rtol: float = 1e-9
) -> float:
    """Assert that irreps of rotated random blocks are the rotated irreps, shell by shell.

    Parameters
    ----------
    representation : BlockRepresentation
    seed : int
        Of blocks and rotations.
    count : int
        Number of rotations; every second one with inversion, which multiplies a channel between
        shells a and b by (-1)^(l_a + l_b).
    rtol : float
        Largest difference allowed, over the largest irrep.

    Returns
    -------
    float
        The largest relative difference found.
    """
    rng = np.random.default_rng(seed)
    species = np.arange(len(representation.orbital_map))
    first, second = (x.ravel() for x in np.meshgrid(species, species, indexing="ij"))
    pairs = np.stack([0 * first, 0 * first, 0 * first, first, second], axis=1)
    table = representation.channels
    mask = representation.mask[first, second]
    irreps = rng.normal(size=mask.shape) * mask
    matrix = representation.scatter(representation.to_padded(irreps), pairs, species)
    orbital_map = dict(representation.orbital_map)
    structure = _one_atom_each(representation)
    shell_l = np.array(representation.shells)
    parity = (-1.0) ** (shell_l[table.a] + shell_l[table.b])
    worst = 0.0
    for rotation in random_rotations(count, seed):
        turned = rotated_matrix(matrix, structure, orbital_map, rotation)
        found = representation.to_irreps(representation.gather(turned, species))
        sign = np.sign(np.linalg.det(rotation))
        proper = [wigner_matrices(j, sign * rotation) for j in range(representation.l_max + 1)]
        expected = np.empty_like(irreps)
        for channel, (start, stop) in enumerate(
            zip(table.offsets[:-1], table.offsets[1:], strict=True)
        ):
            factor = 1.0 if sign > 0 else parity[channel]
            wigner = proper[int(table.j[channel])]
            expected[:, start:stop] = factor * irreps[:, start:stop] @ wigner.T
        error = float(np.abs(found - expected).max() / np.abs(expected).max())
        assert error <= rtol, f"the representation is not equivariant: off by {error:.3g}"
        worst = max(worst, error)
    return worst


def assert_compiles_at_most(compiled: Sequence[str], count: int) -> None:
    """Assert that no more programs than expected were compiled.

    Parameters
    ----------
    compiled : sequence of str
        One line for each program, as `deeph.training.steps.Steps.compiled` and
        `deeph.inference.predictor.Predictor.compiled` keep them.
    count : int
        Largest number allowed.

    Raises
    ------
    AssertionError
        Listing all that was compiled.
    """
    listed = "".join(f"\n  {line}" for line in compiled)
    assert len(compiled) <= count, f"{len(compiled)} programs compiled, not {count}:{listed}"


@dataclass(frozen=True)
class BondNetwork:
    """The smallest equivariant network: sums over single bonds, linear in its parameters.

    It is compiled in a second, for tests of everything around networks. Irreps that need more than
    one neighbour stay zero, so that it cannot learn much.

    Attributes
    ----------
    specification : NetworkSpecification
    drop : Drop
        Of its features, channels of the result, it leaves some out in training.
    remat : bool
        Without effect.
    """

    specification: NetworkSpecification
    drop: Drop = field(default_factory=Drop)
    remat: bool = False

    def init(self, rng: Array, graph: Graph) -> dict[str, Array]:
        """Return fresh parameters; untrained, the result is zero."""
        import jax.numpy as jnp

        nodes, edges = len(self._node_channels()[0]), len(self._edge_channels()[0])
        elements = self.specification.elements
        return {
            "bond": jnp.zeros((elements**2, _BOND_FUNCTIONS, edges)),
            "field": jnp.zeros((elements**2, _BOND_FUNCTIONS, nodes)),
            "atom": jnp.zeros((elements, nodes)),
        }

    def apply(
        self, parameters: Mapping[str, Array], graph: Graph, rng: Array | None = None
    ) -> tuple[Array, Array]:
        """Return irreps of nodes (n, size) in the lab and of edges (e, size) in edge frames."""
        nodes, edges = self._fields(parameters, graph), self._bonds(parameters, graph)
        if rng is None or not self.drop.features:
            return nodes, edges
        return (
            self._kept(nodes, _channel_of(self._node_channels()[0]), rng, 0),
            self._kept(edges, _channel_of(self._edge_channels()[0]), rng, 1),
        )

    def _fields(self, parameters: Mapping[str, Array], graph: Graph) -> Array:
        """Return what atoms are by themselves, and harmonics of the directions of neighbours."""
        import jax
        import jax.numpy as jnp

        (j, natural), spec = self._node_channels(), self.specification
        if not len(j):
            return jnp.zeros((graph.nodes, 0), graph.lengths.dtype)
        wigner = wigner_blocks(EdgeFrames(graph.axes, graph.turned), int(j.max()))
        direction = jnp.concatenate([d[:, :, l] for l, d in enumerate(wigner)], axis=1)
        channel = _channel_of(j)
        harmonics = direction[:, j[channel] ** 2 + j[channel] + _m_of(j)]
        strength = self._strength(parameters["field"] * natural, graph)
        around = strength[:, channel] * harmonics
        nodes = jax.ops.segment_sum(around, graph.centre, graph.nodes) / spec.neighbours**0.5
        scalar = (j == 0) & natural
        return nodes + (parameters["atom"][graph.species] * scalar)[:, channel]

    def _bonds(self, parameters: Mapping[str, Array], graph: Graph) -> Array:
        """Return a function of distance for M = 0 of natural channels."""
        import jax.numpy as jnp

        j, natural = self._edge_channels()
        if not len(j):
            return jnp.zeros((graph.edges, 0), graph.lengths.dtype)
        channel = _channel_of(j)
        straight = (_m_of(j) == 0) & natural[channel]
        return self._strength(parameters["bond"] * natural, graph)[:, channel] * straight

    def _strength(self, weights: Array, graph: Graph) -> Array:
        """Return functions of the distance (e, channels), by the elements of both atoms."""
        import jax.numpy as jnp

        from deeph.layers.radial import gaussians

        first, second = graph.species[graph.centre], graph.species[graph.neighbour]
        functions = gaussians(graph.lengths, self.specification.r_max, _BOND_FUNCTIONS)
        chosen = weights[first * self.specification.elements + second]
        return jnp.einsum("ek,ekc->ec", functions, chosen)

    def _kept(self, values: Array, channel: NDArray[np.int64], rng: Array, part: int) -> Array:
        """Return values of which whole channels are left out, the others the larger for it."""
        import jax

        keep, channels = 1 - self.drop.features, int(channel.max(initial=-1)) + 1
        mask = jax.random.bernoulli(
            jax.random.fold_in(rng, part), keep, (values.shape[0], channels)
        )
        return values * mask[:, channel] / keep

    def _node_channels(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return _channels(self.specification.node_natural, self.specification.node_unnatural)

    def _edge_channels(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return _channels(self.specification.edge_natural, self.specification.edge_unnatural)


_BOND_FUNCTIONS = 8


def _channels(
    natural: Sequence[int], unnatural: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return J of every channel of a target, and whether it is natural."""
    counts = zip(natural, unnatural, strict=True)
    rows = [(j, k < n) for j, (n, u) in enumerate(counts) for k in range(n + u)]
    return np.array([j for j, _ in rows], int), np.array([known for _, known in rows], bool)


def _channel_of(j: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the channel of every component."""
    return np.repeat(np.arange(len(j)), 2 * j + 1)


def _m_of(j: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return M of every component."""
    return np.concatenate([np.arange(-l, l + 1) for l in j])


def _one_atom_each(representation: BlockRepresentation) -> Structure:
    """Return a structure with one atom of every element; its geometry has no meaning."""
    from deeph_spec.structure import ATOMIC_NUMBERS

    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol, _ in representation.orbital_map])
    return Structure(np.eye(3), np.zeros((len(numbers), 3)), numbers)
