"""What fits, before a prediction starts: how many structures at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deeph.graphs.padding import padded_shapes
from deeph.networks.memory import SURELY, Memory, in_words


@dataclass(frozen=True)
class Plan:
    """How a prediction is divided.

    Attributes
    ----------
    batch_size : int
        Structures at once that fit.
    lines : tuple of str
        What the user should know.
    too_large : mapping
        Structures that certainly do not fit -> the line that says so.
    """

    batch_size: int
    lines: tuple[str, ...]
    too_large: Mapping[str, str]


def plan(
    memory: Memory,
    sizes: Mapping[str, tuple[int, int]],
    batch_size: int,
    shapes: int,
    available: int | None,
) -> Plan:
    """Choose the largest batch that fits; what is predicted does not depend on it.

    Parameters
    ----------
    memory : Memory
        Of a prediction.
    sizes : mapping
        Structure -> atoms and pairs.
    batch_size, shapes : int
        What is asked for: structures at once, padded shapes.
    available : int or None
        Bytes that are free; None: unknown.
    """
    if not sizes:
        return Plan(batch_size, (), {})
    too_large = {}
    for id, (atoms, pairs) in sizes.items():
        need = memory.of(atoms, pairs)
        if available is not None and need > SURELY * available:
            too_large[id] = (
                f"{atoms} atoms with {pairs} pairs need about {in_words(need)} of memory, but "
                f"{in_words(available)} are free: use a machine with more, or a narrower network"
            )
    rest = [size for id, size in sizes.items() if id not in too_large]
    if not rest:
        return Plan(batch_size, (), too_large)
    asked = min(batch_size, len(rest))
    need = _need(memory, rest, asked, shapes)
    if available is None:
        return Plan(batch_size, (f"Memory: about {in_words(need)}",), too_large)
    if need <= available:
        line = f"Memory: about {in_words(need)}; {in_words(available)} are free"
        return Plan(batch_size, (line,), too_large)
    fits = next(
        (n for n in range(asked - 1, 0, -1) if _need(memory, rest, n, shapes) <= available), 1
    )
    said = f"warning: {asked} structures at once need about {in_words(need)} of memory, but "
    said += f"{in_words(available)} are free"
    if fits < asked:
        said += f": {fits} at once {'is' if fits == 1 else 'are'} predicted"
    return Plan(fits, (said,), too_large)


def _need(memory: Memory, sizes: Sequence[tuple[int, int]], batch_size: int, shapes: int) -> float:
    """Return the bytes of the largest padded batch."""
    largest = padded_shapes(sizes, batch_size, shapes)[-1]
    return memory.of(largest.nodes, largest.edges)
