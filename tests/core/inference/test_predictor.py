"""What a predictor refuses before it computes anything."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from deeph.inference.predictor import Predictor
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError
from deeph_spec.testing import random_dataset


def predictor(dataset: Dataset, spin: str) -> Predictor:
    """Return a predictor that knows the elements of a dataset, without a network."""
    target = HamiltonianTarget(BlockRepresentation.of(dataset.orbital_map, spin))
    return Predictor(cast(Any, SimpleNamespace(target=target)), {}, "")


@pytest.mark.parametrize(
    ("trained_on", "asked_for", "said"), [("none", "soc", "true"), ("soc", "none", "false")]
)
def test_structures_of_another_spin_are_refused(
    tmp_path: Path, trained_on: str, asked_for: str, said: str
) -> None:
    dataset = Dataset.open(random_dataset(tmp_path / "data", 1, spin=asked_for))
    expected = rf"info\.json: spinful: {said}, but the model was .* spin '{trained_on}'"
    with pytest.raises(InputError, match=expected):
        list(predictor(dataset, trained_on).predict(dataset))
