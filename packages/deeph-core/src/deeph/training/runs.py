"""The folder of a training run: its name, its record, and whether it can be continued.

``<outputs_dir>/<%Y-%m-%d_%H-%M-%S>/`` holds ``run.json`` (settings, hashes, state), ``train.toml``
(the settings used), ``deeph.log``, ``model/`` and ``states/``. While a process trains in it, it
holds a lock on ``.lock``, which the operating system drops however the process ends.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from deeph_spec.dataset import INFO_FILE, POSCAR_FILE, StructureFolder
from deeph_spec.errors import InputError
from deeph_spec.files import sha256, write_text

from deeph.targets import HamiltonianTarget

RECORD, LOCK, STAMP = "run.json", ".lock", "%Y-%m-%d_%H-%M-%S"


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` says.

    Attributes
    ----------
    settings_hash, dataset_hash : str
        SHA-256 of the settings that can change a trained number, and of the data.
    finished : bool
        Whether training came to its own end (not: killed or interrupted).
    stopped_because : str
        The reason, empty while it runs.
    program : str
        Name and version of the program.
    settings : dict
        The settings behind the hash.
    """

    settings_hash: str
    dataset_hash: str
    finished: bool = False
    stopped_because: str = ""
    program: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_record(run: Path, record: RunRecord) -> None:
    """Write ``run.json`` atomically."""
    write_text(run / RECORD, json.dumps(asdict(record), indent=1, ensure_ascii=False) + "\n")


def read_record(run: Path) -> RunRecord:
    """Read ``run.json``.

    Raises
    ------
    InputError
        When `run` is not the folder of a run.
    """
    path = run / RECORD
    try:
        return RunRecord(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise InputError(f"{run}: is not the folder of a run: {RECORD} is missing") from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__})") from error


def mark_stopped(run: Path, because: str, *, finished: bool) -> None:
    """Note in ``run.json`` why training stopped, and whether that was its own end."""
    write_record(run, replace(read_record(run), finished=finished, stopped_because=because))


def dataset_hash(
    folders: Iterable[StructureFolder],
    label_files: Callable[[StructureFolder], Iterable[Path]] = HamiltonianTarget.label_files,
) -> str:
    """Give the SHA-256 of everything training reads: ids, POSCAR, info.json, S and the labels.

    `label_files` is that of a target. The hash depends on the content alone, not on the place or
    the times of the files.
    """
    digest = hashlib.sha256()
    for folder in sorted(folders, key=lambda folder: folder.id):
        digest.update(f"{folder.id}\0".encode())
        labels = label_files(folder)
        for path in (folder.path / POSCAR_FILE, folder.path / INFO_FILE, *labels):
            digest.update(sha256(path).encode() if path.is_file() else b"-")
    return digest.hexdigest()


def make_run(outputs_dir: Path, now: datetime | None = None) -> Path:
    """Make a folder named by date and time; ``_2`` and so on when there is one already."""
    stamp = (now or datetime.now()).strftime(STAMP)
    try:
        outputs_dir.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            run = outputs_dir / (stamp if number == 1 else f"{stamp}_{number}")
            try:
                run.mkdir()
            except FileExistsError:
                if not outputs_dir.is_dir():
                    raise
                continue
            return run
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise InputError(f"{outputs_dir}: cannot make a folder for the run: {reason}") from error
    raise InputError(f"{outputs_dir}: a thousand runs started in the same second")


def find_unfinished(outputs_dir: Path, settings_hash: str, data_hash: str) -> Path | None:
    """Find the newest run of the same settings and data that did not come to its end.

    Runs that another process is training in now are passed over.
    """
    for run, finished in _same_runs(outputs_dir, settings_hash, data_hash):
        if not finished and not _in_use(run):
            return run
    return None


def find_finished(outputs_dir: Path, settings_hash: str, data_hash: str) -> Path | None:
    """Find the newest run of the same settings and data that came to its end."""
    runs = _same_runs(outputs_dir, settings_hash, data_hash)
    return next((run for run, finished in runs if finished), None)


def _same_runs(
    outputs_dir: Path, settings_hash: str, data_hash: str
) -> Iterator[tuple[Path, bool]]:
    """Yield the runs of the same settings and data, newest first, and whether they finished."""
    if not outputs_dir.is_dir():
        return
    for run in sorted(outputs_dir.iterdir(), key=lambda path: path.name, reverse=True):
        if not (run / RECORD).is_file():
            continue
        try:
            record = read_record(run)
        except InputError:
            continue
        if (record.settings_hash, record.dataset_hash) == (settings_hash, data_hash):
            yield run, record.finished


def differing_settings(record: RunRecord, settings: Mapping[str, Any]) -> list[str]:
    """List the keys whose values differ from those of a run, as ``key: then, now``."""
    missing = "(not read)"
    return [
        f"{name} was {json.dumps(then)}, is {json.dumps(now)}"
        for name in sorted({*record.settings, *settings})
        if (then := record.settings.get(name, missing)) != (now := settings.get(name, missing))
    ]


def _in_use(run: Path) -> bool:
    """Whether another process trains in the run's folder now."""
    try:
        with locked(run):
            return False
    except InputError:
        return True


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run while training in it.

    Raises
    ------
    InputError
        When another process holds it. Where the system or the file system has no locks, nothing
        is held and nothing is raised.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    descriptor = os.open(run / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{run}: another process is training in this run") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)
