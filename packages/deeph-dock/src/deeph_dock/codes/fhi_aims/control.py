"""control.in: keywords, and the nuclear charge and basis of each species."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from deeph_spec.errors import InputError

from deeph_dock.codes.fhi_aims.text import read_whole

_BASIS = {
    *("valence", "ion_occ", "hydro", "ionic", "confined", "sto", "gaussian", "pure_gauss", "core"),
    *("cut_pot", "cutoff_type", "basis_dep_cutoff", "basis_acc", "include_min_basis"),
    *("radial_base", "radial_multiplier", "core_states", "nonlinear_core"),
}
"""Keywords of a species on which its functions depend."""
HYBRIDS = {
    *("hf", "pbe0", "pbesol0", "hse03", "hse06", "b3lyp", "lc_wpbeh", "lc-wpbeh", "wpbe", "scan0"),
    *("m06", "m06-2x", "m06-hf", "m08-hx", "m08-so", "m11", "b86bpbe-25", "b86bpbe-50"),
}
"""Functionals with exact exchange."""


@dataclass(frozen=True)
class Species:
    """A species of control.in.

    Attributes
    ----------
    charge : float or None
        Nuclear charge.
    basis : tuple of str
        The lines that define its functions, words separated by one space.
    """

    charge: float | None
    basis: tuple[str, ...]


@dataclass(frozen=True)
class Control:
    """What control.in says.

    Attributes
    ----------
    path : Path
    keywords : dict
        The words after each keyword; the last line of a keyword counts.
    species : dict
        By label.
    """

    path: Path
    keywords: dict[str, tuple[str, ...]] = field(default_factory=dict)
    species: dict[str, Species] = field(default_factory=dict)

    def value(self, keyword: str) -> str:
        """Give the words after a keyword, empty if it is not there."""
        return " ".join(self.keywords.get(keyword, ()))

    def flag(self, keyword: str) -> bool:
        """Tell whether a keyword is there and not switched off."""
        words = self.keywords.get(keyword)
        return words is not None and (not words or words[0].lower() not in (".false.", "none"))

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Give the numbers after a keyword, None if it is not there.

        Raises
        ------
        InputError
            If there are not as many.
        """
        words = self.keywords.get(keyword)
        if words is None:
            return None
        values = tuple(fortran_number(word) for word in words[:count])
        if len(values) != count or not all(map(math.isfinite, values)):
            raise InputError(
                f"{self.path}: {keyword}: '{' '.join(words)}' is not {count} number(s)"
            )
        return values

    @property
    def spin(self) -> str:
        """Spin treatment: "none" or "collinear"."""
        return "collinear" if self.value("spin").lower().startswith("collinear") else "none"

    @property
    def moves_atoms(self) -> bool:
        """Whether the run is a relaxation or molecular dynamics."""
        return self.flag("relax_geometry") or self.flag("MD_run")

    @property
    def hybrid(self) -> str | None:
        """Name of the functional if it contains exact exchange."""
        name = self.value("xc").lower().split(" ")[0]
        return name if name in HYBRIDS else None


def fortran_number(word: str) -> float:
    """Read a number as Fortran does, NaN if it is none.

    Parameters
    ----------
    word : str
        E.g. ``"1.0d-3"``.

    Returns
    -------
    float
        The number.
    """
    try:
        return float(word.lower().replace("d", "e"))
    except ValueError:
        return math.nan


def read_control(path: Path) -> Control:
    """Read control.in.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Control
        All keywords, wherever they stand.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    keywords: dict[str, tuple[str, ...]] = {}
    charges: dict[str, float | None] = {}
    basis: dict[str, list[str]] = {}
    label: str | None = None
    for line in read_whole(path).decode("utf-8", "replace").splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        keyword = words[0]
        if keyword == "species" and len(words) > 1:
            label = words[1]
            charges[label], basis[label] = None, []
        elif keyword == "nucleus" and label is not None and len(words) > 1:
            charges[label] = fortran_number(words[1])
        elif label is not None and keyword in _BASIS:
            basis[label].append(" ".join(words).lower())
        else:
            keywords[keyword] = tuple(words[1:])
    species = {name: Species(charges[name], tuple(sorted(basis[name]))) for name in charges}
    return Control(path, keywords, species)
