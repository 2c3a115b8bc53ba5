"""Losses: Eq. 7 of the paper, computed anew from blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytest
from deeph.graphs import Graph, GraphSource, Shape, build_graph, concatenate
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget
from deeph.targets.hamiltonian import Labels, batch_labels
from deeph.testing import double_precision
from deeph.training.losses import (
    LOSSES,
    Deviation,
    absolute_sums,
    deviation,
    typical_size,
    weighted,
)
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure, toy_matrices

SHELLS = {"H": (0,), "C": (0, 1)}
QUICKLY = {"xla_backend_optimization_level": 0}


def eq7(truth: Sequence[BlockMatrix], found: Sequence[BlockMatrix], power: int) -> float:
    """Return Eq. 7 from blocks; in collinear matrices only uu and dd are elements."""
    structures = []
    for one, other in zip(truth, found, strict=True):
        pairs = []
        for row in range(len(one)):
            difference = np.abs(other.block(row) - one.block(row)) ** power
            pairs.append(difference.sum() / number_of_elements(one, row))
        structures.append(np.mean(pairs))
    return float(np.mean(structures))


def number_of_elements(matrix: BlockMatrix, row: int) -> int:
    block = matrix.block(row)
    collinear = not np.iscomplexobj(block) and block.shape[0] in (2, 8)
    return block.size // 2 if collinear else block.size


def problem(spin: str) -> tuple[HamiltonianTarget, list[GraphSource], list[BlockMatrix]]:
    """Return two structures of different size with Hamiltonians."""
    target = HamiltonianTarget(BlockRepresentation.of(SHELLS, spin, False))
    sources, matrices = [], []
    for atoms, seed in ((3, 0), (2, 1)):
        structure = random_structure(("H", "C"), atoms, seed)
        _, matrix = toy_matrices(structure, SHELLS, spin, cutoff=3.0)
        sources.append(build_graph(structure, matrix.atom_pairs, target.representation))
        matrices.append(matrix)
    return target, sources, matrices


def disturbed(matrix: BlockMatrix, seed: int) -> BlockMatrix:
    """Return a Hermitian matrix nearby, of the same spin structure."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=len(matrix.entries))
    if np.iscomplexobj(matrix.entries):
        noise = noise + 1j * rng.normal(size=len(noise))
    changed = matrix.with_entries(np.where(matrix.entries != 0, matrix.entries + 0.1 * noise, 0))
    return changed.hermitian()


Case = tuple[HamiltonianTarget, Graph, Shape, Labels, Any, Any]


def batched(
    target: HamiltonianTarget,
    sources: Sequence[GraphSource],
    truth: Sequence[BlockMatrix],
    found: Sequence[BlockMatrix],
    shape: Shape,
) -> Case:
    """Return graph, labels and result of a batch; scales differ from one."""
    channels = len(target.representation.channels)
    rng = np.random.default_rng(5)
    labels, nodes, edges = [], [], []
    for source, one, other in zip(sources, truth, found, strict=True):
        label, result = target._irreps(one, source), target._irreps(other, source)
        scales = [np.exp(rng.normal(size=(len(x), channels))) for x in label]
        labels.append(Labels(*label, *scales))
        wide = [s[:, target.representation.channels.channel_of_component] for s in scales]
        nodes.append(result[0] / wide[0])
        edges.append(result[1] / wide[1])
    graph = concatenate([source.graph for source in sources], shape, np.float64)
    padded = [np.full((size, target.representation.channels.size), 7.0) for size in shape[:2]]
    for whole, parts in zip(padded, (nodes, edges), strict=True):
        rows = np.concatenate(parts)
        whole[: len(rows)] = rows
    return target, graph, shape, batch_labels(labels, shape, np.float64), *padded


