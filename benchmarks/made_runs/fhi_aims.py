"""A periodic run of FHI-aims without spin: rs_*.out text, of which each cell has one triangle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from made_runs.crystal import ORBITALS, SHELLS, Crystal


def write(crystal: Crystal, folder: Path) -> None:
    """Write the run into a new folder."""
    folder.mkdir(parents=True)
    lines = [" ".join(["lattice_vector", *(f"{x:.12f}" for x in v)]) for v in crystal.lattice]
    lines += [" ".join(["atom", *(f"{x:.12f}" for x in v), "Si"]) for v in crystal.positions]
    (folder / "geometry.in").write_text("\n".join(lines) + "\n")
    (folder / "control.in").write_text(
        "xc pbe\nk_grid 8 8 8\noutput_rs_matrices plain\n  species Si\n    nucleus 14\n"
    )
    functions = [
        (n + 1 + degree, degree, m)
        for n, degree in enumerate(SHELLS)
        for m in range(-degree, degree + 1)
    ]
    rows = [
        f"{atom * ORBITALS + k + 1:5d} atomic {atom + 1:3d} {n:3d} {degree:3d} {m:3d}"
        for atom in range(crystal.atoms)
        for k, (n, degree, m) in enumerate(functions)
    ]
    (folder / "basis-indices.out").write_text(
        "\n".join(["", "  fn.   type   at.   n   l   m", *rows]) + "\n"
    )
    size = crystal.atoms * ORBITALS
    cells, of_pair = np.unique(crystal.cells, axis=0, return_inverse=True)
    within = np.arange(ORBITALS)
    # The file has <column, 0| . |row, R> with column <= row.
    shape = (len(crystal.first), ORBITALS, ORBITALS)
    columns = (crystal.first * ORBITALS)[:, None, None] + within[:, None]
    file_rows = (crystal.second * ORBITALS)[:, None, None] + within
    columns, file_rows, image = (
        np.broadcast_to(x, shape).ravel() for x in (columns, file_rows, of_pair.reshape(-1, 1, 1))
    )
    kept = np.flatnonzero(columns <= file_rows)
    kept = kept[np.lexsort((columns[kept], file_rows[kept], image[kept]))]
    place = image[kept] * size + file_rows[kept]
    counts = np.bincount(place, minlength=len(cells) * size)
    last = np.cumsum(counts)
    first = np.where(counts > 0, last - counts + 1, 0)
    last = np.where(counts > 0, last, 0)
    dummy = np.full((1, 3), 999999999)
    head = [
        f"n_hamiltonian_matrix_size: {len(kept):12d}",
        f"n_cells_in_hamiltonian: {len(cells) + 1:12d}",
        f"n_basis: {size:12d}",
        "cell_index",
        *(" ".join(map(str, cell)) for cell in np.concatenate([cells, dummy]).tolist()),
    ]
    zeros = np.zeros((1, size), int)
    for number, table in ((1, first), (2, last)):
        head.append(f"index_hamiltonian({number},:,:)")
        table = np.concatenate([table.reshape(len(cells), size), zeros])
        head += [" ".join(map(str, row)) for row in table.tolist()]
    head.append("column_index_hamiltonian")
    head += map(str, (columns[kept] + 1).tolist())
    (folder / "rs_indices.out").write_text("\n".join(head) + "\n")
    for name, matrix in (("hamiltonian", crystal.hamiltonian / 2), ("overlap", crystal.overlap)):
        numbers = matrix.ravel()[kept].tolist()
        text = "\n".join(map("{: 24.16E}".format, numbers))
        (folder / f"rs_{name}.out").write_text(text + "\n")
