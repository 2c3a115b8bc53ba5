"""Overlaps of SIESTA, from its basis files: by its own sums, and exactly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.basis import AtomicBasis, siesta
from deeph_dock.codes.siesta import SIESTA
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_spec.blocks import BlockMatrix
from deeph_spec.structure import Structure

Data = Callable[[str], Path]
SUFFIXES = (".ion", ".ion.xml", ".ion.nc")


@lru_cache(maxsize=2)
def integrals(folder: Path, quadrature: str, suffix: str = ".ion.nc") -> TwoCentre:
    found: dict[int, AtomicBasis] = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(suffix):
            basis = siesta.read(path, quadrature)
            found[basis.number] = basis
    return TwoCentre(found)


def read(folder: Path) -> tuple[Structure, BlockMatrix]:
    (label,) = SIESTA.recognises(folder)
    calculation = SIESTA.read(folder, label)
    return calculation.structure, calculation.matrices["overlap"]().sorted()


def difference(structure: Structure, theirs: BlockMatrix, own: TwoCentre) -> tuple[float, float]:
    """Give max |dS| of on-site and of other blocks."""
    mine = compute(structure, own, theirs.atom_pairs)
    off = np.abs(mine.entries - theirs.entries)
    on_site = np.repeat(theirs.on_site(), np.diff(theirs.chunk_boundaries))
    return float(off[on_site].max()), float(off[~on_site].max(initial=0))


@pytest.mark.parametrize(
    ("bases", "runs"),
    [
        ("graphene_8/basis", ["graphene_8/0001", "graphene_8/0007", "bands_check/graphene"]),
        ("GaAs_8/basis", ["GaAs_8/0002"]),
        ("SiC_8/basis", ["SiC_8/0003"]),
        ("H2O_box/basis", ["H2O_box/0005", "H2O_24mol/0002", "modes/O2_spin"]),
        ("modes/Fe_spin/basis", ["modes/Fe_spin", "modes/Fe_nc"]),
        ("modes/FePt_soc/basis", ["modes/FePt_soc"]),
        ("modes/Pt_soc/basis", ["modes/Pt_soc"]),
    ],
)
def test_its_own_sums_give_its_overlaps(dft_data: Data, bases: str, runs: list[str]) -> None:
    """To the single precision of HSX version 0; 1e-6 is asked for."""
    own = integrals(dft_data(f"siesta/{bases}"), "siesta")
    for run in runs:
        assert max(difference(*read(dft_data(f"siesta/{run}")), own)) < 8e-8, run


@pytest.mark.parametrize(
    ("label", "run", "bases"),
    [
        ("graphene", "bands_check/graphene", "graphene_8/basis"),
        ("Pt_soc", "modes/Pt_soc", "modes/Pt_soc/basis"),
    ],
)
def test_double_precision_shows_how_well(
    dft_data: Data, tmp_path: Path, label: str, run: str, bases: str
) -> None:
    """What is left off-site are the splines over the distance, theirs and ours."""
    for path in dft_data(f"siesta/{run}").iterdir():
        if path.is_file() and path.suffix != ".HSX":
            shutil.copyfile(path, tmp_path / path.name)
    shutil.copyfile(dft_data("siesta/hsx_v2") / f"{label}.HSX", tmp_path / f"{label}.HSX")
    structure, theirs = read(tmp_path)
    assert theirs.dtype == np.float64
    on_site, others = difference(
        structure, theirs, integrals(dft_data(f"siesta/{bases}"), "siesta")
    )
    assert on_site < 1e-10
    assert others < 5e-9


@pytest.mark.parametrize(
    ("bases", "run"), [("graphene_8/basis", "graphene_8/0001"), ("H2O_box/basis", "H2O_box/0005")]
)
def test_exact_integrals_differ_by_what_its_sums_miss(dft_data: Data, bases: str, run: str) -> None:
    structure, theirs = read(dft_data(f"siesta/{run}"))
    exact = integrals(dft_data(f"siesta/{bases}"), "exact")
    assert 1e-7 < max(difference(structure, theirs, exact)) < 2e-5


def test_forms_of_the_file_give_one_overlap(dft_data: Data) -> None:
    structure, theirs = read(dft_data("siesta/graphene_8/0001"))
    bases = dft_data("siesta/graphene_8/basis")
    found = [
        compute(structure, integrals(bases, "siesta", suffix), theirs.atom_pairs).entries
        for suffix in SUFFIXES
    ]
    np.testing.assert_allclose(found[0], found[2], rtol=0, atol=1e-14)
    np.testing.assert_allclose(found[1], found[2], rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("packed", "within", "suffix"),
    [
        ("third-party/siesta", "Si", ".ion.nc"),
        ("third-party/siesta", "sisl-files-Bi_hexagonal_soc", ".ion.xml"),
        ("third-party/siesta", "sisl-files-SrTiO3_polarized", ".ion.xml"),
        ("third-party/qe", "MoS2_hpro/aobasis", ".ion"),
    ],
)
def test_siesta_5(dft_data: Data, packed: str, within: str, suffix: str) -> None:
    """Its Bohr is longer by 4e-7 than the one the basis is read with."""
    folder = dft_data(packed) / within
    on_site, others = difference(*read(folder), integrals(folder, "siesta", suffix))
    assert on_site < 2e-9
    assert others < 5e-7


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count"), [("graphene_8", 20), ("H2O_box", 48), ("GaAs_8", 16), ("SiC_8", 16)]
)
def test_every_structure_of_the_sets(dft_data: Data, name: str, count: int) -> None:
    own = integrals(dft_data(f"siesta/{name}/basis"), "siesta")
    for number in range(1, count + 1):
        assert max(difference(*read(dft_data(f"siesta/{name}/{number:04d}")), own)) < 8e-8
