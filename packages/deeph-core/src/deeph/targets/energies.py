"""Total energies as target: the energy that a structure declares, learned as a sum over atoms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.matrix_files import open_matrix
from deeph_spec.tensors import (
    TENSOR_FILE,
    TENSOR_PREDICTION_FILE,
    Tensor,
    read_tensors,
    tensor_names,
)
from numpy.typing import NDArray

from deeph.targets.target import Comparison, TargetSettings
from deeph.targets.tensors import TensorTarget

FloatArray = NDArray[np.float64]
FORCE_FILE = "force.h5"


@dataclass(frozen=True)
class EnergyTarget(TensorTarget):
    """Total energies in eV: the dataset ``energy`` of targets.h5, or else of force.h5."""

    kind = "energy"

    @classmethod
    def missing_label(cls, folder: StructureFolder, settings: TargetSettings) -> str:
        """Name what a folder lacks to be trained on."""
        if not folder.has("overlap"):
            return "overlap.h5"
        return "" if _energy_file(folder) is not None else f"{TENSOR_FILE}: energy"

    @classmethod
    def label_files(cls, folder: StructureFolder) -> tuple[Path, ...]:
        """Name the file of the energy and the overlap."""
        return folder.file("overlap"), _energy_file(folder) or folder.path / TENSOR_FILE

    @classmethod
    def read_label(cls, folder: StructureFolder, name: str) -> Tensor:
        """Read the energy of a folder; in double precision, large as it is."""
        path = _energy_file(folder)
        if path is not None and path.name == FORCE_FILE:
            return Tensor("energy", "1x0e", "structure", _force_file_energy(path), "eV")
        tensor = super().read_label(folder, "energy")
        if (tensor.per, tensor.irreps.removeprefix("1x")) != ("structure", "0e"):
            raise InputError(
                f"{path}: energy: {tensor.irreps} per {tensor.per}, expected 1x0e per structure; "
                "other quantities are learned with target_type tensor"
            )
        return tensor

    @classmethod
    def comparisons(
        cls, predicted: StructureFolder, reference: StructureFolder
    ) -> tuple[Comparison, ...]:
        """Return predicted and reference energy, wherever the reference has it."""
        path = predicted.path / TENSOR_PREDICTION_FILE
        if not path.is_file() or "energy" not in tensor_names(path):
            return ()
        if _energy_file(reference) is None:
            return ()
        found = read_tensors(path, ["energy"])["energy"]
        return (Comparison("energy", "eV", found, cls.read_label(reference, "energy")),)


def _energy_file(folder: StructureFolder) -> Path | None:
    """Return the file that holds the energy, if any."""
    path = folder.path / TENSOR_FILE
    if path.is_file() and "energy" in tensor_names(path):
        return path
    path = folder.path / FORCE_FILE
    return path if path.is_file() and _force_file_energy(path).size else None


def _force_file_energy(path: Path) -> FloatArray:
    """Return the energy of force.h5 as (1,), or (0,) if it has none."""
    with open_matrix(path) as file:
        value = np.asarray(file["energy"][()] if "energy" in file else [], np.float64).reshape(-1)
    if value.size > 1 or not np.isfinite(value).all():
        raise InputError(f"{path}: energy: expected one finite number; make the file anew")
    return value
