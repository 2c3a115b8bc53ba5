"""Which files belong to one run of OpenMX, told by what they hold. Nothing here imports numpy."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

BANNER = b"This calculation was performed by OpenMX"
"""First line of an output."""
SCFOUT = ".scfout"
OVERLAPS = "output/overlaps_0.h5"
_OUTPUTS = (".out", ".log", ".txt", ".std")
_HEAD = 4096
_WITHIN = 2**20
_NEWEST = 15
"""Versions of the layout that the first numbers may name; those not known are refused later."""


@dataclass(frozen=True)
class Files:
    """Files of one run; None for those that are not there."""

    scfout: Path | None
    output: Path | None
    band: Path | None
    input: Path | None
    last: Path | None = None
    overlaps: tuple[Path, ...] = ()

    def all(self) -> tuple[Path, ...]:
        """Give those that exist."""
        single = (self.scfout, self.output, self.band, self.input, self.last)
        return (*(path for path in single if path is not None), *self.overlaps)


def find_labels(folder: Path) -> tuple[str, ...]:
    """Give the names of the runs in a folder.

    Parameters
    ----------
    folder : Path
        An existing folder.

    Returns
    -------
    tuple of str
        Of those with a scfout file, or else with overlaps alone, or else with an output.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file())
    labels = [path.stem for path in files if path.suffix == SCFOUT and _is_scfout(path)]
    if labels:
        return tuple(labels)
    if (folder / OVERLAPS).is_file():
        inputs = [path for path in files if path.suffix == ".dat" and _is_input(path)]
        return (inputs[0].stem,) if inputs else ("",)
    outputs = [path.stem for path in files if path.suffix in _OUTPUTS and is_output(path)]
    return tuple(dict.fromkeys(outputs))


def find_files(folder: Path, label: str) -> Files:
    """Find the files of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.
    label : str
        Its System.Name.

    Returns
    -------
    Files
        The output and the input by what they hold, the others by name.
    """

    def named(suffix: str) -> Path | None:
        path = folder / f"{label}{suffix}"
        return path if path.is_file() else None

    scfout = named(SCFOUT)
    overlaps: tuple[Path, ...] = ()
    if scfout is None and (folder / OVERLAPS).is_file():
        overlaps = tuple(sorted((folder / OVERLAPS).parent.glob("overlaps_*.h5")))
    return Files(
        scfout,
        _find_output(folder, label),
        named(".Band"),
        _find_input(folder, label),
        named(".md2"),
        overlaps,
    )


def is_output(path: Path) -> bool:
    """Tell whether a file is an output of OpenMX."""
    return BANNER in _head(path)


def _is_scfout(path: Path) -> bool:
    """Tell whether the first six numbers can be those of a scfout file, or of one cut too early."""
    head = _head(path, 24)
    if len(head) < 24:
        return True  # listed, so that reading it says that it was cut
    atoms, switch, *regions, images = struct.unpack("<6i", head)
    return (
        atoms > 0
        and switch % 4 in (0, 1, 3)
        and 0 <= switch // 4 <= _NEWEST
        and all(0 <= region <= atoms for region in regions)
        and 0 <= images < 2**24
    )


def _is_input(path: Path) -> bool:
    """Tell whether a file is an input of OpenMX."""
    return b"definition.of.atomic.species" in _head(path, _WITHIN).lower()


def _find_output(folder: Path, label: str) -> Path | None:
    """Find the output: the one of this name, else one that names this System.Name."""
    outputs = sorted(
        path for path in folder.iterdir() if path.suffix in _OUTPUTS and path.is_file()
    )
    outputs = [path for path in outputs if is_output(path)]
    outputs.sort(key=lambda path: path.name != f"{label}.out")
    if outputs and outputs[0].name == f"{label}.out":
        return outputs[0]
    return next((path for path in outputs if _system_name(path) == label), None)


def _find_input(folder: Path, label: str) -> Path | None:
    """Find the input: the one of this name, else one that names this System.Name."""
    inputs = sorted(path for path in folder.glob("*.dat") if path.is_file() and _is_input(path))
    inputs.sort(key=lambda path: path.stem != label)
    if inputs and inputs[0].stem == label:
        return inputs[0]
    return next((path for path in inputs if _system_name(path) == label), None)


def _system_name(path: Path) -> str | None:
    """Give the System.Name that an input, or the copy of it in an output, holds."""
    for line in _head(path, _WITHIN).splitlines():
        words = line.split()
        if len(words) > 1 and words[0].lower() == b"system.name":
            return words[1].decode("utf-8", "replace")
    return None


def _head(path: Path, size: int = _HEAD) -> bytes:
    """Give the first bytes of a file, nothing of one that cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""
