"""A TOML file and ``key=value`` arguments become a configuration object, or a list of problems.

Every problem is one line that names file, key, what was found and what is expected. All problems
of a file are collected, so that ``deeph check`` can show them together.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from deeph_spec.errors import InputError

from deeph.config.key import KeySpec, default_of, key_specs, sections
from deeph.config.rules import broken_rules, oddities
from deeph.config.toml import shown

Config = TypeVar("Config")
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "path": "a path as text",
    "size": "a number",
    "pair": "a list of two numbers",
}


@dataclass(frozen=True)
class Reading:
    """What came out of a file: a configuration when there are no problems."""

    config: Any
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass
class _Report:
    """Collects lines while a file is read."""

    where: str
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, name: str, message: str) -> None:
        self.problems.append(f"{self.where}: {name}: {message}")


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """Find the known dotted name whose last part is most like that of `name`.

    Names of the same table come first; from other tables only a close match is taken.
    """
    parent, _, last = name.rpartition(".")
    siblings = [full for full in known if full.rpartition(".")[0] == parent]
    for names, cutoff in ((siblings, 0.6), (known, 0.75)):
        by_last = {full.rpartition(".")[2]: full for full in reversed(names)}
        near = difflib.get_close_matches(last, by_last, n=1, cutoff=cutoff)
        if near:
            return by_last[near[0]]
    return None


def _known(name: str, known: Sequence[str]) -> str:
    """List the names of the same table, or where there is no such table the first ones of all."""
    parent = name.rpartition(".")[0]
    inside = [full for full in known if full.rpartition(".")[0] == parent]
    inside += dict.fromkeys(
        ".".join(full.split(".")[: parent.count(".") + 2])
        for full in known
        if parent and full.startswith(parent + ".") and full not in inside
    )
    shown_names = (inside or list(known))[:6]
    return ", ".join(shown_names) + (", ..." if len(inside or known) > 6 else "")


def _leaves(
    tables: Mapping[str, Any], known: set[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """List dotted names and values; a table that is not a known section counts as a value."""
    for part, value in tables.items():
        name = f"{prefix}{part}"
        if isinstance(value, dict) and name in known:
            yield from _leaves(value, known, name + ".")
        else:
            yield name, value


def _override(text: str, specs: tuple[KeySpec, ...]) -> tuple[str, Any]:
    """Read one ``key=value`` argument; the key may be the unique end of a dotted name."""
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name:
        raise InputError(f"{text}: expected key=value, e.g. process.train.max_epoch=100")
    matches = [s for s in specs if s.name == name or s.name.endswith("." + name)]
    if len(matches) > 1:
        names = ", ".join(spec.name for spec in matches)
        raise InputError(f"{text}: {name} is one of {names}; write the full name")
    try:
        found = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        found = value  # a text without quotes, the natural way on a command line
    if matches and matches[0].kind in ("str", "path") and not isinstance(found, str):
        found = value  # a folder may be called 2026 or nan
    return (matches[0].name if matches else name), found


def _number(spec: KeySpec, value: Any) -> Any:
    """Convert to the number type of a key; whole floats are fine where an int is expected."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    if spec.kind == "int":
        if value != int(value):
            raise ValueError
        return int(value)
    return float(value) if spec.kind == "float" else value


def _typed(spec: KeySpec, value: Any) -> Any:
    """Convert a TOML value to the key's type, or raise ValueError."""
    if spec.kind == "bool" and isinstance(value, bool):
        return value
    if spec.kind in ("str", "path") and isinstance(value, str):
        return value
    if isinstance(value, bool) and shown(value) in spec.said.choices:
        return shown(value)  # auto, true or false: two of the three are no text in TOML
    if spec.kind == "pair" and isinstance(value, list) and len(value) == 2:
        pair = dataclasses.replace(spec, kind="float")
        return (_number(pair, value[0]), _number(pair, value[1]))
    if spec.kind in ("int", "float", "size"):
        if spec.name.endswith("load_model_epoch") and isinstance(value, str):
            value = int(value)  # samples of the published configuration write "-1"
        return _number(spec, value)
    raise ValueError


def _named(spec: KeySpec, text: str) -> str:
    """Find the choice that a text means, without regard to case."""
    declared = spec.said
    names = {_plain(choice): choice for choice in declared.choices}
    names |= {_plain(alias): choice for alias, choice in declared.aliases.items()}
    refused = {_plain(name): reason for name, reason in declared.refused.items()}
    given = _plain(text)
    if given in names:
        return names[given]
    if given in refused:
        raise InputError(refused[given])
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    hint = f"; did you mean {names[near[0]]}?" if near else ""
    raise InputError(f"expected one of {', '.join(declared.choices)}{hint}")


def _plain(name: str) -> str:
    """Return a name for comparison: ReduceOnPlateau is reduce_on_plateau."""
    return re.sub(r"[\s_-]", "", name).lower()


def _convert(spec: KeySpec, value: Any) -> Any:
    """Turn a TOML value into the value of a key, or raise InputError with the reason."""
    declared = spec.said
    try:
        found = _typed(spec, value)
    except (ValueError, OverflowError):
        wanted = _WORDS[spec.kind]
        wanted += f" ({declared.rule.text})" if declared.rule else ""
        wanted += f" ({', '.join(declared.choices)})" if declared.choices else ""
        raise InputError(f"expected {wanted}") from None
    if found == "" and spec.default in (None, ""):
        return spec.default
    if declared.limited and found != declared.only:
        raise InputError(f"only {shown(declared.only)} is possible: {declared.because}")
    if declared.choices:
        return _named(spec, found)
    if declared.rule and not declared.rule.holds(found):
        raise InputError(f"expected {declared.rule.text}")
    if declared.syntax:
        try:
            declared.syntax(found)
        except (ValueError, InputError) as error:
            raise InputError(str(error)) from None
    return found


