"""Random displacements of atoms and random strain of the cell."""

from __future__ import annotations

from typing import Any

import numpy as np
from deeph_spec.structure import Structure
from numpy.random import Generator
from numpy.typing import NDArray


def displacements(
    count: int, amplitude: float, rng: Generator, distribution: str = "uniform"
) -> NDArray[np.float64]:
    """Draw a displacement for each atom.

    Parameters
    ----------
    count : int
        Number of atoms.
    amplitude : float
        Å. uniform: every Cartesian component lies within ±amplitude; gaussian: their standard
        deviation.
    rng : numpy.random.Generator
        Where the numbers come from.
    distribution : "uniform" or "gaussian"
        Of the components.

    Returns
    -------
    (count, 3) array
        Å.
    """
    if distribution == "uniform":
        return rng.uniform(-amplitude, amplitude, (count, 3))
    return rng.normal(0.0, amplitude, (count, 3))


def random_strain(
    amplitude: float, rng: Generator, kind: str = "full", normal: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Draw a symmetric strain tensor.

    Parameters
    ----------
    amplitude : float
        Every component that is drawn lies within ±amplitude.
    rng : numpy.random.Generator
        Where the numbers come from.
    kind : "full", "in-plane" or "hydrostatic"
        Six components; three in the plane across `normal`; or one number times the unit matrix.
    normal : (3,) array, optional
        Direction that in-plane strain leaves alone; z without it.

    Returns
    -------
    (3, 3) array
        epsilon, dimensionless: positions become (1 + epsilon) r.
    """
    if kind == "hydrostatic":
        return float(rng.uniform(-amplitude, amplitude)) * np.eye(3)
    full = np.zeros((3, 3))
    rows, columns = np.triu_indices(3 if kind == "full" else 2)
    full[rows, columns] = rng.uniform(-amplitude, amplitude, len(rows))
    full[columns, rows] = full[rows, columns]
    if kind == "full":
        return full
    plane = _plane(np.array([0.0, 0.0, 1.0]) if normal is None else normal)
    return np.asarray(plane.T @ full[:2, :2] @ plane)


def _plane(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give two orthonormal rows across a direction; x and y for z."""
    unit = normal / np.linalg.norm(normal)
    start = np.eye(3)[0 if abs(unit[0]) < 0.9 else 1]
    first = start - (start @ unit) * unit
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(unit, first)])


def strained(structure: Structure, strain: NDArray[np.float64]) -> Structure:
    """Deform cell and atoms alike.

    Parameters
    ----------
    structure : Structure
        Before.
    strain : (3, 3) array
        Symmetric epsilon.

    Returns
    -------
    Structure
        Lattice vectors and positions are (1 + epsilon) times those before, fractional coordinates
        the same.
    """
    deformation = np.eye(3) + strain
    return Structure(
        structure.lattice @ deformation.T, structure.positions @ deformation.T, structure.numbers
    )


def perturb(
    structure: Structure,
    rng: Generator,
    displacement: float = 0.0,
    distribution: str = "uniform",
    strain: float = 0.0,
    kind: str = "full",
    axis: int = 2,
) -> tuple[Structure, dict[str, Any]]:
    """Strain a structure, then displace its atoms, both at random.

    Parameters
    ----------
    structure : Structure
        Before.
    rng : numpy.random.Generator
        Where the numbers come from.
    displacement, distribution
        Of `displacements`; nothing is displaced by 0.
    strain, kind
        Of `random_strain`; nothing is strained by 0.
    axis : int
        Lattice vector out of the plane of in-plane strain.

    Returns
    -------
    Structure, dict
        The new structure, and the strain and the largest displacement (Å).
    """
    facts: dict[str, Any] = {}
    if strain:
        first, second = np.delete(structure.lattice, axis, axis=0)
        epsilon = random_strain(strain, rng, kind, np.cross(first, second))
        structure = strained(structure, epsilon)
        facts["strain"] = epsilon.tolist()
    if displacement:
        steps = displacements(len(structure), displacement, rng, distribution)
        structure = Structure(structure.lattice, structure.positions + steps, structure.numbers)
        facts["largest_displacement"] = float(np.linalg.norm(steps, axis=1).max())
    return structure, facts
