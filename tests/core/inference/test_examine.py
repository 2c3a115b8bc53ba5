"""What a predictor refuses before it computes anything, and what it warns of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from deeph.graphs import build_graph
from deeph.inference.predictor import Predictor
from deeph.models.model import Model
from deeph.models.ranges import measure
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.testing import random_folder

SHELLS = {"H": (0,), "C": (0, 1)}


def folder(place: Path, **options: Any) -> StructureFolder:
    return StructureFolder(random_folder(place, **{"orbital_map": SHELLS, **options}), place.name)


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    """Return a predictor that has seen one structure, and never computes."""
    representation = BlockRepresentation.of(SHELLS, "none")
    seen = folder(tmp_path / "seen")
    graph = build_graph(seen.structure, seen.overlap().atom_pairs, representation).graph
    symbols = tuple(symbol for symbol, _ in representation.orbital_map)
    nothing: Any = None
    model = Model(
        "normal",
        nothing,
        HamiltonianTarget(representation),
        nothing,
        "",
        (),
        measure([graph], symbols),
    )
    return Predictor(model, {}, "")


def test_what_was_trained_on_is_fine(predictor: Predictor, tmp_path: Path) -> None:
    assert predictor.examine(folder(tmp_path / "again")) == []


def test_another_basis_spin_or_element_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="C has shells"):
        predictor.examine(folder(tmp_path / "basis", orbital_map={"H": (0,), "C": (0, 0, 1)}))
    with pytest.raises(InputError, match="spin"):
        predictor.examine(folder(tmp_path / "spin", spin="soc"))
    other = {"elements": ("H", "O"), "orbital_map": {"H": (0,), "O": (0, 1)}}
    with pytest.raises(InputError, match="O is unknown to the model, which knows H, C"):
        predictor.examine(folder(tmp_path / "element", **other))


def test_a_structure_in_another_unit_is_refused_and_a_strange_one_named(
    predictor: Predictor, tmp_path: Path
) -> None:
    found = folder(tmp_path / "small")
    s = found.structure
    for factor, refused in ((0.2, True), (1.4, False)):
        Structure(factor * s.lattice, factor * s.positions, s.numbers).write(found.path / "POSCAR")
        scaled = StructureFolder(found.path, "small")
        if refused:
            with pytest.raises(InputError, match=r"^small: atoms .* are units and positions right"):
                predictor.examine(scaled)
        else:
            (line,) = predictor.examine(scaled)
            assert line.startswith("small: atoms ")
            assert "in the training data" in line
