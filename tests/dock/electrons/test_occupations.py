"""Meshes and Fermi levels: limits known by hand, and conservation of electrons."""

from __future__ import annotations

import numpy as np
import pytest
from deeph_dock.electrons.models import chain, honeycomb, in_field
from deeph_dock.electrons.occupations import (
    FermiLevel,
    fermi_level,
    gamma_mesh,
    mesh_divisions,
    occupation,
)
from deeph_dock.electrons.solvers.dense import eigenvalues
from deeph_spec.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("divisions", "points"), [((24, 24, 1), 290), ((1, 1, 1), 1), ((2, 2, 2), 8), ((3, 1, 5), 8)]
)
def test_time_reversal_halves_a_mesh(divisions: tuple[int, int, int], points: int) -> None:
    whole, half = (gamma_mesh(divisions, flag) for flag in (False, True))
    assert len(whole.kpoints) == np.prod(divisions)
    assert len(half.kpoints) == points
    assert half.weights.sum() == pytest.approx(1.0, abs=1e-14)
    # Every point of the whole mesh is one of the half, or minus one of them.
    wrapped = np.mod(np.concatenate([half.kpoints, -half.kpoints]) + 1e-9, 1.0).round(6)
    assert {*map(tuple, np.mod(whole.kpoints + 1e-9, 1.0).round(6))} == {*map(tuple, wrapped)}
    assert str(half) == "x".join(map(str, divisions))


def test_halved_mesh_averages_even_functions_as_the_whole_one() -> None:
    def average(mesh) -> float:
        k = 2 * np.pi * mesh.kpoints
        even = np.cos(k[:, 0]) ** 4 * np.cos(k[:, 1]) ** 2 + np.sin(k[:, 0]) * np.sin(k[:, 1])
        return float(mesh.weights @ even)

    whole, half = (gamma_mesh((7, 6, 2), flag) for flag in (False, True))
    assert average(half) == pytest.approx(average(whole), abs=1e-14)


@pytest.mark.parametrize("divisions", [(0, 1, 1), (4, 4)])
def test_meshes_without_points_are_refused(divisions: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="three numbers"):
        gamma_mesh(divisions, True)


def test_divisions_follow_the_spacing_along_periodic_directions() -> None:
    cubic = np.diag([2 * np.pi, 4 * np.pi, 20.0])  # |b| = 1, 0.5, 0.314
    assert mesh_divisions(cubic, (True, True, False), 0.1) == (10, 5, 1)
    assert mesh_divisions(cubic, (True, True, True), 0.3) == (4, 2, 2)
    with pytest.raises(InputError, match="positive"):
        mesh_divisions(cubic, (True, True, True), 0.0)


def test_half_filled_chain_has_its_level_in_the_middle() -> None:
    model = chain(hopping=-1.0, overlap=0.0, level=0.3)
    for divisions in ((12, 1, 1), (401, 1, 1)):  # an odd mesh misses the level by a little
        mesh = gamma_mesh(divisions, True)
        found = fermi_level(model.bands(mesh.kpoints), mesh.weights, 1.0, 2, width=0.1)
        assert found.is_metal
        assert found.energy == pytest.approx(0.3, abs=1e-2 if divisions[0] == 401 else 1e-9)


@pytest.mark.parametrize("smearing", ["fermi-dirac", "gaussian"])
def test_insulators_have_their_level_in_the_middle_of_the_gap(smearing: str) -> None:
    mesh = gamma_mesh((6, 6, 1), True)
    energies = honeycomb(overlap=0.0, mass=1.5).bands(mesh.kpoints) + 2.0
    found = fermi_level(energies, mesh.weights, 2.0, 2, smearing=smearing, mesh=mesh.divisions)
    assert not found.is_metal
    assert (found.vbm, found.cbm) == pytest.approx((0.5, 3.5), abs=1e-12)
    assert found.energy == pytest.approx(2.0, abs=1e-12)
    assert found.mesh == (6, 6, 1)


def test_touching_bands_are_no_insulator() -> None:
    mesh = gamma_mesh((6, 6, 1), True)  # holds K
    found = fermi_level(honeycomb().bands(mesh.kpoints), mesh.weights, 2.0, 2)
    assert found.is_metal
    assert found.energy == pytest.approx(0.0, abs=5e-3)


def test_overlapping_bands_are_no_insulator_though_each_k_has_a_gap() -> None:
    energies = np.array([[[0.0, 2.0], [3.0, 5.0]]])
    found = fermi_level(energies, np.array([0.5, 0.5]), 2.0, 2)
    assert found.is_metal
    assert 2.0 < found.energy < 3.0


