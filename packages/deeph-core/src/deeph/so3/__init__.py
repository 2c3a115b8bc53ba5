"""Rotations of real harmonics: coupling coefficients and edge frames.

Everything here is in the format's order of orbitals (m = -l..l, polar axis z). It coincides with
e3nn's order once every vector is written as (y, z, x); this package is the only place that knows.
"""

from deeph.so3.coefficients import clebsch_gordan, transposition_sign
from deeph.so3.frames import EdgeFrames, edge_frames, rotate_to_edge, rotate_to_lab, wigner_blocks

__all__ = [
    "EdgeFrames",
    "clebsch_gordan",
    "edge_frames",
    "rotate_to_edge",
    "rotate_to_lab",
    "transposition_sign",
    "wigner_blocks",
]
