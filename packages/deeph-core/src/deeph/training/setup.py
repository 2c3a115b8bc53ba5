"""Everything a training needs before its first step, from settings and a dataset or examples.

In: `TrainConfig`, `Dataset` and split, or a target with its examples. Out: `Training`: network,
parameters, batches, programs, and how its models are written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError

from deeph.config import TrainConfig
from deeph.graphs import Shape
from deeph.models.model import Model, read_published
from deeph.models.model_file import find_model, publish_model
from deeph.models.ranges import measure
from deeph.networks import NETWORKS, Network, NetworkSpecification
from deeph.networks.memory import available_memory, parameter_count
from deeph.networks.specification import Drop
from deeph.representation import ChannelTable
from deeph.targets import TARGETS, Example, Target
from deeph.training.data import Batches, batches, differing_pairs, shapes_of, target_settings
from deeph.training.losses import Loss, kind_weights, typical_size
from deeph.training.optimisers import optimiser
from deeph.training.runs import dataset_hash
from deeph.training.sizing import check_memory
from deeph.training.steps import Steps

Note = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Training:
    """What a training works with.

    Attributes
    ----------
    model : Model
        Network, target and baseline.
    parameters : tree of arrays
        To start from.
    steps : Steps
        Compiled programs.
    train, validate : Batches
        `validate` may be empty.
    """

    model: Model
    parameters: Any
    steps: Steps
    train: Batches
    validate: Batches

    def publish(
        self, run: Path, kind: str, epoch: int, loss: float | None, parameters: Any, keep: int
    ) -> Path:
        """Write a model of the run; `kind` is best or latest."""
        history = {"epoch": epoch, "loss": loss, "program": f"deeph-core {version('deeph-core')}"}
        tree, description = self.model.document(jax.device_get(parameters))
        return publish_model(
            run / "model", kind, epoch, tree, {**description, **history}, keep=keep
        )


def continued_from(config: TrainConfig) -> Path | None:
    """Return the folder of the run that a training starts from, if any."""
    continued = config.process.train.continued
    if not continued.enable:
        return None
    if continued.previous_output_dir is None:
        raise InputError("process.train.continued.previous_output_dir: is needed with enable")
    return continued.previous_output_dir


def set_up(
    config: TrainConfig, dataset: Dataset, split: Mapping[str, Sequence[str]], note: Note
) -> Training:
    """Read structures, fit the baseline, make the network.

    Parameters
    ----------
    config : TrainConfig
        Resolved against the dataset.
    dataset : Dataset
    split : mapping
        Ids under ``train`` and ``validate``.
    note : function
        Is told what happens, one line each.

    Raises
    ------
    InputError
        If a structure cannot be used, or does not fit the model that is continued.
    """
    if not split["train"]:
        raise InputError("no structures to train on: the list train of the split is empty")
    ids = [*split["train"], *split["validate"]]
    kind = TARGETS[config.model.target_type]
    target = kind.of_data(dataset, ids, target_settings(config), note)
    earlier = _earlier_model(config)
    if earlier is not None:
        if earlier[0].target.kind != target.kind:
            raise InputError(
                f"process.train.continued: model.target_type is {target.kind}, the earlier model "
                f"has learned {earlier[0].target.kind}"
            )
        earlier[0].target.check_fits(target)
        target = earlier[0].target
    examples = {id: target.example(dataset[id]) for id in ids}
    train, validate = ([examples[id] for id in split[name]] for name in ("train", "validate"))
    folders = [dataset[id] for id in ids]
    trained_on = dataset_hash(folders, kind.label_files)
    training = set_up_examples(config, target, train, validate, note, trained_on, earlier)
    known = training.model.ranges
    for id in split["validate"]:
        pairs = examples[id].source.edge_pairs
        for line in [] if known is None else known.unusual(dataset[id].structure, pairs, id):
            note(f"Warning: {line}")
    return training


def set_up_examples(
    config: TrainConfig,
    target: Target,
    train: Sequence[Example],
    validate: Sequence[Example],
    note: Note = lambda line: None,
    trained_on: str = "",
    earlier: tuple[Model, Any] | None = None,
) -> Training:
    """Fit the baseline and make the network for examples in memory.

    Parameters
    ----------
    config : TrainConfig
        With ``model.advanced.net_irreps`` given.
    target : Target
        What has made the examples.
    train, validate : sequence of Example
    note : function
        Is told what happens, one line each.
    trained_on : str
        Hash of the data, for the model file.
    earlier : (Model, tree of arrays), optional
        What to start from.
    """
    dtype = np.float64 if config.system.float_type == "fp64" else np.float32
    atoms, edges = (
        sum(getattr(e.source.graph, name) for e in train) for name in ("nodes", "edges")
    )
    note(
        f"{len(train)} structures to train, {len(validate)} to validate: "
        f"{atoms} atoms, {edges} pairs to train on"
    )
    differing = differing_pairs(train, target.title)
    for line in differing:
        note(f"Warning: {line}")
    ranges = measure(
        [e.source.graph for e in train],
        tuple(symbol for symbol, _ in target.representation.orbital_map),
    )
    if earlier is None:
        baseline = target.fit(train)
        network, name = _network(config, target, edges / max(atoms, 1))
    else:
        baseline, network, name = earlier[0].baseline, earlier[0].network, earlier[0].name
    r_max = network.specification.r_max
    if ranges.farthest > r_max:
        note(
            f"Warning: pairs reach {ranges.farthest:.2f} Å, beyond the distance basis: raise "
            f"model.advanced.gaussian_basis_rmax = {r_max:g}"
        )
    model = Model(name, network, target, baseline, trained_on, tuple(differing), ranges)

    loader, process = config.process.train.dataloader, config.process.train
    shapes = shapes_of([*train, *validate], loader.batch_size, process.multi_way_jit_num)
    count = parameter_count(network)
    for line in check_memory(
        config, name, network.specification, count, shapes[-1], available_memory()
    ):
        note(line)
    first, second = (
        batches(target, baseline, part, shapes, loader.batch_size, dtype)
        for part in (train, validate)
    )
    parameters = earlier[1] if earlier else _first_parameters(config, network, first)
    parameters = jax.tree.map(lambda x: jax.numpy.asarray(x, dtype), parameters)
    note(_described(parameters, target, shapes))
    typical = typical_size(first.labels)
    unit, factor = target.shown
    note(
        f"The baseline alone leaves {factor * typical:.3g} {unit} (root mean square) to be learned"
    )
    errors = target.measure("elements")
    steps = Steps(
        network,
        target,
        optimiser(process.optimizer),
        errors,
        _loss(config, target, first),
        # The weights of wmae are its own.
        1.0 if config.model.loss_type == "wmae" else config.model.advanced.loss_scale_exponent,
        typical,
        process.optimizer.ema_decay,
        config.system.random_seed,
    )
    return Training(model, parameters, steps, first, second)


def _network(config: TrainConfig, target: Target, neighbours: float) -> tuple[Network, str]:
    """Return a fresh network and its name."""
    advanced, name = config.model.advanced, config.model.net_type
    nodes, edges = _counts(target.node_channels), _counts(target.edge_channels)
    specification = NetworkSpecification(
        elements=len(target.representation.orbital_map),
        irreps=advanced.net_irreps or "",
        parity=advanced.consider_parity,
        blocks=advanced.num_blocks,
        r_max=advanced.gaussian_basis_rmax,
        neighbours=max(neighbours, 1.0),
        node_natural=nodes[0],
        node_unnatural=nodes[1],
        edge_natural=edges[0],
        edge_unnatural=edges[1],
        heads=advanced.num_heads,
    )
    rates = config.process.train.drop
    drop = Drop(rates.dropout_rate, rates.stochastic_depth, rates.proj_rate)
    return NETWORKS[name](specification, drop, config.process.train.do_remat), name


def _counts(table: ChannelTable) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return how many natural and unnatural channels each J has; empty if there are none."""
    return table.counts(int(table.j.max(initial=-1)))


