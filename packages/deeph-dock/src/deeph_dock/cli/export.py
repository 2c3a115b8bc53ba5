"""`dock export`: a dataset in the form of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deeph_dock.cli.options import DryRun, Jobs, Report


def export(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Root of a dataset, its dft folder, any folder of structures, or one structure.",
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder below which each structure gets one.")
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="FORM", help="deeph-legacy: folders of DeepH-pack.")
    ],
    jobs: Jobs = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write again what is done, also over other data.")
    ] = False,
    dry_run: DryRun = False,
    report: Report = None,
) -> None:
    """Write a dataset in the form of other programs, predictions included.

    Running it again skips what is done and unchanged.

    Example: dock export data legacy --to deeph-legacy
    """
    from deeph_dock.cli.deriving import derive_all
    from deeph_dock.deriving import plan
    from deeph_dock.exporting import maker

    work = plan(dataset, out, maker(to), overwrite)
    derive_all(work, out, jobs, dry_run, report, "exported")
