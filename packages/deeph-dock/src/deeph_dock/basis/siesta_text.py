"""Parse the two texts that SIESTA writes a basis to: `.ion` and `.ion.xml`.

`.ion` is, after a preamble for the human reader:

    symbol / label / atomic number / valence / mass / self energy   # one a line, "# what" behind
    lmax, number of orbitals                                        # of the basis
    lmax, number of projectors
    # PAOs:__
    l, n, zeta, polarising, population
    npts, delta, cutoff
    r, R / r^l                                                      # npts lines
    # KBs:__
    l, [j,] n, reference energy
    npts, delta, cutoff
    ...

and tables of potentials, which are not read. `.ion.xml` has the same numbers in elements of these
names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from deeph_spec.errors import InputError

from deeph_dock.basis.siesta_files import Ion, Real, check_grid, check_ion, check_orbital

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Fortran leaves the E of an exponent of three digits out: 0.69334-309.
_NO_LETTER = re.compile(r"(?<=[0-9.])([+-][0-9]{3})$")


def read_text(path: Path) -> Ion:
    """Read an `.ion` file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Ion
        What it holds.

    Raises
    ------
    InputError
        If it is cut off, or something in it cannot be.
    """
    lines = _text(path).splitlines()
    heads = [n for n, line in enumerate(lines) if line.startswith("# PAOs")]
    if not heads or heads[0] < 8:
        raise InputError(
            f"{path}: no line '# PAOs' with the header of a basis before it: not a complete .ion "
            "file of SIESTA"
        )
    start = heads[0]
    header = [line.split("#")[0].split() for line in lines[start - 8 : start]]
    header[1] = header[1][:1]
    number, valence = (
        _numbers(f"{path}: line {start - 7 + at}", header[at], 1)[0] for at in (2, 3)
    )
    counts = [_numbers(f"{path}: line {start - 7 + at}", header[at], 2)[1] for at in (6, 7)]
    reader = _Lines(path, lines, start + 1)
    orbitals = []
    while reader.more():
        where = f"{path}: line {reader.at + 1}"
        degree, shell, zeta, polarising = reader.numbers(4)
        grid, table = reader.table()
        orbitals.append(
            check_orbital(
                where, (int(degree), int(shell), int(zeta)), bool(polarising), grid,
                table[:, 1], table[:, 0],
            )
        )  # fmt: skip
    reader.heading("# KBs")
    radii = []
    while reader.more():
        where = f"{path}: line {reader.at + 1}"
        reader.numbers(2)
        radii.append(check_grid(where, reader.table()[0]))
    _check_counts(path, counts, len(orbitals), len(radii))
    label = header[1][0] if header[1] else path.name.split(".")[0]
    return check_ion(path, label, int(number), valence, orbitals, radii)


def read_xml(path: Path) -> Ion:
    """Read an `.ion.xml` file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Ion
        What it holds.

    Raises
    ------
    InputError
        If it is cut off, or something in it cannot be.
    """
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(_text(path))
    except ElementTree.ParseError as error:
        raise InputError(f"{path}: not a complete XML file ({error}); copy it again") from None
    if root.tag != "ion":
        raise InputError(f"{path}: an XML file of <{root.tag}>, expected <ion>")
    number = _child(path, root, "z")
    valence = _child(path, root, "valence")
    counts = [_child(path, root, "norbs_nl"), _child(path, root, "nprojs_nl")]
    orbitals = []
    for at, element in enumerate(root.iterfind("paos/orbital")):
        where = f"{path}: orbital {at + 1}"
        degree, shell, zeta = (int(_attribute(where, element, key)) for key in ("l", "n", "z"))
        grid, table = _radfunc(where, element)
        polarising = bool(_attribute(where, element, "ispol"))
        orbitals.append(
            check_orbital(
                where, (degree, shell, zeta), polarising, grid, table[:, 1], table[:, 0]
            )
        )  # fmt: skip
    radii = [
        check_grid(f"{path}: projector {at + 1}", _radfunc(f"{path}: projector {at + 1}", e)[0])
        for at, e in enumerate(root.iterfind("kbs/projector"))
    ]
    _check_counts(path, counts, len(orbitals), len(radii))
    label = (root.findtext("label") or path.name.split(".")[0]).strip()
    return check_ion(path, label, int(number), valence, orbitals, radii)


class _Lines:
    """The lines of an `.ion` file and how far they have been read."""

    def __init__(self, path: Path, lines: list[str], at: int) -> None:
        self.path, self.lines, self.at = path, lines, at

    def more(self) -> bool:
        """Tell whether another entry follows, before the next heading."""
        return self.at < len(self.lines) and not self.lines[self.at].startswith("#")

    def heading(self, text: str) -> None:
        """Step over a heading."""
        if self.at >= len(self.lines) or not self.lines[self.at].startswith(text):
            raise InputError(
                f"{self.path}: line {self.at + 1}: expected '{text}'; the file is cut off"
            )
        self.at += 1

    def numbers(self, least: int) -> list[float]:
        """Read the next line, of which the first ``least`` words must be numbers."""
        if self.at >= len(self.lines):
            raise InputError(f"{self.path}: ends at line {self.at}; the file is cut off")
        self.at += 1
        words = self.lines[self.at - 1].split("#")[0].split()
        return _numbers(f"{self.path}: line {self.at}", words, least)

    def table(self) -> tuple[tuple[int, float, float], Real]:
        """Read a grid and its table of two columns."""
        points, delta, cutoff = self.numbers(3)
        rows = [line.split() for line in self.lines[self.at : self.at + int(points)]]
        bad = next((at for at, row in enumerate(rows) if len(row) != 2), len(rows))
        if self.at + bad >= len(self.lines) - 1 and bad < points:
            raise InputError(
                f"{self.path}: ends at line {len(self.lines)}, {points - bad:.0f} lines before the "
                "end of a table; the file is cut off"
            )
        if bad < len(rows):
            raise InputError(
                f"{self.path}: line {self.at + bad + 1}: expected a radius and a value, found "
                f"'{self.lines[self.at + bad].strip()[:40]}'; npts says {points:.0f} lines"
            )
        values = _array(f"{self.path}: lines from {self.at + 1}", [w for row in rows for w in row])
        self.at += len(rows)
        return (int(points), delta, cutoff), values.reshape(-1, 2)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("latin-1")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None


def _radfunc(where: str, element: Element) -> tuple[tuple[int, float, float], Real]:
    found = element.find("radfunc")
    if found is None:
        raise InputError(f"{where}: no <radfunc>")
    points, delta, cutoff = (
        _numbers(f"{where}, <{key}>", (found.findtext(key) or "").split(), 1)[0]
        for key in ("npts", "delta", "cutoff")
    )
    values = _array(f"{where}, <data>", (found.findtext("data") or "").split())
    if len(values) % 2:
        raise InputError(f"{where}, <data>: {len(values)} numbers, expected pairs")
    return (int(points), delta, cutoff), values.reshape(-1, 2)


def _child(path: Path, root: Element, tag: str) -> float:
    return _numbers(f"{path}: <{tag}>", (root.findtext(tag) or "").split(), 1)[0]


def _attribute(where: str, element: Element, key: str) -> float:
    return _numbers(f"{where}, {key}", element.get(key, "").split(), 1)[0]


def _check_counts(path: Path, counts: list[float], orbitals: int, projectors: int) -> None:
    for what, expected, found in (
        ("orbitals", counts[0], orbitals),
        ("projectors", counts[1], projectors),
    ):
        if expected != found:
            raise InputError(f"{path}: {found} {what}, its header says {expected:.0f}")


def _numbers(where: str, words: list[str], least: int) -> list[float]:
    if len(words) < least:
        raise InputError(f"{where}: {len(words)} numbers, expected {least}")
    found = _array(where, words[:least])
    if not np.isfinite(found).all():
        raise InputError(f"{where}: '{' '.join(words[:least])}' is not a number")
    return [float(value) for value in found]


def _array(where: str, words: list[str]) -> Real:
    try:
        return np.array(words, dtype=np.float64)
    except ValueError:
        pass
    values = []
    for at, word in enumerate(words):
        try:
            values.append(float(_NO_LETTER.sub(r"e\1", word.replace("D", "E"))))
        except ValueError:
            raise InputError(f"{where}: number {at + 1} is '{word[:40]}'") from None
    return np.array(values)
