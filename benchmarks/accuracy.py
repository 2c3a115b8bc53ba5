"""How accurate the networks are after a fixed number of optimiser steps.

Every set of real DFT runs is trained on as a user does it: ``deeph init``, then what
``deeph train`` does, with batches of one structure, a cosine down to zero, float32, one CPU
thread. The model of the last step is evaluated on the validation structures; on the test
structures only when asked for. All errors are in meV.

    MAE      mean |dH| over all elements of all stored pairs, as the codes wrote H
    bands    mean |dE| of the bands near the Fermi level, less its median (Eq. 12 of DeepH-pack)
    step     CPU time of a step; before: of everything ahead of step 1 (reading, means, scales) but
             compiling. In yards: 50 products of 1024 x 1024 in float32, same process and thread

Every finished training is a line of a file, from which tables are printed; trainings
that are there are not repeated.

    python benchmarks/accuracy.py [--sets H2O_box,graphene_8] [--networks normal] [--seeds 3]
        [--ablate adam,no-means | --ablate all] [--test] [--converged] [--steps N] [--minutes M]
        [--set KEY=VALUE ...] [--work FOLDER] [--results FILE] [--table FILE]

The DFT data are read from the folder that DEEPH_TEST_DATA names.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from learning.changes import CHANGES
from learning.sets import SETS, Figures, prepare, settings_file
from learning.trial import Trial, record
from yardstick import one_thread

USUAL = ("H2O_box", "graphene_8", "GaAs_8", "SiC_8")


def trials(arguments: argparse.Namespace) -> Iterator[Trial]:
    """Yield all trainings that are asked for."""
    changes = arguments.ablate.split(",") if arguments.ablate else []
    if changes == ["all"]:
        changes = [name for name in CHANGES if name]
    parts = ("validate", "test") if arguments.test else ("validate",)
    for name in arguments.sets.split(","):
        steps = SETS[name].converged if arguments.converged else SETS[name].steps
        for network in arguments.networks.split(","):
            for change in ["", *changes]:
                if network not in CHANGES[change].networks:
                    continue
                for seed in range(1 if change else arguments.seeds):
                    yield Trial(
                        name, network, change, seed, arguments.steps or steps, parts,
                        arguments.minutes, not arguments.no_bands, tuple(arguments.set),
                    )  # fmt: skip


def known(results: Path) -> list[dict[str, Any]]:
    """Read the records of a file, if it is there."""
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text().splitlines() if line.strip()]


def same(found: dict[str, Any], trial: Trial) -> bool:
    """Tell whether a record is of this training."""
    wanted = json.loads(json.dumps(asdict(trial)))
    return all(found.get(key) == value for key, value in wanted.items())


def tried(trial: Trial, data: Path, work: Path) -> dict[str, Any]:
    """Run a trial in a process of its own."""
    dataset = prepare(data, work, trial.set)
    other = SETS[trial.set].elsewhere
    given = {
        "trial": asdict(trial),
        "dataset": str(dataset),
        "file": str(settings_file(dataset, trial.network)),
        "elsewhere": str(prepare(data, work, other)) if other else None,
    }
    done = subprocess.run(
        [sys.executable, __file__, "--child", json.dumps(given)],
        capture_output=True,
        text=True,
        env=one_thread(),
    )
    if done.returncode:
        raise SystemExit(f"{trial}\n{done.stdout}{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def child(text: str) -> None:
    """Run the trial that a parent describes and print its record."""
    given = json.loads(text)
    trial = Trial(**{k: tuple(v) if isinstance(v, list) else v for k, v in given["trial"].items()})
    other = Path(given["elsewhere"]) if given["elsewhere"] else None
    print(json.dumps(record(trial, Path(given["dataset"]), Path(given["file"]), other)))


def table(records: list[dict[str, Any]]) -> str:
    """Write one table of all records; trainings that differ by their seed share a line."""
    groups: dict[tuple[str, int, str, str, str, str], list[dict[str, Any]]] = {}
    for one in records:
        for part in one["errors"]:
            settings = " ".join(one["settings"])
            key = (one["set"], one["steps"], settings, part, one["network"], one["change"])
            groups.setdefault(key, []).append(one)
    lines = [
        f"{'':44s}{'MAE of H':>10s}{'':>8s}{'on':>9s}{'off':>9s}{'on/off':>8s}{'bands':>9s}"
        f"{'parameters':>12s}{'steps':>7s}{'step':>8s}{'before':>8s}"
    ]
    title: tuple[Any, ...] = ()
    for key in sorted(groups, key=lambda key: (list(SETS).index(key[0]), *map(str, key[1:]))):
        if key[:4] != title:
            title = name, steps, settings, part = key[:4]
            other = part == "elsewhere"
            on = f"tried on {SETS[name].elsewhere}" if other else part
            lines.append("\n" + ", ".join(filter(None, [name, f"{steps} steps", settings, on])))
            if steps == SETS[name].steps and not other:
                lines += list(peers(name))
        lines.append(row(part, groups[key]))
    return "\n".join(lines)


def peers(name: str) -> Iterator[str]:
    """Yield lines of what others reach on the test structures, and of the goals."""
    for title, figures in (
        ("DeepH-E3, test", SETS[name].reference),
        ("prototype, test", SETS[name].prototype),
    ):
        if figures is not None:
            yield f"  {title:42s}{figures.all:10.3g}{'':8s}{_apart(figures)}"
    for network, goal in SETS[name].goals.items():
        yield f"  {f'goal of {network}, test':42s}{goal:10.3g}"


def _apart(figures: Figures) -> str:
    ratio = figures.on_site / figures.off_site
    return f"{figures.on_site:9.3g}{figures.off_site:9.3g}{ratio:8.1f}"


def row(part: str, group: list[dict[str, Any]]) -> str:
    """Write the line of one or several trainings that differ by their seed."""
    one = group[0]
    change = CHANGES[one["change"]].note if one["change"] else ""
    title = ", ".join(filter(None, [one["network"], change]))
    step = f"{one['step']:8.3f}" if one["step"] else f"{'-':>8s}"
    errors = [one["errors"][part] for one in group]

    def mean(name: str) -> float:
        return sum(error[name] for error in errors) / len(errors)

    totals = [error["all"] for error in errors]
    spread = f"±{(max(totals) - min(totals)) / 2:.2g}" if len(group) > 1 else ""
    bands = f"{mean('bands'):9.3g}" if all(error["bands"] for error in errors) else f"{'-':>9s}"
    figures = Figures(mean("all"), mean("on_site"), mean("off_site"))
    return (
        f"  {title:42.42s}{figures.all:10.3g}{spread:>8s}{_apart(figures)}{bands}"
        f"{one['parameters']:12,d}{one['done']:7d}{step}{one['before']:8.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(USUAL), help=f"of {', '.join(SETS)}")
    parser.add_argument("--networks", default="normal,accurate")
    parser.add_argument("--seeds", type=int, default=1, help="how many, of the defaults")
    parser.add_argument(
        "--ablate", default="", help=f"all, or of {', '.join(filter(None, CHANGES))}"
    )
    parser.add_argument("--test", action="store_true", help="evaluate on the test structures too")
    parser.add_argument("--converged", action="store_true", help="many more steps")
    parser.add_argument("--steps", type=int, default=0, help="instead of each set's own number")
    parser.add_argument("--minutes", type=float, default=0.0, help="limit of one training")
    parser.add_argument("--no-bands", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting")
    parser.add_argument("--work", type=Path, help="folder to keep datasets in")
    parser.add_argument("--results", type=Path, help="file that finished trainings are added to")
    parser.add_argument("--table", type=Path, metavar="FILE", help="only print what a file holds")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    if arguments.table:
        print(table(known(arguments.table)))
        return
    data = os.environ.get("DEEPH_TEST_DATA")
    if not data:
        print("DEEPH_TEST_DATA is not set: no DFT data to train on")
        return
    with tempfile.TemporaryDirectory() as folder:
        results = arguments.results or Path(folder) / "results.jsonl"
        for trial in trials(arguments):
            if any(same(found, trial) for found in known(results)):
                continue
            found = tried(trial, Path(data).resolve(), arguments.work or Path(folder))
            results.parent.mkdir(parents=True, exist_ok=True)
            with results.open("a") as file:
                file.write(json.dumps(found) + "\n")
            print(f"{trial.set:12s}{row('validate', [found])}", flush=True)
        print(table(known(results)))


if __name__ == "__main__":
    main()
