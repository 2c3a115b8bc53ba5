"""A published model: one plain HDF5 file that h5py alone can read.

```
/                       attributes format = "deeph-model", format_version = "1.0"
/description            one JSON text: network, orbitals, spin, units, provenance, ...
/parameters/a/b/...     the nested parameters, one dataset each
```
A training keeps its models in ``<run>/model/best/epoch_<n>.h5`` and
``<run>/model/latest/epoch_<n>.h5``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file, sha256

FORMAT, FORMAT_VERSION = "deeph-model", "1.0"
KINDS = ("best", "latest")
_NAME = re.compile(r"epoch_(\d+)\.h5")

Parameters = dict[str, Any]
"""Nested dictionaries with text keys; the leaves are arrays."""


def write_model(path: Path, parameters: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Write a model atomically.

    Parameters
    ----------
    path : Path
        The file; its folder is made when it is missing.
    parameters : nested mapping of arrays
        Keys are texts without "/"; leaves are numbers or arrays of numbers or booleans.
    description : mapping
        Everything else that is needed to use the model, as JSON values.

    Raises
    ------
    ValueError
        When a key or a leaf cannot be stored.
    """
    text = json.dumps(description, ensure_ascii=False, allow_nan=False, sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path) as beside, h5py.File(beside, "w", locking=False) as file:
        file.attrs["format"], file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        file.create_dataset("description", data=text, dtype=h5py.string_dtype())
        _write_group(file.create_group("parameters"), parameters)


def _write_group(group: h5py.Group, parameters: Mapping[str, Any]) -> None:
    """Write nested parameters below a group."""
    for key, value in parameters.items():
        if not isinstance(key, str) or not key or "/" in key or key == "." or "\0" in key:
            raise ValueError(f"parameters cannot be stored under the key {key!r}")
        if isinstance(value, Mapping):
            _write_group(group.create_group(key), value)
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "biufc":
            raise ValueError(f"{group.name}/{key} is {array.dtype}, not an array of numbers")
        group.create_dataset(key, data=array)


def read_model(path: Path) -> tuple[Parameters, dict[str, Any]]:
    """Read a model.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    parameters : nested dict of numpy arrays
    description : dict

    Raises
    ------
    InputError
        When the file is missing, not a model, or of a newer version.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = str(file.attrs.get("format", "none"))
            version = str(file.attrs.get("format_version", ""))
            if found != FORMAT:
                raise InputError(f"{path}: is not a model: format is {found}, expected {FORMAT}")
            if version.partition(".")[0] != FORMAT_VERSION.partition(".")[0]:
                raise InputError(
                    f"{path}: model format {version} is not known, only {FORMAT_VERSION}; "
                    "use the program that wrote it, or a newer deeph-core"
                )
            description = json.loads(file["description"].asstr()[()])
            return _read_group(file["parameters"]), description
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: is not a model file, or it is damaged ({type(error).__name__})"
        ) from error


def _read_group(group: h5py.Group) -> Parameters:
    """Read nested parameters below a group."""
    return {
        key: _read_group(value) if isinstance(value, h5py.Group) else value[()]
        for key, value in group.items()
    }


def model_identity(path: Path) -> str:
    """Give the SHA-256 of a model file, which names the model in predictions."""
    return sha256(path)


def publish_model(
    model_dir: Path,
    kind: str,
    epoch: int,
    parameters: Mapping[str, Any],
    description: Mapping[str, Any],
    *,
    keep: int = 1,
) -> Path:
    """Write a model of a training and remove the ones it replaces.

    Parameters
    ----------
    model_dir : Path
        The folder ``model`` of the run.
    kind : str
        "best" or "latest".
    epoch : int
        The epoch after which it was taken.
    parameters, description
        See `write_model`.
    keep : int
        How many models of this kind stay.

    Returns
    -------
    Path
        ``<model_dir>/<kind>/epoch_<n>.h5``.
    """
    path = model_dir / kind / f"epoch_{epoch}.h5"
    write_model(path, parameters, description)
    others = [n for n, _ in published_models(model_dir, kind) if n != epoch]
    # A resumed training may come past epochs that were published before: the last written stays.
    for number in others[: max(0, len(others) - keep + 1)]:
        (model_dir / kind / f"epoch_{number}.h5").unlink(missing_ok=True)
    return path


def published_models(model_dir: Path, kind: str) -> list[tuple[int, Path]]:
    """List the models of one kind as (epoch, file), by epoch."""
    return sorted(_published(model_dir / kind))


def _published(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("epoch_*.h5"):
        match = _NAME.fullmatch(path.name)
        if match:
            yield int(match[1]), path


def find_model(place: Path, which: str = "best", epoch: int = -1) -> Path:
    """Find a model file.

    Parameters
    ----------
    place : Path
        A model file, the folder ``model`` of a run, or the run.
    which : str
        "best" or "latest".
    epoch : int
        Epoch of a latest model; -1: the newest. The best model is the newest of its kind.

    Returns
    -------
    Path
        The file; its content is not looked at.

    Raises
    ------
    InputError
        When there is none; the line names what is there.
    """
    if place.is_file():
        return place
    if not place.exists():
        raise InputError(f"{place}: no such model, folder of models or run")
    folder = place / "model" if (place / "model").is_dir() else place
    there = {kind: published_models(folder, kind) for kind in KINDS}
    if not any(there.values()):
        raise InputError(
            f"{folder}: holds no model; expected best/epoch_<n>.h5 or latest/epoch_<n>.h5, as "
            "deeph train writes them into <run>/model"
        )
    models = dict(there[which])
    if not models:
        other = next(kind for kind in KINDS if there[kind])
        raise InputError(f"{folder}: holds no {which} model, only {other} ones; ask for {other}")
    if which == "best" or epoch < 0:
        return models[max(models)]
    if epoch not in models:
        shown = ", ".join(map(str, models))
        raise InputError(f"{folder}: holds no latest model of epoch {epoch}; there are {shown}")
    return models[epoch]
