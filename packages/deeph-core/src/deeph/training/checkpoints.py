"""The state of a training, saved so that it can go on after any kind of stop.

``<folder>/state_<n>/{arrays/, meta.json}``: the arrays of the state (parameters, optimiser,
schedule) as orbax writes them, and what goes with them as JSON. A state is written beside and
renamed, so that one which is there is complete; a kill while saving leaves the previous one.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.files import TEMPORARY_PATTERN, replace_folder

State = Any
"""A pytree of arrays and numbers."""

_ARRAYS, _META, _PREFIX = "arrays", "meta.json", "state_"


@contextmanager
def _checkpointer() -> Iterator[Any]:
    """Yield an orbax checkpointer that keeps quiet; orbax takes long to import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import orbax.checkpoint as orbax

        logging.getLogger("absl").setLevel(logging.ERROR)
        checkpointer = orbax.Checkpointer(orbax.PyTreeCheckpointHandler())
        try:
            yield checkpointer
        finally:
            checkpointer.close()


def _states(folder: Path) -> list[Path]:
    """List the complete states of a folder, oldest first."""
    numbered = [
        (int(path.name.removeprefix(_PREFIX)), path)
        for path in folder.glob(f"{_PREFIX}*")
        if path.name.removeprefix(_PREFIX).isdigit() and (path / _META).is_file()
    ]
    return [path for _, path in sorted(numbered)]


def has_state(folder: Path) -> bool:
    """Whether a folder holds a state to go on from."""
    return bool(_states(folder))


def save_state(folder: Path, state: State, meta: dict[str, Any], *, keep: int = 2) -> Path:
    """Save a state of training.

    Parameters
    ----------
    folder : Path
        Where the states of one run are kept; made when it is missing. One process writes to it.
    state : pytree
        Arrays and numbers.
    meta : dict
        What goes with it, as JSON values: the epoch, the losses.
    keep : int
        How many states stay, this one included.

    Returns
    -------
    Path
        The folder of this state.
    """
    import jax

    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(TEMPORARY_PATTERN):  # of a process that was killed while saving
        shutil.rmtree(left, ignore_errors=True)
    leaves = [np.asarray(leaf) for leaf in jax.device_get(jax.tree.leaves(state))]
    states = _states(folder)
    number = int(states[-1].name.removeprefix(_PREFIX)) + 1 if states else 1
    target = folder / f"{_PREFIX}{number:06d}"
    if target.exists():  # without meta.json: not one of ours
        shutil.rmtree(target)
    with replace_folder(target) as beside:
        with _checkpointer() as checkpointer:
            checkpointer.save((beside / _ARRAYS).absolute(), _numbered(leaves))
        (beside / _META).write_text(json.dumps(meta), encoding="utf-8")
    for old in _states(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def read_meta(folder: Path) -> dict[str, Any]:
    """Read what goes with the newest state of a folder.

    Raises
    ------
    InputError
        When there is no state.
    """
    return dict(json.loads((_newest(folder) / _META).read_text(encoding="utf-8")))


def restore_state(folder: Path, like: State) -> tuple[State, dict[str, Any]]:
    """Read the newest state of a folder.

    Parameters
    ----------
    folder : Path
        The folder given to `save_state`.
    like : pytree
        A state of the same structure, shapes and number types, e.g. a fresh one.

    Returns
    -------
    state : pytree
        Like `like`, with the saved numbers.
    meta : dict
        What was saved with it.

    Raises
    ------
    InputError
        When there is no state, or it belongs to other settings.
    """
    import jax

    newest = _newest(folder)
    wanted, structure = jax.tree.flatten(like)
    with _checkpointer() as checkpointer:
        try:
            saved = checkpointer.restore((newest / _ARRAYS).absolute())
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"{newest}: the saved state cannot be read ({type(error).__name__}); remove this "
                "folder to go on from the one before"
            ) from error
    found = [np.asarray(saved[name]) for name in sorted(saved)]
    shapes = [(np.shape(leaf), np.asarray(leaf).dtype) for leaf in jax.device_get(wanted)]
    if shapes != [(leaf.shape, leaf.dtype) for leaf in found]:
        raise InputError(
            f"{newest}: the saved state belongs to other settings of network or optimiser; train "
            "with the settings of that run, or start anew"
        )
    leaves = [_as(old, new) for old, new in zip(wanted, found, strict=True)]
    return jax.tree.unflatten(structure, leaves), read_meta(folder)


def _newest(folder: Path) -> Path:
    """Return the newest complete state."""
    states = _states(folder)
    if not states:
        raise InputError(f"{folder}: holds no saved state of a training")
    return states[-1]


def _numbered(leaves: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Name leaves by their place, so that sorting the names restores the order."""
    return {f"{place:06d}": leaf for place, leaf in enumerate(leaves)}


def _as(like: Any, value: np.ndarray) -> Any:
    """Give a restored array the type of the leaf it replaces."""
    import jax

    if isinstance(like, jax.Array):
        return jax.numpy.asarray(value)
    return value if isinstance(like, np.ndarray) else type(like)(value.item())
