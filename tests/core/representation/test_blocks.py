"""Blocks and irreps: back and forth, equivariant, norm-preserving, Hermitian partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pytest
from deeph.representation import BlockRepresentation
from deeph.so3 import EdgeFrames, edge_frames, wigner_blocks
from deeph.testing import (
    assert_representation_equivariant,
    double_precision,
    random_rotations,
    rotated_matrix,
    spin_rotation,
    time_reversed,
)
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS
from deeph_spec.testing import random_structure, toy_matrices
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

KINDS = [("none", True), ("collinear", True), ("collinear", False), ("soc", True), ("soc", False)]
UNSORTED = {"H": (0,), "C": (0, 1, 0), "O": (2, 0, 1, 1)}
HEAVY = {"Fe": (0, 0, 1, 2, 3), "U": (4, 0, 3)}

SHELLS = st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple)
ORBITAL_MAPS = st.dictionaries(
    st.sampled_from(["H", "C", "O", "Fe"]), SHELLS, min_size=1, max_size=3
)

SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def all_pairs(count: int) -> np.ndarray:
    """Return pairs in two cells, closed under reversal."""
    i, j, r = (x.ravel() for x in np.meshgrid(*[np.arange(count)] * 2, [-1, 0, 1], indexing="ij"))
    return np.stack([r, 0 * r, 0 * r, i, j], axis=1)


def random_matrix(
    orbital_map: Mapping[str, Sequence[int]], spin: str, time_reversal: bool, seed: int = 0
) -> tuple[BlockMatrix, np.ndarray, BlockRepresentation]:
    """Return a Hermitian matrix between one atom of every element, filled without `deeph`."""
    rep = BlockRepresentation.of(orbital_map, spin, time_reversal)
    species = np.arange(len(rep.orbital_map))
    orbitals = np.array([sum(2 * l + 1 for l in shells) for _, shells in rep.orbital_map])
    pairs = all_pairs(len(species))
    factor = 1 if spin == "none" else 2
    matrix = BlockMatrix.zeros(
        pairs, factor * orbitals[pairs[:, 3:]], np.complex128 if spin == "soc" else np.float64
    )
    rng = np.random.default_rng(seed)
    for row in range(len(matrix)):
        block = matrix.block(row)
        n, m = (size // factor for size in block.shape)
        parts = rng.normal(size=(8, n, m))
        if spin == "none":
            block[...] = parts[0]
        elif spin == "collinear":
            block[:n, :m] = parts[0]
            block[n:, m:] = parts[0] if time_reversal else parts[1]
        else:
            scalar = parts[0] + (0 if time_reversal else 1j * parts[4])
            vector = 1j * parts[1:4] + (0 if time_reversal else parts[5:8])
            block[...] = np.kron(np.eye(2), scalar)
            for sigma, component in zip(SIGMA, vector, strict=True):
                block[...] += np.kron(sigma, component)
    return matrix.hermitian(), species, rep


def irreps_of(rep: BlockRepresentation, matrix: BlockMatrix, species: np.ndarray) -> np.ndarray:
    return np.asarray(rep.to_irreps(rep.gather(matrix, species)))


@pytest.mark.parametrize(("spin", "time_reversal"), KINDS)
@pytest.mark.parametrize("orbital_map", [UNSORTED, HEAVY], ids=["unsorted", "heavy"])
def test_blocks_come_back(orbital_map: Any, spin: str, time_reversal: bool) -> None:
    matrix, species, rep = random_matrix(orbital_map, spin, time_reversal)
    irreps = irreps_of(rep, matrix, species)
    back = rep.scatter(rep.to_padded(irreps), matrix.atom_pairs, species)
    assert back.dtype == matrix.dtype
    np.testing.assert_array_equal(back.chunk_shapes, matrix.chunk_shapes)
    np.testing.assert_allclose(back.entries, matrix.entries, rtol=0, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(orbital_map=ORBITAL_MAPS, kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_blocks_come_back_for_any_basis(
    orbital_map: dict[str, tuple[int, ...]], kind: tuple[str, bool], seed: int
) -> None:
    matrix, species, rep = random_matrix(orbital_map, *kind, seed)
    irreps = irreps_of(rep, matrix, species)
    back = rep.scatter(rep.to_padded(irreps), matrix.atom_pairs, species)
    np.testing.assert_allclose(back.entries, matrix.entries, rtol=0, atol=1e-12)
    # Norm, masks: what an element pair lacks is zero, and every irrep it has is used.
    norms = [np.sum(np.abs(matrix.block(row)) ** 2) for row in range(len(matrix))]
    np.testing.assert_allclose(np.sum(irreps**2, axis=1), norms, rtol=1e-12)
    first, second = species[matrix.atom_pairs[:, 3]], species[matrix.atom_pairs[:, 4]]
    mask = rep.mask[first, second]
    assert not irreps[~mask].any()
    assert mask.sum() > 0
    per_block = {"none": 1, "collinear": 2 - kind[1], "soc": 4 if kind[1] else 8}[kind[0]]
    factor = 1 if kind[0] == "none" else 4
    np.testing.assert_array_equal(
        mask.sum(1), per_block * matrix.chunk_shapes.prod(axis=1) // factor
    )


@pytest.mark.parametrize(("spin", "time_reversal"), KINDS)
@pytest.mark.parametrize("orbital_map", [UNSORTED, HEAVY], ids=["unsorted", "heavy"])
def test_irreps_turn_with_the_blocks(orbital_map: Any, spin: str, time_reversal: bool) -> None:
    rep = BlockRepresentation.of(orbital_map, spin, time_reversal)
    assert assert_representation_equivariant(rep, rtol=1e-9) < 1e-12


@settings(max_examples=25, deadline=None)
@given(orbital_map=ORBITAL_MAPS, kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_irreps_of_any_basis_turn_with_the_blocks(
    orbital_map: dict[str, tuple[int, ...]], kind: tuple[str, bool], seed: int
) -> None:
    rep = BlockRepresentation.of(orbital_map, *kind)
    assert assert_representation_equivariant(rep, seed=seed, count=2, rtol=1e-9) < 1e-12


@settings(max_examples=25, deadline=None)
@given(orbital_map=ORBITAL_MAPS, kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
def test_masks_are_of_whole_pairs_of_shells(
    orbital_map: dict[str, tuple[int, ...]], kind: tuple[str, bool], seed: int
) -> None:
    matrix, species, rep = random_matrix(orbital_map, *kind, seed)
    table, pairs = rep.channels, matrix.atom_pairs
    first, second = species[pairs[:, 3]], species[pairs[:, 4]]
    # A channel exists where both its shells do, with all its components and in all its couplings.
    shells = np.array(rep.shells)
    rank = np.array([np.sum(shells[:k] == shells[k]) for k in range(len(shells))])
    own = [
        [rank[k] < listed.count(shells[k]) for k in range(len(shells))]
        for _, listed in rep.orbital_map
    ]
    has = np.array(own)
    expected = has[:, None, table.a] & has[None, :, table.b]
    np.testing.assert_array_equal(rep.mask, expected[..., table.channel_of_component])
    irreps = irreps_of(rep, matrix, species)
    exists = rep.mask[first, second]
    channels = np.add.reduceat(np.abs(irreps), table.offsets[:-1], axis=1)
    present = np.add.reduceat(exists, table.offsets[:-1], axis=1)
    assert not channels[present == 0].any()
    np.testing.assert_array_equal(present[present > 0], np.broadcast_to(
        2 * table.j + 1, present.shape)[present > 0])  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    orbital_map=ORBITAL_MAPS,
    kind=st.sampled_from(KINDS),
    further=st.lists(st.integers(0, 4), max_size=3).map(tuple),
    seed=st.integers(0, 99),
)
def test_a_larger_union_changes_no_block(
    orbital_map: dict[str, tuple[int, ...]],
    kind: tuple[str, bool],
    further: tuple[int, ...],
    seed: int,
) -> None:
    matrix, species, rep = random_matrix(orbital_map, *kind, seed)
    wider = BlockRepresentation.of(orbital_map, *kind, further_shells=further)
    irreps = irreps_of(wider, matrix, species)
    back = wider.scatter(wider.to_padded(irreps), matrix.atom_pairs, species)
    np.testing.assert_allclose(back.entries, matrix.entries, rtol=0, atol=1e-12)
    first, second = species[matrix.atom_pairs[:, 3]], species[matrix.atom_pairs[:, 4]]
    assert not irreps[~wider.mask[first, second]].any()
    # What exists is the same numbers in the same order.
    narrow = irreps_of(rep, matrix, species)
    for row in range(len(matrix)):
        np.testing.assert_allclose(
            irreps[row][wider.mask[first[row], second[row]]],
            narrow[row][rep.mask[first[row], second[row]]],
            rtol=0,
            atol=1e-13,
        )


def test_up_and_down_exchanged_change_the_sign_of_the_difference() -> None:
    matrix, species, rep = random_matrix(UNSORTED, "collinear", False)
    exchanged = matrix.with_entries(matrix.entries.copy())
    for row in range(len(matrix)):
        block, (n, m) = matrix.block(row), matrix.chunk_shapes[row] // 2
        exchanged.block(row)[:n, :m] = block[n:, m:]
        exchanged.block(row)[n:, m:] = block[:n, :m]
    before, after = irreps_of(rep, matrix, species), irreps_of(rep, exchanged, species)
    sign = np.where(rep.channels.component == 0, 1.0, -1.0)[rep.channels.channel_of_component]
    np.testing.assert_allclose(after, sign * before, atol=1e-12)
    assert np.abs(before[:, sign < 0]).max() > 0.1


@pytest.mark.parametrize(("spin", "time_reversal"), KINDS[1:])
def test_a_matrix_that_spin_does_not_see_is_a_scalar(spin: str, time_reversal: bool) -> None:
    plain, species, single = random_matrix(UNSORTED, "none", True)
    rep = BlockRepresentation.of(UNSORTED, spin, time_reversal)
    kind = np.complex128 if spin == "soc" else np.float64
    doubled = BlockMatrix.zeros(plain.atom_pairs, 2 * plain.chunk_shapes, kind)
    for row in range(len(plain)):
        doubled.block(row)[...] = np.kron(np.eye(2), plain.block(row))
    irreps = irreps_of(rep, doubled, species)
    scalar = (rep.channels.component == 0)[rep.channels.channel_of_component]
    assert np.abs(irreps[:, ~scalar]).max(initial=0.0) < 1e-12
    expected = np.sqrt(2) * irreps_of(single, plain, species)
    np.testing.assert_allclose(irreps[:, scalar], expected, atol=1e-12)


def test_blocks_in_another_order_are_not_equivariant() -> None:
    class Scrambled(BlockRepresentation):
        def to_irreps(self, padded: Any) -> Any:
            return super().to_irreps(np.roll(padded, 1, axis=-1))

    rep = Scrambled.of({"C": (0, 1)}, "none")
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_representation_equivariant(rep)


def test_spin_turns_by_half_the_angle() -> None:
    rng = np.random.default_rng(5)
    for q in random_rotations(6, seed=2):
        u = spin_rotation(q)
        np.testing.assert_allclose(u @ u.conj().T, np.eye(2), atol=1e-14)
        v = rng.normal(size=3)
        proper = q * np.sign(np.linalg.det(q))
        turned = u @ np.einsum("a,aij->ij", v, SIGMA) @ u.conj().T
        np.testing.assert_allclose(turned, np.einsum("a,aij->ij", proper @ v, SIGMA), atol=1e-13)
    axis, angle = np.array([2.0, -1.0, 2.0]) / 3, 1.1
    cross = np.cross(np.eye(3), axis)
    u = expm(-0.5j * angle * np.einsum("a,aij->ij", axis, SIGMA))
    found = spin_rotation(expm(angle * cross))
    np.testing.assert_allclose(found * np.sign((found[0, 0] / u[0, 0]).real), u, atol=1e-13)


def test_toy_hamiltonian_turns_with_its_structure() -> None:
    # Ties the rotation of matrices to an independent model of a Hamiltonian.
    structure = random_structure(("H", "C", "O"), 3, seed=4)
    orbital_map = {"H": (0,), "C": (0, 1, 0), "O": (0, 1, 2)}
    for q in random_rotations(3, seed=7):
        _, before = toy_matrices(structure, orbital_map, cutoff=3.5)
        _, after = toy_matrices(structure.rotated(q), orbital_map, cutoff=3.5)
        expected = rotated_matrix(before, structure, orbital_map, q)
        np.testing.assert_allclose(after.entries, expected.entries, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(orbital_map=ORBITAL_MAPS, kind=st.sampled_from(KINDS), seed=st.integers(0, 99))
@example(orbital_map=UNSORTED, kind=("none", True), seed=0)
@example(orbital_map=UNSORTED, kind=("collinear", False), seed=0)
@example(orbital_map=UNSORTED, kind=("soc", True), seed=0)
@example(orbital_map=UNSORTED, kind=("soc", False), seed=0)
def test_the_partner_of_a_block_follows_by_permutation_and_signs(
    orbital_map: dict[str, tuple[int, ...]], kind: tuple[str, bool], seed: int
) -> None:
    matrix, species, rep = random_matrix(orbital_map, *kind, seed)
    permutation, on_site, off_site = rep.mirror
    irreps, partner = irreps_of(rep, matrix, species), matrix.partner_rows()
    # In the lab frame of both.
    expected = on_site * irreps[:, permutation]
    np.testing.assert_allclose(irreps[partner], expected, atol=1e-12)
    # Each in the frame of its own edge: the half turn comes in.
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(matrix), 3))
    vectors = vectors - vectors[partner]
    edges = partner != np.arange(len(matrix))
    vectors[~edges] = [0, 0, 1]
    wigner = wigner_blocks(edge_frames(vectors, partner), rep.l_max)
    local = rep.rotate(irreps, wigner, to="edge")
    expected = off_site * local[:, permutation]
    np.testing.assert_allclose(local[partner][edges], expected[edges], atol=1e-12)
    if rep.l_max > 0:  # without the half turn it is wrong
        assert np.abs(local[partner] - on_site * local[:, permutation])[edges].max() > 1e-3
    np.testing.assert_allclose(rep.rotate(local, wigner, to="lab"), irreps, atol=1e-12)


def test_without_spin_equal_shells_on_site_have_even_l_only() -> None:
    matrix, species, rep = random_matrix({"C": (0, 1, 1, 2)}, "none", True)
    irreps = irreps_of(rep, matrix, species)[matrix.on_site()]
    table = rep.channels
    odd = ((table.a == table.b) & (table.l % 2 == 1))[table.channel_of_component]
    assert np.abs(irreps[:, odd]).max() < 1e-13
    assert np.abs(irreps[:, ~odd]).max(axis=0).min() > 1e-3


def test_two_centre_blocks_are_m_zero_and_natural_in_edge_frames() -> None:
    structure = random_structure(("C", "O"), 4, seed=1)
    orbital_map = {"C": (0, 0, 1), "O": (0, 1, 2)}
    overlap, _ = toy_matrices(structure, orbital_map, cutoff=4.0)
    rep = BlockRepresentation.of(orbital_map, "none")
    species = rep.species(structure.numbers)
    vectors = structure.pair_vectors(overlap.atom_pairs)
    off = np.linalg.norm(vectors, axis=1) > 1e-9
    vectors[~off] = [0.0, 0.0, 1.0]
    wigner = wigner_blocks(edge_frames(vectors, overlap.partner_rows()), rep.l_max)
    local = rep.rotate(irreps_of(rep, overlap, species), wigner, to="edge")[off]
    table = rep.channels
    straight = (table.m_of_component == 0) & table.natural[table.channel_of_component]
    assert np.abs(local[:, ~straight]).max() < 1e-12
    assert np.abs(local[:, straight]).max() > 0.01


def test_what_time_reversal_leaves_out_is_not_there() -> None:
    structure = random_structure(("H", "C"), 2, seed=0)
    _, magnetic = toy_matrices(structure, spin="soc", cutoff=3.0)
    flipped = magnetic.with_entries(time_reversed(magnetic).entries)
    even = magnetic.with_entries((magnetic.entries + flipped.entries) / 2)
    rep = BlockRepresentation.of({"H": (0,), "C": (0, 0, 1)}, "soc", True)
    species = rep.species(structure.numbers)

    def kept(matrix: BlockMatrix) -> BlockMatrix:
        irreps = irreps_of(rep, matrix, species)
        return rep.scatter(rep.to_padded(irreps), matrix.atom_pairs, species)

    np.testing.assert_allclose(kept(even).entries, even.entries, atol=1e-12)
    np.testing.assert_allclose(kept(magnetic).entries, even.entries, atol=1e-12)
    assert np.abs(magnetic.entries - even.entries).max() > 0.1


def test_numbers_on_the_device_are_those_of_numpy() -> None:
    matrix, species, rep = random_matrix(UNSORTED, "soc", True)
    irreps = irreps_of(rep, matrix, species)
    axes = np.random.default_rng(1).normal(size=(len(irreps), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    frames = EdgeFrames(axes, np.zeros(len(axes)))

    def blocks(x: Any, frames: EdgeFrames) -> Any:
        lab = rep.rotate(x, wigner_blocks(frames, rep.l_max), to="lab")
        return rep.join_spin(rep.to_padded(lab))

    expected = blocks(irreps, frames)
    with double_precision():
        quick = {"xla_backend_optimization_level": 0}
        found = jax.jit(blocks, compiler_options=quick)(irreps, frames)
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-12)


def test_shells_are_the_union_and_elements_keep_a_prefix() -> None:
    rep = BlockRepresentation.of({"O": (2, 0, 1, 1), "C": (0, 1, 0)}, "none")
    assert [symbol for symbol, _ in rep.orbital_map] == ["C", "O"]  # by atomic number
    assert rep.shells == (0, 0, 1, 1, 2)
    assert rep.orbital_index[0].tolist() == [0, 2, 3, 4, 1]
    assert rep.orbital_index[1].tolist() == [8, 9, 10, 11, 12, 0, 2, 3, 4, 5, 6, 7]
    assert rep.orbital_mask.sum(1).tolist() == [5, 12]
    wider = BlockRepresentation.of({"C": (0, 1, 0)}, "none", further_shells=(0, 0, 0, 2))
    assert wider.shells == (0, 0, 0, 1, 2)


def test_species_are_found_by_atomic_number() -> None:
    rep = BlockRepresentation.of({"O": (0,), "C": (0,)}, "none")
    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol in ("O", "C", "O")])
    assert rep.species(numbers).tolist() == [1, 0, 1]
    with pytest.raises(InputError, match=r"element Fe is unknown here \(C, O\)"):
        rep.species(np.array([6, 26]))
