"""The files of a run. Their names are those that FHI-aims gives them, but for the output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deeph_spec.errors import InputError

from deeph_dock.codes.fhi_aims.control import Control
from deeph_dock.codes.fhi_aims.log_file import find_log

PERIODIC = "rs_indices.out"
_PERIODIC_H = {
    "out": (("rs_hamiltonian.out",), ("rs_hamiltonian_up.out", "rs_hamiltonian_dn.out")),
    "h5": (("rs_hamiltonian.h5",), ("rs_hamiltonian_up.h5", "rs_hamiltonian_down.h5")),
}
_CLUSTER_H = (("hamiltonian.out",), ("hamiltonian_up.out", "hamiltonian_dn.out"))
_MATRIX_NAMES = (
    *(name for kind in _PERIODIC_H.values() for names in kind for name in names),
    *(name for names in _CLUSTER_H for name in names),
    "rs_overlap.out",
    "rs_overlap.h5",
    "overlap-matrix.out",
)


@dataclass(frozen=True)
class Files:
    """Files of one run; None for those that are not there.

    Attributes
    ----------
    folder : Path
    indices, basis, geometry, next_step, control, log : Path or None
    matrices : dict
        The matrix files that exist, by name.
    """

    folder: Path
    indices: Path | None
    basis: Path | None
    geometry: Path | None
    next_step: Path | None
    control: Path | None
    log: Path | None
    matrices: dict[str, Path]

    def all(self) -> tuple[Path, ...]:
        """Give those that exist."""
        single = (
            self.indices,
            self.basis,
            self.geometry,
            self.next_step,
            self.control,
            self.log,
        )
        return (*(path for path in single if path is not None), *self.matrices.values())


@dataclass(frozen=True)
class MatrixFiles:
    """The files of the matrices of one run.

    Attributes
    ----------
    overlap : Path
    hamiltonian : tuple of Path
        One, for collinear spin those of spin up and down; empty if there are none.
    spin : str
        "none" or "collinear".
    """

    overlap: Path
    hamiltonian: tuple[Path, ...]
    spin: str


def find_files(folder: Path) -> Files:
    """Find the files of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Returns
    -------
    Files
        Those that are there.
    """

    def named(name: str) -> Path | None:
        path = folder / name
        return path if path.is_file() else None

    matrices = {name: path for name in _MATRIX_NAMES if (path := named(name)) is not None}
    if "rs_hamiltonian_down.h5" not in matrices and (path := named("rs_hamiltonian_dn.h5")):
        matrices["rs_hamiltonian_down.h5"] = path
    return Files(
        folder,
        indices=named(PERIODIC),
        basis=named("basis-indices.out"),
        geometry=named("geometry.in"),
        next_step=named("geometry.in.next_step"),
        control=named("control.in"),
        log=find_log(folder),
        matrices=matrices,
    )


def periodic_files(files: Files, control: Control | None) -> MatrixFiles:
    """Choose the matrix files of a crystal.

    Parameters
    ----------
    files : Files
        Those of the run.
    control : Control or None
        Decides where files of several runs lie in one folder.

    Returns
    -------
    MatrixFiles
        All text or all HDF5.

    Raises
    ------
    InputError
        If one is missing, or nothing says which of several it is.
    """
    if files.indices is None:
        raise InputError(
            f"{files.folder / PERIODIC}: missing; run again with 'output_rs_matrices plain'"
        )
    kinds = [kind for kind in ("out", "h5") if f"rs_overlap.{kind}" in files.matrices]
    if not kinds:
        raise InputError(
            f"{files.folder / 'rs_overlap.out'}: missing, as is rs_overlap.h5; run again with "
            "'output_rs_matrices plain'"
        )
    if len(kinds) == 2:
        asked = control.value("output_rs_matrices").lower() if control is not None else ""
        if asked not in ("plain", "hdf5"):
            raise InputError(
                f"{files.folder}: rs_overlap.out and rs_overlap.h5: control.in does not say which "
                "of them this run wrote; delete those of the other run"
            )
        kinds = ["out" if asked == "plain" else "h5"]
    return _chosen(files, files.matrices[f"rs_overlap.{kinds[0]}"], _PERIODIC_H[kinds[0]], control)


def cluster_files(files: Files, control: Control | None) -> MatrixFiles:
    """Choose the matrix files of a molecule.

    Parameters
    ----------
    files : Files
        Those of the run.
    control : Control or None
        Decides where files of several runs lie in one folder.

    Returns
    -------
    MatrixFiles
        Text.

    Raises
    ------
    InputError
        If one is missing, or nothing says which of several it is.
    """
    overlap = files.matrices.get("overlap-matrix.out")
    if overlap is None:
        raise InputError(
            f"{files.folder / 'overlap-matrix.out'}: missing; run again with 'output h_s_matrices'"
        )
    return _chosen(files, overlap, _CLUSTER_H, control)


def _chosen(
    files: Files,
    overlap: Path,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    control: Control | None,
) -> MatrixFiles:
    """Choose between the Hamiltonian without spin and that of two channels."""
    found = [tuple(files.matrices[n] for n in group if n in files.matrices) for group in names]
    asked = control.spin if control is not None else None
    if asked is None:
        if found[0] and found[1]:
            raise InputError(
                f"{files.folder}: {found[0][0].name} and {found[1][0].name}: nothing says which of "
                "them this run wrote; put its control.in beside them"
            )
        asked = "collinear" if found[1] else "none"
    chosen = found[1] if asked == "collinear" else found[0]
    other = found[0] if asked == "collinear" else found[1]
    expected = names[1] if asked == "collinear" else names[0]
    if len(chosen) not in (0, len(expected)) or (other and not chosen):
        missing = next(name for name in expected if name not in files.matrices)
        raise InputError(
            f"{files.folder / missing}: missing, but {(chosen or other)[0].name} is there and "
            f"the run has spin '{asked}'; copy all files of the run"
        )
    return MatrixFiles(overlap, chosen, asked)
