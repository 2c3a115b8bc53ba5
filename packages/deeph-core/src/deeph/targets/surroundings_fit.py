"""The fit of what neighbours add: ridge regression, its strength from left-out structures.

In: graphs and what means have left. Out: `Surroundings`. Edges enter by their normal equations;
atoms, of which there are few, by the products of their functions with one another.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deeph.graphs import GraphSource
from deeph.representation import Representation
from deeph.targets.splines import FloatArray, PenalisedFit, SplineGrid, dual_ridge
from deeph.targets.surroundings import (
    L_MAX,
    Key,
    Surroundings,
    add_by_centre,
    components,
    densities,
    rows_of,
    seen_by,
    sizes_of,
    summed,
    wigner_of,
)

_REACH = 5.0
"""Distance in Å within which neighbours count, or more where orbitals reach farther."""

_UNKNOWNS = 1200
"""About as many coefficients a component of M = 0 has."""

_ELEMENTS = 4
"""With more elements there are too many kinds of neighbours for the data of any of them."""

_ROWS = 40_000
"""Most edges of two elements that a fit looks at."""

_ATOM_ROWS = 900
"""Most components on site that a fit looks at, of one element and J."""

_STRUCTURES = 3
"""With fewer structures a penalty cannot be chosen, and nothing is fitted."""

_STRENGTHS = 10.0 ** np.arange(-8.0, 0.0, 2.0)
_ATOM_STRENGTHS = 10.0 ** np.arange(-7.0, 1.0)

_WORTH = 0.6
"""Terms are fitted where they leave less than this of the squared errors of left-out structures:
chance may well find a fifth."""

_FOLDS = 4

_MARGIN = 0.8
"""Distance in Å between the farthest pair of the training structures and where terms vanish."""


def fit_surroundings(
    sources: Sequence[GraphSource],
    node_residuals: Sequence[FloatArray],
    edge_residuals: Sequence[FloatArray],
    representation: Representation,
) -> Surroundings:
    """Fit what neighbours add to what means have left.

    Parameters
    ----------
    sources : sequence of GraphSource
        Graphs of the training structures.
    node_residuals : sequence of ndarray (n, size)
        On site, in the lab.
    edge_residuals : sequence of ndarray (e, size)
        Of edges, in their frames.
    representation : Representation
    """
    elements = len(representation.orbital_map)
    lengths = [source.graph.lengths for source in sources if source.graph.edges]
    ends = (min(map(np.min, lengths)), max(map(np.max, lengths))) if lengths else (0.0, 0.0)
    reach = min(ends[1] + _MARGIN, max(_REACH, 0.7 * ends[1]))
    shells, intervals = _resolution(elements, reach - ends[0], ends[1] - ends[0] + _MARGIN)
    radial = SplineGrid(ends[0] - 0.3, reach, shells)
    nothing = Surroundings(
        radial, {}, {}, {}, {}, {}, np.zeros((elements, len(representation.channels)))
    )
    if len(lengths) < _STRUCTURES or elements > _ELEMENTS:
        return nothing
    density = [densities(source, radial, elements) for source in sources]
    edges = _fit_edges(sources, edge_residuals, density, radial, intervals, representation)
    nodes, limit = _fit_nodes(sources, node_residuals, density, radial, representation)
    return Surroundings(radial, *edges, nodes, limit)


def _resolution(elements: int, near: float, far: float) -> tuple[int, int]:
    """Return the numbers of intervals for distances of neighbours and of edges, in Å."""
    # Both share the unknowns.
    share = _UNKNOWNS / (2 * (L_MAX + 1) * elements)
    shells = int(np.clip(round((share / 1.7) ** 0.5), 3, 8))
    shells = min(shells, max(4, round(near / 0.4)))
    return shells, int(np.clip(min(share / shells, far / 0.25), 4, 16))


def _fit_edges(
    sources: Sequence[GraphSource],
    residuals: Sequence[FloatArray],
    density: Sequence[FloatArray],
    radial: SplineGrid,
    intervals: int,
    representation: Representation,
) -> tuple[
    dict[Key, SplineGrid],
    dict[Key, FloatArray],
    dict[Key, tuple[FloatArray, ...]],
    dict[Key, FloatArray],
]:
    """Return grids, typical sizes, terms and limits of edges."""
    table = representation.channels
    grids, sizes, terms, limits = {}, {}, {}, {}
    for key in _keys(sources):
        found = [(k, rows) for k, s in enumerate(sources) if len(rows := rows_of(s, key))]
        step = -(-sum(len(rows) for _, rows in found) // _ROWS)
        found = [(k, some) for k, rows in found if len(some := rows[k % step :: step])]
        values = [residuals[k][rows] for k, rows in found]
        if len(found) < _STRUCTURES or not any(map(np.any, values)):
            continue
        lengths = [sources[k].graph.lengths[rows] for k, rows in found]
        grid = SplineGrid(min(map(np.min, lengths)) - 0.1, max(map(np.max, lengths)) + _MARGIN,
                          intervals)  # fmt: skip
        size = _typical_size(grid, lengths, values)
        scales = [np.exp(grid.design(length) @ size)[:, None] for length in lengths]
        seen = [seen_by(sources[k], rows, density[k], radial) for k, rows in found]
        grids[key], sizes[key] = grid, size
        terms[key] = tuple(
            _terms(
                grid,
                lengths,
                [parts[m] for parts in seen],
                [
                    np.stack([value[:, columns] * signs / scale for columns, signs in places])
                    for value, scale in zip(values, scales, strict=True)
                ],
            )
            for m, places in enumerate(components(table))
        )
        limits[key] = np.max(
            [
                sizes_of(summed(grid, terms[key], length, parts, table), table).max(axis=0)
                for length, parts in zip(lengths, seen, strict=True)
            ],
            axis=0,
        )
    return grids, sizes, terms, limits


def _terms(
    grid: SplineGrid,
    lengths: Sequence[FloatArray],
    features: Sequence[FloatArray],
    values: Sequence[FloatArray],
) -> FloatArray:
    """Return coefficients (k, features, columns) from one array per structure.

    Parameters
    ----------
    grid : SplineGrid
        Of lengths (rows,).
    lengths, features, values : sequences of ndarray (rows,), (signs, rows, f), (signs, rows, c)
    """
    signs, _, width = features[0].shape
    columns = values[0].shape[2]
    shape = grid.size, width, columns
    rows = signs * sum(map(len, lengths))
    if not columns:
        return np.zeros(shape)
    if rows > grid.size * width:
        fit = PenalisedFit(np.eye(grid.size * width), columns, _FOLDS)
        for length, x, y in zip(lengths, features, values, strict=True):
            start, weights = grid.local(length)
            fit.add_products(
                np.tile(start, signs), np.tile(weights, (signs, 1)),
                x.reshape(-1, width), y.reshape(-1, columns),
            )  # fmt: skip
        return fit.solve(_STRENGTHS, _WORTH).reshape(shape)
    designs = [
        (grid.design(length)[:, :, None] * x[:, :, None, :]).reshape(-1, grid.size * width)
        for length, x in zip(lengths, features, strict=True)
    ]
    folds = np.repeat(np.arange(len(designs)) % _FOLDS, [len(design) for design in designs])
    # Strengths are relative to the mean over rows here, to that over unknowns above.
    strengths = _STRENGTHS * rows / (grid.size * width)
    answers = np.concatenate([y.reshape(-1, columns) for y in values])
    return dual_ridge(np.concatenate(designs), answers, folds, strengths, _WORTH).reshape(shape)


def _fit_nodes(
    sources: Sequence[GraphSource],
    residuals: Sequence[FloatArray],
    density: Sequence[FloatArray],
    radial: SplineGrid,
    representation: Representation,
) -> tuple[dict[Key, tuple[FloatArray, ...]], FloatArray]:
    """Return terms of the edges of atoms, and limits of their sums."""
    table, elements = representation.channels, len(representation.orbital_map)
    widths, keys = _widths(density[0].shape[2]), _keys(sources)
    limit = np.zeros((elements, len(table)))
    if not any(map(np.any, residuals)):
        return {}, limit
    terms = {
        key: tuple(
            np.zeros((radial.size, width, len(places[0][0])))
            for width, places in zip(widths, components(table), strict=True)
        )
        for key in keys
    }
    for element in range(elements):
        mine = [key for key in keys if key[0] == element]
        atoms = [np.flatnonzero(source.graph.species == element) for source in sources]
        total = sum(map(len, atoms))
        for j in range(representation.l_max + 1):
            channels = np.flatnonzero(table.natural & (table.j == j))
            if not mine or not total or not len(channels):
                continue
            step = -(-total * (2 * j + 1) // _ATOM_ROWS)
            columns = table.offsets[channels][:, None] + np.arange(2 * j + 1)
            designs, answers, folds = [], [], []
            for k, source in enumerate(sources):
                chosen = atoms[k][k % step :: step]
                design = _node_design(source, chosen, mine, density[k], radial, j)
                answer = residuals[k][chosen][:, columns].swapaxes(1, 2)
                designs.append(design.reshape(-1, design.shape[2]))
                answers.append(answer.reshape(-1, len(channels)))
                folds += [k % _FOLDS] * len(designs[-1])
            every = np.concatenate(designs)
            solution = dual_ridge(
                every, np.concatenate(answers), np.array(folds), _ATOM_STRENGTHS, _WORTH
            )
            added = (every @ solution).reshape(-1, 2 * j + 1, len(channels))
            limit[element, channels] = np.sqrt(np.sum(added**2, axis=1)).max(axis=0, initial=0.0)
            blocks = [(key, m) for key in mine for m in range(min(j, L_MAX) + 1)]
            ends = np.cumsum([radial.size * widths[m] for _, m in blocks])
            for (key, m), block in zip(blocks, np.split(solution, ends[:-1]), strict=True):
                listed = table.channel_of_component[components(table)[m][0][0]]
                place = np.flatnonzero(np.isin(listed, channels))
                terms[key][m][:, :, place] = block.reshape(radial.size, widths[m], -1)
    return terms, limit


def _widths(width: int) -> list[int]:
    """Return how many features M = 0, 1, ... have, from the number of functions of one l."""
    return [2 * (L_MAX + 1 - m) * width + (m == 0) for m in range(L_MAX + 1)]


def _node_design(
    source: GraphSource,
    atoms: NDArray[np.int64],
    keys: Sequence[Key],
    density: FloatArray,
    radial: SplineGrid,
    j: int,
) -> FloatArray:
    """Return (atoms, 2 j + 1, unknowns) of natural irreps j on site, in the lab."""
    graph = source.graph
    place = np.full(graph.nodes, -1)
    place[atoms] = np.arange(len(atoms))
    parts = []
    for key in keys:
        rows = rows_of(source, key)
        rows = rows[(place[graph.centre[rows]] >= 0) & (graph.lengths[rows] < radial.stop)]
        seen = seen_by(source, rows, density, radial)
        wigner = wigner_of(source, rows, j)[j]
        splines = radial.design(graph.lengths[rows])
        for m in range(min(j, L_MAX) + 1):
            turned = sum(
                wigner[:, :, j + sign * m, None] * x[:, None, :]
                for sign, x in zip((1, -1), seen[m], strict=False)
            )
            products = splines[:, None, :, None] * turned[:, :, None, :]
            part = np.zeros((len(atoms), 2 * j + 1, radial.size * seen[m].shape[2]))
            add_by_centre(
                part, place[graph.centre[rows]], products.reshape(len(rows), *part.shape[1:])
            )
            parts.append(part)
    return np.concatenate(parts, axis=2)


def _typical_size(
    grid: SplineGrid, lengths: Sequence[FloatArray], values: Sequence[FloatArray]
) -> FloatArray:
    """Return the coefficients of half the logarithm of the root mean square of values.

    Half: small, far blocks count more than in their own unit, but less than large ones.
    """
    square = [np.mean(part**2, axis=1) for part in values]
    floor = 1e-6 * max(float(part.max()) for part in square)
    fit = PenalisedFit(grid.roughness(), 1)
    for length, part in zip(lengths, square, strict=True):
        fit.add(grid.design(length), 0.25 * np.log(part / floor + 1)[:, None])
    return fit.solve([1e-2])[:, 0]


def _keys(sources: Sequence[GraphSource]) -> list[Key]:
    """Return the pairs of elements that are there."""
    found = set()
    for source in sources:
        graph = source.graph
        kinds = np.stack([graph.species[graph.centre], graph.species[graph.neighbour]], axis=1)
        found |= {(int(a), int(b)) for a, b in np.unique(kinds, axis=0)}
    return sorted(found)
