"""Figures: results in, matplotlib axes out.

No pyplot and no global state: figures are `matplotlib.figure.Figure` objects with an Agg canvas,
made and saved under the same style, so equal results give equal pictures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deeph_dock.electrons.bands import Bands

STYLE: Any = {
    "font.size": 10,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.linewidth": 0.8,
    "axes.spines.top": True,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "ytick.right": True,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.solid_capstyle": "round",
    "pdf.fonttype": 42,  # text stays text
    "savefig.dpi": 200,
}
# Okabe and Ito's colours, told apart by everybody; the first pair is for DFT and prediction.
COLOURS = ("#1f3a5f", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
SPIN_COLOURS = (("#0072b2", "#d55e00"), ("#56b4e9", "#e69f00"))
_GREEK = {"GAMMA": "Γ", "DELTA": "Δ", "LAMBDA": "Λ", "SIGMA": "Σ"}
DEFAULT_REACH = 5.0
"""eV shown below the highest occupied and above the lowest empty state."""


def bands(results: Sequence[Bands], axes: Axes, window: tuple[float, float] | None = None) -> None:
    """Draw band structures over each other, each with its own Fermi level at zero.

    Hamiltonians of DFT are solid, predictions dashed; collinear spins have a colour each. Paths of
    different cells are stretched, segment by segment, onto the first one's.

    Parameters
    ----------
    results : sequence of Bands
        With labels; paths with the same point names.
    axes : Axes
    window : (low, high), optional
        Energies shown, eV; by default 5 eV below the valence and above the conduction edge.

    Raises
    ------
    InputError
        If the paths have different points.
    """
    if not results:
        raise InputError("no bands to draw")
    first = results[0]
    for other in results[1:]:
        if other.path.labels != first.path.labels:
            raise InputError(
                f"bands along {first.path} and along {other.path} do not fit into one picture: "
                "give one path to all with --kpath FILE, or draw them apart"
            )
    axes.set_ylim(*(window or default_window(results)))
    axes.set_ylabel(r"$E - E_\mathrm{F}$ (eV)")
    axes.axhline(0.0, color="0.6", linewidth=0.7, zorder=1)
    if len(first.path.kpoints) == 1:
        _levels(results, axes)
    else:
        _curves(results, axes)
    if len(results) > 1 or first.energies.shape[0] > 1 or first.label:
        _legend(results, axes)


def bands_figure(
    results: Sequence[Bands], window: tuple[float, float] | None = None, title: str = ""
) -> Figure:
    """Make a figure of band structures, see `bands`."""
    with matplotlib.rc_context(STYLE):
        segments = len(results[0].path.labels) if results else 1
        width = min(9.0, 4.4 + 0.35 * segments) + (1.4 if len(results) > 2 else 0.0)
        figure = Figure(figsize=(width, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        bands(results, axes, window)
        if title:
            axes.set_title(title, loc="left", fontsize=10)
        return figure


def bands_panels(
    panels: Mapping[str, Sequence[Bands]], window: tuple[float, float] | None = None
) -> Figure:
    """Make a figure with the bands of several structures side by side, see `bands`.

    Parameters
    ----------
    panels : mapping
        Title of each panel and the bands drawn over each other in it.
    window : (low, high), optional
        Energies shown in all of them, eV.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.6 + 4.2 * len(panels), 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        shared = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for axes, (title, results) in zip(shared, panels.items(), strict=True):
            bands(results, axes, window)
            axes.set_title(title, loc="left", fontsize=10)
        for axes in shared[1:]:
            axes.set_ylabel("")
        return figure


def default_window(results: Sequence[Bands]) -> tuple[float, float]:
    """Return 5 eV around the gap (or the Fermi level of a metal), relative to the Fermi level."""
    below = min(0.0 if b.vbm is None else b.vbm - b.fermi.energy for b in results)
    above = [0.0 if b.cbm is None else b.cbm - b.fermi.energy for b in results]
    return below - DEFAULT_REACH, max(x if np.isfinite(x) else 0.0 for x in above) + DEFAULT_REACH


