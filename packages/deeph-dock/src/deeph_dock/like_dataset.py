"""Settings for overlaps like those of a dataset: what its matrices say about basis and pairs.

One structure of the dataset decides: its overlap is computed again, and its pairs are compared with
those of every rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.orbitals import shells_to_text
from deeph_spec.structure import ATOMIC_NUMBERS, Structure

from deeph_dock.basis import READERS, AtomicBasis
from deeph_dock.basis.folder import named_like, read_bases
from deeph_dock.computing_overlaps import Settings
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_dock.overlap_matrices import PATTERNS, find_pairs

SAME = 2e-5
"""Overlaps of one basis differ by less, however they were integrated."""
_BETTER = 0.1
_MOST_ATOMS = 500


@dataclass(frozen=True)
class Likeness:
    """What was found.

    Attributes
    ----------
    settings : Settings
        For overlaps like those of the dataset.
    notes : tuple of str
        What was taken from it, a line each.
    """

    settings: Settings
    notes: tuple[str, ...]


def settings_like(
    path: Path, settings: Settings, quadrature: str | None, pattern: str | None
) -> Likeness:
    """Take from a dataset what was not asked for.

    Parameters
    ----------
    path : Path
        Root of the dataset, or a part of it.
    settings : Settings
        What is known; of its basis the sources, and the names of orbitals if there are any.
    quadrature, pattern : str or None
        What was asked for; what is None is taken from the dataset.

    Returns
    -------
    Likeness
        With the spin of the dataset as well.

    Raises
    ------
    InputError
        If the basis cannot be that of the dataset.
    """
    folder = _example(path)
    info, structure = folder.info, folder.structure
    request = settings.basis
    if not request.orbitals:
        shells = {symbol: info.orbital_map[symbol] for symbol in structure.elements}
        names = named_like(request, shells, info.provenance.get("basis"))
        request = replace(request, orbitals=names)
    numbers = tuple(sorted(set(structure.numbers.tolist())))
    bases = read_bases(replace(request, quadrature=quadrature or "exact"), numbers)
    _compare_shells(folder, bases, info.orbital_map)
    stored = folder.overlap()
    candidates = [quadrature] if quadrature else _quadratures(bases)
    best, error, row = "", np.inf, 0
    for name in candidates:
        bases = read_bases(replace(request, quadrature=name), numbers)
        own = compute(structure, TwoCentre(bases), stored.atom_pairs)
        if not np.array_equal(own.chunk_shapes, stored.chunk_shapes):
            raise InputError(
                f"{folder.path}: blocks of overlap.h5 are not those of elements_orbital_map; "
                f"dock check {path} says more"
            )
        difference = np.abs(own.entries - stored.entries)
        found = float(difference.max())
        if not best or found < _BETTER * error:
            best, error = name, found
            row = int(np.searchsorted(own.chunk_boundaries, difference.argmax(), "right")) - 1
    if not error <= SAME:
        raise InputError(
            f"{path}: the basis is not that of this dataset: its S of {folder.id} differs by "
            f"{error:.2g} in pair {tuple(stored.atom_pairs[row].tolist())}; dock check {path} "
            "--basis says what that looks like"
        )
    chosen, about_pairs = (
        (pattern, "") if pattern else _pattern(folder.id, stored, structure, bases)
    )
    notes = (
        f"basis as in {path}: S of {folder.id} agrees to {error:.1e} (quadrature {best})",
        *filter(None, [about_pairs]),
    )
    basis = replace(request, quadrature=best)
    spin = info.spin or ("soc" if info.spinful else "none")
    return Likeness(replace(settings, basis=basis, pattern=chosen, spin=spin), notes)


def _example(path: Path) -> StructureFolder:
    """Choose the structure that is looked at: a small one with an overlap."""
    dataset = Dataset.open(path)
    there = [folder for folder in dataset if folder.has("overlap")]
    if not there:
        raise InputError(f"{path}: no structure with overlap.h5; --like needs one")
    small = (folder for folder in there if len(folder.structure) <= _MOST_ATOMS)
    return next(small, there[0])


def _compare_shells(
    folder: StructureFolder,
    bases: Mapping[int, AtomicBasis],
    orbital_map: Mapping[str, tuple[int, ...]],
) -> None:
    for symbol, shells in orbital_map.items():
        basis = bases.get(ATOMIC_NUMBERS[symbol])
        if basis is not None and basis.degrees != tuple(shells):
            raise InputError(
                f"{basis.source}: the basis is not that of {folder.path}: {symbol} has the shells "
                f"{shells_to_text(basis.degrees)} {list(basis.degrees)}, expected "
                f"{shells_to_text(shells)} {list(shells)}"
            )


def _quadratures(bases: Mapping[int, AtomicBasis]) -> list[str]:
    """Give all ways to integrate that the files of these bases know."""
    code = next(iter(bases.values())).code
    if code not in READERS:
        return ["exact"]
    ways: tuple[str, ...] = import_module(READERS[code]).QUADRATURES
    return [way for way in ways if way == "exact" or code != "abacus"]


def _pattern(
    id: str, stored: BlockMatrix, structure: Structure, bases: Mapping[int, AtomicBasis]
) -> tuple[str, str]:
    """Find the rule that the pairs follow."""
    own = {tuple(pair) for pair in stored.atom_pairs.tolist()}
    counts = {}
    cells = bool(stored.atom_pairs[:, :3].any())
    for name in PATTERNS:
        found = find_pairs(name, structure, bases, (cells, cells, cells))
        pairs = {tuple(pair) for pair in found.tolist()}
        if pairs == own:
            return name, f"pairs as in {id}: {name}, {len(own)}"
        counts[name] = (len(pairs - own), len(own - pairs), len(pairs))
    best = min(counts, key=lambda name: (counts[name][1], counts[name][0]))
    more, less, total = counts[best]
    return best, (
        f"pairs of {id} follow no rule exactly: {len(own)} there, {total} by '{best}', which lacks "
        f"{less} of them and has {more} others"
    )
