"""Sparse matrices over orbitals become blocks: against loops, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deeph_dock.orbital_elements import Elements, Layout, _unique, find_blocks, make_pattern
from deeph_dock.spin_blocks import adjoint, collinear, spinor
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

FILE = Path("some.file")
CELLS = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0]])


def random_layout(rng: np.random.Generator, atoms: int) -> Layout:
    """Give a layout whose atoms' orbitals may be scattered."""
    sizes = rng.integers(1, 4, atoms)
    of_orbital = rng.permutation(np.repeat(np.arange(atoms), sizes))
    places = np.empty(len(of_orbital), dtype=np.int64)
    for atom, size in enumerate(sizes):
        places[of_orbital == atom] = rng.permutation(size)
    return Layout(of_orbital, places, rng.choice([-1, 1], len(of_orbital)).astype(np.int8))


def random_elements(
    rng: np.random.Generator, orbitals: int
) -> tuple[Elements, NDArray[np.float64]]:
    """Give distinct elements in three images, at least one."""
    size = len(CELLS) * orbitals**2
    chosen = rng.permutation(size)[: rng.integers(1, size + 1)]
    if rng.random() < 0.5:
        chosen.sort()
    image, row, column = np.unravel_index(chosen, (len(CELLS), orbitals, orbitals))
    where = (index.astype(np.int32) for index in (row, column, image))
    return Elements(*where), rng.standard_normal(len(chosen))


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_each_element_lands_where_a_loop_puts_it(seed: int, atoms: int) -> None:
    rng = np.random.default_rng(seed)
    layout = random_layout(rng, atoms)
    elements, values = random_elements(rng, len(layout.atoms))
    blocks = find_blocks(layout.atoms, elements)
    pattern = make_pattern(layout, elements, blocks, CELLS[blocks.images], FILE)
    matrix = pattern.fill(values, 2.0)
    expected = {
        tuple(pair): np.zeros(shape)
        for pair, shape in zip(pattern.pairs.tolist(), pattern.shapes, strict=True)
    }
    for e, value in enumerate(values):
        row, column = elements.rows[e], elements.columns[e]
        pair = (
            *CELLS[elements.images[e]].tolist(),
            int(layout.atoms[row]),
            int(layout.atoms[column]),
        )
        sign = int(layout.signs[row]) * int(layout.signs[column])
        expected[pair][layout.places[row], layout.places[column]] = 2.0 * sign * value
    for p, pair in enumerate(matrix.atom_pairs.tolist()):
        np.testing.assert_array_equal(matrix.block(p), expected[tuple(pair)])
    assert pattern.pairs.tolist() == sorted(pattern.pairs.tolist())
    assert (matrix.partner_rows() >= 0).all()


@given(st.lists(st.integers(0, 40), min_size=1), st.sampled_from([1, 10**6]))
def test_blocks_are_numbered_as_numpy_does_it(keys: list[int], spread: int) -> None:
    array = np.array(keys) * spread
    expected = np.unique(array, return_index=True, return_inverse=True)
    for ours, theirs in zip(_unique(array), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_an_element_that_occurs_twice_is_refused() -> None:
    layout = Layout(np.array([0, 0]), np.array([0, 1]), np.ones(2, np.int8))
    ones, zeros = np.ones(2, np.int32), np.zeros(2, np.int32)
    elements = Elements(ones, zeros, zeros)
    blocks = find_blocks(layout.atoms, elements)
    with pytest.raises(InputError, match=r"some\.file: row and column indices: .* twice"):
        make_pattern(layout, elements, blocks, CELLS[blocks.images], FILE)


def test_two_images_on_one_lattice_vector_are_refused() -> None:
    layout = Layout(np.array([0]), np.array([0]), np.ones(1, np.int8))
    elements = Elements(np.zeros(2, np.int32), np.zeros(2, np.int32), np.arange(2, dtype=np.int32))
    blocks = find_blocks(layout.atoms, elements)
    with pytest.raises(InputError, match="one lattice vector"):
        make_pattern(layout, elements, blocks, np.zeros((2, 3), np.int64), FILE)


def test_a_missing_transposed_element_is_seen() -> None:
    layout = Layout(np.array([0, 0]), np.array([0, 1]), np.ones(2, np.int8))
    where = np.array([0, 0, 1], np.int32), np.array([0, 1, 1], np.int32), np.zeros(3, np.int32)
    elements = Elements(*where)
    blocks = find_blocks(layout.atoms, elements)
    assert not make_pattern(layout, elements, blocks, CELLS[blocks.images], FILE).is_symmetric()


def random_matrix(rng: np.random.Generator) -> BlockMatrix:
    """Give complex blocks of two shapes on pairs closed under partners."""
    pairs = [[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [-1, 0, 0, 1, 0], [1, 0, 0, 0, 1]]
    sizes = np.array([2, 3])
    matrix = BlockMatrix.zeros(pairs, sizes[np.array(pairs)[:, 3:]], np.complex128)
    entries = rng.standard_normal((2, len(matrix.entries)))
    return matrix.with_entries(entries[0] + 1j * entries[1])


def test_parts_of_spin_stand_where_the_format_says() -> None:
    rng = np.random.default_rng(1)
    uu, ud, du, dd = (random_matrix(rng) for _ in range(4))
    full, diagonal = spinor(uu, ud, du, dd), collinear(uu, dd)
    for p in range(len(uu)):
        parts = [[uu.block(p), ud.block(p)], [du.block(p), dd.block(p)]]
        np.testing.assert_array_equal(full.block(p), np.block(parts))
        zero = np.zeros_like(uu.block(p))
        np.testing.assert_array_equal(
            diagonal.block(p), np.block([[uu.block(p), zero], [zero, dd.block(p)]])
        )


def test_the_adjoint_of_a_matrix_is_its_partner_conjugated() -> None:
    matrix = random_matrix(np.random.default_rng(2))
    partner = matrix.partner_rows()
    result = adjoint(matrix)
    for p in range(len(matrix)):
        np.testing.assert_array_equal(result.block(p), matrix.block(partner[p]).conj().T)
