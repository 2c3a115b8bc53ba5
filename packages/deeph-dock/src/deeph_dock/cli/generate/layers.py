"""What subcommands of `dock generate` that stack two layers have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deeph_dock.structure_files import Given

LayerPaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="LAYERS [TOP] OUT",
        help="Monolayers (a1 and a2 in their plane): each is stacked on itself, or with TOP the "
        "first one below the second; then the folder for the new structures.",
        show_default=False,
    ),
]
Share = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, metavar="X", help="Share of the strain that the bottom takes, 0 to 1."
    ),
]
Vacuum = Annotated[float, typer.Option(metavar="Å", help="Empty space above the stack.")]


def read_layers(paths: list[Path], command: str, flatten: bool) -> tuple[list[Given], Given | None]:
    """Read the layers to stack.

    Parameters
    ----------
    paths : list of Path
        One or two, and the folder for new structures.
    command : str
        For messages.
    flatten : bool
        As in `deeph_dock.structure_files.find_structures`.

    Returns
    -------
    bottoms, above : list of Given, Given or None
        The layers below, and the one above if it is another; then there is one bottom, and its id
        names both.

    Raises
    ------
    InputError
        If there are no layers or too many.
    """
    from dataclasses import replace

    from deeph_spec.errors import InputError

    from deeph_dock.structure_files import find_structures

    if not 2 <= len(paths) <= 3:
        raise InputError(
            f"{len(paths)} path{'s' * (len(paths) > 1)} given, two or three are needed: "
            f"dock generate {command} LAYERS [TOP] OUT"
        )
    *layers, out = paths
    found = [find_structures([path], out, flatten) for path in layers]
    if len(found) == 1:
        return found[0], None
    for path, several in zip(layers, found, strict=True):
        if len(several) > 1:
            raise InputError(f"{path}: holds {len(several)} structures, expected one layer")
        if several[0].structure is None or several[0].problem:
            raise InputError(f"{path}: {several[0].problem}")
    bottom, above = found[0][0], found[1][0]
    return [replace(bottom, id=f"{bottom.id}-{above.id}")], above
