"""Splits: exact, deterministic, without leaks, spread over compositions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import chain, product
from pathlib import Path

import numpy as np
import pytest
from deeph_dock import cli
from deeph_dock.duplicates import are_copies, copies, fingerprint
from deeph_dock.splitting import counts_of_ratio, join, split
from deeph_spec.dataset import read_split
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.testing import random_dataset, random_folder, random_structure
from hypothesis import given, settings
from hypothesis import strategies as st

Dock = Callable[..., tuple[int, str, str]]
RATIOS = st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.5, 0.5, 0.0), (1 / 3, 1 / 3, 1 / 3)])


@pytest.fixture
def dock(capsys: pytest.CaptureFixture[str]) -> Dock:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


# -- copies ---------------------------------------------------------------------------------------


def _copy(structure: Structure, seed: int, noise: float = 0.0) -> Structure:
    """Give the same crystal: atoms in another order, in other cells, shifted and rotated."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(structure))
    cells = rng.integers(-3, 4, (len(structure), 3)) @ structure.lattice
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = structure.positions + cells + rng.normal(size=3)
    moved = moved + noise * rng.uniform(-1, 1, moved.shape) / np.sqrt(3)
    return Structure(structure.lattice, moved[order], structure.numbers[order]).rotated(rotation)


def _found(structures: list[Structure]) -> list[list[int]]:
    return copies([fingerprint(s) for s in structures], structures.__getitem__)


@settings(deadline=None)  # the first needs scipy, which takes its time to import
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_copies_are_found_however_they_are_written(seed: int, atoms: int, noisy: bool) -> None:
    elements = ("H", "C", "O")[: 1 + seed % 3]
    original = random_structure(elements, atoms, seed % 97)
    copy = _copy(original, seed, 4e-7 if noisy else 0.0)
    assert are_copies(original, copy)
    assert _found([original, random_structure(elements, atoms, 98), copy]) == [[0, 2]]


@pytest.mark.parametrize("change", ["moved", "strained", "swapped", "elements"])
def test_what_is_no_copy_is_told_apart(change: str) -> None:
    original = random_structure(("H", "C"), 6, 3)
    lattice, positions, numbers = (
        np.array(a) for a in (original.lattice, original.positions, original.numbers)
    )
    if change == "moved":
        positions[2, 1] += 1e-4
    elif change == "strained":
        fractional = original.fractional
        lattice = lattice * 1.0001
        positions = fractional @ lattice
    elif change == "swapped":
        numbers[[0, 5]] = numbers[[5, 0]]
    else:
        numbers[0] = 8
    other = Structure(lattice, positions, numbers)
    assert not are_copies(original, other)
    assert _found([original, other]) == []


def test_sets_of_copies_among_many_that_share_a_cell() -> None:
    base = random_structure(("C",), 8, 1)
    rng = np.random.default_rng(5)
    shaken = [
        Structure(base.lattice, base.positions + 0.02 * rng.normal(size=(8, 3)), base.numbers)
        for _ in range(200)
    ]
    everything = [*shaken, _copy(shaken[7], 1), _copy(shaken[100], 2), _copy(shaken[7], 3)]
    assert _found(everything) == [[7, 200, 202], [100, 201]]


# -- numbers --------------------------------------------------------------------------------------


@given(st.integers(0, 10**5), RATIOS)
def test_counts_add_up_and_are_the_share_rounded(
    total: int, ratio: tuple[float, float, float]
) -> None:
    counts = counts_of_ratio(ratio, total)
    assert sum(counts) == total
    assert all(abs(c - r * total) < 1 for c, r in zip(counts, ratio, strict=True))


def test_remainder_goes_to_the_largest_and_not_to_test() -> None:
    assert counts_of_ratio((0.6, 0.2, 0.2), 7) == (4, 2, 1)  # quotas 4.2, 1.4, 1.4
    assert counts_of_ratio((0.6, 0.2, 0.2), 10) == (6, 2, 2)
    assert counts_of_ratio((0.7, 0.3, 0.0), 9) == (6, 3, 0)  # 6.3, 2.7


