"""The contract of networks, run for every network there is, and for wrong ones it must refuse."""

from __future__ import annotations

from deeph.networks import NormalNetwork
from deeph.networks.contract import NetworkContract


class TestNormal(NetworkContract):
    network = NormalNetwork


class TestNormalWithoutParity(NetworkContract):
    network = NormalNetwork
    parity = False
    irreps = "8x0e+6x1e+4x2e"
