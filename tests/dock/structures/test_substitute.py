"""Defects: the right atoms, and each kind once; counts of kinds against Burnside's lemma."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from deeph_dock.structures.substitute import (
    apply,
    inequivalent_sites,
    parse,
    random_sites,
    symmetry_permutations,
)
from deeph_dock.structures.substitute import substitute as step
from deeph_dock.structures.supercell import supercell
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

A = 3.19
MONOLAYER = Structure(
    np.array([[A, 0, 0], [-A / 2, A * np.sqrt(3) / 2, 0], [0, 0, 18]]),
    [[0, A / np.sqrt(3), 9.0], [A / 2, A / np.sqrt(12), 10.56], [A / 2, A / np.sqrt(12), 7.44]],
    [42, 16, 16],
)
SHEET = supercell(MONOLAYER, np.diag([3, 3, 1]))


def test_changes_are_understood():
    assert str(parse(" S=Se ")) == "S=Se"
    assert parse("S=").kind == "remove"
    assert parse("Mo~S").kind == "exchange"
    for wrong in ("S", "S~", "=S", "S=se", "S=Se=Te", "", "S=S"):
        with pytest.raises(InputError, match=r"expected S=Se|changes nothing"):
            parse(wrong)
    with pytest.raises(InputError, match="'Xx' is not an element"):
        parse("Xx=S")


def test_atoms_are_replaced_removed_and_exchanged():
    assert apply(MONOLAYER, parse("S=Se"), (2,)).numbers.tolist() == [42, 16, 34]
    left = apply(MONOLAYER, parse("S="), (1,))
    assert left.numbers.tolist() == [42, 16]
    assert np.array_equal(left.positions, MONOLAYER.positions[[0, 2]])
    assert apply(MONOLAYER, parse("Mo~S"), (0, 2)).numbers.tolist() == [16, 16, 42]
    changed, facts = step(MONOLAYER, np.random.default_rng(0), parse("S=Se"), (1, 2), 1)
    assert facts == {"change": "S=Se", "atoms": [2, 3], "equivalent": 1}
    assert np.array_equal(changed.positions, MONOLAYER.positions)


def test_symmetries_permute_equal_atoms_at_equal_distances():
    permutations = symmetry_permutations(SHEET)
    assert len(permutations) == 9 * 12  # translations times D3h
    assert (SHEET.numbers[permutations] == SHEET.numbers).all()
    cells = [[i, j, 0] for i in (-1, 0, 1) for j in (-1, 0, 1)] @ SHEET.lattice
    between = SHEET.positions[:, None] - SHEET.positions + cells[:, None, None]
    distances = np.linalg.norm(between, axis=-1).min(axis=0)
    for permutation in permutations:
        assert distances[np.ix_(permutation, permutation)] == pytest.approx(distances, abs=1e-6)


@pytest.mark.parametrize(("change", "count"), [("S=", 1), ("S=Se", 2), ("Mo=W", 3), ("Mo~S", 1)])
def test_every_kind_of_defect_once(change, count):
    wanted = parse(change)
    kinds = inequivalent_sites(SHEET, wanted, count)
    per_element = [9, 18] if change == "Mo~S" else [9 if wanted.old == "Mo" else 18]
    assert sum(n for _, n in kinds) == np.prod([comb(n, count) for n in per_element])
    # Burnside: as many kinds as a symmetry leaves site sets unchanged, on average.
    permutations = symmetry_permutations(SHEET)
    size = count * len(per_element)
    all_sets = {images for sites, _ in kinds for images in _orbit(sites, permutations)}
    assert all(len(sites) == size for sites in all_sets)
    fixed = sum(
        tuple(sorted(permutation[list(sites)])) == sites
        for permutation in permutations
        for sites in all_sets
    )
    assert len(kinds) == fixed / len(permutations)


def _orbit(sites, permutations):
    return {tuple(sorted(permutation[list(sites)].tolist())) for permutation in permutations}


def test_one_vacancy_of_a_monolayer_and_two_of_a_broken_one():
    assert inequivalent_sites(SHEET, parse("S="), 1) == [((9,), 18)]
    janus = apply(MONOLAYER, parse("S=Se"), (2,))
    assert [n for _, n in inequivalent_sites(janus, parse("S="), 1)] == [1]
    moved = SHEET.positions.copy()
    moved[0] += [0.1, 0.03, 0.2]
    broken = Structure(SHEET.lattice, moved, SHEET.numbers)
    assert len(inequivalent_sites(broken, parse("S="), 1)) == 18


def test_random_ones_differ_and_go_on():
    change = parse("S=Se")
    few = random_sites(SHEET, change, 3, 4, np.random.default_rng(5))
    more = random_sites(SHEET, change, 3, 8, np.random.default_rng(5))
    assert more[:4] == few
    permutations = symmetry_permutations(SHEET)
    orbits = [min(_orbit(sites, permutations)) for sites in more]
    assert len(set(orbits)) == 8
    assert (SHEET.numbers[np.array(more)] == 16).all()
    assert random_sites(SHEET, change, 3, 4, np.random.default_rng(6)) != few


def test_what_is_impossible():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="only 1 different structures were found, 2 asked for"):
        random_sites(SHEET, parse("S="), 1, 2, rng)
    with pytest.raises(InputError, match="no atoms of O in Mo9S18, 1 needed"):
        random_sites(SHEET, parse("O="), 1, 1, rng)
    with pytest.raises(InputError, match="2 atoms of S in MoS2, 3 needed"):
        inequivalent_sites(MONOLAYER, parse("S="), 3)
    with pytest.raises(InputError, match="no atom would be left"):
        inequivalent_sites(Structure(np.eye(3), [[0, 0, 0]], [1]), parse("H="), 1)
    large = supercell(MONOLAYER, np.diag([6, 6, 1]))
    with pytest.raises(InputError, match="1028790 ways to choose them are too many"):
        inequivalent_sites(large, parse("S=Se"), 4)
