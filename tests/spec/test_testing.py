"""The toy datasets obey the physics that tests of other packages rely on."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_spec.dataset import Dataset
from deeph_spec.orbitals import shell_offsets, wigner_matrices
from deeph_spec.testing import (
    SHELLS,
    assert_hermitian,
    neighbour_pairs,
    random_dataset,
    random_folder,
    random_structure,
    toy_matrices,
)
from deeph_spec.validation import validate_dataset, validate_folder

MAPS = SHELLS | {"Fe": (0, 3, 1), "S": (2, 0)}


def atom_rotation(shells, rotation):
    offsets = shell_offsets(shells)
    matrix = np.zeros((offsets[-1], offsets[-1]))
    for place, shell in enumerate(shells):
        part = slice(offsets[place], offsets[place + 1])
        matrix[part, part] = wigner_matrices(shell, rotation)
    return matrix


@pytest.mark.parametrize("determinant", [1.0, -1.0])
def test_the_toy_matrices_are_equivariant(determinant):
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(3, 3)))[0]
    rotation *= determinant * np.linalg.det(rotation)
    structure = random_structure(("Fe", "S", "H"), 5, seed=2)
    turned = structure.rotated(rotation)
    by_atom = [atom_rotation(MAPS[symbol], rotation) for symbol in structure.symbols]
    for matrix, expected in zip(
        toy_matrices(turned, MAPS), toy_matrices(structure, MAPS), strict=True
    ):
        assert np.array_equal(matrix.atom_pairs, expected.atom_pairs)
        for row, (*_, i, j) in enumerate(expected.atom_pairs.tolist()):
            block = by_atom[i] @ expected.block(row) @ by_atom[j].T
            assert np.allclose(matrix.block(row), block, atol=1e-12)


def test_the_overlap_obeys_the_two_centre_rule_and_is_positive():
    structure = random_structure(("O", "C"), 6, seed=1)
    overlap, hamiltonian = toy_matrices(structure)
    for matrix in (overlap, hamiltonian):
        assert_hermitian(matrix, 1e-14)
    vectors = structure.pair_vectors(overlap.atom_pairs)
    largest = 0.0
    for row in np.flatnonzero(~overlap.on_site()).tolist():
        z = vectors[row] / np.linalg.norm(vectors[row])
        x = np.cross(z, [0.31, 0.77, -0.4])
        x /= np.linalg.norm(x)
        frame = np.stack([x, np.cross(z, x), z])
        i, j = overlap.atom_pairs[row, 3:].tolist()
        left, right = (atom_rotation(SHELLS[structure.symbols[atom]], frame) for atom in (i, j))
        block = left @ overlap.block(row) @ right.T
        if structure.symbols[i] == structure.symbols[j] == "O":
            p, d = slice(1, 4), slice(4, 9)
            sigma_pi = block[p, d]
            kept = np.zeros_like(sigma_pi)
            for m in (-1, 0, 1):
                kept[1 + m, 2 + m] = sigma_pi[1 + m, 2 + m]
            assert np.allclose(sigma_pi, kept, atol=1e-13)
            assert sigma_pi[0, 1] == pytest.approx(sigma_pi[2, 3], abs=1e-13)
            largest = max(largest, np.abs(sigma_pi).max())
    assert largest > 0.01
    gamma = np.zeros((6, 9, 6, 9))
    for row, (*_, i, j) in enumerate(overlap.atom_pairs.tolist()):
        block = overlap.block(row)
        gamma[i, : block.shape[0], j, : block.shape[1]] += block
    values = np.linalg.eigvalsh(gamma.reshape(54, 54))
    orbitals = sum(9 if symbol == "O" else 5 for symbol in structure.symbols)
    assert values[-orbitals] > 0.3  # the other rows are padding


def test_neighbours_are_all_pairs_within_the_cutoff():
    structure = random_structure(("H",), 3, seed=4)
    pairs = neighbour_pairs(structure, 4.0)
    images = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    expected = {
        (*image.tolist(), i, j)
        for image in images
        for i in range(3)
        for j in range(3)
        if np.linalg.norm(
            structure.positions[j] + image @ structure.lattice - structure.positions[i]
        )
        < 4.0
    }
    assert set(map(tuple, pairs.tolist())) == expected


@pytest.mark.parametrize("atoms", [1, 2, 7, 9])
def test_atoms_keep_their_distance(atoms):
    for seed in range(5):
        structure = random_structure(("O", "H"), atoms, seed)
        pairs = neighbour_pairs(structure, 5.0)
        distances = np.linalg.norm(structure.pair_vectors(pairs), axis=1)
        assert np.count_nonzero(distances == 0) == atoms
        assert distances[distances > 0].min() > 1.2


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
def test_random_datasets_are_valid_and_equal_for_equal_seeds(tmp_path, spin):
    for name in ("a", "b"):
        random_dataset(tmp_path / name, 2, spin=spin, elements=("O", "H", "C"), atoms=5, seed=3)
    assert validate_dataset(tmp_path / "a") == []
    dataset = Dataset.open(tmp_path / "a")
    assert dataset.ids == ("0001", "0002")
    assert dataset.spin == spin
    for path in (tmp_path / "a").rglob("*"):
        if path.is_file():
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert other.read_bytes() == path.read_bytes()
    first, second = (folder.hamiltonian() for folder in dataset)
    assert first.entries.shape != second.entries.shape or not np.array_equal(
        first.entries, second.entries
    )


def test_spin_parts_of_the_toy_hamiltonian():
    structure = random_structure(("O", "H"), 2, seed=0)
    plain, collinear, soc = (
        toy_matrices(structure, spin=spin)[1] for spin in ("none", "collinear", "soc")
    )
    for row in range(len(plain)):
        n, m = plain.chunk_shapes[row]
        block, full = collinear.block(row), soc.block(row)
        assert not block[:n, m:].any()
        assert not block[n:, :m].any()
        assert np.allclose((block[:n, :m] + block[n:, m:]) / 2, plain.block(row))
        assert np.allclose((full[:n, :m] + full[n:, m:]) / 2, plain.block(row))
        # time reversal turns every spin: the coupling obeys du = -ud*
        assert np.allclose(full[n:, :m], -full[:n, m:].conj())
    assert np.abs(soc.entries.imag).max() > 0.1
    # Lz: <y| Lz |x> = +i with a positive strength, upper left block, order y z x
    oxygen = next(row for row in np.flatnonzero(soc.on_site()) if soc.chunk_shapes[row, 0] == 18)
    assert soc.block(oxygen)[1, 3].imag > 0.1


def test_single_precision_folder(tmp_path):
    folder = random_folder(tmp_path / "x", dtype=np.float32)
    assert Dataset.open(folder)["x"].hamiltonian().dtype == np.float32
    assert validate_folder(folder) == []
