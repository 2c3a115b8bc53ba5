"""H(k) and everything that follows from it: eigenvalues, Fermi level, bands.

Examples
--------
Bands of one structure folder, from the matrices to the gap:

>>> from deeph_dock.electrons import (
...     HamiltonianK, automatic_path, choose_mesh, compute_bands, find_fermi_level)
>>> def gap(folder):
...     problem = HamiltonianK.from_blocks(
...         folder.structure, folder.info, folder.hamiltonian(), folder.overlap())
...     path = automatic_path(folder.structure, problem.coupled_axes)
...     fermi = find_fermi_level(problem, folder.info, choose_mesh(problem, folder.structure))
...     return compute_bands(problem, folder.structure, path, fermi).gap
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Bands": "bands",
    "FermiLevel": "occupations",
    "HamiltonianK": "bloch",
    "KPath": "kpath",
    "Mesh": "occupations",
    "automatic_path": "kpath",
    "choose_mesh": "bands",
    "compute_bands": "bands",
    "eigenvalues": "solvers.dense",
    "fermi_level": "occupations",
    "find_fermi_level": "bands",
    "gamma_mesh": "occupations",
    "gamma_only": "kpath",
    "mesh_divisions": "occupations",
    "occupation": "occupations",
    "periodic_axes": "kpath",
    "read_kpath": "kpath",
    "solver": "solvers",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: scipy costs half a second."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