def _style(results: Sequence[Bands], index: int, channel: int) -> dict[str, Any]:
    """Colour, dashes and width of one spin channel of one result."""
    predicted = results[index].matrix != "hamiltonian"
    if results[index].energies.shape[0] == 2:
        colour = SPIN_COLOURS[index % len(SPIN_COLOURS)][channel]
    else:
        colour = COLOURS[index % len(COLOURS)]
    dashes: Any = (0, (3.2, 1.8)) if predicted else "-"
    return {"color": colour, "linestyle": dashes, "linewidth": 1.15 if predicted else 1.35}


def _curves(results: Sequence[Bands], axes: Axes) -> None:
    first = results[0]
    ticks = first.path.ticks(first.lattice)
    for index, result in enumerate(results):
        own = result.path.ticks(result.lattice)
        x = np.interp(result.distances, own, ticks) if len(own) > 1 else result.distances
        shifted = result.energies - result.fermi.energy
        stops = np.cumsum(result.path.counts)
        for channel in range(len(shifted)):
            style = _style(results, index, channel)
            for start, stop in zip(np.concatenate([[0], stops[:-1]]), stops, strict=True):
                axes.plot(x[start:stop], shifted[channel, start:stop], zorder=2 + index, **style)
    axes.set_xlim(ticks[0], ticks[-1])
    axes.set_xticks(ticks, _tick_labels(first))
    axes.tick_params(axis="x", length=0, labelsize=11)
    for tick in ticks[1:-1]:
        axes.axvline(tick, color="0.75", linewidth=0.7, zorder=0)


def _levels(results: Sequence[Bands], axes: Axes) -> None:
    """Draw the levels of molecules, one column for each result and spin."""
    columns: list[int] = []
    for index, result in enumerate(results):
        for channel, energies in enumerate(result.energies[:, 0] - result.fermi.energy):
            style = _style(results, index, channel)
            centre = len(columns)
            axes.hlines(energies, centre - 0.35, centre + 0.35, **style)
            columns.append(centre)
    axes.set_xlim(-0.7, len(columns) - 0.3)
    axes.set_xticks([])
    axes.set_xlabel("levels at Γ")


def _tick_labels(result: Bands) -> list[str]:
    """Names at the ends of the segments, as X|Y where the path jumps."""
    pairs = result.path.labels
    labels = [pretty(pairs[0][0])]
    for (_, before), (after, _) in pairwise(pairs):
        labels.append(pretty(before) if before == after else f"{pretty(before)}|{pretty(after)}")
    return [*labels, pretty(pairs[-1][1])]


def pretty(label: str) -> str:
    """Write a label as physicists do: "GAMMA" as Γ, "H_1" with a subscript."""
    name, _, subscript = label.partition("_")
    name = _GREEK.get(name.upper(), name)
    return rf"{name}$_\mathrm{{{subscript}}}$" if subscript else name


def formula(text: str) -> str:
    """Write a chemical formula with subscripts: "MoS2" as MoS with a small 2."""
    return re.sub(r"(\d+)", r"$_{\1}$", text)


def _legend(results: Sequence[Bands], axes: Axes) -> None:
    handles = []
    for index, result in enumerate(results):
        spins = ("↑", "↓") if result.energies.shape[0] == 2 else ("",)
        for channel, spin in enumerate(spins):
            text = f"{result.label} {spin}".strip() or "bands"
            handles.append(Line2D([], [], label=text, **_style(results, index, channel)))
    # Outside the frame: no corner of a band structure is free.
    place: dict[str, Any]
    if len(handles) <= 2:
        place = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 2}
    else:
        place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "ncols": 1}
    axes.legend(handles=handles, borderaxespad=0.2, handlelength=2.2, columnspacing=1.2, **place)


def save(figure: Figure, stem: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write a figure as STEM.png and STEM.pdf, each atomically and without a date.

    Returns
    -------
    (png, pdf) : paths written.
    """
    stem = Path(stem)
    png, pdf = stem.with_name(stem.name + ".png"), stem.with_name(stem.name + ".pdf")
    with matplotlib.rc_context(STYLE):
        figure.draw_without_rendering()  # place everything once, not once for each format
        figure.set_layout_engine("none")
        with replace_file(png) as beside:
            figure.savefig(beside, format="png")
        with replace_file(pdf) as beside:
            figure.savefig(beside, format="pdf", metadata={"CreationDate": None})
    return png, pdf
