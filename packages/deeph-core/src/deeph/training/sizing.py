"""What fits, before a training starts: features within a number of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deeph.config.irreps import proposed_irreps
from deeph.networks import NETWORKS, NetworkSpecification
from deeph.networks.memory import parameter_count
from deeph.representation import BlockRepresentation

MOST_PARAMETERS = {"normal": 2_000_000, "accurate": 8_000_000}
"""Of the features that are proposed; more of them seldom pay."""

_WIDTHS = (1.0, 0.75, 0.5, 0.25, 0.125)


def fitting_irreps(
    net_type: str,
    orbital_map: Mapping[str, Sequence[int]],
    spin: str,
    blocks: int,
    heads: int,
    parity: bool = True,
) -> tuple[str, int]:
    """Return features that express the blocks within `MOST_PARAMETERS`.

    Parameters
    ----------
    net_type : str
        The network.
    orbital_map : mapping
        Shells of each element.
    spin : {"none", "collinear", "soc"}
    blocks, heads : int
        Rounds of message passing, attention heads.
    parity : bool
        Whether inversion symmetry is kept.

    Returns
    -------
    irreps : str
    parameters : int
        Of the network with these features, for non-magnetic systems.
    """
    representation = BlockRepresentation.of(orbital_map, spin, time_reversal=True)
    counts = representation.channels.counts(representation.l_max)
    for width in _WIDTHS:
        irreps = proposed_irreps(representation.l_max, parity, net_type, width)
        specification = NetworkSpecification(
            len(orbital_map), irreps, parity, blocks, 8.0, 20.0, *counts, *counts, heads
        )
        parameters = parameter_count(NETWORKS[net_type](specification))
        if parameters <= MOST_PARAMETERS.get(net_type, parameters):
            break
    return irreps, parameters
