"""Matrices with spin from the components that SIESTA writes.

Components are numbered from 1 as in SIESTA's sources. Element (row io, column js) of a file is the
conjugate of <io, 0| . |js, R> for H, so that with 8 components (spin-orbit coupling)

    H_uu = H1 - i H5    H_ud = H7 - i H8
    H_du = H3 + i H4    H_dd = H2 - i H6

and with 4 (non-collinear) H_uu = H1, H_dd = H2, H_du = H3 + i H4, H_ud = H3 - i H4. The density
matrix follows another rule:

    rho_uu = D1 + i D5    rho_ud = D3 - i D4
    rho_du = D7 + i D8    rho_dd = D2 + i D6

and with 4 components rho_ud = D3 - i D4, rho_du = D3 + i D4. Measured: other readings of H move
eigenvalues by eV; those of rho are wrong by the size of the moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from deeph_spec.blocks import BlockMatrix
from numpy.typing import NDArray

from deeph_dock.orbital_elements import Pattern
from deeph_dock.spin_blocks import collinear, spinor

Component = Callable[[int], NDArray[Any]]
"""Reads one component, (elements,), counted from 0."""

KINDS = {1: "none", 2: "collinear", 4: "soc", 8: "soc"}
"""Spin of the format for each number of components."""


class _Part(NamedTuple):
    """One of the four parts of a matrix: real component, imaginary component and its sign."""

    real: int
    imaginary: int = 0
    sign: int = 1


_HAMILTONIAN = {
    4: (_Part(1), _Part(3, 4, -1), _Part(3, 4), _Part(2)),
    8: (_Part(1, 5, -1), _Part(7, 8, -1), _Part(3, 4), _Part(2, 6, -1)),
}
_DENSITY = {
    4: (_Part(1), _Part(3, 4, -1), _Part(3, 4), _Part(2)),
    8: (_Part(1, 5), _Part(3, 4, -1), _Part(7, 8), _Part(2, 6)),
}


def hamiltonian(pattern: Pattern, component: Component, spins: int, unit: float) -> BlockMatrix:
    """Make the Hamiltonian of its components.

    Parameters
    ----------
    pattern : Pattern
        Where the elements go.
    component : callable
        Reads the components.
    spins : int
        How many there are: 1, 2, 4 or 8.
    unit : float
        Their unit in eV.

    Returns
    -------
    BlockMatrix
        In eV, real up to two components, else complex.
    """
    return _matrix(pattern, component, spins, unit, _HAMILTONIAN)


def density_matrix(pattern: Pattern, component: Component, spins: int) -> BlockMatrix:
    """Make the density matrix of its components.

    Parameters
    ----------
    pattern, component, spins
        As for `hamiltonian`.

    Returns
    -------
    BlockMatrix
        Without spin it holds the electrons of both.
    """
    return _matrix(pattern, component, spins, 1.0, _DENSITY)


def _matrix(
    pattern: Pattern,
    component: Component,
    spins: int,
    unit: float,
    rules: Mapping[int, tuple[_Part, ...]],
) -> BlockMatrix:
    if spins == 1:
        return pattern.fill(component(0), unit)
    if spins == 2:
        return collinear(pattern.fill(component(0), unit), pattern.fill(component(1), unit))

    def part(rule: _Part) -> BlockMatrix:
        real = component(rule.real - 1)
        values = real.astype(np.result_type(real, np.complex64))
        if rule.imaginary:
            values.imag = rule.sign * component(rule.imaginary - 1)
        return pattern.fill(values, unit)

    up_up, up_down, down_up, down_down = (part(rule) for rule in rules[spins])
    return spinor(up_up, up_down, down_up, down_down)
