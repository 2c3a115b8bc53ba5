"""The command, and a small writer of SIESTA runs: HSX of every generation, and text files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deeph_dock import cli
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure
from deeph_spec.testing import random_structure, toy_matrices

RYDBERG = 13.60580
BOHR = 0.529177
SHELLS = {"H": (0, 1), "C": (0, 0, 1, 2)}


@dataclass(frozen=True, eq=False)
class ToyRun:
    """What a run holds, in the units of the format; `write` makes the files of SIESTA."""

    structure: Structure
    orbital_map: Mapping[str, Sequence[int]]
    overlap: BlockMatrix
    hamiltonian: BlockMatrix
    label: str = "toy"
    version: int = 0
    dtype: str = "f4"
    order: str = "<"
    spins: int = 1
    components: Sequence[BlockMatrix] = ()  # of H, in SIESTA's order; without: all alike
    fermi: float = -1.25  # eV
    electrons: float = 1.5
    rydberg: float = RYDBERG
    bohr: float = BOHR
    true: int = 1
    folded: bool = False
    converged: str = "SCF cycle converged after 12 iterations"
    program: str = "Siesta Version  : v4.1-b4-133"

    def but(self, **changes: Any) -> ToyRun:
        return replace(self, **changes)

    def write(self, folder: Path, *, leave_out: Sequence[str] = ()) -> Path:
        """Write the run, without the files whose suffixes are listed."""
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            ".HSX": self.hsx(),
            ".XV": self.xv().encode(),
            ".EIG": self.eig().encode(),
            ".KP": self.kp().encode(),
            ".out": self.out().encode(),
        }
        for suffix, data in content.items():
            if suffix not in leave_out:
                (folder / f"{self.label}{suffix}").write_bytes(data)
        return folder

    # -- text ---------------------------------------------------------------------------------

    @property
    def symbols(self) -> list[str]:
        return list(dict.fromkeys(self.structure.symbols))

    def xv(self) -> str:
        zeros = "0.0 0.0 0.0"
        lines = [
            " ".join(f"{x:.9f}" for x in v) + f" {zeros}"
            for v in self.structure.lattice / self.bohr
        ]
        lines.append(str(len(self.structure)))
        for symbol, z, r in zip(
            self.structure.symbols,
            self.structure.numbers,
            self.structure.positions / self.bohr,
            strict=True,
        ):
            kind = self.symbols.index(symbol) + 1
            lines.append(f"{kind} {z} " + " ".join(f"{x:.9f}" for x in r) + f" {zeros}")
        return "\n".join(lines) + "\n"

    def eig(self) -> str:
        bands = self.size
        energies = " ".join(f"{x:.6f}" for x in np.linspace(-10, 20, bands))
        return f"{self.fermi:.9f}\n{bands} {self.spins} 1\n1 {energies}\n"

    def kp(self) -> str:
        return "1\n1 0.0 0.0 0.0 1.0\n"

    def out(self) -> str:
        head = f"{self.program}\nWELCOME TO SIESTA\nreinit: System Label: {self.label}\n"
        return f"{head}{self.converged}\n"

    # -- HSX ----------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return sum(self.orbitals(symbol) for symbol in self.structure.symbols)

    def orbitals(self, symbol: str) -> int:
        return sum(2 * k + 1 for k in self.orbital_map[symbol])

    def quantum_numbers(self, symbol: str) -> list[tuple[int, int, int]]:
        numbers: list[tuple[int, int, int]] = []
        for index, k in enumerate(self.orbital_map[symbol]):
            zeta = list(self.orbital_map[symbol][: index + 1]).count(k)
            numbers += [(k + 1, k, zeta)] * (2 * k + 1)
        return numbers

    def hsx(self) -> bytes:
        pieces: list[bytes] = []

        def record(*arrays: Any) -> None:
            data = b"".join(arrays)
            marker = np.array(len(data), f"{self.order}i4").tobytes()
            pieces.append(marker + data + marker)

        def numbers(kind: str, values: Any) -> bytes:
            return np.asarray(values).astype(f"{self.order}{kind}").tobytes()

        cells, rows = self.rows()
        atom_of = np.repeat(
            np.arange(len(self.structure)), [self.orbitals(s) for s in self.structure.symbols]
        )
        kinds = [self.symbols.index(s) + 1 for s in self.structure.symbols]
        species = b"".join(
            s.ljust(20).encode() + numbers("f8", 4.0) + numbers("i4", self.orbitals(s))
            for s in self.symbols
        )
        kind = "f4" if self.version == 0 else self.dtype
        images = len(cells)
        temperature = 0.0019
        if self.version == 0:
            count = sum(len(columns) for columns, *_ in rows)
            record(numbers("i4", [self.size, self.size * images, self.spins, count]))
            record(numbers("i4", self.true if self.folded else 0))
            if not self.folded:
                record(numbers("i4", np.tile(np.arange(self.size) + 1, images)))
        else:
            supercell = 2 * np.abs(cells).max(axis=0) + 1
            last = np.cumsum([self.orbitals(s) for s in self.structure.symbols])
            record(numbers("i4", self.version))
            record(numbers("i4", self.true if kind == "f8" else 0))
            sizes = [len(kinds), self.size, self.spins, len(self.symbols), *supercell]
            record(numbers("i4", sizes))
            scalars = [self.fermi / self.rydberg, self.electrons, temperature]
            record(numbers("f8", self.structure.lattice / self.bohr), numbers("f8", scalars))
            positions = numbers("f8", self.structure.positions / self.bohr)
            record(numbers("i4", cells), positions, numbers("i4", kinds), numbers("i4", last))
            record(species)
            for symbol in self.symbols:
                record(numbers("i4", self.quantum_numbers(symbol)))
            if self.version == 2:
                record(numbers("i4", np.diag([3, 2, 1])), numbers("f8", [0.0, 0.5, 0.0]))
        record(numbers("i4", [len(columns) for columns, *_ in rows]))
        for columns, *_ in rows:
            record(numbers("i4", columns + 1))
        for spin in range(self.spins):
            parts = (
                self.but(hamiltonian=self.components[spin]).rows()[1] if self.components else rows
            )
            for _, h, _, _ in parts:
                record(numbers(kind, h / self.rydberg))
        for _, _, s, _ in rows:
            record(numbers(kind, s))
        if self.version == 0:
            record(numbers("f8", [self.electrons, temperature]))
            for *_, vectors in rows:
                record(numbers("f4", vectors / self.bohr))
            record(numbers("i4", len(self.symbols)))
            record(species)
            for symbol in self.symbols:
                for triple in self.quantum_numbers(symbol):
                    record(numbers("i4", triple))
            record(numbers("i4", len(kinds)))
            record(numbers("i4", kinds))
            within = np.concatenate([np.arange(self.orbitals(s)) for s in self.structure.symbols])
            record(numbers("i4", np.stack([atom_of, within], axis=1) + 1))
        return b"".join(pieces)

    def counted(self, components: Sequence[BlockMatrix]) -> list[BlockMatrix]:
        """Add to the first component what brings the trace with S to the number of electrons."""
        s = self.overlap.entries
        charge = sum(c.entries for c in components[:2])
        missing = (self.electrons - np.dot(charge, s)) / np.dot(s, s)
        first = components[0].with_entries(components[0].entries + missing * s)
        return [first, *components[1:]]

    def dm(
        self, components: Sequence[BlockMatrix], *, old: bool = False, home: bool = False
    ) -> bytes:
        """Write a density matrix, old: without the supercell, home: inside the cell alone."""
        pieces: list[bytes] = []

        def record(kind: str, values: Any) -> None:
            data = np.asarray(values).astype(f"{self.order}{kind}").tobytes()
            marker = np.array(len(data), f"{self.order}i4").tobytes()
            pieces.append(marker + data + marker)

        cells, rows = self.rows()
        supercell = (2 * np.abs(cells).max(axis=0) + 1).tolist()
        kept = [columns < self.size if home else columns >= 0 for columns, *_ in rows]
        record("i4", [self.size, self.spins, *([] if old else supercell)])
        record("i4", [np.count_nonzero(keep) for keep in kept])
        for keep, (columns, *_) in zip(kept, rows, strict=True):
            record("i4", columns[keep] + 1)
        for component in components:
            _, rows = self.but(hamiltonian=component).rows()
            for keep, (_, values, *_) in zip(kept, rows, strict=True):
                record("f8", values[keep])
        return b"".join(pieces)

    def rows(self) -> tuple[np.ndarray, list[tuple[np.ndarray, ...]]]:
        """Give R of each image, and columns, H, S and vectors of each row, SIESTA's signs."""
        pairs = self.hamiltonian.atom_pairs
        reach = np.abs(pairs[:, :3]).max(axis=0)
        axes = [[*range(n + 1), *range(-n, 0)] for n in reach.tolist()]
        cells = np.array([cell[::-1] for cell in product(*axes[::-1])])
        image_of = {tuple(cell): image for image, cell in enumerate(cells.tolist())}
        sizes = [self.orbitals(s) for s in self.structure.symbols]
        first = np.cumsum([0, *sizes])
        signs = [
            np.concatenate([(-1.0) ** np.abs(np.arange(-k, k + 1)) for k in self.orbital_map[s]])
            for s in self.structure.symbols
        ]
        vectors = self.structure.pair_vectors(pairs)
        rows: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(self.size)]
        for p, (*cell, i, j) in enumerate(pairs.tolist()):
            columns = image_of[tuple(cell)] * self.size + first[j] + np.arange(sizes[j])
            sign = np.outer(signs[i], signs[j])
            h, s = self.hamiltonian.block(p) * sign, self.overlap.block(p) * sign
            for orbital in range(sizes[i]):
                along = np.tile(vectors[p], (sizes[j], 1))
                rows[first[i] + orbital].append((columns, h[orbital], s[orbital], along))
        return cells, [
            tuple(np.concatenate(part) for part in zip(*row, strict=True)) for row in rows
        ]


@pytest.fixture
def dock(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; give exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def toy_run() -> Callable[..., ToyRun]:
    """Make a run of a random crystal whose H and S obey every rule of atomic orbitals."""

    def make(
        seed: int = 0,
        atoms: int = 3,
        orbital_map: Mapping[str, Sequence[int]] = SHELLS,
        cutoff: float = 4.0,
        **settings: Any,
    ) -> ToyRun:
        structure = random_structure(tuple(orbital_map), atoms, seed)
        overlap, hamiltonian = toy_matrices(structure, orbital_map, cutoff=cutoff)
        return ToyRun(structure, orbital_map, overlap, hamiltonian, **settings)

    return make
