"""Band structures: exactly solved models, then what DFT codes printed themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from deeph_dock import codes
from deeph_dock.electrons.bands import Bands, choose_mesh, compute_bands, find_fermi_level
from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.kpath import KPath, automatic_path
from deeph_dock.electrons.models import Model, chain, honeycomb, in_field, with_spin_orbit
from deeph_dock.electrons.occupations import FermiLevel, fermi_level, gamma_mesh
from deeph_dock.electrons.solvers.dense import eigenvalues
from deeph_spec.dataset import Dataset
from deeph_spec.errors import InputError

HARTREE = 27.2113845
Data = Callable[[str], Path]


def bands_of(model: Model, mesh: tuple[int, int, int] | None = None) -> Bands:
    problem = model.problem()
    path = automatic_path(model.structure, problem.coupled_axes)
    level = find_fermi_level(problem, model.info, choose_mesh(problem, model.structure, mesh))
    return compute_bands(problem, model.structure, path, level)


def test_graphene_touches_at_k_and_is_a_metal() -> None:
    bands = bands_of(honeycomb(), (12, 12, 1))
    np.testing.assert_allclose(
        bands.energies, honeycomb().bands(bands.path.kpoints), atol=1e-10, rtol=0
    )
    corner = sum(bands.path.counts[:2]) - 1
    assert bands.path.labels[1][1] == "K"
    assert np.ptp(bands.energies[0, corner]) < 1e-10
    assert bands.is_metal
    assert (bands.gap, bands.vbm, bands.cbm) == (0.0, None, None)
    assert bands.fermi.energy == pytest.approx(0.0, abs=2e-3)


def test_boron_nitride_has_its_gap_at_k_which_the_mesh_misses() -> None:
    bands = bands_of(honeycomb(overlap=0.0, mass=1.5), (4, 4, 1))
    assert bands.fermi.cbm - bands.fermi.vbm > 3.1
    assert bands.gap == pytest.approx(3.0, abs=1e-10)  # mesh and path together
    assert (bands.vbm, bands.cbm) == pytest.approx((-1.5, 1.5), abs=1e-10)
    assert bands.fermi.energy == pytest.approx(0.0, abs=1e-10)
    assert not bands.is_metal
    np.testing.assert_allclose(
        bands.occupations[0], [[1.0, 0.0]] * len(bands.path.kpoints), atol=1e-12
    )


def test_bands_that_cross_the_level_on_the_path_alone_make_a_metal() -> None:
    bands = bands_of(honeycomb(), (4, 4, 1))  # the mesh misses K
    assert not bands.fermi.is_metal
    assert bands.is_metal
    assert bands.gap == 0.0


def test_half_filled_chain_is_a_metal_with_its_level_at_a_quarter() -> None:
    bands = bands_of(chain(hopping=-1.0, overlap=0.0, level=0.3), (64, 1, 1))
    assert str(bands.path) == "Γ-X"
    assert bands.is_metal
    assert bands.fermi.energy == pytest.approx(0.3, abs=1e-9)
    crossing = np.flatnonzero(np.diff(np.sign(bands.energies[0, :, 0] - 0.3)))
    assert bands.path.kpoints[crossing[0], 0] == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ("model", "channels"),
    [(in_field(honeycomb(mass=1.0), 0.3), 2), (with_spin_orbit(chain(), 0.2, field=0.1), 1)],
)
def test_spins(model: Model, channels: int) -> None:
    bands = bands_of(model, (6, 6, 1) if channels == 2 else (40, 1, 1))
    assert bands.energies.shape[0] == channels
    np.testing.assert_allclose(bands.energies, model.bands(bands.path.kpoints), atol=1e-10, rtol=0)
    assert bands.spin == model.info.spin
    mesh = gamma_mesh((6, 6, 1), False)
    filled = np.mean(eigenvalues(model.problem(), mesh.kpoints) < bands.fermi.energy)
    states = model.info.occupation / (channels * bands.energies.shape[2])
    assert filled == pytest.approx(states, abs=0.1)


def test_joints_are_solved_once_and_appear_twice() -> None:
    solved: list[int] = []
    model = honeycomb()
    path = automatic_path(model.structure, points=30)
    bands = compute_bands(
        model.problem(), model.structure, path, FermiLevel(0.0), progress=solved.append
    )
    joint = path.counts[0]
    np.testing.assert_array_equal(bands.energies[:, joint - 1], bands.energies[:, joint])
    assert bands.energies.shape[1] == sum(path.counts) == sum(solved) + 2


def test_the_level_is_counted_else_taken_from_info_else_an_error() -> None:
    model = honeycomb(mass=1.0)
    problem = model.problem()
    mesh = choose_mesh(problem, model.structure)
    assert mesh.divisions[2] == 1
    counted = find_fermi_level(problem, replace(model.info, fermi_level=7.0), mesh)
    assert (counted.source, counted.mesh, counted.electrons) == ("electrons", mesh.divisions, 2.0)
    known = find_fermi_level(problem, replace(model.info, occupation=None, fermi_level=0.2), mesh)
    assert (known.source, known.energy) == ("info.json", 0.2)
    path = automatic_path(model.structure)
    bands = compute_bands(problem, model.structure, path, known)
    assert bands.gap == pytest.approx(2.0, abs=1e-9)  # edges of the path alone
    with pytest.raises(InputError, match="neither 'occupation' nor 'fermi_energy_eV'"):
        find_fermi_level(problem, replace(model.info, occupation=None), mesh)


def test_molecules_have_one_point() -> None:
    model = honeycomb()
    home = np.flatnonzero(np.all(model.hamiltonian.atom_pairs[:, :3] == 0, axis=1))
    pairs = model.hamiltonian.atom_pairs[home]
    molecule = replace(
        model, hamiltonian=model.hamiltonian.on_pairs(pairs), overlap=model.overlap.on_pairs(pairs)
    )
    bands = bands_of(molecule)
    assert bands.fermi.mesh == (1, 1, 1)
    # bonding (t) / (1 + s), antibonding (-t) / (1 - s)
    np.testing.assert_allclose(bands.energies, [[[-2.7 / 1.1, 2.7 / 0.9]]], atol=1e-12)
    assert bands.fermi.energy == pytest.approx((-2.7 / 1.1 + 2.7 / 0.9) / 2)


@pytest.fixture(scope="module")
def mote2(dft_data: Data) -> tuple[HamiltonianK, Path, Dataset]:
    folder = dft_data("third-party/eigen") / "MoTe2"
    one = Dataset.open(folder).folders[0]
    problem = HamiltonianK.from_blocks(one.structure, one.info, one.hamiltonian(), one.overlap())
    return problem, folder, one


def test_openmx_printed_the_same_eigenvalues(mote2) -> None:
    problem, folder, _ = mote2
    printed = json.loads((folder / "openmx_scf_eigenvalues.json").read_text())
    # OpenMX moves its mesh by 1e-6 off the ninths.
    kpoints = np.array(printed["k_exact_ninths"]) / 9 + [1e-6, -1e-6, 0]
    expected = np.array(printed["eigenvalues"]) * HARTREE + printed["shift_eV_of_this_folder"]
    found = eigenvalues(problem, kpoints)[0]
    assert np.abs(found - expected).max() < 1e-6


def test_independent_diagonalisation_agrees_to_a_nano_electronvolt(mote2) -> None:
    problem, folder, _ = mote2
    points = json.loads((folder / "kpath_eigenvalues_independent.json").read_text())["points"]
    found = eigenvalues(problem, np.array([point["k"] for point in points]))[0]
    assert np.abs(found - [point["eigenvalues"] for point in points]).max() < 1.1e-9


def test_published_fermi_level_is_the_middle_of_the_gap(mote2) -> None:
    problem, _, folder = mote2
    mesh = gamma_mesh((24, 24, 1), problem.time_reversal)
    found = find_fermi_level(problem, folder.info, mesh)
    assert found.energy == pytest.approx(8.894647969025222, abs=1e-9)
    assert (found.vbm, found.cbm) == pytest.approx((8.374658, 9.414638), abs=1e-6)
    whole = gamma_mesh((24, 24, 1), False)
    again = fermi_level(eigenvalues(problem, whole.kpoints), whole.weights, 46, 2)
    assert again.energy == pytest.approx(found.energy, abs=1e-12)


def openmx_bands(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Read k-points, energies in eV and chemical potential of an openmx.Band of one spin."""
    lines = path.read_text().splitlines()
    count = int(lines[0].split()[0])
    level = float(lines[0].split()[2]) * HARTREE
    body = lines[3 + int(lines[2]) :]
    kpoints = np.array([[float(x) for x in line.split()[1:4]] for line in body[::2]])
    energies = np.array([[float(x) for x in line.split()] for line in body[1::2]])
    assert energies.shape == (len(kpoints), count)
    return kpoints, energies * HARTREE, level


