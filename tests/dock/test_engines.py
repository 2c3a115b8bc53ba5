"""Engines: which structures are found, how they are computed, and what a second run does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock.structure_files import find_structures
from deeph_spec.dataset import StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.validation import validate_folder
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyscf", reason="PySCF is not installed (deeph-dock[pyscf])")

from deeph_dock.engines import pyscf as engine
from deeph_dock.engines.pyscf import Settings
from deeph_dock.engines.running import Task, compute, plan, preview
from deeph_dock.proofs import eigenvalue_deviation, two_centre
from deeph_dock.reference import read_reference

NOWHERE = Path("/nowhere")
FAST = Settings(basis="sto-3g")
CHAIN = Settings(basis="gth-szv", kmesh=(3, 1, 1), cutoff=1000.0)


@pytest.fixture(autouse=True, scope="module")
def _no_temporary_files() -> Iterator[None]:
    from pyscf.scf import hf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf, "MUTE_CHKFILE", True)
        yield


def xyz(path: Path, *frames: list[tuple[str, tuple[float, ...]]], lattice: str = "") -> Path:
    lines = []
    for frame in frames:
        lines += [str(len(frame)), lattice]
        lines += [f"{symbol} " + " ".join(map(str, where)) for symbol, where in frame]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def hydrogen(length: float = 0.74) -> list[tuple[str, tuple[float, ...]]]:
    return [("H", (0, 0, 0)), ("H", (0, 0, length))]


def poscar(path: Path, lattice: Any = ((1.6, 0, 0), (0, 5, 0), (0, 0, 5))) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Structure(lattice, [[0, 0, 0], [0.75, 0, 0]], [1, 1]).write(path)
    return path


# -- finding --------------------------------------------------------------------------------------


def test_names_are_paths_without_endings_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10.xyz", "b2.xyz", "c/POSCAR", "POSCAR_7", ".x.xyz", "_y.xyz", "notes.txt"):
        maker = poscar if "POSCAR" in name else xyz
        maker(tmp_path / "s" / name, *([] if maker is poscar else [hydrogen()]))
    found = find_structures([tmp_path / "s"], NOWHERE)
    assert [one.id for one in found] == ["POSCAR_7", "b2", "b10", "c"]
    assert [any(one.periodic) for one in found] == [True, False, False, True]
    (one,) = find_structures([tmp_path / "s" / "c" / "POSCAR"], NOWHERE)
    assert one.id == "c"


def test_structures_of_one_file_are_numbered(tmp_path: Path) -> None:
    path = xyz(tmp_path / "many.xyz", *(hydrogen(0.7 + n / 100) for n in range(12)))
    found = find_structures([path], NOWHERE)
    assert [one.id for one in found][::11] == ["many/0001", "many/0012"]
    assert found[2].source == "many.xyz, structure 3"
    assert found[2].structure is not None
    assert found[2].structure.positions[1, 2] == pytest.approx(0.72)


def test_what_repeats_is_read_from_the_file_or_said(tmp_path: Path) -> None:
    cell = 'Lattice="3 0 0 0 3 0 0 0 9" pbc="{}"'
    slab = xyz(tmp_path / "slab.xyz", hydrogen(), lattice=cell.format("T T F"))
    boxed = xyz(tmp_path / "boxed.xyz", hydrogen(), lattice=cell.format("F F F"))
    assert find_structures([slab], NOWHERE)[0].periodic == (True, True, False)
    assert find_structures([boxed], NOWHERE)[0].periodic == (False, False, False)
    assert find_structures([slab], NOWHERE, kind="molecule")[0].periodic == (False,) * 3
    plain = xyz(tmp_path / "plain.xyz", hydrogen())
    assert find_structures([plain], NOWHERE, kind="crystal")[0].problem


def test_cif_is_a_crystal(tmp_path: Path) -> None:
    from ase.build import bulk

    bulk("C").write(tmp_path / "diamond.cif")
    (one,) = find_structures([tmp_path], NOWHERE)
    assert one.periodic == (True, True, True)
    assert one.structure is not None
    assert one.structure.formula == "C2"


def test_results_among_the_structures_are_not_searched(tmp_path: Path) -> None:
    xyz(tmp_path / "a.xyz", hydrogen())
    poscar(tmp_path / "dft" / "0001" / "POSCAR")
    assert [one.id for one in find_structures([tmp_path], tmp_path / "dft")] == ["a"]


def test_different_depths_are_refused_by_name_or_joined(tmp_path: Path) -> None:
    xyz(tmp_path / "a.xyz", hydrogen())
    xyz(tmp_path / "b.xyz", hydrogen())
    xyz(tmp_path / "deep" / "c.xyz", hydrogen())
    with pytest.raises(InputError, match=r"not deep/c; .*--flatten"):
        find_structures([tmp_path], NOWHERE)
    ids = [one.id for one in find_structures([tmp_path], NOWHERE, flatten=True)]
    assert ids == ["a", "b", "deep__c"]


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    xyz(tmp_path / "a.xyz", hydrogen())
    poscar(tmp_path / "a.vasp")
    with pytest.raises(InputError, match="both become 'a'"):
        find_structures([tmp_path], NOWHERE)


@pytest.mark.parametrize("source", ["missing", "empty"])
def test_nothing_to_compute_is_refused(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no such file|no structure in it; looked for POSCAR"):
        find_structures([tmp_path / source], NOWHERE)


def test_atoms_at_one_place_and_unknown_elements_are_named(tmp_path: Path) -> None:
    xyz(tmp_path / "close.xyz", hydrogen(0.01))
    xyz(tmp_path / "odd.xyz", [("Qq", (0, 0, 0))])
    poscar(tmp_path / "images.vasp", np.diag([0.76, 5, 5]))
    problems = {one.id: one.problem for one in find_structures([tmp_path], NOWHERE)}
    assert "atoms 1 and 2 are 0.01 Å apart" in problems["close"]
    assert "odd.xyz: cannot be read" in problems["odd"]
    assert "0.01 Å apart" in problems["images"]


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".xyz", ".vasp", ".cif", ".xsf"]))
def test_no_file_whatsoever_stops_the_others(
    content: bytes, suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    (folder / f"noise{suffix}").write_bytes(content)
    xyz(folder / "good.xyz", hydrogen())
    found = {one.id: one for one in find_structures([folder], NOWHERE, flatten=True)}
    assert not found["good"].problem
    others = [one for id, one in found.items() if id != "good"]
    assert all(one.problem or one.structure is not None for one in others)


# -- computing ------------------------------------------------------------------------------------


def one_task(path: Path, target: Path, settings: Settings = FAST, **options: Any) -> Task:
    (task,) = plan([path], target, settings, **options)
    return task


def assert_right(folder: Path, limit: float = 2e-6) -> StructureFolder:
    """Assert that a folder obeys the format and has PySCF's eigenvalues."""
    errors = [finding for finding in validate_folder(folder) if finding.severity == "error"]
    assert errors == []
    found = StructureFolder(folder, folder.name)
    overlap, hamiltonian = found.overlap(), found.hamiltonian()
    reference = read_reference(folder / "eigval_dft.h5")
    result = eigenvalue_deviation(found.structure, found.info, hamiltonian, overlap, reference)
    assert result.states > 0
    assert result.largest < limit
    assert two_centre(found.structure, found.info.orbital_map, overlap).violation < 1e-12
    return found


