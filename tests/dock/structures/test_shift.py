"""Layers: found wherever they lie in the cell, and moved as asked."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_dock.structures.shift import (
    chosen,
    find_layers,
    grid_shifts,
    layers_to_slide,
    normal,
    slide,
    widest_inner_gap,
)
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

HEIGHTS = {"Mo": [11.4, 18.6], "Te": [13.2, 9.6, 20.4, 16.8]}


def bilayer(lift: float = 0.0, tilt: float = 0.0) -> Structure:
    """Two layers of MoTe2, moved along c by a fraction of the cell, with a tilted c."""
    lattice = np.array([[3.52, 0, 0], [-1.76, 3.048, 0], [tilt, tilt / 2, 30.0]])
    third = np.array([[1 / 3, 2 / 3], [2 / 3, 1 / 3]])
    plane = third[[0, 1, 1, 1, 0, 0]]
    heights = np.array(HEIGHTS["Mo"] + HEIGHTS["Te"]) / 30 + lift
    fractional = np.column_stack([plane, heights])
    fractional[:, 2] %= 1
    return Structure(lattice, fractional @ lattice, [42, 42, 52, 52, 52, 52])


@pytest.mark.parametrize("lift", [0.0, 0.33, 0.5, -0.36, 0.62])
@pytest.mark.parametrize("tilt", [0.0, 4.0])
def test_layers_are_found_across_the_border_of_the_cell(lift, tilt):
    layers = find_layers(bilayer(lift, tilt))
    assert [sorted(layer.atoms.tolist()) for layer in layers] == [[0, 2, 3], [1, 4, 5]]
    assert layers[1].middle - layers[0].middle == pytest.approx(7.2)
    assert layers[1].heights.min() - layers[0].heights.max() == pytest.approx(3.6)


def test_the_limit_of_gaps():
    assert len(find_layers(bilayer(), smallest_gap=3.7)) == 1
    assert len(find_layers(bilayer(), smallest_gap=1.7)) == 6
    assert widest_inner_gap(bilayer()) == pytest.approx(3.6)
    with pytest.raises(InputError, match=r"one layer only along c.* 3\.60 Å.*--gap"):
        layers_to_slide(bilayer(), 2, 5.0)
    with pytest.raises(InputError, match="along c there are more: --axis c"):
        layers_to_slide(bilayer(), 0, 2.2)


def test_other_axes():
    lattice = bilayer().lattice[[2, 0, 1]]
    turned = Structure(lattice, bilayer().positions, bilayer().numbers)
    layers = find_layers(turned, axis=0)
    assert [sorted(layer.atoms.tolist()) for layer in layers] == [[0, 2, 3], [1, 4, 5]]
    assert normal(turned, 0) == pytest.approx([0, 0, 1])


def test_crystals_of_equal_gaps_begin_at_the_lowest_layer():
    heights = np.array([0.05, 0.3, 0.55, 0.8])
    fractional = np.column_stack([np.zeros((4, 2)), heights])
    lattice = np.diag([2.4, 2.4, 13.4])
    layers = find_layers(Structure(lattice, fractional @ lattice, [6] * 4))
    assert [layer.atoms.tolist() for layer in layers] == [[0], [1], [2], [3]]


def test_which_layer_moves():
    layers = find_layers(bilayer(), smallest_gap=1.7)
    assert chosen(layers, "top") == (5, 4)
    assert chosen(layers, "bottom") == (0, 1)
    assert chosen(layers, "3") == (2, 1)
    for wrong in ("0", "7", "middle", ""):
        with pytest.raises(InputError, match="there are 6"):
            chosen(layers, wrong)


@pytest.mark.parametrize("moving", ["top", "bottom"])
@pytest.mark.parametrize("lift", [0.0, 0.5])
def test_a_layer_slides_to_its_distance(moving, lift):
    before = bilayer(lift, tilt=3.0)
    rng = np.random.default_rng(0)
    after, facts = slide(before, rng, (0.25, 0.5), (6.9, 7.9), moving)
    layers = find_layers(after)
    assert layers[1].middle - layers[0].middle == pytest.approx(facts["distance"])
    assert layers[1].heights.min() - layers[0].heights.max() == pytest.approx(facts["gap"])
    assert 6.9 <= facts["distance"] <= 7.9
    steps = after.positions - before.positions
    still = [0, 2, 3] if moving == "top" else [1, 4, 5]
    assert not steps[still].any()
    step = np.delete(steps, still, axis=0)
    sign = 1 if moving == "top" else -1
    expected = 0.25 * before.lattice[0] + 0.5 * before.lattice[1]
    expected += np.array([0, 0, sign * (facts["distance"] - 7.2)])
    assert step == pytest.approx(np.tile(expected, (3, 1)))
    assert facts["layer"] == (2 if moving == "top" else 1)


def test_without_a_range_the_distance_stays():
    after, facts = slide(bilayer(), np.random.default_rng(0), (0.5, 0.0))
    assert facts["distance"] == pytest.approx(7.2)
    assert after.positions[:, 2] == pytest.approx(bilayer().positions[:, 2])


def test_distances_are_spread_over_the_range():
    drawn = [
        slide(bilayer(), np.random.default_rng(k), (0, 0), (6.9, 7.9))[1]["distance"]
        for k in range(400)
    ]
    assert min(drawn) < 6.92
    assert max(drawn) > 7.88
    assert np.mean(drawn) == pytest.approx(7.4, abs=0.05)


def test_the_grid():
    shifts = grid_shifts((4, 2))
    assert shifts.tolist()[:3] == [[0, 0], [0, 0.5], [0.25, 0]]
    assert len(np.unique(shifts, axis=0)) == 8
    assert shifts.max() < 1
