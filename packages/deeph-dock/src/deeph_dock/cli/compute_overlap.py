"""`dock compute-overlap`: overlap matrices of structures that no DFT code has seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeph_dock.cli.computing import compute_all, print_preview
from deeph_dock.cli.options import (
    DryRun,
    ExecutorKind,
    Flatten,
    Jobs,
    Quadrature,
    Report,
    Scheduler,
)

if TYPE_CHECKING:
    from deeph_dock.computing_overlaps import Settings, Task
    from deeph_dock.outcomes import Outcome

ROWS_AT_MOST = 10
_PATTERNS = ("overlap", "hamiltonian")
_SPINS = ("none", "collinear", "soc")


def compute_overlap(
    structures: Annotated[
        list[Path],
        typer.Argument(
            metavar="STRUCTURES...",
            help="Structure files (POSCAR, .xyz, .cif, whatever ASE reads), or folders of them at "
            "any depth.",
            show_default=False,
        ),
    ],
    basis: Annotated[
        list[str],
        typer.Option(
            "--basis",
            metavar="DIR",
            help="Folder or file of the basis: SIESTA .ion, .ion.xml, .ion.nc; OpenMX .pao; ABACUS "
            ".orb. Or a Gaussian basis set by name. Can be given several times.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            metavar="DATASET",
            help="Root of the dataset: DATASET/dft/<id>.",
            show_default=False,
        ),
    ],
    orbitals: Annotated[
        list[str] | None,
        typer.Option(
            "--orbitals",
            metavar="NAME",
            help="Orbitals of an element in OpenMX's files, such as Mo7.0-s3p2d1; once for each.",
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="DATASET",
            help="Take orbitals, quadrature, pairs and spin from this dataset, and say if the "
            "basis cannot be the same.",
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Pairs: overlap (orbitals touch), or hamiltonian (also those linked through a "
            "third atom's projectors, as SIESTA and ABACUS store them). [hamiltonian]",
        ),
    ] = None,
    also: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="More matrices: kinetic,position,gradient, comma-separated."
        ),
    ] = "",
    quadrature: Quadrature = None,
    spin: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="Spin of the Hamiltonians to be predicted, for info.json: none, collinear, soc. "
            "[none]",
        ),
    ] = None,
    molecule: Annotated[
        bool, typer.Option("--molecule", help="All are molecules, whatever cells they have.")
    ] = False,
    crystal: Annotated[
        bool, typer.Option("--crystal", help="All are crystals, whatever their pbc flags say.")
    ] = False,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    executor: ExecutorKind = "local",
    scheduler: Scheduler = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Compute again what is done, also over other data.")
    ] = False,
    dry_run: DryRun = False,
    report: Report = None,
) -> None:
    """Compute overlap matrices from a basis, ready for prediction.

    POSCAR, info.json and overlap.h5 of every structure, with the number of electrons where the
    basis files tell it. A structure is written piece by piece: memory does not limit its size.

    Example: dock compute-overlap POSCAR --basis ions -o predict

    Example: dock compute-overlap twisted --basis PAO --like training -o predict -j 4
    """
    from deeph_dock.basis.folder import Request as Bases
    from deeph_dock.cli.reports import write_report
    from deeph_dock.computing_overlaps import PRELOAD, Settings, compute, plan, preview
    from deeph_dock.discovery import dataset_folder
    from deeph_dock.workers import Request, workers

    if molecule and crystal:
        raise typer.BadParameter("--molecule and --crystal exclude each other")
    _check_choice("--pattern", pattern, _PATTERNS)
    _check_choice("--spin", spin, _SPINS)
    chosen = Settings(
        Bases(tuple(basis), quadrature or "exact", tuple(orbitals or ())),
        pattern or "hamiltonian",
        _names(also),
        spin or "none",
    )
    with workers(executor, Request(jobs, scheduler, PRELOAD)) as pool:
        if like is not None:
            chosen = _like(like, chosen, quadrature, pattern, spin)
        if pool.title:  # elsewhere, where this folder need not be the current one
            structures, out = [path.absolute() for path in structures], out.absolute()
            chosen = _absolute(chosen)
        tasks = plan(
            structures,
            out,
            chosen,
            jobs=jobs,
            kind="molecule" if molecule else "crystal" if crystal else None,
            flatten=flatten,
            redo=overwrite,
        )
        top = dataset_folder(out)
        if dry_run:
            outcomes = [preview(task) for task in tasks]
            print_preview(outcomes, top, _print_table)
        else:
            many = pool.for_items(len(tasks) if len(tasks) >= jobs or pool.title else 1)
            with _bar_of(tasks):
                outcomes = compute_all(compute, tasks, top, many, _print_table)
    if report is not None:
        write_report(report, outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


@contextmanager
def _bar_of(tasks: Sequence[Task]) -> Iterator[None]:
    """Show the progress within a structure, if it is the only one."""
    if len(tasks) != 1:
        yield
        return
    from deeph_dock.cli.bars import task_bars
    from deeph_dock.overlap_matrices import WATCH

    with task_bars() as bars:
        token = WATCH.set(bars)
        try:
            yield
        finally:
            WATCH.reset(token)


def _check_choice(option: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise typer.BadParameter(f"{option} '{value}': expected {', '.join(known)}")


def _names(text: str) -> tuple[str, ...]:
    """Understand --also."""
    known = ("kinetic", "position", "gradient")
    names = tuple(name for name in text.replace(" ", ",").split(",") if name)
    for name in names:
        _check_choice("--also", name, known)
    return names


def _absolute(settings: Settings) -> Settings:
    """Name the folders of the bases so that workers elsewhere find them."""
    from dataclasses import replace

    sources = tuple(
        str(Path(source).absolute()) if Path(source).exists() else source
        for source in settings.basis.sources
    )
    return replace(settings, basis=replace(settings.basis, sources=sources))


def _like(
    path: Path,
    chosen: Settings,
    quadrature: str | None,
    pattern: str | None,
    spin: str | None,
) -> Settings:
    """Take what was not asked for from a dataset, and say what that is."""
    from dataclasses import replace

    from deeph_dock.like_dataset import settings_like

    likeness = settings_like(path, chosen, quadrature, pattern)
    for note in likeness.notes:
        typer.echo(note)
    return replace(likeness.settings, spin=spin) if spin else likeness.settings


def _print_table(outcomes: Sequence[Outcome]) -> None:
    """Print a line for each structure."""
    for outcome in outcomes[:ROWS_AT_MOST]:
        facts = outcome.facts
        typer.echo(
            f"{outcome.id}: {facts['formula']}, {facts['atoms']} atoms, {facts['orbitals']} "
            f"orbitals, {facts['pairs']} pairs, {facts['bytes'] / 1e6:.1f} MB"
            + (f", {outcome.seconds:.1f} s" if outcome.status != "new" else "")
        )
    if len(outcomes) > ROWS_AT_MOST:
        typer.echo(f"... and {len(outcomes) - ROWS_AT_MOST} more")
