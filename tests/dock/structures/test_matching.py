"""Common cells at any angle: complete, ordered, and strained as they say."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from deeph_dock.structures.layer import layer_of
from deeph_dock.structures.match import stacked
from deeph_dock.structures.matching import WORTHWHILE, matches
from deeph_dock.structures.twist import twisted
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree


def layer(a: float, b: float, corner: float, *numbers: int) -> Structure:
    """Atoms on the long diagonal of a cell."""
    angle = math.radians(corner)
    lattice = np.array([[a, 0, 0], [b * math.cos(angle), b * math.sin(angle), 0], [0, 0, 15.0]])
    along = np.arange(len(numbers)) / 3
    return Structure(lattice, along[:, None] * (lattice[0] + lattice[1]), np.array(numbers))


GRAPHENE = layer(2.46, 2.46, 60.0, 6, 6)
NITRIDE = layer(2.504, 2.504, 60.0, 5, 7)
RECTANGULAR = layer(3.0, 4.1, 90.0, 14)
OBLIQUE = layer(3.3, 3.9, 97.0, 32, 32)
NARROW = layer(3.0, 7.0, 75.0, 14)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_strain_of_a_match_is_that_of_the_lattices(share):
    """An oblique layer on a rectangular one: singular values of the maps of both lattices."""
    found = matches(RECTANGULAR, OBLIQUE, 20.0, 5.0, max_strain=0.05, max_atoms=300, share=share)
    for match in found:
        structure = stacked(RECTANGULAR, OBLIQUE, match, 3.0)
        for matrix, single, strains in (
            (match.bottom_matrix, RECTANGULAR, match.bottom_strain),
            (match.top_matrix, OBLIQUE, match.top_strain),
        ):
            primitive = np.linalg.inv(matrix) @ structure.lattice[:2, :2]
            mapping = np.linalg.solve(layer_of(single).lattice, primitive)
            stretches = np.linalg.svd(mapping, compute_uv=False)
            np.testing.assert_allclose(np.sort(stretches) - 1, strains, atol=1e-12)
            assert np.linalg.det(mapping) > 0
        assert match.strain <= 0.05
        assert abs(match.angle - 20.0) <= 5.0
        assert match.atoms == len(structure) <= 300
    sizes, strains = zip(*((match.atoms, match.strain) for match in found), strict=True)
    assert list(sizes) == sorted(sizes)
    assert list(strains) == sorted(strains, reverse=True)
    assert len(found) > 1


def test_no_atom_is_lost_or_doubled():
    match = matches(GRAPHENE, NITRIDE, 10.0, 5.0, max_strain=0.03)[0]
    structure = stacked(GRAPHENE, NITRIDE, match, 3.3, shift=(0.2, 0.9))
    cells = [round(np.linalg.det(m)) for m in (match.bottom_matrix, match.top_matrix)]
    counts = dict(zip(*np.unique(structure.numbers, return_counts=True), strict=True))
    assert counts == {5: cells[1], 6: 2 * cells[0], 7: cells[1]}
    images = np.array(list(product((-1, 0, 1), (-1, 0, 1), (0,)))) @ structure.lattice
    everywhere = (structure.positions[None] + images[:, None]).reshape(-1, 3)
    nearest = cKDTree(everywhere).query(structure.positions, k=2)[0][:, 1]
    bonds = 2.46 / math.sqrt(3), 2.504 / math.sqrt(3)
    assert nearest.min() > min(bonds) * 0.97
    assert nearest.max() < max(bonds) * 1.03


def test_search_finds_the_commensurate_cells():
    found = matches(GRAPHENE, GRAPHENE, 21.7868, tolerance=1e-3, max_strain=1e-6)
    assert [match.atoms for match in found] == [28]
    found = matches(GRAPHENE, GRAPHENE, 1.0845, 1e-3, max_strain=1e-8, max_atoms=12000)
    assert [match.atoms for match in found] == [11164]
    structure = stacked(GRAPHENE, GRAPHENE, found[0], 3.35)
    reference = twisted(GRAPHENE, GRAPHENE, 30, 31, 3.35)
    lengths = [np.linalg.norm(s.lattice[:2], axis=1) for s in (structure, reference)]
    np.testing.assert_allclose(lengths[0], lengths[1], rtol=1e-9)


def test_aligned_graphene_on_boron_nitride_is_the_known_moire():
    """56 cells of graphene on 55 of boron nitride: about 13.8 nm, the largest period."""
    found = matches(GRAPHENE, NITRIDE, 0.0, tolerance=1e-3, max_strain=4e-4, max_atoms=14000)
    cells = [round(abs(np.linalg.det(found[0].bottom_matrix)) ** 0.5, 6)]
    cells.append(round(abs(np.linalg.det(found[0].top_matrix)) ** 0.5, 6))
    assert found[0].angle == pytest.approx(0.0, abs=1e-3)
    assert cells[0] - cells[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("bottom", "top", "angle", "tolerance", "strain"),
    [
        (GRAPHENE, layer(2.504, 2.504, 120.0, 5, 7), 10.0, 10.0, 0.03),
        (RECTANGULAR, OBLIQUE, -35.0, 15.0, 0.07),
        (NARROW, NARROW, 0.0, 3.0, 0.1),
        (NARROW, NARROW, 177.0, 4.0, 0.04),
    ],
)
def test_no_smaller_cell_is_missed(bottom, top, angle, tolerance, strain):
    """Against all pairs of supercells: each of the bottom once, the top with any small rows."""
    layers, largest = (layer_of(bottom), layer_of(top)), 20
    best: dict[int, float] = {}
    for lower in supercells(largest):
        for atoms, value in of_one_supercell(layers, lower, angle, tolerance, strain):
            best[atoms] = min(best.get(atoms, 1.0), value)
    next_top = math.floor((largest + 1) * layers[0].area / layers[1].area / (1 + strain) ** 2)
    limit = (largest + 1) * len(bottom) + next_top * len(top) - 1  # all up to here were tried
    best = {atoms: value for atoms, value in best.items() if atoms <= limit}
    assert len(best) > 1
    found = matches(bottom, top, angle, tolerance, strain, max_atoms=limit)
    assert found[0].atoms == min(best)
    for atoms in best:
        least = min(value for size, value in best.items() if size <= atoms)
        ours = min(match.strain for match in found if match.atoms <= atoms)
        assert least - 1e-12 <= ours <= least / WORTHWHILE + 2e-9


def of_one_supercell(layers, lower, angle, tolerance, strain):
    """Yield atoms and strain of every match of one supercell of the bottom."""
    lower = reduced(lower, layers[0].lattice)
    goal = lower @ layers[0].lattice
    inverse = np.linalg.inv(layers[1].lattice)
    reach = np.linalg.norm(goal, axis=1).max() * (1 + 2 * strain)
    limits = np.ceil(reach * np.linalg.norm(inverse, axis=0)).astype(int)
    rows = np.array(list(product(*(range(-k, k + 1) for k in limits))))
    lengths = np.linalg.norm(rows @ layers[1].lattice, axis=1).clip(1e-9)
    wanted = np.linalg.norm(goal, axis=1)
    near = [rows[np.abs(length / lengths - 1) < strain + 1e-9] for length in wanted]
    upper = np.stack([np.repeat(near[0], len(near[1]), 0), np.tile(near[1], (len(near[0]), 1))], 1)
    cells = upper[:, 0, 0] * upper[:, 1, 1] - upper[:, 0, 1] * upper[:, 1, 0]
    upper, cells = upper[cells > 0], cells[cells > 0]
    mapping = np.linalg.solve(upper @ layers[1].lattice, goal)
    stretches = np.linalg.svd(mapping, compute_uv=False)
    turns = np.arctan2(mapping[:, 0, 1] - mapping[:, 1, 0], np.trace(mapping, axis1=1, axis2=2))
    off = np.abs((np.degrees(turns) - angle + 180) % 360 - 180)
    strains = np.abs(stretches - 1).max(axis=1)
    own = round(np.linalg.det(lower)) * len(layers[0])
    for number in np.flatnonzero((off <= tolerance) & (strains <= strain)):
        yield own + int(cells[number]) * len(layers[1]), float(strains[number])


def right_handed(rows: list[int]) -> np.ndarray | None:
    """Two vectors with a positive determinant, if they span anything."""
    matrix = np.array(rows).reshape(2, 2)
    size = round(np.linalg.det(matrix))
    return None if not size else matrix if size > 0 else matrix[::-1]


WHOLE = st.integers(-4, 4)
MATRIX = st.lists(WHOLE, min_size=4, max_size=4).map(right_handed)


@given(
    MATRIX,
    MATRIX,
    st.floats(0.001, 0.1),
    st.floats(0, math.pi),
    st.floats(-180, 180),
    st.sampled_from([-1.0, 0.0, 1.0]),
    st.sampled_from([0.01, 0.5, 8.0]),
    st.sampled_from([(1, 1), (1, -1), (-1, -1)]),
)
@settings(max_examples=150, deadline=None)
def test_a_match_that_was_planted_is_found(
    lower, upper, strain, axis, angle, edge, tolerance, signs
):
    """A bottom made from the top by a known turn and stretch, both at the limits of the search."""
    assume(lower is not None and upper is not None)
    counts = [round(np.linalg.det(matrix)) for matrix in (lower, upper)]
    turned = math.radians(angle + edge * tolerance)
    rotation, axes = (
        np.array([[math.cos(x), math.sin(x)], [-math.sin(x), math.cos(x)]]) for x in (turned, axis)
    )
    stretch = axes.T @ np.diag(1 + strain * np.array(signs)) @ axes
    top = np.array([[2.9, 0.0], [-0.8, 3.3]])
    plane = np.linalg.inv(lower) @ upper @ top @ rotation @ stretch
    reference = math.degrees(math.atan2(plane[0, 1], plane[0, 0]))  # layers are turned: a1 along x
    bottom = np.eye(3) * 15.0
    bottom[:2, :2] = plane
    above = np.eye(3) * 15.0
    above[:2, :2] = top
    layers = [Structure(cell, np.zeros((1, 3)), np.array([6])) for cell in (bottom, above)]
    found = matches(
        *layers,
        angle - reference,
        tolerance * (1 + 1e-9) + 1e-9,
        max_strain=strain * (1 + 1e-9),
        max_atoms=sum(counts),
    )
    assert found[0].atoms <= sum(counts)
    assert found[0].strain <= strain * (1 + 2e-9)


def supercells(largest: int):
    """Every sublattice of up to so many cells, once, as its Hermite normal form."""
    for size in range(1, largest + 1):
        for g in (g for g in range(1, size + 1) if size % g == 0):
            yield from (np.array([[g, s], [0, size // g]]) for s in range(size // g))


def reduced(matrix: np.ndarray, lattice: np.ndarray) -> np.ndarray:
    """Short vectors of the same supercell, right-handed."""
    first, second = matrix
    for _ in range(50):
        a, b = first @ lattice, second @ lattice
        second = second - int(np.rint(a @ b / (a @ a))) * first
        if np.linalg.norm(second @ lattice) >= np.linalg.norm(a) * (1 - 1e-12):
            return np.array([first, second])
        first, second = second, -first
    raise AssertionError


def test_dichalcogenides_of_two_metals():
    lattice = np.array([[1, 0, 0], [-0.5, math.sqrt(3) / 2, 0], [0, 0, 8.0]])
    places = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0]]) @ lattice
    places[1:, 2] = 0.5, -0.5
    sulphide = Structure(3.16 * lattice, 3.16 * places, np.array([42, 16, 16]))
    selenide = Structure(3.28 * lattice, 3.28 * places, np.array([74, 34, 34]))
    found = matches(sulphide, selenide, 0.0, tolerance=0.2, max_strain=0.005, max_atoms=9000)
    structure = stacked(sulphide, selenide, found[0], 6.5)
    assert found[0].strain <= 0.005
    assert len(structure) == found[0].atoms
    for metal, bond in ((42, 3.16), (74, 3.28)):
        metals = structure.positions[structure.numbers == metal]
        images = np.array(list(product((-1, 0, 1), (-1, 0, 1), (0,)))) @ structure.lattice
        tree = cKDTree((metals[None] + images[:, None]).reshape(-1, 3))
        nearest = tree.query(metals, k=8)[0]
        assert np.abs(nearest[:, 1:7] / bond - 1).max() <= 0.005 + 1e-12
        assert nearest[:, 7].min() > 1.6 * bond


def test_an_impossible_search_names_the_nearest_match():
    with pytest.raises(InputError) as caught:
        matches(GRAPHENE, GRAPHENE, 21.5, tolerance=0.01, max_strain=1e-5, max_atoms=200)
    message = str(caught.value)
    assert "C2 and C2 at 21.5 +- 0.01 degrees" in message
    assert "the nearest has 21.7868 degrees, 28 atoms" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"angle": math.nan}, "angle"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"max_strain": 2.0}, "one per cent"),
        ({"max_atoms": 3}, "one cell of each layer has 4"),
        ({"share": -0.1}, "share"),
    ],
)
def test_searches_that_cannot_be_meant(wrong, said):
    with pytest.raises(InputError, match=said):
        matches(GRAPHENE, GRAPHENE, **{"angle": 5.0, **wrong})
