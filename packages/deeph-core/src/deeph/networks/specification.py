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
    target_natural, target_unnatural : tuple of int
        Channels of the result for J = 0, 1, ...: parity (-1)^J, and the others.
    """

    elements: int
    irreps: str
    parity: bool
    blocks: int
    r_max: float
    neighbours: float
    target_natural: tuple[int, ...]
    target_unnatural: tuple[int, ...]

    @property
    def features(self) -> Features:
        """Channels of nodes and edges.

        Irreps that are all of natural parity, such as "64x0e+32x1o+16x2e", cannot express targets
        of unnatural parity (the part of a p-p block with L = 1, most of spin-orbit coupling).
        They are joined by half as many unnatural channels of every l > 0, and of l = 0 where the
        target has such.
        """
        given = Features.of_irreps(self.irreps, self.parity)
        if not self.parity or any(given.unnatural):
            return given
        first = min(given.natural[0] // 2, self.target_unnatural[0])
        rest = tuple(-(-count // 2) for count in given.natural[1:])
        return Features(given.natural, (first, *rest), True)

    @property
    def target(self) -> Features:
        """Channels of the result."""
        if self.parity:
            return Features(self.target_natural, self.target_unnatural, True)
        both = zip(self.target_natural, self.target_unnatural, strict=True)
        return Features(tuple(a + b for a, b in both), (0,) * len(self.target_natural), False)
