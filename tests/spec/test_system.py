"""info.json: required keys, kept keys, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from deeph_spec.errors import InputError
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from deeph_spec.system import KNOWN_KEYS, SystemInfo
from hypothesis import given
from hypothesis import strategies as st

PUBLISHED = {
    "atoms_quantity": 3,
    "orbits_quantity": 29,
    "orthogonal_basis": False,
    "spinful": False,
    "fermi_energy_eV": -4.25,
    "elements_orbital_map": {"S": [0, 0, 1, 1], "Mo": [0, 0, 1, 1, 2]},
}
MOS2 = Structure(10 * np.eye(3), np.diag([0.0, 2.0, 4.0]), [42, 16, 16])
SHELLS = {"S": (0, 0, 1, 1), "Mo": (0, 0, 1, 1, 2)}


def read(tmp_path, document):
    path = tmp_path / "info.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return SystemInfo.read(path)


def test_a_published_file_is_read_as_it_is(tmp_path):
    info = read(tmp_path, PUBLISHED)
    assert info.format_version is None
    assert info.spin is None
    assert info.occupation is None
    assert info.fermi_level == -4.25
    assert info.orbital_map == SHELLS
    assert info.spin_factor == 1
    assert info.orbital_counts(MOS2).tolist() == [13, 8, 8]
    info.write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == PUBLISHED


def test_unknown_keys_are_kept(tmp_path):
    more = {"basis": "def2-svp", "max_num_neighbors": 4, "mine": {"a": [1, None]}}
    info = read(tmp_path, PUBLISHED | more)
    assert info.extras == more
    replace(info, fermi_level=None).write(tmp_path / "again.json")
    again = json.loads((tmp_path / "again.json").read_text())
    assert again == PUBLISHED | more | {"fermi_energy_eV": None}


def test_our_file_has_the_order_of_the_format(tmp_path):
    info = SystemInfo.for_structure(
        MOS2, SHELLS, occupation=26, fermi_level=0.1, provenance={"code": "Å"}
    )
    info.write(tmp_path / "info.json")
    text = (tmp_path / "info.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == [
        "format_version",
        "atoms_quantity",
        "orbits_quantity",
        "orthogonal_basis",
        "spinful",
        "fermi_energy_eV",
        "elements_orbital_map",
        "occupation",
        "spin",
        "provenance",
    ]
    assert '\n "fermi_energy_eV": 0.1,' in text
    assert "Å" in text
    assert list(info.orbital_map) == ["S", "Mo"]
    assert info.orbits_quantity == 29


def test_for_structure_derives_spinful():
    assert SystemInfo.for_structure(MOS2, SHELLS).spin == "none"
    for spin, factor in (("none", 1), ("collinear", 2), ("soc", 2)):
        info = SystemInfo.for_structure(MOS2, SHELLS, spin=spin)
        assert (info.spinful, info.spin_factor) == (factor == 2, factor)
    undecided = SystemInfo.for_structure(MOS2, SHELLS, spinful=True)
    assert undecided.spin is None
    with pytest.raises(InputError, match="spinful"):
        SystemInfo.for_structure(MOS2, SHELLS, spin="soc", spinful=False)
    with pytest.raises(InputError, match="S"):
        SystemInfo.for_structure(MOS2, {"Mo": (0,)})


def without(key):
    return {name: value for name, value in PUBLISHED.items() if name != key}


@pytest.mark.parametrize(
    ("document", "rule", "key"),
    [
        ("{", "E07", ""),
        ("[]", "E07", ""),
        ("", "E07", ""),
        ('{"a": NaN}', "E07", ""),
        ('{"a": -Infinity}', "E07", ""),
        ('{"spin": "soc", "spin": "none"}', "E07", "spin"),
        ('{"elements_orbital_map": {"H": [0], "H": [1]}}', "E07", "H"),
        ("[" * 100_000, "E07", ""),
        *[(without(key), "E08", key) for key in PUBLISHED],
        (PUBLISHED | {"atoms_quantity": True}, "E08", "atoms_quantity"),
        (PUBLISHED | {"atoms_quantity": 3.0}, "E08", "atoms_quantity"),
        (PUBLISHED | {"orbits_quantity": 0}, "E08", "orbits_quantity"),
        (PUBLISHED | {"spinful": "true"}, "E08", "spinful"),
        (PUBLISHED | {"orthogonal_basis": 0}, "E08", "orthogonal_basis"),
        (PUBLISHED | {"fermi_energy_eV": "0.0"}, "E08", "fermi_energy_eV"),
        (json.dumps(PUBLISHED).replace("-4.25", "1e999"), "E08", "fermi_energy_eV"),
        (PUBLISHED | {"fermi_energy_eV": 10**400}, "E08", "fermi_energy_eV"),
        (PUBLISHED | {"elements_orbital_map": []}, "E08", "elements_orbital_map"),
        (PUBLISHED | {"provenance": "SIESTA"}, "E08", "provenance"),
        (PUBLISHED | {"elements_orbital_map": {"S": []}}, "E10", "elements_orbital_map.S"),
        (PUBLISHED | {"elements_orbital_map": {"S": [7]}}, "E10", "elements_orbital_map.S"),
        (PUBLISHED | {"elements_orbital_map": {"S": [True]}}, "E10", "elements_orbital_map.S"),
        (PUBLISHED | {"elements_orbital_map": {"S": "sp"}}, "E10", "elements_orbital_map.S"),
        (PUBLISHED | {"spin": "up"}, "E12", "spin"),
        (PUBLISHED | {"spin": "soc"}, "E12", "spin"),
        (PUBLISHED | {"spinful": True, "spin": "none"}, "E12", "spin"),
        (PUBLISHED | {"format_version": 1.0}, "E13", "format_version"),
        (PUBLISHED | {"format_version": "1"}, "E13", "format_version"),
        (PUBLISHED | {"format_version": "2.0"}, "E13", "format_version"),
        (PUBLISHED | {"occupation": 0}, "E14", "occupation"),
        (PUBLISHED | {"occupation": 59}, "E14", "occupation"),
        (PUBLISHED | {"occupation": 10**400}, "E14", "occupation"),
        (PUBLISHED | {"occupation": "26"}, "E14", "occupation"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path, document, rule, key):
    with pytest.raises(InputError) as caught:
        read(tmp_path, document)
    assert caught.value.rule == rule
    assert caught.value.key == key
    assert str(caught.value).startswith(f"{tmp_path / 'info.json'}: ")
    assert key in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


def test_later_minor_versions_are_read(tmp_path):
    assert read(tmp_path, PUBLISHED | {"format_version": "1.7"}).format_version == "1.7"


def test_missing_file_and_wrong_encoding(tmp_path):
    with pytest.raises(InputError, match="missing") as caught:
        SystemInfo.read(tmp_path / "info.json")
    assert caught.value.rule == "E02"
    (tmp_path / "info.json").write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match="UTF-8"):
        SystemInfo.read(tmp_path / "info.json")


def test_nan_is_never_written(tmp_path):
    info = SystemInfo.for_structure(MOS2, SHELLS, provenance={"x": float("nan")})
    with pytest.raises(InputError, match="not written"):
        info.write(tmp_path / "info.json")
    assert not (tmp_path / "info.json").exists()


text = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
free_keys = text.filter(lambda key: key not in KNOWN_KEYS)
maps = st.dictionaries(
    st.sampled_from(sorted(ATOMIC_NUMBERS)),
    st.lists(st.integers(0, 6), min_size=1, max_size=5).map(tuple),
    min_size=1,
    max_size=4,
)


@given(
    maps,
    st.sampled_from(["none", "collinear", "soc", None]),
    st.none() | st.floats(-1e3, 1e3),
    st.dictionaries(text, values, max_size=3),
    st.dictionaries(free_keys, values, max_size=3),
    st.integers(0, 10**6),
)
def test_round_trip(tmp_path_factory, shells, spin, level, provenance, extras, seed):
    rng = np.random.default_rng(seed)
    numbers = [ATOMIC_NUMBERS[symbol] for symbol in rng.choice(list(shells), 3)]
    info = SystemInfo.for_structure(
        Structure(9 * np.eye(3), np.diag([1.0, 2.0, 3.0]), numbers),
        shells,
        spin=spin,
        spinful=None if spin else True,
        fermi_level=level,
        occupation=float(rng.uniform(0.5, 6.0)),
        provenance=provenance,
        extras=extras,
    )
    path = tmp_path_factory.mktemp("info") / "info.json"
    info.write(path)
    assert SystemInfo.read(path) == info
