"""What info.json says about a structure: spin, shells of each element, Fermi level, electrons.

The keys of the file are those of the published layout plus ``spin``, ``format_version`` and
``provenance``; every other key is kept in `SystemInfo.extras` and written back.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from deeph_spec.errors import InputError, Problem
from deeph_spec.files import write_text
from deeph_spec.orbitals import L_MAX, orbital_count
from deeph_spec.structure import ATOMIC_NUMBERS, Structure

FORMAT_VERSION = "1.0"
FORMAT_MAJOR = 1
SPINS = ("none", "collinear", "soc")
KNOWN_KEYS = (
    "format_version",
    "atoms_quantity",
    "orbits_quantity",
    "orthogonal_basis",
    "spinful",
    "fermi_energy_eV",
    "elements_orbital_map",
    "occupation",
    "spin",
    "provenance",
)


@dataclass(frozen=True)
class SystemInfo:
    """Description of one structure's matrices.

    Parameters
    ----------
    orbital_map : dict
        Shells (l, in storage order) of each element symbol.
    atoms_quantity : int
        Number of atoms.
    orbits_quantity : int
        Spatial orbitals of the cell, spin not counted.
    orthogonal_basis : bool
        Whether S is the identity.
    spinful : bool
        Whether H and the density matrix carry the 2 x 2 spin structure.
    fermi_level : float or None
        Fermi level in eV, on the energy zero of H; None if unknown.
    occupation : float or None
        Electrons of the cell, both spins; None if unknown.
    spin : str or None
        "none", "collinear", "soc", or None if the file does not say.
    format_version : str or None
        Version of the format, None for the published layout.
    provenance : dict
        Where the data come from; nothing else depends on it.
    extras : dict
        Every other key of the file, kept.
    """

    orbital_map: dict[str, tuple[int, ...]]
    atoms_quantity: int
    orbits_quantity: int
    orthogonal_basis: bool = False
    spinful: bool = False
    fermi_level: float | None = None
    occupation: float | None = None
    spin: str | None = None
    format_version: str | None = FORMAT_VERSION
    provenance: dict[str, Any] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)

    @property
    def spin_factor(self) -> int:
        """Factor of the block sizes of H over those of S: 2 when spinful, else 1."""
        return 2 if self.spinful else 1

    def orbital_counts(self, structure: Structure) -> NDArray[np.int64]:
        """Count the spatial orbitals of every atom.

        Parameters
        ----------
        structure : Structure
            Atoms; every element must be in the orbital map.

        Returns
        -------
        (n,) int64 array
            Orbitals of each atom, spin not counted.

        Raises
        ------
        InputError
            If an element has no shells in the map.
        """
        return _orbital_counts(structure, self.orbital_map)

    @classmethod
    def for_structure(
        cls,
        structure: Structure,
        orbital_map: Mapping[str, Sequence[int]],
        *,
        spin: str | None = None,
        spinful: bool | None = None,
        orthogonal_basis: bool = False,
        fermi_level: float | None = None,
        occupation: float | None = None,
        provenance: Mapping[str, Any] | None = None,
        extras: Mapping[str, Any] | None = None,
    ) -> SystemInfo:
        """Describe the matrices of a structure, with atoms and orbitals counted.

        Parameters
        ----------
        structure : Structure
            Atoms.
        orbital_map : mapping
            Shells of every element; sorted by atomic number in the result.
        spin : str, optional
            "none", "collinear" or "soc". Without it: "none", unless `spinful` is true.
        spinful : bool, optional
            Follows from `spin` when that is given.
        orthogonal_basis, fermi_level, occupation, provenance, extras
            As the fields of the class.

        Returns
        -------
        SystemInfo
            Of the current format version.

        Raises
        ------
        InputError
            If an element has no shells or the spin settings contradict each other.
        """
        if spin is None and not spinful:
            spin = "none"
        if spinful is None:
            spinful = spin != "none"
        ordered = sorted(orbital_map, key=lambda symbol: ATOMIC_NUMBERS.get(symbol, 0))
        shells = {symbol: tuple(int(shell) for shell in orbital_map[symbol]) for symbol in ordered}
        info = cls(
            orbital_map=shells,
            atoms_quantity=len(structure),
            orbits_quantity=int(_orbital_counts(structure, shells).sum()),
            orthogonal_basis=orthogonal_basis,
            spinful=spinful,
            fermi_level=fermi_level,
            occupation=occupation,
            spin=spin,
            provenance=dict(provenance or {}),
            extras=dict(extras or {}),
        )
        _raise_first(problems(info.to_document()), "SystemInfo")
        return info

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> SystemInfo:
        """Read an info.json.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        SystemInfo
            With every unknown key in `extras`.

        Raises
        ------
        InputError
            With file and key, if the file is missing or breaks a rule of the format.
        """
        document = read_document(path)
        _raise_first(problems(document), str(path))
        electrons = document.get("occupation")
        level = document["fermi_energy_eV"]
        return cls(
            orbital_map={s: tuple(v) for s, v in document["elements_orbital_map"].items()},
            atoms_quantity=document["atoms_quantity"],
            orbits_quantity=document["orbits_quantity"],
            orthogonal_basis=document["orthogonal_basis"],
            spinful=document["spinful"],
            fermi_level=None if level is None else float(level),
            occupation=None if electrons is None else float(electrons),
            spin=document.get("spin"),
            format_version=document.get("format_version"),
            provenance=document.get("provenance") or {},
            extras={key: value for key, value in document.items() if key not in KNOWN_KEYS},
        )

    def to_document(self) -> dict[str, Any]:
        """Give the content of info.json in the order in which it is written.

        Returns
        -------
        dict
            Optional keys that are not set are left out.
        """
        optional: dict[str, Any] = {"occupation": self.occupation, "spin": self.spin}
        document: dict[str, Any] = {}
        if self.format_version is not None:
            document["format_version"] = self.format_version
        document |= {
            "atoms_quantity": self.atoms_quantity,
            "orbits_quantity": self.orbits_quantity,
            "orthogonal_basis": self.orthogonal_basis,
            "spinful": self.spinful,
            "fermi_energy_eV": self.fermi_level,
            "elements_orbital_map": {s: list(v) for s, v in self.orbital_map.items()},
        }
        document |= {key: value for key, value in optional.items() if value is not None}
        if self.provenance:
            document["provenance"] = self.provenance
        return document | self.extras

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write info.json atomically. It is to be the last file of a folder.

        Parameters
        ----------
        path : path-like
            Target; its folder must exist.

        Raises
        ------
        InputError
            If a number is NaN or infinite.
        """
        try:
            text = json.dumps(self.to_document(), indent=1, ensure_ascii=False, allow_nan=False)
        except ValueError as error:
            raise InputError(f"{path}: not written: {error}") from error
        write_text(path, text + "\n")


