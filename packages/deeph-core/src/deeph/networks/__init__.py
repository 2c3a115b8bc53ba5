"""Equivariant networks: pure functions from graphs to irreps of every node and edge.

A network is a frozen dataclass with `init(rng, graph) -> parameters` and
`apply(parameters, graph) -> (nodes, edges)`; it knows no files and no configuration. A new one is
a folder here and a line in `NETWORKS`; `networks.contract` holds the tests that it must pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from deeph.graphs.graph import Graph
from deeph.networks.accurate.network import AccurateNetwork
from deeph.networks.normal.network import NormalNetwork
from deeph.networks.specification import NetworkSpecification

Array = Any


class Network(Protocol):
    """The contract of every network."""

    @property
    def specification(self) -> NetworkSpecification:
        """What it is built from."""
        ...

    def init(self, rng: Array, graph: Graph) -> Any:
        """Return fresh parameters, a tree of arrays."""
        ...

    def apply(self, parameters: Any, graph: Graph, rng: Array | None = None) -> tuple[Array, Array]:
        """Return irreps of nodes (n, size) in the lab and of edges (e, size) in edge frames.

        `rng` decides what is left out in training; without it nothing is.
        """
        ...


NETWORKS: dict[str, Callable[..., Network]] = {
    "normal": NormalNetwork,
    "accurate": AccurateNetwork,
}
"""Networks by the name that the configuration uses."""

__all__ = ["NETWORKS", "AccurateNetwork", "Network", "NetworkSpecification", "NormalNetwork"]
