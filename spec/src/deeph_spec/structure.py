"""A crystal or molecule, and its POSCAR file.

POSCAR as VASP 5 writes it: comment, scale, three lattice rows (Å), element symbols, counts,
optional "Selective dynamics", mode, one position a line. Positions are never wrapped into the
cell: the lattice vectors R of the block matrices refer to them as they are written.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deeph_spec.errors import InputError
from deeph_spec.files import write_text

# Index = atomic number; My1..My6 are placeholders of the published layout.
_TABLE = """X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn
Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu
Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm
Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"""

SYMBOLS: dict[int, str] = dict(enumerate(_TABLE.split())) | {130 + n: f"My{n}" for n in range(1, 7)}
del SYMBOLS[0]
ATOMIC_NUMBERS: dict[str, int] = {symbol: number for number, symbol in SYMBOLS.items()}
SMALLEST_VOLUME = 1e-3


@dataclass(frozen=True, eq=False)
class Structure:
    """Atoms in a cell.

    Parameters
    ----------
    lattice : (3, 3) array
        Lattice vectors as rows, Å.
    positions : (n, 3) array
        Cartesian positions, Å, not wrapped into the cell.
    numbers : (n,) int array
        Atomic numbers.
    """

    lattice: NDArray[np.float64]
    positions: NDArray[np.float64]
    numbers: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name, dtype, shape in (
            ("lattice", np.float64, (3, 3)),
            ("positions", np.float64, (-1, 3)),
            ("numbers", np.int64, (-1,)),
        ):
            array = np.array(getattr(self, name), dtype=dtype)
            if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
                raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.lattice.shape != (3, 3) or len(self.positions) != len(self.numbers):
            raise ValueError(
                f"{len(self.positions)} positions, {len(self.numbers)} atomic numbers, "
                f"lattice of shape {self.lattice.shape} do not fit"
            )

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def symbols(self) -> list[str]:
        """Element symbol of every atom."""
        return [SYMBOLS[number] for number in self.numbers.tolist()]

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols that occur, each once, sorted by atomic number."""
        return tuple(SYMBOLS[number] for number in np.unique(self.numbers).tolist())

    @property
    def fractional(self) -> NDArray[np.float64]:
        """Positions in units of the lattice vectors, (n, 3), not wrapped."""
        return np.asarray(np.linalg.solve(self.lattice.T, self.positions.T).T, dtype=np.float64)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å^3."""
        return _volume(self.lattice)

    @property
    def formula(self) -> str:
        """Elements in order of first appearance with their counts, e.g. ``MoS2``."""
        symbols = self.symbols
        counts = {symbol: symbols.count(symbol) for symbol in dict.fromkeys(symbols)}
        return "".join(s + (str(n) if n > 1 else "") for s, n in counts.items())

    def pair_vectors(self, atom_pairs: ArrayLike) -> NDArray[np.float64]:
        """Give the vector from atom i in the home cell to atom j in cell R.

        Parameters
        ----------
        atom_pairs : (P, 5) int array
            R1, R2, R3, i, j.

        Returns
        -------
        (P, 3) array
            tau_j + R1 a1 + R2 a2 + R3 a3 - tau_i, Å.
        """
        pairs = np.asarray(atom_pairs)
        offset = self.positions[pairs[:, 4]] - self.positions[pairs[:, 3]]
        vectors: NDArray[np.float64] = offset + pairs[:, :3] @ self.lattice
        return vectors

    def rotated(self, rotation: ArrayLike) -> Structure:
        """Rotate lattice and positions about the origin: r -> Q r.

        Parameters
        ----------
        rotation : (3, 3) array
            Orthogonal matrix Q, proper or improper.

        Returns
        -------
        Structure
            The rotated copy; R of the block matrices keep their meaning.
        """
        transposed = np.asarray(rotation, dtype=np.float64).T
        return Structure(self.lattice @ transposed, self.positions @ transposed, self.numbers)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Structure:
        """Read a POSCAR file.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        Structure
            Atoms in the order of the file. Selective dynamics and velocities are dropped.

        Raises
        ------
        InputError
            With file and line, if the file is missing or breaks a rule of the format.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            reason = "missing" if isinstance(error, FileNotFoundError) else error.strerror
            message = f"{path}: POSCAR cannot be read: {reason}; every structure needs one"
            raise InputError(message, rule="E01") from error
        return _parse(text, str(path))

    def write(self, path: str | os.PathLike[str], comment: str = "") -> None:
        """Write a POSCAR file atomically: scale 1.0, Cartesian, 17 significant digits.

        Parameters
        ----------
        path : path-like
            Target; its folder must exist.
        comment : str, optional
            First line; the formula when it is empty.
        """
        runs = [(symbol, len(list(run))) for symbol, run in groupby(self.symbols)]
        lines = [" ".join(comment.split()) or self.formula, "1.0"]
        lines += _rows(self.lattice)
        lines.append(" ".join(symbol for symbol, _ in runs))
        lines.append(" ".join(str(count) for _, count in runs))
        lines.append("Cartesian")
        lines += _rows(self.positions)
        write_text(path, "\n".join(lines) + "\n")


def _rows(vectors: NDArray[np.float64]) -> list[str]:
    """Format vectors with 17 digits, zeros included, so that reading gives the same bits back."""
    return [" ".join(f"{x:#24.17g}" for x in row) for row in vectors.tolist()]


