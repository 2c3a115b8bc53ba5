"""Datasets: finding the structure folders below a root, and splitting them.

``<root>/dft/<id>/{POSCAR, info.json, overlap.h5, hamiltonian.h5, ...}``; the id is the path below
``dft/`` with "/" between its parts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.files import write_text
from deeph_spec.spin import spin_of
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo, read_document

DFT_FOLDER = "dft"
POSCAR_FILE = "POSCAR"
INFO_FILE = "info.json"
SPLIT_FILE = "dataset_split.json"
SPLIT_KEYS = ("train", "validate", "test")
# Names that are read; the first is the one that is written.
MATRIX_FILES: dict[str, tuple[str, ...]] = {
    "overlap": ("overlap.h5",),
    "hamiltonian": ("hamiltonian.h5",),
    "density_matrix": ("density_matrix.h5",),
    "position_matrix": ("position_matrix.h5", "position.h5"),
    "kinetic_matrix": ("kinetic_matrix.h5",),
    "gradient_matrix": ("gradient_matrix.h5",),
    "hamiltonian_raw": ("hamiltonian_raw.h5",),
    "hamiltonian_pred": ("hamiltonian_pred.h5",),
    "density_matrix_pred": ("density_matrix_pred.h5",),
    "overlap_pred": ("overlap_pred.h5",),
}


@dataclass(frozen=True)
class StructureFolder:
    """One structure's folder; files are read when they are asked for.

    Parameters
    ----------
    path : Path
        The folder.
    id : str
        Its name in the dataset.
    """

    path: Path
    id: str

    @cached_property
    def structure(self) -> Structure:
        """Atoms and cell, from POSCAR; read once."""
        return Structure.read(self.path / POSCAR_FILE)

    @cached_property
    def info(self) -> SystemInfo:
        """Spin, shells and electrons, from info.json; read once."""
        return SystemInfo.read(self.path / INFO_FILE)

    def file(self, quantity: str) -> Path:
        """Name the file of a matrix.

        Parameters
        ----------
        quantity : str
            overlap, hamiltonian, hamiltonian_pred, density_matrix, position_matrix, ...

        Returns
        -------
        Path
            The file that is there, or else the one to write.
        """
        names = MATRIX_FILES.get(quantity, (f"{quantity}.h5",))
        paths = [self.path / name for name in names]
        return next((path for path in paths if path.exists()), paths[0])

    def has(self, quantity: str) -> bool:
        """Tell whether the file of a matrix is there.

        Parameters
        ----------
        quantity : str
            As in `file`.

        Returns
        -------
        bool
            True if the file, or what its link points to, exists.
        """
        return self.file(quantity).exists()

    def matrix(self, quantity: str) -> BlockMatrix:
        """Read a matrix.

        Parameters
        ----------
        quantity : str
            As in `file`.

        Returns
        -------
        BlockMatrix
            In the order of the file.

        Raises
        ------
        InputError
            If the file is missing or not a matrix.
        """
        return BlockMatrix.read(self.file(quantity))

    def overlap(self) -> BlockMatrix:
        """Read the overlap matrix S.

        Returns
        -------
        BlockMatrix
            Without unit and without spin.
        """
        return self.matrix("overlap")

    def hamiltonian(self) -> BlockMatrix:
        """Read the Hamiltonian.

        Returns
        -------
        BlockMatrix
            In eV.
        """
        return self.matrix("hamiltonian")


class Dataset:
    """The structure folders of a dataset, in natural order of their ids.

    Parameters
    ----------
    path : path-like
        The root of the dataset (which holds ``dft``).
    folders : sequence of StructureFolder
        Its structures.
    """

    def __init__(self, path: str | os.PathLike[str], folders: Sequence[StructureFolder]) -> None:
        self.path = Path(path)
        self.folders = tuple(sorted(folders, key=lambda folder: natural_key(folder.id)))
        self._by_id = {folder.id: folder for folder in self.folders}

    @classmethod
    def open(cls, path: str | os.PathLike[str], depth: int | None = None) -> Dataset:
        """Find the structures of a dataset.

        Parameters
        ----------
        path : path-like
            A root that holds ``dft``, a ``dft`` folder, any folder of structures, or one structure.
        depth : int, optional
            Folders between the dft folder and the structures; -1 means that `path` is a structure
            itself. Without it the structures are searched for.

        Returns
        -------
        Dataset
            With at least one structure.

        Raises
        ------
        InputError
            If there is no structure, or structures lie at different depths.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file, expected a folder" if path.exists() else "no such folder"
            raise InputError(f"{path}: {what}")
        absolute = Path(os.path.abspath(path))
        if depth == -1 or (depth is None and is_structure(path)):
            if not is_structure(path):
                raise InputError(f"{path}: no structure: {POSCAR_FILE} or {INFO_FILE} is missing")
            return cls(path, [StructureFolder(path, absolute.name)])
        top = path / DFT_FOLDER if (path / DFT_FOLDER).is_dir() else path
        root = path.parent if top == path and absolute.name == DFT_FOLDER else path
        found = find_folders(top, whole=True) if depth is None else _at_depth(top, depth)
        if not found:
            at = "" if depth is None else f" at depth {depth}"
            raise InputError(
                f"{top}: no structure found{at}: expected folders that hold {POSCAR_FILE} "
                f"and {INFO_FILE}"
            )
        _refuse_mixed(top, found)
        return cls(root, [StructureFolder(top / name, name) for name in found])

    def __len__(self) -> int:
        return len(self.folders)

    def __iter__(self) -> Iterator[StructureFolder]:
        return iter(self.folders)

    def __getitem__(self, id: str) -> StructureFolder:
        if id not in self._by_id:
            raise InputError(f"{self.path}: no structure '{id}' among {len(self)} structures")
        return self._by_id[id]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in natural order."""
        return tuple(folder.id for folder in self.folders)

    @cached_property
    def incomplete(self) -> dict[str, str]:
        """Folders that are no structure because POSCAR or info.json is missing: id, and which."""
        top = self.path / DFT_FOLDER if (self.path / DFT_FOLDER).is_dir() else self.path
        return {
            name: next(f for f in (POSCAR_FILE, INFO_FILE) if not (top / name / f).is_file())
            for name in sorted(find_folders(top), key=natural_key)
            if name and not is_structure(top / name)
        }

    @cached_property
    def orbital_map(self) -> dict[str, tuple[int, ...]]:
        """Shells of every element of any folder, by atomic number.

        Raises
        ------
        InputError
            Rule E35: if an element has different shells in two folders.
        """
        from deeph_spec.structure import ATOMIC_NUMBERS

        shells: dict[str, tuple[int, ...]] = {}
        home: dict[str, str] = {}
        for folder in self.folders:
            for symbol, value in folder.info.orbital_map.items():
                if shells.setdefault(symbol, value) != value:
                    raise InputError(
                        f"{self.path}: elements_orbital_map: {symbol} has shells "
                        f"{list(shells[symbol])} in {home[symbol]} and {list(value)} in "
                        f"{folder.id}; one dataset needs one basis",
                        rule="E35",
                        key="elements_orbital_map",
                    )
                home.setdefault(symbol, folder.id)
        return dict(sorted(shells.items(), key=lambda item: ATOMIC_NUMBERS.get(item[0], 0)))

    @cached_property
    def spin(self) -> str | None:
        """The spin setting all folders share; None where neither a file nor a Hamiltonian says it.

        The published layout does not tell collinear spin from spin-orbit coupling; the blocks of
        the first Hamiltonian do.

        Raises
        ------
        InputError
            Rule E35: if `spinful` or `spin` differ between two folders.
        """
        first = self.folders[0]
        setting: str | None = None
        for folder in self.folders:
            spin = folder.info.spin if folder.info.spinful else "none"
            if folder.info.spinful != first.info.spinful or (
                setting and spin not in (None, setting)
            ):
                raise InputError(
                    f"{self.path}: spinful: {folder.id} differs from {first.id}; "
                    "one dataset needs one spin setting",
                    rule="E35",
                    key="spinful",
                )
            setting = setting or spin
        labelled = next((folder for folder in self.folders if folder.has("hamiltonian")), None)
        if setting is None and labelled is not None:
            return spin_of(labelled.info, labelled.hamiltonian())
        return setting


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Give the key of natural order: numbers inside a text compare as numbers.

    Parameters
    ----------
    text : str
        E.g. an id.

    Returns
    -------
    tuple
        Sorts "2" before "10"; the text itself comes last so that "07" and "7" have an order.
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return (*((0, int(p)) if p.isdigit() else (1, p) for p in parts), (-1, text))


def is_structure(path: Path) -> bool:
    """Tell whether a folder is a structure: it holds POSCAR and info.json.

    Parameters
    ----------
    path : Path
        A folder.

    Returns
    -------
    bool
        True if both are files, or links to files.
    """
    return (path / POSCAR_FILE).is_file() and (path / INFO_FILE).is_file()


def _subfolders(path: Path) -> list[str]:
    """Name the folders inside, hidden ones and those that start with "_" left out."""
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.name[0] not in "._" and e.is_dir())


def structure_paths(dataset: Path) -> dict[str, Path]:
    """Find the structure folders of a dataset, also those with files missing.

    Parameters
    ----------
    dataset : Path
        A root that holds dft, a dft folder, any folder of structures, or one structure.

    Returns
    -------
    dict
        Folder of each id, in natural order.

    Raises
    ------
    InputError
        If the folder is missing or holds no structure.
    """
    if not dataset.is_dir():
        what = "is a file, expected a folder" if dataset.exists() else "no such folder"
        raise InputError(f"{dataset}: {what}")
    top = dataset / DFT_FOLDER if (dataset / DFT_FOLDER).is_dir() else dataset
    found = sorted(find_folders(top), key=natural_key)
    if not found:
        raise InputError(
            f"{dataset}: no structure in it; expected dft/<id>/POSCAR, info.json, overlap.h5, ..."
        )
    return {name or top.absolute().name: top / name for name in found}


def find_folders(top: Path, whole: bool = False) -> list[str]:
    """Find folders of structures below `top`, also inside linked folders.

    Parameters
    ----------
    top : Path
        Where to search. It may be such a folder itself: its name is then empty.
    whole : bool
        Whether POSCAR and info.json must both be there; else any file of the format is enough.

    Returns
    -------
    list of str
        Paths relative to `top`, with "/". Nothing is searched inside a folder that was found.
    """
    found: list[str] = []
    above: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while above:
        name, parents = above.pop()
        path = top / name
        status = path.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in parents:
            continue  # a link that leads back up
        if is_structure(path) or (not whole and any(map(os.path.lexists, _own_files(path)))):
            found.append(name)
            continue
        children = _subfolders(path)
        above += [
            (f"{name}/{child}" if name else child, parents | {identity}) for child in children
        ]
    return found


def _own_files(path: Path) -> list[Path]:
    """List the files by which a folder is known as a structure, even if others are missing."""
    names = [POSCAR_FILE, INFO_FILE, *(name for names in MATRIX_FILES.values() for name in names)]
    return [path / name for name in names]


def _at_depth(top: Path, depth: int) -> list[str]:
    """Find the structures with `depth` folders in between."""
    level = [""]
    for _ in range(depth + 1):
        level = [f"{n}/{child}" if n else child for n in level for child in _subfolders(top / n)]
    return [name for name in level if is_structure(top / name)]


def odd_depths(names: Sequence[str]) -> list[str]:
    """Name the folders that do not lie as deep as most of them.

    Parameters
    ----------
    names : sequence of str
        Ids with "/" between their parts.

    Returns
    -------
    list of str
        Empty if all depths are equal.
    """
    depths = [name.count("/") for name in names]
    common = max(sorted(set(depths)), key=depths.count, default=0)
    return [name for name, depth in zip(names, depths, strict=True) if depth != common]


def _refuse_mixed(top: Path, found: Sequence[str]) -> None:
    """Refuse structures at different depths."""
    odd = odd_depths(found)
    if odd:
        shown = ", ".join(odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        raise InputError(
            f"{top}: structures at different depths: not as deep as most are {shown}; "
            "move them, or give the depth"
        )


def read_split(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read dataset_split.json.

    Parameters
    ----------
    path : path-like
        The file, or the root that holds it.

    Returns
    -------
    dict
        Lists of ids under train, validate, test; empty where the file has no such key.

    Raises
    ------
    InputError
        Rule E36: if ids are not texts, or one is in two sets.
    """
    path = Path(path)
    path = path / SPLIT_FILE if path.is_dir() else path
    document = read_document(path)
    split: dict[str, list[str]] = {}
    for key in SPLIT_KEYS:
        ids = document.get(key, [])
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
            raise InputError(
                f'{path}: {key}: expected a list of ids as texts: "007" and 7 differ',
                rule="E36",
                key=key,
            )
        split[key] = ids
    everything = [id for ids in split.values() for id in ids]
    if len(set(everything)) < len(everything):
        twice = next(id for id in everything if everything.count(id) > 1)
        raise InputError(f"{path}: id '{twice}' is listed twice", rule="E36", key=twice)
    return split


def write_split(path: str | os.PathLike[str], split: Mapping[str, Sequence[str]]) -> None:
    """Write dataset_split.json atomically.

    Parameters
    ----------
    path : path-like
        The file, or the root to put it into.
    split : mapping
        Lists of ids under train, validate, test.
    """
    path = Path(path)
    path = path / SPLIT_FILE if path.is_dir() else path
    document = {key: list(split.get(key, ())) for key in SPLIT_KEYS}
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