def test_a_molecule_becomes_a_structure_folder(tmp_path: Path) -> None:
    water = [("O", (5, 5, 5)), ("H", (5, 5.757, 5.587)), ("H", (5, 4.243, 5.587))]
    task = one_task(
        xyz(tmp_path / "water.xyz", water),
        tmp_path / "data",
        wanted=("overlap", "hamiltonian", "density_matrix"),
    )
    outcome = compute(task)
    assert outcome.status == "converted", outcome.reason
    found = assert_right(tmp_path / "data" / "dft" / "water")
    np.testing.assert_array_equal(found.structure.positions, [where for _, where in water])
    assert found.info.provenance["source"] == "water.xyz"
    assert found.info.provenance["settings"]["functional"] == "pbe"
    assert found.info.occupation == 10
    assert found.has("density_matrix")
    assert outcome.facts["cycles"] > 2


@pytest.mark.parametrize("hand", [1, -1])
def test_crystals_of_either_hand_become_structure_folders(tmp_path: Path, hand: int) -> None:
    lattice = np.array([[1.6, 0, 0], [0.3, 5, 0.1], [0, 0.2, hand * 5]])
    task = one_task(poscar(tmp_path / "chain.vasp", lattice), tmp_path, CHAIN)
    outcome = compute(task)
    assert outcome.status == "converted", outcome.reason
    found = assert_right(task.target)
    np.testing.assert_array_equal(found.structure.lattice, lattice)
    assert found.info.provenance["kmesh"] == [3, 1, 1]


