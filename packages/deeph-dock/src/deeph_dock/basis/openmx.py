"""OpenMX's basis files: `.pao` with the names of its input, such as Mo7.0-s3p2d1.

Such a name is that of the file, Mo7.0.pao, and the number of radial functions of each l: the first
three columns of its table of l = 0, the first two of l = 1, the first of l = 2. Shells are in the
order of l, however the name is written, as in OpenMX's matrices.

Between the logarithmic knots, R(r) is the cubic polynomial with the values of the table and, at
each knot, the slope of the parabola through it and its neighbours: what OpenMX works with (facts
of its source, RadialF.c). These orbitals are used as they are, neither orthogonal nor normalised:
the norm of the functions that OpenMX's database has for Mo is 0.985 to 1.00004. The polynomials do
not end at the cutoff but one knot later; OpenMX integrates 0.5 Bohr beyond the cutoff, and so do
we. It is the cutoff of the file that decides which atoms have a block, not the number in its name.

The integrals are done in one of two ways:

* ``exact``: those over r by Gauss's rule between the knots.
* ``openmx``: on the grids that OpenMX has by default (1DFFT.NumGridR, 1DFFT.NumGridK,
  1DFFT.EnergyCutoff): 900 equal steps in r by the trapezoidal rule, wavenumbers up to 60/Bohr in
  900 steps. It is faster.

Either differs from OpenMX's overlaps by up to 1.2e-7, of which all but 1e-10 has one reason: OpenMX
takes the transforms at wavenumbers up to 1e-6/Bohr off those that it has them at (Radial_kmin of
Set_OLP_Kin.c), and interpolates with slopes of three points, which are poor at steps of 60/900.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.orbitals import SHELL_LETTERS
from deeph_spec.structure import ATOMIC_NUMBERS, SYMBOLS

from deeph_dock.basis import RESOLVED, AtomicBasis, Shell, Wavenumbers
from deeph_dock.basis.openmx_files import (
    Pao,
    Real,
    find_charges,
    is_pao,
    read_pao,
    valence_charge,
)
from deeph_dock.basis.quadrature import between

BOHR = 0.529177249
"""1 Bohr of OpenMX in Å."""

LOOKS_FOR = "*.pao"
QUADRATURES = ("exact", "openmx")

_NAME = re.compile(r"(?P<pao>[^-\s]+)-(?P<shells>(?:[spdfg]\d{1,2})+)")
_CONTRACTED = re.compile(r"[^-\s]+-(?:[spdfg]\d{1,2}(?:>\d{1,2})?)+")
_SHELL = re.compile(r"([spdfg])(\d{1,2})(?:>\d{1,2})?")
_ELEMENT = re.compile(r"[A-Z][a-z]?")
_BEYOND = 0.5  # Bohr beyond the cutoff, as far as OpenMX integrates
_STEPS = 900
_WAVENUMBERS = Wavenumbers(60 / 900 / BOHR, 60 / BOHR)
_FEWEST = 5  # nodes of an interval
_INTERVAL = 0.005  # Bohr: knots that are closer make one, where R bends less than they resolve


class Orbitals(NamedTuple):
    """A choice of radial functions.

    Attributes
    ----------
    pao : str
        Name of the file without its ending.
    counts : dict of int to int
        Number of functions of each l, in the order of l.
    """

    pao: str
    counts: dict[int, int]

    @property
    def number(self) -> int | None:
        """Atomic number by the name of the file; None if that begins with no element."""
        found = _ELEMENT.match(self.pao)
        return None if found is None else ATOMIC_NUMBERS.get(found.group())

    @property
    def degrees(self) -> tuple[int, ...]:
        """The l of every shell."""
        return tuple(degree for degree, count in self.counts.items() for _ in range(count))


def parse_orbitals(text: str) -> Orbitals:
    """Take apart a name of OpenMX's Definition.of.Atomic.Species.

    Parameters
    ----------
    text : str
        Such as "Mo7.0-s3p2d1".

    Returns
    -------
    Orbitals
        File and number of functions.

    Raises
    ------
    InputError
        If it is not such a name, or one of contracted orbitals.
    """
    found = _NAME.fullmatch(text)
    if found is None and _CONTRACTED.fullmatch(text):
        pao, _, shells = text.partition("-")
        primitive = "".join(letter + count for letter, count in _SHELL.findall(shells))
        raise InputError(
            f"orbitals '{text}': contracted orbitals are optimised in a run of OpenMX and not in "
            f"{pao}.pao; expected primitive ones, such as {pao}-{primitive}"
        )
    if found is None:
        raise InputError(
            f"orbitals '{text}': expected the name of a .pao and its number of functions of each l,"
            " such as Mo7.0-s3p2d1"
        )
    counts: dict[int, int] = {}
    for letter, count in _SHELL.findall(found["shells"]):
        degree = SHELL_LETTERS.index(letter)
        if degree in counts:
            raise InputError(f"orbitals '{text}': {letter} stands there twice")
        counts[degree] = int(count)
    if not any(counts.values()):
        raise InputError(f"orbitals '{text}': no orbitals at all")
    return Orbitals(found["pao"], {l: counts[l] for l in sorted(counts) if counts[l]})


def recognises(path: Path) -> bool:
    """Tell whether a file is a basis file of OpenMX.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    bool
        By its name, `*.pao`, and first bytes; False also where it cannot be read.
    """
    return is_pao(path)


def read(path: Path, quadrature: str = "exact", orbitals: str | None = None) -> AtomicBasis:
    """Read the orbitals of a name from a basis file.

    Parameters
    ----------
    path : Path
        A `.pao` file.
    quadrature : str
        "exact", or "openmx" for the grids of OpenMX.
    orbitals : str or None
        A name of OpenMX's Definition.of.Atomic.Species, such as "Mo7.0-s3p2d1" of Mo7.0.pao:
        the file holds more functions than one uses.

    Returns
    -------
    AtomicBasis
        The valence charge is that of the pseudopotentials (`.vps`) beside the file or in
        ``../VPS`` if they agree, or if one of them has that of the `.pao` itself; without any,
        that of the `.pao`.

    Raises
    ------
    InputError
        If it is not such a file or damaged, of another element or name than the orbitals, or has
        fewer functions; or if there is no name.
    """
    if quadrature not in QUADRATURES:
        raise InputError(
            f"quadrature '{quadrature}' of OpenMX bases, expected {' or '.join(QUADRATURES)}"
        )
    if orbitals is None:
        raise InputError(
            f"{path}: holds more functions than one uses: name the orbitals as in OpenMX's "
            f"Definition.of.Atomic.Species, such as {path.stem}-s2p2d1"
        )
    chosen = parse_orbitals(orbitals)
    if chosen.pao != path.stem:
        raise InputError(
            f"{path}: orbitals '{orbitals}' are those of {chosen.pao}.pao; expected "
            f"{path.stem}-{orbitals.partition('-')[2]}, or the other file"
        )
    pao = read_pao(path, chosen.counts)
    if chosen.number is not None and chosen.number != pao.number:
        raise InputError(
            f"{path}: AtomSpecies {pao.number} ({SYMBOLS[pao.number]}), but the name is one of "
            f"{SYMBOLS[chosen.number]}: wrong file"
        )
    charge, potentials = _valence(path, pao)
    facts = {"orbitals": orbitals}
    if potentials:
        facts["pseudopotential"] = ", ".join(potentials)
    return AtomicBasis(
        number=pao.number,
        shells=_shells(path, pao, chosen, quadrature),
        source=path.name,
        code="openmx",
        valence=charge,
        wavenumbers=_WAVENUMBERS if quadrature == "openmx" else None,
        quadrature=quadrature,
        facts=facts,
    )


def valence(path: Path) -> tuple[int, float] | None:
    """Read the valence charge of a pseudopotential.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    tuple of int and float, or None
        Atomic number and charge of a `.vps`; None for other files.
    """
    return valence_charge(path)


def _valence(path: Path, pao: Pao) -> tuple[float | None, list[str]]:
    """Choose the valence charge, and name the pseudopotentials that have it."""
    charges = find_charges(path, pao.number)
    found = set(charges.values())
    if not found:
        return pao.valence, []
    if len(found) > 1 and pao.valence not in found:
        return None, []
    charge = pao.valence if pao.valence in found else found.pop()
    return charge, [name for name, other in charges.items() if other == charge]


def _shells(path: Path, pao: Pao, chosen: Orbitals, quadrature: str) -> tuple[Shell, ...]:
    """Make the shells, all of the same nodes."""
    from scipy.interpolate import CubicHermiteSpline

    end = min(pao.cutoff + _BEYOND, pao.radii[-1])
    radii, weights = (_equal_steps if quadrature == "openmx" else _between_knots)(pao.radii, end)
    in_angstrom, weights = radii * BOHR, weights * BOHR
    shells: list[Shell] = []
    for degree, count in chosen.counts.items():
        table = pao.tables[degree]
        letter = SHELL_LETTERS[degree]
        if count > table.shape[1]:
            raise InputError(
                f"{path}: {count} {letter} orbitals asked for ({letter}{count}), it has "
                f"{table.shape[1]}"
            )
        slopes = np.gradient(table, pao.radii, axis=0, edge_order=2)
        values = CubicHermiteSpline(pao.radii, table, slopes)(radii) * BOHR**-1.5
        shells.extend(
            Shell(
                degree=degree,
                radii=in_angstrom,
                weights=weights,
                values=np.ascontiguousarray(values[:, column]),
                cutoff=pao.cutoff * BOHR,
                name=f"{letter} {column + 1}",
            )
            for column in range(count)
        )
    return tuple(shells)


def _equal_steps(knots: Real, end: float) -> tuple[Real, Real]:
    """Nodes and weights of OpenMX, Bohr."""
    radii = np.linspace(knots[0], end, _STEPS + 1)
    weights = np.full(_STEPS + 1, (end - knots[0]) / _STEPS)
    weights[[0, -1]] /= 2
    return radii, weights


def _between_knots(knots: Real, end: float) -> tuple[Real, Real]:
    """Nodes and weights between knots, as many as j_l(kr) needs, Bohr."""
    ends = np.searchsorted(knots, np.arange(knots[0], end, _INTERVAL))
    edges = np.append(knots[np.unique(ends[ends < len(knots)])], end)
    edges = edges[edges <= end]
    lengths = np.diff(edges)
    numbers = _FEWEST + (0.4 * RESOLVED * BOHR * lengths).astype(np.int64)
    parts = []
    for number in np.unique(numbers).tolist():
        which = numbers == number
        parts.append(np.stack(between(edges[:-1][which], edges[1:][which], number)))
    radii, weights = np.concatenate(parts, axis=1)
    order = np.argsort(radii)
    return radii[order], weights[order]
