"""scfout files of every layout and spin mode: written by the description, read back, damaged."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from deeph_dock.codes import Calculation, detect
from deeph_dock.codes.openmx import OPENMX
from deeph_dock.codes.openmx.scfout import read_scfout
from deeph_dock.testing import DamageContract
from deeph_spec.blocks import BlockMatrix
from deeph_spec.errors import InputError
from deeph_spec.orbitals import orbital_labels
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure, toy_matrices
from hypothesis import given, settings
from hypothesis import strategies as st

Data = Callable[[str], Path]
Raw = list[list[np.ndarray]]  # blocks of each atom and its neighbours

BOHR = 0.529177249
HARTREE = 27.2113845
SHELLS: Mapping[str, tuple[int, ...]] = {
    "H": (0, 0, 1),
    "C": (0, 1, 2),
    "O": (0, 0, 1, 1, 2, 3),
}
ORDER = {
    "s": ("s",),
    "p": ("px", "py", "pz"),
    "d": ("dz2", "dx2-y2", "dxy", "dxz", "dyz"),
    "f": ("fz3", "fxz2", "fyz2", "fz(x2-y2)", "fxyz", "fx(x2-3y2)", "fy(3x2-y2)"),
}
"""Orbitals of a shell in the order of OpenMX."""


@dataclass(frozen=True, eq=False)
class ToyRun:
    """What a run holds, in the units of the format; `write` makes the files of OpenMX."""

    structure: Structure
    overlap: BlockMatrix
    hamiltonian: BlockMatrix
    density: BlockMatrix
    position: BlockMatrix
    spin: str = "none"
    version: int = 3
    orders: int = 1
    moved: np.ndarray | None = None  # lattice vectors by which the program moves each atom
    after: float = 0.0  # motion of all atoms along x after the matrices were made, Å
    unit: str = "Ang"
    basis: Mapping[str, str] = field(default_factory=dict)
    keywords: str = "scf.criterion 1e-8\nscf.XcType GGA-PBE\nMD.Type nomd\n"
    overlap_only: bool = False
    with_text: bool = True
    trailing: bytes = b""
    potential: bool = False  # matrices that some builds of 4.0 append

    def but(self, **changes: Any) -> ToyRun:
        return replace(self, **changes)

    def write(self, folder: Path, label: str = "toy") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{label}.scfout").write_bytes(self.scfout())
        (folder / f"{label}.out").write_text(self.out())
        return folder

    # -- text -----------------------------------------------------------------------------------

    def input(self) -> str:
        lattice, positions = self.structure.lattice, self.structure.positions
        if self.unit == "AU":
            lattice, positions = lattice / BOHR, positions / BOHR
        elif self.unit == "FRAC":
            positions = self.structure.fractional
        species = "".join(
            f" {symbol}_x {self.basis_of(symbol)} {symbol}_PBE19 # {symbol}\n"
            for symbol in self.structure.elements
        )
        atoms = "".join(
            f" {number} {symbol}_x {x!r} {y!r} {z!r} 2.0 2.0\n"
            for number, symbol, (x, y, z) in zip(
                range(1, len(self.structure) + 1),
                self.structure.symbols,
                positions.tolist(),
                strict=True,
            )
        )
        vectors = "".join(f" {x!r} {y!r} {z!r}\n" for x, y, z in lattice.tolist())
        return (
            f"System.Name toy\n# a comment <Not.a.list\n<Definition.of.Atomic.Species\n{species}"
            "Definition.of.Atomic.Species>\n"
            f"Atoms.SpeciesAndCoordinates.Unit {self.unit}\n<Atoms.SpeciesAndCoordinates\n{atoms}"
            "Atoms.SpeciesAndCoordinates>\n"
            f"Atoms.UnitVectors.Unit {'AU' if self.unit == 'AU' else 'Ang'}\n<Atoms.Unitvectors\n"
            f"{vectors}Atoms.UnitVectors>\n{self.keywords}"
        )

    def basis_of(self, symbol: str) -> str:
        if symbol in self.basis:
            return self.basis[symbol]
        numbers = {letter: SHELLS[symbol].count(k) for k, letter in enumerate("spdf")}
        return f"{symbol}5.0-" + "".join(f"{k}{n}" for k, n in numbers.items() if n)

    def out(self) -> str:
        return (
            "***\n  This calculation was performed by OpenMX Ver. 3.9.9\n\n"
            f"{self.input()}\n***\n     SCF history at MD= 1\n***\n\n"
            "   SCF=   1  NormRD=  1.000000000000  Uele= -7.148337239792\n"
            "   SCF=   2  NormRD=  0.000000000001  Uele= -7.148337239793\n\n"
            "  Chemical potential (Hartree)      -0.125000000000\n"
        )

    # -- scfout ---------------------------------------------------------------------------------

    def scfout(self) -> bytes:
        atoms, lattice = len(self.structure), self.structure.lattice
        moved = np.zeros((atoms, 3), dtype=int) if self.moved is None else self.moved
        pairs = self.overlap.atom_pairs.copy()
        pairs[:, :3] += moved[pairs[:, 3]] - moved[pairs[:, 4]]
        rows = []  # of each atom, itself first
        for atom in range(atoms):
            own = np.flatnonzero(pairs[:, 3] == atom)
            home = ~pairs[own, :3].any(axis=1) & (pairs[own, 4] == atom)
            rows.append([*own[home].tolist(), *own[~home][::-1].tolist()])
        images = sorted({tuple(cell) for cell in pairs[:, :3].tolist()}, key=lambda r: (any(r), r))
        code = {"none": 0, "collinear": 1, "soc": 3}[self.spin]
        head = [atoms, code + 4 * self.version, 0, 0, 0, len(images) - 1]
        positions = self.structure.positions + moved @ lattice + [self.after, 0, 0]
        parts = [_ints(head), _ints([self.orders]) if self.version == 3 else b""]
        parts += [_vectors(np.array(images) @ lattice / BOHR), _vectors(np.array(images))]
        parts += [_ints([self.size(symbol) for symbol in self.structure.symbols])]
        parts += [_ints([len(of_atom) - 1 for of_atom in rows])]
        parts += [_ints(pairs[of_atom, 4] + 1) for of_atom in rows]
        parts += [
            _ints([images.index(tuple(cell)) for cell in pairs[of_atom, :3].tolist()])
            for of_atom in rows
        ]
        reciprocal = 2 * np.pi * np.linalg.inv(lattice / BOHR).T
        parts += [_vectors(vectors) for vectors in (lattice / BOHR, reciprocal, positions / BOHR)]
        matrices = self.matrices()
        kept = [name for name in matrices if not self.overlap_only or name[0] in "SP"]
        for name in kept:
            blocks = matrices[name]
            parts += [blocks[row].astype("<f8").tobytes() for of_atom in rows for row in of_atom]
        if self.overlap_only:
            return b"".join(parts)
        parts += [_ints([3]), np.array([-0.125, 300, *[0.5] * 6, 8.0, 0.0], "<f8").tobytes()]
        if self.with_text:
            lines = self.input().splitlines(keepends=True)
            records = [line.encode().ljust(256, b"\0") for line in lines]
            parts += [_ints([len(lines)]), *records]
        if self.potential:
            parts += [np.ones(self.doubles(), "<f8").tobytes()]
        return b"".join([*parts, self.trailing])

    def doubles(self) -> int:
        spins = {"none": 1, "collinear": 2, "soc": 4}[self.spin]
        return spins * len(self.overlap.entries)

    def size(self, symbol: str) -> int:
        return sum(2 * k + 1 for k in SHELLS[symbol])

    def turn(self, symbol: str) -> list[int]:
        """Row of the format of each row of OpenMX."""
        labels, turned, start = orbital_labels(SHELLS[symbol]), [], 0
        for k in SHELLS[symbol]:
            shell = labels[start : start + 2 * k + 1]
            turned += [start + shell.index(name) for name in ORDER["spdf"[k]]]
            start += 2 * k + 1
        return turned

    def md2(self) -> str:
        rows = "".join(
            f"{number:6d}   {symbol:>4}  {x:12.7f}  {y:12.7f}  {z:12.7f}    2.00000   2.00000\n"
            for number, symbol, (x, y, z) in zip(
                range(1, len(self.structure) + 1),
                self.structure.symbols,
                self.structure.positions.tolist(),
                strict=True,
            )
        )
        return f"{len(self.structure)} \n   time=    0.000 (fs)  Energy= -1.00000 (Hartree)\n{rows}"

    def matrices(self) -> dict[str, list[np.ndarray]]:
        """Blocks of each matrix of the file, in its order and units, by the rows of the pairs."""
        found: dict[str, list[np.ndarray]] = {}

        def add(name: str, blocks: list[np.ndarray]) -> None:
            symbols = self.structure.symbols
            found[name] = [
                block[np.ix_(self.turn(symbols[i]), self.turn(symbols[j]))]
                for block, (*_, i, j) in zip(blocks, self.overlap.atom_pairs.tolist(), strict=True)
            ]

        rng = np.random.default_rng(5)
        energies = _parts(self.hamiltonian, self.spin)
        if self.spin == "soc":
            up_up, up_down, down_down = energies
            share = [rng.standard_normal(block.shape) for block in up_down]
            add("H0", [b.real / HARTREE for b in up_up])
            add("H1", [b.real / HARTREE for b in down_down])
            add("H2", [b.real / HARTREE for b in up_down])
            add("H3", [b.imag / HARTREE - x for b, x in zip(up_down, share, strict=True)])
            add("I0", [b.imag / HARTREE for b in up_up])
            add("I1", [b.imag / HARTREE for b in down_down])
            add("I2", share)
        else:
            for number, blocks in enumerate(energies):
                add(f"H{number}", [block / HARTREE for block in blocks])
        overlaps = [self.overlap.block(row) for row in range(len(self.overlap))]
        add("S", overlaps)
        for axis in range(3):
            blocks = []
            for row, i in enumerate(self.overlap.atom_pairs[:, 3].tolist()):
                origin = self.structure.positions[i, axis] + (self.after if axis == 0 else 0)
                blocks.append((self.position.block(row)[axis] - origin * overlaps[row]) / BOHR)
            add(f"P{axis}", blocks)
            for order in range(1, self.orders):
                add(f"P{axis}{order}", [rng.standard_normal(b.shape) for b in blocks])
        if self.version == 3:
            for axis in range(3):
                add(f"M{axis}", [rng.standard_normal(b.shape) for b in overlaps])
        rho = _parts(self.density, self.spin)
        zeros = [np.zeros(b.shape) for b in overlaps]
        if self.spin == "soc":
            up_up, up_down, down_down = rho
            add("D0", [b.real for b in up_up])
            add("D1", [b.real for b in down_down])
            add("D2", [b.real for b in up_down])
            add("D3", [-b.imag for b in up_down])
            imaginary = [[-b.imag for b in up_up], [-b.imag for b in down_down]]
        else:
            factor = 0.5 if self.spin == "none" else 1.0
            for number, blocks in enumerate(rho):
                add(f"D{number}", [factor * block for block in blocks])
            imaginary = [zeros, zeros]
        if self.version == 3:
            add("J0", imaginary[0])
            add("J1", imaginary[1])
        return found


def _parts(matrix: BlockMatrix, spin: str) -> list[list[np.ndarray]]:
    """Give the blocks of the spin parts uu, ud, dd that a spin mode has."""
    blocks = [matrix.block(row) for row in range(len(matrix))]
    if spin == "none":
        return [blocks]
    halves = [(len(b) // 2, b.shape[1] // 2) for b in blocks]
    up = [b[:m, :n] for b, (m, n) in zip(blocks, halves, strict=True)]
    mixed = [b[:m, n:] for b, (m, n) in zip(blocks, halves, strict=True)]
    down = [b[m:, n:] for b, (m, n) in zip(blocks, halves, strict=True)]
    return [up, down] if spin == "collinear" else [up, mixed, down]


def _ints(numbers: Any) -> bytes:
    return np.asarray(numbers, "<i4").tobytes()


def _vectors(vectors: np.ndarray) -> bytes:
    """Four numbers of each, the first of which is garbage."""
    kind = "<i4" if vectors.dtype.kind == "i" else "<f8"
    garbage = np.full((len(vectors), 1), 2**30 if kind == "<i4" else np.nan)
    rows = np.empty((len(vectors), 4), kind)
    rows[:, :1], rows[:, 1:] = garbage, vectors
    return rows.tobytes()


def toy_run(
    seed: int = 0,
    elements: Sequence[str] = ("H", "C"),
    atoms: int = 2,
    spin: str = "none",
    **changes: Any,
) -> ToyRun:
    structure = random_structure(elements, atoms, seed)
    overlap, hamiltonian = toy_matrices(structure, SHELLS, spin)
    rng = np.random.default_rng(seed)
    position = overlap.with_entries(rng.standard_normal((3, len(overlap.entries))))
    for row in np.flatnonzero(overlap.on_site()).tolist():  # complete shells have no dipole
        for axis in range(3):
            block = position.block(row)[axis]
            centre = structure.positions[overlap.atom_pairs[row, 3], axis]
            block += (centre - np.trace(block) / len(block)) * np.eye(len(block))
    density = hamiltonian.with_entries(-0.05 * hamiltonian.entries)
    return ToyRun(structure, overlap, hamiltonian, density, position, spin).but(**changes)


def _same(found: BlockMatrix, expected: BlockMatrix, atol: float) -> None:
    np.testing.assert_array_equal(found.atom_pairs, expected.atom_pairs)
    np.testing.assert_array_equal(found.chunk_shapes, expected.chunk_shapes)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found.entries, expected.entries, atol=atol, rtol=0)


def _check(calculation: Calculation, run: ToyRun) -> None:
    """Compare everything with what was written."""
    np.testing.assert_allclose(calculation.structure.positions, run.structure.positions, atol=1e-9)
    np.testing.assert_allclose(calculation.structure.lattice, run.structure.lattice, atol=1e-9)
    assert calculation.structure.symbols == run.structure.symbols
    assert calculation.info.spin == run.spin
    assert calculation.info.orbital_map == {s: SHELLS[s] for s in run.structure.elements}
    _same(calculation.matrices["overlap"](), run.overlap, 0)
    _same(calculation.matrices["position_matrix"](), run.position, 1e-8)
    if run.overlap_only:
        assert set(calculation.matrices) == {"overlap", "position_matrix"}
        assert calculation.info.fermi_level is None
        return
    assert calculation.info.fermi_level == pytest.approx(-0.125 * HARTREE)
    assert calculation.info.occupation == 8
    _same(calculation.matrices["hamiltonian"](), run.hamiltonian, 1e-11)
    if run.version == 3 or run.spin != "soc":
        _same(calculation.matrices["density_matrix"](), run.density, 1e-13)
    else:
        assert "density_matrix" not in calculation.matrices


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    elements=st.lists(st.sampled_from("HCO"), min_size=1, max_size=3, unique=True),
    atoms=st.integers(1, 4),
    spin=st.sampled_from(["none", "collinear", "soc"]),
    version=st.sampled_from([0, 3]),
    orders=st.integers(1, 2),
    unit=st.sampled_from(["Ang", "AU", "FRAC"]),
    moving=st.booleans(),
    overlap_only=st.booleans(),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    seed: int,
    elements: list[str],
    atoms: int,
    spin: str,
    version: int,
    orders: int,
    unit: str,
    moving: bool,
    overlap_only: bool,
) -> None:
    run = toy_run(seed, elements, atoms, spin, version=version, unit=unit)
    moved = np.random.default_rng(seed).integers(-1, 2, (atoms, 3)) if moving else None
    run = run.but(orders=orders if version == 3 else 1, moved=moved, overlap_only=overlap_only)
    folder = run.write(tmp_path_factory.mktemp("run"))
    assert OPENMX.recognises(folder) == ("toy",)
    _check(OPENMX.read(folder, "toy"), run)


@pytest.mark.parametrize("spin", ["none", "collinear", "soc"])
@pytest.mark.parametrize("version", [0, 3])
def test_many_atoms_are_read_in_several_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spin: str, version: int
) -> None:
    monkeypatch.setattr("deeph_dock.codes.openmx.matrices._PIECE", 1500)
    run = toy_run(3, ("H", "C", "O"), 6, spin, version=version)
    _check(OPENMX.read(run.write(tmp_path), "toy"), run)


def test_matrices_of_the_potential_at_the_end_are_passed_over(tmp_path: Path) -> None:
    """Some builds of 4.0 write them after the input."""
    run = toy_run(spin="collinear", potential=True)
    _check(OPENMX.read(run.write(tmp_path), "toy"), run)


def test_input_that_is_not_in_the_file_is_taken_from_beside_it(tmp_path: Path) -> None:
    run = toy_run(with_text=False)
    folder = run.write(tmp_path)
    _check(OPENMX.read(folder, "toy"), run)  # the copy in the output
    (folder / "toy.out").unlink()
    with pytest.raises(InputError, match="holds no copy of the input"):
        OPENMX.read(folder, "toy")
    (folder / "anything.dat").write_text(run.input())
    calculation = OPENMX.read(folder, "toy")
    assert folder / "anything.dat" in OPENMX.inputs(folder, "toy")
    _check(calculation, run)


def test_lines_longer_than_a_record_are_put_together(tmp_path: Path) -> None:
    """OpenMX reads lines of 255 characters, so that longer ones take several records."""
    run = toy_run(with_text=False)
    lines = run.input().replace("# a comment", "#" + "x" * 300).splitlines(keepends=True)
    chunks = [line[at : at + 255] for line in lines for at in range(0, len(line), 255)]
    data = run.scfout() + _ints([len(chunks)])
    data += b"".join(chunk.encode().ljust(256, b"\0") for chunk in chunks)
    folder = run.write(tmp_path)
    (folder / "toy.scfout").write_bytes(data)
    assert "x" * 300 in read_scfout(folder / "toy.scfout").text
    _check(OPENMX.read(folder, "toy"), run)


def test_contracted_orbitals_are_told_by_their_number(tmp_path: Path) -> None:
    """The basis C5.0-s3>1p2>1d1 has 15 primitive orbitals or 9 contracted ones."""
    for name in ("C5.0-s3>1p2>1d1", "C5.0-s31p21d11"):
        run = toy_run(elements=("C",), basis={"C": name})
        calculation = OPENMX.read(run.write(tmp_path), "toy")
        assert calculation.info.orbital_map == {"C": (0, 1, 2)}
        _same(calculation.matrices["hamiltonian"](), run.hamiltonian, 1e-11)
        assert "position_matrix" not in calculation.matrices
        assert "contracted orbitals" in calculation.warnings[0]
    run = toy_run(elements=("C",), basis={"C": "C5.0-s1p1d1>1"})
    assert OPENMX.read(run.write(tmp_path), "toy").warnings == ()


def test_contracted_orbitals_with_non_collinear_spin_have_no_hamiltonian(tmp_path: Path) -> None:
    run = toy_run(elements=("C",), basis={"C": "C5.0-s3>1p2>1d1"}, spin="soc")
    calculation = OPENMX.read(run.write(tmp_path), "toy")
    assert set(calculation.matrices) == {"overlap", "density_matrix"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("H_PBE19", "O_PBE19", "name different elements"),
        ("H5.0-s2p1 H_PBE19", "E5.0-s2p1 E", "name no element"),
        ("H5.0-s2p1", "H5.0-s2p1g1", "is not understood"),
        ("H5.0-s2p1", "H5.0-s1p1", "does not have the 5 orbitals"),
        (" 1 H_x", " 1 H_y", "'H_y' is not a species"),
        ("Unit Ang", "Unit Furlong", "known are Ang, AU"),
        ("System.Name toy", "System.Name toy\nMD.Type nomd", ""),
    ],
)
def test_input_that_does_not_tell_the_elements_is_refused(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    run = toy_run(with_text=False)
    folder = run.write(tmp_path)
    text = (folder / "toy.out").read_text()
    assert old in text
    (folder / "toy.out").write_text(text.replace(old, new))
    if not message:
        OPENMX.read(folder, "toy")
        return
    with pytest.raises(InputError, match=message):
        OPENMX.read(folder, "toy")


def test_two_bases_of_one_element_are_refused_by_name(tmp_path: Path) -> None:
    run = toy_run(elements=("H",), with_text=False)
    text = run.input().replace("<Definition.of.Atomic.Species\n", "{}", 1)
    second = "<Definition.of.Atomic.Species\n Hs H6.0-s2p1 H_PBE19\n"
    folder = run.write(tmp_path)
    (folder / "toy.out").unlink()
    (folder / "toy.dat").write_text(text.replace("{}", second).replace(" 2 H_x", " 2 Hs"))
    with pytest.raises(InputError, match=r"H has two bases, H5\.0-s2p1 and H6\.0-s2p1"):
        OPENMX.read(folder, "toy")
    same = second.replace("H6.0", "H5.0").replace("H_PBE19", "H_PBE19_1s")
    (folder / "toy.dat").write_text(text.replace("{}", same).replace(" 2 H_x", " 2 Hs"))
    calculation = OPENMX.read(folder, "toy")
    assert "several pseudopotentials of H: H_PBE19, H_PBE19_1s" in calculation.warnings
    assert calculation.structure.symbols == ["H", "H"]


def test_atoms_that_moved_after_the_input_are_those_of_the_file(tmp_path: Path) -> None:
    """A relaxation that converged: the matrices are those of the last positions."""
    first = toy_run(keywords="MD.Type Opt\nscf.criterion 1e-8\n")
    moved = Structure(
        first.structure.lattice, first.structure.positions + 0.01, first.structure.numbers
    )
    entries = first.position.entries + 0.01 * first.overlap.entries
    position = first.position.with_entries(entries)
    run = first.but(with_text=False, structure=moved, position=position)
    folder = run.write(tmp_path)
    (folder / "toy.out").write_text(first.out())
    _check(OPENMX.read(folder, "toy"), run)
    (folder / "toy.out").write_text(first.out() + _final(moved))
    _check(OPENMX.read(folder, "toy"), run)
    (folder / "toy.md2").write_text(run.md2())
    _check(OPENMX.read(folder, "toy"), run)
    (folder / "toy.out").write_text(first.out() + _final(first.structure))
    with pytest.raises(InputError, match=r"an atom of the final structure is 0\.01"):
        OPENMX.read(folder, "toy")
    (folder / "toy.out").write_text(first.out().replace("MD.Type Opt", "MD.Type nomd"))
    with pytest.raises(InputError, match=r"an atom is 0\.01"):
        OPENMX.read(folder, "toy")


@pytest.mark.parametrize("spin", ["none", "soc"])
def test_atoms_that_moved_after_their_matrices_are_put_back(tmp_path: Path, spin: str) -> None:
    """Dynamics: OpenMX moves the atoms once more before it writes the file."""
    run = toy_run(spin=spin, keywords="MD.Type NVE\nscf.criterion 1e-8\n", after=0.004)
    folder = run.write(tmp_path)
    with pytest.raises(InputError, match=r"moved the atoms by up to 0\.004 Å .* put toy\.md2"):
        OPENMX.read(folder, "toy")
    (folder / "toy.md2").write_text(run.md2())
    calculation = OPENMX.read(folder, "toy")
    assert "OpenMX moved the atoms after the last step" in calculation.warnings[0]
    assert folder / "toy.md2" in OPENMX.inputs(folder, "toy")
    found = calculation.structure.positions
    np.testing.assert_allclose(found, run.structure.positions, atol=1e-7)
    _check(calculation, run.but(structure=calculation.structure))
    (folder / "toy.md2").write_text(
        run.but(structure=calculation.structure.rotated(-np.eye(3))).md2()
    )
    with pytest.raises(InputError, match=r"toy\.md2: an atom is .* not of one run"):
        OPENMX.read(folder, "toy")
    (folder / "toy.md2").write_text(run.md2()[:-80])
    with pytest.raises(InputError, match=r"toy\.md2: not the positions of 2 atoms"):
        OPENMX.read(folder, "toy")


def test_moving_atoms_with_contracted_orbitals_need_their_last_positions(tmp_path: Path) -> None:
    run = toy_run(
        elements=("C",), basis={"C": "C5.0-s3>1p2>1d1"}, keywords="MD.Type Opt\n", after=0.004
    )
    folder = run.write(tmp_path)
    with pytest.raises(InputError, match=r"cannot be known; put toy\.md2 beside it"):
        OPENMX.read(folder, "toy")
    (folder / "toy.md2").write_text(run.md2())
    found = OPENMX.read(folder, "toy").structure.positions
    np.testing.assert_allclose(found, run.structure.positions, atol=1e-7)


def _final(structure: Structure) -> str:
    rows = "".join(
        f"     {number}  H  {x:.14f} {y:.14f} {z:.14f}\n"
        for number, (x, y, z) in enumerate(structure.fractional.tolist(), 1)
    )
    title = "       Fractional coordinates of the final structure       \n"
    return f"\n****\n****\n{title}****\n****\n\n{rows}\n****\n****\n  Computational Time\n"


def test_positions_that_are_not_those_of_r_are_refused(tmp_path: Path) -> None:
    """An atom of the next cell: no other number of the file tells."""
    run = toy_run(elements=("H",), basis={"H": "H4.72-s2p1"})
    positions = run.structure.positions + np.array([run.structure.lattice[0], np.zeros(3)])
    far = run.but(structure=Structure(run.structure.lattice, positions, run.structure.numbers))
    OPENMX.read(run.write(tmp_path), "toy")
    with pytest.raises(InputError, match="farther apart than their orbitals reach"):
        OPENMX.read(far.write(tmp_path), "toy")


def _changed(data: bytes, place: int, number: int) -> bytes:
    return data[: 4 * place] + _ints([number]) + data[4 * place + 4 :]


@pytest.mark.parametrize(
    ("place", "number", "message"),
    [
        (1, 4 * 4, "version 4 of the scfout file; known are 0 .* and 3"),
        (1, 4 * 1, "version 1 of the scfout file"),
        (3, 1, "a transport .NEGF. run"),
        (4, 1, "a transport .NEGF. run"),
        (5, 2**23, "the file has .* more; it was cut or is damaged"),
        (0, 2**30, "the file has .* more; it was cut or is damaged"),
        (6, 0, "orders of position matrices"),
    ],
)
def test_files_of_other_kinds_are_refused_by_name(
    tmp_path: Path, place: int, number: int, message: str
) -> None:
    folder = toy_run().write(tmp_path)
    path = folder / "toy.scfout"
    path.write_bytes(_changed(path.read_bytes(), place, number))
    assert OPENMX.recognises(folder) == ("toy",)
    with pytest.raises(InputError, match=rf"toy\.scfout: .*{message}"):
        OPENMX.read(folder, "toy")


def test_other_files_of_this_suffix_are_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "text.scfout").write_text("This is a text that somebody called so.\n")
    (tmp_path / "other.scfout").write_bytes(_ints([2, 2, 0, 0, 0, 10]) * 10)
    assert OPENMX.recognises(tmp_path) == ()
    (tmp_path / "cut.scfout").write_bytes(b"\1\0")
    assert list(detect(tmp_path)) == [("openmx", tmp_path, "cut")]
    with pytest.raises(InputError, match=r"cut\.scfout: sizes"):
        OPENMX.read(tmp_path, "cut")


def test_runs_of_one_folder_keep_their_names_and_outputs(tmp_path: Path) -> None:
    first, second = toy_run(1), toy_run(2, ("O",))
    first.write(tmp_path, "first")
    second.write(tmp_path, "second")
    assert OPENMX.recognises(tmp_path) == ("first", "second")
    assert OPENMX.read(tmp_path, "second").structure.symbols == ["O", "O"]
    shutil.copyfile(tmp_path / "first.out", tmp_path / "second.out")
    with pytest.raises(InputError, match="other species, atoms or cell than in the input"):
        OPENMX.read(tmp_path, "second")


@pytest.mark.parametrize("name", ["hamiltonian", "overlap", "density", "position"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, name: str) -> None:
    run = toy_run()
    entries = getattr(run, name).entries.copy()
    entries[..., 3] = np.nan
    folder = run.but(**{name: getattr(run, name).with_entries(entries)}).write(tmp_path)
    calculation = OPENMX.read(folder, "toy")
    key = {"density": "density_matrix", "position": "position_matrix"}.get(name, name)
    with pytest.raises(InputError, match="holds NaN or absurd numbers"):
        calculation.matrices[key]()
    for other in {"overlap", "hamiltonian", "density_matrix"} - {key}:
        calculation.matrices[other]()  # what is not asked for is not touched


def test_memory_is_that_of_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy_run(3, ("C", "O"), 8, "soc")
    calculation = OPENMX.read(run.write(tmp_path), "toy")
    calculation.matrices["overlap"]()  # finds the places of the blocks
    monkeypatch.setattr("deeph_dock.codes.openmx.matrices._PIECE", 2**11)
    for read in calculation.matrices.values():
        tracemalloc.start()
        size = read().nbytes
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size > 300_000
        assert peak < 1.5 * size


def _overlap_program(run: ToyRun, folder: Path, processes: int = 2) -> Path:
    """Write what the overlap-only program writes: a dataset for each block, a file a process."""
    (folder / "output").mkdir(parents=True)
    (folder / "toy.dat").write_text(run.input())
    moved = np.zeros((len(run.structure), 3), dtype=int) if run.moved is None else run.moved
    files = [h5py.File(folder / f"output/overlaps_{number}.h5", "w") for number in range(processes)]
    symbols = run.structure.symbols
    for row, (*cell, i, j) in enumerate(run.overlap.atom_pairs.tolist()):
        there = (np.array(cell) + moved[i] - moved[j]).tolist()
        turned = np.ix_(run.turn(symbols[i]), run.turn(symbols[j]))
        key = str([*there, i + 1, j + 1])
        files[i % processes][key] = run.overlap.block(row)[turned]
    for file in files:
        file.close()
    return folder


@pytest.mark.parametrize("unit", ["Ang", "AU", "FRAC"])
@pytest.mark.parametrize("inside", [False, True])
def test_files_of_the_overlap_only_program_are_read(
    tmp_path: Path, unit: str, inside: bool
) -> None:
    run = toy_run(4, ("C", "O"), 3, unit=unit)
    if inside and unit == "FRAC":  # R refers to the atoms in the cell
        run = run.but(moved=-np.floor(run.structure.fractional).astype(int))
        run = run.but(basis={"C": "C4.72-s1p1d1", "O": "O4.72-s2p2d1f1"})
    folder = _overlap_program(run, tmp_path / "run")
    assert OPENMX.recognises(folder) == ("toy",)
    assert OPENMX.own_folders(folder, "toy") == ("toy_rst", "output")
    assert {path.name for path in OPENMX.inputs(folder, "toy")} == {
        "toy.dat",
        "overlaps_0.h5",
        "overlaps_1.h5",
    }
    calculation = OPENMX.read(folder, "toy")
    assert set(calculation.matrices) == {"overlap"}
    _same(calculation.matrices["overlap"](), run.overlap, 0)
    np.testing.assert_allclose(calculation.structure.positions, run.structure.positions, atol=1e-12)
    assert calculation.info.orbital_map == {s: SHELLS[s] for s in ("C", "O")}


def test_overlap_only_runs_that_lack_a_file_are_refused(tmp_path: Path) -> None:
    folder = _overlap_program(toy_run(4, ("C", "O"), 3), tmp_path / "run")
    (folder / "output/overlaps_1.h5").rename(tmp_path / "elsewhere.h5")
    with pytest.raises(InputError, match="no on-site block of atom 2"):
        OPENMX.read(folder, "toy")
    (tmp_path / "elsewhere.h5").rename(folder / "output/overlaps_1.h5")
    (folder / "toy.dat").unlink()
    assert OPENMX.recognises(folder) == ("",)
    with pytest.raises(InputError, match=r"no input \(\*\.dat\)"):
        OPENMX.read(folder, "")


class TestDamage(DamageContract):
    """Version 3 without spin: mostly head and text."""

    matrix_files = ("*.scfout",)
    made = toy_run(elements=("H",))

    @pytest.fixture
    def code(self) -> Any:
        return OPENMX

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        return self.made.write(tmp_path / "run")


class TestDamageToDynamics(TestDamage):
    """Positions from another file."""

    flips = 300
    made = toy_run(elements=("H",), keywords="MD.Type NVE\n", after=0.004)

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        folder = self.made.write(tmp_path / "run")
        (folder / "toy.md2").write_text(self.made.md2())
        return folder


class TestDamageToOldFiles(TestDamage):
    """Version 0, collinear."""

    flips = 500
    made = toy_run(elements=("H",), spin="collinear", version=0, unit="FRAC")


class TestDamageToOverlapsAlone(TestDamage):
    """A file that ends after the position matrices."""

    flips = 500
    made = toy_run(elements=("H",), overlap_only=True)


class TestDamageToTheOverlapOnlyProgram(TestDamage):
    """HDF5 files and the input."""

    matrix_files = ("output/*.h5",)
    flips = 300

    @pytest.fixture
    def run(self, tmp_path: Path) -> Path:
        return _overlap_program(self.made, tmp_path / "run", processes=1)


class TestDamageToRealFiles(TestDamage):
    """Version 3, non-collinear, with the output of OpenMX."""

    flips = 500

    @pytest.fixture
    def run(self, dft_data: Data, tmp_path: Path) -> Path:
        source = dft_data("openmx/modes/O2_NC_noSOC")
        return shutil.copytree(source, tmp_path / "run", copy_function=shutil.copyfile)
