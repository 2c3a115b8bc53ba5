"""The proofs as assertions, and the contract that every reader of a DFT code passes.

A reader that is not part of this package can be tested in the same way:

>>> class TestMyCode(CodeContract):
...     @pytest.fixture(params=["water", "silicon"])
...     def calculation(self, request):
...         return MY_CODE.read(Path("runs") / request.param, "")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.orbitals import shell_offsets
from deeph_spec.structure import Structure
from deeph_spec.testing import assert_hermitian

from deeph_dock.codes import Calculation, Code
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
    eigenvalue_limit : float or None
        Largest difference to the code's eigenvalues, eV; None for runs that print none.
    hermitian_limits : dict
        Largest difference of Hermitian partners in the code's own files.
    kpoints : int
        k-points at which eigenvalues are compared.
    electron_limit : float
        Largest relative error of the electrons in the density matrix.
    position_limit : float
        Largest violation of the relation between position matrix and overlap, Å.
    """

    two_centre_limit = 1e-6
    eigenvalue_limit: float | None = 1e-4
    hermitian_limits: Mapping[str, float] = {"overlap": 3e-7, "hamiltonian": 5e-6}
    kpoints = 3
    electron_limit = 1e-6
    position_limit = 1e-6

    def test_overlap_obeys_the_two_centre_rule(self, calculation: Calculation) -> None:
        """Orders and signs inside shells are right, and R belongs to the positions."""
        overlap = calculation.matrices["overlap"]()
        orbital_map = calculation.info.orbital_map
        assert_two_centre(calculation.structure, orbital_map, overlap, self.two_centre_limit)

    def test_matrices_are_hermitian_before_any_averaging(self, calculation: Calculation) -> None:
        """Both partners are read, each from its own place in the file."""
        for name, read in calculation.matrices.items():
            if name == "position_matrix":  # not Hermitian: it has a relation of its own
                continue
            assert_hermitian(read(), self.hermitian_limits.get(name, 1e-5))

    def test_eigenvalues_are_those_of_the_code(self, calculation: Calculation) -> None:
        """H, S, the energy unit and the sign of k belong together."""
        if self.eigenvalue_limit is None:
            assert calculation.eigenvalues is None, "there are eigenvalues: compare with them"
            return
        assert_reproduces_eigenvalues(calculation, self.eigenvalue_limit, kpoints=self.kpoints)

    def test_pairs_are_sorted_and_closed_under_partners(self, calculation: Calculation) -> None:
        """Equal data give equal files, and every block has its Hermitian partner."""
        for read in calculation.matrices.values():
            matrix = read()
            pairs = matrix.atom_pairs.tolist()
            assert pairs == sorted(pairs)
            assert (matrix.partner_rows() >= 0).all()

    def test_density_matrix_counts_the_electrons(self, calculation: Calculation) -> None:
        """The trace of rho S is the number of electrons, of both spins."""
        if "density_matrix" not in calculation.matrices:
            return
        electrons = calculation.info.occupation
        assert electrons is not None
        counted = electron_count(
            calculation.matrices["density_matrix"](), calculation.matrices["overlap"]()
        )
        assert abs(counted - electrons) <= self.electron_limit * max(1.0, electrons), (
            f"rho S has the trace {counted:.8g}, the code counts {electrons:.8g} electrons"
        )

    def test_position_matrix_belongs_to_the_overlap(self, calculation: Calculation) -> None:
        """r_ji(-R) = r_ij(R)^T - R S_ij(R)^T: origin, unit and partner are right."""
        if "position_matrix" not in calculation.matrices:
            return
        position = calculation.matrices["position_matrix"]()
        overlap = calculation.matrices["overlap"]()
        error = position_error(calculation.structure, position, overlap)
        assert error <= self.position_limit, f"violated by {error:.3g} Å"


