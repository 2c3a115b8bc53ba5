"""The two-centre rule beside its negations: whatever it must see, and what it cannot see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.codes import Calculation, Eigenvalues
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.proofs import (
    axis_rotations,
    eigenvalue_deviation,
    orbital_rotations,
    two_centre,
)
from deeph_dock.testing import assert_two_centre
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.orbitals import real_harmonics
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure, toy_matrices

VIOLATED = 0.1


@pytest.fixture(scope="module")
def silicon(dft_data: Callable[[str], Path]) -> Calculation:
    return SIESTA.read(dft_data("siesta/bands_check/SiC"), "SiC")


def _permuted(matrix: BlockMatrix, order: np.ndarray, signs: np.ndarray) -> BlockMatrix:
    """Take rows and columns of every block in another order and with other signs."""
    groups = [
        (rows, stack[:, order][:, :, order] * np.outer(signs, signs))
        for rows, stack in matrix.by_shape()
    ]
    return BlockMatrix.from_stacks(matrix.atom_pairs, matrix.chunk_shapes, groups)


def _violation(calculation: Calculation, overlap: BlockMatrix) -> float:
    return two_centre(calculation.structure, calculation.info.orbital_map, overlap).violation


# The orbitals of Si and C here: s s | y z x | y z x | xy yz z2 xz x2-y2.
IDENTITY = np.arange(13)


def _order(**shells: list[int]) -> np.ndarray:
    order = IDENTITY.copy()
    for start, width, name in ((2, 3, "p"), (5, 3, "p"), (8, 5, "d")):
        if name in shells:
            order[start : start + width] = start + np.array(shells[name])
    return order


def _signs(**shells: list[int]) -> np.ndarray:
    signs = np.ones(13)
    for start, width, name in ((2, 3, "p"), (5, 3, "p"), (8, 5, "d")):
        if name in shells:
            signs[start : start + width] = shells[name]
    return signs


def test_converted_overlap_obeys_the_rule(silicon: Calculation) -> None:
    overlap = silicon.matrices["overlap"]()
    assert _violation(silicon, overlap) < 1e-7


@pytest.mark.parametrize(
    ("name", "order", "signs"),
    [
        ("p as x, y, z", _order(p=[2, 0, 1]), _signs()),
        ("d scrambled", _order(d=[2, 4, 0, 3, 1]), _signs()),
        ("signs of SIESTA left in p", IDENTITY, _signs(p=[-1, 1, -1])),
        ("signs of SIESTA left in d", IDENTITY, _signs(d=[1, -1, 1, -1, 1])),
        ("signs for m > 0 only", IDENTITY, _signs(d=[1, 1, 1, -1, 1], p=[1, 1, -1])),
        ("one sign of xy", IDENTITY, _signs(d=[-1, 1, 1, 1, 1])),
    ],
)
def test_wrong_order_or_sign_is_seen(
    silicon: Calculation, name: str, order: np.ndarray, signs: np.ndarray
) -> None:
    wrong = _permuted(silicon.matrices["overlap"](), order, signs)
    assert _violation(silicon, wrong) > VIOLATED, name
    with pytest.raises(AssertionError, match="violates the two-centre rule"):
        assert_two_centre(silicon.structure, silicon.info.orbital_map, wrong)


def test_reversed_lattice_vectors_are_seen(silicon: Calculation) -> None:
    overlap = silicon.matrices["overlap"]()
    pairs = overlap.atom_pairs * np.array([-1, -1, -1, 1, 1])
    wrong = BlockMatrix(pairs, overlap.chunk_shapes, overlap.chunk_boundaries, overlap.entries)
    assert _violation(silicon, wrong) > VIOLATED


def test_atom_moved_by_a_lattice_vector_is_seen(silicon: Calculation) -> None:
    structure = silicon.structure
    positions = structure.positions.copy()
    positions[1] += structure.lattice[0]
    moved = Structure(structure.lattice, positions, structure.numbers)
    result = two_centre(moved, silicon.info.orbital_map, silicon.matrices["overlap"]())
    assert result.violation > VIOLATED


def test_sign_of_a_whole_shell_cannot_be_seen(silicon: Calculation) -> None:
    """It is a gauge; the rule says nothing about it."""
    turned = _permuted(silicon.matrices["overlap"](), IDENTITY, _signs(d=[-1] * 5))
    assert _violation(silicon, turned) < 1e-7


@pytest.mark.parametrize("seed", range(3))
def test_every_l_up_to_four_is_covered(seed: int) -> None:
    shells = {"H": (1, 0, 3), "C": (4, 2, 0, 1)}
    structure = random_structure(("H", "C"), 4, seed)
    overlap, _ = toy_matrices(structure, shells)
    result = two_centre(structure, shells, overlap)
    assert result.violation < 1e-12
    assert result.checked == result.available == len(overlap) - 4
    wrong = toy_matrices(structure, {"H": (1, 0, 3), "C": (4, 2, 1, 0)})[0]
    assert two_centre(structure, shells, wrong).violation > 1e-3


def test_sample_is_the_same_every_time() -> None:
    structure = random_structure(("H", "C"), 8, 0)
    shells = {"H": (0, 0, 1), "C": (0, 0, 1, 1, 2)}
    overlap, _ = toy_matrices(structure, shells)
    first, again = (two_centre(structure, shells, overlap, at_most=20) for _ in range(2))
    assert first == again
    assert first.checked == 20 < first.available


def test_isolated_atoms_prove_nothing() -> None:
    structure = Structure(20 * np.eye(3), np.zeros((1, 3)), np.array([1]))
    overlap, _ = toy_matrices(structure, {"H": (0, 1)})
    result = two_centre(structure, {"H": (0, 1)}, overlap)
    assert (result.violation, result.pair, result.available) == (0.0, None, 0)
    with pytest.raises(AssertionError, match="prove nothing"):
        assert_two_centre(structure, {"H": (0, 1)}, overlap)


def test_blocks_of_another_basis_are_refused() -> None:
    structure = random_structure(("H",), 2, 0)
    overlap, _ = toy_matrices(structure, {"H": (0, 1)})
    with pytest.raises(InputError, match=r"a block between H and H is 4 x 4, their shells have 9"):
        two_centre(structure, {"H": (0, 1, 2)}, overlap)


def test_axis_rotations_are_proper_and_turn_to_z() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate([rng.standard_normal((50, 3)), np.eye(3), -np.eye(3)])
    rotations = axis_rotations(vectors)
    np.testing.assert_allclose(np.linalg.det(rotations), 1, atol=1e-14)
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.tile(np.eye(3), (56, 1, 1)), atol=1e-14
    )
    turned = np.einsum("pij,pj->pi", rotations, vectors)
    length = np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(turned, length[:, None] * [0, 0, 1], atol=1e-13)


def test_orbital_rotations_turn_real_harmonics() -> None:
    rng = np.random.default_rng(1)
    rotations = axis_rotations(rng.standard_normal((5, 3)))
    r = rng.standard_normal(3)
    shells = (2, 0, 1)
    before = np.concatenate([real_harmonics(k, r) for k in shells])
    after = np.concatenate([real_harmonics(k, rotations @ r) for k in shells], axis=1)
    np.testing.assert_allclose(orbital_rotations(shells, rotations) @ before, after, atol=1e-13)


# -- eigenvalues ----------------------------------------------------------------------------------


def test_eigenvalues_are_compared_below_the_limit_only(silicon: Calculation) -> None:
    assert silicon.eigenvalues is not None
    reference = silicon.eigenvalues()
    level = silicon.info.fermi_level
    assert level is not None
    matrices = [silicon.matrices[name]() for name in ("hamiltonian", "overlap")]

    def deviation(shift: np.ndarray) -> float:
        wrong = Eigenvalues(reference.kpoints, reference.energies + shift, level)
        return eigenvalue_deviation(
            silicon.structure, silicon.info, *matrices, wrong, kpoints=2
        ).largest

    above = reference.energies > level + 6
    assert deviation(np.where(above, 0.5, 0.0)) < 1e-4
    assert deviation(np.where(above, 0.0, 0.01)) == pytest.approx(0.01, abs=1e-4)


def test_eigenvalues_of_another_calculation_are_refused(silicon: Calculation) -> None:
    matrices = [silicon.matrices[name]() for name in ("hamiltonian", "overlap")]
    wrong = Eigenvalues(np.zeros((1, 3)), np.zeros((1, 1, 27)))
    with pytest.raises(InputError, match=r"27 bands in 1 spin channels in the reference, 26 in 1"):
        eigenvalue_deviation(silicon.structure, silicon.info, *matrices, wrong)


def test_the_lowest_bands_are_enough(silicon: Calculation) -> None:
    assert silicon.eigenvalues is not None
    matrices = [silicon.matrices[name]() for name in ("hamiltonian", "overlap")]
    reference = silicon.eigenvalues()
    few = Eigenvalues(reference.kpoints, reference.energies[..., :4], reference.fermi_level)
    result = eigenvalue_deviation(silicon.structure, silicon.info, *matrices, few, kpoints=2)
    assert result.largest < 1e-4
    assert result.states == 2 * 4
