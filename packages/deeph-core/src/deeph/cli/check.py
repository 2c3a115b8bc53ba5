"""``deeph check``: what a settings file says, and what is wrong in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deeph.config import InferConfig, TrainConfig


def check(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A settings file for train or infer.")
    ],
) -> int:
    """Explain a settings file without running it.

    Prints every value that would be used and where it is from, or everything that is wrong.

    Example: deeph check train.toml
    """
    from deeph.config import TrainConfig, describe
    from deeph.config import check as read

    reading = read(file)
    for line in reading.warnings:
        print(f"warning: {line}", file=sys.stderr)
    for line in reading.problems:
        print(f"error: {line}", file=sys.stderr)
    if reading.config is None:
        return 1
    config: TrainConfig | InferConfig = reading.config
    command = "train" if isinstance(config, TrainConfig) else "infer"
    lines = _data_lines(config)
    if isinstance(config, TrainConfig):
        config, more = _resolved(config)
        lines += more
    print(f"{file} is a file for deeph {command}. Values in use:")
    for line in describe(config):
        print(f"  {line}")
    for line in lines:
        print(line)
    print(f"Nothing is wrong. Start with: deeph {command} {file}")
    return 0


def _data_lines(config: TrainConfig | InferConfig) -> list[str]:
    """Say what the data folder holds."""
    from deeph.cli.data import open_dataset

    dataset = open_dataset(config.data.inputs_dir, config.data.dft.data_dir_depth)
    return [f"Data: {len(dataset)} structures in {dataset.path}"]


def _resolved(config: TrainConfig) -> tuple[TrainConfig, list[str]]:
    """Fill in what the data decide, and say how they are divided."""
    from deeph.cli.data import open_dataset, used_folders
    from deeph.config.split import structure_counts
    from deeph.training.data import resolved

    dataset = open_dataset(config.data.inputs_dir, config.data.dft.data_dir_depth)
    used = used_folders(dataset, config)
    config = resolved(config, dataset, len(used))
    loader = config.process.train.dataloader
    if loader.dataset_split_json is not None:
        return config, [f"Split: {len(used)} structures, as {loader.dataset_split_json} says"]
    train, validate, test = structure_counts(loader, len(used))
    return config, [f"Split: {train} to train, {validate} to validate, {test} to test"]
