"""Cells that are smaller than their orbitals: all images are there, and are those of supercells."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_spec.structure import Structure

FIRST, SECOND = 6, 42
CELLS = {
    "skew": np.array([[1.1, 0.0, 0.0], [0.7, 1.2, 0.0], [-0.4, 0.9, 1.3]]),
    "left-handed": np.array([[0.0, 1.2, 0.1], [1.0, 0.2, 0.0], [0.1, 0.0, 1.4]]),
    "flat": np.array([[0.9, 0.0, 0.0], [0.0, 20.0, 0.0], [0.0, 0.0, 1.6]]),
}


@pytest.fixture(scope="module")
def engine(smooth_bases):
    return TwoCentre(smooth_bases)


@pytest.fixture(params=CELLS)
def lattice(request):
    return CELLS[request.param]


def one_atom(lattice, number=FIRST):
    return Structure(lattice, np.array([[0.3, -5.0, 1.0]]), np.array([number]))


def by_trying(structure, bases):
    """List the pairs within reach among all images of a wide range."""
    steps = itertools.product(range(-8, 9), repeat=3)
    atoms = range(len(structure))
    pairs = np.array([(*r, i, j) for r in steps for i in atoms for j in atoms])
    radii = np.array([bases[int(number)].cutoff for number in structure.numbers])
    distances = np.linalg.norm(structure.pair_vectors(pairs), axis=1)
    return pairs[distances < radii[pairs[:, 3]] + radii[pairs[:, 4]]]


def test_all_images_within_reach_are_pairs(engine, lattice):
    pairs = touching_pairs(one_atom(lattice), engine.bases)
    assert np.abs(pairs[:, :3]).max() >= 3
    expected = by_trying(one_atom(lattice), engine.bases)
    assert np.array_equal(pairs, expected[np.lexsort(expected.T[::-1])])


def test_so_they_are_for_atoms_outside_the_cell(engine):
    positions = np.array([[7.3, -5.0, 1.0], [0.2, 0.6, -3.1], [0.8, 11.0, 0.1]])
    structure = Structure(1.8 * CELLS["skew"], positions, np.array([FIRST, SECOND, FIRST]))
    found = touching_pairs(structure, engine.bases)
    steps = np.array(list(itertools.product(range(-14, 15), repeat=3)))
    radii = [engine.bases[int(number)].cutoff for number in structure.numbers]
    expected = []
    for i, j in itertools.product(range(3), repeat=2):
        pairs = np.column_stack([steps, np.full((len(steps), 2), (i, j))])
        near = np.linalg.norm(structure.pair_vectors(pairs), axis=1) < radii[i] + radii[j]
        expected += [tuple(pair) for pair in pairs[near].tolist()]
    assert [tuple(pair) for pair in found.tolist()] == sorted(expected)


@pytest.mark.parametrize("repeats", [(2, 1, 3), (5, 4, 1)])
def test_blocks_of_one_atom_are_those_of_its_supercell(engine, lattice, repeats):
    single = one_atom(lattice)
    overlap = compute(single, engine, touching_pairs(single, engine.bases))

    shifts = np.array(list(itertools.product(*map(range, repeats))))
    count = len(shifts)
    supercell = Structure(
        np.array(repeats)[:, None] * lattice,
        single.positions + shifts @ lattice,
        np.full(count, FIRST),
    )
    large = compute(supercell, engine, touching_pairs(supercell, engine.bases))
    assert len(large) == count * len(overlap)

    pairs = large.atom_pairs
    cells = pairs[:, :3] * np.array(repeats) + shifts[pairs[:, 4]] - shifts[pairs[:, 3]]
    rows = overlap.rows_of(np.column_stack([cells, np.zeros((len(cells), 2), np.int64)]))
    assert np.array_equal(np.bincount(rows, minlength=len(overlap)), np.full(len(overlap), count))
    one, other = (m.entries.reshape(len(m), -1) for m in (overlap, large))
    assert np.abs(other - one[rows]).max() < 1e-11


def test_each_image_is_the_overlap_at_its_distance(engine, lattice):
    single = one_atom(lattice, SECOND)
    overlap = compute(single, engine, touching_pairs(single, engine.bases))
    several = [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (2, 0, 1), (-3, 0, 0)]
    for cell in several:
        (row,) = overlap.rows_of(np.array([[*cell, 0, 0]]))
        vector = np.array(cell) @ lattice
        expected = engine.blocks("overlap", SECOND, SECOND, vector[None])[0]
        if row < 0:
            assert np.linalg.norm(vector) >= 2 * engine.bases[SECOND].cutoff
        else:
            assert np.abs(overlap.block(int(row)) - expected).max() < 1e-13
    assert overlap.rows_of(np.array([[1, 0, 0, 0, 0]]))[0] >= 0


def test_overlaps_summed_over_images_are_those_of_the_folded_supercell(engine, lattice):
    # At Gamma a supercell adds up all images: so do the Bloch sums of the small cell.
    single = one_atom(lattice)
    overlap = compute(single, engine, touching_pairs(single, engine.bases))
    blocks = overlap.entries.reshape(len(overlap), *overlap.chunk_shapes[0])
    repeats = np.array([2, 1, 3])
    shifts = np.array(list(itertools.product(*map(range, repeats))))
    size = blocks.shape[1]
    folded = np.zeros((len(shifts), size, len(shifts), size))
    for i, shift in enumerate(shifts):
        reached = (overlap.atom_pairs[:, :3] + shift) % repeats
        for j, other in enumerate(shifts):
            folded[i, :, j] = blocks[(reached == other).all(axis=1)].sum(axis=0)
    of_supercell = np.linalg.eigvalsh(folded.reshape(len(shifts) * size, -1))
    phases = np.exp(2j * np.pi * overlap.atom_pairs[:, :3] @ (shifts / repeats).T)
    sums = np.einsum("pk,pab->kab", phases, blocks)
    assert np.abs(sums - sums.conj().swapaxes(1, 2)).max() < 1e-12
    of_cell = np.sort(np.linalg.eigvalsh(sums).ravel())
    assert np.abs(of_supercell - of_cell).max() < 1e-11
    assert of_cell.min() > -1e-10