def _orbital_counts(
    structure: Structure, orbital_map: Mapping[str, Sequence[int]]
) -> NDArray[np.int64]:
    """Count the orbitals of every atom."""
    missing = [symbol for symbol in structure.elements if symbol not in orbital_map]
    if missing:
        raise InputError(
            f"elements_orbital_map has no shells for {', '.join(missing)}; "
            f"it has {', '.join(orbital_map) or 'none'}",
            rule="E10",
            key="elements_orbital_map",
        )
    numbers, which = np.unique(structure.numbers, return_inverse=True)
    counts = [orbital_count(orbital_map[symbol]) for symbol in structure.elements]
    return np.array(counts, dtype=np.int64)[which] if len(numbers) else np.zeros(0, np.int64)


def _raise_first(found: Sequence[Problem], name: str) -> None:
    """Turn the first problem into an exception."""
    for problem in found:
        where = f": {problem.key}" if problem.key else ""
        raise InputError(
            f"{name}{where}: {problem.message}; {problem.remedy}",
            rule=problem.rule,
            key=problem.key,
        )


def read_document(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a JSON file that must hold an object, without duplicate keys, NaN or Infinity.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    dict
        Its content.

    Raises
    ------
    InputError
        If the file is missing or anything else.
    """
    path = Path(path)

    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise InputError(f"{path}: {twice}: this key occurs twice", rule="E07", key=twice)
        return dict(items)

    def constant(word: str) -> NoReturn:
        raise InputError(f"{path}: holds {word}, which is not JSON; use null", rule="E07")

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: cannot be read: {reason}; copy it anew", rule="E02") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text", rule="E07") from error
    try:
        document = json.loads(text, object_pairs_hook=unique, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}", rule="E07") from error
    if not isinstance(document, dict):
        raise InputError(
            f"{path}: holds a {type(document).__name__}, expected an object", rule="E07"
        )
    return document


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    try:
        return (
            not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
        )
    except OverflowError:  # an integer beyond every float
        return False


def problems(document: Mapping[str, Any]) -> list[Problem]:
    """List what is wrong in the content of an info.json, taken alone.

    Parameters
    ----------
    document : mapping
        Parsed content.

    Returns
    -------
    list of Problem
        Rules E08, E10, E12, E13, E14 of the format; empty if all is well.
    """
    found: list[Problem] = []
    for key in ("atoms_quantity", "orbits_quantity"):
        if not _is_int(document.get(key)) or document[key] < 1:
            found.append(_wrong(document, key, "a whole number of 1 or more"))
    for key in ("orthogonal_basis", "spinful"):
        if not isinstance(document.get(key), bool):
            found.append(_wrong(document, key, "true or false"))
    level = document.get("fermi_energy_eV", "")
    if level is not None and not _is_number(level):
        found.append(_wrong(document, "fermi_energy_eV", "a number in eV, or null if unknown"))
    if not isinstance(document.get("elements_orbital_map"), dict):
        found.append(_wrong(document, "elements_orbital_map", 'an object like {"H": [0, 0, 1]}'))
    else:
        found += _map_problems(document["elements_orbital_map"])
    if not isinstance(document.get("provenance", {}), dict | None):
        found.append(_wrong(document, "provenance", "an object"))
    return found + _version_problems(document) + _spin_problems(document) + _electrons(document)


def _wrong(document: Mapping[str, Any], key: str, expected: str) -> Problem:
    """Give the problem of a key that is missing or of wrong type."""
    if key not in document:
        return Problem("E08", key, f"missing, expected {expected}", f"add the key {key}")
    shown = json.dumps(document[key], default=str)[:60]
    return Problem("E08", key, f"found {shown}, expected {expected}", "correct the value")


def _map_problems(shells: Mapping[str, Any]) -> list[Problem]:
    """Check each element's shell list."""
    return [
        Problem(
            "E10",
            f"elements_orbital_map.{symbol}",
            f"found {json.dumps(value, default=str)[:60]}, expected a list of l in 0..{L_MAX}",
            "list the angular momentum of each shell",
        )
        for symbol, value in shells.items()
        if not isinstance(value, list)
        or not value
        or not all(_is_int(shell) and 0 <= shell <= L_MAX for shell in value)
    ]


def _version_problems(document: Mapping[str, Any]) -> list[Problem]:
    """Check that the version is known."""
    version = document.get("format_version")
    if version is None:
        return []
    parts = re.fullmatch(r"(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})", str(version))
    if not isinstance(version, str) or parts is None:
        message = f"found {json.dumps(version, default=str)[:60]}, expected a text like '1.0'"
        return [Problem("E13", "format_version", message, f'write "{FORMAT_VERSION}"')]
    if int(parts[1]) > FORMAT_MAJOR:
        message = f"version {version} is newer than {FORMAT_MAJOR}.x, which this program reads"
        return [
            Problem("E13", "format_version", message, f"install a version that reads {version}")
        ]
    return []


def _spin_problems(document: Mapping[str, Any]) -> list[Problem]:
    """Check that spin and spinful agree."""
    spin, spinful = document.get("spin"), document.get("spinful")
    if spin is None:
        return []
    if spin not in SPINS:
        message = f"found {json.dumps(spin, default=str)[:60]}, expected one of {', '.join(SPINS)}"
        return [Problem("E12", "spin", message, "correct the value")]
    if isinstance(spinful, bool) and spinful != (spin != "none"):
        message = f"spin is '{spin}' while spinful is {json.dumps(spinful)}"
        return [Problem("E12", "spin", message, "make the two agree with the block sizes of H")]
    return []


def _electrons(document: Mapping[str, Any]) -> list[Problem]:
    """Check the number of electrons."""
    electrons, orbitals = document.get("occupation"), document.get("orbits_quantity")
    if electrons is None:
        return []
    most = 2 * orbitals if _is_int(orbitals) and orbitals is not None else math.inf
    if not _is_number(electrons) or not 0 < electrons <= most:
        shown = json.dumps(electrons, default=str)[:60]
        message = f"found {shown}, expected electrons of the cell: above 0, at most {most}"
        return [Problem("E14", "occupation", message, "count both spins, valence electrons only")]
    return []