def value_of(config_class: type, name: str, value: Any) -> Any:
    """Read one value as if it stood in a file.

    Raises
    ------
    InputError
        When the key does not take it; the line gives the reason alone.
    """
    (spec,) = (spec for spec in key_specs(config_class) if spec.name == name)
    return _convert(spec, value)


def _locate(spec: KeySpec, text: str, folders: list[Path]) -> Path:
    """Find a relative path from the working directory first, then from the TOML's folder.

    The folder in which the inputs are found is moved to the front of `folders`: what the run
    writes goes beside its inputs.
    """
    path = Path(text).expanduser()
    for folder in folders:
        if (folder / path).exists():
            if spec.name == "data.inputs_dir":
                folders.insert(0, folders.pop(folders.index(folder)))
            return folder / path
    if not spec.said.must_exist:
        return folders[0] / path
    tried = dict.fromkeys(str(folder / path) for folder in folders)
    raise InputError(f"found neither {' nor '.join(tried)}" if len(tried) > 1 else "not found")


def _build(cls: Any, prefix: str, values: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    """Make the nested dataclasses from dotted values."""
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = dict(extra)
    for entry in dataclasses.fields(cls):
        name = f"{prefix}{entry.name}"
        if dataclasses.is_dataclass(hints[entry.name]):
            arguments[entry.name] = _build(hints[entry.name], name + ".", values, {})
        elif name in values:
            arguments[entry.name] = values[name]
    return cls(**arguments)


def _collect(
    leaves: Iterator[tuple[str, Any]],
    specs: tuple[KeySpec, ...],
    elsewhere: Sequence[str],
    report: _Report,
) -> dict[str, Any]:
    """Sort leaves by key, accept misspelt ones with a warning, report unknown ones."""
    names = [spec.name for spec in specs]
    misspelt = {f"{s.section}.{wrong}": s.name for s in specs for wrong in s.said.misspelt}
    found: dict[str, Any] = {}
    wrong: dict[str, Any] = {}
    for name, value in leaves:
        if name in names:
            found[name] = value
        elif name in misspelt:
            wrong[name] = value
        elif name in sections(specs):
            report.problem(name, f"found {shown(value)}, expected a table [{name}]")
        elif name in elsewhere:
            report.problem(
                name, "is a key of the other command's files (train, infer); remove it here"
            )
        else:
            known = list(sections(specs)) if isinstance(value, dict) else names
            near = _nearest(name, known)
            hint = f"; did you mean {near}?" if near else f"; known: {_known(name, known)}"
            report.problem(name, f"unknown {'table' if isinstance(value, dict) else 'key'}{hint}")
    for name, value in wrong.items():
        right = misspelt[name]
        if found.setdefault(right, value) != value:
            report.problem(name, f"is a misspelling of {right} and differs from it; keep one")
        else:
            report.warnings.append(f"{report.where}: {name} is read as {right}")
    return found


def read_settings(
    config_class: type[Config],
    tables: Mapping[str, Any],
    *,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    elsewhere: type | None = None,
) -> Reading:
    """Check tables and overrides and make a configuration of them.

    Parameters
    ----------
    config_class : type
        `TrainConfig` or `InferConfig`.
    tables : mapping
        Parsed TOML.
    file : Path, optional
        Where they come from: named in messages, its folder is searched for relative paths.
    overrides : sequence of str
        ``key=value`` arguments, which win.
    elsewhere : type, optional
        The other command's configuration: its keys get a message of their own.

    Returns
    -------
    Reading
        `config` is None when there are problems.

    Raises
    ------
    InputError
        When an override cannot be read.
    """
    specs = key_specs(config_class)
    report = _Report(str(file) if file else "settings")
    others = [spec.name for spec in key_specs(elsewhere)] if elsewhere else []
    found = _collect(_leaves(tables, set(sections(specs))), specs, others, report)
    given = _Report("command line")
    arguments = _collect(iter([_override(text, specs) for text in overrides]), specs, others, given)
    report.warnings += given.warnings
    origins = dict.fromkeys(found, "file") | dict.fromkeys(arguments, "command line")
    found |= arguments

    values: dict[str, Any] = {}
    folders = list(dict.fromkeys([Path.cwd(), *([file.resolve().parent] if file else [])]))
    for spec in specs:
        if spec.name not in found:
            if spec.required:
                report.problem(spec.name, f"must be set: {spec.said.note}")
            continue
        try:
            value = _convert(spec, found[spec.name])
            if spec.kind == "path" and value is not None:
                value = _locate(spec, value, folders)
            values[spec.name] = value
        except InputError as error:
            where = given if spec.name in arguments else report
            where.problem(f"{spec.name} = {shown(found[spec.name])}", str(error))
    report.problems += given.problems
    if report.problems:
        return Reading(None, tuple(report.problems), tuple(report.warnings))
    for spec in specs:
        if spec.said.varies is not None and spec.name not in values:
            other = next(s for s in specs if s.name == spec.said.varies[0])
            values[spec.name] = default_of(spec, {other.name: other.default, **values})
    extra = {"file": file, "origins": origins, "warnings": tuple(report.warnings)}
    config = _build(config_class, "", values, extra)
    broken = tuple(f"{report.where}: {line}" for line in broken_rules(config))
    if broken:
        return Reading(None, broken, tuple(report.warnings))
    report.warnings += [f"{report.where}: {line}" for line in oddities(config)]
    warnings = tuple(report.warnings)
    return Reading(dataclasses.replace(config, warnings=warnings), (), warnings)
