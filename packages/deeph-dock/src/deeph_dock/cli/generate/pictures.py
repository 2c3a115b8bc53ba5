"""The picture of stackings: where the layer that moves was put, and at what distance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from deeph_dock.cli.generate.making import Task
    from deeph_dock.outcomes import Outcome

Plot = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw translations and distances: .png, .pdf or .svg."),
]


def check_name(path: Path) -> None:
    """Refuse a picture that cannot be written, before anything is made.

    Parameters
    ----------
    path : Path
        The picture.

    Raises
    ------
    InputError
        If its name has no known ending, or its folder does not exist.
    """
    from deeph_spec.errors import InputError

    from deeph_dock.summary_plots import FORMATS

    if path.suffix.lower() not in FORMATS:
        raise InputError(f"--plot {path}: a picture is written as {', '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--plot {path}: the folder {path.parent} does not exist")


def draw_stackings(path: Path, tasks: Sequence[Task], outcomes: Sequence[Outcome]) -> None:
    """Draw the translations of the layers that move, and the distributions of distances.

    Parameters
    ----------
    path : Path
        The picture.
    tasks : sequence of Task
        What was to be made.
    outcomes : sequence of Outcome
        What was made; its first step tells ``shift`` and ``distance``.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from deeph_dock.plots import COLOURS, STYLE
    from deeph_dock.summary_plots import save

    made = {o.id: o.facts for o in outcomes if o.status != "failed"}
    drawn = [task.job for task in tasks if task.id in made]
    if not drawn:
        return
    first = {id: made[id]["steps"][0] for id in made}
    planes = [plane_of(job.structure.lattice, first[job.id].get("axis", 2)) for job in drawn]
    steps = [first[job.id] for job in drawn]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 4.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplot_mosaic(
            [["grid", "layers"], ["grid", "atoms"]], width_ratios=(1.6, 1)
        )
        _translations(panels["grid"], planes, steps)
        nearest = [made[job.id]["nearest_distance"] for job in drawn]
        _distances(panels["layers"], [step["distance"] for step in steps], "the layers", COLOURS[0])
        _distances(panels["atoms"], nearest, "the nearest atoms", COLOURS[1])
        save(figure, path)
    typer.echo(f"written: {path}")


def plane_of(lattice: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Give the two vectors beside `axis` in their plane, the first one along x.

    Parameters
    ----------
    lattice : (3, 3) array
        Å.
    axis : int
        The vector that is left out.

    Returns
    -------
    (2, 2) array
        Rows, Å.
    """
    import numpy as np

    first, second = np.delete(lattice, axis, axis=0)
    along = first / np.linalg.norm(first)
    across = second - (second @ along) * along
    return np.array([[np.linalg.norm(first), 0], [second @ along, np.linalg.norm(across)]])


def _translations(
    axes: Axes, planes: Sequence[NDArray[np.float64]], steps: Sequence[dict[str, Any]]
) -> None:
    """Draw where the moving layers are in their cells, coloured by distance."""
    import numpy as np

    points = np.array([step["shift"] @ plane for step, plane in zip(steps, planes, strict=True)])
    for plane in np.unique(np.round(planes, 6), axis=0):
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ plane
        axes.plot(*corners.T, color="0.6", linewidth=0.8, zorder=0)
    distances = [step["distance"] for step in steps]
    dots = axes.scatter(points[:, 0], points[:, 1], c=distances, s=22, cmap="viridis")
    axes.set(xlabel="along the first vector (Å)", ylabel="across it (Å)", aspect="equal")
    axes.set_title(f"translation of the layer in {len(points)} structures")
    axes.figure.colorbar(dots, ax=axes, label="distance of the layers (Å)")


def _distances(axes: Axes, values: Sequence[float], name: str, colour: str) -> None:
    """Draw how many structures have which distance."""
    low, high = min(values), max(values)
    span = max(high - low, 0.02)
    edges = [(low + high) / 2 + span * (k / 16 - 0.5) for k in range(17)]
    axes.hist(values, bins=edges, color=colour)
    axes.set(xlabel=f"distance of {name} (Å)", ylabel="structures")
