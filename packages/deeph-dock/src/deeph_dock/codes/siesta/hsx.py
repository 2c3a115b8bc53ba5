"""HSX: the file in which SIESTA keeps H and S, all generations known.

The generation is recognised by the length of the first record:

=======  ================  ====================================================================
version  first record      written by
=======  ================  ====================================================================
0        16 bytes: sizes   SIESTA 2, 3, 4.0, 4.1. Single precision. No cell, no positions, no
                           Fermi level; the vector between the atoms of each element instead.
1        4 bytes: 1        SIESTA 5.0 to 5.2. Single or double precision.
2        4 bytes: 2        SIESTA 5.2 and later: version 1 and the k-mesh.
=======  ================  ====================================================================

An integer other than 1 and 2 is refused, as is a file with more or less content than its own
sizes say. Logicals are true when they are not 0 (some compilers write -1).

H and S are sparse rows: row i has ``counts[i]`` elements in columns js of a supercell, where
``js % orbitals`` is the orbital and ``js // orbitals`` the image of the cell, and the element is
<i, 0| . |j, R>. Energies are in Ry, lengths in Bohr.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.pairs import encode
from numpy.typing import NDArray

from deeph_dock.codes.siesta.records import Records

Float = NDArray[np.float64]
Int = NDArray[np.int64]

SPIN_COMPONENTS = (1, 2, 4, 8)
_SPECIES = np.dtype([("label", "S20"), ("valence", "f8"), ("orbitals", "i4")])
_L_LIMIT = 6
_LARGEST = 1e5
"""Elements of H (Ry) and S beyond this are no physics."""


@dataclass(frozen=True)
class Species:
    """One kind of atom of a calculation.

    Attributes
    ----------
    label : str
        Name that the user gave; says nothing about the element.
    valence : float
        Charge of the pseudo-core.
    quantum_numbers : tuple of (n, l, zeta)
        Of each orbital, in the order of the matrix.
    shells : tuple of int
        l of each shell, one for every 2l+1 orbitals.
    """

    label: str
    valence: float
    quantum_numbers: tuple[tuple[int, int, int], ...]
    shells: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Hsx:
    """What an HSX file holds; the large parts are read when they are asked for.

    Attributes
    ----------
    version : int
        0, 1 or 2.
    spins : int
        Spin components of H: 1, 2, 4 or 8.
    dtype : dtype
        Precision of H and S in the file.
    species : tuple of Species
    species_of_atom : (n,) int64
        Index into `species`, from 0.
    atom_of_orbital : (N,) int64
        Atom of each orbital of the cell, from 0; orbitals of an atom stand together.
    images : int
        Cells in the supercell of the columns.
    counts : (N,) int64
        Elements of each row.
    electrons : float
    temperature : float
        Electronic temperature, Ry.
    folded : bool or None
        Whether all images are folded into one cell (a run with the Gamma point alone); None if
        the file does not tell.
    cell : (3, 3) or None
        Lattice vectors as rows, Bohr. Versions 1 and 2, as the next four.
    positions : (n, 3) or None
        Bohr.
    offsets : (images, 3) int64 or None
        Lattice vector of each image.
    fermi_level : float or None
        Ry.
    kcell : (3, 3) int64 or None
        Supercell of the k-mesh, rows in units of the lattice vectors. Version 2, as the next.
    kshift : (3,) or None
        Displacement of the mesh along each of them.
    """

    path: Path
    version: int
    spins: int
    dtype: np.dtype[Any]
    species: tuple[Species, ...]
    species_of_atom: Int
    atom_of_orbital: Int
    images: int
    counts: Int
    electrons: float
    temperature: float
    folded: bool | None
    cell: Float | None = None
    positions: Float | None = None
    offsets: Int | None = None
    fermi_level: float | None = None
    kcell: Int | None = None
    kshift: Float | None = None
    _records: Records = field(kw_only=True, repr=False)
    _starts: dict[str, int] = field(kw_only=True, repr=False)

    @property
    def orbitals(self) -> int:
        """Number N of orbitals in the cell."""
        return len(self.atom_of_orbital)

    def columns(self) -> NDArray[np.int32]:
        """Read the column of each element in the supercell, (elements,), from 0."""
        columns = self._records.rows(
            "column indices", self._starts["columns"], self.counts, np.int32
        )
        columns -= 1
        if len(columns) and (columns.min() < 0 or columns.max() >= self.orbitals * self.images):
            raise InputError(
                f"{self.path}: column indices: found {columns.min() + 1}..{columns.max() + 1}, "
                f"expected 1..{self.orbitals * self.images}; the file is damaged"
            )
        return columns

    def hamiltonian(self, spin: int = 0) -> NDArray[Any]:
        """Read one spin component of H, (elements,), Ry, in the file's precision."""
        start = self._starts["hamiltonian"]
        start += spin * (int(self.counts.sum()) * self.dtype.itemsize + 8 * len(self.counts))
        return self._values("Hamiltonian", start)

    def overlap(self) -> NDArray[Any]:
        """Read S, (elements,), in the file's precision."""
        return self._values("overlap", self._starts["overlap"])

    def _values(self, what: str, start: int) -> NDArray[Any]:
        values = self._records.rows(what, start, self.counts, self.dtype)
        if not (values.min() > -_LARGEST and values.max() < _LARGEST):  # false for NaN, too
            raise InputError(
                f"{self.path}: {what}: holds NaN or absurd numbers ({values.min():.3g}.."
                f"{values.max():.3g}); the run went wrong, or the file is damaged"
            )
        return values

    def vectors(self) -> NDArray[np.float32] | None:
        """Read r_j + R - r_i of each element, (elements, 3), Bohr; None if the file has none."""
        if "vectors" not in self._starts:
            return None
        flat = self._records.rows(
            "vectors between orbitals", self._starts["vectors"], self.counts, np.float32, 3
        )
        if not np.isfinite(flat).all():
            raise InputError(f"{self.path}: vectors between orbitals: NaN or infinity; damaged")
        return flat.reshape(-1, 3)


