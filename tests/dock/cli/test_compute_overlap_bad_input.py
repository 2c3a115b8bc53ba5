"""`dock compute-overlap` with input that is wrong: one clear line, nothing half-written."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock import cli
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from deeph_spec.system import SystemInfo
from deeph_spec.validation import validate_dataset

Dock = Callable[..., tuple[int, str, str]]
COMMAND = [sys.executable, "-c", "from deeph_dock.cli import main; main()"]


@pytest.fixture
def dock(capsys: pytest.CaptureFixture[str]) -> Dock:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def write_orbitals(folder: Path, symbol: str, name: str = "") -> Path:
    """Write a small basis of ABACUS: s and p, (1 - (r/a)^2)^3 with a = 4 Bohr."""
    folder.mkdir(exist_ok=True)
    r = 0.04 * np.arange(101)
    lines = [f"Element {symbol}", "Energy Cutoff(Ry) 60", "Radius Cutoff(a.u.) 4", "Lmax 1"]
    lines += ["Number of Sorbital--> 1", "Number of Porbital--> 1", "Mesh 101", "dr 0.04"]
    for degree in (0, 1):
        values = r**degree * (1 - (r / 4) ** 2) ** 3
        weights = np.full(101, 0.04 * 2 / 3)
        weights[1::2] *= 2
        weights[[0, -1]] /= 2
        values /= np.sqrt(np.sum(weights * r**2 * values**2))
        lines += ["Type L N", f"0 {degree} 0", " ".join(f"{value:.14e}" for value in values)]
    path = folder / (name or f"{symbol}_gga_4au_60Ry_1s1p.orb")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_poscar(path: Path, *atoms: tuple[str, float, float, float], cell: float = 6.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol, *_ in atoms])
    positions = np.array([position for _, *position in atoms], float)
    Structure(np.eye(3) * cell, positions, numbers).write(path)
    return path


def water(path: Path, shift: float = 0.0) -> Path:
    atoms = [("O", 0, 0, shift), ("H", 0, 0.757, 0.587), ("H", 0, -0.757, 0.587)]
    return write_poscar(path, *atoms)


@pytest.fixture
def basis(tmp_path: Path) -> Path:
    for symbol in ("H", "O"):
        write_orbitals(tmp_path / "basis", symbol)
    return tmp_path / "basis"


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    return water(tmp_path / "water.vasp")


def one_line(result: tuple[int, str, str]) -> str:
    """Give what is said, wherever, if it is one line and the exit code is 1."""
    code, out, err = result
    assert code == 1, out + err
    assert "Traceback" not in out + err
    assert "internal error" not in out + err
    return out + err


def nothing_in(folder: Path) -> bool:
    """Tell that there are no files, hidden ones included."""
    return not [path for path in folder.rglob("*") if path.is_file()]


# -- bases ----------------------------------------------------------------------------------------


def test_missing_element(dock: Dock, basis: Path, tmp_path: Path) -> None:
    carbon = write_poscar(tmp_path / "co.vasp", ("C", 0, 0, 0), ("O", 0, 0, 1.2))
    said = one_line(dock("compute-overlap", carbon, "--basis", basis, "-o", tmp_path / "out"))
    assert said == (
        f"error: {basis}: no basis of C; there are those of H, O (abacus): add the missing files "
        "(*.orb)\n"
    )
    assert nothing_in(tmp_path / "out")


def test_two_files_for_one_element(
    dock: Dock, basis: Path, structure: Path, tmp_path: Path
) -> None:
    write_orbitals(basis, "O", "other.orb")
    command = ("compute-overlap", structure, "-o", tmp_path / "out", "--basis")
    said = one_line(dock(*command, basis))
    assert said.startswith(f"error: two bases of O: {basis}/O_gga_4au_60Ry_1s1p.orb and {basis}/")
    assert nothing_in(tmp_path / "out")
    hydrogen = basis / "H_gga_4au_60Ry_1s1p.orb"
    code, _, err = dock(*command, hydrogen, "--basis", basis / "other.orb")
    assert (code, err) == (0, "")


def test_two_files_for_an_element_that_is_not_there(
    dock: Dock, basis: Path, structure: Path, tmp_path: Path
) -> None:
    for name in ("Si_1.orb", "Si_2.orb"):
        write_orbitals(basis, "Si", name)
    (basis / "damaged.orb").write_text((basis / "Si_1.orb").read_text()[:2000])
    code, _, err = dock("compute-overlap", structure, "--basis", basis, "-o", tmp_path / "out")
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89\x00\xffgarbage", "no basis of O; there are those of H"),
        ("cut", "O_gga_4au_60Ry_1s1p.orb: function 2 has 35 values, 'Mesh' says 101"),
        ("nan", "O_gga_4au_60Ry_1s1p.orb: function 1 has something that is no number"),
    ],
)
def test_damaged_basis(
    dock: Dock, basis: Path, structure: Path, tmp_path: Path, content: bytes | str, message: str
) -> None:
    path = basis / "O_gga_4au_60Ry_1s1p.orb"
    text = path.read_text()
    damaged = {"cut": text[:3000], "nan": text.replace("e-01", "e-01 nan", 1)}
    path.write_bytes(content if isinstance(content, bytes) else damaged[content].encode())
    said = one_line(dock("compute-overlap", structure, "--basis", basis, "-o", tmp_path / "out"))
    assert message in said
    assert said.count("\n") == 1
    assert nothing_in(tmp_path / "out")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--orbitals", "O7.0-s2p1"], "orbitals 'O7.0-s2p1' are asked for"),
        (["--quadrature", "simpson"], "integrals 'simpson' are not known for .orb files"),
        (["--quadrature", "abacus:-3"], "integrals 'abacus:-3' are not known"),
        (["--like", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_the_basis_cannot_do(
    dock: Dock, basis: Path, structure: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    command = ("compute-overlap", structure, "--basis", basis, "-o", tmp_path / "out")
    said = one_line(dock(*command, *options))
    assert message in said
    assert said.count("\n") == 1
    assert nothing_in(tmp_path / "out")


def test_unknown_contractions_of_openmx(
    dock: Dock, dft_data: Callable[[str], Path], tmp_path: Path
) -> None:
    """More functions than the file has, no such file, no contraction at all, and none named."""
    (pao,) = [path for path in dft_data("openmx/basis").rglob("S7.0.pao")][:1]
    sulfur = write_poscar(tmp_path / "s.vasp", ("S", 0, 0, 0), cell=12)
    command = ("compute-overlap", sulfur, "--basis", pao, "-o", tmp_path / "out")
    for options, message in (
        (["--orbitals", "S7.0-s99p1"], "S7.0"),
        (["--orbitals", "S7.0-x2"], "S7.0-x2"),
        (["--orbitals", "S9.0-s2p2"], "no S9.0.pao"),
        (["--orbitals", "sulfur"], "sulfur"),
        ([], "no orbitals named for S"),
    ):
        said = one_line(dock(*command, *options))
        assert message in said
        assert said.count("\n") == 1
    assert nothing_in(tmp_path / "out")


@pytest.mark.parametrize("where", ["missing/", "missing/basis", "empty"])
def test_no_basis(dock: Dock, structure: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "empty").mkdir()
    command = ("compute-overlap", structure, "-o", tmp_path / "out", "--basis")
    said = one_line(dock(*command, f"{tmp_path}/{where}"))
    assert f"error: {tmp_path}/{where}: no " in said
    assert said.count("\n") == 1


def test_bases_of_two_codes(dock: Dock, basis: Path, structure: Path, tmp_path: Path) -> None:
    (basis / "O.ion").write_text("# PAOs:____\n")
    said = one_line(dock("compute-overlap", structure, "--basis", basis, "-o", tmp_path / "out"))
    assert "basis files of several codes: siesta (O.ion), abacus (H_gga_4au" in said


def test_charges_from_pseudopotentials(
    dock: Dock, basis: Path, structure: Path, tmp_path: Path
) -> None:
    """Without them unknown, and said so; with them done again; a damaged one is one line."""
    command = ("compute-overlap", structure, "-o", tmp_path / "out", "--basis")
    info = tmp_path / "out/dft/water/info.json"
    code, out, _ = dock(*command, basis)
    assert code == 0
    assert "occupation is null: no valence charge of H, O" in out
    assert SystemInfo.read(info).occupation is None
    full = shutil.copytree(basis, tmp_path / "full")
    for symbol, charge in (("H", "1.0"), ("O", "6.0")):
        header = f"<PP_HEADER element='{symbol}' z_valence='{charge}' number_of_proj='0'/>"
        (full / f"{symbol}.upf").write_text(f"<UPF version='2.0.1'>\n{header}\n")
    code, out, _ = dock(*command, full)
    assert code == 0
    assert "occupation" not in out
    assert "1 of them again" in out
    assert SystemInfo.read(info).occupation == 8.0
    cut = shutil.copytree(full, tmp_path / "cut")
    (cut / "O.upf").write_text("<UPF version='2.0.1'>\n<PP_HEADER element='O' z_vale")
    said = one_line(dock(*command, cut))
    assert "O.upf: PP_HEADER is not complete" in said
    assert said.count("\n") == 1
    assert SystemInfo.read(info).occupation == 8.0


# -- structures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("atoms", "cell", "message"),
    [
        ([("O", 0, 0, 0), ("H", 0, 0, 0.29)], 6.0, "atoms 1 and 2 are 0.29 Å apart"),
        ([("O", 0, 0, 0), ("H", 0, 0, 0)], 6.0, "atoms 1 and 2 are 0 Å apart"),
        ([("O", 0, 0, 0), ("H", 0, 0, 5.75)], 6.0, "atoms 1 and 2 are 0.25 Å apart"),
        ([("O", 0, 0, 0)], 0.25, "atoms 1 and 1 are 0.25 Å apart"),
    ],
)
def test_atoms_too_close(
    dock: Dock, basis: Path, tmp_path: Path, atoms: list, cell: float, message: str
) -> None:
    path = write_poscar(tmp_path / "close.vasp", *atoms, cell=cell)
    said = one_line(dock("compute-overlap", path, "--basis", basis, "-o", tmp_path / "out"))
    assert message in said
    assert "close.vasp" in said
    assert nothing_in(tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (4, "0 6 0", "the cell has a volume of 0 Å^3"),
        (4, "0 0 0", "the cell has a volume of 0 Å^3"),
        (4, "0 0 nan", "line 5: found '0 0 nan'"),
        (10, "inf 0 0", "line 11: found 'inf 0 0'"),
        (10, "", "line 11"),
        (5, "Zz H", "'Zz' is not an element symbol"),
        (6, "1 3", "expected position 4 of 4"),
        (slice(None), "\x00\x01\x02", "line 3"),
        (slice(None), "", "line 3"),
    ],
)
def test_structures_that_are_none(
    dock: Dock,
    basis: Path,
    structure: Path,
    tmp_path: Path,
    line: int | slice,
    text: str,
    message: str,
) -> None:
    lines = structure.read_text().splitlines()
    if isinstance(line, int):
        lines[line] = text
    else:
        lines = [text]
    structure.write_text("\n".join(lines) + "\n")
    said = one_line(dock("compute-overlap", structure, "--basis", basis, "-o", tmp_path / "out"))
    assert message in said
    assert "water.vasp" in said
    assert said.count("\n") == 1
    assert nothing_in(tmp_path / "out")


def test_one_bad_structure_does_not_stop_the_others(
    dock: Dock, basis: Path, tmp_path: Path
) -> None:
    for number in range(3):
        water(tmp_path / "many" / f"{number}.vasp", number / 100)
    write_poscar(tmp_path / "many" / "3.vasp", ("O", 0, 0, 0), ("O", 0, 0, 0.2))
    (tmp_path / "many" / "1.vasp").write_text("water\n")
    report = tmp_path / "report.json"
    command = ("compute-overlap", tmp_path / "many", "--basis", basis, "-o", tmp_path / "out")
    code, out, err = dock(*command, "--report", report)
    assert (code, err) == (1, "")
    assert "     2  computed in" in out
    assert "     2  failed" in out
    statuses = {row["id"]: row["status"] for row in json.loads(report.read_text())}
    assert statuses == {"0": "converted", "1": "failed", "2": "converted", "3": "failed"}
    assert sorted(path.name for path in (tmp_path / "out/dft").iterdir()) == ["0", "2"]
    water(tmp_path / "many" / "1.vasp", 0.01)
    (tmp_path / "many" / "3.vasp").unlink()
    code, out, err = dock(*command)
    assert (code, err) == (0, "")
    assert "     1  computed in" in out
    assert "     2  skipped: done before, unchanged" in out


def test_orbitals_that_reach_over_many_images(dock: Dock, basis: Path, tmp_path: Path) -> None:
    """One atom in a cell of 1.5 Å, orbitals of 2.1 Å: as the same crystal with eight atoms."""
    small = write_poscar(tmp_path / "s" / "small.vasp", ("O", 0, 0, 0), cell=1.5)
    places = [("O", *(1.5 * np.array(place))) for place in np.ndindex(2, 2, 2)]
    write_poscar(tmp_path / "s" / "large.vasp", *places, cell=3.0)
    assert small.exists()
    code, _, err = dock("compute-overlap", tmp_path / "s", "--basis", basis, "-o", tmp_path / "o")
    assert (code, err) == (0, "")
    one = BlockMatrix.read(tmp_path / "o/dft/small/overlap.h5")
    eight = BlockMatrix.read(tmp_path / "o/dft/large/overlap.h5")
    steps = np.array(list(np.ndindex(2, 2, 2)))
    pairs = eight.atom_pairs
    away = 2 * pairs[:, :3] + steps[pairs[:, 4]] - steps[pairs[:, 3]]
    rows = one.rows_of(np.concatenate([away, np.zeros((len(away), 2), np.int64)], axis=1))
    assert rows.min() >= 0
    assert len(eight) == 8 * len(one)
    assert len(one) == 81
    for row, pair in enumerate(rows.tolist()):
        np.testing.assert_allclose(eight.block(row), one.block(pair), atol=1e-9)


# -- interrupted, killed, no space ----------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for number in range(40):
        water(tmp_path / "many" / f"{number:03d}.vasp", number / 1000)
    return tmp_path / "many"


def start_until(data: Path, count: int, command: list[str]) -> subprocess.Popen[str]:
    """Start the command, and wait until some structures are there."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(list(data.glob("dft/[0-9]*/info.json"))) < count and time.monotonic() < deadline:
        time.sleep(0.005)
    return process


