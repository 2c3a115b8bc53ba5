"""Point defects: atoms replaced, removed, or exchanged with those of another element.

A change is asked for as text: ``S=Se`` replaces S by Se, ``S=`` removes S (vacancies), ``Mo~S``
exchanges atoms of both (pairs of antisites). Which atoms is told by site sets, rows of indices; two
of them are the same defect if a symmetry of the crystal maps one onto the other.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from numpy.random import Generator
from numpy.typing import NDArray

MOST_SETS = 200_000
"""Site sets that are looked through at most to find all that symmetry tells apart."""
_SYMPREC = 1e-3  # Å, below which positions are the same to symmetry
_FRUITLESS = 200
_CHANGE = re.compile(r"\s*([A-Z][a-z]?[0-9]?)\s*([=~])\s*([A-Z][a-z]?[0-9]?|)\s*")

Sites = tuple[int, ...]


@dataclass(frozen=True)
class Change:
    """What is done to the atoms of an element.

    Attributes
    ----------
    kind : str
        "replace", "remove" or "exchange".
    old, new : str
        Elements; `new` is empty for vacancies.
    """

    kind: str
    old: str
    new: str = ""

    def __str__(self) -> str:
        return f"{self.old}{'~' if self.kind == 'exchange' else '='}{self.new}"


def parse(text: str) -> Change:
    """Understand a change.

    Parameters
    ----------
    text : str
        ``S=Se``, ``S=`` or ``Mo~S``.

    Returns
    -------
    Change

    Raises
    ------
    InputError
        If it is none, or names no element.
    """
    match = _CHANGE.fullmatch(text)
    if match is None or (match[2] == "~" and not match[3]):
        raise InputError(
            f"'{text}': expected S=Se (replace S by Se), S= (remove S) or Mo~S (exchange both)"
        )
    old, sign, new = match.groups()
    for symbol in filter(None, (old, new)):
        if symbol not in ATOMIC_NUMBERS:
            raise InputError(f"'{text}': '{symbol}' is not an element symbol")
    if old == new:
        raise InputError(f"'{text}': changes nothing")
    return Change("exchange" if sign == "~" else "replace" if new else "remove", old, new)


def apply(structure: Structure, change: Change, sites: Sites) -> Structure:
    """Change the atoms of a site set.

    Parameters
    ----------
    structure : Structure
        Before.
    change : Change
        What to do.
    sites : tuple of int
        The atoms; all of element `old`, or for an exchange of both elements.

    Returns
    -------
    Structure
        Other atoms keep their order and places.
    """
    chosen = list(sites)
    if change.kind == "remove":
        return Structure(
            structure.lattice,
            np.delete(structure.positions, chosen, axis=0),
            np.delete(structure.numbers, chosen),
        )
    old, new = ATOMIC_NUMBERS[change.old], ATOMIC_NUMBERS[change.new]
    numbers = structure.numbers.copy()
    numbers[chosen] = np.where(numbers[chosen] == old, new, old)
    return Structure(structure.lattice, structure.positions, numbers)


def substitute(
    structure: Structure,
    rng: Generator,
    change: Change,
    sites: Sites,
    equivalent: int | None = None,
) -> tuple[Structure, dict[str, Any]]:
    """Change the atoms of a site set, as a step; nothing about it is random.

    Parameters
    ----------
    structure, change, sites
        Of `apply`.
    rng : numpy.random.Generator
        Not used.
    equivalent : int, optional
        How many site sets symmetry makes the same.

    Returns
    -------
    Structure, dict
        The new structure, the change and its sites, counted from 1.
    """
    facts: dict[str, Any] = {"change": str(change), "atoms": [site + 1 for site in sites]}
    if equivalent is not None:
        facts["equivalent"] = equivalent
    return apply(structure, change, sites), facts


def random_sites(
    structure: Structure, change: Change, count: int, number: int, rng: Generator
) -> list[Sites]:
    """Draw site sets of which no two are the same by symmetry.

    Parameters
    ----------
    structure : Structure
        The crystal.
    change : Change
        What will be done.
    count : int
        Atoms to replace or remove, or pairs to exchange, in each.
    number : int
        Site sets.
    rng : numpy.random.Generator
        Where they come from.

    Returns
    -------
    list of tuple of int
        A larger `number` with an equal generator begins with the same ones.

    Raises
    ------
    InputError
        If there are not so many atoms or site sets.
    """
    groups = _groups(structure, change, count)
    permutations = symmetry_permutations(structure)
    found: dict[Sites, Sites] = {}
    fruitless = 0
    while len(found) < number:
        drawn = [rng.choice(group, count, replace=False) for group in groups]
        sites = np.sort(np.concatenate(drawn))
        key = tuple(_images(sites, permutations)[0].tolist())
        fruitless = fruitless + 1 if key in found else 0
        found.setdefault(key, tuple(sites.tolist()))
        if fruitless > _FRUITLESS:
            raise InputError(
                f"{change} with {count} atom{'s' * (count > 1)}: only {len(found)} different "
                f"structures were found, {number} asked for; ask for fewer, change more atoms, or "
                "take a supercell"
            )
    return list(found.values())


def inequivalent_sites(structure: Structure, change: Change, count: int) -> list[tuple[Sites, int]]:
    """List all site sets that symmetry tells apart.

    Parameters
    ----------
    structure : Structure
        The crystal.
    change : Change
        What will be done.
    count : int
        Atoms to replace or remove, or pairs to exchange.

    Returns
    -------
    list of (tuple of int, int)
        The first of each kind in lexicographic order, and how many there are of it.

    Raises
    ------
    InputError
        If there are not so many atoms, or too many site sets.
    """
    groups = _groups(structure, change, count)
    total = 1
    for group in groups:
        total *= comb(len(group), count)
    if total > MOST_SETS:
        raise InputError(
            f"{change} with {count} atoms: {total} ways to choose them are too many to compare; "
            "draw some by --number instead"
        )
    sets = [np.array(list(combinations(group.tolist(), count))) for group in groups]
    joined = sets[0]
    if len(sets) > 1:
        first, second = np.repeat(sets[0], len(sets[1]), 0), np.tile(sets[1], (len(sets[0]), 1))
        joined = np.concatenate([first, second], axis=1)
    permutations = symmetry_permutations(structure)
    kinds = _first_of_kind(np.sort(joined, axis=1), permutations)
    return [(tuple(kind.tolist()), len(_images(kind, permutations))) for kind in kinds]


def _groups(structure: Structure, change: Change, count: int) -> list[NDArray[np.int64]]:
    """Give the atoms from which sites are taken, for each element that changes."""
    elements = (change.old, change.new) if change.kind == "exchange" else (change.old,)
    groups = [np.flatnonzero(structure.numbers == ATOMIC_NUMBERS[e]) for e in elements]
    for element, group in zip(elements, groups, strict=True):
        if len(group) < count:
            raise InputError(
                f"{change}: {len(group) or 'no'} atom{'s' * (len(group) != 1)} of {element} in "
                f"{structure.formula}, {count} needed"
            )
    if change.kind == "remove" and count == len(structure):
        raise InputError(f"{change}: no atom would be left")
    return groups


def symmetry_permutations(structure: Structure) -> NDArray[np.int64]:
    """Give what the symmetries of a crystal do to its atoms.

    Parameters
    ----------
    structure : Structure
        n atoms.

    Returns
    -------
    (operations, n) int array
        Atom i goes to the place of atom ``[s, i]``; the identity alone where spglib finds nothing.
    """
    import spglib
    from scipy.spatial import cKDTree

    fractional = structure.fractional % 1.0 % 1.0  # twice: -1e-17 % 1 is 1
    cell = (structure.lattice.tolist(), fractional.tolist(), structure.numbers.tolist())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib announces a new way to report failures
        found = spglib.get_symmetry_dataset(cell, symprec=_SYMPREC)
    identity = np.arange(len(structure))
    if found is None:
        return identity[None]
    tree = cKDTree(fractional, boxsize=1.0)
    rows = [identity]
    for rotation, translation in zip(found.rotations, found.translations, strict=True):
        images = (fractional @ rotation.T + translation) % 1.0 % 1.0
        _, partners = tree.query(images)
        shift = np.linalg.norm(_wrapped(fractional[partners] - images) @ structure.lattice, axis=1)
        if shift.max() < 10 * _SYMPREC and len(np.unique(partners)) == len(structure):
            rows.append(partners)
    return np.unique(np.stack(rows), axis=0)


def _wrapped(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    return differences - np.round(differences)


def _images(sites: NDArray[np.int64], permutations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give what symmetry makes of one site set, each once, in lexicographic order."""
    return np.unique(np.sort(permutations[:, sites], axis=1), axis=0)


def _first_of_kind(sets: NDArray[np.int64], permutations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the site sets of which no symmetry makes one that comes before."""
    for permutation in permutations:
        images = np.sort(permutation[sets], axis=1)
        rows, first = np.arange(len(sets)), np.argmax(images != sets, axis=1)
        sets = sets[images[rows, first] >= sets[rows, first]]
    return sets
