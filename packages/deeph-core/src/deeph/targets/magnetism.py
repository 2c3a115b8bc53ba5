"""Whether matrices with spin are those of non-magnetic systems, and which cannot be learned.

A network sees the structure alone. Reversing all moments leaves the structure as it is, so that
half of the matrices of a magnet contradict the other half: the parts that change sign under time
reversal cannot be learned without moments as input. Without such parts, half of the irreps with
spin vanish and are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph.representation import BlockRepresentation
from deeph.targets.target import Note

MAGNETIC = 1e-3
"""Parts that change sign under time reversal, when larger than this (eV for a Hamiltonian)."""


def keeps_time_reversal(
    full: BlockRepresentation,
    kept: BlockRepresentation,
    folders: Sequence[StructureFolder],
    matrix_names: tuple[str, str],
    setting: str,
    note: Note,
) -> bool:
    """Return whether what changes sign under time reversal is left out.

    Parameters
    ----------
    full, kept : BlockRepresentation
        With and without those parts.
    folders : sequence of StructureFolder
        Structures whose matrices are looked at.
    matrix_names : (str, str)
        The matrix as the format and as people name it.
    setting : {"auto", "true", "false"}
        auto: leave out what is not there, refuse what is. true: leave out, whatever is there.
        false: keep, which only collinear matrices allow, for ferromagnets that all point the
        same way.
    note : function
        Is told what is left out although it is there.

    Raises
    ------
    InputError
        If matrices are magnetic and cannot be learned from structures.
    """
    quantity, title = matrix_names
    odd = _odd_components(full, kept)
    largest, worst = 0.0, ""
    signs: dict[str, set[int]] = {}
    for folder in folders:
        species = full.species(folder.structure.numbers)
        matrix = folder.matrix(quantity)
        padded = full.gather(matrix, species)[:, odd]
        size = float(np.abs(padded).max(initial=0.0))
        path = folder.file(quantity)
        if (
            size > MAGNETIC
            and setting != "true"
            and not (setting == "false" and full.spin == "collinear")
        ):
            raise InputError(
                f"{path}: entries: the {title} is magnetic (up to {size:.2g} changes sign under "
                "time reversal); networks that take moments as input are not part of this version: "
                "train on non-magnetic structures"
            )
        if size > largest:
            largest, worst = size, folder.id
        if setting == "false":
            moments = np.trace(padded[matrix.on_site(), 0], axis1=1, axis2=2)
            atoms = matrix.atom_pairs[matrix.on_site(), 3]
            _refuse_both_signs(signs, full, species[atoms], moments, f"{path}")
    if setting == "true" and largest > MAGNETIC:
        note(
            "Warning: time_reversal = true leaves out what changes sign under time reversal, up "
            f"to {largest:.2g} in {worst}"
        )
    return setting != "false"


def _odd_components(full: BlockRepresentation, kept: BlockRepresentation) -> NDArray[np.bool_]:
    """Return which arrays of a padded block change sign under time reversal."""
    names, even = full.channels.spin_components, kept.channels.spin_components
    widths = [3 if name.startswith("vector") else 1 for name in names]
    return np.repeat([name not in even for name in names], widths)


def _refuse_both_signs(
    signs: dict[str, set[int]],
    full: BlockRepresentation,
    species: NDArray[np.int64],
    moments: NDArray[np.float64],
    place: str,
) -> None:
    """Refuse moments of both signs on atoms of one element: antiferromagnets, turned magnets."""
    for index, (symbol, _) in enumerate(full.orbital_map):
        own = moments[(species == index) & (np.abs(moments) > MAGNETIC)]
        found = signs.setdefault(symbol, set())
        found.update(np.sign(own).astype(int).tolist())
        if len(found) > 1:
            raise InputError(
                f"{place}: entries: atoms of {symbol} have moments of both signs, which the "
                "structure does not tell apart; networks that take moments as input are not part "
                "of this version: train on ferromagnets that all point the same way"
            )
