"""Losses: the paper's Eq. 7 and its relatives, computed anew from blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import pytest
from deeph.graphs import Graph, GraphSource, Shape, build_graph, concatenate
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget
from deeph.targets.measures import (
    Deviation,
    MatrixElements,
    MatrixIrreps,
    Measure,
    TensorIrreps,
)
from deeph.targets.target import Labels, batch_labels
from deeph.testing import double_precision, random_rotations, rotated_matrix
from deeph.training.losses import (
    AVERAGES,
    LOSSES,
    KindWeights,
    Loss,
    absolute_sums,
    deviation,
    kind_weights,
    typical_size,
    weighted,
    without_overlap,
)
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure, toy_matrices

SHELLS = {"H": (0,), "C": (0, 1)}
QUICKLY = {"xla_backend_optimization_level": 0}
DELTA = 0.05
"""In eV; about half of the errors of `disturbed` are larger."""


def modulus_power(power: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda d: np.abs(d) ** power


def huber(d: np.ndarray) -> np.ndarray:
    size = np.abs(d)
    return np.where(size < DELTA, size**2 / 2, DELTA * (size - DELTA / 2))


def differences(
    truth: Sequence[BlockMatrix], found: Sequence[BlockMatrix]
) -> Iterator[list[np.ndarray]]:
    """Yield the blocks' elements of every structure; of collinear matrices uu and dd alone."""
    for one, other in zip(truth, found, strict=True):
        blocks = []
        for row in range(len(one)):
            d = other.block(row) - one.block(row)
            if is_collinear(one):
                a, b = d.shape[0] // 2, d.shape[1] // 2
                d = np.stack([d[:a, :b], d[a:, b:]])
            blocks.append(d)
        yield blocks


def is_collinear(matrix: BlockMatrix) -> bool:
    return not np.iscomplexobj(matrix.entries) and set(matrix.chunk_shapes[:, 0]) <= {2, 8}


