"""What `dock check --summary` does: look at all structures, print, write JSON and a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from deeph_dock.cli.reports import some

if TYPE_CHECKING:
    from deeph_dock.summary import Facts, Span, Summary
    from deeph_dock.workers import Request

PROVENANCE = {"code": "code", "code_version": "version", "functional": "functional"}
"""What is printed of the provenance when nothing is mixed."""
LINES_AT_MOST = 12
NAMES_AT_MOST = 5
_BATCH = 32
_WIDTH = 80
_COARSE = 1.0
"""Intervals of distance in the printed table, Å."""


def summarise(
    dataset: Path,
    full: bool,
    kind: str,
    request: Request,
    json_file: Path | None,
    plot: Path | None,
) -> None:
    """Summarise a dataset.

    Parameters
    ----------
    dataset : Path
        A root, a dft folder, any folder of structures, or one structure.
    full : bool
        All entries of all structures are read.
    kind : str
        Of the workers.
    request : Request
        How many of them.
    json_file, plot : Path or None
        Files to write.

    Raises
    ------
    typer.Exit
        With 1 if a structure cannot be read.
    """
    summary = _looked_at(dataset, full, kind, request)
    if json_file is not None:
        _write_json(json_file, dataset, summary)
    for line in _lines(dataset, summary):
        typer.echo(line)
    if plot is not None and summary.structures:
        from deeph_dock.summary_plots import save, summary_figure

        save(summary_figure(summary, dataset.absolute().name), plot)
        typer.echo(f"written: {plot}")
    if summary.unreadable:
        raise typer.Exit(1)


def _looked_at(dataset: Path, full: bool, kind: str, request: Request) -> Summary:
    """Find all structures and put their facts together."""
    from deeph_spec.dataset import structure_paths

    from deeph_dock.cli.progress import with_progress
    from deeph_dock.executors import each
    from deeph_dock.summary import Task, facts_of, tasks
    from deeph_dock.summary import summarise as collected
    from deeph_dock.workers import workers

    def passed(
        results: Iterator[tuple[Sequence[Task], list[Facts] | Exception]],
    ) -> Iterator[Facts]:
        from deeph_dock.summary import Facts

        for batch, result in results:
            if isinstance(result, Exception):
                reason = "its process died, killed or out of memory; use fewer jobs (-j)"
                yield from (Facts(task.id, reason) for task in batch)
            else:
                yield from result

    with workers(kind, request) as pool:
        folders = structure_paths(dataset.absolute() if pool.title else dataset)
        listed = tasks(folders, full)
        batches = [listed[n : n + _BATCH] for n in range(0, len(listed), _BATCH)]
        pool = pool.for_items(len(batches))
        facts = passed(each(facts_of, batches, pool.make, pool.at_once))
        return collected(with_progress(facts, len(listed), "summarising"), folders)


def _lines(dataset: Path, summary: Summary) -> Iterator[str]:
    """Give the text of a summary, 80 columns wide."""
    formulas = [f"{name} {count}" for name, count in summary.compositions.items()]
    yield from _wrapped(
        f"{summary.structures} structure{'s' * (summary.structures != 1)} in {dataset}", ""
    )
    if summary.structures:
        yield from _wrapped(f"compositions  {some(formulas, LINES_AT_MOST)}", " " * 14)
        yield from _wrapped(f"spin          {_counted(summary.spins)}", " " * 14)
        yield from _wrapped(f"matrices      {_parts(summary)}", " " * 14)
        for key, name in PROVENANCE.items():
            if key in summary.provenance:
                text = f"{name.ljust(13)} {_counted(summary.provenance[key])}"
                yield from _wrapped(text, " " * 14)
        done = summary.standardized
        yield f"standardised  {'all' if done == summary.structures else done or 'none'}"
        yield ""
        yield from _sizes(summary)
        yield ""
        yield from _elements(summary)
        yield from _pairs(summary)
        yield from _distances(summary)
        yield from _wrapped(_read(summary), "")
    if summary.empty[1]:
        yield from _wrapped(
            f"{summary.empty[1]} of {summary.empty[0]} pairs read have an overlap of exactly 0: H "
            "alone reaches them (non-local pseudopotentials)",
            "",
        )
    if summary.copies:
        shown = some([" = ".join(ids) for ids in summary.copies], NAMES_AT_MOST, "; ")
        total = sum(map(len, summary.copies))
        yield from _wrapped(f"copies: {total} structures are copies of others: {shown}", "  ")
    for warning in summary.warnings:
        yield from _wrapped(f"warning: {warning}", "  ")
    if summary.unreadable:
        yield f"{len(summary.unreadable)} cannot be read:"
        for id, reason in list(summary.unreadable.items())[:LINES_AT_MOST]:
            yield from _wrapped(f"{id}: {reason}", "  ")
        if len(summary.unreadable) > LINES_AT_MOST:
            yield f"  and {len(summary.unreadable) - LINES_AT_MOST} more (--json FILE names all)"


def _parts(summary: Summary) -> str:
    """Say which share of the structures has each matrix."""
    share = {name: count / summary.structures for name, count in summary.matrices.items()}
    texts = [
        f"{name} in all" if part == 1 else f"{name} in {summary.matrices[name]} ({part:.1%})"
        for name, part in share.items()
    ]
    return ", ".join(texts) or "none"


def _sizes(summary: Summary) -> list[str]:
    """Tabulate sizes of structures."""
    rows: list[list[str]] = [["", "least", "median", "largest", "sum or mean"]]

    def span(name: str, value: Span | None, form: str, last: str = "", scale: float = 1.0) -> None:
        if value is not None:
            numbers = (value.least, value.median, value.largest)
            rows.append([name, *(format(x * scale, form) for x in numbers), last])
            missing = summary.structures - value.known
            if missing:
                rows[-1][-1] += f"{' ' * bool(last)}(unknown in {missing})"

    sizes = summary.sizes
    for name in ("atoms", "orbitals", "pairs"):
        span(name, sizes[name], ".10g")
    if summary.neighbours[2]:
        least, mean, most = summary.neighbours
        rows.append(["neighbours of an atom", str(least), "", str(most), f"mean {mean:.1f}"])
    span("matrices (MB)", sizes["bytes"], ".3g", f"sum {summary.bytes / 1e6:.6g}", 1e-6)
    span("electrons", summary.electrons, ".10g")
    span("Fermi level (eV)", summary.fermi_level, ".4f")
    return _aligned(rows)


def _elements(summary: Summary) -> list[str]:
    """Tabulate elements: shells and on-site blocks."""
    from deeph_spec.orbitals import SHELL_LETTERS

    rows = [["element", "shells", "structures", "on site: mean |H|", "max |H| (eV)", "max |S|"]]
    h, s = summary.hamiltonian.on_site, summary.overlap.on_site
    for element, lists in summary.shells.items():
        for shells, count in lists.items():
            letters = " ".join(SHELL_LETTERS[shell] for shell in shells)
            rows.append(
                [
                    element,
                    letters if len(letters) < 24 else letters[:21] + "...",
                    str(count),
                    f"{h[element][1] / h[element][0]:.3g}" if element in h else "-",
                    f"{h[element][2]:.4g}" if element in h else "-",
                    f"{s[element][2]:.4g}" if element in s else "-",
                ]
            )
    return [*_aligned(rows, 2), ""]


def _pairs(summary: Summary) -> list[str]:
    """Tabulate pairs of elements: reach, and size of blocks off site."""
    from deeph_dock.summary.collecting import decay_length
    from deeph_dock.summary.entries import total

    if not summary.reach:
        return []
    rows = [["off site", "reach (Å)", "mean |H|", "max |H| (eV)", "decay (Å)", "max |S|", "decay"]]
    ranked = sorted(summary.reach, key=lambda name: -summary.reach[name])
    for name in sorted(ranked[: 2 * LINES_AT_MOST]):
        cells = [name, f"{summary.reach[name]:.2f}"]
        for statistics, mean in ((summary.hamiltonian, True), (summary.overlap, False)):
            if name not in statistics.off_site:
                cells += ["-"] * (2 + mean)
                continue
            count, summed, largest = total([statistics.off_site[name]])
            length = decay_length(statistics, name)
            cells += [f"{summed / count:.3g}"] if mean else []
            cells += [f"{largest:.3g}", "-" if length is None else f"{length:.2f}"]
        rows.append(cells)
    more = len(ranked) - len(rows) + 1
    return [*_aligned(rows), *([f"and {more} more (--json FILE has all)"] if more > 0 else []), ""]


def _distances(summary: Summary) -> list[str]:
    """Tabulate pairs and the largest entries by distance."""
    import numpy as np

    from deeph_dock.summary.entries import BIN

    per_row = round(_COARSE / BIN)
    counts = summary.distances
    if not len(counts):
        return []
    rows = [["distance (Å)", "pairs", "share", "mean |H|", "max |H| (eV)", "max |S|"]]
    total = int(counts.sum()) or 1
    spread = [
        [np.pad(v, ((0, 0), (0, len(counts) - v.shape[1]))) for v in s.off_site.values()]
        for s in (summary.hamiltonian, summary.overlap)
    ]
    for first in range(0, len(counts), per_row):
        part = slice(first, first + per_row)
        count = int(counts[part].sum())
        if not count:
            continue
        low = f"{first * BIN:g} - {(first + per_row) * BIN:g}"
        cells = [low, str(count), f"{count / total:.1%}"]
        h, s = spread
        entries = sum(float(v[0, part].sum()) for v in h)
        summed = sum(float(v[1, part].sum()) for v in h)
        cells.append(f"{summed / entries:.2g}" if entries else "-")
        for values in (h, s):
            seen = any(v[0, part].any() for v in values)
            cells.append(f"{max(v[2, part].max() for v in values):.2g}" if seen else "-")
        rows.append(cells)
    return [*_aligned(rows), ""]


def _read(summary: Summary) -> str:
    """Say from which entries the statistics are."""
    if not summary.read:
        return "no entries were read"
    everything = summary.read_whole == summary.read == summary.structures
    if everything:
        return "|H| and |S|: all entries"
    some = summary.read - summary.read_whole
    part = f", of {some} of them a part of the pairs" if some else ""
    return (
        f"|H| and |S|: entries of {summary.read} of {summary.structures} structures were "
        f"read{part} (--full: all)"
    )


def _aligned(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Align columns, the first ones to the left."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if n < left else cell.rjust(w)
            for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _counted(values: Mapping[str, int]) -> str:
    if len(values) == 1:
        return next(iter(values))
    return some([f"{value} ({count})" for value, count in values.items()], LINES_AT_MOST)


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _write_json(path: Path, dataset: Path, summary: Summary) -> None:
    """Write everything."""
    import json

    from deeph_spec.files import write_text

    document = {"dataset": str(dataset), **summary.to_document()}
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