def read_hsx(path: Path) -> Hsx:
    """Read everything but the matrices of an HSX file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Hsx
        Its header, and methods that read the rest.

    Raises
    ------
    InputError
        If the file is damaged, incomplete, or of a generation that is not known.
    """
    records = Records(path, first_lengths=(16, 4))
    hsx = _read_version_0(records) if records.next_length() == 16 else _read_later(records)
    if records.next_length() is not None or records.at != len(records):
        raise InputError(
            f"{path}: {len(records) - records.at} bytes follow where the matrices of version "
            f"{hsx.version} end; the file is damaged, or of a generation that is not known"
        )
    return hsx


def _read_version_0(records: Records) -> Hsx:
    """Read the header of a file that begins with its sizes."""
    path = records.path
    sizes = records.read("sizes", (np.int32, 4))[0].astype(np.int64)
    orbitals, supercell_orbitals, spins, elements = sizes.tolist()
    _check_sizes(path, orbitals, spins)
    if supercell_orbitals % orbitals or supercell_orbitals < orbitals:
        raise InputError(
            f"{path}: sizes: {supercell_orbitals} orbitals of the supercell are no multiple of "
            f"the {orbitals} of the cell; the file is damaged"
        )
    folded = bool(records.read("Gamma flag", (np.int32, 1))[0][0] != 0)
    if not folded:
        (home,) = records.read("orbitals of the supercell", (np.int32, supercell_orbitals))
        if not np.array_equal(home - 1, np.arange(supercell_orbitals) % orbitals):
            raise InputError(f"{path}: orbitals of the supercell: not in cell after cell; damaged")
    counts = _read_counts(records, orbitals)
    if counts.sum() != elements:
        raise InputError(f"{path}: rows have {counts.sum()} elements, the header says {elements}")
    starts = {"columns": records.skip_rows("column indices", counts, 4)}
    starts["hamiltonian"] = records.at
    for _ in range(spins):
        records.skip_rows("Hamiltonian", counts, 4)
    starts["overlap"] = records.skip_rows("overlap", counts, 4)
    electrons, temperature = records.read("electrons", (np.float64, 2))[0].tolist()
    if records.next_length() == 12 * counts[0]:
        starts["vectors"] = records.skip_rows("vectors between orbitals", counts, 12)
    count = int(records.read("number of species", (np.int32, 1))[0][0])
    named = _read_species_names(records, count)
    species = tuple(
        _species(
            path,
            label,
            valence,
            [_triple(records, f"quantum numbers of {label}") for _ in range(orbitals_of)],
        )
        for label, valence, orbitals_of in named
    )
    atoms = int(records.read("number of atoms", (np.int32, 1))[0][0])
    species_of_atom = records.read("species of the atoms", (np.int32, atoms))[0].astype(np.int64)
    pairs = records.read("atoms of the orbitals", (np.int32, 2 * orbitals))[0].reshape(-1, 2)
    hsx = Hsx(
        path,
        version=0,
        spins=spins,
        dtype=np.dtype(np.float32),
        species=species,
        species_of_atom=species_of_atom - 1,
        atom_of_orbital=pairs[:, 0].astype(np.int64) - 1,
        images=supercell_orbitals // orbitals,
        counts=counts,
        electrons=electrons,
        temperature=temperature,
        folded=folded,
        _records=records,
        _starts=starts,
    )
    _check(hsx)
    within = np.arange(orbitals) - np.searchsorted(hsx.atom_of_orbital, hsx.atom_of_orbital)
    if not np.array_equal(pairs[:, 1] - 1, within):
        raise InputError(f"{path}: atoms of the orbitals: not numbered 1, 2, ... in each atom")
    return hsx


