"""Losses and errors of a batch.

In: a network's result, labels, the graph, and a `Measure` that knows the target. Out: numbers.

Of differences d, whose modulus counts where they are complex:

- mse: mean of |d|^2 (paper, Eq. 7)
- mae: mean of |d|
- huber: mean of |d|^2 / 2 up to |d| = delta, and delta (|d| - delta / 2) beyond
- wmae: mean of |d| with weights, one for each pair of elements and of shells: 1 / (typical size of
  what is to be learned there)

The mean is that of Eq. 7, over the elements of a block, then the pairs of a structure (on site
included), then the structures, so that small blocks and small structures count as much as large
ones (average "block"); or over all elements of a batch alike (average "element"), as tables report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph.graphs import Graph, Shape
from deeph.targets.measures import Deviation, Measure
from deeph.targets.target import Labels

Array = Any
LOSSES = ("mse", "mae", "wmae", "huber")
"""Losses by the name that the configuration uses."""
AVERAGES = ("block", "element")
"""What a loss may be the mean of."""
_SMALLEST_SCALE = 1e-2
"""Typical sizes below this fraction of the whole count as that in weights."""


def deviation(
    measure: Measure, graph: Graph, labels: Labels, nodes: Array, edges: Array
) -> Deviation:
    """Return scaled results minus residual labels, both (n or e, size)."""
    on_site, off_site = measure.exists(graph)
    node_channel, edge_channel = measure.channels
    return Deviation(
        (nodes * labels.node_scale[:, node_channel] - labels.node_residual) * on_site,
        (edges * labels.edge_scale[:, edge_channel] - labels.edge_residual) * off_site,
    )


def without_overlap(
    graph: Graph, shape: Shape, difference: Deviation, node_overlap: Array, edge_overlap: Array
) -> Deviation:
    """Return what is left of differences when mu S is removed from every structure.

    H and H + mu S are the same physics. mu = sum d S / sum S^2 over all pairs of a structure
    (paper, Eq. 15; the irreps of S stand for S, with spin twice on the diagonal), so that neither
    a loss of the result nor its gradient sees mu S.

    Parameters
    ----------
    graph : Graph
    shape : Shape
        Of the batch.
    difference : Deviation
        eV.
    node_overlap, edge_overlap : array (n, size), (e, size)
        Irreps of S; zero where they do not exist.
    """

    def sums(nodes: Array, edges: Array) -> Array:
        return per_structure(graph, shape, jnp.sum(nodes, axis=1), jnp.sum(edges, axis=1))

    projections = sums(difference.nodes * node_overlap, difference.edges * edge_overlap)
    norms = sums(node_overlap**2, edge_overlap**2)
    mu = projections / jnp.where(norms > 0, norms, 1)
    mu = jnp.concatenate([mu, jnp.zeros(1, mu.dtype)])  # dummies
    return Deviation(
        difference.nodes - mu[graph.node_structure][:, None] * node_overlap,
        difference.edges - mu[graph.edge_structure][:, None] * edge_overlap,
    )


def weighted(
    measure: Measure, labels: Labels, difference: Deviation, exponent: float, typical: float
) -> Deviation:
    """Return errors weighted by (scale / typical)^(exponent - 1), scale the size of the residual.

    Exponent 1 leaves errors as they are; 0 counts every block relative to its own size, which
    gives weak, far and on-site blocks their say. Scales below a hundredth of the typical one count
    as that.
    """
    if exponent == 1:
        return difference

    def weights(scale: Array, channel: NDArray[np.int64]) -> Array:
        return (jnp.maximum(scale / typical, _SMALLEST_SCALE) ** (exponent - 1))[:, channel]

    node_channel, edge_channel = measure.channels
    return Deviation(
        difference.nodes * weights(labels.node_scale, node_channel),
        difference.edges * weights(labels.edge_scale, edge_channel),
    )


def typical_size(labels: Sequence[Labels]) -> float:
    """Return the root mean square of all residuals of some structures, in eV."""
    residuals = [x for part in labels for x in (part.node_residual, part.edge_residual)]
    total = sum(float(np.sum(np.square(x, dtype=np.float64))) for x in residuals)
    count = sum(x.size for x in residuals)
    return max((total / max(count, 1)) ** 0.5, float(np.finfo(np.float32).tiny))


@dataclass(frozen=True, eq=False)
class KindWeights:
    """Weights of errors by elements and kind, see `kind_weights`.

    Attributes
    ----------
    nodes : ndarray (elements, kinds)
    edges : ndarray (elements, elements, kinds)
    """

    nodes: NDArray[np.float64]
    edges: NDArray[np.float64]

    def of(self, graph: Graph) -> Deviation:
        """Return the weights of atoms and edges of a graph, (n, kinds) and (e, kinds)."""
        dtype = graph.lengths.dtype
        first, second = graph.species[graph.centre], graph.species[graph.neighbour]
        return Deviation(
            jnp.asarray(self.nodes, dtype)[graph.species],
            jnp.asarray(self.edges, dtype)[first, second],
        )


def kind_weights(
    measure: Measure, graphs: Sequence[Graph], labels: Sequence[Labels], elements: int
) -> KindWeights:
    """Return the weights of wmae: 1 / (typical size of the residual), with a mean of one.

    Parameters
    ----------
    measure : Measure
    graphs, labels : sequences of Graph and of Labels
        Of the training structures, unpadded. The typical size of a kind (a pair of shells) is the
        root mean square of its scales over all atoms of an element, or edges of a pair of elements.
    elements : int
        Number of elements.

    Notes
    -----
    Weights are multiplied by one number, so that their mean over all elements of the training
    structures is one; kinds that the data lack have weight one. Sizes below a hundredth of the
    root mean square of all count as that.
    """
    tables = []
    for side, name in enumerate(("node_scale", "edge_scale")):
        channels, kinds = measure.channels[side], measure.kinds[side]
        widths = np.bincount(channels, minlength=len(kinds))
        count = int(kinds.max(initial=-1)) + 1
        table = np.zeros((2, elements**2, count))
        for graph, part in zip(graphs, labels, strict=True):
            present = np.asarray(measure.exists(graph)[side])  # (rows, size)
            squares = np.square(getattr(part, name), dtype=np.float64)
            row = graph.species.astype(np.int64) * (elements + 1)
            if side == 1:
                row = graph.species[graph.centre] * elements + graph.species[graph.neighbour]
            of_channel = np.zeros((len(row), len(kinds)))
            if len(kinds) and len(row):
                starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
                of_channel = np.add.reduceat(present.astype(np.float64), starts, axis=1)
            for slot, values in enumerate((squares * of_channel, of_channel)):
                summed = np.zeros((len(row), count))
                np.add.at(summed.T, kinds, values.T)
                np.add.at(table[slot], row, summed)
        tables.append(table)
    total, number = (sum(float(t[slot].sum()) for t in tables) for slot in (0, 1))
    smallest = _SMALLEST_SCALE * (total / max(number, 1)) ** 0.5
    weights, mean = [], 0.0
    for sums, numbers in tables:
        sizes = np.sqrt(sums / np.maximum(numbers, 1))
        weight = np.where(numbers > 0, 1 / np.maximum(sizes, max(smallest, 1e-300)), 0.0)
        mean += float(np.sum(weight * numbers)) / max(number, 1)
        weights.append(weight)
    nodes, edges = (np.where(w > 0, w / (mean or 1.0), 1.0) for w in weights)
    diagonal = np.arange(elements) * (elements + 1)
    return KindWeights(nodes[diagonal], edges.reshape(elements, elements, -1))


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss of differences, called as ``loss(graph, shape, difference)``.

    Attributes
    ----------
    kind : {"mse", "mae", "wmae", "huber"}
    measure : Measure
        What is counted.
    average : {"block", "element"}
        What it is the mean of.
    huber_delta : float
        eV.
    weights : KindWeights or None
        Of wmae.
    """

    kind: str
    measure: Measure
    average: str = "block"
    huber_delta: float = 0.01
    weights: KindWeights | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("loss_type", self.kind, LOSSES), ("loss_average", self.average, AVERAGES),
        ):  # fmt: skip
            if value not in known:
                raise InputError(f"{name}: '{value}' is unknown: known are {', '.join(known)}")
        if self.kind == "huber" and not self.huber_delta > 0:
            raise InputError(f"huber_delta: expected an error above zero, found {self.huber_delta}")
        if (self.kind == "wmae") != (self.weights is not None):
            raise InputError("loss_type: wmae needs weights, and no other loss has them")

    def __call__(self, graph: Graph, shape: Shape, difference: Deviation) -> Array:
        """Return the loss of a padded batch."""
        counts = self.measure.counts(graph)
        if self.weights is not None:
            by_kind = self.weights.of(graph)
            counts = Deviation(*(w * n for w, n in zip(by_kind, counts, strict=True)))
        sums = self._sums(graph, difference)
        return _average(graph, shape, sums, [jnp.sum(n, axis=1) for n in counts], self.average)

    def _sums(self, graph: Graph, difference: Deviation) -> list[Array]:
        """Return the sums over every block, (n,) and (e,)."""
        if self.kind == "mse":  # the same of irreps and elements
            return [jnp.sum(x * x, axis=1) for x in difference]
        moduli = self.measure.moduli(graph, difference)
        if self.kind == "huber":
            delta = self.huber_delta
            small = [jnp.minimum(x, delta) for x in moduli]
            return [jnp.sum(s * (x - 0.5 * s), axis=1) for s, x in zip(small, moduli, strict=True)]
        if self.weights is not None:
            columns = zip(self.weights.of(graph), self.measure.kinds_of_moduli, strict=True)
            factors = [by_kind[:, kinds] for by_kind, kinds in columns]
            return [jnp.sum(w * x, axis=1) for w, x in zip(factors, moduli, strict=True)]
        return [jnp.sum(x, axis=1) for x in moduli]


