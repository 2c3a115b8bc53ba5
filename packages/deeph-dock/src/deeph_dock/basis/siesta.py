"""SIESTA's basis files: `.ion`, `.ion.xml` and `.ion.nc`, of SIESTA 3 to 5.

R(r) = r^l g(r), where g is the cubic spline through the table of the file, with no slope at r = 0
and no curvature at the cutoff: what SIESTA works with. The integrals over r are done in one of two
ways, and each file gives R with the sign that it has:

* ``exact``: by Gauss's rule between the knots of the spline.
* ``siesta``: as SIESTA does them, by the plain sum over r = n pi/100 Bohr, and those over k by the
  plain sum up to 50/Bohr. Its overlap matrices are reproduced to 1e-7, those of ``exact`` differ
  from them by up to 1e-5: the second zetas have a kink of the second derivative, on which the sum
  is not exact.

The order of the shells is that of the file: n and zeta ascend within l, and polarisation orbitals
stand where SIESTA put them, last (4s 3d 4p of iron in SIESTA 4). Projectors of DFT+U are not in
these files.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError

from deeph_dock.basis import AtomicBasis, Shell, Wavenumbers
from deeph_dock.basis.quadrature import between
from deeph_dock.basis.siesta_files import Ion, IonOrbital, Real
from deeph_dock.basis.siesta_netcdf import CLASSIC, HDF5, read_netcdf
from deeph_dock.basis.siesta_text import read_text, read_xml

BOHR = 0.529177
"""Å, of SIESTA up to 4.1; that of SIESTA 5 is 4e-7 larger, which lengths in Å do not show."""

LOOKS_FOR = "*.ion, *.ion.xml, *.ion.nc"
QUADRATURES = ("exact", "siesta")

_STEP = math.pi / 100
_WAVENUMBERS = Wavenumbers(0.05 / BOHR, 100 / BOHR)
# Nodes between two knots, which are about 0.01 Bohr apart: exact up to the polynomial r^7.
_NODES = 4
# SIESTA normalises: all files seen are within 4e-6 of 1.
_NORM = 1e-2
# Bytes that tell the kind of a text file.
_BEGINNING = 8192


def recognises(path: Path) -> bool:
    """Tell whether a file is a basis file of SIESTA.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    bool
        By its first bytes; False also where it cannot be read.
    """
    return _kind(path) is not None


def read(path: Path, quadrature: str = "exact", orbitals: str | None = None) -> AtomicBasis:
    """Read a basis file.

    Parameters
    ----------
    path : Path
        `.ion`, `.ion.xml` or `.ion.nc`, told apart by what is in them.
    quadrature : str
        "exact", or "siesta" for the sums that SIESTA does.
    orbitals : str or None
        None: a file holds just the orbitals of its run.

    Returns
    -------
    AtomicBasis
        With the valence charge and the reach of the projectors.

    Raises
    ------
    InputError
        If it is not such a file, cut off, of a ghost atom, or something in it cannot be.
    """
    if quadrature not in QUADRATURES:
        raise InputError(
            f"quadrature '{quadrature}' of SIESTA bases, expected {' or '.join(QUADRATURES)}"
        )
    if orbitals is not None:
        raise InputError(
            f"{path}: orbitals '{orbitals}': a basis file of SIESTA holds just the orbitals of its "
            "run; leave them out"
        )
    ion = read_ion(path)
    shells = tuple(_shell(orbital, quadrature) for orbital in ion.orbitals)
    for shell in shells:
        if not abs(shell.norm - 1) < _NORM:
            raise InputError(
                f"{path}: orbital {shell.name} has norm {shell.norm:.6g}, expected 1: its table "
                "is damaged, or not R / r^l in Bohr"
            )
    return AtomicBasis(
        number=ion.number,
        shells=shells,
        source=path.name,
        code="siesta",
        valence=ion.valence,
        projector_reach=max(ion.projector_radii, default=0.0) * BOHR,
        wavenumbers=_WAVENUMBERS if quadrature == "siesta" else None,
        quadrature=quadrature,
        facts={"species": ion.label},
    )


def valence(path: Path) -> tuple[int, float] | None:
    """Say nothing: SIESTA's basis files hold the valence charge themselves.

    Parameters
    ----------
    path : Path
        Any file.

    Returns
    -------
    None
        Always.
    """
    return None


def read_ion(path: Path) -> Ion:
    """Read a basis file as it is, in Bohr.

    Parameters
    ----------
    path : Path
        `.ion`, `.ion.xml` or `.ion.nc`.

    Returns
    -------
    Ion
        What it holds.

    Raises
    ------
    InputError
        If it is not such a file, or damaged.
    """
    readers = {"text": read_text, "xml": read_xml, "netcdf": read_netcdf}
    kind = _kind(path)
    if kind is None:
        if not path.is_file():
            raise InputError(f"{path}: no such file; expected {LOOKS_FOR}")
        raise InputError(f"{path}: not a basis file of SIESTA ({LOOKS_FOR}), or cut off early")
    return readers[kind](path)


def _kind(path: Path) -> str | None:
    try:
        if not path.is_file():
            return None
        with open(path, "rb") as file:
            head = file.read(_BEGINNING)
    except OSError:
        return None
    if head.startswith(HDF5):
        return "netcdf" if _has_orbitals(path) else None
    if head.startswith(CLASSIC):
        return "netcdf" if b"orbnl_l" in head else None
    if b"\0" in head:
        return None
    if head.lstrip().startswith((b"<ion", b"<?xml")):
        return "xml" if b"<ion" in head else None
    is_text = head.lstrip().startswith(b"<preamble>") or b"# PAOs" in head
    return "text" if is_text or b"# Symbol" in head else None


def _has_orbitals(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return "orbnl_l" in file
    except (OSError, RuntimeError):
        return False


def _shell(orbital: IonOrbital, quadrature: str) -> Shell:
    radii, weights = _nodes(orbital, quadrature)
    values = _spline(orbital, radii) * radii**orbital.degree
    return Shell(
        degree=orbital.degree,
        radii=radii * BOHR,
        weights=weights * BOHR,
        values=values * BOHR**-1.5,
        cutoff=orbital.cutoff * BOHR,
        name=orbital.name,
    )


def _nodes(orbital: IonOrbital, quadrature: str) -> tuple[Real, Real]:
    """Nodes and weights over r, Bohr."""
    if quadrature == "siesta":
        grid = _STEP * np.arange(math.ceil(orbital.cutoff / _STEP), dtype=np.float64)
        return grid, np.full(len(grid), _STEP)
    knots = np.linspace(0, orbital.cutoff, len(orbital.values))
    return between(knots[:-1], knots[1:], _NODES)


def _spline(orbital: IonOrbital, radii: Real) -> Real:
    from scipy.interpolate import CubicSpline

    knots = np.linspace(0, orbital.cutoff, len(orbital.values))
    spline = CubicSpline(knots, orbital.values, bc_type=((1, 0.0), (2, 0.0)))
    return np.asarray(spline(radii), dtype=np.float64)
