"""Which element each species is, and which shells it has.

A label such as ``Fe1`` or ``Pt_SOC`` is chosen freely. The element is that in the name of the
pseudopotential or of the orbitals (``As_ONCV_PBE_FR-1.1.upf``, ``As_gga_8au_100Ry_2s2p1d.orb``),
else that in these files, where they can be reached, else, with a warning, that of the label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS, SYMBOLS

from deeph_dock.codes.abacus.stru import Species

_LARGEST_Z = 118
_LETTERS = "spdfghi"
_ELEMENT_LINES = (
    re.compile(rb"(?m)^\s*Element\s+([A-Za-z]{1,2})\s*$"),
    re.compile(rb"element\s*=\s*\"\s*([A-Za-z]{1,2})\s*\""),
)


@dataclass(frozen=True)
class Elements:
    """Atomic numbers and shells.

    Attributes
    ----------
    numbers : tuple of int
        Atomic number of each species.
    shells : tuple of tuple of int
        l of the shells of each species.
    warnings : tuple of str
        What the user should know.
    """

    numbers: tuple[int, ...]
    shells: tuple[tuple[int, ...], ...]
    warnings: tuple[str, ...]


def find_elements(
    species: Sequence[Species],
    shells: Sequence[tuple[int, ...]],
    folders: Sequence[Path],
    source: Path,
) -> Elements:
    """Find the element of each species, and check that an element has one basis.

    Parameters
    ----------
    species : sequence of Species
        In the order of the matrices.
    shells : sequence of tuple of int
        l of the shells of each species.
    folders : sequence of Path
        Where pseudopotentials and orbitals may be.
    source : Path
        The file that names the species, for messages.

    Returns
    -------
    Elements
        As many as there are species.

    Raises
    ------
    InputError
        If the element of a species cannot be known, it is a ghost, or two species of one element
        have different bases.
    """
    numbers: list[int] = []
    warnings: list[str] = []
    for one in species:
        if "empty" in one.label:
            raise InputError(
                f"{source}: species {one.label}: atoms that are basis functions only cannot be "
                "converted"
            )
        names = [name for name in (one.pseudopotential, one.orbital) if name]
        symbol = _only({_symbol_in(name) for name in names}, one, source)
        if symbol is None:
            contents = {_symbol_inside(f / name) for f in folders for name in names}
            symbol = _only(contents, one, source)
        if symbol is None:
            symbol = _symbol_in(re.sub(r"\d+", "_", one.label))
            if symbol is not None and one.label != symbol:
                warnings.append(
                    f"species {one.label} is taken as {symbol}: the names of its files do not tell"
                )
        if symbol is None:
            raise InputError(
                f"{source}: species {one.label}: neither its label nor the names of its files "
                f"({', '.join(names) or 'unknown'}) tell which element it is"
            )
        numbers.append(ATOMIC_NUMBERS[symbol])
    return Elements(
        tuple(numbers), tuple(shells), (*warnings, *_check(species, numbers, shells, source))
    )


def shells_of_orbital_name(name: str | None) -> tuple[int, ...] | None:
    """Read the shells off the name of a file of orbitals.

    Parameters
    ----------
    name : str or None
        e.g. ``"Si_gga_7au_100Ry_2s2p1d.orb"``.

    Returns
    -------
    tuple of int or None
        l of each shell; None if the name does not tell.
    """
    found = re.search(rf"_((?:\d+[{_LETTERS}])+)\.orb$", name or "", re.IGNORECASE)
    if found is None:
        return None
    counts = re.findall(r"(\d+)([a-z])", found[1].lower())
    degrees = [_LETTERS.index(letter) for _, letter in counts]
    if degrees != sorted(set(degrees)) or any(int(count) > 99 for count, _ in counts):
        return None
    return tuple(
        l for (count, _), l in zip(counts, degrees, strict=True) for _ in range(int(count))
    )


def shells_of_orbital_file(path: Path) -> tuple[int, ...] | None:
    """Read the shells off the head of a file of orbitals.

    Parameters
    ----------
    path : Path
        A file ``.orb``, which need not exist.

    Returns
    -------
    tuple of int or None
        l of each shell; None if it cannot be read.
    """
    found = re.findall(rb"Number of ([A-Z])orbital-->\s+(\d{1,2})\s", _head(path))
    letters = [letter.decode().lower() for letter, _ in found]
    if not found or letters != list(_LETTERS[: len(letters)]):
        return None
    return tuple(degree for degree, (_, count) in enumerate(found) for _ in range(int(count)))


def shells_of_orbital_list(path: Path, atoms: Sequence[int]) -> list[tuple[int, ...]] | None:
    """Read the shells off the file ``Orbital``, which lists all orbitals of the run.

    Parameters
    ----------
    path : Path
        The file.
    atoms : sequence of int
        First atom of each species.

    Returns
    -------
    list of tuple of int or None
        l of the shells of each species; None if the list is incomplete.
    """
    shells: dict[int, list[int]] = {}
    for line in path.read_text("utf-8", errors="replace").splitlines():
        words = line.split()
        if len(words) == 6 and all(word.isdecimal() for word in (words[0], *words[2:5])):
            atom, degree, m = int(words[0]), int(words[2]), int(words[3])
            if m == 0:
                shells.setdefault(atom, []).append(degree)
    if any(atom not in shells for atom in atoms):
        return None
    return [tuple(shells[atom]) for atom in atoms]


def _symbol_in(name: str) -> str | None:
    """Give the first part of a name that is an element symbol."""
    for part in re.split(r"[^A-Za-z]+", name.rsplit("/", 1)[-1]):
        symbol = part.capitalize()
        if 1 <= ATOMIC_NUMBERS.get(symbol, 0) <= _LARGEST_Z and part in (symbol, part.lower()):
            return symbol
    return None


def _symbol_inside(path: Path) -> str | None:
    """Read the element off the head of a pseudopotential or a file of orbitals."""
    head = _head(path)
    for pattern in _ELEMENT_LINES:
        found = pattern.search(head)
        if found is not None and found[1].decode().capitalize() in ATOMIC_NUMBERS:
            return found[1].decode().capitalize()
    return None


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(65536)
    except OSError:
        return b""


def _only(symbols: set[str | None], species: Species, source: Path) -> str | None:
    """Give the one symbol of a set."""
    known = sorted(symbol for symbol in symbols if symbol is not None)
    if len(known) > 1:
        raise InputError(
            f"{source}: species {species.label}: pseudopotential {species.pseudopotential} and "
            f"orbitals {species.orbital} are of different elements"
        )
    return known[0] if known else None


def _check(
    species: Sequence[Species],
    numbers: Sequence[int],
    shells: Sequence[tuple[int, ...]],
    source: Path,
) -> Iterable[str]:
    """Refuse an element with two bases."""
    for z in sorted(set(numbers)):
        same = [k for k, number in enumerate(numbers) if number == z]
        labels = ", ".join(species[k].label for k in same)
        orbitals = {species[k].orbital for k in same}
        if len({shells[k] for k in same}) > 1 or (None not in orbitals and len(orbitals) > 1):
            raise InputError(
                f"{source}: the species {labels} are all {SYMBOLS[z]} but have different bases; "
                "the format holds one basis per element: give them one basis and run again"
            )
        if len(same) > 1 and None in orbitals:
            yield (
                f"the species {labels} are all {SYMBOLS[z]}: taken as one basis, without STRU the "
                "names of their orbitals cannot be compared"
            )