def _loss(config: TrainConfig, target: Target, train: Batches) -> Loss:
    """Return the loss that the settings ask for."""
    model, weights, advanced = config.model, None, config.model.advanced
    counted = target.measure(advanced.loss_space)
    if model.loss_type == "wmae":
        graphs = [example.source.graph for example in train.examples]
        elements = len(target.representation.orbital_map)
        weights = kind_weights(counted, graphs, train.labels, elements)
    return Loss(model.loss_type, counted, advanced.loss_average, advanced.huber_delta, weights)


def _first_parameters(config: TrainConfig, network: Network, train: Batches) -> Any:
    """Return parameters from the seed; they do not depend on the size of the graph."""
    graph, _, _ = next(train.all())
    # This generator is one operation for each parameter, where the usual one is hundreds.
    key = jax.random.key(config.system.random_seed, impl="unsafe_rbg")
    return jax.jit(network.init)(key, graph)


def _earlier_model(config: TrainConfig) -> tuple[Model, Any] | None:
    """Return the model of the run that is continued, and its parameters."""
    run = continued_from(config)
    if run is None:
        return None
    continued = config.process.train.continued
    return read_published(find_model(run, continued.load_model_type, continued.load_model_epoch))[
        :2
    ]


def _described(parameters: Any, target: Target, shapes: Sequence[Shape]) -> str:
    count = sum(x.size for x in jax.tree.leaves(parameters))
    nodes, edges = target.node_channels.size, target.edge_channels.size
    outputs = f"{max(nodes, edges)} numbers per " + (
        "block" if nodes and edges else "atom" if nodes else "pair"
    )
    padded = ", ".join(f"{s.nodes} atoms x {s.edges} pairs" for s in shapes)
    return (
        f"Network of {count:,} parameters, {outputs}; padded to {padded} "
        "(the first step of each shape is slow: it is compiled)"
    )
