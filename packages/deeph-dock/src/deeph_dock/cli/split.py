"""`dock split`: divide a dataset into train, validate and test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeph_dock.cli.reports import some

if TYPE_CHECKING:
    from deeph_spec.dataset import Dataset, StructureFolder

    from deeph_dock.splitting import Split

NAMES_AT_MOST = 20
COMPOSITIONS_AT_MOST = 20


class By(StrEnum):
    """What is spread over the sets, or kept together."""

    composition = "composition"
    folder_group = "folder-group"
    none = "none"


def split(
    dataset: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET", help="Root of a dataset, its dft folder, or a folder of structures."
        ),
    ],
    ratio: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="TRAIN VALIDATE TEST", help="Shares, which add up to 1."),
    ] = (0.6, 0.2, 0.2),
    counts: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            metavar="TRAIN VALIDATE TEST", help="Numbers of structures instead; the rest is unused."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another number gives another split.")] = 137,
    by: Annotated[
        By,
        typer.Option(
            help="composition: spread each over the sets; folder-group: also keep structures of "
            "one folder (first part of the id) together; none: neither."
        ),
    ] = By.composition,
    max_pairs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Leave out structures with more pairs of atoms."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace another dataset_split.json.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say, and write nothing.")] = False,
) -> None:
    """Divide a dataset into train, validate and test, and write dataset_split.json.

    Numbers are exact, equal arguments give equal splits, and copies of one structure (in any order
    of atoms, shifted or rotated) are never in two sets. Structures without Hamiltonian are left
    out and named.

    Example: dock split data --ratio 0.8 0.1 0.1
    """
    from deeph_spec.dataset import SPLIT_FILE, Dataset, is_structure, write_split
    from deeph_spec.errors import InputError

    from deeph_dock.splitting import counts_of_ratio
    from deeph_dock.splitting import split as divide

    if dataset.is_dir() and is_structure(dataset):
        raise InputError(f"{dataset}: one structure cannot be split; give a folder of structures")
    opened = Dataset.open(dataset)
    target = opened.path / SPLIT_FILE
    folders, left_out = _usable(opened, max_pairs)
    units, strata, notes = _units(folders, left_out, by)
    total = sum(map(len, units))
    if not total:
        raise InputError(f"{dataset}: no structure to split: {_reasons(left_out)}")
    wanted = counts if counts is not None else counts_of_ratio(ratio, total)
    result = divide(units, wanted, seed, strata)
    if counts is not None and not result.exact:
        raise InputError(
            f"--counts {' '.join(map(str, counts))}: not possible without dividing structures that "
            f"belong together; near is {' '.join(map(str, result.counts))}"
        )
    _print_table(result, strata, by is not By.none)
    for line in (*_notes(result), *notes, *_left_out_lines(left_out)):
        typer.echo(line)
    if dry_run:
        typer.echo(f"nothing was written to {target} (dry run)")
        return
    if target.exists():
        if _same(target, result):
            typer.echo(f"{target} is this split already")
            return
        if not overwrite:
            raise InputError(f"{target}: holds another split; --overwrite replaces it")
    write_split(target, result.sets)
    typer.echo(f"written: {target}")


def _usable(
    dataset: Dataset, max_pairs: int | None
) -> tuple[list[StructureFolder], dict[str, list[str]]]:
    """Choose the structures that can be in a set; name the others by reason."""
    from deeph_spec.errors import InputError
    from deeph_spec.matrix_files import read_pairs

    left_out: dict[str, list[str]] = {}
    for id, missing in dataset.incomplete.items():
        left_out.setdefault(f"no {missing}", []).append(id)
    folders = []
    for folder in dataset:
        if not folder.has("hamiltonian"):
            left_out.setdefault("no hamiltonian.h5", []).append(folder.id)
            continue
        if max_pairs is not None:
            try:
                pairs = len(read_pairs(folder.file("hamiltonian")))
            except InputError as error:
                left_out.setdefault(f"unreadable ({error})", []).append(folder.id)
                continue
            if pairs > max_pairs:
                left_out.setdefault(f"more than {max_pairs} pairs", []).append(folder.id)
                continue
        folders.append(folder)
    return folders, left_out


def _units(
    folders: Sequence[StructureFolder], left_out: dict[str, list[str]], by: By
) -> tuple[list[list[str]], dict[str, tuple[str, ...]], list[str]]:
    """Find what must stay together, what each structure is like, and what to say about it."""
    from deeph_spec.errors import InputError
    from deeph_spec.structure import Structure

    from deeph_dock.cli.progress import with_progress
    from deeph_dock.duplicates import copies, fingerprint
    from deeph_dock.splitting import join

    known: list[StructureFolder] = []
    prints = []
    strata: dict[str, tuple[str, ...]] = {}
    for folder in with_progress(folders, len(folders), "reading"):
        try:
            structure = Structure.read(folder.path / "POSCAR")  # not kept: there may be many
        except InputError as error:
            left_out.setdefault(f"unreadable ({error})", []).append(folder.id)
            continue
        known.append(folder)
        prints.append(fingerprint(structure))
        if by is not By.none:
            strata[folder.id] = (" ".join(structure.elements), prints[-1][0])
    same = copies(prints, lambda number: Structure.read(known[number].path / "POSCAR"))
    groups = [[known[number].id for number in numbers] for numbers in same]
    notes = []
    if groups:
        notes.append(
            f"{sum(map(len, groups))} structures are copies of others and were kept together: "
            f"{some([' = '.join(group) for group in groups], 6)}"
        )
    if by is By.folder_group:
        parts: dict[str, list[str]] = {}
        for folder in known:
            head, slash, _ = folder.id.partition("/")
            if not slash:
                raise InputError(
                    f"--by folder-group: '{folder.id}' lies directly below dft: no groups of "
                    "folders there; leave the option out"
                )
            parts.setdefault(head, []).append(folder.id)
        groups += parts.values()
        notes.append(f"{len(parts)} folders were kept together: {some(list(parts), 6)}")
    return join(groups, [folder.id for folder in known]), strata, notes


def _print_table(result: Split, strata: dict[str, tuple[str, ...]], by_composition: bool) -> None:
    """Print the sets, and how the compositions are spread over them."""
    from deeph_spec.dataset import SPLIT_KEYS
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for title in (*SPLIT_KEYS, "unused"):
        table.add_column(title, justify="right")
    sets = [*(result.sets[key] for key in SPLIT_KEYS), list(result.unused)]
    table.add_row("structures", *(str(len(ids)) for ids in sets))
    if not result.exact:
        table.add_row("wanted", *map(str, result.wanted), "")
    used = sum(result.counts) or 1
    table.add_row("share", *(f"{len(ids) / used:.1%}" for ids in sets[:3]), "")
    if by_composition:
        spread = [Counter(strata[id][-1] for id in ids) for ids in sets]
        common = sum(spread, Counter()).most_common()
        table.add_row("compositions", *(str(len(counter)) for counter in spread))
        for name, _ in common[:COMPOSITIONS_AT_MOST] if len(common) > 1 else []:
            table.add_row(f"  {name}", *(str(counter[name]) for counter in spread))
        if len(common) > COMPOSITIONS_AT_MOST:
            rest = [name for name, _ in common[COMPOSITIONS_AT_MOST:]]
            cells = (str(sum(counter[name] for name in rest)) for counter in spread)
            table.add_row(f"  {len(rest)} others", *cells)
    console = Console()
    console.width = min(console.width, 100) if console.is_terminal else 100
    console.print(table)


def _notes(result: Split) -> list[str]:
    """Say where the sets are not what one might expect."""
    lines = []
    if not result.exact:
        lines.append(
            "note: the numbers wanted are not possible without dividing structures that belong "
            "together"
        )
    empty = [key for key, ids in result.sets.items() if not ids]
    if empty:
        lines.append(f"note: nothing in {' and '.join(empty)}")
    return lines


def _left_out_lines(left_out: dict[str, list[str]]) -> list[str]:
    return [
        f"left out, {reason}: {len(ids)}: {some(ids, NAMES_AT_MOST)}"
        for reason, ids in left_out.items()
    ]


def _reasons(left_out: dict[str, list[str]]) -> str:
    return "; ".join(f"{len(ids)} with {reason}" for reason, ids in left_out.items())


def _same(target: Path, result: Split) -> bool:
    """Whether the file holds this split, in any order."""
    from deeph_spec.dataset import read_split
    from deeph_spec.errors import InputError

    try:
        there = read_split(target)
    except InputError:
        return False
    return {key: sorted(ids) for key, ids in there.items()} == result.sets
