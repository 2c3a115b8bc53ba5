"""``running_*.log``: what a run says about its species, atoms, Fermi level and convergence.

The wording changed over the years (``AUTOSET number of electrons`` to ``Autoset the number of
electrons``, ``charge density convergence is achieved`` to ``#SCF IS CONVERGED#``, atoms as
``tauc_Si1`` or ``Si``); all of it is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.codes.abacus.stru import Species

Float = NDArray[np.float64]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ROWS = rf"((?:[ \t]*\S+(?:[ \t]+{_NUMBER}){{3}}[^\n]*\n)+)"
_COORDINATES = re.compile(
    rf"(DIRECT|CARTESIAN) COORDINATES[^\n]*\n\s*atom\s+x\s+y\s+z[^\n]*\n{_ROWS}"
)
_VERDICTS = {
    "charge density convergence is achieved": True,
    "#SCF IS CONVERGED#": True,
    "convergence has not been achieved": False,
    "convergence has NOT been achieved": False,
    "!!SCF IS NOT CONVERGED!!": False,
}
_ELECTRONS = (
    "AUTOSET number of electrons:",
    "Autoset number of electrons",
    "Autoset the number of electrons",
    "nelec now",
)
_SPECIES = re.compile(r"READING ATOM TYPE\s+(\d+)")
_ZETA = re.compile(r"L\s*=\s*(\d+)\s*,\s*number of zeta\s*=\s*(\d+)")
_LARGEST_L = 6
_MOST_DIGITS = 7


@dataclass(frozen=True)
class Log:
    """A log.

    Attributes
    ----------
    path : Path
        The file.
    text : str
        All of it.
    """

    path: Path
    text: str

    @property
    def calculation(self) -> str:
        """What kind of run it is, in small letters: scf, relax, md, nscf, get_s, ..."""
        return self.path.stem.removeprefix("running_").lower()

    @property
    def version(self) -> str | None:
        """Version of ABACUS."""
        found = re.search(r"ABACUS v(\S+)", self.text)
        return found[1] if found else None

    @property
    def nspin(self) -> int | None:
        """1, 2 or 4."""
        found = re.search(r"^\s*nspin = ([124])\s*$", self.text, re.MULTILINE)
        return int(found[1]) if found else None

    @property
    def functional(self) -> str | None:
        """Exchange and correlation, as in the pseudopotentials."""
        found = self._said("xchange-correlation functional =")
        return found[0][1].split()[0] if found and found[0][1].split() else None

    @property
    def electrons(self) -> float | None:
        """Electrons of the cell."""
        return self._last_number(_ELECTRONS, 0)

    @property
    def fermi_level(self) -> float | None:
        """Fermi level in eV, the last one printed; None if spin up and down have their own."""
        if "E_Fermi_up" in self.text or "E_Fermi_dw" in self.text:
            return None
        last = self._last_number(("EFERMI =",), 0)
        return self._last_number(("E_Fermi ",), 1) if last is None else last

    @cached_property
    def converged(self) -> bool | None:
        """Whether the last self-consistency cycle converged; None if nothing is said."""
        said = [(at, verdict) for key, verdict in _VERDICTS.items() for at, _ in self._said(key)]
        return max(said)[1] if said else None

    @property
    def species(self) -> tuple[Species, ...]:
        """Species in the order of the matrices, with the names of their pseudopotentials."""
        said = self._said("ead in pseudopotential file is ")
        files = [rest.split()[0] for _, rest in said if rest.split()]
        found = []
        for number, block in enumerate(self._species_blocks()):
            label = re.search(r"(?i)atom label = (\S+)", block)
            atoms = re.search(r"(?i)number of atoms? for this type = (\d+)", block)
            if label is None or atoms is None:
                raise InputError(
                    f"{self.path}: READING ATOM TYPE {number + 1}: no label or number of atoms; "
                    "the log is cut or damaged"
                )
            if len(atoms[1]) > _MOST_DIGITS:
                raise InputError(f"{self.path}: {atoms[1]} atoms of {label[1]}; the log is damaged")
            name = files[number].rsplit("/", 1)[-1] if number < len(files) else None
            if int(atoms[1]):
                found.append(Species(label[1], int(atoms[1]), name))
        return tuple(found)

    @property
    def shells(self) -> tuple[tuple[int, ...], ...]:
        """Shells l of each species that has atoms, ascending."""
        found = []
        for block in self._species_blocks():
            zetas = [(int(degree), int(count)) for degree, count in _ZETA.findall(block)]
            if any(degree > _LARGEST_L or count > 99 for degree, count in zetas):
                raise InputError(f"{self.path}: number of zeta: {zetas}; the log is damaged")
            if not re.search(r"(?i)number of atoms? for this type = 0\s", block):
                found.append(tuple(degree for degree, count in zetas for _ in range(count)))
        return tuple(found)

    @property
    def constant(self) -> float | None:
        """Lattice constant in Bohr, with as many digits as there are."""
        for pattern in (
            rf"CARTESIAN COORDINATES \( UNIT =\s*({_NUMBER}) Bohr",
            rf"(?i)lattice constant \(Bohr\) = ({_NUMBER})",
        ):
            found = re.search(pattern, self.text)
            if found:
                return float(found[1])
        return None

    @property
    def vectors(self) -> Float | None:
        """Lattice vectors in lattice constants, six digits, those before the last cycle."""
        pattern = r"Lattice vectors: \(Cartesian coordinate: in unit of a_?0\)\n((?:[^\n]+\n){3})"
        blocks = [m for m in re.finditer(pattern, self.text) if m.start() < self._last_cycle]
        if not blocks:
            return None
        try:
            rows = [[float(word) for word in line.split()] for line in blocks[-1][1].splitlines()]
            vectors = np.array(rows)
        except ValueError:
            return None
        usable = vectors.shape == (3, 3) and np.isfinite(vectors).all()
        return vectors if usable and abs(np.linalg.det(vectors)) > 1e-9 else None

    def positions(self, step: int) -> tuple[str, Float] | None:
        """Give the atoms of the last self-consistency cycle, moved into the cell.

        Parameters
        ----------
        step : int
            Number of the ionic step, from 0: later ones are listed again, or are not there.

        Returns
        -------
        kind : str
            "DIRECT" or "CARTESIAN" (in lattice constants).
        positions : (n, 3) float64 array
            Ten digits or more.
        Or None if the log has none.
        """
        blocks = [m for m in _COORDINATES.finditer(self.text) if m.start() < self._last_cycle]
        if len(blocks) < min(step + 1, 2):
            return None
        rows = [line.split()[1:4] for line in blocks[-1][2].splitlines()]
        return blocks[-1][1], np.array(rows, dtype=np.float64)

    @cached_property
    def _last_cycle(self) -> int:
        """Where the last self-consistency cycle ends; the end if there is none."""
        ends = [at for key in (*_VERDICTS, "\n E_Fermi") for at, _ in self._said(key)]
        return max(ends, default=len(self.text))

    def _said(self, key: str) -> list[tuple[int, str]]:
        """Give the places of some words, and what follows them in their lines."""
        found = []
        at = self.text.find(key)
        while at >= 0:
            end = self.text.find("\n", at + len(key))
            found.append((at, self.text[at + len(key) : end if end >= 0 else len(self.text)]))
            at = self.text.find(key, at + len(key))
        return found

    def _last_number(self, keys: tuple[str, ...], place: int) -> float | None:
        """Give the number that follows the last of some words."""
        said = sorted(one for key in keys for one in self._said(key))
        for _, rest in reversed(said):
            words = rest.replace("=", " ").split()
            if len(words) > place and re.fullmatch(_NUMBER, words[place]):
                return float(words[place])
        return None

    def _species_blocks(self) -> list[str]:
        starts = [match.start() for match in _SPECIES.finditer(self.text)]
        end = self.text.find("TOTAL ATOM NUMBER")
        bounds = [*starts, end if end > 0 else len(self.text)]
        return [self.text[a:b] for a, b in pairwise(bounds)]


def read_log(path: Path) -> Log:
    """Read a log.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Log
        Its text, from which properties are read when they are asked for.
    """
    return Log(path, path.read_text("utf-8", errors="replace"))
