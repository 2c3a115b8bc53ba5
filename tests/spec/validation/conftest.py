"""Healthy folders to break, and the tools to break them with."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pytest
from deeph_spec.testing import random_folder, random_structure, toy_matrices

SPINS = ("none", "collinear", "soc")


class Broken:
    """A copy of a healthy folder, ``<root>/dft/0001``, with tools to break it."""

    def __init__(self, root):
        self.root = root
        self.path = root / "dft" / "0001"

    def lines(self, change):
        """Change the lines of POSCAR in place."""
        path = self.path / "POSCAR"
        lines = path.read_text().splitlines()
        change(lines)
        path.write_text("\n".join(lines) + "\n")

    def info(self, **changes):
        """Change keys of info.json; `...` removes one."""
        path = self.path / "info.json"
        document = json.loads(path.read_text()) | changes
        kept = {key: value for key, value in document.items() if value is not ...}
        path.write_text(json.dumps(kept))

    def shells(self, **changes):
        """Change elements of the orbital map; `...` removes one."""
        path = self.path / "info.json"
        shells = json.loads(path.read_text())["elements_orbital_map"] | changes
        self.info(elements_orbital_map={s: v for s, v in shells.items() if v is not ...})

    def arrays(self, name):
        """Read the datasets of a matrix file."""
        with h5py.File(self.path / name, "r") as file:
            return {key: item[()] for key, item in file.items()}

    def store(self, name, arrays, **storage):
        """Write the datasets of a matrix file."""
        with h5py.File(self.path / name, "w") as file:
            for key, value in arrays.items():
                file.create_dataset(key, data=value, **storage.get(key, {}))

    def h5(self, name, change):
        """Change the datasets of a matrix file: `change` takes a dict of arrays."""
        arrays = self.arrays(name)
        change(arrays)
        self.store(name, arrays)

    def reorder(self, name, rows):
        """Keep these blocks of a matrix file, in this order."""

        def change(arrays):
            ends = arrays["chunk_boundaries"]
            blocks = [arrays["entries"][..., ends[row] : ends[row + 1]] for row in rows]
            arrays["atom_pairs"] = arrays["atom_pairs"][rows]
            arrays["chunk_shapes"] = arrays["chunk_shapes"][rows]
            arrays["entries"] = np.concatenate(blocks, axis=-1)
            sizes = arrays["chunk_shapes"].prod(axis=1)
            arrays["chunk_boundaries"] = np.concatenate([[0], np.cumsum(sizes)])

        self.h5(name, change)


@pytest.fixture(scope="session")
def healthy(tmp_path_factory):
    """Give a root with a valid folder of each spin setting."""
    roots = {}
    for spin in SPINS:
        root = tmp_path_factory.mktemp(spin)
        folder = random_folder(
            root / "dft" / "0001", spin=spin, elements=("O", "H", "C"), atoms=4, seed=7
        )
        if spin == "none":
            overlap, _ = toy_matrices(random_structure(("O", "H", "C"), 4, 7))
            electrons = json.loads((folder / "info.json").read_text())["occupation"]
            scale = electrons / np.sum(overlap.entries**2)
            density = overlap.with_entries(scale * overlap.entries)
            density.write(folder / "density_matrix.h5", "density_matrix")
            position = overlap.with_entries(np.tile(overlap.entries, (3, 1)))
            position.write(folder / "position_matrix.h5", "position_matrix")
        roots[spin] = root
    return roots


@pytest.fixture
def broken(healthy, tmp_path):
    """Give a function that copies the healthy folder of a spin setting."""

    def copy(spin="none"):
        shutil.copytree(healthy[spin], tmp_path / "data", symlinks=True)
        return Broken(tmp_path / "data")

    return copy