def test_spins_share_one_level() -> None:
    mesh = gamma_mesh((6, 6, 1), True)  # holds K, where the gap is
    gapped = honeycomb(overlap=0.0, mass=1.0)
    polarised = in_field(gapped, 0.4)  # bands at +-1 -+ 0.4: two below, two above
    energies = eigenvalues(polarised.problem(), mesh.kpoints)
    found = fermi_level(energies, mesh.weights, 2.0, 1)
    assert (found.vbm, found.cbm) == pytest.approx((-0.6, 0.6), abs=1e-10)
    magnet = fermi_level(energies, mesh.weights, 3.0, 1)  # up: both, down: one; the bands overlap
    assert magnet.is_metal
    molecule = np.array([[[-2.0, -1.0]], [[-1.5, 4.0]]])  # up 2, down 1: a doublet
    assert fermi_level(molecule, np.ones(1), 3.0, 1).energy == pytest.approx(1.5)


def test_odd_electrons_without_spin_half_fill_a_level() -> None:
    found = fermi_level(np.array([[[-3.0, -1.0, 2.0]]]), np.ones(1), 3.0, 2)
    assert found.is_metal
    assert found.energy == pytest.approx(-1.0, abs=1e-9)


def test_full_bands_have_their_level_at_the_top() -> None:
    found = fermi_level(np.array([[[-3.0, -1.0]]]), np.ones(1), 4.0, 2)
    assert (found.energy, found.cbm) == (-1.0, np.inf)


@pytest.mark.parametrize("electrons", [0.0, -1.0, 4.5, np.nan])
def test_electrons_that_do_not_fit_are_refused(electrons: float) -> None:
    with pytest.raises(InputError, match="2 bands hold 0 to 4"):
        fermi_level(np.array([[[-3.0, -1.0]]]), np.ones(1), electrons, 2)


def test_unknown_smearing_and_width_are_refused() -> None:
    with pytest.raises(InputError, match="known are fermi-dirac, gaussian"):
        occupation(np.zeros(1), 0.0, "marzari")
    with pytest.raises(InputError, match="positive"):
        occupation(np.zeros(1), 0.0, "gaussian", 0.0)


def test_occupations_are_the_written_formulas() -> None:
    energies = np.array([-0.05, 0.0, 0.05])
    fermi_dirac = 1 / (np.exp(energies / 0.025) + 1)
    np.testing.assert_allclose(occupation(energies, 0.0), fermi_dirac, rtol=1e-14)
    gaussian = occupation(energies, 0.0, "gaussian", 0.025)
    # erfc(2) / 2 = 0.0023388674905...
    np.testing.assert_allclose(gaussian, [1 - 0.00233886749, 0.5, 0.00233886749], atol=1e-11)
    assert occupation(np.array([1e4, -1e4]), 0.0).tolist() == [0.0, 1.0]  # no overflow warning


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 2),
    st.integers(1, 5),
    st.integers(1, 6),
    st.floats(0.02, 0.98),
    st.sampled_from(["fermi-dirac", "gaussian"]),
    st.floats(1e-3, 1.0),
    st.integers(0, 2**32 - 1),
)
def test_electrons_are_conserved(
    channels: int, points: int, bands: int, share: float, smearing: str, width: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    energies = np.sort(rng.normal(scale=5.0, size=(channels, points, bands)), axis=-1)
    weights = rng.dirichlet(np.ones(points))
    electrons = share * 2 * channels * bands
    found = fermi_level(energies, weights, electrons, 2, smearing=smearing, width=width)
    filled = occupation(energies, found.energy, smearing, width)
    if found.is_metal:
        assert 2 * np.einsum("skn,k->", filled, weights) == pytest.approx(electrons, abs=1e-8)
    else:
        assert np.all(np.sum(energies < found.energy, axis=(0, 2)) == round(electrons / 2))


def test_a_level_from_elsewhere_counts_as_unknown_metal() -> None:
    assert FermiLevel(-4.0).is_metal
    assert FermiLevel(-4.0).source == "given"


@pytest.mark.parametrize("smearing", ["fermi-dirac", "gaussian"])
def test_states_that_were_left_out_stay_empty(smearing: str) -> None:
    energies = np.array([[[-1.0, 0.2, np.inf], [-0.8, 0.4, np.inf]]])
    weights = np.array([0.5, 0.5])
    metal = fermi_level(energies, weights, 3.0, 2, smearing=smearing, width=0.3)
    whole = fermi_level(energies[:, :, :2], weights, 3.0, 2, smearing=smearing, width=0.3)
    assert metal.energy == pytest.approx(whole.energy, abs=1e-9)
    insulator = fermi_level(energies, weights, 2.0, 2, smearing=smearing, width=0.3)
    assert (insulator.vbm, insulator.cbm) == (-0.8, 0.2)
