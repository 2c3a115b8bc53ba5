"""Statistics of the entries of a matrix: on-site by element, off-site by elements and distance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import SYMBOLS, Structure
from numpy.typing import NDArray

BIN = 0.25
"""Width of the intervals of distance, Å."""
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EntryStatistics:
    """Numbers, sums and maxima of |entries|, in the unit of the matrix.

    Parameters
    ----------
    on_site : dict
        For each element (number, sum, maximum), (3,) arrays.
    off_site : dict
        For each pair of elements, "H-C" with the smaller atomic number first, the same in intervals
        of the distance of `BIN`, (3, bins) arrays.
    """

    on_site: dict[str, Array] = field(default_factory=dict)
    off_site: dict[str, Array] = field(default_factory=dict)

    def add(self, other: EntryStatistics) -> None:
        """Add the statistics of other blocks to these.

        Parameters
        ----------
        other : EntryStatistics
            Unchanged.
        """
        for mine, theirs in ((self.on_site, other.on_site), (self.off_site, other.off_site)):
            for name, values in theirs.items():
                mine[name] = joined(mine[name], values) if name in mine else values.copy()

    def to_document(self) -> dict[str, Any]:
        """Give mean and maximum as plain objects, for JSON; None where there is no entry."""
        return {
            "on_site": {
                name: {"entries": int(n), "mean": _ratio(total, n), "max": float(top)}
                for name, (n, total, top) in sorted(self.on_site.items())
            },
            "off_site": {
                name: {
                    "entries": values[0].astype(int).tolist(),
                    "mean": [_ratio(t, n) for n, t in zip(values[0], values[1], strict=True)],
                    "max": values[2].tolist(),
                }
                for name, values in sorted(self.off_site.items())
            },
        }


def _ratio(total: float, count: float) -> float | None:
    return float(total / count) if count else None


def joined(first: Array, second: Array) -> Array:
    """Join two tallies of different length: numbers and sums add up, the larger maximum stays.

    Parameters
    ----------
    first, second : (3,) or (3, bins) arrays
        Number, sum and maximum.

    Returns
    -------
    (3,) or (3, bins) array
        Of the longer length.
    """
    if first.ndim > 1 and first.shape[1] < second.shape[1]:
        first, second = second, first
    result = first.copy()
    part = result[:, : second.shape[1]] if result.ndim > 1 else result
    part[:2] += second[:2]
    np.maximum(part[2], second[2], out=part[2:])
    return result


def total(tallies: Iterable[Array]) -> Array:
    """Sum up tallies over everything.

    Parameters
    ----------
    tallies : iterable of (3,) or (3, bins) arrays
        Number, sum and maximum.

    Returns
    -------
    (3,) array
        Of all together.
    """
    result = np.zeros(3)
    for tally in tallies:
        flat = tally.reshape(3, -1)
        result[:2] += flat[:2].sum(axis=1)
        result[2] = max(result[2], flat[2].max(initial=0.0))
    return result


def pair_names(structure: Structure) -> list[list[str]]:
    """Name pairs of elements, by their places among the atomic numbers: "H-C" for both orders.

    Parameters
    ----------
    structure : Structure
        Atoms.

    Returns
    -------
    list of list of str
        Symmetric.
    """
    symbols = [SYMBOLS[number] for number in np.unique(structure.numbers).tolist()]
    places = range(len(symbols))
    return [[f"{symbols[min(a, b)]}-{symbols[max(a, b)]}" for b in places] for a in places]


def largest_of_blocks(matrix: BlockMatrix) -> tuple[Array, Array]:
    """Give the sum and the maximum of |entries| of every block.

    Parameters
    ----------
    matrix : BlockMatrix
        Real or complex.

    Returns
    -------
    sums, largest : (P,) arrays
        In the unit of the matrix.
    """
    sums, largest = np.zeros(len(matrix)), np.zeros(len(matrix))
    for rows, stack in matrix.by_shape():
        size = np.abs(stack).reshape(len(rows), -1)
        sums[rows] = size.sum(axis=1, dtype=np.float64)
        largest[rows] = size.max(axis=1, initial=0.0)
    return sums, largest


def statistics(
    structure: Structure, matrix: BlockMatrix, sums: Array, largest: Array
) -> EntryStatistics:
    """Give the statistics of the blocks of one structure.

    Parameters
    ----------
    structure : Structure
        Atoms.
    matrix : BlockMatrix
        Any blocks of one of its matrices.
    sums, largest : (P,) arrays
        See `largest_of_blocks`.

    Returns
    -------
    EntryStatistics
        Of these blocks.
    """
    kinds, kind = np.unique(structure.numbers, return_inverse=True)
    on_site = matrix.on_site()
    first, second = kind[matrix.atom_pairs[:, 3]], kind[matrix.atom_pairs[:, 4]]
    counts = (matrix.chunk_shapes[:, 0] * matrix.chunk_shapes[:, 1]).astype(np.float64)
    result = EntryStatistics()

    def tally(rows: NDArray[np.int64], where: NDArray[np.int64], length: int) -> Array:
        values = np.zeros((3, length))
        values[0] = np.bincount(where, counts[rows], length)
        values[1] = np.bincount(where, sums[rows], length)
        np.maximum.at(values[2], where, largest[rows])
        return values

    rows = np.flatnonzero(on_site)
    at_home = tally(rows, first[rows], len(kinds))
    for place in np.unique(first[rows]).tolist():
        result.on_site[SYMBOLS[int(kinds[place])]] = at_home[:, place]
    rows = np.flatnonzero(~on_site)
    if not len(rows):
        return result
    bins = bins_of(np.linalg.norm(structure.pair_vectors(matrix.atom_pairs[rows]), axis=1))
    width = int(bins.max()) + 1
    low, high = np.minimum(first, second)[rows], np.maximum(first, second)[rows]
    code = low * len(kinds) + high
    spread = tally(rows, code * width + bins, len(kinds) ** 2 * width).reshape(3, -1, width)
    names = pair_names(structure)
    for place in np.unique(code).tolist():
        a, b = divmod(place, len(kinds))
        result.off_site[names[a][b]] = spread[:, place]
    return result


def bins_of(distances: Array) -> NDArray[np.int64]:
    """Give the interval in which each distance lies.

    Parameters
    ----------
    distances : (P,) array
        Å.

    Returns
    -------
    (P,) int64 array
        From 0.
    """
    return (distances / BIN).astype(np.int64)


def added(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add histograms of different length.

    Parameters
    ----------
    first, second : int64 arrays
        Numbers in each interval.

    Returns
    -------
    int64 array
        Of the longer length.
    """
    result = np.zeros(max(len(first), len(second)), np.int64)
    result[: len(first)] += first
    result[: len(second)] += second
    return result
