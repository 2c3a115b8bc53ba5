"""SIESTA 3, 4 and 5: S, H and the density matrix, from HSX, DM and the text files beside them.

A calculation is recognised by its HSX file, whatever its label; a run that wrote .ORB_INDX but no
HSX is recognised as well, to say that it needs ``SaveHS true``. The generations of HSX (versions
0, 1 and 2) are described in `deeph_dock.codes.siesta.hsx`, those of DM in
`deeph_dock.codes.siesta.density`, and their spin components in `deeph_dock.codes.siesta.spins`.

Which file gives what:

* H, S, shells, electrons, temperature: .HSX. Fermi level: .HSX, for version 0 .EIG.
* density matrix: .DM.
* cell and positions: .HSX, for version 0 .XV, else .STRUCT_OUT, else the .fdf.
* elements: the atomic numbers in these files or in the output, never the labels.
* energy and length unit, convergence, functional, k-mesh: the output, whatever its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation


class Siesta:
    """Recognises and reads runs of SIESTA."""

    name = "SIESTA"
    looks_for = "*.HSX"

    def recognises(self, folder: Path) -> tuple[str, ...]:
        """Give the labels of the runs in a folder, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            An existing folder.

        Returns
        -------
        tuple of str
            Sorted; those with an HSX file, or if there are none, those with .ORB_INDX.
        """
        names = [path for path in folder.iterdir() if path.suffix in (".HSX", ".ORB_INDX")]
        for suffix in (".HSX", ".ORB_INDX"):
            labels = sorted(p.stem for p in names if p.suffix == suffix and p.is_file())
            if labels:
                return tuple(labels)
        return ()

    def own_folders(self, folder: Path, label: str) -> tuple[str, ...]:
        """Give the subfolders that belong to a run, see `deeph_dock.codes.Code`: SIESTA has none.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its SystemLabel.

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
            Folder of the run.
        label : str
            Its SystemLabel.

        Returns
        -------
        tuple of Path
            Those that exist.
        """
        from deeph_dock.codes.siesta.run import find_files

        return find_files(folder, label).all()

    def read(self, folder: Path, label: str) -> Calculation:
        """Read one run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its SystemLabel.

        Returns
        -------
        Calculation
            With "overlap", "hamiltonian", and "density_matrix" if there is a .DM file.

        Raises
        ------
        InputError
            If the run is incomplete, damaged, or of a kind that cannot be converted.
        """
        from deeph_dock.codes.siesta.run import read_run

        return read_run(folder, label)


SIESTA = Siesta()
