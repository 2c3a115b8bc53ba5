"""`dock generate shift`: stackings of layers on a grid of translations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    Overwrite,
    Paths,
    Seed,
    check_range,
)
from deeph_dock.cli.generate.pictures import Plot
from deeph_dock.cli.options import DryRun, Flatten, Jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeph_spec.structure import Structure

    from deeph_dock.cli.generate.making import Steps


def shift(
    paths: Paths,
    grid: Annotated[
        tuple[int, int],
        typer.Option(
            metavar="N1 N2", help="Translations: multiples of 1/N of both in-plane vectors."
        ),
    ] = (16, 16),
    distance: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="Draw the distance of the layers' middle planes from a range, Å. [as it is]",
        ),
    ] = None,
    move: Annotated[
        str, typer.Option(metavar="LAYER", help="top, bottom, or its number from below.")
    ] = "top",
    axis: AxisOption = Axis.c,
    gap: Annotated[
        float,
        typer.Option(min=0.0, metavar="Å", help="Layers have at least so much between them."),
    ] = 2.2,
    supercell: Annotated[
        str | None,
        typer.Option(metavar="MATRIX", help="Repeat the cell after the shift: '3 3 1', or 9."),
    ] = None,
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
    """Slide a layer over the others, on a grid, at distances from a range.

    Give the smallest cell of the stacking: the grid covers it once, and --supercell repeats the
    result. Displacements come last.

    Example: dock generate shift MoTe2.vasp structures --distance 6.9 7.9 --supercell '3 3 1'
    --displacement 0.1
    """
    from functools import partial

    from deeph_dock.cli.generate.making import Ask, generate, numbered
    from deeph_dock.cli.generate.steps import perturbed, repeated
    from deeph_dock.structures.shift import chosen, grid_shifts, layers_to_slide, slide

    if min(grid) < 1:
        raise typer.BadParameter(f"--grid {grid[0]} {grid[1]}: expected numbers of 1 or more")
    if distance is not None:
        check_range("--distance", distance)
    after = (*repeated(supercell), *perturbed(displacement, distribution.value))
    step = partial(slide, distances=distance, moving=move, axis=axis.number, smallest_gap=gap)

    def plan(structure: Structure, id: str) -> Mapping[str, Steps]:
        chosen(layers_to_slide(structure, axis.number, gap), move)
        shifts = [partial(step, along=(x, y)) for x, y in grid_shifts(grid).tolist()]
        return numbered([(("shift", one), *after) for one in shifts])

    options = {
        "grid": list(grid),
        "distance": distance and list(distance),
        "move": move,
        "axis": axis.value,
        "gap": gap,
        "supercell": supercell,
        "displacement": displacement,
        "distribution": distribution.value,
    }
    ask = Ask(
        command="shift",
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
    )
    generate(ask, plan)
