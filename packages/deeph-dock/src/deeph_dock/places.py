"""Putting converted structures in place: whole or not at all, one writer, no leftovers.

A new structure is written into a folder beside its place and renamed. In a folder that exists the
files written before are replaced, each as a whole, and others are kept; meanwhile it has no
info.json, which is always the last file, so that nobody takes it for complete.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deeph_spec.errors import InputError
from deeph_spec.files import replace_folder

WRITTEN = (
    "POSCAR",
    "overlap.h5",
    "hamiltonian.h5",
    "hamiltonian_pred.h5",
    "density_matrix.h5",
    "density_matrix_pred.h5",
    "position_matrix.h5",
    "kinetic_matrix.h5",
    "gradient_matrix.h5",
    "eigval_dft.h5",
    "info.json",
)
"""Files of a structure that a conversion writes, the last one last."""
_UNKNOWN = tuple(name for name in WRITTEN if not name.endswith(("_pred.h5", "info.json")))
"""Files that a conversion may have left of which no record is there; predictions may be others'."""
FRESH = ".converted"
"""Folder in a target in which new files wait until they replace the old ones."""


@dataclass(frozen=True)
class Record:
    """What a conversion did, kept as ``provenance.conversion`` in info.json.

    Attributes
    ----------
    asked : tuple of str
        Matrices asked for; the calculation need not have them.
    allow_unconverged : bool
        Whether they were asked for also without self-consistency.
    files : tuple of str
        Files written.
    """

    asked: tuple[str, ...] = ()
    allow_unconverged: bool = False
    files: tuple[str, ...] = _UNKNOWN

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> Record:
        """Read the record.

        Parameters
        ----------
        provenance : mapping
            Of info.json.

        Returns
        -------
        Record
            Nothing asked for if there is none.
        """
        found = provenance.get("conversion")
        if not isinstance(found, dict):
            return cls()
        asked, files = found.get("asked"), found.get("files")
        if not isinstance(asked, list) or not isinstance(files, list):
            return cls()
        ours = tuple(name for name in WRITTEN if name in files)
        return cls(tuple(map(str, asked)), found.get("allow_unconverged") is True, ours)

    def to_document(self) -> dict[str, Any]:
        """Give the record as plain objects."""
        return {
            "asked": list(self.asked),
            "allow_unconverged": self.allow_unconverged,
            "files": list(self.files),
        }


@contextmanager
def put_in_place(target: Path, before: Iterable[str] = _UNKNOWN) -> Iterator[Path]:
    """Give a folder to fill, and make it the target when the block ends without an exception.

    Parameters
    ----------
    target : Path
        Folder of the structure.
    before : iterable of str
        Files of a former conversion: those that are not written again are removed.

    Yields
    ------
    Path
        An empty folder.
    """
    if not target.exists():
        with replace_folder(target) as folder:
            yield folder
        return
    fresh = target / FRESH
    if fresh.exists():
        shutil.rmtree(fresh)
    with replace_folder(fresh) as folder:
        yield folder
    (target / "info.json").unlink(missing_ok=True)
    for name in before:
        if not (fresh / name).exists():
            (target / name).unlink(missing_ok=True)
    for name in WRITTEN:
        if (fresh / name).exists():
            os.replace(fresh / name, target / name)
    fresh.rmdir()


@contextmanager
def sole_writer(top: Path) -> Iterator[None]:
    """Make the folder of the structures and keep other conversions out of it.

    Parameters
    ----------
    top : Path
        The dft folder.

    Raises
    ------
    InputError
        If another process converts into it.
    """
    top.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    descriptor = os.open(top, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{top}: another dock command is writing here; wait for it") from error
        except OSError:
            pass  # some network file systems have no locks
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(targets: Iterable[Path]) -> int:
    """Remove what killed runs on this machine left beside or in the targets.

    Parameters
    ----------
    targets : iterable of Path
        Only leftovers of these folders are looked at.

    Returns
    -------
    int
        Number of folders removed.
    """
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:40] or "host"
    pattern = re.compile(rf"\.(.+)\.{re.escape(host)}\.(\d+)\.tmp")
    wanted: dict[Path, set[str]] = {}
    for target in targets:
        wanted.setdefault(target.parent, set()).add(target.name)
        wanted.setdefault(target, set()).update([*WRITTEN, FRESH])
    removed = 0
    for folder, target_names in wanted.items():
        if not folder.is_dir():
            continue
        for name in os.listdir(folder):
            match = pattern.fullmatch(name)
            if match and match[1] in target_names and not _alive(int(match[2])):
                path = folder / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed += 1
    return removed


def _alive(process: int) -> bool:
    """Tell whether a process of this machine exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
