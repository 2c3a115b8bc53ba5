"""`dock generate substitute`: atoms replaced, removed or exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from deeph_dock.cli.generate.options import (
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
    matrix_of,
)
from deeph_dock.cli.options import DryRun, Flatten, Jobs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deeph_spec.structure import Structure

    from deeph_dock.cli.generate.making import Steps


def substitute(
    paths: Paths,
    change: Annotated[
        str,
        typer.Option(
            metavar="CHANGE",
            help="S=Se: S becomes Se; S=: S is removed; Mo~S: atoms of both are exchanged.",
        ),
    ],
    atoms: Annotated[
        int, typer.Option(min=1, help="Atoms, or pairs to exchange, in each structure.")
    ] = 1,
    number: Number = 20,
    every: Annotated[
        bool, typer.Option("--all", help="All that symmetry tells apart, instead of --number.")
    ] = False,
    supercell: Supercell = None,
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
    """Make point defects: substituted atoms, antisites, vacancies.

    No two structures from one are the same by symmetry. Displacements come last.

    Example: dock generate substitute MoS2.vasp structures --change S= --supercell '4 4 1' --all
    """
    from functools import partial

    from deeph_dock.cli.generate.making import Ask, generate, numbered
    from deeph_dock.cli.generate.steps import perturbed, repeated
    from deeph_dock.structures.recording import generator
    from deeph_dock.structures.substitute import inequivalent_sites, parse, random_sites
    from deeph_dock.structures.substitute import substitute as step
    from deeph_dock.structures.supercell import supercell as repeat

    wanted = parse(change)
    before = repeated(supercell)
    after = perturbed(displacement, distribution.value)
    matrix = None if supercell is None else matrix_of(supercell, "--supercell")

    def plan(structure: Structure, id: str) -> Mapping[str, Steps]:
        whole = structure if matrix is None else repeat(structure, matrix)
        if every:
            kinds = inequivalent_sites(whole, wanted, atoms)
            steps = [partial(step, change=wanted, sites=s, equivalent=n) for s, n in kinds]
        else:
            drawn = random_sites(whole, wanted, atoms, number, generator(seed, f"substitute {id}"))
            steps = [partial(step, change=wanted, sites=s) for s in drawn]
        return numbered([(*before, ("substitute", one), *after) for one in steps])

    options = {
        "change": str(wanted),
        "atoms": atoms,
        "all": every,
        "supercell": supercell,
        "displacement": displacement,
        "distribution": distribution.value,
    }
    ask = Ask(
        command="substitute",
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
    generate(ask, plan)