def _read_later(records: Records) -> Hsx:
    """Read the header of a file that begins with its version."""
    path = records.path
    version = int(records.read("version", (np.int32, 1))[0][0])
    if version not in (1, 2):
        raise InputError(
            f"{path}: HSX version {version}; known are 0, 1 and 2: a newer deeph-dock may read it"
        )
    double = records.read("precision", (np.int32, 1))[0][0] != 0
    sizes = records.read("sizes", (np.int32, 7))[0].astype(np.int64)
    atoms, orbitals, spins, kinds, *supercell = sizes.tolist()
    _check_sizes(path, orbitals, spins)
    if atoms < 1 or min(supercell) < 1:
        raise InputError(f"{path}: sizes: {atoms} atoms, supercell {supercell}; damaged")
    cell, scalars = records.read("cell", (np.float64, 9), (np.float64, 3))
    images = int(np.prod(supercell, dtype=np.int64))
    offsets, positions, species_of_atom, last = records.read(
        "supercell and atoms",
        (np.int32, 3 * images),
        (np.float64, 3 * atoms),
        (np.int32, atoms),
        (np.int32, atoms),
    )
    named = _read_species_names(records, kinds)
    species = []
    for label, valence, orbitals_of in named:
        numbers = records.read(f"quantum numbers of {label}", (np.int32, 3 * orbitals_of))[0]
        triples = [(q[0], q[1], q[2]) for q in numbers.reshape(-1, 3).tolist()]
        species.append(_species(path, label, valence, triples))
    kcell = kshift = None
    if version == 2:
        kcell, kshift = records.read("k-mesh", (np.int32, 9), (np.float64, 3))
        kcell = kcell.reshape(3, 3).astype(np.int64)
    counts = _read_counts(records, orbitals)
    dtype = np.dtype(np.float64 if double else np.float32)
    starts = {"columns": records.skip_rows("column indices", counts, 4)}
    starts["hamiltonian"] = records.at
    for _ in range(spins):
        records.skip_rows("Hamiltonian", counts, dtype.itemsize)
    starts["overlap"] = records.skip_rows("overlap", counts, dtype.itemsize)
    orbitals_of_atom = last.astype(np.int64)
    orbitals_of_atom[1:] -= last[:-1]
    if orbitals_of_atom.min() < 0 or last[-1] != orbitals:
        raise InputError(
            f"{path}: last orbitals of the atoms: not increasing to {orbitals}; damaged"
        )
    hsx = Hsx(
        path,
        version=version,
        spins=spins,
        dtype=dtype,
        species=tuple(species),
        species_of_atom=species_of_atom.astype(np.int64) - 1,
        atom_of_orbital=np.repeat(np.arange(atoms), orbitals_of_atom),
        images=images,
        counts=counts,
        electrons=float(scalars[1]),
        temperature=float(scalars[2]),
        folded=None if images == 1 else False,
        cell=cell.reshape(3, 3),
        positions=positions.reshape(-1, 3),
        offsets=offsets.reshape(-1, 3).astype(np.int64),
        fermi_level=float(scalars[0]),
        kcell=kcell,
        kshift=kshift,
        _records=records,
        _starts=starts,
    )
    _check(hsx)
    _check_supercell(hsx, supercell)
    return hsx


def _check_sizes(path: Path, orbitals: int, spins: int) -> None:
    """Refuse sizes that no calculation has, before anything is computed from them."""
    if orbitals < 1 or spins not in SPIN_COMPONENTS:
        raise InputError(
            f"{path}: sizes: {orbitals} orbitals and {spins} spin components; expected at least "
            "one orbital and 1, 2, 4 or 8 components: not an HSX file, or damaged"
        )


