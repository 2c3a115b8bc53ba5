"""The input of OpenMX: keywords, species, cell and positions.

Keywords are the same in small and capital letters; ``#`` starts a comment; lists stand between
``<Name`` and ``Name>``. A species is a label, the name of its basis, e.g. ``Mo7.0-s2p2d1`` (radius
7 Bohr, two s, two p, one d shell; ``s3>2``, in older versions ``s32``: two contracted from three),
and the name of its pseudopotential, e.g. ``Mo_PBE19``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS
from numpy.typing import NDArray

Float = NDArray[np.float64]

BOHR = 0.529177249
"""1 Bohr of OpenMX in Å."""
SPECIES = "definition.of.atomic.species"
ATOMS = "atoms.speciesandcoordinates"
CELL = "atoms.unitvectors"
_BASIS = re.compile(r"(?P<pao>[^-]+)-(?P<shells>(?:[a-z]\d+(?:>\d+)?)+)$", re.I)
_SHELL = re.compile(r"([a-z])(\d+)(?:>(\d+))?", re.I)
_ELEMENT = re.compile(r"([A-Z][a-z]?)(?![a-z])")
_RADIUS = re.compile(r"[A-Za-z]+(\d+(?:\.\d+)?)")
_LETTERS = "spdf"


class Species(NamedTuple):
    """One line of Definition.of.Atomic.Species."""

    label: str
    basis: str
    potential: str

    @property
    def element(self) -> int | None:
        """Atomic number by the names of pseudopotential and basis; None if they tell none.

        0 if they name different elements.
        """
        names = (self.potential, self.basis)
        found = {_element(name) for name in names} - {None}
        return found.pop() if len(found) == 1 else (0 if found else None)

    @property
    def pao(self) -> str:
        """Name of the file with the radial functions, e.g. ``"Mo7.0"``."""
        return self.basis.partition("-")[0]

    @property
    def radius(self) -> float | None:
        """Radius of the radial functions in Bohr, None if the name does not tell."""
        found = _RADIUS.match(self.pao)
        return float(found.group(1)) if found else None

    def shells(self, contracted: bool) -> tuple[int, ...] | None:
        """Give l of each shell, in the order of storage: increasing; None if not understood."""
        found = _BASIS.match(self.basis)
        if found is None:
            return None
        numbers: dict[int, int] = {}
        for letter, primitive, few in _SHELL.findall(found["shells"]):
            degree = _LETTERS.find(letter.lower())
            if degree < 0 or degree in numbers:
                return None
            if not few and len(primitive) == 2:
                primitive, few = primitive
            numbers[degree] = int(few if contracted and few else primitive)
        return tuple(degree for degree in sorted(numbers) for _ in range(numbers[degree]))


def _element(name: str) -> int | None:
    """Give the element that a name starts with."""
    found = _ELEMENT.match(name)
    return ATOMIC_NUMBERS.get(found.group(1)) if found else None


@dataclass(frozen=True)
class Input:
    """Words of an input.

    Attributes
    ----------
    source : str
        File it was read from, for messages.
    keywords : dict
        Words after each keyword, in small letters.
    lists : dict
        Lines of each list.
    """

    source: str
    keywords: Mapping[str, Sequence[str]]
    lists: Mapping[str, Sequence[Sequence[str]]]

    def word(self, key: str, default: str = "") -> str:
        """Give the first word after a keyword."""
        return next(iter(self.keywords.get(key.lower(), ())), default)

    def numbers(self, key: str) -> list[float]:
        """Give the numbers after a keyword, as far as they are numbers."""
        found = []
        for word in self.keywords.get(key.lower(), ()):
            value = _number(word)
            if value is None:
                break
            found.append(value)
        return found

    @property
    def moves(self) -> bool:
        """Whether atoms or cell move: a relaxation or dynamics."""
        return self.word("MD.Type", "nomd").lower() != "nomd"

    def species(self) -> tuple[Species, ...]:
        """Give all species."""
        rows = self.lists.get(SPECIES, ())
        if not rows or any(len(row) < 3 for row in rows):
            raise self.problem(
                "Definition.of.Atomic.Species", "missing or not label, basis, pseudopotential"
            )
        return tuple(Species(*row[:3]) for row in rows)

    def labels(self) -> list[str]:
        """Give the label of the species of each atom."""
        return [row[1] for row in self._atoms()]

    def positions(self, lattice: Float | None) -> Float:
        """Give Cartesian positions (n, 3) in Å; fractional ones need the lattice."""
        numbers = self._table("Atoms.SpeciesAndCoordinates", [r[2:5] for r in self._atoms()])
        unit = self.word("Atoms.SpeciesAndCoordinates.Unit", "ang").lower()
        if unit == "frac":
            if lattice is None:
                raise self.problem("Atoms.UnitVectors", "missing, but positions are fractional")
            return numbers @ lattice
        return numbers * self._length("Atoms.SpeciesAndCoordinates.Unit", unit)

    @property
    def fractional(self) -> bool:
        """Whether positions are fractional."""
        return self.word("Atoms.SpeciesAndCoordinates.Unit").lower() == "frac"

    def lattice(self) -> Float | None:
        """Give the lattice, rows in Å; None if OpenMX chooses it."""
        rows = self.lists.get(CELL)
        if rows is None:
            return None
        numbers = self._table("Atoms.UnitVectors", [row[:3] for row in rows])
        if numbers.shape != (3, 3):
            raise self.problem("Atoms.UnitVectors", f"{len(rows)} lines instead of 3")
        unit = self.word("Atoms.UnitVectors.Unit", "ang").lower()
        return numbers * self._length("Atoms.UnitVectors.Unit", unit)

    def _atoms(self) -> Sequence[Sequence[str]]:
        rows = self.lists.get(ATOMS, ())
        if not rows or any(len(row) < 5 for row in rows):
            raise self.problem("Atoms.SpeciesAndCoordinates", "missing or not number, label, x y z")
        return rows

    def _table(self, key: str, rows: Sequence[Sequence[str]]) -> Float:
        """Turn words into numbers."""
        numbers = [[_number(word) for word in row] for row in rows]
        if any(value is None for row in numbers for value in row):
            raise self.problem(key, "words that are no finite numbers")
        return np.array(numbers, dtype=np.float64).reshape(len(rows), -1)

    def _length(self, key: str, unit: str) -> float:
        if unit not in ("ang", "au"):
            raise self.problem(key, f"'{unit}'; known are Ang, AU and, for positions, FRAC")
        return 1.0 if unit == "ang" else BOHR

    def problem(self, key: str, found: str) -> InputError:
        """Make the exception for something that cannot be used."""
        return InputError(f"{self.source}: {key}: {found}")


def parse_input(text: str, source: str) -> Input:
    """Take an input apart.

    Parameters
    ----------
    text : str
        The input, or what starts with a copy of it.
    source : str
        For messages.

    Returns
    -------
    Input
        The first value of each keyword, as OpenMX takes it.
    """
    keywords: dict[str, Sequence[str]] = {}
    lists: dict[str, list[Sequence[str]]] = {}
    inside: str | None = None
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        key = words[0].lower()
        if inside is not None:
            if key == f"{inside}>":
                inside = None
            else:
                lists[inside].append(words)
        elif key.startswith("<") and len(key) > 1 and key[1:] not in lists:
            inside = key[1:]
            lists[inside] = []
        else:
            keywords.setdefault(key, words[1:])
    return Input(source, keywords, lists)


def _number(word: str) -> float | None:
    """Read a finite number, with the exponents of C and Fortran."""
    try:
        value = float(word.replace("d", "e").replace("D", "e"))
    except ValueError:
        return None
    return value if abs(value) < 1e12 else None
