"""Paths of k-points for band structures, always in fractional coordinates of the given cell.

`automatic_path` follows what the matrices say about the cell: Gamma alone for molecules, one line
for chains, the plane for slabs (never out of it), and seekpath (Hinuma et al., Comp. Mat. Sci. 128,
140 (2017)) for crystals. Cells that are supercells or have lost their symmetry by displacements
and strain get the path of their own, nearest lattice. `read_kpath` reads a K_PATH file.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from numpy.typing import NDArray

from deeph_dock.electrons.lattice_sum import FloatArray
from deeph_dock.electrons.planar_lattice import planar_path

DEFAULT_POINTS = 200
VACUUM = 8.0
"""An empty layer thicker than this (Å) separates slabs, wires and molecules."""
SYMMETRY_TOLERANCE = 0.01
"""Å: positions are trusted to this when the space group is determined."""
STRAIN_TOLERANCES = (0.1, 0.05, 0.02, 0.01, 1e-3)
"""Relative tolerances at which the nearest lattice of a cell without symmetry is looked for."""
LARGEST_METRIC_CHANGE = 0.05
"""Largest change of the metric from a cell to its nearest lattice: strains up to 2.5 %."""

Segment = tuple[tuple[str, FloatArray], tuple[str, FloatArray]]


@dataclass(frozen=True, eq=False)
class KPath:
    """A path of straight segments; every segment holds both of its ends.

    Attributes
    ----------
    ends : (n, 2, 3)
        First and last k-point of each segment, fractional.
    labels : n pairs of str
        Their names: "GAMMA", "X", "H_1".
    counts : n int
        Points on each segment, at least 2 (1 for a path that is a single point).
    description : str
        Which lattice the path belongs to, or the file it comes from.
    """

    ends: FloatArray
    labels: tuple[tuple[str, str], ...]
    counts: tuple[int, ...]
    description: str = ""

    @property
    def kpoints(self) -> FloatArray:
        """All points, (K, 3); joints appear twice."""
        return np.concatenate(
            [np.linspace(a, b, n) for (a, b), n in zip(self.ends, self.counts, strict=True)]
        )

    @property
    def fresh(self) -> NDArray[np.bool_]:
        """False for each point that repeats the one before it, as joints do, (K,)."""
        kpoints = self.kpoints
        return np.concatenate([[True], np.any(kpoints[1:] != kpoints[:-1], axis=1)])

    def distances(self, lattice: FloatArray) -> FloatArray:
        """Length along the path at each point, (K,), in 1/Å without 2 pi; jumps have none."""
        lengths = self._lengths(lattice)
        starts = np.cumsum(lengths) - lengths
        return np.concatenate(
            [
                start + np.linspace(0.0, length, n)
                for start, length, n in zip(starts, lengths, self.counts, strict=True)
            ]
        )

    def ticks(self, lattice: FloatArray) -> FloatArray:
        """Length along the path at the ends of the segments, (n + 1,), in 1/Å without 2 pi."""
        return np.concatenate([[0.0], np.cumsum(self._lengths(lattice))])

    def _lengths(self, lattice: FloatArray) -> FloatArray:
        steps = (self.ends[:, 1] - self.ends[:, 0]) @ np.linalg.inv(lattice).T
        return np.asarray(np.linalg.norm(steps, axis=1), dtype=np.float64)

    def __str__(self) -> str:
        """Show the labels in one line, as in Γ-M-K-Γ, with | where the path jumps."""
        shown = [label.replace("GAMMA", "Γ") for pair in self.labels for label in pair]
        text = shown[0]
        for n in range(len(self.labels)):
            if n > 0 and np.allclose(self.ends[n, 0], self.ends[n - 1, 1]):
                text += f"-{shown[2 * n + 1]}"
            elif n > 0:
                text += f"|{shown[2 * n]}-{shown[2 * n + 1]}"
            elif self.counts[0] > 1:
                text += f"-{shown[1]}"
        return text


def sampled(
    segments: Sequence[Segment], lattice: FloatArray, points: int, description: str
) -> KPath:
    """Spread about `points` points over segments in proportion to their lengths.

    Raises
    ------
    InputError
        If `points` is below 2.
    """
    if points < 2:
        raise InputError(f"a path needs at least 2 points, found {points}")
    ends = np.array([[a, b] for (_, a), (_, b) in segments])
    labels = tuple((a, b) for (a, _), (b, _) in segments)
    lengths = KPath(ends, labels, (2,) * len(labels))._lengths(lattice)
    counts = tuple(max(2, round(points * x) + 1) for x in (lengths / lengths.sum()).tolist())
    return KPath(ends, labels, counts, description)


def gamma_only() -> KPath:
    """Return the path of a molecule: one point."""
    return KPath(np.zeros((1, 2, 3)), (("GAMMA", "GAMMA"),), (1,), "molecule")


def periodic_axes(
    structure: Structure, coupled: Sequence[bool] = (True, True, True)
) -> tuple[bool, bool, bool]:
    """Tell the lattice directions along which there is a crystal.

    Parameters
    ----------
    structure : Structure
    coupled : three bool
        Directions along which the matrices couple cells (`HamiltonianK.coupled_axes`).

    Returns
    -------
    three bool
        False where nothing couples, or where a layer of more than 8 Å is empty.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(structure.lattice), axis=0)
    fractional = np.sort(np.mod(structure.fractional, 1.0), axis=0)
    gaps = np.diff(fractional, axis=0, append=fractional[:1] + 1.0).max(axis=0) * heights
    found = [c and bool(gap < VACUUM) for c, gap in zip(coupled, gaps, strict=True)]
    return found[0], found[1], found[2]


