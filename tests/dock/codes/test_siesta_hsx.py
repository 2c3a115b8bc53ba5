"""HSX files: written by our own writer, read back; by other readers; cut off and damaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock.codes import Calculation
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.codes.siesta.hsx import read_hsx
from deeph_dock.codes.siesta.records import Records
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st


def _assert_same(found: BlockMatrix, expected: BlockMatrix, atol: float) -> None:
    expected = expected.sorted()
    np.testing.assert_array_equal(found.atom_pairs, expected.atom_pairs)
    np.testing.assert_array_equal(found.chunk_shapes, expected.chunk_shapes)
    np.testing.assert_allclose(found.entries, expected.entries, atol=atol, rtol=0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    atoms=st.integers(1, 4),
    version=st.sampled_from([0, 1, 2]),
    dtype=st.sampled_from(["f4", "f8"]),
    order=st.sampled_from(["<", ">"]),
    true=st.sampled_from([1, -1]),
    shells=st.sampled_from([{"H": (0,), "C": (0, 0, 1, 2)}, {"O": (0, 1, 1), "Fe": (0, 2, 1, 3)}]),
)
def test_every_generation_precision_and_byte_order_is_read_back(
    toy_run: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    atoms: int,
    version: int,
    dtype: str,
    order: str,
    true: int,
    shells: dict[str, tuple[int, ...]],
) -> None:
    run = toy_run(seed, atoms, shells, version=version, dtype=dtype, order=order, true=true)
    calculation = SIESTA.read(run.write(tmp_path_factory.mktemp("run")), "toy")
    single = version == 0 or dtype == "f4"
    assert calculation.info.provenance["source_dtype"] == ("float32" if single else "float64")
    for name, expected in (("overlap", run.overlap), ("hamiltonian", run.hamiltonian)):
        scale = np.abs(expected.entries).max()
        found = calculation.matrices[name]()
        assert found.dtype == (np.float32 if single else np.float64)
        _assert_same(found, expected, scale * (2e-7 if single else 1e-14))
    np.testing.assert_allclose(calculation.structure.lattice, run.structure.lattice, atol=1e-8)
    np.testing.assert_allclose(calculation.structure.positions, run.structure.positions, atol=1e-8)
    np.testing.assert_array_equal(calculation.structure.numbers, run.structure.numbers)
    used = set(run.structure.symbols)
    assert calculation.info.orbital_map == {s: v for s, v in run.orbital_map.items() if s in used}
    assert calculation.info.fermi_level == pytest.approx(run.fermi, abs=1e-9)
    assert calculation.info.occupation == run.electrons


def test_rows_are_gathered_like_one_record_after_another(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 40, 50)
    rows = [rng.standard_normal(n) for n in counts]
    with open(tmp_path / "rows", "wb") as file:
        for row in [np.zeros(1), *rows]:
            marker = np.array(row.nbytes, "<i4").tobytes()
            file.write(marker + row.tobytes() + marker)
    records = Records(tmp_path / "rows", (8,))
    records.read("head", (np.float64, 1))
    start = records.skip_rows("rows", counts, 8)
    assert records.next_length() is None
    np.testing.assert_array_equal(
        records.rows("rows", start, counts, np.float64), np.concatenate(rows)
    )


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("siesta/H2O_box/0001", "H2O_box"),
        ("siesta/bands_check/GaAs", "GaAs"),
        ("siesta/bands_check/SiC", "SiC"),
        ("third-party/siesta//sisl-files-H_chain", "h_chain_vibra"),
        ("third-party/siesta//sisl-files-Si_pdos_k", "Si_pdos"),
        ("third-party/siesta//sisl-files-graphene_electrode", "electrode"),
    ],
)
def test_an_independent_reader_gives_the_same_matrices(
    dft_data: Callable[[str], Path], folder: str, label: str
) -> None:
    sisl = pytest.importorskip("sisl")
    from deeph_dock.electrons.bloch import HamiltonianK

    packed, _, within = folder.partition("//")
    path = dft_data(packed) / within
    calculation = SIESTA.read(path, label)
    info, structure = calculation.info, calculation.structure
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sisl warns about every old file
        file = sisl.get_sile(path / f"{label}.HSX")
        if file.version == 0:
            geometry = sisl.get_sile(path / f"{label}.XV").read_geometry()
            theirs = file.read_hamiltonian(geometry=geometry)
        else:
            theirs = file.read_hamiltonian()
        k = np.array([0.13, -0.27, 0.41])
        s = theirs.Sk(k, gauge="lattice", format="array")
        h = theirs.Hk(k, gauge="lattice", format="array")
    # They keep SIESTA's signs, take another eV, and from version 1 on subtract the Fermi level.
    unit = info.provenance["energy_unit"] / sisl.unit.siesta.unit_convert("Ry", "eV")
    h = h * unit + (s * info.fermi_level if file.version > 0 else 0)
    sign = np.concatenate(
        [
            (-1.0) ** np.abs(np.arange(-degree, degree + 1))
            for symbol in structure.symbols
            for degree in info.orbital_map[symbol]
        ]
    )
    problem = HamiltonianK.from_blocks(
        structure, info, calculation.matrices["hamiltonian"](), calculation.matrices["overlap"]()
    )
    ours_h, ours_s = problem.dense_stack(k[None])
    np.testing.assert_allclose(ours_s[0], np.outer(sign, sign) * s, atol=1e-6)
    np.testing.assert_allclose(ours_h[0, 0], np.outer(sign, sign) * h, atol=2e-5)


@pytest.fixture(scope="module", params=[0, 1, 2])
def sound(
    request: pytest.FixtureRequest,
    toy_run: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, bytes]:
    run = toy_run(11, 3, {"H": (0, 1), "C": (0, 1)}, version=request.param, dtype="f4")
    folder = run.write(tmp_path_factory.mktemp("sound"))
    return folder, (folder / "toy.HSX").read_bytes()


def _numbers(calculation: Calculation) -> tuple[Any, np.ndarray]:
    """Give what integers decide, and all numbers that come from floats."""
    overlap, hamiltonian = (calculation.matrices[n]() for n in ("overlap", "hamiltonian"))
    info, structure = calculation.info, calculation.structure
    fixed = (
        overlap.atom_pairs.tolist(),
        hamiltonian.atom_pairs.tolist(),
        info.orbital_map,
        structure.symbols,
        info.atoms_quantity,
    )
    floats = [overlap.entries, hamiltonian.entries, structure.lattice, structure.positions]
    loose = [[info.fermi_level, info.occupation, info.provenance["electronic_temperature_eV"]]]
    return fixed, np.concatenate([np.ravel(part) for part in [*floats, *loose]])


def _try(folder: Path) -> Calculation | None:
    """Read everything; None if that ends in the one exception that users see."""
    try:
        calculation = SIESTA.read(folder, "toy")
        _numbers(calculation)
    except InputError as error:
        message = str(error)
        assert str(folder) in message
        assert "\n" not in message
        return None
    return calculation


def test_a_file_that_is_cut_off_is_refused_wherever_it_ends(
    sound: tuple[Path, bytes], tmp_path: Path
) -> None:
    folder, data = sound
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    rng = np.random.default_rng(5)
    lengths = [0, 1, 3, 4, 8, 20, *rng.integers(0, len(data), 60).tolist(), len(data) - 1]
    for length in lengths:
        (tmp_path / "toy.HSX").write_bytes(data[:length])
        assert _try(tmp_path) is None, length
    (tmp_path / "toy.HSX").write_bytes(data + b"more")
    assert _try(tmp_path) is None


def test_damaged_bytes_are_noticed_or_change_only_the_number_they_are_in(
    sound: tuple[Path, bytes], tmp_path: Path
) -> None:
    folder, data = sound
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    fixed, floats = _numbers(SIESTA.read(folder, "toy"))
    rng = np.random.default_rng(7)
    noticed = 0
    positions = rng.integers(0, len(data), 500)
    for position in positions.tolist():
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        (tmp_path / "toy.HSX").write_bytes(bytes(damaged))
        calculation = _try(tmp_path)
        if calculation is None:
            noticed += 1
            continue
        found_fixed, found_floats = _numbers(calculation)
        assert found_fixed == fixed, position
        # One element of H or S, or one number of the cell (which no other number depends on).
        assert np.count_nonzero(found_floats != floats) <= 1, position
    assert 0.2 * len(positions) < noticed < len(positions)


def test_generations_to_come_are_refused_by_name(sound: tuple[Path, bytes], tmp_path: Path) -> None:
    folder, data = sound
    if read_hsx(folder / "toy.HSX").version == 0:
        data = data[:4] + b"....".join([b"", data[8:]])  # has no number: its first size goes
        (tmp_path / "new.HSX").write_bytes(data)
        with pytest.raises(InputError, match=r"new\.HSX: sizes"):
            read_hsx(tmp_path / "new.HSX")
        return
    (tmp_path / "new.HSX").write_bytes(data[:4] + np.array(3, "<i4").tobytes() + data[8:])
    with pytest.raises(InputError, match=r"new\.HSX: HSX version 3; known are 0, 1 and 2"):
        read_hsx(tmp_path / "new.HSX")


def test_text_that_is_no_hsx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.HSX").write_text("SystemLabel x\n")
    with pytest.raises(InputError, match="not a Fortran sequential file"):
        read_hsx(tmp_path / "x.HSX")


def test_numbers_that_are_not_finite_are_refused(
    toy_run: Callable[..., Any], tmp_path: Path
) -> None:
    run = toy_run()
    run.hamiltonian.entries[3] = np.nan
    calculation = SIESTA.read(run.write(tmp_path), "toy")
    with pytest.raises(InputError, match=r"toy\.HSX: Hamiltonian: holds NaN or absurd"):
        calculation.matrices["hamiltonian"]()
