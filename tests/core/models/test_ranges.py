"""What a model has seen, and how a structure far outside of it is recognised."""

from __future__ import annotations

import json

import numpy as np
import pytest
from deeph.graphs import build_graph
from deeph.models.ranges import Ranges, measure
from deeph.representation import BlockRepresentation
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

REPRESENTATION = BlockRepresentation.of({"H": (0,), "O": (0, 1)}, "none")
SYMBOLS = tuple(symbol for symbol, _ in REPRESENTATION.orbital_map)


def molecule(*positions: tuple[float, float, float], numbers: tuple[int, ...]) -> Structure:
    return Structure(20 * np.eye(3), np.array(positions), np.array(numbers))


def all_pairs(structure: Structure) -> np.ndarray:
    n = len(structure)
    i, j = (x.ravel() for x in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    return np.stack([0 * i, 0 * i, 0 * i, i, j], axis=1)


def water(stretch: float = 1.0) -> Structure:
    return molecule((0, 0, 0), (0.95 * stretch, 0, 0), (0, 1.0 * stretch, 0), numbers=(8, 1, 1))


@pytest.fixture
def ranges() -> Ranges:
    structures = [water(), water(1.02)]
    graphs = [build_graph(s, all_pairs(s), REPRESENTATION).graph for s in structures]
    return measure(graphs, SYMBOLS)


def test_ranges_are_the_extremes_of_all_structures(ranges: Ranges) -> None:
    assert ranges.distances["H", "O"] == pytest.approx((0.95, 1.02))
    assert ranges.distances["H", "H"] == pytest.approx(np.hypot(0.95, 1.0) * np.array([1, 1.02]))
    assert set(ranges.distances) == {("H", "H"), ("H", "O")}
    assert ranges.neighbours == {"O": (2, 2), "H": (2, 2)}
    assert ranges.farthest == pytest.approx(1.02 * np.hypot(0.95, 1.0))


def test_ranges_survive_a_model_file(ranges: Ranges) -> None:
    assert Ranges.of_document(json.loads(json.dumps(ranges.document()))) == ranges


def test_what_was_trained_on_is_not_unusual(ranges: Ranges) -> None:
    for stretch in (0.93, 1.0, 1.1):
        structure = water(stretch)
        assert ranges.unusual(structure, all_pairs(structure), "0001") == []


def test_atoms_that_are_too_near_are_named(ranges: Ranges) -> None:
    structure = molecule((0, 0, 0), (0.95, 0, 0), (0, 0.7, 0), numbers=(8, 1, 1))
    (line,) = ranges.unusual(structure, all_pairs(structure), "0001")
    assert line == (
        "0001: atoms 2 (H) and 0 (O) are 0.70 Å apart, in the training data H-O pairs are "
        "0.95 to 1.02 Å apart (and 1 more pairs of elements)"
    )


def test_positions_in_another_unit_are_refused(ranges: Ranges) -> None:
    structure = water(0.1)
    with pytest.raises(InputError, match=r"0001: atoms . .* are units and positions right\?"):
        ranges.unusual(structure, all_pairs(structure), "0001")


def test_pairs_that_reach_farther_and_more_neighbours_are_named(ranges: Ranges) -> None:
    structure = molecule(
        (0, 0, 0), (0.95, 0, 0), (0, 1.0, 0), (3, 0, 0), (3.95, 0, 0), (3, 1, 0),
        numbers=(8, 1, 1, 8, 1, 1),
    )  # fmt: skip
    far, many = ranges.unusual(structure, all_pairs(structure), "two")
    assert far.startswith("two: atoms")
    assert "O-O pairs were not in the training data" in far
    assert "(and 2 more pairs of elements)" in far
    assert many.startswith("two: atom 1 (H) has 5 neighbours, in the training data H has 2 to 2")
    assert many.endswith("(and 5 more atoms)")


def test_lonely_atoms_are_named(ranges: Ranges) -> None:
    structure = molecule((0, 0, 0), (10, 0, 0), numbers=(8, 1))
    (line,) = ranges.unusual(structure, np.array([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]]), "apart")
    assert "has 0 neighbours" in line


def test_a_graph_without_edges_has_no_distances() -> None:
    structure = molecule((0, 0, 0), numbers=(8,))
    graph = build_graph(structure, all_pairs(structure), REPRESENTATION).graph
    ranges = measure([graph], SYMBOLS)
    assert ranges == Ranges({}, {"O": (0, 0)})
    assert ranges.farthest == 0
    assert ranges.unusual(structure, all_pairs(structure), "atom") == []
