"""What info.json tells about where the data of a run come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from deeph_spec.structure import SYMBOLS
from numpy.typing import NDArray

from deeph_dock.codes.siesta.fdf import Fdf
from deeph_dock.codes.siesta.fdf import kmesh as kmesh_of_input
from deeph_dock.codes.siesta.hsx import Hsx
from deeph_dock.codes.siesta.output import Output
from deeph_dock.codes.siesta.units import Units


def mesh_of(
    hsx: Hsx, fdf: Fdf | None, output: Output | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | tuple[None, None]:
    """Find the k-mesh: in the HSX file, else in the output, else in the input.

    Parameters
    ----------
    hsx : Hsx
        The matrices.
    fdf, output : optional
        Input and output of the run.

    Returns
    -------
    kcell : (3, 3) int64 array or None
        Supercell of the mesh, rows in units of the lattice vectors.
    kshift : (3,) array or None
        Displacement along each of them.
    """
    for source in (hsx, output):
        if source is not None and source.kcell is not None and source.kshift is not None:
            return source.kcell, source.kshift
    return (kmesh_of_input(fdf) if fdf is not None else None) or (None, None)


def divisions(kcell: NDArray[np.int64] | None) -> tuple[int, int, int] | None:
    """Give the divisions of a k-mesh along the reciprocal lattice vectors.

    Parameters
    ----------
    kcell : (3, 3) int64 array or None
        Supercell of the mesh.

    Returns
    -------
    tuple of int or None
        None if the supercell is not made of multiples of the lattice vectors.
    """
    if kcell is None or (kcell - np.diag(np.diag(kcell))).any():
        return None
    first, second, third = np.diag(kcell).tolist()
    return first, second, third


def provenance(
    hsx: Hsx,
    label: str,
    units: Units,
    fdf: Fdf | None,
    output: Output | None,
    converged: bool | None,
) -> dict[str, Any]:
    """Describe the run; what is not known is left out.

    Parameters
    ----------
    hsx : Hsx
        The matrices.
    label : str
        The SystemLabel.
    units : Units
        Constants of the program.
    fdf, output : optional
        Input and output of the run.
    converged : bool or None
        Whether the run converged, if that is known.

    Returns
    -------
    dict
        Keys of the format's ``provenance``.
    """
    kcell, kshift = mesh_of(hsx, fdf, output)
    kmesh = divisions(kcell)
    functional = output.functional if output is not None else None
    if functional is None and fdf is not None:
        functional = " ".join(filter(None, (fdf.text("XC.functional"), fdf.text("XC.authors"))))
    found = {
        "code": "SIESTA",
        "code_version": output.version if output is not None else None,
        "label": label,
        "hsx_version": hsx.version,
        "energy_unit": units.rydberg,
        "length_unit": units.bohr,
        "source_dtype": str(hsx.dtype),
        "functional": functional or None,
        "kmesh": None if kmesh is None else list(kmesh),
        "kcell": None if kmesh is not None or kcell is None else kcell.tolist(),
        "kshift": None if kshift is None else kshift.tolist(),
        "electronic_temperature_eV": hsx.temperature * units.rydberg,
        "smearing": output.smearing if output is not None else None,
        "scf_converged": converged,
    }
    return {key: value for key, value in found.items() if value is not None}


def ingredients(
    hsx: Hsx, numbers: NDArray[np.int64], output: Output | None
) -> dict[str, dict[str, str]]:
    """Name pseudopotential and basis of each element.

    Parameters
    ----------
    hsx : Hsx
        The species.
    numbers : (species,) int64 array
        Atomic number of each of them.
    output : Output or None
        Output of the run.

    Returns
    -------
    dict
        ``pseudopotentials`` and ``basis``, each by element, where the output names them.
    """
    if output is None:
        return {}
    found: dict[str, dict[str, set[str]]] = {"pseudopotentials": {}, "basis": {}}
    for index in np.unique(hsx.species_of_atom).tolist():
        element, label = SYMBOLS[int(numbers[index])], hsx.species[index].label
        for key, name in (
            ("pseudopotentials", output.pseudopotentials.get(index + 1)),
            ("basis", output.basis.get(label)),
        ):
            if name is not None:
                found[key].setdefault(element, set()).add(name)
    return {
        key: {element: ", ".join(sorted(names)) for element, names in sorted(of.items())}
        for key, of in found.items()
        if of
    }
