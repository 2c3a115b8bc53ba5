"""Integrals from .orb files against what ABACUS wrote: S, r, kinetic energy, and pairs of H."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Hartree
from deeph_dock.basis import AtomicBasis, abacus, upf
from deeph_dock.codes import Calculation
from deeph_dock.codes.abacus import ABACUS
from deeph_dock.codes.abacus.assembly import DROPPED, Basis, real_matrix
from deeph_dock.codes.abacus.csr import read_csr
from deeph_dock.integrals.assembly import entries_of
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.patterns import linked_pairs
from deeph_dock.integrals.two_centre import TwoCentre

Data = Callable[[str], Path]


@functools.cache
def basis(folder: Path, name: str, quadrature: str) -> AtomicBasis:
    return abacus.read(folder / name, quadrature)


@functools.cache
def integrals(folder: Path, names: tuple[str, ...], quadrature: str, *quantities: str) -> TwoCentre:
    """Tabulate once for all runs of a basis."""
    read = [basis(folder, name, quadrature) for name in names]
    return TwoCentre({one.number: one for one in read}, quantities or ("overlap",))


def names_of(run: Path, suffix: str) -> tuple[str, ...]:
    return tuple(re.findall(rf"(\S+\.{suffix})\b", (run / "STRU").read_text()))


def read_run(run: Path) -> Calculation:
    (label,) = ABACUS.recognises(run)
    return ABACUS.read(run, label)


def largest_error(run: Path, folder: Path, quadrature: str = "exact") -> float:
    calculation = read_run(run)
    tables = integrals(folder, names_of(run, "orb"), quadrature)
    written = calculation.matrices["overlap"]()
    ours = entries_of(calculation.structure, tables, "overlap", written.atom_pairs)
    assert np.abs(written.entries[written.entries < 0.999]).max() > 0.005
    return float(np.abs(ours - written.entries).max())


# Measured, the limits are two times that: spd, f shells, two and three elements, spin, SOC, MD.
@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("Si2", 2e-8),
        ("Si2_soc", 2e-8),
        ("Si2_sz_r", 1e-8),
        ("Si2_sz_md", 1e-7),  # positions of MD_dump have fewer digits
        ("H2O", 4e-8),
        ("Fe_spin", 3e-7),
        ("Pb_soc", 5e-8),
        ("AsH_soc_mag", 5e-8),
        ("SiO2_6/0001", 4e-8),
        ("SiO2_6/0004", 4e-8),
    ],
)
def test_overlaps_are_those_of_abacus(dft_data: Data, name: str, limit: float) -> None:
    assert largest_error(dft_data(f"abacus/{name}"), dft_data("abacus/basis")) < limit


BARE = {
    "tests-3.8/207_NO_KP_OH2": ("data-SR-sparse_SPIN0.csr", 3e-8),
    "tests-2026/get_s": ("sr_nao.csr", 6e-8),
    "tests-2026/nscf_out_hsr_tr_rr": ("srs1_nao.csr", 1e-8),
}


def bare(dft_data: Data, name: str, file: str, target: Path) -> Path:
    """Put a reference file of ABACUS' own tests in the place where a run leaves it."""
    source = dft_data("third-party/abacus") / name
    (target / "OUT.autotest").mkdir(parents=True)
    for one in ("STRU", "INPUT"):
        shutil.copyfile(source / one, target / one)
    (found,) = [path for path in source.iterdir() if re.sub(r"[._]?ref$", "", path.name) == file]
    shutil.copyfile(found, target / "OUT.autotest" / file)
    for orbital in (dft_data("third-party/abacus") / "orb").iterdir():
        shutil.copyfile(orbital, target / orbital.name)
    return target


@pytest.mark.parametrize("name", BARE)
def test_overlaps_of_the_tests_of_abacus(dft_data: Data, tmp_path: Path, name: str) -> None:
    """Si; MgO; H2O with functions in the files that its heads do not name."""
    file, limit = BARE[name]
    run = bare(dft_data, name, file, tmp_path / "run")
    assert largest_error(run, dft_data("third-party/abacus") / "orb") < limit


def test_overlaps_of_abacus_3_10(dft_data: Data) -> None:
    """GaAs, orbitals of 8 and 9 Bohr."""
    data = dft_data("third-party/abacus")
    assert largest_error(data / "GaAs_SOC", data / "orb") < 4e-8


