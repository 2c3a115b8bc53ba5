"""`dock generate`: structures for training sets and targets, one file for each subcommand."""

from __future__ import annotations

import typer

from deeph_dock.cli.generate.options import HELP
from deeph_dock.cli.generate.perturb import perturb
from deeph_dock.cli.generate.quasi_1d import quasi_1d
from deeph_dock.cli.generate.rotate import rotate
from deeph_dock.cli.generate.shift import shift
from deeph_dock.cli.generate.substitute import substitute
from deeph_dock.cli.generate.supercell import supercell
from deeph_dock.cli.generate.twist import twist

generators = typer.Typer(
    name="generate",
    help="Make structures: dock generate perturb POSCAR structures",
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings=HELP,
)
for command in (perturb, shift, quasi_1d, twist, supercell, substitute, rotate):
    generators.command(context_settings=HELP)(command)


@generators.callback()
def _generators() -> None:
    """Make structures for training sets and targets, each recorded with how it was made.

    Example: dock generate perturb POSCAR structures
    """
