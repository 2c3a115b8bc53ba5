"""Edge frames: the rotation that carries the polar axis to the direction of an edge.

In: vectors of edges (host, float64). Out: `EdgeFrames`, from which the Wigner matrices of every l
are built on the device by recurrence. Geometry carries no gradient here.

An edge and its reverse share one frame up to a half turn about its x axis. The half turn acts on
component (L, M) as the sign (-1)^(L + |M|), times -1 for M < 0, so that the two exchange data by
sign flips alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeph.so3.coefficients import axis_swap

Array = Any
"""A numpy or a jax array: the functions below take both and return what they were given."""


class EdgeFrames(NamedTuple):
    """Directions of edges, the forward edge of each pair of reverse edges deciding the frame.

    Attributes
    ----------
    axes : array (e, 3)
        Unit vectors (x, y, z) of the forward edges.
    turned : array (e,)
        1 where the edge runs against its frame's axis (its frame is turned by pi), else 0.
    """

    axes: Array
    turned: Array


def edge_frames(vectors: NDArray[np.float64], reverse: NDArray[np.int64]) -> EdgeFrames:
    """Return the frames of edges, the reverse edge's made from the forward one's.

    Parameters
    ----------
    vectors : ndarray (e, 3)
        From the first to the second atom of each edge, in Å, none of them zero.
    reverse : ndarray (e,)
        Index of the reverse edge of each edge.
    """
    turned = np.arange(len(vectors)) > reverse
    forward = np.where(turned[:, None], vectors[reverse], vectors)
    return EdgeFrames(
        forward / np.linalg.norm(forward, axis=1, keepdims=True), turned.astype(float)
    )


def half_turn_signs(l: int) -> NDArray[np.float64]:
    """Return the diagonal (2 l + 1,) of the half turn about x in the format's order."""
    m = np.arange(-l, l + 1)
    return np.where(m < 0, -1.0, 1.0) * (-1.0) ** (l + np.abs(m))


def wigner_blocks(frames: EdgeFrames, l_max: int) -> list[Array]:
    """Return D^l of every edge, from components in the edge frame to components in the lab.

    Parameters
    ----------
    frames : EdgeFrames
        e edges; numpy or jax arrays.
    l_max : int
        Largest angular momentum.

    Returns
    -------
    list of arrays (e, 2 l + 1, 2 l + 1), l = 0..l_max
        ``D = Z(alpha) K Z(beta) K``, columns times the half turn where the edge is turned. At
        the poles alpha is free and is set to zero.
    """
    xp = np if isinstance(frames.axes, np.ndarray) else _jax_numpy()
    x, y, z = frames.axes[:, 0], frames.axes[:, 1], frames.axes[:, 2]
    rho = xp.sqrt(x * x + y * y)
    at_pole = rho < 1e-15  # far below it the square root loses its digits, or is zero
    safe = xp.where(at_pole, 1, rho)
    alpha = _multiples(xp, xp.where(at_pole, 1, x / safe), xp.where(at_pole, 0, y / safe), l_max)
    beta = _multiples(xp, z, rho, l_max)
    blocks = []
    for l in range(l_max + 1):
        swap = axis_swap(l).astype(frames.axes.dtype)
        tilt = xp.einsum("ij,ejk->eik", swap, _turn(xp, beta, l, swap[None]))
        signs = half_turn_signs(l).astype(frames.axes.dtype)
        columns = xp.where(frames.turned[:, None] > 0, signs, xp.ones_like(signs))
        blocks.append(_turn(xp, alpha, l, tilt) * columns[:, None, :])
    return blocks


def rotate_to_lab(wigner: Array, components: Array) -> Array:
    """Return D x for components (e, 2 l + 1, c) in the edge frame."""
    return wigner @ components


def rotate_to_edge(wigner: Array, components: Array) -> Array:
    """Return D^T x for components (e, 2 l + 1, c) in the lab frame."""
    return wigner.swapaxes(-1, -2) @ components


def _multiples(xp: Any, cosine: Array, sine: Array, l_max: int) -> tuple[Array, Array]:
    """Return cos(m phi), sin(m phi) for m = 0..l_max, each (l_max + 1, e), by recurrence."""
    c, s = [xp.ones_like(cosine)], [xp.zeros_like(sine)]
    for _ in range(l_max):
        c, s = [*c, c[-1] * cosine - s[-1] * sine], [*s, s[-1] * cosine + c[-1] * sine]
    return xp.stack(c), xp.stack(s)


def _turn(xp: Any, angle: tuple[Array, Array], l: int, matrices: Array) -> Array:
    """Return Z(angle) M for M (e or 1, 2 l + 1, k): Z mixes rows m and -m only."""
    m = np.arange(-l, l + 1)
    cosine = angle[0][np.abs(m)].T
    sine = angle[1][np.abs(m)].T * np.sign(m).astype(matrices.dtype)
    return cosine[:, :, None] * matrices - sine[:, :, None] * matrices[:, ::-1, :]


def _jax_numpy() -> Any:
    import jax.numpy

    return jax.numpy