def _read_counts(records: Records, orbitals: int) -> Int:
    """Read the number of elements of each row."""
    counts = records.read("elements in each row", (np.int32, orbitals))[0].astype(np.int64)
    if counts.min() < 1:
        row = int(np.argmin(counts))
        raise InputError(
            f"{records.path}: elements in each row: row {row + 1} has {counts[row]}; an orbital "
            "overlaps at least with itself: the file is damaged"
        )
    return counts


def _read_species_names(records: Records, kinds: int) -> list[tuple[str, float, int]]:
    """Read label, valence charge and number of orbitals of each species."""
    length = records.next_length() or 0
    if kinds < 1 or length != kinds * _SPECIES.itemsize:
        raise InputError(
            f"{records.path}: species: a record of {length} bytes for {kinds} species; damaged"
        )
    found = records.read("species", (_SPECIES, kinds))[0]
    if found["orbitals"].min() < 0 or not np.isfinite(found["valence"]).all():
        raise InputError(f"{records.path}: species: negative numbers of orbitals; damaged")
    return [
        (label.decode("ascii", "replace").strip() or f"species {index + 1}", valence, orbitals)
        for index, (label, valence, orbitals) in enumerate(found.tolist())
    ]


def _triple(records: Records, what: str) -> tuple[int, int, int]:
    """Read a record of three integers."""
    n, degree, zeta = records.read(what, (np.int32, 3))[0].tolist()
    return n, degree, zeta


def _species(
    path: Path, label: str, valence: float, numbers: list[tuple[int, int, int]]
) -> Species:
    """Collect orbitals into shells, which must be whole."""
    shells = []
    at = 0
    while at < len(numbers):
        n, degree, zeta = numbers[at]
        width = 2 * degree + 1
        if not 0 <= degree <= _L_LIMIT or numbers[at : at + width] != [numbers[at]] * width:
            raise InputError(
                f"{path}: quantum numbers of {label}: orbital {at + 1} begins a shell n={n} "
                f"l={degree} zeta={zeta}, which is not there as a whole; the file is damaged"
            )
        shells.append(degree)
        at += width
    return Species(label, valence, tuple(numbers), tuple(shells))


def _check(hsx: Hsx) -> None:
    """Check that atoms, species and orbitals fit together."""
    path = hsx.path
    kind = hsx.species_of_atom
    if kind.min(initial=0) < 0 or kind.max(initial=0) >= len(hsx.species) or not len(kind):
        raise InputError(f"{path}: species of the atoms: outside 1..{len(hsx.species)}; damaged")
    per_species = np.array([len(s.quantum_numbers) for s in hsx.species], dtype=np.int64)
    expected = np.repeat(np.arange(len(kind)), per_species[kind])
    if not np.array_equal(hsx.atom_of_orbital, expected):
        raise InputError(
            f"{path}: the {len(kind)} atoms have {len(expected)} orbitals by their species, but "
            f"the matrix has {hsx.orbitals} or another order; the file is damaged"
        )
    if not (1e-6 < hsx.electrons <= 2 * hsx.orbitals and np.isfinite(hsx.temperature)):
        raise InputError(
            f"{path}: {hsx.electrons:g} electrons in {hsx.orbitals} orbitals at a temperature of "
            f"{hsx.temperature:g} Ry; the file is damaged"
        )


def _check_supercell(hsx: Hsx, supercell: list[int]) -> None:
    """Check cell, positions and images of versions 1 and 2."""
    assert hsx.cell is not None
    assert hsx.positions is not None
    assert hsx.offsets is not None
    finite = np.isfinite(hsx.cell).all() and np.isfinite(hsx.positions).all()
    if not finite or abs(np.linalg.det(hsx.cell)) < 1e-2 or not np.isfinite(hsx.fermi_level or 0):
        raise InputError(f"{hsx.path}: cell, positions or Fermi level are not numbers; damaged")
    half = np.array(supercell) // 2
    (keys,) = encode(hsx.offsets)
    distinct = len(set(keys.tolist())) == hsx.images
    if not distinct or (np.abs(hsx.offsets) > half).any() or (hsx.offsets[0] != 0).any():
        raise InputError(
            f"{hsx.path}: lattice vectors of the images: not those of {supercell}; damaged"
        )
