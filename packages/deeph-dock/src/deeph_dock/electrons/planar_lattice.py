"""Paths through the two-dimensional Brillouin zone of a slab, from its lattice alone.

In:  the metric of the two reciprocal vectors.
Out: labelled corner points in fractional coordinates of the given vectors.

A perturbed supercell has no symmetry left, but its plane lattice is still nearly hexagonal, and
Gamma-M-K-Gamma is still what one wants to see. So the path follows the lattice, not the atoms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from deeph_dock.electrons.lattice_sum import FloatArray

Point = tuple[str, FloatArray]

EXACT = 1e-3
"""Relative deviation from an ideal shape that counts as none."""
NEARLY = 0.06
"""Largest deviation of length ratio or cosine that still has the path of the ideal shape: cells
strained by 2 % deviate by up to 4 %."""


class PlanarPath(NamedTuple):
    """Corner points of a path, in order, and the name of the lattice they belong to."""

    points: list[Point]
    lattice: str


def planar_path(metric: FloatArray) -> PlanarPath:
    """Choose the path of a plane lattice.

    Parameters
    ----------
    metric : (2, 2)
        Scalar products of the reciprocal vectors b1, b2; their unit does not matter.

    Returns
    -------
    PlanarPath
        Points (label, (k1, k2)), first and last Gamma.
    """
    basis = np.eye(2)
    shape = _shape(metric, basis)
    if shape == "oblique":  # a skewed choice of vectors may hide a better one
        basis = _reduced(metric)
        shape = _shape(metric, basis)
    lengths, cosine = _lengths(metric, basis)
    if shape == "hexagonal":
        b1 = basis[0]
        b2 = basis[1] if cosine > 0 else basis[0] + basis[1]  # 60 degrees between them
        corners = [("M", b1 / 2), ("K", (b1 + b2) / 3)]
        deviation = max(abs(lengths[1] / lengths[0] - 1), abs(abs(cosine) - 0.5))
    elif shape == "rectangular":
        b1, b2 = basis
        corners = [("X", b1 / 2), ("S", (b1 + b2) / 2), ("Y", b2 / 2)]
        deviation = abs(cosine)
        if deviation < EXACT and abs(lengths[1] / lengths[0] - 1) < EXACT:
            shape = "square"
            corners = [("X", b1 / 2), ("M", (b1 + b2) / 2)]
    else:
        corners = _oblique_corners(metric, _reduced(metric))
        deviation = 0.0
    name = shape if deviation < EXACT else f"nearly {shape} ({100 * deviation:.1f} % off)"
    gamma = ("GAMMA", np.zeros(2))
    return PlanarPath([gamma, *corners, gamma], name)


def _lengths(metric: FloatArray, basis: FloatArray) -> tuple[FloatArray, float]:
    """Lengths (2,) of two vectors given by integer rows, and the cosine between them."""
    products = basis @ metric @ basis.T
    lengths = np.sqrt(np.diag(products))
    return lengths, float(products[0, 1] / (lengths[0] * lengths[1]))


def _shape(metric: FloatArray, basis: FloatArray) -> str:
    lengths, cosine = _lengths(metric, basis)
    if abs(lengths[1] / lengths[0] - 1) < NEARLY and abs(abs(cosine) - 0.5) < NEARLY:
        return "hexagonal"
    return "rectangular" if abs(cosine) < NEARLY else "oblique"


def _reduced(metric: FloatArray) -> FloatArray:
    """Integer rows of the two shortest vectors (Lagrange-Gauss), at most 90 degrees apart."""
    short, long = np.eye(2)
    while True:
        if short @ metric @ short > long @ metric @ long:
            short, long = long, short
        multiple = np.round((short @ metric @ long) / (short @ metric @ short))
        if multiple == 0:
            break
        long = long - multiple * short
    return np.stack([short, long if short @ metric @ long >= 0 else -long])


def _oblique_corners(metric: FloatArray, basis: FloatArray) -> list[Point]:
    """Walk along the edge of a six-sided Brillouin zone: X-H-C-H1-Y.

    The zone is bounded by the bisectors of b1, b2, b2 - b1 and their negatives. X, C, Y are the
    middles of three edges, H and H1 the corners between them: the circumcentres of (0, b1, b2) and
    (0, b2, b2 - b1).
    """
    b1, b2 = basis
    b3 = b2 - b1

    def corner(p: FloatArray, q: FloatArray) -> FloatArray:
        pair = np.stack([p, q])
        halves = 0.5 * np.array([p @ metric @ p, q @ metric @ q])
        return np.asarray(np.linalg.solve(pair @ metric, halves), dtype=np.float64)

    return [
        ("X", b1 / 2),
        ("H", corner(b1, b2)),
        ("C", b2 / 2),
        ("H_1", corner(b2, b3)),
        ("Y", b3 / 2),
    ]
