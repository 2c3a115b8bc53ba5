"""Radial integrals of two shells as functions of the distance of their centres, in splines.

With the transforms of `deeph_dock.integrals.radial`, the integral of R_a Y_l1m1 at the origin and
R_b Y_l2m2 at d is

    S = sum over L, M of 4 pi i^(l1 - l2 - L) I_L(|d|) G(l1 m1, l2 m2, L M) Y_LM(d),
    I_L(d) = ∫ k^2 f_a(k) f_b(k) j_L(kd) dk,

with L = |l1 - l2|, ..., l1 + l2 in steps of two (Sankey and Niklewski 1989; Soler et al., J. Phys.:
Condens. Matter 14, 2745 (2002), Eqs. 20-26). All I_L of two elements are splined together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis
from deeph_dock.integrals.gaunt import gaunt
from deeph_dock.integrals.operators import Image
from deeph_dock.integrals.radial import Nodes, spherical_bessel

Real = NDArray[np.float64]
Int = NDArray[np.int64]

STEP = 0.01
"""Largest distance of the knots, Å."""
ACCURACY = 1e-9
"""Largest error of the splines midway between knots, relative to 1 or the largest integral."""
CLOSEST = 0.3
"""Accuracy is asked for from here on, and at zero, Å."""
_HALVINGS = 4
_VALUES_AT_ONCE = 2**20


@dataclass(frozen=True, eq=False)
class Group:
    """All pairs of shells of two degrees.

    Attributes
    ----------
    rows, columns : (n_a * (2 l1 + 1),), (n_b * (2 l2 + 1),) int64 array
        Orbitals of the two atoms.
    shells : (2,) tuple of int
        n_a, n_b.
    integrals : (n_a, n_b, K) int64 array
        Column of the table, for each K = (image, L, M).
    harmonics : (K,) int64 array
        L^2 + L + M.
    tensor : (K, C (2 l1 + 1) (2 l2 + 1)) float64 array
        Contraction to components and orbitals.
    """

    rows: Int
    columns: Int
    shells: tuple[int, int]
    integrals: Int
    harmonics: Int
    tensor: Real


@dataclass(frozen=True, eq=False)
class Table:
    """Integrals of one operator between the shells of two elements.

    Attributes
    ----------
    step : float
        Distance of the knots, Å; the first is at zero.
    coefficients : (n, 4, I) float64 array
        Cubic polynomials of the n intervals, highest power first, in (d - knot) / step; the last
        interval is zero.
    same_centre : (I,) float64 array
        The integrals at d = 0.
    groups : tuple of Group
        How blocks are made of them.
    shape : (3,) tuple of int
        Components, orbitals of the first and of the second element.
    """

    step: float
    coefficients: Real
    same_centre: Real
    groups: tuple[Group, ...]
    shape: tuple[int, int, int]

    @property
    def largest_degree(self) -> int:
        """Largest L of the harmonics."""
        return max(int(np.sqrt(group.harmonics.max())) for group in self.groups)


def make_table(
    first: AtomicBasis,
    second: AtomicBasis,
    transforms: tuple[Sequence[Real], Sequence[Sequence[Image]]],
    far_transforms: tuple[Sequence[Real], Sequence[Sequence[Image]]],
    near: Nodes,
    far: Nodes,
) -> Table:
    """Tabulate the integrals of two elements.

    Parameters
    ----------
    first, second : AtomicBasis
        The elements.
    transforms : (list of (K,) arrays, list of lists of Image)
        Transforms of the first's shells, and what the operator makes of the second's, at the near
        nodes.
    far_transforms : same
        At the far nodes, if there are any.
    near, far : Nodes
        See `deeph_dock.integrals.radial.near_and_far`.

    Returns
    -------
    Table
        With splines of the accuracy `ACCURACY`.
    """
    terms = _Terms(first, second, transforms[1])
    products = terms.products(*transforms) * (near.weights * near.wavenumbers**2)[:, None]
    reach = terms.reach
    integrate = terms.integrator(products, near.wavenumbers)
    step, values = _refined(integrate, float(reach.max()))
    same_centre = values[0].copy()
    if len(far.wavenumbers):
        beyond = terms.products(*far_transforms) * (far.weights * far.wavenumbers**2)[:, None]
        rest = terms.signs * beyond.sum(axis=0)
        same_centre += np.where(terms.degrees == 0, rest, 0.0)
    return Table(
        step,
        _spline(values, step),
        same_centre,
        terms.groups(),
        (terms.components, *(len(_orbital_shells(basis)) for basis in (first, second))),
    )


class _Terms:
    """The list of all radial integrals of two elements: (shell, shell, image, L)."""

    def __init__(
        self, first: AtomicBasis, second: AtomicBasis, images: Sequence[Sequence[Image]]
    ) -> None:
        self.first, self.second, self.images = first, second, images
        self.components = images[0][0].coefficients.shape[0]
        listed = [
            (a, b, number, degree)
            for a, shell in enumerate(first.shells)
            for b, made in enumerate(images)
            for number, image in enumerate(made)
            for degree in _degrees(shell.degree, image.degree)
        ]
        self.columns = {term: column for column, term in enumerate(listed)}
        self.listed = listed
        self.degrees = np.array([term[3] for term in listed])
        phases = [
            first.shells[a].degree - images[b][number].degree - degree
            for a, b, number, degree in listed
        ]
        self.signs = 4 * np.pi * np.where(np.array(phases) % 4 == 0, 1.0, -1.0)
        self.reach = np.array(
            [first.shells[a].cutoff + second.shells[b].cutoff for a, b, _, _ in listed]
        )

    def products(self, bras: Sequence[Real], kets: Sequence[Sequence[Image]]) -> Real:
        """Multiply the transforms of every term, (K, I)."""
        return np.stack(
            [bras[a] * kets[b][number].transform for a, b, number, _ in self.listed], axis=-1
        )

    def integrator(self, products: Real, k: Real) -> Callable[[Real], Real]:
        """Give the function that takes distances (n,) and gives all integrals there, (n, I)."""
        largest = int(self.degrees.max())
        of_degree = [np.flatnonzero(self.degrees == degree) for degree in range(largest + 1)]
        step = max(1, _VALUES_AT_ONCE // ((largest + 1) * len(k)))

        def integrate(distances: Real) -> Real:
            values = np.empty((len(distances), len(self.listed)))
            for start in range(0, len(distances), step):
                rows = slice(start, start + step)
                bessel = spherical_bessel(largest, distances[rows, None] * k)
                for degree, columns in enumerate(of_degree):
                    if len(columns):
                        values[rows, columns] = bessel[degree] @ products[:, columns]
            beyond = distances[:, None] >= self.reach
            result: Real = np.where(beyond, 0.0, self.signs * values)
            return result

        return integrate

    def groups(self) -> tuple[Group, ...]:
        """Group the terms by the degrees of their shells."""
        of_first, of_second = _shells_by_degree(self.first), _shells_by_degree(self.second)
        return tuple(
            self._group(a, b, of_first[a], of_second[b]) for a in of_first for b in of_second
        )

    def _group(self, l1: int, l2: int, bras: list[int], kets: list[int]) -> Group:
        made = self.images[kets[0]]
        inner = [
            (number, degree)
            for number, image in enumerate(made)
            for degree in _degrees(l1, image.degree)
        ]
        tensors = [
            np.einsum("amM,cbm->Mcab", gaunt(l1, made[number].degree, degree), image_coefficients)
            for number, degree in inner
            for image_coefficients in (made[number].coefficients,)
        ]
        counts = [2 * degree + 1 for _, degree in inner]
        integrals = np.array(
            [
                [np.repeat([self.columns[a, b, *pair] for pair in inner], counts) for b in kets]
                for a in bras
            ]
        )
        harmonics = np.concatenate([np.arange(degree**2, (degree + 1) ** 2) for _, degree in inner])
        tensor = np.concatenate(tensors)
        return Group(
            np.flatnonzero(np.isin(_orbital_shells(self.first), bras)),
            np.flatnonzero(np.isin(_orbital_shells(self.second), kets)),
            (len(bras), len(kets)),
            integrals,
            harmonics,
            tensor.reshape(len(tensor), -1),
        )


def _degrees(first: int, second: int) -> range:
    """Give the L that couple two degrees."""
    return range(abs(first - second), first + second + 1, 2)


def _shells_by_degree(basis: AtomicBasis) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for number, degree in enumerate(basis.degrees):
        found.setdefault(degree, []).append(number)
    return found


def _orbital_shells(basis: AtomicBasis) -> Int:
    """Give the shell of every orbital."""
    return np.repeat(np.arange(len(basis.shells)), [2 * degree + 1 for degree in basis.degrees])


def _refined(integrate: Callable[[Real], Real], reach: float) -> tuple[float, Real]:
    """Halve the step until the splines are accurate; give step and values at the knots."""
    count = int(np.ceil(reach / STEP)) + 4  # beyond the reach, where all is zero
    step = STEP
    values = integrate(_knots(count, step))
    for _ in range(_HALVINGS):
        between = integrate(_knots(count - 1, step) + step / 2)
        middle = _spline(values, step)[: count - 1]
        guessed = ((middle[:, 0] / 2 + middle[:, 1]) / 2 + middle[:, 2]) / 2 + middle[:, 3]
        wrong = np.abs(guessed - between)[int(CLOSEST / step) :]
        merged = np.empty((2 * count - 1, values.shape[1]))
        merged[::2], merged[1::2] = values, between
        step, count, values = step / 2, 2 * count - 1, merged
        if (wrong / 16 <= ACCURACY * np.maximum(1, np.abs(values).max(axis=0))).all():
            break
    return step, values


def _knots(count: int, step: float) -> Real:
    knots: Real = step * np.arange(count, dtype=np.float64)
    return knots


def _spline(values: Real, step: float) -> Real:
    """Give the cubic polynomials of the intervals, and a zero one at the end: (n, 4, I)."""
    from scipy.interpolate import CubicSpline

    polynomials = CubicSpline(np.arange(len(values)), values).c  # (4, n - 1, I)
    coefficients = np.zeros((len(values), 4, values.shape[1]))
    coefficients[:-1] = polynomials.transpose(1, 0, 2)
    return coefficients
