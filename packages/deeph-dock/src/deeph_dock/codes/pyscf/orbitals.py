"""Atoms and orbitals of a PySCF molecule or cell, and their order.

PySCF's orbitals are those of the rows of ``mol._bas``: for each contraction of a row, the 2l + 1
real harmonics of its shell. They are in the order of the format and have its signs, but for p
shells, which are x, y, z there and y, z, x here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.orbitals import L_MAX, SHELL_LETTERS, orbital_count
from deeph_spec.structure import ATOMIC_NUMBERS, SYMBOLS
from numpy.typing import NDArray

Int = NDArray[np.int64]

_ATOM, _L, _CONTRACTIONS = 0, 1, 3  # columns of mol._bas
_P_ORDER = (1, 2, 0)


@dataclass(frozen=True, eq=False)
class Orbitals:
    """Orbitals of all atoms.

    Attributes
    ----------
    numbers : (n,) int64
        Atomic numbers; also of atoms with a pseudopotential.
    orbital_map : dict
        Shells of each element, in the order of ``mol._bas``.
    order : (N,) int64
        PySCF's orbital at each place of the format, atom by atom.
    starts : (n + 1,) int64
        First orbital of each atom in the format, and N.
    """

    numbers: Int
    orbital_map: dict[str, tuple[int, ...]]
    order: Int
    starts: Int

    @property
    def sizes(self) -> Int:
        """Orbitals of each atom, (n,)."""
        return np.diff(self.starts)

    def arranged(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Bring the last two axes of a matrix into the order of the format.

        Parameters
        ----------
        matrix : (..., N, N) array
            In PySCF's order.

        Returns
        -------
        (..., N, N) array
            A copy.
        """
        return np.asarray(matrix)[..., self.order[:, None], self.order]


def read_orbitals(mol: Any) -> Orbitals:
    """Find the shells of every atom.

    Parameters
    ----------
    mol : pyscf.gto.Mole or pyscf.pbc.gto.Cell
        Built.

    Returns
    -------
    Orbitals
        Shells by element, and the order of the orbitals.

    Raises
    ------
    InputError
        If the functions are Cartesian, an atom is a ghost or has no functions, a shell is beyond
        l = 6, or two atoms of one element have different shells.
    """
    if mol.cart:
        raise InputError(
            "the basis has Cartesian functions (cart=True), the format has real spherical "
            "harmonics only; build the molecule with cart=False"
        )
    symbols = [_element(mol, atom) for atom in range(mol.natm)]
    shells: list[list[int]] = [[] for _ in symbols]
    order: list[list[int]] = [[] for _ in symbols]
    first = 0
    for row in mol._bas:
        atom, degree = int(row[_ATOM]), int(row[_L])
        if degree > L_MAX:
            raise InputError(
                f"{symbols[atom]}: a shell with l = {degree}, the format has l up to {L_MAX} "
                f"({SHELL_LETTERS[-1]}); choose another basis"
            )
        within = _P_ORDER if degree == 1 else range(2 * degree + 1)
        for _ in range(int(row[_CONTRACTIONS])):
            shells[atom].append(degree)
            order[atom] += [first + m for m in within]
            first += 2 * degree + 1
    orbital_map: dict[str, tuple[int, ...]] = {}
    for atom, (symbol, own) in enumerate(zip(symbols, shells, strict=True)):
        if not own:
            raise InputError(f"atom {atom + 1} ({symbol}) has no basis functions; give it a basis")
        if orbital_map.setdefault(symbol, tuple(own)) != tuple(own):
            raise InputError(
                f"{symbol}: two bases for one element, shells {list(orbital_map[symbol])} and "
                f"{own} (atom {atom + 1}); the format has one for each element"
            )
    _refuse_other_functions(mol, symbols)
    sizes = [orbital_count(own) for own in shells]
    return Orbitals(
        np.array([ATOMIC_NUMBERS[symbol] for symbol in symbols], dtype=np.int64),
        orbital_map,
        np.array([place for own in order for place in own], dtype=np.int64),
        np.cumsum([0, *sizes], dtype=np.int64),
    )


def _element(mol: Any, atom: int) -> str:
    """Give the element of an atom, whatever its label."""
    label = mol.atom_symbol(atom)
    if label.upper().startswith(("GHOST", "X-", "X:")):
        raise InputError(f"atom {atom + 1} ({label}) is a ghost; the format has no such atoms")
    from pyscf.gto import charge

    number = charge(label)
    if number not in SYMBOLS:
        raise InputError(f"atom {atom + 1}: '{label}' is no element of the format")
    return SYMBOLS[number]


def _refuse_other_functions(mol: Any, symbols: list[str]) -> None:
    """Refuse atoms of one element with the same shells but other radial functions."""
    known: dict[str, list[NDArray[np.float64]]] = {}
    functions: list[list[NDArray[np.float64]]] = [[] for _ in symbols]
    for shell in range(mol.nbas):
        functions[mol.bas_atom(shell)] += [mol.bas_exp(shell), mol.bas_ctr_coeff(shell).ravel()]
    for atom, symbol in enumerate(symbols):
        own = functions[atom]
        first = known.setdefault(symbol, own)
        if len(first) != len(own) or not all(
            a.shape == b.shape and np.allclose(a, b, rtol=1e-10, atol=0)
            for a, b in zip(first, own, strict=True)
        ):
            raise InputError(
                f"{symbol}: two bases for one element: the radial functions of atom {atom + 1} "
                "differ from those of an earlier one; the format has one basis for each element"
            )
