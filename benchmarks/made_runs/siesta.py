"""A run of SIESTA 5: HSX of version 1 in double precision, and the text files beside it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from made_runs.crystal import ORBITALS, Crystal

BOHR = 0.529177210903
QUANTUM_NUMBERS = [(3, 0, 1), (3, 0, 2), *[(3, 1, 1)] * 3, *[(3, 1, 2)] * 3, *[(3, 2, 1)] * 5]


def write(crystal: Crystal, folder: Path) -> None:
    """Write the run into a new folder."""
    folder.mkdir(parents=True)
    atoms = crystal.atoms
    reach = np.abs(crystal.cells).max(axis=0)
    axes = [np.r_[0 : n + 1, -n:0] for n in reach]
    offsets = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    size = 2 * reach + 1
    image = np.ravel_multi_index(tuple((crystal.cells % size).T), tuple(size))
    starts = np.searchsorted(crystal.first, np.arange(atoms + 1))
    within = np.arange(ORBITALS)
    with open(folder / "si.HSX", "wb") as file:

        def record(*arrays: np.ndarray | bytes) -> None:
            data = b"".join(a if isinstance(a, bytes) else a.tobytes() for a in arrays)
            marker = np.int32(len(data)).tobytes()
            file.write(marker + data + marker)

        record(np.int32(1))
        record(np.int32(1))
        record(np.array([atoms, atoms * ORBITALS, 1, 1, *size], np.int32))
        record(crystal.lattice / BOHR, np.array([-0.3, 4.0 * atoms, 0.0019]))
        kinds, last = np.ones(atoms, np.int32), (np.arange(atoms) + 1) * ORBITALS
        record(offsets.astype(np.int32), crystal.positions / BOHR, kinds, last.astype(np.int32))
        record(b"Si".ljust(20), np.array([4.0]), np.array([ORBITALS], np.int32))
        record(np.array(QUANTUM_NUMBERS, np.int32))
        record(np.repeat(np.diff(starts) * ORBITALS, ORBITALS).astype(np.int32))
        parts = [slice(a, b) for a, b in pairwise(starts)]
        for part in parts:
            head = (image[part] * atoms + crystal.second[part]) * ORBITALS
            columns = (head[:, None] + within).ravel().astype(np.int32) + 1
            for _ in range(ORBITALS):
                record(columns)
        for matrix in (crystal.hamiltonian, crystal.overlap):
            for part in parts:
                for orbital in range(ORBITALS):
                    record(matrix[part, orbital])
    vectors = [" ".join(f"{x:.9f}" for x in (*v, 0, 0, 0)) for v in crystal.lattice / BOHR]
    lines = [f"1 14 {x:.9f} {y:.9f} {z:.9f} 0 0 0" for x, y, z in crystal.positions / BOHR]
    (folder / "si.XV").write_text("\n".join([*vectors, str(atoms), *lines]))
    head = "Siesta Version  : 5.2.2\nWELCOME TO SIESTA\nreinit: System Label: si\n"
    (folder / "si.out").write_text(head + "SCF cycle converged after 9 iterations\n")
