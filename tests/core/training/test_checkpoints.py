"""States of training: what is saved comes back, and a kill leaves the previous one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from deeph.training.checkpoints import has_state, read_meta, restore_state, save_state
from deeph_spec.errors import InputError


class Moments(NamedTuple):
    count: Any
    mu: Any


def state(value: float) -> dict[str, Any]:
    return {
        "parameters": {"layer": {"w": jnp.full((3, 2), value, jnp.float32)}, "empty": {}},
        "optimiser": (Moments(jnp.int32(4), [jnp.arange(3.0)]), ()),
        "key": jax.random.key_data(jax.random.key(int(value))),
        "scale": np.float64(value),
        "plain": value,
        "steps": 7,
        "host": np.arange(4, dtype=np.int64),
    }


def equal(one: Any, other: Any) -> bool:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(type(a) is type(b) and np.array_equal(a, b) for a, b in pairs)


def test_a_state_comes_back_bit_by_bit(tmp_path: Path) -> None:
    assert not has_state(tmp_path / "states")
    save_state(tmp_path / "states", state(1 / 3), {"epoch": 5, "loss": 0.25})
    restored, meta = restore_state(tmp_path / "states", state(9.0))
    assert equal(restored, state(1 / 3))
    assert not equal(restored, state(9.0))
    assert meta == {"epoch": 5, "loss": 0.25} == read_meta(tmp_path / "states")


def test_the_newest_is_read_and_the_oldest_go(tmp_path: Path) -> None:
    for value in range(1, 12):
        save_state(tmp_path, state(float(value)), {"epoch": value}, keep=3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["state_000009", "state_000010", "state_000011"]
    restored, meta = restore_state(tmp_path, state(0.0))
    assert meta == {"epoch": 11}
    assert equal(restored, state(11.0))


def test_a_state_without_its_last_file_is_not_one(tmp_path: Path) -> None:
    save_state(tmp_path, state(1.0), {"epoch": 1})
    half = save_state(tmp_path, state(2.0), {"epoch": 2})
    (half / "meta.json").unlink()
    assert read_meta(tmp_path) == {"epoch": 1}
    save_state(tmp_path, state(3.0), {"epoch": 3})
    assert restore_state(tmp_path, state(0.0))[1] == {"epoch": 3}


def test_no_state_and_other_settings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no saved state"):
        restore_state(tmp_path, state(0.0))
    save_state(tmp_path, state(1.0), {})
    other = state(0.0) | {"host": np.arange(5)}
    with pytest.raises(InputError, match="belongs to other settings"):
        restore_state(tmp_path, other)
    with pytest.raises(InputError, match="belongs to other settings"):
        restore_state(tmp_path, {"plain": 1.0})


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    folder = save_state(tmp_path, state(1.0), {})
    for path in (folder / "arrays").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(InputError, match=r"cannot be read .*remove this folder"):
        restore_state(tmp_path, state(0.0))


def test_a_kill_while_saving_leaves_a_complete_state(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from deeph.training.checkpoints import save_state\n"
        "for n in range(1000):\n"
        "    arrays = {str(k): np.full(20000, n) for k in range(20)}\n"
        "    save_state(Path(sys.argv[1]), arrays, {'epoch': n})\n"
        "    print(n, flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        saved = [int(process.stdout.readline()) for _ in range(3)][-1]
        time.sleep(0.013)
        os.kill(process.pid, signal.SIGKILL)
    like = {str(k): np.zeros(20000, np.int64) for k in range(20)}
    restored, meta = restore_state(tmp_path, like)
    assert meta["epoch"] >= saved
    assert all((array == meta["epoch"]).all() for array in restored.values())
    save_state(tmp_path, like, {"epoch": -1})
    assert not list(tmp_path.glob(".*.tmp"))
    assert len(list(tmp_path.iterdir())) == 2
