"""What the specification of a network promises."""

from __future__ import annotations

from deeph.layers import Features
from deeph.networks import NetworkSpecification


def specification(irreps: str, parity: bool) -> NetworkSpecification:
    natural, unnatural = (3, 2, 1), (1, 2, 0)
    return NetworkSpecification(
        1, irreps, parity, 1, 5.0, 6.0, natural, unnatural, natural, unnatural
    )


def test_targets_keep_the_parities_of_their_channels() -> None:
    natural = specification("8x0e+6x1o+5x2e", True)
    assert natural.features == Features((8, 6, 5), (0, 0, 0), True)
    assert natural.node_target == natural.edge_target == Features((3, 2, 1), (1, 2, 0), True)


def test_features_that_name_both_parities_are_taken_as_they_are() -> None:
    given = specification("8x0e+2x0o+6x1o+4x1e+5x2e", True)
    assert given.features == Features((8, 6, 5), (2, 4, 0), True)


def test_without_parity_all_channels_are_alike() -> None:
    plain = specification("8x0e+6x1o+4x1e", False)
    assert plain.features == Features((8, 10), (0, 0), False)
    assert plain.node_target == plain.edge_target == Features((4, 4, 1), (0, 0, 0), False)
