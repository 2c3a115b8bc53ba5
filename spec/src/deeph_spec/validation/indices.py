"""The three index datasets of a matrix file: rules E16 to E25 and W08."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from deeph_spec import pairs as pair_lists
from deeph_spec.errors import Problem
from deeph_spec.matrix_files import ENTRY_TYPES, KEYS, VECTORS, OpenMatrix
from deeph_spec.ragged import differing

Int = NDArray[np.int64]
# With one of these the entries cannot be taken apart into blocks.
WITH_SPIN = ("hamiltonian", "density_matrix")
"""Matrices whose blocks are doubled by spin."""
_UNUSABLE = {"E16", "E17", "E18", "E22", "E23", "E24", "E25"}


@dataclass(frozen=True)
class Expected:
    """What POSCAR and info.json say about the matrices; None where they cannot be read.

    Parameters
    ----------
    symbols : list of str or None
        Element of every atom.
    orbitals : (n,) int64 array or None
        Spatial orbitals of every atom.
    spinful : bool or None
        Whether blocks of H are doubled.
    spin : str or None
        "none", "collinear", "soc".
    electrons : float or None
        Electrons of the cell, both spins.
    fermi_level : float or None
        In eV.
    """

    symbols: list[str] | None = None
    orbitals: Int | None = None
    spinful: bool | None = None
    spin: str | None = None
    electrons: float | None = None
    fermi_level: float | None = None


@dataclass(frozen=True, eq=False)
class Indices:
    """What the index datasets of a matrix file say.

    Parameters
    ----------
    problems : list of Problem
        What is wrong.
    pairs : (P, 5) int64 array or None
        R1, R2, R3, i, j; None if they cannot be used, as all that follows.
    shapes : (P, 2) int64 array or None
        Rows and columns of each block.
    partner : (P,) int64 array
        Row of the Hermitian partner of each pair, or -1.
    matrix : OpenMatrix or None
        The file, if its entries can be taken apart into blocks.
    """

    problems: list[Problem]
    pairs: Int | None
    shapes: Int | None
    partner: Int
    matrix: OpenMatrix | None


def kind_of(quantity: str) -> str:
    """Tell which rules hold for a matrix.

    Parameters
    ----------
    quantity : str
        E.g. hamiltonian_pred.

    Returns
    -------
    str
        "overlap", "hamiltonian", "density_matrix", "position_matrix", ...
    """
    return quantity.removesuffix("_pred").removesuffix("_raw")


def is_spinful(kind: str, expected: Expected) -> bool | None:
    """Tell whether the blocks of a kind of matrix are doubled by spin.

    Parameters
    ----------
    kind : str
        As `kind_of` gives it.
    expected : Expected
        What info.json says.

    Returns
    -------
    bool or None
        None if it is not known.
    """
    return expected.spinful if kind in WITH_SPIN else False


def check_indices(file: h5py.File, kind: str, expected: Expected) -> Indices:
    """Check everything but the values of the entries.

    Parameters
    ----------
    file : h5py.File
        The open matrix file.
    kind : str
        As `kind_of` gives it.
    expected : Expected
        What POSCAR and info.json say.

    Returns
    -------
    Indices
        With all problems.
    """
    found: list[Problem] = []
    datasets: dict[str, h5py.Dataset] = {}
    for key in KEYS:
        item = _item(file, key)
        if isinstance(item, h5py.Dataset):
            datasets[key] = item
        else:
            what = "missing" if item is None else "a group"
            names = ", ".join(file) or "nothing"
            message = f"{what}, expected a dataset; the file holds {names}"
            found.append(Problem("E16", key, message, "make the file anew"))
    pairs = _index_array(datasets.get("atom_pairs"), 5)
    shapes = _index_array(datasets.get("chunk_shapes"), 2)
    boundaries = _index_array(datasets.get("chunk_boundaries"), 0)
    if "atom_pairs" in datasets and (pairs is None or not len(pairs)):
        found.append(_wrong_array("E17", datasets["atom_pairs"], "atom_pairs", "(P, 5), P > 0"))
        pairs = None
    if "chunk_shapes" in datasets and shapes is None:
        found.append(_wrong_array("E22", datasets["chunk_shapes"], "chunk_shapes", "(P, 2)"))
    if "chunk_boundaries" in datasets and boundaries is None:
        dataset = datasets["chunk_boundaries"]
        found.append(_wrong_array("E23", dataset, "chunk_boundaries", "(P + 1,)"))
    elif boundaries is not None and datasets["chunk_boundaries"].dtype.itemsize < 8:
        message = f"stored as {datasets['chunk_boundaries'].dtype}, which overflows at 2^31"
        found.append(Problem("W08", "chunk_boundaries", message, "rewrite as int64"))
    partner = np.zeros(0, np.int64)
    if pairs is not None:
        partner = pair_lists.partner_rows(pairs)
        found += _pair_problems(pairs, partner, expected)
    if pairs is not None and shapes is not None:
        found += _shape_problems(pairs, partner, shapes, kind, expected)
    if boundaries is not None and shapes is not None:
        found += _boundary_problems(boundaries, shapes)
    if "entries" in datasets:
        found += _entry_problems(datasets["entries"], boundaries, kind)
    rules = {problem.rule for problem in found}
    if pairs is None or shapes is None or len(shapes) != len(pairs) or "E18" in rules:
        return Indices(found, None, None, partner, None)
    matrix = None
    if boundaries is not None and not _UNUSABLE & rules:
        matrix = OpenMatrix(pairs, shapes, boundaries, datasets["entries"])
    return Indices(found, pairs, shapes, partner, matrix)


def _item(file: h5py.File, key: str) -> Any:
    try:
        return file.get(key)
    except KeyError:  # a link to nowhere
        return None


def _index_array(dataset: h5py.Dataset | None, width: int) -> Int | None:
    """Read an index dataset, or give None if it has another shape or type."""
    if dataset is None or dataset.shape is None or dataset.dtype.kind not in "iu":
        return None
    fits = dataset.ndim == 2 and dataset.shape[1] == width if width else dataset.ndim == 1
    return dataset[()].astype(np.int64) if fits else None


def _wrong_array(rule: str, dataset: h5py.Dataset, key: str, expected: str) -> Problem:
    message = f"{dataset.dtype} of shape {dataset.shape}, expected integers {expected}"
    return Problem(rule, key, message, "make the file anew")


def _pair(row: Int) -> str:
    """Write a pair for a message."""
    r1, r2, r3, i, j = row.tolist()
    return f"R = ({r1}, {r2}, {r3}), i = {i}, j = {j}"


def _pair_problems(pairs: Int, partner: Int, expected: Expected) -> list[Problem]:
    """Check indices, duplicates, on-site pairs and partners: E18 to E21."""
    found: list[Problem] = []
    atoms = len(expected.symbols) if expected.symbols is not None else None
    indices = pairs[:, 3:]
    lowest, highest = int(indices.min()), int(indices.max())
    if atoms is not None and lowest == 1 and highest == atoms:
        message = f"atom indices run from 1 to {atoms}: are they counted from 1?"
        found.append(Problem("E18", "atom_pairs", message, "count atoms from 0"))
    elif lowest < 0 or highest >= (len(pairs) if atoms is None else atoms):
        # Without POSCAR: every atom has an on-site pair, so there are no more atoms than pairs.
        outside = (indices < 0) | (indices >= (len(pairs) if atoms is None else atoms))
        row = int(np.flatnonzero(outside.any(axis=1))[0])
        limit = f"expected 0 to {len(pairs) - 1}, as there are {len(pairs)} pairs"
        if atoms is not None:
            limit = f"POSCAR has {atoms} atoms (0 to {atoms - 1})"
        message = f"row {row}: {_pair(pairs[row])}, {limit}"
        remedy = "use the POSCAR the matrix was computed for"
        found.append(Problem("E18", "atom_pairs", message, remedy))
    (keys,) = pair_lists.encode(pairs)
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(twice):
        first, second = int(order[twice[0]]), int(order[twice[0] + 1])
        message = f"rows {first} and {second}: {_pair(pairs[first])} is stored twice"
        more = f" ({len(twice)} such rows)" if len(twice) > 1 else ""
        found.append(Problem("E19", "atom_pairs", message + more, "store each pair once"))
    on_site = pair_lists.on_site(pairs)
    wanted = np.arange(atoms) if atoms is not None else np.unique(indices)
    missing = np.setdiff1d(wanted, indices[on_site, 0])
    if len(missing):
        message = f"no on-site pair (0, i, i) of atom {missing[0]}"
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        found.append(Problem("E20", "atom_pairs", message + more, "store every on-site block"))
    lonely = np.flatnonzero(partner < 0)
    if len(lonely):
        message = f"row {lonely[0]}: {_pair(pairs[lonely[0]])} has no partner (-R, j, i)"
        more = f" ({len(lonely)} of {len(pairs)} rows)" if len(lonely) > 1 else ""
        found.append(Problem("E21", "atom_pairs", message + more, "store both blocks of a pair"))
    return found


def _shape_problems(
    pairs: Int, partner: Int, shapes: Int, kind: str, expected: Expected
) -> list[Problem]:
    """Check block shapes against the orbitals of the two atoms: E22."""
    if len(shapes) != len(pairs):
        message = f"{len(shapes)} rows for {len(pairs)} pairs"
        return [Problem("E22", "chunk_shapes", message, "make the file anew")]
    if shapes.min() < 1:
        row = int(np.flatnonzero((shapes < 1).any(axis=1))[0])
        message = f"row {row}: {shapes[row, 0]} x {shapes[row, 1]}, expected 1 or more"
        return [Problem("E22", "chunk_shapes", message, "make the file anew")]
    turned = differing(shapes[partner], shapes[:, ::-1]) & (partner >= 0)
    spinful = is_spinful(kind, expected)
    if expected.orbitals is None or expected.symbols is None or spinful is None:
        if turned.any():
            row = int(np.flatnonzero(turned)[0])
            message = (
                f"row {row}: {shapes[row, 0]} x {shapes[row, 1]}, its partner "
                f"{shapes[partner[row], 0]} x {shapes[partner[row], 1]}, expected the transposed"
            )
            return [Problem("E22", "chunk_shapes", message, "make the file anew")]
        return []
    outside = (pairs[:, 3:] < 0) | (pairs[:, 3:] >= len(expected.orbitals))
    inside = ~(outside[:, 0] | outside[:, 1])
    counts = expected.orbitals[np.where(inside[:, None], pairs[:, 3:], 0)]
    right = counts * (2 if spinful else 1)
    wrong = np.flatnonzero(inside & differing(shapes, right))
    if not len(wrong):
        return []
    row = int(wrong[0])
    first, second = (expected.symbols[atom] for atom in pairs[row, 3:].tolist())
    message = (
        f"row {row} ({_pair(pairs[row])}): {shapes[row, 0]} x {shapes[row, 1]}, expected "
        f"{right[row, 0]} x {right[row, 1]}, the orbitals of {first} and {second}"
        f"{' times 2 for spin' if spinful else ''} ({len(wrong)} of {len(pairs)} rows)"
    )
    remedy = "correct elements_orbital_map, or make the file anew"
    doubled = bool((shapes == 2 * counts)[inside].all())
    if doubled and kind not in WITH_SPIN:
        message = f"all blocks are doubled by spin, as diag(S, S): {message}"
        remedy = "keep the upper left quarter of each block: S has no spin"
    elif doubled and not spinful:
        remedy = "all blocks are doubled by spin: set spinful to true"
    elif spinful and bool((shapes == counts)[inside].all()):
        remedy = "no block is doubled by spin: set spinful to false, or make the file anew"
    return [Problem("E22", "chunk_shapes", message, remedy)]


def _boundary_problems(boundaries: Int, shapes: Int) -> list[Problem]:
    """Check that boundaries are offsets without gaps: E23, E24."""
    if (boundaries < 0).any():
        at = int(np.flatnonzero(boundaries < 0)[0])
        message = f"number {at} is {boundaries[at]}: 32-bit integers have overflowed"
        return [Problem("E24", "chunk_boundaries", message, "rewrite the boundaries as int64")]
    remedy = "recompute the boundaries from chunk_shapes"
    if len(boundaries) != len(shapes) + 1:
        message = f"{len(boundaries)} numbers for {len(shapes)} blocks, expected {len(shapes) + 1}"
        return [Problem("E23", "chunk_boundaries", message, remedy)]
    if boundaries[0] != 0:
        message = f"the first number is {boundaries[0]}, expected 0"
        return [Problem("E23", "chunk_boundaries", message, remedy)]
    sizes = np.diff(boundaries)
    wrong = np.flatnonzero(sizes != shapes[:, 0] * shapes[:, 1])
    if not len(wrong):
        return []
    row = int(wrong[0])
    height, width = shapes[row].tolist()
    message = (
        f"block {row} has {sizes[row]} entries by its boundaries, but "
        f"{height} x {width} = {height * width} by chunk_shapes"
    )
    return [Problem("E23", "chunk_boundaries", message, remedy)]


def _entry_problems(dataset: h5py.Dataset, boundaries: Int | None, kind: str) -> list[Problem]:
    """Check shape and type of the entries: E25."""
    shape, wanted = dataset.shape, "one-dimensional" if kind not in VECTORS else "(3, E)"
    leading = (3,) if kind in VECTORS else ()
    if shape is None or len(shape) != len(leading) + 1 or shape[:-1] != leading:
        message = f"shape {shape}, expected {wanted}"
        return [Problem("E25", "entries", message, "make the file anew")]
    if dataset.dtype.newbyteorder("=") not in ENTRY_TYPES:
        message = f"type {dataset.dtype}, expected float32, float64, complex64 or complex128"
        return [Problem("E25", "entries", message, "make the file anew")]
    if boundaries is not None and len(boundaries) and shape[-1] != boundaries[-1]:
        message = f"{shape[-1]} entries, but the last boundary is {boundaries[-1]}"
        return [Problem("E25", "entries", message, "the file is cut or mixed up: make it anew")]
    return []
