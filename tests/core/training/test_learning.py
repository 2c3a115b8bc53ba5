"""The normal network learns: the same when interrupted, and spin-orbit data."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.inference.predictor import Predictor
from deeph.training.steps import Steps
from deeph_spec.dataset import Dataset

Trainer = Callable[..., Any]


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
