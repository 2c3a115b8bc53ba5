"""All networks with g shells, whose blocks hold J up to 8, or 9 with spin-orbit coupling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from deeph.networks import NETWORKS
from deeph.networks.contract import NetworkContract
from deeph.networks.specimens import Specimen
from deeph.testing import assert_equivariant, random_rotations
from deeph_spec.blocks import BlockMatrix

BY_NAME = pytest.mark.parametrize("name", sorted(NETWORKS))


def with_g_shells(name: str, spin: str) -> Any:
    """Return the contract of a network; two elements, of which one has s and g alone."""
    irreps = "2x0e+2x1o+" + "+".join(f"1x{l}{'eo'[l % 2]}" for l in range(2, 9))
    settings = {
        "network": NETWORKS[name],
        "orbital_map": {"C": (0, 1), "U": (4, 0)},
        "spin": spin,
        "irreps": irreps + ("+1x9o" if spin == "soc" else ""),
        "blocks": 3,  # it takes three to make pseudoscalars on an atom
    }
    return type("WithGShells", (NetworkContract,), settings)()


# Compiling is what takes long here: each kind of matrix is proven in one precision.
@BY_NAME
def test_g_shells_turn_right_in_single_precision(name: str) -> None:
    contract = with_g_shells(name, "none")
    assert contract.bench.representation.l_max == 8
    contract._equivariant(double=False)
    contract._poles(double=False)


@BY_NAME
def test_g_shells_turn_right_with_spin(name: str) -> None:
    contract = with_g_shells(name, "soc")
    assert contract.bench.representation.l_max == 9
    contract._equivariant(double=True)
    contract._poles(double=True)


@BY_NAME
def test_spin_keeps_all_other_symmetries(name: str) -> None:
    contract = with_g_shells(name, "soc")
    contract.test_the_origin_and_the_choice_of_images_do_not_matter()
    contract.test_the_order_of_atoms_does_not_matter()
    contract.test_a_supercell_repeats_the_blocks()
    contract.test_the_result_can_be_made_hermitian()
    contract.test_time_reversal_is_a_symmetry_of_what_has_no_moments()
    contract.test_a_piece_gives_the_rows_of_atoms_that_see_no_end()
    contract.test_every_irrep_of_the_target_is_reached()


@pytest.mark.slow
@BY_NAME
def test_training_with_spin_leaves_all_symmetries(name: str) -> None:
    settings = {
        "network": NETWORKS[name],
        "orbital_map": {"C": (0, 1), "O": (1,)},
        "spin": "soc",
        "irreps": "4x0e+4x1o+2x2e+2x3o",
        "blocks": 2,
    }
    made: Any = type("WithSpin", (NetworkContract,), settings)()
    made.test_training_leaves_all_symmetries()


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


@BY_NAME
def test_orbitals_or_spins_in_another_order_are_noticed(name: str) -> None:
    contract = with_g_shells(name, "soc")
    specimen = contract.bench.specimens["crystal"]

    def turns(change: Change) -> None:
        assert_equivariant(
            lambda structure: change(contract.bench.predict(Specimen(structure, specimen.pairs))),
            specimen.structure,
            contract.orbital_map,
            rotations=random_rotations(1, seed=9),
            rtol=1e-4,
        )

    turns(lambda matrix: matrix)
    for change in (in_another_order, with_spins_exchanged):
        with pytest.raises(AssertionError, match="not equivariant"):
            turns(change)
