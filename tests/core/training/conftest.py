"""Small trainings: tiny data, a network that is compiled in a second, a display that remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.config import TrainConfig, train_settings
from deeph.models.model_file import find_model, read_model
from deeph.networks import NETWORKS
from deeph.testing import BondNetwork
from deeph.training.display import SilentDisplay
from deeph.training.loop import TrainingSummary, train
from deeph.training.setup import Training
from deeph_spec.blocks import BlockMatrix
from deeph_spec.testing import random_folder

SHELLS = {"H": (0,), "C": (0, 0)}
"""Only s: what is tested here does not depend on angular momenta, and they take long to compile."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five structures, three of 2 atoms and two of 4."""
    root = tmp_path_factory.mktemp("data")
    for number, atoms in enumerate((2, 2, 4, 2, 4)):
        path = root / "dft" / f"{number + 1:04d}"
        random_folder(path, atoms=atoms, seed=number, orbital_map=SHELLS, cutoff=2.8)
    return root


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smallest network stand for the normal one."""
    monkeypatch.setitem(NETWORKS, "normal", BondNetwork)


@dataclass
class Watcher(SilentDisplay):
    """A display that remembers losses and may do something after an epoch."""

    losses: list[tuple[int, float, float | None, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    act: Callable[[int], None] = lambda number: None

    def note(self, text: str) -> None:
        self.notes.append(text)

    def epoch(
        self,
        number: int,
        seconds: float,
        train_loss: float,
        validation_loss: float | None,
        learning_rate_scale: float,
        maes: Mapping[str, str],
    ) -> None:
        self.losses.append((number, train_loss, validation_loss, learning_rate_scale))
        self.act(number)


@dataclass
class Run:
    """A folder of a run, and what happened in it."""

    folder: Path
    display: Watcher
    summary: TrainingSummary
    training: Training

    def model(self, which: str = "latest", epoch: int = -1) -> dict[str, np.ndarray]:
        """Return all arrays of a published model by their place."""
        return dict(_flat(read_model(find_model(self.folder, which, epoch))[0]))


def _flat(tree: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{name}/")
        else:
            yield f"{place}{name}", value


Trainer = Callable[..., Run]


@pytest.fixture
def settings(data: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes settings from ``key=value``."""

    def made(*overrides: str) -> TrainConfig:
        tables = {
            "data": {"inputs_dir": str(data), "outputs_dir": str(tmp_path / "runs")},
            "model": {
                "advanced": {
                    "net_irreps": "8x0e+6x1o+4x2e",
                    "gaussian_basis_rmax": 4.0,
                    "num_blocks": 2,
                }
            },
            "process": {
                "train": {
                    "max_epoch": 4,
                    "dataloader": {"batch_size": 1, "train_size": 4, "validate_size": 1},
                    "optimizer": {"type": "adam", "init_learning_rate": 0.02},
                    "scheduler": {"patience": 1, "cooldown": 0, "rtol": 0.3, "factor": 0.7},
                }
            },
        }
        return train_settings(tables, None, overrides)

    return made


@pytest.fixture
def trainer(
    settings: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Trainer:
    """Return a function that trains in a folder with settings ``key=value``."""
    from deeph.training import loop

    prepared: list[Training] = []
    set_up = loop.set_up

    def remembered(*arguments: Any) -> Training:
        prepared.append(set_up(*arguments))
        return prepared[-1]

    monkeypatch.setattr(loop, "set_up", remembered)

    def run(
        name: str,
        *overrides: str,
        resume: bool = False,
        act: Callable[[int], None] = lambda number: None,
    ) -> Run:
        folder, display = tmp_path / name, Watcher(act=act)
        folder.mkdir(exist_ok=True)
        summary = train(settings(*overrides), folder, display, resume)
        return Run(folder, display, summary, prepared[-1])

    return run


@pytest.fixture(scope="session")
def without_moments() -> Callable[[BlockMatrix], BlockMatrix]:
    """Return a function that makes a matrix with spin even under time reversal."""

    def mean(matrix: BlockMatrix) -> BlockMatrix:
        """Return the mean of H and sigma_y H* sigma_y."""
        result = matrix.with_entries(np.empty_like(matrix.entries))
        sigma = np.array([[0, -1], [1, 0]])  # i sigma_y, up to the sign
        for row in range(len(matrix)):
            block = matrix.block(row)
            left, right = (np.kron(sigma, np.eye(size // 2)) for size in block.shape)
            result.block(row)[...] = (block + left @ block.conj() @ right.T) / 2
        return result

    return mean
