"""`dock run pyscf` as a user meets it: tables, exit codes, Ctrl-C, what a second run does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from deeph_dock import cli

Dock = Callable[..., tuple[int, str, str]]
COMMAND = [sys.executable, "-c", "from deeph_dock.cli import main; main()"]
pytest.importorskip("pyscf", reason="PySCF is not installed (deeph-dock[pyscf])")


@pytest.fixture(autouse=True)
def _no_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyscf.scf import hf

    monkeypatch.setattr(hf, "MUTE_CHKFILE", True)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def dock(capsys: pytest.CaptureFixture[str]) -> Dock:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def structures(tmp_path: Path) -> Path:
    """Three hydrogen molecules."""
    for number in (1, 2, 3):
        _hydrogen(tmp_path / "s" / f"{number:04d}.xyz", 0.7 + number / 100)
    return tmp_path / "s"


def _hydrogen(path: Path, length: float) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"2\n\nH 0 0 0\nH 0 0 {length}\n")


def test_run_check_and_run_again(dock: Dock, structures: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    code, out, err = dock("run", "pyscf", structures, data, "--basis", "sto-3g")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"3 molecules in {structures}: pbe"
    row = next(line.split() for line in lines if line.strip().startswith("0002"))
    assert row[1:6] == ["H2", "molecule", "2", "2", "4"]
    assert lines[-1].startswith("     3  computed in ")
    code, out, _ = dock("check", data)
    assert code == 0
    assert out.splitlines()[-1].startswith("all 3 structures are right; eigenvalues compared")
    code, out, _ = dock("run", "pyscf", structures, data, "--basis", "sto-3g")
    assert code == 0
    assert out.splitlines()[1:] == ["     3  skipped: done before, unchanged"]


def test_failures_are_named_and_the_rest_is_done(
    dock: Dock, structures: Path, tmp_path: Path
) -> None:
    (structures / "0002.xyz").write_text("2\n\nH 0 0 0\n")
    _hydrogen(structures / "0003.xyz", 0.01)
    report = tmp_path / "report.json"
    arguments = (structures, tmp_path / "data", "--basis", "sto-3g", "--report", report)
    code, out, err = dock("run", "pyscf", *arguments)
    assert (code, err) == (1, "")
    assert out.splitlines()[0].startswith("2 molecules, 1 unreadable file in ")
    assert "     1  computed in" in out
    assert "     2  failed" in out
    assert f"        0002: {structures / '0002.xyz'}: cannot be read as a structure" in out
    assert "        0003: 0003.xyz: atoms 1 and 2 are 0.01 Å apart" in out
    statuses = {row["id"]: row["status"] for row in json.loads(report.read_text())}
    assert statuses == {"0001": "converted", "0002": "failed", "0003": "failed"}
    assert sorted(p.name for p in (tmp_path / "data" / "dft").iterdir()) == ["0001"]


def test_dry_run_says_what_would_be_done(dock: Dock, structures: Path, tmp_path: Path) -> None:
    code, out, _ = dock("run", "pyscf", structures, tmp_path / "data", "--dry-run")
    assert code == 0
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("0001"))
    assert row[:6] == ["0001", "H2", "molecule", "2", "10", "2"]
    assert "     3  would be computed" in out
    assert not (tmp_path / "data").exists()


def test_options_reach_pyscf(dock: Dock, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "dft" / "a"
    _hydrogen(tmp_path / "a.xyz", 0.74)
    options = ["--functional", "lda", "--spin", "2", "--basis", "6-31g", "--density-matrix"]
    code, out, _ = dock("run", "pyscf", tmp_path / "a.xyz", tmp_path / "data", *options)
    assert code == 0, out
    assert out.splitlines()[0].endswith(": lda, two spin channels")
    info = json.loads((folder / "info.json").read_text())
    assert info["spin"] == "collinear"
    assert info["provenance"]["functional"] == "lda,vwn"
    assert info["provenance"]["basis"] == {"H": "6-31g"}
    assert (folder / "density_matrix.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x.xyz"], 1, "two are needed: dock run pyscf STRUCTURES... OUT"),
        (["no.xyz", "data"], 1, "no.xyz: no such file or folder"),
        (["no.xyz", "data", "--kmesh", "2 2"], 2, "--kmesh '2 2': expected three divisions"),
        (["no.xyz", "data", "--kmesh", "0 1 1"], 2, "--kmesh '0 1 1'"),
        (["no.xyz", "data", "--spin", "up"], 2, "--spin 'up': expected auto"),
        (["no.xyz", "data", "--molecule", "--crystal"], 2, "exclude each other"),
    ],
)
def test_command_lines_that_make_no_sense(
    dock: Dock, arguments: list[str], code: int, said: str
) -> None:
    found, _, err = dock("run", "pyscf", *arguments)
    assert found == code
    assert said in err
    assert err.count("\n") == 1


def test_without_pyscf_one_line_says_how_to_install_it(
    dock: Dock, structures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyscf", None)
    code, _, err = dock("run", "pyscf", structures, tmp_path / "data")
    assert code == 1
    assert "pip install 'deeph-dock[pyscf]'" in err
    assert err.count("\n") == 1


def test_help_imports_neither_pyscf_nor_numpy() -> None:
    program = (
        "import sys\nfrom deeph_dock import cli\n"
        "try:\n    cli.run(['run', 'pyscf', '--help'])\nfinally:\n"
        "    print(sorted({'numpy', 'pyscf', 'ase', 'rich', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Example: dock run pyscf structures data" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_run_leaves_whole_structures_and_goes_on(tmp_path: Path, jobs: int) -> None:
    """Ctrl-C comes when the first of six is there; each takes half a second or more."""
    for number in range(1, 7):
        path = tmp_path / "s" / f"{number}.xyz"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"3\n\nO 0 0 0\nH 0 0.757 0.5{number}\nH 0 -0.757 0.587\n")
    data = tmp_path / "data"
    command = [*COMMAND, "run", "pyscf", str(tmp_path / "s"), str(data), "-j", str(jobs)]
    command += ["--basis", "sto-3g"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list(data.glob("dft/[0-9]/info.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes of the group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert err == "interrupted\n"
    assert "not done; run the same command again to go on" in out
    done = [path.name for path in (data / "dft").iterdir()]
    assert 0 < len(done) < 6
    assert not [name for name in done if name.startswith(".")]
    for name in done:
        assert (data / "dft" / name / "info.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"{len(done):6d}  skipped: done before, unchanged" in again.stdout
    assert f"{6 - len(done):6d}  computed in" in again.stdout
