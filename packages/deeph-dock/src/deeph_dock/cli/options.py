"""Options that several commands have, each with one meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Jobs = Annotated[int, typer.Option("-j", "--jobs", "-p", min=1, help="Processes.")]
ExecutorKind = Annotated[
    str, typer.Option(metavar="KIND", help="Where: local, mpi (under mpiexec) or dask.")
]
Scheduler = Annotated[str, typer.Option(metavar="ADDRESS", help="Of Dask, or its scheduler file.")]
Quadrature = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How radial integrals are done: exact, or by the code's own grid: siesta, openmx; "
        "abacus:100 (Ry) for releases of ABACUS that integrate up to a cutoff. [exact]",
    ),
]
Flatten = Annotated[
    bool, typer.Option("--flatten", help="Join the names of nested folders: a/b becomes a__b.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Report = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Write the outcome of every structure, JSON."),
]
