"""Overlaps of OpenMX's orbitals against OpenMX's own, and the pairs of atoms that it stores."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.basis import AtomicBasis
from deeph_dock.basis.openmx import BOHR, read
from deeph_dock.codes.openmx import OPENMX
from deeph_dock.codes.openmx.matrices import orbital_order
from deeph_dock.codes.openmx.scfout import read_scfout
from deeph_dock.integrals.assembly import compute
from deeph_dock.integrals.neighbours import touching_pairs
from deeph_dock.integrals.patterns import linked_pairs
from deeph_dock.integrals.two_centre import TwoCentre
from deeph_spec.dataset import Dataset
from deeph_spec.structure import Structure
from numpy.typing import NDArray

Bases = dict[int, AtomicBasis]
Data = Callable[[str], Path]

MOS2 = ("Mo7.0-s2p2d1", "S7.0-s2p2")
BI2SE3 = ("Bi8.0-s2p2d1", "Se7.0-s1p2")
WATER = ("O5.0-s2p2d1f1", "H5.0-s2p1")
SEO = ("Se7.0-s1p2", "O5.0-s2p2d1")
IRON = ("Fe5.0S-s2p2d1",)
OXYGEN = ("O5.0-s2p2d1",)

SETS = [
    ("MoS2_12/0001", MOS2),
    ("bands_check/MoS2", MOS2),
    ("Bi2Se3_SOC_5/0001", BI2SE3),
    ("bands_check/Bi2Se3_SOC", BI2SE3),
    ("modes/H2O_f", WATER),
    ("modes/SeO_NC_SOC_magnetic", SEO),
    ("modes/O2_collinear", SEO),
    ("modes/O2_NC_noSOC", SEO),
    ("modes/Fe_bcc_collinear", IRON),
    ("modes_v38/SeO_NC_SOC_magnetic", SEO),
    ("modes_v38/O2_collinear", SEO),
    ("modes_v38/O2_NC_noSOC", SEO),
]


@pytest.fixture(scope="module")
def bases(dft_data: Data) -> Callable[..., Bases]:
    """Give the bases of names by atomic number."""
    folder = dft_data("openmx/basis") / "PAO"

    @cache
    def read_all(names: tuple[str, ...], quadrature: str = "openmx") -> Bases:
        paths = [folder / f"{name.partition('-')[0]}.pao" for name in names]
        found = [read(path, quadrature, name) for path, name in zip(paths, names, strict=True)]
        return {basis.number: basis for basis in found}

    return read_all


@pytest.fixture(scope="module")
def integrals(bases: Callable[..., Bases]) -> Callable[..., TwoCentre]:
    """Give the overlap integrals of names; the tables are made once."""

    @cache
    def make(names: tuple[str, ...], quadrature: str = "openmx") -> TwoCentre:
        return TwoCentre(bases(names, quadrature))

    return make


@pytest.mark.parametrize(("run", "names"), SETS)
def test_overlaps_are_those_of_openmx(
    dft_data: Data, integrals: Callable[..., TwoCentre], run: str, names: tuple[str, ...]
) -> None:
    calculation = OPENMX.read(dft_data(f"openmx/{run}"), "openmx")
    overlap = calculation.matrices["overlap"]()
    computed = compute(calculation.structure, integrals(names), overlap.atom_pairs)
    # 1.2e-7 measured, by what OpenMX does over k; see the page on OpenMX's bases.
    np.testing.assert_allclose(computed.entries, overlap.entries, rtol=0, atol=2e-7)


@pytest.mark.parametrize(("run", "names"), SETS)
def test_pairs_and_electrons_are_those_of_openmx(
    dft_data: Data, bases: Callable[..., Bases], run: str, names: tuple[str, ...]
) -> None:
    calculation = OPENMX.read(dft_data(f"openmx/{run}"), "openmx")
    structure, found = calculation.structure, bases(names)
    pairs = calculation.matrices["overlap"]().atom_pairs
    np.testing.assert_array_equal(touching_pairs(structure, found), pairs)
    np.testing.assert_array_equal(linked_pairs(structure, found), pairs)
    electrons = sum(found[int(number)].valence or np.nan for number in structure.numbers)
    assert electrons == pytest.approx(calculation.info.occupation, abs=1e-9)
    assert all(
        calculation.info.orbital_map[symbol] == found[int(number)].degrees
        for symbol, number in zip(structure.symbols, structure.numbers, strict=True)
    )


@pytest.mark.parametrize(("name", "names"), [("MoS2_12", MOS2), ("Bi2Se3_SOC_5", BI2SE3)])
def test_pairs_of_all_structures(
    dft_data: Data, bases: Callable[..., Bases], name: str, names: tuple[str, ...]
) -> None:
    for folder in Dataset.open(dft_data(f"deeph/{name}")):
        pairs = touching_pairs(folder.structure, bases(names))
        np.testing.assert_array_equal(pairs, folder.overlap().sorted().atom_pairs)


def test_exact_quadrature(dft_data: Data, integrals: Callable[..., TwoCentre]) -> None:
    calculation = OPENMX.read(dft_data("openmx/modes/Fe_bcc_collinear"), "openmx")
    overlap = calculation.matrices["overlap"]()
    exact, openmx = (
        compute(calculation.structure, integrals(IRON, quadrature), overlap.atom_pairs).entries
        for quadrature in ("exact", "openmx")
    )
    np.testing.assert_allclose(exact, overlap.entries, rtol=0, atol=5e-8)
    np.testing.assert_allclose(exact, openmx, rtol=0, atol=1e-7)
    assert np.abs(exact - openmx).max() > 1e-9


def test_positions_and_gradients_are_those_of_openmx_as_far_as_its_mesh_goes(
    dft_data: Data, bases: Callable[..., Bases]
) -> None:
    folder = dft_data("openmx/modes/O2_collinear")
    calculation = OPENMX.read(folder, "openmx")
    structure, expected = calculation.structure, calculation.matrices["position_matrix"]()
    three = TwoCentre(bases(OXYGEN), ("overlap", "position", "gradient"))
    pairs = expected.atom_pairs
    position = compute(structure, three, pairs, "position").entries
    # OpenMX integrates r and d/dr on its real-space mesh: its <i|r|j> and <j|r|i> differ by 1e-5 Å.
    np.testing.assert_allclose(position, expected.entries, rtol=0, atol=4e-5)
    gradient = compute(structure, three, pairs, "gradient").entries
    # Stored is minus the gradient, in 1/Bohr.
    np.testing.assert_allclose(-gradient, momenta(folder, structure, pairs), rtol=0, atol=4e-4)
    assert np.abs(gradient).max() > 1


def momenta(folder: Path, structure: Structure, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Read the momentum matrices of a file of one element, in 1/Å and the order of the format."""
    file = read_scfout(folder / "openmx.scfout")
    start, total = file.sections["momentum"].start, int(file.offsets[-1])
    stored = np.fromfile(folder / "openmx.scfout", "<f8", 3 * total, offset=start) / BOHR
    size = int(file.orbitals[0])
    blocks = stored.reshape(3, -1, size, size)
    order = orbital_order((0, 0, 1, 1, 2))
    rows = [file.pairs.tolist().index(pair) for pair in pairs.tolist()]
    return blocks[:, rows][:, :, order][:, :, :, order].reshape(3, -1)
