"""The map between blocks of a matrix and irreps, for several elements with different bases.

In: ragged blocks <phi_i0 | O | phi_jR> of the format. Out: flat vectors of irreps, all of one
length, in the lab frame; `rotate` takes them to edge frames and back.

Every element's shells occupy a prefix of the *union* of shells (for each l the largest number any
element has), so that blocks of all element pairs share one padded shape (S, N, N): S spin
components, N orbitals of the union. The map to irreps is orthonormal: sums of squares are equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from deeph_spec.blocks import BlockMatrix
from deeph_spec.orbitals import orbital_count
from deeph_spec.structure import ATOMIC_NUMBERS
from numpy.typing import NDArray

from deeph.representation.channels import (
    ChannelTable,
    array_module,
    channel_table,
    species_of,
)
from deeph.so3.coefficients import clebsch_gordan, transposition_sign
from deeph.so3.frames import half_turn_signs

Array = Any
"""A numpy or a jax array: conversion functions take both and return what they were given."""

_ROOT_2 = np.sqrt(2.0)
_DTYPES: dict[tuple[bool, bool], np.dtype[Any]] = {
    (False, True): np.dtype(np.float32),
    (False, False): np.dtype(np.float64),
    (True, True): np.dtype(np.complex64),
    (True, False): np.dtype(np.complex128),
}
"""By whether a matrix is complex, and whether it is of single precision."""

_WIDTH = {"matrix": 1, "sum": 1, "difference": 1, "scalar_re": 1, "scalar_im": 1}


@dataclass(frozen=True)
class _Coupling:
    """One pair of shell groups, one L, one spin component, one J, and where its irreps stand."""

    l1: int
    l2: int
    l: int
    component: int
    j: int
    positions: NDArray[np.int64]  # (n1, n2, 2 J + 1) in the flat vector


@dataclass(frozen=True)
class BlockRepresentation:
    """Elements, their shells and the spin structure, and the irreps these lead to.

    Attributes
    ----------
    orbital_map : tuple of (str, tuple of int)
        Symbol and shells in storage order of every element, sorted by atomic number.
    spin : {"none", "collinear", "soc"}
        Spin structure of the matrices.
    time_reversal : bool
        Whether components that vanish without magnetism are left out.
    further_shells : tuple of int
        Shells that the union has at least, beyond what the elements need.
    """

    orbital_map: tuple[tuple[str, tuple[int, ...]], ...]
    spin: str = "none"
    time_reversal: bool = True
    further_shells: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        orbital_map: Mapping[str, Sequence[int]],
        spin: str,
        time_reversal: bool = True,
        further_shells: Sequence[int] = (),
    ) -> BlockRepresentation:
        """Return the representation for the orbital map of a dataset."""
        by_number = sorted(orbital_map.items(), key=lambda item: ATOMIC_NUMBERS[item[0]])
        elements = tuple((symbol, tuple(shells)) for symbol, shells in by_number)
        return cls(elements, spin, time_reversal, tuple(further_shells))

    @cached_property
    def shells(self) -> tuple[int, ...]:
        """Union of shells, ascending in l."""
        sets = [shells for _, shells in self.orbital_map] + [self.further_shells]
        l_max = max(max(shells, default=0) for shells in sets)
        counts = [max(shells.count(l) for shells in sets) for l in range(l_max + 1)]
        return tuple(l for l, count in enumerate(counts) for _ in range(count))

    @cached_property
    def orbitals(self) -> int:
        """Number N of orbitals of the union."""
        return orbital_count(self.shells)

    @cached_property
    def channels(self) -> ChannelTable:
        """Irreps of a block between two atoms that carry the whole union."""
        return channel_table(self.shells, self.spin, self.time_reversal)

    @cached_property
    def l_max(self) -> int:
        """Largest J among the irreps."""
        return int(self.channels.j.max())

    def species(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the index into `orbital_map` of every atom.

        Raises
        ------
        InputError
            If an element is not part of the representation.
        """
        return species_of([symbol for symbol, _ in self.orbital_map], numbers)

    @cached_property
    def orbital_index(self) -> tuple[NDArray[np.int64], ...]:
        """For every element: position in the union of each of its orbitals, in storage order."""
        first_of_l = {l: self.shells.index(l) for l in set(self.shells)}
        offsets = np.concatenate([[0], np.cumsum([2 * l + 1 for l in self.shells])])
        result = []
        for _, shells in self.orbital_map:
            seen = dict.fromkeys(set(shells), 0)
            positions = []
            for l in shells:
                start = offsets[first_of_l[l] + seen[l]]
                positions.append(np.arange(start, start + 2 * l + 1))
                seen[l] += 1
            result.append(np.concatenate(positions).astype(np.int64))
        return tuple(result)

    @cached_property
    def channel_mask(self) -> NDArray[np.bool_]:
        """Which channels exist between two elements, (elements, elements, channels)."""
        first_of_l = {l: self.shells.index(l) for l in set(self.shells)}
        own = np.array(
            [
                [index - first_of_l[l] < shells.count(l) for index, l in enumerate(self.shells)]
                for _, shells in self.orbital_map
            ]
        )
        return own[:, None, self.channels.a] & own[None, :, self.channels.b]

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """Which components of the flat vector exist, (elements, elements, size)."""
        return self.channel_mask[..., self.channels.channel_of_component]

    @cached_property
    def orbital_mask(self) -> NDArray[np.bool_]:
        """Which orbitals of the union an element has, (elements, N)."""
        mask = np.zeros((len(self.orbital_map), self.orbitals), dtype=bool)
        for row, positions in zip(mask, self.orbital_index, strict=True):
            row[positions] = True
        return mask

    # --- blocks of the format <-> padded blocks -------------------------------------------------

    def gather(
        self, matrix: BlockMatrix, species: NDArray[np.int64], dtype: type = np.float64
    ) -> NDArray[Any]:
        """Return the blocks of a matrix, padded to the union, split into spin components.

        Parameters
        ----------
        matrix : BlockMatrix
            P blocks.
        species : ndarray (n,)
            Element of every atom.

        Returns
        -------
        ndarray (P, S, N, N)
            Zero where an element lacks the orbital. S as `spin_width`.
        """
        n = self.orbitals
        padded: NDArray[Any] = np.zeros((len(matrix), self.spin_width, n, n), dtype=dtype)
        for rows, stack, i, j in self._groups(matrix, species):
            split = self._split_spin(stack)
            padded[self._index(rows, i, j)] = split
        return padded

    def scatter(
        self, padded: NDArray[Any], atom_pairs: NDArray[np.int64], species: NDArray[np.int64]
    ) -> BlockMatrix:
        """Return padded blocks (P, S, N, N) as blocks of the format, the inverse of `gather`."""
        counts = np.array([len(index) for index in self.orbital_index])
        factor = 1 if self.spin == "none" else 2
        shapes = factor * counts[species[atom_pairs[:, 3:]]]
        single = padded.dtype.itemsize == 4
        dtype: np.dtype[Any] = _DTYPES[self.spin == "soc", single]
        matrix = BlockMatrix.zeros(atom_pairs, shapes, dtype)
        groups = []
        for rows, _, i, j in self._groups(matrix, species):
            part = padded[self._index(rows, i, j)]
            groups.append((rows, self.join_spin(part).astype(dtype)))
        return BlockMatrix.from_stacks(atom_pairs, shapes, groups)

    @cached_property
    def spin_width(self) -> int:
        """Number S of real N x N arrays that a padded block consists of."""
        return sum(_WIDTH.get(name, 3) for name in self.channels.spin_components)

    def _index(self, rows: NDArray[np.int64], i: int, j: int) -> tuple[NDArray[Any], ...]:
        """Return where the orbitals of two elements stand in padded blocks."""
        spin = np.arange(self.spin_width)
        return np.ix_(rows, spin, self.orbital_index[i], self.orbital_index[j])

    def _groups(
        self, matrix: BlockMatrix, species: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[Any], int, int]]:
        """Yield rows, stack and the two elements of blocks between the same two elements."""
        kinds = len(self.orbital_map)
        for rows, stack in matrix.by_shape():
            pair = species[matrix.atom_pairs[rows, 3]] * kinds + species[matrix.atom_pairs[rows, 4]]
            for value in np.unique(pair):
                chosen = pair == value
                part = stack if chosen.all() else stack[chosen]
                yield rows[chosen], part, int(value // kinds), int(value % kinds)

    def _split_spin(self, stack: NDArray[Any]) -> NDArray[Any]:
        """Return blocks (p, a, b) with spin as real components (p, S, n, m), norm preserved."""
        if self.spin == "none":
            return stack[:, None]
        n, m = stack.shape[1] // 2, stack.shape[2] // 2
        up, down = stack[:, :n, :m], stack[:, n:, m:]
        total, difference = (up + down) / _ROOT_2, (up - down) / _ROOT_2
        if self.spin == "collinear":
            parts = {"sum": [total.real], "difference": [difference.real]}
        else:
            ud, du = stack[:, :n, m:], stack[:, n:, :m]
            # The format's order of a vector is (y, z, x).
            vector = [1j * (ud - du) / _ROOT_2, difference, (ud + du) / _ROOT_2]
            parts = {
                "scalar_re": [total.real],
                "scalar_im": [total.imag],
                "vector_re": [v.real for v in vector],
                "vector_im": [v.imag for v in vector],
            }
        return np.stack([x for name in self.channels.spin_components for x in parts[name]], axis=1)

    def join_spin(self, components: Array) -> Array:
        """Return blocks with spin (p, a, b) of real components (p, S, n, m), norm preserved.

        Components that the representation leaves out are zero.
        """
        if self.spin == "none":
            return components[:, 0]
        xp = array_module(components)
        parts, start = {}, 0
        for name in self.channels.spin_components:
            parts[name] = components[:, start : start + _WIDTH.get(name, 3)] / _ROOT_2
            start += _WIDTH.get(name, 3)
        zero = xp.zeros_like(components[:, :1])
        if self.spin == "collinear":
            total, difference = parts["sum"][:, 0], parts.get("difference", zero)[:, 0]
            upper, lower = total + difference, total - difference
            corner = xp.zeros_like(upper), xp.zeros_like(upper)
        else:
            zero3 = xp.repeat(zero, 3, axis=1)
            total = parts["scalar_re"][:, 0] + 1j * parts.get("scalar_im", zero)[:, 0]
            vector = parts.get("vector_re", zero3) + 1j * parts["vector_im"]
            # The format's order of a vector is (y, z, x).
            y, z, x = vector[:, 0], vector[:, 1], vector[:, 2]
            upper, lower = total + z, total - z
            corner = x - 1j * y, x + 1j * y
        return xp.concatenate(
            [xp.concatenate([upper, corner[0]], 2), xp.concatenate([corner[1], lower], 2)], axis=1
        )

    # --- padded blocks <-> irreps -----------------------------------------------------------------

    def to_irreps(self, padded: Array) -> Array:
        """Return the irreps (P, size) of padded blocks (P, S, N, N), both in the lab frame."""
        xp = array_module(padded)
        pieces, positions = [], []
        for coupling in self._couplings:
            rows, columns = self._shell_slices[coupling.l1], self._shell_slices[coupling.l2]
            spin = self._spin_slices[coupling.component]
            n1, n2 = coupling.positions.shape[:2]
            part = padded[:, spin, rows, columns].reshape(
                padded.shape[0],
                spin.stop - spin.start,
                n1,
                2 * coupling.l1 + 1,
                n2,
                2 * coupling.l2 + 1,
            )
            first = clebsch_gordan(coupling.l1, coupling.l2, coupling.l).astype(padded.dtype)
            coupled = xp.einsum("psaibj,ijm->psabm", part, first, optimize=True)
            pieces.append(self._couple_spin(xp, coupled, coupling).reshape(padded.shape[0], -1))
            positions.append(coupling.positions.reshape(-1))
        return xp.concatenate(pieces, axis=1)[:, np.argsort(np.concatenate(positions))]

    def to_padded(self, irreps: Array) -> Array:
        """Return the padded blocks (P, S, N, N) of irreps (P, size), the inverse of `to_irreps`."""
        xp = array_module(irreps)
        sums: dict[tuple[int, int, int], Array] = {}
        for coupling in self._couplings:
            part = irreps[:, coupling.positions]
            key = (coupling.component, coupling.l1, coupling.l2)
            uncoupled = self._uncouple_spin(xp, part, coupling)
            second = clebsch_gordan(coupling.l1, coupling.l2, coupling.l).astype(irreps.dtype)
            block = xp.einsum("psabm,ijm->psaibj", uncoupled, second, optimize=True)
            n1, n2 = coupling.positions.shape[:2]
            block = block.reshape(
                irreps.shape[0], -1, n1 * (2 * coupling.l1 + 1), n2 * (2 * coupling.l2 + 1)
            )
            sums[key] = sums[key] + block if key in sums else block
        ls = sorted(set(self.shells))
        components = [
            xp.concatenate(
                [xp.concatenate([sums[c, l1, l2] for l2 in ls], axis=3) for l1 in ls], axis=2
            )
            for c in range(len(self.channels.spin_components))
        ]
        return xp.concatenate(components, axis=1)

    def rotate(self, irreps: Array, wigner: Sequence[Array], to: str) -> Array:
        """Return irreps (P, size) taken from the lab to edge frames or back.

        Parameters
        ----------
        irreps : array (P, size)
        wigner : sequence of arrays (P or 1, 2 J + 1, 2 J + 1), J = 0..l_max
            From `deeph.so3.wigner_blocks`.
        to : {"edge", "lab"}
            Direction.
        """
        return self.channels.rotate(irreps, wigner, to)

    @cached_property
    def mirror(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """How H_ji(-R) = H_ij(R)^dagger acts on irreps: permutation, signs on site, signs off site.

        The irreps of the partner block, each block in its own frame, are ``sign * h[permutation]``.
        On-site blocks are in the lab frame; off-site signs include the half turn between an edge's
        frame and its reverse's.
        """
        table = self.channels
        columns = [table.a, table.b, table.l, table.component, table.j]
        where = {key: index for index, key in enumerate(zip(*map(list, columns), strict=True))}
        permutation, on_site, off_site = [], [], []
        for a, b, l, component, j in zip(*map(list, columns), strict=True):
            partner = where[b, a, l, component, j]
            permutation.append(table.offsets[partner] + np.arange(2 * j + 1))
            sign = transposition_sign(self.shells[a], self.shells[b], int(l))
            sign *= -1 if table.spin_components[component].endswith("_im") else 1
            on_site.append(np.full(2 * j + 1, float(sign)))
            off_site.append(sign * half_turn_signs(int(j)))
        return np.concatenate(permutation), np.concatenate(on_site), np.concatenate(off_site)

    @cached_property
    def _shell_slices(self) -> dict[int, slice]:
        """Orbitals of all shells of one l in the union."""
        slices, start = {}, 0
        for l in sorted(set(self.shells)):
            width = self.shells.count(l) * (2 * l + 1)
            slices[l] = slice(start, start + width)
            start += width
        return slices

    @cached_property
    def _spin_slices(self) -> list[slice]:
        widths = [_WIDTH.get(name, 3) for name in self.channels.spin_components]
        stops = np.cumsum(widths)
        return [slice(int(s - w), int(s)) for s, w in zip(stops, widths, strict=True)]

    @cached_property
    def _couplings(self) -> tuple[_Coupling, ...]:
        table, offsets = self.channels, self.channels.offsets
        shell_l = np.array(self.shells)
        keys = np.stack([shell_l[table.a], shell_l[table.b], table.l, table.component, table.j])
        result = []
        for l1, l2, l, component, j in map(tuple, np.unique(keys, axis=1).T):
            chosen = np.flatnonzero(
                np.all(keys == np.array([[l1], [l2], [l], [component], [j]]), axis=0)
            )
            first = offsets[chosen].reshape(self.shells.count(l1), self.shells.count(l2), 1)
            result.append(
                _Coupling(
                    int(l1), int(l2), int(l), int(component), int(j), first + np.arange(2 * j + 1)
                )
            )
        return tuple(result)

    def _couple_spin(self, xp: Any, coupled: Array, coupling: _Coupling) -> Array:
        """Return (P, n1, n2, 2 J + 1) from (P, 1 or 3, n1, n2, 2 L + 1)."""
        if coupled.shape[1] == 1:
            return coupled[:, 0]
        vector = clebsch_gordan(coupling.l, 1, coupling.j).astype(coupled.dtype)
        return xp.einsum("psabm,msj->pabj", coupled, vector, optimize=True)

    def _uncouple_spin(self, xp: Any, part: Array, coupling: _Coupling) -> Array:
        """Return (P, 1 or 3, n1, n2, 2 L + 1) from (P, n1, n2, 2 J + 1)."""
        if not self.channels.spin_components[coupling.component].startswith("vector"):
            return part[:, None]
        vector = clebsch_gordan(coupling.l, 1, coupling.j).astype(part.dtype)
        return xp.einsum("pabj,msj->psabm", part, vector, optimize=True)