def block_average(
    truth: Sequence[BlockMatrix],
    found: Sequence[BlockMatrix],
    function: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Return Eq. 7, with any function of the error of an element."""
    return float(
        np.mean([np.mean([function(d).mean() for d in ds]) for ds in differences(truth, found)])
    )


def element_average(
    truth: Sequence[BlockMatrix],
    found: Sequence[BlockMatrix],
    function: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Return the mean over all elements of all structures."""
    return float(
        np.concatenate([function(d).ravel() for ds in differences(truth, found) for d in ds]).mean()
    )


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


def disturbed(matrix: BlockMatrix, seed: int, everywhere: bool = False) -> BlockMatrix:
    """Return a Hermitian matrix nearby, of the same spin structure."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=len(matrix.entries))
    if np.iscomplexobj(matrix.entries):
        noise = noise + 1j * rng.normal(size=len(noise))
    kept = matrix.entries != 0
    changed = matrix.with_entries(matrix.entries + np.where(kept | everywhere, 0.1 * noise, 0))
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


def all_losses(measure: Measure, elements: int) -> dict[str, Loss]:
    """Return every loss by name and average; wmae with the same weight for all."""
    kinds = [int(k.max()) + 1 for k in measure.kinds]
    alike = KindWeights(np.ones((elements, kinds[0])), np.ones((elements, elements, kinds[1])))
    return {
        f"{kind} {average}": Loss(kind, measure, average, DELTA, alike if kind == "wmae" else None)
        for kind in LOSSES
        for average in AVERAGES
    }


def losses(
    case: Case, measure_type: Callable[[BlockRepresentation], Measure] = MatrixElements
) -> tuple[dict[str, float], np.ndarray]:
    target, graph, shape, labels, nodes, edges = case
    measure = measure_type(target.representation)
    functions = all_losses(measure, 2)

    def all_of_them(graph: Graph, labels: Labels, nodes: Any, edges: Any) -> Any:
        difference = deviation(measure, graph, labels, nodes, edges)
        values = {name: loss(graph, shape, difference) for name, loss in functions.items()}
        return values, absolute_sums(measure, graph, difference)

    with double_precision():
        program = jax.jit(all_of_them, compiler_options=QUICKLY)
        values, sums = program(graph, labels, nodes, edges)
    return {name: float(value) for name, value in values.items()}, np.asarray(sums)


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
def test_losses_are_those_of_blocks(spin: str) -> None:
    target, sources, truth = problem(spin)
    found = [disturbed(matrix, seed) for seed, matrix in enumerate(truth)]
    values, sums = losses(batched(target, sources, truth, found, Shape(8, 96, 3)))
    functions = {"mse": modulus_power(2), "mae": modulus_power(1), "huber": huber}
    for kind, function in {**functions, "wmae": modulus_power(1)}.items():
        for average, mean in (("block", block_average), ("element", element_average)):
            expected = mean(truth, found, function)
            np.testing.assert_allclose(values[f"{kind} {average}"], expected, rtol=1e-12)
    # Sums of absolute errors and numbers of elements, on site and off site.
    expected = np.zeros((2, 2))
    for one, ds in zip(truth, differences(truth, found), strict=True):
        for d, on_site in zip(ds, one.on_site(), strict=True):
            expected[int(not on_site)] += [np.abs(d).sum(), d.size]
    np.testing.assert_allclose(sums, expected, rtol=1e-12)


def test_an_example_by_hand() -> None:
    # Two atoms with one s orbital each: H = [[a, b], [b, c]] off by 1, 2 and 3 eV.
    target, source, truth = two_atoms()
    found = truth.with_entries(np.array([1.0, 2.0, 2.0, 3.0]))
    values, sums = losses(batched(target, [source], [truth], [found], Shape(3, 16, 1)))
    assert values["mse block"] == values["mse element"] == pytest.approx((1 + 4 + 4 + 9) / 4)
    assert values["mae block"] == values["mae element"] == pytest.approx((1 + 2 + 2 + 3) / 4)
    assert values["huber block"] == pytest.approx(DELTA * (2 - DELTA / 2))
    assert sums.ravel().tolist() == pytest.approx([4, 2, 4, 2])


def two_atoms() -> tuple[HamiltonianTarget, GraphSource, BlockMatrix]:
    """Return two hydrogen atoms with one s orbital each, and H = 0."""
    target = HamiltonianTarget(BlockRepresentation.of({"H": (0,)}, "none"))
    structure = Structure(9 * np.eye(3), np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([1, 1]))
    pairs = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]])
    source = build_graph(structure, pairs, target.representation)
    return target, source, BlockMatrix.zeros(pairs, np.ones((4, 2)))


def test_small_blocks_and_structures_count_as_much_as_large_ones() -> None:
    target, sources, truth = problem("none")
    found = [truth[0], truth[1].with_entries(truth[1].entries + 0.2)]
    values, _ = losses(batched(target, sources, truth, found, Shape(8, 96, 2)))
    assert values["mse block"] == pytest.approx(0.04 / 2)
    assert values["mae block"] == pytest.approx(0.2 / 2)
    share = len(truth[1].entries) / (len(truth[0].entries) + len(truth[1].entries))
    assert share < 0.4
    assert values["mae element"] == pytest.approx(0.2 * share)


def test_a_rotation_moves_mae_of_elements_but_neither_mse_nor_mae_of_irreps() -> None:
    # An error of 1 eV in px px on site alone: turned by 45 degrees it is 1/2 in four.
    rep = BlockRepresentation.of({"C": (1,)}, "none")
    target, pair = HamiltonianTarget(rep), np.zeros((1, 5), int)
    source = build_graph(Structure(9 * np.eye(3), np.zeros((1, 3)), np.array([6])), pair, rep)
    truth = BlockMatrix.zeros(pair, np.full((1, 2), 3))
    along = np.diag([0.0, 0.0, 1.0])  # in the order y, z, x
    turn = np.array([[2**0.5, 0, 0], [0, 1, 1], [0, -1, 1]]) / 2**0.5
    elements, irreps = [], []
    for block in (along, turn @ along @ turn.T):
        found = truth.with_entries(block.reshape(-1))
        case = batched(target, [source], [truth], [found], Shape(2, 16, 1))
        elements.append(losses(case)[0])
        irreps.append(losses(case, MatrixIrreps)[0])
    assert [x["mae block"] for x in elements] == pytest.approx([1 / 9, 2 / 9])
    for values in (elements, irreps):
        assert [x["mse block"] for x in values] == pytest.approx([1 / 9, 1 / 9])
    # px px = 1/sqrt(3) of L = 0 and sqrt(2/3) of L = 2: sizes 1/sqrt(3), and sqrt(2/15) five times.
    expected = (3**-0.5 + 5 * (2 / 15) ** 0.5) / 9
    assert [x["mae block"] for x in irreps] == pytest.approx([expected, expected])


@pytest.mark.parametrize(("spin", "time_reversal"), [("none", True), ("soc", True), ("soc", False)])
def test_irreps_of_off_site_blocks_do_not_see_the_axes(spin: str, time_reversal: bool) -> None:
    rep = BlockRepresentation.of({"H": (0,), "C": (0, 1)}, spin, time_reversal)
    target = HamiltonianTarget(rep)
    structure = random_structure(("H", "C"), 3, 0)
    _, matrix = toy_matrices(structure, SHELLS, spin, cutoff=3.0)
    found = disturbed(matrix, 0)
    (q,) = random_rotations(1, 4)
    turned = Structure(structure.lattice @ q.T, structure.positions @ q.T, structure.numbers)
    results = []
    for atoms, move in (
        (structure, lambda m: m),
        (turned, lambda m: rotated_matrix(m, structure, SHELLS, q)),
    ):
        source = build_graph(atoms, matrix.atom_pairs, rep)
        case = batched(target, [source], [move(matrix)], [move(found)], Shape(4, 64, 1))
        results.append((losses(case)[0], losses(case, MatrixIrreps)[0]))
    (elements, irreps), (elements_turned, irreps_turned) = results
    assert irreps == pytest.approx(irreps_turned, rel=1e-10)
    assert elements["mse block"] == pytest.approx(elements_turned["mse block"], rel=1e-10)
    assert elements["mae block"] != pytest.approx(elements_turned["mae block"], rel=1e-3)


def test_losses_do_not_depend_on_padding() -> None:
    target, sources, truth = problem("none")
    found = [disturbed(matrix, seed) for seed, matrix in enumerate(truth)]
    small = losses(batched(target, sources, truth, found, Shape(6, 70, 2)))
    large = losses(batched(target, sources, truth, found, Shape(11, 128, 5)))
    assert small[0] == pytest.approx(large[0], rel=1e-13)
    np.testing.assert_allclose(small[1], large[1], rtol=1e-13)


def smooth_enough(measure: Measure) -> dict[str, Loss]:
    """Return some losses, enough to meet every branch."""
    everything = all_losses(measure, 2)
    return {name: everything[name] for name in ("mse block", "wmae element", "huber block")}


def gradients(case: Case, measure: Measure) -> dict[str, list[np.ndarray]]:
    """Return the slopes of every loss along the results of nodes and edges."""
    _, graph, shape, labels, nodes, edges = case
    functions = smooth_enough(measure)

    def slopes(result: Any) -> dict[str, Any]:
        def value(result: Any, loss: Loss) -> Any:
            return loss(graph, shape, deviation(measure, graph, labels, *result))

        return {name: jax.grad(value)(result, loss) for name, loss in functions.items()}

    with double_precision():
        found = jax.jit(slopes, compiler_options=QUICKLY)((nodes, edges))
    return {name: [np.asarray(x) for x in parts] for name, parts in found.items()}


@pytest.mark.parametrize("measure_type", [MatrixElements, MatrixIrreps])
def test_slopes_do_not_depend_on_padding_and_vanish_on_it(
    measure_type: Callable[[BlockRepresentation], Measure],
) -> None:
    target, sources, truth = problem("soc")
    found = [disturbed(matrix, seed) for seed, matrix in enumerate(truth)]
    measure = measure_type(target.representation)
    small, large = (
        gradients(batched(target, sources, truth, found, shape), measure)
        for shape in (Shape(6, 70, 2), Shape(9, 96, 4))
    )
    real = sum(s.graph.nodes for s in sources), sum(s.graph.edges for s in sources)
    for name, parts in small.items():
        for few, many, count in zip(parts, large[name], real, strict=True):
            np.testing.assert_allclose(few[:count], many[:count], rtol=1e-12, atol=1e-15)
            assert np.abs(few[:count]).max() > 0
            assert not few[count:].any()
            assert not many[count:].any()


@pytest.mark.parametrize("spin", ["none", "soc"])
@pytest.mark.parametrize("measure_type", [MatrixElements, MatrixIrreps])
def test_slopes_are_finite_and_zero_where_there_is_no_error(
    spin: str, measure_type: Callable[[BlockRepresentation], Measure]
) -> None:
    target, sources, truth = problem(spin)
    case = batched(target, sources, truth, truth, Shape(8, 96, 3))
    case = (*case[:3], case[3]._replace(node_residual=0 * case[3].node_residual,
                                        edge_residual=0 * case[3].edge_residual),
            0 * case[4], 0 * case[5])  # fmt: skip
    for parts in gradients(case, measure_type(target.representation)).values():
        for slope in parts:
            assert not slope.any()


@pytest.mark.parametrize("measure_type", [MatrixElements, MatrixIrreps])
def test_slopes_are_those_of_finite_differences(
    measure_type: Callable[[BlockRepresentation], Measure],
) -> None:
    target, sources, truth = problem("soc")
    found = [disturbed(matrix, seed, everywhere=True) for seed, matrix in enumerate(truth)]
    case = batched(target, sources, truth, found, Shape(6, 70, 2))
    rng, step = np.random.default_rng(0), 1e-5
    # Irreps of on-site blocks that are zero for all Hermitian matrices would have no slope.
    case = (*case[:4], *(x + 0.1 * rng.normal(size=np.shape(x)) for x in case[4:]))
    slopes = gradients(case, measure_type(target.representation))
    directions = [rng.normal(size=np.shape(x)) for x in case[4:]]
    ends = [
        losses((*case[:4], case[4] + t * directions[0], case[5] + t * directions[1]), measure_type)
        for t in (step, -step)
    ]
    for name, parts in slopes.items():
        expected = (ends[0][0][name] - ends[1][0][name]) / (2 * step)
        found_slope = sum(np.sum(a * b) for a, b in zip(parts, directions, strict=True))
        assert found_slope == pytest.approx(expected, rel=1e-3)


# --- the gauge ------------------------------------------------------------------------------------


def spinor(overlap: BlockMatrix, like: BlockMatrix) -> BlockMatrix:
    """Return S on the pairs of H, twice on the diagonal where H has spin."""
    blocks = []
    for row, pair in enumerate(like.atom_pairs):
        s = overlap.block(int(overlap.rows_of(pair[None])[0]))
        twice = like.chunk_shapes[row, 0] == 2 * len(s)
        blocks.append(np.kron(np.eye(2), s) if twice else s)
    return like.with_entries(np.concatenate([b.ravel() for b in blocks]).astype(like.dtype))


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
def test_the_zero_of_energy_changes_neither_loss_nor_slope(spin: str) -> None:
    rep = BlockRepresentation.of(SHELLS, spin, False)
    target, measure, shape = HamiltonianTarget(rep), MatrixElements(rep), Shape(8, 96, 3)
    results = []
    for shifts in ((0.0, 0.0), (0.7, -2.0)):  # another zero for each structure
        sources, truth, moved, found, overlaps = [], [], [], [], []
        for seed, (atoms, mu) in enumerate(zip((3, 2), shifts, strict=True)):
            structure = random_structure(("H", "C"), atoms, seed)
            s, h = toy_matrices(structure, SHELLS, spin, cutoff=3.0)
            s = spinor(s, h)
            sources.append(build_graph(structure, h.atom_pairs, rep))
            truth.append(h)
            moved.append(h.with_entries(h.entries + mu * s.entries))
            found.append(disturbed(h, seed, everywhere=spin == "soc"))
            overlaps.append(s)
        case = batched(target, sources, moved, found, shape)
        irreps = [target._irreps(s, source) for s, source in zip(overlaps, sources, strict=True)]
        labels = batch_labels([Labels(*pair, *pair, *pair) for pair in irreps], shape, np.float64)
        node_s, edge_s = labels.node_overlap, labels.edge_overlap
        _, graph, _, labels, nodes, edges = case

        def values(result: Any, graph: Graph, labels: Labels, s: Any) -> Any:
            difference = deviation(measure, graph, labels, *result)
            difference = without_overlap(graph, shape, difference, *s)
            functions = {**smooth_enough(measure), "mae element": Loss("mae", measure, "element")}
            return {name: loss(graph, shape, difference) for name, loss in functions.items()}

        with double_precision():
            arguments = ((nodes, edges), graph, labels, (node_s, edge_s))
            found_values = jax.jit(values, compiler_options=QUICKLY)(*arguments)
            slopes = jax.jit(jax.jacrev(values), compiler_options=QUICKLY)(*arguments)
            results.append(jax.device_get((found_values, slopes)))
    (first, slopes), (second, slopes_moved) = results
    for name in first:
        assert first[name] > 1e-4
        np.testing.assert_allclose(second[name], first[name], rtol=1e-11)
        for one, other in zip(slopes[name], slopes_moved[name], strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-14)
    # What is removed is Eq. 15's: the same from blocks.
    d = [f.entries - t.entries for f, t in zip(found, truth, strict=True)]
    mu = [np.vdot(s.entries, x).real / np.vdot(s.entries, s.entries).real
          for x, s in zip(d, overlaps, strict=True)]  # fmt: skip
    left = [f.with_entries(f.entries - m * s.entries)
            for f, m, s in zip(found, mu, overlaps, strict=True)]  # fmt: skip
    expected = element_average(truth, left, modulus_power(1))
    assert first["mae element"] == pytest.approx(expected, rel=1e-11)


def test_without_an_overlap_nothing_is_removed() -> None:
    target, sources, truth = problem("none")
    found = [disturbed(matrix, seed) for seed, matrix in enumerate(truth)]
    _, graph, shape, labels, nodes, edges = batched(target, sources, truth, found, Shape(8, 96, 3))
    with double_precision():
        difference = deviation(MatrixElements(target.representation), graph, labels, nodes, edges)
        left = without_overlap(graph, shape, difference, 0 * nodes, 0 * edges)
    for before, after in zip(difference, left, strict=True):
        np.testing.assert_array_equal(before, after)


# --- weights --------------------------------------------------------------------------------------


def test_weights_lie_between_own_size_and_none() -> None:
    measure = MatrixElements(BlockRepresentation.of({"H": (0, 0)}, "none"))
    ones = np.ones((1, 4))
    scale = np.array([[1e-9, 0.25, 1.0, 4.0]])
    labels = Labels(ones, ones, scale, scale)
    difference = Deviation(ones, 2 * ones)
    with double_precision():
        assert weighted(measure, labels, difference, 1.0, 1.0) is difference
        half = weighted(measure, labels, difference, 0.5, 1.0)
        np.testing.assert_allclose(half.nodes, [[10, 2, 1, 0.5]])  # none above that of 0.01
        np.testing.assert_allclose(half.edges, [[20, 4, 2, 1]])
        own = weighted(measure, labels, difference, 0.0, 2.0)
        np.testing.assert_allclose(own.nodes, [[100, 8, 2, 0.5]])


def test_wmae_divides_errors_by_the_typical_size_of_their_shells() -> None:
    # Two atoms with two s shells: on site scales of 1 eV, off site of 0.1, 0.1, 0.1 and 0.02.
    rep = BlockRepresentation.of({"H": (0, 0)}, "none")
    measure, target = MatrixElements(rep), HamiltonianTarget(rep)
    structure = Structure(9 * np.eye(3), np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([1, 1]))
    pairs = np.array([[0, 0, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 1, 1]])
    graph = build_graph(structure, pairs, rep).graph
    off = np.array([[0.1, 0.1, 0.1, 0.02]] * 2)
    labels = Labels(np.zeros((2, 4)), np.zeros((2, 4)), np.ones((2, 4)), off)
    with double_precision():
        found = kind_weights(measure, [graph], [labels], 1)
    raw = np.array([1.0] * 4 + [10, 10, 10, 50])
    np.testing.assert_allclose(found.nodes[0], raw[:4] / raw.mean())
    np.testing.assert_allclose(found.edges[0, 0], raw[4:] / raw.mean())
    truth = BlockMatrix.zeros(pairs, np.full((4, 2), 2))
    errors = np.zeros((4, 4))
    errors[[1, 2]] = [0.0, 0.0, 0.0, 0.3]  # off site, between the second shells
    case = batched(
        target, [build_graph(structure, pairs, rep)], [truth],
        [truth.with_entries(errors.ravel())], Shape(4, 16, 2),
    )  # fmt: skip
    _, graph, shape, labels, nodes, edges = case
    with double_precision():
        difference = deviation(measure, graph, labels, nodes, edges)
        block, element = (
            Loss("wmae", measure, average, weights=found)(graph, shape, difference)
            for average in AVERAGES
        )
    assert float(block) == pytest.approx((0.3 * 50 / 80) / 2)  # two of four pairs
    assert float(element) == pytest.approx(2 * 0.3 * 50 / (2 * 4 + 2 * 80))


def test_weights_of_what_the_data_lack_are_one() -> None:
    rep = BlockRepresentation.of(SHELLS, "none")
    structure = Structure(9 * np.eye(3), np.zeros((1, 3)), np.array([1]))
    graph = build_graph(structure, np.zeros((1, 5), int), rep).graph
    size, channels = rep.channels.size, len(rep.channels)
    labels = Labels(np.zeros((1, size)), np.zeros((0, size)), np.full((1, channels), 5.0),
                    np.zeros((0, channels)))  # fmt: skip
    with double_precision():
        found = kind_weights(MatrixElements(rep), [graph], [labels], 2)
    np.testing.assert_array_equal(found.nodes, 1)
    np.testing.assert_array_equal(found.edges, 1)


def test_what_no_loss_knows_is_refused() -> None:
    measure = TensorIrreps((0,), ())
    with pytest.raises(InputError, match="loss_type: 'best' is unknown: known are mse, mae, wmae"):
        Loss("best", measure)
    with pytest.raises(InputError, match="loss_average: 'atom' is unknown"):
        Loss("mae", measure, "atom")
    with pytest.raises(InputError, match="huber_delta: expected an error above zero, found 0"):
        Loss("huber", measure, huber_delta=0)
    with pytest.raises(InputError, match="wmae needs weights"):
        Loss("wmae", measure)


# --- tensors --------------------------------------------------------------------------------------


def test_tensors_count_irreps_of_atoms_alone_where_edges_have_none() -> None:
    measure = TensorIrreps((0, 1), ())
    _, sources, _ = problem("none")
    shape = Shape(8, 96, 3)
    graph = concatenate([source.graph for source in sources], shape, np.float64)
    values = np.zeros((8, 4))
    values[:5] = [0.1, 0.3, 0.0, -0.4]  # a scalar, and a vector of length 1/2
    values[5:] = 9.0  # dummies
    ones, none = np.ones((8, 2)), np.zeros((96, 0))
    labels = Labels(0 * values, none, ones, none)
    with double_precision():
        difference = deviation(measure, graph, labels, values, none)
        results = {name: float(loss(graph, shape, difference))
                   for name, loss in all_losses_of_nodes(measure).items()}  # fmt: skip
    square = (0.01 + 0.25) / 4
    size = (0.1 + 3 * 0.5 / 3**0.5) / 4
    assert results == pytest.approx({"mse block": square, "mse element": square,
                                     "mae block": size, "mae element": size})  # fmt: skip


def all_losses_of_nodes(measure: Measure) -> dict[str, Loss]:
    return {f"{k} {a}": Loss(k, measure, a) for k in ("mse", "mae") for a in AVERAGES}


def test_typical_size_is_the_root_mean_square_of_all_residuals() -> None:
    one = np.ones((1, 2))
    labels = [Labels(3 * one, 4 * one, one, one), Labels(3 * one, 4 * one, one, one)]
    assert typical_size(labels) == pytest.approx(12.5**0.5)
    nothing = Labels(0 * one, 0 * one, one, one)
    assert typical_size([nothing]) > 0
