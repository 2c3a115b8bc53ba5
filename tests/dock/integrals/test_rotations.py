"""How matrices turn with the structure, and limits known by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from deeph_dock.basis import AtomicBasis, Shell
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_dock.proofs import orbital_rotations, two_centre
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo
from scipy.spatial.transform import Rotation

FIRST, SECOND = 6, 42
QUANTITIES = ("overlap", "kinetic", "gradient", "position")
TURN = Rotation.from_euler("zyx", [0.7, -1.1, 2.3]).as_matrix()
MIRRORED = -Rotation.from_euler("zyx", [0.2, 0.4, -0.3]).as_matrix()


@pytest.fixture(scope="module")
def engine(smooth_bases):
    return TwoCentre(smooth_bases, QUANTITIES)


@pytest.fixture(scope="module")
def crystal():
    lattice = np.array([[2.9, 0.1, 0.0], [0.4, 3.1, -0.2], [0.0, 0.3, 3.4]])
    positions = np.array([[0.1, 0.2, 0.3], [1.4, 1.2, 1.6], [1.1, -0.9, 0.7]])
    return Structure(lattice, positions, np.array([FIRST, SECOND, FIRST]))


def orbital_map(engine, structure):
    symbols = dict(zip(structure.numbers.tolist(), structure.symbols, strict=True))
    return {symbols[number]: basis.degrees for number, basis in engine.bases.items()}


@pytest.mark.parametrize("turn", [TURN, MIRRORED, np.diag([1.0, 1.0, -1.0])])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_blocks_turn_with_the_vector(engine, quantity, turn):
    vectors = np.random.default_rng(3).normal(size=(9, 3)) * 0.9
    vectors[0] = 0
    left, right = (
        orbital_rotations(engine.bases[z].degrees, turn[None])[0] for z in (FIRST, SECOND)
    )
    before = engine.blocks(quantity, FIRST, SECOND, vectors)
    after = engine.blocks(quantity, FIRST, SECOND, vectors @ turn.T)
    expected = left @ before @ right.T
    if expected.ndim == 4:
        expected = np.einsum("xy,ypab->xpab", turn, expected)
    assert np.abs(after - before).max() > 0.1 * np.abs(before).max()
    assert np.abs(after - expected).max() < 1e-12 * max(1, np.abs(before).max())


def test_matrices_turn_with_the_structure(engine, crystal):
    turned = crystal.rotated(TURN)
    pairs = touching_pairs(crystal, engine.bases)
    assert np.array_equal(pairs, touching_pairs(turned, engine.bases))
    before, after = (compute(structure, engine, pairs) for structure in (crystal, turned))
    wigner = {z: orbital_rotations(engine.bases[z].degrees, TURN[None])[0] for z in (FIRST, SECOND)}
    for row, pair in enumerate(pairs):
        i, j = (int(crystal.numbers[atom]) for atom in pair[3:])
        expected = wigner[i] @ before.block(row) @ wigner[j].T
        assert np.abs(after.block(row) - expected).max() < 1e-10


def test_overlaps_of_a_crystal_are_two_centre_integrals(engine, crystal):
    overlap = compute(crystal, engine, touching_pairs(crystal, engine.bases))
    assert overlap.hermitian_error()[0] < 1e-14
    proof = two_centre(crystal, orbital_map(engine, crystal), overlap)
    assert proof.checked == len(overlap) - len(crystal)
    assert proof.largest > 0.1
    assert proof.violation < 1e-10


def test_the_proof_sees_orbitals_out_of_order(engine, crystal):
    overlap = compute(crystal, engine, touching_pairs(crystal, engine.bases))
    wrong = {symbol: degrees[::-1] for symbol, degrees in orbital_map(engine, crystal).items()}
    assert two_centre(crystal, wrong, overlap).violation > 0.01


def test_overlaps_on_an_atom_are_those_of_its_radial_functions(engine):
    basis = engine.bases[FIRST]
    block = engine.blocks("overlap", FIRST, FIRST, np.zeros((1, 3)))[0]
    assert np.abs(np.diagonal(block) - 1).max() < 1e-9
    first, second = basis.shells[:2]  # s shells, of different cutoffs
    values = np.interp(second.radii, first.radii, first.values)  # dense nodes
    between = np.sum(second.weights * second.radii**2 * second.values * values)
    assert block[0, 1] == pytest.approx(between, abs=1e-3)
    assert np.abs(block[:2, 2:]).max() < 1e-15  # l differs


def gaussian(exponent: float, cutoff: float = 3.6) -> Shell:
    """A 1s Gaussian, normalised."""
    norm = 2 * (2 * exponent) ** 0.75 / math.pi**0.25
    return shell_of(lambda r: norm * np.exp(-exponent * r**2), 0, cutoff)


def shell_of(function, degree: int, cutoff: float) -> Shell:
    x, w = np.polynomial.legendre.leggauss(32)
    count = math.ceil(cutoff * 600 / 50)
    half = cutoff / (2 * count)
    radii = (half * (2 * np.arange(count)[:, None] + 1 + x)).ravel()
    return Shell(degree, radii, np.tile(half * w, count), function(radii), cutoff)


def alone(*shells: Shell, number: int = 1) -> AtomicBasis:
    return AtomicBasis(number, shells, "by hand", "made here")


def test_two_gaussians_overlap_as_known():
    # (2 sqrt(ab) / (a + b))^(3/2) exp(-a b / (a + b) R^2)
    a, b = 2.3, 4.1
    engine = TwoCentre({1: alone(gaussian(a)), 2: alone(gaussian(b), number=2)})
    distances = np.linspace(0, 3, 61)
    vectors = np.multiply.outer(distances, [0.48, -0.6, 0.64])
    exact = (2 * math.sqrt(a * b) / (a + b)) ** 1.5 * np.exp(-a * b / (a + b) * distances**2)
    found = engine.blocks("overlap", 1, 2, vectors)[:, 0, 0]
    assert np.abs(found - exact).max() < 1e-9


def test_slater_functions_overlap_and_move_as_known():
    # 1s: S = exp(-x) (1 + x + x^2 / 3) with x = zeta R; its derivative is -exp(-x) x (1 + x) / 3
    zeta = 3.5
    shell = shell_of(lambda r: 2 * zeta**1.5 * np.exp(-zeta * r), 0, 25 / zeta)
    engine = TwoCentre({1: alone(shell)}, ("overlap", "gradient"))
    x = np.array([0.0, 1.4, 2.0, 4.5, 9.0])
    axis = np.array([0.0, 0.6, 0.8])
    vectors = np.multiply.outer(x / zeta, axis)
    found = engine.blocks("overlap", 1, 1, vectors)[:, 0, 0]
    assert np.abs(found - np.exp(-x) * (1 + x + x**2 / 3)).max() < 1e-8
    slope = -zeta * np.exp(-x) * x * (1 + x) / 3
    derivative = engine.overlap_derivative(1, 1, vectors)[:, :, 0, 0]
    assert np.abs(derivative - np.multiply.outer(axis, slope)).max() < 1e-7


def test_signs_between_s_and_p_follow_the_axis():
    # A p orbital points to +z: its positive side faces an s orbital above it.
    p = shell_of(lambda r: r * np.exp(-4 * r**2), 1, 3.0)
    engine = TwoCentre({1: alone(gaussian(4.0), p)})
    s, pz, px = 0, 2, 3  # p are y, z, x
    above, beside = engine.blocks("overlap", 1, 1, np.array([[0, 0, 0.6], [0.6, 0, 0]]))
    assert above[pz, s] > 0.01
    assert above[s, pz] == pytest.approx(-above[pz, s], abs=1e-12)
    assert beside[px, s] == pytest.approx(above[pz, s], abs=1e-12)
    assert abs(beside[pz, s]) < 1e-12


def test_overlap_matrices_of_a_crystal_are_positive(engine, crystal):
    overlap = compute(crystal, engine, touching_pairs(crystal, engine.bases))
    info = SystemInfo.for_structure(crystal, orbital_map(engine, crystal))
    kpoints = np.random.default_rng(5).uniform(-0.5, 0.5, (6, 3))
    kpoints[0] = 0
    matrices = HamiltonianK.from_blocks(crystal, info, overlap, overlap).dense_stack(kpoints)[1]
    smallest = np.linalg.eigvalsh(matrices).min()
    assert -1e-10 < smallest < 0.5
