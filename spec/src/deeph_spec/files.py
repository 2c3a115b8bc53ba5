"""Atomic writing and hashing: a reader never sees half a file.

What is written goes to ``.NAME.HOST.PID.tmp`` beside the target, is flushed to the disk and then
renamed, which is atomic within a file system. A run that is killed leaves at most such a temporary
name behind. There is one writer per file: two writers of one process must not share a target.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

from deeph_spec.errors import InputError

TEMPORARY_PATTERN = ".*.tmp"


def _beside(path: Path) -> Path:
    """Give the temporary name beside `path`."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:40] or "host"
    ending = f".{host}.{os.getpid()}.tmp"
    return path.with_name(f".{path.name[: 250 - len(ending)]}{ending}")


def _flush(path: Path) -> None:
    """Ask the operating system to put a file or the names in a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some network file systems cannot flush a folder; the rename is atomic all the same.
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


@contextmanager
def replace_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file beside `path` and put it in place when the block ends without an exception.

    A symbolic link at `path` is replaced, what it points to stays as it is.

    Parameters
    ----------
    path : path-like
        Target. Its folder must exist.

    Yields
    ------
    Path
        Temporary file name to write to.

    Raises
    ------
    InputError
        If the folder of the target does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist")
    temporary = _beside(path)
    # Within a folder that is itself being filled, its `replace_folder` flushes everything at once.
    in_progress = any(fnmatch(folder.name, TEMPORARY_PATTERN) for folder in path.parents)
    try:
        yield temporary
        if not in_progress:
            _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or str(error.filename) != str(temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # the name users know
    finally:
        temporary.unlink(missing_ok=True)
    if not in_progress:
        _flush(path.parent)


@contextmanager
def replace_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a folder beside `path` and rename it when the block ends without an exception.

    Parameters
    ----------
    path : path-like
        Target, which must not exist. Missing parent folders are made.

    Yields
    ------
    Path
        Temporary folder to fill; it exists and is empty.

    Raises
    ------
    InputError
        If the target exists.
    """
    path = Path(path)
    if os.path.lexists(path):
        raise InputError(f"{path}: exists already; choose another name or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    if temporary.exists():  # left by a process of the same number that was killed
        shutil.rmtree(temporary)
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, names in os.walk(temporary):
            for name in names:
                if not os.path.islink(os.path.join(folder, name)):
                    _flush(Path(folder, name))
            _flush(Path(folder))
        os.rename(temporary, path)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)
    _flush(path.parent)


def require_space(path: str | os.PathLike[str], size: int) -> None:
    """Refuse to begin a file for which there is no space: HDF5 may not survive a full disk.

    Parameters
    ----------
    path : path-like
        The file; its folder must exist.
    size : int
        Bytes that will be written.

    Raises
    ------
    OSError
        If the disk has less, or the process may not write files of this size.
    """
    path = Path(path)
    if shutil.disk_usage(path.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    try:
        import resource
    except ImportError:  # no such limits on this system
        return
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and size > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` in UTF-8 to `path` atomically.

    Parameters
    ----------
    path : path-like
        Target; its folder must exist.
    text : str
        Content, written as it is.
    """
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def readable(path: str | os.PathLike[str]) -> str:
    """Give a path as a user would type it: relative where it lies below the working directory.

    Parameters
    ----------
    path : path-like
        Any path.

    Returns
    -------
    str
        For messages only; it is right for the present working directory.
    """
    path = Path(path)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def sha256(path: str | os.PathLike[str]) -> str:
    """Give the SHA-256 of a file's content.

    Parameters
    ----------
    path : path-like
        A file of any size; it is read in pieces.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
