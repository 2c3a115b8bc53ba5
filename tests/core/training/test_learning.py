"""The normal network learns: one structure to the last digit, and spin-orbit data."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.inference.predictor import Predictor
from deeph.testing import assert_compiles_at_most
from deeph.training.steps import Steps
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.testing import random_folder

Trainer = Callable[..., Any]


@pytest.mark.slow
def test_one_structure_is_learned_to_a_hundredth_of_a_mev(trainer: Trainer, tmp_path: Path) -> None:
    path = tmp_path / "data" / "dft" / "1"
    random_folder(path, atoms=4, orbital_map={"H": (0,), "C": (0, 1)}, cutoff=3.0)
    folder = StructureFolder(path, "1")
    toy = folder.hamiltonian()
    # Without symmetry any Hermitian matrix is possible; this one has no two-centre form.
    noise = 0.05 * np.random.default_rng(0).normal(size=len(toy.entries))
    expected = toy.with_entries(toy.entries + noise).hermitian()
    expected.write(folder.file("hamiltonian"))
    run = trainer(
        "run", f"inputs_dir={tmp_path / 'data'}", "train_size=1", "validate_size=0",
        "max_epoch=400", "net_irreps=16x0e+12x1o+8x2e", "scheduler.type=warmup_cosine_decay",
        "init_learning_rate=1e-2",
    )  # fmt: skip
    assert_compiles_at_most(run.training.steps.compiled, 1)
    ((_, found),) = Predictor.load(run.folder).predict([folder])
    error = 1e3 * np.abs(found.on_pairs(expected.atom_pairs).entries - expected.entries)
    untrained = 1e3 * run.display.losses[0][1] ** 0.5
    assert untrained > 10  # meV: what the baseline leaves
    assert error.mean() < 0.01, f"{error.mean():.4f} meV"
    # The training measures the same: Eq. 7.
    same = expected.on_pairs(found.atom_pairs, found.chunk_shapes)
    blocks = [np.mean((found.block(row) - same.block(row)) ** 2) for row in range(len(found))]
    np.testing.assert_allclose(np.mean(blocks), run.summary.best_loss, rtol=0.1)


@pytest.mark.slow
def test_an_interrupted_training_ends_as_one_that_ran_through(
    trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for the smallest network, but with all the sums of a real one.
    options = ("num_blocks=1", "net_irreps=4x0e+4x1o", "max_epoch=3")
    through = trainer("through", *options)
    with monkeypatch.context() as patch:
        step, done = Steps.train, []

        def interrupted(self: Steps, *arguments: Any) -> Any:
            done.append(1)
            if len(done) == 6:  # in the second epoch of four steps
                signal.raise_signal(signal.SIGINT)
            return step(self, *arguments)

        patch.setattr(Steps, "train", interrupted)
        part = trainer("stopped", *options)
    assert part.summary.stopped_because == "interrupted in epoch 2"
    rest = trainer("stopped", *options, resume=True)
    assert part.display.losses + rest.display.losses == through.display.losses
    first, second = through.model(), rest.model()
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.slow
def test_spin_orbit_data_are_learned(trainer: Trainer, dft_data: Callable[[str], Path]) -> None:
    root = dft_data("deeph/Bi2Se3_SOC_5")
    run = trainer(
        "run", f"inputs_dir={root}", "train_size=1", "validate_size=1", "max_epoch=2",
        "net_irreps=8x0e+4x1o+4x2e+4x3o+4x4e+2x5o", "num_blocks=1", "gaussian_basis_rmax=9.0",
    )  # fmt: skip
    losses = [line[1] for line in run.display.losses]
    assert losses[1] < losses[0]
    predictor = Predictor.load(run.folder)
    assert predictor.target.representation.spin == "soc"
    (example,) = run.training.validate.examples
    folder = Dataset.open(root)[example.name]
    ((_, found),) = predictor.predict([folder])
    assert found.dtype == np.complex128
    assert found.hermitian_error()[0] < 1e-10
    expected = folder.hamiltonian().on_pairs(found.atom_pairs, found.chunk_shapes)
    error = np.abs(found.entries - expected.entries)
    assert error.mean() < 0.05
