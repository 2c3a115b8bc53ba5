"""Structures that users name: from files of any kind, or folders of them, with an id for each.

POSCAR files are read by the rules of the format, all others by ASE. The id is the path below the
folder that was named, without the ending: ``a/water.xyz`` is "a/water", and a file named POSCAR is
its folder. Several structures in a file are "a/water/0001", "a/water/0002", ...
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.dataset import DFT_FOLDER
from deeph_spec.errors import InputError
from deeph_spec.structure import SYMBOLS, Structure
from deeph_spec.validation.distances import closest_pair
from numpy.typing import NDArray

SUFFIXES = (".vasp", ".poscar", ".xyz", ".extxyz", ".cif", ".xsf", ".gen", ".pdb", ".mol", ".sdf")
"""Endings of structure files in folders; files that are named themselves may have any."""
TOO_CLOSE = 0.1
"""Atoms nearer than this are an error of the input, Å."""
_EMPTY = 15.0  # Å, along directions without a cell vector
_JOINT = "__"
_POSCAR = re.compile(r"(POSCAR|CONTCAR)([-_.].*)?|.*\.(vasp|poscar)", re.IGNORECASE)

Periodic = tuple[bool, bool, bool]


@dataclass(frozen=True, eq=False)
class Given:
    """One structure as it was given.

    Attributes
    ----------
    id : str
        Name in the dataset.
    source : str
        File and, where there are several, number of the structure; without folders.
    structure : Structure or None
        None if it cannot be read.
    periodic : three bool
        Directions in which it repeats; all False for a molecule.
    problem : str
        What is wrong with it.
    path : Path
        The file.
    """

    id: str
    source: str
    structure: Structure | None
    periodic: Periodic = (False, False, False)
    problem: str = ""
    path: Path = Path()

    def usable(self) -> Structure:
        """Give the structure.

        Returns
        -------
        Structure
            As it was given.

        Raises
        ------
        InputError
            If something is wrong with it, with its source.
        """
        if self.problem or self.structure is None:
            source = "" if self.source in self.problem else f"{self.source}: "
            raise InputError(f"{source}{self.problem}")
        return self.structure


def find_structures(
    sources: Sequence[Path], apart_from: Path, flatten: bool = False, kind: str | None = None
) -> list[Given]:
    """Find and read all structures.

    Parameters
    ----------
    sources : sequence of Path
        Files and folders; these are searched at any depth, but for names with "." or "_" in front.
        Of a dataset the structures keep their ids.
    apart_from : Path
        A folder that is not searched: the results.
    flatten : bool
        Join the parts of each id by "__".
    kind : "molecule" or "crystal", optional
        What all of them are, whatever their files say.

    Returns
    -------
    list of Given
        In natural order of the ids; those that cannot be read are among them.

    Raises
    ------
    InputError
        If there is none, two have one id, or ids have different numbers of parts.
    """
    given: dict[str, Given] = {}
    for source in sources:
        if not source.exists():
            raise InputError(f"{source}: no such file or folder")
        files = [(source.absolute(), _own_id(source))] if source.is_file() else []
        if source.is_dir():
            inner, excluded = source / DFT_FOLDER, os.path.realpath(apart_from)
            is_dataset = inner.is_dir() and os.path.realpath(inner) != excluded
            files = list(_search(inner if is_dataset else source, excluded))
            if not files:
                raise InputError(
                    f"{source}: no structure in it; looked for POSCAR, *{', *'.join(SUFFIXES)}"
                )
        for path, parts in files:
            for one in _read(path, parts, _JOINT if flatten else "/", kind):
                if one.id in given:
                    raise InputError(
                        f"{given[one.id].source} and {one.source} would both become '{one.id}'; "
                        "give them different names, or run them into different datasets"
                    )
                given[one.id] = one
    _refuse_mixed(list(given))
    return sorted(given.values(), key=lambda one: _natural(one.id))


def _own_id(path: Path) -> tuple[str, ...]:
    """Give the id of a file that was named itself."""
    path = path.absolute()
    return (path.parent.name if path.name in ("POSCAR", "CONTCAR") else _stem(path),)


def _stem(path: Path) -> str:
    """Give a name without its ending; POSCAR_1 has none."""
    return path.stem if path.suffix.lower() in SUFFIXES or path.suffix.isalpha() else path.name


def _search(source: Path, excluded: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Yield the structure files below a folder with the parts of their ids."""
    waiting: list[tuple[str, ...]] = [()]
    seen = {excluded}
    while waiting:
        parts = waiting.pop()
        folder = source.joinpath(*parts)
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        for name in sorted(os.listdir(folder)):
            path = folder / name
            if name[0] in "._":
                continue
            if path.is_dir():
                waiting.append((*parts, name))
            elif name == "POSCAR":
                yield path, parts or (source.absolute().name,)
            elif path.suffix.lower() in SUFFIXES or re.fullmatch(r"POSCAR[-_].+", name):
                yield path, (*parts, _stem(path))


