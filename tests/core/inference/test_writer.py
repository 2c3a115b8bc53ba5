"""Predicted folders: complete, linked to their inputs, and honest about where they come from."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from deeph.inference.writer import write_beside_input, write_folder
from deeph.representation import BlockRepresentation
from deeph.targets import HamiltonianTarget, Target
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.system import SystemInfo
from deeph_spec.testing import random_folder
from deeph_spec.validation import validate_folder

TARGET = HamiltonianTarget(BlockRepresentation.of({"H": (0,)}, "none"))


@dataclass
class Model:
    identity: str = "0123abcd"
    network: str = "normal"
    trained_on: str = "ffee"
    target: Target = TARGET


@pytest.fixture(params=["none", "soc"])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> StructureFolder:
    path = random_folder(tmp_path / "in/dft/a", spin=request.param)
    return StructureFolder(path, "a")


def test_a_folder_is_complete_and_valid(tmp_path: Path, folder: StructureFolder) -> None:
    prediction = folder.hamiltonian()
    target = write_folder(tmp_path / "out/run/dft/x/a", folder, prediction, Model())
    assert sorted(path.name for path in target.iterdir()) == [
        "POSCAR",
        "hamiltonian_pred.h5",
        "info.json",
        "overlap.h5",
    ]
    written = Dataset.open(tmp_path / "out/run")["x/a"]
    assert [f for f in validate_folder(written.path) if f.severity == "error"] == []
    assert np.array_equal(written.structure.positions, folder.structure.positions)
    again = written.matrix("hamiltonian_pred")
    assert again.dtype == (np.complex64 if prediction.dtype.kind == "c" else np.float32)
    assert np.array_equal(again.atom_pairs, prediction.atom_pairs)
    np.testing.assert_allclose(again.entries, prediction.entries, rtol=1e-6, atol=1e-8)
    assert not written.has("hamiltonian")


def test_the_description_is_that_of_a_prediction(tmp_path: Path, folder: StructureFolder) -> None:
    from dataclasses import replace

    before = replace(
        folder.info,
        provenance={"code": "SIESTA", "scf_converged": True, "steps": ["standardize"]},
        extras={"basis": "DZP"},
    )
    before.write(folder.path / "info.json")
    folder = StructureFolder(folder.path, folder.id)
    target = write_folder(tmp_path / "out", folder, folder.hamiltonian(), Model())
    info = SystemInfo.read(target / "info.json")
    assert info.fermi_level is None
    assert before.fermi_level is not None
    assert (info.occupation, info.spin, info.orbital_map, info.extras) == (
        before.occupation,
        before.spin,
        before.orbital_map,
        {"basis": "DZP"},
    )
    assert info.provenance["model"] == "sha256:0123abcd"
    assert info.provenance["network"] == "normal"
    assert info.provenance["trained_on"] == "ffee"
    assert info.provenance["code"] == "SIESTA"
    assert "scf_converged" not in info.provenance
    assert "steps" not in info.provenance


def test_the_overlap_is_a_relative_link_that_survives_a_move(
    tmp_path: Path, folder: StructureFolder
) -> None:
    target = write_folder(tmp_path / "out/deep/a", folder, folder.hamiltonian(), Model())
    link = target / "overlap.h5"
    assert link.is_symlink()
    assert not os.path.isabs(os.readlink(link))
    assert link.resolve() == (folder.path / "overlap.h5").resolve()
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.move(tmp_path, moved)
    assert len(BlockMatrix.read(moved / "out/deep/a/overlap.h5")) > 0


def test_the_link_is_right_below_a_linked_folder(tmp_path: Path, folder: StructureFolder) -> None:
    (tmp_path / "far/away").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "far/away")
    target = write_folder(tmp_path / "out/a", folder, folder.hamiltonian(), Model())
    assert (target / "overlap.h5").resolve() == (folder.path / "overlap.h5").resolve()


def test_without_links_the_overlap_is_copied(
    tmp_path: Path, folder: StructureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, link: Path) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "symlink", refuse)
    target = write_folder(tmp_path / "out", folder, folder.hamiltonian(), Model())
    copy = target / "overlap.h5"
    assert not copy.is_symlink()
    assert copy.read_bytes() == (folder.path / "overlap.h5").read_bytes()


def test_what_is_there_is_not_overwritten_and_nothing_half_stays(
    tmp_path: Path, folder: StructureFolder
) -> None:
    write_folder(tmp_path / "out/a", folder, folder.hamiltonian(), Model())
    with pytest.raises(InputError, match="exists already"):
        write_folder(tmp_path / "out/a", folder, folder.hamiltonian(), Model())
    (folder.path / "POSCAR").unlink()
    broken = StructureFolder(folder.path, "a")
    with pytest.raises(InputError, match="POSCAR"):
        write_folder(tmp_path / "out/b", broken, folder.hamiltonian(), Model())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a"]


def test_beside_the_input_only_the_prediction_is_written(folder: StructureFolder) -> None:
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    target = write_beside_input(folder, folder.hamiltonian(), Model())
    assert target == folder.path / "hamiltonian_pred.h5"
    after = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    after.pop("hamiltonian_pred.h5")
    assert after == before
    with h5py.File(target) as file:
        assert file.attrs["model"] == "sha256:0123abcd"
        assert file.attrs["quantity"] == "hamiltonian"
        assert file.attrs["unit"] == "eV"
