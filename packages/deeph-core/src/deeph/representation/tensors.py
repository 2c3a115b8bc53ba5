"""Quantities declared by irreps, as channels of a network: the same for atoms of all elements.

In: irreps as text. Out: a `ChannelTable` in the order of networks, and the permutation between it
and the order of the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from deeph_spec.irreps import channels_of
from deeph_spec.structure import ATOMIC_NUMBERS
from numpy.typing import NDArray

from deeph.representation.channels import ChannelTable, species_of

Array = Any
"""A numpy or a jax array."""

_NONE = np.zeros(0, np.int64)
NO_CHANNELS = ChannelTable(_NONE, _NONE, _NONE, _NONE, _NONE, np.zeros(0, bool), ("matrix",))
"""Of what has no result."""


@dataclass(frozen=True)
class TensorRepresentation:
    """Elements, and the irreps of one row of a quantity.

    Attributes
    ----------
    elements : tuple of str
        Symbols, sorted by atomic number.
    irreps : str
        E.g. "1x0e+1x1e+1x2e".
    """

    elements: tuple[str, ...]
    irreps: str

    @classmethod
    def of(cls, elements: Iterable[str], irreps: str) -> TensorRepresentation:
        """Return the representation of a quantity in structures of the given elements."""
        return cls(tuple(sorted(set(elements), key=ATOMIC_NUMBERS.__getitem__)), irreps)

    @property
    def orbital_map(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Symbol of every element; orbitals play no part."""
        return tuple((symbol, ()) for symbol in self.elements)

    @cached_property
    def channels(self) -> ChannelTable:
        """Irreps of a row, sorted by l, natural before unnatural, then as in the text."""
        rows = [
            (l, parity != (-1) ** l, n) for n, (l, parity) in enumerate(channels_of(self.irreps))
        ]
        degrees, unnatural, number = np.array(sorted(rows), dtype=np.int64).T
        zero = np.zeros_like(degrees)
        return ChannelTable(number, zero, degrees, zero, degrees, unnatural == 0, ("matrix",))

    @property
    def l_max(self) -> int:
        """Largest l."""
        return int(self.channels.j.max())

    def species(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index into `elements` of every atom; an unknown one is an `InputError`."""
        return species_of(self.elements, numbers)

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Where in the text's order the components of the network's order stand."""
        offsets = np.cumsum([0, *(2 * l + 1 for l, _ in channels_of(self.irreps))])
        parts = [
            offsets[n] + np.arange(2 * l + 1)
            for n, l in zip(self.channels.a, self.channels.j, strict=True)
        ]
        return np.concatenate(parts)

    def to_irreps(self, rows: Array) -> Array:
        """Return rows (..., d) of a file in the network's order."""
        return rows[..., self._order]

    def to_rows(self, irreps: Array) -> Array:
        """Return irreps (..., d) in the order of the file, the inverse of `to_irreps`."""
        return irreps[..., np.argsort(self._order)]

    def rotate(self, irreps: Array, wigner: Any, to: str) -> Array:
        """Return irreps taken to edge frames or to the lab, see `ChannelTable.rotate`."""
        return self.channels.rotate(irreps, wigner, to)
