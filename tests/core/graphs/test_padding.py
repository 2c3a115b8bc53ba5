"""Padding: few shapes that hold every batch, and batches that keep every number."""

from __future__ import annotations

import numpy as np
import pytest
from deeph.graphs import Graph, Shape, build_graph, concatenate, padded_shapes, smallest_fitting
from deeph.graphs.padding import pad
from deeph.representation import BlockRepresentation
from deeph_spec.testing import neighbour_pairs, random_structure
from hypothesis import given
from hypothesis import strategies as st

REP = BlockRepresentation.of({"H": (0,), "C": (0, 1)}, "none")
SIZES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 900)), min_size=1, max_size=12)


def graph(atoms: int, seed: int = 0) -> Graph:
    structure = random_structure(("H", "C"), atoms, seed)
    return build_graph(structure, neighbour_pairs(structure, 3.0), REP).graph


@given(sizes=SIZES, batch=st.integers(1, 4), count=st.integers(1, 5), data=st.data())
def test_every_batch_fits_into_one_of_few_shapes(
    sizes: list[tuple[int, int]], batch: int, count: int, data: st.DataObject
) -> None:
    shapes = padded_shapes(sizes, batch, count)
    assert 1 <= len(shapes) <= count
    assert list(shapes) == sorted(set(shapes))
    order = data.draw(st.permutations(range(len(sizes))))
    for start in range(0, len(order), batch):
        part = [sizes[index] for index in order[start : start + batch]]
        nodes, edges = sum(n for n, _ in part), sum(e for _, e in part)
        shape = smallest_fitting(shapes, nodes, edges)
        assert shape.nodes > nodes
        assert shape.edges >= edges
        assert shape.edges % 16 == 0
        assert shape.structures == batch


def test_more_shapes_waste_less() -> None:
    sizes = [(4, 100), (4, 110), (40, 1000)]
    few, more = padded_shapes(sizes, 1, 1), padded_shapes(sizes, 1, 2)
    assert [shape.nodes for shape in few] == [41]
    assert smallest_fitting(more, 4, 100).nodes == 5
    with pytest.raises(ValueError, match="no padded shape holds 41 atoms"):
        smallest_fitting(more, 41, 10)


def test_a_batch_keeps_every_structure_apart() -> None:
    parts = [graph(3), graph(2, seed=1), graph(4, seed=2)]
    shape = Shape(14, 256, 4)
    batch = concatenate(parts, shape, np.float64)
    node = edge = 0
    for index, part in enumerate(parts):
        nodes, edges = slice(node, node + part.nodes), slice(edge, edge + part.edges)
        np.testing.assert_array_equal(batch.species[nodes], part.species)
        np.testing.assert_array_equal(batch.centre[edges] - node, part.centre)
        np.testing.assert_array_equal(batch.neighbour[edges] - node, part.neighbour)
        np.testing.assert_array_equal(batch.reverse[edges] - edge, part.reverse)
        np.testing.assert_array_equal(batch.lengths[edges], part.lengths)
        np.testing.assert_array_equal(batch.axes[edges], part.axes)
        np.testing.assert_array_equal(batch.turned[edges], part.turned)
        assert set(batch.node_structure[nodes]) == set(batch.edge_structure[edges]) == {index}
        node, edge = node + part.nodes, edge + part.edges
    assert batch.node_mask.sum() == node
    assert batch.edge_mask.sum() == edge
    assert not batch.node_mask[node:].any()
    dummies = np.arange(edge, 256)
    np.testing.assert_array_equal(batch.reverse[edge:], dummies)
    for array in (batch.centre, batch.neighbour):
        assert set(array[edge:]) == {13}
    assert set(batch.node_structure[node:]) == set(batch.edge_structure[edge:]) == {4}
    assert np.all(np.diff(batch.centre) >= 0)
    np.testing.assert_allclose(np.linalg.norm(batch.axes, axis=1), 1.0)
    assert np.all(batch.lengths > 0)
    assert {a.dtype for a in batch} == {np.dtype(np.float64), np.dtype(np.int32)}
    assert concatenate(parts, shape).lengths.dtype == np.float32


def test_pad_fills_the_end() -> None:
    assert pad(np.array([[1.0, 2.0]]), 3, 7.0).tolist() == [[1, 2], [7, 7], [7, 7]]
