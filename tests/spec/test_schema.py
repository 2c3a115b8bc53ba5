"""The JSON Schema of info.json says what the reader does."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from deeph_spec.structure import Structure
from deeph_spec.system import FORMAT_VERSION, KNOWN_KEYS, SystemInfo, problems
from deeph_spec.testing import random_structure
from hypothesis import given
from hypothesis import strategies as st

SPEC = Path(__file__).parents[2] / "spec"
SCHEMA = json.loads((SPEC / "schema" / "info.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PUBLISHED = {
    "atoms_quantity": 3,
    "orbits_quantity": 29,
    "orthogonal_basis": False,
    "spinful": False,
    "fermi_energy_eV": -4.25,
    "elements_orbital_map": {"S": [0, 0, 1, 1], "Mo": [0, 0, 1, 1, 2]},
}


def test_the_schema_is_one_and_names_its_version():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == f"urn:deeph-spec:info:{FORMAT_VERSION}"
    assert set(SCHEMA["properties"]) == set(KNOWN_KEYS)


@pytest.mark.parametrize("path", sorted((SPEC / "golden").rglob("info.json")))
def test_golden_files(path):
    VALIDATOR.validate(json.loads(path.read_text()))


@pytest.mark.parametrize("spin", ["none", "collinear", "soc", None])
def test_written_files(tmp_path, spin):
    structure: Structure = random_structure(("H", "C"), 3)
    info = SystemInfo.for_structure(
        structure,
        {"H": (0,), "C": (0, 1)},
        spin=spin,
        spinful=None if spin else True,
        occupation=6,
        provenance={"code": "x", "inputs": {"a": "sha256:0"}, "steps": ["one"], "kmesh": [1, 1, 1]},
        extras={"mine": 1},
    )
    info.write(tmp_path / "info.json")
    VALIDATOR.validate(json.loads((tmp_path / "info.json").read_text()))


odd = st.sampled_from(
    [..., None, True, False, 0, -1, 1, 2.5, "", "x", "1.0", "1.12", "2.0", "01.0", "none", "soc",
     "collinear", [], {}, [0], {"H": [0]}, {"H": []}, {"H": [7]}, {"H": [True]}, {"H": 0}]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(KNOWN_KEYS), odd, max_size=3))
def test_schema_and_reader_agree(changes):
    """On any document; electrons against orbitals is the one rule that a schema cannot say."""
    document = {key: value for key, value in (PUBLISHED | changes).items() if value is not ...}
    electrons, orbitals = document.get("occupation"), document.get("orbits_quantity")
    if electrons == 2.5 and orbitals == 1:
        return
    accepted = VALIDATOR.is_valid(document)
    found = problems(document)
    assert accepted == (not found), (document, found)


def test_a_force_field_folder_needs_less():
    VALIDATOR.validate({"atoms_quantity": 3, "elements_force_rcut_map": {"H": 5.0}})
    assert not VALIDATOR.is_valid({"atoms_quantity": 3})
    assert not VALIDATOR.is_valid({"atoms_quantity": 3, "elements_force_rcut_map": {}, "spin": "x"})
