"""Writes predictions as the format wants them: complete folders, or one file beside the inputs.

A complete folder holds POSCAR, info.json (with the provenance of the prediction), overlap.h5 as a
relative link to the input's (a copy where links are not possible) and hamiltonian_pred.h5 in single
precision. It is written beside and renamed: a folder that is there is complete.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import INFO_FILE, POSCAR_FILE, StructureFolder
from deeph_spec.files import replace_file, replace_folder
from deeph_spec.system import FORMAT_VERSION, SystemInfo

PREDICTION = "hamiltonian_pred"
_OF_THE_LABELS = (
    "converter",
    "inputs",
    "source_dtype",
    "hermitian_error",
    "scf_converged",
    "steps",
)
"""Provenance of DFT's own Hamiltonian, which says nothing about a predicted one."""


class Source(Protocol):
    """What made a prediction; a `Predictor` is one."""

    @property
    def identity(self) -> str:
        """SHA-256 of the model file."""
        ...

    @property
    def network(self) -> str:
        """Name of the network."""
        ...

    @property
    def trained_on(self) -> str:
        """Hash of the dataset it was trained on."""
        ...


def write_folder(
    target: Path, folder: StructureFolder, prediction: BlockMatrix, source: Source
) -> Path:
    """Write the complete folder of a prediction.

    Parameters
    ----------
    target : Path
        The folder to make; it must not exist.
    folder : StructureFolder
        The input: structure, info.json and overlap.h5.
    prediction : BlockMatrix
        H in eV.
    source : Source
        What made it.

    Returns
    -------
    Path
        `target`.

    Raises
    ------
    InputError
        When `target` exists.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with replace_folder(target) as beside:
        folder.structure.write(beside / POSCAR_FILE)
        _link(folder.file("overlap"), beside / "overlap.h5", target.parent)
        _write_matrix(beside / f"{PREDICTION}.h5", prediction, source)
        _predicted_info(folder.info, source).write(beside / INFO_FILE)
    return target


def write_beside_input(folder: StructureFolder, prediction: BlockMatrix, source: Source) -> Path:
    """Write ``hamiltonian_pred.h5`` into the folder of the input; see `write_folder`.

    The file's root attributes say what made it, because info.json stays as it is.
    """
    target = folder.path / f"{PREDICTION}.h5"
    _write_matrix(target, prediction, source)
    return target


def _provenance(source: Source) -> dict[str, Any]:
    """Say what made a prediction."""
    return {
        "model": f"sha256:{source.identity}",
        "network": source.network,
        "trained_on": source.trained_on,
        "predictor": f"deeph-core {version('deeph-core')}",
    }


def _predicted_info(info: SystemInfo, source: Source) -> SystemInfo:
    """Describe the predicted folder.

    The Fermi level is unknown: DFT's belongs to DFT's own Hamiltonian. The number of electrons
    stays, so that it can be computed.
    """
    provenance = {k: v for k, v in info.provenance.items() if k not in _OF_THE_LABELS}
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return replace(
        info,
        fermi_level=None,
        format_version=FORMAT_VERSION,
        provenance={**provenance, "created": created, **_provenance(source)},
    )


def _write_matrix(path: Path, prediction: BlockMatrix, source: Source) -> None:
    """Write a prediction in single precision, with its origin in the root attributes."""
    single = np.complex64 if prediction.dtype.kind == "c" else np.float32
    with replace_file(path) as beside:
        prediction.with_entries(prediction.entries.astype(single)).write(beside, "hamiltonian")
        with h5py.File(beside, "r+", locking=False) as file:
            file.attrs.update(_provenance(source))


def _link(source: Path, link: Path, final_folder: Path) -> None:
    """Link to a file relatively to where the link will finally lie, or copy the file.

    The temporary folder and the final one have the same parent, so that the link is right in both.
    """
    depth = final_folder.resolve() / "folder"
    try:
        os.symlink(os.path.relpath(source.parent.resolve() / source.name, depth), link)
    except OSError:  # a file system without links
        shutil.copyfile(source, link)
