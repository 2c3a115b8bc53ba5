"""`dock convert` and `dock check` as a user meets them: lines, exit codes, and every way to err."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deeph_dock import cli
from deeph_dock.codes import CODES, load

Toy = Callable[..., Any]
Dock = Callable[..., tuple[int, str, str]]
COMMAND = [sys.executable, "-c", "from deeph_dock.cli import main; main()"]


@pytest.fixture
def runs(toy_run: Toy, tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        toy_run(seed=number, atoms=2).write(tmp_path / "runs" / f"{number:04d}")
    return tmp_path / "runs"


def _one_line(result: tuple[int, str, str]) -> str:
    """Give the message of a command that failed as it should: one line, exit code 1."""
    code, _, errors = result
    assert code == 1
    assert errors.count("\n") == 1, errors
    assert "Traceback" not in errors
    return errors.removeprefix("error: ").strip()


# -- what it prints -------------------------------------------------------------------------------


def test_conversion_says_what_it_did(dock: Dock, runs: Path, tmp_path: Path) -> None:
    code, out, err = dock("convert", runs, tmp_path / "data")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"3 SIESTA calculations in {runs}"
    assert lines[1].startswith(f"     3  converted to {tmp_path / 'data' / 'dft'} in ")
    code, out, _ = dock("convert", runs, tmp_path / "data")
    assert code == 0
    assert out.splitlines()[1:] == ["     3  skipped: done before, inputs unchanged"]


def test_dry_run_writes_nothing(dock: Dock, runs: Path, tmp_path: Path) -> None:
    code, out, _ = dock("convert", runs, tmp_path / "data", "--dry-run")
    assert code == 0
    assert "     3  would be converted: 0001, 0002, 0003" in out
    assert not (tmp_path / "data").exists()


def test_failures_and_warnings_are_named_and_the_rest_is_done(
    dock: Dock, runs: Path, tmp_path: Path
) -> None:
    path = runs / "0002" / "toy.HSX"
    path.write_bytes(path.read_bytes()[:1000])
    (runs / "0003" / "toy.out").unlink()
    report = tmp_path / "report.json"
    code, out, err = dock("convert", runs, tmp_path / "data", "--report", report)
    assert code == 1
    assert err == ""
    assert "     2  converted to" in out
    assert "     1  failed" in out
    assert f"        0002: {path}: cut off: 1000 bytes" in out
    assert "warning: 0003: no output of SIESTA found" in out
    statuses = {row["id"]: row["status"] for row in json.loads(report.read_text())}
    assert statuses == {"0001": "converted", "0002": "failed", "0003": "converted"}


def test_two_processes_give_the_same_dataset(dock: Dock, runs: Path, tmp_path: Path) -> None:
    dock("convert", runs, tmp_path / "one")
    done = subprocess.run(
        [*COMMAND, "convert", str(runs), str(tmp_path / "two"), "-j", "2"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    for name in ("POSCAR", "overlap.h5", "hamiltonian.h5"):
        for id in ("0001", "0002", "0003"):
            first, second = (tmp_path / d / "dft" / id / name for d in ("one", "two"))
            assert first.read_bytes() == second.read_bytes()


def test_check_prints_a_row_for_each_structure_and_a_verdict(
    dock: Dock, dft_data: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(dft_data("siesta/H2O_box/0001"), tmp_path / "runs" / "0001")
    shutil.copytree(dft_data("siesta/H2O_box/0002"), tmp_path / "runs" / "0002")
    dock("convert", tmp_path / "runs", tmp_path / "data")
    code, out, err = dock("check", tmp_path / "data", "--json", tmp_path / "check.json")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines() if line.strip().startswith("000")]
    assert [row[0] for row in rows] == ["0001", "0002"]
    assert all(row[1:5] == ["3", "23", "9", "none"] and row[-1] == "ok" for row in rows)
    conclusion = out.splitlines()[-1]
    assert conclusion == (
        "all 2 structures are right; eigenvalues compared with the code's own in all"
    )
    document = json.loads((tmp_path / "check.json").read_text())
    assert document["ok"] is True
    assert [row["ok"] for row in document["structures"]] == [True, True]
    code, out, _ = dock("check", tmp_path / "data" / "dft" / "0002", "--runs", tmp_path / "runs")
    assert code == 0
    assert out.splitlines()[-1].startswith("the structure is right; eigenvalues compared")


def test_check_of_a_broken_structure_fails_and_names_it(
    dock: Dock, runs: Path, tmp_path: Path
) -> None:
    dock("convert", runs, tmp_path / "data")
    for path in (tmp_path / "data").rglob("eigval_dft.h5"):
        path.unlink()  # the made runs have made eigenvalues
    (tmp_path / "data" / "dft" / "0002" / "overlap.h5").write_bytes(b"no")
    code, out, _ = dock("check", tmp_path / "data")
    assert code == 1
    assert "error E15" in out
    assert "FAILED" in out
    assert out.splitlines()[-1] == "1 of 3 structures failed"


def test_check_of_wrong_eigenvalues_fails(dock: Dock, runs: Path, tmp_path: Path) -> None:
    dock("convert", runs, tmp_path / "data")
    code, out, _ = dock("check", tmp_path / "data" / "dft" / "0001")
    assert code == 1
    assert "failed 0001: eigenvalues: they differ from the code's own by" in out


# -- every way to err -----------------------------------------------------------------------------


def test_missing_source(dock: Dock, tmp_path: Path) -> None:
    message = _one_line(dock("convert", tmp_path / "nowhere", tmp_path / "data"))
    assert message == f"{tmp_path / 'nowhere'}: no such folder"
    assert not (tmp_path / "data").exists()


def test_empty_source(dock: Dock, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = _one_line(dock("convert", tmp_path / "empty", tmp_path / "data"))
    assert "no calculation found in it; looked for SIESTA (*.HSX)" in message
    assert all(load(code).name in message for code in CODES)


def test_unknown_code(dock: Dock, runs: Path, tmp_path: Path) -> None:
    message = _one_line(dock("convert", runs, tmp_path / "data", "--code", "vasp"))
    assert message == f"no code 'vasp'; known are {', '.join(CODES)}"


def test_destination_that_is_a_file(dock: Dock, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    message = _one_line(dock("convert", runs, tmp_path / "data"))
    assert message == f"{tmp_path / 'data' / 'dft'}: Not a directory"


def test_destination_that_is_read_only(dock: Dock, runs: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.access(locked, os.W_OK):  # root may write everywhere but here
        locked = Path("/proc/self")
    message = _one_line(dock("convert", runs, locked / "data"))
    assert str(locked) in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "--overwritten"], "--overwrite"),
        (["check", "--jsn", "x"], "--json"),
        (["chek", "data"], "check"),
        (["convert"], "Missing argument 'SRC... DST'"),
        (["convert", "a", "b", "-j", "many"], "Invalid value for '-j'"),
        (["convert", "a", "b", "-j", "0"], "Invalid value for '-j'"),
        (["check"], "Missing argument 'DATASET'"),
    ],
)
def test_wrong_usage_is_one_line_that_helps(dock: Dock, arguments: list[str], message: str) -> None:
    code, out, err = dock(*arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert message in line
    assert re.search(r" \(see dock( convert| check)? --help\)$", line)


def test_one_folder_is_too_few(dock: Dock) -> None:
    message = _one_line(dock("convert", "only-one"))
    assert "one folder given (only-one), two are needed" in message


def test_no_command_gives_the_help(dock: Dock) -> None:
    code, out, err = dock()
    assert (code, err) == (2, "")
    assert out.startswith("Usage: dock ")
    assert "\n  convert " in out


def test_check_of_nothing(dock: Dock, tmp_path: Path) -> None:
    assert "no such folder" in _one_line(dock("check", tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    assert "no structure in it" in _one_line(dock("check", tmp_path / "empty"))


def test_check_with_runs_of_something_else(dock: Dock, runs: Path, tmp_path: Path) -> None:
    dock("convert", runs, tmp_path / "data")
    os.rename(runs / "0001", tmp_path / "other")
    message = _one_line(dock("check", tmp_path / "data", "--runs", tmp_path / "other"))
    assert "no calculation of any structure of the dataset" in message


def test_report_that_cannot_be_written(dock: Dock, runs: Path, tmp_path: Path) -> None:
    message = _one_line(
        dock("convert", runs, tmp_path / "data", "--report", tmp_path / "no" / "report.json")
    )
    assert "the folder" in message
    assert "does not exist" in message


def test_unexpected_error_is_one_line_and_debug_shows_where(
    dock: Dock, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr("deeph_dock.conversion.plan", broken)
    message = _one_line(dock("convert", runs, tmp_path / "data"))
    assert (
        message == "internal error: ZeroDivisionError: oh no (run again with --debug to see where)"
    )
    with pytest.raises(ZeroDivisionError):
        cli.run(["convert", str(runs), str(tmp_path / "data")], debug=True)


def test_debug_may_stand_anywhere(tmp_path: Path) -> None:
    for arguments in (["--debug", "check", "nowhere"], ["check", "nowhere", "--debug"]):
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert "InputError: nowhere: no such folder" in done.stderr


def test_ctrl_c_says_what_was_done_and_leaves_nothing_half(toy_run: Toy, tmp_path: Path) -> None:
    first = toy_run(atoms=3).write(tmp_path / "runs" / "0000")
    for number in range(1, 400):
        shutil.copytree(first, tmp_path / "runs" / f"{number:04d}")
    process = subprocess.Popen(
        [*COMMAND, "convert", str(tmp_path / "runs"), str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "data" / "dft" / "0003").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "interrupted\n"
    assert "  converted to" in out
    assert "not started; run the same command again to go on" in out
    for folder in (tmp_path / "data" / "dft").iterdir():
        assert (folder / "info.json").exists(), folder


# -- the rest -------------------------------------------------------------------------------------


def test_help_is_quick_and_names_every_command() -> None:
    best = 10.0
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
        best = min(best, time.perf_counter() - start)
    for name in ("convert", "check", "band"):
        assert f"\n  {name} " in done.stdout
    program = (
        "import sys, deeph_dock.cli\n"
        "print(*(m for m in ('numpy', 'h5py', 'rich', 'scipy') if m in sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert loaded.stdout.strip() == ""
    assert best < 1.0  # 0.1 s on an idle machine


def test_version(dock: Dock) -> None:
    code, out, _ = dock("--version")
    assert code == 0
    assert out.startswith("deeph-dock ")


def test_help_of_a_command_has_an_example(dock: Dock) -> None:
    for name in ("convert", "check"):
        code, out, _ = dock(name, "-h")
        assert code == 0
        assert f"Example: dock {name}" in out


def test_large_dataset_shows_what_fails_and_the_rest_in_one_row(
    dock: Dock, runs: Path, tmp_path: Path
) -> None:
    dock("convert", runs / "0001", tmp_path / "one")
    source = tmp_path / "one" / "dft" / "0001"
    (source / "eigval_dft.h5").unlink()
    for number in range(65):
        shutil.copytree(source, tmp_path / "many" / "dft" / f"[m]{number}")
    (tmp_path / "many" / "dft" / "[m]7" / "POSCAR").unlink()
    code, out, _ = dock("check", tmp_path / "many")
    assert code == 1
    rows = [line.split() for line in out.splitlines() if line.endswith(("ok", "FAILED", " "))]
    assert [row[0] for row in rows if row and row[-1] == "FAILED"] == ["[m]7"]
    assert [row[:2] for row in rows if row and row[-1] == "ok"] == [["64", "others"]]


def test_table_fits_into_eighty_columns(
    dock: Dock, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock("convert", runs, tmp_path / "data")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("TERM", "dumb")
    _, out, _ = dock("check", tmp_path / "data")
    table = [line for line in out.splitlines() if line.startswith((" structure", " 000"))]
    assert len(table) == 4
    assert all(len(line) <= 80 and "…" not in line for line in table)


def test_pairs_without_overlap_are_shown(dock: Dock, toy_run: Toy, tmp_path: Path) -> None:
    run = toy_run(atoms=2)
    partner = int(run.overlap.partner_rows()[0])
    for pair in (0, partner):
        run.overlap.block(pair)[...] = 0
    run.write(tmp_path / "runs" / "1")
    dock("convert", tmp_path / "runs", tmp_path / "data")
    _, out, _ = dock("check", tmp_path / "data")
    assert f"{len({0, partner})} of {len(run.overlap)} pairs have no overlap" in out


def test_only_the_matrices_asked_for_are_written(dock: Dock, runs: Path, tmp_path: Path) -> None:
    code, _, err = dock("convert", runs, tmp_path / "data", "--only", "S")
    assert (code, err) == (0, "")
    assert not list((tmp_path / "data").rglob("hamiltonian.h5"))
    assert len(list((tmp_path / "data").rglob("overlap.h5"))) == 3


def test_unknown_matrix_is_named(dock: Dock, runs: Path, tmp_path: Path) -> None:
    code, _, err = dock("convert", runs, tmp_path / "data", "--only", "overlap,hamilton")
    assert code == 2
    assert "no matrix 'hamilton'; known are overlap, hamiltonian, density-matrix" in err
