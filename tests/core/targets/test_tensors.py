"""Declared quantities: there and back, in any orientation, and learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from deeph.config import TrainConfig, train_settings
from deeph.inference.predictor import Predictor
from deeph.inference.writer import write_beside_input, write_folder
from deeph.models.model import Model
from deeph.networks import NETWORKS, NetworkSpecification
from deeph.representation import TensorRepresentation
from deeph.targets import (
    TARGETS,
    EnergyTarget,
    Example,
    TargetSettings,
    TensorTarget,
    composition,
)
from deeph.testing import BondNetwork, random_rotations
from deeph.training.setup import Training, set_up_examples
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.irreps import dimension, from_vectors, rotation_of
from deeph_spec.orbitals import real_harmonics
from deeph_spec.pairs import on_site
from deeph_spec.structure import Structure
from deeph_spec.tensors import Tensor, read_tensors, write_tensors
from deeph_spec.testing import neighbour_pairs, random_folder, random_structure
from deeph_spec.validation import validate_folder

IRREPS = ["1x0e", "1x0e+1x1e+1x2e", "1x2o+2x1o+1x0o+1x1e"]
PER = ["atom", "pair", "structure"]
CUTOFF = 3.0


def target_of(irreps: str, per: str, unit: str = "1") -> TensorTarget:
    return TensorTarget(TensorRepresentation.of(["C", "H"], irreps), "q", per, unit)


def random_label(structure: Structure, irreps: str, per: str, seed: int = 0) -> Tensor:
    pairs = neighbour_pairs(structure, CUTOFF)
    pairs = pairs[~on_site(pairs)]
    rows = {"atom": len(structure), "pair": len(pairs), "structure": 1}[per]
    values = np.random.default_rng(seed).normal(size=(rows, dimension(irreps)))
    if per == "structure":
        return Tensor("q", irreps, per, values[0])
    return Tensor("q", irreps, per, values, "1", pairs if per == "pair" else None)


def example_of(target: TensorTarget, label: Tensor, structure: Structure) -> Example:
    return target.example_of("s", structure, label, neighbour_pairs(structure, CUTOFF))


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("irreps", IRREPS)
def test_labels_give_the_quantity_back(irreps: str, per: str) -> None:
    target = target_of(irreps, per)
    structures = [random_structure(("H", "C"), n, seed) for seed, n in enumerate((3, 2, 4))]
    labels = [random_label(s, irreps, per, n) for n, s in enumerate(structures)]
    examples = [example_of(target, *pair) for pair in zip(labels, structures, strict=True)]
    baseline = target.fit(examples[1:])
    baseline = target.baseline(baseline.arrays())
    relative = target.labels(examples[0], baseline)
    channel = target.representation.channels.channel_of_component
    parts = [relative.node_residual, relative.edge_residual]
    scales = relative.node_scale, relative.edge_scale
    scaled = [x / s[:, channel] if x.size else x for x, s in zip(parts, scales, strict=True)]
    pairs = neighbour_pairs(structures[0], CUTOFF)
    found = target.prediction(examples[0].source, *scaled, baseline, pairs).checked(3)
    np.testing.assert_allclose(found.values, labels[0].values, atol=1e-9)
    assert (found.name, found.irreps, found.per) == ("q", irreps, per)
    if per == "pair":
        np.testing.assert_array_equal(found.atom_pairs, labels[0].atom_pairs)
    sizes = [target.node_channels.size, target.edge_channels.size]
    assert [x.shape[1] for x in parts] == sizes == [dimension(irreps) * (per != "pair"),
                                                   dimension(irreps) * (per == "pair")]  # fmt: skip


def test_harmonics_of_a_bond_lie_along_its_frame() -> None:
    structure = random_structure(("H", "C"), 4, 3)
    pairs = neighbour_pairs(structure, CUTOFF)
    pairs = pairs[~on_site(pairs)]
    vectors = structure.pair_vectors(pairs)
    values = np.concatenate([real_harmonics(l, vectors) for l in (2, 1, 0)], axis=1)
    target = target_of("1x2e+1x1o+1x0e", "pair")
    example = example_of(
        target, Tensor("q", "1x2e+1x1o+1x0e", "pair", values, "1", pairs), structure
    )
    table = target.representation.channels
    np.testing.assert_allclose(example.edges[:, table.m_of_component != 0], 0, atol=1e-12)
    expected = np.sqrt((2 * table.j + 1) / (4 * np.pi))
    np.testing.assert_allclose(
        example.edges[:, table.m_of_component == 0], np.tile(expected, (len(pairs), 1)), atol=1e-12
    )


def settings(irreps: str, blocks: int = 1, **train: Any) -> TrainConfig:
    return train_settings(
        {
            "data": {"inputs_dir": ".", "outputs_dir": "runs"},
            "model": {
                "target_type": "energy",
                "advanced": {
                    "net_irreps": irreps, "gaussian_basis_rmax": 4.0, "num_blocks": blocks,
                },
            },
            "process": {
                "train": {"dataloader": {"batch_size": 2}, "optimizer": {"type": "adam"}, **train}
            },
        }
    )  # fmt: skip


def trained(training: Training, steps: int, rate: float = 0.02) -> tuple[Any, float]:
    """Return parameters after so many epochs, and the last loss over the first."""
    parameters, losses = jax.tree.map(np.array, training.parameters), []
    state = training.steps.init(parameters)
    for epoch in range(steps):
        scale = 1 - epoch / steps
        for graph, labels, count in training.train.shuffled(0, epoch):
            parameters, state, loss = training.steps.train(
                parameters, state, rate * scale, graph, labels, count
            )
            losses.append(float(loss))
    return parameters, losses[-1] / losses[0]


def noisy(parameters: Any, size: float = 1.0) -> Any:
    rng = np.random.default_rng(1)
    return jax.tree.map(
        lambda x: np.asarray(x + size * rng.normal(size=x.shape), np.float32), parameters
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "normal", BondNetwork)


def made(irreps: str, per: str) -> tuple[TensorTarget, list[Structure], Training]:
    target = target_of(irreps, per)
    structures = [random_structure(("H", "C"), n, seed) for seed, n in enumerate((3, 2, 4))]
    examples = [
        example_of(target, random_label(s, irreps, per, n), s) for n, s in enumerate(structures)
    ]
    training = set_up_examples(settings("4x0e+4x1o+4x1e+4x2e"), target, examples, [])
    return target, structures, training


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("irreps", "per"), [("1x0e+1x1o", "structure"), ("1x1o+1x2e", "atom"),
                                             ("1x0e+1x1o+1x2e", "pair")])  # fmt: skip
def test_predictions_turn_with_the_structure(irreps: str, per: str) -> None:
    _, structures, training = made(irreps, per)
    predictor = Predictor(training.model, noisy(training.parameters), "")
    structure = structures[0]
    pairs = neighbour_pairs(structure, CUTOFF)
    before = predictor(structure, pairs)
    assert np.abs(before.values).max() > 0.1
    for rotation in random_rotations(4):
        turned = Structure(
            structure.lattice @ rotation.T, structure.positions @ rotation.T, structure.numbers
        )
        after = predictor(turned, pairs).values
        expected = before.values @ rotation_of(irreps, rotation).T
        np.testing.assert_allclose(after, expected, atol=3e-5 * np.abs(expected).max())
    assert np.abs(after - before.values).max() > 0.1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("per", PER)
def test_a_batch_is_its_structures_one_by_one(tmp_path: Path, per: str) -> None:
    _, _, training = made("1x0e+1x1o", per)
    for number, atoms in enumerate((3, 2, 4)):
        random_folder(tmp_path / str(number), atoms=atoms, seed=number, cutoff=CUTOFF)
    dataset = Dataset.open(tmp_path)
    predictor = Predictor(training.model, noisy(training.parameters), "")
    alone = [p for _, p in predictor.predict(dataset)]
    together = [p for _, p in predictor.predict(dataset, batch_size=3)]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(other.values, one.values, atol=1e-5 * np.abs(one.values).max())


@pytest.mark.usefixtures("quick")
def test_a_sum_over_atoms_grows_with_the_cell() -> None:
    target, structures, training = made("1x0e", "structure")
    parameters = noisy(training.parameters)
    predictor = Predictor(training.model, parameters, "")
    structure = structures[0]
    pairs = neighbour_pairs(structure, CUTOFF)
    single = predictor(structure, pairs).values
    from deeph.networks.specimens import Specimen

    double = predictor(*Specimen(structure, pairs).doubled()).values
    np.testing.assert_allclose(double, 2 * single, rtol=1e-5)
    # What the loss sees is the error per atom.
    nodes = np.random.default_rng(0).normal(size=(9, 1)).astype(np.float32)
    graph, _, _ = next(training.train.all())
    mean, _ = target.paired(graph, nodes[: graph.nodes], np.zeros((graph.edges, 0)))
    for number in range(2):
        own = graph.node_structure == number
        np.testing.assert_allclose(mean[own], nodes[: graph.nodes][own].mean(), rtol=1e-6)


def energy(structure: Structure) -> float:
    """Return a sum of atoms and pairs, in eV."""
    pairs = neighbour_pairs(structure, CUTOFF)
    pairs = pairs[~on_site(pairs)]
    lengths = np.linalg.norm(structure.pair_vectors(pairs), axis=1)
    charge = structure.numbers[pairs[:, 3]] * structure.numbers[pairs[:, 4]]
    return float(-13.0 * structure.numbers.sum() + np.sum(charge**0.5 * np.exp(-lengths)))


def energies(count: int) -> tuple[EnergyTarget, list[Structure], list[Example]]:
    rep = TensorRepresentation.of(["C", "H"], "1x0e")
    target = EnergyTarget(rep, "energy", "structure", "eV")
    structures = [random_structure(("H", "C"), 2 + n % 3, n) for n in range(count)]
    labels = [
        Tensor("energy", "1x0e", "structure", np.array([energy(s)]), "eV") for s in structures
    ]
    pairs = zip(labels, structures, strict=True)
    return target, structures, [example_of(target, *pair) for pair in pairs]


@pytest.mark.usefixtures("quick")
def test_energies_are_learned_and_depend_on_the_structure(monkeypatch: pytest.MonkeyPatch) -> None:
    # The smallest network knows pairs only, which the baseline would leave nothing of.
    monkeypatch.setattr(composition, "_grids", lambda sources: {})
    target, structures, examples = energies(20)
    lines: list[str] = []
    training = set_up_examples(settings("4x0e"), target, examples[:16], examples[16:], lines.append)
    assert any("meV/atom (root mean square) to be learned" in line for line in lines)
    parameters, ratio = trained(training, 200, 0.1)
    assert ratio < 1e-2
    before, after = (
        [
            abs(float(Predictor(training.model, p, "")(s, neighbour_pairs(s, CUTOFF)).values[0])
                - energy(s)) / len(s)
            for s in structures[16:]
        ]
        for p in (training.parameters, parameters)
    )  # fmt: skip
    assert np.mean(after) < 0.2 * np.mean(before)


def test_a_pair_potential_is_known_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    target, _, examples = energies(60)

    def error(count: int) -> float:
        baseline = target.fit(examples[:count])
        left = [target.labels(e, baseline).node_residual[0, 0] for e in examples[50:]]
        return float(np.abs(left).mean())

    few, many = error(8), error(50)
    monkeypatch.setattr(composition, "_grids", lambda sources: {})
    alone = error(50)
    assert many < 0.05 * alone
    assert few < alone  # eight structures already help, and never harm


def test_the_composition_is_a_sum_of_elements() -> None:
    target = target_of("1x0e+1x1o", "structure")
    structures = [random_structure(("H", "C"), n, n) for n in (1, 2, 3, 4)]
    value = {1: -3.0, 6: 40.0}
    labels = [sum(value[z] for z in s.numbers.tolist()) for s in structures]
    examples = [
        example_of(target, Tensor("q", "1x0e+1x1o", "structure", np.array([x, 0, 0, 0])), s)
        for x, s in zip(labels, structures, strict=True)
    ]
    baseline = target.fit(examples[:3])
    assert isinstance(baseline, composition.SumBaseline)
    np.testing.assert_allclose(baseline.constants[:, 0], [-3, 40], rtol=1e-9)
    residual = target.labels(examples[3], baseline).node_residual
    np.testing.assert_allclose(residual, 0, atol=1e-9)


# --- files ----------------------------------------------------------------------------------------


def folder(path: Path, labels: dict[str, tuple[str, str]], seed: int = 0) -> StructureFolder:
    random_folder(path, atoms=3, seed=seed, cutoff=CUTOFF)
    made = StructureFolder(path, path.name)
    tensors = [
        replace(random_label(made.structure, irreps, per, seed), name=name)
        for name, (irreps, per) in labels.items()
    ]
    write_tensors(path / "targets.h5", tensors)
    return made


def quiet(line: str) -> None:
    raise AssertionError(line)


def test_a_dataset_says_what_is_learned(tmp_path: Path) -> None:
    for seed in range(2):
        folder(tmp_path / str(seed), {"born": (IRREPS[1], "atom"), "j": ("1x0e", "pair")}, seed)
    dataset = Dataset.open(tmp_path)
    said = TargetSettings(name="born")
    target = TensorTarget.of_data(dataset, ["0", "1"], said, quiet)
    assert (target.per, target.unit, target.representation.irreps) == ("atom", "1", IRREPS[1])
    assert TensorTarget.needed_irreps(dataset, said) == ((0, 1), (1, 1), (2, 1))
    assert TensorTarget.missing_label(dataset["0"], said) == ""
    assert TensorTarget.missing_label(dataset["0"], TargetSettings(name="x")) == "targets.h5: x"
    again = TARGETS[target.kind].of_description(target.description)
    assert again == target
    example = target.example(dataset["1"])
    expected = read_tensors(tmp_path / "1/targets.h5")["born"].values
    np.testing.assert_array_equal(target.representation.to_rows(example.nodes), expected)
    assert example.pairs is not None
    assert example.pairs[1:] == (0, 0)


WRONG = [
    ({"q": ("1x1o", "atom")}, r"1x1o per atom, but other structures have 1x0e per atom"),
    ({"q": ("1x0e", "structure")}, "1x0e per structure, but other structures have 1x0e per atom"),
    ({"other": ("1x0e", "atom")}, "q: missing; the file has other"),
]


@pytest.mark.parametrize(("labels", "said"), WRONG)
def test_structures_need_labels_of_one_kind(
    tmp_path: Path, labels: dict[str, tuple[str, str]], said: str
) -> None:
    folder(tmp_path / "0", {"q": ("1x0e", "atom")})
    folder(tmp_path / "1", labels)
    target = TensorTarget.of_data(Dataset.open(tmp_path), ["0"], TargetSettings(name="q"), quiet)
    with pytest.raises(InputError, match=said) as error:
        target.example(Dataset.open(tmp_path)["1"])
    assert str(tmp_path / "1/targets.h5") in str(error.value)


def test_rows_are_as_many_as_atoms(tmp_path: Path) -> None:
    random_folder(tmp_path / "0", atoms=3, cutoff=CUTOFF)
    label = Tensor("q", "1x0e", "atom", np.zeros((2, 1)))
    write_tensors(tmp_path / "0/targets.h5", [label])
    with pytest.raises(InputError, match=r"targets\.h5: q: shape \(2, 1\), 1x0e needs \(3, 1\)"):
        TensorTarget.of_data(Dataset.open(tmp_path), ["0"], TargetSettings(name="q"), quiet)


def put_energy(path: Path, file: str) -> None:
    if file == "targets.h5":
        write_tensors(path / file, [Tensor("energy", "1x0e", "structure", np.array([-3.5]), "eV")])
    else:
        with h5py.File(path / file, "w") as opened:
            opened["energy"] = -3.5


@pytest.mark.parametrize("file", ["targets.h5", "force.h5"])
def test_energies_are_found_in_either_file(tmp_path: Path, file: str) -> None:
    random_folder(tmp_path / "0", atoms=3, cutoff=CUTOFF)
    dataset = Dataset.open(tmp_path)
    assert EnergyTarget.missing_label(dataset["0"], TargetSettings()) == "targets.h5: energy"
    put_energy(tmp_path / "0", file)
    assert EnergyTarget.missing_label(dataset["0"], TargetSettings()) == ""
    assert EnergyTarget.needed_irreps(dataset, TargetSettings()) == ((0, 1),)
    target = EnergyTarget.of_data(dataset, ["0"], TargetSettings(), quiet)
    assert (target.unit, target.shown) == ("eV", ("meV/atom", 1e3))
    np.testing.assert_allclose(target.example(dataset["0"]).nodes, -3.5 / 3)
    assert tmp_path / "0" / file in EnergyTarget.label_files(dataset["0"])


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("per", PER)
def test_predictions_are_written_beside_or_as_folders(tmp_path: Path, per: str) -> None:
    target, _, training = made("1x0e+1x1o", per)
    source = Predictor(training.model, noisy(training.parameters), "abc")
    given = folder(tmp_path / "0", {"q": ("1x0e+1x1o", per)})
    ((_, prediction),) = source.predict([given])
    path = write_beside_input(given, prediction, source)
    assert path.name == "targets_pred.h5"
    written = write_folder(tmp_path / "out/dft/0", given, prediction, source)
    assert not [f for f in validate_folder(written) if f.severity == "error"]
    for place in (path, written / "targets_pred.h5"):
        found = read_tensors(place)["q"]
        np.testing.assert_allclose(found.values, prediction.values, rtol=1e-6)
        with h5py.File(place) as file:
            assert file.attrs["model"] == "sha256:abc"
            assert file["q"].dtype == (np.float64 if per == "structure" else np.float32)
    (comparison,) = type(target).comparisons(StructureFolder(written, "0"), given)
    assert (comparison.name, comparison.unit) == ("q", "1")
    assert comparison.predicted.values.shape == comparison.reference.values.shape


@pytest.mark.usefixtures("quick")
def test_unknown_elements_are_refused(tmp_path: Path) -> None:
    _, _, training = made("1x0e", "atom")
    random_folder(tmp_path / "0", atoms=2, elements=("O",), cutoff=CUTOFF)
    predictor = Predictor(training.model, training.parameters, "")
    with pytest.raises(InputError, match="O is unknown to the model, which knows H, C"):
        list(predictor.predict(Dataset.open(tmp_path)))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("per", PER)
def test_a_published_model_predicts_the_same(tmp_path: Path, per: str) -> None:
    _, structures, training = made("1x0e+1x1o", per)
    parameters = noisy(training.parameters)
    path = training.publish(tmp_path, "best", 1, None, parameters, 1)
    loaded = Predictor.load(path)
    assert isinstance(loaded.model, Model)
    assert loaded.target == training.model.target
    call: Callable[..., Tensor] = Predictor(training.model, parameters, "")
    for structure in structures[:2]:
        pairs = neighbour_pairs(structure, CUTOFF)
        np.testing.assert_array_equal(
            loaded(structure, pairs).values, call(structure, pairs).values
        )


def test_a_vector_of_a_structure_is_that_of_its_atoms() -> None:
    target = target_of("1x1o", "structure")
    structure = random_structure(("H", "C"), 3, 0)
    dipole = from_vectors(np.array([1.0, 2.0, 3.0]))
    example = example_of(target, Tensor("q", "1x1o", "structure", dipole), structure)
    np.testing.assert_allclose(example.nodes.sum(axis=0), dipole)


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("parity", [True, False])
@pytest.mark.parametrize("per", ["atom", "pair"])
def test_every_network_has_results_of_atoms_or_edges_alone(
    name: str, parity: bool, per: str
) -> None:
    target = target_of("2x0e+1x0o+1x1o+1x2o", per)
    structure = random_structure(("H", "C"), 3, 0)
    graph = example_of(target, random_label(structure, "2x0e+1x0o+1x1o+1x2o", per), structure)
    counts = [t.counts(int(t.j.max(initial=-1))) for t in (target.node_channels,
                                                          target.edge_channels)]  # fmt: skip
    irreps = "4x0e+2x0o+4x1o+4x1e+4x2e+2x2o" if parity else "4x0e+4x1e+4x2e"
    specification = NetworkSpecification(2, irreps, parity, 1, 4.0, 5.0, *counts[0], *counts[1])
    network = NETWORKS[name](specification)
    source = graph.source.graph
    shapes = jax.eval_shape(network.init, jax.random.key(0), source)
    nodes, edges = jax.eval_shape(network.apply, shapes, source)
    assert nodes.shape == (source.nodes, target.node_channels.size)
    assert edges.shape == (source.edges, target.edge_channels.size)
