"""How a configuration key is declared: once, on the dataclass field that holds its value.

Parsing, the template of ``deeph init``, the printed settings and the reference page of the
documentation are all derived from these declarations; nothing else knows a key's type, default
or allowed values.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ANY = object()


@dataclass(frozen=True)
class Rule:
    """A condition on a number, with the words an error message uses for it."""

    text: str
    holds: Callable[[Any], bool]


POSITIVE = Rule("above 0", lambda value: value > 0)
AT_LEAST_0 = Rule("0 or more", lambda value: value >= 0)
AT_LEAST_1 = Rule("1 or more", lambda value: value >= 1)
MINUS_1_OR_MORE = Rule("-1 or more", lambda value: value >= -1)
MINUS_1_OR_POSITIVE = Rule("-1, or 1 or more", lambda value: value == -1 or value >= 1)
UNIT_OPEN = Rule("above 0 and below 1", lambda value: 0 < value < 1)
UNIT = Rule("above 0, at most 1", lambda value: 0 < value <= 1)
BETAS = Rule("each from 0 to below 1", lambda pair: all(0 <= x < 1 for x in pair))
SIZE = Rule(
    "structures, or a fraction of them below 1",
    lambda value: 0 <= value < 1 if isinstance(value, float) else value >= 0,
)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What a field says about its key; see `key` for the meaning of each entry."""

    note: str
    choices: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    only: object = _ANY
    because: str = ""
    rule: Rule | None = None
    syntax: Callable[[str], object] | None = None
    absent: str = ""
    varies: tuple[str, Mapping[object, object]] | None = None
    applies: tuple[str, tuple[object, ...]] | None = None
    must_exist: bool = True
    misspelt: tuple[str, ...] = ()
    numeric: bool = True
    quiet: bool = False
    ours: bool = False

    @property
    def limited(self) -> bool:
        """Whether only one value of the key is implemented."""
        return self.only is not _ANY


def declared(note: str, **options: Any) -> dict[str, Declaration]:
    """Give the metadata of a dataclass field that holds a configuration key.

    Parameters
    ----------
    note
        One sentence for the user: what the key does.
    **options
        choices: the allowed names, compared without case; aliases: other names of a choice;
        refused: names that are understood but not available, with the reason;
        only, because: the one value that is available, and the reason;
        rule: condition on a number; syntax: function that raises ValueError on a bad text;
        absent: what an absent key means; varies: (key, {value: default}) where the default of
        this key follows that of another one; applies: (key, values) for which this key is read;
        must_exist: whether a path has to be there; misspelt: wrong spellings that are accepted;
        numeric: False when the key cannot change a trained number; quiet: not worth a line while
        it has its default; ours: an addition of this program, not a key of the published
        configuration.

    Returns
    -------
    dict
        For the argument `metadata` of `dataclasses.field`.
    """
    return {"key": Declaration(note=note, **options)}


def key(default: Any, note: str, **options: Any) -> Any:
    """Declare a configuration key with a default; the field of a key that must be set has none.

    Parameters
    ----------
    default
        Value when the key is absent; None when it is found from the data or the machine (then
        `absent` says how).
    note, **options
        See `declared`.

    Returns
    -------
    dataclasses.Field
    """
    return field(default=default, metadata=declared(note, **options))


@dataclass(frozen=True)
class KeySpec:
    """One documented key: its dotted name, kind of value, default and declaration."""

    name: str
    kind: str
    default: Any
    said: Declaration

    @property
    def section(self) -> str:
        """The table the key stands in, e.g. ``process.train.optimizer``."""
        return self.name.rpartition(".")[0]

    @property
    def required(self) -> bool:
        """Whether the key must be set."""
        return self.default is dataclasses.MISSING


def _kind(hint: Any) -> str:
    """Name the kind of value that a field's type hint asks for."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = {member for member in typing.get_args(hint) if member is not type(None)}
        if members == {int, float}:
            return "size"
        (hint,) = members
    if typing.get_origin(hint) is tuple:
        return "pair"
    return {bool: "bool", int: "int", float: "float", str: "str", Path: "path"}[hint]


def key_specs(config_class: type) -> tuple[KeySpec, ...]:
    """List every key below a configuration class, in the order of declaration."""
    found: list[KeySpec] = []

    def walk(section: type, prefix: str) -> None:
        hints = typing.get_type_hints(section)
        for entry in dataclasses.fields(section):
            hint, name = hints[entry.name], f"{prefix}{entry.name}"
            if dataclasses.is_dataclass(hint):
                walk(typing.cast("type", hint), name + ".")
            elif "key" in entry.metadata:
                declaration = entry.metadata["key"]
                found.append(KeySpec(name, _kind(hint), entry.default, declaration))

    walk(config_class, "")
    return tuple(found)


def sections(specs: tuple[KeySpec, ...]) -> tuple[str, ...]:
    """List the tables of the keys and the tables that hold those, without repetition."""
    names: dict[str, None] = {}
    for spec in specs:
        parts = spec.section.split(".")
        names.update({".".join(parts[: n + 1]): None for n in range(len(parts))})
    return tuple(names)


def lookup(config: object, name: str) -> Any:
    """Return the value of a dotted key, e.g. ``model.advanced.num_blocks``."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def defaults(config_class: type, given: Mapping[str, object]) -> dict[str, Any]:
    """Return the value of every key, by dotted name, when only the given ones are set."""
    found = {spec.name: spec.default for spec in key_specs(config_class)} | dict(given)
    return found | {
        spec.name: default_of(spec, found)
        for spec in key_specs(config_class)
        if spec.name not in given
    }


def default_of(spec: KeySpec, values: Mapping[str, object]) -> object:
    """Return what an absent key means beside the values that are given, by dotted key."""
    if spec.said.varies is None:
        return spec.default
    other, defaults = spec.said.varies
    return defaults.get(values.get(other), spec.default)


def in_effect(config: object, spec: KeySpec) -> bool:
    """Whether the key is read with the other values as they are."""
    if spec.said.limited:
        return False
    if spec.said.applies is None:
        return True
    other, values = spec.said.applies
    return lookup(config, other) in values
