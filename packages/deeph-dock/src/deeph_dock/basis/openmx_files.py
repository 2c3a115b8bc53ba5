"""What stands in the `.pao` and `.vps` files of OpenMX, in Bohr.

Both begin with the input of ADPACK, the program that made them: words after keywords, of which the
first of a line counts, in small or capital letters. A `.pao` has one table for each l,

    <pseudo.atomic.orbitals.L=1
      ln r   r   R_1(r)   R_2(r)   ...
    pseudo.atomic.orbitals.L=1>

of equal logarithmic steps, which goes on a little beyond the cutoff, where all R are zero. The
contraction coefficients above are those that were used to make the R.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.orbitals import SHELL_LETTERS
from deeph_spec.structure import SYMBOLS
from numpy.typing import NDArray

Real = NDArray[np.float64]

# Bytes within which the input of ADPACK ends: sets of contraction coefficients stand before it.
_HEADER = 2**18
_FARTHEST = 100.0


@dataclass(frozen=True, eq=False)
class Pao:
    """The contents of a `.pao` file.

    Attributes
    ----------
    number : int
        Atomic number.
    cutoff : float
        ``radial.cutoff.pao``, Bohr.
    valence : float or None
        Valence charge of the pseudopotential that the orbitals were made with.
    radii : (n,) float64 array
        Knots, Bohr.
    tables : mapping of int to (n, c) float64 array
        R of all c functions of each l that was asked for, Bohr^(-3/2).
    """

    number: int
    cutoff: float
    valence: float | None
    radii: Real
    tables: Mapping[int, Real]


def is_pao(path: Path) -> bool:
    """Tell whether a file is a `.pao`.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    bool
        By its name and first bytes; False also where it cannot be read.
    """
    if path.suffix != ".pao":
        return False
    header = _header(path)
    return header is not None and _words(header, "AtomSpecies") is not None


def read_pao(path: Path, degrees: Iterable[int]) -> Pao:
    """Read a `.pao` file.

    Parameters
    ----------
    path : Path
        The file.
    degrees : iterable of int
        The l to read.

    Returns
    -------
    Pao
        All functions of these l.

    Raises
    ------
    InputError
        If it is not such a file, cut, or something in it cannot be.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    found = _word(text, "AtomSpecies")
    if found is None:
        raise InputError(f"{path}: no AtomSpecies: not a .pao file of OpenMX, or cut")
    if found != round(found) or not 1 <= found <= 118:
        raise InputError(
            f"{path}: AtomSpecies {found:g}: an empty or virtual atom, expected an element"
        )
    cutoff = _word(text, "radial.cutoff.pao")
    if cutoff is None or not 0 < cutoff < _FARTHEST:
        raise InputError(
            f"{path}: radial.cutoff.pao {'missing' if cutoff is None else format(cutoff, 'g')}, "
            f"expected a radius below {_FARTHEST:g} Bohr"
        )
    tables = {degree: _table(path, text, degree) for degree in sorted(set(degrees))}
    radii = [table[:, 1] for table in tables.values()]
    if not all(np.array_equal(radii[0], others) for others in radii):
        raise InputError(f"{path}: the radii of the tables differ; damaged")
    if radii[0][0] >= cutoff or radii[0][-1] < cutoff:
        raise InputError(
            f"{path}: tables from {radii[0][0]:g} to {radii[0][-1]:g} Bohr, expected them to "
            f"include radial.cutoff.pao {cutoff:g}"
        )
    return Pao(
        int(found),
        cutoff,
        _charge(text),
        radii[0],
        {degree: table[:, 2:] for degree, table in tables.items()},
    )


def valence_charge(path: Path) -> tuple[int, float] | None:
    """Read the valence charge of a pseudopotential.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    tuple of int and float, or None
        Atomic number and valence charge of a `.vps` file; None for other files, and those of
        virtual atoms.
    """
    if path.suffix != ".vps":
        return None
    header = _header(path)
    if header is None:
        return None
    number, charge = _word(header, "AtomSpecies"), _charge(header)
    if number is None or charge is None or number != round(number) or not 1 <= number <= 118:
        return None
    return int(number), charge


def find_charges(pao: Path, number: int) -> dict[str, float]:
    """Find the pseudopotentials of an element near a `.pao` file.

    Parameters
    ----------
    pao : Path
        The `.pao` file.
    number : int
        Atomic number.

    Returns
    -------
    dict of str to float
        Valence charge of each `.vps` beside it or, as in the database of OpenMX, in ``../VPS``,
        by its name without ending.
    """
    folder = pao.absolute().parent
    charges: dict[str, float] = {}
    for near in (folder, folder.parent / "VPS"):
        for path in sorted(near.glob(f"{SYMBOLS[number]}_*.vps")):
            found = valence_charge(path)
            if found is not None and found[0] == number:
                charges.setdefault(path.stem, found[1])
    return charges


def _header(path: Path) -> str | None:
    """Give the beginning of a text file."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEADER)
    except OSError:
        return None
    return None if b"\0" in head else head.decode("utf-8", errors="replace")


def _words(text: str, key: str) -> str | None:
    """Give the word after a keyword."""
    found = re.search(rf"^[ \t]*{re.escape(key)}[ \t]+(\S+)", text, re.MULTILINE | re.IGNORECASE)
    return found.group(1) if found else None


def _word(text: str, key: str) -> float | None:
    """Give the finite number after a keyword."""
    try:
        value = float(_words(text, key) or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def _charge(text: str) -> float | None:
    """Give the charge of nucleus and core, as OpenMX reckons it."""
    valence, number = _word(text, "valence.electron"), _word(text, "AtomSpecies")
    if valence is None or number is None:
        return None
    electrons = _word(text, "total.electron")
    return valence + number - (number if electrons is None else electrons)


def _table(path: Path, text: str, degree: int) -> Real:
    """Read ln r, r, R_1, R_2, ... of one l."""
    name = f"pseudo.atomic.orbitals.L={degree}"
    start = re.search(rf"^[ \t]*<{re.escape(name)}[ \t]*\n", text, re.MULTILINE)
    if start is None:
        raise InputError(
            f"{path}: no {SHELL_LETTERS[degree]} orbitals (<{name}); PAO.Lmax is "
            f"{_words(text, 'PAO.Lmax') or 'not there: the file is cut'}"
        )
    end = text.find(f"{name}>", start.end())
    rows = [line.split() for line in text[start.end() : end].splitlines() if line.strip()]
    if end < 0 or len({len(row) for row in rows}) != 1 or len(rows[0]) < 3 or len(rows) < 3:
        raise InputError(f"{path}: {name}: not a whole table; the file was cut or is damaged")
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError:
        raise InputError(f"{path}: {name}: words that are no numbers; damaged") from None
    if not np.isfinite(table).all():
        raise InputError(f"{path}: {name}: holds NaN or infinite numbers; damaged")
    if not (table[0, 1] > 0 and (np.diff(table[:, 1]) > 0).all()):
        raise InputError(f"{path}: {name}: radii do not increase from above zero; damaged")
    return table
