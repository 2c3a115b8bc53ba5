"""`dock generate perturb`: random displacements and strain."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deeph_dock.cli.generate.options import (
    Axis,
    AxisOption,
    Displacement,
    Distribution,
    DistributionKind,
    Format,
    FormatKind,
    MinDistance,
    Number,
    Overwrite,
    Paths,
    Seed,
    Supercell,
)
from deeph_dock.cli.options import DryRun, Flatten, Jobs


class StrainKind(StrEnum):
    """What is strained."""

    full = "full"
    in_plane = "in-plane"
    hydrostatic = "hydrostatic"


def perturb(
    paths: Paths,
    number: Number = 20,
    displacement: Displacement = 0.1,
    distribution: DistributionKind = Distribution.uniform,
    strain: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.5, metavar="X", help="Components of a random symmetric strain within ±X."
        ),
    ] = 0.0,
    strain_kind: Annotated[
        StrainKind, typer.Option(help="Of all directions, of the plane across --axis, isotropic.")
    ] = StrainKind.full,
    axis: AxisOption = Axis.c,
    supercell: Supercell = None,
    seed: Seed = 1,
    min_distance: MinDistance = 0.5,
    format: FormatKind = Format.poscar,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Displace atoms and strain cells at random.

    Example: dock generate perturb POSCAR structures --number 100 --displacement 0.1 --strain 0.02
    """
    from deeph_dock.cli.generate.making import Ask, generate, numbered
    from deeph_dock.cli.generate.steps import perturbed, repeated

    if not (displacement or strain):
        raise typer.BadParameter("--displacement 0 and no --strain: nothing to do")
    steps = (
        *repeated(supercell),
        *perturbed(displacement, distribution.value, strain, strain_kind.value, axis.number),
    )
    options = {
        "supercell": supercell,
        "displacement": displacement,
        "distribution": distribution.value,
        "strain": strain,
        "strain_kind": strain_kind.value,
        "axis": axis.value,
    }
    ask = Ask(
        command="perturb",
        paths=paths,
        options=options,
        seed=seed,
        min_distance=min_distance,
        format=format.value,
        flatten=flatten,
        jobs=jobs,
        overwrite=overwrite,
        dry_run=dry_run,
    )
    generate(ask, lambda structure, id: numbered([steps] * number))
