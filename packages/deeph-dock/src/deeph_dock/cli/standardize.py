"""`dock standardize`: a dataset whose Hamiltonians have the standard energy zero."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeph_dock.cli.options import Jobs, Report

if TYPE_CHECKING:
    from deeph_dock.deriving import Derivation
    from deeph_dock.outcomes import Outcome


def standardize(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Root of a dataset, its dft folder, any folder of structures, or one structure.",
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Root of the new dataset.")],
    jobs: Jobs = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Make again what is done, also over other data.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print mu of every structure, and do nothing.")
    ] = False,
    report: Report = None,
) -> None:
    """Remove the freedom of the energy zero: H - mu S, mu by least squares, into a new dataset.

    Fermi levels and eigenvalues move along. Doing it again changes nothing.

    Example: dock standardize data standard
    """
    from deeph_dock.cli.deriving import derive_all
    from deeph_dock.deriving import plan
    from deeph_dock.discovery import dataset_folder

    top = dataset_folder(out)
    work = plan(dataset, top, "deeph_dock.standardizing:standardize", overwrite)
    if dry_run:
        _print_each(work)
    derive_all(work, top, jobs, dry_run, report, "standardized", _print_shifts)
    if not dry_run:
        _copy_split(dataset, top)


def _print_each(work: Sequence[Derivation]) -> None:
    """Say by how much the energies of each structure would be moved."""
    from deeph_spec.dataset import StructureFolder
    from deeph_spec.errors import InputError

    from deeph_dock.standardizing import shift_of

    for job in work:
        try:
            mu = shift_of(StructureFolder(job.source, job.id))
        except (InputError, OSError) as error:
            typer.echo(f"{job.id}: {error}", err=True)
            continue
        typer.echo(f"{job.id}: " + ("no Hamiltonian" if mu is None else f"mu {mu:.6f} eV"))


def _print_shifts(outcomes: Sequence[Outcome]) -> None:
    """Say by how much energies were moved."""
    done = [outcome for outcome in outcomes if outcome.status in ("converted", "updated")]
    shifts = [outcome.facts["mu"] for outcome in done if outcome.facts["mu"] is not None]
    if shifts:
        typer.echo(
            f"        mu {min(shifts):.6f} to {max(shifts):.6f} eV, mean "
            f"{sum(shifts) / len(shifts):.6f} eV"
        )
    bare = len(done) - len(shifts)
    if bare:
        typer.echo(f"        {bare} without a Hamiltonian: copied as they were")


def _copy_split(dataset: Path, top: Path) -> None:
    """Take the split of the dataset along."""
    import shutil

    from deeph_spec.dataset import DFT_FOLDER, SPLIT_FILE

    root = dataset if (dataset / DFT_FOLDER).is_dir() else dataset.parent
    whole = dataset == root or dataset.name == DFT_FOLDER
    split, target = root / SPLIT_FILE, top.parent / SPLIT_FILE
    if whole and split.is_file() and not target.exists():
        shutil.copyfile(split, target)