def per_structure(graph: Graph, shape: Shape, node_values: Array, edge_values: Array) -> Array:
    """Return sums of (n,) and (e,) over every structure of a batch, (structures,).

    As products with matrices of zeros and ones: a scatter into few places is slow on a GPU.
    """
    total = jnp.zeros(shape.structures, node_values.dtype)
    for values, structure in (
        (node_values, graph.node_structure), (edge_values, graph.edge_structure),
    ):  # fmt: skip
        members = jax.nn.one_hot(structure, shape.structures, dtype=values.dtype)
        total = total + jnp.matmul(values, members, precision=jax.lax.Precision.HIGHEST)
    return total


def _average(
    graph: Graph, shape: Shape, sums: Sequence[Array], counts: Sequence[Array], average: str
) -> Array:
    """Return the mean of a batch from sums and numbers of every block, (n,) and (e,)."""
    if average == "element":
        number = sum(jnp.sum(n) for n in counts)
        return sum(jnp.sum(x) for x in sums) / jnp.where(number > 0, number, 1)
    blocks = [x / jnp.where(n > 0, n, 1) for x, n in zip(sums, counts, strict=True)]
    pairs = per_structure(graph, shape, *((n > 0).astype(n.dtype) for n in counts))
    present = pairs > 0
    means = jnp.where(present, per_structure(graph, shape, *blocks) / jnp.maximum(pairs, 1), 0.0)
    return means.sum() / jnp.maximum(present.sum(), 1)


def absolute_sums(measure: Measure, graph: Graph, difference: Deviation) -> Array:
    """Return sums of absolute errors and numbers of elements: (2, 2), rows on site, off site."""
    sums = [jnp.sum(x) for x in measure.moduli(graph, difference)]
    numbers = [jnp.sum(n) for n in measure.counts(graph)]
    return jnp.stack([jnp.stack(sums), jnp.stack(numbers)], axis=1)


LossFunction = Callable[[Graph, Shape, Deviation], Array]
"""What a training minimises."""
