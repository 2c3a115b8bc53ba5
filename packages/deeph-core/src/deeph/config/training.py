"""The training file as frozen dataclasses: sections ``data`` and ``model``, and all of them.

Attribute names are the documented keys; each declaration says what its key means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deeph_spec.orbitals import shells_from_text

from deeph.config import key as rules
from deeph.config.irreps import parse_irreps
from deeph.config.key import declared, key
from deeph.config.process import TrainProcess
from deeph.config.system import System

_ENGINE = "the loss needs a DFT engine during training, which is not part of this program"
_OWL = 'this network is not described anywhere; use "normal" or "accurate"'
_BS3B = "the second orbital set is not part of this version"


@dataclass(frozen=True, kw_only=True)
class Dft:
    """How the folders of DFT results are found and checked."""

    data_dir_depth: int | None = key(
        None,
        "Folder levels between dft/ and the structures: 0 for dft/*, 2 for dft/a/b/*.",
        rule=rules.AT_LEAST_0,
        absent="found by searching",
        numeric=False,
        quiet=True,
    )
    validation_check: bool = key(
        True, "Whether every folder is checked against the format before it is used.", numeric=False
    )


@dataclass(frozen=True, kw_only=True)
class TrainGraph:
    """Which matrices enter the graphs, and how graphs are kept."""

    dataset_name: str = key(
        "DATASET-DEMO", "A name for the data; has no effect.", numeric=False, quiet=True
    )
    graph_type: str = key(
        "H",
        "Matrices whose pairs are edges: that of the target (H, Rho or S), or also the overlap "
        "(HS). Declared quantities and energies take their pairs from the overlap, whatever is "
        "written here.",
        choices=("H", "HS", "Rho", "S"),
        varies=("model.target_type", {"Rho": "Rho", "S": "S", "tensor": "S", "energy": "S"}),
        refused={
            "Sap": 'the pattern of the overlap alone is not part of this version; use "HS"',
        },
    )
    storage_type: str = key(
        "memory",
        "Where graphs are kept.",
        choices=("memory",),
        refused={"disk": 'graphs on disk are not part of this version; use "memory"'},
        numeric=False,
        quiet=True,
    )
    common_orbital_types: str = key(
        "",
        "Shells of the network's output, e.g. s3p2d1; must hold every element's shells. Empty: "
        "for every l the largest count any element has.",
        syntax=shells_from_text,
    )
    parallel_num: int = key(
        -1,
        "Processes that build graphs; -1 leaves the number to the program.",
        rule=rules.Rule(
            "-1, 0 or 1: graphs are built by one process in this version", lambda n: n <= 1
        ),
        numeric=False,
        quiet=True,
    )
    only_save_graph: bool = key(
        False,
        "Build the graphs, save them, stop.",
        only=False,
        because="graphs are built in memory for every run and never saved in this version",
    )


@dataclass(frozen=True, kw_only=True)
class ModelSave:
    """Which models a run keeps in its folder ``model``."""

    best: bool = key(True, "Keep the model of lowest loss.", numeric=False)
    latest: bool = key(True, "Keep recent models.", numeric=False)
    latest_interval: int = key(
        100,
        "Epochs from one recent model to the next.",
        rule=rules.AT_LEAST_1,
        applies=("data.model_save.latest", (True,)),
        numeric=False,
    )
    latest_num: int = key(
        10,
        "How many recent models stay.",
        rule=rules.AT_LEAST_1,
        applies=("data.model_save.latest", (True,)),
        numeric=False,
    )


@dataclass(frozen=True, kw_only=True)
class TrainData:
    """The section ``data`` of a training file."""

    inputs_dir: Path = field(metadata=declared("Folder that holds dft/.", numeric=False))
    outputs_dir: Path = field(
        metadata=declared(
            "Folder in which the run gets a folder named by date and time.",
            must_exist=False,
            numeric=False,
        )
    )
    dft: Dft = field(default_factory=Dft)
    graph: TrainGraph = field(default_factory=TrainGraph)
    model_save: ModelSave = field(default_factory=ModelSave)


@dataclass(frozen=True, kw_only=True)
class Advanced:
    """Size and symmetry of the network."""

    gaussian_basis_rmax: float = key(
        7.5,
        "Range of the distance basis in Å; twice the largest orbital cutoff is advised.",
        rule=rules.POSITIVE,
    )
    net_irreps: str | None = key(
        None,
        "Features in e3nn notation. l must reach twice the largest orbital l (one more with "
        "spin-orbit); natural parity (-1)^l, or all even without consider_parity.",
        syntax=parse_irreps,
        absent="proposed from the data",
    )
    num_blocks: int = key(
        3, "Message passing layers; 3 for solids, 4 for small molecules.", rule=rules.AT_LEAST_1
    )
    consider_parity: bool = key(
        True,
        "Whether the network is equivariant under inversion. Files of DeepH-pack for the accurate "
        "network have false and even irreps; this one knows parity too, and learns better with it.",
    )
    target_name: str = key(
        "",
        "Name of the quantity to learn, a dataset of targets.h5.",
        applies=("model.target_type", ("tensor",)),
        ours=True,
    )
    time_reversal: str = key(
        "auto",
        "Whether the matrices are those of non-magnetic systems, which halves what is learned "
        "with spin. auto: as the data are, magnetic ones are refused; true: what changes sign "
        "under time reversal is left out; false: it is learned, which is possible for collinear "
        "ferromagnets that all point the same way.",
        choices=("auto", "true", "false"),
        ours=True,
    )
    loss_scale_exponent: float = key(
        0.5,
        "Weight of errors in the loss: (typical size of the residual)^(exponent - 1). 1: all "
        "errors in eV alike (Eq. 7 of the paper); 0.5 learns weak, far and on-site blocks sooner.",
        rule=rules.Rule("from 0 to 1", lambda value: 0 <= value <= 1),
        ours=True,
    )
    loss_average: str = key(
        "block",
        "What the loss is the mean of: the elements of a block, then the blocks of a structure, "
        "then the structures (block, Eq. 7 of the paper), or all elements of a batch alike "
        "(element).",
        choices=("block", "element"),
        ours=True,
    )
    loss_space: str = key(
        "elements",
        "What errors are measured on: the elements of the blocks (elements) or their irreps, which "
        "does not depend on the orientation (irreps). The same for mse.",
        choices=("elements", "irreps"),
        ours=True,
    )
    huber_delta: float = key(
        0.01,
        "Error in eV above which huber grows linearly instead of quadratically.",
        rule=rules.POSITIVE,
        applies=("model.loss_type", ("huber",)),
        ours=True,
    )
    standardize_gauge: bool = key(
        False,
        "Learn modulo H -> H + mu S, which only moves the zero of energy; graph_type must be HS.",
    )
    num_heads: int = key(
        2,
        "Attention heads.",
        rule=rules.AT_LEAST_1,
        applies=("model.net_type", ("accurate",)),
    )
    enable_bs3b_layer: bool = key(
        False, "An extra layer fed by a second orbital set.", only=False, because=_BS3B
    )
    bs3b_orbital_types: str = key("", "The second orbital set.", only="", because=_BS3B)


@dataclass(frozen=True, kw_only=True)
class TrainModel:
    """The section ``model`` of a training file."""

    net_type: str = key(
        "normal",
        "The network: message passing with gates (normal), or with attention (accurate), which "
        "costs more and errs less.",
        choices=("normal", "accurate"),
        aliases={"sparrow": "normal", "eagle": "accurate"},
        refused={"owl": _OWL},
    )
    target_type: str = key(
        "H",
        "What is learned: Hamiltonian (H), density matrix (Rho), overlap (S), a quantity that "
        "targets.h5 declares (tensor), total energies (energy). The last three are additions of "
        "this program.",
        choices=("H", "Rho", "S", "tensor", "energy"),
    )
    loss_type: str = key(
        "mse",
        "What is made small: squared errors (mse), absolute ones (mae), absolute ones weighted by "
        "one over the typical size of what is learned between two elements and shells (wmae), or "
        "squared ones that grow linearly above huber_delta (huber).",
        choices=("mse", "mae", "wmae", "huber"),
        refused={
            "ai2dft": _ENGINE,
            "ai2dft_node": _ENGINE,
            "hopad": _ENGINE,
            "aims": _ENGINE,
        },
    )
    advanced: Advanced = field(default_factory=Advanced)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything a training file says, checked; see `deeph.config.load_train`.

    Attributes
    ----------
    file
        The TOML file, None when there was none.
    origins
        Dotted key -> where its value came from: "file", "command line" or "proposed". Keys that
        are not listed have their default.
    warnings
        One line for each oddity that was accepted.
    """

    system: System = field(default_factory=System)
    data: TrainData
    model: TrainModel = field(default_factory=TrainModel)
    process: TrainProcess = field(default_factory=TrainProcess)
    file: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
