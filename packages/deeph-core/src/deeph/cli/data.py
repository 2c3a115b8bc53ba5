"""Opens and checks the data that a command works on, with lines that say what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deeph_spec.dataset import Dataset, StructureFolder
    from deeph_spec.validation import Finding

    from deeph.config import TrainConfig

_SHOWN = 5


def open_dataset(path: Path, depth: int | None) -> Dataset:
    """Open a dataset; folders that hold only graphs of another program are refused by name."""
    from deeph_spec.dataset import DFT_FOLDER, Dataset
    from deeph_spec.errors import InputError

    if (path / "graph").is_dir() and not (path / DFT_FOLDER).is_dir():
        raise InputError(
            f"{path}: holds graph/ but no dft/: graphs are built from the DFT results for every "
            "run; give the folder with dft/"
        )
    return Dataset.open(path, depth)


def used_folders(dataset: Dataset, config: TrainConfig) -> Sequence[StructureFolder]:
    """List the structures that a training reads: those of the split file, or all.

    Raises
    ------
    InputError
        When the split names a structure that is not there, or one has no label.
    """
    from deeph_spec.dataset import read_split
    from deeph_spec.errors import InputError

    from deeph.targets import TARGETS
    from deeph.training.data import target_settings

    split_file = config.process.train.dataloader.dataset_split_json
    if split_file is None:
        folders = dataset.folders
    else:
        split = read_split(split_file)
        if not split["train"]:
            raise InputError(f"{split_file}: train: lists no structure")
        folders = tuple(dataset[id] for name in ("train", "validate") for id in split[name])
    kind, settings = TARGETS[config.model.target_type], target_settings(config)
    bare: dict[str, list[str]] = {}
    for folder in folders:
        missing = kind.missing_label(folder, settings)
        if missing:
            bare.setdefault(missing, []).append(folder.id)
    for missing, ids in bare.items():
        raise InputError(
            f"{dataset.path}: {_names(ids)}: no {missing}, which training needs; leave these "
            "structures out with process.train.dataloader.dataset_split_json"
        )
    return folders


def refuse_invalid(folders: Iterable[StructureFolder], note: Callable[[str], None]) -> None:
    """Check every folder against the format.

    Raises
    ------
    InputError
        When a folder breaks a rule; the line names structure, file and key.
    """
    from deeph_spec.errors import InputError
    from deeph_spec.validation import validate_folder

    errors: list[Finding] = []
    warnings: dict[str, list[Finding]] = {}
    count = 0
    for folder in folders:
        count += 1
        for finding in validate_folder(folder.path):
            if finding.severity == "error":
                errors.append(finding)
            else:
                warnings.setdefault(finding.rule, []).append(finding)
    for same in warnings.values():
        more = f" (the same {len(same) - 1} times more)" if len(same) > 1 else ""
        note(f"warning: {plain(same[0])}{more}")
    if errors:
        more = f" (and {len(errors) - 1} more: dock check lists them)" if len(errors) > 1 else ""
        raise InputError(f"{plain(errors[0])}{more}")
    note(f"{count} structures checked against the format: no errors")


def plain(finding: Finding) -> str:
    """Write a finding without its severity, which the line around it says."""
    return str(finding).removeprefix(f"{finding.severity} ")


def _names(ids: Sequence[str]) -> str:
    """Write some ids and count the rest."""
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more
