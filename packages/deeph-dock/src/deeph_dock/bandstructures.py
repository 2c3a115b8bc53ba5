"""Band structures of structure folders: from files to `Bands`, one for each Hamiltonian found.

This is what `dock band` does for one folder, as a function: it reads POSCAR, info.json, overlap.h5
and hamiltonian.h5 and / or hamiltonian_pred.h5, chooses path and mesh, and counts the electrons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError

from deeph_dock.electrons.bands import (
    Bands,
    choose_mesh,
    compute_bands,
    find_fermi_level,
)
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.kpath import DEFAULT_POINTS, KPath, automatic_path, read_kpath
from deeph_dock.electrons.occupations import DEFAULT_SPACING, DEFAULT_WIDTH_EV, FermiLevel

HAMILTONIANS = {"hamiltonian": "DFT", "hamiltonian_pred": "prediction"}
"""What is diagonalised where it is found, and its name in figures."""
KPATH_FILE = "K_PATH"
AUTOMATIC = "auto"
LEAST_OVERLAP = {"hamiltonian": 0.0, "hamiltonian_pred": 1e-3}
"""Which combinations of orbitals are left out: none of DFT's, the nearly dependent of predictions.

In the DZP basis of graphene this moves the bands of DFT within 3 eV of E_F by 0.3 meV, and keeps
an error of 3 meV in H from pulling states 100 eV down.
"""
RESULT_FILES = {"hamiltonian": "band.h5", "hamiltonian_pred": "band_pred.h5"}
"""Where its bands are written, in the folder of the structure or in the output folder."""

Task = Callable[[str, int], Callable[[int], None]]
"""Called with the name and length of a piece of work; returns what reports steps of it."""


@dataclass(frozen=True)
class BandSettings:
    """How bands are computed.

    Attributes
    ----------
    kpath : str or None
        K_PATH file, or "auto" for a path proposed from the structure; None takes the K_PATH of the
        folder, and "auto" where there is none.
    points : int
        About how many points a proposed path has.
    mesh : (n1, n2, n3) or None
        Mesh on which electrons are counted; None makes one of the given spacing.
    spacing : float
        Mesh spacing, 1/Å, reciprocal vectors with 2 pi.
    fermi : float or None
        Fermi level in eV that replaces the counted one.
    smearing, width : str, float (eV)
    least_overlap : float or None
        See `HamiltonianK.least_overlap`; None takes `LEAST_OVERLAP` of each Hamiltonian.
    jobs : int
        Processes.
    electrons : float or None
        Electrons of the cell, both spins, where info.json does not say how many.
    """

    kpath: str | None = None
    points: int = DEFAULT_POINTS
    mesh: tuple[int, int, int] | None = None
    spacing: float = DEFAULT_SPACING
    fermi: float | None = None
    smearing: str = "fermi-dirac"
    width: float = DEFAULT_WIDTH_EV
    least_overlap: float | None = None
    jobs: int = 1
    electrons: float | None = None


def _silent(name: str, length: int) -> Callable[[int], None]:
    return lambda steps: None


def folder_bands(
    folder: StructureFolder, settings: BandSettings | None = None, task: Task = _silent
) -> list[Bands]:
    """Compute the bands of every Hamiltonian of a folder: DFT's first, then the prediction's.

    Parameters
    ----------
    folder : StructureFolder
    settings : BandSettings, optional
    task : callable, optional
        For progress bars.

    Returns
    -------
    list of Bands
        All along one path; `Bands.matrix` tells which Hamiltonian, the label is "DFT" or
        "prediction".

    Raises
    ------
    InputError
        If there is no Hamiltonian, S is missing or not positive definite, or the Fermi level can
        not be found; names the folder and file.
    """
    settings = settings or BandSettings()
    found = [name for name in HAMILTONIANS if folder.has(name)]
    if not found:
        raise InputError(
            f"{folder.path}: no Hamiltonian: expected hamiltonian.h5 or hamiltonian_pred.h5; "
            "'dock convert' makes the first, 'deeph infer' the second"
        )
    if not folder.has("overlap") and not folder.info.orthogonal_basis:
        raise InputError(
            f"{folder.path}: overlap.h5 is missing: bands need S; convert the run again with its "
            "overlap, or link the overlap.h5 of the same structure into this folder"
        )
    overlap = folder.overlap() if folder.has("overlap") else None
    path = _given_path(folder, settings.kpath)
    results = []
    for name in found:
        try:
            least = settings.least_overlap
            problem = replace(
                HamiltonianK.from_blocks(
                    folder.structure, folder.info, folder.matrix(name), overlap
                ),
                least_overlap=LEAST_OVERLAP[name] if least is None else least,
            )
            if path is None:
                path = automatic_path(folder.structure, problem.coupled_axes, settings.points)
            fermi = _fermi(folder, problem, settings, task, name)
            results.append(
                compute_bands(
                    problem,
                    folder.structure,
                    path,
                    fermi,
                    label=HAMILTONIANS[name],
                    matrix=name,
                    jobs=settings.jobs,
                    progress=task(f"{folder.id} {HAMILTONIANS[name]}: path", int(path.fresh.sum())),
                )
            )
        except InputError as error:
            text = str(error)
            if text.startswith(str(folder.path)):
                raise
            raise InputError(f"{folder.path}: {folder.file(name).name}: {text}") from error
    return results


def _given_path(folder: StructureFolder, kpath: str | None) -> KPath | None:
    """Read the path asked for or kept in the folder; None to propose one."""
    own = folder.path / KPATH_FILE
    if kpath is None:
        return read_kpath(own) if own.exists() else None
    return None if kpath == AUTOMATIC else read_kpath(kpath)


def _fermi(
    folder: StructureFolder, problem: HamiltonianK, settings: BandSettings, task: Task, name: str
) -> FermiLevel:
    if settings.fermi is not None:
        return FermiLevel(
            settings.fermi, smearing=settings.smearing, width=settings.width, source="given"
        )
    info = folder.info
    if info.occupation is None and info.fermi_level is None:
        info = replace(info, occupation=settings.electrons)
    mesh = choose_mesh(problem, folder.structure, settings.mesh, settings.spacing)
    return find_fermi_level(
        problem,
        info,
        mesh,
        smearing=settings.smearing,
        width=settings.width,
        jobs=settings.jobs,
        progress=task(f"{folder.id} {HAMILTONIANS[name]}: {mesh} mesh", len(mesh.kpoints)),
    )
