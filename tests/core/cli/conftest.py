"""A command line that runs in this process, and an engine that is quick and known."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph.inference.sizing import Plan, plan
from deeph.models.model_file import find_model, model_identity, publish_model, read_model
from deeph.networks.memory import Memory
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.testing import random_dataset


@dataclass
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    def line(self) -> str:
        """Return the one line of error that the command must have printed."""
        assert self.code != 0, self.out
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


Command = Callable[..., Result]


@pytest.fixture
def deeph(capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs ``deeph`` with the given arguments."""
    from deeph.cli import app
    from deeph.cli.errors import run

    def command(*arguments: object) -> Result:
        capsys.readouterr()
        code = run(app, [str(argument) for argument in arguments], "deeph")
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data(here: Path) -> Path:
    """Make a dataset of four structures of H and C."""
    return random_dataset(here / "data", 4, atoms=3)


@dataclass
class Summary:
    """How the engine's training ended."""

    epochs: int
    best_loss: float
    best_epoch: int
    stopped_because: str
    model_dir: Path
    seconds: float


@dataclass
class Engine:
    """Stands for training and prediction; what the commands ask of it is noted.

    Attributes
    ----------
    trainings : list of (config, run, resume)
    ends : str or exception
        How the next training ends.
    error : float
        Added to H by the prediction, eV.
    broken : set of str
        Ids whose prediction fails.
    unknown : set of str
        Ids that are refused before.
    odd : set of str
        Ids that are warned of.
    free : int or None
        Bytes of memory; a structure needs a gigabyte an atom.
    batches : list of (ids, batch size, padded shapes)
    """

    trainings: list[tuple[Any, Path, bool]] = field(default_factory=list)
    ends: str | BaseException = "max_epoch reached"
    error: float = 0.0
    broken: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)
    free: int | None = None
    batches: list[tuple[list[str], int, int]] = field(default_factory=list)

    def train(self, config: Any, run: Path, display: Any, resume: bool) -> Summary:
        self.trainings.append((config, run, resume))
        display.start(run, config.process.train.max_epoch, ())
        display.epoch(1, 0.1, 1e-3, None, 1.0, {})
        if isinstance(self.ends, BaseException):
            raise self.ends
        publish_model(run / "model", "best", 1, {"w": np.ones(2)}, {"network": "normal"})
        summary = Summary(1, 1e-3, 1, self.ends, run / "model", 0.1)
        display.finish(summary)
        return summary


class Predictor:
    """Predicts the true Hamiltonian plus a known error."""

    engine: Engine
    network, trained_on = "normal", "feed"
    notes: tuple[str, ...] = ()
    target = HamiltonianTarget(BlockRepresentation.of({"H": (0,), "C": (0, 1)}, "none"))

    def __init__(self, path: Path) -> None:
        self.identity = model_identity(path)

    @classmethod
    def load(cls, model_dir: Path, which: str = "best", epoch: int = -1) -> Predictor:
        path = find_model(model_dir, which, epoch)
        read_model(path)
        return cls(path)

    def examine(self, folder: StructureFolder) -> list[str]:
        if folder.id in self.engine.unknown:
            raise InputError(f"{folder.path}: Og is unknown to the model")
        return [f"{folder.id}: looks odd"] if folder.id in self.engine.odd else []

    def plan(self, sizes: Mapping[str, tuple[int, int]], batch_size: int, shapes: int) -> Plan:
        return plan(Memory(0.0, 1e9, 0.0), sizes, batch_size, shapes, self.engine.free)

    def predict(
        self, folders: Iterable[StructureFolder], batch_size: int = 1, shapes: int = 1
    ) -> Iterator[tuple[StructureFolder, BlockMatrix]]:
        folders = list(folders)
        self.engine.batches.append(([folder.id for folder in folders], batch_size, shapes))
        for folder in folders:
            if folder.id in self.engine.broken:
                raise InputError(f"{folder.path}: Og is not an element of the model")
            exact = folder.hamiltonian()
            yield folder, exact.with_entries(exact.entries + self.engine.error)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Put the stand-in for the engine where the commands look for it."""
    engine = Engine()
    loop, predictor = types.ModuleType("loop"), types.ModuleType("predictor")
    loop.train = engine.train  # type: ignore[attr-defined]
    predictor.Predictor = type(  # type: ignore[attr-defined]
        "Predictor", (Predictor,), {"engine": engine}
    )
    monkeypatch.setitem(sys.modules, "deeph.training.loop", loop)
    monkeypatch.setitem(sys.modules, "deeph.inference.predictor", predictor)
    monkeypatch.setattr("deeph.cli.runtime.prepare_jax", lambda system: ("cpu", []))
    return engine
