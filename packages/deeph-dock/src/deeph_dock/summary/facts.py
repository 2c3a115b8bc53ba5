"""Facts of one structure: from POSCAR, info.json and the pairs; of some also from entries."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import MATRIX_FILES, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.matrix_files import iter_read, read_pairs
from deeph_spec.pairs import on_site, rows_of
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.duplicates import composition, fingerprint
from deeph_dock.summary.entries import (
    EntryStatistics,
    bins_of,
    largest_of_blocks,
    pair_names,
    statistics,
)

STRUCTURES_READ = 200
"""Structures whose entries are read, unless all are asked for."""
BYTES_READ = 4 * 2**20
"""Entries read of each matrix of theirs, unless all are asked for."""
PIECE_BYTES = 32 * 2**20
"""Entries in memory at once where all are read."""
_RUNS = 16
_SITES = 256
Int = NDArray[np.int64]
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """One structure to look at.

    Parameters
    ----------
    id : str
        Name in the dataset.
    path : Path
        Its folder.
    entries : str
        "none", "some" or "all" of the entries of S and H.
    """

    id: str
    path: Path
    entries: str = "none"


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of one structure; `error` says why nothing is.

    Parameters
    ----------
    id, error : str
    composition : str
        E.g. "H4C1".
    atoms, orbitals : int
    pairs : int or None
        Pairs of atoms of H, or of S; None without both.
    bytes : int
        Of all files of matrices.
    spin : str
        "none", "collinear", "soc", or "spinful" where info.json does not say which.
    matrices : tuple of str
        Those that are there.
    shells : dict
        Shells of each element of the structure.
    fermi_level, electrons : float or None
        eV; electrons of the cell.
    provenance : dict
        As info.json has it.
    cell : tuple of float
        Lengths of the lattice vectors, Å.
    print : tuple
        Fingerprint, see `deeph_dock.duplicates`.
    distances : int64 array
        Off-site pairs in intervals of their distance.
    reach : dict
        Largest distance of each pair of elements, Å.
    neighbours : tuple of int
        Least, sum and most off-site pairs of an atom.
    overlap, hamiltonian : EntryStatistics or None
        None where entries were not read.
    empty : tuple of int
        Pairs of H that were read, and those of them whose overlap is exactly zero or missing.
    whole : bool
        Whether all entries were read.
    """

    id: str
    error: str = ""
    composition: str = ""
    atoms: int = 0
    orbitals: int = 0
    pairs: int | None = None
    bytes: int = 0
    spin: str = "none"
    matrices: tuple[str, ...] = ()
    shells: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    fermi_level: float | None = None
    electrons: float | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    cell: tuple[float, ...] = ()
    print: tuple[str, Array, Array] = ("", np.zeros(0), np.zeros(0))
    distances: Int = field(default_factory=lambda: np.zeros(0, np.int64))
    reach: Mapping[str, float] = field(default_factory=dict)
    neighbours: tuple[int, int, int] = (0, 0, 0)
    overlap: EntryStatistics | None = None
    hamiltonian: EntryStatistics | None = None
    empty: tuple[int, int] = (0, 0)
    whole: bool = False


def tasks(folders: Mapping[str, Path], full: bool = False) -> list[Task]:
    """Choose of which structures entries are read.

    Parameters
    ----------
    folders : mapping
        Folder of each id.
    full : bool
        All entries of all structures; else some, of `STRUCTURES_READ` of them.

    Returns
    -------
    list of Task
        One for each folder, in the same order.
    """
    if full:
        return [Task(id, path, "all") for id, path in folders.items()]
    # Every n-th would see one kind only where kinds alternate.
    chosen = set(sorted(folders, key=_hashed)[:STRUCTURES_READ])
    return [Task(id, path, "some" if id in chosen else "none") for id, path in folders.items()]


def _hashed(id: str) -> bytes:
    """Give an order of ids that has nothing to do with their names, and is always the same."""
    return sha256(id.encode(errors="surrogateescape")).digest()


def facts_of(batch: Sequence[Task]) -> list[Facts]:
    """Look at some structures.

    Parameters
    ----------
    batch : sequence of Task
        A few, so that handing them to another process is worth it.

    Returns
    -------
    list of Facts
        One for each; what cannot be read has an error.
    """
    return [_facts(task) for task in batch]


def _facts(task: Task) -> Facts:
    """Look at one structure."""
    try:
        return _read(StructureFolder(task.path, task.id), task.entries)
    except InputError as error:
        return Facts(task.id, str(error))
    except OSError as error:
        return Facts(task.id, f"{task.path}: {error.strerror or error}")
    except Exception as error:
        reason = " ".join(str(error).split())
        return Facts(task.id, f"{task.path}: internal error: {type(error).__name__}: {reason}")


def _read(folder: StructureFolder, entries: str) -> Facts:
    """Read what `Facts` needs."""
    info, structure = folder.info, folder.structure
    if info.atoms_quantity != len(structure):
        raise InputError(
            f"{folder.path}: info.json has {info.atoms_quantity} atoms, POSCAR {len(structure)}; "
            "these are not of one structure"
        )
    orbitals = int(info.orbital_counts(structure).sum())
    sizes = _matrix_sizes(folder.path)
    matrices = tuple(sizes)
    counted = next((name for name in ("hamiltonian", "overlap") if name in matrices), None)
    facts: dict[str, Any] = {}
    if counted is not None:
        pairs = read_pairs(folder.file(counted))
        _check_atoms(pairs, len(structure), folder.file(counted))
        facts = _pair_facts(structure, pairs)
        if entries != "none":
            facts |= _entry_facts(folder, info, pairs, entries == "all")
    return Facts(
        id=folder.id,
        composition=composition(structure),
        atoms=len(structure),
        orbitals=orbitals,
        bytes=sum(sizes.values()),
        spin=info.spin or ("spinful" if info.spinful else "none"),
        matrices=matrices,
        shells={symbol: info.orbital_map[symbol] for symbol in structure.elements},
        fermi_level=info.fermi_level,
        electrons=info.occupation,
        provenance=info.provenance,
        cell=tuple(np.linalg.norm(structure.lattice, axis=1).tolist()),
        print=fingerprint(structure),
        **facts,
    )


