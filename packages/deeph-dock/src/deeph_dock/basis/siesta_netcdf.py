"""Read the basis that SIESTA writes to `.ion.nc`.

Global attributes Label, Atomic_number and Valence_charge; orbnl_l, orbnl_n, orbnl_z, orbnl_ispol,
delta and cutoff per orbital, orb (orbitals, points) = R / r^l; kbcutoff per projector. The file
is classic netCDF (magic CDF) or, where SIESTA was built with it, netCDF of version 4, which is
HDF5. Each is opened by a library that is there anyway.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

from deeph_dock.basis.siesta_files import Ion, check_grid, check_ion, check_orbital

HDF5 = b"\x89HDF\r\n\x1a\n"
CLASSIC = (b"CDF\x01", b"CDF\x02")
_ORBITALS = ("orbnl_l", "orbnl_n", "orbnl_z", "orbnl_ispol", "delta", "cutoff", "orb")
_PROJECTORS = ("kbdelta", "kbcutoff", "proj")
_ATTRIBUTES = ("Label", "Atomic_number", "Valence_charge")


def read_netcdf(path: Path) -> Ion:
    """Read an `.ion.nc` file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Ion
        What it holds.

    Raises
    ------
    InputError
        If it is cut off, or something in it cannot be.
    """
    attributes, variables = _open(path)
    for key in _ATTRIBUTES:
        if key not in attributes:
            raise InputError(f"{path}: no attribute {key}: not a basis file of SIESTA")
    for key in _ORBITALS:
        if key not in variables:
            raise InputError(f"{path}: no variable {key}: not a basis file of SIESTA")
    orbitals = variables["orb"]
    if orbitals.ndim != 2:
        raise InputError(f"{path}: orb has {orbitals.ndim} dimensions, expected orbitals, points")
    count, points = orbitals.shape
    _check_lengths(path, variables, _ORBITALS, count)
    tables = [
        check_orbital(
            f"{path}: orbital {at + 1}",
            (
                int(variables["orbnl_l"][at]),
                int(variables["orbnl_n"][at]),
                int(variables["orbnl_z"][at]),
            ),
            bool(variables["orbnl_ispol"][at]),
            (points, float(variables["delta"][at]), float(variables["cutoff"][at])),
            orbitals[at],
        )
        for at in range(count)
    ]
    radii: list[float] = []
    if "kbcutoff" in variables:
        for key in _PROJECTORS:
            if key not in variables:
                raise InputError(f"{path}: no variable {key}, though there are projectors")
        _check_lengths(path, variables, _PROJECTORS, len(variables["kbcutoff"]))
        size = variables["proj"].shape[-1]
        for at, (delta, cutoff) in enumerate(
            zip(variables["kbdelta"], variables["kbcutoff"], strict=True)
        ):
            grid = (size, float(delta), float(cutoff))
            radii.append(check_grid(f"{path}: projector {at + 1}", grid))
    _check_number_of_orbitals(path, attributes, [table.degree for table in tables])
    label = attributes["Label"]
    name = label.decode("latin-1") if isinstance(label, bytes) else str(label)
    number, valence = (
        float(np.asarray(attributes[k]).reshape(-1)[0]) for k in ("Atomic_number", "Valence_charge")
    )
    return check_ion(path, name.strip(), int(number), valence, tables, radii)


def _open(path: Path) -> tuple[Mapping[str, Any], dict[str, NDArray[Any]]]:
    """Read all attributes and those variables that are wanted."""
    wanted = (*_ORBITALS, *_PROJECTORS)
    try:
        data = path.read_bytes()
        if data.startswith(HDF5):
            import h5py

            with h5py.File(io.BytesIO(data), "r") as file:
                found = {key: np.asarray(file[key][()]) for key in wanted if key in file}
                return dict(file.attrs), found
        if not data.startswith(CLASSIC):
            raise InputError(
                f"{path}: begins with {data[:4]!r}, expected netCDF (CDF of format 1 or 2, or HDF5)"
            )
        from scipy.io import netcdf_file

        # Without a memory map, and of a copy in memory: nothing stays open.
        with netcdf_file(io.BytesIO(data), "r", mmap=False) as file:
            found = {
                key: np.array(file.variables[key].data) for key in wanted if key in file.variables
            }
            return dict(file._attributes), found
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (
        ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, MemoryError,
        OverflowError,
    ) as error:  # fmt: skip
        raise InputError(
            f"{path}: damaged or cut off ({type(error).__name__}: {error}); copy it again"
        ) from None


def _check_lengths(
    path: Path, variables: Mapping[str, NDArray[Any]], keys: tuple[str, ...], count: int
) -> None:
    for key in keys:
        if variables[key].ndim == 0 or len(variables[key]) != count:
            raise InputError(
                f"{path}: {key} has shape {variables[key].shape}, expected {count} entries"
            )
        if variables[key].dtype.kind not in "iuf":
            raise InputError(f"{path}: {key} holds {variables[key].dtype}, expected numbers")


def _check_number_of_orbitals(
    path: Path, attributes: Mapping[str, Any], degrees: list[int]
) -> None:
    """Compare with the count that the file gives of all orbitals, m included."""
    if "Number_of_orbitals" not in attributes:
        return
    expected = int(np.asarray(attributes["Number_of_orbitals"]).reshape(-1)[0])
    found = sum(2 * degree + 1 for degree in degrees)
    if found != expected:
        raise InputError(f"{path}: {found} orbitals, Number_of_orbitals says {expected}")
