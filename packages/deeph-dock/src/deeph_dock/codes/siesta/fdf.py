"""The input file of SIESTA (.fdf), as far as a converter needs it.

Keys are compared as SIESTA does: capitals, ``-``, ``_`` and ``.`` do not count. Of two lines with
one key the first wins. ``%include FILE`` is followed; other redirections of fdf are not.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.siesta.geometry import Geometry

_MOST_FILES = 64
_LARGEST = 1e9
_TRUE = ("true", ".true.", "t", "yes", "y", "")
_COORDINATES = {
    "bohr": "bohr",
    "notscaledcartesianbohr": "bohr",
    "ang": "ang",
    "notscaledcartesianang": "ang",
    "scaledcartesian": "scaled",
    "scaledbylatticevectors": "fractional",
    "fractional": "fractional",
}


@dataclass(frozen=True)
class Fdf:
    """Keys and blocks of an input file.

    Attributes
    ----------
    path : Path
        The file that was read first.
    values : dict
        Rest of the line of each key.
    blocks : dict
        Lines of each block, without comments and empty lines.
    included : tuple of Path
        Further files that were read.
    """

    path: Path
    values: dict[str, str]
    blocks: dict[str, list[str]]
    included: tuple[Path, ...] = ()

    def flag(self, key: str) -> bool:
        """Tell whether a logical key is there and true."""
        value = self.values.get(_plain(key))
        return value is not None and (value.split() or [""])[0].lower() in _TRUE

    def text(self, key: str, default: str = "") -> str:
        """Give the first word of a key."""
        return (self.values.get(_plain(key), default).split() or [default])[0]

    def block(self, key: str) -> list[str] | None:
        """Give the lines of a block, None if there is none."""
        return self.blocks.get(_plain(key))

    @property
    def label(self) -> str:
        """The SystemLabel, from which the output files have their names."""
        return self.text("SystemLabel", "siesta")


def _plain(key: str) -> str:
    """Give the key without what does not count."""
    return re.sub(r"[-_.]", "", key).lower()


def read_fdf(path: Path) -> Fdf:
    """Read an input file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Fdf
        Its keys and blocks; what it includes counts as if it stood there.
    """
    values: dict[str, str] = {}
    blocks: dict[str, list[str]] = {}
    files: list[Path] = []
    _collect(path, values, blocks, files)
    return Fdf(path, values, blocks, tuple(files[1:]))


def _collect(
    path: Path, values: dict[str, str], blocks: dict[str, list[str]], files: list[Path]
) -> None:
    """Add the content of one file."""
    files.append(path)
    within: str | None = None
    for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = re.split(r"[#!;]", raw, maxsplit=1)[0].strip()
        words = line.split()
        if not words:
            continue
        first = words[0].lower()
        if first == "%endblock":
            within = None
        elif within is not None:
            blocks[within].append(line)
        elif first == "%block" and "<" in words:
            continue  # the block is in another file, and has no end here
        elif first == "%block" and len(words) > 1:
            within = _plain(words[1])
            if within in blocks:  # the first one wins, this one goes nowhere
                within = f"again {within}"
            blocks[within] = []
        elif first == "%include" and len(words) > 1:
            included = path.parent / words[1]
            if len(files) < _MOST_FILES and included not in files and included.is_file():
                _collect(included, values, blocks, files)
        else:
            values.setdefault(_plain(words[0]), line[len(words[0]) :].strip())


def species_numbers(fdf: Fdf) -> dict[int, int]:
    """Give the atomic number of each species index (from 1) that the input declares.

    Parameters
    ----------
    fdf : Fdf
        The input.

    Returns
    -------
    dict
        Empty if the block is not there or not readable.
    """
    numbers = {}
    for line in fdf.block("ChemicalSpeciesLabel") or []:
        words = line.split()
        if len(words) >= 3 and _is_integer(words[0]) and _is_integer(words[1]):
            numbers[int(words[0])] = int(words[1])
    return numbers


def kmesh(fdf: Fdf) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Give the supercell of the k-mesh (3, 3), rows, and its displacements (3,).

    Parameters
    ----------
    fdf : Fdf
        The input.

    Returns
    -------
    tuple or None
        None without a readable ``kgrid.MonkhorstPack`` block.
    """
    lines = fdf.block("kgrid_Monkhorst_Pack")
    table = _table([f"{line} 0.0" for line in lines or []], 4)
    if table is None or len(table) != 3:
        return None
    return np.rint(table[:, :3]).astype(np.int64), table[:, 3]


