"""Supercells: as many atoms as the determinant says, and the same surroundings of each."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_dock.structures.supercell import cells_of, repeat, supercell
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure
from hypothesis import assume, given, settings
from hypothesis import strategies as st

matrices = st.lists(st.integers(-3, 3), min_size=9, max_size=9).map(
    lambda numbers: np.array(numbers).reshape(3, 3)
)


def distances_around(structure: Structure, atom: int, cutoff: float) -> np.ndarray:
    """Give all distances below a cutoff from an atom, sorted."""
    heights = 1 / np.linalg.norm(np.linalg.inv(structure.lattice), axis=0)
    reach = np.ceil(cutoff / heights).astype(int) + 1
    axes = [np.arange(-n, n + 1) for n in reach]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3) @ structure.lattice
    wrapped = (structure.fractional % 1) @ structure.lattice
    vectors = wrapped + cells[:, None] - wrapped[atom]
    distances = np.sort(np.linalg.norm(vectors, axis=-1).ravel())
    return distances[distances < cutoff]


@settings(max_examples=60, deadline=None)
@given(matrices)
def test_cells_fill_the_supercell_once(matrix):
    volume = round(np.linalg.det(matrix))
    assume(volume)
    cells = cells_of(matrix)
    assert len(cells) == abs(volume)
    # No two of them differ by a vector of the supercell.
    fractions = cells @ np.linalg.inv(matrix)
    assert len(np.unique(np.round(fractions % 1 % 1, 9) % 1, axis=0)) == abs(volume)
    assert cells.tolist() == sorted(cells.tolist())


@pytest.mark.parametrize(
    "matrix",
    [
        [[2, 0, 0], [0, 3, 0], [0, 0, 1]],
        [[1, 1, 0], [-1, 1, 0], [0, 0, 2]],
        [[0, 1, 1], [1, 0, 1], [1, 1, 0]],
        [[-1, 0, 0], [0, 2, 0], [0, 0, 1]],  # left-handed, as asked for
    ],
)
def test_every_atom_keeps_its_surroundings(matrix):
    structure = random_structure(("C", "H"), 3, 1)
    large = supercell(structure, matrix)
    count = abs(round(np.linalg.det(matrix)))
    assert len(large) == 3 * count
    assert large.volume == pytest.approx(count * structure.volume)
    for atom in range(3):
        expected = distances_around(structure, atom, 6.0)
        for image in range(count):
            found = distances_around(large, atom * count + image, 6.0)
            assert found == pytest.approx(expected, abs=1e-10)


def test_order_of_atoms():
    structure = random_structure(("C", "H"), 4, 0)
    matrix = [[2, 0, 0], [1, 2, 0], [0, 0, 1]]
    large = supercell(structure, matrix)
    cells = cells_of(matrix)
    assert large.numbers.tolist() == np.repeat(structure.numbers, 4).tolist()
    for atom in range(4):
        expected = structure.positions[atom] + cells @ structure.lattice
        assert np.array_equal(large.positions[4 * atom : 4 * atom + 4], expected)


def test_the_step_tells_its_matrix():
    structure = random_structure(("C",), 2, 0)
    large, facts = repeat(structure, np.random.default_rng(0), np.diag([1, 1, 2]))
    assert len(large) == 4
    assert facts == {"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}


def test_a_flat_supercell_is_refused():
    with pytest.raises(InputError, match="spans no volume"):
        cells_of([[1, 1, 0], [2, 2, 0], [0, 0, 1]])
