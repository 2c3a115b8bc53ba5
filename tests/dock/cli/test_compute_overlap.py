"""`dock compute-overlap`: what it writes, what it takes from a dataset, and when it starts anew."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock import overlap_matrices
from deeph_dock.basis.folder import Request, read_bases
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_dock.overlap_matrices import write_matrix
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset
from deeph_spec.structure import Structure
from deeph_spec.validation import validate_dataset

Dock = Callable[..., tuple[int, str, str]]
CARBON = Path(__file__).parents[1] / "data/siesta/C.ion.xz"


@pytest.fixture(scope="module")
def ions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with SIESTA's basis of carbon."""
    folder = tmp_path_factory.mktemp("ions")
    (folder / "C.ion").write_bytes(lzma.decompress(CARBON.read_bytes()))
    return folder


def graphene(repeat: int = 1, shift: float = 0.0) -> Structure:
    lattice = np.array([[2.46, 0, 0], [1.23, 2.130422, 0], [0, 0, 20.0]])
    steps = np.array([(a, b, 0) for a in range(repeat) for b in range(repeat)])
    atoms = np.array([[0, 0, 0], [1 / 3, 1 / 3, 0]])
    positions = (steps[:, None] + atoms).reshape(-1, 3) @ lattice
    positions[-1, 2] += shift
    return Structure(np.diag([repeat, repeat, 1]) @ lattice, positions, np.full(len(positions), 6))


@pytest.fixture
def structures(tmp_path: Path) -> Path:
    for number in range(3):
        folder = tmp_path / f"structures/{number}"
        folder.mkdir(parents=True)
        graphene(shift=number / 10).write(folder / "POSCAR")
    return tmp_path / "structures"


