"""Schedules: the scale of the learning rate, from steps or from losses.

A schedule has a state (a tree of arrays, saved with the run), `scale(state, step)`, and two
functions that return the next state: `after_step(state, loss)`, `after_epoch(state, loss)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax


class Schedule(Protocol):
    """What the loop needs of a schedule."""

    def init(self) -> Any:
        """Return the first state."""
        ...

    def scale(self, state: Any, step: int) -> float:
        """Return the learning rate over its initial value at an optimiser step."""
        ...

    def after_step(self, state: Any, loss: float) -> Any:
        """Return the state after a step with this training loss."""
        ...

    def after_epoch(self, state: Any, loss: float) -> Any:
        """Return the state after an epoch with this loss."""
        ...

    def finished(self, state: Any) -> bool:
        """Return whether training has nothing left to gain."""
        ...


@dataclass(frozen=True)
class Plateau:
    """Lower the rate when the loss no longer falls (optax.contrib.reduce_on_plateau).

    Attributes
    ----------
    settings : deeph.config.training.Scheduler
        ``factor``, ``patience``, ``rtol``, ``cooldown``, ``accum_size``,
        ``min_learning_rate_scale``. ``accum_size`` -1: one evaluation an epoch; otherwise one
        every so many steps, with their mean training loss.
    """

    settings: Any

    @cached_property
    def _transformation(self) -> optax.GradientTransformationExtraArgs:
        s = self.settings
        return optax.contrib.reduce_on_plateau(
            factor=s.factor,
            patience=s.patience,
            rtol=s.rtol,
            atol=1e-30,  # optax wants one of rtol and atol to be positive
            cooldown=s.cooldown,
            accumulation_size=max(1, s.accum_size),
            min_scale=s.min_learning_rate_scale,
        )

    def init(self) -> Any:
        """Return the first state."""
        return self._transformation.init(jnp.zeros(()))

    def scale(self, state: Any, step: int) -> float:
        """Return the current scale."""
        return float(state.scale)

    def after_step(self, state: Any, loss: float) -> Any:
        """Return the state after a step; it counts only when evaluations are steps."""
        return state if self.settings.accum_size < 0 else self._evaluated(state, loss)

    def after_epoch(self, state: Any, loss: float) -> Any:
        """Return the state after an epoch; it counts only when evaluations are epochs."""
        return self._evaluated(state, loss) if self.settings.accum_size < 0 else state

    def finished(self, state: Any) -> bool:
        """Return whether the scale has reached its smallest value."""
        # The scale is float32: the smallest one may be a rounding error above the setting.
        return float(state.scale) <= self.settings.min_learning_rate_scale * (1 + 1e-6)

    def _evaluated(self, state: Any, loss: float) -> Any:
        return self._next(state, jnp.asarray(loss))

    @cached_property
    def _next(self) -> Callable[[Any, Any], Any]:
        # Compiled once: called as it is, the transformation would be compiled at every call.
        update = self._transformation.update
        return jax.jit(lambda state, loss: update(jnp.ones(()), state, value=loss)[1])


@dataclass(frozen=True)
class WarmupCosine:
    """Raise the rate linearly, then let it fall along half a period of a cosine.

    Attributes
    ----------
    settings : deeph.config.training.Scheduler
        ``init_scale``, ``warmup_steps``, ``decay_steps``, ``end_scale``.
    total_steps : int
        Optimiser steps of the whole training, taken for ``decay_steps`` -1.
    """

    settings: Any
    total_steps: int

    def init(self) -> Any:
        """Return the empty state."""
        return ()

    def scale(self, state: Any, step: int) -> float:
        """Return the scale at a step."""
        # In plain numbers: it is asked for before every step.
        s = self.settings
        length = max(s.decay_steps if s.decay_steps > 0 else self.total_steps, 1)
        warmup = min(s.warmup_steps, length - 1)
        if step < warmup:
            return float(s.init_scale + (1 - s.init_scale) * step / warmup)
        end = max(s.end_scale, 0.0)
        fallen = min((step - warmup) / (length - warmup), 1.0)
        return float(end + (1 - end) * (1 + math.cos(math.pi * fallen)) / 2)

    def after_step(self, state: Any, loss: float) -> Any:
        """Return the state unchanged."""
        return state

    def after_epoch(self, state: Any, loss: float) -> Any:
        """Return the state unchanged."""
        return state

    def finished(self, state: Any) -> bool:
        """Return False: the number of epochs ends the training."""
        return False


def schedule(settings: Any, total_steps: int) -> Schedule:
    """Return the schedule that a section ``process.train.scheduler`` asks for."""
    if settings.type == "warmup_cosine_decay":
        return WarmupCosine(settings, total_steps)
    return Plateau(settings)
