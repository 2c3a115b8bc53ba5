"""Where a predicted Hamiltonian errs: by elements, pair of shells, distance, size, structure.

In:  any number of (structure, info, prediction, reference, S), all of one dataset.
Out: `ErrorMaps`, plain arrays that `error_plots.errors` draws.
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

from deeph_dock.metrics.matrices import deviation, gauge_shift, spinor_overlap

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
    name: str = ""


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
    pairs : labels such as "C", "H" for on-site blocks, "C-C", "C-H" for others
        Element of the row first, by atomic number.
    pairs_errors, pairs_elements : (n_pairs,)
        Mean |dH| in meV, and how many elements it is the mean of.
    names : names of the structures
    structure_errors : (structures,)
        Mean |dH| of every structure, meV.
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
    pairs: tuple[str, ...]
    pairs_errors: FloatArray
    pairs_elements: FloatArray
    names: tuple[str, ...]
    structure_errors: FloatArray
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
    collected = ErrorCollection(gauge_free)
    for one in comparisons:
        collected.add(one)
    return collected.maps()


class ErrorCollection:
    """Errors that come structure by structure; `maps` gives them at any time.

    Parameters
    ----------
    gauge_free : bool
        Remove mu S (Eq. 15) from each structure first; needs S.
    """

    def __init__(self, gauge_free: bool = False) -> None:
        self.gauge_free = gauge_free
        self._samples: list[tuple[NDArray[Any], ...]] = []
        self._pairs: list[tuple[FloatArray, FloatArray]] = []
        self._sums = np.zeros((2, 2))  # on-site and off-site: sum of |dH|, elements
        self._structures: dict[str, float] = {}
        self._elements: dict[tuple[int, ...], FloatArray] = {}
        self._shells = _ShellTable()

    def add(self, one: Comparison) -> None:
        """Add a structure.

        Raises
        ------
        InputError
            If matrices do not fit together, or S is missing where it is needed.
        """
        difference = _difference(one, self.gauge_free)
        absolute = difference.with_entries(1e3 * np.abs(difference.entries))
        lengths = np.diff(absolute.chunk_boundaries)
        on_site = one.reference.on_site()
        totals = np.add.reduceat(absolute.entries, absolute.chunk_boundaries[:-1])
        for row, mask in enumerate((on_site, ~on_site)):
            self._sums[row] += totals[mask].sum(), lengths[mask].sum()
        self._add_elements(one, on_site, totals, lengths)
        vectors = one.structure.pair_vectors(one.reference.atom_pairs)
        self._pairs.append((np.linalg.norm(vectors, axis=1), totals / lengths))
        name = one.name or str(len(self._pairs))
        self._structures[name] = float(totals.sum() / lengths.sum())
        self._shells.add(one, absolute)
        step = max(1, -(-len(absolute.entries) // SCATTER_ENTRIES))
        stored = one.reference.entries.real[::step].astype(np.float64)
        self._samples.append(
            (
                stored,
                stored + difference.entries.real[::step],
                absolute.entries[::step],
                np.repeat(on_site, lengths)[::step],
            )
        )

    def _add_elements(
        self,
        one: Comparison,
        on_site: NDArray[np.bool_],
        totals: FloatArray,
        lengths: NDArray[np.int64],
    ) -> None:
        """Add up blocks by their elements; on-site blocks have one."""
        numbers = np.asarray(one.structure.numbers)[one.reference.atom_pairs[:, 3:]]
        numbers = np.where(on_site[:, None], [0, 1] * numbers, numbers)
        kinds, which = np.unique(numbers, axis=0, return_inverse=True)
        for row, kind in enumerate(kinds.tolist()):
            chosen = which.reshape(-1) == row
            added = np.array([totals[chosen].sum(), lengths[chosen].sum()])
            key = tuple(kind)
            self._elements[key] = self._elements.get(key, np.zeros(2)) + added

    def maps(self) -> ErrorMaps:
        """Return the errors of what has been added.

        Raises
        ------
        InputError
            If that is nothing.
        """
        if not self._samples:
            raise InputError("no predictions to compare: there are no structures")
        step = max(1, -(-sum(len(s[0]) for s in self._samples) // SCATTER_ENTRIES))
        reference, predicted, sizes, kinds = (
            np.concatenate(column)[::step] for column in zip(*self._samples, strict=True)
        )
        shells, shell_errors = self._shells.means()
        sums = self._sums
        with np.errstate(invalid="ignore"):  # no off-site pairs in a set of atoms: NaN
            means = sums[:, 0] / sums[:, 1]
        elements = dict(sorted(self._elements.items()))
        counted = np.array(list(elements.values()))
        return ErrorMaps(
            reference=reference,
            predicted=predicted,
            absolute=sizes,
            on_site=kinds,
            pair_distances=np.concatenate([d for d, _ in self._pairs]),
            pair_errors=np.concatenate([e for _, e in self._pairs]),
            shells=shells,
            shell_errors=shell_errors,
            pairs=tuple("-".join(SYMBOLS[z] for z in key if z) for key in elements),
            pairs_errors=counted[:, 0] / counted[:, 1],
            pairs_elements=counted[:, 1],
            names=tuple(self._structures),
            structure_errors=np.array(list(self._structures.values())),
            mean=float(sums[:, 0].sum() / sums[:, 1].sum()),
            mean_on_site=float(means[0]),
            mean_off_site=float(means[1]),
            structures=len(self._pairs),
            elements=int(sums[:, 1].sum()),
            gauge_free=self.gauge_free,
        )


def _difference(one: Comparison, gauge_free: bool) -> BlockMatrix:
    difference = deviation(one.prediction, one.reference)
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
