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


def _predicted(folder: StructureFolder) -> list[str]:
    """Name the predictions in a folder."""
    from deeph.targets import TARGETS

    names = dict.fromkeys(kind.prediction_file for kind in TARGETS.values())
    return [name for name in names if (folder.path / name).exists()]


def _labels(folder: StructureFolder, partner: StructureFolder) -> list[Path]:
    """Name the files of a partner that the predictions of a folder are to be compared with."""
    from deeph.targets import TARGETS

    names = _predicted(folder)
    kinds = [kind for kind in TARGETS.values() if kind.prediction_file in names]
    return [kind.label_files(partner)[-1] for kind in kinds]


def _known(folder: StructureFolder, partner: StructureFolder) -> bool:
    return any(label.exists() for label in _labels(folder, partner))


def find_references(
    prediction: Path, reference: Path | None
) -> list[tuple[StructureFolder, StructureFolder]]:
    """Find the reference of every prediction."""
    from deeph_spec.dataset import Dataset
    from deeph_spec.errors import InputError

    predicted = Dataset.open(prediction)
    folders = [folder for folder in predicted if _predicted(folder)]
    if not folders:
        from deeph.targets import TARGETS

        first, *others = dict.fromkeys(kind.prediction_file for kind in TARGETS.values())
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
        if not _known(folder, partner):
            label = _labels(folder, partner)[0].name
            raise InputError(f"{reference}: {partner.id}: no {label} to compare with")
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

    if _known(folder, folder):
        return folder
    source = Path(os.path.realpath(folder.file("overlap"))).parent
    origin = StructureFolder(source, folder.id)
    if source == folder.path.resolve() or not _known(folder, origin):
        raise InputError(
            f"{folder.path}: no {_labels(folder, folder)[0].name} to compare with, neither here "
            "nor where overlap.h5 comes from; name the DFT results: deeph eval PREDICTIONS "
            "REFERENCE"
        )
    return origin