def geometry(fdf: Fdf, bohr: float) -> Geometry:
    """Read cell and atoms from the input itself.

    Parameters
    ----------
    fdf : Fdf
        The input.
    bohr : float
        The code's Bohr radius in Å.

    Returns
    -------
    Geometry
        Lengths in Bohr, positions not wrapped.

    Raises
    ------
    InputError
        If the input says where the atoms are in a way that is not understood here.
    """
    for key in ("Supercell", "AtomicCoordinatesOrigin", "Zmatrix", "GeometryMatrix"):
        if fdf.block(key) is not None or key.lower() in fdf.values:
            raise InputError(
                f"{fdf.path}: {key} is not understood; keep the .XV file beside the run"
            )
    constant = _length(fdf.values.get("latticeconstant", ""), bohr)
    form = _COORDINATES.get(_plain(fdf.text("AtomicCoordinatesFormat", "Bohr")))
    lines = [line.split() for line in fdf.block("AtomicCoordinatesAndAtomicSpecies") or []]
    table = _table([" ".join(words[:4]) for words in lines], 4)
    cell, z = _cell(fdf), species_numbers(fdf)
    species = [] if table is None else table[:, 3].tolist()
    if (
        constant is None
        or cell is None
        or form is None
        or table is None
        or not set(species) <= set(z)
    ):
        raise InputError(
            f"{fdf.path}: cell or atoms cannot be read from the input; keep the .XV file beside it"
        )
    cell = cell * constant
    if form == "fractional":
        positions = table[:, :3] @ cell
    else:
        positions = table[:, :3] * {"ang": 1 / bohr, "bohr": 1.0, "scaled": constant}[form]
    numbers = np.array([z[int(kind)] for kind in species])
    return Geometry(fdf.path, cell, positions, table[:, 3].astype(np.int64) - 1, numbers)


def _cell(fdf: Fdf) -> NDArray[np.float64] | None:
    """Give the cell in units of the lattice constant; None if it has no volume or is not there."""
    parameters = _table(fdf.block("LatticeParameters") or [], 6)
    vectors = fdf.block("LatticeVectors")
    if parameters is not None and (parameters[0, 3:] % 180 != 0).all():
        cell: NDArray[np.float64] | None = _cell_from_parameters(parameters[0].tolist())
    else:
        cell = np.eye(3) if vectors is None else _table(vectors, 3)
    if cell is None or cell.shape != (3, 3) or not abs(np.linalg.det(cell)) > 1e-9:
        return None
    return cell


def _table(lines: list[str], width: int) -> NDArray[np.float64] | None:
    """Read lines of at least `width` numbers; None if one has fewer or any is absurd."""
    rows = [_floats(line)[:width] for line in lines]
    if not rows or any(len(row) < width for row in rows):
        return None
    table = np.array(rows)
    return table if np.all(np.abs(table) < _LARGEST) else None  # false for NaN, too


def _cell_from_parameters(parameters: list[float]) -> NDArray[np.float64]:
    """Give the cell of lengths a, b, c and angles (degrees) as SIESTA orients it."""
    a, b, c, *angles = parameters
    alpha, beta, gamma = (math.radians(angle) for angle in angles)
    along = (math.cos(alpha) - math.cos(beta) * math.cos(gamma)) / math.sin(gamma)
    height = math.sqrt(max(0.0, math.sin(beta) ** 2 - along**2))
    return np.array(
        [
            [a, 0.0, 0.0],
            [b * math.cos(gamma), b * math.sin(gamma), 0.0],
            [c * math.cos(beta), c * along, c * height],
        ]
    )


def _length(text: str, bohr: float) -> float | None:
    """Read ``5.43 Ang`` as a length in Bohr; Bohr without a unit."""
    words = text.split()
    values = [x for x in _floats(words[0]) if 0 < x < _LARGEST] if words else []
    unit = words[1].lower() if len(words) > 1 else "bohr"
    factors = {"bohr": 1.0, "ang": 1 / bohr, "nm": 10 / bohr}
    return values[0] * factors[unit] if values and unit in factors else None


def _floats(text: str) -> list[float]:
    """Read leading numbers of a line, up to the first word that is none."""
    values: list[float] = []
    for word in text.split():
        try:
            values.append(float(word.lower().replace("d", "e")))
        except ValueError:
            break
    return values


def _is_integer(word: str) -> bool:
    return word.lstrip("+-").isdigit()