def _matrix_sizes(path: Path) -> dict[str, int]:
    """Give the bytes of each matrix that is there, looking at the folder once."""
    with os.scandir(path) as entries:
        files = {
            e.name: e.stat().st_size for e in entries if e.name.endswith(".h5") and e.is_file()
        }
    found = {
        name: next((files[file] for file in names if file in files), None)
        for name, names in MATRIX_FILES.items()
    }
    return {name: size for name, size in found.items() if size is not None}


def _check_atoms(pairs: Int, atoms: int, path: Path) -> None:
    """Refuse pairs of atoms that are not there."""
    if len(pairs) and (pairs[:, 3:].min() < 0 or pairs[:, 3:].max() >= atoms):
        raise InputError(
            f"{path}: atom_pairs: atoms {pairs[:, 3:].min()} to {pairs[:, 3:].max()}, expected 0 "
            f"to {atoms - 1}; not of this POSCAR"
        )


def _pair_facts(structure: Structure, pairs: Int) -> dict[str, Any]:
    """Give how far pairs reach, and how many an atom has."""
    off_site = pairs[~on_site(pairs)]
    distances = np.linalg.norm(structure.pair_vectors(off_site), axis=1)
    kinds, kind = np.unique(structure.numbers, return_inverse=True)
    code = kind[off_site[:, 3]] * len(kinds) + kind[off_site[:, 4]]
    farthest = np.zeros(len(kinds) ** 2)
    np.maximum.at(farthest, code, distances)
    names = pair_names(structure)
    reach: dict[str, float] = {}
    for place in np.flatnonzero(farthest).tolist():
        a, b = divmod(place, len(kinds))
        reach[names[a][b]] = max(reach.get(names[a][b], 0.0), float(farthest[place]))
    neighbours = np.bincount(off_site[:, 3], minlength=len(structure))
    return {
        "pairs": len(pairs),
        "distances": np.bincount(bins_of(distances)),
        "reach": reach,
        "neighbours": (int(neighbours.min()), len(off_site), int(neighbours.max())),
    }


def _entry_facts(
    folder: StructureFolder, info: SystemInfo, pairs: Int, whole: bool
) -> dict[str, Any]:
    """Read entries of S and H, all or those of some pairs."""
    size = (_mean_orbitals(info, folder.structure) * info.spin_factor) ** 2 * 16
    chosen = pairs if whole else _chosen(pairs, max(1, int(BYTES_READ / size)))
    facts: dict[str, Any] = {"whole": len(chosen) == len(pairs)}
    filled = {}
    for name in ("overlap", "hamiltonian"):
        if not folder.has(name):
            continue
        result = EntryStatistics()
        seen, nonzero = [], []
        for piece in _pieces(folder.file(name), chosen, bool(facts["whole"])):
            sums, largest = largest_of_blocks(piece)
            if not np.isfinite(sums).all():
                row = int(np.flatnonzero(~np.isfinite(sums))[0])
                pair = tuple(piece.atom_pairs[row].tolist())
                raise InputError(f"{folder.file(name)}: entries: NaN or infinity in pair {pair}")
            result.add(statistics(folder.structure, piece, sums, largest))
            seen.append(piece.atom_pairs)
            nonzero.append(largest > 0)
        facts[name] = result
        if seen:
            filled[name] = np.concatenate(seen), np.concatenate(nonzero)
    if len(filled) == 2:
        (s_pairs, s_filled), (h_pairs, _) = filled["overlap"], filled["hamiltonian"]
        rows = rows_of(s_pairs, h_pairs)
        empty = (rows < 0) | ~s_filled[rows]
        facts["empty"] = (len(h_pairs), int(np.count_nonzero(empty)))
    return facts


def _mean_orbitals(info: SystemInfo, structure: Structure) -> float:
    """Give the mean number of orbitals of an atom, spin not counted."""
    return float(info.orbital_counts(structure).mean())


def _chosen(pairs: Int, most: int) -> Int:
    """Choose pairs in a few runs of neighbours in the file, and some of the on-site ones."""
    if len(pairs) <= most:
        return pairs
    length = max(1, most // _RUNS)
    starts = np.linspace(0, len(pairs) - length, _RUNS).astype(np.int64)
    sites = np.flatnonzero(on_site(pairs))
    sites = sites[:: max(1, -(-len(sites) // min(_SITES, most)))]
    rows = np.unique(np.concatenate([(starts[:, None] + np.arange(length)).ravel(), sites]))
    return pairs[rows]


def _pieces(path: Path, chosen: Int, whole: bool) -> Iterator[BlockMatrix]:
    """Read all blocks piece by piece, or those of some pairs at once."""
    if whole:
        yield from iter_read(path, PIECE_BYTES)
    else:
        yield BlockMatrix.read(path, lambda pairs: rows_of(chosen, pairs) >= 0)
