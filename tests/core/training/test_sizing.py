"""Estimates of memory against XLA's own account, and what is said when something does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from deeph.config import TrainConfig, train_settings
from deeph.config.irreps import missing_irreps, target_irreps
from deeph.graphs import Shape
from deeph.networks import NETWORKS, NetworkSpecification
from deeph.networks.memory import (
    Memory,
    available_memory,
    in_words,
    inference_memory,
    parameter_count,
    training_memory,
)
from deeph.targets import HamiltonianTarget, TargetSettings
from deeph.training import sizing
from deeph.training.setup import Training, set_up_examples
from deeph.training.sizing import MOST_PARAMETERS, check_memory, fitting_irreps, narrower
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError
from deeph_spec.testing import random_folder

SPECIFICATION = NetworkSpecification(
    2, "8x0e+8x1o+8x2e", True, 3, 6.0, 20.0, (4, 3, 2), (0, 2, 1), (4, 3, 2), (0, 2, 1)
)
SHAPE = Shape(101, 4000, 4)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes settings."""

    def made(*overrides: str) -> TrainConfig:
        data = {"inputs_dir": str(tmp_path), "outputs_dir": str(tmp_path / "runs")}
        return train_settings({"data": data}, overrides=overrides)

    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_estimates_agree_with_the_compiler(
    name: str, config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    shells = {"H": (0,), "C": (0, 0)}  # larger l take long to compile
    random_folder(tmp_path / "dft/0001", atoms=8, orbital_map=shells, cutoff=7.0)
    dataset = Dataset.open(tmp_path)
    settings = config(f"net_type={name}", "net_irreps=16x0e+12x1o", "num_blocks=2")
    target = HamiltonianTarget.of_data(dataset, dataset.ids, TargetSettings(), lambda line: None)
    training = set_up_examples(settings, target, [target.example(dataset["0001"])], [])
    spec, network = training.model.network.specification, training.model.network
    count = parameter_count(network)
    assert count == sum(leaf.size for leaf in jax.tree.leaves(training.parameters))
    graph, labels, structures = next(training.train.all())

    used = _training_bytes(training, graph, labels, structures)
    found = training_memory(name, spec, count).of(graph.nodes, graph.edges)
    assert 1 / 1.5 < found / used < 1.5

    program = jax.jit(network.apply).lower(training.parameters, graph).compile()
    used = _bytes(program)
    found = inference_memory(name, spec, count).of(graph.nodes, graph.edges)
    assert 1 / 1.5 < found / used < 1.5


def _training_bytes(training: Training, graph: Any, labels: Any, structures: int) -> float:
    """Return what a step takes, with the best parameters that are kept beside."""
    steps, parameters = training.steps, training.parameters
    state = steps.init(parameters)
    rate = np.float32(1e-3)
    program = steps._programs[0].lower(
        parameters, state, rate, graph, labels, structures=structures
    )
    kept = sum(leaf.nbytes for leaf in jax.tree.leaves(parameters))
    return _bytes(program.compile()) + kept


def _bytes(program: Any) -> float:
    analysis = program.memory_analysis()
    return float(
        analysis.temp_size_in_bytes
        + analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
    )


def need(*overrides: str, config: Callable[..., TrainConfig]) -> float:
    """Return the bytes of a training step of `SPECIFICATION` on `SHAPE`."""
    settings = config(*overrides)
    itemsize = 8 if settings.system.float_type == "fp64" else 4
    memory = training_memory("normal", SPECIFICATION, 10**4, itemsize)
    return memory.of(SHAPE.nodes, SHAPE.edges)


def test_what_fits_is_said(config: Callable[..., TrainConfig]) -> None:
    size = need(config=config)
    (line,) = check_memory(config(), "normal", SPECIFICATION, 10**4, SHAPE, int(2 * size))
    assert line == (
        f"A training step of 101 atoms and 4000 pairs needs about {in_words(size)} of memory; "
        f"{in_words(2 * size)} are free"
    )
    (line,) = check_memory(config(), "normal", SPECIFICATION, 10**4, SHAPE, None)
    assert line.endswith("of memory")
    assert need("float_type=fp64", config=config) == 2 * size


def test_what_hardly_fits_is_a_warning_that_says_what_would(
    config: Callable[..., TrainConfig],
) -> None:
    free = int(need(config=config) / 1.4)
    (line,) = check_memory(config(), "normal", SPECIFICATION, 10**4, SHAPE, free)
    assert line.startswith("Warning: A training step of 101 atoms")
    assert "what would fit: " in line
    assert "process.train.dataloader.batch_size = 2" in line
    assert 'model.advanced.net_irreps = "4x0e+4x1o+4x2e"' in line


def test_what_does_not_fit_is_refused(config: Callable[..., TrainConfig]) -> None:
    free = int(need(config=config) / 3.5)
    with pytest.raises(InputError, match=r"what would fit: .*batch_size = 1"):
        check_memory(config(), "normal", SPECIFICATION, 10**4, SHAPE, free)
    with pytest.raises(InputError, match="use smaller structures"):
        check_memory(config(), "normal", SPECIFICATION, 10**4, SHAPE, 1000)


def test_a_network_that_is_not_known_counts_as_the_largest() -> None:
    ours = [training_memory(name, SPECIFICATION, 0).per_edge for name in NETWORKS]
    assert training_memory("own", SPECIFICATION, 0).per_edge == max(ours)
    assert inference_memory("own", SPECIFICATION, 0).per_edge < max(ours)


def test_the_free_memory_of_this_machine() -> None:
    free = available_memory()
    assert free is not None
    assert 10**7 < free < 10**14
    assert Memory(1.0, 2.0, 3.0).of(4, 5) == 24.0


@pytest.mark.parametrize("net_type", NETWORKS)
@pytest.mark.parametrize("spin", ["none", "soc"])
def test_proposed_features_stay_within_their_number_of_parameters(net_type: str, spin: str) -> None:
    shells = {"Mo": (0, 0, 0, 1, 1, 2, 2, 3)}
    irreps, parameters = fitting_irreps(net_type, shells, spin, blocks=3, heads=2)
    assert MOST_PARAMETERS[net_type] / 8 < parameters <= MOST_PARAMETERS[net_type]
    assert not missing_irreps(irreps, True, target_irreps(shells, spin == "soc"))


def test_too_many_parameters_make_narrower_features(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, parameters = fitting_irreps("normal", {"H": (0,)}, "none", blocks=1, heads=1)
    monkeypatch.setitem(sizing.MOST_PARAMETERS, "normal", parameters - 1)
    narrow, fewer = fitting_irreps("normal", {"H": (0,)}, "none", blocks=1, heads=1)
    assert (wide, narrow) == ("64x0e", "48x0e")
    assert fewer < parameters
    assert narrower("8x0e+3x1o+1x2e", 4) == "2x0e+1x1o+1x2e"
