"""Training with other losses, and modulo mu S: the zero of energy of a structure is not learned."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.inference.predictor import Predictor
from deeph_spec.dataset import Dataset, StructureFolder

Trainer = Callable[..., Any]
GAUGE = ("data.graph.graph_type=HS", "model.advanced.standardize_gauge=true")


@pytest.fixture
def moved(data: Path, tmp_path: Path) -> Path:
    """The same structures, each with another zero of energy."""
    root = tmp_path / "moved"
    shutil.copytree(data, root)
    for number, folder in enumerate(Dataset.open(root)):
        h, s = folder.hamiltonian(), folder.overlap()
        mu = (-1) ** number * (2.0 + number)
        shifted = h.entries + mu * s.on_pairs(h.atom_pairs, h.chunk_shapes).entries
        h.with_entries(shifted).write(folder.path / "hamiltonian.h5", "hamiltonian")
    return root


@pytest.mark.usefixtures("quick")
def test_the_zero_of_energy_changes_nothing_of_a_training(trainer: Trainer, moved: Path) -> None:
    first = trainer("first", *GAUGE)
    second = trainer("second", *GAUGE, f"data.inputs_dir={moved}")
    for one, other in zip(first.display.losses, second.display.losses, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4)
    before, after = first.model(), second.model()
    assert before.keys() == after.keys()
    largest = max(float(np.abs(x).max(initial=0)) for x in before.values())
    for name, array in before.items():
        np.testing.assert_allclose(after[name], array, atol=1e-4 * largest, err_msg=name)
    # Without it the zeros are what there is to learn.
    plain = trainer("third", f"data.inputs_dir={moved}")
    assert plain.display.losses[0][1] > 3 * first.display.losses[0][1]


@pytest.mark.usefixtures("quick")
def test_predictions_modulo_mu_s_are_as_good_as_the_training_says(
    trainer: Trainer, moved: Path
) -> None:
    from deeph_dock.metrics import hamiltonian_error

    run = trainer("run", *GAUGE, "model.loss_type=mae", "model.advanced.loss_average=element",
                  "model.advanced.loss_scale_exponent=1", f"data.inputs_dir={moved}")  # fmt: skip
    (example,) = run.training.validate.examples
    folder = Dataset.open(moved)[example.name]
    ((_, found),) = Predictor.load(run.folder).predict([folder])
    error = hamiltonian_error(found, folder.hamiltonian(), folder.overlap())
    assert abs(error.mu) > 1.0  # the zero of this structure is nowhere in the model
    loss = run.summary.best_loss
    assert 1e-3 * error.mae_gauge_free.all == pytest.approx(loss, rel=1e-3)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "options",
    [
        ("model.loss_type=wmae",),
        ("model.loss_type=huber", "model.advanced.huber_delta=0.05"),
        ("model.loss_type=mae", "model.advanced.loss_space=irreps"),
        ("model.loss_type=wmae", "model.advanced.loss_average=element"),
    ],
    ids=lambda options: " ".join(option.split("=")[-1] for option in options),
)
def test_every_loss_is_lowered(trainer: Trainer, options: tuple[str, ...]) -> None:
    losses = [
        line[1] for line in trainer("run", "process.train.max_epoch=6", *options).display.losses
    ]
    assert losses[-1] < 0.99 * losses[0]  # by a network that can learn little


def test_folder_without_an_overlap_is_named(trainer: Trainer, moved: Path) -> None:
    from deeph_spec.errors import InputError

    folder = StructureFolder(moved / "dft/0002", "0002")
    folder.file("overlap").unlink()
    with pytest.raises(InputError, match=r"0002.*overlap\.h5"):
        trainer("run", *GAUGE, f"data.inputs_dir={moved}", "process.train.dataloader.train_size=4")
