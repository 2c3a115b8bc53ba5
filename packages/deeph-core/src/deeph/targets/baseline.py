"""What is known without a network: means on site and as functions of distance, and their errors.

In the frame of an edge the M = 0 components of natural irreps, averaged over environments, are the
two-centre part of the matrix (Slater and Koster 1954): smooth functions of distance for every
ordered pair of elements. On site the same holds to first order for the field of the neighbours: a
constant for J = 0, plus a sum over neighbours of functions of distance times harmonics of their
direction. Both are fitted to the training structures and subtracted. What is left is divided by
its typical size, again a function of distance, so that the network predicts numbers of order one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph.graphs import GraphSource
from deeph.representation import Representation
from deeph.so3 import wigner_blocks
from deeph.targets.splines import FloatArray, PenalisedFit, SplineGrid, fewer_unknowns
from deeph.targets.surroundings import Surroundings
from deeph.targets.surroundings_fit import fit_surroundings

SCALE_FLOOR = 1e-5
"""Smallest scale, as a fraction of the largest of the same kind: nothing is divided by noise."""

_TINY = float(np.finfo(np.float32).tiny)
"""Smallest scale of all; its square is above zero in float64 only."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """Fitted means and scales; all arrays in the unit of the matrix.

    Attributes
    ----------
    grids : dict (first element, second element) -> SplineGrid
        Pairs of elements that the training structures contain.
    edge_mean : dict -> ndarray (k, size)
        Coefficients of the means of edges; zero but for M = 0 of natural channels.
    edge_log_scale : dict -> ndarray (k, channels)
        Coefficients of the logarithm of the scale of edges over its smallest value.
    edge_scale_range : dict -> ndarray (2, channels)
        Smallest and largest scale of edges.
    node_constant : ndarray (elements, size)
        Mean on site.
    node_field : dict -> ndarray (k, channels)
        Coefficients of what one neighbour adds on site; zero for unnatural channels.
    node_scale : ndarray (elements, channels)
        Scale on site.
    surroundings : Surroundings or None
        What the neighbours of both atoms of an edge add.
    """

    grids: dict[tuple[int, int], SplineGrid]
    edge_mean: dict[tuple[int, int], FloatArray]
    edge_log_scale: dict[tuple[int, int], FloatArray]
    edge_scale_range: dict[tuple[int, int], FloatArray]
    node_constant: FloatArray
    node_field: dict[tuple[int, int], FloatArray]
    node_scale: FloatArray
    surroundings: Surroundings | None = None

    def edges(
        self, source: GraphSource, representation: Representation
    ) -> tuple[FloatArray, FloatArray]:
        """Return means (e, size) and scales (e, channels) of the edges of a graph."""
        table = representation.channels
        mean = np.zeros((source.graph.edges, table.size))
        scale = np.full((source.graph.edges, len(table)), _TINY)
        for key, rows, design in _designs(self.grids, source):
            mean[rows] = design @ self.edge_mean[key]
            lower, upper = self.edge_scale_range[key]
            times_floor = np.exp(np.clip(design @ self.edge_log_scale[key], -60.0, 60.0))
            scale[rows] = np.clip(lower * times_floor, lower, upper)
        if self.surroundings is not None:
            mean += self.surroundings.edges(source, representation)
        return mean, scale

    def nodes(
        self, source: GraphSource, representation: Representation
    ) -> tuple[FloatArray, FloatArray]:
        """Return means (n, size) and scales (n, channels) of the atoms of a graph."""
        table = representation.channels
        mean = self.node_constant[source.graph.species].copy()
        wigner = wigner_blocks(source.frames, representation.l_max)
        channel = table.channel_of_component
        component = table.j[channel] ** 2 + table.j[channel] + table.m_of_component
        for key, rows, design in _designs(_node_grids(self.grids), source):
            strength = design @ self.node_field[key]
            direction = np.concatenate(
                [wigner[j][rows, :, j] for j in range(representation.l_max + 1)], axis=1
            )
            added = strength[:, channel] * direction[:, component]
            np.add.at(mean, source.graph.centre[rows], added)
        if self.surroundings is not None:
            mean += self.surroundings.nodes(source, representation)
        return mean, self.node_scale[source.graph.species]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as named arrays, for a model file."""
        named: dict[str, NDArray[Any]] = {
            "node_constant": self.node_constant,
            "node_scale": self.node_scale,
        }
        for (a, b), grid in self.grids.items():
            name = f"pair_{a}_{b}"
            named[f"{name}/grid"] = np.array([grid.start, grid.stop, grid.intervals])
            named[f"{name}/edge_mean"] = self.edge_mean[a, b]
            named[f"{name}/edge_log_scale"] = self.edge_log_scale[a, b]
            named[f"{name}/edge_scale_range"] = self.edge_scale_range[a, b]
            named[f"{name}/node_field"] = self.node_field[a, b]
        if self.surroundings is not None:
            further = self.surroundings.arrays().items()
            named.update({f"{_FURTHER}{name}": array for name, array in further})
        return named

    @classmethod
    def of_arrays(cls, named: Mapping[str, NDArray[Any]]) -> Baseline:
        """Return the baseline that `arrays` came from."""
        pairs: dict[tuple[int, int], dict[str, NDArray[Any]]] = {}
        further = {
            name.removeprefix(_FURTHER): array
            for name, array in named.items()
            if name.startswith(_FURTHER)
        }
        for name, array in named.items():
            if name.startswith("pair_"):
                head, kind = name.split("/")
                _, a, b = head.split("_")
                pairs.setdefault((int(a), int(b)), {})[kind] = array
        return cls(
            grids={
                key: SplineGrid(float(p["grid"][0]), float(p["grid"][1]), int(p["grid"][2]))
                for key, p in pairs.items()
            },
            edge_mean={key: p["edge_mean"] for key, p in pairs.items()},
            edge_log_scale={key: p["edge_log_scale"] for key, p in pairs.items()},
            edge_scale_range={key: p["edge_scale_range"] for key, p in pairs.items()},
            node_constant=named["node_constant"],
            node_field={key: p["node_field"] for key, p in pairs.items()},
            node_scale=named["node_scale"],
            surroundings=Surroundings.of_arrays(further) if further else None,
        )


