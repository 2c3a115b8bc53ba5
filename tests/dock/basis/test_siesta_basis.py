"""Bases of real runs of SIESTA: in the order of their matrices, alike in the three forms."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.basis import siesta
from deeph_dock.codes.siesta import SIESTA
from deeph_spec.structure import SYMBOLS

Data = Callable[[str], Path]
BOHR = 0.529177
SUFFIXES = (".ion", ".ion.xml", ".ion.nc")
THIRD = "third-party/siesta//"
RUNS = [
    ("siesta/bands_check/graphene", "siesta/graphene_8/basis"),
    ("siesta/bands_check/GaAs", "siesta/GaAs_8/basis"),
    ("siesta/bands_check/SiC", "siesta/SiC_8/basis"),
    ("siesta/H2O_24mol/0001", "siesta/H2O_24mol/basis"),
    ("siesta/modes/FePt_soc", "siesta/modes/FePt_soc/basis"),
    ("siesta/modes/Fe_spin", "siesta/modes/Fe_spin/basis"),
    (f"{THIRD}Si",) * 2,
    (f"{THIRD}sisl-files-fe_bcc_polarized",) * 2,
    (f"{THIRD}sisl-files-Pt2_soc",) * 2,
    (f"{THIRD}sisl-files-Bi_hexagonal_soc",) * 2,
    ("third-party/qe//MoS2_hpro/aobasis",) * 2,
]
BASES = sorted({bases for _, bases in RUNS})


def place(dft_data: Data, name: str) -> Path:
    packed, _, within = name.partition("//")
    return dft_data(packed) / within


def basis_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIXES))


def listed(path: Path) -> dict[str, list[tuple[int, int, int, bool, float]]]:
    """Read n, l, zeta, polarising and radius of the shells of each species from .ORB_INDX."""
    found: dict[str, list[tuple[int, int, int, bool, float]]] = {}
    seen = set()
    for row in path.read_text().splitlines()[3:]:
        words = row.split()
        if len(words) != 16:
            break
        species, at = words[3], int(words[4])
        n, degree, m, zeta = (int(word) for word in words[5:9])
        if m == -degree and (species, at) not in seen:
            seen.add((species, at))
            shell = (n, degree, zeta, words[9] == "T", float(words[11]))
            found.setdefault(species, []).append(shell)
    return found


@pytest.mark.parametrize(("run", "bases"), RUNS)
def test_shells_stand_as_in_the_matrices(dft_data: Data, run: str, bases: str) -> None:
    folder = place(dft_data, run)
    (orbitals,) = folder.glob("*.ORB_INDX")
    species = listed(orbitals)
    calculation = SIESTA.read(folder, orbitals.stem)
    charges: dict[int, float] = {}
    for path in basis_files(place(dft_data, bases)):
        ion = siesta.read_ion(path)
        shells = [(o.shell, o.degree, o.zeta, o.polarising, o.cutoff) for o in ion.orbitals]
        for mine, theirs in zip(shells, species[ion.label], strict=True):
            assert mine[:4] == theirs[:4], path.name
            assert mine[4] == pytest.approx(theirs[4], abs=6e-4)
        basis = siesta.read(path)
        assert basis.degrees == tuple(calculation.info.orbital_map[SYMBOLS[basis.number]])
        charges[basis.number] = ion.valence
    electrons = sum(charges[number] for number in calculation.structure.numbers.tolist())
    assert electrons == pytest.approx(calculation.info.occupation, abs=1e-6)


@pytest.mark.parametrize("bases", BASES)
def test_orbitals_are_normalised_in_both_quadratures(dft_data: Data, bases: str) -> None:
    for path, quadrature in product(basis_files(place(dft_data, bases)), siesta.QUADRATURES):
        for shell in siesta.read(path, quadrature).shells:
            assert shell.norm == pytest.approx(1, abs=5e-6), (path.name, shell.name)
            # The sum is not exact; SIESTA's own overlaps of an orbital with itself are this norm.
            assert abs(shell.norm - 1) < 1e-7 or bases.startswith("third-party")


@pytest.mark.parametrize("bases", BASES)
def test_three_forms_of_one_basis_are_one(dft_data: Data, bases: str) -> None:
    compared = 0
    for exact in basis_files(place(dft_data, bases)):
        if exact.suffix != ".nc":
            continue
        ion = siesta.read_ion(exact)
        for suffix, digits in ((".ion", 4e-16), (".ion.xml", 4e-12)):
            path = exact.with_name(exact.name.removesuffix(".ion.nc") + suffix)
            if not path.exists():
                continue
            other = siesta.read_ion(path)
            compared += 1
            assert (other.label, other.number, other.valence) == (
                ion.label,
                ion.number,
                ion.valence,
            )
            np.testing.assert_allclose(other.projector_radii, ion.projector_radii, rtol=digits)
            for mine, theirs in zip(other.orbitals, ion.orbitals, strict=True):
                assert mine.name == theirs.name
                assert mine.cutoff == pytest.approx(theirs.cutoff, rel=digits, abs=0)
                largest = np.abs(theirs.values).max()
                np.testing.assert_allclose(
                    mine.values, theirs.values, rtol=0, atol=digits * largest
                )
                assert theirs.values[-1] == 0
    assert compared or bases.startswith("third-party")


def test_polarisation_orbitals_stand_where_the_file_has_them(dft_data: Data) -> None:
    of_4_1 = siesta.read(dft_data("siesta/modes/Fe_spin/basis") / "Fe.ion.nc")
    assert [s.name for s in of_4_1.shells][2:] == [
        "3d zeta 1", "3d zeta 2", "4p zeta 1 polarisation",
    ]  # fmt: skip
    of_5 = siesta.read(place(dft_data, f"{THIRD}sisl-files-fe_bcc_polarized") / "Fe.ion.xml")
    assert [s.name for s in of_5.shells][4:] == ["4p zeta 1", "3d zeta 1", "3d zeta 2"]


def test_largest_projector_counts(dft_data: Data) -> None:
    basis = siesta.read(dft_data("siesta/modes/Pt_soc/basis") / "Pt_SOC.ion.xml")
    assert basis.projector_reach / BOHR == pytest.approx(3.69057607049, abs=1e-10)
