"""Figures of errors: where a predicted Hamiltonian is wrong.

In: `ErrorMaps`. Out: a matplotlib figure, in the style of `plots`.
"""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogFormatterSciNotation, LogLocator, MaxNLocator

from deeph_dock.error_maps import ErrorMaps
from deeph_dock.plots import COLOURS, STYLE

MOST_BARS = 24
"""Pairs of elements that are shown."""
WORST = 10
"""Structures that are named."""


def errors(maps: ErrorMaps, title: str = "") -> Figure:
    """Draw where a predicted Hamiltonian errs.

    Six panels: predicted against reference elements; |error| against distance of the atoms;
    mean |error| by pair of elements, by pair of shells, by structure with the ten worst named;
    distribution of |error|.

    Parameters
    ----------
    maps : ErrorMaps
    title : str
        Above the figure.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(14.4, 8.0), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 3)
        _parity(maps, panels[0, 0])
        _by_distance(maps, panels[0, 1])
        _by_elements(maps, panels[0, 2])
        _by_shell(maps, panels[1, 0])
        _distribution(maps, panels[1, 1])
        _by_structure(maps, panels[1, 2])
        if title:
            figure.suptitle(title, fontsize=12)
        return figure


def _parity(maps: ErrorMaps, axes: Axes) -> None:
    low = float(min(maps.reference.min(), maps.predicted.min()))
    high = float(max(maps.reference.max(), maps.predicted.max()))
    margin = 0.04 * (high - low) + 1e-6
    extent = (low - margin, high + margin)
    counts = axes.hexbin(
        maps.reference,
        maps.predicted,
        gridsize=70,
        extent=(*extent, *extent),
        mincnt=1,
        norm=LogNorm(),
        cmap="viridis",
        linewidths=0.1,
    )
    axes.axline((low, low), slope=1.0, color="0.3", linewidth=0.7, linestyle=(0, (4, 3)))
    axes.set(xlim=extent, ylim=extent, aspect="equal")
    axes.set(xlabel="H, reference (eV)", ylabel="H, predicted (eV)", title="Matrix elements")
    text = f"MAE {maps.mean:.3g} meV\non-site {maps.mean_on_site:.3g} meV\n"
    text += f"off-site {maps.mean_off_site:.3g} meV\n{maps.elements:,} elements"
    text += f"\n{maps.structures} structure" + ("s" if maps.structures > 1 else "")
    text += "\nμS removed" if maps.gauge_free else ""
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=9.5)
    axes.figure.colorbar(counts, ax=axes, label="elements", shrink=0.85)


def _by_distance(maps: ErrorMaps, axes: Axes) -> None:
    distances, values = maps.pair_distances, np.maximum(maps.pair_errors, 1e-6)
    axes.scatter(
        distances, values, s=5, color=COLOURS[0], alpha=min(0.5, 200 / len(values) + 0.06),
        linewidths=0, rasterized=True,
    )  # fmt: skip
    edges = np.linspace(0.0, float(distances.max()) + 1e-9, 25)
    which = np.digitize(distances, edges) - 1
    centres, middles = [], []
    for n in range(len(edges) - 1):
        inside = values[which == n]
        if len(inside) >= 3:
            centres.append(float(distances[which == n].mean()))
            middles.append(float(inside.mean()))
    axes.plot(centres, middles, color=COLOURS[1], marker="o", markersize=3.5, label="mean")
    axes.set_yscale("log")
    axes.set(xlabel="distance of the atoms (Å)", ylabel="mean |ΔH| of a block (meV)")
    axes.set(title="Blocks", xlim=(-0.02 * float(distances.max() + 1), None))
    axes.legend(loc="upper right")


def _by_shell(maps: ErrorMaps, axes: Axes) -> None:
    image = axes.imshow(np.ma.masked_invalid(maps.shell_errors), cmap="magma_r", vmin=0.0)
    places = np.arange(len(maps.shells))
    size = 9 if len(places) <= 14 else max(4, 130 / len(places))
    axes.set_xticks(places, maps.shells, rotation=0 if len(places) <= 6 else 90, fontsize=size)
    axes.set_yticks(places, maps.shells, fontsize=size)
    axes.tick_params(length=0, right=False)
    axes.set(title="Pairs of shells", xlabel="column", ylabel="row")
    if len(places) <= 8:
        middle = float(np.nanmax(maps.shell_errors)) / 2
        for (row, column), value in np.ndenumerate(maps.shell_errors):
            if np.isfinite(value):
                axes.text(
                    column, row, _short(float(value)), ha="center", va="center", fontsize=8.5,
                    color="white" if value > middle else "black",
                )  # fmt: skip
    axes.figure.colorbar(image, ax=axes, label="mean |ΔH| (meV)", shrink=0.85)


def _short(value: float) -> str:
    """Write a number with two digits and never with an exponent that would not fit its cell."""
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"


def _distribution(maps: ErrorMaps, axes: Axes) -> None:
    top = float(maps.absolute.max()) or 1.0
    bottom = max(top * 1e-7, float(np.quantile(maps.absolute, 0.002)), 1e-9)
    bins: Any = np.geomspace(bottom, top * 1.001, 61)
    for mask, name, colour in (
        (~maps.on_site, "off-site", COLOURS[0]),
        (maps.on_site, "on-site", COLOURS[1]),
    ):
        if mask.any():
            chosen = np.maximum(maps.absolute[mask], bottom)
            weights = np.full(len(chosen), 100.0 / len(chosen))
            axes.hist(
                chosen, bins=bins, weights=weights, histtype="stepfilled", alpha=0.25, color=colour
            )
            axes.hist(chosen, bins=bins, weights=weights, histtype="step", color=colour, label=name)
            axes.axvline(float(chosen.mean()), color=colour, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_xscale("log")
    axes.set(xlabel="|ΔH| (meV)", ylabel="share of elements (%)", title="Distribution")
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(LogFormatterSciNotation())
    axes.legend(loc="upper left", title="dashed: mean")


def _by_elements(maps: ErrorMaps, axes: Axes) -> None:
    """Bars by pair of elements, the largest first; where they are many, the worst of them."""
    order = np.argsort(-maps.pairs_errors, kind="stable")[:MOST_BARS]
    labels = [maps.pairs[n] for n in order]
    colours = [COLOURS[0] if "-" in label else COLOURS[1] for label in labels]
    places = np.arange(len(order))
    axes.barh(places, maps.pairs_errors[order], color=colours, height=0.7)
    axes.set_yticks(places, labels, fontsize=9 if len(order) <= 14 else 7)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0, right=False)
    axes.set(xlabel="mean |ΔH| (meV)", xlim=(0.0, None))
    more = len(maps.pairs) - len(order)
    axes.set_title("Pairs of elements" + (f" (the worst of {len(maps.pairs)})" if more else ""))
    handles = [Patch(color=COLOURS[n], label=name) for n, name in ((1, "on-site"), (0, "off-site"))]
    axes.legend(handles=handles, loc="lower right", frameon=True, framealpha=0.9)


def _by_structure(maps: ErrorMaps, axes: Axes) -> None:
    """Errors of the structures, the largest first, with the names of the ten worst."""
    order = np.argsort(-maps.structure_errors, kind="stable")
    values = maps.structure_errors[order]
    places = np.arange(1, len(order) + 1)
    axes.plot(places, values, color=COLOURS[0], marker="o", markersize=3, linewidth=1.0)
    axes.axhline(float(values.mean()), color=COLOURS[1], linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set(xlabel="structures, the worst first", ylabel="mean |ΔH| (meV)", title="Structures")
    axes.set(xlim=(0.5, max(len(order), 2) + 0.5), ylim=(0.0, 1.08 * float(values.max()) + 1e-9))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    named = [f"{maps.names[n]}  {_short(float(maps.structure_errors[n]))}" for n in order[:WORST]]
    # Sorted errors leave the upper right free where few are bad, else what is below them.
    flat = float(np.median(values)) > 0.5 * float(values.max())
    x, y, side, end = (0.04, 0.05, "left", "bottom") if flat else (0.96, 0.95, "right", "top")
    axes.text(x, y, "\n".join(named), transform=axes.transAxes, ha=side, va=end, fontsize=8.5)
