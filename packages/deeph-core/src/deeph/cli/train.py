"""``deeph train``: checks settings and data, makes or finds the run, and trains."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deeph.config import TrainConfig
    from deeph.training.runs import RunRecord


def train(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The settings file.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings that win over the file."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with this run.")
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew, even if a run could go on.")
    ] = False,
) -> int:
    """Train a network; the same command goes on after a stop.

    A run that was stopped with the same settings and data is continued. Ctrl-C finishes the step,
    saves, and says how to go on.

    Example: deeph train train.toml max_epoch=500 device=cpu
    """
    from deeph_spec.errors import InputError

    from deeph.cli.data import open_dataset, refuse_invalid, used_folders
    from deeph.cli.runtime import prepare_jax
    from deeph.config import load_train, with_proposed
    from deeph.training.data import resolved

    if resume is not None and fresh:
        raise InputError("--resume and --fresh contradict each other; give one of them")
    config = load_train(file, overrides or ())
    for line in config.warnings:
        print(f"warning: {line}")
    dataset = open_dataset(config.data.inputs_dir, config.data.dft.data_dir_depth)
    for id, name in dataset.incomplete.items():
        print(f"warning: {id}: {name} is missing: not used")
    folders = used_folders(dataset, config)
    if config.data.dft.validation_check:
        refuse_invalid(folders, print)
    config = resolved(config, dataset, len(folders))
    device, warnings = prepare_jax(config.system)
    for line in warnings:
        print(f"warning: {line}")
    if config.system.device is None:
        config = with_proposed(config, {"system.device": device})

    from deeph.targets import TARGETS
    from deeph.training.runs import dataset_hash

    files = TARGETS[config.model.target_type].label_files
    run, resuming = _choose_run(config, dataset_hash(folders, files), resume, fresh)
    return _train_in(run, config, resuming, f"deeph train {file}")


def _record(config: TrainConfig, data_hash: str) -> RunRecord:
    """Describe a run of these settings and data."""
    from importlib.metadata import version

    from deeph.config import as_flat, fingerprint
    from deeph.training.runs import RunRecord

    program = f"deeph-core {version('deeph-core')}"
    return RunRecord(fingerprint(config), data_hash, program=program, settings=as_flat(config))


def _choose_run(
    config: TrainConfig, data_hash: str, resume: Path | None, fresh: bool
) -> tuple[Path, bool]:
    """Return the run's folder and whether it is continued; make a new one if there is none."""
    from deeph_spec.errors import InputError
    from deeph_spec.files import readable, write_text

    from deeph.config import to_toml
    from deeph.training.checkpoints import has_state
    from deeph.training.runs import (
        differing_settings,
        find_finished,
        find_unfinished,
        make_run,
        read_record,
        write_record,
    )

    record = _record(config, data_hash)
    outputs = config.data.outputs_dir
    if resume is not None:
        before = read_record(resume)
        if before.settings_hash != record.settings_hash:
            differing = "; ".join(differing_settings(before, record.settings))
            raise InputError(f"{resume}: was trained with other settings: {differing}")
        if before.dataset_hash != data_hash:
            raise InputError(
                f"{resume}: was trained on other data; to go on with new data set "
                "process.train.continued in the settings"
            )
        return resume, True
    found = None if fresh else find_unfinished(outputs, record.settings_hash, data_hash)
    if found is not None:
        if has_state(found / "states"):
            print(f"Going on with {readable(found)}, which was stopped (--fresh starts anew)")
        else:
            print(f"{found} was stopped before anything was saved: starting again in it")
        return found, True
    done = find_finished(outputs, record.settings_hash, data_hash)
    if done is not None and not fresh:
        print(f"{readable(done)} has finished with these settings; this is a new run from scratch")
    run = make_run(outputs)
    write_text(run / "train.toml", to_toml(config))
    write_record(run, record)
    return run, False


def _train_in(run: Path, config: TrainConfig, resuming: bool, command: str) -> int:
    """Train in the folder of a run and say how it ended."""
    from deeph_spec.files import readable

    from deeph.training.display import TrainingDisplay
    from deeph.training.loop import train as train_network
    from deeph.training.runs import locked, mark_stopped

    system = config.system
    display = TrainingDisplay(bar=system.show_train_process_bar, log_level=system.log_level)
    with locked(run), closing(display):
        try:
            summary = train_network(config, run, display, resuming)
        except KeyboardInterrupt:
            mark_stopped(run, "interrupted", finished=False)
            print(f"\nInterrupted. Go on with: {command}")
            return 128 + signal.SIGINT
        interrupted = summary.stopped_because.startswith("interrupted")
        mark_stopped(run, summary.stopped_because, finished=not interrupted)
    if interrupted:
        print(f"Saved. Go on with: {command}")
        return 128 + signal.SIGINT
    print(f"Predict with: deeph infer {readable(run)} FOLDER")
    return 0