def test_molecules_with_an_odd_number_of_electrons_give_all_two_channels(tmp_path: Path) -> None:
    xyz(tmp_path / "s" / "h2.xyz", hydrogen())
    xyz(tmp_path / "s" / "h.xyz", [("H", (0, 0, 0))])
    tasks = plan([tmp_path / "s"], tmp_path, FAST)
    assert all(task.settings.polarised for task in tasks)
    assert [compute(task).facts["spin"] for task in tasks] == ["collinear", "collinear"]
    (alone,) = plan([tmp_path / "s" / "h2.xyz"], tmp_path / "other", FAST)
    assert not alone.settings.polarised
    (alone,) = plan([tmp_path / "s" / "h2.xyz"], tmp_path / "other", replace(FAST, charge=1))
    assert alone.settings.polarised


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spin": 1}, "2 electrons cannot have 1 unpaired"),
        ({"basis": "no-such-basis"}, "PySCF: BasisNotFoundError"),
        ({"charge": 2}, "0 electrons"),
        ({"cycles": 1}, "did not converge in 1 cycles"),
    ],
)
def test_what_cannot_be_computed_is_named_and_not_written(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    molecule = xyz(tmp_path / "a.xyz", [("Li", (0, 0, 0)), ("H", (0, 0, 1.6))])
    if "cycles" not in change:
        xyz(tmp_path / "a.xyz", hydrogen())
    task = one_task(molecule, tmp_path, replace(FAST, **change))
    outcome = compute(task)
    assert outcome.status == "failed"
    assert said in outcome.reason
    assert "\n" not in outcome.reason
    assert not task.target.exists()


def test_unknown_functionals_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    path = xyz(tmp_path / "a.xyz", hydrogen())
    with pytest.raises(InputError, match="--functional nonsense"):
        plan([path], tmp_path, replace(FAST, functional="nonsense"))


def test_core_potentials_come_with_the_basis_and_gth_sets_with_the_functional() -> None:
    iodine = Structure(np.eye(3) * 9, [[0, 0, 0], [0, 0, 1.6]], [53, 1])
    assert engine.build(iodine, False, Settings()).nelectron == 26  # 25 and 1
    assert engine.build(iodine, False, Settings(pseudo="none")).nelectron == 54
    cell = engine.build(iodine, True, Settings())
    assert (cell.nelectron, cell.pseudo) == (8, "gth-pbe")
    hydrogens = Structure(np.eye(3) * 9, [[0, 0, 0], [0, 0, 0.8]], [1, 1])
    for functional, pseudo in (("lda", "gth-pade"), ("blyp", "gth-blyp"), ("pbesol", "gth-pbe")):
        given = Settings(functional=functional, basis="gth-szv")
        assert engine.build(hydrogens, True, given).pseudo == pseudo


def test_meshes_follow_the_cell_unless_they_are_given() -> None:
    cell = Structure(np.diag([2.5, 5.0, 20.0]), [[0, 0, 0]], [1])
    assert engine.kmesh(cell, (True, True, True), Settings()) == (6, 3, 1)
    assert engine.kmesh(cell, (True, True, False), Settings(spacing=0.1)) == (26, 13, 1)
    assert engine.kmesh(cell, (True, True, True), Settings(kmesh=(2, 2, 2))) == (2, 2, 2)


# -- a second run ---------------------------------------------------------------------------------


def test_second_run_skips_what_is_done_and_computes_what_changed(tmp_path: Path) -> None:
    path, data = xyz(tmp_path / "h2.xyz", hydrogen()), tmp_path / "data"
    task = one_task(path, data)
    assert preview(task).status == "new"
    assert compute(task).status == "converted"
    before = (task.target / "info.json").read_bytes()
    assert preview(task).status == compute(task).status == "skipped"
    assert (task.target / "info.json").read_bytes() == before
    assert compute(replace(task, threads=2)).status == "skipped"
    assert compute(one_task(path, data, replace(FAST, kmesh=(2, 2, 2)))).status == "skipped"

    other = one_task(path, data, replace(FAST, functional="lda"))
    assert preview(other).reason == "changed: settings (functional)"
    assert compute(other).status == "updated"
    assert compute(replace(other, wanted=("overlap", "hamiltonian", "density_matrix"))).status == (
        "updated"
    )
    (other.target / "hamiltonian.h5").unlink()
    assert compute(other).status == "updated"
    assert not (other.target / "density_matrix.h5").exists()
    xyz(path, hydrogen(0.8))
    moved = one_task(path, data, other.settings)
    assert compute(moved).reason == "changed: structure"
    assert compute(replace(moved, redo=True)).status == "updated"
    assert_right(moved.target)


def test_other_data_are_left_alone(tmp_path: Path) -> None:
    path, data = xyz(tmp_path / "h2.xyz", hydrogen()), tmp_path / "data"
    task = one_task(path, data)
    compute(task)
    xyz(path, hydrogen(0.8))
    both = compute(one_task(path, data, replace(FAST, functional="lda")))
    assert "holds another structure with other settings" in both.reason
    document = json.loads((task.target / "info.json").read_text())
    del document["provenance"]
    (task.target / "info.json").write_text(json.dumps(document))
    outcome = compute(task)
    assert outcome.status == "failed"
    assert "was not written by dock run" in outcome.reason
    assert compute(replace(task, redo=True)).status == "updated"


def test_failure_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deeph_dock import writing

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_reference", full)
    task = one_task(xyz(tmp_path / "h2.xyz", hydrogen()), tmp_path / "data")
    outcome = compute(task)
    assert (outcome.status, outcome.reason) == ("failed", "No space left on device")
    assert not list((tmp_path / "data").rglob("*.h5"))
