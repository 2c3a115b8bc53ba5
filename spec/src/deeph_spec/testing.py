"""Proof helpers and small valid datasets, for the tests of everything that uses the format.

The matrices come from a toy model in the form of Slater and Koster (Phys. Rev. 94, 1498 (1954)):
every off-site block is D(Q)^T T D(Q), where Q turns the bond onto z and T couples m with m only,
and every on-site block is a diagonal plus such terms of all neighbours. So S obeys the two-centre
rule, H is equivariant, Hermitian and smooth in the positions, and can be learned by a network. The
parameters follow from the element symbols and shells alone: all structures share one physics.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from deeph_spec.blocks import BlockMatrix
from deeph_spec.orbitals import shell_offsets, wigner_matrices
from deeph_spec.structure import ATOMIC_NUMBERS, Structure
from deeph_spec.system import SystemInfo

Array = NDArray[np.float64]
SHELLS: dict[str, tuple[int, ...]] = {"H": (0,), "C": (0, 0, 1), "O": (0, 1, 2)}
_SPACING = 2.4
_DECAY = 1.2


def assert_hermitian(matrix: BlockMatrix, atol: float = 1e-10) -> None:
    """Assert O_ij(R) = O_ji(-R)^dagger for every block, with every partner stored.

    Parameters
    ----------
    matrix : BlockMatrix
        What to test.
    atol : float
        Largest difference allowed, in the unit of the entries.

    Raises
    ------
    AssertionError
        Naming the pair.
    """
    lonely = np.flatnonzero(matrix.partner_rows() < 0)
    assert not len(lonely), f"pair {matrix.atom_pairs[lonely[0]].tolist()} has no partner"
    error, row = matrix.hermitian_error()
    pair = matrix.atom_pairs[row].tolist() if row >= 0 else []
    assert error <= atol, f"Hermitian error {error:.3g} > {atol:.3g} at pair {pair}"


def random_structure(
    elements: Sequence[str] = ("H", "C"), atoms: int = 4, seed: int = 0
) -> Structure:
    """Make a random crystal whose atoms keep a distance of at least 1.2 Å.

    Parameters
    ----------
    elements : sequence of str
        Symbols; the atoms take them in turn and are then grouped by element.
    atoms : int
        Number of atoms.
    seed : int
        Equal seeds give equal structures.

    Returns
    -------
    Structure
        In a skewed cell; some atoms lie outside of it.
    """
    rng = np.random.default_rng([seed, atoms])
    sites = int(np.ceil(atoms ** (1 / 3) - 1e-9))
    grid = np.array(list(product(range(sites), repeat=3)))[:atoms]
    lattice = _SPACING * sites * (np.eye(3) + 0.08 * rng.uniform(-1, 1, (3, 3)))
    fractional = (grid + 0.5 + 0.15 * rng.uniform(-1, 1, (atoms, 3))) / sites
    fractional += rng.integers(-1, 2, (atoms, 3))
    symbols = [elements[atom % len(elements)] for atom in range(atoms)]
    symbols.sort(key=list(elements).index)
    numbers = np.array([ATOMIC_NUMBERS[symbol] for symbol in symbols])
    return Structure(lattice, fractional @ lattice, numbers)


def neighbour_pairs(structure: Structure, cutoff: float) -> NDArray[np.int64]:
    """List all pairs closer than a cutoff, atoms with themselves included.

    Parameters
    ----------
    structure : Structure
        A small cell: all images are tried one by one.
    cutoff : float
        Å.

    Returns
    -------
    (P, 5) int64 array
        R1, R2, R3, i, j, sorted; closed under (R, i, j) -> (-R, j, i).
    """
    spread = np.ptp(structure.fractional, axis=0)
    heights = 1 / np.linalg.norm(np.linalg.inv(structure.lattice), axis=0)
    reach = np.ceil(cutoff / heights + spread).astype(int)
    images = [np.arange(-n, n + 1) for n in reach]
    count = np.arange(len(structure))
    pairs = np.stack(np.meshgrid(*images, count, count, indexing="ij"), axis=-1).reshape(-1, 5)
    distance = np.linalg.norm(structure.pair_vectors(pairs), axis=1)
    return pairs[distance < cutoff]


@lru_cache(maxsize=256)
def _couplings(kind: str, first: str, second: str, n_first: int, n_second: int) -> Array:
    """Give the model's numbers for each pair of shells and each |m|, (n_first, n_second, 7)."""
    name = f"{kind} {first} {second}"
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return rng.uniform(-1, 1, (n_first, n_second, 7))


def _turned_to_z(vectors: Array) -> Array:
    """Give rotations Q (P, 3, 3) with Q v = |v| z."""
    z = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    other = np.where(np.abs(z[:, :1]) < 0.8, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    x = np.cross(other, z)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=1)


