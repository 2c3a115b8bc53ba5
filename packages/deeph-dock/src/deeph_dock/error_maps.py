"""Where a predicted Hamiltonian errs: by distance, by pair of shells, by size.

In:  any number of (structure, info, prediction, reference, S), all of one dataset.
Out: `ErrorMaps`, plain arrays that `plots.errors` draws.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.orbitals import SHELL_LETTERS, shell_offsets
from deeph_spec.structure import SYMBOLS, Structure
from deeph_spec.system import SystemInfo
from numpy.typing import NDArray

from deeph_dock.metrics import gauge_shift, spinor_overlap

FloatArray = NDArray[np.float64]
SCATTER_ENTRIES = 2_000_000
"""Elements kept one by one for the parity picture; beyond it, an even sample."""


class Comparison(NamedTuple):
    """One structure's prediction and reference."""

    structure: Structure
    info: SystemInfo
    prediction: BlockMatrix
    reference: BlockMatrix
    overlap: BlockMatrix | None = None


@dataclass(frozen=True, eq=False)
class ErrorMaps:
    """Errors of one or several structures.

    Attributes
    ----------
    reference, predicted : (n,)
        Real parts of elements of H, eV; an even sample where there are more than two million.
    absolute, on_site : (n,)
        |dH| in meV and whether the element belongs to an on-site block, of the same sample.
    pair_distances, pair_errors : (P,)
        Distance of the atoms, Å, and mean |dH| of the block, meV, of every pair.
    shells : labels such as "C s1", "C s2", "C p1": element, letter, number among shells of that l
    shell_errors : (n_shells, n_shells)
        Mean |dH| in meV of row shell against column shell, NaN where there is none.
    mean, mean_on_site, mean_off_site : float
        Mean |dH| over all elements, meV.
    structures, elements : int
        How many of each.
    gauge_free : bool
        Whether mu S was removed from every structure (Eq. 15).
    """

    reference: FloatArray
    predicted: FloatArray
    absolute: FloatArray
    on_site: NDArray[np.bool_]
    pair_distances: FloatArray
    pair_errors: FloatArray
    shells: tuple[str, ...]
    shell_errors: FloatArray
    mean: float
    mean_on_site: float
    mean_off_site: float
    structures: int
    elements: int
    gauge_free: bool


