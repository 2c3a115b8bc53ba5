"""Configuration files: four sections, parsed once into frozen objects.

`load_train` and `load_infer` read a TOML file; `check` lists what is wrong in one. Attribute
names of the objects are the documented keys (``config.process.train.max_epoch``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeph_spec.errors import InputError

from deeph.config.describe import as_flat, describe, fingerprint, to_toml, with_proposed
from deeph.config.inference import InferConfig
from deeph.config.parsing import Reading, read_settings
from deeph.config.proposals import resolve_training
from deeph.config.toml import read_toml
from deeph.config.training import TrainConfig

__all__ = [
    "InferConfig",
    "Reading",
    "TrainConfig",
    "as_flat",
    "check",
    "describe",
    "fingerprint",
    "infer_settings",
    "load_infer",
    "load_train",
    "resolve_training",
    "to_toml",
    "train_settings",
    "with_proposed",
]


def _config(reading: Reading, file: Path | None) -> Any:
    """Return the configuration, or raise the first problem and say how to see the others."""
    if not reading.problems:
        return reading.config
    more = len(reading.problems) - 1
    hint = f" (and {more} more: deeph check {file} lists them)" if more and file else ""
    raise InputError(reading.problems[0] + hint)


def load_train(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training file.

    Parameters
    ----------
    path : str or Path
        The TOML file.
    overrides : sequence of str
        ``key=value`` arguments that win over the file; the key may be the unique end of a name.

    Returns
    -------
    TrainConfig

    Raises
    ------
    InputError
        When the file cannot be used; the line names file, key, found and expected.
    """
    path = Path(path)
    return train_settings(read_toml(path), path, overrides)


def load_infer(path: str | Path, overrides: Sequence[str] = ()) -> InferConfig:
    """Read an inference file; see `load_train`."""
    path = Path(path)
    return infer_settings(read_toml(path), path, overrides)


def train_settings(
    tables: Mapping[str, Any], file: Path | None = None, overrides: Sequence[str] = ()
) -> TrainConfig:
    """Make a training configuration from nested tables, e.g. without a file."""
    reading = read_settings(
        TrainConfig, tables, file=file, overrides=overrides, elsewhere=InferConfig
    )
    return _config(reading, file)


def infer_settings(
    tables: Mapping[str, Any], file: Path | None = None, overrides: Sequence[str] = ()
) -> InferConfig:
    """Make an inference configuration from nested tables, e.g. without a file."""
    reading = read_settings(
        InferConfig, tables, file=file, overrides=overrides, elsewhere=TrainConfig
    )
    return _config(reading, file)


def check(path: str | Path) -> Reading:
    """Read a training or inference file and list everything that is wrong in it.

    A file is one for inference when it names a model or has a table ``process.infer``, and has no
    table ``process.train``.

    Parameters
    ----------
    path : str or Path
        The TOML file.

    Returns
    -------
    Reading
        Configuration (None when there are problems), problems, warnings.

    Raises
    ------
    InputError
        When the file is missing or not TOML.
    """
    path = Path(path)
    tables = read_toml(path)
    model, process = tables.get("model"), tables.get("process")
    model, process = (x if isinstance(x, dict) else {} for x in (model, process))
    infers = ("model_dir" in model or "infer" in process) and "train" not in process
    ours, other = (InferConfig, TrainConfig) if infers else (TrainConfig, InferConfig)
    return read_settings(ours, tables, file=path, elsewhere=other)
