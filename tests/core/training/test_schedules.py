"""Schedules: the learning rate falls when and as far as the settings say."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
import pytest
from deeph.config.process import Scheduler
from deeph.training.schedules import Plateau, WarmupCosine, schedule


def plateau(**settings: Any) -> Plateau:
    known = {"factor": 0.5, "patience": 3, "rtol": 0.05, "cooldown": 0, **settings}
    rule = schedule(Scheduler(type="reduce_on_plateau", **known), total_steps=0)
    assert isinstance(rule, Plateau)
    return rule


def scales(rule: Plateau, losses: list[float]) -> list[float]:
    """Return the scale after each epoch."""
    state, result = rule.init(), []
    for loss in losses:
        state = rule.after_epoch(state, loss)
        result.append(rule.scale(state, 0))
    return result


def test_the_scale_falls_after_patience_evaluations_without_improvement() -> None:
    assert scales(plateau(), [1.0] * 8) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_an_improvement_starts_the_count_anew() -> None:
    losses = [1.0, 1.0, 1.0, 0.9, 0.9, 0.9, 0.9, 0.9]
    assert scales(plateau(), losses) == [1, 1, 1, 1, 1, 1, 0.5, 0.5]
    barely = [1.0, 1.0, 1.0, 0.96, 0.96]  # less than rtol: no improvement
    assert scales(plateau(), barely) == [1, 1, 1, 0.5, 0.5]


def test_a_cooldown_follows_a_reduction() -> None:
    assert scales(plateau(cooldown=2), [1.0] * 9) == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("smallest", [0.3, 0.1, 1e-2, 1e-3, 1e-4, 7e-5])
def test_training_is_finished_at_the_smallest_scale(smallest: float) -> None:
    rule = plateau(patience=1, min_learning_rate_scale=smallest)
    state, evaluations = rule.init(), 0
    while not rule.finished(state):
        state = rule.after_epoch(state, 1.0)
        evaluations += 1
        assert evaluations < 50
    np.testing.assert_allclose(rule.scale(state, 0), smallest, rtol=1e-6)
    assert evaluations == 1 + math.ceil(math.log2(1 / smallest))


def test_without_a_smallest_scale_training_goes_on() -> None:
    rule = plateau(patience=1, min_learning_rate_scale=0.0)
    state = rule.init()
    for _ in range(30):
        state = rule.after_epoch(state, 1.0)
    assert not rule.finished(state)
    assert rule.scale(state, 0) < 1e-8


def test_evaluations_may_be_steps() -> None:
    rule = plateau(patience=2, accum_size=3)
    state = rule.init()
    history = []
    for _ in range(12):
        assert rule.after_epoch(state, 5.0) is state
        state = rule.after_step(state, 1.0)
        history.append(rule.scale(state, 0))
    assert history == [1] * 8 + [0.5] * 3 + [0.5]
    epochs = plateau()
    assert epochs.after_step(epochs.init(), 1.0) is not None
    begun = epochs.init()
    assert epochs.after_step(begun, 1.0) is begun


def test_mean_losses_are_compared_where_evaluations_are_steps() -> None:
    rule = plateau(patience=1, accum_size=2, rtol=0.0)
    state = rule.init()
    for loss in (1.0, 3.0, 3.9, 0.0):  # means 2 and 1.95
        state = rule.after_step(state, loss)
    assert rule.scale(state, 0) == 1


def test_an_evaluation_is_compiled_once(caplog: pytest.LogCaptureFixture) -> None:
    rule = plateau()
    with jax.log_compiles():
        state = rule.after_epoch(rule.init(), 1.0)
        assert "ompil" in caplog.text
        caplog.clear()
        for epoch in range(3):
            state = rule.after_epoch(state, 1.0 / (epoch + 2))
    assert "ompil" not in caplog.text


def cosine(total: int, **settings: Any) -> WarmupCosine:
    rule = schedule(Scheduler(type="warmup_cosine_decay", **settings), total_steps=total)
    assert isinstance(rule, WarmupCosine)
    return rule


def test_a_cosine_falls_from_one_to_its_end() -> None:
    rule = cosine(100, init_scale=0.1, warmup_steps=10, decay_steps=60, end_scale=0.2)
    state = rule.init()

    def expected(step: int) -> float:
        if step < 10:
            return 0.1 + 0.9 * step / 10
        angle = math.pi * min((step - 10) / 50, 1.0)
        return 0.2 + 0.8 * (1 + math.cos(angle)) / 2

    for step in (0, 1, 5, 10, 11, 35, 59, 60, 99, 1000):
        np.testing.assert_allclose(rule.scale(state, step), expected(step), rtol=1e-5)
    assert rule.after_step(state, 1.0) == rule.after_epoch(state, 1.0) == state
    assert not rule.finished(state)


@pytest.mark.parametrize("total", [1, 2, 10, 11, 500])
def test_a_cosine_lasts_as_long_as_the_training(total: int) -> None:
    rule = cosine(total)
    values = [rule.scale(rule.init(), step) for step in range(0, total + 1, max(1, total // 50))]
    assert all(np.isfinite(values))
    assert all(0 <= value <= 1 for value in values)
    if total > 10:
        np.testing.assert_allclose(rule.scale(rule.init(), 10), 1.0, rtol=1e-6)
    np.testing.assert_allclose(rule.scale(rule.init(), total), 0.0, atol=1e-6)