def _parse(text: str, name: str) -> Structure:
    """Read the text of a POSCAR; `name` is the file in messages."""
    lines = text.splitlines()
    lattice_given = [_numbers(lines, 2 + row, 3, "a lattice vector", name) for row in range(3)]
    scale = _scale(_scale_numbers(lines, name), lattice_given, name)
    with np.errstate(over="ignore"):
        lattice = np.array(lattice_given) * scale
    volume = _volume(lattice)
    if not SMALLEST_VOLUME <= volume < math.inf:
        raise InputError(
            f"{name}: lines 3-5: the cell has a volume of {volume:.3g} Å^3, "
            f"expected at least {SMALLEST_VOLUME:g}; correct the lattice vectors or the scale",
            rule="E05",
            key="lattice",
        )
    numbers = _species(lines, name)
    mode_at = 7
    if _line(lines, mode_at, "the mode (Direct or Cartesian)", name)[:1] in ("s", "S"):
        mode_at = 8
    mode = _line(lines, mode_at, "the mode (Direct or Cartesian)", name)
    given = np.array(
        [
            _numbers(lines, mode_at + 1 + atom, 3, f"position {atom + 1} of {len(numbers)}", name)
            for atom in range(len(numbers))
        ]
    )
    with np.errstate(over="ignore", invalid="ignore"):
        positions = given * scale if mode[:1] in ("c", "C", "k", "K") else given @ lattice
    if not np.isfinite(positions).all():
        raise InputError(f"{name}: positions are too large; correct them or the scale", rule="E03")
    return Structure(lattice, positions, np.array(numbers))


def _volume(lattice: NDArray[np.float64]) -> float:
    """Give the volume spanned by three vectors; infinity or NaN if it is too large."""
    with np.errstate(over="ignore", invalid="ignore"):
        return abs(float(np.linalg.det(lattice)))


def _line(lines: Sequence[str], index: int, what: str, name: str) -> str:
    """Give line `index` (from 0) without outer blanks."""
    if index >= len(lines):
        raise InputError(
            f"{name}: line {index + 1}: the file ends after {len(lines)} lines, expected {what}; "
            "complete the file",
            rule="E03",
            key=f"line {index + 1}",
        )
    return lines[index].strip()


def _numbers(lines: Sequence[str], index: int, count: int, what: str, name: str) -> list[float]:
    """Read the first `count` numbers of line `index` (from 0); the rest of it is ignored."""
    words = _line(lines, index, what, name).split()[:count]
    try:
        values = [float(word.replace("d", "e").replace("D", "e")) for word in words]
    except ValueError:
        values = []
    if len(values) < count or not all(map(math.isfinite, values)):
        raise InputError(
            f"{name}: line {index + 1}: found '{lines[index].strip()[:60]}', "
            f"expected {what}: {count} finite number{'s' if count > 1 else ''}; correct the line",
            rule="E03",
            key=f"line {index + 1}",
        )
    return values


def _scale_numbers(lines: Sequence[str], name: str) -> list[float]:
    """Read line 2: one number, or three, one per Cartesian component."""
    words = _line(lines, 1, "the scale", name).split()
    three = len(words) >= 3 and all(map(_is_number, words[:3]))
    values = _numbers(lines, 1, 3 if three else 1, "the scale", name)
    if 0.0 in values or (three and min(values) < 0):
        raise InputError(
            f"{name}: line 2: found scale '{' '.join(words[:3])}', expected one number that is "
            "not zero, or three positive ones; write 1.0",
            rule="E03",
            key="line 2",
        )
    return values


def _is_number(word: str) -> bool:
    """Tell whether a word of line 2 is a number."""
    try:
        float(word.replace("d", "e").replace("D", "e"))
    except ValueError:
        return False
    return True


def _scale(
    numbers: Sequence[float], lattice: Sequence[Sequence[float]], name: str
) -> NDArray[np.float64]:
    """Give the factor of each Cartesian component; one negative number is the volume wanted."""
    if numbers[0] > 0:
        return np.array(numbers)
    volume = _volume(np.array(lattice))
    if not 0 < volume < math.inf:
        raise InputError(
            f"{name}: lines 3-5: the lattice vectors span no volume, so that the scale "
            f"{numbers[0]:g} (a volume) cannot be applied; correct the lattice vectors",
            rule="E05",
            key="lattice",
        )
    return np.array([(-numbers[0] / volume) ** (1 / 3)])


def _species(lines: Sequence[str], name: str) -> list[int]:
    """Read lines 6 and 7 as one atomic number per atom."""
    symbols = _words(_line(lines, 5, "element symbols", name))
    counts = _words(_line(lines, 6, "the number of atoms of each element", name))

    def wrong(line: int, message: str) -> InputError:
        return InputError(f"{name}: line {line}: {message}", rule="E04", key=f"line {line}")

    if not symbols or symbols[0].isdigit():
        raise wrong(6, "no element symbols (VASP 4 format?); add a line like 'Mo S'")
    for symbol in symbols:
        if symbol not in ATOMIC_NUMBERS:
            raise wrong(6, f"'{symbol}' is not an element symbol; write it without any suffix")
    if not all(count.isdigit() and int(count) > 0 for count in counts):
        raise wrong(
            7, f"found '{' '.join(counts)[:60]}', expected whole numbers of 1 or more; correct it"
        )
    if len(counts) != len(symbols):
        raise wrong(7, f"{len(counts)} counts for {len(symbols)} symbols in line 6; correct it")
    return [
        ATOMIC_NUMBERS[symbol]
        for symbol, count in zip(symbols, counts, strict=True)
        for _ in range(int(count))
    ]


def _words(line: str) -> list[str]:
    """Split a line and leave out a comment at its end."""
    return line.split("!")[0].split("#")[0].split()
