"""A run of ABACUS 3.8 without spin: H and S as csr text, STRU and the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from made_runs.crystal import ORBITALS, Crystal

DROPPED = 1e-10
STRU = """\
ATOMIC_SPECIES
Si 28.085 Si_ONCV_PBE-1.0.upf

NUMERICAL_ORBITAL
Si_gga_7au_100Ry_2s2p1d.orb

LATTICE_CONSTANT
1.889726125457828

LATTICE_VECTORS
{lattice}

ATOMIC_POSITIONS
Cartesian

Si
0.0
{atoms}
{positions}
"""
LOG = """\

                              ABACUS v3.8.1

 READING UNITCELL INFORMATION
                                    ntype = 1
                  lattice constant (Bohr) = 1.88973
              lattice constant (Angstrom) = 1

 READING ATOM TYPE 1
                               atom label = Si
                      L=0, number of zeta = 2
                      L=1, number of zeta = 2
                      L=2, number of zeta = 1
             number of atom for this type = {atoms}

                        TOTAL ATOM NUMBER = {atoms}
CARTESIAN COORDINATES ( UNIT =       1.889726125458 Bohr ).
    atom                   x                   y                   z     mag
{sites}

 Lattice vectors: (Cartesian coordinate: in unit of a_0)
{lattice}
 Read in pseudopotential file is Si_ONCV_PBE-1.0.upf
          exchange-correlation functional = PBE
                        valence electrons = 4
            AUTOSET number of electrons:  = {electrons}
                                   NLOCAL = {orbitals}
 charge density convergence is achieved
 final etot is -{electrons} eV
 EFERMI = 6.8252590000 eV
"""


def write(crystal: Crystal, folder: Path) -> None:
    """Write the run into a new folder."""
    out = folder / "OUT.si"
    out.mkdir(parents=True)
    atoms = crystal.atoms
    lattice = _table(crystal.lattice)
    (folder / "INPUT").write_text("INPUT_PARAMETERS\nsuffix si\ncalculation scf\nnspin 1\n")
    (folder / "STRU").write_text(
        STRU.format(lattice=lattice, atoms=atoms, positions=_table(crystal.positions, " 0 0 0"))
    )
    sites = "\n".join(
        f"tauc_Si{n + 1} {x:19.10f} {y:19.10f} {z:19.10f}  0.0000"
        for n, (x, y, z) in enumerate(crystal.positions)
    )
    (out / "running_scf.log").write_text(
        LOG.format(
            atoms=atoms,
            sites=sites,
            lattice=lattice,
            electrons=4 * atoms,
            orbitals=atoms * ORBITALS,
        )
    )
    for name, matrix in (("HR", crystal.hamiltonian), ("SR", crystal.overlap)):
        (out / f"data-{name}-sparse_SPIN0.csr").write_text(_csr(crystal, name[0], matrix))


def _table(rows: np.ndarray, end: str = "") -> str:
    return "\n".join(" ".join(f"{x:20.12f}" for x in row) + end for row in rows)


def _csr(crystal: Crystal, name: str, matrix: np.ndarray) -> str:
    """Write the matrix, lattice vector by lattice vector."""
    cells, of_pair = np.unique(crystal.cells, axis=0, return_inverse=True)
    size = crystal.atoms * ORBITALS
    within = np.arange(ORBITALS)
    lines = ["STEP: 0", f"Matrix Dimension of {name}(R): {size}"]
    lines.append(f"Matrix number of {name}(R): {len(cells)}")
    for number, cell in enumerate(cells.tolist()):
        pairs = np.flatnonzero(of_pair.ravel() == number)
        rows = (crystal.first[pairs] * ORBITALS)[:, None, None] + within[:, None]
        columns = (crystal.second[pairs] * ORBITALS)[:, None, None] + within
        rows, columns = (np.broadcast_to(x, matrix[pairs].shape).ravel() for x in (rows, columns))
        values = matrix[pairs].ravel()
        kept = np.flatnonzero(np.abs(values) >= DROPPED)
        kept = kept[np.lexsort((columns[kept], rows[kept]))]
        lines.append(" ".join(map(str, [*cell, len(kept)])))
        if len(kept):
            pointers = np.searchsorted(rows[kept], np.arange(size + 1))
            lines.append("".join(map(" {:.8e}".format, values[kept].tolist())))
            lines.append("".join(map(" {}".format, columns[kept].tolist())))
            lines.append("".join(map(" {}".format, pointers.tolist())))
    return "\n".join(lines) + "\n"
