"""The constants that a version of SIESTA works with.

SIESTA up to 4.1 works with 1 Ry = 13.60580 eV and 1 Bohr = 0.529177 Å, SIESTA 5 with those of
CODATA 2018; with the wrong ones eigenvalues move by 8e-6 of themselves. The Fermi level, which
HSX of version 1 and 2 holds in Ry and .EIG in eV, decides; then the version in the output; then
the version of the HSX file.
"""

from __future__ import annotations

from typing import NamedTuple

from deeph_dock.codes.siesta.hsx import Hsx
from deeph_dock.codes.siesta.output import Output


class Units(NamedTuple):
    """Constants of a program: 1 Ry in eV and 1 Bohr in Å."""

    rydberg: float
    bohr: float


SIESTA_4 = Units(13.60580, 0.529177)
SIESTA_5 = Units(13.605693122994, 0.529177210903)


def choose_units(hsx: Hsx, printed_level: float | None, output: Output | None) -> Units:
    """Find the constants that the program worked with.

    Parameters
    ----------
    hsx : Hsx
        Its version, and its Fermi level in Ry where it has one.
    printed_level : float or None
        The Fermi level of .EIG, eV.
    output : Output or None
        Where the version of the program is printed.

    Returns
    -------
    Units
        Those of SIESTA 4 or of SIESTA 5.
    """
    if printed_level and hsx.fermi_level:
        ratio = printed_level / hsx.fermi_level
        for units in (SIESTA_4, SIESTA_5):
            if abs(ratio / units.rydberg - 1) < 1e-6:
                return units
    if output is not None and output.major is not None:
        return SIESTA_5 if output.major >= 5 else SIESTA_4
    return SIESTA_4 if hsx.version == 0 else SIESTA_5
