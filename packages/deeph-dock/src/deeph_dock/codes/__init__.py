"""The DFT codes whose finished calculations can be read, and how to recognise them.

A code is one object that follows the protocol `Code`. It is registered as ``"module:object"`` and
imported when it is asked for. Other packages join through an entry point of the group
``deeph_dock.codes``, whose name is the name of the code and whose value is such an object.

Nothing here imports numpy: looking through ten thousand folders needs names and first bytes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from deeph_spec.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from deeph_spec.blocks import BlockMatrix
    from deeph_spec.structure import Structure
    from deeph_spec.system import SystemInfo
    from numpy.typing import NDArray

CODES: dict[str, str] = {
    "siesta": "deeph_dock.codes.siesta:SIESTA",
    "openmx": "deeph_dock.codes.openmx:OPENMX",
    "abacus": "deeph_dock.codes.abacus:ABACUS",
    "fhi-aims": "deeph_dock.codes.fhi_aims:FHI_AIMS",
    "deeph-legacy": "deeph_dock.codes.deeph_legacy:DEEPH_LEGACY",
    "quantum-espresso": "deeph_dock.codes.quantum_espresso:QUANTUM_ESPRESSO",
}
"""Name of each code on the command line, and where its object is."""
ENTRY_POINT_GROUP = "deeph_dock.codes"


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """Eigenvalues as the code itself printed them: the reference of the first proof.

    Attributes
    ----------
    kpoints : (K, 3) array
        Fractional coordinates, as exact as the code's own.
    energies : (S, K, B) array
        Energies in eV on the energy zero of H, ascending; S is 2 for collinear spin, else 1.
    fermi_level : float or None
        Fermi level in eV on the same zero.
    kmesh : tuple of int or None
        Divisions of the mesh along the reciprocal lattice vectors, if it is one.
    """

    kpoints: NDArray[np.float64]
    energies: NDArray[np.float64]
    fermi_level: float | None = None
    kmesh: tuple[int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Calculation:
    """One finished calculation. Reading it is cheap: matrices are read when they are called.

    Attributes
    ----------
    structure : Structure
        Atoms; the lattice vectors R of the matrices refer to its positions.
    info : SystemInfo
        Orbitals, Fermi level, electrons; `provenance` holds what the code's files say.
    matrices : mapping
        For "overlap", "hamiltonian", ... a function that reads the matrix, in eV where it is an
        energy, exactly as stored: not averaged with its Hermitian partner. Names are "overlap",
        "hamiltonian", "density_matrix", "position_matrix"; pairs are in the order
        (R1, R2, R3, i, j) and closed under (-R, j, i), and may differ between matrices.
    eigenvalues : callable or None
        Reads the code's own eigenvalues, where it wrote them.
    warnings : tuple of str
        What the user should know, one line each.
    unconverged : str
        Why H is not self-consistent, e.g. ``"set-up only (HSetupOnly)"``; empty if it is, or if
        nothing says so. The matrices that depend on it are given all the same.
    """

    structure: Structure
    info: SystemInfo
    matrices: Mapping[str, Callable[[], BlockMatrix]]
    eigenvalues: Callable[[], Eigenvalues] | None = None
    warnings: tuple[str, ...] = field(default=())
    unconverged: str = ""


class Code(Protocol):
    """A DFT code whose output can be read."""

    @property
    def name(self) -> str:
        """Name of the code as people write it, e.g. ``"SIESTA"``."""

    @property
    def looks_for(self) -> str:
        """Files by which a calculation is recognised, for messages, e.g. ``"*.HSX"``."""

    def recognises(self, folder: Path) -> tuple[str, ...]:
        """Give the label of each calculation of this code in a folder; none: an empty tuple.

        Must not import numpy and must not read more than the first bytes of a file. A calculation
        that is recognised but broken is listed: `read` says what is wrong with it.
        """

    def own_folders(self, folder: Path, label: str) -> tuple[str, ...]:
        """Give the names of subfolders that belong to the calculation: they are not searched."""

    def inputs(self, folder: Path, label: str) -> tuple[Path, ...]:
        """Give every file, of those there are, that the result of `read` depends on."""

    def read(self, folder: Path, label: str) -> Calculation:
        """Read one calculation that `recognises` listed.

        Raises
        ------
        InputError
            If its files are incomplete, damaged, or of a kind that cannot be converted.
        """


class Found(NamedTuple):
    """A calculation that was recognised."""

    code: str
    folder: Path
    label: str


@cache
def _third_parties() -> dict[str, EntryPoint]:
    """Give the entry points of other packages by name, in small letters."""
    return {point.name.lower(): point for point in entry_points(group=ENTRY_POINT_GROUP)}


def names() -> tuple[str, ...]:
    """Give the names of all codes, those of other packages included."""
    return tuple(dict.fromkeys([*CODES, *_third_parties()]))


@cache
def load(name: str) -> Code:
    """Import the object of a code.

    Parameters
    ----------
    name : str
        One of `names`, in any case.

    Returns
    -------
    Code
        The object that recognises and reads the code's files.

    Raises
    ------
    InputError
        If no code of this name is known.
    """
    key = name.lower()
    if key in CODES:
        module, _, attribute = CODES[key].partition(":")
        return cast("Code", getattr(import_module(module), attribute))
    if key in _third_parties():
        return cast("Code", _third_parties()[key].load())
    from difflib import get_close_matches

    meant = "".join(f", did you mean '{n}'?" for n in get_close_matches(key, names(), 1))
    raise InputError(f"no code '{name}'{meant or ';'} known are {', '.join(names())}")


def detect(folder: Path, code: str | None = None) -> Iterator[Found]:
    """Find the calculations that lie directly in a folder.

    Parameters
    ----------
    folder : Path
        An existing folder; its subfolders are not looked at.
    code : str, optional
        Look for this code only.

    Yields
    ------
    Found
        One for each calculation, in the order of the registry and then of the labels.

    Raises
    ------
    InputError
        If no code of the given name is known.
    """
    for name in names() if code is None else (code.lower(),):
        for label in load(name).recognises(folder):
            yield Found(name, folder, label)