@pytest.mark.parametrize(
    ("name", "below", "everywhere"), [("MoS2_12", 5e-6, 6e-5), ("Bi2Se3_SOC_5", 2e-6, 2e-4)]
)
def test_openmx_bands_from_single_precision_folders(
    dft_data: Data, name: str, below: float, everywhere: float
) -> None:
    """Low states to the error of float32; S of these bases is nearly singular for high ones."""
    folder = Dataset.open(dft_data(f"deeph/{name}/0001")).folders[0]
    raw = dft_data(f"openmx/{name}/0001")
    kpoints, expected, level = openmx_bands(raw / "openmx.Band")
    problem = HamiltonianK.from_blocks(
        folder.structure, folder.info, folder.hamiltonian(), folder.overlap()
    )
    difference = np.abs(eigenvalues(problem, kpoints)[0] - expected)
    assert difference[expected < level + 6].max() < below
    assert difference.max() < everywhere


def siesta_bands(path: Path) -> tuple[np.ndarray, float]:
    """Read energies (K, bands) in eV and the Fermi level of a SIESTA .bands file."""
    numbers = path.read_text().split()
    level = float(numbers[0])
    bands, spins, points = (int(x) for x in numbers[5:8])
    assert spins == 1
    table = np.array(numbers[8 : 8 + points * (bands + 1)], dtype=float)
    return table.reshape(points, bands + 1)[:, 1:], level