def spin_orbit_strengths(calculation: Calculation, element: str, shell: int) -> list[float]:
    """Project H of an atom on s_a L_a of a p shell, a = x, y, z: the coupling by each.

    All three are equal and positive where the spin parts of H are right: conjugating H changes the
    sign of two, and a wrong relation of the parts breaks the equality.

    Parameters
    ----------
    calculation : Calculation
        With spin-orbit coupling.
    element : str
        Of the first atom of this element.
    shell : int
        Number of the shell in the element's list; its l is 1.

    Returns
    -------
    list of float
        Re tr(O^dagger H) / tr(O^dagger O) with O = s_a L_a, eV.
    """
    info, structure = calculation.info, calculation.structure
    hamiltonian = calculation.matrices["hamiltonian"]()
    atom = structure.symbols.index(element)
    (row,) = hamiltonian.rows_of(np.array([[0, 0, 0, atom, atom]]))
    block = hamiltonian.block(int(row))
    assert info.orbital_map[element][shell] == 1
    rows = int(shell_offsets(info.orbital_map[element])[shell]) + np.arange(3)
    rows = np.concatenate([rows, rows + len(block) // 2])
    part = block[np.ix_(rows, rows)]
    y, z, x = np.eye(3)  # the order of the format; <y| L_z |x> = i
    momenta = [1j * (np.outer(v, u) - np.outer(u, v)) for u, v in ((y, z), (z, x), (x, y))]
    pauli = [np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
    operators = [np.kron(a / 2, b) for a, b in zip(pauli, momenta, strict=True)]
    return [float(np.vdot(o, part).real / np.vdot(o, o).real) for o in operators]


def electron_count(density_matrix: BlockMatrix, overlap: BlockMatrix) -> float:
    """Count the electrons of a density matrix: sum of rho_ij(R) conj(S_ij(R)) over all pairs.

    Parameters
    ----------
    density_matrix : BlockMatrix
        With or without spin.
    overlap : BlockMatrix
        Without spin.

    Returns
    -------
    float
        The trace of rho S.
    """
    common = overlap.rows_of(density_matrix.atom_pairs)
    total = 0.0
    for rows, stack in density_matrix.by_shape():
        for place, row in enumerate(rows.tolist()):
            if common[row] < 0:
                continue
            block = overlap.block(int(common[row]))
            height, width = block.shape
            total += float((stack[place, :height, :width].real * block).sum())
            if stack.shape[1] == 2 * height:
                total += float((stack[place, height:, width:].real * block).sum())
    return total


def position_error(structure: Structure, position: BlockMatrix, overlap: BlockMatrix) -> float:
    """Measure how far a position matrix is from r_ji(-R) = r_ij(R)^T - R S_ij(R)^T.

    Parameters
    ----------
    structure : Structure
        Its lattice.
    position : BlockMatrix
        Entries (3, E), Å.
    overlap : BlockMatrix
        S of the same structure.

    Returns
    -------
    float
        Largest violation, Å.
    """
    partner = position.partner_rows()
    own = overlap.on_pairs(position.atom_pairs, position.chunk_shapes)
    shifts = position.atom_pairs[:, :3] @ structure.lattice
    worst = 0.0
    for row in range(len(position)):
        expected = position.block(row) - shifts[row][:, None, None] * own.block(row)
        found = position.block(int(partner[row])).swapaxes(1, 2)
        worst = max(worst, float(np.abs(found - expected).max(initial=0.0)))
    return worst


class DamageContract:
    """What a reader does with broken files: inherit, and give the fixtures `code` and `run`.

    `run` is the folder of a small run, a private copy that may be changed, with one calculation in
    it. Whatever happens to a file, `read` and the matrices raise `InputError` with the name of a
    file, or give the right numbers; a wrong number only where its own bits were hit.

    Attributes
    ----------
    matrix_files : tuple of str
        Patterns of the files that hold the matrices, below the folder.
    cuts, flips : int
        Places at which each of these files is cut; bytes changed in all.
    elements_of_a_number : int
        Elements of one matrix that one number of a file may change.
    """

    matrix_files: ClassVar[tuple[str, ...]] = ()
    cuts = 10
    flips = 1000
    elements_of_a_number = 4

    def paths(self, run: Path) -> list[Path]:
        """Give the files that hold the matrices."""
        found = sorted(path for pattern in self.matrix_files for path in run.glob(pattern))
        assert found, f"no {', '.join(self.matrix_files)} in the run"
        return found

    def test_empty_folder_is_no_run(self, code: Code, tmp_path: Path) -> None:
        """Nothing is recognised where nothing is."""
        empty = tmp_path / "empty"
        empty.mkdir()
        assert code.recognises(empty) == ()

    def test_a_file_that_is_cut_is_named(self, code: Code, run: Path) -> None:
        """A copy that ended too early, a full disk, a killed run."""
        whole = _read_all(code, run)
        rng = np.random.default_rng(0)
        assert isinstance(whole, dict), whole
        for path in self.paths(run):
            content = path.read_bytes()
            for length in [0, *rng.integers(1, len(content), self.cuts - 1).tolist()]:
                path.write_bytes(content[:length])
                self._judge(_read_all(code, run), whole, f"{path.name} cut at {length}", 0)
            path.write_bytes(content)

    def test_a_matrix_file_that_is_missing_is_named(self, code: Code, run: Path) -> None:
        """Each in turn: named, or the rest is right."""
        whole = _read_all(code, run)
        assert isinstance(whole, dict), whole
        for path in self.paths(run):
            content = path.read_bytes()
            path.unlink()
            self._judge(_read_all(code, run), whole, f"{path.name} missing", 0)
            path.write_bytes(content)

    def test_changed_bytes_are_seen(self, code: Code, run: Path) -> None:
        """Bytes at random places get random values: never a traceback, never a wrong pattern."""
        whole = _read_all(code, run)
        assert isinstance(whole, dict), whole
        rng = np.random.default_rng(1)
        paths = self.paths(run)
        for number in range(self.flips):
            path = paths[number % len(paths)]
            content = path.read_bytes()
            at = int(rng.integers(len(content)))
            value = bytes([content[at] ^ int(rng.integers(1, 256))])
            path.write_bytes(content[:at] + value + content[at + 1 :])
            what = f"{path.name}, byte {at} = {value!r}"
            self._judge(_read_all(code, run), whole, what, self.elements_of_a_number)
            path.write_bytes(content)

    def test_changed_text_files_give_no_traceback(self, code: Code, run: Path) -> None:
        """The other files: inputs, outputs, geometries."""
        rng = np.random.default_rng(2)
        matrix_files = self.paths(run)
        (label,) = code.recognises(run)
        others = [path for path in code.inputs(run, label) if path not in matrix_files]
        for path in others:
            content = path.read_bytes()
            for _ in range(max(1, self.flips // 10 // len(others))):
                at = int(rng.integers(len(content)))
                value = bytes([int(rng.integers(256))])
                path.write_bytes(content[:at] + value + content[at + 1 :])
                _read_all(code, run)
            for length in [0, *rng.integers(1, len(content), 2).tolist()]:
                path.write_bytes(content[:length])
                _read_all(code, run)
            path.write_bytes(content)

    def _judge(
        self,
        result: dict[str, BlockMatrix] | str,
        whole: dict[str, BlockMatrix],
        what: str,
        at_most: int,
    ) -> None:
        """Assert that a result is a named reason or right."""
        if isinstance(result, str):
            assert result, f"{what}: refused without a reason"
            return
        for name, matrix in result.items():
            same = np.array_equal(matrix.atom_pairs, whole[name].atom_pairs)
            assert same, f"{what}: other pairs in {name}"
            wrong = np.count_nonzero(matrix.entries != whole[name].entries)
            assert wrong <= at_most, f"{what}: {wrong} wrong numbers in {name}"


def _read_all(code: Code, run: Path) -> dict[str, BlockMatrix] | str:
    """Read the one calculation of a folder, or give the reason why that cannot be done."""
    labels = code.recognises(run)
    if not labels:
        return f"not recognised; looked for {code.looks_for}"
    try:
        calculation = code.read(run, labels[0])
        if calculation.eigenvalues is not None:
            with suppress(InputError):  # `convert` leaves them out with a warning
                calculation.eigenvalues()
        return {name: read() for name, read in calculation.matrices.items()}
    except InputError as error:
        reason = str(error)
    assert "\n" not in reason, f"more than one line: {reason}"
    return reason
