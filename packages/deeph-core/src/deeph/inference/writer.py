"""Writes predictions as the format wants them: complete folders, or one file beside the inputs.

A complete folder holds POSCAR, info.json (with the provenance of the prediction), overlap.h5 as a
relative link to the input's (a copy where links are not possible) and the prediction, for example
hamiltonian_pred.h5, in single precision. It is written beside and renamed: a folder that is there
is complete.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from deeph_spec.dataset import INFO_FILE, POSCAR_FILE, StructureFolder
from deeph_spec.files import replace_folder
from deeph_spec.system import FORMAT_VERSION, SystemInfo

from deeph.targets import Target

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

    @property
    def target(self) -> Target:
        """What was predicted, and how it is written."""
        ...


def write_folder(target: Path, folder: StructureFolder, prediction: Any, source: Source) -> Path:
    """Write the complete folder of a prediction.

    Parameters
    ----------
    target : Path
        The folder to make; it must not exist.
    folder : StructureFolder
        The input: structure, info.json and overlap.h5.
    prediction : BlockMatrix or Tensor
        What the source's target predicts.
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
        _write_prediction(beside, prediction, source)
        _predicted_info(folder.info, source).write(beside / INFO_FILE)
    return target


def write_beside_input(folder: StructureFolder, prediction: Any, source: Source) -> Path:
    """Write the file of the prediction into the folder of the input; see `write_folder`.

    The file's root attributes say what made it, because info.json stays as it is.
    """
    return _write_prediction(folder.path, prediction, source)


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


def _write_prediction(folder: Path, prediction: Any, source: Source) -> Path:
    """Write a prediction in single precision, with its origin in the root attributes."""
    path = folder / source.target.prediction_file
    source.target.write(path, prediction, _provenance(source))
    return path


def _link(source: Path, link: Path, final_folder: Path) -> None:
    """Link to a file relatively to where the link will finally lie, or copy the file.

    The temporary folder and the final one have the same parent, so that the link is right in both.
    """
    depth = final_folder.resolve() / "folder"
    try:
        os.symlink(os.path.relpath(source.parent.resolve() / source.name, depth), link)
    except OSError:  # a file system without links
        shutil.copyfile(source, link)
