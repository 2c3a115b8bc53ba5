"""The section ``process`` of a training file: split and batches, optimiser, schedule, continuation.

Attribute names are the documented keys; each declaration says what its key means.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deeph.config import key as rules
from deeph.config.key import declared, key

_RATE = rules.Rule("from 0 to below 1", lambda value: 0 <= value < 1)
_SGD = ("process.train.optimizer.type", ("sgd",))
_ADAMS = ("process.train.optimizer.type", ("muon", "adam", "adamw"))
_ADAMW = ("process.train.optimizer.type", ("adamw",))
_PLATEAU = ("process.train.scheduler.type", ("reduce_on_plateau",))
_COSINE = ("process.train.scheduler.type", ("warmup_cosine_decay",))
_CONTINUED = ("process.train.continued.enable", (True,))


@dataclass(frozen=True, kw_only=True)
class TrainLoader:
    """How the structures are divided and batched."""

    batch_size: int = key(1, "Structures per optimiser step.", rule=rules.AT_LEAST_1)
    train_size: int | float | None = key(
        None,
        "Structures to train on: a number, or a fraction below 1 of all (a fraction is an "
        "addition of this program).",
        rule=rules.SIZE,
        absent="all that validate_size and test_size leave",
    )
    validate_size: int | float = key(
        0,
        "Structures to validate on; number or fraction.",
        rule=rules.SIZE,
        misspelt=("validation_size",),
    )
    test_size: int | float = key(
        0, "Structures kept for a test; number or fraction.", rule=rules.SIZE
    )
    dataset_split_json: Path | None = field(
        default=None,
        metadata=declared(
            "File with lists of ids under train, validate, test; wins over the sizes.",
            absent="the sizes and the seed decide",
            misspelt=("dateset_split_json",),
        ),
    )
    only_use_train_loss: bool = key(
        False, "Whether schedule and best model follow the training loss."
    )


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Rates at which features or layers are left out in training."""

    dropout_rate: float = key(0.0, "Rate for the channels of messages.", rule=_RATE)
    stochastic_depth: float = key(
        0.0, "Rate for the update of a whole block, atom by atom and edge by edge.", rule=_RATE
    )
    proj_rate: float = key(0.0, "Rate for the channels of a block's last map on atoms.", rule=_RATE)


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """How parameters follow gradients."""

    type: str = key(
        "muon",
        "The optimiser. Muon (an addition of this program) takes orthogonalised steps of the "
        "matrices and Adam's for everything else; it learns several times as much in a step.",
        choices=("muon", "sgd", "adam", "adamw"),
    )
    init_learning_rate: float = key(
        2e-3,
        "Learning rate at scale 1; the schedule multiplies it by its scale.",
        rule=rules.POSITIVE,
        varies=("process.train.optimizer.type", {"muon": 0.02}),
    )
    clip_norm_factor: float = key(
        -1.0, "Largest global norm of a gradient; negative: gradients are not clipped."
    )
    momentum: float = key(
        0.8,
        "Momentum of sgd.",
        rule=_RATE,
        applies=_SGD,
    )
    betas: tuple[float, float] = key(
        (0.9, 0.999), "Decay rates of the two moments.", rule=rules.BETAS, applies=_ADAMS
    )
    weight: float = key(0.001, "Weight decay.", rule=rules.AT_LEAST_0, applies=_ADAMW)
    eps: float = key(
        1e-8, "Added to the root of the second moment.", rule=rules.POSITIVE, applies=_ADAMS
    )
    ema_decay: float = key(
        0.0,
        "Validate and save the running mean of the parameters that forgets at this rate a step, "
        "e.g. 0.999; 0: the parameters themselves.",
        rule=_RATE,
        ours=True,
    )


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    """How the learning rate falls: learning rate = init_learning_rate * scale."""

    type: str = key(
        "reduce_on_plateau",
        "The schedule: lower the rate when the loss stays flat, or a warm-up and a cosine.",
        choices=("reduce_on_plateau", "warmup_cosine_decay"),
    )
    min_learning_rate_scale: float = key(
        1e-4, "Training ends when the scale falls to it.", rule=rules.AT_LEAST_0, applies=_PLATEAU
    )
    factor: float = key(
        0.5, "The scale is multiplied by it.", rule=rules.UNIT_OPEN, applies=_PLATEAU
    )
    patience: int = key(
        500,
        "Evaluations without improvement before a reduction (epochs when accum_size is -1).",
        rule=rules.AT_LEAST_1,
        applies=_PLATEAU,
    )
    rtol: float = key(
        0.05,
        "Relative decrease of the loss that counts as an improvement.",
        rule=rules.AT_LEAST_0,
        applies=_PLATEAU,
    )
    cooldown: int = key(
        100,
        "Evaluations after a reduction that do not count.",
        rule=rules.AT_LEAST_0,
        applies=_PLATEAU,
    )
    accum_size: int = key(
        -1,
        "Steps whose losses are averaged into one evaluation; -1: one evaluation an epoch.",
        rule=rules.MINUS_1_OR_POSITIVE,
        applies=_PLATEAU,
    )
    init_scale: float = key(0.1, "Scale of the first step.", rule=rules.UNIT, applies=_COSINE)
    warmup_steps: int = key(
        10, "Optimiser steps of the linear rise to scale 1.", rule=rules.AT_LEAST_0, applies=_COSINE
    )
    decay_steps: int = key(
        -1,
        "Optimiser steps from the first to the end of the cosine, warm-up included; -1: all steps "
        "of the training.",
        rule=rules.MINUS_1_OR_POSITIVE,
        applies=_COSINE,
    )
    end_scale: float = key(-1.0, "Scale at the end of the cosine; negative: 0.", applies=_COSINE)


