"""What neighbours add: three-centre integrals are learned, turn with the structure, and end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from deeph.graphs import GraphSource, build_graph
from deeph.representation import BlockRepresentation
from deeph.targets import Baseline, HamiltonianTarget, fit_baseline, surroundings_fit
from deeph.targets.surroundings import Surroundings
from deeph.targets.surroundings_fit import fit_surroundings
from deeph.testing import assert_close_matrices, rotated_matrix
from deeph_spec.structure import Structure
from deeph_spec.testing import neighbour_pairs, random_structure

REP = BlockRepresentation.of({"H": (0,), "C": (0, 1)}, "none")
TABLE = REP.channels
CUTOFF = 4.0
EXPONENTS = {1: 0.8, 6: 0.6}
"""Of the s orbitals, 1/Å^2."""
DEPTHS = {1: (1.5, 3.0), 6: (2.0, -5.0)}
"""Exponents (1/Å^2) and depths (eV) of the potentials of atoms."""


def source_of(structure: Structure) -> GraphSource:
    return build_graph(structure, neighbour_pairs(structure, CUTOFF), REP)


def shaken(seed: int) -> Structure:
    """Return one crystal whose atoms have moved by about 0.1 Å."""
    crystal, rng = random_structure(("H", "C"), 4, 0), np.random.default_rng(seed)
    return replace(crystal, positions=crystal.positions + rng.uniform(-0.15, 0.15, (4, 3)))


STRUCTURES = [shaken(seed) for seed in range(24)]
TRAIN = [source_of(structure) for structure in STRUCTURES[:20]]
TEST = [source_of(structure) for structure in STRUCTURES[20:]]


def potentials_of_neighbours(structure: Structure) -> np.ndarray:
    """Return sum_k <i| V_k |j> over the neighbours k of i and j, for s Gaussians, edge by edge.

    The product of three Gaussians a, b, c integrates to (pi / (a + b + c))^(3/2)
    exp(-(a b r_ij^2 + a c r_ik^2 + b c r_jk^2) / (a + b + c)).
    """
    source = source_of(structure)
    pairs, numbers = source.edge_pairs, structure.numbers
    vectors = structure.pair_vectors(pairs)
    result = np.zeros(len(pairs))
    for row, (pair, between) in enumerate(zip(pairs, vectors, strict=True)):
        a, b = EXPONENTS[int(numbers[pair[3]])], EXPONENTS[int(numbers[pair[4]])]
        for other, away in zip(pairs, vectors, strict=True):
            if other[3] != pair[3] or np.allclose(away, between):
                continue
            c, depth = DEPTHS[int(numbers[other[4]])]
            apart = a * b * between @ between + a * c * away @ away
            apart += b * c * (away - between) @ (away - between)
            result[row] += depth * (np.pi / (a + b + c)) ** 1.5 * np.exp(-apart / (a + b + c))
    return result


def labels_of(structures: list[Structure]) -> list[np.ndarray]:
    """Return edges whose first channel of J = 0 is a three-centre integral, all others zero."""
    labels = []
    for structure in structures:
        values = potentials_of_neighbours(structure)
        edges = np.zeros((len(values), TABLE.size))
        edges[:, 0] = values
        labels.append(edges)
    return labels


@pytest.fixture(scope="module")
def fitted() -> Baseline:
    on_site = [np.random.default_rng(k).normal(size=(s.graph.nodes, TABLE.size))
               for k, s in enumerate(TRAIN)]  # fmt: skip
    return fit_baseline(TRAIN, on_site, labels_of(STRUCTURES[:20]), REP)


def test_three_centre_integrals_of_other_structures_are_found(fitted: Baseline) -> None:
    wanted = np.concatenate([edges[:, 0] for edges in labels_of(STRUCTURES[20:])])
    found = np.concatenate([fitted.edges(s, REP)[0][:, 0] for s in TEST])
    two_centre = Baseline(
        **{**vars(fitted), "surroundings": None}
    )  # what a function of the distance alone can say
    without = np.concatenate([two_centre.edges(s, REP)[0][:, 0] for s in TEST])

    def error(values: np.ndarray) -> float:
        return float(np.sqrt(np.mean((values - wanted) ** 2)))

    assert error(without) > 0.2 * np.std(wanted)
    assert error(found) < 0.2 * error(without)


def test_noise_on_site_is_left_alone(fitted: Baseline) -> None:
    """There is nothing in the neighbours that explains it, and the penalty says so."""
    assert fitted.surroundings is not None
    added = np.concatenate([fitted.surroundings.nodes(s, REP) for s in TEST])
    assert np.sqrt(np.mean(added**2)) < 0.1


@pytest.fixture(scope="module")
def random_terms() -> Baseline:
    """Terms with arbitrary coefficients for all components, not limited."""
    rng = np.random.default_rng(5)
    noise = [[rng.normal(size=(count(s), TABLE.size)) for s in TRAIN[:3]]
             for count in (lambda s: s.graph.nodes, lambda s: s.graph.edges)]  # fmt: skip
    baseline = fit_baseline(TRAIN[:3], *noise, REP)
    terms = baseline.surroundings
    assert terms is not None

    def drawn(parts: dict) -> dict:
        return {key: tuple(rng.normal(size=x.shape) for x in value) for key, value in parts.items()}

    terms = Surroundings(
        terms.radial, terms.grids, terms.edge_size, drawn(terms.edge_terms),
        {key: 1e3 + limit for key, limit in terms.edge_limit.items()},
        drawn(terms.node_terms), terms.node_limit + 1e3,
    )  # fmt: skip
    return Baseline(**{**vars(baseline), "surroundings": terms})


@pytest.mark.parametrize("inversion", [False, True])
def test_terms_turn_with_the_structure(random_terms: Baseline, inversion: bool) -> None:
    structure = random_structure(("H", "C"), 5, seed=3)
    pairs = neighbour_pairs(structure, CUTOFF)
    rotation = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation)) * (-1 if inversion else 1)
    before, after = (build_graph(s, pairs, REP) for s in (structure, structure.rotated(rotation)))
    assert random_terms.surroundings is not None
    sizes = [np.abs(random_terms.surroundings.edges(s, REP)).max() for s in (before, after)]
    assert min(sizes) > 0.1
    target = HamiltonianTarget(REP)
    zero = np.zeros((5, TABLE.size)), np.zeros((before.graph.edges, TABLE.size))
    matrices = [target.blocks(s, *zero, random_terms) for s in (before, after)]
    turned = rotated_matrix(matrices[0], structure, dict(REP.orbital_map), rotation)
    assert_close_matrices(matrices[1], turned, 1e-10 * max(sizes))


def three_atoms(distance: float) -> GraphSource:
    """A pair of atoms and a third one at some distance from the first."""
    positions = np.array([[0, 0, 0], [1.5, 0, 0], [-0.6 * distance, 0.8 * distance, 0]])
    structure = Structure(50 * np.eye(3), positions, np.array([6, 6, 1]))
    pairs = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 2]])
    return build_graph(structure, pairs, REP)


@pytest.mark.parametrize("values", [
    lambda terms, source: terms.edges(source, REP)[source.graph.lengths == 1.5],
    lambda terms, source: terms.nodes(source, REP)[0],
])  # fmt: skip
def test_a_neighbour_that_goes_away_is_forgotten_smoothly(
    random_terms: Baseline, values: Callable
) -> None:
    terms = random_terms.surroundings
    assert terms is not None
    distances = np.arange(terms.radial.stop - 1.0, terms.radial.stop + 0.3, 1e-2)
    found = np.stack([values(terms, three_atoms(d)).ravel() for d in distances])
    beyond = distances >= terms.radial.stop
    np.testing.assert_array_equal(found[beyond], found[beyond][:1].repeat(beyond.sum(), axis=0))
    size = np.abs(found - found[-1]).max()
    assert size > 0
    assert np.abs(np.diff(found, 3, axis=0)).max() < 1e-3 * size  # no step, corner or kink


def test_terms_do_not_run_away(fitted: Baseline) -> None:
    """A crowd that no training structure had adds no more than 1.5 times what was met there."""
    terms = fitted.surroundings
    assert terms is not None
    rng = np.random.default_rng(0)
    crowd = Structure(9.0 * np.eye(3), 3.0 * rng.random((40, 3)), rng.choice([1, 6], 40))
    source = build_graph(crowd, neighbour_pairs(crowd, 2.0), REP)
    known = max(np.abs(terms.edges(s, REP)).max() for s in TRAIN)
    size = max(np.exp(terms.edge_size[key]).max() for key in terms.grids)
    limit = max(limit.max() for limit in terms.edge_limit.values())
    found = np.abs(terms.edges(source, REP)).max()
    assert known < found <= 1.5 * limit * size


def test_a_cluster_of_far_apart_parts_is_its_parts(random_terms: Baseline) -> None:
    parts = [random_structure(("H", "C"), 3, seed) for seed in (1, 2)]
    parts = [replace(part, lattice=80 * np.eye(3)) for part in parts]
    apart = np.array([30.0, 0, 0])
    both = Structure(
        80 * np.eye(3),
        np.concatenate([parts[0].positions, parts[1].positions + apart]),
        np.concatenate([part.numbers for part in parts]),
    )
    terms = random_terms.surroundings
    assert terms is not None
    sources = [source_of(part) for part in (*parts, both)]
    nodes = [terms.nodes(s, REP) for s in sources]
    np.testing.assert_allclose(nodes[2], np.concatenate(nodes[:2]), rtol=1e-12, atol=1e-12)


def test_few_structures_or_many_elements_have_no_terms() -> None:
    on_site = [np.ones((s.graph.nodes, TABLE.size)) for s in TRAIN[:2]]
    edges = [np.ones((s.graph.edges, TABLE.size)) for s in TRAIN[:2]]
    terms = fit_surroundings(TRAIN[:2], on_site, edges, REP)
    assert not terms.edge_terms
    assert not terms.node_terms
    assert terms.edges(TEST[0], REP).shape == (TEST[0].graph.edges, TABLE.size)
    assert not terms.nodes(TEST[0], REP).any()


def test_more_edges_than_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small structures some then have none left."""
    monkeypatch.setattr(surroundings_fit, "_ROWS", 12)
    on_site = [np.zeros((s.graph.nodes, TABLE.size)) for s in TRAIN]
    terms = fit_surroundings(TRAIN, on_site, labels_of(STRUCTURES[:20]), REP)
    assert terms.edge_terms
    assert np.isfinite(terms.edges(TEST[0], REP)).all()


def test_arrays_give_the_same_terms(fitted: Baseline) -> None:
    again = Baseline.of_arrays(fitted.arrays()).surroundings
    assert again is not None
    assert fitted.surroundings is not None
    for source in TEST:
        for name in ("nodes", "edges"):
            np.testing.assert_array_equal(
                getattr(again, name)(source, REP), getattr(fitted.surroundings, name)(source, REP)
            )
