"""Graphs of structures: edges, reverse edges, frames, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from deeph.graphs import build_graph, graph_pairs
from deeph.representation import BlockRepresentation
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.testing import neighbour_pairs, random_structure

REP = BlockRepresentation.of({"H": (0,), "C": (0, 1)}, "none")


def test_edges_are_the_pairs_without_the_on_site_ones() -> None:
    structure = random_structure(("H", "C"), 5, seed=3)
    pairs = neighbour_pairs(structure, 3.2)
    source = build_graph(structure, pairs, REP)
    graph = source.graph
    found = {tuple(row) for row in source.edge_pairs.tolist()}
    off_site = {tuple(row) for row in pairs.tolist() if any(row[:3]) or row[3] != row[4]}
    assert found == off_site
    assert source.node_pairs.tolist() == [[0, 0, 0, i, i] for i in range(5)]
    assert np.all(np.diff(graph.centre) >= 0)
    np.testing.assert_array_equal(graph.centre, source.edge_pairs[:, 3])
    np.testing.assert_array_equal(graph.neighbour, source.edge_pairs[:, 4])
    np.testing.assert_array_equal(graph.species, np.array([0, 0, 0, 1, 1]))
    vectors = structure.pair_vectors(source.edge_pairs)
    np.testing.assert_allclose(graph.lengths, np.linalg.norm(vectors, axis=1))
    along = np.where(graph.turned[:, None] > 0, -graph.axes, graph.axes)
    np.testing.assert_allclose(along * graph.lengths[:, None], vectors, atol=1e-12)


def test_an_edge_and_its_reverse_share_their_axis() -> None:
    structure = random_structure(("C",), 4, seed=1)
    source = build_graph(structure, neighbour_pairs(structure, 4.0), REP)
    graph, back = source.graph, source.graph.reverse
    rows = source.edge_pairs
    np.testing.assert_array_equal(rows[back, :3], -rows[:, :3])
    np.testing.assert_array_equal(rows[back, 3], rows[:, 4])
    np.testing.assert_array_equal(back[back], np.arange(graph.edges))
    np.testing.assert_array_equal(graph.axes[back], graph.axes)
    np.testing.assert_array_equal(graph.turned[back], 1 - graph.turned)
    np.testing.assert_array_equal(graph.lengths[back], graph.lengths)


def test_missing_partners_and_on_site_pairs_are_added() -> None:
    pairs = graph_pairs(np.array([[1, 0, 0, 0, 1]]), np.array([[-1, 0, 0, 1, 0], [0, 0, 0, 0, 1]]))
    assert pairs.tolist() == [
        [0, 0, 0, 0, 1], [1, 0, 0, 0, 1], [-1, 0, 0, 1, 0], [0, 0, 0, 1, 0]
    ]  # fmt: skip
    structure = Structure(9 * np.eye(3), np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([1, 6]))
    source = build_graph(structure, np.array([[0, 0, 0, 0, 1]]), REP)
    assert source.edge_pairs.tolist() == [[0, 0, 0, 0, 1], [0, 0, 0, 1, 0]]
    assert len(source.node_pairs) == 2


def test_an_atom_alone_has_a_graph_without_edges() -> None:
    structure = Structure(9 * np.eye(3), np.zeros((1, 3)), np.array([6]))
    source = build_graph(structure, np.array([[0, 0, 0, 0, 0]]), REP)
    assert (source.graph.nodes, source.graph.edges) == (1, 0)
    assert source.edge_pairs.shape == (0, 5)
    assert source.graph.axes.shape == (0, 3)


def test_what_cannot_be_a_graph_is_refused() -> None:
    apart = Structure(9 * np.eye(3), np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([1, 6]))
    close = Structure(9 * np.eye(3), np.array([[0, 0, 0], [0, 0, 9.0]]), np.array([1, 6]))
    unknown = Structure(9 * np.eye(3), np.zeros((1, 3)), np.array([26]))
    for pair in ([0, 0, 0, 0, 2], [0, 0, 0, -1, 0]):
        with pytest.raises(InputError, match=r"outside 0\.\.1"):
            build_graph(apart, np.array([pair]), REP)
    with pytest.raises(InputError, match=r"atoms 0 and 1 \(R = \[0, 0, -1\]\) coincide"):
        build_graph(close, np.array([[0, 0, -1, 0, 1]]), REP)
    with pytest.raises(InputError, match="element Fe is unknown"):
        build_graph(unknown, np.array([[0, 0, 0, 0, 0]]), REP)