@dataclass(frozen=True, kw_only=True)
class Continued:
    """Starting from an earlier run."""

    enable: bool = key(False, "Start from the parameters of an earlier run.")
    new_training_data: bool = key(
        False, "Fine-tune on other data; false: the same data and split.", applies=_CONTINUED
    )
    new_optimizer: bool = key(
        False, "Start with a fresh optimiser and schedule.", applies=_CONTINUED
    )
    previous_output_dir: Path | None = field(
        default=None,
        metadata=declared(
            "The earlier run's folder, which holds model/.",
            absent="needed when enable is true",
            applies=_CONTINUED,
        ),
    )
    load_model_type: str = key(
        "latest", "Which of its models.", choices=("best", "latest"), applies=_CONTINUED
    )
    load_model_epoch: int = key(
        -1,
        "Epoch of the recent model; -1: the newest.",
        rule=rules.MINUS_1_OR_MORE,
        applies=_CONTINUED,
    )


@dataclass(frozen=True, kw_only=True)
class Train:
    """The table ``process.train``."""

    max_epoch: int = key(
        10000, "Training stops after so many epochs.", rule=rules.AT_LEAST_1, numeric=False
    )
    max_minutes: float = key(
        0.0,
        "Training stops after the first epoch that ends beyond this wall time; 0: no limit.",
        rule=rules.AT_LEAST_0,
        numeric=False,
        ours=True,
    )
    multi_way_jit_num: int = key(
        1,
        "Number of padded shapes that are compiled; 10 to 20 for structures of uneven size.",
        rule=rules.AT_LEAST_1,
    )
    ahead_of_time_compile: bool = key(
        False,
        "Compile all shapes in parallel before the first epoch.",
        only=False,
        because="shapes are compiled when they are first met in this version",
    )
    do_remat: bool = key(
        False,
        "Compute what is inside the message passing layers anew in the backward pass instead of "
        "keeping it: less memory, about a third more time.",
    )
    dataloader: TrainLoader = field(default_factory=TrainLoader)
    drop: Drop = field(default_factory=Drop)
    optimizer: Optimizer = field(default_factory=Optimizer)
    scheduler: Scheduler = field(default_factory=Scheduler)
    continued: Continued = field(default_factory=Continued)


@dataclass(frozen=True, kw_only=True)
class TrainProcess:
    """The section ``process`` of a training file."""

    train: Train = field(default_factory=Train)
