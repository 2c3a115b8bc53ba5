"""`dock generate quasi-1d`: moire patterns along one direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deeph_dock.cli.generate.layers import LayerPaths, Share, Vacuum, read_layers
from deeph_dock.cli.generate.options import (
    Displacement,
    Distribution,
    DistributionKind,
    Format,
    FormatKind,
    MinDistance,
    Number,
    Overwrite,
    Seed,
    check_range,
)
from deeph_dock.cli.generate.pictures import Plot
from deeph_dock.cli.options import DryRun, Flatten, Jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeph_spec.structure import Structure

    from deeph_dock.cli.generate.making import Steps
    from deeph_dock.structures.recording import Step


def quasi_1d(
    paths: LayerPaths,
    distance: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOW HIGH", help="Range of the distance of the layers' middle planes, Å."
        ),
    ],
    number: Number = 64,
    cells: Annotated[
        tuple[int, int],
        typer.Option(metavar="P Q", help="Cells of bottom and top along the strip."),
    ] = (15, 16),
    along: Annotated[
        tuple[int, int],
        typer.Option(metavar="I J", help="Direction of the strip in units of a1 and a2."),
    ] = (1, 0),
    across: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="I J", help="Width of the strip. [shortest vector]"),
    ] = None,
    antiparallel: Annotated[
        bool, typer.Option("--antiparallel", help="Turn the top by 180° (60° for hexagonal ones).")
    ] = False,
    share: Share = 0.0,
    vacuum: Vacuum = 20.0,
    displacement: Displacement = 0.0,
    distribution: DistributionKind = Distribution.uniform,
    seed: Seed = 1,
    min_distance: MinDistance = 0.5,
    format: FormatKind = Format.poscar,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    plot: Plot = None,
) -> None:
    """Strain one layer along a line, so that all stackings of that line are passed through.

    The top is shifted at random, and the distance drawn. Ids: OUT/MoTe2/quasi-1d-0001.

    Example: dock generate quasi-1d MoTe2.vasp structures --distance 6.9 7.9 --displacement 0.1
    """
    from functools import partial

    from deeph_dock.cli.generate.making import Ask, generate, numbered
    from deeph_dock.cli.generate.steps import perturbed
    from deeph_dock.structures.moire import quasi_one_dimensional, quasi_one_dimensional_match

    check_range("--distance", distance)
    given, above = read_layers(paths, "quasi-1d", flatten)

    def plan(bottom: Structure, id: str) -> Mapping[str, Steps]:
        top = bottom if above is None else above.usable()
        match = quasi_one_dimensional_match(bottom, top, cells, along, across, antiparallel, share)
        typer.echo(f"{id}: {match}")
        step: Step = partial(
            quasi_one_dimensional, top=top, distances=distance, match=match, vacuum=vacuum
        )
        steps = (("quasi-1d", step), *perturbed(displacement, distribution.value))
        return numbered([steps] * number, "quasi-1d-")

    options = {
        "distance": list(distance),
        "cells": list(cells),
        "along": list(along),
        "across": across and list(across),
        "antiparallel": antiparallel,
        "share": share,
        "vacuum": vacuum,
        "displacement": displacement,
        "distribution": distribution.value,
    }
    ask = Ask(
        command="quasi-1d",
        paths=paths,
        options=options,
        seed=seed,
        min_distance=min_distance,
        format=format.value,
        flatten=flatten,
        jobs=jobs,
        overwrite=overwrite,
        dry_run=dry_run,
        plot=plot,
        above=above,
    )
    generate(ask, plan, given)
