"""Every way to spoil overlaps is named as what it is, and nothing else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from deeph_dock.basis import AtomicBasis, Shell, Wavenumbers
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_dock.overlap_diagnosis import Agreement, examine, tolerance_of
from deeph_dock.overlap_diagnosis.conventions import CODES, Convention, inverse, is_same
from deeph_dock.overlap_diagnosis.reading import Reading
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import SYMBOLS, Structure
from deeph_spec.testing import random_structure

BOHR = 0.529177
TOLERANCE = 1e-6
SHELLS = {
    "H": [(0, 2.6, 0.9), (0, 2.0, 0.6), (1, 2.6, 0.8)],
    "C": [(0, 2.8, 1.1), (0, 2.4, 0.7), (1, 3.0, 1.2), (1, 2.2, 0.8), (2, 3.0, 1.0)],
    "N": [(0, 2.6, 1.0), (1, 2.7, 0.9), (2, 2.6, 0.9), (3, 2.6, 1.0)],
}


def _shell(degree: int, cutoff: float, width: float) -> Shell:
    x, w = np.polynomial.legendre.leggauss(48)
    r, w = cutoff * (x + 1) / 2, w * cutoff / 2
    values = r**degree * np.exp(-((r / width) ** 2)) * (1 - (r / cutoff) ** 2) ** 3
    return Shell(degree, r, w, values / np.sqrt(np.sum(w * r**2 * values**2)), cutoff)


def _element(symbol: str, shells: Sequence[tuple[int, float, float]]) -> AtomicBasis:
    number = next(z for z, name in SYMBOLS.items() if name == symbol)
    made = tuple(_shell(*shell) for shell in shells)
    rule = Wavenumbers(0.15, 24.0)  # the same errors in what is compared
    return AtomicBasis(number, made, f"{symbol}.test", "test", wavenumbers=rule)


class World:
    """Bases, their integrals, and a crystal with its right S."""

    def __init__(self, elements: Sequence[str], atoms: int, seed: int) -> None:
        made = [_element(symbol, SHELLS[symbol]) for symbol in elements]
        self.bases = {basis.number: basis for basis in made}
        self.integrals = TwoCentre(self.bases)
        self.orbital_map = {SYMBOLS[z]: basis.degrees for z, basis in self.bases.items()}
        self.structure = random_structure(tuple(elements), atoms, seed)
        self.overlap = self.computed(self.integrals)

    def computed(self, integrals: TwoCentre) -> BlockMatrix:
        return compute(self.structure, integrals, touching_pairs(self.structure, integrals.bases))

    def examine(
        self,
        structure: Structure | None = None,
        overlap: BlockMatrix | None = None,
        orbital_map: Mapping[str, Sequence[int]] | None = None,
        tolerance: float = TOLERANCE,
    ) -> Agreement:
        return examine(
            structure or self.structure,
            orbital_map or self.orbital_map,
            overlap or self.overlap,
            self.bases,
            self.integrals,
            tolerance,
        )

    def moved(self, positions: np.ndarray, lattice: np.ndarray | None = None) -> Structure:
        own = self.structure
        return Structure(own.lattice if lattice is None else lattice, positions, own.numbers)

    def stored(
        self,
        inside: Convention | None = None,
        flips: Mapping[int, tuple[int, ...]] | None = None,
        shells: Mapping[int, tuple[int, ...]] | None = None,
        overlap: BlockMatrix | None = None,
    ) -> BlockMatrix:
        """Give S in other orders and signs of orbitals."""
        own = self.structure
        usual = {z: tuple(range(len(basis.shells))) for z, basis in self.bases.items()}
        reading = Reading(
            own.lattice,
            own.positions,
            own.numbers,
            usual | dict(shells or {}),
            inside=inside or {},
            flips=flips or {},
        )
        kinds = {z: reading.orbitals(z, basis.degrees) for z, basis in self.bases.items()}
        source = overlap or self.overlap
        result = source.with_entries(source.entries.copy())
        for row, pair in enumerate(source.atom_pairs):
            (left, s), (right, t) = (kinds[z] for z in own.numbers[pair[3:]].tolist())
            result.block(row)[...] = source.block(row)[left][:, right] * s[:, None] * t
        return result


@pytest.fixture(scope="module")
def world() -> World:
    return World(("C", "H"), 6, 3)


@pytest.fixture(scope="module")
def other_integrals(world: World) -> TwoCentre:
    """The same shells with other radial functions of carbon."""
    wider = [(degree, 1.08 * cutoff, 1.1 * width) for degree, cutoff, width in SHELLS["C"]]
    return TwoCentre({6: _element("C", wider), 1: world.bases[1]})


def _only(agreement: Agreement, *words: str) -> None:
    """Assert that exactly these causes were found, and that they explain everything."""
    assert not agreement.ok
    assert len(agreement.causes) == len(words), agreement
    for word in words:
        assert any(word in cause for cause in agreement.causes), (word, agreement)
    assert agreement.alternatives == (), agreement
    assert agreement.left is not None
    assert agreement.left <= TOLERANCE
    assert agreement.looks_like in str(agreement)


def _reversed(overlap: BlockMatrix) -> BlockMatrix:
    """Give S with R of the other sign."""
    pairs = overlap.atom_pairs * [-1, -1, -1, 1, 1]
    return BlockMatrix(pairs, overlap.chunk_shapes, overlap.chunk_boundaries, overlap.entries)


SHIFTS = np.array([[0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0], [-1, 0, 1], [0, 0, 0]])
MOVES = np.random.default_rng(1).normal(0, 0.01, (6, 3))

# -- what is right --------------------------------------------------------------------------------


def test_right_overlaps_agree(world: World) -> None:
    agreement = world.examine()
    assert agreement.ok
    assert agreement.largest < 1e-14
    assert (agreement.wrong, agreement.pair, agreement.looks_like) == (0, None, "")
    assert str(agreement).startswith("S is that of the basis")


def test_single_precision_agrees_within_its_tolerance(world: World) -> None:
    single = world.overlap.with_entries(world.overlap.entries.astype(np.float32))
    tolerance = tolerance_of(
        {z: replace(basis, code="pyscf") for z, basis in world.bases.items()}, single
    )
    assert tolerance == pytest.approx(4e-7)
    assert world.examine(overlap=single, tolerance=tolerance).ok


def test_pairs_whose_s_is_zero_are_no_fault(world: World) -> None:
    far = touching_pairs(world.structure, {z: _far(basis) for z, basis in world.bases.items()})
    assert len(far) > len(world.overlap)
    assert world.examine(overlap=world.overlap.on_pairs(far)).ok


def _far(basis: AtomicBasis) -> AtomicBasis:
    return replace(basis, shells=(replace(basis.shells[0], cutoff=3.3),))


def test_another_order_of_shells_in_info_is_followed_and_noted(world: World) -> None:
    stored = world.stored(shells={6: (0, 2, 1, 3, 4)})
    agreement = world.examine(overlap=stored, orbital_map={"C": (0, 1, 0, 1, 2), "H": (0, 0, 1)})
    assert agreement.ok
    assert "C: the shells of info.json stand in another order" in agreement.notes[0]


# -- orbitals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_conventions_of_codes_are_named(world: World, code: str) -> None:
    _only(world.examine(overlap=world.stored(CODES[code])), f"as {code} has them")


@pytest.mark.parametrize("code", ["OpenMX", "ABACUS"])
def test_converting_twice_is_named(world: World, code: str) -> None:
    stored = world.stored(inverse(CODES[code]))
    _only(world.examine(overlap=stored), f"as if converted from {code} twice")


@pytest.mark.parametrize("code", CODES)
def test_conventions_of_f_shells_are_known(code: str) -> None:
    world = World(("N",), 3, 1)
    _only(world.examine(overlap=world.stored(CODES[code])), f"as {code} has them")


def test_no_two_conventions_are_the_same() -> None:
    every = list(CODES.values())
    for one, convention in enumerate(every):
        for other in every[:one]:
            assert not all(is_same(convention[degree], other[degree]) for degree in range(4))


def test_orders_that_no_code_has_are_written_out(world: World) -> None:
    scrambled = {2: (np.array([3, 1, 4, 0, 2]), np.array([1.0, -1, 1, 1, -1]))}
    _only(
        world.examine(overlap=world.stored(scrambled)),
        "orbitals inside shells: d as dxz, -dyz, dx2-y2, dxy, -dz2",
    )
    only_p = {1: CODES["SIESTA"][1]}
    agreement = world.examine(overlap=world.stored(only_p))
    _only(agreement, "p as -py, pz, -px")
    assert "SIESTA" not in agreement.looks_like  # whose d shells would have signs, too


def test_signs_of_whole_shells_are_named(world: World) -> None:
    stored = world.stored(flips={6: (1, 1, 1, -1, 1)})
    _only(world.examine(overlap=stored), "the sign of whole shells: C p2")
    odd = world.stored(flips={6: (1, 1, -1, -1, 1), 1: (1, 1, -1)})
    _only(world.examine(overlap=odd), "the sign of every p shell, or S taken from j to i")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ((1, 0, 2, 3, 4), "C has s2 s1 p1 p2 d1 where the basis has s1 s2 p1 p2 d1"),
        ((0, 1, 3, 2, 4), "C has s1 s2 p2 p1 d1 where the basis has s1 s2 p1 p2 d1"),
        ((0, 2, 1, 3, 4), "C has s1 p1 s2 p2 d1 where the basis has s1 s2 p1 p2 d1"),
    ],
)
def test_shells_in_another_order_are_named(
    world: World, order: tuple[int, ...], words: str
) -> None:
    _only(world.examine(overlap=world.stored(shells={6: order})), words)


def test_transposed_blocks_are_told_from_signs_where_elements_differ() -> None:
    """Elements of one size, whose blocks can be transposed without any rule broken."""
    shells = [(0, 2.6, 0.8), (1, 2.4, 0.7)]
    world = World.__new__(World)
    world.bases = {6: _element("C", [(0, 2.8, 1.1), (1, 2.9, 1.2)]), 1: _element("H", shells)}
    world.integrals = TwoCentre(world.bases)
    world.orbital_map = {"C": (0, 1), "H": (0, 1)}
    world.structure = random_structure(("C", "H"), 6, 4)
    world.overlap = world.computed(world.integrals)
    turned = world.overlap.with_entries(world.overlap.entries.copy())
    for row in range(len(turned)):
        turned.block(row)[...] = world.overlap.block(row).T
    _only(world.examine(overlap=turned), "blocks are transposed")


# -- places ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lattice", "positions", "words"),
    [
        (1 / BOHR, 1 / BOHR, "lengths in POSCAR are in Bohr, taken as Å"),
        (BOHR, BOHR, "lengths in POSCAR are multiplied by 0.5292 once too often"),
        (1 / BOHR, 1, "lattice vectors in POSCAR are in Bohr, taken as Å"),
        (BOHR, 1, "lattice vectors in POSCAR are multiplied by 0.5292 once too often"),
        (1, 1 / BOHR, "positions in POSCAR are in Bohr, taken as Å"),
        (1, BOHR, "positions in POSCAR are multiplied by 0.5292 once too often"),
    ],
)
def test_wrong_units_are_named(world: World, lattice: float, positions: float, words: str) -> None:
    own = world.structure
    wrong = world.moved(own.positions * positions, own.lattice * lattice)
    _only(world.examine(wrong), words)


def test_wrong_lattice_vectors_are_named(world: World) -> None:
    own = world.structure
    _only(world.examine(overlap=_reversed(world.overlap)), "R has the other sign")
    _only(
        world.examine(world.moved(own.positions, own.lattice.T)),
        "lattice vectors are columns, not rows",
    )


@pytest.mark.parametrize("order", [[1, 2, 0, 3, 5, 4], [0, 3, 1, 4, 2, 5], [5, 4, 3, 2, 1, 0]])
def test_atoms_in_another_order_are_named(world: World, order: list[int]) -> None:
    own = world.structure
    wrong = Structure(own.lattice, own.positions[order], own.numbers[order])
    agreement = world.examine(wrong)
    _only(agreement, "atoms in another order than in POSCAR")
    place = order.index(next(atom for atom, other in enumerate(order) if atom != other))
    assert f"of the matrices is {place}" in agreement.causes[0]


def test_wrapped_atoms_are_named_with_their_vectors(world: World) -> None:
    own = world.structure
    wrong = world.moved(own.positions + SHIFTS @ own.lattice)
    _only(
        world.examine(wrong),
        "R fits with these moved back: atom 2 by (0, -1, 0), atom 4 by (1, 0, -1)",
    )
    shifts = -np.floor(own.fractional)
    assert np.abs(shifts).max() == 1
    _only(
        world.examine(world.moved(own.positions + shifts @ own.lattice)),
        "atoms moved by lattice vectors (wrapped into the cell) without R",
    )


def test_small_moves_are_measured(world: World) -> None:
    own = world.structure
    agreement = world.examine(world.moved(own.positions + 3 * MOVES))
    _only(agreement, "atoms moved after the matrices were made")
    size = np.linalg.norm(3 * (MOVES - np.median(MOVES, axis=0)), axis=1)
    assert f"{np.sqrt((size**2).mean()):.2g} Å rms, atom {np.argmax(size)}" in agreement.causes[0]
    one = own.positions.copy()
    one[3] += [0.1, 0.05, 0.0]
    _only(world.examine(world.moved(one)), "atom 3 by 0.11 Å")
    _only(world.examine(world.moved(own.positions + 1e-3 * MOVES)), "too few digits in POSCAR")


def test_a_changed_cell_is_measured(world: World) -> None:
    own = world.structure
    strain = np.eye(3) + 0.01 * np.array([[1, 0.5, 0], [0.5, -1, 0.3], [0, 0.3, 0.2]])
    wrong = world.moved(own.positions @ strain, own.lattice @ strain)
    _only(world.examine(wrong), "the cell was changed after the matrices were made")


# -- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (2.0, "S multiplied by 2 (blocks and their partners added"),
        (27.2113845, "S multiplied by 27.2114 (taken for an energy, Hartree to eV)"),
        (13.60580, "S multiplied by 13.6058 (taken for an energy, Rydberg to eV)"),
        (0.9, "S multiplied by 0.9"),
    ],
)
def test_factors_are_named(world: World, factor: float, words: str) -> None:
    scaled = world.overlap.with_entries(world.overlap.entries * factor)
    _only(world.examine(overlap=scaled), words)


def test_the_identity_is_named(world: World) -> None:
    entries = np.zeros_like(world.overlap.entries)
    identity = world.overlap.with_entries(entries)
    for row in np.flatnonzero(identity.on_site()):
        np.fill_diagonal(identity.block(row), 1.0)
    _only(world.examine(overlap=identity), "S is the identity")


@pytest.mark.parametrize(
    ("order", "words"),
    [("major", "diag(S, S), up before down"), ("minor", "up and down orbital by orbital")],
)
def test_s_of_both_spins_is_named(world: World, order: str, words: str) -> None:
    def doubled(matrix: BlockMatrix) -> BlockMatrix:
        two = np.eye(2)
        stacks = [
            (
                rows,
                np.array([np.kron(*((two, b) if order == "major" else (b, two))) for b in stack]),
            )
            for rows, stack in matrix.by_shape()
        ]
        return BlockMatrix.from_stacks(matrix.atom_pairs, 2 * matrix.chunk_shapes, stacks)

    _only(world.examine(overlap=doubled(world.overlap)), f"S is doubled for spin: {words}")
    both = world.examine(overlap=doubled(_reversed(world.overlap)))
    _only(both, "S is doubled for spin", "R has the other sign")


def test_a_changed_number_is_placed_and_not_explained(world: World) -> None:
    row = len(world.overlap) // 2
    changed = world.overlap.with_entries(world.overlap.entries.copy())
    changed.block(row)[0, 1] += 0.001
    agreement = world.examine(overlap=changed)
    assert agreement.pair == tuple(world.overlap.atom_pairs[row].tolist())
    assert (agreement.wrong, agreement.causes) == (1, ())
    assert agreement.largest == pytest.approx(0.001)
    assert agreement.hint.startswith("no known cause; no other pair differs")
    distance = np.linalg.norm(world.structure.pair_vectors(np.array([agreement.pair]))[0])
    assert f"at {distance:.3f} Å" in agreement.where
    assert f"is {changed.block(row)[0, 1]:.6g}" in agreement.where
    assert f"the basis gives {world.overlap.block(row)[0, 1]:.6g}" in agreement.where


def test_the_first_pair_in_the_order_of_the_file_is_named(world: World) -> None:
    order = np.random.default_rng(0).permutation(len(world.overlap))
    shuffled = world.overlap.on_pairs(world.overlap.atom_pairs[order])
    wrong = np.array([40, 11, 80])
    for row in wrong:
        shuffled.block(row)[0, 0] -= 0.01
    agreement = world.examine(overlap=shuffled)
    assert agreement.pair == tuple(shuffled.atom_pairs[11].tolist())
    assert agreement.wrong == 3


# -- another basis --------------------------------------------------------------------------------


def test_another_basis_is_named_as_far_as_it_shows(
    world: World, other_integrals: TwoCentre
) -> None:
    agreement = world.examine(overlap=world.computed(other_integrals))
    assert agreement.causes == ()
    assert agreement.hint.startswith("another basis (other radial functions")
    assert agreement.hint.endswith("others for C")


def test_other_functions_of_a_minimal_basis_are_told_by_their_symmetry() -> None:
    """Of one shell of each l, overlaps on one atom say nothing."""
    world = World.__new__(World)
    world.bases = {6: _element("C", [(0, 2.8, 1.1), (1, 2.9, 1.2)])}
    world.integrals = TwoCentre(world.bases)
    world.orbital_map = {"C": (0, 1)}
    world.structure = random_structure(("C",), 4, 2)
    other = TwoCentre({6: _element("C", [(0, 3.0, 1.0), (1, 2.7, 1.3)])})
    world.overlap = world.computed(other)
    agreement = world.examine()
    assert agreement.causes == ()
    assert agreement.hint.startswith("another basis (other radial functions or cutoffs)")


def test_other_shells_are_named_without_work(world: World) -> None:
    agreement = world.examine(orbital_map={"C": (0, 0, 1), "H": (0, 0, 1)})
    assert agreement.hint == "another basis: C has s2p1 in info.json and s2p2d1 in C.test"
    assert str(agreement) == agreement.hint
    assert not agreement.ok


def test_pairs_that_were_cut_off_are_named(world: World) -> None:
    lengths = np.linalg.norm(world.structure.pair_vectors(world.overlap.atom_pairs), axis=1)
    cut = world.overlap.on_pairs(world.overlap.atom_pairs[lengths < 3.5])
    agreement = world.examine(overlap=cut)
    assert not agreement.ok
    assert agreement.wrong == 0
    assert "all stored pairs agree, but" in str(agreement)
    assert "are not stored" in str(agreement)


# -- two at once, and nothing known ---------------------------------------------------------------


def test_order_of_orbitals_and_places_are_told_apart(world: World) -> None:
    own = world.structure
    stored = world.stored(CODES["OpenMX"])
    order = "as OpenMX has them"
    larger = world.moved(own.positions / BOHR, own.lattice / BOHR)
    wrapped = world.moved(own.positions + SHIFTS @ own.lattice)
    _only(world.examine(larger, stored), "lengths in POSCAR are in Bohr", order)
    _only(world.examine(overlap=_reversed(stored)), "R has the other sign", order)
    _only(world.examine(wrapped, stored), "atoms moved by lattice vectors", order)
    _only(world.examine(world.moved(own.positions + MOVES), stored), order, "atoms moved after")


def test_two_wrong_places_are_told_apart(world: World) -> None:
    own = world.structure
    both = world.moved((own.positions + MOVES) * BOHR, own.lattice * BOHR)
    _only(world.examine(both), "lengths in POSCAR are multiplied", "atoms moved after")
    twice = _reversed(world.overlap.with_entries(2 * world.overlap.entries))
    _only(world.examine(overlap=twice), "S multiplied by 2", "R has the other sign")


def test_causes_that_hide_each_other_are_found_together(world: World) -> None:
    own = world.structure
    other_shells = world.stored(shells={6: (1, 0, 2, 3, 4)})
    smaller = world.moved(own.positions * BOHR, own.lattice * BOHR)
    _only(world.examine(smaller, other_shells), "lengths in POSCAR are", "C has s2 s1 p1 p2 d1")
    sign = world.stored(flips={6: (1, 1, 1, -1, 1)})
    _only(world.examine(smaller, sign), "lengths in POSCAR are", "whole shells: C p2")
    order = [1, 2, 0, 3, 5, 4]
    moved = Structure(own.lattice, own.positions[order], own.numbers[order])
    twice = world.overlap.with_entries(2 * world.overlap.entries)
    _only(world.examine(moved, twice), "S multiplied by 2", "atoms in another order")
    wrapped = world.moved(own.positions + SHIFTS @ own.lattice)
    _only(world.examine(wrapped, other_shells), "atoms moved by lattice", "C has s2 s1 p1 p2 d1")


def test_causes_that_hide_each_other_too_well_are_not_named(world: World) -> None:
    own = world.structure
    turned = Structure(own.lattice.T, own.positions, own.numbers)
    both = world.moved(own.positions * BOHR + SHIFTS @ own.lattice)
    for structure, overlap in ((both, world.overlap), (turned, _reversed(world.overlap))):
        agreement = world.examine(structure, overlap)
        assert agreement.causes == ()
        assert agreement.looks_like == "no known cause"


def test_two_orders_of_orbitals_are_told_apart(world: World) -> None:
    both = world.stored(CODES["SIESTA"], overlap=world.stored(shells={6: (1, 0, 2, 3, 4)}))
    _only(world.examine(overlap=both), "C has s2 s1 p1 p2 d1", "as SIESTA has them")


def test_what_cannot_be_told_is_not_named(world: World, other_integrals: TwoCentre) -> None:
    """Of another basis and something else only the basis shows, and only it is named."""
    own = world.structure
    other = world.computed(other_integrals)
    wrapped = world.moved(own.positions + SHIFTS @ own.lattice)
    smaller = world.moved(own.positions * BOHR, own.lattice * BOHR)
    turned = world.stored(CODES["OpenMX"], overlap=other)
    for structure, overlap in ((wrapped, other), (smaller, other), (own, turned)):
        agreement = world.examine(structure, overlap)
        assert not agreement.ok
        assert agreement.causes == ()
        assert agreement.hint.startswith("another basis")


def test_a_factor_is_named_where_the_rest_is_not(world: World) -> None:
    own = world.structure
    positions = own.positions * BOHR + SHIFTS @ own.lattice
    twice = world.overlap.with_entries(2 * world.overlap.entries)
    agreement = world.examine(world.moved(positions), twice)
    assert len(agreement.causes) == 1
    assert agreement.causes[0].startswith("S multiplied by 2")
    assert "remain, of another cause: no known cause" in agreement.looks_like


@pytest.mark.parametrize("how", ["noise", "shuffled", "rotated"])
def test_nonsense_has_no_cause(world: World, how: str) -> None:
    rng = np.random.default_rng(0)
    entries = world.overlap.entries
    if how == "rotated":
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        agreement = world.examine(world.structure.rotated(turn))
    else:
        noisy = entries + rng.normal(0, 1e-3, len(entries))
        spoiled = noisy if how == "noise" else rng.permutation(entries)
        agreement = world.examine(overlap=world.overlap.with_entries(spoiled))
    assert not agreement.ok
    assert agreement.causes == ()
    assert agreement.hint.startswith("no known cause")


@pytest.mark.parametrize("seed", [0, 1])
def test_other_crystals_give_the_same_names(seed: int) -> None:
    world = World(("C", "N"), 4 + seed, 10 + seed)
    own = world.structure
    _only(world.examine(overlap=world.stored(CODES["ABACUS"])), "as ABACUS has them")
    shifts = np.zeros((len(own), 3))
    shifts[seed] = [1, 0, -1]
    wrong = world.moved(own.positions + shifts @ own.lattice)
    _only(world.examine(wrong), f"R fits with these moved back: atom {seed} by (-1, 0, 1)")
    _only(world.examine(overlap=_reversed(world.overlap)), "R has the other sign")
