"""ABACUS with numerical atomic orbitals: S, H, density and position matrices from csr files.

A run is recognised by what its csr files say, whatever their names: ``data-HR-sparse_SPIN0.csr``
or ``hrs1_nao.csr``, ``SR.csr`` or ``sr_nao.csr``, ... in ``OUT.<suffix>``; several ``OUT.*`` are
several runs. Without csr files the log is enough, to say which keyword the run needs.

Which file gives what:

* H, S, density matrix, r: csr files; the four styles of their heads are described in
  `deeph_dock.codes.abacus.headers`. Of several steps in a file the last is taken.
* cell and positions: STRU, if it agrees with what the run used, see
  `deeph_dock.codes.abacus.sites`.
* elements: names of the pseudopotentials and orbitals, never the labels.
* shells: the log, else ``Orbital``, else the orbitals named in STRU.
* Fermi level, electrons, convergence: the log. Eigenvalues: istate.info or eig_occ.txt.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation

_OF_AN_OUTPUT = ("matrix", "STRU", "WFC")


class Abacus:
    """Recognises and reads runs of ABACUS."""

    name = "ABACUS"
    looks_for = "OUT.*/*.csr"

    def recognises(self, folder: Path) -> tuple[str, ...]:
        """Give the suffixes of the runs in a folder, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            An existing folder.

        Returns
        -------
        tuple of str
            Sorted; ``("",)`` for a folder that is itself the output of a run.
        """
        from deeph_dock.codes.abacus.files import labels

        return labels(folder)

    def own_folders(self, folder: Path, label: str) -> tuple[str, ...]:
        """Give the subfolders that belong to a run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its suffix.

        Returns
        -------
        tuple of str
            The folder of the output, or what that holds.
        """
        return (f"OUT.{label}",) if label else _OF_AN_OUTPUT

    def inputs(self, folder: Path, label: str) -> tuple[Path, ...]:
        """Give the files that the result of `read` depends on, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its suffix.

        Returns
        -------
        tuple of Path
            Those that exist.
        """
        from deeph_dock.codes.abacus.files import find_files

        return find_files(folder, label).all()

    def read(self, folder: Path, label: str) -> Calculation:
        """Read one run, see `deeph_dock.codes.Code`.

        Parameters
        ----------
        folder : Path
            Folder of the run.
        label : str
            Its suffix.

        Returns
        -------
        Calculation
            With "overlap", and what else the run wrote.

        Raises
        ------
        InputError
            If the run is incomplete, damaged, or of a kind that cannot be converted.
        """
        from deeph_dock.codes.abacus.run import read_run

        return read_run(folder, label)


ABACUS = Abacus()
