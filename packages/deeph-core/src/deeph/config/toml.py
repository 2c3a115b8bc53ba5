"""Reading TOML with errors that quote the line, and writing single values."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from deeph_spec.errors import InputError


def shown(value: object) -> str:
    """Write a value as TOML does."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, bool | str | list | int):
        return json.dumps(value, ensure_ascii=False, default=str)
    return repr(value) if isinstance(value, float) else str(value)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Its tables.

    Raises
    ------
    InputError
        When there is no such file, it is not text, or its syntax is wrong (with the line).
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a mark at the beginning
    except FileNotFoundError:
        others = sorted(other.name for other in path.parent.glob("*.toml"))
        hint = f"; its folder holds {', '.join(others[:5])}" if others else ""
        raise InputError(f"{path}: no such file{hint}") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected a TOML file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text, expected a TOML file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{path}: not valid TOML: {error}{_syntax_hint(text, str(error))}"
        ) from None


def _syntax_hint(text: str, error: str) -> str:
    """Quote the line that is no TOML, and say what is usually wrong with it."""
    match = re.search(r"line (\d+)", error)
    lines = text.splitlines()
    if not match or not 0 < int(match[1]) <= len(lines):
        return ""
    line = lines[int(match[1]) - 1].strip()
    value = line.partition("=")[2].strip()
    hint = ""
    if "Cannot" in error:
        hint = ", which is set before; keep one"
    elif "\\" in line:
        hint = '; write paths with "/"'
    elif re.match(r"(True|False|TRUE|FALSE|yes|no|on|off)\b", value):
        hint = "; write true or false"
    elif re.fullmatch(r"[-+]?\d+,\d+", value):
        hint = "; write numbers with a point, not a comma"
    elif value and value[0] not in "\"'[{":
        hint = "; a text needs quotes"
    return f": {line[:60]}{hint}"
