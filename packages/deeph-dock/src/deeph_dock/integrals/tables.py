"""Radial integrals of two shells as functions of the distance of their centres, in splines.

With the transforms of `deeph_dock.integrals.radial`, the integral of R_a Y_l1m1 at the origin and
R_b Y_l2m2 at d is

    S = sum over L, M of 4 pi i^(l1 - l2 - L) I_L(|d|) G(l1 m1, l2 m2, L M) Y_LM(d),
    I_L(d) = ∫ k^2 f_a(k) f_b(k) j_L(kd) dk,

with L = |l1 - l2|, ..., l1 + l2 in steps of two (Sankey and Niklewski 1989; Soler et al., J. Phys.:
Condens. Matter 14, 2745 (2002), Eqs. 20-26). All I_L of two elements are splined together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis, Shell
from deeph_dock.integrals.gaunt import gaunt
from deeph_dock.integrals.operators import Image, Operator
from deeph_dock.integrals.radial import Nodes, spherical_bessel

if TYPE_CHECKING:
    from scipy.interpolate import PPoly

Real = NDArray[np.float64]

STEP = 0.01
"""Largest distance of the knots, Å."""
CLOSEST = 0.3
"""Accuracy is asked for from here on, and at zero, Å."""
_HALVINGS = 4
_VALUES_AT_ONCE = 2**20


class Place(NamedTuple):
    """Where a pair of shells stands in the blocks, and which column of the table it takes."""

    rows: slice
    columns: slice
    integral: int


@dataclass(frozen=True, eq=False)
class Part:
    """One L of the sum for all pairs of shells of two degrees: they share its angular factor.

    Attributes
    ----------
    degree : int
        L.
    tensor : (C (2 l1 + 1) (2 l2 + 1), 2L + 1) float64 array
        What makes the angular factor of the harmonics of degree L.
    shape : (3,) tuple of int
        C, 2 l1 + 1, 2 l2 + 1.
    places : tuple of Place
        One for each pair of shells.
    first : bool
        Nothing is there yet from another L.
    """

    degree: int
    tensor: Real
    shape: tuple[int, int, int]
    places: tuple[Place, ...]
    first: bool


@dataclass(frozen=True, eq=False)
class Table:
    """Integrals of one operator between the shells of two elements.

    Attributes
    ----------
    splines : PPoly
        The I integrals as functions of the distance in Å, zero beyond the last knot.
    same_centre : (I,) float64 array
        The integrals at d = 0.
    parts : tuple of Part
        How blocks are made of them.
    shape : (3,) tuple of int
        Components, orbitals of the first and of the second element.
    """

    splines: PPoly
    same_centre: Real
    parts: tuple[Part, ...]
    shape: tuple[int, int, int]

    @property
    def largest_degree(self) -> int:
        """Largest L of the harmonics."""
        return max(part.degree for part in self.parts)


def make_table(
    first: AtomicBasis,
    second: AtomicBasis,
    transforms: tuple[Sequence[Real], Sequence[Sequence[Image]]],
    far_transforms: tuple[Sequence[Real], Sequence[Sequence[Image]]],
    near: Nodes,
    far: Nodes,
    operator: Operator,
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
    operator : Operator
        Made the kets.

    Returns
    -------
    Table
        With splines of this accuracy.
    """
    terms = _Terms(first, second, transforms[1])
    products = terms.products(*transforms) * (near.weights * near.wavenumbers**2)[:, None]
    reach = terms.reach
    integrate = terms.integrator(products, near.wavenumbers)
    step, values = _refined(integrate, float(reach.max()), operator.accuracy)
    same_centre = values[0].copy()
    exact = first.wavenumbers is None and not len(far.wavenumbers)
    if operator.same_centre is not None and first is second and exact:
        same_centre = terms.same_centre(operator.same_centre)
    if len(far.wavenumbers):
        beyond = terms.products(*far_transforms) * (far.weights * far.wavenumbers**2)[:, None]
        rest = terms.signs * beyond.sum(axis=0)
        same_centre += np.where(terms.degrees == 0, rest, 0.0)
    return Table(
        _spline(values, step),
        same_centre,
        tuple(terms.parts()),
        (terms.components, _starts(first)[-1], _starts(second)[-1]),
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

    def same_centre(self, integral: Callable[[Shell, Shell], float]) -> Real:
        """Give all integrals of a scalar operator at d = 0: those of L = 0 and equal degrees."""
        values = np.zeros(len(self.listed))
        for column, (a, b, _, degree) in enumerate(self.listed):
            bra, ket = self.first.shells[a], self.second.shells[b]
            if degree == 0 and bra.degree == ket.degree:
                values[column] = 4 * np.pi * integral(bra, ket)
        return values

    def parts(self) -> Iterator[Part]:
        """Collect the terms of one L and two degrees."""
        of_first, of_second = _shells_by_degree(self.first), _shells_by_degree(self.second)
        for l1, bras in of_first.items():
            for l2, kets in of_second.items():
                made = self.images[kets[0]]
                inner = [(n, L) for n, image in enumerate(made) for L in _degrees(l1, image.degree)]
                for number, degree in inner:
                    image = made[number]
                    angular = gaunt(l1, image.degree, degree)
                    tensor = np.einsum("amM,cbm->cabM", angular, image.coefficients)
                    yield Part(
                        degree,
                        np.ascontiguousarray(tensor.reshape(-1, 2 * degree + 1)),
                        (self.components, 2 * l1 + 1, 2 * l2 + 1),
                        tuple(self._place(a, b, number, degree) for a in bras for b in kets),
                        (number, degree) == inner[0],
                    )

    def _place(self, a: int, b: int, number: int, degree: int) -> Place:
        """Find a pair of shells in the blocks."""
        rows, columns = _starts(self.first), _starts(self.second)
        return Place(
            slice(rows[a], rows[a + 1]),
            slice(columns[b], columns[b + 1]),
            self.columns[a, b, number, degree],
        )


def _degrees(first: int, second: int) -> range:
    """Give the L that couple two degrees."""
    return range(abs(first - second), first + second + 1, 2)


def _shells_by_degree(basis: AtomicBasis) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for number, degree in enumerate(basis.degrees):
        found.setdefault(degree, []).append(number)
    return found


def _starts(basis: AtomicBasis) -> list[int]:
    """Give the number of the first orbital of every shell, and that of all orbitals."""
    return [0, *accumulate(2 * degree + 1 for degree in basis.degrees)]


def _refined(
    integrate: Callable[[Real], Real], reach: float, accuracy: float
) -> tuple[float, Real]:
    """Halve the step until the splines are accurate; give step and values at the knots."""
    count = int(np.ceil(reach / STEP)) + 4  # beyond the reach, where all is zero
    step = STEP
    values = integrate(_knots(count, step))
    for _ in range(_HALVINGS):
        between = integrate(_knots(count - 1, step) + step / 2)
        guessed = _spline(values, step)(_knots(count - 1, step) + step / 2)
        wrong = np.abs(guessed - between)[int(CLOSEST / step) :]
        merged = np.empty((2 * count - 1, values.shape[1]))
        merged[::2], merged[1::2] = values, between
        step, count, values = step / 2, 2 * count - 1, merged
        if (wrong / 16 <= accuracy * np.maximum(1, np.abs(values).max(axis=0))).all():
            break
    return step, values


def _knots(count: int, step: float) -> Real:
    knots: Real = step * np.arange(count, dtype=np.float64)
    return knots


def _spline(values: Real, step: float) -> PPoly:
    """Interpolate, and add an interval of zeros at the end."""
    from scipy.interpolate import CubicSpline, PPoly

    inner = CubicSpline(_knots(len(values), step), values)
    polynomials = np.zeros((4, len(values), values.shape[1]))
    polynomials[:, :-1] = inner.c
    return PPoly(polynomials, _knots(len(values) + 1, step))
