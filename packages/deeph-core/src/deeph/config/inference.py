"""The inference file as frozen dataclasses: sections ``data``, ``model`` and ``process``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deeph.config import key as rules
from deeph.config.key import declared, key
from deeph.config.system import System
from deeph.config.training import Dft


@dataclass(frozen=True, kw_only=True)
class InferGraph:
    """Which matrices give the graph its pairs, and how graphs are kept."""

    dataset_name: str = key("DATASET-DEMO", "A name for the data; has no effect.", quiet=True)
    graph_type: str = key(
        "S",
        "Matrix whose pairs are predicted: S the overlap.",
        choices=("S",),
        refused={
            "Sap": 'the pattern of the overlap alone is not part of this version; use "S"',
            "H": 'a prediction takes its pairs from the overlap; use "S"',
            "HS": 'a prediction takes its pairs from the overlap; use "S"',
            "Rho": 'a prediction takes its pairs from the overlap; use "S"',
        },
    )
    storage_type: str = key(
        "memory",
        "Where graphs are kept.",
        choices=("memory",),
        refused={"disk": 'graphs on disk are not part of this version; use "memory"'},
        quiet=True,
    )
    parallel_num: int = key(
        -1,
        "Processes that build graphs; -1 leaves the number to the program.",
        rule=rules.Rule(
            "-1, 0 or 1: graphs are built by one process in this version", lambda n: n <= 1
        ),
        quiet=True,
    )
    only_save_graph: bool = key(
        False,
        "Build the graphs, save them, stop.",
        only=False,
        because="graphs are built in memory for every run and never saved in this version",
    )


@dataclass(frozen=True, kw_only=True)
class InferData:
    """The section ``data`` of an inference file."""

    inputs_dir: Path = field(
        metadata=declared(
            "Folder that holds dft/, with POSCAR, info.json and overlap.h5 per structure."
        )
    )
    outputs_dir: Path = field(
        metadata=declared(
            "Folder in which the predictions get a folder named by date and time.",
            must_exist=False,
        )
    )
    dft: Dft = field(default_factory=Dft)
    graph: InferGraph = field(default_factory=InferGraph)


@dataclass(frozen=True, kw_only=True)
class InferModel:
    """The section ``model`` of an inference file."""

    model_dir: Path = field(
        metadata=declared("The folder model/ of a training run, the run, or a model file.")
    )
    load_model_type: str = key("best", "Which of its models.", choices=("best", "latest"))
    load_model_epoch: int = key(
        -1,
        "Epoch of the recent model; -1: the newest.",
        rule=rules.MINUS_1_OR_MORE,
        applies=("model.load_model_type", ("latest",)),
    )


@dataclass(frozen=True, kw_only=True)
class InferLoader:
    """How structures are batched."""

    batch_size: int = key(
        1, "Structures predicted together; many small ones may go at once.", rule=rules.AT_LEAST_1
    )


@dataclass(frozen=True, kw_only=True)
class Infer:
    """The table ``process.infer``."""

    output_type: str = key(
        "h5",
        "File format of a prediction.",
        choices=("h5",),
        refused={"petsc": 'PETSc binaries are not written by this version; use "h5"'},
    )
    output_into: str = key(
        "to_output",
        "Write complete folders below outputs_dir (to_output) or one file beside the inputs "
        "(to_input).",
        choices=("to_output", "to_input"),
    )
    target_symmetrize: bool = key(
        True, "Make the prediction Hermitian, which those of this program are in any case."
    )
    multi_way_jit_num: int = key(
        1, "Number of padded shapes that are compiled.", rule=rules.AT_LEAST_1
    )
    dataloader: InferLoader = field(default_factory=InferLoader)


@dataclass(frozen=True, kw_only=True)
class InferProcess:
    """The section ``process`` of an inference file."""

    infer: Infer = field(default_factory=Infer)


@dataclass(frozen=True, kw_only=True)
class InferConfig:
    """Everything an inference file says, checked; see `deeph.config.load_infer`.

    Attributes
    ----------
    file, origins, warnings
        As in `deeph.config.training.TrainConfig`.
    """

    system: System = field(default_factory=System)
    data: InferData
    model: InferModel
    process: InferProcess = field(default_factory=InferProcess)
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
