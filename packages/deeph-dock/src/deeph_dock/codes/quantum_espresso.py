"""Quantum ESPRESSO: recognised, so that its users are told what they need.

Its Hamiltonian acts on plane waves; blocks between orbitals need a projection, which is not here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from deeph_spec.errors import InputError

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation

_FIRST_BYTES = 4096
_SAVED = ("data-file-schema.xml", "data-file.xml", "charge-density.hdf5", "charge-density.dat")
_OUTPUT = (b"Program PWSCF",)
_WORDS: dict[str, tuple[bytes, ...]] = {
    ".xml": (b"qes:espresso", b"<?iotk"),  # since 6.2, and before
    ".out": _OUTPUT,
    ".log": _OUTPUT,
    ".pwo": _OUTPUT,
    "VSC": (b"VSC-Real", b"VSC-Complex"),  # of pw2bgw.x
}
"""What the first bytes of files with these endings or names say if they are of pw.x."""


class QuantumEspresso:
    """Recognises folders of pw.x and refuses them in one line."""

    name = "Quantum ESPRESSO"
    looks_for = "*.save with data-file-schema.xml or charge-density, or the output of pw.x"

    def recognises(self, folder: Path) -> tuple[str, ...]:
        """Tell whether pw.x has run in a folder, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            An existing folder.

        Returns
        -------
        tuple of str
            An empty label, or nothing.
        """
        return ("",) if self.inputs(folder, "") else ()

    def own_folders(self, folder: Path, label: str) -> tuple[str, ...]:
        """Give the folders that pw.x wrote, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Not used.

        Returns
        -------
        tuple of str
            Those that end in .save, and those that hold such ones (``outdir`` of the input).
        """
        saves = [path for path in folder.glob("*.save") if path.is_dir()]
        outdirs = [path.parent for path in folder.glob("*/*.save") if path.is_dir()]
        return tuple(sorted({path.name for path in saves + outdirs}))

    def inputs(self, folder: Path, label: str) -> tuple[Path, ...]:
        """Give the files by which a run is recognised, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Not used.

        Returns
        -------
        tuple of Path
            Files that pw.x saved, its XML files and its outputs.
        """
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
        saved = (
            folder / name / file for name in names if name.endswith(".save") for file in _SAVED
        )
        found = [path for path in saved if path.is_file()]
        for name in names:
            words = _WORDS.get(os.path.splitext(name)[1] or name)
            if words and _holds(folder / name, words):
                found.append(folder / name)
        return tuple(found)

    def read(self, folder: Path, label: str) -> Calculation:
        """Refuse the run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Not used.

        Returns
        -------
        Calculation
            Never.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            f"{folder}: a run of Quantum ESPRESSO: its Hamiltonian acts on plane waves, and the "
            "projection onto orbitals that blocks need is not available yet; run the structure "
            "with SIESTA, OpenMX, ABACUS or FHI-aims, or with 'dock run pyscf'"
        )


def _holds(path: Path, words: tuple[bytes, ...]) -> bool:
    """Tell whether one of some words is among the first bytes of a file."""
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(_FIRST_BYTES)
    except OSError:
        return False
    return any(word in head for word in words)


QUANTUM_ESPRESSO = QuantumEspresso()