def test_overlaps_by_the_older_rule(dft_data: Data, tmp_path: Path) -> None:
    """A file for ecutwfc 20: k up to 4.5/Bohr, where functions of 60 Ry are not complete."""
    run = bare(dft_data, "tests-3.8/out_s_multik", "SR.csr", tmp_path / "run")
    orbitals = dft_data("third-party/abacus") / "orb"
    assert largest_error(run, orbitals, "abacus:20") < 1e-7
    assert 1e-3 < largest_error(run, orbitals, "exact") < 3e-3


def test_position_is_that_of_abacus(dft_data: Data) -> None:
    """From the origin of the cell, and <i| r |j> at R is not that at 0."""
    run = dft_data("abacus/Si2_sz_r")
    calculation = read_run(run)
    structure, written = calculation.structure, calculation.matrices["position_matrix"]()
    folder, names = dft_data("abacus/basis"), names_of(run, "orb")
    tables = integrals(folder, names, "exact", "overlap", "position")
    ours = entries_of(structure, tables, "position", written.atom_pairs)
    assert np.abs(written.entries).max() > 1
    assert np.abs(ours - written.entries).max() < 1e-7


def test_kinetic_energy_is_that_of_abacus(dft_data: Data) -> None:
    """In Ry and Bohr of ABACUS: k^2, whatever Ry and Bohr are."""
    run = dft_data("abacus/Si2")
    calculation = read_run(run)
    structure = calculation.structure
    (path,) = (run / "OUT.Si2").glob("data-TR*")
    shells = (calculation.info.orbital_map["Si"],) * 2
    written = real_matrix(read_csr(path), Basis(shells, np.zeros((2, 3), np.int64)))
    tables = integrals(dft_data("abacus/basis"), names_of(run, "orb"), "exact", "kinetic")
    ours = entries_of(structure, tables, "kinetic", written.atom_pairs)
    ours = ours / (Hartree * Bohr**2 / 2) * abacus.BOHR**2
    assert np.abs(written.entries).max() > 1
    assert np.abs(ours - written.entries).max() < 4e-7


def bases_of(run: Path, folder: Path) -> Mapping[int, AtomicBasis]:
    read = {one.number: one for one in (upf.read(folder / n) for n in names_of(run, "upf"))}
    bases = {one.number: one for one in (basis(folder, n, "exact") for n in names_of(run, "orb"))}
    return {
        number: dataclasses.replace(one, projector_reach=read[number].projector_reach)
        for number, one in bases.items()
    }


@pytest.mark.parametrize(
    "name", ["Si2", "Si2_sz_r", "H2O", "Fe_spin", "Fe2_afm", "Pb_soc", "AsH_soc_mag"]
)
def test_pairs_of_s_and_h_are_those_of_abacus(dft_data: Data, name: str) -> None:
    """S where orbitals touch; H also where both touch a projector of a third atom."""
    run, folder = dft_data(f"abacus/{name}"), dft_data("abacus/basis")
    calculation, bases = read_run(run), bases_of(run, folder)
    structure = calculation.structure
    touching = touching_pairs(structure, bases)
    linked = linked_pairs(structure, bases)
    np.testing.assert_array_equal(touching, calculation.matrices["overlap"]().sorted().atom_pairs)
    np.testing.assert_array_equal(linked, calculation.matrices["hamiltonian"]().sorted().atom_pairs)
    assert (len(linked) > len(touching)) == (name != "H2O")


@pytest.mark.parametrize(("name", "lost"), [("PbO_soc", 2), ("SiO2_6/0001", 132)])
def test_pairs_that_abacus_drops_are_empty(dft_data: Data, name: str, lost: int) -> None:
    """Its files lack elements below 1e-10, and pairs that have no others; no other pairs."""
    run, folder = dft_data(f"abacus/{name}"), dft_data("abacus/basis")
    calculation, bases = read_run(run), bases_of(run, folder)
    structure = calculation.structure
    linked = {tuple(pair) for pair in linked_pairs(structure, bases).tolist()}
    stored = {tuple(p) for p in calculation.matrices["hamiltonian"]().atom_pairs.tolist()}
    assert stored < linked
    assert len(linked - stored) == lost
    written = calculation.matrices["overlap"]()
    pairs = touching_pairs(structure, bases)
    missing = pairs[written.rows_of(pairs) < 0]
    assert (written.rows_of(pairs) >= 0).sum() == len(written)
    tables = integrals(folder, names_of(run, "orb"), "exact")
    for pair in missing:
        numbers = structure.numbers[pair[3:]].tolist()
        blocks = tables.blocks("overlap", *numbers, structure.pair_vectors(pair[None]))
        assert np.abs(blocks).max() < 10 * DROPPED
