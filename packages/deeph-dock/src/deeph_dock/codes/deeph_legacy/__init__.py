"""The folders of older DeepH programs (DeepH-pack, DeepH-E3): read and written.

One folder is one structure. Each block is an HDF5 dataset of its own, named by its pair of atoms,
counted from 1; orbitals are in the order of OpenMX. Files are described in
`deeph_dock.codes.deeph_legacy.files`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation

TEXTS = ("lat.dat", "site_positions.dat", "element.dat", "orbital_types.dat")
MATRICES = {
    "overlap": "overlaps.h5",
    "hamiltonian": "hamiltonians.h5",
    "hamiltonian_pred": "hamiltonians_pred.h5",
    "density_matrix": "density_matrixs.h5",
    "density_matrix_pred": "density_matrixs_pred.h5",
    "position_matrix": "position_matrixs.h5",
}
"""File of each matrix, in the spelling of the programs."""
IN_LOCAL_FRAMES = ("rh.h5", "rh_pred.h5")
"""Matrices that are turned into the frame of each pair; they are named to be refused."""


def matrix_files(folder: Path) -> dict[str, Path]:
    """Find the file of each matrix, whose name programs spell in two ways.

    Parameters
    ----------
    folder : Path
        Folder of the structure.

    Returns
    -------
    dict
        Those that exist, by name of the matrix.
    """
    found = {}
    for name, file in MATRICES.items():
        for spelling in (file, file.replace("matrixs", "matrices")):
            if name not in found and (folder / spelling).is_file():
                found[name] = folder / spelling
    return found


class DeephLegacy:
    """Recognises and reads legacy folders."""

    name = "DeepH legacy"
    looks_for = "orbital_types.dat with overlaps.h5 or hamiltonians.h5"

    def recognises(self, folder: Path) -> tuple[str, ...]:
        """Tell whether a folder is a legacy one, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            An existing folder.

        Returns
        -------
        tuple of str
            An empty label, or nothing.
        """
        texts = sum((folder / name).is_file() for name in TEXTS)
        if texts < 2:
            return ()
        matrices = matrix_files(folder) or any((folder / n).is_file() for n in IN_LOCAL_FRAMES)
        return ("",) if matrices else ()

    def own_folders(self, folder: Path, label: str) -> tuple[str, ...]:
        """Give the subfolders that belong to the structure, see `deeph_dock.codes.Code`: none.

        Parameters
        ----------
        folder : Path
            Folder of the structure.
        label : str
            Not used.

        Returns
        -------
        tuple of str
            Empty.
        """
        return ()

    def inputs(self, folder: Path, label: str) -> tuple[Path, ...]:
        """Give the files that the result of `read` depends on, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the structure.
        label : str
            Not used.

        Returns
        -------
        tuple of Path
            Those that exist.
        """
        matrices = matrix_files(folder).values()
        others = [folder / name for name in (*TEXTS, "info.json", *IN_LOCAL_FRAMES)]
        return (*(path for path in others if path.is_file()), *matrices)

    def read(self, folder: Path, label: str) -> Calculation:
        """Read one folder, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the structure.
        label : str
            Not used.

        Returns
        -------
        Calculation
            With the matrices that have a file.

        Raises
        ------
        InputError
            If the folder is incomplete, damaged, or of a kind that cannot be converted.
        """
        from deeph_dock.codes.deeph_legacy.run import read_folder

        return read_folder(folder)


DEEPH_LEGACY = DeephLegacy()
