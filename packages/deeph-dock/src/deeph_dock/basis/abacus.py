"""Numerical atomic orbitals of ABACUS: files ``.orb``.

A head names the element, the cutoffs, how many functions there are of each l, and the radial grid:
``Mesh`` points from 0 in steps of ``dr``, in Bohr. Then follow the functions, each with its type
(always 0), l, and number, and its values R(r). What the head does not name is not part of the
basis even if it is there: files are made smaller by changing the head.

The order of orbitals in the matrices is that of l, then that of the numbers. ABACUS normalises
each function by Simpson's rule on the grid; so it is done here.

How the integrals over r and k are done:

"exact"
    The code interpolates by cubic splines; they are integrated. All releases since 2024 integrate
    accurately enough: 2e-7 is the largest difference of S to runs of 3.8.1, 3.10.0 and of 2026.
"abacus"
    Simpson's rule on the grid, and wavenumbers up to the square root of an energy, as ABACUS has
    it when built without its FFT for two-centre integrals, and had before. The energy is that of
    the run, ``lcao_ecut`` of INPUT or else ``ecutwfc``, and must be given: "abacus:100" for 100 Ry.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.orbitals import SHELL_LETTERS
from deeph_spec.structure import ATOMIC_NUMBERS
from numpy.typing import NDArray

from deeph_dock.basis import RESOLVED, AtomicBasis, Shell, Wavenumbers, upf
from deeph_dock.basis.quadrature import between

Real = NDArray[np.float64]

LOOKS_FOR = "*.orb"
QUADRATURES = ("exact", "abacus")

BOHR = 0.529177
"""1 Bohr in Å, as ABACUS has it."""
_PANEL = 0.053
"""Gauss-Legendre nodes are in panels of about this length, Å, that end at points of the grid."""
_STEP = 0.01
"""Step in k, 1/Bohr: the default ``lcao_dk`` of ABACUS."""
_NORM_ERROR = 1e-4
"""Files seen are normalised to 1e-13: more than this is damage."""
_MOST_POINTS, _MOST_FUNCTIONS = 100_000, 99
_HEAD = re.compile(rb"Number of [A-Z]orbital-->")
_FUNCTION = re.compile(r"^[ \t]*Type[ \t]+L[ \t]+N[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class _Head:
    """What stands before the functions; lengths in Bohr, energy in Ry."""

    number: int
    energy: float
    counts: tuple[int, ...]
    points: int
    step: float


def recognises(path: Path) -> bool:
    """Tell whether a file holds numerical atomic orbitals of ABACUS, by its first bytes.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    bool
        False as well if it cannot be opened.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    return b"Radius Cutoff(a.u.)" in start and _HEAD.search(start) is not None


def valence(path: Path) -> tuple[int, float] | None:
    """Give atomic number and valence charge of a pseudopotential in UPF.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    tuple of int and float, or None
        None for other files.

    Raises
    ------
    InputError
        If the head of the pseudopotential is damaged.
    """
    return upf.valence(path)


def read(path: Path, quadrature: str = "exact", orbitals: str | None = None) -> AtomicBasis:
    """Read a file of orbitals.

    Parameters
    ----------
    path : Path
        A file ``.orb``.
    quadrature : str
        "exact", or "abacus:ENERGY" with an energy in Ry, as described above.
    orbitals : str, optional
        Must be left out: the functions of a file are those of the basis.

    Returns
    -------
    AtomicBasis
        Without charge: the files have none.

    Raises
    ------
    InputError
        If the file is none of this kind or damaged, or something is asked for that cannot be.
    """
    if orbitals is not None:
        raise InputError(
            f"{path}: orbitals '{orbitals}' are asked for; the functions of an .orb file are taken "
            "as they are: leave the choice out, or give another file"
        )
    if not recognises(path):
        raise InputError(
            f"{path}: no numerical atomic orbitals of ABACUS: the lines 'Radius Cutoff(a.u.)' and "
            "'Number of Sorbital-->' are not at its start"
        )
    try:
        head_text, *functions = _FUNCTION.split(path.read_text("ascii"))
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is no character of text; damaged: get the file again"
        ) from error
    head = _read_head(path, head_text)
    energy = _energy(path, quadrature)
    radial = _read_functions(path, head, functions)
    grid: Real = head.step * np.arange(head.points, dtype=np.float64)
    simpson = _simpson(head.points, head.step)
    shells = []
    for (degree, zeta), values in radial.items():
        norm = math.sqrt(np.sum(simpson * grid**2 * values**2))
        r, w, f = (grid, simpson, values) if energy else _between(grid, values)
        name = f"{SHELL_LETTERS[degree]} zeta {zeta + 1}"
        shell = _shell(degree, r, w, f / (norm or 1), grid[-1], name)
        for found in (norm, shell.norm):  # one grid does not see what is at 0
            if abs(found - 1) > _NORM_ERROR:
                raise InputError(
                    f"{path}: the function with L {degree}, N {zeta} has norm {found:.6g}; "
                    "expected 1: damaged, or 'dr' is wrong"
                )
        shells.append(shell)
    facts = {"energy_cutoff_Ry": f"{head.energy:g}"}
    unused = len(functions) - len(radial)
    if unused:
        facts["unused_functions"] = str(unused)
    if energy:
        facts["integrals_up_to_Ry"] = f"{energy:g}"
    return AtomicBasis(
        number=head.number,
        shells=tuple(shells),
        source=path.name,
        code="abacus",
        wavenumbers=_wavenumbers(energy) if energy else None,
        quadrature=quadrature,
        facts=facts,
    )


def _shell(degree: int, radii: Real, weights: Real, values: Real, end: float, name: str) -> Shell:
    """Change Bohr for Å."""
    return Shell(degree, radii * BOHR, weights * BOHR, values * BOHR**-1.5, end * BOHR, name)