def automatic_path(
    structure: Structure,
    coupled: Sequence[bool] = (True, True, True),
    points: int = DEFAULT_POINTS,
) -> KPath:
    """Propose a path for a structure.

    Parameters
    ----------
    structure : Structure
    coupled : three bool
        Directions along which the matrices couple cells.
    points : int
        About how many points the whole path has.
    """
    axes = [n for n, periodic in enumerate(periodic_axes(structure, coupled)) if periodic]
    if not axes:
        return gamma_only()
    lattice = np.asarray(structure.lattice, dtype=np.float64)
    if len(axes) == 3:
        return _crystal_path(structure, points)
    if len(axes) == 1:
        edge = np.zeros(3)
        edge[axes] = 0.5
        segments: list[Segment] = [(("GAMMA", np.zeros(3)), ("X", edge))]
        return sampled(segments, lattice, points, f"chain along a{axes[0] + 1}")
    plane = lattice[axes]
    metric = np.asarray(np.linalg.inv(plane @ plane.T), dtype=np.float64)
    found = planar_path(metric)
    corners = [(label, np.zeros(3)) for label, _ in found.points]
    for (_, corner), (_, k) in zip(corners, found.points, strict=True):
        corner[axes] = k
    text = f"{found.lattice} plane lattice of a{axes[0] + 1}, a{axes[1] + 1}"
    return sampled(list(pairwise(corners)), lattice, points, text)


