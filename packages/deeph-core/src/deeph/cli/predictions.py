"""Finds what predictions are to be compared with.

In: a dataset of predictions and perhaps one of references. Out: pairs of structure folders.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph_spec.dataset import Dataset, StructureFolder

_SAME_PLACE = 1e-3
"""Positions that differ by more, in Å, belong to another structure."""


def check_same(folder: StructureFolder, known: StructureFolder) -> None:
    """Refuse a reference of another structure."""
    import numpy as np
    from deeph_spec.errors import InputError

    ours, theirs = folder.structure, known.structure
    if folder.path == known.path:
        return
    if not np.array_equal(ours.numbers, theirs.numbers):
        raise InputError(
            f"{folder.path / 'POSCAR'}: {ours.formula} in another order or number than "
            f"{theirs.formula} of {known.path / 'POSCAR'}"
        )
    apart = max(
        float(np.abs(ours.positions - theirs.positions).max(initial=0.0)),
        float(np.abs(ours.lattice - theirs.lattice).max()),
    )
    if apart > _SAME_PLACE:
        raise InputError(
            f"{folder.path / 'POSCAR'}: atoms or cell are {apart:.3g} Å away from those of "
            f"{known.path / 'POSCAR'}: is it the same structure?"
        )


def _files() -> dict[str, str]:
    """Map the files of predictions to those of what they predict."""
    from deeph.targets import TARGETS

    names = dict.fromkeys(kind.prediction_file for kind in TARGETS.values())
    return {name: name.replace("_pred.h5", ".h5") for name in names}


def _labels(folder: StructureFolder) -> list[str]:
    """Name the files that the predictions of a folder are to be compared with."""
    return [label for file, label in _files().items() if (folder.path / file).exists()]


def find_references(
    prediction: Path, reference: Path | None
) -> list[tuple[StructureFolder, StructureFolder]]:
    """Find the reference of every prediction."""
    from deeph_spec.dataset import Dataset
    from deeph_spec.errors import InputError

    predicted = Dataset.open(prediction)
    folders = [folder for folder in predicted if _labels(folder)]
    if not folders:
        first, *others = _files()
        raise InputError(
            f"{prediction}: no {first} in its {len(predicted)} structures (nor "
            f"{', '.join(others)}); deeph infer writes them"
        )
    if reference is None:
        return [(folder, _origin(folder)) for folder in folders]
    known = Dataset.open(reference)
    if len(known) == 1 and len(folders) == 1:
        pairs = [(folders[0], known.folders[0])]
    else:
        pairs = [(folder, _same_id(folder, known)) for folder in folders]
    for folder, partner in pairs:
        labels = _labels(folder)
        if not any((partner.path / label).exists() for label in labels):
            raise InputError(f"{reference}: {partner.id}: no {labels[0]} to compare with")
    return pairs


def _same_id(folder: StructureFolder, known: Dataset) -> StructureFolder:
    """Find the structure of the same id."""
    from deeph_spec.errors import InputError

    if folder.id not in known.ids:
        raise InputError(
            f"{known.path}: has no structure '{folder.id}'; predictions and references are "
            "matched by the names of their folders"
        )
    return known[folder.id]


def _origin(folder: StructureFolder) -> StructureFolder:
    """Find the DFT result of a prediction: in its folder, or where its overlap is linked from."""
    from deeph_spec.dataset import StructureFolder
    from deeph_spec.errors import InputError

    labels = _labels(folder)
    if any((folder.path / label).exists() for label in labels):
        return folder
    source = Path(os.path.realpath(folder.file("overlap"))).parent
    origin = StructureFolder(source, folder.id)
    if source == folder.path.resolve() or not any((source / x).exists() for x in labels):
        raise InputError(
            f"{folder.path}: no {labels[0]} to compare with, neither here nor where overlap.h5 "
            "comes from; name the DFT results: deeph eval PREDICTIONS REFERENCE"
        )
    return origin