_FURTHER = "surroundings_"

_UNKNOWNS = 300
"""Most coefficients that an on-site fit determines at once: about ten elements of neighbours."""

_COARSER = 3
"""Fields on site vary slowly, and atoms are few: coarser splines than for edges, 0.6 Å."""

_MARGIN = 0.8
"""Distance in Å between the farthest pair of the training structures and where means vanish.

Longer than the three intervals whose splines are cut off, so that the data do not feel the end.
"""


def fit_baseline(
    sources: Sequence[GraphSource],
    node_irreps: Sequence[FloatArray],
    edge_irreps: Sequence[FloatArray],
    representation: Representation,
) -> Baseline:
    """Fit means and scales to the irreps of training structures.

    Parameters
    ----------
    sources : sequence of GraphSource
        Graphs of the structures.
    node_irreps : sequence of ndarray (n, size)
        On-site irreps in the lab frame.
    edge_irreps : sequence of ndarray (e, size)
        Irreps of edges in their frames.
    representation : Representation
    """
    grids = _grids(sources)
    table = representation.channels
    channel = table.channel_of_component
    straight = (table.m_of_component == 0) & table.natural[channel] & _real(representation)[channel]

    edge_mean = {key: np.zeros((grid.size, table.size)) for key, grid in grids.items()}
    fits = {key: PenalisedFit(g.roughness(), int(straight.sum())) for key, g in grids.items()}
    for source, values in zip(sources, edge_irreps, strict=True):
        for key, rows, design in _designs(grids, source):
            fits[key].add(design, values[rows][:, straight])
    for key, fit in fits.items():
        edge_mean[key][:, straight] = fit.solve()

    node_constant, node_field = _fit_nodes(grids, sources, node_irreps, representation)
    ones = np.ones((len(representation.orbital_map), len(table)))
    none = {key: np.zeros((grid.size, len(table))) for key, grid in grids.items()}
    wide = {key: np.ones((2, len(table))) for key in grids}
    means = Baseline(grids, edge_mean, none, wide, node_constant, node_field, ones)
    left = _residuals(means, sources, node_irreps, edge_irreps, representation)
    surroundings = fit_surroundings(sources, *left, representation)
    means = replace(means, surroundings=surroundings)
    on_site, edges = _residuals(means, sources, node_irreps, edge_irreps, representation)
    log_scale, scale_range = _fit_edge_scales(grids, sources, edges, representation)
    return replace(
        means,
        edge_log_scale=log_scale,
        edge_scale_range=scale_range,
        node_scale=_node_scale(sources, on_site, representation),
    )


