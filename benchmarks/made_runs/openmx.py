"""A run of OpenMX 3.9 without spin: the scfout file, which holds everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from made_runs.crystal import ORBITALS, Crystal

BOHR = 0.529177249
INPUT = """\
System.Name si
Species.Number 1
<Definition.of.Atomic.Species
 Si  Si10.0-s2p2d1  Si_PBE19
Definition.of.Atomic.Species>
Atoms.Number {atoms}
scf.XcType GGA-PBE
scf.SpinPolarization off
scf.EigenvalueSolver band
<Atoms.SpeciesAndCoordinates
{coordinates}
Atoms.SpeciesAndCoordinates>
"""


def write(crystal: Crystal, folder: Path) -> None:
    """Write the run into a new folder."""
    folder.mkdir(parents=True)
    atoms = crystal.atoms
    # The atom itself is the first of its neighbours.
    order = np.lexsort((crystal.distances > 0, crystal.first))
    images, number = np.unique(crystal.cells, axis=0, return_inverse=True)
    home = int(np.flatnonzero((images == 0).all(axis=1))[0])
    others = np.delete(np.arange(len(images)), home)
    images = images[[home, *others]]
    place = np.empty(len(images), int)
    place[[home, *others]] = np.arange(len(images))
    image = place[number.ravel()][order]
    second = crystal.second[order]

    def four(rows: np.ndarray) -> np.ndarray:
        return np.pad(rows, ((0, 0), (1, 0)))

    reciprocal = 2 * np.pi * np.linalg.inv(crystal.lattice).T * BOHR
    overlap, hamiltonian = crystal.overlap[order], crystal.hamiltonian[order] / 2
    lines = [
        f" {n + 1} Si {x:.10f} {y:.10f} {z:.10f} 2.0 2.0"
        for n, (x, y, z) in enumerate(crystal.positions)
    ]
    text = INPUT.format(atoms=atoms, coordinates="\n".join(lines)).splitlines(keepends=True)
    with open(folder / "si.scfout", "wb") as file:

        def write_integers(*values: object) -> None:
            for value in values:
                file.write(np.ascontiguousarray(value, dtype=np.int32).tobytes())

        def write_numbers(*values: np.ndarray) -> None:
            for value in values:
                file.write(np.ascontiguousarray(value, dtype=np.float64).tobytes())

        write_integers([atoms, 4 * 3, 0, 0, 0, len(images) - 1], [1])
        write_numbers(four(images @ crystal.lattice / BOHR))
        write_integers(four(images), np.full(atoms, ORBITALS), np.bincount(crystal.first) - 1)
        write_integers(second + 1, image)
        write_numbers(four(crystal.lattice / BOHR), four(reciprocal))
        write_numbers(four(crystal.positions / BOHR))
        write_numbers(hamiltonian, overlap)
        for _ in range(3 + 3):
            write_numbers(overlap)
        write_numbers(overlap, overlap, overlap)
        write_integers([3])
        write_numbers(np.array([0.1, 300, 0, 0, 0, 0, 0, 0, 4.0 * atoms, 0]))
        write_integers([len(text)])
        for line in text:
            file.write(line.encode().ljust(256, b"\0"))
