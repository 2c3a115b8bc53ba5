"""The main job on real DFT results, from SIESTA outputs to predicted bands; `make demo` runs it.

Every step is a command that you could type; it is printed before it runs. Only the last picture,
all bands side by side, is drawn with the Python interface.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

from deeph_dock.exports.results import read_bands
from deeph_dock.metrics import band_error
from deeph_dock.plots import bands_panels, save
from deeph_spec.files import replace_folder

HERE = Path(__file__).resolve().parent
WORK = Path("work")
BASIS = WORK / "runs" / "train" / "0001"  # SIESTA leaves its orbitals beside the matrices: C.ion
STARTED = time.monotonic()


def main() -> int:
    """Run the demo and return its exit code."""
    os.chdir(HERE)
    step("1. Unpack eight SIESTA runs of perturbed, strained 2x2 graphene (H, S, eigenvalues)")
    unpack(HERE / "runs.tar.xz", WORK / "runs")

    step("2. Convert them: POSCAR, info.json, overlap.h5, hamiltonian.h5 of every run")
    run("dock", "convert", WORK / "runs", WORK / "data")

    step("3. Prove that they are right: SIESTA's eigenvalues come out, S is that of its orbitals")
    run("dock", "check", WORK / "data", "--basis", BASIS)

    step("4. Train on 0001 to 0006: about a minute; the first epoch compiles the network")
    run("deeph", "train", "train.toml")
    model = newest(WORK / "training")

    step("5. Predict H of 0007 and 0008, which the network has never seen, from positions alone")
    run("deeph", "infer", "infer.toml", f"model_dir={model / 'model'}")
    predictions = newest(WORK / "predictions")

    step("6. Compare with DFT: the error of H, and the bands")
    reference = WORK / "data" / "dft" / "test"
    run("deeph", "eval", predictions, reference, "--plot", WORK / "errors.png")
    run("dock", "band", reference, predictions, "--window", "-8", "8")
    compare_bands(reference, predictions / "dft")

    step("7. A structure that no DFT code has seen: make it, compute its overlap, predict H")
    run(
        *("dock", "generate", "perturb", reference / "0007" / "POSCAR", WORK / "new"),
        *("--supercell", "2 2 1", "--number", "1", "--displacement", "0.05", "--seed", "7"),
    )
    like = ("--like", WORK / "data", "-o", WORK / "unseen")
    run("dock", "compute-overlap", WORK / "new", "--basis", BASIS, *like)
    unseen = (f"inputs_dir={WORK / 'unseen'}", f"outputs_dir={WORK / 'unseen_predictions'}")
    run("deeph", "infer", "infer.toml", f"model_dir={model / 'model'}", *unseen)
    (folder,) = newest(WORK / "unseen_predictions").glob("dft/*/*")
    run(
        "dock", "band", folder, "--points", "60", "--window", "-8", "8", "-o", WORK / "unseen_bands"
    )

    print(f"\nDone in {time.monotonic() - STARTED:.0f} s. Look at")
    for name, what in (
        ("bands.png", "bands of DFT (solid) and of the predicted Hamiltonians (dashed)"),
        ("errors.png", "predicted against DFT's matrix elements, by distance and orbital"),
        ("unseen_bands/band.png", "bands of 32 atoms that no DFT code has seen"),
    ):
        print(f"  {shown(WORK / name)}  {what}")
    print("Try next")
    print("  your own runs:  dock convert YOUR_RUNS data && dock check data && deeph init data")
    print(f"  more accuracy:  in {shown(Path('train.toml'))} raise max_epoch and max_minutes,")
    print(f"                  then: cd {shown(Path())} && deeph train train.toml")
    print("  (the commands are in .venv/bin: source .venv/bin/activate)")
    return 0


def step(title: str) -> None:
    """Announce a step and the time since the start."""
    print(f"\n[{time.monotonic() - STARTED:3.0f} s] {title}", flush=True)


def run(*command: str | Path) -> None:
    """Show a command and run it; stop the demo where it fails."""
    words = [str(word) for word in command]
    print(f"$ {' '.join(words)}", flush=True)
    code = subprocess.run(words, check=False).returncode
    if code:
        print(f"The demo stopped: '{words[0]} {words[1]}' ended with {code}", file=sys.stderr)
        sys.exit(code)


def unpack(archive: Path, target: Path) -> None:
    """Unpack the runs once."""
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with replace_folder(target) as beside, tarfile.open(archive) as packed:
            for member in packed.getmembers():
                member.name = str(Path(member.name).relative_to("runs"))
                packed.extract(member, beside, filter="data")


def newest(folder: Path) -> Path:
    """Return the folder of the latest run."""
    return max(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda p: p.stat().st_mtime
    )


def compare_bands(reference: Path, predictions: Path) -> None:
    """Print the errors of the predicted bands and draw those of all structures side by side."""
    panels = {}
    for folder in sorted(path for path in reference.iterdir() if path.is_dir()):
        dft = read_bands(folder / "band.h5")
        predicted = read_bands(predictions / folder.name / "band_pred.h5")
        panels[f"graphene {folder.name}"] = [
            replace(dft, label="DFT"),
            replace(predicted, label="prediction"),
        ]
        error = band_error(predicted, dft)
        print(
            f"{folder.name}: predicted bands are {error.mae:.1f} meV off on average between "
            f"E_F - 3 and E_F + 3 eV ({error.states} states, each at its own E_F)"
        )
    save(bands_panels(panels, window=(-8.0, 8.0)), WORK / "bands")


def shown(path: Path) -> str:
    """Return a path relative to where make was called, as a user would type it."""
    return os.path.relpath(HERE / path, os.environ.get("PWD", HERE))


if __name__ == "__main__":
    sys.exit(main())