def _refuse_mixed(ids: Sequence[str]) -> None:
    """Refuse ids with different numbers of parts."""
    depths = [id.count("/") for id in ids]
    common = max(sorted(set(depths)), key=depths.count)
    odd = sorted(id for id, depth in zip(ids, depths, strict=True) if depth != common)
    if odd:
        shown = ", ".join(odd[:5]) + (f" and {len(odd) - 5} more" if len(odd) > 5 else "")
        raise InputError(
            f"structures at different depths: most ids have {common + 1} part"
            f"{'s' * (common > 0)}, but not {shown}; run these separately, or join names by "
            "--flatten"
        )


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Give the key of natural order: 2 before 10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", text)
    return [*((0, int(part)) if part.isdigit() else (1, part) for part in parts), (2, text)]


def _read(path: Path, parts: tuple[str, ...], joint: str, kind: str | None) -> list[Given]:
    """Read the structures of a file."""
    try:
        found: list[Any]
        if _POSCAR.fullmatch(path.name):
            found = [(Structure.read(path), (True, True, True))]
        else:
            found = [_from_ase(atoms) for atoms in _frames(path)]
    except InputError as error:
        return [Given(joint.join(parts), path.name, None, problem=str(error), path=path)]
    several = len(found) > 1
    digits = max(4, len(str(len(found))))
    given = []
    for number, (structure, periodic) in enumerate(found, start=1):
        own = (*parts, f"{number:0{digits}d}") if several else parts
        source = f"{path.name}, structure {number}" if several else path.name
        if kind is not None and structure is not None:
            whole = kind == "crystal"
            problem = "" if not whole or any(periodic) else "--crystal: it has no cell"
            periodic = (whole, whole, whole)
        else:
            problem = ""
        problem = problem or _problem(structure, periodic)
        given.append(Given(joint.join(own), source, structure, periodic, problem, path))
    return given


def _frames(path: Path) -> list[Any]:
    """Read a file by ASE."""
    import warnings

    from ase.io import read

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(path, index=":")
    except Exception as error:  # each of ASE's readers fails in its own way
        text = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as a structure: {text[:200]}") from error
    frames = found if isinstance(found, list) else [found]
    if not frames:
        raise InputError(f"{path}: no structure in it")
    return frames


def _from_ase(atoms: Any) -> tuple[Structure, Periodic]:
    """Give a structure of ASE's atoms, and where it repeats."""
    cell = np.asarray(atoms.cell)
    given = np.linalg.norm(cell, axis=1) > 1e-8
    repeats = np.asarray(atoms.pbc) & given
    full = np.array(atoms.cell.complete())
    spread = np.ptp(atoms.positions, axis=0) if len(atoms) else np.zeros(3)
    for axis in np.flatnonzero(~given):
        along = full[axis] / np.linalg.norm(full[axis])
        full[axis] = along * (float(np.abs(along) @ spread) + _EMPTY)
    periodic = (bool(repeats[0]), bool(repeats[1]), bool(repeats[2]))
    return Structure(full, atoms.positions, atoms.numbers), periodic


def _problem(structure: Structure, periodic: Periodic) -> str:
    """Say why a structure cannot be computed."""
    if not len(structure):
        return "it has no atoms"
    unknown = [n for n in structure.numbers.tolist() if n not in SYMBOLS or n > 118]
    if unknown:
        return f"no element with the atomic number {unknown[0]}"
    if not np.isfinite(structure.positions).all() or not np.isfinite(structure.lattice).all():
        return "positions or cell hold NaN or infinity"
    if any(periodic) and abs(np.linalg.det(structure.lattice)) < 1e-3:
        return "the cell vectors span no volume"
    return too_close(structure, periodic, TOO_CLOSE)


def too_close(structure: Structure, periodic: Periodic, limit: float) -> str:
    """Say which atoms are closer than a limit.

    Parameters
    ----------
    structure : Structure
        Atoms and cell.
    periodic : three bool
        Directions in which it repeats.
    limit : float
        Å; small against the distance of neighbours.

    Returns
    -------
    str
        Empty if there are none.
    """
    pair = closest_pair(boxed(structure, periodic, limit), structure.positions, limit)
    if pair is None:
        return ""
    first, second, distance = pair
    return f"atoms {first + 1} and {second + 1} are {distance:.2g} Å apart"


def boxed(structure: Structure, periodic: Periodic, empty: float) -> NDArray[np.float64]:
    """Give a cell in which atoms meet no images but where the structure repeats.

    Parameters
    ----------
    structure : Structure
        Atoms and cell.
    periodic : three bool
        Directions in which it repeats.
    empty : float
        Least space between the images in the other directions, Å.

    Returns
    -------
    (3, 3) array
        The lattice, with vectors that are longer where that is needed.
    """
    lattice = np.array(structure.lattice)
    if all(periodic):
        return lattice
    if not any(periodic):
        enough = np.ptp(structure.positions, axis=0) + empty
        sides = np.diag(lattice)
        if np.array_equal(lattice, np.diag(sides)) and (sides >= enough).all():
            return lattice
        return np.diag(np.ceil(enough))
    heights = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    along = np.ptp(structure.positions @ np.linalg.inv(lattice), axis=0) * heights + empty
    factors = np.where(np.array(periodic), 1.0, np.maximum(1.0, along / heights))
    return lattice * factors[:, None]