def _bonds(
    kind: str, vectors: Array, cutoff: float, symbols: tuple[str, str], shells: Mapping[str, Any]
) -> Array:
    """Give the block D^T T D of each bond vector (P, 3) between two elements, (P, a, b)."""
    first, second = (shells[symbol] for symbol in symbols)
    numbers = _couplings(kind, *symbols, len(first), len(second))
    distance = np.linalg.norm(vectors, axis=1)
    envelope = np.exp(-distance / _DECAY) * (1 - (distance / cutoff) ** 2) ** 3
    rotations = _turned_to_z(vectors)
    degrees = {degree: wigner_matrices(degree, rotations) for degree in {*first, *second}}
    rows, columns = shell_offsets(first), shell_offsets(second)
    blocks = np.zeros((len(vectors), rows[-1], columns[-1]))
    for s, left in enumerate(first):
        for t, right in enumerate(second):
            small = min(left, right)
            m = np.arange(-small, small + 1)
            left_m, right_m = degrees[left][:, left + m], degrees[right][:, right + m]
            part = np.einsum("pma,m,pmb->pab", left_m, numbers[s, t, abs(m)], right_m)
            blocks[:, rows[s] : rows[s + 1], columns[t] : columns[t + 1]] = part
    return blocks * envelope[:, None, None]


def _by_elements(
    structure: Structure, pairs: NDArray[np.int64]
) -> Iterator[tuple[tuple[str, str], NDArray[np.int64]]]:
    """Group the off-site pairs by their two elements."""
    off_site = (pairs[:, :3] != 0).any(axis=1) | (pairs[:, 3] != pairs[:, 4])
    symbols = np.array(structure.symbols)
    for first, second in product(structure.elements, repeat=2):
        here = (symbols[pairs[:, 3]] == first) & (symbols[pairs[:, 4]] == second)
        yield (first, second), np.flatnonzero(here & off_site)


def _two_centre(
    kind: str,
    structure: Structure,
    shells: Mapping[str, Sequence[int]],
    pairs: NDArray[np.int64],
    cutoff: float,
    on_site: Mapping[str, Array],
    strength: float,
    field: float,
) -> BlockMatrix:
    """Assemble a matrix: bonds off-site, diagonals plus a field of all bonds on-site.

    The rule for a bond and its reverse is half the sum with the partner's transpose.
    """
    sizes = np.array([shell_offsets(shells[symbol])[-1] for symbol in structure.symbols])
    matrix = BlockMatrix.zeros(pairs, sizes[pairs[:, 3:]])
    partner, vectors = matrix.partner_rows(), structure.pair_vectors(pairs)
    site = np.empty(len(structure), np.int64)
    site[pairs[matrix.on_site(), 3]] = np.flatnonzero(matrix.on_site())
    for symbols, rows in _by_elements(structure, pairs):
        bonds = _bonds(kind, vectors[rows], cutoff, symbols, shells)
        for row, bond in zip(rows.tolist(), strength / 2 * bonds, strict=True):
            matrix.block(row)[...] += bond
            matrix.block(int(partner[row]))[...] += bond.T
        if field:
            name, centre = f"{kind} field {symbols[1]}", (symbols[0], symbols[0])
            around = field / 2 * _bonds(name, vectors[rows], cutoff, centre, shells)
            for row, term in zip(rows.tolist(), around, strict=True):
                matrix.block(int(site[pairs[row, 3]]))[...] += term + term.T
    for atom, symbol in enumerate(structure.symbols):
        matrix.block(int(site[atom]))[...] += np.diag(on_site[symbol])
    return matrix


def _angular_momentum(shells: Sequence[int]) -> NDArray[np.complex128]:
    """Give L_x, L_y, L_z between the orbitals of an atom, (3, n, n).

    exp(-i θ L_a) = D(rotation by θ about a), so L_a = i dD/dθ at 0. D is a trigonometric polynomial
    of degree l, whose derivative follows exactly from 2l + 1 equidistant angles.
    """
    offsets = shell_offsets(shells)
    result = np.zeros((3, offsets[-1], offsets[-1]), np.complex128)
    for s, degree in enumerate(shells):
        steps = np.arange(1, 2 * degree + 1)
        angle = 2 * np.pi * steps / (2 * degree + 1)
        weight = -((-1.0) ** steps) / (2 * np.sin(angle / 2))
        for axis in range(3):
            b, c = (axis + 1) % 3, (axis + 2) % 3
            turns = np.zeros((2 * degree, 3, 3))
            turns[:, axis, axis] = 1
            turns[:, b, b] = turns[:, c, c] = np.cos(angle)
            turns[:, c, b], turns[:, b, c] = np.sin(angle), -np.sin(angle)
            slope = np.einsum("k,kab->ab", weight, wigner_matrices(degree, turns))
            part = slice(offsets[s], offsets[s + 1])
            result[axis, part, part] = 1j * slope
    return result


