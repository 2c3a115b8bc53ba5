"""`dock generate twist`: two layers turned against each other, in a common cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from deeph_dock.cli.generate.layers import LayerPaths, Share, Vacuum, read_layers
from deeph_dock.cli.generate.options import (
    Displacement,
    Distribution,
    DistributionKind,
    Format,
    FormatKind,
    MinDistance,
    Overwrite,
    Seed,
)
from deeph_dock.cli.options import DryRun, Flatten, Jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeph_spec.structure import Structure
    from numpy.random import Generator

    from deeph_dock.cli.generate.making import Steps
    from deeph_dock.structures.match import Match
    from deeph_dock.structures.recording import Step

    class Settings(TypedDict):
        """What every stack needs."""

        top: Structure
        match: Match
        distance: float
        vacuum: float


_TWO = "01"


def twist(
    paths: LayerPaths,
    distance: Annotated[
        float, typer.Option(metavar="Å", help="Of the layers' middle planes; graphene 3.35.")
    ],
    mn: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="M N", help="Exact common cell of hexagonal or square layers: 1 2 is 21.8°."
        ),
    ] = None,
    angle: Annotated[
        float | None,
        typer.Option(metavar="DEGREES", help="Or an angle near which common cells are searched."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(metavar="DEGREES", help="How far --angle may be off.")
    ] = 0.1,
    max_strain: Annotated[
        float, typer.Option(metavar="X", help="Of common cells at --angle: largest strain.")
    ] = 0.01,
    max_atoms: Annotated[
        int, typer.Option(metavar="N", help="Of common cells at --angle: largest size.")
    ] = 2000,
    choose: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="K",
            help="Which of those found: more atoms, less strain. --dry-run: all.",
        ),
    ] = 1,
    share: Share = 0.0,
    vacuum: Vacuum = 20.0,
    shift: Annotated[
        tuple[float, float],
        typer.Option(metavar="X Y", help="Of the top, in units of its own a1 and a2."),
    ] = (0.0, 0.0),
    turns: Annotated[
        str,
        typer.Option(
            metavar="PATTERN",
            help="Of all layers from below, with --mn: 1 is turned, and TOP; 010 a trilayer.",
        ),
    ] = "01",
    number: Annotated[
        int, typer.Option("-n", "--number", min=1, help="Structures, with --displacement.")
    ] = 1,
    displacement: Displacement = 0.0,
    distribution: DistributionKind = Distribution.uniform,
    seed: Seed = 1,
    min_distance: MinDistance = 0.5,
    format: FormatKind = Format.poscar,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
) -> None:
    """Twist two layers, the same or different ones.

    Ids say the angle: OUT/graphene/twist+21.787. The top turns anticlockwise by positive angles, or
    if M < N.

    Example: dock generate twist graphene.vasp structures --mn 30 31 --distance 3.35
    """
    from functools import partial

    from deeph_dock.cli.generate.making import Ask, generate, numbered
    from deeph_dock.cli.generate.steps import perturbed

    if (mn is None) == (angle is None):
        raise typer.BadParameter("give either --mn M N or --angle DEGREES")
    pattern = _pattern(turns, angle is None, shift)
    if number > 1 and not displacement:
        raise typer.BadParameter(f"--number {number}: all would be equal; add --displacement")
    given, above = read_layers(paths, "twist", flatten)

    def plan(bottom: Structure, id: str) -> Mapping[str, Steps]:
        top = bottom if above is None else above.usable()
        if mn is not None:
            from deeph_dock.structures.twist import commensurate

            found = [commensurate(bottom, top, *mn, share)]
        else:
            from deeph_dock.structures.matching import matches

            found = matches(bottom, top, angle or 0.0, tolerance, max_strain, max_atoms, share)
        match = _chosen(found, choose, id, dry_run)
        settings: Settings = {"top": top, "match": match, "distance": distance, "vacuum": vacuum}
        step: Step = partial(stack_layers, **settings, shift=shift)
        if mn is not None and turns != _TWO:
            step = partial(stack_pattern, **settings, mn=mn, pattern=pattern)
        steps = (("twist", step), *perturbed(displacement, distribution.value))
        name = f"twist{round(match.angle, 3) + 0.0:+.3f}"  # not -0.000
        name += f"-{turns}" * (turns != _TWO)
        return {name: steps} if number == 1 else numbered([steps] * number, f"{name}-")

    options = {
        **({"mn": list(mn)} if mn else {"angle": angle, "tolerance": tolerance}),
        **({} if mn else {"max_strain": max_strain, "max_atoms": max_atoms, "choose": choose}),
        "distance": distance,
        "share": share,
        "vacuum": vacuum,
        "shift": list(shift),
        "turns": turns,
        "displacement": displacement,
        "distribution": distribution.value,
    }
    ask = Ask(
        command="twist",
        paths=paths,
        options=options,
        seed=seed,
        min_distance=min_distance,
        format=format.value,
        flatten=flatten,
        jobs=jobs,
        overwrite=overwrite,
        dry_run=dry_run,
        above=above,
    )
    generate(ask, plan, given)


def _pattern(text: str, exact: bool, shift: tuple[float, float]) -> list[bool]:
    """Understand --turns."""
    if len(text) < 2 or set(text) != {"0", "1"}:
        raise typer.BadParameter(f"--turns '{text}': expected 0 and 1 for each layer, as in 010")
    if text != _TWO and not exact:
        raise typer.BadParameter("--turns: of exact common cells; give --mn M N, not --angle")
    if text != _TWO and any(shift):
        raise typer.BadParameter("--shift: of two layers; leave it out with --turns")
    return [digit == "1" for digit in text]


def _chosen(found: list[Match], number: int, id: str, dry_run: bool) -> Match:
    """Choose one of the common cells, and print it, or all of them."""
    from deeph_spec.errors import InputError

    if number > len(found):
        raise InputError(f"--choose {number}: {len(found)} common cells were found")
    for place, match in enumerate(found, start=1):
        if place == number or dry_run:
            mark = f" (--choose {place})" if len(found) > 1 and dry_run else ""
            typer.echo(f"{id}: {match}{mark}")
    more = len(found) - number
    if more and not dry_run:
        typer.echo(
            f"{id}: {more} larger cell{'s' * (more > 1)} with less strain, the last one "
            f"{found[-1]}; --dry-run lists them, --choose {len(found)} takes that one"
        )
    return found[number - 1]


def stack_layers(
    structure: Structure,
    rng: Generator,
    top: Structure,
    match: Match,
    distance: float,
    vacuum: float,
    shift: tuple[float, float],
) -> tuple[Structure, dict[str, Any]]:
    """Stack two layers, as a step; nothing about it is random.

    Parameters
    ----------
    structure, top, match, distance, vacuum, shift
        Of `deeph_dock.structures.match.stacked`.
    rng : numpy.random.Generator
        Not used.

    Returns
    -------
    Structure, dict
        The stack, and how it is made.
    """
    from deeph_dock.structures.match import stacked

    made = stacked(structure, top, match, distance, vacuum, shift)
    return made, {**match.facts(), "distance": distance, "shift": list(shift)}


def stack_pattern(
    structure: Structure,
    rng: Generator,
    top: Structure,
    match: Match,
    distance: float,
    vacuum: float,
    mn: tuple[int, int],
    pattern: list[bool],
) -> tuple[Structure, dict[str, Any]]:
    """Stack several layers, as a step; nothing about it is random.

    Parameters
    ----------
    structure, top : Structure
        The layers that are not turned, and those that are.
    rng : numpy.random.Generator
        Not used.
    match : Match
        Of both, for the record.
    distance : float
        Between the middle planes of neighbours, Å.
    vacuum, mn
        Of `deeph_dock.structures.twist.twisted_layers`.
    pattern : list of bool
        Which layers are turned, from below.

    Returns
    -------
    Structure, dict
        The stack, and how it is made.
    """
    from deeph_dock.structures.twist import twisted_layers

    layers = [top if turned else structure for turned in pattern]
    distances = [distance] * (len(layers) - 1)
    made = twisted_layers(layers, pattern, *mn, distances, vacuum)
    return made, {**match.facts(), "distance": distance, "turned": pattern}
