"""BlockMatrix: every vectorised operation against the plain loop over blocks."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_spec.blocks import BlockMatrix, merge_pairs
from deeph_spec.errors import InputError
from deeph_spec.testing import assert_hermitian
from hypothesis import given
from hypothesis import strategies as st

DTYPES = [np.float32, np.float64, np.complex64, np.complex128]
SIZES = np.array([1, 3, 4, 3])


def closed_pairs(rng, count):
    """Random pairs closed under (R, i, j) -> (-R, j, i), on-site ones included, in random order."""
    half = np.column_stack([rng.integers(-2, 3, (count, 3)), rng.integers(0, 4, (count, 2))])
    other = np.concatenate([-half[:, :3], half[:, 4:], half[:, 3:4]], axis=1)
    own = np.zeros((4, 5), np.int64)
    own[:, 3] = own[:, 4] = np.arange(4)
    return rng.permutation(np.unique(np.concatenate([half, other, own]), axis=0))


def random_values(rng, size, dtype):
    values = rng.normal(size=size).astype(dtype)
    if np.issubdtype(dtype, np.complexfloating):
        values = values + 1j * rng.normal(size=size).astype(dtype)
    return values.astype(dtype)


def random_matrix(seed=0, count=20, dtype=np.float64, leading=()):
    rng = np.random.default_rng(seed)
    pairs = closed_pairs(rng, count)
    matrix = BlockMatrix.zeros(pairs, SIZES[pairs[:, 3:]], dtype)
    return matrix.with_entries(random_values(rng, (*leading, matrix.entries.size), dtype))


def as_dictionary(matrix):
    return {tuple(pair): matrix.block(row) for row, pair in enumerate(matrix.atom_pairs.tolist())}


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[pair], second[pair]) for pair in first
    )


seeds = st.integers(0, 10**6)
counts = st.integers(0, 30)


@given(seeds, counts, st.sampled_from(DTYPES), st.sampled_from([(), (3,)]))
def test_groups_hold_every_block_once(seed, count, dtype, leading):
    matrix = random_matrix(seed, count, dtype, leading)
    seen = []
    for rows, stack in matrix.by_shape():
        assert np.all(np.diff(rows) > 0)
        assert stack.shape[:-3] == leading
        for place, row in enumerate(rows):
            assert np.array_equal(stack[..., place, :, :], matrix.block(row))
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(matrix)))
    again = BlockMatrix.from_stacks(matrix.atom_pairs, matrix.chunk_shapes, matrix.by_shape())
    assert np.array_equal(again.entries, matrix.entries)
    assert again.dtype == matrix.dtype


def test_a_contiguous_group_is_a_view_and_others_are_copies():
    pairs = np.zeros((4, 5), np.int64)
    pairs[:, 3] = np.arange(4)
    shapes = np.array([[2, 2], [2, 2], [2, 3], [2, 2]])
    matrix = BlockMatrix.zeros(pairs, shapes)
    for _, stack in matrix.by_shape():
        stack[...] = 1.0
    assert not matrix.entries[:8].any()  # the group of rows 0, 1, 3 is a copy
    assert matrix.block(2).all()
    only = BlockMatrix.zeros(pairs[:2], shapes[:2])
    ((rows, stack),) = only.by_shape()
    assert np.shares_memory(stack, only.entries)
    assert rows.tolist() == [0, 1]


@given(seeds, counts)
def test_sorting_and_choosing_pairs(seed, count):
    matrix = random_matrix(seed, count)
    ordered = matrix.sorted()
    rows = ordered.atom_pairs.tolist()
    assert rows == sorted(rows)
    assert same(as_dictionary(ordered), as_dictionary(matrix))
    assert ordered.sorted() is ordered
    other = random_matrix(seed + 1, count)
    chosen = matrix.on_pairs(other.atom_pairs, other.chunk_shapes)
    assert np.array_equal(chosen.atom_pairs, other.atom_pairs)
    stored = as_dictionary(matrix)
    for row, pair in enumerate(map(tuple, other.atom_pairs.tolist())):
        expected = stored.get(pair, np.zeros(other.chunk_shapes[row]))
        assert np.array_equal(chosen.block(row), expected)
    assert np.array_equal(matrix.on_pairs(other.atom_pairs).entries, chosen.entries)


def test_merged_pairs_are_the_sorted_union_with_the_shapes_of_the_first():
    first, second = random_matrix(0, 10), random_matrix(1, 10)
    doubled = BlockMatrix.zeros(second.atom_pairs, 2 * second.chunk_shapes)
    pairs, shapes = merge_pairs(first, doubled)
    union = {*map(tuple, first.atom_pairs.tolist()), *map(tuple, second.atom_pairs.tolist())}
    assert [tuple(pair) for pair in pairs.tolist()] == sorted(union)
    assert np.array_equal(shapes, SIZES[pairs[:, 3:]])
    assert np.array_equal(doubled.on_pairs(pairs).chunk_shapes, 2 * shapes)


def test_pairs_of_another_structure_are_refused():
    matrix = random_matrix()
    with pytest.raises(InputError, match="one structure"):
        matrix.on_pairs(matrix.atom_pairs, matrix.chunk_shapes + 1)
    with pytest.raises(InputError, match="atom 9"):
        matrix.on_pairs([[0, 0, 0, 9, 9]])


@given(seeds, counts, st.sampled_from(DTYPES))
def test_hermitian_error_is_that_of_the_plain_loop(seed, count, dtype):
    matrix = random_matrix(seed, count, dtype)
    blocks = as_dictionary(matrix)
    expected = max(
        np.abs(block - blocks[-r1, -r2, -r3, j, i].conj().T).max()
        for (r1, r2, r3, i, j), block in blocks.items()
    )
    error, row = matrix.hermitian_error()
    assert error == pytest.approx(expected, rel=1e-6)
    r1, r2, r3, i, j = matrix.atom_pairs[row].tolist()
    partner = blocks[-r1, -r2, -r3, j, i]
    assert np.abs(matrix.block(row) - partner.conj().T).max() == pytest.approx(error, rel=1e-6)
    mean = matrix.hermitian()
    at_once, *measured = matrix.averaged()
    assert np.array_equal(at_once.entries, mean.entries)
    assert measured == [error, row]
    assert mean.hermitian_error()[0] == 0
    assert mean.dtype == matrix.dtype
    assert_hermitian(mean, 0.0)
    for pair, block in as_dictionary(mean).items():
        r1, r2, r3, i, j = pair
        half = (blocks[pair] + blocks[-r1, -r2, -r3, j, i].conj().T) / 2
        assert np.allclose(block, half, atol=1e-6)


def test_a_missing_partner_counts_as_zero_and_cannot_be_averaged():
    matrix = BlockMatrix.zeros([[0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], [[2, 2], [2, 2]])
    matrix.block(1)[0, 1] = 3.0
    assert matrix.hermitian_error() == (3.0, 1)
    with pytest.raises(InputError, match="no partner"):
        matrix.hermitian()
    with pytest.raises(InputError, match="no partner"):
        matrix.averaged()
    with pytest.raises(AssertionError, match="no partner"):
        assert_hermitian(matrix)


def test_hermitian_error_of_the_transposed_convention_is_seen():
    """Storing B instead of its transpose for the partner is an antisymmetric difference."""
    matrix = random_matrix(3).hermitian()
    partner = matrix.partner_rows()
    row = next(
        row
        for row, (height, width) in enumerate(matrix.chunk_shapes.tolist())
        if height == width == 3 and partner[row] > row
    )
    matrix.block(row)[...] = matrix.block(row).T.copy()
    assert matrix.hermitian_error()[0] > 0.1
    with pytest.raises(AssertionError, match="Hermitian error"):
        assert_hermitian(matrix)


def test_nan_is_not_hermitian():
    matrix = random_matrix(1).hermitian()
    matrix.block(3)[0, 0] = np.nan
    error, row = matrix.hermitian_error()
    assert np.isnan(error)
    assert row in (3, matrix.partner_rows()[3])
    _, error, row = matrix.averaged()
    assert np.isnan(error)
    assert row in (3, matrix.partner_rows()[3])


def test_partners_of_other_shape_are_refused():
    matrix = BlockMatrix.zeros([[1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]], [[2, 2], [3, 3]])
    with pytest.raises(InputError, match="transposed"):
        matrix.hermitian_error()


def test_looking():
    matrix = random_matrix()
    rows = matrix.rows_of(matrix.atom_pairs[::-1])
    assert rows.tolist() == list(range(len(matrix)))[::-1]
    assert matrix.rows_of([9, 9, 9, 0, 0]).tolist() == [-1]
    assert sorted(matrix.atom_pairs[matrix.on_site(), 3].tolist()) == [0, 1, 2, 3]
    assert matrix.nbytes == matrix.entries.nbytes + (8 * len(matrix) + 1) * 8
    assert np.shares_memory(matrix.block(0), matrix.entries)
    empty = BlockMatrix.zeros([], [])
    assert len(empty) == 0
    assert list(empty.by_shape()) == []
    assert empty.hermitian_error() == (0.0, -1)
    assert len(empty.sorted()) == 0


def test_arrays_that_do_not_fit_are_refused():
    matrix = random_matrix()
    with pytest.raises(ValueError, match="fit together"):
        matrix.with_entries(matrix.entries[:-1])
    with pytest.raises(ValueError, match="other block shapes"):
        BlockMatrix.from_stacks([[0, 0, 0, 0, 0]], [[2, 2]], [([0], np.zeros((1, 3, 3)))])
    assert not BlockMatrix.from_stacks([[0, 0, 0, 0, 0]], [[2, 2]], []).entries.any()