def error_maps(comparisons: Iterable[Comparison], gauge_free: bool = False) -> ErrorMaps:
    """Collect the errors of predictions.

    Parameters
    ----------
    comparisons : iterable of Comparison
        Read one after another; all with the same orbital map.
    gauge_free : bool
        Remove mu S (Eq. 15) from each structure first; needs S.

    Raises
    ------
    InputError
        If there is nothing to compare, or S is missing where it is needed.
    """
    samples: list[tuple[NDArray[Any], ...]] = []
    pairs: list[tuple[FloatArray, FloatArray]] = []
    sums = np.zeros((2, 2))  # on-site and off-site: sum of |dH|, elements
    table = _ShellTable()
    for one in comparisons:
        difference = _difference(one, gauge_free)
        absolute = difference.with_entries(1e3 * np.abs(difference.entries))
        lengths = np.diff(absolute.chunk_boundaries)
        on_site = one.reference.on_site()
        totals = np.add.reduceat(absolute.entries, absolute.chunk_boundaries[:-1])
        for row, mask in enumerate((on_site, ~on_site)):
            sums[row] += totals[mask].sum(), lengths[mask].sum()
        vectors = one.structure.pair_vectors(one.reference.atom_pairs)
        pairs.append((np.linalg.norm(vectors, axis=1), totals / lengths))
        table.add(one, absolute)
        step = max(1, -(-len(absolute.entries) // SCATTER_ENTRIES))
        stored = one.reference.entries.real[::step].astype(np.float64)
        samples.append(
            (
                stored,
                stored + difference.entries.real[::step],
                absolute.entries[::step],
                np.repeat(on_site, lengths)[::step],
            )
        )
    if not samples:
        raise InputError("no predictions to compare: there are no structures")
    step = max(1, -(-sum(len(s[0]) for s in samples) // SCATTER_ENTRIES))
    reference, predicted, sizes, kinds = (
        np.concatenate(column)[::step] for column in zip(*samples, strict=True)
    )
    shells, shell_errors = table.means()
    with np.errstate(invalid="ignore"):  # no off-site pairs in a set of atoms: NaN
        means = sums[:, 0] / sums[:, 1]
    return ErrorMaps(
        reference=reference,
        predicted=predicted,
        absolute=sizes,
        on_site=kinds,
        pair_distances=np.concatenate([d for d, _ in pairs]),
        pair_errors=np.concatenate([e for _, e in pairs]),
        shells=shells,
        shell_errors=shell_errors,
        mean=float(sums[:, 0].sum() / sums[:, 1].sum()),
        mean_on_site=float(means[0]),
        mean_off_site=float(means[1]),
        structures=len(pairs),
        elements=int(sums[:, 1].sum()),
        gauge_free=gauge_free,
    )


def _difference(one: Comparison, gauge_free: bool) -> BlockMatrix:
    predicted = one.prediction.on_pairs(one.reference.atom_pairs, one.reference.chunk_shapes)
    wide = np.result_type(predicted.dtype, one.reference.dtype, np.float64)
    difference = one.reference.with_entries(
        np.subtract(predicted.entries, one.reference.entries, dtype=wide)
    )
    if not gauge_free:
        return difference
    if one.overlap is None:
        raise InputError("removing mu S from the errors needs the overlap: overlap.h5 is missing")
    mu = gauge_shift(difference, one.overlap)
    shift = mu * spinor_overlap(one.overlap, difference)
    return difference.with_entries(difference.entries - shift)


class _ShellTable:
    """Sums of |dH| by (row shell, column shell), over structures with one orbital map."""

    def __init__(self) -> None:
        self.totals: dict[tuple[int, int], tuple[FloatArray, FloatArray]] = {}
        self.orbital_map: dict[str, tuple[int, ...]] = {}

    def add(self, one: Comparison, absolute: BlockMatrix) -> None:
        """Add |dH| (meV) of one structure."""
        for symbol in one.structure.elements:
            self.orbital_map[symbol] = tuple(one.info.orbital_map[symbol])
        spins = one.info.spin_factor
        numbers = np.asarray(one.structure.numbers)
        for rows, stack in absolute.by_shape():
            elements = numbers[absolute.atom_pairs[rows, 3:]]
            for z in np.unique(elements, axis=0).tolist():
                chosen = stack[np.all(elements == z, axis=1)]
                p, a, b = chosen.shape
                # Spin blocks add up: shells are those of the orbitals.
                summed = chosen.sum(axis=0, dtype=np.float64)
                summed = summed.reshape(spins, a // spins, spins, b // spins).sum(axis=(0, 2))
                left, right = (shell_offsets(self.orbital_map[SYMBOLS[number]]) for number in z)
                by_shell = np.add.reduceat(
                    np.add.reduceat(summed, left[:-1], axis=0), right[:-1], axis=1
                )
                counts = np.outer(np.diff(left), np.diff(right)) * float(p * spins**2)
                total, count = self.totals.get((z[0], z[1]), (0.0, 0.0))
                self.totals[z[0], z[1]] = (total + by_shell, count + counts)

    def means(self) -> tuple[tuple[str, ...], FloatArray]:
        """Labels and mean errors, elements by atomic number, shells in storage order."""
        elements = sorted({z for pair in self.totals for z in pair})
        labels: list[str] = []
        start = {}
        for z in elements:
            start[z] = len(labels)
            shells = self.orbital_map[SYMBOLS[z]]
            labels += [
                f"{SYMBOLS[z]} {SHELL_LETTERS[degree]}{shells[: n + 1].count(degree)}"
                for n, degree in enumerate(shells)
            ]
        out = np.full((len(labels), len(labels)), np.nan)
        for (a, b), (total, count) in self.totals.items():
            rows = slice(start[a], start[a] + total.shape[0])
            columns = slice(start[b], start[b] + total.shape[1])
            out[rows, columns] = total / count
        return tuple(labels), out
