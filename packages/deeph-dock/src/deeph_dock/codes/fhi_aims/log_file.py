"""Which file of a folder is the output of FHI-aims: it is sent wherever the user likes.

It is recognised by its first lines; warnings of MPI may stand before them.
"""

from __future__ import annotations

import re
from pathlib import Path

WELCOME = b"Invoking FHI-aims"
_WANTED = b"output_rs_matrices", b"h_s_matrices"
_HEAD = 2**16
_INPUT = 2**19
_SUFFIXES = ("", ".out", ".log", ".output", ".txt", ".stdout", ".aims")
_OF_A_QUEUE = re.compile(r"\.o\d+")  # job.o12345
_OTHERS = re.compile(
    r"rs_(indices|overlap|hamiltonian)|hamiltonian(_up|_dn)?\.out|overlap-matrix|basis-indices"
)


def find_log(folder: Path) -> Path | None:
    """Find the output of a run.

    Parameters
    ----------
    folder : Path
        Folder of the run.

    Returns
    -------
    Path or None
        Of several the one whose input asks for matrices, of these the last one written.
    """
    found = []
    for path in folder.iterdir():
        suffix = path.suffix.lower()
        if suffix not in _SUFFIXES and not _OF_A_QUEUE.fullmatch(suffix):
            continue
        if _OTHERS.match(path.name) or not path.is_file():
            continue
        with open(path, "rb") as file:
            head = file.read(_HEAD)
            if WELCOME not in head:
                continue
            head += file.read(_INPUT)
        wanted = any(keyword in head for keyword in _WANTED)
        found.append((wanted, path.stat().st_mtime_ns, path.name, path))
    return max(found)[-1] if found else None