def band_lines(fdf: Path) -> KPath:
    """Read the BandLines of a SIESTA input: n steps from the point before to each point."""
    block = re.search(r"%block BandLines\n(.*?)%endblock", fdf.read_text(), re.S)
    assert block is not None
    rows = [line.split() for line in block[1].splitlines()]
    steps = list(pairwise(rows))
    ends = np.array([[[float(x) for x in row[1:4]] for row in step] for step in steps])
    names = tuple((a[4], b[4]) for a, b in steps)
    return KPath(ends, names, tuple(int(row[0]) + 1 for row in rows[1:]))


@pytest.mark.parametrize("name", ["graphene", "GaAs", "SiC"])
def test_siesta_drew_the_same_bands(dft_data: Data, name: str) -> None:
    run = dft_data(f"siesta/bands_check/{name}")
    calculation = codes.load("siesta").read(run, name)
    problem = HamiltonianK.from_blocks(
        calculation.structure,
        calculation.info,
        calculation.matrices["hamiltonian"](),
        calculation.matrices["overlap"](),
    )
    path = band_lines(run / "RUN.fdf")
    expected, level = siesta_bands(run / f"{name}.bands")
    bands = compute_bands(problem, calculation.structure, path, FermiLevel(level))
    found = bands.energies[0, path.fresh]
    assert found.shape == expected.shape
    # The file has four decimals; the single precision of its HSX moves high states only.
    assert np.abs(found - expected)[expected < level + 5].max() < 1e-4