def whole(data: Path) -> dict[str, str]:
    """Give a hash of the overlap of each structure, all of which are whole."""
    assert [f for f in validate_dataset(data) if f.severity == "error"] == []
    folders = [path for path in (data / "dft").iterdir() if path.name[0] != "."]
    for folder in folders:
        assert sorted(p.name for p in folder.iterdir()) == ["POSCAR", "info.json", "overlap.h5"]
    return {
        folder.name: hashlib.sha256((folder / "overlap.h5").read_bytes()).hexdigest()
        for folder in folders
    }


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_ended_half_way_it_goes_on(
    basis: Path, many: Path, tmp_path: Path, ending: signal.Signals
) -> None:
    data = tmp_path / "out"
    command = [*COMMAND, "compute-overlap", str(many), "--basis", str(basis), "-o", str(data)]
    process = start_until(data, 3, command)
    os.killpg(process.pid, ending)  # as a terminal does: all processes of the group
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    if ending == signal.SIGINT:
        assert process.returncode == 130, out + err
        assert err == "interrupted\n"
        assert "not done; run the same command again to go on" in out
    done = [path.parent.name for path in data.glob("dft/[0-9]*/info.json")]
    assert 3 <= len(done) < 40
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{len(done):6d}  skipped: done before, unchanged" in again.stdout
    assert f"{40 - len(done):6d}  computed in" in again.stdout
    hashes = whole(data)
    assert len(hashes) == 40
    assert len(set(hashes.values())) == 40
    assert not [path for path in data.rglob(".*") if path.is_dir()]


