"""Optimisers: from gradients to directions. The learning rate is applied by the step itself."""

from __future__ import annotations

from typing import Any

import optax


def optimiser(settings: Any) -> optax.GradientTransformation:
    """Return the transformation that a section ``process.train.optimizer`` asks for.

    Parameters
    ----------
    settings : deeph.config.training.Optimizer
        ``type`` sgd, adam or adamw, and its numbers.

    Returns
    -------
    optax.GradientTransformation
        Its updates, times minus the learning rate, are added to the parameters.
    """
    steps = []
    if settings.clip_norm_factor >= 0:
        steps.append(optax.clip_by_global_norm(settings.clip_norm_factor))
    if settings.type == "sgd":
        steps.append(optax.trace(decay=settings.momentum))
    else:
        b1, b2 = settings.betas
        # Adam does not care for the unit of the loss, but its eps does: gradients of an error of
        # a meV, squared in eV and averaged over all pairs, would vanish beside 1e-8.
        steps.append(optax.scale(1e6))
        steps.append(optax.scale_by_adam(b1=b1, b2=b2, eps=settings.eps))
    if settings.type == "adamw":
        steps.append(optax.add_decayed_weights(settings.weight))
    # One vector instead of a hundred arrays: the same numbers, a quarter less to compile.
    return optax.flatten(optax.chain(*steps))
