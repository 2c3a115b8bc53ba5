"""What SIESTA printed: version, functional, k-mesh, convergence, elements, pseudopotentials, basis.

The output is whatever file the user sent it to. It is recognised by its first kilobytes (the
welcome of SIESTA) and by its "System Label". Large outputs are searched through a memory map.
"""

from __future__ import annotations

import mmap
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_HEAD = 4096
_SETTINGS = 2**21
_LARGEST = 1e6
_SUFFIXES = ("", ".out", ".log", ".output", ".txt", ".stdout")
_WELCOME = re.compile(rb"^Siesta Version|WELCOME TO SIESTA|^Executable\s*:\s*siesta", re.M | re.I)
_LABEL = re.compile(rb"^reinit: System Label:[ \t]*(\S+)", re.M)
_VERSION = re.compile(rb"^(?:Siesta )?Version\s*:\s*(\S.*?)\s*$", re.M | re.I)
_SPECIES = re.compile(rb"^Species number:\s*(\d+)\s+Atomic number:\s*(-?\d+)", re.M)
_FUNCTIONAL = re.compile(rb"^xc_check: (?!WARNING|Exchange)(\S.*?)\s*$", re.M)
_KGRID = re.compile(rb"^siesta: k-grid:\s+(-?\d+)\s+(-?\d+)\s+(-?\d+)\s+(-?[\d.]+)\s*$", re.M)
_PSEUDOPOTENTIAL = re.compile(
    rb"^Reading pseudopotential information in (?:\w+ form from|PSML from:)\s+(\S.*?)\s*$", re.M
)
_BASIS = re.compile(
    rb"^prinput: Basis input.*?^%block PAO\.Basis[^\n]*\n(.*?)^%endblock PAO\.Basis", re.M | re.S
)
_PROJECTOR = re.compile(rb"^ +l= *\d+ +rc= *([\d.]+)", re.M)


@dataclass(frozen=True)
class Output:
    """Facts from one output file; None where it does not say.

    Attributes
    ----------
    path : Path
    version : str or None
        As printed, e.g. ``"v4.1-b4-133"``.
    numbers : dict
        Atomic number of each species index (from 1).
    pseudopotentials : dict
        File name, without its folder, for each species index (from 1).
    basis : dict
        Shells of each species label, as in the block PAO.Basis that SIESTA prints.
    functional : str or None
    smearing : str or None
    kcell : (3, 3) int64 or None
        Supercell of the k-mesh, rows.
    kshift : (3,) or None
    converged : bool or None
        Whether the last self-consistency cycle converged.
    steps : int
        Number of self-consistency cycles that ended: more than one for a relaxation or dynamics.
    auxiliary_cell : bool
        Whether it names an auxiliary supercell, so that images are not folded.
    projector_radius : float or None
        Largest radius of a Kleinman-Bylander projector, Bohr.
    """

    path: Path
    version: str | None
    numbers: dict[int, int] = field(default_factory=dict)
    pseudopotentials: dict[int, str] = field(default_factory=dict)
    basis: dict[str, str] = field(default_factory=dict)
    functional: str | None = None
    smearing: str | None = None
    kcell: NDArray[np.int64] | None = None
    kshift: NDArray[np.float64] | None = None
    converged: bool | None = None
    steps: int = 0
    auxiliary_cell: bool = False
    projector_radius: float | None = None

    @property
    def major(self) -> int | None:
        """First number of the version, e.g. 4 or 5."""
        found = re.search(r"\d+", self.version or "")
        return int(found.group()) if found else None


def find_output(folder: Path, label: str) -> Path | None:
    """Find the output of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its SystemLabel.

    Returns
    -------
    Path or None
        Of several outputs of this label the last one written.
    """
    found = []
    for path in folder.iterdir():
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            continue
        with open(path, "rb") as file:
            if _WELCOME.search(file.read(_HEAD)) is None:
                continue
            head = file.read(_SETTINGS)
        named = _LABEL.search(head)
        if named is None or named.group(1).decode("utf-8", "replace") == label:
            found.append((named is not None, path.stat().st_mtime_ns, path.name, path))
    return max(found)[-1] if found else None


