"""`dock generate rotate`: rigid rotations."""

from __future__ import annotations

from typing import Annotated

import typer

from deeph_dock.cli.generate.options import (
    Format,
    FormatKind,
    MinDistance,
    Number,
    Overwrite,
    Paths,
    Seed,
    reals,
)
from deeph_dock.cli.options import DryRun, Flatten, Jobs


def rotate(
    paths: Paths,
    number: Number = 20,
    angle: Annotated[
        float | None,
        typer.Option(metavar="DEGREES", help="One rotation by this angle, instead of random ones."),
    ] = None,
    about: Annotated[
        str, typer.Option(metavar="X Y Z", help="Cartesian axis of --angle.")
    ] = "0 0 1",
    improper: Annotated[
        bool, typer.Option("--improper", help="Invert as well, half of the random ones.")
    ] = False,
    keep_cell: Annotated[
        bool,
        typer.Option("--keep-cell", help="Turn the atoms in their cell: a molecule in a box."),
    ] = False,
    seed: Seed = 1,
    min_distance: MinDistance = 0.5,
    format: FormatKind = Format.poscar,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Rotate crystals and molecules, to see whether what is predicted turns along.

    All rotations are equally likely. generated.json holds each matrix Q, with r' = Q r.

    Example: dock generate rotate POSCAR structures --number 5
    """
    from functools import partial

    from deeph_dock.cli.generate.making import Ask, generate, numbered
    from deeph_dock.structures.rotate import rotate as turn
    from deeph_dock.structures.rotate import rotation_about

    if angle is not None and improper:
        raise typer.BadParameter("--improper is for random rotations; --angle gives a proper one")
    given = None
    if angle is not None:
        given = rotation_about(reals(about, 3, "--about", "0 0 1"), angle)
    step = partial(turn, rotation=given, improper=improper, keep_cell=keep_cell)
    ask = Ask(
        command="rotate",
        paths=paths,
        options={
            "angle": angle,
            "about": about if angle is not None else None,
            "improper": improper,
            "keep_cell": keep_cell,
        },
        seed=seed,
        min_distance=min_distance,
        format=format.value,
        flatten=flatten,
        jobs=jobs,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    steps = (("rotate", step),)
    names = numbered([steps] * number) if angle is None else {"": steps}
    generate(ask, lambda structure, id: names)
