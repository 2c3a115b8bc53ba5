"""Labels from files and blocks from results, there and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deeph.graphs import Shape, concatenate
from deeph.representation import BlockRepresentation
from deeph.targets import (
    Baseline,
    Example,
    HamiltonianTarget,
    batch_labels,
    hermitian_result,
)
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.testing import SHELLS, random_folder

KINDS = [("none", True), ("collinear", False), ("soc", False)]


def folder(path: Path, **settings: object) -> StructureFolder:
    random_folder(path, **{"atoms": 3, "cutoff": 3.5, **settings})  # type: ignore[arg-type]
    return StructureFolder(path, path.name)


def target_of(spin: str = "none", time_reversal: bool = True) -> HamiltonianTarget:
    shells = {symbol: SHELLS[symbol] for symbol in ("H", "C")}
    return HamiltonianTarget(BlockRepresentation.of(shells, spin, time_reversal))


def baseline_of(target: HamiltonianTarget, *examples: Example) -> Baseline:
    return target.fit(examples)


@pytest.mark.parametrize(("spin", "time_reversal"), KINDS)
@pytest.mark.parametrize("fitted_to_others", [False, True])
def test_labels_give_the_blocks_back(
    tmp_path: Path, spin: str, time_reversal: bool, fitted_to_others: bool
) -> None:
    given, other = folder(tmp_path / "1", spin=spin), folder(tmp_path / "2", spin=spin, seed=5)
    target = target_of(spin, time_reversal)
    example = target.example(given)
    fitted_to = target.example(other if fitted_to_others else given)
    baseline = baseline_of(target, fitted_to)
    labels = target.labels(example, baseline)
    matrix = target.blocks(example.source, labels.node_residual, labels.edge_residual, baseline)
    expected = given.hamiltonian()
    assert matrix.dtype == expected.dtype
    found = matrix.on_pairs(expected.atom_pairs, expected.chunk_shapes)
    assert len(matrix) == len(expected)
    np.testing.assert_allclose(found.entries, expected.entries, rtol=0, atol=1e-11)


def test_labels_are_what_the_baseline_leaves(tmp_path: Path) -> None:
    target = target_of()
    examples = [target.example(folder(tmp_path / str(n), seed=n)) for n in range(12)]
    labels = target.labels(examples[0], baseline_of(target, *examples))
    whole = np.abs(examples[0].edges).mean()
    assert np.abs(labels.edge_residual).mean() < 0.1 * whole
    table = target.representation.channels
    assert labels.node_scale.shape == (3, len(table))
    assert labels.edge_scale.shape == (examples[0].source.graph.edges, len(table))
    assert min(labels.node_scale.min(), labels.edge_scale.min()) > 0


def test_nan_is_named_with_its_file_and_pair(tmp_path: Path) -> None:
    given = folder(tmp_path / "bad")
    matrix = given.hamiltonian()
    for value in (np.nan, np.inf):
        entries = matrix.entries.copy()
        entries[matrix.chunk_boundaries[4] + 1] = value
        matrix.with_entries(entries).write(given.file("hamiltonian"))
        with pytest.raises(InputError) as error:
            target_of().example(given)
        text = str(error.value)
        assert "hamiltonian.h5: entries: NaN or inf" in text
        assert str(matrix.atom_pairs[4].tolist()) in text
        assert str(tmp_path) in text


def without(matrix: BlockMatrix, length: float, given: StructureFolder) -> BlockMatrix:
    """Return the matrix without pairs longer than a length."""
    far = np.linalg.norm(given.structure.pair_vectors(matrix.atom_pairs), axis=1) > length
    assert 0 < far.sum() < len(matrix)
    return matrix.on_pairs(matrix.atom_pairs[~far])


def test_pairs_of_overlap_and_hamiltonian_may_differ(tmp_path: Path) -> None:
    given = folder(tmp_path / "1")
    whole, overlap = given.hamiltonian(), given.overlap()
    target = target_of()
    # The overlap reaches further: its pairs join the graph, with labels zero, if asked for.
    short = without(whole, 3.0, given)
    short.write(given.file("hamiltonian"))
    alone = target.example(given)
    joined = replace(target, with_overlap=True).example(given)
    assert alone.source.graph.edges + 3 == len(short)
    assert joined.source.graph.edges + 3 == len(overlap)
    lost = len(overlap) - len(short)
    assert alone.pairs == (len(short) - 3, 0, lost)
    assert joined.pairs == (len(overlap) - 3, 0, 0)
    far = short.rows_of(joined.source.edge_pairs) < 0
    assert far.any()
    assert not joined.edges[far].any()
    np.testing.assert_allclose(
        joined.edges[~far], alone.edges[short_rows(alone, joined.source.edge_pairs[~far])]
    )
    # The Hamiltonian reaches further: nothing of it is lost.
    whole.write(given.file("hamiltonian"))
    without(overlap, 3.0, given).write(given.file("overlap"), "overlap")
    for with_overlap in (False, True):
        example = replace(target, with_overlap=with_overlap).example(given)
        assert example.source.graph.edges + 3 == len(whole)
        assert example.pairs == (len(whole) - 3, lost, 0)


def short_rows(example: Example, pairs: np.ndarray) -> np.ndarray:
    known = {tuple(pair): row for row, pair in enumerate(example.source.edge_pairs.tolist())}
    return np.array([known[tuple(pair)] for pair in pairs.tolist()])


def test_the_order_of_pairs_in_the_file_does_not_matter(tmp_path: Path) -> None:
    given, target = folder(tmp_path / "1"), target_of()
    before = target.example(given)
    matrix = given.hamiltonian()
    order = np.random.default_rng(0).permutation(len(matrix))
    matrix.on_pairs(matrix.atom_pairs[order]).write(given.file("hamiltonian"))
    after = target.example(given)
    np.testing.assert_array_equal(before.source.edge_pairs, after.source.edge_pairs)
    np.testing.assert_array_equal(before.nodes, after.nodes)
    np.testing.assert_array_equal(before.edges, after.edges)


@pytest.mark.parametrize(("spin", "time_reversal"), [*KINDS, ("soc", True)])
def test_results_become_hermitian_as_blocks_do(
    tmp_path: Path, spin: str, time_reversal: bool
) -> None:
    target = target_of(spin, time_reversal)
    rep = target.representation
    given = folder(tmp_path / "1", spin=spin)
    source = target.example(given).source
    empty = Baseline({}, {}, {}, {}, np.zeros((2, rep.channels.size)), {}, np.ones((2, 1)))
    rng = np.random.default_rng(0)
    nodes = rng.normal(size=(source.graph.nodes, rep.channels.size))
    edges = rng.normal(size=(source.graph.edges, rep.channels.size))
    paired = hermitian_result(rep, source.graph, nodes, edges)
    found = target.blocks(source, *paired, empty)
    plain = target.blocks(source, nodes, edges, empty)
    assert plain.hermitian_error()[0] > 1
    np.testing.assert_allclose(found.entries, plain.hermitian().entries, atol=1e-12)
    for once, twice in zip(paired, hermitian_result(rep, source.graph, *paired), strict=True):
        np.testing.assert_allclose(twice, once, atol=1e-14)


def test_labels_are_padded_as_graphs_are(tmp_path: Path) -> None:
    target = target_of()
    examples = [target.example(folder(tmp_path / str(n), seed=n)) for n in range(2)]
    baseline = baseline_of(target, *examples)
    labels = [target.labels(example, baseline) for example in examples]
    shape = Shape(9, 400, 2)
    batch = batch_labels(labels, shape, np.float32)
    graph = concatenate([example.source.graph for example in examples], shape)
    assert {array.dtype for array in batch if array is not None} == {np.dtype(np.float32)}
    for array, mask in ((batch.node_residual, graph.node_mask),
                        (batch.edge_residual, graph.edge_mask)):  # fmt: skip
        assert len(array) == len(mask)
        assert not array[mask == 0].any()
    np.testing.assert_allclose(batch.node_residual[3:6], labels[1].node_residual, rtol=1e-6)
    start = examples[0].source.graph.edges
    stop = start + examples[1].source.graph.edges
    np.testing.assert_allclose(batch.edge_residual[start:stop], labels[1].edge_residual, rtol=1e-6)
