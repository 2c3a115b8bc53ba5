"""Means and scales: a two-centre model comes back, functions end in zero, scales are positive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from deeph.graphs import GraphSource, build_graph
from deeph.representation import BlockRepresentation
from deeph.so3 import wigner_blocks
from deeph.targets import Baseline, HamiltonianTarget, fit_baseline
from deeph.testing import assert_close_matrices, rotated_matrix
from deeph_spec.structure import Structure
from deeph_spec.testing import neighbour_pairs, random_structure, toy_matrices

REP = BlockRepresentation.of({"H": (0, 0), "C": (0, 1)}, "none")
TABLE = REP.channels
CHANNEL = TABLE.channel_of_component
STRAIGHT = (TABLE.m_of_component == 0) & TABLE.natural[CHANNEL]


def sources(count: int, seed: int = 0, elements: Sequence[str] = ("H", "C")) -> list[GraphSource]:
    structures = [random_structure(elements, 4, seed + k) for k in range(count)]
    return [build_graph(s, neighbour_pairs(s, 4.0), REP) for s in structures]


TRAIN, TEST = sources(24), sources(4, seed=100)


def fitted(edges: list[np.ndarray], nodes: list[np.ndarray] | None = None) -> Baseline:
    nodes = nodes or [np.zeros((s.graph.nodes, TABLE.size)) for s in TRAIN]
    return fit_baseline(TRAIN, nodes, edges, REP)


@pytest.fixture(scope="module")
def model() -> Baseline:
    """A two-centre model that splines can express."""
    rng = np.random.default_rng(0)
    empty = fitted([np.zeros((s.graph.edges, TABLE.size)) for s in TRAIN])
    edge_mean, node_field = {}, {}
    for key, grid in empty.grids.items():
        decay = np.exp(-np.linspace(0, 6, grid.size))[:, None]
        edge_mean[key] = decay * rng.normal(size=TABLE.size) * STRAIGHT
        decay = np.exp(-np.linspace(0, 6, len(empty.node_field[key])))[:, None]
        node_field[key] = decay * rng.normal(size=len(TABLE)) * TABLE.natural
    constant = rng.normal(size=(2, TABLE.size)) * (TABLE.j == 0)[CHANNEL]
    return replace(empty, edge_mean=edge_mean, node_field=node_field, node_constant=constant)


@pytest.fixture(scope="module")
def found(model: Baseline) -> Baseline:
    return fitted([model.edges(s, REP)[0] for s in TRAIN], [model.nodes(s, REP)[0] for s in TRAIN])


def test_two_centre_means_come_back(model: Baseline, found: Baseline) -> None:
    expected = np.concatenate([model.edges(s, REP)[0] for s in [*TRAIN, *TEST]])
    error = np.concatenate([found.edges(s, REP)[0] for s in [*TRAIN, *TEST]]) - expected
    largest = np.abs(expected).max()
    assert np.sqrt(np.mean(error**2)) < 1e-6 * largest
    # At the few shortest distances the least smoothing that is tried can be seen.
    assert np.abs(error).max() < 1e-4 * largest


def test_the_field_of_the_neighbours_comes_back(model: Baseline, found: Baseline) -> None:
    errors, sizes = [], []
    for source in TEST:
        expected = model.nodes(source, REP)[0]
        errors.append(np.abs(found.nodes(source, REP)[0] - expected).max())
        sizes.append(np.abs(expected - model.node_constant[source.graph.species]).max())
    assert max(errors) < 1e-3 * max(sizes)


def test_means_turn_with_the_structure(model: Baseline) -> None:
    structure = random_structure(("H", "C"), 4, seed=3)
    pairs = neighbour_pairs(structure, 4.0)
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    before, after = (build_graph(s, pairs, REP) for s in (structure, structure.rotated(rotation)))
    edges = [model.edges(s, REP)[0] for s in (before, after)]
    np.testing.assert_allclose(edges[1], edges[0], atol=1e-12)  # in their own frames
    target = HamiltonianTarget(REP)
    zero = np.zeros((4, TABLE.size)), np.zeros((before.graph.edges, TABLE.size))
    matrices = [target.blocks(s, *zero, model) for s in (before, after)]
    turned = rotated_matrix(matrices[0], structure, dict(REP.orbital_map), rotation)
    assert_close_matrices(matrices[1], turned, 1e-11)


def dimer(length: float, elements: tuple[int, int] = (1, 6)) -> GraphSource:
    structure = Structure(
        50 * np.eye(3), np.array([[0, 0, 0], [0.6 * length, 0, 0.8 * length]]), np.array(elements)
    )
    return build_graph(structure, np.array([[0, 0, 0, 0, 1]]), REP)


def test_means_end_smoothly_beyond_the_data(found: Baseline) -> None:
    grid = found.grids[0, 1]
    lengths = np.arange(grid.stop - 1.5, grid.stop + 0.5, 1e-2)
    values = np.stack([found.edges(dimer(r), REP)[0][0] for r in lengths])
    assert np.all(values[lengths >= grid.stop] == 0)
    largest = np.abs(values).max()
    assert largest > 0
    assert np.abs(np.diff(values, 3, axis=0)).max() < 1e-3 * largest  # no step, corner or kink
    at_end = np.abs(values[lengths > grid.stop - 0.02]).max()
    assert at_end < 1e-4 * largest


def test_pairs_that_were_never_seen_have_no_mean_and_hardly_a_scale() -> None:
    carbon = sources(3, elements=("C",))
    baseline = fit_baseline(
        carbon,
        [np.ones((s.graph.nodes, TABLE.size)) for s in carbon],
        [np.ones((s.graph.edges, TABLE.size)) for s in carbon],
        REP,
    )
    mean, scale = baseline.edges(dimer(1.5), REP)
    assert not mean.any()
    assert np.all(scale > 0)
    assert scale.max() < 1e-30
    mean, scale = baseline.nodes(dimer(1.5), REP)
    assert not mean[0].any()
    assert mean[1].any()
    assert np.all(scale > 0)


def test_scales_follow_the_size_of_what_is_left() -> None:
    rng = np.random.default_rng(7)

    def sigma(lengths: np.ndarray) -> np.ndarray:
        return 0.3 * np.exp(-1.5 * lengths)

    noise = [
        sigma(s.graph.lengths)[:, None] * rng.normal(size=(s.graph.edges, TABLE.size))
        for s in TRAIN
    ]
    node_noise = [0.02 * rng.normal(size=(s.graph.nodes, TABLE.size)) for s in TRAIN]
    baseline = fitted(noise, node_noise)
    for source in TEST:
        _, scale = baseline.edges(source, REP)
        ratio = scale / sigma(source.graph.lengths)[:, None]
        assert np.all((ratio > 0.4) & (ratio < 2.5))
        assert np.all(np.abs(np.log(ratio.mean(axis=0))) < 0.4)
        _, scale = baseline.nodes(source, REP)
        assert np.all((scale > 0.01) & (scale < 0.03))


def test_scales_are_positive_even_where_nothing_is_left(model: Baseline, found: Baseline) -> None:
    for baseline in (found, fitted([np.zeros((s.graph.edges, TABLE.size)) for s in TRAIN])):
        for source in [*TEST, dimer(0.3), dimer(30.0)]:
            for _, scale in (baseline.edges(source, REP), baseline.nodes(source, REP)):
                assert np.all(np.isfinite(scale))
                assert np.all(scale > 0)
                assert np.all(scale.astype(np.float32) > 0)


def test_arrays_give_the_same_baseline(found: Baseline) -> None:
    arrays = found.arrays()
    assert all(array.dtype == np.float64 for array in arrays.values())
    again = Baseline.of_arrays(arrays)
    for source in TEST:
        for one, other in zip(
            (*found.edges(source, REP), *found.nodes(source, REP)),
            (*again.edges(source, REP), *again.nodes(source, REP)),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_a_tight_binding_hamiltonian_is_almost_all_baseline() -> None:
    orbital_map = {"H": (0, 0), "C": (0, 1)}
    target = HamiltonianTarget(REP)
    structures = [random_structure(("H", "C"), 4, seed) for seed in range(30)]
    labelled = []
    for structure in structures:
        _, matrix = toy_matrices(structure, orbital_map, cutoff=4.0)
        source = build_graph(structure, matrix.atom_pairs, REP)
        labelled.append((source, *target._irreps(matrix, source)))
    train, test = labelled[:24], labelled[24:]
    baseline = fit_baseline(*(list(part) for part in zip(*train, strict=True)), REP)
    for mean_of, part in ((baseline.nodes, 1), (baseline.edges, 2)):
        left = np.concatenate([row[part] - mean_of(row[0], REP)[0] for row in test])
        whole = np.concatenate([row[part] for row in test])
        assert np.sqrt(np.mean(left**2)) < 0.02 * np.std(whole)


def test_atoms_without_neighbours_have_a_constant_only() -> None:
    rep = BlockRepresentation.of({"C": (0, 1)}, "none")
    atom = Structure(20 * np.eye(3), np.zeros((1, 3)), np.array([6]))
    source = build_graph(atom, np.array([[0, 0, 0, 0, 0]]), rep)
    label = np.zeros((1, rep.channels.size))
    label[0, 0] = -7.5
    edges = np.zeros((0, rep.channels.size))
    baseline = fit_baseline([source], [label], [edges], rep)
    np.testing.assert_allclose(baseline.nodes(source, rep)[0], label, atol=1e-6)
    assert baseline.edges(source, rep)[0].shape == edges.shape
    again = Baseline.of_arrays(baseline.arrays())
    np.testing.assert_array_equal(again.nodes(source, rep)[0], baseline.nodes(source, rep)[0])


def test_directions_on_site_are_those_of_the_neighbours(model: Baseline) -> None:
    # The field of one neighbour, turned into its frame, has M = 0 alone.
    source = dimer(1.5)
    mean = model.nodes(source, REP)[0] - model.node_constant[source.graph.species]
    first = np.flatnonzero(source.graph.centre == 0)
    wigner = [d[first] for d in wigner_blocks(source.frames, REP.l_max)]
    local = REP.rotate(mean[:1], wigner, to="edge")
    assert np.abs(local[:, ~STRAIGHT]).max() < 1e-12
    assert np.abs(local[:, STRAIGHT]).max() > 0.01
