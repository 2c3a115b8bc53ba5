"""What the neighbours of two atoms add to their block: three-centre terms by ridge regression.

To first order in the density of the neighbours, the irreps of an edge ij are, in its frame,

    H_ij[J, M] = sum over p, n, l of C[J, |M|; p, n, l] P_p(r_ij) A_i[n, l, M], and the same of A_j,
    A_i[n, l] = sum over neighbours k of R_n(r_ik) Y_l(r_ik / |r_ik|)

with splines P and R of distances: only components of equal M mix, and the mirror planes that
contain the edge forbid the rest. On site, such functions of all edges of an atom are turned into
the lab and summed: terms of two neighbours, and of a neighbour and one of its own. The densities
are those of the atomic cluster expansion (Drautz, Phys. Rev. B 99, 014104 (2019)), used for
matrices in local frames like the two-centre integrals of Slater and Koster. The coefficients are
few and determined in closed form, by a penalty that predicts left-out structures best: far fewer
structures suffice than for a network, which learns what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeph.graphs import GraphSource
from deeph.representation import ChannelTable, Representation
from deeph.so3 import EdgeFrames, wigner_blocks
from deeph.targets.splines import FloatArray, SplineGrid

Key = tuple[int, int]
"""Elements of the first and the second atom of an edge."""

L_MAX = 4
"""Largest l of the densities."""

CHUNK = 4096
"""Edges at a time: about 50 MB."""

_BEYOND = 1.5
"""Terms are never larger than this times the largest in training: lines must not run away."""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Fitted three-centre terms; all arrays in the unit of the matrix.

    Attributes
    ----------
    radial : SplineGrid
        Distances of neighbours.
    grids : dict -> SplineGrid
        Distances of edges, coarser than those of the two-centre means.
    edge_size : dict -> ndarray (k,)
        Coefficients of the logarithm of the typical size of what is fitted.
    edge_terms : dict -> tuple of ndarray (k, features, components)
        Coefficients for M = 0, 1, ...
    edge_limit : dict -> ndarray (channels,)
        Largest terms, in typical sizes.
    node_terms : dict -> tuple of ndarray (radial.size, features, components)
        Of the edges that are summed on the first of the two atoms.
    node_limit : ndarray (elements, channels)
        Largest sums.
    """

    radial: SplineGrid
    grids: dict[Key, SplineGrid]
    edge_size: dict[Key, FloatArray]
    edge_terms: dict[Key, tuple[FloatArray, ...]]
    edge_limit: dict[Key, FloatArray]
    node_terms: dict[Key, tuple[FloatArray, ...]]
    node_limit: FloatArray

    def edges(self, source: GraphSource, representation: Representation) -> FloatArray:
        """Return what is added to edges, (e, size), in their frames."""
        table = representation.channels
        added = np.zeros((source.graph.edges, table.size))
        if not self.edge_terms:
            return added
        density = densities(source, self.radial, len(representation.orbital_map))
        for key, rows in _chunks(source, self.edge_terms):
            seen = seen_by(source, rows, density, self.radial)
            lengths = source.graph.lengths[rows]
            terms = summed(self.grids[key], self.edge_terms[key], lengths, seen, table)
            limit = self.edge_limit[key]
            size = np.exp(self.grids[key].design(lengths) @ self.edge_size[key])[:, None]
            added[rows] = size * _limited(terms, limit, table)
        return added

    def nodes(self, source: GraphSource, representation: Representation) -> FloatArray:
        """Return what is added to atoms, (n, size), in the lab."""
        table = representation.channels
        added = np.zeros((source.graph.nodes, table.size))
        if not self.node_terms:
            return added
        density = densities(source, self.radial, len(representation.orbital_map))
        for key, rows in _chunks(source, self.node_terms, self.radial.stop):
            seen = seen_by(source, rows, density, self.radial)
            lengths = source.graph.lengths[rows]
            terms = summed(self.radial, self.node_terms[key], lengths, seen, table)
            terms = table.rotate(terms, wigner_of(source, rows, representation.l_max), "lab")
            add_by_centre(added, source.graph.centre[rows], terms)
        return _limited(added, self.node_limit[source.graph.species], table)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as named arrays, for a model file."""
        named: dict[str, NDArray[Any]] = {
            "radial": _numbers(self.radial),
            "node_limit": self.node_limit,
        }
        for (a, b), grid in self.grids.items():
            name = f"pair_{a}_{b}"
            named[f"{name}/grid"] = _numbers(grid)
            named[f"{name}/edge_size"] = self.edge_size[a, b]
            named[f"{name}/edge_limit"] = self.edge_limit[a, b]
            for m, terms in enumerate(self.edge_terms[a, b]):
                named[f"{name}/edge_terms_{m}"] = terms
        for (a, b), parts in self.node_terms.items():
            for m, terms in enumerate(parts):
                named[f"pair_{a}_{b}/node_terms_{m}"] = terms
        return named

    @classmethod
    def of_arrays(cls, named: Mapping[str, NDArray[Any]]) -> Surroundings:
        """Return the terms that `arrays` came from."""
        pairs: dict[Key, dict[str, NDArray[Any]]] = {}
        for name, array in named.items():
            if name.startswith("pair_"):
                head, kind = name.split("/")
                _, a, b = head.split("_")
                pairs.setdefault((int(a), int(b)), {})[kind] = array

        def terms(kind: str) -> dict[Key, tuple[FloatArray, ...]]:
            return {
                key: tuple(parts[f"{kind}_{m}"] for m in range(L_MAX + 1))
                for key, parts in pairs.items()
                if f"{kind}_0" in parts
            }

        edges = terms("edge_terms")
        return cls(
            _grid(named["radial"]),
            {key: _grid(pairs[key]["grid"]) for key in edges},
            {key: pairs[key]["edge_size"] for key in edges},
            edges,
            {key: pairs[key]["edge_limit"] for key in edges},
            terms("node_terms"),
            named["node_limit"],
        )


def _numbers(grid: SplineGrid) -> FloatArray:
    return np.array([grid.start, grid.stop, grid.intervals])


def _grid(numbers: NDArray[Any]) -> SplineGrid:
    return SplineGrid(float(numbers[0]), float(numbers[1]), int(numbers[2]))


# --- functions of the surroundings ------------------------------------------------------------


def densities(source: GraphSource, radial: SplineGrid, elements: int) -> FloatArray:
    """Return A of every atom, (n, (l_max + 1)^2, elements * radial.size)."""
    graph = source.graph
    density = np.zeros((graph.nodes, (L_MAX + 1) ** 2, elements * radial.size))
    near = np.flatnonzero(graph.lengths < radial.stop)
    for rows in np.array_split(near, -(-len(near) // CHUNK) or 1):
        wigner = wigner_of(source, rows, L_MAX)
        directions = np.concatenate([block[:, :, l] for l, block in enumerate(wigner)], axis=1)
        radials = _by_element(
            radial.design(graph.lengths[rows]), graph.species[graph.neighbour[rows]], elements
        )
        products = directions[:, :, None] * radials[:, None, :]
        add_by_centre(density, graph.centre[rows], products)
    return density


def seen_by(
    source: GraphSource, rows: NDArray[np.int64], density: FloatArray, radial: SplineGrid
) -> list[FloatArray]:
    """Return the densities of both atoms of some edges, in their frames, without one another.

    Returns
    -------
    list of ndarray (2, rows, features)
        For M = 0, 1, ...: components +M and -M; a constant is the last feature of M = 0, of which
        there is one component.
    """
    graph = source.graph
    first, second = graph.centre[rows], graph.neighbour[rows]
    wigner = wigner_of(source, rows, L_MAX)
    width = density.shape[2]
    splines = radial.design(graph.lengths[rows])
    elements = width // radial.size
    other = _by_element(splines, graph.species[second], elements)
    itself = _by_element(splines, graph.species[first], elements)
    turned = []
    for l, block in enumerate(wigner):
        part = slice(l * l, (l + 1) ** 2)
        both = np.concatenate([density[first, part], density[second, part]], axis=2)
        both = block.swapaxes(1, 2) @ both
        both[:, l, :width] -= other
        both[:, l, width:] -= (-1) ** l * itself
        turned.append(both)
    seen = []
    for m in range(L_MAX + 1):
        signs = (1, -1) if m else (1,)
        parts = [[x[:, l + s * m] for l, x in enumerate(turned) if l >= m] for s in signs]
        if m == 0:
            parts[0].append(np.ones((len(rows), 1)))
        seen.append(np.stack([np.concatenate(part, axis=1) for part in parts]))
    return seen


def _by_element(splines: FloatArray, species: NDArray[Any], elements: int) -> FloatArray:
    """Return splines (rows, k) in the columns of their elements, (rows, elements * k)."""
    of_element = species[:, None] == np.arange(elements)
    return (of_element[:, :, None] * splines[:, None, :]).reshape(
        len(splines), elements * splines.shape[1]
    )


def wigner_of(source: GraphSource, rows: NDArray[np.int64], l_max: int) -> list[FloatArray]:
    """Return the Wigner matrices of some edges, see `deeph.so3.wigner_blocks`."""
    frames = EdgeFrames(source.graph.axes[rows], source.graph.turned[rows])
    return wigner_blocks(frames, l_max)


@lru_cache(maxsize=16)
def components(table: ChannelTable) -> tuple[tuple[tuple[NDArray[np.int64], FloatArray], ...], ...]:
    """Return, for M = 0, 1, ..., what densities of components +M and -M give, and with what signs.

    Mirror planes that contain the edge leave +M of natural and -M of unnatural channels as they
    are. Both signs of M list the same channels in the same order, with the same coefficients.
    """
    order, natural = table.m_of_component, table.natural[table.channel_of_component]
    straight = np.flatnonzero((order == 0) & natural)
    found: list[tuple[tuple[NDArray[np.int64], FloatArray], ...]] = [
        ((straight, np.ones(len(straight))),)
    ]
    for m in range(1, L_MAX + 1):
        both = []
        for sign in (1, -1):
            same = np.flatnonzero((order == sign * m) & natural)
            crossed = np.flatnonzero((order == -sign * m) & ~natural)
            signs = np.concatenate([np.ones(len(same)), np.full(len(crossed), float(-sign))])
            both.append((np.concatenate([same, crossed]), signs))
        found.append(tuple(both))
    return tuple(found)


def summed(
    grid: SplineGrid,
    terms: Sequence[FloatArray],
    lengths: FloatArray,
    seen: Sequence[FloatArray],
    table: ChannelTable,
) -> FloatArray:
    """Return the sums over splines and features, (rows, size)."""
    result = np.zeros((len(lengths), table.size))
    places = components(table)
    start, weights = grid.local(lengths)
    for place in np.unique(start):
        rows = np.flatnonzero(start == place)
        for m, (features, coefficients) in enumerate(zip(seen, terms, strict=True)):
            local = coefficients[place : place + weights.shape[1]]
            flat = local.reshape(local.shape[0] * local.shape[1], local.shape[2])
            for (columns, signs), x in zip(places[m], features, strict=True):
                products = weights[rows, : len(local), None] * x[rows, None, :]
                values = products.reshape(len(rows), len(flat)) @ flat
                result[rows[:, None], columns] = values * signs
    return result


def _limited(terms: FloatArray, limit: FloatArray, table: ChannelTable) -> FloatArray:
    """Return terms whose irreps are at most as large as the limit, (channels,) or (rows, ...)."""
    sizes = sizes_of(terms, table)
    factor = np.minimum(1.0, _BEYOND * limit / np.where(sizes > 0, sizes, 1.0))
    return terms * factor[:, table.channel_of_component]


def sizes_of(terms: FloatArray, table: ChannelTable) -> FloatArray:
    """Return the lengths of irreps (rows, size), as (rows, channels)."""
    return np.sqrt(np.add.reduceat(terms**2, table.offsets[:-1], axis=1))


def add_by_centre(total: FloatArray, centre: NDArray[Any], values: FloatArray) -> None:
    """Add rows to the rows of their atoms; atoms ascend."""
    if len(centre):
        starts = np.flatnonzero(np.diff(centre, prepend=-1))
        total[centre[starts]] += np.add.reduceat(values, starts, axis=0)


def _chunks(
    source: GraphSource, keys: Mapping[Key, Any], reach: float = np.inf
) -> Iterator[tuple[Key, NDArray[np.int64]]]:
    """Yield some edges at a time, of equal elements."""
    for key in keys:
        rows = rows_of(source, key)
        rows = rows[source.graph.lengths[rows] < reach]
        for start in range(0, len(rows), CHUNK):
            yield key, rows[start : start + CHUNK]


def rows_of(source: GraphSource, key: Key) -> NDArray[np.int64]:
    """Return the edges between two elements."""
    graph = source.graph
    first, second = graph.species[graph.centre], graph.species[graph.neighbour]
    return np.flatnonzero((first == key[0]) & (second == key[1]))
