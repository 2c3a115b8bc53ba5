"""Everything a training needs before its first step, from settings and a dataset.

In: `TrainConfig`, `Dataset`, split. Out: `Training`: network, parameters, batches, programs, and
how its models are written.
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
from deeph_spec.orbitals import shells_from_text

from deeph.config import TrainConfig
from deeph.graphs import Shape
from deeph.models.model import Model, read_published
from deeph.models.model_file import find_model, publish_model
from deeph.networks import NETWORKS, Network, NetworkSpecification
from deeph.representation import BlockRepresentation
from deeph.targets import TARGETS, fit_baseline
from deeph.training.data import Batches, batches, representation_of, shapes_of
from deeph.training.losses import LOSSES, typical_size
from deeph.training.optimisers import optimiser
from deeph.training.runs import dataset_hash
from deeph.training.steps import Steps


@dataclass(frozen=True, eq=False)
class Training:
    """What a training works with.

    Attributes
    ----------
    model : Model
        Network, representation and baseline.
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
    config: TrainConfig,
    dataset: Dataset,
    split: Mapping[str, Sequence[str]],
    note: Callable[[str], None],
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
    dtype = np.float64 if config.system.float_type == "fp64" else np.float32
    if not split["train"]:
        raise InputError("no structures to train on: the list train of the split is empty")
    ids = [*split["train"], *split["validate"]]
    earlier = _earlier_model(config)
    common = config.data.graph.common_orbital_types
    representation = representation_of(dataset, shells_from_text(common) if common else (), ids)
    if earlier is not None:
        representation = _extended(earlier, representation)
    target = TARGETS[config.model.target_type](representation)
    with_overlap = config.data.graph.graph_type == "HS"
    examples = {id: target.example(dataset[id], with_overlap) for id in ids}
    train = [examples[id] for id in split["train"]]
    atoms, edges = (
        sum(getattr(e.source.graph, name) for e in train) for name in ("nodes", "edges")
    )
    note(
        f"{len(train)} structures to train, {len(split['validate'])} to validate: "
        f"{atoms} atoms, {edges} pairs to train on"
    )
    if earlier is None:
        baseline = fit_baseline(
            [e.source for e in train],
            [e.nodes for e in train],
            [e.edges for e in train],
            representation,
        )
        network, name = _network(config, representation, edges / max(atoms, 1))
    else:
        baseline, network, name = earlier[0].baseline, earlier[0].network, earlier[0].name
    folders = [dataset[id] for id in ids]
    model = Model(
        name,
        network,
        config.model.target_type,
        representation,
        baseline,
        with_overlap,
        dataset_hash(folders),
    )

    loader, process = config.process.train.dataloader, config.process.train
    shapes = shapes_of(list(examples.values()), loader.batch_size, process.multi_way_jit_num)
    batched = {
        name: batches(target, baseline, [examples[id] for id in split[name]], shapes,
                      loader.batch_size, dtype)
        for name in ("train", "validate")
    }  # fmt: skip
    parameters = earlier[1] if earlier else _first_parameters(config, network, batched["train"])
    parameters = jax.tree.map(lambda x: jax.numpy.asarray(x, dtype), parameters)
    note(_described(network, parameters, representation, shapes))
    typical = typical_size(batched["train"].labels)
    note(f"The baseline alone leaves {1e3 * typical:.3g} meV (root mean square) to be learned")
    steps = Steps(
        network,
        representation,
        optimiser(process.optimizer),
        LOSSES[config.model.loss_type],
        config.model.advanced.loss_scale_exponent,
        typical,
    )
    return Training(model, parameters, steps, batched["train"], batched["validate"])


def _network(
    config: TrainConfig, representation: BlockRepresentation, neighbours: float
) -> tuple[Network, str]:
    """Return a fresh network and its name."""
    advanced, name = config.model.advanced, config.model.net_type
    natural, unnatural = representation.channels.counts(representation.l_max)
    specification = NetworkSpecification(
        elements=len(representation.orbital_map),
        irreps=advanced.net_irreps or "",
        parity=advanced.consider_parity,
        blocks=advanced.num_blocks,
        r_max=advanced.gaussian_basis_rmax,
        neighbours=max(neighbours, 1.0),
        node_natural=natural,
        node_unnatural=unnatural,
        edge_natural=natural,
        edge_unnatural=unnatural,
        heads=advanced.num_heads,
    )
    return NETWORKS[name](specification), name


def _first_parameters(config: TrainConfig, network: Network, train: Batches) -> Any:
    """Return parameters from the seed; they do not depend on the size of the graph."""
    graph, _, _ = next(train.all())
    return jax.jit(network.init)(jax.random.key(config.system.random_seed), graph)


def _earlier_model(config: TrainConfig) -> tuple[Model, Any] | None:
    """Return the model of the run that is continued, and its parameters."""
    run = continued_from(config)
    if run is None:
        return None
    continued = config.process.train.continued
    return read_published(find_model(run, continued.load_model_type, continued.load_model_epoch))[
        :2
    ]


def _extended(
    earlier: tuple[Model, Any], representation: BlockRepresentation
) -> BlockRepresentation:
    """Return the representation of the earlier model if the new data fit into it."""
    known = dict(earlier[0].representation.orbital_map)
    for symbol, shells in representation.orbital_map:
        if known.get(symbol) != shells:
            raise InputError(
                f"process.train.continued: {symbol} has shells {list(shells)} in the new data, "
                f"but the earlier model knows {known.get(symbol, 'no such element')}"
            )
    if representation.spin != earlier[0].representation.spin:
        raise InputError(
            f"process.train.continued: the new data have spin {representation.spin}, the earlier "
            f"model {earlier[0].representation.spin}"
        )
    return earlier[0].representation


def _described(
    network: Network, parameters: Any, representation: BlockRepresentation, shapes: Sequence[Shape]
) -> str:
    count = sum(x.size for x in jax.tree.leaves(parameters))
    outputs = representation.channels.size
    padded = ", ".join(f"{s.nodes} atoms x {s.edges} pairs" for s in shapes)
    return (
        f"Network of {count:,} parameters, {outputs} numbers per block; padded to {padded} "
        "(the first step of each shape is slow: it is compiled)"
    )
