"""Results to files and back: band.h5 with the published keys and ours.

Published keys (DeepH-dock 0.9.6, measured; format document, section 5): ``band_data`` is (bands, K)
in eV minus the Fermi level; ``kpoints_distance_list`` and ``hsk_distance_list`` are in 1/Å without
2 pi, while ``rlv`` has it. The zero is the Fermi level of `Bands.fermi`: the middle of the gap for
an insulator. Ours: the attribute ``units`` of each dataset, ``occupations``, ``mesh``,
``spin_channel`` (0 up, 1 down; collinear spin only) and attributes of the file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.files import replace_file

from deeph_dock.electrons.bands import Bands
from deeph_dock.electrons.kpath import KPath
from deeph_dock.electrons.occupations import FermiLevel

FORMAT_VERSION = "1.0"
UNITS = {
    "band_data": "eV",
    "band_gap": "eV",
    "fermi_energy_eV": "eV",
    "fermi_energy_before_shift_eV": "eV",
    "rlv": "1/angstrom, with 2 pi",
    "kpoints_distance_list": "1/angstrom, without 2 pi",
    "hsk_distance_list": "1/angstrom, without 2 pi",
    "kpoints_frac_list": "1",
    "hsk_vector_list": "1",
    "occupations": "1",
    "vbm": "eV",
    "cbm": "eV",
}


def write_bands(path: str | os.PathLike[str], bands: Bands) -> None:
    """Write a band.h5 atomically.

    Parameters
    ----------
    path : path-like
        The file; an existing one is replaced when the new one is complete.
    bands : Bands
        Its collinear channels follow one another: all up bands, then all down bands.
    """
    channels, kpoints, size = bands.energies.shape
    rows = (channels * size, kpoints)
    level = bands.fermi.energy
    spinful = bands.spin != "none"
    data: dict[str, Any] = {
        "band_data": (bands.energies - level).transpose(0, 2, 1).reshape(rows),
        "fermi_energy_eV": 0.0,
        "fermi_energy_before_shift_eV": level,
        "band_gap": bands.gap,
        "is_metal": bands.is_metal,
        "band_quantity": rows[0],
        "spinful": spinful,
        "rlv": 2 * np.pi * np.linalg.inv(bands.lattice).T,
        "kpoints_quantity": kpoints,
        "kpoints_frac_list": bands.path.kpoints,
        "kpoints_distance_list": bands.distances,
        "hsk_distance_list": bands.path.ticks(bands.lattice),
        "k_path_quantity": len(bands.path.labels),
        "k_path_density_list": np.array(bands.path.counts, dtype=np.int64),
        "hsk_vector_list": bands.path.ends,
        "hsk_symbol_list": np.array(bands.path.labels, dtype=bytes),
        "occupations": bands.occupations.transpose(0, 2, 1).reshape(rows),
    }
    if bands.vbm is not None and bands.cbm is not None:
        data |= {"vbm": bands.vbm - level, "cbm": bands.cbm - level}
    if bands.fermi.mesh is not None:
        data["mesh"] = np.array(bands.fermi.mesh, dtype=np.int64)
    if bands.spin == "collinear":
        data["spin_channel"] = np.repeat(np.arange(channels), size).astype(np.int64)
    attributes = {
        "format_version": FORMAT_VERSION,
        "quantity": "bands",
        "spin": bands.spin,
        "label": bands.label,
        "matrix": bands.matrix,
        "path": bands.path.description,
        "fermi_source": bands.fermi.source,
        "smearing": bands.fermi.smearing,
        "smearing_width_eV": bands.fermi.width,
    }
    if bands.fermi.electrons is not None:
        attributes["electrons"] = bands.fermi.electrons
    with replace_file(path) as beside, h5py.File(beside, "w") as file:
        for key, value in data.items():
            dataset = file.create_dataset(key, data=value)
            if key in UNITS:
                dataset.attrs["units"] = UNITS[key]
        file.attrs.update(attributes)


def read_bands(path: str | os.PathLike[str]) -> Bands:
    """Read a band.h5, also one without our additional keys.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    Bands
        Energies on the zero of H again: the shift is added back.

    Raises
    ------
    InputError
        If the file is missing, not HDF5, or lacks a published key.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file: 'dock band FOLDER' writes it")
    try:
        with h5py.File(path, "r") as file:
            return _bands(file)
    except KeyError as missing:
        raise InputError(f"{path}: not a band.h5: {missing.args[0]}") from missing
    except OSError as failure:
        raise InputError(f"{path}: not a readable HDF5 file: {failure}") from failure


def _three(numbers: h5py.Dataset) -> tuple[int, int, int]:
    a, b, c = (int(n) for n in numbers[()])
    return a, b, c


def _bands(file: h5py.File) -> Bands:
    level = float(file["fermi_energy_before_shift_eV"][()])
    shifted = file["band_data"][()].T  # (K, bands)
    lattice = 2 * np.pi * np.linalg.inv(file["rlv"][()]).T
    path = KPath(
        ends=file["hsk_vector_list"][()],
        labels=tuple((a.decode(), b.decode()) for a, b in file["hsk_symbol_list"][()]),
        counts=tuple(int(n) for n in file["k_path_density_list"][()]),
        description=str(file.attrs.get("path", "")),
    )
    spin = str(file.attrs.get("spin", "soc" if file["spinful"][()] else "none"))
    channels = 2 if "spin_channel" in file else 1
    energies = shifted.reshape(len(shifted), channels, -1).transpose(1, 0, 2) + level
    counted = "mesh" in file
    gapped = counted and "vbm" in file
    fermi = FermiLevel(
        energy=level,
        vbm=level + float(file["vbm"][()]) if gapped else None,
        cbm=level + float(file["cbm"][()]) if gapped else None,
        electrons=float(file.attrs["electrons"]) if "electrons" in file.attrs else None,
        mesh=_three(file["mesh"]) if counted else None,
        smearing=str(file.attrs.get("smearing", "fermi-dirac")),
        width=float(file.attrs.get("smearing_width_eV", 0.025)),
        source=str(file.attrs.get("fermi_source", "band.h5")),
    )
    return Bands(
        path=path,
        energies=energies,
        fermi=fermi,
        lattice=lattice,
        spin=spin,
        label=str(file.attrs.get("label", "")),
        matrix=str(file.attrs.get("matrix", "hamiltonian")),
    )
