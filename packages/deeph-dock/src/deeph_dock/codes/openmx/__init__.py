"""OpenMX 3.7 to 4.0: all matrices of the scfout file, with the text files beside it.

A calculation is recognised by a file ``*.scfout`` whose first numbers are those of such a file; a
run that wrote an output but no scfout is recognised as well, to say that it needs ``HS.fileout
on``. Overlaps of the overlap-only program of DeepH, ``output/overlaps_0.h5``, are read with the
input file beside them.

Which file gives what:

* S, H, density matrix, position matrix, Fermi level, electrons, temperature: the scfout file; its
  layout is described in `deeph_dock.codes.openmx.scfout`.
* elements and shells: the input, of which the scfout file holds a copy, by the names of basis and
  pseudopotential, never by the labels of the species.
* cell and positions: the input as well, if they are those of the scfout file, else the latter, or
  .md2 if the atoms moved after the matrices were made.
* version, convergence, steps: the output, also where it was appended to the scfout file.
* eigenvalues: .Band, else the output.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from deeph_dock.codes.openmx.files import OVERLAPS, SCFOUT, find_files, find_labels

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation


class OpenMX:
    """Recognises and reads runs of OpenMX."""

    name = "OpenMX"
    looks_for = "*.scfout"

    def recognises(self, folder: Path) -> tuple[str, ...]:
        """Give the names of the runs in a folder, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            An existing folder.

        Returns
        -------
        tuple of str
            Sorted; those with a scfout file, or else with overlaps alone, or else with an output.
        """
        return find_labels(folder)

    def own_folders(self, folder: Path, label: str) -> tuple[str, ...]:
        """Give the subfolders that belong to a run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its System.Name.

        Returns
        -------
        tuple of str
            The restart files, and the overlaps of the overlap-only program.
        """
        own = [f"{label}_rst"]
        if (folder / OVERLAPS).is_file() and not (folder / f"{label}{SCFOUT}").is_file():
            own.append("output")
        return tuple(own)

    def inputs(self, folder: Path, label: str) -> tuple[Path, ...]:
        """Give the files that the result of `read` depends on, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its System.Name.

        Returns
        -------
        tuple of Path
            Those that exist.
        """
        return find_files(folder, label).all()

    def read(self, folder: Path, label: str) -> Calculation:
        """Read one run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its System.Name.

        Returns
        -------
        Calculation
            With "overlap" and "position_matrix", and "hamiltonian" and "density_matrix" where the
            file has them.

        Raises
        ------
        InputError
            If the run is incomplete, damaged, or of a kind that cannot be converted.
        """
        from deeph_dock.codes.openmx.run import read_run

        return read_run(folder, label)


OPENMX = OpenMX()
