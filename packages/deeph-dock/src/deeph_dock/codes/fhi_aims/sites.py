"""Which geometry the matrices belong to, and which element each species is.

A single run has the geometry of geometry.in. A relaxation or dynamics overwrites its matrices in
every step: they belong to the last, which the output lists with eight decimals and
geometry.in.next_step with all. A geometry that contradicts the output is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import SYMBOLS, Structure
from numpy.typing import NDArray

from deeph_dock.codes.fhi_aims.basis import Basis, Shell
from deeph_dock.codes.fhi_aims.control import Control
from deeph_dock.codes.fhi_aims.files import Files
from deeph_dock.codes.fhi_aims.geometry import SAME_PLACE, Geometry, read_geometry
from deeph_dock.codes.fhi_aims.log import Log

Int = NDArray[np.int64]

_LARGEST_Z = 118


@dataclass(frozen=True, eq=False)
class Sites:
    """Atoms of a run.

    Attributes
    ----------
    geometry : Geometry
        That of the matrices.
    numbers : (n,) int64
        Atomic number of each atom.
    warnings : tuple of str
        What the user should know.
    """

    geometry: Geometry
    numbers: Int
    warnings: tuple[str, ...] = ()

    def structure(self) -> Structure:
        """Give the structure, with positions as in the input."""
        return Structure(self.geometry.cell(), self.geometry.positions, self.numbers)


def find_sites(files: Files, control: Control | None, log: Log | None) -> Sites:
    """Find the geometry of the matrices and its elements.

    Parameters
    ----------
    files : Files
        Those of the run.
    control, log : optional
        Its input and output.

    Returns
    -------
    Sites
        With a warning if atoms were moved.

    Raises
    ------
    InputError
        If the geometry cannot be known, or an element.
    """
    if files.geometry is None:
        raise InputError(f"{files.folder / 'geometry.in'}: missing; copy it beside the matrices")
    given = read_geometry(files.geometry)
    if log is not None and log.cycles > 0:
        geometry, warnings = _from_log(given, files, control, log)
    elif control is not None and control.moves_atoms:
        geometry, warnings = _without_log(files, control)
    else:
        geometry, warnings = given, ()
    charges = {
        label: species.charge for label, species in (control.species if control else {}).items()
    }
    if log is not None:
        charges = {**log.charges, **{k: z for k, z in charges.items() if z is not None}}
    return Sites(geometry, _numbers(geometry, charges, files), warnings)


def _from_log(
    given: Geometry, files: Files, control: Control | None, log: Log
) -> tuple[Geometry, tuple[str, ...]]:
    """Find the geometry of the last cycle that the output tells of."""
    still = control is not None and not control.moves_atoms  # then a cycle was started anew
    last = log.initial if log.last is None and still else log.last
    moved = log.cycles > 1 and last is not log.initial
    if log.cycles > 1 and (last is None or (moved and not log.converged)):
        why = "does not list its geometry" if log.converged else "did not end"
        raise InputError(
            f"{log.path}: the last of {log.cycles} self-consistency cycles {why}: which geometry "
            "the matrices belong to cannot be known; run that geometry by itself"
        )
    if last is None:
        return given, ()
    if moved and last.lattice is None:  # dynamics list the atoms alone
        last = replace(last, lattice=given.lattice)
    candidates = [given]
    if moved and files.next_step is not None:
        candidates.insert(0, read_geometry(files.next_step))
    found = [c for c in candidates if c.differs_from(last) <= SAME_PLACE]
    if moved:
        warning = (
            f"{log.cycles} self-consistency cycles of moving atoms: the matrices are those of the "
            "last"
        )
        return replace(found[0] if found else last, external=given.external), (warning,)
    if not found:
        raise InputError(
            f"{given.path}: not the geometry that {log.path.name} lists: one of them is of another "
            "run; copy the files of one run"
        )
    return given, ()


def _without_log(files: Files, control: Control) -> tuple[Geometry, tuple[str, ...]]:
    """Find the last geometry of a relaxation without output."""
    if files.next_step is None or not control.flag("relax_geometry"):
        keyword = "relax_geometry" if control.flag("relax_geometry") else "MD_run"
        raise InputError(
            f"{control.path}: {keyword}: the atoms moved, and neither the output of FHI-aims nor "
            "geometry.in.next_step tells where they were in the last step; put the output beside "
            "the matrices"
        )
    warning = (
        "a relaxation without its output: geometry.in.next_step is taken as the geometry of the "
        "matrices, which it is if the relaxation converged"
    )
    return read_geometry(files.next_step), (warning,)


def _numbers(geometry: Geometry, charges: dict[str, float | None], files: Files) -> Int:
    """Find the atomic number of each atom."""
    found = {}
    for label in dict.fromkeys(geometry.species):
        charge = charges.get(label)
        if charge is None:
            raise InputError(
                f"{geometry.path}: species {label}: neither control.in nor the output gives its "
                "nuclear charge; put control.in beside the matrices"
            )
        if not 1 <= charge <= _LARGEST_Z or charge != round(charge):
            raise InputError(
                f"{files.folder / 'control.in'}: species {label}: nucleus {charge:g} is no "
                "element; it cannot be converted"
            )
        found[label] = round(charge)
    return np.array([found[label] for label in geometry.species], dtype=np.int64)


def element_shells(
    sites: Sites, basis: Basis, control: Control | None
) -> dict[str, tuple[Shell, ...]]:
    """Find the shells of each element.

    Parameters
    ----------
    sites : Sites
        Atoms.
    basis : Basis
        Their functions.
    control : Control or None
        Tells species of one element apart whose functions differ in shape only.

    Returns
    -------
    dict
        By symbol.

    Raises
    ------
    InputError
        If an element has two bases.
    """
    found: dict[str, tuple[Shell, ...]] = {}
    first: dict[str, int] = {}
    for atom, (number, shells) in enumerate(zip(sites.numbers.tolist(), basis.shells, strict=True)):
        symbol = SYMBOLS[number]
        at = first.setdefault(symbol, atom)
        one, other = (sites.geometry.species[k] for k in (at, atom))
        lines = control.species if control is not None else {}
        shapes = {lines[label].basis for label in (one, other) if label in lines}
        if found.setdefault(symbol, shells) != shells or len(shapes) > 1:
            raise InputError(
                f"{basis.path}: atoms {at + 1} ({one}) and {atom + 1} ({other}) are both {symbol} "
                "but have different bases; the format holds one basis per element: give them one "
                "and run again"
            )
    return found
