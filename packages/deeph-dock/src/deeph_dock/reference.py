"""eigval_dft.h5: the eigenvalues that the DFT code itself printed, beside a converted structure.

An optional extra file of a structure folder. `dock check` compares with it the eigenvalues of the
converted H and S; nothing else depends on it. Its keys are those of eigval.h5:

================  =============  ==================================================
dataset           shape          meaning
================  =============  ==================================================
kpoints           (K, 3)         fractional coordinates
eigval_data       (K, bands)     eV, on the energy zero of H; ascending; for
                                 collinear spin all of spin up, then all of down
kmesh             (3,)           divisions of the mesh, where it is one
spin_channel      (bands,)       0 up, 1 down; collinear spin only
================  =============  ==================================================

The attribute ``fermi_energy_eV`` of the file is the code's own Fermi level.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file

from deeph_dock.codes import Eigenvalues

REFERENCE_FILE = "eigval_dft.h5"


def write_reference(path: Path, eigenvalues: Eigenvalues) -> None:
    """Write the file atomically.

    Parameters
    ----------
    path : Path
        Target; its folder must exist.
    eigenvalues : Eigenvalues
        As the code printed them.
    """
    channels, _, bands = eigenvalues.energies.shape
    with replace_file(path) as beside, h5py.File(beside, "w") as file:
        file["kpoints"] = eigenvalues.kpoints
        file["eigval_data"] = np.concatenate(list(eigenvalues.energies), axis=1)
        if eigenvalues.kmesh is not None:
            file["kmesh"] = np.array(eigenvalues.kmesh, dtype=np.int64)
        if channels > 1:
            file["spin_channel"] = np.repeat(np.arange(channels), bands)
        if eigenvalues.fermi_level is not None:
            file.attrs["fermi_energy_eV"] = eigenvalues.fermi_level
        file.attrs["unit"] = "eV"


def read_reference(path: Path) -> Eigenvalues:
    """Read the file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Eigenvalues
        As they were written.

    Raises
    ------
    InputError
        If the file is missing or something else.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            kpoints = np.asarray(file["kpoints"], dtype=np.float64)
            flat = np.asarray(file["eigval_data"], dtype=np.float64)
            channels = 2 if "spin_channel" in file else 1
            mesh = file["kmesh"][:].tolist() if "kmesh" in file else None
            level = file.attrs.get("fermi_energy_eV")
        energies = np.ascontiguousarray(flat.reshape(len(kpoints), channels, -1).swapaxes(0, 1))
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise InputError(
            f"{path}: not a file of eigenvalues: {error}; delete it or convert again"
        ) from error
    if kpoints.shape[1:] != (3,) or not np.isfinite(energies).all():
        raise InputError(f"{path}: kpoints or eigval_data are damaged; convert again")
    return Eigenvalues(
        kpoints,
        energies,
        None if level is None else float(level),
        None if mesh is None else (mesh[0], mesh[1], mesh[2]),
    )
