"""How many structures are predicted at once."""

from __future__ import annotations

import pytest
from deeph.inference.sizing import plan
from deeph.networks.memory import Memory

MEMORY = Memory(fixed=1e6, per_node=1e3, per_edge=1e4)
SIZES = {"small": (10, 100), "middle": (20, 400), "large": (50, 2000)}


def test_what_fits_is_not_changed() -> None:
    found = plan(MEMORY, SIZES, 3, 1, 10**9)
    assert found.batch_size == 3
    assert found.lines == ("Memory: about 26.2 MB; 1 GB are free",)
    assert not found.too_large


def test_an_unknown_memory_is_no_limit() -> None:
    found = plan(MEMORY, SIZES, 3, 1, None)
    assert (found.batch_size, found.lines) == (3, ("Memory: about 26.2 MB",))


@pytest.mark.parametrize(("free", "batch"), [(25.5e6, 2), (22e6, 1), (15e6, 1)])
def test_the_batch_is_the_largest_that_fits(free: float, batch: int) -> None:
    found = plan(MEMORY, SIZES, 3, 1, int(free))
    assert found.batch_size == batch
    (line,) = found.lines
    assert line.startswith("warning: 3 structures at once need about 26.2 MB")
    assert f"{batch} at once" in line
    assert not found.too_large


def test_structures_that_certainly_do_not_fit_are_left_out() -> None:
    found = plan(MEMORY, SIZES, 2, 1, 10**7)
    assert set(found.too_large) == {"large"}
    assert (
        "50 atoms with 2000 pairs need about 21.1 MB of memory, but 10 MB are free"
        in (found.too_large["large"])
    )
    assert found.batch_size == 2
    assert plan(MEMORY, {"large": SIZES["large"]}, 4, 1, 10**7).too_large
    assert plan(MEMORY, {}, 4, 1, 10**7).batch_size == 4
