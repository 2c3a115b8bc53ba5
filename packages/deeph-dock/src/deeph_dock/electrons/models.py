"""Tight-binding models whose bands are known exactly: for tests, examples and solver contracts.

Each `Model` holds what a structure folder would (structure, info, H, S) and a function that gives
the exact energies at any k.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.lattice_sum import FloatArray


@dataclass(frozen=True, eq=False)
class Model:
    """A model and its exact bands.

    Attributes
    ----------
    structure, info, hamiltonian, overlap
        As read from a structure folder; one s orbital on each atom.
    bands : callable
        Fractional k-points (K, 3) to energies (channels, K, N) in eV, ascending.
    """

    structure: Structure
    info: SystemInfo
    hamiltonian: BlockMatrix
    overlap: BlockMatrix
    bands: Callable[[FloatArray], FloatArray]

    def problem(self) -> HamiltonianK:
        """Return the eigenproblem."""
        return HamiltonianK.from_blocks(self.structure, self.info, self.hamiltonian, self.overlap)


def chain(hopping: float = -1.0, overlap: float = 0.1, level: float = 0.3) -> Model:
    """Put one hydrogen atom into each cell along a1.

    E = (level + 2 t cos 2 pi k) / (1 + 2 s cos 2 pi k).
    """
    structure = Structure(np.diag([1.5, 20.0, 20.0]), np.zeros((1, 3)), np.array([1]))
    pairs = [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]]

    def energies(kpoints: FloatArray) -> FloatArray:
        cosine = 2 * np.cos(2 * np.pi * np.asarray(kpoints)[:, 0])
        return ((level + hopping * cosine) / (1 + overlap * cosine))[None, :, None]

    return _model(
        structure,
        pairs,
        [level, hopping, hopping],
        [1.0, overlap, overlap],
        energies,
        electrons=1.0,
    )


def honeycomb(hopping: float = -2.7, overlap: float = 0.1, mass: float = 0.0) -> Model:
    """Make graphene's pi bands, or boron nitride's with levels +mass and -mass on the two atoms.

    With f(k) = 1 + e^{-2 pi i k1} + e^{2 pi i k2}, F = |f|^2:
    E^2 (1 - s^2 F) + 2 t s F E - (mass^2 + t^2 F) = 0. Without mass the bands touch at K.
    """
    lattice = np.array([[2.46, 0.0, 0.0], [-1.23, 2.46 * np.sqrt(0.75), 0.0], [0.0, 0.0, 20.0]])
    fractional = np.array([[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]])
    structure = Structure(lattice, fractional @ lattice, np.array([6, 6]))
    bonds = [[0, 0, 0, 0, 1], [-1, 0, 0, 0, 1], [0, 1, 0, 0, 1]]
    back = [[-r1, -r2, -r3, j, i] for r1, r2, r3, i, j in bonds]
    pairs = [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], *bonds, *back]

    def energies(kpoints: FloatArray) -> FloatArray:
        k = np.asarray(kpoints)
        f = 1 + np.exp(-2j * np.pi * k[:, 0]) + np.exp(2j * np.pi * k[:, 1])
        square = np.abs(f) ** 2
        a, b = 1 - overlap**2 * square, hopping * overlap * square
        root = np.sqrt(b**2 + a * (mass**2 + hopping**2 * square))
        return np.stack([(-b - root) / a, (-b + root) / a], axis=-1)[None]

    h = [mass, -mass, *[hopping] * 6]
    return _model(structure, pairs, h, [1.0, 1.0, *[overlap] * 6], energies, electrons=2.0)


def _model(
    structure: Structure,
    pairs: list[list[int]],
    h: list[float],
    s: list[float],
    energies: Callable[[FloatArray], FloatArray],
    electrons: float,
) -> Model:
    shapes = np.ones((len(pairs), 2), dtype=np.int64)
    empty = BlockMatrix.zeros(np.array(pairs), shapes)
    info = SystemInfo.for_structure(
        structure, {symbol: (0,) for symbol in structure.elements}, occupation=electrons
    )
    return Model(
        structure, info, empty.with_entries(np.array(h)), empty.with_entries(np.array(s)), energies
    )


def in_field(model: Model, field: float) -> Model:
    """Give a spinless model collinear spins, split by 2 `field` S: up lower, down higher, eV."""
    shift = field * _on_pairs_of(model.hamiltonian, model.overlap)
    h = model.hamiltonian.entries
    blocks = _spinor_blocks(h - shift, 0 * h, 0 * h, h + shift)
    return _spinful(
        model,
        blocks,
        "collinear",
        lambda k: np.concatenate([model.bands(k) - field, model.bands(k) + field]),
    )


def with_spin_orbit(model: Model, coupling: float, field: float = 0.0) -> Model:
    """Add spin-orbit coupling, and a field along x, to a chain: H + 2 lambda sin(2 pi k) sz + B sx.

    With S(k) = 1 + 2 s cos(2 pi k): E = E_0 +- sqrt(4 lambda^2 sin^2 + B^2) / S(k). The field
    breaks time reversal, though E(-k) = E(k) still holds for these bands.
    """
    h = model.hamiltonian.entries.astype(np.complex128)
    cells = model.hamiltonian.atom_pairs[:, 0]
    orbit = -1j * coupling * cells  # sum_R e^{2 pi i k R} (-i lambda R) = 2 lambda sin(2 pi k)
    zeeman = field * (cells == 0)
    spacing = float(model.overlap.entries[1])

    def energies(kpoints: FloatArray) -> FloatArray:
        angle = 2 * np.pi * np.asarray(kpoints)[:, 0]
        split = np.sqrt((2 * coupling * np.sin(angle)) ** 2 + field**2)
        split = (split / (1 + 2 * spacing * np.cos(angle)))[:, None]
        middle = model.bands(kpoints)[0]
        return np.concatenate([middle - split, middle + split], axis=1)[None]

    return _spinful(model, _spinor_blocks(h + orbit, zeeman, zeeman, h - orbit), "soc", energies)


def _on_pairs_of(like: BlockMatrix, matrix: BlockMatrix) -> NDArray[Any]:
    return matrix.on_pairs(like.atom_pairs, like.chunk_shapes).entries


def _spinor_blocks(
    uu: NDArray[Any], ud: NDArray[Any], du: NDArray[Any], dd: NDArray[Any]
) -> NDArray[Any]:
    """Interleave elements of 1 x 1 blocks to entries of 2 x 2 blocks [[uu, ud], [du, dd]]."""
    return np.stack([uu, ud, du, dd], axis=1).reshape(-1)


def _spinful(
    model: Model,
    entries: NDArray[Any],
    spin: str,
    bands: Callable[[FloatArray], FloatArray],
) -> Model:
    h = model.hamiltonian
    doubled = BlockMatrix.zeros(h.atom_pairs, 2 * h.chunk_shapes, entries.dtype)
    info = replace(model.info, spinful=True, spin=spin)
    return Model(model.structure, info, doubled.with_entries(entries), model.overlap, bands)