def _residuals(
    means: Baseline,
    sources: Sequence[GraphSource],
    node_irreps: Sequence[FloatArray],
    edge_irreps: Sequence[FloatArray],
    representation: Representation,
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Return what means leave of atoms and of edges."""
    nodes = [
        values - means.nodes(source, representation)[0]
        for source, values in zip(sources, node_irreps, strict=True)
    ]
    edges = [
        values - means.edges(source, representation)[0]
        for source, values in zip(sources, edge_irreps, strict=True)
    ]
    return nodes, edges


def _grids(sources: Sequence[GraphSource]) -> dict[tuple[int, int], SplineGrid]:
    """Return a grid for every ordered pair of elements; a pair and its reverse share one."""
    lengths: dict[tuple[int, int], list[FloatArray]] = {}
    for source in sources:
        for key, rows in _rows_of_pairs(source):
            ends = source.graph.lengths[rows]
            lengths.setdefault(key, []).append(np.array([ends.min(), ends.max()]))
    return {
        key: SplineGrid.covering(np.concatenate(values), margin=_MARGIN)
        for key, values in sorted(lengths.items())
    }


def _node_grids(grids: dict[tuple[int, int], SplineGrid]) -> dict[tuple[int, int], SplineGrid]:
    """Return the grids of fields on site."""
    return {key: grid.coarser(_COARSER) for key, grid in grids.items()}


def _rows_of_pairs(source: GraphSource) -> list[tuple[tuple[int, int], NDArray[np.int64]]]:
    graph = source.graph
    first, second = graph.species[graph.centre], graph.species[graph.neighbour]
    kind = first.astype(np.int64) * (int(graph.species.max(initial=0)) + 1) + second
    order = np.argsort(kind, kind="stable")
    starts = np.flatnonzero(np.diff(kind[order], prepend=-1))
    return [
        ((int(first[rows[0]]), int(second[rows[0]])), rows)
        for rows in np.split(order, starts[1:])
        if len(rows)
    ]


def _designs(
    grids: dict[tuple[int, int], SplineGrid], source: GraphSource
) -> list[tuple[tuple[int, int], NDArray[np.int64], FloatArray]]:
    """Return pair of elements, its edges and their splines; unknown pairs are left out."""
    return [
        (key, rows, grids[key].design(source.graph.lengths[rows]))
        for key, rows in _rows_of_pairs(source)
        if key in grids
    ]


def _real(representation: Representation) -> NDArray[np.bool_]:
    """Return which channels have a two-centre mean: those without spin vectors."""
    names = representation.channels.spin_components
    plain = np.array([name in ("matrix", "sum", "difference", "scalar_re") for name in names])
    return plain[representation.channels.component]


def _fit_nodes(
    grids: dict[tuple[int, int], SplineGrid],
    sources: Sequence[GraphSource],
    node_irreps: Sequence[FloatArray],
    representation: Representation,
) -> tuple[FloatArray, dict[tuple[int, int], FloatArray]]:
    """Fit the on-site constant and what neighbours add, one linear problem per element and J."""
    table = representation.channels
    grids = _node_grids(grids)
    constant = np.zeros((len(representation.orbital_map), table.size))
    field = {key: np.zeros((grid.size, len(table))) for key, grid in grids.items()}
    usable = table.natural & _real(representation)
    seen = [
        (
            source,
            values,
            wigner_blocks(source.frames, representation.l_max),
            _by_centre(grids, source),
        )
        for source, values in zip(sources, node_irreps, strict=True)
    ]
    for element in range(len(representation.orbital_map)):
        keys = [key for key in grids if key[0] == element]
        offsets = np.cumsum([0] + [grids[key].size for key in keys])
        # Unlike a mean, a field may be far off where few data are: it is also kept small.
        rough = [grids[key].roughness() + 1e-2 * np.eye(grids[key].size) for key in keys]
        for j in range(representation.l_max + 1):
            channels = np.flatnonzero(usable & (table.j == j))
            free = int(j == 0)
            columns = table.offsets[channels][:, None] + np.arange(2 * j + 1)
            designs, answers = [], []
            for source, values, d, by_centre in seen:
                atoms = np.flatnonzero(source.graph.species == element)
                if not len(atoms) or not len(channels):
                    continue
                place = np.zeros(source.graph.nodes, np.int64)
                place[atoms] = np.arange(len(atoms))
                design = np.zeros((len(atoms), 2 * j + 1, offsets[-1] + free))
                for key, rows, splines in by_centre.get(element, []):
                    start = offsets[keys.index(key)]
                    added = d[j][rows, :, j, None] * splines[:, None, :]
                    target = design[:, :, start : start + splines.shape[1]]
                    np.add.at(target, place[source.graph.centre[rows]], added)
                design[..., offsets[-1] :] = 1.0
                answer = values[atoms][:, columns].swapaxes(1, 2).reshape(-1, len(channels))
                designs.append(design.reshape(len(answer), -1))
                answers.append(answer)
            if not designs or not designs[0].shape[1]:
                continue
            penalty = np.zeros((offsets[-1] + free, offsets[-1] + free))
            for block, start, stop in zip(rough, offsets, offsets[1:], strict=False):
                penalty[start:stop, start:stop] = block
            expand = np.eye(len(penalty))
            if len(penalty) > min(_UNKNOWNS, sum(map(len, designs))):
                designs, penalty, expand = fewer_unknowns(designs, rough, free, _UNKNOWNS)
            fit = PenalisedFit(penalty, len(channels))
            for design, answer in zip(designs, answers, strict=True):
                fit.add(design, answer)
            solution = expand @ fit.solve()
            for key, start, stop in zip(keys, offsets, offsets[1:], strict=False):
                field[key][:, channels] = solution[start:stop]
            if free:
                constant[element, table.offsets[channels]] = solution[-1]
    return constant, field


def _by_centre(
    grids: dict[tuple[int, int], SplineGrid], source: GraphSource
) -> dict[int, list[tuple[tuple[int, int], NDArray[np.int64], FloatArray]]]:
    """Return `_designs` by the element of the first atom."""
    found: dict[int, list[tuple[tuple[int, int], NDArray[np.int64], FloatArray]]] = {}
    for key, rows, design in _designs(grids, source):
        found.setdefault(key[0], []).append((key, rows, design))
    return found


def _mean_square(values: FloatArray, representation: Representation) -> FloatArray:
    """Return the mean over M of the squares of irreps (p, size), as (p, channels)."""
    table = representation.channels
    return np.add.reduceat(values**2, table.offsets[:-1], axis=1) / (2 * table.j + 1)


def _fit_edge_scales(
    grids: dict[tuple[int, int], SplineGrid],
    sources: Sequence[GraphSource],
    residuals: Sequence[FloatArray],
    representation: Representation,
) -> tuple[dict[tuple[int, int], FloatArray], dict[tuple[int, int], FloatArray]]:
    """Fit the logarithm of the residual's root mean square as a function of distance."""
    table = representation.channels
    fits = {key: PenalisedFit(g.roughness(), len(table)) for key, g in grids.items()}
    squares: dict[tuple[int, int], list[tuple[FloatArray, FloatArray]]] = {}
    for source, values in zip(sources, residuals, strict=True):
        for key, rows, design in _designs(grids, source):
            square = _mean_square(values[rows], representation)
            squares.setdefault(key, []).append((design, square))
    log_scale, scale_range = {}, {}
    for key, parts in squares.items():
        largest = np.sqrt(max(float(square.max()) for _, square in parts))
        floor = max(largest * SCALE_FLOOR, _TINY)
        for design, square in parts:
            fits[key].add(design, 0.5 * np.log(square / floor**2 + 1))
        coefficients = fits[key].solve([1e-2])
        # The mean of a logarithm lies below the logarithm of the mean: one factor per channel.
        count = sum(len(square) for _, square in parts)
        ratio = (
            sum(np.sum(s * np.exp(-2 * (d @ coefficients)), axis=0) for d, s in parts)
            / count
            / floor**2
        )
        sums = np.sqrt(sum(np.sum(s, axis=0) for _, s in parts) / count)
        factor = 0.5 * np.log(np.maximum(ratio, 1e-12))
        # Splines sum to one within the data, so that adding a constant to all adds it there.
        log_scale[key] = coefficients + factor
        scale_range[key] = np.stack([np.full(len(table), floor), np.maximum(floor, 30 * sums)])
    return log_scale, scale_range


def _node_scale(
    sources: Sequence[GraphSource],
    residuals: Sequence[FloatArray],
    representation: Representation,
) -> FloatArray:
    """Return the root mean square of on-site residuals, (elements, channels)."""
    table = representation.channels
    scale = np.zeros((len(representation.orbital_map), len(table)))
    species = np.concatenate([source.graph.species for source in sources])
    square = _mean_square(np.concatenate(list(residuals)), representation)
    for element in np.unique(species):
        scale[element] = np.sqrt(square[species == element].mean(axis=0))
    floor = max(scale.max() * SCALE_FLOOR, _TINY)
    return np.maximum(scale, floor)
