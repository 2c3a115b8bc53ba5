"""`dock generate supercell`: a cell repeated by a matrix."""

from __future__ import annotations

from typing import Annotated

import typer

from deeph_dock.cli.generate.options import (
    Format,
    FormatKind,
    MinDistance,
    Overwrite,
    Paths,
)
from deeph_dock.cli.options import DryRun, Flatten, Jobs


def supercell(
    paths: Paths,
    matrix: Annotated[
        str,
        typer.Option(
            metavar="MATRIX",
            help="Numbers of cells, '3 3 1', or 9 whole numbers: the new vectors in units of the "
            "old ones, row by row.",
        ),
    ],
    min_distance: MinDistance = 0.5,
    format: FormatKind = Format.poscar,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Repeat cells.

    Atom i of the cell becomes atoms i N + 1 to (i + 1) N, in the order of the N cells.

    Example: dock generate supercell POSCAR structures --matrix '1 1 0 -1 1 0 0 0 1'
    """
    from deeph_dock.cli.generate.making import Ask, generate
    from deeph_dock.cli.generate.steps import repeated

    steps = repeated(matrix, "--matrix")
    ask = Ask(
        command="supercell",
        paths=paths,
        options={"matrix": matrix},
        min_distance=min_distance,
        format=format.value,
        flatten=flatten,
        jobs=jobs,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    generate(ask, lambda structure, id: {"": steps})
