"""H(k) and S(k): against the defining sum, block by block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from deeph_dock.electrons import lattice_sum
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.lattice_sum import bloch_phases
from deeph_dock.electrons.models import chain, honeycomb, in_field, with_spin_orbit
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.spin import spin_of
from deeph_spec.structure import Structure
from deeph_spec.system import SystemInfo

SHELLS = {"H": (0,), "C": (0, 1), "O": (0, 0, 1, 2)}
STRUCTURE = Structure(
    np.array([[4.0, 0.3, 0.0], [0.2, 4.2, 0.1], [0.0, -0.3, 5.0]]),
    np.array([[0.1, 0.2, 0.3], [1.9, 2.1, 0.4], [6.0, -1.0, 2.0], [2.5, 0.1, 3.0]]),
    np.array([8, 1, 6, 8]),
)
SIZES = np.array([10, 1, 4, 10])  # O H C O
OFFSETS = np.concatenate([[0], np.cumsum(SIZES)])
KPOINTS = np.array([[0.0, 0, 0], [0.13, -0.4, 0.71], [0.5, 0.5, 0.0]])


def random_matrix(seed: int, spins: int = 1, pairs: int = 90, dtype: type = float) -> BlockMatrix:
    """Hermitian blocks of random pairs, on-site ones included, in random order."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(-2, 3, size=(pairs, 3))
    random = np.concatenate([cells, rng.integers(0, 4, size=(pairs, 2))], axis=1)
    partners = np.concatenate([-random[:, :3], random[:, [4, 3]]], axis=1)
    home = np.array([[0, 0, 0, i, i] for i in range(4)])
    chosen = rng.permutation(np.unique(np.concatenate([random, partners, home]), axis=0))
    empty = BlockMatrix.zeros(chosen, spins * SIZES[chosen[:, 3:]], dtype)
    entries = rng.normal(size=empty.entries.shape)
    if dtype is complex:
        entries = entries + 1j * rng.normal(size=entries.shape)
    return empty.with_entries(entries.astype(dtype)).hermitian()


def info(spin: str = "none", **others: object) -> SystemInfo:
    return replace(SystemInfo.for_structure(STRUCTURE, SHELLS, spin=spin), **others)


def spoiled(matrix: BlockMatrix, row: int) -> BlockMatrix:
    entries = matrix.entries.copy()
    entries[matrix.chunk_boundaries[row]] = np.nan
    return matrix.with_entries(entries)


def summed(matrix: BlockMatrix, k: np.ndarray, spins: int = 1) -> np.ndarray:
    """Evaluate Eq. 4 as it is written, all up orbitals before all down ones."""
    n = OFFSETS[-1]
    out = np.zeros((spins, n, spins, n), dtype=complex)
    for row, (r1, r2, r3, i, j) in enumerate(matrix.atom_pairs):
        phase = np.exp(2j * np.pi * (k @ (r1, r2, r3)))
        block = matrix.block(row).reshape(spins, SIZES[i], spins, SIZES[j])
        out[:, OFFSETS[i] : OFFSETS[i + 1], :, OFFSETS[j] : OFFSETS[j + 1]] += phase * block
    return out.reshape(spins * n, spins * n)


@pytest.mark.parametrize("form", ["product", "sparse"])
def test_it_is_the_sum_over_lattice_vectors(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice_sum, "DENSE_TERMS_FILL", 0.0)
    if form == "sparse":
        monkeypatch.setattr(lattice_sum, "DENSE_TERMS_BYTES", 0)
    h, s = random_matrix(1), random_matrix(2, pairs=40)
    problem = HamiltonianK.from_blocks(STRUCTURE, info(), h, s)
    hk, sk = problem.dense_stack(KPOINTS)
    for n, k in enumerate(KPOINTS):
        np.testing.assert_allclose(hk[0, n], summed(h, k), atol=1e-13)
        np.testing.assert_allclose(sk[n], summed(s, k), atol=1e-13)
        np.testing.assert_allclose(
            problem.hamiltonians[0].sparse(k).toarray(), summed(h, k), atol=1e-13
        )


