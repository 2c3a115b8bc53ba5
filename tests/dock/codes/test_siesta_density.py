"""Density matrices of SIESTA: against that of H and S, moments, made files, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.codes.siesta.density import read_density
from deeph_dock.codes.siesta.hsx import read_hsx
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh

Data = Callable[[str], Path]
Toy = Callable[..., Any]


def calculation_of(dft_data: Data, folder: str) -> Calculation:
    packed, _, within = folder.partition("//")
    path = dft_data(packed) / within
    (label,) = SIESTA.recognises(path)
    return SIESTA.read(path, label)


# -- real runs ------------------------------------------------------------------------------------


def density_of_states(calculation: Calculation, pairs: np.ndarray) -> np.ndarray:
    """Give rho(R) = 1/N_k sum_k exp(-2 pi i k.R) sum_n f c c^dagger as (pairs, spin, N, N)."""
    info = calculation.info
    divisions, shift = (np.array(info.provenance[key]) for key in ("kmesh", "kshift"))
    mesh = np.stack(np.meshgrid(*map(np.arange, divisions), indexing="ij"), axis=-1)
    kpoints = (mesh.reshape(-1, 3) + shift) / divisions
    problem = HamiltonianK.from_blocks(
        calculation.structure,
        info,
        calculation.matrices["hamiltonian"](),
        calculation.matrices["overlap"](),
    )
    h, s = problem.dense_stack(kpoints)
    rho = np.zeros_like(h)
    for channel, k in np.ndindex(h.shape[:2]):
        energies, states = eigh(h[channel, k], s[k])
        x = (energies - info.fermi_level) / info.provenance["electronic_temperature_eV"]
        filled = problem.electrons_per_band / (1 + np.exp(np.clip(x, -500, 500)))
        rho[channel, k] = (states * filled) @ states.conj().T
    phases = np.exp(-2j * np.pi * pairs[:, :3] @ kpoints.T) / len(kpoints)
    return np.einsum("pk,skij->psij", phases, rho, optimize=True)


@pytest.mark.parametrize(
    "folder",
    [
        "siesta/bands_check/graphene",
        "siesta/modes/O2_spin",
        "siesta/modes/Fe_spin",
        "siesta/modes/Fe_nc",
        "siesta/modes/Pt_soc",
        "third-party/siesta//Si",
        "third-party/siesta//sisl-files-Pt2_soc",
        "third-party/siesta//sisl-files-Bi_hexagonal_soc",
    ],
)
def test_density_matrix_is_that_of_the_states_of_h_and_s(dft_data: Data, folder: str) -> None:
    """Every element, with its spin, phase and image; where the file has none nothing is known."""
    calculation = calculation_of(dft_data, folder)
    found = calculation.matrices["density_matrix"]()
    expected = density_of_states(calculation, found.atom_pairs)
    counts = calculation.info.orbital_counts(calculation.structure)
    first, total = np.cumsum(counts) - counts, int(counts.sum())
    spinor = calculation.info.spin == "soc"
    worst = 0.0
    for row, (*_, i, j) in enumerate(found.atom_pairs.tolist()):
        rows, columns = (first[a] + np.arange(counts[a]) for a in (i, j))
        if spinor:
            rows, columns = (np.r_[part, total + part] for part in (rows, columns))
        parts = [channel[np.ix_(rows, columns)] for channel in expected[row]]
        if len(parts) == 2:
            none = np.zeros_like(parts[0])
            block = np.block([[parts[0], none], [none, parts[1]]])
        else:
            block = parts[0]
        own = found.block(row)
        worst = max(worst, np.abs(own - block)[own != 0].max(initial=0.0))
    assert worst < 1e-4  # how far SIESTA's last two cycles were apart


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        # The input says: theta 60, phi 30 degrees; the eigenvalues do not see the direction.
        ("siesta/modes/Fe_nc", 2.355 * np.array([0.75, np.sqrt(3) / 4, 0.5])),
        # The output says: spin moment {S} = 1.85672 0 0.
        ("third-party/siesta//sisl-files-Pt2_soc", np.array([1.85672, 0, 0])),
        ("siesta/modes/Pt_soc", np.zeros(3)),
    ],
)
def test_moment_points_where_the_program_says(
    dft_data: Data, folder: str, expected: np.ndarray
) -> None:
    calculation = calculation_of(dft_data, folder)
    rho, overlap = (calculation.matrices[name]() for name in ("density_matrix", "overlap"))
    overlap = overlap.on_pairs(rho.atom_pairs)
    parts = np.zeros((2, 2), dtype=complex)
    for row in range(len(rho)):
        s = overlap.block(row)
        parts += np.einsum("aibj,ij->ab", rho.block(row).reshape(2, len(s), 2, -1), s)
    # rho_ud = <c_u c_d^*>: the moment is tr(sigma rho).
    moment = [2 * parts[0, 1].real, -2 * parts[0, 1].imag, (parts[0, 0] - parts[1, 1]).real]
    np.testing.assert_allclose(moment, expected, atol=2e-3)


def test_collinear_electrons_of_each_spin(dft_data: Data) -> None:
    calculation = calculation_of(dft_data, "siesta/modes/O2_spin")
    rho, overlap = (calculation.matrices[name]() for name in ("density_matrix", "overlap"))
    moment = 0.0
    for row in range(len(rho)):
        block, n = rho.block(row), len(overlap.block(row))
        moment += float(((block[:n, :n] - block[n:, n:]) * overlap.block(row)).sum())
    assert moment == pytest.approx(2.0, abs=1e-4)


# -- made files -----------------------------------------------------------------------------------


def parts_of(matrix: BlockMatrix) -> list[BlockMatrix]:
    """Give uu, ud, du, dd of a matrix with spin."""
    shapes = matrix.chunk_shapes // 2
    parts = [BlockMatrix.zeros(matrix.atom_pairs, shapes, matrix.dtype) for _ in range(4)]
    for row, (height, width) in enumerate(shapes.tolist()):
        block = matrix.block(row)
        parts[0].block(row)[...] = block[:height, :width]
        parts[1].block(row)[...] = block[:height, width:]
        parts[2].block(row)[...] = block[height:, :width]
        parts[3].block(row)[...] = block[height:, width:]
    return parts


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
    st.sampled_from(["<", ">"]),
    st.sampled_from([1, 2, 4, 8]),
)
def test_what_is_written_is_read_back(
    toy_run: Toy,
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    version: int,
    old: bool,
    order: str,
    spins: int,
) -> None:
    run = toy_run(seed=seed, version=version, order=order, spins=spins)
    folder = run.write(tmp_path_factory.mktemp("run"), leave_out=(".EIG", ".KP"))
    plain = run.overlap.sorted()
    rng = np.random.default_rng(seed)
    d = [plain.with_entries(rng.uniform(-1, 1, len(plain.entries))) for _ in range(spins)]
    d = run.but(overlap=plain).counted(d)
    (folder / "toy.DM").write_bytes(run.dm(d, old=old))
    found = SIESTA.read(folder, "toy").matrices["density_matrix"]()
    np.testing.assert_array_equal(found.atom_pairs, plain.atom_pairs)
    e = [component.entries for component in d]
    if spins == 1:
        np.testing.assert_allclose(found.entries, e[0], atol=1e-15)
        return
    none = np.zeros(len(e[0]))
    expected = {
        2: lambda: (e[0], none, none, e[1]),
        4: lambda: (e[0], e[2] - 1j * e[3], e[2] + 1j * e[3], e[1]),
        8: lambda: (
            e[0] + 1j * e[4],
            e[2] - 1j * e[3],
            e[6] + 1j * e[7],
            e[1] + 1j * e[5],
        ),
    }[spins]()
    for part, values in zip(parts_of(found), expected, strict=True):
        np.testing.assert_allclose(part.entries, values, atol=1e-15)


def at_home(matrix: BlockMatrix) -> np.ndarray:
    """Tell which entries are of pairs inside the cell."""
    here = (matrix.atom_pairs[:, :3] == 0).all(axis=1)
    return np.repeat(here, np.diff(matrix.chunk_boundaries))


@pytest.mark.parametrize("old", [False, True])
def test_density_matrix_may_have_fewer_elements_than_the_hamiltonian(
    toy_run: Toy, tmp_path: Path, old: bool
) -> None:
    run = toy_run(seed=3)
    run.write(tmp_path)
    home = run.overlap.with_entries(np.where(at_home(run.overlap), run.overlap.entries, 0))
    (rho,) = run.but(overlap=home).counted([home])
    (tmp_path / "toy.DM").write_bytes(run.dm([rho], old=old, home=True))
    found = SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()
    assert (found.atom_pairs[:, :3] == 0).all()
    expected = rho.on_pairs(found.atom_pairs)
    np.testing.assert_allclose(found.entries, expected.entries, atol=1e-14)


def fewer_pairs(run: Any, keep: np.ndarray) -> Any:
    """Give the same run with H and S on some of its pairs."""
    pairs = run.overlap.atom_pairs[keep]
    return run.but(overlap=run.overlap.on_pairs(pairs), hamiltonian=run.hamiltonian.on_pairs(pairs))


@pytest.mark.parametrize("version", [0, 2])
def test_density_matrix_may_have_more_elements_in_images_that_are_known(
    toy_run: Toy, tmp_path: Path, version: int
) -> None:
    run = toy_run(seed=5, version=version, atoms=6, cutoff=5.0)
    pairs = run.overlap.atom_pairs
    images = pairs[:, :3].tolist()
    row = next(
        row
        for row, (*cell, i, j) in enumerate(pairs.tolist())
        if any(cell) and i != j and images.count(cell) > 1
    )
    gone = [row, int(run.overlap.partner_rows()[row])]
    fewer = fewer_pairs(run, np.delete(np.arange(len(pairs)), gone))
    fewer.write(tmp_path)
    there = fewer.overlap.on_pairs(pairs, run.overlap.chunk_shapes)
    (rho,) = run.but(overlap=there).counted([run.overlap])
    (tmp_path / "toy.DM").write_bytes(run.dm([rho]))
    matrices = SIESTA.read(tmp_path, "toy").matrices
    found, expected = matrices["density_matrix"](), rho.sorted()
    assert len(matrices["overlap"]()) == len(found) - 2
    np.testing.assert_array_equal(found.atom_pairs, expected.atom_pairs)
    np.testing.assert_allclose(found.entries, expected.entries, atol=1e-14)


# -- what is refused ------------------------------------------------------------------------------


def test_density_matrix_in_images_that_nobody_knows_is_refused(
    toy_run: Toy, tmp_path: Path
) -> None:
    run = toy_run(seed=5, atoms=2, cutoff=5.0)
    pairs = run.overlap.atom_pairs
    reach = np.abs(pairs[:, :3]).max(axis=0)
    # The outermost images stay, so that the supercell is the same; those between them go.
    keep = (pairs[:, :3] == 0).all(axis=1) | (np.abs(pairs[:, :3]) == reach).any(axis=1)
    assert not keep.all()
    fewer_pairs(run, keep).write(tmp_path)
    (tmp_path / "toy.DM").write_bytes(run.dm(run.counted([run.overlap])))
    with pytest.raises(InputError, match=r"toy\.DM: not of the same step .* images that are not"):
        SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()


def test_density_matrix_of_another_supercell_with_as_many_cells_is_refused(
    toy_run: Toy, tmp_path: Path
) -> None:
    run = toy_run()
    run.write(tmp_path)
    content = bytearray(run.dm(run.counted([run.overlap])))
    supercell = np.frombuffer(content[12:24], "<i4")
    turned = np.array([supercell.prod(), 1, 1], "<i4")
    assert (turned != supercell).any()
    content[12:24] = turned.tobytes()
    (tmp_path / "toy.DM").write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"toy\.DM: not of the same step .* supercell is another"):
        SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spins": 2}, "2 spin components, toy.HSX has .* and 1: not of the same run"),
        ({"atoms": 4}, "orbitals and 1 spin components, toy.HSX has .*: not of the same run"),
        ({"cutoff": 9.0}, "a supercell of .*: of another step of the run"),
    ],
)
def test_density_matrix_of_another_run_is_refused(
    toy_run: Toy, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    toy_run().write(tmp_path)
    other = toy_run(**changes)
    (tmp_path / "toy.DM").write_bytes(other.dm([other.overlap] * other.spins))
    with pytest.raises(InputError, match=rf"toy\.DM: sizes: .*{message}"):
        SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()


def test_old_density_matrix_beyond_the_supercell_is_refused(toy_run: Toy, tmp_path: Path) -> None:
    toy_run().write(tmp_path)
    other = toy_run(cutoff=9.0)
    (tmp_path / "toy.DM").write_bytes(other.dm([other.overlap], old=True))
    with pytest.raises(InputError, match=r"toy\.DM: column indices: found .*, expected 1\.\."):
        SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()


@pytest.mark.parametrize("spins", [1, 2, 8])
def test_density_matrix_of_a_later_cycle_is_refused(
    toy_run: Toy, tmp_path: Path, spins: int
) -> None:
    """A run that was killed after it had moved an atom: .DM is newer than .HSX."""
    run = toy_run(spins=spins, electrons=6.0)
    run.write(tmp_path)
    first, *others = run.counted([run.overlap] * spins)
    moved = first.with_entries(first.entries * 1.001)
    (tmp_path / "toy.DM").write_bytes(run.dm([moved, *others]))
    with pytest.raises(InputError, match=r"toy\.DM: holds .* electrons .* which has 6: of another"):
        SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()


def test_generations_to_come_are_refused(toy_run: Toy, tmp_path: Path) -> None:
    toy_run().write(tmp_path)
    sizes = np.array([24, 18, 1, 3, 3, 3, 7, 24], "<i4").tobytes()
    (tmp_path / "toy.DM").write_bytes(sizes)
    with pytest.raises(InputError, match=r"toy\.DM: begins with a record of 24 bytes"):
        SIESTA.read(tmp_path, "toy").matrices["density_matrix"]()


def test_density_matrix_that_is_missing_is_not_offered(dft_data: Data, tmp_path: Path) -> None:
    folder = dft_data("siesta/modes/O2_spin")
    for path in folder.glob("O2_spin.*"):
        if path.suffix != ".DM":
            shutil.copyfile(path, tmp_path / path.name)
    assert "density_matrix" not in SIESTA.read(tmp_path, "O2_spin").matrices


def test_density_matrix_with_nan_is_refused(dft_data: Data, tmp_path: Path) -> None:
    folder = dft_data("siesta/modes/O2_spin")
    content = bytearray((folder / "O2_spin.DM").read_bytes())
    content[-12:-4] = np.float64(np.nan).tobytes()
    (tmp_path / "O2_spin.DM").write_bytes(content)
    density = read_density(tmp_path / "O2_spin.DM", read_hsx(folder / "O2_spin.HSX"))
    with pytest.raises(InputError, match="NaN or absurd"):
        density.component(1)
