"""Fixtures shared by all tests: real DFT runs, unpacked on demand."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import signal
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from deeph_spec.files import replace_folder


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs under test, also where tests run in the background.

    A shell starts background jobs with SIGINT ignored, and programs inherit that.
    """
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _unpack(source: Path, target: Path) -> None:
    """Copy `source` to `target`, unpacking what is packed: NAME.tar.xz, NAME.xz, NAME.gz."""
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        to = target / path.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        if path.name.endswith(".tar.xz"):
            with tarfile.open(path) as archive:
                archive.extractall(to.parent, filter="data")
        elif path.suffix in (".xz", ".gz"):
            opener = lzma.open if path.suffix == ".xz" else gzip.open
            with opener(path, "rb") as packed, open(to.with_suffix(""), "wb") as plain:
                shutil.copyfileobj(packed, plain)
        else:
            shutil.copyfile(path, to)


@pytest.fixture(scope="session")
def dft_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that unpacks a folder of the DFT data and gives its path.

    The folder is named relative to the root of the data, e.g. ``siesta/graphene_8/0001``. Tests
    must not write into what they get. Without ``DEEPH_TEST_DATA`` the test is skipped; under
    continuous integration missing data is a failure.
    """
    root = os.environ.get("DEEPH_TEST_DATA", "")
    cache = tmp_path_factory.mktemp("dft_data")

    def unpacked(name: str) -> Path:
        source = Path(root) / name
        if not root or not source.exists():
            reason = f"DFT data '{name}' not found: set DEEPH_TEST_DATA to the folder of the data"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        # A folder and one within it are unpacked apart: each is whole when it is there.
        target = cache / name.replace("/", "_") / Path(name).name
        if not target.exists():
            with replace_folder(target) as beside:
                _unpack(source, beside)
        return target

    return unpacked
