"""The command ``deeph`` and its short forms ``deeph-train`` and ``deeph-infer``.

One file per command: it parses, calls and prints. Everything that takes long to import is imported
inside the functions that need it, so that help is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from deeph.cli.check import check
from deeph.cli.errors import run
from deeph.cli.evaluate import evaluate
from deeph.cli.infer import infer
from deeph.cli.init import init
from deeph.cli.train import train

_HELP = """Train networks that predict DFT Hamiltonians, and use them.

From a dataset (folders with POSCAR, info.json, overlap.h5, hamiltonian.h5) to predictions:

\b
  deeph init data                  write train.toml, adapted to the dataset
  deeph train train.toml           train; the same command goes on after a stop
  deeph infer runs/<run> new       predict the structures in the folder new
  deeph eval predictions/<time>    compare with DFT, in meV
"""
_EVERYWHERE = "--debug, anywhere on the line, shows where an error comes from."


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"deeph-core {version('deeph-core')}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the command without a subcommand."""


def _new_app(**options: Any) -> typer.Typer:
    """Make an app with plain help, without shell completion and traceback decoration."""
    settings = {"help_option_names": ["-h", "--help"]}
    return typer.Typer(
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings=settings,
        **options,
    )


app = _new_app(no_args_is_help=True, help=_HELP, epilog=_EVERYWHERE, callback=_common)
for _name, _command in (
    ("init", init),
    ("check", check),
    ("train", train),
    ("infer", infer),
    ("eval", evaluate),
):
    app.command(_name, epilog=_EVERYWHERE)(_command)


def main() -> NoReturn:
    """Run the command ``deeph``."""
    sys.exit(run(app, sys.argv[1:], "deeph"))


def _single(command: Callable[..., Any], name: str) -> NoReturn:
    """Run one command under its own name."""
    alone = _new_app()
    alone.command(epilog=_EVERYWHERE)(command)
    sys.exit(run(alone, sys.argv[1:], name))


def train_main() -> NoReturn:
    """Run the command ``deeph-train``, the same as ``deeph train``."""
    _single(train, "deeph-train")


def infer_main() -> NoReturn:
    """Run the command ``deeph-infer``, the same as ``deeph infer``."""
    _single(infer, "deeph-infer")
