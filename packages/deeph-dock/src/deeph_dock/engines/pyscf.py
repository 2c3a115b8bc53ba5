"""PySCF as an engine: from a structure and settings to a converged SCF object.

Molecules: RKS or UKS with all electrons, or the effective core potentials that belong to the basis.
Crystals: KRKS or KUKS with GTH pseudopotentials, densities on multigrids where the functional is
semilocal. Everything that is not asked for is chosen here.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

MOLECULE_BASIS = "def2-svp"
CRYSTAL_BASIS = "gth-dzvp-molopt-sr"
GRID_LEVEL = 4
"""Atom-centred grids of molecules, 0 to 9 in PySCF: H turns with the molecule to 1e-6 eV."""
ENERGY_TOLERANCE, GRADIENT_TOLERANCE = 1e-10, 3e-8
"""Hartree; eigenvalues of H[rho] and those printed then agree to about 1e-6 eV."""
_LEFT_OUT = 1e-9
"""Weight of the hardest orbital and projector beyond the cutoff of the density."""


@dataclass(frozen=True)
class Settings:
    """What to compute; None where it follows from the structure.

    Attributes
    ----------
    functional : str
        Name of PySCF; "lda" means "lda,vwn".
    basis, pseudo : str or None
        Names of PySCF; "none" for no pseudopotentials.
    kmesh : three int or None
        Divisions of the Gamma-centred mesh.
    spacing : float
        Largest distance of k-points where there is no `kmesh`, 1/Å with 2 pi.
    spin : int or None
        Unpaired electrons of the cell; None: as few as there can be.
    polarised : bool
        Two spin channels, also without unpaired electrons.
    charge : int
    smearing : float
        Temperature of Fermi-Dirac occupations, eV.
    cutoff : float or None
        Plane waves of the density of crystals, eV.
    cycles : int
        Largest number of SCF cycles.
    smallest_overlap : float
        Which pairs of a crystal get blocks, see `deeph_dock.codes.pyscf.from_scf`.
    """

    functional: str = "pbe"
    basis: str | None = None
    pseudo: str | None = None
    kmesh: tuple[int, int, int] | None = None
    spacing: float = 0.5
    spin: int | None = None
    polarised: bool = False
    charge: int = 0
    smearing: float = 0.0
    cutoff: float | None = None
    cycles: int = 100
    smallest_overlap: float = 1e-10

    def for_kind(self, crystal: bool) -> dict[str, Any]:
        """Give the settings that a molecule or crystal depends on, as plain objects."""
        own = asdict(self)
        del own["cycles"]
        if not crystal:
            for name in ("kmesh", "spacing", "cutoff", "smallest_overlap"):
                del own[name]
        elif self.kmesh is not None:
            del own["spacing"]
        own["kind"] = "crystal" if crystal else "molecule"
        return {key: list(v) if isinstance(v, tuple) else v for key, v in own.items()}


def check_settings(settings: Settings) -> None:
    """Refuse settings that no structure can be computed with.

    Raises
    ------
    InputError
        Naming the option.
    """
    from pyscf.dft import libxc

    try:
        libxc.parse_xc(_functional(settings))
    except (KeyError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"--functional {settings.functional}: not known to PySCF; known are pbe, lda, pbesol, "
            "scan, b3lyp, pbe0 and the names of libxc"
        ) from error


def _functional(settings: Settings) -> str:
    return "lda,vwn" if settings.functional.lower() == "lda" else settings.functional


def build(structure: Structure, crystal: bool, settings: Settings) -> Any:
    """Make PySCF's molecule or cell.

    Parameters
    ----------
    structure : Structure
        Å.
    crystal : bool
        Whether it repeats.
    settings : Settings
        Basis, pseudopotentials, charge, spin, cutoff.

    Returns
    -------
    pyscf.gto.Mole or pyscf.pbc.gto.Cell
        Built; its spin is that of one cell.

    Raises
    ------
    InputError
        If an element has no such basis or pseudopotential, or the spin does not fit.
    """
    if crystal:
        from pyscf.pbc.gto import Cell

        mol = Cell()
        mol.a = structure.lattice
    else:
        from pyscf.gto import Mole

        mol = Mole()
    mol.atom = list(zip(structure.symbols, structure.positions.tolist(), strict=True))
    mol.unit, mol.verbose, mol.charge = "Angstrom", 0, settings.charge
    mol.basis = settings.basis or (CRYSTAL_BASIS if crystal else MOLECULE_BASIS)
    own = crystal or str(mol.basis).lower().startswith("gth-")
    pseudo = settings.pseudo or (_pseudo(settings) if own else "ecp")
    if pseudo == "ecp":
        mol.ecp = _core_potentials(structure.elements, mol.basis)
    elif pseudo != "none":
        mol.pseudo = pseudo
    mol.spin = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mol.build(False, False)
            if crystal:
                mol.ke_cutoff = settings.cutoff / _hartree() if settings.cutoff else _enough(mol)
                mol.build(False, False)
        least = int(mol.nelectron) % 2
    except Exception as error:
        raise InputError(f"PySCF: {_one_line(error)}") from error
    if crystal and settings.smearing and not settings.spin:
        least = 0  # partial occupations take any number of electrons
    spin = least if settings.spin is None else settings.spin
    if mol.nelectron <= 0 or spin > mol.nelectron or (spin - least) % 2:
        raise InputError(
            f"{mol.nelectron} electrons cannot have {spin} unpaired ones; choose --spin or --charge"
        )
    mol.spin = spin
    return mol


def _pseudo(settings: Settings) -> str:
    """Choose the GTH pseudopotentials that were made for a functional."""
    from pyscf.dft import libxc

    name = settings.functional.lower()
    if name == "hf":
        return "gth-hf-rev"
    if "blyp" in name or "b3lyp" in name:
        return "gth-blyp"
    return "gth-pade" if libxc.xc_type(_functional(settings)) == "LDA" else "gth-pbe"


def _core_potentials(elements: tuple[str, ...], basis: str) -> dict[str, str]:
    """Give the elements for which a basis comes with an effective core potential."""
    from pyscf.gto.basis import load_ecp

    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PySCF recommends to look elsewhere
        for element in elements:
            try:
                if load_ecp(basis, element):
                    found[element] = basis
            except (RuntimeError, KeyError, ValueError, OSError):
                continue  # PySCF raises one of these where there is none
    return found


def _enough(cell: Any) -> float | None:
    """Choose the cutoff of the density for the hardest orbital and pseudopotential, Hartree.

    An orbital exp(-a r^2) has the weight exp(-E / 2a) at plane waves of kinetic energy E, a
    projector exp(-r^2 / 2 s^2) has exp(-E s^2); their product must not exceed `_LEFT_OUT`.
    """
    if not cell._pseudo:
        return None
    hardest = 0.0
    for atom in range(cell.natm):
        symbol = cell.atom_symbol(atom)
        shells = cell.atom_shell_ids(atom)
        sharp = max(float(np.max(cell.bas_exp(shell))) for shell in shells)
        radius = 0.0
        if symbol in cell._pseudo:
            potential = cell._pseudo[symbol]
            radii = [projector[0] for projector in potential[5:] if projector[1] > 0]
            radius = min([float(potential[1]), *map(float, radii)])
        hardest = max(hardest, -math.log(_LEFT_OUT) / (0.5 / sharp + radius**2))
    return hardest


def _hartree() -> float:
    from pyscf.data.nist import HARTREE2EV

    return float(HARTREE2EV)


def kmesh(
    structure: Structure, periodic: tuple[bool, bool, bool], settings: Settings
) -> tuple[int, int, int]:
    """Choose the divisions of the k-mesh; one along directions that do not repeat."""
    if settings.kmesh is not None:
        return settings.kmesh
    lengths = np.linalg.norm(2 * np.pi * np.linalg.inv(structure.lattice), axis=0)
    n = [
        max(1, math.ceil(length / settings.spacing - 1e-6)) if repeats else 1
        for length, repeats in zip(lengths.tolist(), periodic, strict=True)
    ]
    return n[0], n[1], n[2]


def solve(structure: Structure, periodic: tuple[bool, bool, bool], settings: Settings) -> Any:
    """Run the SCF of a structure.

    Parameters
    ----------
    structure : Structure
        Å.
    periodic : three bool
        Where it repeats; nowhere: a molecule.
    settings : Settings
        What to compute.

    Returns
    -------
    pyscf.scf.hf.SCF
        Converged.

    Raises
    ------
    InputError
        If it does not converge, or PySCF cannot compute it.
    """
    crystal = any(periodic)
    mol = build(structure, crystal, settings)
    polarised = settings.polarised or mol.spin > 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if crystal:
                mf = _crystal(mol, kmesh(structure, periodic, settings), polarised, settings)
            else:
                mf = _molecule(mol, polarised, settings)
            mf.kernel()
            if not (mf.converged or crystal or settings.smearing):
                mf = _second_order(mf)
    except InputError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise InputError(f"PySCF: {_one_line(error)}") from error
    if not mf.converged:
        raise InputError(
            f"the SCF did not converge in {settings.cycles} cycles; try --smearing 0.1, more "
            "--cycles, or another --spin"
        )
    return mf


def _molecule(mol: Any, polarised: bool, settings: Settings) -> Any:
    from pyscf import dft

    mf = (dft.UKS if polarised else dft.RKS)(mol)
    mf.grids.level = GRID_LEVEL
    return _configured(mf, settings)


def _crystal(cell: Any, mesh: tuple[int, int, int], polarised: bool, settings: Settings) -> Any:
    from pyscf.dft import libxc
    from pyscf.pbc import dft

    kpoints = cell.make_kpts(mesh)
    cell.spin *= len(kpoints)  # PySCF counts the supercell of the mesh
    cell.spin += (cell.tot_electrons(len(kpoints)) - cell.spin) % 2
    mf = (dft.KUKS if polarised else dft.KRKS)(cell, kpoints)
    if not cell._pseudo:
        mf = mf.density_fit()
    mf = _configured(mf, settings)
    if cell._pseudo and not libxc.is_hybrid_xc(mf.xc) and not libxc.is_nlc(mf.xc):
        mf = mf.multigrid_numint()
    return mf


def _configured(mf: Any, settings: Settings) -> Any:
    """Set what molecules and crystals have in common."""
    mf.xc = _functional(settings)
    mf.conv_tol, mf.conv_tol_grad = ENERGY_TOLERANCE, GRADIENT_TOLERANCE
    mf.max_cycle = settings.cycles
    temporary, mf.chkfile = getattr(mf, "_chkfile", None), None
    if temporary is not None:
        temporary.close()
    if settings.smearing:
        mf = mf.smearing(settings.smearing / _hartree(), "fermi")
    return mf


def _second_order(mf: Any) -> Any:
    """Go on where DIIS did not converge."""
    newton = mf.newton()
    newton.max_cycle = mf.max_cycle
    newton.kernel(mf.mo_coeff, mf.mo_occ)
    newton.cycles = mf.cycles
    return newton


def _one_line(error: Exception) -> str:
    """Say what PySCF says in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
