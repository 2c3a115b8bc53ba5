"""Is it equivariant, the same in a batch and in a supercell? `python -m pytest` in this folder."""

from __future__ import annotations

from deeph.networks.contract import NetworkContract
from own_network import OwnNetwork


class TestOwnNetwork(NetworkContract):
    """The tests that every network of this program must pass."""

    network = staticmethod(OwnNetwork)
    blocks = 2
