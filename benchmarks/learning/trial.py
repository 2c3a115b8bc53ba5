"""One training, as ``deeph train`` does it, and its errors.

In: a `Trial` and its dataset. Out: a record of plain numbers: errors of H and of bands, sizes,
times in yards.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from yardstick.yard import yard

from learning.changes import CHANGES, applied, equal_widths


@dataclass(frozen=True)
class Trial:
    """What is trained on what.

    Attributes
    ----------
    set, network, change : str
        A key of `SETS`, a network, a key of `CHANGES`.
    seed, steps : int
    parts : tuple of str
        Parts of the split on which errors are taken: validate, test.
    minutes : float
        Longest time; 0: no limit.
    bands : bool
        Whether errors of bands are taken.
    settings : tuple of str
        Further ``key=value``.
    """

    set: str
    network: str
    change: str = ""
    seed: int = 0
    steps: int = 100
    parts: tuple[str, ...] = ("validate",)
    minutes: float = 0.0
    bands: bool = True
    settings: tuple[str, ...] = ()


@dataclass
class Watch:
    """A display that keeps CPU times, in seconds."""

    started: float = field(default_factory=time.process_time)
    noted: list[float] = field(default_factory=list)
    epochs: list[float] = field(default_factory=list)
    summary: Any = None

    def start(self, run: Path, total_epochs: int, settings_lines: Sequence[str]) -> None:
        """Begin."""

    def note(self, text: str) -> None:
        """Keep the time of a note before the first epoch."""
        if not self.epochs:
            self.noted.append(time.process_time())

    def warn(self, text: str) -> None:
        """Print a warning."""
        print(f"warning: {text}")

    def epoch(
        self,
        number: int,
        seconds: float,
        train_loss: float,
        validation_loss: float | None,
        learning_rate_scale: float,
        maes: Mapping[str, float],
    ) -> None:
        """Keep the time at which an epoch ended."""
        self.epochs.append(time.process_time())

    def finish(self, summary: Any) -> None:
        """Keep the summary."""
        self.summary = summary

    def step_seconds(self, steps: int) -> float | None:
        """Return CPU seconds of a step: the median over epochs after the first, which compiles."""
        each = np.diff(self.epochs[1:] if len(self.epochs) > 3 else self.epochs)
        return median(each.tolist()) / steps if len(each) else None


def trained(trial: Trial, dataset: Path, file: Path, run: Path) -> tuple[Watch, float, Any]:
    """Train; return its times, seconds of compiling before the first step, and the settings."""
    import jax
    from deeph.cli.runtime import prepare_jax
    from deeph.config import load_train
    from deeph.training.loop import train
    from deeph_spec.dataset import SPLIT_FILE, read_split, write_split

    change, split = CHANGES[trial.change], read_split(dataset / SPLIT_FILE)
    # Nothing is chosen by the validation structures during training: the last model counts.
    write_split(run / "train_only.json", {**split, "validate": []})
    epochs = -(-trial.steps // len(split["train"]))
    overrides = [
        f"inputs_dir={dataset}",
        f"outputs_dir={run}",
        f"dataset_split_json={run / 'train_only.json'}",
        "validation_check=false",
        "device=cpu",
        f"random_seed={trial.seed}",
        "batch_size=1",
        f"max_epoch={epochs}",
        f"max_minutes={trial.minutes}",
        "scheduler.type=warmup_cosine_decay",
        # What is left of the last epoch beyond these steps has rate zero: it changes nothing.
        f"decay_steps={trial.steps}",
        "model_save.best=false",
        f"latest_interval={epochs}",
        *change.settings,
        *trial.settings,
    ]
    config = load_train(file, overrides)
    if change.equal_widths:
        irreps = equal_widths(config.model.advanced.net_irreps or "")
        config = load_train(file, [*overrides, f"net_irreps={irreps}"])
    prepare_jax(config.system)
    # CPU seconds from the end of writing a program for XLA to the end of compiling it.
    written, compiled = [time.process_time()], [(0.0, 0.0)]

    def heard(event: str, seconds: float, **_: Any) -> None:
        if event.endswith("jaxpr_to_mlir_module_duration"):
            written.append(time.process_time())
        elif event.endswith("backend_compile_duration"):
            compiled.append((time.process_time(), time.process_time() - written[-1]))

    jax.monitoring.register_event_duration_secs_listener(heard)
    watch = Watch()
    with applied(change):
        train(config, run, watch, False)
    before = sum(seconds for at, seconds in compiled if at <= watch.noted[-1])
    return watch, before, config


def record(trial: Trial, dataset: Path, file: Path, elsewhere: Path | None) -> dict[str, Any]:
    """Train and give all figures of a trial.

    Parameters
    ----------
    trial : Trial
    dataset : Path
        Of its set, with its split.
    file : Path
        Settings.
    elsewhere : Path or None
        Another dataset for which errors are taken.
    """
    import jax
    from deeph.inference.predictor import Predictor
    from deeph_spec.dataset import SPLIT_FILE, Dataset, read_split

    one = yard()
    with tempfile.TemporaryDirectory() as name:
        run = Path(name)
        watch, compiling, config = trained(trial, dataset, file, run)
        one = min(one, yard())
        predictor = Predictor.load(run, "latest")
        data, split = Dataset.open(dataset), read_split(dataset / SPLIT_FILE)
        folders = {part: [data[id] for id in split[part]] for part in trial.parts}
        if elsewhere is not None:
            folders["elsewhere"] = list(Dataset.open(elsewhere))
        errors = {
            part: errors_of(predictor, given, trial.bands and part != "elsewhere", run)
            for part, given in folders.items()
        }
    step = watch.step_seconds(len(split["train"]))
    done = min(trial.steps, watch.summary.epochs * len(split["train"]))
    return {
        **asdict(trial),
        "done": done,
        "stopped": watch.summary.stopped_because,
        "irreps": config.model.advanced.net_irreps,
        "optimiser": config.process.train.optimizer.type,
        "parameters": sum(int(np.size(x)) for x in jax.tree.leaves(predictor.parameters)),
        "yard": one,
        "step": step / one if step is not None else None,
        "before": (watch.noted[-1] - watch.started - compiling) / one,
        "cpu": time.process_time(),
        "errors": errors,
    }


def errors_of(
    predictor: Any, folders: Iterable[Any], bands: bool, place: Path
) -> dict[str, float | None]:
    """Return errors in meV over all elements of all structures, and of all their bands.

    Parameters
    ----------
    predictor : deeph.inference.predictor.Predictor
    folders : iterable of StructureFolder
    bands : bool
        Whether bands are compared.
    place : Path
        For files in between.
    """
    from deeph_dock.metrics import hamiltonian_error

    sums, counts = np.zeros(2), np.zeros(2)
    free, band = np.zeros(2), []
    for folder, prediction in predictor.predict(folders):
        error = hamiltonian_error(prediction, folder.hamiltonian(), folder.overlap())
        count = np.array([error.elements_on_site, error.elements - error.elements_on_site])
        for total, mae in ((sums, error.mae), (free, error.mae_gauge_free)):
            # A molecule's only atom pair may be on site: then there is no mean of the others.
            total += np.nan_to_num([mae.on_site, mae.off_site]) * count
        counts += count
        if bands:
            band.append(compared_bands(folder, prediction, place).mae_median_free)
    means = sums / np.maximum(counts, 1)
    return {
        "all": float(sums.sum() / counts.sum()),
        "on_site": float(means[0]),
        "off_site": float(means[1]),
        "gauge_free": float(free.sum() / counts.sum()),
        "bands": float(np.mean(band)) if band else None,
    }


def compared_bands(folder: Any, prediction: Any, place: Path) -> Any:
    """Return the error of the bands of a predicted Hamiltonian."""
    from deeph_dock.bandstructures import BandSettings, folder_bands
    from deeph_dock.metrics import band_error
    from deeph_spec.dataset import StructureFolder

    with tempfile.TemporaryDirectory(dir=place) as name:
        both = Path(name)
        for file in folder.path.iterdir():
            (both / file.name).symlink_to(file.resolve())
        prediction.write(both / "hamiltonian_pred.h5", "hamiltonian")
        reference, ours = folder_bands(StructureFolder(both, folder.id), BandSettings(points=40))
    return band_error(ours, reference)
