"""A silicon crystal with 13 orbitals an atom, and made-up matrices of the size real ones have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from vesin import NeighborList

SHELLS = (0, 0, 1, 1, 2)
ORBITALS = sum(2 * degree + 1 for degree in SHELLS)
CUTOFF = 10.0  # Å: about 200 neighbours


@dataclass(frozen=True, eq=False)
class Crystal:
    """Atoms, and their pairs in the order (first, image, second), each with its own first.

    Lattice (3, 3) and positions (n, 3) in Å; first, second (P,); cells (P, 3); distances (P,) in Å;
    overlap and hamiltonian (P, 13, 13), Hermitian, H in units of about a Rydberg.
    """

    lattice: np.ndarray
    positions: np.ndarray
    first: np.ndarray
    second: np.ndarray
    cells: np.ndarray
    distances: np.ndarray
    overlap: np.ndarray
    hamiltonian: np.ndarray

    @property
    def atoms(self) -> int:
        """Number of atoms."""
        return len(self.positions)


def silicon(repeats: int, lowest: float, cutoff: float = CUTOFF) -> Crystal:
    """Make repeats^3 primitive cells, with fractional positions from `lowest` to `lowest` + 1."""
    lattice = repeats * 2.715 * (1 - np.eye(3))
    shifts = np.stack(np.meshgrid(*[np.arange(repeats)] * 3, indexing="ij"), -1).reshape(-1, 3)
    fractional = np.concatenate([shifts, shifts + 0.25]) / repeats
    rng = np.random.default_rng(repeats)
    fractional = fractional + rng.uniform(0.005, 0.02, fractional.shape) / repeats
    positions = ((fractional - lowest) % 1 + lowest) @ lattice
    first, second, cells, distances = NeighborList(cutoff=cutoff, full_list=True).compute(
        positions, lattice, True, "ijSd"
    )
    first, second = first.astype(int), second.astype(int)
    own = np.arange(len(positions))
    first, second = np.concatenate([own, first]), np.concatenate([own, second])
    cells = np.concatenate([np.zeros((len(own), 3), int), cells.astype(int)])
    distances = np.concatenate([np.zeros(len(own)), distances])
    order = np.lexsort((second, *cells.T[::-1], first))
    distances = distances[order]
    base = rng.standard_normal((ORBITALS, ORBITALS))
    hamiltonian = np.exp(-distances)[:, None, None] * (base + base.T)
    overlap = 0.1 * hamiltonian
    overlap[distances == 0] += np.eye(ORBITALS) - 0.1 * np.diag(np.diag(base + base.T))
    return Crystal(
        lattice,
        positions,
        first[order],
        second[order],
        cells[order],
        distances,
        overlap,
        hamiltonian,
    )
