"""Integrals of Gaussian bases against those of PySCF, molecules and a crystal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from deeph_dock.basis.gaussian import gaussian_basis, reaches
from deeph_dock.codes.pyscf.integrals import assembled, image_integrals, near_pairs
from deeph_dock.codes.pyscf.integrals import reaches as reaches_of_run
from deeph_dock.codes.pyscf.orbitals import Orbitals, read_orbitals
from deeph_dock.engines.pyscf import Settings, build
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_spec.structure import Structure
from numpy.typing import NDArray

pytest.importorskip("pyscf", reason="PySCF is not installed (deeph-dock[pyscf])")

Real = NDArray[np.float64]

WATER = ([8, 1, 1], [[0, 0, 0.1], [0, 0.757, 0.587], [0.1, -0.757, 0.587]])
METHANE = (
    [6, 1, 1, 1, 1],
    0.629 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]),
)
HYDROGEN_BROMIDE = ([35, 1], [[0, 0, 0], [0.3, 0.4, 1.3]])
OXYGEN = ([8, 8], [[0, 0, 0], [0.3, -0.5, 1.05]])
MOLYBDENUM = ([42, 42], [[0, 0, 0], [0.3, 0.9, -2.2]])
FCC = 3.567 / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])


def structure_of(numbers: Any, positions: Any, lattice: Any = None) -> Structure:
    lattice = 30 * np.eye(3) if lattice is None else lattice
    return Structure(np.asarray(lattice), np.array(positions, float), np.array(numbers))


def engine_for(structure: Structure, basis: str, *quantities: str) -> TwoCentre:
    bases = {int(number): gaussian_basis(basis, int(number)) for number in set(structure.numbers)}
    return TwoCentre(bases, quantities)


def largest_difference(
    engine: TwoCentre, quantity: str, structure: Structure, orbitals: Orbitals, exact: Real
) -> float:
    """Compare the blocks of all two atoms with those of a full matrix (..., N, N)."""
    worst = 0.0
    for i, first in enumerate(structure.numbers.tolist()):
        for j, second in enumerate(structure.numbers.tolist()):
            rows, columns = (slice(orbitals.starts[a], orbitals.starts[a + 1]) for a in (i, j))
            vector = structure.positions[j] - structure.positions[i]
            found = engine.blocks(quantity, first, second, vector)
            expected = exact[..., rows, columns]
            worst = max(worst, float(np.abs(found.reshape(expected.shape) - expected).max()))
    return worst


@pytest.mark.parametrize(
    ("molecule", "basis", "highest"),
    [
        (WATER, "def2-svp", 2),
        (METHANE, "sto-3g", 1),
        (OXYGEN, "cc-pvqz", 4),
        (HYDROGEN_BROMIDE, "def2-svp", 2),  # exponents up to 1e5
        (MOLYBDENUM, "gth-dzvp-molopt-sr", 3),
    ],
)
def test_overlaps_are_those_of_pyscf(molecule, basis, highest):
    structure = structure_of(*molecule)
    mol = build(structure, crystal=False, settings=Settings(basis=basis))
    orbitals = read_orbitals(mol)
    engine = engine_for(structure, basis, "overlap")
    assert max(max(shells) for shells in orbitals.orbital_map.values()) == highest
    exact = orbitals.arranged(mol.intor("int1e_ovlp"))
    assert largest_difference(engine, "overlap", structure, orbitals, exact) < 1e-9


def test_so_are_kinetic_energies_gradients_and_positions():
    from pyscf.data.nist import HARTREE2EV
    from pyscf.lib import param

    structure = structure_of(*OXYGEN)
    mol = build(structure, crystal=False, settings=Settings(basis="6-31g*"))
    orbitals = read_orbitals(mol)
    engine = engine_for(structure, "6-31g*", "overlap", "kinetic", "gradient", "position")

    # hbar^2/2m by the constants of the engine
    kinetic = orbitals.arranged(mol.intor("int1e_kin"))
    kinetic *= Hartree * Bohr**2 / param.BOHR**2
    assert abs(HARTREE2EV / Hartree - 1) < 1e-8
    assert (
        largest_difference(engine, "kinetic", structure, orbitals, kinetic) < 1e-8 * kinetic.max()
    )

    # PySCF has the gradient on the left: <d/dr i|j> = -<i|d/dr j>
    gradient = -orbitals.arranged(mol.intor("int1e_ipovlp")) / param.BOHR
    assert largest_difference(engine, "gradient", structure, orbitals, gradient) < 1e-8

    # from the origin, the engine's from the second atom
    position = orbitals.arranged(mol.intor("int1e_r")) * param.BOHR
    overlap = orbitals.arranged(mol.intor("int1e_ovlp"))
    centres = np.repeat(structure.positions, orbitals.sizes, axis=0)
    position -= centres.T[:, None, :] * overlap
    assert largest_difference(engine, "position", structure, orbitals, position) < 1e-9


def test_blocks_of_a_crystal_are_those_of_pyscf_and_none_is_left_out():
    from pyscf.lib import param

    basis = "gth-szv"
    structure = structure_of([6, 6], [[0.1, 0, 0], [0.89175] * 3], FCC)
    mol = build(structure, crystal=True, settings=Settings(basis=basis, cutoff=100.0))
    orbitals = read_orbitals(mol)
    engine = engine_for(structure, basis, "overlap")
    lattice = FCC / param.BOHR

    reach = reaches_of_run(mol, orbitals, 1e-10)
    positions = structure.positions / param.BOHR
    theirs = assembled(
        near_pairs(lattice, positions, orbitals.numbers, reach, 3),
        orbitals,
        lambda cells: orbitals.arranged(image_integrals(mol, "int1e_ovlp", cells @ lattice)),
    )
    pairs = touching_pairs(structure, engine.bases)
    found = compute(structure, engine, pairs)
    shared = found.on_pairs(theirs.atom_pairs, theirs.chunk_shapes)
    assert len(found) > len(theirs) == 1866
    assert np.abs(shared.entries - theirs.entries).max() < 1e-9
    # All that PySCF leaves out is as small as it says.
    distances = np.linalg.norm(structure.pair_vectors(pairs), axis=1)
    near = pairs[distances <= reaches(engine.bases)[6, 6]]
    assert np.array_equal(near, theirs.atom_pairs)
    only_here = theirs.rows_of(found.atom_pairs) < 0
    assert len(found) - only_here.sum() == len(theirs)
    smallest = [np.abs(found.block(int(row))).max() for row in np.flatnonzero(only_here)]
    assert max(smallest) < 1e-10


@pytest.mark.parametrize(
    ("numbers", "basis"),
    [((8, 1), "def2-svp"), ((6, 35), "sto-3g"), ((42, 16), "gth-szv-molopt-sr")],
)
def test_atoms_reach_as_far_as_in_a_run(numbers, basis):
    from pyscf.lib import param

    structure = structure_of(numbers, [[0, 0, 0], [0, 0, 2]])
    mol = build(structure, crystal=False, settings=Settings(basis=basis))
    expected = reaches_of_run(mol, read_orbitals(mol), 1e-8)
    found = reaches({number: gaussian_basis(basis, number) for number in numbers}, 1e-8)
    assert found.keys() == expected.keys()
    for pair, distance in expected.items():
        assert found[pair] / param.BOHR == pytest.approx(distance, abs=2e-6)


def test_a_computed_folder_is_that_of_a_run(tmp_path, monkeypatch):
    from deeph_dock.basis.folder import Request
    from deeph_dock.codes.pyscf import from_scf
    from deeph_dock.computing_overlaps import Settings as Computed
    from deeph_dock.computing_overlaps import compute as compute_folder
    from deeph_dock.computing_overlaps import plan
    from deeph_spec.dataset import Dataset
    from pyscf.scf import hf

    monkeypatch.setattr(hf, "MUTE_CHKFILE", True)  # a temporary file that is never closed
    numbers, positions = WATER
    lines = ["3", "", *(f"{'HO'[n > 1]} {x} {y} {z}" for n, (x, y, z) in zip(*WATER, strict=True))]
    (tmp_path / "water.xyz").write_text("\n".join(lines) + "\n")
    (task,) = plan([tmp_path / "water.xyz"], tmp_path / "out", Computed(Request(("sto-3g",))))
    outcome = compute_folder(task)
    assert outcome.status == "converted", outcome
    (computed,) = Dataset.open(tmp_path / "out").folders

    structure = structure_of(numbers, positions)
    mol = build(structure, crystal=False, settings=Settings(basis="sto-3g"))
    run = from_scf(mol.RHF().run())
    assert dict(computed.info.orbital_map) == dict(run.info.orbital_map)
    assert computed.info.occupation == run.info.occupation == 10
    assert np.abs(computed.structure.positions - run.structure.positions).max() < 1e-12
    theirs = run.matrices["overlap"]()
    ours = computed.overlap().on_pairs(theirs.atom_pairs, theirs.chunk_shapes)
    assert len(computed.overlap()) == len(theirs)
    assert np.abs(ours.entries - theirs.entries).max() < 1e-9
