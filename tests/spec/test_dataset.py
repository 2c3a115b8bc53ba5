"""Finding, naming and splitting the folders of a dataset."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from deeph_spec.dataset import Dataset, StructureFolder, natural_key, read_split, write_split
from deeph_spec.errors import InputError
from deeph_spec.testing import random_dataset, random_folder


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return random_folder(tmp_path_factory.mktemp("template") / "x", elements=("H", "C"), atoms=2)


@pytest.fixture
def root(tmp_path, template):
    for name in ("10", "2", "007", "7"):
        shutil.copytree(template, tmp_path / "data" / "dft" / name)
    return tmp_path / "data"


def test_a_root_a_dft_folder_and_any_folder_are_opened(root, tmp_path):
    for path, home in ((root, root), (root / "dft", root)):
        dataset = Dataset.open(path)
        assert dataset.ids == ("2", "007", "7", "10")
        assert dataset.path == home
        assert len(dataset) == 4
    (root / "dft").rename(tmp_path / "runs")
    dataset = Dataset.open(tmp_path / "runs")
    assert dataset.ids == ("2", "007", "7", "10")
    assert dataset.path == tmp_path / "runs"
    assert [folder.path.name for folder in dataset] == list(dataset.ids)


def test_one_structure_is_a_dataset(root):
    for depth in (None, -1):
        dataset = Dataset.open(root / "dft" / "007", depth)
        assert dataset.ids == ("007",)
        assert dataset["007"].structure.formula == "HC"
    with pytest.raises(InputError, match="no structure"):
        Dataset.open(root, -1)


def test_the_id_is_the_path_below_dft(root, template):
    shutil.move(root / "dft", root / "t1")
    (root / "dft" / "a").mkdir(parents=True)
    shutil.move(root / "t1", root / "dft" / "a" / "b")
    assert Dataset.open(root).ids == ("a/b/2", "a/b/007", "a/b/7", "a/b/10")
    assert Dataset.open(root, depth=2).ids == ("a/b/2", "a/b/007", "a/b/7", "a/b/10")
    with pytest.raises(InputError, match="depth 1"):
        Dataset.open(root, depth=1)
    shutil.copytree(template, root / "dft" / "odd")
    with pytest.raises(InputError, match="odd"):
        Dataset.open(root)
    assert Dataset.open(root, depth=0).ids == ("odd",)


def test_hidden_and_incomplete_folders_are_skipped(root, template):
    shutil.copytree(template, root / "dft" / ".hidden")
    shutil.copytree(template, root / "dft" / "_old")
    shutil.copytree(template, root / "dft" / "half")
    (root / "dft" / "half" / "info.json").unlink()
    shutil.copytree(template, root / "graph" / "1")
    assert Dataset.open(root).ids == ("2", "007", "7", "10")


def test_links_are_followed_and_loops_end(root, tmp_path):
    (tmp_path / "linked").symlink_to(root / "dft" / "7", target_is_directory=True)
    (root / "dft" / "deep").mkdir()
    (root / "dft" / "up").symlink_to(root / "dft", target_is_directory=True)
    (root / "dft" / "other").symlink_to(tmp_path / "linked", target_is_directory=True)
    assert Dataset.open(root).ids == ("2", "007", "7", "10", "other")


def test_nothing_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Dataset.open(tmp_path / "no")
    with pytest.raises(InputError, match="no structure found"):
        Dataset.open(tmp_path)


def test_a_file_is_no_dataset(root):
    with pytest.raises(InputError, match="POSCAR: is a file, expected a folder"):
        Dataset.open(root / "dft" / "7" / "POSCAR")


def test_folders_that_lack_a_file_are_named(root):
    assert Dataset.open(root).incomplete == {}
    assert Dataset.open(root / "dft" / "7").incomplete == {}
    (root / "dft" / "10" / "info.json").unlink()
    (root / "dft" / "2" / "POSCAR").unlink()
    dataset = Dataset.open(root)
    assert dataset.ids == ("007", "7")
    assert dataset.incomplete == {"2": "POSCAR", "10": "info.json"}


def test_matrices_by_name(root):
    folder = Dataset.open(root)["007"]
    assert folder.has("overlap")
    assert not folder.has("position_matrix")
    assert len(folder.overlap()) == len(folder.matrix("hamiltonian")) == len(folder.hamiltonian())
    assert folder.file("position_matrix").name == "position_matrix.h5"
    (folder.path / "position.h5").write_bytes(b"")
    assert folder.file("position_matrix").name == "position.h5"
    assert folder.file("mine").name == "mine.h5"
    with pytest.raises(InputError, match=r"hamiltonian_pred\.h5"):
        folder.matrix("hamiltonian_pred")
    with pytest.raises(InputError, match="no structure 'x'"):
        Dataset.open(root)["x"]


def test_files_are_read_once_and_when_asked_for(root):
    folder = StructureFolder(root / "dft" / "2", "2")
    (root / "dft" / "2" / "info.json").unlink()
    structure = folder.structure
    (root / "dft" / "2" / "POSCAR").unlink()
    assert folder.structure is structure
    with pytest.raises(InputError, match=r"info\.json"):
        _ = folder.info


def change(path, **changes):
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(document))


def test_shells_are_the_union_over_folders(root):
    info = root / "dft" / "2" / "info.json"
    change(info, elements_orbital_map={"H": [0], "C": [0, 0, 1], "Bi": [2], "O": [0, 1]})
    assert list(Dataset.open(root).orbital_map.items()) == [
        ("H", (0,)),
        ("C", (0, 0, 1)),
        ("O", (0, 1)),
        ("Bi", (2,)),
    ]
    change(info, elements_orbital_map={"H": [0], "C": [0, 1, 0]})
    with pytest.raises(InputError, match="C has shells") as caught:
        _ = Dataset.open(root).orbital_map
    assert caught.value.rule == "E35"
    assert "2" in str(caught.value)
    assert "007" in str(caught.value)


def test_spin_is_that_of_all_folders(root):
    assert Dataset.open(root).spin == "none"
    change(root / "dft" / "2" / "info.json", spin=None)
    assert Dataset.open(root).spin == "none"
    change(root / "dft" / "2" / "info.json", spinful=True, spin="soc")
    with pytest.raises(InputError, match="spin"):
        _ = Dataset.open(root).spin
    for name in ("007", "7", "10"):
        change(root / "dft" / name / "info.json", spinful=True, spin=None)
    assert Dataset.open(root).spin == "soc"
    change(root / "dft" / "10" / "info.json", spinful=True, spin="collinear")
    with pytest.raises(InputError, match="spin") as caught:
        _ = Dataset.open(root).spin
    assert caught.value.rule == "E35"


def test_splits(root):
    split = {"train": ["2", "007"], "validate": ["7"], "test": []}
    write_split(root, split)
    assert read_split(root) == read_split(root / "dataset_split.json") == split
    write_split(root / "other.json", {"train": ["2"]})
    assert read_split(root / "other.json") == {"train": ["2"], "validate": [], "test": []}


@pytest.mark.parametrize(
    "split",
    [
        {"train": [7]},
        {"train": "7"},
        {"train": ["7"], "test": ["7"]},
        {"train": ["7", "7"]},
    ],
)
def test_wrong_splits_are_refused(root, split):
    (root / "dataset_split.json").write_text(json.dumps(split))
    with pytest.raises(InputError, match=r"dataset_split\.json") as caught:
        read_split(root)
    assert caught.value.rule == "E36"


def test_natural_order():
    names = ["10", "2", "a10", "a9", "007", "7", "a", "1/10", "1/9", "B"]
    order = sorted(names, key=natural_key)
    assert order == ["1/9", "1/10", "2", "007", "7", "10", "B", "a", "a9", "a10"]
    rng = np.random.default_rng(0)
    assert sorted(rng.permutation(names).tolist(), key=natural_key) == order


def test_the_published_layout_is_opened(dft_data):
    dft_data("deeph/MoS2_12/0001")
    dataset = Dataset.open(dft_data("deeph/MoS2_12/0002").parent)
    assert dataset.orbital_map == {"S": (0, 0, 1, 1), "Mo": (0, 0, 1, 1, 2)}
    assert dataset.spin == "none"
    for folder in dataset:
        counts = folder.info.orbital_counts(folder.structure)
        assert counts.sum() == folder.info.orbits_quantity == 116


def test_spin_is_found_in_the_blocks_where_no_file_says_it(tmp_path, dft_data):
    """The published layout has no key for it."""
    assert Dataset.open(dft_data("deeph/Bi2Se3_SOC_5/0001")).spin == "soc"
    for spin in ("collinear", "soc"):
        random_dataset(tmp_path / spin, 1, spin=spin, seed=3)
        path = tmp_path / spin / "dft" / "0001" / "info.json"
        document = json.loads(path.read_text())
        del document["spin"]
        path.write_text(json.dumps(document))
        assert Dataset.open(tmp_path / spin).spin == spin
        (path.parent / "hamiltonian.h5").unlink()
        assert Dataset.open(tmp_path / spin).spin is None


def test_mixed_sources_of_the_published_layout_are_opened(dft_data):
    dataset = Dataset.open(dft_data("third-party/dataset13"))
    assert len(dataset) == 13
    assert dataset.ids[:2] == ("1000", "1001")
    assert list(dataset.orbital_map) == ["H", "C", "O"]
    levels = [folder.info.fermi_level for folder in dataset]
    assert None in levels
    for folder in dataset:
        assert folder.hamiltonian().hermitian_error()[0] < 2e-8
