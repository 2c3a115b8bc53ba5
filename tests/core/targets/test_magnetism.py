"""Magnetic matrices: what is refused, what is left out, what is kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deeph.targets import HamiltonianTarget, TargetSettings
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError
from deeph_spec.testing import random_dataset

SHELLS = {"H": (0,), "C": (0, 1)}


def dataset(path: Path, spin: str, atoms: int = 2) -> Dataset:
    return Dataset.open(
        random_dataset(path, 2, atoms=atoms, cutoff=2.8, orbital_map=SHELLS, spin=spin)
    )


def target_of(data: Dataset, setting: str, lines: list[str] | None = None) -> HamiltonianTarget:
    said = [] if lines is None else lines
    settings = TargetSettings(time_reversal=setting)
    return HamiltonianTarget.of_data(data, data.ids, settings, said.append)


def time_even(matrix: BlockMatrix) -> BlockMatrix:
    """Return the mean of H and sigma_y H* sigma_y."""
    result = matrix.with_entries(np.empty_like(matrix.entries))
    sigma = np.array([[0, -1], [1, 0]])  # i sigma_y, up to the sign
    for row in range(len(matrix)):
        block = matrix.block(row)
        left, right = (np.kron(sigma, np.eye(size // 2)) for size in block.shape)
        result.block(row)[...] = (block + left @ block.conj() @ right.T) / 2
    return result


def spins_exchanged(matrix: BlockMatrix, atoms: list[int]) -> BlockMatrix:
    """Return a collinear matrix whose on-site blocks of some atoms have up and down exchanged."""
    result = matrix.with_entries(matrix.entries.copy())
    for row in np.flatnonzero(matrix.on_site()):
        if matrix.atom_pairs[row, 3] in atoms:
            block = matrix.block(int(row))
            n = len(block) // 2
            result.block(int(row))[:n, :n], result.block(int(row))[n:, n:] = (
                block[n:, n:], block[:n, :n],
            )  # fmt: skip
    return result


def blocks_again(target: HamiltonianTarget, data: Dataset) -> tuple[BlockMatrix, BlockMatrix]:
    """Return a matrix after its way through labels and back, and the one of the file."""
    example = target.example(data.folders[0])
    baseline = target.fit([example])
    labels = target.labels(example, baseline)
    found = target.blocks(example.source, labels.node_residual, labels.edge_residual, baseline)
    expected = data.folders[0].hamiltonian()
    return found.on_pairs(expected.atom_pairs, expected.chunk_shapes), expected


@pytest.mark.parametrize("spin", ["collinear", "soc"])
def test_magnetic_data_are_refused_in_one_line(tmp_path: Path, spin: str) -> None:
    data = dataset(tmp_path, spin)
    with pytest.raises(InputError) as error:
        target_of(data, "auto")
    text = str(error.value)
    assert "hamiltonian.h5: entries: the Hamiltonian is magnetic" in text
    assert str(tmp_path) in text
    assert "non-magnetic" in text


@pytest.mark.parametrize("spin", ["collinear", "soc"])
def test_without_moments_spin_is_half_the_work(tmp_path: Path, spin: str) -> None:
    data = dataset(tmp_path, spin)
    for folder in data:
        time_even(folder.hamiltonian()).write(folder.file("hamiltonian"))
    full = target_of(data, "false").representation
    for setting in ("auto", "true"):
        lines: list[str] = []
        target = target_of(data, setting, lines)
        assert (target.representation.spin, target.representation.time_reversal) == (spin, True)
        assert 2 * target.representation.channels.size == full.channels.size
        found, expected = blocks_again(target, data)
        np.testing.assert_allclose(found.entries, expected.entries, atol=1e-11)
        assert found.dtype == expected.dtype
        assert lines == []


@pytest.mark.parametrize("spin", ["collinear", "soc"])
def test_true_leaves_out_what_is_there_and_says_so(tmp_path: Path, spin: str) -> None:
    data, lines = dataset(tmp_path, spin), []
    target = target_of(data, "true", lines)
    found, expected = blocks_again(target, data)
    np.testing.assert_allclose(found.entries, time_even(expected).entries, atol=1e-11)
    (line,) = lines
    assert line.startswith("Warning: time_reversal = true leaves out")


def test_false_keeps_a_ferromagnet(tmp_path: Path) -> None:
    data = dataset(tmp_path, "collinear")
    target = target_of(data, "false")
    assert not target.representation.time_reversal
    assert HamiltonianTarget.of_description(target.description) == target
    found, expected = blocks_again(target, data)
    assert np.abs(expected.entries - time_even(expected).entries).max() > 0.1
    np.testing.assert_allclose(found.entries, expected.entries, atol=1e-11)


def test_equal_atoms_with_different_spin_are_refused(tmp_path: Path) -> None:
    data = dataset(tmp_path, "collinear", atoms=4)
    folder = data.folders[1]
    carbon = [n for n, s in enumerate(folder.structure.symbols) if s == "C"]
    assert len(carbon) == 2
    spins_exchanged(folder.hamiltonian(), carbon[:1]).write(folder.file("hamiltonian"))
    with pytest.raises(InputError, match="atoms of C have moments of both signs"):
        target_of(data, "false")
    # The same, though each structure for itself is a ferromagnet: +M and -M.
    data = dataset(tmp_path, "collinear", atoms=4)
    folder = data.folders[1]
    everything = list(range(4))
    spins_exchanged(folder.hamiltonian(), everything).write(folder.file("hamiltonian"))
    with pytest.raises(InputError, match="have moments of both signs"):
        target_of(data, "false")


def test_false_cannot_make_magnetic_spin_orbit_data_learnable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the Hamiltonian is magnetic"):
        target_of(dataset(tmp_path, "soc"), "false")
