"""Pairs that SIESTA stores: those of its files, and of a search by trying all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.basis import AtomicBasis, Shell, siesta
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.patterns import linked_pairs
from deeph_spec.structure import Structure
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

Data = Callable[[str], Path]


def ball(number: int, cutoff: float, reach: float) -> AtomicBasis:
    nothing = np.zeros(1)
    shell = Shell(0, nothing, nothing, nothing, cutoff)
    return AtomicBasis(number, (shell,), "made", "siesta", projector_reach=reach)


def read_bases(folder: Path) -> dict[int, AtomicBasis]:
    found = [siesta.read(p) for p in folder.iterdir() if p.name.endswith((".ion.xml", ".ion.nc"))]
    return {basis.number: basis for basis in found}


RUNS = [
    ("siesta/graphene_8/0001", "siesta/graphene_8/basis", "fewer"),
    ("siesta/graphene_8/0007", "siesta/graphene_8/basis", "fewer"),
    ("siesta/GaAs_8/0002", "siesta/GaAs_8/basis", "fewer"),
    ("siesta/SiC_8/0003", "siesta/SiC_8/basis", "fewer"),
    ("siesta/H2O_box/0005", "siesta/H2O_box/basis", "same"),
    ("siesta/H2O_24mol/0001", "siesta/H2O_24mol/basis", "fewer"),
    ("siesta/H2O_24mol/0002", "siesta/H2O_24mol/basis", "fewer"),
    ("siesta/bands_check/graphene", "siesta/graphene_8/basis", "same"),
    ("siesta/bands_check/GaAs", "siesta/GaAs_8/basis", "fewer"),
    ("siesta/bands_check/SiC", "siesta/SiC_8/basis", "fewer"),
    *(
        (f"siesta/modes/{name}", f"siesta/modes/{name}/basis", touching)
        for name, touching in {
            "O2_spin": "same",
            "Fe_spin": "fewer",
            "Fe_nc": "fewer",
            "Pt_soc": "fewer",
            "GaAs_soc": "fewer",
            "FePt_soc": "fewer",
            "graphene_hsetup": "same",
        }.items()
    ),
    *(
        (f"third-party/siesta//{name}", f"third-party/siesta//{name}", touching)
        for name, touching in {
            "Si": "fewer",
            "sisl-files-Bi_hexagonal_soc": "fewer",
            "sisl-files-SrTiO3_polarized": "fewer",
            "sisl-files-fe_bcc_polarized": "fewer",
            "sisl-files-Si_pdos_k": "fewer",
            "sisl-files-Pt2_soc": "same",
            "sisl-files-graphene_electrode": "fewer",
            "sisl-files-H_chain": "same",
        }.items()
    ),
    ("third-party/qe//MoS2_hpro/aobasis", "third-party/qe//MoS2_hpro/aobasis", "fewer"),
]


def place(dft_data: Data, name: str) -> Path:
    packed, _, within = name.partition("//")
    return dft_data(packed) / within


@pytest.mark.parametrize(("run", "bases", "touching"), RUNS)
def test_pairs_are_those_siesta_stores(dft_data: Data, run: str, bases: str, touching: str) -> None:
    folder = place(dft_data, run)
    calculation = SIESTA.read(folder, SIESTA.recognises(folder)[0])
    theirs = calculation.matrices["hamiltonian"]().sorted().atom_pairs
    found = read_bases(place(dft_data, bases))
    np.testing.assert_array_equal(linked_pairs(calculation.structure, found), theirs)
    fewer = touching_pairs(calculation.structure, found)
    assert (len(fewer) < len(theirs)) == (touching == "fewer")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("graphene_8", 20), ("H2O_box", 48), ("GaAs_8", 16), ("SiC_8", 16)]
)
def test_every_structure_of_the_sets(dft_data: Data, name: str, count: int) -> None:
    found = read_bases(dft_data(f"siesta/{name}/basis"))
    for number in range(1, count + 1):
        calculation = SIESTA.read(dft_data(f"siesta/{name}/{number:04d}"), name)
        theirs = calculation.matrices["overlap"]().sorted().atom_pairs
        np.testing.assert_array_equal(linked_pairs(calculation.structure, found), theirs)


def by_trying(
    structure: Structure, bases: dict[int, AtomicBasis], images: int
) -> set[tuple[int, ...]]:
    """Apply the two conditions to all images up to a number in each direction."""
    n = len(structure)
    grid = np.arange(-images, images + 1)
    cells = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), -1).reshape(-1, 3)
    shifts = cells @ structure.lattice
    r = structure.positions
    c = np.array([bases[z].cutoff for z in structure.numbers.tolist()])
    p = np.array([bases[z].projector_reach for z in structure.numbers.tolist()])
    # From i in cell 0 to atoms in all cells: (i, cell, j).
    distance = np.linalg.norm(r[None, None] + shifts[None, :, None] - r[:, None, None], axis=-1)
    touch = distance < c[:, None, None] + c
    reached = (distance < c[:, None, None] + p) & (p > 0)
    pairs = {(*cells[q].tolist(), int(i), int(j)) for i, q, j in np.argwhere(touch)}
    for k in range(n):
        for (i, q), (j, s) in (
            (a, b)
            for a in np.argwhere(reached[:, :, k]).tolist()
            for b in np.argwhere(reached[:, :, k]).tolist()
        ):
            pairs.add((*(cells[q] - cells[s]).tolist(), i, j))
    return pairs


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4), st.floats(0.3, 2.5), st.floats(0.0, 1.5), st.booleans(),
    st.integers(0, 10**6),
)  # fmt: skip
def test_conditions_hold_for_all_images(
    atoms: int, cutoff: float, reach: float, wrapped: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    lattice = 3.0 * np.eye(3) + rng.uniform(-0.7, 0.7, (3, 3))
    positions = rng.uniform(0, 1, (atoms, 3)) @ lattice
    numbers = rng.choice([1, 8], atoms)
    bases = {1: ball(1, cutoff, 0.0), 8: ball(8, 0.7 * cutoff, reach)}
    inside = Structure(lattice, positions, numbers)
    expected = by_trying(inside, bases, 5)
    moves = np.zeros((atoms, 3), int) if wrapped else rng.integers(-4, 5, (atoms, 3))
    found = linked_pairs(Structure(lattice, positions + moves @ lattice, numbers), bases)
    back = found[:, :3] - moves[found[:, 3]] + moves[found[:, 4]]
    assert {(*cell, i, j) for cell, (i, j) in zip(
        map(tuple, back.tolist()), found[:, 3:].tolist(), strict=True
    )} == expected  # fmt: skip
    assert len(found) == len(expected)
    assert_sorted_and_closed(found)


def assert_sorted_and_closed(pairs: NDArray[np.int64]) -> None:
    assert np.array_equal(np.lexsort(pairs.T[::-1]), np.arange(len(pairs)))
    partners = np.concatenate([-pairs[:, :3], pairs[:, 4:], pairs[:, 3:4]], axis=1)
    partners = partners[np.lexsort(partners.T[::-1])]
    np.testing.assert_array_equal(partners, pairs)


def chain(spacing: float, count: int = 3) -> Structure:
    positions = np.zeros((count, 3))
    positions[:, 0] = spacing * np.arange(count)
    return Structure(40.0 * np.eye(3), positions, np.array([1, 14, 1]))


@pytest.mark.parametrize(("spacing", "linked"), [(1.49, True), (1.51, False)])
def test_ends_of_a_chain_are_linked_through_its_middle(spacing: float, linked: bool) -> None:
    """H - Si - H: only the silicon has projectors."""
    bases = {1: ball(1, 1.0, 0.0), 14: ball(14, 1.0, 0.5)}
    ends = (linked_pairs(chain(spacing), bases)[:, 3:] == [0, 2]).all(axis=1).any()
    assert ends == linked
    without = {1: bases[1], 14: ball(14, 1.0, 0.0)}
    assert not (linked_pairs(chain(spacing), without)[:, 3:] == [0, 2]).all(axis=1).any()


def test_both_conditions_are_strict() -> None:
    bases = {1: ball(1, 1.0, 0.0), 14: ball(14, 1.0, 0.5)}
    assert len(linked_pairs(chain(1.5), bases)) == 3 + 4
    assert len(linked_pairs(chain(2.0), bases)) == 3


def test_more_atoms_than_are_done_at_once_are_the_same_crystal() -> None:
    """Rows of a supercell are those of the cell."""
    bases = {13: ball(13, 2.2, 1.0)}
    lattice = 4.05 / 2 * (np.ones((3, 3)) - np.eye(3))
    one = linked_pairs(Structure(lattice, np.zeros((1, 3)), np.array([13])), bases)
    n = 17
    cells = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    many = linked_pairs(Structure(n * lattice, cells @ lattice, np.full(len(cells), 13)), bases)
    assert len(many) == len(cells) * len(one)
    steps = cells[many[:, 4]] + n * many[:, :3] - cells[many[:, 3]]
    assert {tuple(s) for s in np.unique(steps, axis=0).tolist()} == {
        tuple(s) for s in one[:, :3].tolist()
    }