def test_results_may_not_go_where_a_file_is(
    dock: Dock, basis: Path, structure: Path, tmp_path: Path
) -> None:
    before = structure.read_bytes()
    code, out, err = dock("compute-overlap", structure, "--basis", basis, "-o", structure)
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    assert structure.read_bytes() == before


def test_a_basis_that_changed_is_read_again(
    dock: Dock, basis: Path, structure: Path, tmp_path: Path
) -> None:
    """Two calls in one process, as in a notebook."""
    command = ("compute-overlap", structure, "--basis", basis, "-o", tmp_path / "out")
    assert dock(*command)[0] == 0
    path = basis / "O_gga_4au_60Ry_1s1p.orb"
    path.write_text(path.read_text()[:3000])
    assert "O_gga_4au_60Ry_1s1p.orb: function 2 has" in one_line(dock(*command))


def test_no_space_is_one_line_and_leaves_nothing(basis: Path, tmp_path: Path) -> None:
    """Files may not be larger than 20 kB: overlap.h5 of one of two structures is."""
    water(tmp_path / "s" / "small.vasp")
    crystal = [("O", *(2.0 * np.array(place))) for place in np.ndindex(2, 2, 2)]
    write_poscar(tmp_path / "s" / "wide.vasp", *crystal, cell=4.0)
    data = tmp_path / "out"
    command = [*COMMAND, "compute-overlap", str(tmp_path / "s"), "--basis", str(basis)]
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
    program, option, code, *arguments = [*command, "-o", str(data)]
    done = subprocess.run(
        [program, option, limit + code, *arguments], capture_output=True, text=True, check=False
    )
    said = one_line((done.returncode, done.stdout, done.stderr))
    assert "wide" in said
    assert "File too large" in said
    assert list(whole(data)) == ["small"]
    shutil.rmtree(data)
    again = subprocess.run([*command, "-o", str(data)], capture_output=True, text=True, check=True)
    assert "     2  computed in" in again.stdout
    assert sorted(whole(data)) == ["small", "wide"]
