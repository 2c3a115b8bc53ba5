"""`dock check`: whether a dataset is what the format says, and its matrices are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deeph_dock.cli.options import ExecutorKind, Jobs, Quadrature, Scheduler
from deeph_dock.cli.reports import print_trace, some

if TYPE_CHECKING:
    from deeph_spec.validation import Finding

    from deeph_dock.basis.folder import Request as Bases
    from deeph_dock.checking import Row

NAMES_AT_MOST = 4
ROWS_AT_MOST = 60
"""Larger datasets show the structures that fail, and the worst of the others."""


def check(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET",
            help="Root of a dataset, its dft folder, any folder of structures, or one structure.",
        ),
    ],
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="SRC",
            help="The raw calculations to compare eigenvalues with. [eigval_dft.h5 of each folder]",
        ),
    ] = None,
    basis: Annotated[
        list[str] | None,
        typer.Option(
            "--basis",
            metavar="DIR",
            help="Recompute S from this basis: folder or file of SIESTA .ion, .ion.xml, .ion.nc; "
            "OpenMX .pao; ABACUS .orb; or a Gaussian basis set by name; several times if need be.",
        ),
    ] = None,
    orbitals: Annotated[
        list[str] | None,
        typer.Option(
            "--orbitals",
            metavar="NAME",
            help="Orbitals of an element in OpenMX's files, such as Mo7.0-s3p2d1; once for each. "
            "[those of info.json]",
        ),
    ] = None,
    quadrature: Quadrature = None,
    summary: Annotated[
        bool,
        typer.Option(
            "--summary", help="Say what the dataset holds, instead of checking whether it is right."
        ),
    ] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture of the summary: png, pdf or svg.")
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            help="All pairs and k-points of large structures, not a part; with --summary all "
            "entries of all structures.",
        ),
    ] = False,
    jobs: Jobs = 1,
    executor: ExecutorKind = "local",
    scheduler: Scheduler = "",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.")
    ] = None,
) -> None:
    """Check a dataset against the format, and prove that its matrices are right.

    Proofs: the overlap obeys the two-centre rule (orbital order, signs and lattice vectors are
    right), H and S are Hermitian, and the eigenvalues of H and S are those the DFT code printed.
    With --basis S is recomputed from the radial functions of the code; where it differs, the first
    pair is named and what it looks like: units, orbitals, signs, R, atoms. Exit code 1 if anything
    fails.

    With --summary: elements, shells, spin, sizes, reach and decay of H and S, copies, and what is
    mixed that should not be. Exit code 1 if a structure cannot be read.

    Example: dock check data

    Example: dock check data --basis ions

    Example: dock check data --summary --plot summary.png
    """
    from deeph_dock.checking import dataset_findings

    if summary and runs is not None:
        raise typer.BadParameter("--runs compares eigenvalues, which --summary does not look at")
    if summary and basis:
        raise typer.BadParameter("--basis recomputes S, which --summary does not do")
    if (orbitals or quadrature) and not basis:
        raise typer.BadParameter("--orbitals and --quadrature need --basis")
    if summary:
        from deeph_dock.cli.summary import summarise
        from deeph_dock.workers import Request

        request = Request(jobs, scheduler, ("deeph_dock.summary",))
        summarise(dataset, full, executor, request, json_file, plot)
        return
    if plot is not None:
        raise typer.BadParameter("--plot needs --summary")
    bases = _bases(basis, quadrature, orbitals)
    folders, rows = _check_all(dataset, runs, bases, full, jobs, executor, scheduler)
    order = {id: number for number, id in enumerate(folders)}
    rows.sort(key=lambda row: order[row.id])
    common = dataset_findings(dataset)
    if json_file is not None:
        _write_json(json_file, dataset, rows, common)
    _print_table(rows)
    _print_problems(rows, common)
    failed = sum(not row.ok for row in rows)
    broken = any(finding.severity == "error" for finding in common)
    _print_empty(rows)
    sources = [row.hermitian_source for row in rows if row.hermitian_source is not None]
    if sources:
        typer.echo(
            f"Hermitian partners differed by up to {max(sources):.1e} in the code's files; the "
            "converter averaged them"
        )
    typer.echo(_conclusion(rows, failed, broken))
    if failed or broken:
        raise typer.Exit(1)


def _bases(
    basis: Sequence[str] | None, quadrature: str | None, orbitals: Sequence[str] | None
) -> Bases | None:
    """Understand --basis and what belongs to it."""
    if not basis:
        return None
    from deeph_dock.basis.folder import Request as Bases

    sources = tuple(str(Path(name).absolute()) if Path(name).exists() else name for name in basis)
    return Bases(sources, quadrature or "exact", tuple(orbitals or ()))


def _check_all(
    dataset: Path,
    runs: Path | None,
    bases: Bases | None,
    full: bool,
    jobs: int,
    kind: str,
    scheduler: str,
) -> tuple[Mapping[str, Path], list[Row]]:
    """Find the structures and check them all."""
    from deeph_spec.dataset import structure_paths

    from deeph_dock.checking import Task, check_bases, run, runs_by_id
    from deeph_dock.cli.progress import with_progress
    from deeph_dock.workers import Request, workers

    with workers(kind, Request(jobs, scheduler, ("deeph_dock.checking",))) as pool:
        if pool.title:  # elsewhere, where this folder need not be the current one
            dataset, runs = dataset.absolute(), runs and runs.absolute()
        folders = structure_paths(dataset)
        raw = runs_by_id(runs, folders) if runs is not None else {}
        if bases is not None:
            check_bases(folders, bases)
        tasks = [Task(id, path, raw.get(id), not full, bases) for id, path in folders.items()]
        pool = pool.for_items(len(tasks))
        rows = run(tasks, pool.make, pool.at_once)
        return folders, list(with_progress(rows, len(tasks), "checking"))


def _print_table(rows: Sequence[Row]) -> None:
    """Print one line for each structure, or for those that matter."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = rows if len(rows) <= ROWS_AT_MOST else [row for row in rows if not row.ok]
    shown = shown[:ROWS_AT_MOST]
    console = Console()
    if not console.is_terminal:
        console.width = 120
    padding = 1 if console.width >= 90 else 0  # without it the table fits into 80 columns
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, padding, 0, 0))
    table.add_column("structure", no_wrap=True)
    for title in ("atoms", "orbitals", "pairs", "findings"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("two-\ncentre", "Hermitian\nS / H (eV)", "eigenvalues\n(meV)"):
        table.add_column(title, justify="right", no_wrap=True)
    with_basis = any(row.basis is not None for row in rows)
    if with_basis:
        table.add_column("S of\nbasis", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for row in shown:
        last = [_number(_basis_difference([row]))] if with_basis else []
        verdict = "[green]ok[/]" if row.ok else "[bold red]FAILED[/]"
        table.add_row(*_cells(row), *last, verdict)
    if len(shown) < len(rows):
        names = {row.id for row in shown}
        hidden = [row for row in rows if row.id not in names]
        last = [_number(_basis_difference(hidden))] if with_basis else []
        table.add_row(*_worst(hidden), *last, "ok" if all(row.ok for row in hidden) else "FAILED")
    console.print(table)


def _cells(row: Row) -> list[str]:
    """Give the cells of a structure."""
    from rich.markup import escape

    return [
        escape(row.id),
        *("-" if x is None else str(x) for x in (row.atoms, row.orbitals, row.pairs)),
        str(len(row.findings)) if row.findings else "none",
        _number(row.two_centre.violation if row.two_centre else None),
        _both(row.hermitian_overlap, row.hermitian_hamiltonian),
        _number(row.eigenvalues.largest * 1e3 if row.eigenvalues else None, ".4f"),
    ]


def _worst(rows: Sequence[Row]) -> list[str]:
    """Give the cells of many structures together: ranges, and the largest number of each proof."""

    def span(values: list[int | None]) -> str:
        known = [value for value in values if value is not None]
        if not known:
            return "-"
        return str(known[0]) if min(known) == max(known) else f"{min(known)}-{max(known)}"

    def largest(values: list[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    deviation = largest([row.eigenvalues.largest if row.eigenvalues else None for row in rows])
    return [
        f"{len(rows)} others",
        span([row.atoms for row in rows]),
        span([row.orbitals for row in rows]),
        span([row.pairs for row in rows]),
        str(sum(len(row.findings) for row in rows)) if any(r.findings for r in rows) else "none",
        _number(largest([row.two_centre.violation if row.two_centre else None for row in rows])),
        _both(
            largest([row.hermitian_overlap for row in rows]),
            largest([row.hermitian_hamiltonian for row in rows]),
        ),
        _number(None if deviation is None else deviation * 1e3, ".4f"),
    ]


def _basis_difference(rows: Sequence[Row]) -> float | None:
    """Give the largest difference to the overlaps of the basis."""
    found = [row.basis.largest for row in rows if row.basis is not None and row.basis.pairs]
    return max(found, default=None)


def _print_empty(rows: Sequence[Row]) -> None:
    """Say how many pairs have a Hamiltonian and no overlap."""
    empty = sum(row.empty_overlaps or 0 for row in rows)
    if empty:
        total = sum(row.pairs or 0 for row in rows if row.empty_overlaps is not None)
        typer.echo(
            f"{empty} of {total} pairs have no overlap: H alone reaches them (non-local "
            "pseudopotentials)"
        )


def _both(first: float | None, second: float | None) -> str:
    return f"{_number(first)} / {_number(second)}"


def _number(value: float | None, form: str = ".1e") -> str:
    if value is None:
        return "-"
    return "0" if value == 0 else format(value, form)


def _print_problems(rows: Sequence[Row], common: Sequence[Finding]) -> None:
    """Print every error, and warnings and notes of one kind once."""
    for finding in common:
        typer.echo(str(finding))
    for row in rows:
        for finding in row.errors:
            typer.echo(str(finding))
        for failure in row.failures:
            typer.echo(f"failed {row.id}: {failure}")
        print_trace(row)
    warnings: dict[str, list[str]] = {}
    examples: dict[str, str] = {}
    notes: dict[str, list[str]] = {}
    for row in rows:
        for finding in row.findings:
            if finding.severity == "warning":
                warnings.setdefault(finding.rule, []).append(row.id)
                examples.setdefault(finding.rule, f"{finding.message}; {finding.remedy}")
        for note in row.notes:
            notes.setdefault(note, []).append(row.id)
    for rule, ids in warnings.items():
        typer.echo(
            f"warning {rule} in {some(list(dict.fromkeys(ids)), NAMES_AT_MOST)}: {examples[rule]}"
        )
    for note, ids in notes.items():
        typer.echo(f"note: {some(list(dict.fromkeys(ids)), NAMES_AT_MOST)}: {note}")


def _conclusion(rows: Sequence[Row], failed: int, broken: bool) -> str:
    """Say in one line how it ended, and what was not proved."""
    total = len(rows)
    if failed:
        return f"{failed} of {total} structure{'s' * (total > 1)} failed"
    if broken:
        return "the structures contradict each other, see above"
    compared = sum(row.eigenvalues is not None for row in rows)
    if compared == total:
        what = "eigenvalues compared with the code's own in all"
    elif compared:
        what = f"eigenvalues compared with the code's own in {compared} of them"
    else:
        what = "the code's own eigenvalues are not there to compare with"
    if any(row.basis is not None for row in rows):
        what += "; S is that of the basis"
    return (
        f"all {total} structures are right; {what}"
        if total > 1
        else f"the structure is right; {what}"
    )


def _write_json(path: Path, dataset: Path, rows: Sequence[Row], common: Sequence[Finding]) -> None:
    """Write everything that was found."""
    import json
    from dataclasses import asdict

    from deeph_spec.files import write_text

    document: dict[str, Any] = {
        "dataset": str(dataset),
        "ok": all(row.ok for row in rows) and not any(f.severity == "error" for f in common),
        "findings": [asdict(finding) for finding in common],
        "structures": [row.to_document() for row in rows],
    }
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
