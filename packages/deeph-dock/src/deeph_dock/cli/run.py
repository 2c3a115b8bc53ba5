"""`dock run`: compute structures with an engine, for whoever has no DFT code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeph_dock.cli.computing import compute_all, print_preview
from deeph_dock.cli.options import DryRun, ExecutorKind, Flatten, Jobs, Report, Scheduler
from deeph_dock.cli.reports import write_report

if TYPE_CHECKING:
    from deeph_dock.engines.running import Task
    from deeph_dock.outcomes import Outcome

ROWS_AT_MOST = 60
engines = typer.Typer(
    name="run",
    help="Compute structures with an engine: dock run pyscf structures data",
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@engines.callback()
def _engines() -> None:
    """Compute structures with an engine, straight into the DeepH format.

    Example: dock run pyscf structures data
    """


@engines.command(context_settings={"help_option_names": ["-h", "--help"]})
def pyscf(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="STRUCTURES... OUT",
            help="Structure files (POSCAR, .xyz, .extxyz, .cif, whatever ASE reads), or folders "
            "of them at any depth; then the root of the dataset: OUT/dft/<id>.",
            show_default=False,
        ),
    ],
    functional: Annotated[
        str, typer.Option(metavar="NAME", help="pbe, lda, pbesol, scan, b3lyp, ...")
    ] = "pbe",
    basis: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Basis of PySCF. [molecules def2-svp, crystals gth-dzvp-molopt-sr]",
        ),
    ] = None,
    pseudo: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Pseudopotentials; none: all electrons. [molecules those of the basis, crystals "
            "the gth- set of the functional]",
        ),
    ] = None,
    kmesh: Annotated[
        str,
        typer.Option(
            metavar="MESH",
            help="Divisions such as '4 4 1', or one number: largest distance of k-points in 1/Å.",
        ),
    ] = "0.5",
    spin: Annotated[
        str,
        typer.Option(
            metavar="2S",
            help="Unpaired electrons; auto: 0, or if any structure has an odd number of electrons "
            "two spin channels in all (crystals with --smearing excepted).",
        ),
    ] = "auto",
    charge: Annotated[int, typer.Option(help="Charge of the molecule or cell.")] = 0,
    smearing: Annotated[
        float, typer.Option(min=0.0, metavar="EV", help="Fermi-Dirac temperature, for metals.")
    ] = 0.0,
    cutoff: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            metavar="EV",
            help="Plane-wave cutoff of the density of crystals. [by the hardest orbital]",
        ),
    ] = None,
    cycles: Annotated[int, typer.Option(min=1, help="Largest number of SCF cycles.")] = 100,
    smallest_overlap: Annotated[
        float,
        typer.Option(
            metavar="X",
            help="Two atoms of a crystal have a block if orbitals of their elements overlap by X "
            "at their distance.",
        ),
    ] = 1e-10,
    molecule: Annotated[
        bool, typer.Option("--molecule", help="All are molecules, whatever cells they have.")
    ] = False,
    crystal: Annotated[
        bool, typer.Option("--crystal", help="All are crystals, whatever their pbc flags say.")
    ] = False,
    density_matrix: Annotated[
        bool, typer.Option("--density-matrix", help="Write density_matrix.h5 as well.")
    ] = False,
    position_matrix: Annotated[
        bool, typer.Option("--position-matrix", help="Write position_matrix.h5 as well.")
    ] = False,
    flatten: Flatten = False,
    jobs: Jobs = 1,
    executor: ExecutorKind = "local",
    scheduler: Scheduler = "",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of a process. [OMP_NUM_THREADS, or all cores by -j]"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Compute again what is done, also over other data.")
    ] = False,
    dry_run: DryRun = False,
    report: Report = None,
) -> None:
    """Compute molecules and crystals with PySCF, straight into the DeepH format.

    What repeats by its file (POSCAR, CIF, an xyz with a lattice) is a crystal, all else a molecule.
    Running it again goes on where it stopped. PySCF comes with: pip install 'deeph-dock[pyscf]'

    Example: dock run pyscf structures data --kmesh '4 4 1' -j 2
    """
    from deeph_spec.errors import InputError

    from deeph_dock.codes.pyscf import require

    *sources, destination = paths
    if not sources:
        raise InputError(
            f"one path given ({destination}), two are needed: dock run pyscf STRUCTURES... OUT"
        )
    if molecule and crystal:
        raise typer.BadParameter("--molecule and --crystal exclude each other")
    require()
    from deeph_dock.discovery import WANTED, dataset_folder
    from deeph_dock.engines.pyscf import Settings
    from deeph_dock.engines.running import PRELOAD, compute, plan, preview
    from deeph_dock.workers import Request, workers

    divisions, spacing = _mesh(kmesh)
    unpaired = _unpaired(spin)
    extra = {"density_matrix": density_matrix, "position_matrix": position_matrix}
    settings = Settings(
        functional=functional,
        basis=basis,
        pseudo=pseudo,
        kmesh=divisions,
        spacing=spacing,
        spin=unpaired,
        charge=charge,
        smearing=smearing,
        cutoff=cutoff,
        cycles=cycles,
        smallest_overlap=smallest_overlap,
    )
    wanted = tuple(name for name in WANTED if extra.get(name, True))
    with workers(executor, Request(jobs, scheduler, PRELOAD)) as pool:
        if pool.title:  # elsewhere, where this folder need not be the current one
            sources, destination = [path.absolute() for path in sources], destination.absolute()
        tasks = plan(
            sources,
            destination,
            settings,
            kind="molecule" if molecule else "crystal" if crystal else None,
            flatten=flatten,
            wanted=wanted,
            threads=threads or _threads(jobs),
            redo=overwrite,
        )
        typer.echo(_headline(tasks, sources) + (f", by {pool.title}" if pool.title else ""))
        top = dataset_folder(destination)
        if dry_run:
            outcomes = [preview(task) for task in tasks]
            print_preview(outcomes, top, _print_table)
        else:
            workforce = pool.for_items(len(tasks))
            outcomes = compute_all(compute, tasks, top, workforce, _print_table)
    if report is not None:
        write_report(report, outcomes)
    if any(outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _threads(jobs: int) -> int:
    """Share the cores among the processes, unless OMP_NUM_THREADS says how many threads to use."""
    import os

    from deeph_dock.executors import usable_cores

    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else max(1, usable_cores() // jobs)


def _mesh(text: str) -> tuple[tuple[int, int, int] | None, float]:
    """Understand --kmesh: divisions, or a distance of points."""
    words = text.replace(",", " ").replace("x", " ").split()
    try:
        if len(words) == 3:
            n = [int(word) for word in words]
            if min(n) > 0:
                return (n[0], n[1], n[2]), 0.0
        elif len(words) == 1 and float(words[0]) > 0:
            return None, float(words[0])
    except ValueError:
        pass
    raise typer.BadParameter(
        f"--kmesh '{text}': expected three divisions such as '4 4 1', or a distance in 1/Å"
    )


def _unpaired(text: str) -> int | None:
    """Understand --spin."""
    if text.lower() == "auto":
        return None
    if text.isdigit():
        return int(text)
    raise typer.BadParameter(f"--spin '{text}': expected auto or a number of unpaired electrons")


def _headline(tasks: Sequence[Task], sources: Sequence[Path]) -> str:
    """Say what was found."""
    crystals = sum(task.crystal for task in tasks)
    unread = sum(task.given.structure is None for task in tasks)
    counts = {"crystal": crystals, "molecule": len(tasks) - crystals - unread}
    parts = [f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items() if n]
    if unread:
        parts.append(f"{unread} unreadable file{'s' * (unread != 1)}")
    polarised = ", two spin channels" if tasks[0].settings.polarised else ""
    where = ", ".join(map(str, sources))
    return f"{', '.join(parts)} in {where}: {tasks[0].settings.functional}{polarised}"


_COLUMNS = {
    "formula": "formula",
    "kind": "kind",
    "atoms": "atoms",
    "orbitals": "orbitals",
    "electrons": "electrons",
    "kmesh": "k-mesh",
    "pairs": "pairs",
    "cycles": "cycles",
    "energy": "energy (eV)",
    "gap": "gap (eV)",
}


def _print_table(outcomes: Sequence[Outcome]) -> None:
    """Print a line for each structure, with the columns that any of them has."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    if not outcomes:
        return
    console = Console()
    if not console.is_terminal:
        console.width = 120
    names = [name for name in _COLUMNS if any(name in outcome.facts for outcome in outcomes)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("structure", no_wrap=True)
    for name in names:
        side = "left" if name in ("formula", "kind") else "right"
        table.add_column(_COLUMNS[name], justify=side, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("s", justify="right", no_wrap=True)
    for outcome in outcomes[:ROWS_AT_MOST]:
        cells = [_cell(name, outcome.facts.get(name)) for name in names]
        table.add_row(escape(outcome.id), *cells, f"{outcome.seconds:.1f}")
    console.print(table)
    if len(outcomes) > ROWS_AT_MOST:
        typer.echo(f"... and {len(outcomes) - ROWS_AT_MOST} more")


def _cell(name: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)