def test_datasets_are_valid_and_ready_for_prediction(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, said, err = dock("compute-overlap", structures, "--basis", ions, "-o", out)
    assert (code, err) == (0, "")
    assert "3  computed in" in said
    assert [f for f in validate_dataset(out) if f.severity == "error"] == []
    folder = Dataset.open(out)["1"]
    info = folder.info
    assert info.orbital_map == {"C": (0, 0, 1, 1, 2)}
    assert (info.occupation, info.fermi_level, info.spin) == (8, None, "none")
    assert info.provenance["basis"] == {"C": "C.ion"}
    assert info.provenance["quadrature"] == "exact"
    np.testing.assert_array_equal(folder.structure.positions, graphene(shift=0.1).positions)
    assert folder.overlap().hermitian_error()[0] < 1e-14


def test_a_second_run_makes_only_what_changed(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    command = ("compute-overlap", structures, "--basis", ions, "-o", tmp_path / "out")
    dock(*command)
    graphene(shift=0.5).write(structures / "2/POSCAR")
    code, said, _ = dock(*command)
    assert code == 0
    assert "2  skipped" in said
    assert "1 of them again" in said
    code, said, _ = dock(*command, "--quadrature", "siesta")
    assert "3 of them again" in said
    code, _, err = dock(*command, "--pattern", "overlap", "--dry-run")
    assert (code, err) == (0, "")
    graphene(shift=0.6).write(structures / "2/POSCAR")
    code, said, err = dock(*command, "--spin", "soc")
    assert code == 1
    assert "holds another structure with other settings" in said + err
    code, said, _ = dock(*command, "--spin", "soc", "--overwrite")
    assert code == 0
    assert Dataset.open(tmp_path / "out")["2"].info.spin == "soc"


def test_other_folders_are_left_alone(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    other = tmp_path / "out/dft/1"
    other.mkdir(parents=True)
    (other / "info.json").write_text('{"mine": 1}')
    code, said, err = dock("compute-overlap", structures, "--basis", ions, "-o", tmp_path / "out")
    assert code == 1
    assert "was not written by dock compute-overlap" in said + err
    assert (other / "info.json").read_text() == '{"mine": 1}'


def test_all_matrices(dock: Dock, ions: Path, structures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    also = "kinetic,position,gradient"
    code, _, err = dock("compute-overlap", structures, "--basis", ions, "-o", out, "--also", also)
    assert (code, err) == (0, "")
    assert [f for f in validate_dataset(out) if f.severity == "error"] == []
    folder = Dataset.open(out)["2"]
    overlap, kinetic = folder.overlap(), folder.matrix("kinetic_matrix")
    position, gradient = folder.matrix("position_matrix"), folder.matrix("gradient_matrix")
    structure = folder.structure
    partner = overlap.partner_rows()
    for row in range(0, len(overlap), 17):
        other = int(partner[row])
        np.testing.assert_allclose(kinetic.block(row), kinetic.block(other).T, atol=1e-6)
        np.testing.assert_allclose(
            gradient.block(row), -gradient.block(other).swapaxes(1, 2), atol=1e-7
        )
        cell = overlap.atom_pairs[row, :3] @ structure.lattice
        expected = position.block(other).swapaxes(1, 2) + cell[:, None, None] * overlap.block(row)
        np.testing.assert_allclose(position.block(row), expected, atol=1e-7)


def test_molecules_stand_in_empty_boxes(dock: Dock, ions: Path, tmp_path: Path) -> None:
    (tmp_path / "c2.xyz").write_text("2\n\nC 0 0 0\nC 0 0 1.3\n")
    out = tmp_path / "out"
    code, _, err = dock("compute-overlap", tmp_path / "c2.xyz", "--basis", ions, "-o", out)
    assert (code, err) == (0, "")
    folder = Dataset.open(out)["c2"]
    assert folder.overlap().atom_pairs.tolist() == [[0, 0, 0, i, j] for i in (0, 1) for j in (0, 1)]
    assert np.linalg.norm(folder.structure.lattice, axis=1).min() >= 30


@pytest.mark.parametrize("jobs", [1, 3])
def test_pieces_and_processes_change_nothing(
    ions: Path, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deeph_dock.integrals import assembly

    structure = graphene(4, 0.2)
    bases = read_bases(Request((str(ions),)), [6])
    integrals = TwoCentre(bases, ("overlap", "position"))
    pairs = touching_pairs(structure, bases)
    monkeypatch.setattr(assembly, "PIECE_BYTES", 100_000)
    for quantity in ("overlap", "position"):
        whole = compute(structure, integrals, pairs, quantity)
        path = tmp_path / f"{quantity}.h5"
        write_matrix(path, structure, integrals, pairs, quantity, jobs)
        written = BlockMatrix.read(path)
        np.testing.assert_array_equal(written.atom_pairs, whole.atom_pairs)
        np.testing.assert_allclose(written.entries, whole.entries, rtol=0, atol=1e-13)


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_is_told_pair_by_pair(
    ions: Path, tmp_path: Path, jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deeph_dock.integrals import assembly

    structure = graphene(2)
    bases = read_bases(Request((str(ions),)), [6])
    pairs = touching_pairs(structure, bases)
    monkeypatch.setattr(assembly, "PIECE_BYTES", 50_000)
    told: list[int] = []
    begun: list[tuple[str, int]] = []

    def watch(title: str, length: int) -> Callable[[int], None]:
        begun.append((title, length))
        return told.append

    token = overlap_matrices.WATCH.set(watch)
    try:
        path = tmp_path / "overlap.h5"
        write_matrix(path, structure, TwoCentre(bases), pairs, "overlap", jobs)
    finally:
        overlap_matrices.WATCH.reset(token)
    assert begun == [("overlap", len(pairs))]
    assert sum(told) == len(pairs)
    assert len(told) > 5


def test_any_number_of_processes_writes_the_same_bytes(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    files = []
    for jobs in (1, 2, 5):
        out = tmp_path / f"out{jobs}"
        code, *_ = dock("compute-overlap", structures, "--basis", ions, "-o", out, "-j", jobs)
        assert code == 0
        files.append([(out / f"dft/{n}/overlap.h5").read_bytes() for n in range(3)])
    assert files[0] == files[1] == files[2]


def test_like_takes_the_rules_of_a_dataset(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    like = tmp_path / "like"
    settings = ("--quadrature", "siesta", "--pattern", "overlap", "--spin", "collinear")
    dock("compute-overlap", structures, "--basis", ions, "-o", like, *settings)
    out = tmp_path / "out"
    code, said, err = dock(
        "compute-overlap", structures / "0", "--basis", ions, "-o", out, "--like", like
    )
    assert (code, err) == (0, "")
    assert "(quadrature siesta)" in said
    (folder,) = Dataset.open(out).folders
    assert folder.info.spin == "collinear"
    provenance = json.loads((folder.path / "info.json").read_text())["provenance"]
    assert provenance["quadrature"] == "siesta"


def test_structures_of_a_dataset_keep_their_names(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    dock("compute-overlap", structures, "--basis", ions, "-o", first)
    code, *_ = dock("compute-overlap", first, "--basis", ions, "-o", second)
    assert code == 0
    assert Dataset.open(second).ids == Dataset.open(first).ids == ("0", "1", "2")


def test_like_says_that_a_basis_is_another(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    like = tmp_path / "like"
    dock("compute-overlap", structures, "--basis", ions, "-o", like)
    path = like / "dft/0/overlap.h5"
    overlap = BlockMatrix.read(path)
    entries = overlap.entries.copy()
    entries[-1] += 1e-3
    overlap.with_entries(entries).write(path, "overlap")
    command = ("compute-overlap", structures, "--basis", ions, "-o", tmp_path / "o", "--like", like)
    code, said, err = dock(*command)
    assert (code, said) == (1, "")
    assert "the basis is not that of this dataset: its S of 0 differs by 0.001" in err
    info = like / "dft/0/info.json"
    info.write_text(info.read_text().replace("1,\n   2\n", "2,\n   1\n"))
    document = json.loads(info.read_text())
    document["elements_orbital_map"]["C"] = [0, 1, 0, 1, 2]
    info.write_text(json.dumps(document))
    code, said, err = dock(*command)
    assert code == 1
    assert "C has the shells s2p2d1 [0, 0, 1, 1, 2], expected s2p2d1 [0, 1, 0, 1, 2]" in err


def test_memory_does_not_grow_with_the_matrix(ions: Path, tmp_path: Path) -> None:
    """Only lists of pairs are whole: traced allocations stay below the matrix itself."""
    import tracemalloc

    structure = graphene(14, 0.1)
    bases = read_bases(Request((str(ions),)), [6])
    integrals = TwoCentre(bases)
    integrals.prepare("overlap", [6])
    pairs = touching_pairs(structure, bases)
    tracemalloc.start()
    write_matrix(tmp_path / "overlap.h5", structure, integrals, pairs, "overlap")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = (tmp_path / "overlap.h5").stat().st_size
    assert size > 15e6
    assert peak < size


def test_every_quantity_has_a_name_in_the_format() -> None:
    from deeph_dock.integrals.operators import OPERATORS
    from deeph_spec.dataset import MATRIX_FILES
    from deeph_spec.matrix_files import UNITS, VECTORS

    assert set(overlap_matrices.MATRICES) == set(OPERATORS)
    for quantity, name in overlap_matrices.MATRICES.items():
        assert name in MATRIX_FILES
        assert UNITS[name] == OPERATORS[quantity].unit
        assert (name in VECTORS) == (OPERATORS[quantity].components == 3)


def test_a_check_reads_a_basis_that_changed_again(
    dock: Dock, ions: Path, structures: Path, tmp_path: Path
) -> None:
    """Two calls in one process, as in a notebook."""
    own = tmp_path / "C.ion"
    own.write_bytes((ions / "C.ion").read_bytes())
    dock("compute-overlap", structures, "--basis", own, "-o", tmp_path / "out")
    command = ("check", tmp_path / "out", "--basis", own)
    code, said, _ = dock(*command)
    assert code == 0
    assert "S is that of the basis" in said
    own.write_bytes(own.read_bytes()[:5000])
    code, _, err = dock(*command)
    assert code == 1
    assert "C.ion" in err