def read_output(path: Path) -> Output:
    """Read the facts of an output file.

    Parameters
    ----------
    path : Path
        The file, not empty.

    Returns
    -------
    Output
        What it says.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        head = text[:_SETTINGS]
        version = _VERSION.search(head)
        kcell, kshift = _kmesh(head)
        functionals = dict.fromkeys(_FUNCTIONAL.findall(head))
        radii = [float(radius) for radius in _PROJECTOR.findall(head)]
        converged, steps = _convergence(text)
        numbers = {int(index): int(z) for index, z in _SPECIES.findall(head)}
        return Output(
            path,
            version=version.group(1).decode("ascii", "replace") if version else None,
            numbers=numbers,
            pseudopotentials=_pseudopotentials(head, numbers),
            basis=_basis(head),
            functional=" / ".join(f.decode("ascii", "replace") for f in functionals) or None,
            smearing=_smearing(text),
            kcell=kcell,
            kshift=kshift,
            converged=converged,
            steps=steps,
            auxiliary_cell=b"superc: Internal auxiliary supercell" in head,
            projector_radius=max(radii, default=None),
        )


def _pseudopotentials(head: bytes, numbers: dict[int, int]) -> dict[int, str]:
    """Give the file of each species: they are read in the order of the species."""
    paths = [path.decode("utf-8", "replace") for path in _PSEUDOPOTENTIAL.findall(head)]
    if len(paths) != len(numbers):  # floating orbitals have none
        return {}
    return {index: Path(path).name for index, path in zip(sorted(numbers), paths, strict=True)}


def _basis(head: bytes) -> dict[str, str]:
    """Give the shells of each species: "n=4 0 2 5.033 4.669 1.000 1.000; n=4 1 2 P 1 ..."."""
    block = _BASIS.search(head)
    shells: dict[str, list[str]] = {}
    label = None
    for line in block.group(1).decode("utf-8", "replace").splitlines() if block else []:
        words = line.split("#")[0].split()
        if not words:
            continue
        if not line.startswith(" "):
            label = words[0]
            shells[label] = []
        elif label is not None and words[0].startswith("n="):
            shells[label].append(" ".join(words))
        elif label is not None and shells[label]:
            shells[label][-1] += " " + " ".join(words)
    return {label: "; ".join(found) for label, found in shells.items() if found}


def _kmesh(head: bytes) -> tuple[NDArray[np.int64] | None, NDArray[np.float64] | None]:
    """Give the first three rows of the k-mesh."""
    rows = _KGRID.findall(head)[:3]
    if len(rows) == 3:
        table = np.array([[float(x) for x in row] for row in rows]).clip(-_LARGEST, _LARGEST)
        return table[:, :3].astype(np.int64), table[:, 3]
    if b"siesta: k-point is Gamma-only" in head:
        return np.eye(3, dtype=np.int64), np.zeros(3)
    return None, None


def _convergence(text: mmap.mmap) -> tuple[bool | None, int]:
    """Tell whether the last cycle converged, and how many ended."""
    good = [match.start() for match in re.finditer(rb"SCF cycle converged", text)]
    bad = [match.start() for match in re.finditer(rb"SCF_NOT_CONV|SCF did not converge", text)]
    steps = len(good) + (1 if bad and bad[-1] > max(good, default=-1) else 0)
    if not good and not bad:
        # Every version that prints "Siesta Version : v4" or later says so when it converged.
        version = _VERSION.search(text[:_HEAD])
        number = re.search(rb"\d+", version.group(1)) if version else None
        return (False if number and int(number.group()) >= 4 else None), 0
    return max(good, default=-1) > max(bad, default=-1), steps


def _smearing(text: mmap.mmap) -> str | None:
    """Give the name of the occupation function."""
    found = re.search(rb"^stepf: (.*?)(?: step function)?\s*$", text, re.M)
    return found.group(1).decode("ascii", "replace").strip().lower() if found else None
