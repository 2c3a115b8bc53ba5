"""The table of irreps: how many there are, their order, their parity."""

from __future__ import annotations

import numpy as np
import pytest
from deeph.representation import channel_table


def test_channels_of_s_and_p() -> None:
    table = channel_table((0, 1), "none", True)
    rows = zip(table.j, table.a, table.b, table.natural, strict=True)
    assert [(int(j), int(a), int(b), bool(n)) for j, a, b, n in rows] == [
        (0, 0, 0, True),
        (0, 1, 1, True),
        (1, 0, 1, True),
        (1, 1, 0, True),
        (1, 1, 1, False),  # p x p -> 1e
        (2, 1, 1, True),
    ]
    assert table.size == 16
    assert table.offsets.tolist() == [0, 1, 2, 5, 8, 11, 16]
    assert table.counts(3) == ((2, 2, 1, 0), (0, 1, 0, 0))


@pytest.mark.parametrize(
    ("spin", "time_reversal", "factor"),
    [("none", True, 1), ("collinear", True, 1), ("collinear", False, 2), ("soc", True, 4),
     ("soc", False, 8)],
)  # fmt: skip
@pytest.mark.parametrize("shells", [(0,), (0, 0, 1, 2), (0, 1, 2, 3, 4)])
def test_numbers_are_as_many_as_a_block_has(
    shells: tuple[int, ...], spin: str, time_reversal: bool, factor: int
) -> None:
    table = channel_table(shells, spin, time_reversal)
    orbitals = sum(2 * l + 1 for l in shells)
    assert table.size == factor * orbitals**2
    l_max = 2 * max(shells) + (spin == "soc")
    assert table.j.max() == l_max
    assert sum(map(sum, table.counts(l_max))) == len(table)
    np.testing.assert_array_equal(np.sort(table.j), table.j)


def test_spin_orbit_of_p_holds_what_l_dot_s_needs() -> None:
    table = channel_table((1,), "soc", True)
    vector = table.component == table.spin_components.index("vector_im")
    scalar = vector & (table.l == 1) & (table.j == 0)  # L.s is invariant: (p x p -> 1e) x 1e -> 0e
    assert scalar.sum() == 1
    assert table.natural[scalar].all()
