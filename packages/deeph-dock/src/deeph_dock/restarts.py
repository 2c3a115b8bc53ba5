"""Whether what a command would make of a structure is there already.

info.json keeps two hashes under ``provenance.inputs``, of the structure and of the settings it
depends on: a structure is done if both are the same. If one of them changed it is made again; if
both did, the folder holds something else and is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deeph_spec.errors import InputError
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo

from deeph_dock.places import Record


def hashes(
    structure: Structure, periodic: Sequence[bool], settings: Mapping[str, Any]
) -> dict[str, str]:
    """Give the hashes by which a structure that is done is recognised.

    Parameters
    ----------
    structure : Structure
        As it was given.
    periodic : sequence of bool
        Directions in which it repeats; the cell of a molecule does not count.
    settings : mapping
        What the result depends on, of JSON.

    Returns
    -------
    dict
        Of "structure" and "settings".
    """
    content = hashlib.sha256(json.dumps(list(periodic)).encode())
    if any(periodic):
        content.update(structure.lattice.tobytes())
    content.update(structure.positions.tobytes() + structure.numbers.tobytes())
    text = json.dumps(settings, sort_keys=True).encode()
    return {
        "structure": f"sha256:{content.hexdigest()}",
        "settings": f"sha256:{hashlib.sha256(text).hexdigest()}",
    }


def state(
    target: Path,
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
    wanted: Sequence[str],
    command: str,
    redo: bool = False,
) -> tuple[str, str, tuple[str, ...]]:
    """Look at the folder of a structure.

    Parameters
    ----------
    target : Path
        The folder; it need not exist.
    inputs : mapping
        What `hashes` gives.
    settings : mapping
        As there; kept as ``provenance.settings``, to name what changed.
    wanted : sequence of str
        Matrices asked for.
    command : str
        Who makes it, for messages.
    redo : bool
        Make it again whatever is there.

    Returns
    -------
    status : str
        "new", "changed" or "skipped".
    reason : str
        What changed.
    files : tuple of str
        Files written before.

    Raises
    ------
    InputError
        If something else is there.
    """
    info = target / "info.json"
    if not os.path.lexists(info):
        return "new", "", Record().files
    try:
        provenance = SystemInfo.read(info).provenance
    except InputError:
        provenance = {}
    record = Record.of(provenance)
    if redo:
        return "changed", "asked for", record.files
    known = provenance.get("inputs")
    if not isinstance(known, dict) or set(known) != set(inputs):
        raise InputError(
            f"{target}: exists and was not written by {command}; choose another destination, "
            "or --overwrite its files"
        )
    differ = [name for name in inputs if known.get(name) != inputs[name]]
    there = all((target / name).exists() for name in record.files)
    if not differ and there and record.asked == tuple(wanted):
        return "skipped", "", record.files
    if len(differ) == len(inputs):
        raise InputError(
            f"{target}: holds another structure with other settings; choose another "
            "destination, or --overwrite it"
        )
    if differ == ["settings"]:
        old = provenance.get("settings")
        if isinstance(old, dict):
            keys = sorted(k for k in old.keys() | settings.keys() if old.get(k) != settings.get(k))
            differ = [f"settings ({', '.join(keys)})"]
    if not differ:
        return "changed", "other matrices asked for, or a file is missing", record.files
    return "changed", f"changed: {', '.join(differ)}", record.files
