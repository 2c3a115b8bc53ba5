"""Every network learns one structure to the last digit: it can express any Hamiltonian."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.inference.predictor import Predictor
from deeph.networks import NETWORKS
from deeph.testing import assert_compiles_at_most, assert_equivariant
from deeph_spec.dataset import StructureFolder
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from deeph_spec.system import SystemInfo
from deeph_spec.testing import random_structure, toy_matrices

Trainer = Callable[..., Any]
SHELLS = {"H": (0,), "C": (0, 1)}
ELEMENTS = ("H", "H", "C", "C")
CHIRAL = [[1.2, 0.3, -0.2], [-0.5, -0.4, 1.3], [0.0, 0.0, 0.0], [0.1, 1.4, 0.4]]
FLAT = [[1.2, 0.3, 0.0], [-0.5, -1.2, 0.0], [0.0, 0.0, 0.0], [0.1, 1.4, 0.0]]
CUTOFFS = {"chiral": 3.0, "flat": 3.5, "crystal": 3.0}
EPOCHS = 300


def structure(shape: str) -> Structure:
    """Return four atoms: a molecule, chiral or flat, or a crystal without symmetry."""
    if shape == "crystal":
        return random_structure(("H", "C"), 4)
    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol in ELEMENTS])
    return Structure(15.0 * np.eye(3), np.array(FLAT if shape == "flat" else CHIRAL), numbers)


def written(path: Path, shape: str) -> StructureFolder:
    """Return a folder whose Hamiltonian is random on top of a model: nothing helps to guess it."""
    made = structure(shape)
    overlap, toy = toy_matrices(made, SHELLS, cutoff=CUTOFFS[shape])
    noise = 0.05 * np.random.default_rng(0).normal(size=len(toy.entries))
    path.mkdir(parents=True)
    made.write(path / "POSCAR")
    overlap.write(path / "overlap.h5", "overlap")
    hamiltonian = toy.with_entries(toy.entries + noise).hermitian()
    hamiltonian.write(path / "hamiltonian.h5", "hamiltonian")
    info = SystemInfo.for_structure(made, SHELLS, spin="none", fermi_level=-6.0, occupation=8.0)
    info.write(path / "info.json")
    return StructureFolder(path, path.name)


def overfitted(trainer: Trainer, folder: StructureFolder, name: str) -> Any:
    """Return a training on nothing but one structure."""
    return trainer(
        "run", f"inputs_dir={folder.path.parents[1]}", "train_size=1", "validate_size=0",
        f"max_epoch={EPOCHS}", f"net_type={name}", "net_irreps=8x0e+8x1o+6x2e",
        "scheduler.type=warmup_cosine_decay", "loss_scale_exponent=1",
        "optimizer.type=adam", "init_learning_rate=0.02",
        # `normal` sends messages over 0.6 of it: farther pairs cannot be told apart.
        "gaussian_basis_rmax=7.0",
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("shape", ["crystal", "chiral"])
def test_one_structure_is_learned_to_a_hundredth_of_a_mev(
    trainer: Trainer, tmp_path: Path, name: str, shape: str
) -> None:
    folder = written(tmp_path / "data" / "dft" / "1", shape)
    run = overfitted(trainer, folder, name)
    assert_compiles_at_most(run.training.steps.compiled, 1)
    predictor = Predictor.load(run.folder)
    ((_, found),) = predictor.predict([folder])
    expected = folder.hamiltonian().on_pairs(found.atom_pairs, found.chunk_shapes)
    error = 1e3 * np.abs(found.entries - expected.entries)
    untrained = 1e3 * run.display.losses[0][1] ** 0.5
    assert untrained > 10  # meV: what the baseline leaves
    assert error.mean() < 0.01, f"{error.mean():.4f} meV"
    # The training measures the same: Eq. 7.
    blocks = [np.mean((found.block(row) - expected.block(row)) ** 2) for row in range(len(found))]
    np.testing.assert_allclose(np.mean(blocks), run.summary.best_loss, rtol=0.3, atol=1e-12)
    # What was learned turns with the structure: the mirror image has the mirrored matrix.
    pairs = found.atom_pairs
    assert_equivariant(lambda turned: predictor(turned, pairs), folder.structure, SHELLS, rtol=2e-5)
    assert found.hermitian_error()[0] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_what_a_mirror_forbids_is_not_learned(trainer: Trainer, tmp_path: Path, name: str) -> None:
    # The negation: a network that learned this would know more than geometry.
    run = overfitted(trainer, written(tmp_path / "data" / "dft" / "1", "flat"), name)
    assert 1e3 * run.summary.best_loss**0.5 > 5  # meV