def losses(case: Case) -> tuple[dict[str, float], np.ndarray]:
    target, graph, shape, labels, nodes, edges = case
    rep = target.representation

    def all_of_them(graph: Graph, labels: Labels, nodes: Any, edges: Any) -> Any:
        difference = deviation(rep, graph, labels, nodes, edges)
        values = {name: loss(rep, graph, shape, difference) for name, loss in LOSSES.items()}
        return values, absolute_sums(rep, graph, difference)

    with double_precision():
        program = jax.jit(all_of_them, compiler_options=QUICKLY)
        values, sums = program(graph, labels, nodes, edges)
    return {name: float(value) for name, value in values.items()}, np.asarray(sums)


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
def test_losses_are_eq_7_of_the_paper(spin: str) -> None:
    target, sources, truth = problem(spin)
    found = [disturbed(matrix, seed) for seed, matrix in enumerate(truth)]
    values, sums = losses(batched(target, sources, truth, found, Shape(8, 96, 3)))
    np.testing.assert_allclose(values["mse"], eq7(truth, found, 2), rtol=1e-12)
    np.testing.assert_allclose(values["mae"], eq7(truth, found, 1), rtol=1e-12)
    # Sums of absolute errors and numbers of elements, on site and off site.
    expected = np.zeros((2, 2))
    for one, other in zip(truth, found, strict=True):
        for row, on_site in enumerate(one.on_site()):
            block = np.abs(other.block(row) - one.block(row))
            expected[int(not on_site)] += [block.sum(), number_of_elements(one, row)]
    np.testing.assert_allclose(sums, expected, rtol=1e-12)


def test_an_example_by_hand() -> None:
    # Two atoms with one s orbital each: H = [[a, b], [b, c]] off by 1, 2 and 3 eV.
    target = HamiltonianTarget(BlockRepresentation.of({"H": (0,)}, "none"))
    structure = Structure(9 * np.eye(3), np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([1, 1]))
    pairs = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]])
    truth = BlockMatrix.zeros(pairs, np.ones((4, 2)))
    found = truth.with_entries(np.array([1.0, 2.0, 2.0, 3.0]))
    source = build_graph(structure, pairs, target.representation)
    values, sums = losses(batched(target, [source], [truth], [found], Shape(3, 16, 1)))
    assert values["mse"] == pytest.approx((1 + 4 + 4 + 9) / 4)
    assert values["mae"] == pytest.approx((1 + 2 + 2 + 3) / 4)
    assert sums.ravel().tolist() == pytest.approx([4, 2, 4, 2])


def test_small_blocks_and_structures_count_as_much_as_large_ones() -> None:
    target, sources, truth = problem("none")
    found = [truth[0], truth[1].with_entries(truth[1].entries + 0.2)]
    values, _ = losses(batched(target, sources, truth, found, Shape(8, 96, 2)))
    assert values["mse"] == pytest.approx(0.04 / 2)
    assert values["mae"] == pytest.approx(0.2 / 2)


def test_losses_do_not_depend_on_padding() -> None:
    target, sources, truth = problem("none")
    found = [disturbed(matrix, seed) for seed, matrix in enumerate(truth)]
    small = losses(batched(target, sources, truth, found, Shape(6, 70, 2)))
    large = losses(batched(target, sources, truth, found, Shape(11, 128, 5)))
    assert small[0] == pytest.approx(large[0], rel=1e-13)
    np.testing.assert_allclose(small[1], large[1], rtol=1e-13)


def test_weights_lie_between_own_size_and_none() -> None:
    rep = BlockRepresentation.of({"H": (0, 0)}, "none")
    ones = np.ones((1, 4))
    scale = np.array([[1e-9, 0.25, 1.0, 4.0]])
    labels = Labels(ones, ones, scale, scale)
    difference = Deviation(ones, 2 * ones)
    with double_precision():
        assert weighted(rep, labels, difference, 1.0, 1.0) is difference
        half = weighted(rep, labels, difference, 0.5, 1.0)
        np.testing.assert_allclose(half.nodes, [[10, 2, 1, 0.5]])  # none above that of 0.01
        np.testing.assert_allclose(half.edges, [[20, 4, 2, 1]])
        own = weighted(rep, labels, difference, 0.0, 2.0)
        np.testing.assert_allclose(own.nodes, [[100, 8, 2, 0.5]])


def test_typical_size_is_the_root_mean_square_of_all_residuals() -> None:
    one = np.ones((1, 2))
    labels = [Labels(3 * one, 4 * one, one, one), Labels(3 * one, 4 * one, one, one)]
    assert typical_size(labels) == pytest.approx(12.5**0.5)
    nothing = Labels(0 * one, 0 * one, one, one)
    assert typical_size([nothing]) > 0
