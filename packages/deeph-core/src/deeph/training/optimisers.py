"""Optimisers: from gradients to directions. The learning rate is applied by the step itself."""

from __future__ import annotations

from typing import Any

import jax
import optax

from deeph.training.muon import is_matrix, scale_by_muon

ADAM_SHARE = 0.15
"""Learning rate of what is no matrix over that of the matrices, with Muon."""

_UNIT = 1e6
"""Adam does not care for the unit of the loss, but its eps does: gradients of an error of a meV,
squared in eV and averaged over all pairs, would vanish beside 1e-8."""


def optimiser(settings: Any) -> optax.GradientTransformation:
    """Return the transformation that a section ``process.train.optimizer`` asks for.

    Parameters
    ----------
    settings : deeph.config.training.Optimizer
        ``type`` muon, sgd, adam or adamw, and its numbers.

    Returns
    -------
    optax.GradientTransformation
        Its updates, times minus the learning rate, are added to the parameters.
    """
    steps = []
    if settings.clip_norm_factor >= 0:
        steps.append(optax.clip_by_global_norm(settings.clip_norm_factor))
    if settings.type == "muon":
        adam = optax.chain(_adam(settings), optax.scale(ADAM_SHARE))
        parts = {"matrix": scale_by_muon(), "other": optax.flatten(adam)}
        return optax.chain(*steps, optax.partition(parts, _labels))
    if settings.type == "sgd":
        steps.append(optax.trace(decay=settings.momentum))
    else:
        steps.append(_adam(settings))
    if settings.type == "adamw":
        steps.append(optax.add_decayed_weights(settings.weight))
    # One vector instead of a hundred arrays: the same numbers, a quarter less to compile.
    return optax.flatten(optax.chain(*steps))


def _adam(settings: Any) -> optax.GradientTransformation:
    b1, b2 = settings.betas
    return optax.chain(optax.scale(_UNIT), optax.scale_by_adam(b1=b1, b2=b2, eps=settings.eps))


def _labels(parameters: Any) -> Any:
    """Return which part of Muon each parameter belongs to."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: "matrix" if is_matrix(path, leaf) else "other", parameters
    )
