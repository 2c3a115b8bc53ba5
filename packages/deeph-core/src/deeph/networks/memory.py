"""How large a network is: numbers of parameters, and bytes for training and inference.

In: a network's specification and the size of a graph. Out: numbers, without allocating or compiling
anything. The bytes are an estimate,

    fixed + nodes * per_node + edges * per_edge,

with

    per_edge = bytes * (turns * T + radial + blocks * kept * S + hidden * H + target * O),

where T = sum over l of (2 l + 1)^2 is the size of the matrices that turn features, S the number of
components of the features, H the same between the two layers of the heads, O that of the result,
and bytes those of a number. The factors say how many arrays of each kind a program keeps at its
worst moment. They are measured with XLA's own account of compiled programs (a test compares), and
depend on whether gradients are wanted: then every block's arrays stay until the way back, or, when
blocks are recomputed (remat), those of one block and what passes between blocks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from deeph.graphs import Graph
from deeph.layers import with_both_parities
from deeph.networks import Network, NetworkSpecification

SURELY = 1.5
"""Estimates are right within this factor: what needs that much more than there is does not fit."""


@dataclass(frozen=True)
class Memory:
    """An estimate of bytes that is linear in the size of a graph.

    Attributes
    ----------
    fixed, per_node, per_edge : float
        Bytes.
    """

    fixed: float
    per_node: float
    per_edge: float

    def of(self, nodes: int, edges: int) -> float:
        """Return the bytes for a graph."""
        return self.fixed + nodes * self.per_node + edges * self.per_edge


@dataclass(frozen=True)
class Factors:
    """Numbers of arrays that a program keeps, see the formula of the module.

    Attributes
    ----------
    turns, radial, block, between, hidden, target : float
        Per edge. `block` counts arrays of one block, `between` what every block leaves behind.
    node : float
        Arrays per node and block, in units of the components of the features.
    """

    turns: float
    radial: float
    block: float
    between: float
    hidden: float
    target: float
    node: float


FACTORS: dict[tuple[str, str], Factors] = {
    ("normal", "inference"): Factors(3.5, 120, 0, 0, 4.4, 1, 4),
    ("normal", "training"): Factors(0, 490, 0, 4.4, 16.5, 6, 12),
    ("normal", "remat"): Factors(0, 300, 8, 1, 6, 6, 12),
    ("accurate", "inference"): Factors(3.5, 150, 0, 0, 4, 1, 4),
    ("accurate", "training"): Factors(0, 860, 0, 4.6, 16.6, 6, 12),
    ("accurate", "remat"): Factors(0, 500, 8, 1, 6, 6, 12),
}
"""By network and kind of program."""


COPIES = {"sgd": 5, "adam": 6, "adamw": 6, "muon": 10}
"""Arrays of the size of the parameters in training: themselves, the best ones, the gradient, the
update, the optimiser's moments, and with Muon padded matrices on their way to orthogonal ones."""


def inference_memory(
    name: str, specification: NetworkSpecification, parameters: int, itemsize: int = 4
) -> Memory:
    """Return the memory of a prediction.

    Parameters
    ----------
    name : str
        Name of the network; the largest known factors are taken for unknown ones.
    specification : NetworkSpecification
    parameters : int
        See `parameter_count`.
    itemsize : int
        Bytes of a number.
    """
    return _memory(name, "inference", specification, parameters, itemsize)


def training_memory(
    name: str,
    specification: NetworkSpecification,
    parameters: int,
    itemsize: int = 4,
    remat: bool = False,
    optimiser: str = "muon",
) -> Memory:
    """Return the memory of a training step.

    Parameters
    ----------
    name, specification, parameters, itemsize
        See `inference_memory`.
    remat : bool
        Whether blocks are recomputed on the way back.
    optimiser : str
        Name of the optimiser, which decides how many arrays of the size of the parameters there
        are.
    """
    kind = "remat" if remat else "training"
    return _memory(name, kind, specification, parameters * COPIES[optimiser], itemsize)


def _memory(
    name: str, kind: str, spec: NetworkSpecification, numbers: int, itemsize: int
) -> Memory:
    known = [f for (network, program), f in FACTORS.items() if program == kind and network == name]
    if not known:
        known = [f for (_, program), f in FACTORS.items() if program == kind]
    f = max(known, key=lambda factors: factors.radial)
    features = spec.features
    hidden = with_both_parities(features, spec.node_target, spec.edge_target)
    size = features.size
    turned = sum((2 * n + 1) ** 2 for n in range(hidden.l_max + 1))
    edge = (
        f.turns * turned
        + f.radial
        + (f.block + spec.blocks * f.between) * size
        + f.hidden * hidden.size
        + f.target * spec.edge_target.size
    )
    node = f.node * (spec.blocks if f.between else 1) * size + f.target * spec.node_target.size
    return Memory(float(numbers * itemsize), float(node * itemsize), float(edge * itemsize))


def in_words(size: float) -> str:
    """Write a number of bytes."""
    for unit in ("kB", "MB"):
        size /= 1000
        if size < 1000:
            return f"{size:.3g} {unit}"
    return f"{size / 1000:.3g} GB"


def available_memory() -> int | None:
    """Return the bytes that are free on the device that JAX uses; None if it does not say."""
    settings: Any = jax.config
    device = settings.jax_default_device or jax.devices()[0]
    if getattr(device, "platform", "cpu") != "cpu":
        stats = device.memory_stats() or {}
        limit = stats.get("bytes_limit")
        return None if limit is None else int(limit - stats.get("bytes_in_use", 0))
    found = [free for free in (_free_of_machine(), _free_of_group()) if free is not None]
    return min(found, default=None)


def _free_of_machine() -> int | None:
    """Return what Linux calls available, or the physical memory of other systems."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(s.split()[1]) for s in lines if s.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None


def _free_of_group() -> int | None:
    """Return what the control group of a container or batch job leaves, if it has a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None


def smallest_graph() -> Graph:
    """Return a graph of two atoms and two edges: parameters do not depend on its size."""
    two, floats = np.zeros(2, np.int32), np.ones(2, np.float32)
    return Graph(
        species=two,
        centre=two,
        neighbour=two,
        reverse=two,
        lengths=floats,
        axes=np.ones((2, 3), np.float32),
        turned=0 * floats,
        node_structure=two,
        edge_structure=two,
        node_mask=floats,
        edge_mask=floats,
    )


def parameter_shapes(network: Network) -> Any:
    """Return the tree of shapes of the network's parameters."""
    return jax.eval_shape(lambda: network.init(jax.random.key(0), smallest_graph()))


def parameter_count(network: Network) -> int:
    """Return how many parameters a network has."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(parameter_shapes(network)))
