"""A whole dataset: its folders one by one, and what they must have in common."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from deeph_spec.dataset import (
    DFT_FOLDER,
    INFO_FILE,
    SPLIT_FILE,
    SPLIT_KEYS,
    Dataset,
    find_folders,
    natural_key,
    odd_depths,
)
from deeph_spec.errors import InputError, Problem
from deeph_spec.matrix_files import MAX_BYTES
from deeph_spec.system import read_document
from deeph_spec.validation.findings import Finding, finding, problem_of
from deeph_spec.validation.folders import validate_folder

_FEATURE_FILES = {
    "features.json": "dft_dirname_list",
    "features_preview.json": "all_dft_dirname",
}


def validate_dataset(
    dataset: Dataset | str | os.PathLike[str], max_bytes: int = MAX_BYTES
) -> list[Finding]:
    """Check every folder of a dataset, and what the folders must have in common.

    Parameters
    ----------
    dataset : Dataset or path-like
        A path is searched for folders that hold any file of the format, so that folders without
        POSCAR or info.json are found, too.
    max_bytes : int
        Most bytes of matrix entries held at a time.

    Returns
    -------
    list of Finding
        Errors and warnings; empty if all is well.
    """
    root, folders = _folders(dataset)
    found: list[Finding] = []
    for path in folders.values():
        found += validate_folder(path, max_bytes)
    return found + _consistency(root, folders)


def consistency_findings(dataset: Dataset | str | os.PathLike[str]) -> list[Finding]:
    """Check what the folders of a dataset must have in common, and nothing inside them.

    Parameters
    ----------
    dataset : Dataset or path-like
        As for `validate_dataset`.

    Returns
    -------
    list of Finding
        Rules E35, E36, E39, W13.
    """
    return _consistency(*_folders(dataset))


def _folders(dataset: Dataset | str | os.PathLike[str]) -> tuple[Path, dict[str, Path]]:
    """Give the root and the folders by id, in natural order."""
    if isinstance(dataset, Dataset):
        return dataset.path, {folder.id: folder.path for folder in dataset}
    root = Path(dataset)
    top = root / DFT_FOLDER if (root / DFT_FOLDER).is_dir() else root
    if top == root and Path(os.path.abspath(root)).name == DFT_FOLDER:
        root = root.parent
    try:
        names = find_folders(top)
    except OSError:
        names = []
    return root, {name: top / name if name else top for name in sorted(names, key=natural_key)}


def _consistency(root: Path, folders: dict[str, Path]) -> list[Finding]:
    """Compare the folders with each other and with the files at the root."""
    try:
        found = _depth_findings(root, folders) + _basis_findings(root, folders)
        return found + _split_findings(root, folders) + _feature_findings(root, folders)
    except Exception as error:
        # As for a folder: a validator reports, it does not raise.
        message = f"internal error: {type(error).__name__}: {error}"
        remedy = "please report this, with the dataset"
        return [finding(str(root), "", Problem("E00", "", message, remedy))]


def _depth_findings(root: Path, folders: dict[str, Path]) -> list[Finding]:
    """Refuse an empty dataset and folders at different depths: E39."""
    if not folders:
        message = "no structure folder was found"
        problem = Problem("E39", "", message, "give a folder that holds dft/<id>/POSCAR")
        return [finding(str(root), "", problem)]
    odd = odd_depths(list(folders))
    if not odd:
        return []
    message = f"structures at different depths: {', '.join(odd[:5])} and others"
    remedy = "move all structures to one depth"
    return [finding(str(root), "", Problem("E39", odd[0], message, remedy))]


def _basis_findings(root: Path, folders: dict[str, Path]) -> list[Finding]:
    """Compare shells and spin of all folders: E35."""
    found: list[Finding] = []
    first: dict[str, tuple[str, Any]] = {}
    reported: set[str] = set()
    for name, path in folders.items():
        try:
            document = read_document(path / INFO_FILE)
        except InputError:
            continue  # reported with the folder
        settings = {"spinful": document.get("spinful")}
        if document.get("spin") is not None:
            settings["spin"] = document["spin"]
        shells = document.get("elements_orbital_map")
        if isinstance(shells, dict):
            settings |= {
                f"elements_orbital_map.{symbol}": value for symbol, value in shells.items()
            }
        for key, value in settings.items():
            if value is None:
                continue  # a missing key is reported with the folder
            other, before = first.setdefault(key, (name, value))
            if value != before and key not in reported:
                reported.add(key)
                message = f"{value} in {name}, but {before} in {other}"
                problem = Problem("E35", key, message, "one dataset needs one basis and one spin")
                found.append(finding(str(root), os.path.relpath(path / INFO_FILE, root), problem))
    return found


def _split_findings(root: Path, folders: dict[str, Path]) -> list[Finding]:
    """Check dataset_split.json: E36."""
    path = root / SPLIT_FILE
    if not os.path.lexists(path):
        return []
    found: list[Problem] = []
    try:
        document = read_document(path)
    except InputError as error:
        problem = problem_of(error, path, "E36")
        return [finding(str(root), SPLIT_FILE, Problem("E36", *_rest(problem)))]
    home: dict[str, str] = {}
    for key in SPLIT_KEYS:
        ids = document.get(key, [])
        if not isinstance(ids, list):
            message = f"found {type(ids).__name__}, expected a list of ids"
            found.append(Problem("E36", key, message, "write a list of texts"))
            continue
        numbers = [id for id in ids if not isinstance(id, str)]
        if numbers:
            message = f"id {numbers[0]!r} is not a text: '007' and 7 differ"
            found.append(Problem("E36", key, message, "write ids as texts"))
        texts = [id for id in ids if isinstance(id, str)]
        unknown = [id for id in texts if id not in folders]
        if unknown:
            message = f"unknown id '{unknown[0]}'" + _more(unknown)
            found.append(Problem("E36", key, message, "remove it, or add the structure"))
        twice = [id for id in texts if home.setdefault(id, key) != key or texts.count(id) > 1]
        if twice:
            message = f"id '{twice[0]}' is also in {home[twice[0]]}" + _more(twice)
            found.append(Problem("E36", key, message, "list each id once"))
    return [finding(str(root), SPLIT_FILE, problem) for problem in found]


def _rest(problem: Problem) -> tuple[str, str, str]:
    return problem.key, problem.message, problem.remedy


def _more(items: list[str]) -> str:
    return f" and {len(items) - 1} more" if len(items) > 1 else ""


def _feature_findings(root: Path, folders: Iterable[str]) -> list[Finding]:
    """Compare the list of the published engine's cache with the folders: W13."""
    found = []
    names = set(folders)
    for file, key in _FEATURE_FILES.items():
        for path in (root / file, root / DFT_FOLDER / file):
            try:
                listed = read_document(path).get(key)
            except InputError:
                continue  # a cache of others: nothing here depends on it
            if isinstance(listed, list) and set(map(str, listed)) != names:
                message = f"lists {len(listed)} folders, {len(names)} are there, or others"
                problem = Problem("W13", key, message, "remove the file: it is a cache")
                found.append(finding(str(path.parent), file, problem))
    return found
