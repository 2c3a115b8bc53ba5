"""Conditions between keys of one file; single keys are checked by their declarations."""

from __future__ import annotations

from collections.abc import Iterator

from deeph.config.inference import InferConfig
from deeph.config.irreps import parse_irreps
from deeph.config.training import TrainConfig

_SLOW = 5e-3
"""Learning rates below this are meant for adamw, the default of files of DeepH-pack."""


def broken_rules(config: TrainConfig | InferConfig) -> Iterator[str]:
    """Yield one line ``key: what is wrong, what to do`` for every broken rule."""
    if isinstance(config, TrainConfig):
        yield from _parity(config)
        yield from _target(config)
        yield from _gauge(config)
        yield from _sizes(config)
        yield from _continued(config)


def oddities(config: TrainConfig | InferConfig) -> Iterator[str]:
    """Yield one line ``key: what is odd, what to do`` for settings that are hardly meant so."""
    if not isinstance(config, TrainConfig):
        return
    optimizer, table = config.process.train.optimizer, "process.train.optimizer"
    rate, kind = f"{table}.init_learning_rate", f"{table}.type"
    left_out = rate in config.origins and kind not in config.origins
    if left_out and optimizer.type == "muon" and optimizer.init_learning_rate < _SLOW:
        yield (
            f"{rate}: {optimizer.init_learning_rate:g} is given without {kind}, which is muon by "
            "default and learns best at rates near 0.02; leave the rate out, or set "
            'type = "adamw"'
        )


def _parity(config: TrainConfig) -> Iterator[str]:
    """Refuse odd irreps in a network that does not know parity."""
    irreps = config.model.advanced.net_irreps
    if irreps is None:
        return
    odd = [f"{n}x{degree}o" for n, degree, parity in parse_irreps(irreps) if parity < 0]
    if odd and not config.model.advanced.consider_parity:
        yield (
            f"model.advanced.net_irreps: {'+'.join(odd)} is odd under inversion while "
            "model.advanced.consider_parity is false; write every irrep as even (e)"
        )


_GRAPHS = {"H": ("H", "HS"), "Rho": ("Rho", "HS"), "S": ("S",)}
"""Values of graph_type that a matrix can be learned with."""


def _target(config: TrainConfig) -> Iterator[str]:
    """Require that the graph holds what is learned, and that a declared quantity is named."""
    target, graph = config.model.target_type, config.data.graph.graph_type
    fitting = _GRAPHS.get(target, (graph,))
    if graph not in fitting:
        names = " or ".join(f'"{name}"' for name in fitting)
        yield (
            f'data.graph.graph_type: found "{graph}", but model.target_type is "{target}"; '
            f"use {names}"
        )
    if target == "tensor" and not config.model.advanced.target_name:
        yield (
            "model.advanced.target_name: must name a dataset of targets.h5, because "
            'model.target_type is "tensor"'
        )


def _gauge(config: TrainConfig) -> Iterator[str]:
    """Require the overlaps where the Hamiltonian is learned modulo mu S."""
    graph_type = config.data.graph.graph_type
    if not config.model.advanced.standardize_gauge:
        return
    if config.model.target_type != "H":
        yield (
            "model.advanced.standardize_gauge: only a Hamiltonian is fixed up to mu S, but "
            f"model.target_type is {config.model.target_type}; set standardize_gauge = false"
        )
    elif graph_type != "HS":
        yield (
            f"model.advanced.standardize_gauge: needs the overlaps, but data.graph.graph_type is "
            f'"{graph_type}"; set graph_type = "HS"'
        )


def _sizes(config: TrainConfig) -> Iterator[str]:
    """Refuse sizes that leave nothing to train on."""
    loader = config.process.train.dataloader
    if loader.train_size == 0 and loader.dataset_split_json is None:
        yield "process.train.dataloader.train_size: found 0, expected at least one structure"
    sizes = (loader.train_size or 0, loader.validate_size, loader.test_size)
    fractions = sum(size for size in sizes if isinstance(size, float))
    if fractions > 1 + 1e-9:
        yield f"process.train.dataloader: the fractions add up to {fractions:g}, more than 1"


def _continued(config: TrainConfig) -> Iterator[str]:
    """Require that a run to be continued is named and holds models."""
    continued = config.process.train.continued
    if not continued.enable:
        return
    name = "process.train.continued.previous_output_dir"
    if continued.previous_output_dir is None:
        yield f"{name}: must name the earlier run's folder because continued.enable is true"
    elif not (continued.previous_output_dir / "model").is_dir():
        yield (
            f"{name}: {continued.previous_output_dir} holds no folder model/; "
            "expected the folder of an earlier run"
        )
