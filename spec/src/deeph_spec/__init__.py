"""The data format of deep-learning DFT Hamiltonians: readers, writers, validation."""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from deeph_spec.blocks import BlockMatrix
    from deeph_spec.dataset import Dataset, StructureFolder
    from deeph_spec.errors import InputError
    from deeph_spec.structure import Structure
    from deeph_spec.system import SystemInfo

__all__ = ["BlockMatrix", "Dataset", "InputError", "Structure", "StructureFolder", "SystemInfo"]

_HOMES = {
    "BlockMatrix": "blocks",
    "Dataset": "dataset",
    "InputError": "errors",
    "Structure": "structure",
    "StructureFolder": "dataset",
    "SystemInfo": "system",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: importing h5py costs 0.2 s."""
    if name not in _HOMES:
        raise AttributeError(f"module 'deeph_spec' has no attribute '{name}'")
    from importlib import import_module

    value: object = getattr(import_module(f"deeph_spec.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