@pytest.mark.parametrize("form", ["product", "sparse"])
def test_spinors_have_all_up_orbitals_first(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lattice_sum, "DENSE_TERMS_FILL", 0.0)
    if form == "sparse":
        monkeypatch.setattr(lattice_sum, "DENSE_TERMS_BYTES", 0)
    h, s = random_matrix(1, spins=2, dtype=complex), random_matrix(2)
    problem = HamiltonianK.from_blocks(STRUCTURE, info("soc"), h, s)
    assert (problem.channels, problem.size, problem.electrons_per_band) == (1, 50, 1)
    hk, sk = problem.dense_stack(KPOINTS)
    for n, k in enumerate(KPOINTS):
        np.testing.assert_allclose(hk[0, n], summed(h, k, spins=2), atol=1e-13)
        np.testing.assert_allclose(sk[n], np.kron(np.eye(2), summed(s, k)), atol=1e-13)


def test_collinear_spins_are_two_problems() -> None:
    h = random_matrix(1, spins=2)
    up_down = []
    for s in (0, 1):
        groups = [
            (rows, stack.reshape(len(stack), 2, stack.shape[1] // 2, 2, -1)[:, s, :, s])
            for rows, stack in h.by_shape()
        ]
        up_down.append(BlockMatrix.from_stacks(h.atom_pairs, h.chunk_shapes // 2, groups))
    problem = HamiltonianK.from_blocks(STRUCTURE, info("collinear"), h, random_matrix(2))
    assert (problem.channels, problem.size, problem.electrons_per_band) == (2, 25, 1)
    hk, _ = problem.dense_stack(KPOINTS)
    for channel, matrix in enumerate(up_down):
        np.testing.assert_allclose(hk[channel, 1], summed(matrix, KPOINTS[1]), atol=1e-13)


def test_complex_collinear_data_without_imaginary_part_are_real() -> None:
    h = random_matrix(1, spins=2)
    problem = HamiltonianK.from_blocks(
        STRUCTURE, info("collinear"), h.with_entries(h.entries + 0j), random_matrix(2)
    )
    assert problem.time_reversal
    assert all(channel.is_real for channel in problem.hamiltonians)


@pytest.mark.parametrize("spin", ["none", "soc"])
def test_rounding_is_averaged_away_and_worse_is_refused(spin: str) -> None:
    spins, dtype = (2, complex) if spin == "soc" else (1, float)
    h = random_matrix(3, spins=spins, dtype=dtype)
    noise = np.random.default_rng(0).normal(size=h.entries.shape)
    rough = h.with_entries(h.entries + 1e-3 * noise)
    problem = HamiltonianK.from_blocks(STRUCTURE, info(spin), rough, random_matrix(2))
    hk = problem.dense_stack(KPOINTS)[0][0]
    assert np.abs(hk - hk.conj().transpose(0, 2, 1)).max() < 1e-12
    raw = np.array([summed(rough, k, spins) for k in KPOINTS])
    assert np.abs(raw - raw.conj().transpose(0, 2, 1)).max() > 1e-3
    np.testing.assert_allclose(hk, (raw + raw.conj().transpose(0, 2, 1)) / 2, atol=1e-12)
    damaged = h.with_entries(h.entries + noise)
    with pytest.raises(InputError, match=r"H: entries: .*from being Hermitian"):
        HamiltonianK.from_blocks(STRUCTURE, info(spin), damaged, random_matrix(2))


def test_single_precision_is_summed_in_double() -> None:
    h = random_matrix(1)
    single = h.with_entries(h.entries.astype(np.float32))
    hk = HamiltonianK.from_blocks(STRUCTURE, info(), single, random_matrix(2)).dense_stack(KPOINTS)
    expected = [summed(single.with_entries(single.entries.astype(float)), k) for k in KPOINTS]
    np.testing.assert_allclose(hk[0][0], expected, atol=1e-13)


def test_order_of_pairs_and_missing_pairs_do_not_matter() -> None:
    h, s = random_matrix(1), random_matrix(2)
    order = np.random.default_rng(0).permutation(len(h))
    shuffled = h.on_pairs(h.atom_pairs[order], h.chunk_shapes[order])
    extra = np.concatenate([h.atom_pairs, [[9, 0, 0, 0, 1], [-9, 0, 0, 1, 0]]])
    padded = h.on_pairs(extra, SIZES[extra[:, 3:]])
    expected = HamiltonianK.from_blocks(STRUCTURE, info(), h, s).dense_stack(KPOINTS)[0]
    for other in (shuffled, padded):
        found = HamiltonianK.from_blocks(STRUCTURE, info(), other, s).dense_stack(KPOINTS)[0]
        np.testing.assert_allclose(found, expected, atol=1e-13)


def test_minus_k_is_the_conjugate_of_real_blocks_only() -> None:
    real = HamiltonianK.from_blocks(STRUCTURE, info(), random_matrix(1), random_matrix(2))
    complex_ = HamiltonianK.from_blocks(
        STRUCTURE, info("soc"), random_matrix(1, 2, dtype=complex), random_matrix(2)
    )
    for problem, conjugate in ((real, True), (complex_, False)):
        plus, minus = (problem.dense_stack(k)[0] for k in (KPOINTS, -KPOINTS))
        assert np.allclose(minus, plus.conj(), atol=1e-13) is conjugate
        assert problem.time_reversal is conjugate


def test_time_reversal_of_spinors_is_found_in_the_blocks() -> None:
    assert with_spin_orbit(chain(), 0.2).problem().time_reversal
    assert not with_spin_orbit(chain(), 0.2, field=0.1).problem().time_reversal


def test_matrices_are_real_where_k_equals_minus_k() -> None:
    cells = np.array([[1, 0, 0], [0, -3, 2], [2, 1, -1], [0, 0, 0]])
    assert not np.any(bloch_phases(np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]), cells).imag)
    assert np.any(bloch_phases(np.array([[0.25, 0.5, 0.0]]), cells).imag)


def test_coupled_axes_are_those_with_neighbours() -> None:
    assert chain().problem().coupled_axes == (True, False, False)
    assert honeycomb().problem().coupled_axes == (True, True, False)


def test_spin_is_read_off_the_blocks_where_info_is_silent() -> None:
    unsaid = replace(info("soc"), spin=None)
    assert spin_of(unsaid, random_matrix(1, 2, dtype=complex)) == "soc"
    assert spin_of(unsaid, random_matrix(1, 2)) == "soc"  # up-down parts
    collinear = in_field(chain(), 0.3).hamiltonian
    assert spin_of(unsaid, collinear) == "collinear"
    assert spin_of(unsaid, collinear.with_entries(collinear.entries + 0j)) == "collinear"
    assert spin_of(info("soc"), collinear) == "soc"  # what the file says wins


def test_chunks_cover_all_points_within_the_bound() -> None:
    problem = honeycomb().problem()
    kpoints = np.zeros((103, 3))
    bound = 10 * 16 * 4 * 3
    runs = list(problem.chunks(kpoints, bound))
    assert [n for run in runs for n in range(103)[run]] == list(range(103))
    assert {run.stop - run.start for run in runs[:-1]} == {10}
    assert len(list(problem.chunks(kpoints, 1))) == 103  # one point at least


def test_orthogonal_basis_needs_no_overlap() -> None:
    problem = HamiltonianK.from_blocks(
        STRUCTURE, info(orthogonal_basis=True), random_matrix(1), None
    )
    np.testing.assert_array_equal(problem.dense_stack(KPOINTS)[1], np.tile(np.eye(25), (3, 1, 1)))
    with pytest.raises(InputError, match=r"overlap\.h5: S is missing"):
        HamiltonianK.from_blocks(STRUCTURE, info(), random_matrix(1), None)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda h: random_matrix(1, spins=2), "chunk_shapes row 0"),
        (
            lambda h: BlockMatrix.zeros([[0, 0, 0, 0, 7]], [[10, 10]]),
            r"atoms must be 0\.\.3 .* 0\.\.7",
        ),
        (lambda h: BlockMatrix.zeros([], []), "found no pairs"),
        (lambda h: spoiled(h, row=5), "NaN"),
    ],
)
def test_matrices_of_another_structure_are_refused(spoil, message: str) -> None:
    h = random_matrix(1)
    with pytest.raises(InputError, match=message) as caught:
        HamiltonianK.from_blocks(STRUCTURE, info(), spoil(h), random_matrix(2))
    if message == "NaN":
        assert str(tuple(h.atom_pairs[5].tolist())) in str(caught.value)
