"""The list of irreps that a block decomposes into: one authority for their order.

In: the union of shells and the spin structure. Out: a `ChannelTable`, columns of equal length.

Without spin, shells a (on the first atom) and b (on the second) give l_a (x) l_b = sum of L. With
spin-orbit coupling H = sum_mu H^mu sigma_mu: H^0 as before, and the three H^k, an axial vector,
are (l_a (x) l_b -> L) (x) 1 = sum of J (paper, section 2.2; DeepH-E3). Complex parts are separate
channels. A channel has parity (-1)^(l_a + l_b); it is called natural when that is (-1)^J.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS
from numpy.typing import NDArray

from deeph.so3.frames import rotate_to_edge, rotate_to_lab

Array = Any
"""A numpy or a jax array."""


@dataclass(frozen=True, eq=False)
class ChannelTable:
    """Channels of a block, sorted by J, then natural before unnatural, then a, b, L, component.

    Attributes
    ----------
    a, b : ndarray (c,)
        Shell of the first and of the second atom, as index into the union of shells.
    l : ndarray (c,)
        L of the coupling of the two shells.
    component : ndarray (c,)
        Spin component: index into `spin_components`; for the vector of a spin-orbit matrix the
        real one is "vector_re", the imaginary one "vector_im".
    j : ndarray (c,)
        J of the irrep; equal to L unless the channel comes from the spin vector.
    natural : ndarray (c,), bool
        Whether the parity is (-1)^J.
    spin_components : tuple of str
        Names of the components.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    l: NDArray[np.int64]
    component: NDArray[np.int64]
    j: NDArray[np.int64]
    natural: NDArray[np.bool_]
    spin_components: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.j)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """First component of each channel in the flat vector, (c + 1,)."""
        return np.concatenate([[0], np.cumsum(2 * self.j + 1)])

    @property
    def size(self) -> int:
        """Length of the flat vector of all components."""
        return int(np.sum(2 * self.j + 1))

    @property
    def channel_of_component(self) -> NDArray[np.int64]:
        """Channel of every component of the flat vector, (size,)."""
        return np.repeat(np.arange(len(self)), 2 * self.j + 1)

    @property
    def m_of_component(self) -> NDArray[np.int64]:
        """M of every component of the flat vector, (size,)."""
        return np.concatenate([np.zeros(0, np.int64), *(np.arange(-j, j + 1) for j in self.j)])

    def counts(self, l_max: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return how many natural and how many unnatural channels each J = 0..l_max has."""
        j = np.arange(l_max + 1)[:, None] == self.j
        natural, unnatural = (j & self.natural).sum(1), (j & ~self.natural).sum(1)
        return tuple(map(int, natural)), tuple(map(int, unnatural))

    def rotate(self, irreps: Array, wigner: Sequence[Array], to: str) -> Array:
        """Return irreps (P, size) taken from the lab to edge frames or back.

        Parameters
        ----------
        irreps : array (P, size)
        wigner : sequence of arrays (P or 1, 2 J + 1, 2 J + 1), J = 0, 1, ...
            From `deeph.so3.wigner_blocks`.
        to : {"edge", "lab"}
            Direction.
        """
        turn = {"edge": rotate_to_edge, "lab": rotate_to_lab}[to]
        pieces = []
        for j in np.unique(self.j):
            chosen = np.flatnonzero(self.j[self.channel_of_component] == j)
            shape = (irreps.shape[0], len(chosen) // (2 * j + 1), 2 * j + 1)
            columns = irreps[:, chosen].reshape(shape).swapaxes(1, 2)
            turned = turn(wigner[j], columns).swapaxes(1, 2)
            pieces.append(turned.reshape(irreps.shape[0], len(chosen)))
        return array_module(irreps).concatenate(pieces, axis=1) if pieces else irreps


class Representation(Protocol):
    """What all representations have: elements, and irreps of a block or a row."""

    @property
    def orbital_map(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Symbol and shells of every element."""
        ...

    @property
    def channels(self) -> ChannelTable:
        """Irreps of a block or of a row."""
        ...

    @property
    def l_max(self) -> int:
        """Largest J."""
        ...

    def species(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index of the element of every atom."""
        ...


def array_module(array: Array) -> Any:
    """Return the module (numpy or jax.numpy) that the array belongs to."""
    if isinstance(array, np.ndarray):
        return np
    import jax.numpy

    return jax.numpy


def species_of(symbols: Sequence[str], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index into `symbols` of every atomic number.

    Raises
    ------
    InputError
        If an element is not among them.
    """
    table = {ATOMIC_NUMBERS[symbol]: index for index, symbol in enumerate(symbols)}
    unknown = sorted(set(map(int, numbers)) - set(table))
    if unknown:
        names = {number: symbol for symbol, number in ATOMIC_NUMBERS.items()}
        known = ", ".join(symbols)
        raise InputError(f"element {names.get(unknown[0], unknown[0])} is unknown here ({known})")
    return np.array([table[int(number)] for number in numbers], dtype=np.int64)


SPIN_COMPONENTS = {
    ("none", False): ("matrix",),
    ("none", True): ("matrix",),
    ("collinear", False): ("sum", "difference"),
    ("collinear", True): ("sum",),
    ("soc", True): ("scalar_re", "vector_im"),
    ("soc", False): ("scalar_re", "scalar_im", "vector_re", "vector_im"),
}
"""What is carried for each spin setting, without and with time reversal symmetry."""


def channel_table(shells: tuple[int, ...], spin: str, time_reversal: bool) -> ChannelTable:
    """Return the channels of a block between two atoms that both carry all `shells`.

    Parameters
    ----------
    shells : tuple of int
        Angular momenta of the union of shells.
    spin : {"none", "collinear", "soc"}
        Spin structure of the matrix.
    time_reversal : bool
        Leave out what vanishes in non-magnetic systems: with spin-orbit coupling H^0 is then real
        and H^k imaginary, half of the channels; collinear matrices have no difference.
    """
    components = SPIN_COMPONENTS[spin, time_reversal]
    rows = []
    for a, la in enumerate(shells):
        for b, lb in enumerate(shells):
            parity = (-1) ** (la + lb)
            for l in range(abs(la - lb), la + lb + 1):
                for index, name in enumerate(components):
                    js = range(abs(l - 1), l + 2) if name.startswith("vector") else (l,)
                    if name.startswith("vector") and l == 0:
                        js = range(1, 2)
                    rows += [(j, parity != (-1) ** j, a, b, l, index) for j in js]
    table = np.array(sorted(rows), dtype=np.int64)
    j, unnatural, a_column, b_column, l_column, component = table.T
    return ChannelTable(a_column, b_column, l_column, component, j, unnatural == 0, components)