def _with_spin(
    spin: str,
    structure: Structure,
    shells: Mapping[str, Sequence[int]],
    plain: BlockMatrix,
    exchange: BlockMatrix,
) -> BlockMatrix:
    """Give [[uu, ud], [du, dd]] blocks: exchange splitting, and for "soc" on-site L.s too."""
    dtype = np.complex128 if spin == "soc" else np.float64
    matrix = BlockMatrix.zeros(plain.atom_pairs, 2 * plain.chunk_shapes, dtype)
    orbit = {symbol: _angular_momentum(shells[symbol]) for symbol in structure.elements}
    on_site = plain.on_site()
    symbols = structure.symbols
    for row in range(len(plain)):
        block, own, split = matrix.block(row), plain.block(row), exchange.block(row)
        n, m = own.shape
        block[:n, :m], block[n:, m:] = own + split / 2, own - split / 2
        if spin == "soc" and on_site[row]:
            x, y, z = 0.5 * orbit[symbols[plain.atom_pairs[row, 3]]]
            block[:n, :m] += z / 2
            block[n:, m:] -= z / 2
            block[:n, m:] += (x - 1j * y) / 2
            block[n:, :m] += (x + 1j * y) / 2
    return matrix


def toy_matrices(
    structure: Structure,
    orbital_map: Mapping[str, Sequence[int]] = SHELLS,
    spin: str = "none",
    cutoff: float = 5.0,
) -> tuple[BlockMatrix, BlockMatrix]:
    """Give overlap and Hamiltonian of the toy model.

    Parameters
    ----------
    structure : Structure
        A small cell.
    orbital_map : mapping
        Shells of each element.
    spin : str
        "none", "collinear" (exchange splitting) or "soc" (also on-site L.s, complex).
    cutoff : float
        Reach of the couplings, Å.

    Returns
    -------
    overlap : BlockMatrix
        Positive definite for atoms that are not too close, diagonal 1.
    hamiltonian : BlockMatrix
        In eV, on the same pairs.
    """
    shells = {symbol: tuple(orbital_map[symbol]) for symbol in structure.elements}
    pairs = neighbour_pairs(structure, cutoff)
    ones: dict[str, Array] = {}
    levels: dict[str, Array] = {}
    for symbol, listed in shells.items():
        degrees = np.repeat(listed, 2 * np.array(listed) + 1)
        order = np.repeat(np.arange(len(listed)), 2 * np.array(listed) + 1)
        ones[symbol] = np.ones(len(degrees))
        levels[symbol] = -14.0 + 6.0 * degrees + 3.0 * order + 0.1 * ATOMIC_NUMBERS[symbol]

    def assembled(
        kind: str, on_site: dict[str, Array], strength: float, field: float
    ) -> BlockMatrix:
        return _two_centre(kind, structure, shells, pairs, cutoff, on_site, strength, field)

    overlap = assembled("S", ones, 1.0, 0.0)
    hamiltonian = assembled("H", levels, 6.0, 0.5)
    if spin == "none":
        return overlap, hamiltonian
    splitting = {symbol: 0.6 * diagonal for symbol, diagonal in ones.items()}
    exchange = assembled("J", splitting, 0.3, 0.1)
    return overlap, _with_spin(spin, structure, shells, hamiltonian, exchange)


def random_folder(
    path: str | os.PathLike[str],
    *,
    elements: Sequence[str] = ("H", "C"),
    orbital_map: Mapping[str, Sequence[int]] = SHELLS,
    atoms: int = 4,
    spin: str = "none",
    seed: int = 0,
    dtype: DTypeLike | None = None,
    cutoff: float = 5.0,
) -> Path:
    """Write a valid structure folder: POSCAR, overlap.h5, hamiltonian.h5, info.json.

    Parameters
    ----------
    path : path-like
        Folder to make; missing parents are made, existing files are replaced.
    elements, atoms, seed
        As for `random_structure`.
    orbital_map, spin, cutoff
        As for `toy_matrices`.
    dtype : dtype, optional
        Type of the Hamiltonian's entries, e.g. float32.

    Returns
    -------
    Path
        The folder. Equal arguments give equal files.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    structure = random_structure(elements, atoms, seed)
    overlap, hamiltonian = toy_matrices(structure, orbital_map, spin, cutoff)
    shells = {symbol: orbital_map[symbol] for symbol in elements}
    if dtype is not None:
        hamiltonian = hamiltonian.with_entries(hamiltonian.entries.astype(dtype))
    info = SystemInfo.for_structure(
        structure,
        shells,
        spin=spin,
        fermi_level=-6.0,
        occupation=float(2 * len(structure)),
        provenance={"code": "toy model"},
    )
    structure.write(folder / "POSCAR")
    overlap.write(folder / "overlap.h5", "overlap")
    hamiltonian.write(folder / "hamiltonian.h5", "hamiltonian")
    info.write(folder / "info.json")
    return folder


def random_dataset(root: str | os.PathLike[str], count: int = 3, **settings: Any) -> Path:
    """Write a valid dataset of random structures: ``root/dft/0001``, ``root/dft/0002``, ...

    Parameters
    ----------
    root : path-like
        Folder to make.
    count : int
        Number of structures; their seeds count up from ``settings["seed"]`` or 0.
    **settings
        As for `random_folder`.

    Returns
    -------
    Path
        The root.
    """
    seed = int(settings.pop("seed", 0))
    for number in range(count):
        folder = Path(root, "dft", f"{number + 1:04d}")
        random_folder(folder, seed=seed + number, **settings)
    return Path(root)
