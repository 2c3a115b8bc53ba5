"""Where a compiled program spends its time, operation by operation.

XLA's profiler gives the time of every operation of the compiled program, and the program's text
says what each computes and which line of Python it comes from. Times are those in the program, with
everything around; products fused with other work count with that work.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = r"%?([\w.\-]+)"
_LINE = re.compile(rf"^\s+(?:ROOT )?{_NAME} = (.*)$")
_OPCODE = re.compile(r"^(?:\([^()]*\)|\S+) ([\w\-]+)\((.*)$")
_COMPUTATION = re.compile(rf"^(?:ENTRY )?{_NAME} \(.*\{{$")
_CONTAINERS = ("while", "call", "conditional")


@dataclass(frozen=True)
class Operation:
    """One operation of a compiled program.

    Attributes
    ----------
    kind : str
        What it is: dot, fusion, ...
    places : tuple of str
        Where in Python it comes from, file:function, the innermost first.
    products : tuple of (int, tuple of int)
        Floating-point operations of every matrix product in it, and all extents of that product.
    seconds : float
        In all its executions together.
    executions : int
    """

    kind: str
    places: tuple[str, ...]
    products: tuple[tuple[int, tuple[int, ...]], ...]
    seconds: float
    executions: int

    @property
    def flops(self) -> int:
        """Floating-point operations of matrix products, all executions together."""
        return self.executions * sum(flops for flops, _ in self.products)


def operations(compiled: Any, call: Callable[[], object]) -> list[Operation]:
    """Run a compiled program once and give its operations with the time of each.

    Parameters
    ----------
    compiled : jax.stages.Compiled
    call : function
        Runs it, and waits for the result.
    """
    import jax

    call()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            call()
        (file,) = Path(folder).rglob("*.xplane.pb")
        profile = jax.profiler.ProfileData.from_file(str(file))
        seconds, counts = Counter[str](), Counter[str]()
        for plane in profile.planes:
            for line in plane.lines:
                for event in line.events:
                    seconds[event.name] += 1e-9 * event.duration_ns
                    counts[event.name] += 1
    return [
        Operation(kind, places, products, seconds[name], counts[name])
        for name, kind, places, products in _described(compiled.as_text())
        if counts[name] and kind not in _CONTAINERS
    ]


def _described(
    text: str,
) -> Iterable[tuple[str, str, tuple[str, ...], tuple[tuple[int, tuple[int, ...]], ...]]]:
    """Yield name, kind, places in Python and matrix products of every operation of a program."""
    lines = text.splitlines()
    frames = _frames(lines)
    shapes: dict[str, tuple[int, ...]] = {}
    members: dict[str, list[str]] = {}
    found: dict[str, tuple[str, str]] = {}
    current = ""
    for line in lines:
        if head := _COMPUTATION.match(line):
            current = head[1]
        elif (entry := _LINE.match(line)) and (body := _OPCODE.match(entry[2])):
            shapes[entry[1]] = _extents(entry[2])
            members.setdefault(current, []).append(entry[1])
            found[entry[1]] = (body[1], body[2])

    def products(name: str) -> tuple[tuple[int, tuple[int, ...]], ...]:
        kind, rest = found[name]
        if kind == "dot":
            left = shapes[re.findall(_NAME, rest.replace("%", " %"))[0]]
            dims = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", rest)
            summed = [left[int(d)] for d in (dims[1] if dims else "").split(",") if d]
            extents = (*shapes[name], *summed)
            return ((2 * math.prod(extents), extents),)
        if kind == "fusion" and (inner := re.search(rf"calls={_NAME}", rest)):
            return tuple(p for member in members[inner[1]] for p in products(member))
        return ()

    for name, (kind, rest) in found.items():
        frame = re.search(r"stack_frame_id=(\d+)", rest)
        yield name, kind, frames.get(int(frame[1]), ()) if frame else (), products(name)


def _extents(text: str) -> tuple[int, ...]:
    shape = re.match(r"\w+\[([\d,]*)\]", text)
    return tuple(int(d) for d in shape[1].split(",") if d) if shape else ()


def _frames(lines: list[str]) -> dict[int, tuple[str, ...]]:
    """Return the places of every stack frame, the innermost first."""
    tables: dict[str, dict[int, str]] = {}
    title = ""
    for line in lines:
        if line in ("FileNames", "FunctionNames", "FileLocations", "StackFrames"):
            title = line
        elif title and (row := re.match(r"(\d+) (.*)$", line)):
            tables.setdefault(title, {})[int(row[1])] = row[2]
        elif line.strip():
            title = ""
    files, functions = (
        {key: name.strip('"') for key, name in tables.get(title, {}).items()}
        for title in ("FileNames", "FunctionNames")
    )

    def number(key: str, text: str) -> int:
        match = re.search(rf"{key}=(\d+)", text)
        return int(match[1]) if match else 0

    places = {
        key: f"{files.get(number('file_name_id', text), '')}:"
        f"{functions.get(number('function_name_id', text), '')}"
        for key, text in tables.get("FileLocations", {}).items()
    }
    links = {
        # Frames count from 1, and so do parents, but theirs is printed with one more.
        key: (number("file_location_id", text), number("parent_frame_id", text) - 1)
        for key, text in tables.get("StackFrames", {}).items()
    }
    result: dict[int, tuple[str, ...]] = {}
    for key in sorted(links):
        place, parent = links[key]
        result[key] = (places.get(place, ""), *result.get(parent, ()))
    return result
