"""`dock generate` as a user meets it: what it makes, records, refuses, and that seeds decide."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock.structure_files import find_structures
from deeph_dock.structures.recording import generator
from deeph_dock.structures.shift import find_layers
from deeph_spec.structure import Structure

Dock = Callable[..., tuple[int, str, str]]
A = 3.52
LAYER = Structure(
    np.array([[A, 0, 0], [-A / 2, A * np.sqrt(3) / 2, 0], [0, 0, 20]]),
    [[0, A / np.sqrt(3), 10.0], [A / 2, A / np.sqrt(12), 11.8], [A / 2, A / np.sqrt(12), 8.2]],
    [42, 52, 52],
)


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """One layer of MoTe2."""
    LAYER.write(tmp_path / "MoTe2.vasp")
    return tmp_path / "MoTe2.vasp"


@pytest.fixture
def bilayer(tmp_path: Path) -> Path:
    """Two layers, the upper one inverted."""
    inverted = [6.0, 6.0, 27.2] - LAYER.positions * [1, 1, 1]
    lattice = LAYER.lattice + np.diag([0, 0, 10.0])
    both = np.concatenate([LAYER.positions, inverted])
    order = [0, 3, 1, 2, 4, 5]
    structure = Structure(lattice, both[order], np.tile(LAYER.numbers, 2)[order])
    structure.write(tmp_path / "bi.vasp")
    return tmp_path / "bi.vasp"


@pytest.fixture
def water(tmp_path: Path) -> Path:
    (tmp_path / "water.xyz").write_text("3\n\nO 0 0 0\nH 0.76 0.59 0\nH -0.76 0.59 0\n")
    return tmp_path / "water.xyz"


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "generated.json").read_text())
    return found


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def same(first: Path, second: Path) -> bool:
    names = files(first)
    return names == files(second) and not any(filecmp.cmpfiles(first, second, names, False)[1:])


def test_perturb(dock: Dock, layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, err = dock("generate", "perturb", layer, out, "-n", 4, "--strain", 0.02)
    assert (code, err) == (0, "")
    near = [record(out / f"MoTe2/000{n}")["nearest_distance"] for n in (1, 2, 3, 4)]
    assert printed == (
        f"4 structures made in {out}: MoTe2, 3 atoms, "
        f"nearest atoms {min(near):.3f} to {max(near):.3f} Å apart\n"
    )
    assert files(out) == [
        f"MoTe2/000{n}/{f}" for n in (1, 2, 3, 4) for f in ("POSCAR", "generated.json")
    ]
    for number in (1, 2, 3, 4):
        made = Structure.read(out / f"MoTe2/000{number}/POSCAR")
        (step,) = record(out / f"MoTe2/000{number}")["steps"]
        deformation = np.eye(3) + step["strain"]
        assert np.abs(step["strain"]).max() <= 0.02
        assert made.lattice == pytest.approx(LAYER.lattice @ deformation, abs=1e-13)
        moved = made.positions - LAYER.positions @ deformation
        assert np.linalg.norm(moved, axis=1).max() == pytest.approx(step["largest_displacement"])
        assert np.abs(moved).max() <= 0.1


def test_the_record_says_how_a_structure_was_made(dock: Dock, layer: Path, tmp_path: Path) -> None:
    dock("generate", "perturb", layer, tmp_path / "out", "-n", 1, "--seed", 7)
    found = record(tmp_path / "out/MoTe2/0001")
    assert found["command"] == "dock generate perturb"
    assert found["made_by"].startswith("deeph-dock ")
    assert found["source"]["file"] == "MoTe2.vasp"
    assert len(found["source"]["sha256"]) == 64
    assert found["options"]["displacement"] == 0.1
    assert (found["seed"], found["draw"], found["atoms"]) == (7, 1, 3)
    # The record is enough to make the structure again.
    rng = generator(7, "perturb MoTe2 0001")
    made = Structure.read(tmp_path / "out/MoTe2/0001/POSCAR")
    assert np.array_equal(made.positions, LAYER.positions + rng.uniform(-0.1, 0.1, (3, 3)))


def test_seeds_decide_and_nothing_else(dock: Dock, layer: Path, tmp_path: Path) -> None:
    shutil.copy(layer, tmp_path / "other.vasp")
    other = tmp_path / "other.vasp"
    arguments = ("--strain", 0.02, "--displacement", 0.1)
    dock("generate", "perturb", layer, other, tmp_path / "a", *arguments, "-n", 5)
    dock("generate", "perturb", other, layer, tmp_path / "b", *arguments, "-n", 5, "-j", 2)
    assert same(tmp_path / "a", tmp_path / "b")
    dock("generate", "perturb", layer, tmp_path / "c", *arguments, "-n", 3)
    shutil.rmtree(tmp_path / "a/other")
    for number in (4, 5):
        shutil.rmtree(tmp_path / f"a/MoTe2/000{number}")
    assert same(tmp_path / "a", tmp_path / "c")  # fewer of the same
    dock("generate", "perturb", layer, tmp_path / "d", *arguments, "-n", 3, "--seed", 2)
    first, second = (Structure.read(tmp_path / f"{k}/MoTe2/0001/POSCAR") for k in "ad")
    assert not np.allclose(first.positions, second.positions)
    one, two = (Structure.read(tmp_path / f"b/{k}/0001/POSCAR") for k in ("MoTe2", "other"))
    assert not np.allclose(one.positions, two.positions)


def test_strategy_one_of_the_paper(dock: Dock, bilayer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, _ = dock(
        "generate", "shift", bilayer, out, "--grid", 4, 2, "--distance", 6.9, 7.9,
        "--supercell", "3 3 1", "--displacement", 0.1, "--gap", 2.5,
    )  # fmt: skip
    assert code == 0
    assert printed.startswith(f"8 structures made in {out}: Mo18Te36, 54 atoms, nearest atoms ")
    shifts, distances = [], []
    for number in range(1, 9):
        steps = record(out / f"bi/000{number}")["steps"]
        assert [step["step"] for step in steps] == ["shift", "supercell", "perturb"]
        shifts.append(steps[0]["shift"])
        distances.append(steps[0]["distance"])
        made = Structure.read(out / f"bi/000{number}/POSCAR")
        lower, upper = find_layers(made)
        assert len(lower.atoms) == len(upper.atoms) == 27
        assert abs(upper.middle - lower.middle - steps[0]["distance"]) <= 0.2
    assert shifts == [[i / 4, j / 2] for i in range(4) for j in range(2)]
    assert min(distances) >= 6.9
    assert max(distances) <= 7.9
    assert len(set(distances)) == 8


def test_pictures(dock: Dock, layer: Path, bilayer: Path, tmp_path: Path) -> None:
    picture = tmp_path / "grid.png"
    arguments = ("--gap", 2.5, "--grid", 2, 2, "--plot", picture)
    code, printed, _ = dock("generate", "shift", bilayer, tmp_path / "a", *arguments)
    assert code == 0
    assert printed.splitlines()[0] == f"written: {picture}"
    assert picture.read_bytes().startswith(b"\x89PNG")
    code, printed, err = dock(
        "generate", "quasi-1d", layer, tmp_path / "b", "--distance", 7, 8, "--plot", "picture.xyz"
    )
    assert (code, printed) == (1, "")
    assert "a picture is written as .png, .pdf, .svg" in err
    assert not (tmp_path / "b").exists()


def test_what_a_killed_run_left_is_removed(dock: Dock, layer: Path, tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                             capture_output=True, text=True, check=True)  # fmt: skip
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:40] or "host"
    left = tmp_path / f"out/MoTe2/.0001.{host}.{process.stdout.strip()}.tmp"
    left.mkdir(parents=True)
    (left / "POSCAR").touch()
    code, _, _ = dock("generate", "perturb", layer, tmp_path / "out", "-n", 1)
    assert code == 0
    assert [path.name for path in (tmp_path / "out/MoTe2").iterdir()] == ["0001"]


def test_supercell(dock: Dock, layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, _ = dock("generate", "supercell", layer, out, "--matrix", "2 1 0 0 2 0 0 0 1")
    assert (code, files(out)) == (0, ["MoTe2/POSCAR", "MoTe2/generated.json"])
    assert "1 structure made" in printed
    assert "Mo4Te8, 12 atoms, nearest atoms 2.715 Å apart" in printed
    assert record(out / "MoTe2")["steps"] == [
        {"step": "supercell", "matrix": [[2, 1, 0], [0, 2, 0], [0, 0, 1]]}
    ]


def test_substitute(dock: Dock, layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, _ = dock(
        "generate", "substitute", layer, out, "--change", "Te=Se", "--atoms", 2,
        "--supercell", "3 3 1", "--all",
    )  # fmt: skip
    assert code == 0
    steps = [record(path.parent)["steps"] for path in sorted(out.rglob("POSCAR"))]
    assert sum(step[1]["equivalent"] for step in steps) == 18 * 17 // 2
    assert f"{len(steps)} structures made" in printed
    made = Structure.read(out / "MoTe2/0001/POSCAR")
    sites = [atom - 1 for atom in steps[0][1]["atoms"]]
    assert made.numbers[sites].tolist() == [34, 34]
    assert np.delete(made.numbers, sites).tolist() == [42] * 9 + [52] * 16
    code, printed, _ = dock(
        "generate", "substitute", layer, tmp_path / "v", "--change", "Mo=", "-n", 3,
        "--supercell", "3 3 1", "--atoms", 3,
    )  # fmt: skip
    assert code == 0
    assert "Mo6Te18, 24 atoms" in printed


def test_rotate(dock: Dock, layer: Path, water: Path, tmp_path: Path) -> None:
    code, _, _ = dock("generate", "rotate", layer, tmp_path / "out", "-n", 2)
    assert code == 0
    for number in (1, 2):
        made = Structure.read(tmp_path / f"out/MoTe2/000{number}/POSCAR")
        rotation = np.array(record(tmp_path / f"out/MoTe2/000{number}")["steps"][0]["rotation"])
        assert made.positions == pytest.approx(LAYER.rotated(rotation).positions, abs=1e-13)
        assert np.linalg.det(rotation) == pytest.approx(1)
    code, _, _ = dock("generate", "rotate", layer, tmp_path / "z", "--angle", 90)
    made = Structure.read(tmp_path / "z/MoTe2/POSCAR")
    assert made.lattice[0] == pytest.approx([0, A, 0], abs=1e-14)
    code, _, _ = dock("generate", "rotate", water, tmp_path / "w", "-n", 2, "--format", "xyz")
    found = find_structures([tmp_path / "w"], tmp_path / "none")
    assert [one.id for one in found] == ["water/0001", "water/0002"]
    assert not any(found[0].periodic)  # still a molecule


def test_twist(dock: Dock, layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, _ = dock("generate", "twist", layer, out, "--mn", 1, 2, "--distance", 7.2)
    assert code == 0
    assert printed.startswith("MoTe2: 21.7868 degrees, 42 atoms, strain")
    assert files(out) == ["MoTe2/twist+21.787/POSCAR", "MoTe2/twist+21.787/generated.json"]
    lower, upper = find_layers(Structure.read(out / "MoTe2/twist+21.787/POSCAR"))
    assert upper.middle - lower.middle == pytest.approx(7.2)
    code, printed, _ = dock(
        "generate", "twist", layer, out, "--angle", 21.8, "--distance", 7.2, "--displacement", 0.05,
        "--number", 2,
    )  # fmt: skip
    assert code == 0
    assert (out / "MoTe2/twist+21.787-0002/POSCAR").exists()


def test_cells_with_less_strain_are_offered(dock: Dock, layer: Path, tmp_path: Path) -> None:
    scale = [1.06, 1.06, 1]
    Structure(LAYER.lattice * scale, LAYER.positions * scale, [74, 34, 34]).write(
        tmp_path / "W.vasp"
    )
    layers = ("generate", "twist", layer, tmp_path / "W.vasp")
    limits = ("--angle", 15, "--tolerance", 16, "--max-strain", 0.07, "--max-atoms", 100)
    options = (*limits, "--distance", 7.2)
    code, printed, _ = dock(*layers, tmp_path / "a", *options)
    assert code == 0
    assert "1 larger cell with less strain, the last one 16.1021 degrees, 75 atoms" in printed
    assert "6 atoms, nearest" in printed
    _, printed, _ = dock(*layers, tmp_path / "b", *options, "--dry-run")
    assert printed.splitlines()[1].endswith("(--choose 2)")
    code, printed, _ = dock(*layers, tmp_path / "c", *options, "--choose", 2)
    assert (code, "larger cell" in printed) == (0, False)
    assert "75 atoms, nearest" in printed
    code, _, err = dock(*layers, tmp_path / "d", *options, "--choose", 3)
    assert (code, err) == (1, "error: MoTe2-W: --choose 3: 2 common cells were found\n")


def test_twisted_trilayer(dock: Dock, layer: Path, tmp_path: Path) -> None:
    code, printed, _ = dock(
        "generate",
        "twist",
        layer,
        tmp_path / "out",
        "--mn",
        1,
        2,
        "--distance",
        7.2,
        "--turns",
        "010",
    )
    assert code == 0
    assert "Mo21Te42, 63 atoms" in printed
    made = Structure.read(tmp_path / "out/MoTe2/twist+21.787-010/POSCAR")
    first, second, third = find_layers(made)
    assert third.middle - first.middle == pytest.approx(14.4)
    plane = [np.sort(made.positions[one.atoms, 0]) for one in (first, second, third)]
    assert plane[0] == pytest.approx(plane[2], abs=1e-9)
    assert not np.allclose(plane[0], plane[1], atol=0.01)


def test_twist_of_two_materials(dock: Dock, layer: Path, tmp_path: Path) -> None:
    other = Structure(LAYER.lattice * [1.01, 1.01, 1], LAYER.positions, [74, 34, 34])
    other.write(tmp_path / "WSe2.vasp")
    arguments = ("--angle", 0, "--distance", 7.0, "--max-strain", 0.02, "--max-atoms", 50)
    paths = (layer, tmp_path / "WSe2.vasp", tmp_path / "out")
    code, printed, _ = dock("generate", "twist", *paths, *arguments)
    assert code == 0
    assert "0.0000 degrees, 6 atoms" in printed
    found = record(tmp_path / "out/MoTe2-WSe2/twist+0.000")
    assert found["steps"][0]["top_strain"] == pytest.approx([1 / 1.01 - 1] * 2)
    assert (found["source"]["file"], found["above"]["file"]) == ("MoTe2.vasp", "WSe2.vasp")
    code, printed, _ = dock(
        "generate", "twist", *paths[:2], tmp_path / "dry", *arguments, "--dry-run"
    )
    assert code == 0
    assert not (tmp_path / "dry").exists()


def test_strategy_two_of_the_paper(dock: Dock, layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, _ = dock(
        "generate", "quasi-1d", layer, out, "-n", 2, "--distance", 6.9, 7.9, "--displacement", 0.1
    )
    assert code == 0
    assert "Mo31Te62, 93 atoms" in printed
    steps = record(out / "MoTe2/quasi-1d-0002")["steps"]
    assert [step["step"] for step in steps] == ["quasi-1d", "perturb"]
    assert 6.9 <= steps[0]["distance"] <= 7.9


def test_what_was_made_goes_into_what_comes_next(dock: Dock, layer: Path, tmp_path: Path) -> None:
    dock("generate", "supercell", layer, tmp_path / "a", "--matrix", "2 1 1")
    code, _, _ = dock("generate", "perturb", tmp_path / "a", tmp_path / "b", "-n", 2)
    assert code == 0
    found = find_structures([tmp_path / "b"], tmp_path / "none")
    assert [one.id for one in found] == ["MoTe2/0001", "MoTe2/0002"]
    assert all(len(one.structure or []) == 6 for one in found)


@pytest.mark.parametrize("kind", ["xyz", "cif"])
def test_other_formats(dock: Dock, layer: Path, tmp_path: Path, kind: str) -> None:
    dock("generate", "perturb", layer, tmp_path / "p", "-n", 2)
    code, _, _ = dock("generate", "perturb", layer, tmp_path / "o", "-n", 2, "--format", kind)
    assert code == 0
    assert files(tmp_path / "o") == [
        f"MoTe2/000{n}.{e}" for n in (1, 2) for e in sorted([kind, "json"])
    ]
    found = find_structures([tmp_path / "o"], tmp_path / "none")
    for one in found:
        expected = Structure.read(tmp_path / "p" / one.id / "POSCAR")
        assert one.structure is not None
        difference = one.structure.fractional - expected.fractional
        assert np.abs(difference - np.round(difference)).max() < 1e-6
        assert one.structure.numbers.tolist() == expected.numbers.tolist()


def test_again_overwrite_and_dry_run(dock: Dock, layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("generate", "perturb", layer, out)
    code, printed, _ = dock(*arguments, "-n", 2, "--dry-run")
    assert code == 0
    assert "2 structures would be made: MoTe2, 3 atoms" in printed
    assert f"nothing was written to {out} (dry run)" in printed
    assert not out.exists()
    dock(*arguments, "-n", 2)
    before = {name: (out / name).stat().st_mtime_ns for name in files(out)}
    code, printed, _ = dock(*arguments, "-n", 3)
    assert code == 0
    assert "1 structure made" in printed
    assert "2 structures were there already, made in the same way" in printed
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    code, printed, err = dock(*arguments, "-n", 2, "--seed", 2)
    assert (code, printed) == (1, "")
    assert err.startswith(f"error: MoTe2/0001: {out}/MoTe2/0001/POSCAR: there already")
    assert err.endswith("--overwrite replaces it (1 more failed)\n")
    first = Structure.read(out / "MoTe2/0001/POSCAR").positions
    code, _, _ = dock(*arguments, "-n", 2, "--seed", 2, "--overwrite")
    assert code == 0
    assert not np.allclose(Structure.read(out / "MoTe2/0001/POSCAR").positions, first)
    assert record(out / "MoTe2/0001")["seed"] == 2


def test_results_of_other_atoms_are_never_kept_beside_new_ones(
    dock: Dock, layer: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dock("generate", "perturb", layer, out, "-n", 2)
    (out / "MoTe2/0001/overlap.h5").touch()
    before = (out / "MoTe2/0001/POSCAR").read_bytes()
    code, printed, _ = dock("generate", "perturb", layer, out, "-n", 2, "--seed", 2, "--overwrite")
    assert code == 1
    assert "MoTe2/0001: " in printed
    assert "holds overlap.h5, which belongs to the structure that is there" in printed
    assert (out / "MoTe2/0001/POSCAR").read_bytes() == before
    assert record(out / "MoTe2/0001")["seed"] == 1
    assert record(out / "MoTe2/0002")["seed"] == 2


def test_near_atoms_are_drawn_again(dock: Dock, layer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("generate", "perturb", layer, out, "--displacement", 1.0, "-n", 5)
    code, printed, _ = dock(*arguments, "--min-distance", 2.4)
    assert code == 0
    found = [record(out / f"MoTe2/000{n}") for n in range(1, 6)]
    assert min(one["nearest_distance"] for one in found) >= 2.4
    again = sum(one["draw"] > 1 for one in found)
    assert again > 0
    assert f"{again} drawn more than once" in printed
    code, _, err = dock(*arguments, "--min-distance", 5)
    assert code == 1
    assert "at least 5 Å are asked for (--min-distance); the best of 100 draws" in err
    code, _, err = dock(
        "generate", "supercell", layer, tmp_path / "s", "--matrix", "2 2 1", "--min-distance", 3
    )
    assert code == 1
    assert "are 2.71 Å apart, at least 3 Å are asked for (--min-distance)\n" in err


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (("perturb", "{layer}"), 1, "one path given"),
        (("perturb", "nothing", "{out}"), 1, "nothing: no such file or folder"),
        (("perturb", "{empty}", "{out}"), 1, "no structure in it"),
        (("perturb", "{bad}", "{out}"), 1, "the cell has a volume of 0 Å^3"),
        (("perturb", "{layer}", "{layer}"), 1, "is a file, expected a folder"),
        (("perturb", "{layer}", "{out}", "--displacement", 0), 2, "nothing to do"),
        (("perturb", "{layer}", "{out}", "--strain", 0.9), 2, "less than or equal to 0.5"),
        (("perturb", "{layer}", "{out}", "--supercell", "2 2"), 2, "expected three whole numbers"),
        (("perturb", "{layer}", "{out}", "--format", "pdb"), 2, "pdb"),
        (("shift", "{layer}", "{out}"), 1, "one layer only along c"),
        (("shift", "{bilayer}", "{out}", "--gap", 2.5, "--move", "3"), 1, "there are 2"),
        (("shift", "{bilayer}", "{out}", "--grid", 0, 4), 2, "expected numbers of 1 or more"),
        (("shift", "{bilayer}", "{out}", "--distance", 8, 7), 2, "the lowest, then the highest"),
        (("supercell", "{layer}", "{out}", "--matrix", "1 1 0 1 1 0 0 0 1"), 2, "has no volume"),
        (("supercell", "{layer}", "{out}"), 2, "Missing option '--matrix'"),
        (("substitute", "{layer}", "{out}", "--change", "Te"), 1, "expected S=Se"),
        (("substitute", "{layer}", "{out}", "--change", "O="), 1, "no atoms of O in MoTe2"),
        (("substitute", "{layer}", "{out}", "--change", "Te="), 1, "only 1 different structures"),
        (("rotate", "{layer}", "{out}", "--angle", 3, "--about", "0 0"), 2, "expected 3 numbers"),
        (("rotate", "{layer}", "{out}", "--angle", 3, "--about", "0 0 0"), 1, "a direction"),
        (("rotate", "{layer}", "{out}", "--angle", 3, "--improper"), 2, "--improper is for random"),
        (("twist", "{layer}", "{out}", "--distance", 7), 2, "either --mn M N or --angle"),
        (("twist", "{layer}", "{out}", "--distance", 2, "--mn", 1, 2), 1, "outer atoms"),
        (("twist", "{layer}", "{out}", "--distance", 7, "--mn", 2, 4), 1, "give (1, 2)"),
        (("twist", "{out}", "--distance", 7, "--mn", 1, 2), 1, "1 path given, two or three"),
        (
            ("twist", "{layer}", "{out}", "--distance", 7, "--angle", 5, "--max-atoms", 30),
            1,
            "no common cell of MoTe2 and MoTe2 at 5",
        ),
        (
            ("twist", "{layer}", "{out}", "--distance", 7, "--mn", 1, 2, "--number", 3),
            2,
            "add --displacement",
        ),
        (("twist", "{layer}", "{out}", "--distance", 7, "--turns", "02", "--mn", 1, 2), 2, "010"),
        (("twist", "{layer}", "{out}", "--distance", 7, "--angle", 9, "--turns", "010"), 2, "--mn"),
        (("quasi-1d", "{layer}", "{out}", "--distance", 8, 7), 2, "the lowest, then the highest"),
        (("quasi-1d", "{layer}", "{out}", "--distance", 7, 8, "--cells", 1, 9), 1, "strained"),
    ],
)  # fmt: skip
def test_one_line_for_what_is_impossible(
    dock: Dock,
    layer: Path,
    bilayer: Path,
    tmp_path: Path,
    command: tuple[object, ...],
    code: int,
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.vasp").write_text("\n1\n1 0 0\n0 1 0\n1 1 0\nH\n1\nDirect\n0 0 0\n")
    names = {
        "layer": layer,
        "bilayer": bilayer,
        "out": tmp_path / "out",
        "empty": tmp_path / "empty",
        "bad": tmp_path / "bad.vasp",
    }
    found, printed, err = dock("generate", *(str(word).format(**names) for word in command))
    assert found == code
    assert "made" not in printed
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert message in err
    assert not (tmp_path / "out").exists() or not files(tmp_path / "out")


def test_bad_structures_do_not_stop_the_others(dock: Dock, layer: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.vasp"
    bad.write_text("\n1\n1 0 0\n0 1 0\n1 1 0\nH\n1\nDirect\n0 0 0\n")
    code, printed, _ = dock("generate", "perturb", bad, layer, tmp_path / "out", "-n", 2)
    assert code == 1
    lines = printed.splitlines()
    assert lines[0].startswith("2 structures from 2 made in")
    assert lines[1].split() == ["1", "failed"]
    assert "the cell has a volume of 0" in lines[2]
