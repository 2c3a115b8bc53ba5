"""``deeph eval``: errors of predictions, per structure and over all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deeph_dock.error_maps import ErrorMaps
    from deeph_dock.metrics import MatrixError, TensorError
    from deeph_dock.spectrum_errors import SpectrumError, SpectrumSettings, Task
    from deeph_spec.blocks import BlockMatrix
    from deeph_spec.dataset import StructureFolder


@dataclass(frozen=True)
class Row:
    """One structure: its prediction, the folder of its reference, its errors by quantity."""

    folder: StructureFolder
    reference: StructureFolder
    matrices: dict[str, MatrixError] = field(default_factory=dict)
    tensors: dict[str, TensorError] = field(default_factory=dict)
    electrons: float | None = None
    spectrum: SpectrumError | None = None


@dataclass(frozen=True)
class Report:
    """Everything that was compared.

    Attributes
    ----------
    rows : tuple of Row
    maps : ErrorMaps or None
        Where Hamiltonians err; None without Hamiltonians.
    skipped : dict
        Ids of structures that could not be compared, and why.
    """

    rows: tuple[Row, ...]
    maps: ErrorMaps | None
    skipped: dict[str, str]


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
    bands: Annotated[
        bool, typer.Option("--bands", help="Also the error of bands (diagonalises on a mesh).")
    ] = False,
    dos: Annotated[
        bool, typer.Option("--dos", help="Also the error of the density of states (as --bands).")
    ] = False,
    states: Annotated[
        bool, typer.Option("--states", help="Also the error of eigenstates at Gamma.")
    ] = False,
    window: Annotated[
        float,
        typer.Option(
            metavar="EV",
            help="Width about E_F of the window of bands, DOS and states; it is widened until it "
            "holds --least-bands.",
        ),
    ] = 6.0,
    least_bands: Annotated[
        int, typer.Option("--least-bands", metavar="N", help="Bands the window holds at least.")
    ] = 10,
    levels: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="OCCUPIED EMPTY",
            help="Instead of a window so many of the nearest levels, as for molecules.",
        ),
    ] = None,
    mesh: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="N1 N2 N3", help="Gamma-centred mesh. [from --density]"),
    ] = None,
    density: Annotated[
        float, typer.Option(help="Spacing of the mesh in 1/Å (with 2π), without --mesh.")
    ] = 0.07,
    dos_width: Annotated[
        float, typer.Option("--dos-width", metavar="EV", help="Gaussian width of the DOS.")
    ] = 0.05,
    least_overlap: Annotated[
        float,
        typer.Option(
            "--least-overlap",
            help="Leave out combinations of orbitals whose eigenvalue of S(k) is smaller.",
        ),
    ] = 1e-3,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes that diagonalise.")] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything as JSON instead of a table.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.png", help="Also draw the errors of H.")
    ] = None,
) -> int:
    """Compare predictions with DFT.

    Mean absolute errors of H in meV over all elements of all stored pairs: all, on-site, off-site;
    as they are, and with the gauge mu S removed. Density matrices, overlaps and the quantities of
    targets.h5 are compared as well where they were predicted.

    Example: deeph eval predictions/2026-03-01_10-00-00 data --bands --plot errors.png
    """
    from deeph_spec.errors import InputError

    try:
        from deeph_dock.cli.bars import task_bars
        from deeph_dock.spectrum_errors import SpectrumSettings
    except ImportError:
        raise InputError(
            "deeph eval needs deeph-dock: python -m pip install 'deeph-core[eval]'"
        ) from None
    from deeph.cli.evaluation_report import document, table
    from deeph.cli.predictions import find_references

    asked = {"bands": bands, "dos": dos, "states": states}
    settings = SpectrumSettings(
        tuple(name for name, wanted in asked.items() if wanted),
        window, least_bands, levels, mesh, density, dos_width, least_overlap, max(jobs, 1),
    )  # fmt: skip
    pairs = find_references(prediction, reference)
    with task_bars() as task:  # the bar is gone before anything is printed
        report = compare(pairs, settings, task)
    if not report.rows:
        raise InputError(next(iter(report.skipped.values())))
    drawn = _draw(report, plot) if plot is not None else ()
    text = json.dumps(document(report, settings), indent=1) if as_json else table(report)
    print(text)
    if drawn and not as_json:
        print(f"Errors drawn in {' and '.join(map(str, drawn))}")
    for id, line in report.skipped.items():
        typer.echo(f"error: {id}: {line}", err=True)
    return 1 if report.skipped else 0


def compare(
    pairs: Sequence[tuple[StructureFolder, StructureFolder]],
    settings: SpectrumSettings,
    task: Task,
) -> Report:
    """Compare predictions with their references; what cannot be compared is kept by name."""
    from deeph_dock.error_maps import ErrorCollection
    from deeph_spec.errors import InputError

    # Where some structures have no overlap, all are drawn as they were predicted.
    gauge_free = all(folder.has("overlap") or known.has("overlap") for folder, known in pairs)
    collected, count = ErrorCollection(gauge_free), 0
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    advance = task("structures", len(pairs))
    for number, (folder, known) in enumerate(pairs, start=1):

        def within(name: str, length: int, number: int = number) -> Any:
            return task(f"{number}/{len(pairs)} {name}", length)

        try:
            row, hamiltonian = _row(folder, known, settings, within)
            if hamiltonian is not None:
                collected.add(hamiltonian)
                count += 1
            rows.append(row)
        except InputError as problem:
            skipped[folder.id] = str(problem)
        if not settings.quantities:
            advance(1)
    return Report(tuple(rows), collected.maps() if count else None, skipped)


def _row(
    folder: StructureFolder, known: StructureFolder, settings: SpectrumSettings, task: Task
) -> tuple[Row, Any]:
    """Compare one structure; return the Hamiltonians for the maps of errors as well."""
    from deeph_dock.error_maps import Comparison
    from deeph_dock.metrics import hamiltonian_error, matrix_error, overlap_trace, tensor_error
    from deeph_dock.spectrum_errors import spectrum_error
    from deeph_spec.blocks import BlockMatrix
    from deeph_spec.errors import InputError

    from deeph.cli.predictions import check_same

    check_same(folder, known)
    source = next((one for one in (folder, known) if one.has("overlap")), None)
    overlap = None if source is None else source.overlap()
    row, hamiltonian = Row(folder, known), None
    for name, predicted, expected in _quantities(folder, known):
        if not isinstance(predicted, BlockMatrix):
            with _naming(folder.path / "targets_pred.h5", folder, known):
                row.tensors[name] = tensor_error(predicted, expected)
            continue
        for place, matrix in (
            (folder.file(f"{name}_pred"), predicted), (known.file(name), expected),
        ):  # fmt: skip
            _refuse_infinite(place, matrix)
        with _naming(known.file(name), folder, known):
            if name != "hamiltonian":
                row.matrices[name] = matrix_error(predicted, expected)
                if name == "density_matrix" and overlap is not None:
                    lost = overlap_trace(predicted, overlap) - overlap_trace(expected, overlap)
                    row = _with(row, electrons=lost)
                continue
            row.matrices[name] = hamiltonian_error(predicted, expected, overlap)
        if settings.quantities:
            if overlap is None and not known.info.orthogonal_basis:
                raise InputError(
                    f"{folder.path}: overlap.h5 is missing: bands, densities of states and states "
                    "need S"
                )
            with _naming(folder.file(f"{name}_pred"), folder, known):
                row = _with(row, spectrum=spectrum_error(
                    known, predicted, expected, overlap, settings, task
                ))  # fmt: skip
        hamiltonian = Comparison(
            known.structure, known.info, predicted, expected, overlap, folder.id
        )
    if not row.matrices and not row.tensors:
        raise InputError(f"{known.path}: nothing to compare the predictions with")
    return row, hamiltonian


def _with(row: Row, **changes: Any) -> Row:
    from dataclasses import replace

    return replace(row, **changes)


def _quantities(folder: StructureFolder, known: StructureFolder) -> list[tuple[str, Any, Any]]:
    """Read everything that was predicted and has a reference: name, prediction, reference."""
    from deeph.targets import TARGETS

    found = {
        one.name: (one.name, one.predicted, one.reference)
        for kind in TARGETS.values()
        for one in kind.comparisons(folder, known)
    }
    return list(found.values())


@contextmanager
def _naming(place: Path, *folders: StructureFolder) -> Iterator[None]:
    """Put the file before what is wrong with it, unless the line names one of the folders."""
    from deeph_spec.errors import InputError

    try:
        yield
    except InputError as problem:
        if str(problem).startswith(tuple(str(folder.path) for folder in folders)):
            raise
        raise InputError(f"{place}: {problem}") from problem


def _refuse_infinite(place: Path, matrix: BlockMatrix) -> None:
    import numpy as np
    from deeph_spec.errors import InputError

    if not np.isfinite(matrix.entries).all():
        raise InputError(f"{place}: entries: NaN or infinity; make the file anew")


def _draw(report: Report, plot: Path) -> tuple[Path, ...]:
    """Draw where the predictions err, all structures together."""
    from deeph_dock import error_plots, plots
    from deeph_spec.errors import InputError

    if report.maps is None:
        raise InputError("--plot: draws errors of Hamiltonians, and there are none")
    names = report.maps.names
    count = f"{len(names)} structures" if len(names) > 1 else names[0]
    figure = error_plots.errors(report.maps, f"Predicted against DFT: {count}")
    stem = plot.with_suffix("") if plot.suffix in (".png", ".pdf") else plot
    try:
        return plots.save(figure, stem)
    except OSError as error:
        raise InputError(f"--plot: {stem}.png: cannot be written: {error.strerror}") from error
