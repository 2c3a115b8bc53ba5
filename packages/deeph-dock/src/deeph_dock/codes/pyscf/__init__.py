"""PySCF: matrices of the format from SCF objects of people's own scripts.

>>> from deeph_dock.codes.pyscf import from_scf
>>> calculation = from_scf(mf)  # any converged mf of pyscf.scf, dft, pbc.scf, pbc.dft
>>> calculation.matrices["hamiltonian"]()

PySCF leaves no files from which a run could be recognised, so it is not among the codes of `dock
convert`; `dock run pyscf` computes and writes (`deeph_dock.engines`). Molecules give one block for
every two atoms, crystals sums over lattice vectors, see `deeph_dock.codes.pyscf.crystals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deeph_spec.errors import InputError

if TYPE_CHECKING:
    from deeph_dock.codes import Calculation

MISSING = (
    "PySCF is not installed; install it with: pip install 'deeph-dock[pyscf]' (it has no packages "
    "for Windows; use WSL there)"
)


SMALLEST_OVERLAP = 1e-10
"""Pairs of a crystal whose orbitals cannot overlap by more are left out."""


def require() -> None:
    """Raise unless PySCF can be imported.

    Raises
    ------
    InputError
        Saying how to install it.
    """
    try:
        import pyscf  # noqa: F401 (whether it is there is all that is asked)
    except ImportError as error:
        raise InputError(MISSING) from error


def from_scf(mf: Any, smallest_overlap: float = SMALLEST_OVERLAP) -> Calculation:
    """Give the matrices of a converged SCF object.

    Parameters
    ----------
    mf : pyscf.scf.hf.SCF
        RHF, UHF, ROHF, GHF, RKS, UKS, ROKS, GKS of molecules; the same at one k-point or with
        k-points of crystals, restricted open shells excepted. It must have run.
    smallest_overlap : float
        Two atoms of a crystal have a block if orbitals of these elements can overlap by this much
        at their distance. 1e-10 keeps eigenvalues to 1e-6 eV, 1e-8 to 1e-4 eV, 1e-6 to several meV
        with half of the blocks. Molecules have all blocks.

    Returns
    -------
    Calculation
        "overlap", "hamiltonian" (eV), "density_matrix", "position_matrix" (Å), each computed when
        it is called, and the eigenvalues ``mf.mo_energy``. H is the Fock matrix of the density
        ``mf.make_rdm1()``.

    Raises
    ------
    InputError
        If it has not run, has Cartesian functions or ghost atoms, if two atoms of an element have
        different bases, or if the method is none of these.
    """
    require()
    from deeph_dock.codes.pyscf.scf import calculation

    return calculation(mf, smallest_overlap)
