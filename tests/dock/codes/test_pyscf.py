"""PySCF: the proofs on molecules and crystals of every spin, rotations, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.pyscf import from_scf
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.solvers.dense import eigenvalues
from deeph_dock.proofs import orbital_rotations, two_centre
from deeph_dock.testing import CodeContract, assert_reproduces_eigenvalues
from deeph_spec.errors import InputError
from numpy.typing import NDArray

pytest.importorskip("pyscf", reason="PySCF is not installed (deeph-dock[pyscf])")

WATER = np.array([[0, 0, 0.1], [0, 0.757, 0.587], [0.1, -0.757, 0.587]])
FCC = 3.567 / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
CHAIN = np.diag([1.6, 5.0, 5.0])
UNTURNED = np.eye(3)
HARTREE = 27.21138602


@pytest.fixture(autouse=True, scope="module")
def _no_temporary_files() -> Iterator[None]:
    """Keep PySCF from opening files that it never closes."""
    from pyscf.scf import hf

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hf, "MUTE_CHKFILE", True)
        yield


def molecule(atoms: Any, basis: str = "sto-3g", **settings: Any) -> Any:
    from pyscf.gto import Mole

    mol = Mole()
    mol.atom, mol.basis, mol.verbose = atoms, basis, 0
    for name, value in settings.items():
        setattr(mol, name, value)
    return mol.build(False, False)


def water(turn: NDArray[np.float64] = UNTURNED, basis: str = "def2-svp") -> Any:
    return molecule(list(zip("OHH", (WATER @ turn.T).tolist(), strict=True)), basis)


def crystal(atoms: Any, lattice: Any, cutoff: float = 40, **settings: Any) -> Any:
    from pyscf.pbc.gto import Cell

    cell = Cell()
    cell.atom, cell.a, cell.basis, cell.pseudo = atoms, lattice, "gth-szv", "gth-pbe"
    cell.verbose, cell.ke_cutoff = 0, cutoff
    for name, value in settings.items():
        setattr(cell, name, value)
    return cell.build(False, False)


def chain(**settings: Any) -> Any:
    return crystal([("H", (0, 0, 0)), ("H", (0.75, 0, 0))], CHAIN, **settings)


def fine_grid(mf: Any) -> Any:
    mf.grids.level = 4
    return mf


def converged(mf: Any) -> Any:
    mf.conv_tol, mf.conv_tol_grad = 1e-10, 2e-7
    mf.kernel()
    assert mf.converged
    return mf


def remembered(calculation: Calculation) -> Calculation:
    """Compute each matrix once."""
    return replace(calculation, matrices={n: cache(r) for n, r in calculation.matrices.items()})


@cache
def solved(name: str) -> Any:
    """Run one of the systems of these tests, once."""
    from pyscf.pbc import dft as pbc

    if name == "water":
        return converged(fine_grid(water().RKS(xc="pbe")))
    if name == "water HF, f shells":
        return converged(water(basis="cc-pvtz").RHF())
    if name == "oxygen":
        return converged(molecule("O 0 0 0; O 0 0.1 1.2", "def2-svp", spin=2).UKS(xc="pbe"))
    if name == "open shell":
        return converged(molecule("N 0 0 0; O 0 0.1 1.15", spin=1).ROHF())
    if name == "spin-orbit":
        return converged(molecule("Br 0 0 0; H 0 0.4 1.3").GHF().x2c1e())
    if name == "diamond":
        tight = {"C": [[0, [1.2, 1.0]], [1, [1.0, 1.0]], [2, [1.1, 1.0]]]}  # near neighbours only
        cell = crystal([("C", (0.1, 0, 0)), ("C", (3.567 / 4,) * 3)], FCC, 45, basis=tight)
        return converged(pbc.KRKS(cell, cell.make_kpts([2, 1, 1]), xc="pbe").multigrid_numint())
    if name == "chain":
        kpoints = chain().make_kpts([3, 1, 1], scaled_center=[0.1, 0, 0])
        return converged(pbc.KRKS(chain(), kpoints, xc="pbe").multigrid_numint())
    if name == "chain, Gamma":
        return converged(pbc.RKS(chain(), xc="lda,vwn"))
    if name == "chain, half the points":
        cell = chain(ke_cutoff=25)
        kpoints = cell.make_kpts([4, 1, 1], time_reversal_symmetry=True)
        return converged(pbc.KRKS(cell, kpoints, xc="pbe"))
    if name == "chain, PBE0":
        cell = chain(ke_cutoff=25)
        return converged(pbc.KRKS(cell, cell.make_kpts([4, 1, 1]), xc="pbe0"))
    if name == "chain, +U":
        kpoints = chain().make_kpts([3, 1, 1])
        return converged(pbc.KRKSpU(chain(), kpoints, xc="pbe", U_idx=["H 1s"], U_val=[2.0]))
    if name == "chain, spinors":
        mf = pbc.KGKS(chain(), chain().make_kpts([2, 1, 1]), xc="lda,vwn")
        mf.collinear = "col"
        return converged(mf)
    atom = crystal([("H", (0, 0, 0))], np.diag([1.2, 5, 5]), spin=1)
    if name == "magnetic chain":
        atom.spin = 3  # of the three cells of the mesh
        return converged(pbc.KUKS(atom, atom.make_kpts([3, 1, 1]), xc="pbe").multigrid_numint())
    assert name == "metal"
    atom.spin = 0
    return converged(pbc.KRKS(atom, atom.make_kpts([4, 1, 1]), xc="pbe").smearing(0.01, "fermi"))


@cache
def read(name: str) -> Calculation:
    return remembered(from_scf(solved(name)))


class Exact(CodeContract):
    two_centre_limit = 1e-12
    eigenvalue_limit = 2e-6
    hermitian_limits: ClassVar = {"overlap": 1e-12, "hamiltonian": 1e-9, "density_matrix": 1e-10}
    electron_limit = 1e-8
    position_limit = 1e-10


class TestMolecules(Exact):
    """s to f shells; all kinds of spin."""

    @pytest.fixture(params=["water", "water HF, f shells", "oxygen", "spin-orbit"])
    def calculation(self, request: pytest.FixtureRequest) -> Calculation:
        return read(request.param)


class TestOpenShell(Exact):
    """Restricted open shells: the energies are those of the Fock matrix before the last one."""

    eigenvalue_limit = 1e-5

    @pytest.fixture
    def calculation(self) -> Calculation:
        return read("open shell")


class TestDiamond(Exact):
    """p and d shells of a crystal in three dimensions."""

    @pytest.fixture
    def calculation(self) -> Calculation:
        return read("diamond")


class TestChains(Exact):
    """Meshes of all kinds, exact exchange, spins; s shells: there is little the rule can forbid."""

    @pytest.fixture(
        params=[
            "chain",
            "chain, Gamma",
            "chain, half the points",
            "chain, PBE0",
            "chain, +U",
            "chain, spinors",
            "magnetic chain",
            "metal",
        ]
    )
    def calculation(self, request: pytest.FixtureRequest) -> Calculation:
        return read(request.param)


# -- what the numbers mean ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spin", "electrons"),
    [
        ("water", "none", 10),
        ("oxygen", "collinear", 16),
        ("open shell", "none", 15),
        ("spin-orbit", "soc", 36),
        ("diamond", "none", 8),
        ("magnetic chain", "collinear", 1),
    ],
)
def test_spin_and_electrons(name: str, spin: str, electrons: float) -> None:
    info = read(name).info
    assert (info.spin, info.occupation) == (spin, electrons)
    assert info.provenance["code"] == "PySCF"
    assert info.provenance["scf_converged"] is True


def test_fermi_level_of_a_molecule_is_the_middle_of_its_gap() -> None:
    mf = solved("water")
    assert read("water").info.fermi_level == pytest.approx(mf.mo_energy[4:6].mean() * HARTREE)
    mf = solved("oxygen")
    top, bottom = max(mf.mo_energy[0][8], mf.mo_energy[1][6]), mf.mo_energy[1][7]
    expected = (top + min(bottom, mf.mo_energy[0][9])) / 2 * HARTREE
    assert read("oxygen").info.fermi_level == pytest.approx(expected)


def test_fermi_level_of_a_metal_holds_its_electrons() -> None:
    mf, level = solved("metal"), read("metal").info.fermi_level
    assert level is not None
    filling = 2 / (1 + np.exp((np.asarray(mf.mo_energy) - level / HARTREE) / 0.01))
    assert filling.sum() / 4 == pytest.approx(1, abs=1e-6)


def test_molecules_stand_in_a_box_with_empty_space_and_all_pairs_at_home() -> None:
    calculation = read("water")
    assert (np.diag(calculation.structure.lattice) >= np.ptp(WATER, axis=0) + 30).all()
    np.testing.assert_allclose(calculation.structure.positions, WATER, atol=1e-12)
    pairs = calculation.matrices["overlap"]().atom_pairs
    assert pairs.tolist() == [[0, 0, 0, i, j] for i in range(3) for j in range(3)]


@pytest.mark.filterwarnings("ignore:An ill-conditioned matrix")
def test_nearly_dependent_orbitals_leave_no_eigenvalues_to_compare() -> None:
    from pyscf.gto import parse

    twice = {"H": parse("H S\n 1.0 1.0\nH S\n 1.0000001 1.0\nH S\n 0.3 1.0")}
    calculation = from_scf(converged(molecule("H 0 0 0; H 0 0 0.74", twice).RHF()))
    assert calculation.eigenvalues is None
    (warning,) = calculation.warnings
    assert warning.startswith("PySCF left out 2 nearly dependent orbitals")


def test_spin_orbit_coupling_has_the_sign_of_the_format() -> None:
    """Proof (e): on s_a (x) L_a, the p shells of a closed ion give three equal positive numbers."""
    calculation = from_scf(converged(molecule("Br 0 0 0", charge=-1).GHF().x2c1e()))
    block = calculation.matrices["hamiltonian"]().block(0)
    shells = calculation.info.orbital_map["Br"]
    start = sum(2 * k + 1 for k in shells[: shells.index(1)])
    full = block.reshape(2, 18, 2, 18)[:, start : start + 3, :, start : start + 3]
    full = full.reshape(6, 6)
    # Order y, z, x; (L_a)_bc = -i eps_abc.
    levi = np.zeros((3, 3, 3))
    for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        levi[a, b, c], levi[a, c, b] = 1, -1
    order = [1, 2, 0]
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    strengths = []
    for a in range(3):
        operator = np.kron(pauli[a] / 2, (-1j * levi[a])[np.ix_(order, order)])
        strengths.append(
            np.trace(operator.conj().T @ full).real / np.trace(operator @ operator).real
        )
    assert min(strengths) > 10  # 2p of bromine, eV
    assert np.ptp(strengths) < 1e-6 * max(strengths)


@pytest.mark.parametrize("proper", [True, False])
def test_turning_a_molecule_turns_its_hamiltonian(proper: bool) -> None:
    """H(Q r) = D(Q) H D(Q)^T, to the precision of the integration grid."""
    rng = np.random.default_rng(3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn) if proper else -np.linalg.det(turn)
    turned = from_scf(converged(fine_grid(water(turn).RKS(xc="pbe"))))
    before, after = (c.matrices["hamiltonian"]() for c in (read("water"), turned))
    shells, symbols = turned.info.orbital_map, turned.structure.symbols
    errors = []
    for row, (i, j) in enumerate(before.atom_pairs[:, 3:].tolist()):
        left, right = (orbital_rotations(shells[symbols[a]], turn[None])[0] for a in (i, j))
        errors.append(np.abs(left @ before.block(row) @ right.T - after.block(row)).max())
    assert max(errors) < 5e-6
    assert np.abs(before.entries - after.entries).max() > 0.1


def test_wrong_order_of_p_orbitals_would_be_seen() -> None:
    calculation = read("water")
    overlap = calculation.matrices["overlap"]()
    shells = calculation.info.orbital_map
    assert two_centre(calculation.structure, shells, overlap).violation < 1e-12
    turned = replace(calculation.structure, positions=WATER[:, [1, 2, 0]])
    assert two_centre(turned, shells, overlap).violation > 0.1


# -- crystals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chain", "metal", "diamond"])
def test_bands_between_the_points_of_the_mesh_are_those_of_pyscf(name: str) -> None:
    mf, calculation = solved(name), read(name)
    overlap, hamiltonian = (calculation.matrices[n]() for n in ("overlap", "hamiltonian"))
    problem = HamiltonianK.from_blocks(
        calculation.structure, calculation.info, hamiltonian, overlap
    )
    kpoints = np.array([[0.123, 0, 0], [-0.411, 0.2, 0.345]])
    expected = np.array(mf.get_bands(mf.cell.get_abs_kpts(kpoints))[0]) * HARTREE
    np.testing.assert_allclose(eigenvalues(problem, kpoints)[0], expected, atol=2e-6)


def test_hamiltonian_does_not_depend_on_how_the_mesh_was_reduced() -> None:
    from pyscf.pbc import dft

    cell = chain(ke_cutoff=25)
    full = from_scf(converged(dft.KRKS(cell, cell.make_kpts([4, 1, 1]), xc="pbe")))
    reduced = read("chain, half the points")
    assert full.info.provenance["kmesh"] == reduced.info.provenance["kmesh"] == [4, 1, 1]
    for name in ("hamiltonian", "density_matrix"):
        np.testing.assert_allclose(
            full.matrices[name]().entries, reduced.matrices[name]().entries, atol=1e-6
        )


def test_coarse_mesh_of_exact_exchange_is_warned_of_and_semilocal_ones_need_none() -> None:
    (warning,) = read("chain, PBE0").warnings
    assert "H(R) is still" in warning
    assert "finer k-mesh" in warning
    assert read("chain").warnings == read("chain, Gamma").warnings == ()


def test_larger_smallest_overlap_leaves_out_pairs_and_costs_little() -> None:
    few = remembered(from_scf(solved("chain"), 1e-5))
    assert len(few.matrices["overlap"]()) < 0.6 * len(read("chain").matrices["overlap"]())
    assert_reproduces_eigenvalues(few, 1e-2)
    with pytest.raises(AssertionError):
        assert_reproduces_eigenvalues(few, 1e-6)


# -- what is refused ------------------------------------------------------------------------------


def _refusal(make: Callable[[], Any]) -> str:
    with pytest.raises(InputError) as caught:
        from_scf(make())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cartesian_functions_are_refused() -> None:
    mf = molecule("H 0 0 0; H 0 0 0.7", cart=True).RHF().run()
    assert "cart=False" in _refusal(lambda: mf)


def test_ghost_atoms_are_refused() -> None:
    mf = molecule("H 0 0 0; H 0 0 0.7; ghost-H 0 0 2").RHF().run()
    assert "ghost" in _refusal(lambda: mf)


@pytest.mark.parametrize(
    ("basis", "said"),
    [
        ({"H": "sto-3g", "H@2": "6-31g"}, "two bases for one element, shells [0] and [0, 0]"),
        ({"H": "sto-3g", "H@2": "sto-6g"}, "radial functions of atom 2 differ"),
    ],
)
def test_two_bases_of_one_element_are_refused(basis: Any, said: str) -> None:
    mf = molecule("H 0 0 0; H@2 0 0 0.7", basis).RHF().run()
    assert said in _refusal(lambda: mf)


def test_what_has_not_run_is_refused() -> None:
    assert "call mf.kernel() first" in _refusal(lambda: water(basis="sto-3g").RKS())


def test_what_is_no_scf_object_is_refused() -> None:
    assert "found Mole" in _refusal(lambda: water(basis="sto-3g"))


def test_four_components_are_refused() -> None:
    assert "not supported" in _refusal(lambda: molecule("He 0 0 0", "6-31g").DHF().run())


def test_restricted_open_shells_of_crystals_are_refused() -> None:
    from pyscf.pbc.dft import KROKS

    atom = crystal([("H", (0, 0, 0))], np.diag([1.2, 5, 5]), spin=1)
    assert "use KUKS" in _refusal(lambda: KROKS(atom, atom.make_kpts([1, 1, 1])).run(max_cycle=1))


def test_exact_exchange_on_points_that_are_no_mesh_is_refused() -> None:
    from pyscf.pbc.scf import KRHF

    points = chain().get_abs_kpts([[0, 0, 0], [0.2, 0, 0]])
    assert "not a full mesh" in _refusal(lambda: KRHF(chain(), points).run(max_cycle=1))


def test_unconverged_objects_are_called_so() -> None:
    calculation = from_scf(water(basis="sto-3g").RHF().run(max_cycle=1))
    assert calculation.unconverged == "PySCF's SCF did not converge"
    assert calculation.info.fermi_level is None


def test_missing_pyscf_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(InputError, match=r"pip install 'deeph-dock\[pyscf\]'"):
        from_scf(None)