def _energy(path: Path, quadrature: str) -> float:
    """Give the energy (Ry) up to which ABACUS' own rule goes; 0 for exact integrals."""
    if quadrature == "exact":
        return 0.0
    kind, _, given = quadrature.partition(":")
    energy = _number(given)
    if kind != "abacus" or not 1 <= energy <= 1e4:
        raise InputError(
            f"{path}: integrals '{quadrature}' are not known for .orb files; known are exact, and "
            "abacus:100 with the ecutwfc (Ry) of the run in the place of 100"
        )
    return energy


def _wavenumbers(energy: float) -> Wavenumbers:
    """Give the last of the k of ABACUS: an even number of steps, at least 3 above the energy."""
    last = int(math.sqrt(energy) / _STEP) + 3
    last += last % 2
    return Wavenumbers(_STEP / BOHR, last * _STEP / BOHR)


def _read_head(path: Path, text: str) -> _Head:
    def word(key: str) -> str:
        found = re.search(rf"^[ \t]*{re.escape(key)}[ \t]+(\S+)[ \t]*$", text, re.MULTILINE)
        if found is None:
            raise InputError(f"{path}: no line '{key}' with one value; cut off or damaged")
        return found[1]

    def number(key: str, least: float, most: float) -> float:
        value = _number(word(key))
        if not least <= value <= most:
            raise InputError(
                f"{path}: '{key}' is {word(key)}; expected a number from {least:g} to {most:g}"
            )
        return value

    def count(key: str, least: int, most: int) -> int:
        value = number(key, least, most)
        if value != int(value):
            raise InputError(f"{path}: '{key}' is {word(key)}; expected a whole number")
        return int(value)

    symbol = word("Element")
    if not 1 <= ATOMIC_NUMBERS.get(symbol, 0) <= 118:
        raise InputError(f"{path}: 'Element' is {symbol}; expected a symbol such as Si")
    largest = count("Lmax", 0, len(SHELL_LETTERS) - 1)
    letters = SHELL_LETTERS[: largest + 1].upper()
    counts = tuple(count(f"Number of {letter}orbital-->", 0, _MOST_FUNCTIONS) for letter in letters)
    if not any(counts):
        raise InputError(f"{path}: 'Number of Sorbital-->' and the others are 0: no functions")
    head = _Head(
        number=ATOMIC_NUMBERS[symbol],
        energy=number("Energy Cutoff(Ry)", 1, 1e4),
        counts=counts,
        points=count("Mesh", 5, _MOST_POINTS),
        step=number("dr", 1e-5, 1),
    )
    cutoff, end = number("Radius Cutoff(a.u.)", 0.1, 100), (head.points - 1) * head.step
    if abs(cutoff - end) > 1.5 * head.step:
        raise InputError(
            f"{path}: 'Radius Cutoff(a.u.)' is {cutoff:g}, but 'Mesh' and 'dr' end at {end:g}; "
            "damaged"
        )
    return head


def _read_functions(path: Path, head: _Head, texts: list[str]) -> dict[tuple[int, int], Real]:
    """Read the functions that the head names, sorted by l and number."""
    found: dict[tuple[int, int], Real] = {}
    wanted = [(degree, n) for degree, count in enumerate(head.counts) for n in range(count)]
    for place, text in enumerate(texts, 1):
        words = text.split()
        try:
            values = np.array(words, np.float64)
        except ValueError:
            values = np.full(1, np.nan)
        if not np.isfinite(values).all():
            raise InputError(f"{path}: function {place} has something that is no number; damaged")
        if len(values) != 3 + head.points:
            raise InputError(
                f"{path}: function {place} has {max(len(values) - 3, 0)} values, 'Mesh' says "
                f"{head.points}; cut off or damaged"
            )
        if not all(word.isdecimal() for word in words[:3]):
            raise InputError(f"{path}: function {place}: Type, L, N are no whole numbers; damaged")
        key = int(words[1]), int(words[2])
        if key in found:
            raise InputError(f"{path}: two functions with L {key[0]}, N {key[1]}; damaged")
        found[key] = values[3:]
    for degree, n in wanted:
        if (degree, n) not in found:
            raise InputError(
                f"{path}: no function with L {degree}, N {n}, but 'Number of "
                f"{SHELL_LETTERS[degree].upper()}orbital-->' is {head.counts[degree]}; cut off"
            )
    return {key: found[key] for key in wanted}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _simpson(points: int, step: float) -> Real:
    """Give the weights of Simpson's rule; an even number of points ends with the 3/8 rule."""
    weights = np.zeros(points)
    odd = points if points % 2 else points - 3
    weights[0:odd:2] = 2 / 3
    weights[1:odd:2] = 4 / 3
    weights[[0, odd - 1]] = 1 / 3
    if odd < points:
        weights[odd - 1 :] += np.array([3, 9, 9, 3]) / 8
    return weights * step


def _between(grid: Real, values: Real) -> tuple[Real, Real, Real]:
    """Give Gauss-Legendre nodes between the points, weights, and values of the cubic spline.

    n nodes integrate exp(ikr) over a panel of length p to 1e-8 if n >= kp / 2 + 6; two more for
    the kinks of the third derivative inside.
    """
    from scipy.interpolate import CubicSpline

    step = float(grid[1] - grid[0])
    together = max(1, round(_PANEL / (step * BOHR)))
    ends = np.append(grid[:-1:together], grid[-1])
    nodes = math.ceil(RESOLVED * together * step * BOHR / 2) + 8
    radii, weights = between(ends[:-1], ends[1:], nodes)
    return radii, weights, CubicSpline(grid, values)(radii)
