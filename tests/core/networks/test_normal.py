"""The normal network with large angular momenta, and what its specification promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from deeph.layers import Features
from deeph.networks import NetworkSpecification, NormalNetwork
from deeph.networks.bench import Bench, Specimen
from deeph.testing import assert_equivariant, random_rotations
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure

D_SHELLS = Bench(
    make=NormalNetwork,
    orbital_map=(("C", (0, 1)), ("Fe", (1, 2, 0))),
    spin="none",
    parity=True,
    irreps="6x0e+6x1o+4x2e+4x3o+4x4e",
    blocks=2,
)
SPIN_ORBIT = Bench(
    make=NormalNetwork,
    orbital_map=(("Si", (0, 2)),),
    spin="soc",
    parity=True,
    irreps="6x0e+4x1o+4x2e+4x3o+4x4e+2x5o",
    blocks=2,
)


@pytest.mark.parametrize(("double", "limit"), [(True, 1e-9), (False, 2e-5)])
@pytest.mark.parametrize("bench", [D_SHELLS, SPIN_ORBIT], ids=["l = 4", "l = 5 with spin"])
def test_large_angular_momenta_turn_right(bench: Bench, double: bool, limit: float) -> None:
    specimen = bench.specimens["chain"]

    def predict(structure: Structure) -> BlockMatrix:
        source = bench.source(Specimen(structure, specimen.pairs))
        return bench.matrix(source, bench.result(source, double))

    def turns(change: Change) -> float:
        return assert_equivariant(
            lambda structure: change(predict(structure)),
            specimen.structure,
            dict(bench.orbital_map),
            rotations=random_rotations(4, seed=9),
            rtol=limit,
        )

    assert turns(lambda matrix: matrix) > 0  # rounding: zero would mean that nothing was compared
    wrong: list[Change] = [in_another_order]
    if bench.spin == "soc":
        wrong += [with_spins_exchanged]
    for change in wrong:
        with pytest.raises(AssertionError, match="not equivariant"):
            turns(change)


Change = Callable[[BlockMatrix], BlockMatrix]


def in_another_order(matrix: BlockMatrix) -> BlockMatrix:
    """Return blocks whose columns are moved by one, such as p in the order x, y, z."""
    result = matrix.with_entries(matrix.entries.copy())
    for row in range(len(matrix)):
        result.block(row)[...] = np.roll(matrix.block(row), 1, axis=1)
    return result


def with_spins_exchanged(matrix: BlockMatrix) -> BlockMatrix:
    """Return [[dd, ud], [du, uu]]."""
    result = matrix.with_entries(matrix.entries.copy())
    for row in range(len(matrix)):
        block, (n, m) = matrix.block(row), matrix.chunk_shapes[row] // 2
        result.block(row)[:n, :m] = block[n:, m:].copy()
        result.block(row)[n:, m:] = block[:n, :m].copy()
    return result


def specification(irreps: str, parity: bool) -> NetworkSpecification:
    natural, unnatural = (3, 2, 1), (1, 2, 0)
    return NetworkSpecification(
        1, irreps, parity, 1, 5.0, 6.0, natural, unnatural, natural, unnatural
    )


def test_features_of_natural_parity_are_joined_by_unnatural_ones() -> None:
    natural = specification("8x0e+6x1o+5x2e", True)
    assert natural.features == Features((8, 6, 5), (1, 3, 3), True)
    assert natural.node_target == natural.edge_target == Features((3, 2, 1), (1, 2, 0), True)


def test_features_that_name_both_parities_are_taken_as_they_are() -> None:
    given = specification("8x0e+2x0o+6x1o+4x1e+5x2e", True)
    assert given.features == Features((8, 6, 5), (2, 4, 0), True)


def test_without_parity_all_channels_are_alike() -> None:
    plain = specification("8x0e+6x1o+4x1e", False)
    assert plain.features == Features((8, 10), (0, 0), False)
    assert plain.node_target == plain.edge_target == Features((4, 4, 1), (0, 0, 0), False)
