"""What is known without a network of quantities that are sums over atoms, such as energies.

The mean of a scalar is a constant per element, summed over the structure and fitted by least
squares: the energy of atoms. Tensors have the mean zero. The scale is the typical size of what is
left, divided by the square root of the number of atoms: that of the contribution of one atom if
atoms contribute at random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph.graphs import GraphSource
from deeph.representation import TensorRepresentation

FloatArray = NDArray[np.float64]
_SMALLEST = 1e-9
"""Smallest scale, as a fraction of the largest number learned: nothing is divided by noise."""


@dataclass(frozen=True, eq=False)
class SumBaseline:
    """Means and scales of sums over atoms.

    Attributes
    ----------
    constants : ndarray (elements, size)
        What an atom adds.
    scale : ndarray (channels,)
        Typical contribution of an atom to what is left.
    """

    constants: FloatArray
    scale: FloatArray

    def nodes(
        self, source: GraphSource, representation: TensorRepresentation
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean (n, size), an n-th of the structure's for each, and scale (n, channels)."""
        atoms = source.graph.nodes
        total = self.constants[source.graph.species].sum(axis=0)
        return np.tile(total / atoms, (atoms, 1)), np.tile(self.scale, (atoms, 1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as named arrays, for a model file."""
        return {"constants": self.constants, "scale": self.scale}

    @classmethod
    def of_arrays(cls, named: Mapping[str, NDArray[Any]]) -> SumBaseline:
        """Return the baseline that `arrays` came from."""
        return cls(named["constants"], named["scale"])


def fit_sums(
    sources: Sequence[GraphSource],
    shares: Sequence[FloatArray],
    representation: TensorRepresentation,
) -> SumBaseline:
    """Fit means and scales to training structures.

    Parameters
    ----------
    sources : sequence of GraphSource
        Graphs of the structures.
    shares : sequence of ndarray (n, size)
        The n-th part of the quantity that each atom has as label.
    representation : TensorRepresentation
        Its irreps.
    """
    table = representation.channels
    elements = len(representation.elements)
    composition = np.stack(
        [np.bincount(s.graph.species, minlength=elements).astype(np.float64) for s in sources]
    )
    totals = np.stack([values.sum(axis=0) for values in shares])
    scalar = ((table.j == 0) & table.natural)[table.channel_of_component]
    constants = np.zeros((elements, table.size))
    # Per atom, so that a large structure does not count more. Of elements that always occur in
    # one ratio only the sum is known: least squares gives the smallest constants.
    atoms = composition.sum(axis=1, keepdims=True)
    constants[:, scalar] = np.linalg.lstsq(
        composition / atoms, totals[:, scalar] / atoms, rcond=1e-10
    )[0]
    left = (totals - composition @ constants) / np.sqrt(atoms)
    square = np.add.reduceat(left**2, table.offsets[:-1], axis=1) / (2 * table.j + 1)
    scale = np.sqrt(square.mean(axis=0))
    floor = max(_SMALLEST * float(np.abs(totals / atoms).max()), float(np.finfo(np.float32).tiny))
    return SumBaseline(constants, np.maximum(scale, floor))