def _crystal_path(structure: Structure, points: int) -> KPath:
    """Path of a three-dimensional crystal by seekpath, in the coordinates of the cell as it is."""
    lattice = np.asarray(structure.lattice, dtype=np.float64)
    atoms = (np.asarray(structure.fractional), np.asarray(structure.numbers))
    group = _symmetry(lattice, atoms, SYMMETRY_TOLERANCE)
    if group is not None and group.number > 2:
        cells = len(structure) // (int(group.mapping_to_primitive.max()) + 1)
        if cells == 1:
            found = _seekpath(_idealised(group), atoms, SYMMETRY_TOLERANCE)
            text = f"{found['bravais_lattice_extended']}, space group {group.international}"
            return sampled(_segments(found), lattice, points, text)
    # A supercell, or no symmetry: the zone is that of the cell's own lattice, nearly symmetric.
    empty = (np.zeros((1, 3)), np.array([1]))
    edge = float(abs(np.linalg.det(lattice)) ** (1 / 3))
    for tolerance in STRAIN_TOLERANCES:
        group = _symmetry(lattice, empty, tolerance * edge)
        if group is None:
            continue
        ideal = _idealised(group)
        off = float(np.abs(lattice @ lattice.T - ideal @ ideal.T).max()) / edge**2
        if off > LARGEST_METRIC_CHANGE:
            continue
        found = _seekpath(ideal, empty, 1e-3 * edge)
        text = f"{found['bravais_lattice_extended']} lattice of the cell"
        text += f" (nearly: metric {100 * off:.1f} % off)" if off > 1e-3 else ""
        return sampled(_segments(found), lattice, points, text)
    raise InputError("the lattice could not be classified: give a path with --kpath FILE")


def _symmetry(lattice: FloatArray, atoms: tuple[Any, Any], tolerance: float) -> Any:
    """Return spglib's data set, None where it finds nothing."""
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib announces a new way to report failures
        cell: Any = (lattice, *atoms)
        return spglib.get_symmetry_dataset(cell, symprec=tolerance)


def _idealised(group: Any) -> FloatArray:
    """Return the rows of the given cell with the symmetry of its group made exact.

    spglib's standard vectors are (a b c)_std = (a b c) P^-1, in columns.
    """
    return np.asarray(group.transformation_matrix.T @ group.std_lattice, dtype=np.float64)


def _seekpath(lattice: FloatArray, atoms: tuple[Any, Any], tolerance: float) -> dict[str, Any]:
    import seekpath

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # edge cases between two lattices: either path is right
        found: dict[str, Any] = seekpath.get_path_orig_cell((lattice, *atoms), symprec=tolerance)
    return found


def _segments(found: dict[str, Any]) -> list[Segment]:
    # Rational coordinates come back with rounding errors of a rotation.
    place = {name: np.round(k, 12) for name, k in found["point_coords"].items()}
    return [((a, place[a]), (b, place[b])) for a, b in found["path"]]


def read_kpath(path: str | os.PathLike[str]) -> KPath:
    """Read a K_PATH file.

    One segment a line: ``n  k1 k2 k3  k1 k2 k3  label label``, fractional coordinates, both ends
    among the n points. Empty lines and what follows ``#`` are skipped.

    Raises
    ------
    InputError
        If the file is missing or a line is not of that form; names the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        raise InputError(f"{path}: cannot be read as a K_PATH file: {failure}") from failure
    ends, labels, counts = [], [], []
    for number, line in enumerate(lines, start=1):
        fields = line.split("#")[0].split()
        if not fields:
            continue
        where = f"{path}: line {number}"
        if len(fields) != 9:
            raise InputError(
                f"{where}: found {len(fields)} fields, expected 9: n k1 k2 k3 k1 k2 k3 label label"
            )
        try:
            count = int(fields[0])
            numbers = [float(x) for x in fields[1:7]]
        except ValueError as failure:
            raise InputError(f"{where}: not a number: {failure}") from failure
        if count < 2 or not all(math.isfinite(x) for x in numbers):
            raise InputError(
                f"{where}: found n = {count}, k = {fields[1:7]}; expected n of 2 or more (both "
                "ends are counted) and finite coordinates"
            )
        ends.append(np.reshape(numbers, (2, 3)))
        labels.append((fields[7], fields[8]))
        counts.append(count)
    if not counts:
        raise InputError(f"{path}: no segment found: expected n k1 k2 k3 k1 k2 k3 label label")
    return KPath(np.array(ends), tuple(labels), tuple(counts), f"from {Path(path).name}")
