"""What is known without a network of quantities that are sums over atoms, such as energies.

The mean of a scalar is a constant per element and a function of distance per pair of elements,
both summed over the structure: the energy of atoms and a pair potential, fitted by least squares.
Tensors have the mean zero. The scale is the typical size of what is left, divided by the square
root of the number of atoms: that of the contribution of one atom if atoms contribute at random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph.graphs import GraphSource
from deeph.representation import TensorRepresentation
from deeph.targets.splines import PenalisedFit, SplineGrid

FloatArray = NDArray[np.float64]
_SMALLEST = 1e-9
"""Smallest scale, as a fraction of the largest number learned: nothing is divided by noise."""
_MARGIN = 0.8
"""Distance in Å between the farthest pair in training and where pair potentials vanish."""
_STRENGTHS = 10.0 ** np.arange(-8.0, 7.0)
"""Of the penalty; the strongest leave next to nothing of a pair potential that does not help."""


@dataclass(frozen=True, eq=False)
class SumBaseline:
    """Means and scales of sums over atoms.

    Attributes
    ----------
    constants : ndarray (elements, size)
        What an atom adds.
    scale : ndarray (channels,)
        Typical contribution of an atom to what is left.
    grids : dict (element, element), ascending -> SplineGrid
        Pairs of elements that the training structures contain.
    strengths : dict -> ndarray (k, size)
        Coefficients of what a pair adds; each pair is met from both of its atoms.
    """

    constants: FloatArray
    scale: FloatArray
    grids: dict[tuple[int, int], SplineGrid]
    strengths: dict[tuple[int, int], FloatArray]

    def nodes(
        self, source: GraphSource, representation: TensorRepresentation
    ) -> tuple[FloatArray, FloatArray]:
        """Return mean (n, size), an n-th of the structure's for each, and scale (n, channels)."""
        atoms = source.graph.nodes
        total = self.constants[source.graph.species].sum(axis=0)
        for key, splines in _pair_sums(self.grids, source):
            total = total + splines @ self.strengths[key]
        return np.tile(total / atoms, (atoms, 1)), np.tile(self.scale, (atoms, 1))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as named arrays, for a model file."""
        named: dict[str, NDArray[Any]] = {"constants": self.constants, "scale": self.scale}
        for (a, b), grid in self.grids.items():
            named[f"pair_{a}_{b}/grid"] = np.array([grid.start, grid.stop, grid.intervals])
            named[f"pair_{a}_{b}/strengths"] = self.strengths[a, b]
        return named

    @classmethod
    def of_arrays(cls, named: Mapping[str, NDArray[Any]]) -> SumBaseline:
        """Return the baseline that `arrays` came from."""
        grids, strengths = {}, {}
        for name, array in named.items():
            if name.startswith("pair_"):
                place, kind = name.split("/")
                key = (int(place.split("_")[1]), int(place.split("_")[2]))
                if kind == "grid":
                    grids[key] = SplineGrid(float(array[0]), float(array[1]), int(array[2]))
                else:
                    strengths[key] = array
        return cls(named["constants"], named["scale"], grids, strengths)


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
    table, elements = representation.channels, len(representation.elements)
    composition = np.stack(
        [np.bincount(s.graph.species, minlength=elements).astype(np.float64) for s in sources]
    )
    totals = np.stack([values.sum(axis=0) for values in shares])
    scalar = ((table.j == 0) & table.natural)[table.channel_of_component]
    atoms = composition.sum(axis=1, keepdims=True)
    constants = np.zeros((elements, table.size))
    # All fits are of values per atom, so that a large structure does not count more. Of elements
    # that always occur in one ratio only the sum is known: least squares gives small constants.
    ratio = composition / atoms
    constants[:, scalar] = np.linalg.lstsq(ratio, totals[:, scalar] / atoms, rcond=1e-10)[0]
    left = totals - composition @ constants
    grids = _grids(sources)
    strengths = {key: np.zeros((grid.size, table.size)) for key, grid in grids.items()}
    if grids and scalar.any():
        designs = _designs(grids, sources)
        fitted = _pair_potentials(grids, designs, ratio, left[:, scalar], atoms)
        constants[:, scalar] += fitted[-elements:]
        start = 0
        for key, grid in grids.items():
            strengths[key][:, scalar] = fitted[start : start + grid.size]
            start += grid.size
        left[:, scalar] -= designs @ fitted[:start] + composition @ fitted[start:]
    square = np.add.reduceat(left**2 / atoms, table.offsets[:-1], axis=1) / (2 * table.j + 1)
    scale = np.sqrt(square.mean(axis=0))
    floor = max(_SMALLEST * float(np.abs(totals / atoms).max()), float(np.finfo(np.float32).tiny))
    return SumBaseline(constants, np.maximum(scale, floor), grids, strengths)


def _pair_potentials(
    grids: Mapping[tuple[int, int], SplineGrid],
    designs: FloatArray,
    ratio: FloatArray,
    left: FloatArray,
    atoms: FloatArray,
) -> FloatArray:
    """Return coefficients of splines, then of the composition, of what composition leaves."""
    size = designs.shape[1]
    penalty = np.zeros((size + ratio.shape[1],) * 2)
    start = 0
    for grid in grids.values():
        stop = start + grid.size
        # A pair potential may be far off where few data are: it is also kept small.
        penalty[start:stop, start:stop] = grid.roughness() + 1e-2 * np.eye(grid.size)
        start = stop
    fit = PenalisedFit(penalty, left.shape[1])
    for row, part, value in zip(designs / atoms, ratio, left / atoms, strict=True):
        fit.add(np.concatenate([row, part])[None], value[None])
    return fit.solve(_STRENGTHS)


def _grids(sources: Sequence[GraphSource]) -> dict[tuple[int, int], SplineGrid]:
    """Return a grid for every pair of elements."""
    lengths: dict[tuple[int, int], list[FloatArray]] = {}
    for source in sources:
        for key, rows in _rows_of_pairs(source):
            lengths.setdefault(key, []).append(source.graph.lengths[rows])
    return {
        key: SplineGrid.covering(np.concatenate(values), margin=_MARGIN)
        for key, values in sorted(lengths.items())
    }


def _rows_of_pairs(source: GraphSource) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Yield the edges between every two elements, whichever comes first."""
    graph = source.graph
    ends = np.sort(np.stack([graph.species[graph.centre], graph.species[graph.neighbour]]), axis=0)
    for a, b in np.unique(ends, axis=1).T:
        yield (int(a), int(b)), np.flatnonzero((ends[0] == a) & (ends[1] == b))


def _pair_sums(
    grids: Mapping[tuple[int, int], SplineGrid], source: GraphSource
) -> Iterator[tuple[tuple[int, int], FloatArray]]:
    """Yield the sums of splines (k,) over a structure; unknown pairs are left out."""
    for key, rows in _rows_of_pairs(source):
        if key in grids:
            yield key, grids[key].design(source.graph.lengths[rows]).sum(axis=0)


def _designs(
    grids: Mapping[tuple[int, int], SplineGrid], sources: Sequence[GraphSource]
) -> FloatArray:
    """Return the sums of all splines over every structure, (structures, all k)."""
    rows = []
    for source in sources:
        sums = dict(_pair_sums(grids, source))
        rows.append([sums.get(key, np.zeros(grid.size)) for key, grid in grids.items()])
    return np.stack([np.concatenate(row) for row in rows])
