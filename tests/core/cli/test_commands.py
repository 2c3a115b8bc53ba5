"""The command line itself: help, mistakes, exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMANDS = ("init", "check", "train", "infer", "eval")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(deeph: Any, command: str) -> None:
    result = deeph(command, "--help")
    assert result.code == 0
    assert f"Example: deeph {command} " in result.out
    assert deeph(command, "-h").out == result.out


def test_help_names_the_commands_and_how_they_follow(deeph: Any) -> None:
    result = deeph("--help")
    assert result.code == 0
    assert all(f"  deeph {command} " in result.out for command in ("init", "train", "infer"))
    assert deeph().out == result.out


def test_the_version(deeph: Any) -> None:
    result = deeph("--version")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("deeph-core 0.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("trian",), "Did you mean 'train'?"),
        (("train",), "Missing argument 'FILE'"),
        (("train", "--frsh", "a.toml"), "--fresh"),
        (("infer", "m", "f", "--batch-size", "0"), "--batch-size"),
        (("eval", "a", "b", "c"), "unexpected extra argument"),
    ],
)
def test_a_mistyped_command_is_one_line_with_a_hint(
    deeph: Any, arguments: tuple[str, ...], expected: str
) -> None:
    result = deeph(*arguments)
    assert result.code == 2
    assert expected in result.line()
    assert "--help)" in result.line()


def test_nothing_slow_is_imported_for_help() -> None:
    program = (
        "import sys\nfrom deeph.cli import app\nfrom deeph.cli.errors import run\n"
        "run(app, ['train', '--help'], 'deeph')\n"
        "slow = {'jax', 'numpy', 'h5py', 'rich', 'orbax', 'flax', 'scipy', 'matplotlib'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_the_short_commands(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    from deeph.cli import infer_main, main, train_main

    for entry, name in ((train_main, "deeph-train"), (infer_main, "deeph-infer"), (main, "deeph")):
        monkeypatch.setattr(sys, "argv", [name, "--help"])
        with pytest.raises(SystemExit) as ended:
            entry()
        assert ended.value.code == 0
    monkeypatch.setattr(sys, "argv", ["deeph-train", "missing.toml"])
    with pytest.raises(SystemExit) as ended:
        train_main()
    assert ended.value.code == 1


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m deeph.cli --help | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: deeph")
    assert done.stderr == ""
