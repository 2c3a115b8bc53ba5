"""The settings in words: what a run uses, where each value is from, and how to write it down."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from deeph_spec.files import readable, sha256

from deeph.config.inference import InferConfig
from deeph.config.key import KeySpec, in_effect, key_specs, lookup
from deeph.config.toml import shown
from deeph.config.training import TrainConfig

Settings = TrainConfig | InferConfig
Config = TypeVar("Config", TrainConfig, InferConfig)


def with_proposed(config: Config, values: Mapping[str, Any]) -> Config:
    """Fill in values that were found from the data or the machine.

    Parameters
    ----------
    config : TrainConfig or InferConfig
        The settings; it is not changed.
    values : mapping
        Dotted key -> value, e.g. ``{"model.advanced.net_irreps": "64x0e"}``.

    Returns
    -------
    TrainConfig or InferConfig
        With the values, which `describe` marks as proposed.
    """

    def put(section: Any, path: list[str], value: Any) -> Any:
        if len(path) > 1:
            value = put(getattr(section, path[0]), path[1:], value)
        return replace(section, **{path[0]: value})

    for name, value in values.items():
        config = put(config, name.split("."), value)
    return replace(config, origins={**config.origins, **dict.fromkeys(values, "proposed")})


def _shown_keys(config: Settings, every: bool) -> Iterator[tuple[KeySpec, Any, str]]:
    """List the keys to show, their values and where those come from."""
    for spec in key_specs(type(config)):
        value, origin = lookup(config, spec.name), config.origins.get(spec.name, "default")
        if value is None and spec.said.absent:
            origin = spec.said.absent
        wanted = in_effect(config, spec)
        if every:
            wanted = wanted or (value is not None and not spec.said.limited)
        elif spec.said.quiet and value == spec.default:
            wanted = False
        if wanted:
            yield spec, value, origin


def describe(config: Settings) -> tuple[str, ...]:
    """Say every value that is in effect and where it comes from, one line a key.

    Keys that are not read with the other values as they are (the momentum of adam, the details of
    a continuation that is off) are left out.

    Returns
    -------
    tuple of str
        For example ``model.advanced.num_blocks = 3  (default)``.
    """
    rows = []
    for spec, value, origin in _shown_keys(config, every=False):
        if value is None:
            rows.append((f"{spec.name}: {origin}", ""))
        else:
            typed = readable(value) if isinstance(value, Path) else value
            rows.append((f"{spec.name} = {shown(typed)}", f"({origin})"))
    width = min(max(len(text) for text, _ in rows), 60)
    return tuple(f"{text:<{width}}  {origin}".rstrip() for text, origin in rows)


def _toml(
    rows: Iterator[tuple[KeySpec, Any]], comment: Callable[[KeySpec], str], above: bool
) -> str:
    """Write keys as TOML with a comment each; a value of None makes a line that is a comment."""
    lines: list[str] = []
    section = ""
    for spec, value in rows:
        if spec.section != section:
            section = spec.section
            lines += ["", f"[{section}]"]
        last = spec.name.rpartition(".")[2]
        text = f"{last} = {shown(value)}" if value is not None else f'# {last} = ""'
        said = comment(spec)
        if above:
            if value is None:
                said += f" Left out: {spec.said.absent}."
            lines += [*(f"# {line}" for line in textwrap.wrap(said, 96)), text]
        else:
            lines.append(f"{text:<40} # {said}")
    return "\n".join(lines).strip() + "\n"


def to_toml(config: Settings) -> str:
    """Write the settings as a TOML file that can be used again.

    Paths are written absolute; keys that only have one possible value are left out.

    Returns
    -------
    str
        Every value with its origin as a comment.
    """
    kept = {
        spec.name: (spec, value.absolute() if isinstance(value, Path) else value, origin)
        for spec, value, origin in _shown_keys(config, every=True)
    }
    head = f"# Settings of this run{f', from {config.file}' if config.file else ''}\n\n"
    rows = iter([(spec, value) for spec, value, _ in kept.values()])
    return head + _toml(rows, lambda spec: kept[spec.name][2], above=False)


def template(
    config_class: type, values: Mapping[str, Any], comments: Mapping[str, str], head: str
) -> str:
    """Write a commented TOML file to start from.

    Parameters
    ----------
    config_class : type
        `TrainConfig` or `InferConfig`.
    values : mapping
        Dotted key -> value to write; the keys of the mapping are the ones that appear. None
        makes a line that is commented out.
    comments : mapping
        Dotted key -> words that replace the note of the table.
    head : str
        Lines of comment for the top.

    Returns
    -------
    str
    """
    specs = [spec for spec in key_specs(config_class) if spec.name in values]
    return (
        "".join(f"# {line}\n" for line in head.splitlines())
        + "\n"
        + _toml(
            iter([(spec, values[spec.name]) for spec in specs]),
            lambda spec: comments.get(spec.name, spec.said.note),
            above=True,
        )
    )


def as_flat(config: Settings) -> dict[str, Any]:
    """Give every key that can change a trained number, as JSON values.

    Left out are folders, what is shown, what is saved and when training stops: two runs that agree
    in the rest walk the same way. A file counts with its content.
    """
    flat = {}
    for spec in key_specs(type(config)):
        if spec.said.numeric and in_effect(config, spec):
            value = lookup(config, spec.name)
            if isinstance(value, Path):
                value = sha256(value) if value.is_file() else str(value.absolute())
            flat[spec.name] = value
    return json.loads(json.dumps(flat))


def fingerprint(config: Settings) -> str:
    """Give the SHA-256 of the settings that can change a trained number."""
    text = json.dumps(as_flat(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
