"""What should be the same in all structures of a dataset, and is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deeph_spec.orbitals import SHELL_LETTERS

KEYS = {
    "code": "codes",
    "code_version": "versions of the code",
    "functional": "functionals",
    "energy_unit": "energy units",
    "length_unit": "length units",
    "smearing": "smearing methods",
    "electronic_temperature_eV": "electronic temperatures",
}
"""Keys of the provenance that should have one value, and what several are called."""
PER_ELEMENT = {"basis": "bases", "pseudopotentials": "pseudopotentials"}
DENSITIES_DIFFER = 1.5
"""Meshes of k-points this factor apart are named."""
_STANDARDIZED = "standardize"
_LONGEST = 44
Order = Callable[[Iterable[str]], list[str]]


@dataclass
class Provenance:
    """Values of the provenance of many structures, with the ids that have them.

    Parameters
    ----------
    values : dict
        Ids by key and value; the value None stands for unknown.
    standardized, unconverged : list of str
        Ids.
    densities : dict
        Smallest k-points x length of lattice vector of each id, Å.
    """

    values: dict[str, dict[str | None, list[str]]] = field(default_factory=dict)
    standardized: list[str] = field(default_factory=list)
    unconverged: list[str] = field(default_factory=list)
    densities: dict[str, float] = field(default_factory=dict)

    def add(self, id: str, provenance: Mapping[str, Any], cell: Sequence[float]) -> None:
        """Take in one structure.

        Parameters
        ----------
        id : str
            Its name.
        provenance : mapping
            From info.json; whatever it holds.
        cell : sequence of float
            Lengths of the lattice vectors, Å.
        """
        for key in KEYS:
            self._put(key, provenance.get(key), id)
        for key in PER_ELEMENT:
            names = provenance.get(key)
            for element, name in names.items() if isinstance(names, dict) else ():
                self._put(f"{key} of {element}", name, id)
        steps = provenance.get("steps")
        if isinstance(steps, list) and any(str(step).startswith(_STANDARDIZED) for step in steps):
            self.standardized.append(id)
        if provenance.get("scf_converged") is False:
            self.unconverged.append(id)
        mesh = provenance.get("kmesh")
        if (
            isinstance(mesh, list)
            and len(mesh) == len(cell) == 3
            and all(isinstance(n, int) and n > 0 for n in mesh)
        ):
            self.densities[id] = min(n * a for n, a in zip(mesh, cell, strict=True))

    def _put(self, key: str, value: Any, id: str) -> None:
        text = value if isinstance(value, str) or value is None else json.dumps(value)
        self.values.setdefault(key, {}).setdefault(text, []).append(id)

    def counts(self) -> dict[str, dict[str, int]]:
        """Give the number of structures of each known value.

        Returns
        -------
        dict
            By key and value; keys that no structure has are left out.
        """
        known = {
            key: {value: len(ids) for value, ids in found.items() if value is not None}
            for key, found in self.values.items()
        }
        return {key: values for key, values in known.items() if values}


def mixtures(
    shells: Mapping[str, Mapping[tuple[int, ...], Sequence[str]]],
    spins: Mapping[str, Sequence[str]],
    provenance: Provenance,
    ordered: Order,
) -> Iterator[str]:
    """Say what is mixed, one line each.

    Parameters
    ----------
    shells : mapping
        Ids by element and shells.
    spins : mapping
        Ids by kind of spin.
    provenance : Provenance
        Of all structures.
    ordered : callable
        Sorts ids.

    Yields
    ------
    str
        What, and which structures are the fewer.
    """
    for element, lists in shells.items():
        if len(lists) > 1:
            named = {_shells(found): ids for found, ids in lists.items()}
            yield f"shells of {element} differ: {_shares(named, ordered)}"
    if len(spins) > 1:
        yield f"kinds of spin are mixed: {_shares(spins, ordered)}"
    for key, values in provenance.values.items():
        known = {value: ids for value, ids in values.items() if value is not None}
        if len(known) > 1:
            yield f"{_called(key)} are mixed: {_shares(known, ordered)}"
    densities = provenance.densities
    if densities and max(densities.values()) > DENSITIES_DIFFER * min(densities.values()):
        ids = sorted(ordered(densities), key=lambda id: densities[id])
        yield (
            f"densities of k-points differ: {densities[ids[0]]:.3g} Å (points x lattice vector, "
            f"smallest direction) in {ids[0]}, {densities[ids[-1]]:.3g} Å in {ids[-1]}"
        )
    done = provenance.standardized
    total = sum(map(len, spins.values()))
    if done and len(done) < total:
        yield f"standardised are {len(done)} of {total}: {_some(ordered(done))}"
    if provenance.unconverged:
        yield f"not converged: {_some(ordered(provenance.unconverged))}"


def _called(key: str) -> str:
    """Give the plural of a key."""
    head, _, element = key.partition(" of ")
    return f"{PER_ELEMENT[head]} of {element}" if element else KEYS[key]


def _shells(shells: tuple[int, ...]) -> str:
    """Write shells in their order, as "s s p"."""
    return " ".join(SHELL_LETTERS[shell] for shell in shells)


def _shares(found: Mapping[str, Sequence[str]], ordered: Order) -> str:
    """List values, the most frequent first, and the structures of the others."""
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    shown = [f"{_short(value)} ({len(ids)})" for value, ids in ranked[:1]]
    shown += [f"{_short(value)} ({len(ids)}: {_some(ordered(ids))})" for value, ids in ranked[1:6]]
    return ", ".join(shown) + (f" and {len(ranked) - 6} more" if len(ranked) > 6 else "")


def _short(value: str) -> str:
    """Cut what does not fit into half a line."""
    return value if len(value) <= _LONGEST else value[: _LONGEST - 3] + "..."


def _some(ids: Sequence[str], most: int = 3) -> str:
    return ", ".join(ids[:most]) + (", ..." if len(ids) > most else "")
