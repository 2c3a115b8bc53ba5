"""The picture of a dataset's summary: decay of |H| and |S|, pairs by distance, sizes."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deeph_dock.plots import COLOURS, STYLE
from deeph_dock.summary import Summary
from deeph_dock.summary.entries import BIN, EntryStatistics

FORMATS = (".png", ".pdf", ".svg")
_CURVES_AT_MOST = 6
_FLOOR = 1e-8
"""Smaller entries are not drawn: zeros have no logarithm."""


def summary_figure(summary: Summary, title: str = "") -> Figure:
    """Draw a summary in four panels.

    Parameters
    ----------
    summary : Summary
        Of at least one structure.
    title : str
        Above the figure.

    Returns
    -------
    Figure
        Not yet written.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 7.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(2, 2)
        _decay(summary.hamiltonian, summary, panels[0, 0], "|H| (eV)")
        _decay(summary.overlap, summary, panels[0, 1], "|S|")
        _pairs(summary, panels[1, 0])
        _atoms(summary, panels[1, 1])
        if title:
            count = summary.structures
            figure.suptitle(f"{title}: {count} structure{'s' * (count != 1)}", fontsize=12)
        return figure


def _ranked(summary: Summary) -> list[str]:
    """Name the pairs of elements with most entries."""
    counts = {name: 0.0 for name in summary.reach}
    for statistics in (summary.hamiltonian, summary.overlap):
        for name, values in statistics.off_site.items():
            counts[name] = counts.get(name, 0.0) + float(values[0].sum())
    return sorted(counts, key=lambda name: (-counts[name], name))[:_CURVES_AT_MOST]


def _decay(statistics: EntryStatistics, summary: Summary, axes: Axes, what: str) -> None:
    """Draw mean (solid) and largest (dotted) entries by distance, a colour for each pair."""
    drawn = False
    for number, name in enumerate(_ranked(summary)):
        if name not in statistics.off_site:
            continue
        counts, sums, largest = statistics.off_site[name]
        places = np.flatnonzero((counts > 0) & (largest > _FLOOR))
        if not len(places):
            continue
        drawn = True
        x, colour = (places + 0.5) * BIN, COLOURS[number % len(COLOURS)]
        mean = np.maximum(sums[places] / counts[places], _FLOOR)
        axes.plot(x, mean, color=colour, marker="o", markersize=3, label=name)
        axes.plot(x, largest[places], color=colour, linestyle=":", linewidth=1.2)
    axes.set(xlabel="distance of the atoms (Å)", ylabel=f"{what} off site")
    if drawn:
        axes.set_yscale("log")
        axes.set_xlim(0, None)
        axes.legend(title="solid: mean, dotted: max", title_fontsize=8.5, loc="lower left")
    else:
        axes.text(0.5, 0.5, "no entries read", transform=axes.transAxes, ha="center")


def _pairs(summary: Summary, axes: Axes) -> None:
    """Draw the number of neighbours of an atom by distance."""
    left = np.arange(len(summary.distances)) * BIN
    atoms = float(summary.distances.sum()) / summary.neighbours[1] if summary.neighbours[1] else 1.0
    axes.bar(left, summary.distances / atoms, width=BIN, align="edge", color=COLOURS[0], alpha=0.8)
    for number, name in enumerate(_ranked(summary)):
        if name in summary.reach:
            axes.axvline(
                summary.reach[name],
                color=COLOURS[number % len(COLOURS)],
                linewidth=1.0,
                linestyle=(0, (4, 2)),
                label=f"{name} ≤ {summary.reach[name]:.2f} Å",
            )
    axes.set(xlabel="distance of the atoms (Å)", ylabel=f"neighbours of an atom in {BIN:g} Å")
    axes.set_xlim(0, None)
    if summary.reach:
        axes.set_ylim(0, 1.35 * axes.get_ylim()[1])  # room for the legend
        axes.legend(
            title="dashed: reach", title_fontsize=8.5, loc="upper left", fontsize=8.5, ncols=2
        )


def _atoms(summary: Summary, axes: Axes) -> None:
    """Draw how many structures have how many atoms."""
    sizes, counts = np.unique(summary.atom_counts, return_counts=True)
    if len(sizes) <= 20:
        axes.bar(np.arange(len(sizes)), counts, color=COLOURS[2], alpha=0.8, width=0.7)
        axes.set_xticks(np.arange(len(sizes)), [str(size) for size in sizes.tolist()])
    else:
        axes.hist(summary.atom_counts, bins=30, color=COLOURS[2], alpha=0.8)
    axes.set(xlabel="atoms", ylabel="structures")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the picture atomically and without a date.

    Parameters
    ----------
    figure : Figure
        See `summary_figure`.
    path : path-like
        Its suffix chooses the format.

    Raises
    ------
    InputError
        If the format is not known.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise InputError(f"{path}: a picture is written as {', '.join(FORMATS)}; change the suffix")
    metadata = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}}.get(kind)
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "deeph"}), replace_file(path) as beside:
        figure.savefig(beside, format=kind[1:], metadata=metadata)