@pytest.mark.parametrize(
    ("ratio", "message"),
    [((0.6, 0.2, 0.1), "the sum is 0.9, expected 1"), ((1.2, -0.2, 0.0), "0 or more")],
)
def test_ratio_that_is_none(ratio: tuple[float, float, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        counts_of_ratio(ratio, 10)


SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=40)


@given(SIZES, RATIOS, st.integers(0, 99))
def test_split_is_a_partition_that_keeps_units_whole(
    sizes: list[int], ratio: tuple[float, float, float], seed: int
) -> None:
    units = [[f"{u}/{n}" for n in range(size)] for u, size in enumerate(sizes)]
    ids = sorted(id for unit in units for id in unit)
    wanted = counts_of_ratio(ratio, len(ids))
    result = split(units, wanted, seed)
    assert sorted(id for part in result.sets.values() for id in part) == ids
    assert result.unused == ()
    for unit in units:
        assert sum(not set(unit).isdisjoint(part) for part in result.sets.values()) == 1
    if sizes.count(1) >= 3 * max(sizes):
        assert result.exact  # single ones fill every gap
    assert split(units[::-1], wanted, seed) == result  # the order found on the disk does not matter


@given(st.lists(st.integers(2, 5), min_size=1, max_size=6), st.integers(0, 3), RATIOS)
def test_split_is_exact_whenever_that_is_possible(
    sizes: list[int], singles: int, ratio: tuple[float, float, float]
) -> None:
    sizes = sizes + [1] * singles
    units = [[f"{u}/{n}" for n in range(size)] for u, size in enumerate(sizes)]
    wanted = counts_of_ratio(ratio, sum(sizes))
    possible = any(
        all(
            sum(s for s, where in zip(sizes, places, strict=True) if where == n) == wanted[n]
            for n in range(3)
        )
        for places in product(range(3), repeat=len(sizes))
    )
    assert split(units, wanted, 1).exact == possible


@given(SIZES, st.integers(0, 99), st.data())
def test_counts_are_met_and_the_rest_is_unused(
    sizes: list[int], seed: int, data: st.DataObject
) -> None:
    sizes = [*sizes, *[1] * 12]
    units = [[f"{u}/{n}" for n in range(size)] for u, size in enumerate(sizes)]
    total = sum(sizes)
    train = data.draw(st.integers(0, total))
    validate = data.draw(st.integers(0, total - train))
    test = data.draw(st.integers(0, total - train - validate))
    result = split(units, (train, validate, test), seed)
    assert sum(result.counts) + len(result.unused) == total
    for unit in units:
        assert sum(not set(unit).isdisjoint(part) for part in result.sets.values()) <= 1
    assert result.exact


def test_more_than_there_is_cannot_be_wanted() -> None:
    with pytest.raises(InputError, match=r"= 100 structures are wanted, there are 9"):
        split([[str(n)] for n in range(9)], (60, 20, 20), 1)


def test_seeds_differ_and_compositions_are_spread() -> None:
    units = [[f"{n:04d}"] for n in range(1000)]
    strata = {unit[0]: ("C", f"C{n % 20}") for n, unit in enumerate(units)}
    wanted = counts_of_ratio((0.6, 0.2, 0.2), 1000)
    first, second = (split(units, wanted, seed, strata) for seed in (137, 138))
    assert first.sets != second.sets
    for name, share in (("train", 30), ("validate", 10), ("test", 10)):
        for kind in range(20):
            found = sum(strata[id][-1] == f"C{kind}" for id in first.sets[name])
            assert abs(found - share) <= 2
    # Without strata chance does worse, or the test above says nothing.
    random = split(units, wanted, 137)
    assert any(
        abs(sum(strata[id][-1] == f"C{kind}" for id in random.sets["test"]) - 10) > 2
        for kind in range(20)
    )


def test_rare_compositions_do_not_all_end_in_one_set() -> None:
    units = [[f"{n:04d}"] for n in range(100)]
    strata = {unit[0]: (f"E{n}", f"C{n}") for n, unit in enumerate(units)}  # each its own
    assert split(units, (60, 20, 20), 1, strata).counts == (60, 20, 20)


def test_groups_that_share_members_are_joined() -> None:
    units = join([["b", "d"], ["d", "e"], ["c"]], "abcde")
    assert units == [["a"], ["b", "d", "e"], ["c"]]


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Ten structures; 0003 is written again as 0011, 0012 has no Hamiltonian."""
    root = random_dataset(tmp_path / "data", 10, atoms=3, cutoff=3.0)
    shutil.copytree(root / "dft/0003", root / "dft/0011")
    again = _copy(Structure.read(root / "dft/0003/POSCAR"), 1)
    again.write(root / "dft/0011/POSCAR")
    random_folder(root / "dft/0012", atoms=3, seed=77, cutoff=3.0)
    (root / "dft/0012/hamiltonian.h5").unlink()
    return root


def test_split_is_written_beside_dft_and_says_everything(dock: Dock, dataset: Path) -> None:
    code, out, err = dock("split", dataset)
    assert (code, err) == (0, "")
    found = read_split(dataset)
    assert [len(ids) for ids in found.values()] == [7, 2, 2]
    assert any({"0003", "0011"} <= set(ids) for ids in found.values())
    assert "left out, no hamiltonian.h5: 1: 0012" in out
    assert "2 structures are copies of others and were kept together: 0003 = 0011" in out
    assert f"written: {dataset / 'dataset_split.json'}" in out
    lines = [line for line in out.splitlines() if not line.startswith("written: ")]
    assert max(map(len, lines)) <= 100


def test_equal_arguments_give_equal_splits(dock: Dock, dataset: Path) -> None:
    assert dock("split", dataset)[0] == 0
    before = (dataset / "dataset_split.json").read_bytes()
    code, out, _ = dock("split", dataset / "dft")
    assert code == 0
    assert "is this split already" in out
    (dataset / "dataset_split.json").unlink()
    assert dock("split", dataset)[0] == 0
    assert (dataset / "dataset_split.json").read_bytes() == before


def test_another_split_is_not_replaced_unasked(dock: Dock, dataset: Path) -> None:
    assert dock("split", dataset)[0] == 0
    before = (dataset / "dataset_split.json").read_bytes()
    code, _, err = dock("split", dataset, "--seed", 1)
    assert code == 1
    assert err.count("\n") == 1
    assert "--overwrite replaces it" in err
    assert (dataset / "dataset_split.json").read_bytes() == before
    assert dock("split", dataset, "--seed", 1, "--dry-run")[0] == 0
    assert (dataset / "dataset_split.json").read_bytes() == before
    assert dock("split", dataset, "--seed", 1, "--overwrite")[0] == 0
    assert (dataset / "dataset_split.json").read_bytes() != before


def test_counts(dock: Dock, dataset: Path) -> None:
    assert dock("split", dataset, "--counts", 3, 2, 1)[0] == 0
    assert [len(ids) for ids in read_split(dataset).values()] == [3, 2, 1]
    code, _, err = dock("split", dataset, "--counts", 60, 20, 20, "--overwrite")
    assert code == 1
    assert "60 + 20 + 20 = 100 structures are wanted, there are 11" in err


def test_counts_that_would_divide_copies_are_refused(dock: Dock, tmp_path: Path) -> None:
    for id in ("1", "2"):
        random_folder(tmp_path / "dft" / id, atoms=2, cutoff=3.0)
    code, _, err = dock("split", tmp_path, "--counts", 1, 1, 0)
    assert code == 1
    assert "not possible without dividing structures that belong together" in err
    assert not (tmp_path / "dataset_split.json").exists()
    code, out, _ = dock("split", tmp_path, "--ratio", 0.5, 0.5, 0)
    assert code == 0
    assert "wanted" in out
    assert "note: nothing in validate and test" in out


def test_structures_of_one_folder_stay_together(dock: Dock, tmp_path: Path) -> None:
    for n in range(10):
        random_folder(tmp_path / f"dft/run{n // 2}/{n}", atoms=2, seed=n, cutoff=3.0)
    assert dock("split", tmp_path, "--by", "folder-group")[0] == 0
    found = read_split(tmp_path)
    assert [len(ids) for ids in found.values()] == [6, 2, 2]
    homes = [{id.split("/")[0] for id in ids} for ids in found.values()]
    assert sum(map(len, homes)) == 5


def test_folder_groups_need_folders(dock: Dock, dataset: Path) -> None:
    code, _, err = dock("split", dataset, "--by", "folder-group")
    assert code == 1
    assert "no groups of folders" in err


def test_large_structures_can_be_left_out(dock: Dock, tmp_path: Path) -> None:
    for n in range(4):
        random_folder(tmp_path / f"dft/{n}", atoms=2, seed=n, cutoff=3.0)
    random_folder(tmp_path / "dft/large", atoms=8, cutoff=4.0)
    code, out, _ = dock("split", tmp_path, "--max-pairs", 60, "--by", "none")
    assert code == 0
    assert "left out, more than 60 pairs: 1: large" in out
    assert sorted(chain(*read_split(tmp_path).values())) == ["0", "1", "2", "3"]


def test_what_cannot_be_read_is_left_out_and_named(dock: Dock, dataset: Path) -> None:
    (dataset / "dft/0002/POSCAR").write_text("nothing\n")
    (dataset / "dft/0004/info.json").unlink()
    code, out, _ = dock("split", dataset)
    assert code == 0
    assert "0002/POSCAR: line" in out
    assert "left out, no info.json: 1: 0004" in out
    assert not {"0002", "0004"} & set(chain(*read_split(dataset).values()))


def test_one_structure_and_nothing_are_refused(dock: Dock, dataset: Path) -> None:
    code, _, err = dock("split", dataset / "dft/0001")
    assert code == 1
    assert "one structure cannot be split" in err
    code, _, err = dock("split", dataset / "nowhere")
    assert code == 1
    assert "no such folder" in err
    for file in dataset.glob("dft/*/hamiltonian.h5"):
        file.unlink()
    code, _, err = dock("split", dataset)
    assert code == 1
    assert "no structure to split: 12 with no hamiltonian.h5" in err


def test_file_is_that_of_the_format(dock: Dock, dataset: Path) -> None:
    assert dock("split", dataset)[0] == 0
    document = json.loads((dataset / "dataset_split.json").read_text())
    assert list(document) == ["train", "validate", "test"]
    assert all(isinstance(id, str) for ids in document.values() for id in ids)
