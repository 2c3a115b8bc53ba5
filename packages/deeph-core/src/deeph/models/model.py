"""A model as a whole: network, target, baseline, and what it was trained on.

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
from deeph.models.ranges import Ranges
from deeph.networks import NETWORKS, Network, NetworkSpecification
from deeph.representation import Representation
from deeph.targets import TARGETS, Target


@dataclass(frozen=True, eq=False)
class Model:
    """All that turns parameters into predictions.

    Attributes
    ----------
    name : str
        Name of the network.
    network : Network
    target : Target
        What it predicts.
    baseline : object
        Means and scales that `target` has fitted.
    trained_on : str
        Hash of the structures it was trained on.
    notes : tuple of str
        What whoever predicts with it should know, one line each.
    ranges : Ranges or None
        Distances and numbers of neighbours in training.
    """

    name: str
    network: Network
    target: Target
    baseline: Any
    trained_on: str
    notes: tuple[str, ...] = ()
    ranges: Ranges | None = None

    @property
    def representation(self) -> Representation:
        """Elements and irreps of what it predicts."""
        return self.target.representation

    def document(self, parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the tree of arrays and the description that a model file holds."""
        description = {
            "network": self.name,
            "specification": asdict(self.network.specification),
            "target_type": self.target.kind,
            "target": self.target.description,
            "trained_on": self.trained_on,
            "notes": list(self.notes),
            "ranges": None if self.ranges is None else self.ranges.document(),
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
        If the file is no model of this program, or of a network or target it does not know.
    """
    tree, description = read_model(path)
    try:
        name, specification = description["network"], dict(description["specification"])
        for key in ("node_natural", "node_unnatural", "edge_natural", "edge_unnatural"):
            specification[key] = tuple(specification[key])
        network = NETWORKS[name](NetworkSpecification(**specification))
        target = TARGETS[description["target_type"]].of_description(description["target"])
        named = {
            f"{place}/{leaf}" if isinstance(value, dict) else place: array
            for place, value in tree["baseline"].items()
            for leaf, array in (value.items() if isinstance(value, dict) else [("", value)])
        }
        baseline = target.baseline({key: np.asarray(array) for key, array in named.items()})
        ranges, notes = description["ranges"], tuple(description["notes"])
        known = None if ranges is None else Ranges.of_document(ranges)
        model = Model(name, network, target, baseline, description["trained_on"], notes, known)
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise InputError(
            f"{path}: is not a model that this version can use ({type(error).__name__}: {error})"
        ) from error
    return model, tree["network"], description
