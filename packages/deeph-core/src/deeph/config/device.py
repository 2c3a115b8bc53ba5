"""The device grammar of ``system.device``: ``<type>[*<number>[:<ids>]]``.

``gpu`` is any accelerator JAX finds; ``cuda``, ``rocm``, ``dcu`` and ``tpu`` insist on a kind.
The number counts the devices of the node, the ids (``1-4,7``) choose among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PLATFORMS = {
    "cpu": "cpu",
    "gpu": "gpu",
    "cuda": "cuda",
    "rocm": "rocm",
    "dcu": "rocm",
    "tpu": "tpu",
}
"""Names of the grammar and the JAX platform each one asks for."""

_GRAMMAR = re.compile(r"([a-z]+)(?:\*(\d+)(?::([\d,\-]+))?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Device:
    """What a device text asks for: a JAX platform and the ids of its devices."""

    platform: str
    ids: tuple[int, ...]

    def __str__(self) -> str:
        """Write the request in the grammar."""
        if self.platform == "cpu":
            return "cpu"
        return f"{self.platform}*{max(self.ids) + 1}:{','.join(map(str, self.ids))}"


def _ids(text: str, count: int) -> tuple[int, ...]:
    """Expand ``1-3,5`` to (1, 2, 3, 5) and check it against the number of devices."""
    ids: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first or (part.count("-") and not last) or part.count("-") > 1:
            raise ValueError(f'"{text}" is not a list of device ids such as 0-2,5')
        span = range(int(first), int(last or first) + 1)
        if not span:
            raise ValueError(f'the range "{part}" of device ids is empty')
        ids.update(span)
    if max(ids) >= count:
        raise ValueError(f"device {max(ids)} is beyond the {count} devices, counted from 0")
    return tuple(sorted(ids))


def parse_device(text: str) -> Device:
    """Read a device text such as ``cpu``, ``gpu*8:0`` or ``cuda*4:1-3``.

    Parameters
    ----------
    text : str
        The value of ``system.device``.

    Returns
    -------
    Device
        One id 0 for the CPU, whose number (partitions of the threads) must be 1.

    Raises
    ------
    ValueError
        When the text is not in the grammar or asks for more than one device, which this version
        does not use.
    """
    match = _GRAMMAR.fullmatch(text.strip())
    if not match or match[1].lower() not in PLATFORMS:
        raise ValueError(f"expected one of {', '.join(PLATFORMS)}, e.g. cpu, gpu, gpu*8:0")
    platform = PLATFORMS[match[1].lower()]
    count = int(match[2]) if match[2] else 1
    if count < 1:
        raise ValueError("the number of devices must be 1 or more")
    if platform == "cpu":
        if count > 1:
            raise ValueError('the CPU is one device, which uses all cores given to it; write "cpu"')
        return Device("cpu", (0,))
    ids = _ids(match[3], count) if match[3] else tuple(range(count))
    if len(ids) > 1:
        one = f"{match[1].lower()}*{count}:{ids[0]}"
        raise ValueError(f'several devices in one run are not part of this version; use "{one}"')
    return Device(platform, ids)
