"""Atoms of a run: elements, shells, cell and positions, brought together from file and input.

Elements come from the names of pseudopotential and basis, never from the labels of species, which
are free ("Mo1", "C_ca"). Positions are those of the input where they are those of the matrices,
which they are unless atoms moved; then they are those of the scfout file. OpenMX may move an atom
by lattice vectors n before it starts: tau' = tau + n A, so that for the atoms of the input
R = R' + n_j - n_i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.orbitals import orbital_count
from deeph_spec.structure import SYMBOLS, Structure
from numpy.typing import NDArray

from deeph_dock.codes.openmx.inputs import ATOMS, BOHR, CELL, SPECIES, Input, Species
from deeph_dock.codes.openmx.output import Output

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_SAME = 1e-12
"""Relative difference of a position in file and input: rounding, below the digits of an input."""
_PRINTED = 1e-6
_BEYOND = 1e-3
"""How far two atoms with a block may be beyond the sum of the radii of their basis, Å."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the atoms are.

    Attributes
    ----------
    lattice : (3, 3) array
        Rows, Å.
    positions : (n, 3) array
        Å.
    translations : (n, 3) int64
        n of each atom: where the program had it, in lattice vectors from here.
    origins : (n, 3) array
        What the position matrix of the file counts from, Å: the positions, unless the program
        moved the atoms later.
    """

    lattice: Float
    positions: Float
    translations: Int
    origins: Float


@dataclass(frozen=True, eq=False)
class Basis:
    """What each atom carries.

    Attributes
    ----------
    numbers : (n,) int64
        Atomic numbers.
    orbital_map : dict
        Shells of each element, in the order of storage.
    radii : (n,) array
        Of the radial functions, Å; infinite where the name does not tell.
    bases, potentials : dict
        Names for each element.
    contracted : bool
        Whether orbitals are contracted.
    """

    numbers: Int
    orbital_map: dict[str, tuple[int, ...]]
    radii: Float
    bases: dict[str, str]
    potentials: dict[str, str]
    contracted: bool


def find_basis(words: Input, orbitals: Int) -> Basis:
    """Find elements and shells.

    Parameters
    ----------
    words : Input
        The input.
    orbitals : (n,) int64 array
        Orbitals of each atom in the matrices: they tell whether shells are contracted.

    Returns
    -------
    Basis
        Checked against the number of orbitals.

    Raises
    ------
    InputError
        If an element is not known, has two bases, or does not fit the orbitals.
    """
    species = {one.label: one for one in words.species()}
    labels = words.labels()
    if len(labels) != len(orbitals):
        raise words.problem(
            "Atoms.SpeciesAndCoordinates",
            f"{len(labels)} atoms, the matrices have {len(orbitals)}; not of one run, or damaged",
        )
    unknown = [label for label in labels if label not in species]
    if unknown:
        raise words.problem("Atoms.SpeciesAndCoordinates", f"'{unknown[0]}' is not a species")
    used = {label: species[label] for label in dict.fromkeys(labels)}
    numbers = {label: _number(words, one) for label, one in used.items()}
    counts = {label: int(count) for label, count in zip(labels, orbitals.tolist(), strict=True)}
    if any(counts[label] != count for label, count in zip(labels, orbitals.tolist(), strict=True)):
        raise words.problem(
            "Atoms.SpeciesAndCoordinates", "atoms of one species have different orbitals"
        )
    shells: dict[str, tuple[int, ...]] = {}
    bases: dict[str, str] = {}
    potentials: dict[str, str] = {}
    contracted = False
    for label, one in used.items():
        symbol = SYMBOLS[numbers[label]]
        found, few = _shells(words, one, counts[label])
        contracted |= few
        if symbol in bases and (bases[symbol] != one.basis or shells[symbol] != found):
            raise words.problem(
                "Definition.of.Atomic.Species",
                f"{symbol} has two bases, {bases[symbol]} and {one.basis}; the format holds one "
                "basis for an element",
            )
        shells[symbol], bases[symbol] = found, one.basis
        names = potentials.get(symbol, "").split(", ")
        potentials[symbol] = ", ".join(dict.fromkeys([*filter(None, names), one.potential]))
    radii = [used[label].radius for label in labels]
    return Basis(
        np.array([numbers[label] for label in labels], dtype=np.int64),
        shells,
        np.array([np.inf if radius is None else radius * BOHR for radius in radii]),
        bases,
        potentials,
        contracted,
    )


def _number(words: Input, species: Species) -> int:
    """Give the atomic number of a species."""
    number = species.element
    if number:
        return number
    found = "name different elements" if number == 0 else "name no element"
    raise words.problem(
        "Definition.of.Atomic.Species",
        f"basis {species.basis} and pseudopotential {species.potential} of the species "
        f"{species.label} {found}; empty and virtual atoms cannot be converted",
    )


def _shells(words: Input, species: Species, orbitals: int) -> tuple[tuple[int, ...], bool]:
    """Give the shells of a species that make this number of orbitals, and whether contracted."""
    for contracted in (False, True):
        shells = species.shells(contracted)
        if shells is None:
            raise words.problem(
                "Definition.of.Atomic.Species",
                f"basis '{species.basis}' is not understood; known are names like Mo7.0-s2p2d1 and "
                "C5.0-s3>1p3>1 with shells s, p, d, f",
            )
        if orbital_count(shells) == orbitals:
            return shells, contracted and shells != species.shells(False)
    raise words.problem(
        "Definition.of.Atomic.Species",
        f"basis {species.basis} of the species {species.label} does not have the {orbitals} "
        "orbitals of the matrices; not of one run, or damaged",
    )


def find_geometry(
    lattice: Float,
    positions: Float,
    words: Input,
    output: Output | None,
    at_last_step: Callable[[], Float],
) -> Geometry:
    """Find where the atoms are.

    Parameters
    ----------
    lattice, positions : (3, 3) and (n, 3) arrays
        Of the file with the matrices, Å.
    words : Input
        The input.
    output : Output or None
        Confirms positions other than those of the input.
    at_last_step : callable
        Gives the positions (n, 3) of the matrices, Å, of a run in which atoms move.

    Returns
    -------
    Geometry
        From the input, if that is where the atoms are.

    Raises
    ------
    InputError
        If file, input and output contradict each other.
    """
    still = np.zeros((len(positions), 3), dtype=np.int64)
    if words.moves:
        _confirm(lattice, positions, words, output)
        last = at_last_step()
        if not np.array_equal(last, positions):
            return Geometry(lattice, last, still, positions)
    given = words.lattice()
    if given is None or np.abs(given - lattice).max() > _SAME * (1 + np.abs(lattice).max()):
        if given is not None and not words.moves:
            raise words.problem("Atoms.UnitVectors", "not the lattice of the matrices; damaged")
        _confirm(lattice, positions, words, output)
        return Geometry(lattice, positions, still, positions)
    wanted = words.positions(given)
    apart = np.linalg.solve(lattice.T, (positions - wanted).T).T
    translations = np.rint(apart.clip(-(2**15), 2**15)).astype(np.int64)
    error = np.abs((apart - translations) @ lattice).max()
    if error <= _SAME * (1 + np.abs(positions).max()):
        return Geometry(given, wanted, translations, wanted)
    if not words.moves:
        raise words.problem(
            "Atoms.SpeciesAndCoordinates",
            f"an atom is {error:.3g} Å from where the matrices have it; not of one run, or damaged",
        )
    return Geometry(lattice, positions, still, positions)


def _confirm(lattice: Float, positions: Float, words: Input, output: Output | None) -> None:
    """Compare positions with the final structure of the output, if there is one."""
    if output is None or output.fractions is None:
        return
    if output.fractions.shape != positions.shape:
        raise InputError(
            f"{output.path}: {len(output.fractions)} atoms in the final structure, "
            f"{len(positions)} in the matrices; not of one run, or damaged"
        )
    apart = np.linalg.solve(lattice.T, positions.T).T - output.fractions
    error = np.abs((apart - np.rint(apart)) @ lattice).max()
    if not error <= _PRINTED * (1 + np.abs(lattice).max()):
        raise InputError(
            f"{output.path}: an atom of the final structure is {error:.3g} Å from where the "
            f"matrices of {words.source} have it; not of one run, or damaged"
        )


def check_reach(geometry: Geometry, pairs: Int, radii: Float, source: str) -> None:
    """Check that no two atoms with a block are farther apart than their orbitals reach.

    Parameters
    ----------
    geometry : Geometry
        Where the atoms are.
    pairs : (P, 5) int64 array
        R1, R2, R3, i, j.
    radii : (n,) array
        Of the orbitals of each atom, Å.
    source : str
        File, for messages.

    Raises
    ------
    InputError
        If two are: positions and R do not belong together.
    """
    numbers = np.ones(len(geometry.positions), dtype=np.int64)
    vectors = Structure(geometry.lattice, geometry.positions, numbers).pair_vectors(pairs)
    beyond = np.sqrt(np.einsum("px,px->p", vectors, vectors)) - radii[pairs[:, 3:]].sum(axis=1)
    worst = int(np.argmax(beyond))
    if beyond[worst] > _BEYOND:
        raise InputError(
            f"{source}: the atoms of pair {tuple(pairs[worst].tolist())} are {beyond[worst]:.3g} Å "
            "farther apart than their orbitals reach: the positions are not those of the matrices "
            "(not of one run, or damaged)"
        )


def same_atoms(first: Input, second: Input) -> bool:
    """Tell whether two inputs have the same species, atoms and cell.

    Parameters
    ----------
    first, second : Input
        For example the one in the scfout file and the copy in the output.

    Returns
    -------
    bool
        True if these lists agree word by word.
    """
    return all(first.lists.get(key) == second.lists.get(key) for key in (SPECIES, ATOMS, CELL))
