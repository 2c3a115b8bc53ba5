"""Blocks of two-centre integrals of given atoms at given distances.

For every pair of atoms the splines give all radial integrals, and the harmonics of the direction
are evaluated once; the angular factor of two degrees and an L is then multiplied into the block of
every pair of shells. The cost is that of the result: linear in the number of pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph_dock.basis import AtomicBasis
from deeph_dock.integrals.harmonics import harmonics
from deeph_dock.integrals.operators import OPERATORS, Image
from deeph_dock.integrals.radial import check_resolution, near_and_far, transforms
from deeph_dock.integrals.tables import Table, make_table

Real = NDArray[np.float64]
PAIRS_AT_ONCE = 2048  # what is in use then stays in the cache
_SAME_CENTRE = 1e-6  # Å


class TwoCentre:
    """Two-centre integrals between the atoms of some elements.

    Parameters
    ----------
    bases : mapping of int to AtomicBasis
        By atomic number.
    quantities : sequence of str
        Of `deeph_dock.integrals.operators.OPERATORS`.

    Raises
    ------
    ValueError
        If the bases follow different rules of integration over k.
    """

    def __init__(
        self, bases: Mapping[int, AtomicBasis], quantities: Sequence[str] = ("overlap",)
    ) -> None:
        self.bases = dict(bases)
        self.quantities = tuple(quantities)
        self._nodes = near_and_far(list(self.bases.values()))
        self._bras: dict[int, list[list[Real]]] = {}
        self._kets: dict[tuple[str, int], list[list[list[Image]]]] = {}
        self._tables: dict[tuple[str, int, int], Table] = {}

    def prepare(self, quantity: str, numbers: Iterable[int]) -> None:
        """Make the tables of some elements now, and not when they are first needed.

        Parameters
        ----------
        quantity : str
            One of those asked for at the beginning, and with positions the overlap.
        numbers : iterable of int
            Atomic numbers.
        """
        elements = np.unique(np.asarray(list(numbers))).tolist()
        for name in {quantity, "overlap"} if quantity == "position" else {quantity}:
            for first in elements:
                for second in elements:
                    self._table(name, first, second)

    def _table(self, quantity: str, first: int, second: int) -> Table:
        """Give a table, from the second time on from memory."""
        key = quantity, first, second
        if key not in self._tables:
            near, far = self._nodes
            bras, kets = self._bras_of(first), self._kets_of(quantity, second)
            bases = self.bases[first], self.bases[second]
            self._tables[key] = make_table(
                *bases, (bras[0], kets[0]), (bras[1], kets[1]), near, far, OPERATORS[quantity]
            )
        return self._tables[key]

    def _bras_of(self, number: int) -> list[list[Real]]:
        """Transform the shells of an element, at near and far nodes."""
        if number not in self._bras:
            self._bras[number] = [
                transforms(self.bases[number].shells, nodes.wavenumbers) for nodes in self._nodes
            ]
            if self.bases[number].wavenumbers is None:
                check_resolution(self.bases[number], self._bras[number][0], self._nodes[0])
        return self._bras[number]

    def _kets_of(self, quantity: str, number: int) -> list[list[list[Image]]]:
        """Apply an operator to the shells of an element, at near and far nodes."""
        if (quantity, number) not in self._kets:
            images, shells = OPERATORS[quantity].images, self.bases[number].shells
            self._kets[quantity, number] = [
                images(shells, own, nodes.wavenumbers)
                for own, nodes in zip(self._bras_of(number), self._nodes, strict=True)
            ]
        return self._kets[quantity, number]

    def blocks(
        self, quantity: str, first: int, second: int, vectors: Real, out: Real | None = None
    ) -> Real:
        """Integrate <i| O |j> for pairs of atoms of two elements.

        Parameters
        ----------
        quantity : str
            One of those asked for at the beginning.
        first, second : int
            Atomic numbers of i and j.
        vectors : (p, 3) array
            r_j - r_i, Å.
        out : float64 array, optional
            Where to put the result, of its shape.

        Returns
        -------
        (p, a, b) float64 array, or (3, p, a, b) for position and gradient
            Rows are orbitals of i. Units: `OPERATORS`; position is that from the centre of j.
        """
        table = self._table(quantity, first, second)
        vectors = np.asarray(vectors, dtype=np.float64).reshape(-1, 3)
        components, height, width = table.shape
        full = (components, len(vectors), height, width)
        scalar = components == 1
        if out is None:
            out = np.empty(full[1:] if scalar else full)
        target = out[None] if scalar else out
        for start in range(0, len(vectors), PAIRS_AT_ONCE):
            rows = slice(start, start + PAIRS_AT_ONCE)
            _fill(target[:, rows], table, vectors[rows])
        return out

    def overlap_derivative(self, first: int, second: int, vectors: Real) -> Real:
        """Differentiate S by the position of the second atom.

        Parameters
        ----------
        first, second : int
            Atomic numbers of i and j.
        vectors : (p, 3) array
            r_j - r_i, Å.

        Returns
        -------
        (3, p, a, b) float64 array
            dS_ij / dr_j = -<i| d/dr |j>, 1/Å. For one and the same atom: with the second copy of
            it moved.

        Notes
        -----
        Needs the quantity "gradient".
        """
        return -self.blocks("gradient", first, second, vectors)


def _fill(out: NDArray[Any], table: Table, vectors: Real) -> None:
    """Make the blocks (C, p, a, b) of a few pairs.

    Pairs run along the last axis until the end: every step then works on long rows.
    """
    distances = np.sqrt(np.einsum("pc,pc->p", vectors, vectors))
    integrals = np.ascontiguousarray(table.splines(distances).T)
    angles = harmonics(table.largest_degree, vectors, distances)
    same = distances < _SAME_CENTRE
    if same.any():
        integrals[:, same] = table.same_centre[:, None]
        angles[1:, same] = 0.0
    blocks = np.empty((*table.shape, len(vectors)))
    for part in table.parts:
        rows = angles[part.degree**2 : (part.degree + 1) ** 2]
        factor = (part.tensor @ rows).reshape(*part.shape, len(vectors))
        more = np.empty_like(factor)
        for place in part.places:
            target = blocks[:, place.rows, place.columns]
            if part.first:
                np.multiply(factor, integrals[place.integral], out=target)
            else:
                target += np.multiply(factor, integrals[place.integral], out=more)
    out[...] = blocks.transpose(0, 3, 1, 2)
