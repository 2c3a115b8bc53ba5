"""What ``deeph eval`` prints: tables for the terminal, and everything as JSON values.

In: a `Report`. Out: text or a document. Averages over structures count each element of a matrix
once; those of bands, densities of states and states count each structure once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deeph_dock.metrics import MatrixError, TensorError
    from deeph_dock.spectrum_errors import SpectrumSettings

    from deeph.cli.evaluate import Report, Row

WORST = 10
_PARTS = ("all", "on_site", "off_site")
_SPECTRUM = {
    "band_mae": ("bands/meV", 1.0), "dos": ("DOS/1e-3", 1e3), "states": ("states/1e-2", 1e2),
}  # fmt: skip


def average(errors: Sequence[MatrixError], gauge_free: bool) -> dict[str, float] | None:
    """Average over all elements of all structures; None where S is missing somewhere."""
    sums, counts = dict.fromkeys(_PARTS[1:], 0.0), dict.fromkeys(_PARTS[1:], 0)
    for error in errors:
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
    return total | {name: sums[name] / counts[name] if counts[name] else math.nan for name in sums}


def spectrum_means(rows: Sequence[Row]) -> dict[str, float]:
    """Average the errors of spectra over structures, those that were asked for."""
    found = {
        name: [value for row in rows
               if row.spectrum is not None
               and (value := getattr(row.spectrum, name)) is not None]
        for name in _SPECTRUM
    }  # fmt: skip
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def worst(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """List the structures of largest error of H, in meV; with mu S removed where S is known."""
    errors = {row.folder.id: row.matrices["hamiltonian"] for row in rows
              if "hamiltonian" in row.matrices}  # fmt: skip
    free = all(error.mae_gauge_free is not None for error in errors.values())
    values = {
        id: error.mae_gauge_free.all if free and error.mae_gauge_free else error.mae.all
        for id, error in errors.items()
    }
    return sorted(values.items(), key=lambda item: item[1], reverse=True)[:WORST]


# --- tables ---------------------------------------------------------------------------------------


def table(report: Report) -> str:
    """Write the tables, the averages and the worst structures."""
    rows = report.rows
    width = max(len("structure"), len("over all"), *(len(row.folder.id) for row in rows))
    with_h = [row for row in rows if "hamiltonian" in row.matrices]
    lines: list[str] = []
    if with_h:
        lines += _hamiltonians(with_h, width)
        if report.maps is not None:
            lines.append(_by_elements(report))
        lines += _spectra(with_h, width)
    for name in dict.fromkeys(name for row in rows for name in row.matrices):
        if name != "hamiltonian":
            lines += _others(rows, name, width)
    lines += _tensors(rows)
    for row in rows:
        for name, error in row.matrices.items():
            if error.missing:
                of = "" if name == "hamiltonian" else f" of {name}.h5"
                lines.append(
                    f"warning: {row.folder.id}: {error.missing} pairs of the reference{of} are not "
                    "predicted and count as zero there"
                )
    return "\n".join(line.rstrip() for line in lines)


def _hamiltonians(rows: Sequence[Row], width: int) -> list[str]:
    lines = [
        "Mean absolute error of H in meV",
        f"{'':{width}}  {'':>6}  {'as predicted':^29}   {'mu S removed':^29}",
        f"{'structure':{width}}  {'atoms':>6}  {'all':>9}{'on-site':>10}{'off-site':>10}   "
        f"{'all':>9}{'on-site':>10}{'off-site':>10}  {'mu/meV':>9}  {'largest':>9}",
    ]
    errors = [row.matrices["hamiltonian"] for row in rows]
    for row, error in zip(rows, errors, strict=True):
        free = asdict(error.mae_gauge_free) if error.mae_gauge_free else None
        mu = f"{1e3 * error.mu:9.3f}" if error.mu is not None else f"{'-':>9}"
        lines.append(
            f"{row.folder.id:{width}}  {len(row.folder.structure):>6}  "
            f"{_numbers(asdict(error.mae))}   {_numbers(free)}  {mu}  {error.max:9.2f}"
        )
    if len(rows) > 1:
        both = (_numbers(average(errors, gauge_free)) for gauge_free in (False, True))
        largest = max(error.max for error in errors)
        lines.append(f"{'over all':{width}}  {'':>6}  {'   '.join(both)}  {'':>9}  {largest:9.2f}")
    if len(rows) > WORST:
        lines.append("Worst: " + ", ".join(f"{id} ({value:.2f})" for id, value in worst(rows)))
    return lines


def _by_elements(report: Report) -> str:
    """Write the errors by pair of elements, the largest first."""
    maps = report.maps
    assert maps is not None
    sizes = sorted(zip(maps.pairs_errors.tolist(), maps.pairs, strict=True), reverse=True)
    shown = ", ".join(f"{name} {value:.3g}" for value, name in sizes[:WORST])
    more = f" and {len(sizes) - WORST} smaller ones" if len(sizes) > WORST else ""
    removed = "mu S removed" if maps.gauge_free else "as predicted"
    return f"By elements ({removed}): {shown}{more}"


def _spectra(rows: Sequence[Row], width: int) -> list[str]:
    """Write the errors of bands, densities of states and states."""
    found = [(row.folder.id, row.spectrum) for row in rows if row.spectrum is not None]
    if not found:
        return []
    shown = [name for name in _SPECTRUM if any(getattr(s, name) is not None for _, s in found)]
    heads = "".join(f"  {_SPECTRUM[name][0]:>11}" for name in shown)
    lines = [
        "",
        "Errors within the window about the Fermi level, the median difference removed",
        f"{'structure':{width}}{heads}  {'median/meV':>10}  {'window/eV':>15}  {'levels':>7}  mesh",
    ]
    for id, spectrum in found:
        low, high = spectrum.window
        numbers = _columns(getattr(spectrum, name) for name in shown)
        mesh = "x".join(map(str, spectrum.mesh))
        lines.append(
            f"{id:{width}}{_scaled(numbers, shown)}  {spectrum.shift:10.3f}  "
            f"{f'{low:.2f}..{high:.2f}':>15}  {spectrum.levels_per_point:7.1f}  {mesh}"
        )
    if len(found) > 1:
        means = spectrum_means(rows)
        lines.append(f"{'mean':{width}}{_scaled([means.get(name) for name in shown], shown)}")
    left_out = max(spectrum.left_out for _, spectrum in found)
    if left_out:
        lines.append(
            f"note: up to {left_out} combinations of orbitals are nearly dependent and left out "
            "of both Hamiltonians (--least-overlap 0 keeps them)"
        )
    return lines


def _columns(values: Iterable[float | None]) -> list[float | None]:
    return list(values)


def _scaled(values: Sequence[float | None], names: Sequence[str]) -> str:
    return "".join(
        f"  {'-':>11}" if value is None else f"  {value * _SPECTRUM[name][1]:11.3f}"
        for value, name in zip(values, names, strict=True)
    )


def _others(rows: Sequence[Row], name: str, width: int) -> list[str]:
    """Write the errors of a matrix that has no unit."""
    with_it = [row for row in rows if name in row.matrices]
    errors = [row.matrices[name] for row in with_it]
    electrons = any(row.electrons is not None for row in with_it) and name == "density_matrix"
    lines = [
        "",
        f"Mean absolute error of the {name.replace('_', ' ')}, in 1e-3",
        f"{'structure':{width}}  {'atoms':>6}  {'all':>9}{'on-site':>10}{'off-site':>10}  "
        f"{'largest':>9}" + ("  electrons" if electrons else ""),
    ]
    for row, error in zip(with_it, errors, strict=True):
        mae = {key: 1e3 * value for key, value in asdict(error.mae).items()}
        lost = f"  {row.electrons:+9.4f}" if electrons and row.electrons is not None else ""
        lines.append(
            f"{row.folder.id:{width}}  {len(row.folder.structure):>6}  {_numbers(mae)}  "
            f"{1e3 * error.max:9.2f}{lost}"
        )
    if len(with_it) > 1:
        total = {key: 1e3 * value for key, value in (average(errors, False) or {}).items()}
        largest = 1e3 * max(error.max for error in errors)
        lines.append(f"{'over all':{width}}  {'':>6}  {_numbers(total)}  {largest:9.2f}")
    return lines


def _tensors(rows: Sequence[Row]) -> list[str]:
    """Write the errors of declared quantities, over all structures."""
    names = list(dict.fromkeys(name for row in rows for name in row.tensors))
    if not names:
        return []
    width = max(len("quantity"), *map(len, names))
    lines = [
        "",
        "Errors of other quantities over all structures",
        f"{'quantity':{width}}  {'unit':>10}  {'per':>9}  {'mean abs':>11}  {'rms':>11}  "
        f"{'largest':>11}  worst structure",
    ]
    for name in names:
        total = tensor_means(rows, name)
        lines.append(
            f"{name:{width}}  {total['unit']:>10}  {total['per']:>9}  {total['mae']:11.4g}  "
            f"{total['rmse']:11.4g}  {total['max']:11.4g}  {total['worst'][0]}"
        )
    return lines


def tensor_means(rows: Sequence[Row], name: str) -> dict[str, Any]:
    """Average over all numbers of a quantity, and name the worst structures."""
    errors: dict[str, TensorError] = {
        row.folder.id: row.tensors[name] for row in rows if name in row.tensors
    }
    values = list(errors.values())
    count = sum(error.components for error in values)
    order = sorted(errors, key=lambda id: errors[id].mae, reverse=True)
    return {
        "unit": values[0].unit,
        "per": values[0].per,
        "mae": sum(error.mae * error.components for error in values) / count,
        "rmse": math.sqrt(sum(error.rmse**2 * error.components for error in values) / count),
        "max": max(error.max for error in values),
        "components": count,
        "worst": order[:WORST],
    }


def _numbers(mae: dict[str, float] | None) -> str:
    """Write three errors in columns."""
    if mae is None:
        return f"{'-':>9}{'-':>10}{'-':>10}"
    return f"{mae['all']:9.3f}{mae['on_site']:10.3f}{mae['off_site']:10.3f}"


# --- JSON -----------------------------------------------------------------------------------------


def document(report: Report, settings: SpectrumSettings) -> dict[str, Any]:
    """Give everything as JSON values; a value that does not exist is null."""
    rows = report.rows
    errors = [row.matrices["hamiltonian"] for row in rows if "hamiltonian" in row.matrices]
    found: dict[str, Any] = {
        "unit": "meV",
        "mae": average(errors, gauge_free=False) if errors else None,
        "mae_gauge_free": average(errors, gauge_free=True) if errors else None,
    }
    if report.maps is not None:
        maps = report.maps
        found["worst"] = [id for id, _ in worst(rows)]
        found["gauge_free_maps"] = maps.gauge_free
        found["by_elements"] = {
            name: {"mae": float(value), "elements": int(count)}
            for name, value, count in zip(
                maps.pairs, maps.pairs_errors, maps.pairs_elements, strict=True
            )
        }
        found["by_shells"] = {"shells": list(maps.shells), "mae": maps.shell_errors.tolist()}
    if settings.quantities and errors:
        found["spectrum"] = {"settings": asdict(settings), "mean": spectrum_means(rows)}
    for name in dict.fromkeys(name for row in rows for name in row.matrices):
        if name != "hamiltonian":
            others = [row.matrices[name] for row in rows if name in row.matrices]
            found[name] = {"unit": "1", "mae": average(others, gauge_free=False)}
    names = dict.fromkeys(name for row in rows for name in row.tensors)
    if names:
        found["tensors"] = {name: tensor_means(rows, name) for name in names}
    found["structures"] = {row.folder.id: _structure(row) for row in rows}
    found["skipped"] = report.skipped
    return dict(_clean(found))


def _structure(row: Row) -> dict[str, Any]:
    """Give the errors of one structure: those of H at the top, others by name."""
    own: dict[str, Any] = {"atoms": len(row.folder.structure), "reference": str(row.reference.path)}
    for name, error in row.matrices.items():
        values = asdict(error)
        if name != "hamiltonian":
            own[name] = {k: v for k, v in values.items() if k not in ("mae_gauge_free", "mu")}
            continue
        own |= values | {"mu": None if error.mu is None else 1e3 * error.mu}
    if row.electrons is not None:
        own["density_matrix"]["electrons"] = row.electrons
    if row.spectrum is not None:
        own["spectrum"] = asdict(row.spectrum)
    if row.tensors:
        own["tensors"] = {name: asdict(error) for name, error in row.tensors.items()}
    return own


def _clean(value: Any) -> Any:
    """Replace what JSON has no value for."""
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
