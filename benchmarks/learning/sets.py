"""The sets that networks are compared on, and how they become datasets.

In: the folder of the DFT data (`DEEPH_TEST_DATA`). Out: datasets in a work folder, each with its
split beside it. What is there already is used again.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from deeph_spec.dataset import SPLIT_FILE, write_split
from deeph_spec.files import replace_folder

DOCK = (sys.executable, "-c", "from deeph_dock.cli import main; main()")
DEEPH = (sys.executable, "-c", "from deeph.cli import main; main()")


class Figures(NamedTuple):
    """Mean absolute errors of H on the test structures in meV."""

    all: float
    on_site: float
    off_site: float


class Set(NamedTuple):
    """Structures of one kind.

    Attributes
    ----------
    group : str
        Folder of the DFT data: siesta, or deeph for the published layout.
    steps : int
        Optimiser steps that networks are compared after.
    converged : int
        Steps of a long training.
    reference, prototype : Figures or None
        DeepH-E3 and a plain prototype of this design after `steps` steps.
    goals : mapping
        By network: the largest MAE after `steps` steps.
    elsewhere : str
        A set of other structures for which its networks are tried as well.
    """

    group: str
    steps: int
    converged: int
    reference: Figures | None = None
    prototype: Figures | None = None
    goals: dict[str, float] = {}  # noqa: RUF012 - never changed
    elsewhere: str = ""


SETS = {
    "H2O_box": Set(
        "siesta", 1600, 20_000, Figures(27.9, 26.7, 28.8), Figures(7.4, 4.7, 9.3),
        {"normal": 5, "accurate": 4}, "H2O_24mol",
    ),
    "graphene_8": Set(
        "siesta", 480, 6000, Figures(36.6, 158, 33.7), Figures(1.5, 11.3, 1.3),
        {"normal": 1.3, "accurate": 1.0},
    ),
    "GaAs_8": Set(
        "siesta", 128, 2000, Figures(38.8, 341, 36.6), Figures(1.13, 44, 0.81),
        {"normal": 1.0, "accurate": 0.8},
    ),
    "SiC_8": Set(
        "siesta", 200, 2000, Figures(30.4, 337, 28.1), Figures(0.99, 32, 0.76),
        {"normal": 0.9, "accurate": 0.7},
    ),
    "MoS2_12": Set("deeph", 200, 2000),
    "Bi2Se3_SOC_5": Set("deeph", 200, 2000),
}  # fmt: skip


def prepare(data: Path, work: Path, name: str) -> Path:
    """Return the folder of a set's dataset, which is made when it is not there.

    Parameters
    ----------
    data : Path
        The DFT data.
    work : Path
        Where datasets are kept.
    name : str
        One of `SETS`, or the set that one of them names as `elsewhere`.
    """
    group = SETS[name].group if name in SETS else "siesta"
    target = work / name
    if target.is_dir():
        return target
    with replace_folder(target) as beside:
        if group == "deeph":
            shutil.copytree(data / group / name, beside / "dft")
        else:
            runs = beside / "runs"
            _run(sys.executable, data / "unpack.py", data / group / name, runs)
            _run(*DOCK, "convert", runs, beside)
            shutil.rmtree(runs)
        splits = json.loads((data / group / "splits.json").read_text())
        if name in splits:
            parts = splits[name]
            parts = {"train": parts["train"], "validate": parts["val"], "test": parts["test"]}
            write_split(beside / SPLIT_FILE, parts)
    return target


def _run(*words: str | Path) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}{done.stderr}")


def settings_file(dataset: Path, network: str) -> Path:
    """Return the settings that ``deeph init`` writes for a dataset."""
    file = dataset / f"{network}.toml"
    file.unlink(missing_ok=True)  # an earlier version may have proposed others
    _run(*DEEPH, "init", dataset, "--net", network, "-o", file)
    return file
