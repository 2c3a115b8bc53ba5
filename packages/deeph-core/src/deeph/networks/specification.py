"""What a network is built from: sizes, irreps, and the numbers of the data it depends on."""

from __future__ import annotations

from dataclasses import dataclass

from deeph.layers.features import Features


@dataclass(frozen=True)
class NetworkSpecification:
    """Plain numbers that, with the parameters, define a network completely.

    Attributes
    ----------
    elements : int
        Number of elements.
    irreps : str
        Features of nodes and edges, for instance "32x0e+16x1o+16x1e".
    parity : bool
        Whether inversion symmetry is kept.
    blocks : int
        Rounds of message passing.
    r_max : float
        Range of the Gaussians of distance in Å.
    neighbours : float
        Average number of edges of an atom, by which sums of messages are scaled.
    node_natural, node_unnatural : tuple of int
        Channels of the result on nodes for J = 0, 1, ...: parity (-1)^J, and the others. Empty: no
        result on nodes.
    edge_natural, edge_unnatural : tuple of int
        The same on edges.
    heads : int
        Attention heads, for networks that have such.
    """

    elements: int
    irreps: str
    parity: bool
    blocks: int
    r_max: float
    neighbours: float
    node_natural: tuple[int, ...]
    node_unnatural: tuple[int, ...]
    edge_natural: tuple[int, ...]
    edge_unnatural: tuple[int, ...]
    heads: int = 1

    @property
    def features(self) -> Features:
        """Channels of nodes and edges."""
        return Features.of_irreps(self.irreps, self.parity)

    @property
    def node_target(self) -> Features:
        """Channels of the result on nodes."""
        return _joined(self.node_natural, self.node_unnatural, self.parity)

    @property
    def edge_target(self) -> Features:
        """Channels of the result on edges."""
        return _joined(self.edge_natural, self.edge_unnatural, self.parity)


@dataclass(frozen=True)
class Drop:
    """Rates at which parts of a network are left out in training; all zero: none.

    Attributes
    ----------
    features : float
        Of channels of messages.
    depth : float
        Of whole blocks, for an atom or an edge.
    projection : float
        Of channels of the last map of a block.
    """

    features: float = 0.0
    depth: float = 0.0
    projection: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anything is left out."""
        return max(self.features, self.depth, self.projection) > 0


NOTHING = Drop()
"""Nothing is left out."""


def _joined(natural: tuple[int, ...], unnatural: tuple[int, ...], parity: bool) -> Features:
    """Return features; without parity all channels count as natural."""
    if parity:
        return Features(natural, unnatural, True)
    both = zip(natural, unnatural, strict=True)
    return Features(tuple(a + b for a, b in both), (0,) * len(natural), False)
