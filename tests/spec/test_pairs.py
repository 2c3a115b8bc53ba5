"""Looking up pairs: against a dictionary, with small and with absurd ranges, and fast."""

from __future__ import annotations

import time

import numpy as np
import pytest
from deeph_spec.pairs import encode, find, on_site, partner_rows, partners, rows_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

SMALL = st.integers(-2, 2)
HUGE = st.sampled_from([-(2**62), -1, 0, 1, 2**62])


def lists(elements):
    return arrays(np.int64, st.tuples(st.integers(0, 12), st.just(5)), elements=elements)


def by_dictionary(pairs, wanted):
    first = {}
    for row, pair in enumerate(map(tuple, pairs.tolist())):
        first.setdefault(pair, row)
    return [first.get(pair, -1) for pair in map(tuple, wanted.tolist())]


@pytest.mark.parametrize("elements", [SMALL, HUGE], ids=["mixed radix", "ranks"])
def test_rows_are_found_as_by_a_dictionary(elements):
    @given(lists(elements), lists(elements))
    def check(pairs, wanted):
        assert rows_of(pairs, wanted).tolist() == by_dictionary(pairs, wanted)
        assert rows_of(pairs, pairs).tolist() == by_dictionary(pairs, pairs)

    check()


@pytest.mark.parametrize("elements", [SMALL, HUGE], ids=["mixed radix", "ranks"])
def test_keys_sort_like_rows(elements):
    @given(lists(elements), lists(elements))
    def check(first, second):
        keys = np.concatenate(encode(first, second)).tolist()
        rows = [tuple(row) for row in np.concatenate([first, second]).tolist()]
        assert [[a < b for b in keys] for a in keys] == [[a < b for b in rows] for a in rows]

    check()


def test_both_ways_of_making_keys_agree():
    pairs = np.random.default_rng(0).integers(-3, 4, (200, 5))
    far = np.concatenate([pairs, [[2**61, 0, 0, 0, 0], [-(2**61), 5, 5, 5, 5]]])
    (near_keys,), (far_keys,) = encode(pairs), encode(far)
    assert near_keys.max() > 200
    assert far_keys.max() <= 202
    assert np.array_equal(
        np.argsort(near_keys, kind="stable"), np.argsort(far_keys[:200], kind="stable")
    )


def test_partners():
    pairs = np.array([[1, -2, 0, 3, 4], [-1, 2, 0, 4, 3], [0, 0, 0, 2, 2], [0, 0, 0, 1, 2]])
    assert partners(pairs).tolist()[0] == [-1, 2, 0, 4, 3]
    assert partner_rows(pairs).tolist() == [1, 0, 2, -1]
    assert on_site(pairs).tolist() == [False, False, True, False]
    assert partner_rows(np.zeros((0, 5), np.int64)).tolist() == []


def test_nothing_is_found_in_an_empty_list():
    assert find(np.zeros(0, np.int64), np.arange(3)).tolist() == [-1, -1, -1]


def test_a_million_pairs_are_looked_up_well_below_a_second():
    rng = np.random.default_rng(0)
    count = 1_000_000
    near = np.arange(count) % 100 - 50
    first = np.arange(count) // 100
    pairs = np.column_stack([rng.integers(-3, 4, (count, 3)), first, (first + near) % 10_000])
    pairs = rng.permutation(pairs)
    order = rng.permutation(count)
    times = []
    for _ in range(2):
        start = time.process_time()
        rows = rows_of(pairs, pairs[order])
        times.append(time.process_time() - start)
    assert np.array_equal(pairs[rows], pairs[order])
    assert min(times) < 1.0
