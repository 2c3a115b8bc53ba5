"""A model as a whole: network, representation, baseline, and what it was trained on.

In and out: the parameters and the description of a model file (`models.model_file`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError

from deeph.models.model_file import read_model
from deeph.networks import NETWORKS, Network, NetworkSpecification
from deeph.representation import BlockRepresentation
from deeph.targets import TARGETS, Baseline, HamiltonianTarget


@dataclass(frozen=True, eq=False)
class Model:
    """All that turns parameters into Hamiltonians.

    Attributes
    ----------
    name : str
        Name of the network.
    network : Network
    target_type : str
        What it predicts, a key of `deeph.targets.TARGETS`.
    representation : BlockRepresentation
    baseline : Baseline
    with_overlap : bool
        Whether pairs of the overlap were edges in training.
    trained_on : str
        Hash of the structures it was trained on.
    """

    name: str
    network: Network
    target_type: str
    representation: BlockRepresentation
    baseline: Baseline
    with_overlap: bool
    trained_on: str

    @property
    def target(self) -> HamiltonianTarget:
        """How labels are read and predictions are made blocks."""
        return TARGETS[self.target_type](self.representation)

    def document(self, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the tree of arrays and the description that a model file holds."""
        rep = self.representation
        description = {
            "network": self.name,
            "specification": asdict(self.network.specification),
            "target_type": self.target_type,
            "unit": "eV",
            "representation": {
                "orbital_map": {symbol: list(shells) for symbol, shells in rep.orbital_map},
                "spin": rep.spin,
                "time_reversal": rep.time_reversal,
                "further_shells": list(rep.further_shells),
            },
            "graph_type": "HS" if self.with_overlap else "H",
            "trained_on": self.trained_on,
        }
        tree: dict[str, Any] = {"network": parameters, "baseline": {}}
        for name, array in self.baseline.arrays().items():
            place, _, leaf = name.rpartition("/")
            group = tree["baseline"].setdefault(place, {}) if place else tree["baseline"]
            group[leaf] = array
        return tree, description


def read_published(path: Path) -> tuple[Model, Any, dict[str, Any]]:
    """Return a model, the network's parameters and the whole description.

    Raises
    ------
    InputError
        If the file is no model of this program, or of a network it does not know.
    """
    tree, description = read_model(path)
    try:
        name, specification = description["network"], dict(description["specification"])
        for key in ("node_natural", "node_unnatural", "edge_natural", "edge_unnatural"):
            specification[key] = tuple(specification[key])
        representation = BlockRepresentation.of(**description["representation"])
        named = {
            f"{place}/{leaf}" if isinstance(value, dict) else place: array
            for place, value in tree["baseline"].items()
            for leaf, array in (value.items() if isinstance(value, dict) else [("", value)])
        }
        baseline = Baseline.of_arrays({key: np.asarray(array) for key, array in named.items()})
        network = NETWORKS[name](NetworkSpecification(**specification))
        target_type = description["target_type"]
        if target_type not in TARGETS:
            raise ValueError(f"unknown target {target_type}")
        with_overlap, trained_on = description["graph_type"] == "HS", description["trained_on"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is not a model that this version can use ({type(error).__name__}: {error})"
        ) from error
    model = Model(name, network, target_type, representation, baseline, with_overlap, trained_on)
    return model, tree["network"], description
