"""H(k) and everything that follows from it: eigenvalues, Fermi level, bands."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "HamiltonianK": "bloch",
    "eigenvalues": "solvers.dense",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used: scipy costs half a second."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
