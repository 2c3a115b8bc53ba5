"""Options that all subcommands of `dock generate` have, and how their texts are understood."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

HELP = {"help_option_names": ["-h", "--help"]}


class Format(StrEnum):
    """Files that can be written."""

    poscar = "poscar"
    xyz = "xyz"
    cif = "cif"


class Axis(StrEnum):
    """A lattice vector."""

    a = "a"
    b = "b"
    c = "c"

    @property
    def number(self) -> int:
        """Number of the vector, from 0."""
        return "abc".find(self.value)


class Distribution(StrEnum):
    """Of the components of displacements."""

    uniform = "uniform"
    gaussian = "gaussian"


Paths = Annotated[
    list[Path],
    typer.Argument(
        metavar="STRUCTURES... OUT",
        help="Structure files (POSCAR, .xyz, .extxyz, .cif, whatever ASE reads), or folders of "
        "them at any depth; then the folder for the new structures.",
        show_default=False,
    ),
]
Number = Annotated[int, typer.Option("-n", "--number", min=1, help="Structures from each one.")]
Seed = Annotated[int, typer.Option(min=0, help="Another number gives other random numbers.")]
MinDistance = Annotated[
    float,
    typer.Option(
        min=0.0, metavar="Å", help="Structures with nearer atoms are drawn again, or refused."
    ),
]
Supercell = Annotated[
    str | None,
    typer.Option(
        metavar="MATRIX", help="Repeat the cell first: '3 3 1', or 9 whole numbers, row by row."
    ),
]
Displacement = Annotated[
    float,
    typer.Option(
        min=0.0,
        metavar="Å",
        help="Displace atoms at random: every component within ±Å, or this its deviation.",
    ),
]
DistributionKind = Annotated[Distribution, typer.Option(help="Of the displacements.")]
AxisOption = Annotated[Axis, typer.Option(help="Lattice vector out of the plane of layers.")]
FormatKind = Annotated[
    Format,
    typer.Option(
        "--format", help="poscar: ID/POSCAR, ready for calculations; else ID.xyz, ID.cif."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace other structures that are there.")
]


def matrix_of(text: str, option: str) -> list[list[int]]:
    """Understand a supercell.

    Parameters
    ----------
    text : str
        Three or nine whole numbers.
    option : str
        Name for the message.

    Returns
    -------
    list of three rows

    Raises
    ------
    typer.BadParameter
        If it is none, or spans no volume.
    """
    words = text.replace(",", " ").replace("x", " ").split()
    try:
        numbers = [int(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) == 3:
        a, b, c = numbers
        numbers = [a, 0, 0, 0, b, 0, 0, 0, c]
    if len(numbers) != 9:
        raise typer.BadParameter(
            f"{option} '{text}': expected three whole numbers such as '3 3 1', or nine, row by row"
        )
    a, b, c, d, e, f, g, h, i = numbers
    if not a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g):
        raise typer.BadParameter(f"{option} '{text}': the supercell has no volume")
    return [numbers[:3], numbers[3:6], numbers[6:]]


def reals(text: str, count: int, option: str, example: str) -> list[float]:
    """Understand several numbers.

    Parameters
    ----------
    text : str
        Numbers between blanks or commas.
    count : int
        How many there must be.
    option, example : str
        For the message.

    Returns
    -------
    list of float

    Raises
    ------
    typer.BadParameter
        If it is something else.
    """
    import math

    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{option} '{text}': expected {count} numbers such as '{example}'")
    return numbers


def check_range(option: str, limits: tuple[float, float]) -> None:
    """Refuse a range of lengths that is none.

    Parameters
    ----------
    option : str
        Name for the message.
    limits : (low, high)
        Å.

    Raises
    ------
    typer.BadParameter
        If the lowest is not positive, or above the highest.
    """
    low, high = limits
    if not 0 < low <= high:
        raise typer.BadParameter(
            f"{option} {low:g} {high:g}: expected the lowest, then the highest, Å"
        )
