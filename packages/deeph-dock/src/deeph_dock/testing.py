"""The proofs as assertions, and the contract that every reader of a DFT code passes.

A reader that is not part of this package can be tested in the same way:

>>> class TestMyCode(CodeContract):
...     @pytest.fixture(params=["water", "silicon"])
...     def calculation(self, request):
...         return MY_CODE.read(Path("runs") / request.param, "")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure
from deeph_spec.testing import assert_hermitian

from deeph_dock.codes import Calculation
from deeph_dock.proofs import TELLING_OVERLAP, eigenvalue_deviation, two_centre


def assert_two_centre(
    structure: Structure,
    orbital_map: Mapping[str, Sequence[int]],
    overlap: BlockMatrix,
    atol: float = 1e-6,
) -> None:
    """Assert that an overlap is symmetric about the axis between its two atoms.

    Parameters
    ----------
    structure : Structure
        Atoms; positions in Å.
    orbital_map : mapping
        Shells of each element, in storage order.
    overlap : BlockMatrix
        S, without spin.
    atol : float
        Largest violation allowed: the error of the code's own integrals.

    Raises
    ------
    AssertionError
        Naming the pair, or saying that no overlap is large enough to prove anything.
    """
    result = two_centre(structure, orbital_map, overlap)
    assert result.largest > TELLING_OVERLAP, (
        f"overlaps between atoms reach {result.largest:.2g} only: they prove nothing"
    )
    assert result.violation <= atol, (
        f"the overlap of pair {result.pair} violates the two-centre rule by "
        f"{result.violation:.3g} > {atol:.3g}"
    )


def assert_reproduces_eigenvalues(
    calculation: Calculation,
    atol: float = 1e-4,
    above_fermi: float = 5.0,
    kpoints: int | None = None,
) -> None:
    """Assert that H and S have the eigenvalues that the code itself printed.

    Parameters
    ----------
    calculation : Calculation
        With H, S and the code's eigenvalues.
    atol : float
        Largest difference allowed, eV.
    above_fermi : float
        Compare up to this energy above the Fermi level, eV.
    kpoints : int, optional
        Compare at this many k-points; without it at all.

    Raises
    ------
    AssertionError
        If one differs, or there is nothing to compare with.
    """
    assert calculation.eigenvalues is not None, "the code's own eigenvalues are not there"
    result = eigenvalue_deviation(
        calculation.structure,
        calculation.info,
        calculation.matrices["hamiltonian"]().hermitian(),
        calculation.matrices["overlap"]().hermitian(),
        calculation.eigenvalues(),
        above_fermi,
        kpoints,
    )
    assert result.states > 0, f"no eigenvalue lies below E_F + {above_fermi:g} eV"
    assert result.largest <= atol, (
        f"eigenvalues differ by {result.largest:.3g} eV > {atol:.3g} eV "
        f"({result.states} states at {result.kpoints} k-points)"
    )


class CodeContract:
    """Inherit, give a fixture `calculation`, and let pytest collect the class.

    Attributes
    ----------
    two_centre_limit : float
        Largest violation of the two-centre rule, by the code's own integrals.
    eigenvalue_limit : float
        Largest difference to the code's eigenvalues, eV.
    hermitian_limits : dict
        Largest difference of Hermitian partners in the code's own files.
    kpoints : int
        k-points at which eigenvalues are compared.
    """

    two_centre_limit = 1e-6
    eigenvalue_limit = 1e-4
    hermitian_limits: Mapping[str, float] = {"overlap": 3e-7, "hamiltonian": 5e-6}
    kpoints = 3

    def test_overlap_obeys_the_two_centre_rule(self, calculation: Calculation) -> None:
        """Orders and signs inside shells are right, and R belongs to the positions."""
        overlap = calculation.matrices["overlap"]()
        orbital_map = calculation.info.orbital_map
        assert_two_centre(calculation.structure, orbital_map, overlap, self.two_centre_limit)

    def test_matrices_are_hermitian_before_any_averaging(self, calculation: Calculation) -> None:
        """Both partners are read, each from its own place in the file."""
        for name, read in calculation.matrices.items():
            assert_hermitian(read(), self.hermitian_limits.get(name, 1e-5))

    def test_eigenvalues_are_those_of_the_code(self, calculation: Calculation) -> None:
        """H, S, the energy unit and the sign of k belong together."""
        assert_reproduces_eigenvalues(calculation, self.eigenvalue_limit, kpoints=self.kpoints)

    def test_all_matrices_share_one_sorted_list_of_pairs(self, calculation: Calculation) -> None:
        """Equal data give equal files."""
        lists = [read().atom_pairs.tolist() for read in calculation.matrices.values()]
        assert lists[0] == sorted(lists[0])
        assert all(pairs == lists[0] for pairs in lists)
