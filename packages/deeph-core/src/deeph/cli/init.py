"""``deeph init``: writes a settings file adapted to a dataset or to a trained model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deeph_spec.dataset import Dataset

_LOOKED_AT = 20
"""Structures whose pairs are looked at for the largest distance."""


def init(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="DATASET|RUN", help="A dataset (for train.toml) or a run (for infer.toml)."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write.")
    ] = None,
    net: Annotated[
        str, typer.Option("--net", metavar="NAME", help="The network: normal or accurate.")
    ] = "normal",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a commented settings file to start from.

    Elements, shells, the network's features, the range of the distance basis and the sizes of the
    split are taken from the data. The features are wide enough for the orbitals, within 2 million
    parameters (normal) or 8 million (accurate).

    Example: deeph init data -o train.toml
    """
    from deeph_spec.errors import InputError
    from deeph_spec.files import write_text

    trained = place.is_dir() and (place / "model").is_dir()
    target = output or Path("infer.toml" if trained else "train.toml")
    if target.exists() and not overwrite:
        raise InputError(f"{target}: exists already; give --overwrite, or another name with -o")
    if not target.parent.is_dir():
        raise InputError(f"{target}: the folder {target.parent} does not exist")
    if trained:
        text, lines = _inference(place, target)
    else:
        text, lines = _training(place, target, net)
    write_text(target, text)
    for line in lines:
        print(line)
    print(f"Wrote {target}. Next: deeph {'infer' if trained else 'train'} {target}")


def _relative(path: Path, target: Path) -> str:
    """Write a path as seen from the settings file's folder."""
    return Path(os.path.relpath(path.resolve(), target.resolve().parent)).as_posix()


def _training(place: Path, target: Path, net: str) -> tuple[str, list[str]]:
    """Write a training file for a dataset, and say what was found in it."""
    from deeph_spec.errors import InputError
    from deeph_spec.orbitals import shells_to_text

    from deeph.cli.data import open_dataset
    from deeph.config.describe import template
    from deeph.config.irreps import irreps_text, target_irreps
    from deeph.config.key import defaults
    from deeph.config.parsing import value_of
    from deeph.config.training import TrainConfig

    try:
        net = value_of(TrainConfig, "model.net_type", net)
    except InputError as error:
        raise InputError(f"--net {net}: {error}") from None
    dataset = open_dataset(place, None)
    shells, spin = dataset.orbital_map, dataset.spin or "none"
    labelled = sum(folder.has("hamiltonian") for folder in dataset)
    if not labelled:
        raise InputError(f"{dataset.path}: no structure has a hamiltonian.h5 to learn from")
    farthest = _largest_distance(dataset)
    held_out = max(1, round(labelled / 10)) if labelled >= 4 else 0
    atoms = [folder.info.atoms_quantity for folder in dataset]
    span = f"{min(atoms)}" if min(atoms) == max(atoms) else f"{min(atoms)} to {max(atoms)}"
    orbitals = ", ".join(f"{symbol} {shells_to_text(shells[symbol])}" for symbol in shells)
    usual = defaults(TrainConfig, {"model.net_type": net})

    from deeph.training.sizing import fitting_irreps

    irreps, parameters = fitting_irreps(
        net,
        shells,
        spin,
        usual["model.advanced.num_blocks"],
        usual["model.advanced.num_heads"],
    )
    facts = [
        f"Dataset: {len(dataset)} structure{'s' if len(dataset) > 1 else ''} of {span} atoms, "
        f"{labelled} with a Hamiltonian",
        f"Elements and shells: {orbitals}; spin: {spin}",
        f"Pairs of atoms reach {farthest:.2f} Å",
        f"Proposed features: {irreps}: {parameters:,} parameters ({net})",
    ]
    chosen = (
        "model.net_type",
        "model.loss_type",
        "model.advanced.num_blocks",
        "model.advanced.loss_scale_exponent",
        "process.train.max_epoch",
        "process.train.max_minutes",
        "process.train.dataloader.batch_size",
        "process.train.optimizer.type",
        "process.train.optimizer.init_learning_rate",
        "process.train.scheduler.type",
        "process.train.scheduler.patience",
        "process.train.scheduler.factor",
        "process.train.scheduler.min_learning_rate_scale",
    )
    values = {name: usual[name] for name in chosen} | {
        "system.device": None,
        "data.inputs_dir": _relative(dataset.path, target),
        "data.outputs_dir": "runs",
        "data.graph.graph_type": usual["data.graph.graph_type"],
        "model.advanced.net_irreps": irreps,
        "model.advanced.gaussian_basis_rmax": _round_up(farthest),
        "process.train.dataloader.train_size": labelled - 2 * held_out,
        "process.train.dataloader.validate_size": held_out,
        "process.train.dataloader.test_size": held_out,
    }
    if net == "accurate":
        values["model.advanced.num_heads"] = usual["model.advanced.num_heads"]
    needed = irreps_text(target_irreps(shells, spin == "soc"))
    comments = {
        "model.advanced.net_irreps": (
            f"Features in e3nn notation: {parameters:,} parameters. The least that these orbitals "
            f"need is {needed}; features that are all of parity (-1)^l are completed."
        ),
        "model.advanced.gaussian_basis_rmax": (
            f"Range of the distance basis in Å; the pairs of the data reach {farthest:.2f} Å."
        ),
    }
    head = "\n".join(
        [
            "Settings for deeph train, written by deeph init.",
            *facts,
            "All keys: docs/reference/configuration.md. Check the file with: deeph check FILE",
        ]
    )
    return template(TrainConfig, values, comments, head), facts


def _inference(run: Path, target: Path) -> tuple[str, list[str]]:
    """Write an inference file for a trained model."""
    from deeph.config.describe import template
    from deeph.config.inference import InferConfig
    from deeph.models.model_file import find_model

    model = find_model(run)
    values: dict[str, Any] = {
        "system.device": None,
        "data.inputs_dir": "inputs",
        "data.outputs_dir": "predictions",
        "model.model_dir": _relative(run / "model", target),
        "model.load_model_type": model.parent.name,
        "process.infer.output_into": "to_output",
        "process.infer.dataloader.batch_size": 1,
    }
    head = (
        "Settings for deeph infer, written by deeph init.\n"
        "Put the structures to predict (POSCAR, info.json, overlap.h5) into inputs/dft/<name>/,\n"
        "or set inputs_dir to where they are."
    )
    return template(InferConfig, values, {}, head), [f"Model: {model}"]


def _largest_distance(dataset: Dataset) -> float:
    """Return the largest distance in Å between two atoms of a stored pair."""
    import numpy as np
    from deeph_spec.matrix_files import read_pairs

    largest = 0.0
    step = max(1, len(dataset) // _LOOKED_AT)
    for folder in dataset.folders[::step]:
        if not folder.has("hamiltonian"):
            continue
        pairs = read_pairs(folder.file("hamiltonian"))
        vectors = folder.structure.pair_vectors(pairs)
        largest = max(largest, float(np.linalg.norm(vectors, axis=1).max()))
    return largest


def _round_up(distance: float) -> float:
    """Round up to half an Å, and keep a basis for a single atom."""
    import math

    return max(1.0, math.ceil(2 * distance) / 2)
