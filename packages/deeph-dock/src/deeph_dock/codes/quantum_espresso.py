"""Quantum ESPRESSO: recognised, so that its users are told what they need.

Its Hamiltonian acts on plane waves; blocks between orbitals need a projection, which is not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deeph_spec.errors import InputError

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation

_FIRST_BYTES = 4096


class QuantumEspresso:
    """Recognises folders of pw.x and refuses them in one line."""

    name = "Quantum ESPRESSO"
    looks_for = "*.save/data-file-schema.xml, or the output of pw.x"

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
            Those that end in .save.
        """
        return tuple(path.name for path in folder.glob("*.save") if path.is_dir())

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
            XML files of pw.x, and outputs.
        """
        schemas = [*folder.glob("*.save/data-file*.xml"), *folder.glob("*.xml")]
        outputs = [*folder.glob("*.out"), *folder.glob("*.log")]
        return tuple(
            [path for path in sorted(schemas) if _holds(path, b"qes:espresso", b"<Root>")]
            + [path for path in sorted(outputs) if _holds(path, b"Program PWSCF")]
        )

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


def _holds(path: Path, *words: bytes) -> bool:
    """Tell whether one of some words is among the first bytes of a file."""
    try:
        with open(path, "rb") as file:
            head = file.read(_FIRST_BYTES)
    except OSError:
        return False
    return any(word in head for word in words)


QUANTUM_ESPRESSO = QuantumEspresso()
