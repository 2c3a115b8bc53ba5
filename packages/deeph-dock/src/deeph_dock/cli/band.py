"""`dock band`: bands of one or several Hamiltonians, as numbers and as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from deeph_dock.cli.options import Jobs

if TYPE_CHECKING:
    from deeph_spec.dataset import StructureFolder

    from deeph_dock.bandstructures import BandSettings, Task
    from deeph_dock.electrons.bands import Bands

COMPARED = (-3.0, 3.0)
"""eV about the Fermi level: where predicted bands are compared with those of DFT."""
_NOTED_EV = 0.01  # a gap on the path that is larger by this than on the mesh is worth a line


def band(
    dirs: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Structure folders, or datasets. Several are drawn over each other: single "
            "structures as they are, datasets id by id.",
        ),
    ],
    kpath: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="K_PATH file (lines: n k1 k2 k3 k1 k2 k3 label label), or 'auto'. [K_PATH of the "
            "folder, else proposed from the cell]",
        ),
    ] = None,
    points: Annotated[
        int | None, typer.Option(help="About how many k-points a proposed path has. [200]")
    ] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="EMIN EMAX",
            help="Energies drawn, eV about E_F. [5 eV around the gap]",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder for all results. [next to the inputs]"),
    ] = None,
    mesh: Annotated[
        tuple[int, int, int] | None,
        typer.Option(metavar="N1 N2 N3", help="Gamma-centred mesh to count electrons on."),
    ] = None,
    density: Annotated[
        float,
        typer.Option(help="Spacing of that mesh in 1/Å (with 2π), without --mesh."),
    ] = 0.1,
    fermi: Annotated[
        float | None, typer.Option(help="Fermi level in eV, instead of counting electrons.")
    ] = None,
    smearing: Annotated[
        str, typer.Option(help="Occupations of metals: fermi-dirac or gaussian.")
    ] = "fermi-dirac",
    width: Annotated[float, typer.Option(help="Width of the smearing, eV.")] = 0.025,
    least_overlap: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Leave out combinations of orbitals whose eigenvalue of S(k) is smaller. [0.001 "
            "for predictions, none for DFT]",
        ),
    ] = None,
    jobs: Jobs = 1,
) -> None:
    """Draw band structures: DFT solid, predictions dashed, E_F at zero.

    Every folder needs POSCAR, info.json, overlap.h5 and hamiltonian.h5 or hamiltonian_pred.h5;
    with both, both are drawn and compared. The Fermi level is counted from the electrons
    ("occupation" in info.json). Writes band.h5 (DFT), band_pred.h5 (prediction), band.png and
    band.pdf.

    Example: dock band data/dft/0007 --window -6 6
    """
    from deeph_spec.errors import InputError

    from deeph_dock.bandstructures import BandSettings
    from deeph_dock.cli.bars import task_bars

    if window is not None and not window[0] < window[1]:
        raise InputError(f"--window: expected EMIN below EMAX, found {window[0]:g} {window[1]:g}")
    if points is not None and points < 2:
        raise InputError(f"--points: a path needs at least 2, found {points}")
    settings = BandSettings(
        kpath="auto" if kpath is None and points is not None else kpath,
        points=points or 200,
        mesh=mesh,
        spacing=density,
        fermi=fermi,
        smearing=smearing,
        width=width,
        least_overlap=least_overlap,
        jobs=jobs,
    )
    groups = _groups(dirs)
    incomplete = _incomplete(dirs)
    for line in incomplete:
        typer.echo(f"error: {line}", err=True)
    failed = len(incomplete)
    for number, (name, folders) in enumerate(groups):
        target = out if out is None or len(groups) == 1 else out / name
        try:
            with task_bars() as task:  # the bar is gone before anything is printed
                lines = _one_picture(name, folders, settings, window, target, task)
        except InputError as error:
            if len(groups) + len(incomplete) == 1:
                raise
            failed += 1
            typer.echo(f"error: {error}", err=True)
            continue
        typer.echo(("" if number == 0 else "\n") + "\n".join(lines))
    if failed:
        total = len(groups) + len(incomplete)
        typer.echo(f"\n{failed} of {total} structures failed, see the errors above", err=True)
        raise typer.Exit(1)


def _groups(dirs: Sequence[Path]) -> list[tuple[str, list[StructureFolder]]]:
    """Sort what was named into pictures: (name, folders drawn over each other)."""
    from deeph_spec.dataset import Dataset

    datasets = [Dataset.open(path) for path in dirs]
    if all(len(dataset) == 1 for dataset in datasets):
        folders = [dataset.folders[0] for dataset in datasets]
        return [(folders[0].id, folders)]
    ids = dict.fromkeys(id for dataset in datasets for id in dataset.ids)
    return [(id, [dataset[id] for dataset in datasets if id in dataset.ids]) for id in ids]


def _incomplete(dirs: Sequence[Path]) -> list[str]:
    """Name folders that are passed over because POSCAR or info.json is missing."""
    from deeph_spec.dataset import Dataset

    missing = ((path, Dataset.open(path).incomplete) for path in dirs)
    return [
        f"{path}: {id}: {name} is missing" for path, names in missing for id, name in names.items()
    ]


def _one_picture(
    name: str,
    folders: Sequence[StructureFolder],
    settings: BandSettings,
    window: tuple[float, float] | None,
    out: Path | None,
    task: Task,
) -> list[str]:
    """Compute, write and draw everything that goes into one picture; return the lines to print."""
    from dataclasses import replace

    from deeph_spec.errors import InputError

    from deeph_dock import plots
    from deeph_dock.bandstructures import RESULT_FILES, folder_bands
    from deeph_dock.exports.results import write_bands

    labels = _labels(folders)
    results: list[Result] = []
    for folder, label in zip(folders, labels, strict=True):
        for bands in folder_bands(folder, settings, task):
            results.append(Result(folder, label, bands))
        settings = replace(settings, electrons=_electrons(results, folders))
    kinds = [bands.label for _, _, bands in results]
    if len(set(kinds)) < len(kinds):  # "DFT" and "prediction" do not tell them apart
        results = [
            Result(folder, label, replace(bands, label=f"{label} {bands.label}"))
            for folder, label, bands in results
        ]
    if window is not None:
        _check_window(window, [result.bands for result in results])
    figure = plots.bands_figure(
        [result.bands for result in results],
        window,
        _title(name, folders),
    )
    written = []
    try:
        for folder, label, bands in results:
            home = folder.path if out is None else out
            if out is not None and len(folders) > 1:
                home = out / label.replace("/", "_")
            home.mkdir(parents=True, exist_ok=True)
            written.append(home / RESULT_FILES[bands.matrix])
            write_bands(written[-1], bands)
        written += plots.save(figure, (folders[0].path if out is None else out) / "band")
    except OSError as error:
        place = error.filename or written[-1]
        raise InputError(
            f"{place}: cannot be written: {error.strerror or error}; choose a folder with --out"
        ) from error
    return [*_table(results), *_differences(results), *_notes(results), *_files(written)]


def _electrons(results: Sequence[Result], folders: Sequence[StructureFolder]) -> float | None:
    """Count the electrons of an insulator's DFT bands, for predictions of the same structure.

    The published layout gives the Fermi level of DFT, but not the electrons.
    """
    true = next((one for one in results if one.bands.matrix == "hamiltonian"), None)
    if true is None or true.bands.is_metal:
        return None
    if not all(_same_structure(true.folder, folder) for folder in folders):
        return None
    filled = int((true.bands.energies[:, 0] < true.bands.fermi.energy).sum())
    return float(2 * filled if true.bands.spin == "none" else filled)


def _title(name: str, folders: Sequence[StructureFolder]) -> str:
    """Name what the picture shows, where it is one structure."""
    from deeph_dock.plots import formula

    if any(folder.id != name for folder in folders):
        return ""
    return f"{formula(folders[0].structure.formula)}   {name}"


def _labels(folders: Sequence[StructureFolder]) -> list[str]:
    """Tell folders apart by their ids, or by their paths where ids are equal."""
    ids = [folder.id for folder in folders]
    if len(set(ids)) == len(ids):
        return ids
    paths = [os.path.abspath(folder.path) for folder in folders]
    common = os.path.commonpath(paths)
    return [os.path.relpath(path, common) for path in paths]


def _check_window(window: tuple[float, float], results: Sequence[Bands]) -> None:
    """Raise if there is nothing to see."""
    from deeph_spec.errors import InputError

    low = min(float(bands.energies.min()) - bands.fermi.energy for bands in results)
    high = max(float(bands.energies.max()) - bands.fermi.energy for bands in results)
    if window[1] < low or window[0] > high:
        raise InputError(
            f"--window: no states between {window[0]:g} and {window[1]:g} eV: the bands lie "
            f"between {low:.2f} and {high:.2f} eV about E_F"
        )


class Result(NamedTuple):
    """Bands of one Hamiltonian, and the folder it lies in with its name in the table."""

    folder: StructureFolder
    name: str
    bands: Bands


def _table(results: Sequence[Result]) -> list[str]:
    """Show the path, then a row for each Hamiltonian."""
    from deeph_dock.bandstructures import HAMILTONIANS

    bands = results[0].bands
    count = len(bands.path.kpoints)
    points = "1 k-point" if count == 1 else f"{count} k-points"
    lines = [f"path {bands.path}, {points} ({bands.path.description})"]
    rows: list[tuple[str, ...]] = [
        ("folder", "bands", "E_F (eV)", "VBM (eV)", "CBM (eV)", "gap (eV)", "electrons", "mesh")
    ]
    for _, name, bands in results:
        edges = [_number(x) for x in (bands.vbm, bands.cbm)]
        fermi = bands.fermi
        rows.append(
            (
                name,
                HAMILTONIANS[bands.matrix],
                _number(fermi.energy),
                *edges,
                "metal" if bands.is_metal else f"{bands.gap:.4f}",
                "-" if fermi.electrons is None else f"{fermi.electrons:g}",
                "-" if fermi.mesh is None else "x".join(str(n) for n in fermi.mesh),
            )
        )
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    for row in rows:
        cells = [
            cell.ljust(w) if n < 2 else cell.rjust(w)
            for n, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _number(energy: float | None) -> str:
    """Show an energy to 0.1 meV, without a sign before zero."""
    return "-" if energy is None else f"{round(energy, 4) + 0.0:.4f}"


def _differences(results: Sequence[Result]) -> list[str]:
    """Compare predictions with the first DFT result of the same structure."""
    from deeph_dock.metrics import band_error

    reference = next((one for one in results if one.bands.matrix == "hamiltonian"), None)
    if reference is None:
        return []
    home, _, true = reference
    lines = []
    for folder, _, bands in results:
        comparable = bands.energies.shape == true.energies.shape
        if bands is true or not comparable or not _same_structure(home, folder):
            continue
        error = band_error(bands, true, _compared(true))
        low, high = error.window
        lines.append(
            f"{bands.label} - {true.label}: mean |dE| {error.mae:.1f} meV, largest {error.max:.1f} "
            f"meV ({error.states} states within E_F{low:+.3g}..E_F{high:+.3g} eV, each at its own "
            f"E_F); {error.mae_median_free:.1f} meV with the median difference removed instead"
        )
    return lines


def _compared(bands: Bands) -> tuple[float, float]:
    """Measure the window from the edges of a gap that it would end in, as that of a molecule."""
    low, high = COMPARED
    if bands.vbm is None or bands.cbm is None:
        return COMPARED
    below, above = bands.vbm - bands.fermi.energy, bands.cbm - bands.fermi.energy
    return (low, high) if low < below and above < high else (below + low, above + high)


def _same_structure(one: StructureFolder, other: StructureFolder) -> bool:
    import numpy as np

    if one is other:
        return True
    a, b = one.structure, other.structure
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.allclose(a.lattice, b.lattice, atol=1e-5)
        and np.allclose(a.positions, b.positions, atol=1e-5)
    )


def _notes(results: Sequence[Result]) -> list[str]:
    """Say what a physicist should know about these numbers."""
    import numpy as np

    from deeph_dock.bandstructures import HAMILTONIANS

    notes = []
    for _, name, bands in results:
        fermi = bands.fermi
        name = f"{name} {HAMILTONIANS[bands.matrix]}"
        left_out = int(np.isinf(bands.energies).sum(axis=2).max())
        if left_out:
            notes.append(
                f"note: {name}: up to {left_out} of {bands.energies.shape[2]} combinations of "
                "orbitals are nearly dependent and left out, since errors of H are divided by "
                "their small overlap (--least-overlap 0 keeps them)"
            )
        on_path = _path_gap(bands)
        if fermi.source == "info.json":
            notes.append(
                f"note: {name}: E_F is fermi_energy_eV of info.json, as 'occupation' (electrons "
                "of the cell) is not given there"
            )
        elif on_path is not None and on_path - bands.gap > _NOTED_EV:
            notes.append(
                f"note: {name}: the gap of {bands.gap:.4f} eV lies off the path (there "
                f"{on_path:.4f} eV); a denser mesh may find a smaller one (--density, --mesh)"
            )
        elif fermi.source == "electrons" and bands.is_metal and not fermi.is_metal:
            notes.append(
                f"note: {name}: a gap on the mesh, but bands cross E_F on the path: the mesh is "
                "too coarse, try a smaller --density"
            )
    return notes


def _path_gap(bands: Bands) -> float | None:
    """Gap between the bands below and above E_F on the path alone, eV; None for a metal."""
    if bands.is_metal:
        return None
    shifted = bands.energies - bands.fermi.energy
    return float(shifted[shifted > 0].min(initial=float("inf")) - shifted[shifted <= 0].max())


def _files(written: Sequence[Path]) -> list[str]:
    shown = []
    for path in written:
        relative = os.path.relpath(path)
        shown.append(str(path) if relative.startswith("..") else relative)
    return ["written: " + ", ".join(shown)]
