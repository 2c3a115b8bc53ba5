"""Where the atoms of a run are, which elements they are, and the lattice vector of each block.

HSX of version 1 and 2 holds cell, positions and the lattice vectors of the images. Version 0 holds
the vector between the two atoms of each element instead, which also proves that a cell and
positions from another file are those of the matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import SYMBOLS
from numpy.typing import NDArray

from deeph_dock.codes.siesta.assembly import cells_from_vectors, nearest_cells
from deeph_dock.codes.siesta.fdf import Fdf, species_numbers
from deeph_dock.codes.siesta.fdf import geometry as read_fdf_geometry
from deeph_dock.codes.siesta.geometry import Geometry, read_struct_out, read_xv
from deeph_dock.codes.siesta.hsx import Hsx
from deeph_dock.codes.siesta.output import Output
from deeph_dock.orbital_elements import Blocks

Float = NDArray[np.float64]
Int = NDArray[np.int64]

VECTOR_TOLERANCE = 2e-5
"""Largest difference between a vector of a version-0 file and the geometry, Bohr.

The vectors are single precision (2e-6 at 32 Bohr), .XV has nine decimals; a step of a relaxation
moves atoms by more than 1e-4.
"""
_LARGEST_Z = 118


class _Paths(Protocol):
    """The files of a run that may say where the atoms are."""

    @property
    def xv(self) -> Path | None: ...
    @property
    def struct_out(self) -> Path | None: ...


@dataclass(frozen=True, eq=False)
class Sites:
    """Cell, atoms and blocks.

    Attributes
    ----------
    cell : (3, 3)
        Lattice vectors as rows, Bohr.
    positions : (n, 3)
        Bohr, not wrapped.
    numbers : (species,) int64
        Atomic number of each species.
    cells : (P, 3) int64
        Lattice vector R of each block.
    warnings : tuple of str
        What the user should know.
    """

    cell: Float
    positions: Float
    numbers: Int
    cells: Int
    warnings: tuple[str, ...] = ()

    def orbital_map(self, hsx: Hsx) -> dict[str, tuple[int, ...]]:
        """Give the shells of each element that occurs."""
        used = np.unique(hsx.species_of_atom).tolist()
        return {SYMBOLS[int(self.numbers[k])]: hsx.species[k].shells for k in used}


def find_sites(
    hsx: Hsx, blocks: Blocks, files: _Paths, bohr: float, fdf: Fdf | None, output: Output | None
) -> Sites:
    """Find cell, atoms, elements, and the lattice vectors of the blocks.

    Parameters
    ----------
    hsx : Hsx
        The matrices.
    blocks : Blocks
        The blocks of their elements.
    files : Files
        Files of the run.
    bohr : float
        The code's Bohr radius in Å.
    fdf, output : optional
        Input and output of the run.

    Returns
    -------
    Sites
        All that the HSX file alone may not hold.

    Raises
    ------
    InputError
        If something is missing or contradicts the HSX file.
    """
    found: list[Geometry] = []
    reasons: list[str] = []
    for read in _sources(files, bohr, fdf):
        try:
            found.append(_fitting(read(), hsx))
        except (InputError, OSError) as error:
            reasons.append(str(error))
    if hsx.offsets is None and not found:
        raise _no_geometry(hsx, reasons)
    numbers = _numbers(hsx, found, fdf, output, reasons)
    warnings = _check_bases(hsx, numbers)
    if hsx.offsets is None:
        return _from_vectors(hsx, blocks, found, numbers, warnings, reasons, fdf, output)
    assert hsx.cell is not None
    assert hsx.positions is not None
    moved = [g for g in found if g.source.suffix == ".XV" and _distance(g, hsx) > 1e-5]
    if moved:
        warnings += (
            f"{moved[0].source.name} is {_distance(moved[0], hsx):.3g} Bohr away from what "
            f"{hsx.path.name} holds: the latter is used",
        )
    if hsx.folded is None and not _has_auxiliary_cell(fdf, output):
        cells = _unfolded(hsx, blocks, hsx.cell, hsx.positions, output)
    else:
        cells = hsx.offsets[blocks.images]
    return Sites(hsx.cell, hsx.positions, numbers, cells, warnings)


def _sources(files: _Paths, bohr: float, fdf: Fdf | None) -> Iterator[Callable[[], Geometry]]:
    """Give readers of the geometry, the best first."""
    xv, struct_out = files.xv, files.struct_out
    if xv is not None:
        yield lambda: read_xv(xv)
    if struct_out is not None:
        yield lambda: read_struct_out(struct_out, bohr)
    if fdf is not None:
        yield lambda: read_fdf_geometry(fdf, bohr)


def _fitting(geometry: Geometry, hsx: Hsx) -> Geometry:
    """Refuse a geometry with other atoms than the matrices have."""
    if not np.array_equal(geometry.species, hsx.species_of_atom):
        raise InputError(
            f"{geometry.source}: {len(geometry.species)} atoms or their species differ from the "
            f"{len(hsx.species_of_atom)} of {hsx.path.name}: not of the same run"
        )
    return geometry


def _distance(geometry: Geometry, hsx: Hsx) -> float:
    """Give the largest difference of cell or positions, Bohr."""
    assert hsx.cell is not None
    assert hsx.positions is not None
    moved = np.abs(geometry.positions - hsx.positions).max()
    return float(max(np.abs(geometry.cell - hsx.cell).max(), moved))


def _from_vectors(
    hsx: Hsx,
    blocks: Blocks,
    found: list[Geometry],
    numbers: Int,
    warnings: tuple[str, ...],
    reasons: list[str],
    fdf: Fdf | None,
    output: Output | None,
) -> Sites:
    """Find the geometry of a version-0 file: the first that agrees with its vectors."""
    vectors = hsx.vectors()
    for geometry in found:
        cell, positions = geometry.cell, geometry.positions
        if vectors is None or hsx.folded:
            cells = _unfolded(hsx, blocks, cell, positions, output)
            return Sites(cell, positions, numbers, cells, warnings)
        cells, error = cells_from_vectors(hsx, blocks, vectors, cell, positions)
        if error <= VECTOR_TOLERANCE:
            return Sites(cell, positions, numbers, cells, warnings)
        reasons.append(
            f"{geometry.source}: not the geometry of the matrices: vectors between atoms differ by "
            f"{error:.3g} Bohr, as after a step of a relaxation"
        )
    raise _no_geometry(hsx, reasons)


def _no_geometry(hsx: Hsx, reasons: list[str]) -> InputError:
    """Say that no file gives the cell and positions of the matrices."""
    tried = "; ".join(reasons) or "none of them is there"
    return InputError(
        f"{hsx.path}: HSX version 0 holds no cell, and {hsx.path.stem}.XV, {hsx.path.stem}."
        f"STRUCT_OUT or the .fdf must give it: {tried}"
    )


def _numbers(
    hsx: Hsx,
    found: list[Geometry],
    fdf: Fdf | None,
    output: Output | None,
    reasons: list[str],
) -> Int:
    """Find the atomic number of every species."""
    declared = [output.numbers if output is not None else {}]
    declared.append(species_numbers(fdf) if fdf is not None else {})
    numbers = np.zeros(len(hsx.species), dtype=np.int64)
    for index, species in enumerate(hsx.species):
        atoms = np.flatnonzero(hsx.species_of_atom == index)
        if not len(atoms):
            continue
        said = {int(z) for geometry in found for z in geometry.numbers[atoms]}
        said |= {table[index + 1] for table in declared if index + 1 in table}
        if len(said) > 1:
            raise InputError(
                f"{hsx.path}: species {species.label}: the files of the run give different atomic "
                f"numbers: {', '.join(map(str, sorted(said)))}"
            )
        if not said:
            why = f" ({'; '.join(reasons)})" if reasons else ""
            raise InputError(
                f"{hsx.path}: species {species.label}: no file gives its atomic number, nor does "
                f"HSX; put {hsx.path.stem}.XV, the .fdf or the output beside it{why}"
            )
        (numbers[index],) = said
        if not 1 <= numbers[index] <= _LARGEST_Z:
            raise InputError(
                f"{hsx.path}: species {species.label} has the atomic number {numbers[index]}: "
                "ghost and mixed atoms cannot be converted, the format has one basis per element"
            )
    return numbers


def _check_bases(hsx: Hsx, numbers: Int) -> tuple[str, ...]:
    """Refuse an element with two bases."""
    warnings: tuple[str, ...] = ()
    used = np.unique(hsx.species_of_atom)
    for z in np.unique(numbers[used]).tolist():
        kinds = [hsx.species[k] for k in used.tolist() if numbers[k] == z]
        labels = ", ".join(kind.label for kind in kinds)
        if len({(kind.quantum_numbers, kind.valence) for kind in kinds}) > 1:
            raise InputError(
                f"{hsx.path}: the species {labels} are all {SYMBOLS[z]} but have different bases; "
                "the format holds one basis per element: give them one basis and run again"
            )
        radii = {_radii(hsx, kind.label) for kind in kinds}
        if len(kinds) > 1 and None not in radii and len(radii) > 1:
            raise InputError(
                f"{hsx.path}: the species {labels} are all {SYMBOLS[z]} but their orbitals have "
                "different radii; the format holds one basis per element: give them one basis"
            )
        if len(kinds) > 1 and None in radii:
            warnings += (
                f"the species {labels} are all {SYMBOLS[z]}: taken as one basis (without "
                ".ORB_INDX their radii cannot be compared)",
            )
    return warnings


def _radii(hsx: Hsx, label: str) -> tuple[float, ...] | None:
    """Read the radius of each orbital of a species, Bohr; None without .ORB_INDX."""
    path = hsx.path.with_suffix(".ORB_INDX")
    if not path.is_file():
        return None
    radii: dict[int, float] = {}
    with open(path, encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file):
            if number > hsx.orbitals + 8:  # the supercell follows
                break
            words = line.split()
            if len(words) == 16 and words[3] == label:
                try:
                    radii.setdefault(int(words[4]), float(words[11]))
                except ValueError:
                    return None
    return tuple(radii[k] for k in sorted(radii)) or None


def _has_auxiliary_cell(fdf: Fdf | None, output: Output | None) -> bool:
    """Tell whether a run of one image says that its images are not folded."""
    if output is not None and output.auxiliary_cell:
        return True
    return fdf is not None and fdf.flag("ForceAuxCell")


def _unfolded(
    hsx: Hsx, blocks: Blocks, cell: Float, positions: Float, output: Output | None
) -> Int:
    """Find R in a run that folded all images into one cell, or refuse it."""
    radii = [_radii(hsx, species.label) for species in hsx.species]
    largest = [max(r) if r else np.inf for r in radii]
    # H connects two orbitals that overlap with one projector: its diameter is between them.
    projector = output.projector_radius if output is not None else None
    reach = np.array([r + (max(largest) if projector is None else projector) for r in largest])
    cells = nearest_cells(blocks, cell, positions, reach[hsx.species_of_atom])
    if cells is None:
        known = (
            "" if all(radii) else f" (no {hsx.path.stem}.ORB_INDX to tell how far orbitals reach)"
        )
        raise InputError(
            f"{hsx.path}: a run with the Gamma point alone, whose cell is too small to tell the "
            f"periodic images apart{known}; run it again with 'ForceAuxCell true'"
        )
    return cells
