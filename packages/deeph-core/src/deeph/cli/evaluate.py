"""``deeph eval``: errors of predicted Hamiltonians in meV, per structure and over all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deeph_dock.metrics import MatrixError
    from deeph_spec.dataset import Dataset, StructureFolder

_WORST = 10


@dataclass(frozen=True)
class Row:
    """One structure: its prediction, the folder of its reference, its errors."""

    folder: StructureFolder
    reference: StructureFolder
    error: MatrixError


def evaluate(
    prediction: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="A dataset or one folder.")
    ],
    reference: Annotated[
        Path | None,
        typer.Argument(
            metavar="REFERENCE",
            help="DFT results; without it: where the predictions' overlaps come from.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of a table.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Also draw the errors.")
    ] = None,
) -> int:
    """Compare predicted Hamiltonians with DFT.

    Mean absolute errors in meV over all elements of all stored pairs: all, on-site, off-site; as
    they are, and with the gauge mu S removed.

    Example: deeph eval predictions/2026-03-01_10-00-00 data --plot errors.png
    """
    from deeph_spec.errors import InputError

    try:
        import deeph_dock.metrics  # noqa: F401 - whether it is there, before anything is read
    except ImportError:
        raise InputError(
            "deeph eval needs deeph-dock: python -m pip install 'deeph-core[eval]'"
        ) from None

    rows, skipped = [], {}
    for folder, partner in _pairs(prediction, reference):
        try:
            rows.append(Row(folder, partner, _error(folder, partner)))
        except InputError as problem:
            skipped[folder.id] = str(problem)
    if not rows:
        raise InputError(next(iter(skipped.values())))
    drawn = _draw(rows, plot) if plot is not None else ()
    print(json.dumps(_as_json(rows, skipped), indent=1) if as_json else _table(rows))
    if drawn and not as_json:
        print(f"Errors drawn in {' and '.join(map(str, drawn))}")
    for id, line in skipped.items():
        typer.echo(f"error: {id}: {line}", err=True)
    return 1 if skipped else 0


def _error(folder: StructureFolder, partner: StructureFolder) -> MatrixError:
    """Compare one prediction with its reference."""
    import numpy as np
    from deeph_dock.metrics import hamiltonian_error
    from deeph_spec.errors import InputError

    overlap = folder.overlap() if folder.has("overlap") else None
    prediction, reference = folder.matrix("hamiltonian_pred"), partner.hamiltonian()
    places = (folder.file("hamiltonian_pred"), partner.file("hamiltonian"))
    for place, matrix in zip(places, (prediction, reference), strict=True):
        if not np.isfinite(matrix.entries).all():
            raise InputError(f"{place}: entries: NaN or infinity; make the file anew")
    try:
        return hamiltonian_error(prediction, reference, overlap)
    except InputError as problem:
        raise InputError(f"{places[1]}: {problem}") from problem


def _pairs(
    prediction: Path, reference: Path | None
) -> list[tuple[StructureFolder, StructureFolder]]:
    """Find the reference of every prediction."""
    from deeph_spec.dataset import Dataset
    from deeph_spec.errors import InputError

    predicted = Dataset.open(prediction)
    folders = [folder for folder in predicted if folder.has("hamiltonian_pred")]
    if not folders:
        raise InputError(
            f"{prediction}: no hamiltonian_pred.h5 in its {len(predicted)} structures; "
            "deeph infer writes them"
        )
    if reference is None:
        return [(folder, _origin(folder)) for folder in folders]
    known = Dataset.open(reference)
    if len(known) == 1 and len(folders) == 1:
        pairs = [(folders[0], known.folders[0])]
    else:
        pairs = [(folder, _same_id(folder, known)) for folder in folders]
    bare = [partner.id for _, partner in pairs if not partner.has("hamiltonian")]
    if bare:
        raise InputError(f"{reference}: {bare[0]}: no hamiltonian.h5 to compare with")
    return pairs


def _same_id(folder: StructureFolder, known: Dataset) -> StructureFolder:
    """Find the structure of the same id."""
    from deeph_spec.errors import InputError

    if folder.id not in known.ids:
        raise InputError(
            f"{known.path}: has no structure '{folder.id}'; predictions and references are "
            "matched by the names of their folders"
        )
    return known[folder.id]


def _origin(folder: StructureFolder) -> StructureFolder:
    """Find the DFT result of a prediction: in its folder, or where its overlap is linked from."""
    from deeph_spec.dataset import StructureFolder
    from deeph_spec.errors import InputError

    if folder.has("hamiltonian"):
        return folder
    source = Path(os.path.realpath(folder.file("overlap"))).parent
    origin = StructureFolder(source, folder.id)
    if source == folder.path.resolve() or not origin.has("hamiltonian"):
        raise InputError(
            f"{folder.path}: no hamiltonian.h5 to compare with, neither here nor where overlap.h5 "
            "comes from; name the DFT results: deeph eval PREDICTIONS REFERENCE"
        )
    return origin


def _average(rows: Sequence[Row], gauge_free: bool) -> dict[str, float] | None:
    """Average over all elements of all structures, so that each element counts once."""
    sums, counts = {"on_site": 0.0, "off_site": 0.0}, {"on_site": 0, "off_site": 0}
    for row in rows:
        error = row.error
        mae = error.mae_gauge_free if gauge_free else error.mae
        if mae is None:
            return None
        sizes = {
            "on_site": error.elements_on_site,
            "off_site": error.elements - error.elements_on_site,
        }
        for name, size in sizes.items():
            if size:
                sums[name] += getattr(mae, name) * size
                counts[name] += size
    total = {"all": sum(sums.values()) / sum(counts.values())}
    return total | {
        name: sums[name] / counts[name] if counts[name] else float("nan") for name in sums
    }


def _table(rows: Sequence[Row]) -> str:
    """Write the table, the averages and the worst structures."""
    width = max(len("structure"), len("over all"), *(len(row.folder.id) for row in rows))
    lines = [
        "Mean absolute error of H in meV",
        f"{'':{width}}  {'':>6}  {'as predicted':^29}   {'mu S removed':^29}",
        f"{'structure':{width}}  {'atoms':>6}  {'all':>9}{'on-site':>10}{'off-site':>10}   "
        f"{'all':>9}{'on-site':>10}{'off-site':>10}  {'mu/meV':>9}  {'largest':>9}",
    ]
    for row in rows:
        error = row.error
        free = asdict(error.mae_gauge_free) if error.mae_gauge_free else None
        mu = f"{1e3 * error.mu:9.3f}" if error.mu is not None else f"{'-':>9}"
        lines.append(
            f"{row.folder.id:{width}}  {len(row.folder.structure):>6}  "
            f"{_numbers(asdict(error.mae))}   {_numbers(free)}  {mu}  {error.max:9.2f}"
        )
    if len(rows) > 1:
        both = (_numbers(_average(rows, gauge_free)) for gauge_free in (False, True))
        largest = max(row.error.max for row in rows)
        lines.append(f"{'over all':{width}}  {'':>6}  {'   '.join(both)}  {'':>9}  {largest:9.2f}")
    if len(rows) > _WORST:
        worst = sorted(rows, key=lambda row: row.error.mae.all, reverse=True)[:_WORST]
        names = ", ".join(f"{row.folder.id} ({row.error.mae.all:.2f})" for row in worst)
        lines.append(f"Worst: {names}")
    for row in rows:
        if row.error.missing:
            lines.append(
                f"warning: {row.folder.id}: {row.error.missing} pairs of the reference are not "
                "predicted and count as zero there"
            )
    return "\n".join(line.rstrip() for line in lines)


def _numbers(mae: dict[str, float] | None) -> str:
    """Write three errors in columns."""
    if mae is None:
        return f"{'-':>9}{'-':>10}{'-':>10}"
    return f"{mae['all']:9.3f}{mae['on_site']:10.3f}{mae['off_site']:10.3f}"


def _as_json(rows: Sequence[Row], skipped: dict[str, str]) -> dict[str, Any]:
    """Give everything as JSON values; a value that does not exist is null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [clean(inner) for inner in value]
        return None if isinstance(value, float) and value != value else value

    document = {
        "unit": "meV",
        "mae": _average(rows, gauge_free=False),
        "mae_gauge_free": _average(rows, gauge_free=True),
        "structures": {
            row.folder.id: {
                "atoms": len(row.folder.structure),
                "reference": str(row.reference.path),
                **asdict(row.error),
                "mu": None if row.error.mu is None else 1e3 * row.error.mu,
            }
            for row in rows
        },
        "skipped": skipped,
    }
    return dict(clean(document))


def _draw(rows: Sequence[Row], plot: Path) -> tuple[Path, Path]:
    """Draw where the predictions err, all structures together."""
    from deeph_dock import error_plots, plots
    from deeph_dock.error_maps import Comparison, error_maps

    def comparisons() -> Iterator[Comparison]:
        for row in rows:
            folder = row.folder
            yield Comparison(
                folder.structure,
                folder.info,
                folder.matrix("hamiltonian_pred"),
                row.reference.hamiltonian(),
                folder.overlap() if folder.has("overlap") else None,
            )

    count = f"{len(rows)} structures" if len(rows) > 1 else rows[0].folder.id
    figure = error_plots.errors(error_maps(comparisons()), f"Predicted against DFT: {count}")
    stem = plot.with_suffix("") if plot.suffix in (".png", ".pdf") else plot
    return plots.save(figure, stem)
