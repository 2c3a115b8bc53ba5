"""FHI-aims: overlap and Hamiltonian of crystals and molecules.

A calculation is a folder, recognised by the head of ``rs_indices.out`` or ``basis-indices.out``;
a folder that holds control.in, geometry.in and an output of FHI-aims but no matrices is recognised
as well, to say which keyword it needs.

Which file gives what:

* crystals (``output_rs_matrices plain`` or ``hdf5``): rs_indices.out, rs_overlap, rs_hamiltonian
  (``_up`` and ``_dn`` for collinear spin), each .out or .h5.
* molecules (``output h_s_matrices``): overlap-matrix.out, hamiltonian.out (``_up``, ``_dn``).
* shells: basis-indices.out. Functions with equal n and l but another type are shells of their own.
* cell and positions: geometry.in; of a relaxation the last geometry that the output lists.
* elements and charge: control.in.
* Fermi level, electrons, convergence, eigenvalues: the output, whatever its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation

_HEAD = 256


class FhiAims:
    """Recognises and reads runs of FHI-aims."""

    name = "FHI-aims"
    looks_for = "rs_indices.out or basis-indices.out"

    def recognises(self, folder: Path) -> tuple[str, ...]:
        """Tell whether a folder holds a run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            An existing folder.

        Returns
        -------
        tuple of str
            ``("",)`` or empty: a folder holds one run.
        """
        if _head(folder / "rs_indices.out").startswith(b"n_hamiltonian_matrix_size"):
            return ("",)
        if _head(folder / "basis-indices.out").split()[:3] == [b"fn.", b"type", b"at."]:
            return ("",)
        if not (folder / "control.in").is_file() or not (folder / "geometry.in").is_file():
            return ()
        from deeph_dock.codes.fhi_aims.log_file import find_log

        return ("",) if find_log(folder) is not None else ()

    def own_folders(self, folder: Path, label: str) -> tuple[str, ...]:
        """Give the subfolders that belong to a run, see `deeph_dock.codes.Code`: there are none.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Empty.

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
            Empty.

        Returns
        -------
        tuple of Path
            Those that exist.
        """
        from deeph_dock.codes.fhi_aims.files import find_files

        return find_files(folder).all()

    def read(self, folder: Path, label: str) -> Calculation:
        """Read a run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Empty.

        Returns
        -------
        Calculation
            With "overlap" and "hamiltonian".

        Raises
        ------
        InputError
            If the run is incomplete, damaged, or of a kind that cannot be converted.
        """
        from deeph_dock.codes.fhi_aims.run import read_run

        return read_run(folder)


FHI_AIMS = FhiAims()


def _head(path: Path) -> bytes:
    """Give the first bytes of a file, nothing of one that is not there."""
    try:
        with open(path, "rb") as file:
            return file.read(_HEAD)
    except OSError:
        return b""
