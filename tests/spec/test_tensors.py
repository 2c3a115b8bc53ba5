"""Quantities declared by irreps: the file, the order of components, Cartesian tensors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph_spec.errors import InputError
from deeph_spec.irreps import (
    channels_of,
    dimension,
    from_matrices,
    from_vectors,
    rotation_of,
    to_matrices,
    to_vectors,
)
from deeph_spec.orbitals import real_harmonics
from deeph_spec.tensors import Tensor, read_tensors, tensor_names, write_tensors
from deeph_spec.testing import random_folder
from deeph_spec.validation import validate_folder
from hypothesis import given
from hypothesis import strategies as st

RNG = np.random.default_rng(0)
PAIRS = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]])


def rotations() -> list[np.ndarray]:
    proper = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    proper *= np.linalg.det(proper)
    return [proper, -proper, np.diag([1.0, 1.0, -1.0])]


def test_irreps_are_read_channel_by_channel() -> None:
    assert channels_of("2x0e + 1o+1x2e") == ((0, 1), (0, 1), (1, -1), (2, 1))
    assert dimension("2x0e+1x1o+1x2e") == 10
    for text in ("", "0e+", "1x1", "0x1e", "1x14e", "-1x0e"):
        with pytest.raises(InputError, match="is not like"):
            channels_of(text)


def test_vectors_are_in_the_order_of_harmonics() -> None:
    vector = np.array([0.3, -1.2, 2.0])
    harmonics = real_harmonics(1, vector)[..., :]
    np.testing.assert_allclose(from_vectors(vector) * harmonics[0] / vector[1], harmonics)
    np.testing.assert_array_equal(to_vectors(from_vectors(vector)), vector)


def test_a_traceless_symmetric_tensor_is_the_harmonics_of_its_axis() -> None:
    axis = np.array([0.4, -0.7, 0.2])
    values = from_matrices(np.outer(axis, axis))
    np.testing.assert_allclose(values[1:4], 0, atol=1e-15)
    harmonics = real_harmonics(2, axis)
    np.testing.assert_allclose(values[4:] / values[4], harmonics / harmonics[0])
    assert values[4] / harmonics[0] > 0


@pytest.mark.parametrize("rotation", rotations())
def test_cartesian_tensors_turn_as_their_irreps(rotation: np.ndarray) -> None:
    tensor = RNG.normal(size=(5, 3, 3))
    turned = rotation @ tensor @ rotation.T
    matrix = rotation_of("1x0e+1x1e+1x2e", rotation)
    np.testing.assert_allclose(from_matrices(turned), from_matrices(tensor) @ matrix.T, atol=1e-13)
    np.testing.assert_allclose(to_matrices(from_matrices(tensor)), tensor, atol=1e-14)
    np.testing.assert_allclose(
        np.sum(from_matrices(tensor) ** 2, axis=1), np.sum(tensor**2, axis=(1, 2))
    )
    vectors = RNG.normal(size=(4, 3))
    polar, axial = rotation_of("1x1o", rotation), rotation_of("1x1e", rotation)
    np.testing.assert_allclose(
        from_vectors(vectors @ rotation.T), from_vectors(vectors) @ polar.T, atol=1e-14
    )
    crossed = np.cross(vectors[:2], vectors[2:])
    turned_cross = np.cross(vectors[:2] @ rotation.T, vectors[2:] @ rotation.T)
    np.testing.assert_allclose(
        from_vectors(turned_cross), from_vectors(crossed) @ axial.T, atol=1e-13
    )


def tensors() -> list[Tensor]:
    return [
        Tensor("charges", "1x0e", "atom", RNG.normal(size=(2, 1)), "e"),
        Tensor("hopping", "1x0e+1x1o", "pair", RNG.normal(size=(4, 4)), "eV", PAIRS),
        Tensor("energy", "1x0e", "structure", RNG.normal(size=1), "eV"),
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "targets.h5"
    write_tensors(path, tensors(), attributes={"model": "sha256:0"})
    again = read_tensors(path)
    assert tensor_names(path) == tuple(again)
    assert list(again) == ["charges", "energy", "hopping"]
    for tensor in tensors():
        found = again[tensor.name].checked(2)
        assert (found.irreps, found.per, found.unit) == (tensor.irreps, tensor.per, tensor.unit)
        assert found.values.shape == tensor.values.shape
    np.testing.assert_array_equal(again["hopping"].atom_pairs, PAIRS)
    assert again["charges"].atom_pairs is None
    with h5py.File(path) as file:
        assert file.attrs["model"] == "sha256:0"
        assert file["charges"].attrs["irreps"] == "1x0e"
    with pytest.raises(InputError, match="moments: missing; the file has charges, energy, hopping"):
        read_tensors(path, ["moments"])


@given(st.integers(1, 4), st.sampled_from(["<f4", ">f8", "<i4"]))
def test_files_of_other_writers_are_read(
    tmp_path_factory: pytest.TempPathFactory, atoms: int, dtype: str
) -> None:
    path = tmp_path_factory.mktemp("t") / "targets.h5"
    values = np.arange(4 * atoms).reshape(atoms, 4)
    with h5py.File(path, "w") as file:
        file["q"] = values.astype(dtype)
        file["q"].attrs["irreps"] = np.bytes_(b"1x0e+1x1o")
        file["total"] = np.ones(1)
        file["total"].attrs["irreps"] = "1x0e"
    found = read_tensors(path)
    np.testing.assert_array_equal(found["q"].checked(atoms).values, values)
    assert (found["q"].per, found["total"].per, found["q"].unit) == ("atom", "structure", "1")


BROKEN = [
    ({"irreps": "1x1o"}, "shape"),
    ({"per": "bond"}, "per = 'bond'"),
    ({"per": "pair"}, "no dataset atom_pairs"),
    ({"values": np.zeros((3, 4))}, "shape"),
    ({"values": np.full((2, 4), np.nan)}, "NaN"),
    ({"per": "structure"}, "shape"),
]
WRONG_PAIRS = [
    (PAIRS[:3], "partner"),
    (np.array([[0, 0, 0, 0, 2], [0, 0, 0, 2, 0]]), "not there"),
    (np.array([[0, 0, 0, 0, 0]]), "itself"),
    (PAIRS[[0, 1, 0, 1]], "twice"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN)
def test_contradictions_are_named(change: dict[str, object], said: str) -> None:
    good = Tensor("q", "1x0e+1x1o", "atom", np.zeros((2, 4)))
    assert good.checked(2) is good
    with pytest.raises(InputError, match=said) as error:
        replace(good, **change).checked(2)  # type: ignore[arg-type]
    assert (error.value.rule, error.value.key) == ("E40", "q")


@pytest.mark.parametrize(("pairs", "said"), WRONG_PAIRS)
def test_lists_of_pairs_are_checked(pairs: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Tensor("q", "1x0e", "pair", np.zeros((len(pairs), 1)), "1", pairs).checked(2)


def test_the_validator_reports_what_is_wrong(tmp_path: Path) -> None:
    folder = random_folder(tmp_path / "a", atoms=2)
    write_tensors(folder / "targets.h5", tensors())
    assert not [f for f in validate_folder(folder) if f.severity == "error"]
    write_tensors(folder / "targets.h5", [Tensor("q", "1x0e", "atom", np.zeros((3, 1)))])
    (finding,) = [f for f in validate_folder(folder) if f.severity == "error"]
    assert str(finding).startswith(f"error E40 {folder}/targets.h5: q: shape (3, 1), 1x0e needs")
    (folder / "targets.h5").write_text("no")
    (finding,) = [f for f in validate_folder(folder) if f.severity == "error"]
    assert finding.rule == "E15"
