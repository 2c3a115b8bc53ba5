"""The training itself: read, fit the baseline, then epochs of steps until something ends them.

In: settings and the folder of the run. Out: models below ``<run>/model`` and states to go on from
below ``<run>/states``. What happens depends on settings, data and seed alone: a training that was
stopped at any step and resumed ends with the same parameters as one that ran through.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from deeph_spec.dataset import Dataset, read_split, write_split
from deeph_spec.errors import InputError

from deeph.config import TrainConfig, describe
from deeph.config.split import structure_counts
from deeph.training.checkpoints import has_state, restore_state, save_state
from deeph.training.data import random_split, resolved
from deeph.training.display import Display
from deeph.training.interruption import Interruption
from deeph.training.schedules import Schedule, schedule
from deeph.training.setup import Training, continued_from, set_up

_SAVE_EVERY = 120.0
"""Seconds between two saved states, at most one epoch more: what a kill can cost."""

_PUBLISH_EVERY = 30.0
"""Seconds between two published best models."""


@dataclass(frozen=True)
class TrainingSummary:
    """How a training ended.

    Attributes
    ----------
    epochs : int
        Epochs done, those before a resume included.
    best_loss : float
        Lowest loss of the validation structures, or of the training ones without such.
    best_epoch : int
        Its epoch; 0 when no epoch was completed.
    stopped_because : str
        The reason.
    model_dir : Path
        Where the models are.
    seconds : float
        Wall time of this call.
    """

    epochs: int
    best_loss: float
    best_epoch: int
    stopped_because: str
    model_dir: Path
    seconds: float


@dataclass
class _Progress:
    """Where a training stands; with the arrays of `_State` all that a resume needs."""

    epoch: int = 0
    """Completed epochs."""
    batch: int = 0
    """Batches done of the epoch that has begun."""
    step: int = 0
    losses: list[float] = field(default_factory=list)
    """Losses of those batches, times their numbers of structures."""
    best_loss: float = math.inf
    best_epoch: int = 0


@dataclass
class _State:
    """The arrays that training changes."""

    parameters: Any
    optimiser: Any
    schedule: Any
    best: Any

    def tree(self) -> dict[str, Any]:
        """Return everything as one tree."""
        return {
            "parameters": self.parameters,
            "optimiser": self.optimiser,
            "schedule": self.schedule,
            "best": self.best,
        }


def train(config: TrainConfig, run: Path, display: Display, resume: bool) -> TrainingSummary:
    """Train a network.

    Parameters
    ----------
    config : TrainConfig
        The settings.
    run : Path
        Folder of the run; it exists.
    display : Display
        Is told what happens.
    resume : bool
        Go on from the newest state of the run, if there is one.

    Returns
    -------
    TrainingSummary

    Raises
    ------
    InputError
        If data or settings cannot be used, or the loss is no number any more.
    """
    started = time.monotonic()
    dataset = Dataset.open(config.data.inputs_dir, config.data.dft.data_dir_depth)
    config = resolved(config, dataset, len(dataset))
    display.start(run, config.process.train.max_epoch, describe(config))
    split = _split(config, dataset, run)
    training = set_up(config, dataset, split, display.note)
    total = config.process.train.max_epoch * len(training.train)
    rule = schedule(config.process.train.scheduler, total)
    state = _State(
        training.parameters,
        training.steps.init(training.parameters),
        rule.init(),
        jax.tree.map(jnp.copy, training.parameters),
    )
    progress = _Progress()
    if resume and has_state(run / "states"):
        _restore(run / "states", state, progress)
        display.note(f"Going on after epoch {progress.epoch}")
    elif continued_from(config) is not None and not config.process.train.continued.new_optimizer:
        earlier = continued_from(config)
        if earlier is not None and has_state(earlier / "states"):
            like = _State(state.parameters, state.optimiser, state.schedule, state.best)
            try:
                _restore(earlier / "states", like, _Progress())
            except InputError as error:
                raise InputError(
                    f"{error}; or set process.train.continued.new_optimizer = true"
                ) from error
            state.optimiser, state.schedule = like.optimiser, like.schedule
    with Interruption() as interruption:
        loop = _Loop(config, run, display, training, rule, state, progress, interruption, started)
        because = loop.run_epochs()
    summary = TrainingSummary(
        progress.epoch,
        progress.best_loss,
        progress.best_epoch,
        because,
        run / "model",
        time.monotonic() - started,
    )
    display.finish(summary)
    return summary


@dataclass
class _Loop:
    config: TrainConfig
    run: Path
    display: Display
    training: Training
    rule: Schedule
    state: _State
    progress: _Progress
    interruption: Interruption
    started: float
    published_best: int = 0

    def run_epochs(self) -> str:
        """Train until something ends it; save; return the reason."""
        settings, saves = self.config.process.train, self.config.data.model_save
        progress = self.progress
        saved_at = published_at = time.monotonic()
        because = "max_epoch reached"
        while progress.epoch < settings.max_epoch:
            if self.rule.finished(self.state.schedule):
                because = "the learning rate has reached its smallest value"
                break
            if not self._epoch():
                because = f"interrupted in epoch {progress.epoch + 1}"
                break
            now = time.monotonic()
            if saves.latest and progress.epoch % saves.latest_interval == 0:
                self._publish("latest", saves.latest_num)
            if now - published_at > _PUBLISH_EVERY:
                self._publish_best()
                published_at = now
            if now - saved_at > _SAVE_EVERY:
                self._save()
                saved_at = now
            if 0 < settings.max_minutes * 60 <= now - self.started:
                because = f"max_minutes = {settings.max_minutes:g} reached"
                break
        self._save()
        self._publish_best()
        if saves.latest and progress.epoch:
            self._publish("latest", saves.latest_num)
        return because

    def _epoch(self) -> bool:
        """Run one epoch, or what is left of it; return False when interrupted in between."""
        t, progress, state = self.training, self.progress, self.state
        begun = time.monotonic()
        seed, rate = self.config.system.random_seed, self.config.process.train.optimizer
        sizes: list[int] = []
        batches = t.train.shuffled(seed, progress.epoch)
        pending: list[Any] = []
        for number, (graph, labels, structures) in enumerate(batches):
            sizes.append(int(graph.node_structure[graph.node_mask > 0].max()) + 1)
            if number < progress.batch:
                continue
            if self.interruption.requested is not None:
                progress.losses += _numbers(pending)
                progress.batch = number
                return False
            scale = self.rule.scale(state.schedule, progress.step)
            state.parameters, state.optimiser, loss = t.steps.train(
                state.parameters,
                state.optimiser,
                rate.init_learning_rate * scale,
                graph,
                labels,
                structures,
            )
            progress.step += 1
            pending.append(loss)
            if self.config.process.train.scheduler.accum_size > 0:
                state.schedule = self.rule.after_step(state.schedule, float(loss))
        losses = np.array(progress.losses + _numbers(pending))
        train_loss = float(np.average(losses, weights=sizes))
        if not math.isfinite(train_loss):
            raise InputError(
                f"the training loss is {train_loss} in epoch {progress.epoch + 1}: lower "
                "process.train.optimizer.init_learning_rate or set clip_norm_factor"
            )
        validation_loss, errors = self._validate()
        follow_train = validation_loss is None or (
            self.config.process.train.dataloader.only_use_train_loss
        )
        followed = train_loss if follow_train else float(validation_loss or 0.0)
        scale = self.rule.scale(state.schedule, progress.step)
        state.schedule = self.rule.after_epoch(state.schedule, followed)
        progress.epoch, progress.batch, progress.losses = progress.epoch + 1, 0, []
        if followed < progress.best_loss:
            progress.best_loss, progress.best_epoch = followed, progress.epoch
            state.best = jax.tree.map(jnp.copy, self._best_known())
        self.display.epoch(
            progress.epoch, time.monotonic() - begun, train_loss, validation_loss, scale, errors
        )
        return True

    def _validate(self) -> tuple[float | None, dict[str, str]]:
        """Return the loss of the validation structures and their mean absolute errors."""
        t = self.training
        if not len(t.validate):
            return None, {}
        loss, structures, sums = 0.0, 0, np.zeros((2, 2))
        for graph, labels, most in t.validate.all():
            count = int(graph.node_structure[graph.node_mask > 0].max()) + 1
            value, parts = t.steps.evaluate(self._best_known(), graph, labels, most)
            loss, structures = loss + count * float(value), structures + count
            sums += np.asarray(parts, dtype=np.float64)
        parts = {"validation": sums.sum(axis=0)}
        if sums[:, 1].all():  # of matrices; other quantities are of atoms or of pairs
            parts |= {"validation on site": sums[0], "validation off site": sums[1]}
        unit, factor = t.model.target.shown
        errors = {
            name: f"{factor * total / max(count, 1):.3g} {unit}".rstrip()
            for name, (total, count) in parts.items()
        }
        return loss / structures, errors

    def _best_known(self) -> Any:
        return self.training.steps.best_known(self.state.parameters, self.state.optimiser)

    def _save(self) -> None:
        save_state(self.run / "states", self.state.tree(), vars(self.progress))

    def _publish_best(self) -> None:
        p = self.progress
        if self.config.data.model_save.best and p.best_epoch > self.published_best:
            self.published_best = p.best_epoch
            self.training.publish(self.run, "best", p.best_epoch, p.best_loss, self.state.best, 1)

    def _publish(self, kind: str, keep: int) -> None:
        p = self.progress
        self.training.publish(self.run, kind, p.epoch, None, self._best_known(), keep)


def _numbers(losses: list[Any]) -> list[float]:
    return [float(loss) for loss in losses]


def _restore(folder: Path, state: _State, progress: _Progress) -> None:
    """Fill state and progress with the newest saved ones."""
    tree, meta = restore_state(folder, state.tree())
    for name, value in tree.items():
        setattr(state, name, value)
    for name, value in meta.items():
        setattr(progress, name, value)


def _split(config: TrainConfig, dataset: Dataset, run: Path) -> dict[str, list[str]]:
    """Return which structures train, validate and test, and note it in the run's folder."""
    loader = config.process.train.dataloader
    earlier = continued_from(config)
    if loader.dataset_split_json is not None:
        split = read_split(loader.dataset_split_json)
    elif earlier is not None and not config.process.train.continued.new_training_data:
        split = read_split(earlier / "dataset_split.json")
    else:
        counts = structure_counts(loader, len(dataset))
        split = random_split(dataset.ids, counts, config.system.random_seed)
    write_split(run / "dataset_split.json", split)
    return split
