"""STRU: the input file with cell, atoms, and the files of pseudopotentials and orbitals."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

Float = NDArray[np.float64]

SECTIONS = (
    "ATOMIC_SPECIES",
    "NUMERICAL_ORBITAL",
    "NUMERICAL_DESCRIPTOR",
    "ABFS_ORBITAL",
    "PAW_FILES",
    "LATTICE_CONSTANT",
    "LATTICE_VECTORS",
    "LATTICE_PARAMETERS",
    "ATOMIC_POSITIONS",
)
_MOST_ATOMS = 10**7
_NO_NAMES = ("none", "test", "user_defined_lattice")
_FIXED = {
    "sc": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "fcc": [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]],
    "bcc": [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
}


@dataclass(frozen=True)
class Species:
    """One species of atoms, in the order of the matrices.

    Attributes
    ----------
    label : str
        Its name in the input, not always that of an element.
    atoms : int
        How many there are.
    pseudopotential, orbital : str or None
        Names of its files, without folders.
    """

    label: str
    atoms: int
    pseudopotential: str | None = None
    orbital: str | None = None


@dataclass(frozen=True, eq=False)
class Geometry:
    """Cell and atoms, in units of the lattice constant.

    Attributes
    ----------
    source : str
        The file, for messages.
    constant : float
        Lattice constant, Bohr.
    vectors : (3, 3)
        Lattice vectors as rows, in lattice constants.
    positions : (n, 3)
        Fractional.
    labels : tuple of str
        Label of each atom.
    """

    source: str
    constant: float
    vectors: Float
    positions: Float
    labels: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Stru:
    """What a STRU file says."""

    species: tuple[Species, ...]
    geometry: Geometry


def read_stru(path: Path, bohr: float, latname: str = "none", printed: Float | None = None) -> Stru:
    """Read a STRU file.

    Parameters
    ----------
    path : Path
        The file.
    bohr : float
        1 Bohr in Å, as ABACUS has it.
    latname : str
        Kind of Bravais lattice of INPUT; the lattice vectors are in the file if it is "none".
    printed : (3, 3) array, optional
        Lattice vectors of the log, for kinds of Bravais lattices that are not known here.

    Returns
    -------
    Stru
        Species, cell and atoms.

    Raises
    ------
    InputError
        If it is incomplete or damaged.
    """
    sections = _sections(path)

    def lines(name: str) -> list[list[str]]:
        if name not in sections:
            raise InputError(f"{path}: no section {name}; it is not a complete STRU file")
        return sections[name]

    constant = _floats(path, "LATTICE_CONSTANT", lines("LATTICE_CONSTANT"), 1, 1)[0, 0]
    named_by_vectors = "LATTICE_VECTORS" in sections and "LATTICE_PARAMETERS" not in sections
    if latname in _NO_NAMES or (named_by_vectors and latname not in _FIXED):
        vectors = _floats(path, "LATTICE_VECTORS", lines("LATTICE_VECTORS"), 3, 3)
    else:
        vectors = _bravais(path, latname, sections.get("LATTICE_PARAMETERS", []), printed)
    with np.errstate(all="ignore"):
        volume = abs(np.linalg.det(vectors * constant))
    if not 1e-6 < volume < 1e12:
        raise InputError(f"{path}: cell of {volume:.3g} Bohr^3; damaged")
    species, positions = _atoms(path, lines("ATOMIC_POSITIONS"), constant, vectors, bohr)
    given = {words[0]: _last_part(words[2]) for words in lines("ATOMIC_SPECIES") if len(words) > 2}
    kinds = [words[0] for words in lines("ATOMIC_SPECIES")]
    files = [_last_part(words[0]) for words in sections.get("NUMERICAL_ORBITAL", [])]
    orbitals = dict(zip(kinds, files, strict=False))  # a damaged STRU may lack one
    named = [
        replace(one, pseudopotential=given.get(one.label), orbital=orbitals.get(one.label))
        for one in species
    ]
    labels = tuple(one.label for one in named for _ in range(one.atoms))
    return Stru(tuple(named), Geometry(str(path), constant, vectors, positions, labels))


def fractional(positions: Float, vectors: Float) -> Float:
    """Give the fractional coordinates of positions.

    Parameters
    ----------
    positions : (n, 3) array
        Cartesian.
    vectors : (3, 3) array
        Lattice vectors as rows, in the same unit.

    Returns
    -------
    (n, 3) float64 array
        In lattice vectors.
    """
    result: Float = np.linalg.solve(vectors.T, positions.T).T.astype(np.float64)
    return result


def _sections(path: Path) -> dict[str, list[list[str]]]:
    """Split into sections of lines of words, without comments and blank lines."""
    text = path.read_text("utf-8", errors="replace")
    sections: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in text.splitlines():
        words = re.split(r"#|//", line)[0].split()
        if not words:
            continue
        if words[0] in SECTIONS:
            current = sections.setdefault(words[0], [])
        else:
            current.append(words)
    return sections


def _floats(path: Path, name: str, lines: list[list[str]], rows: int, columns: int) -> Float:
    try:
        values = np.array([[float(w) for w in line[:columns]] for line in lines[:rows]], float)
    except ValueError:
        values = np.empty(0)
    if values.shape != (rows, columns) or not np.isfinite(values).all():
        raise InputError(f"{path}: {name}: expected {rows} lines of {columns} numbers; damaged")
    return values


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rsplit("/", 1)[-1]


def _atoms(
    path: Path, lines: list[list[str]], constant: float, vectors: Float, bohr: float
) -> tuple[list[Species], Float]:
    """Read the blocks of ATOMIC_POSITIONS: label, magnetism, number, then the atoms."""
    if not lines:
        raise InputError(f"{path}: ATOMIC_POSITIONS is empty")
    kind, rest = lines[0][0], lines[1:]
    species: list[Species] = []
    parts: list[Float] = []
    at = 0
    while at < len(rest):
        label = rest[at][0]
        try:
            count = int(rest[at + 2][0])
        except (IndexError, ValueError):
            count = -1
        if not 0 <= count <= _MOST_ATOMS:
            raise InputError(
                f"{path}: ATOMIC_POSITIONS of {label}: no number of atoms in its third line"
            )
        if count:
            what = f"ATOMIC_POSITIONS of {label}"
            parts.append(_floats(path, what, rest[at + 3 : at + 3 + count], count, 3))
            species.append(Species(label, count))
        at += 3 + count
    if not parts:
        raise InputError(f"{path}: ATOMIC_POSITIONS holds no atoms")
    given = np.concatenate(parts)
    if kind == "Direct":
        return species, given
    scale = {"Cartesian": 1.0, "Cartesian_au": 1 / constant}.get(kind)
    centre = np.zeros(3)
    if kind.startswith("Cartesian_angstrom"):
        scale = 1 / (bohr * constant)
        centred = kind.removeprefix("Cartesian_angstrom").removeprefix("_center_")
        for axis in centred:
            if axis not in "xyz":
                scale = None
            else:
                centre["xyz".index(axis)] = vectors[:, "xyz".index(axis)].sum() / 2
    if scale is None:
        raise InputError(
            f"{path}: ATOMIC_POSITIONS: coordinates '{kind}' are not known; known are Direct, "
            "Cartesian, Cartesian_au, Cartesian_angstrom and Cartesian_angstrom_center_.."
        )
    return species, fractional(given * scale + centre, vectors)


def _bravais(path: Path, latname: str, lines: list[list[str]], printed: Float | None) -> Float:
    """Make the lattice vectors of the `latname` of INPUT."""
    words = [word for line in lines for word in line]
    if latname in _FIXED:
        return np.array(_FIXED[latname], float)
    wanted = {"hexagonal": 1, "st": 1, "so": 2}.get(latname)
    if wanted is None and printed is not None:
        return printed
    if wanted is None:
        raise InputError(
            f"{path}: latname {latname} of INPUT: its lattice vectors are in the log only, which "
            "is not there"
        )
    values = _floats(path, "LATTICE_PARAMETERS", [words[:wanted]], 1, wanted)[0]
    if latname == "hexagonal":
        return np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, values[0]]])
    return np.diag([1.0, values[0] if latname == "so" else 1.0, values[-1]])
