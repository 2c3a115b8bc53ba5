"""Errors of spectra: the paper's Eqs. 12, 13, 14 and 16 in cases known by hand, and from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from deeph_dock.electrons.models import Model, chain, honeycomb, in_field, with_spin_orbit
from deeph_dock.electrons.states import eigenstates
from deeph_dock.metrics import (
    band_mae,
    band_shift,
    density_of_states,
    dos_error,
    energy_window,
    in_window,
    nearest_levels,
    spinor_overlap,
    state_error,
)
from deeph_dock.spectrum_errors import QUANTITIES, SpectrumSettings, spectrum_error
from deeph_spec.blocks import BlockMatrix
from deeph_spec.dataset import Dataset, StructureFolder
from deeph_spec.errors import InputError

Data = Callable[[str], Path]
LEVELS = np.array([[[-9.0, -1.0, 2.0, 8.0], [-9.0, -2.0, 2.5, 8.5]]])  # one channel, two k-points
EQUAL = np.array([0.5, 0.5])


# --- the window -----------------------------------------------------------------------------------


def test_the_window_is_widened_evenly_until_it_holds_enough_bands() -> None:
    assert energy_window(LEVELS, 0.5, 6.0, 1) == (-2.5, 3.5)
    assert energy_window(LEVELS, 0.5, 6.0, 3) == (-7.0, 8.0)  # the band at 8.0 is 7.5 eV away
    assert energy_window(LEVELS, 0.5, 6.0, 10) == (-9.0, 10.0)  # of four bands, all
    np.testing.assert_array_equal(
        in_window(LEVELS, (-2.0, 2.0)), [[[False, True, True, False], [False, True, False, False]]]
    )


def test_levels_of_molecules_are_counted_from_the_gap() -> None:
    chosen = nearest_levels(LEVELS, 0.5, 1, 2)
    np.testing.assert_array_equal(chosen, [[[False, True, True, True]] * 2])
    up_and_down = np.array([[[-1.0, 0.0, 1.0]], [[-1.0, 2.0, 3.0]]])  # two and one filled
    np.testing.assert_array_equal(
        nearest_levels(up_and_down, 0.5, 1, 1), [[[False, True, True]], [[True, True, False]]]
    )
    assert nearest_levels(LEVELS, 0.5, 4, 9).all()  # as many as there are


# --- Eqs. 12 and 16 -------------------------------------------------------------------------------


def test_the_shift_is_the_median_and_each_point_counts_by_its_weight() -> None:
    inside = in_window(LEVELS, (-3.0, 3.0))  # two states at each point
    off = np.array([[[9.0, 0.1, 0.2, 9.0], [9.0, 0.6, 0.7, 9.0]]])
    assert band_shift(LEVELS + off, LEVELS, EQUAL, inside) == pytest.approx(0.4)  # (0.2 + 0.6) / 2
    first = np.array([0.7, 0.3])
    assert band_shift(LEVELS + off, LEVELS, first, inside) == pytest.approx(0.2)
    three = np.repeat(LEVELS, [1, 2], axis=1)
    expanded = np.median((np.repeat(off, [1, 2], axis=1))[in_window(three, (-3.0, 3.0))])
    thirds = np.array([1 / 3, 2 / 3])
    assert band_shift(LEVELS + off, LEVELS, thirds, inside) == pytest.approx(expanded)
    # Mean of |off - 0.4|: 0.3, 0.2 at the first point, 0.2, 0.3 at the second.
    assert band_mae(LEVELS + off, LEVELS, EQUAL, inside, 0.4) == pytest.approx(0.25)
    heavy = band_mae(LEVELS + off, LEVELS, np.array([0.9, 0.1]), inside, 0.1)
    assert heavy == pytest.approx(0.9 * (0.0 + 0.1) / 2 + 0.1 * (0.5 + 0.6) / 2)


def test_the_mean_is_over_states_where_points_have_different_numbers() -> None:
    """The integral of N'_band(k) is below: not the mean over k of means over bands."""
    inside = in_window(LEVELS, (-1.5, 2.2))
    assert inside.sum(axis=2).tolist() == [[2, 0]]
    inside[0, 1, 1] = True
    off = np.zeros_like(LEVELS)
    off[0, 1, 1] = 0.3
    assert band_mae(LEVELS + off, LEVELS, EQUAL, inside, 0.0) == pytest.approx(0.1)


def test_a_window_without_states_is_refused() -> None:
    nothing = np.zeros(LEVELS.shape, bool)
    with pytest.raises(InputError, match="holds no states"):
        band_shift(LEVELS, LEVELS, EQUAL, nothing)
    with pytest.raises(InputError, match="holds no states"):
        dos_error(LEVELS, LEVELS, EQUAL, (30.0, 40.0), 0.0, 0.1)


# --- Eq. 13 ---------------------------------------------------------------------------------------


def test_the_density_of_states_counts_states() -> None:
    grid = np.linspace(-20, 20, 8001)
    dos = density_of_states(LEVELS, EQUAL, grid, 0.1)
    assert np.trapezoid(dos, grid) == pytest.approx(4.0, rel=1e-12)
    assert dos[np.argmin(np.abs(grid + 9.0))] == pytest.approx(1 / (np.sqrt(np.pi) * 0.1))
    assert np.trapezoid(density_of_states(LEVELS, np.array([1.0, 0.0]), grid, 0.1)[:4001],
                        grid[:4001]) == pytest.approx(2.0)  # fmt: skip


def test_a_rigid_shift_is_no_error_of_the_density_of_states() -> None:
    window = (-3.0, 3.0)
    assert dos_error(LEVELS + 0.7, LEVELS, EQUAL, window, 0.7, 0.05) == pytest.approx(0, abs=1e-12)
    # Not removed, peaks miss each other: every state is missed once and found once elsewhere.
    assert dos_error(LEVELS + 0.3, LEVELS, EQUAL, window, 0.0, 0.02) == pytest.approx(2, rel=1e-3)
    # Shifted by little compared with the width: 2 / (sqrt(pi) width) of shift and state.
    small = dos_error(LEVELS + 1e-4, LEVELS, EQUAL, window, 0.0, 0.05)
    assert small == pytest.approx(2 * 1e-4 / (np.sqrt(np.pi) * 0.05), rel=1e-2)
    with pytest.raises(InputError, match="expected above zero"):
        dos_error(LEVELS, LEVELS, EQUAL, window, 0.0, 0.0)


# --- Eq. 14 ---------------------------------------------------------------------------------------


def test_states_are_compared_with_their_degenerate_subspace() -> None:
    angle = 0.3
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    true, found, s = np.eye(3)[None], turn[None], np.eye(3)
    everything = np.ones((1, 3), bool)
    apart = np.array([[0.0, 0.006, 1.0]])
    error = state_error(found, true, s, apart, everything)
    assert error == pytest.approx(np.sqrt(2 * np.sin(angle) ** 2 / 3))
    together = np.array([[0.0, 0.004, 1.0]])
    assert state_error(found, true, s, together, everything) == pytest.approx(0.0, abs=1e-8)
    first = np.array([[True, False, False]])
    assert state_error(found, true, s, apart, first) == pytest.approx(np.sin(angle))
    phases = found * np.exp(1j * np.array([0.1, 2.0, 3.0]))
    assert state_error(phases, true, s, apart, everything) == pytest.approx(error)


def test_states_are_normalised_with_the_overlap() -> None:
    for model in (honeycomb(mass=1.0), in_field(honeycomb(mass=1.0), 0.2), with_spin_orbit(
            chain(), 0.3)):  # fmt: skip
        problem = model.problem()
        k = np.array([0.2, 0.0, 0.0])
        states = eigenstates(problem, k)
        np.testing.assert_allclose(states.energies, model.bands(k[None])[:, 0], atol=1e-12)
        h = problem.dense_stack(k[None])[0][:, 0]
        for c, energies, matrix in zip(states.coefficients, states.energies, h, strict=True):
            np.testing.assert_allclose(c.conj().T @ states.overlap @ c, np.eye(len(c)), atol=1e-12)
            np.testing.assert_allclose(matrix @ c, states.overlap @ c * energies, atol=1e-12)


def test_nearly_dependent_orbitals_are_left_out_of_states() -> None:
    model = honeycomb(overlap=0.3)  # S(Gamma) = 1 +- 0.9
    problem = replace(model.problem(), least_overlap=0.2)
    states = eigenstates(problem, np.zeros(3))
    assert states.coefficients.shape == (1, 2, 1)
    assert states.energies[0, 0] == pytest.approx(model.bands(np.zeros((1, 3)))[0, 0, 0])


# --- from files -----------------------------------------------------------------------------------


def folder_of(model: Model, path: Path) -> StructureFolder:
    path.mkdir()
    model.structure.write(path / "POSCAR")
    model.info.write(path / "info.json")
    return StructureFolder(path, "one")


def compared(model: Model, prediction: BlockMatrix, path: Path, **settings: object):
    return spectrum_error(
        folder_of(model, path), prediction, model.hamiltonian, model.overlap,
        SpectrumSettings(spacing=0.5, **settings),
    )  # fmt: skip


@pytest.mark.parametrize(
    "model",
    [honeycomb(mass=1.0), in_field(honeycomb(mass=1.0), 0.2), with_spin_orbit(chain(), 0.3)],
    ids=["none", "collinear", "soc"],
)
def test_another_zero_of_energy_is_no_error(model: Model, tmp_path: Path) -> None:
    h = model.hamiltonian
    s = spinor_overlap(model.overlap, h)
    # Wide enough for states at Gamma, which the window of 6 eV lacks.
    error = compared(model, h.with_entries(h.entries + 0.4 * s), tmp_path / "a", window=30.0)
    assert error.band_mae == pytest.approx(0.0, abs=1e-9)
    assert error.dos == pytest.approx(0.0, abs=1e-9)
    assert error.states == pytest.approx(0.0, abs=1e-7)
    assert error.shift == pytest.approx(400.0)
    # A change of the physics is one, and not of the zero alone.
    wrong = compared(model, h.with_entries(1.02 * h.entries), tmp_path / "b")
    assert wrong.band_mae > 1
    assert wrong.dos > 0.01


def test_bands_of_a_known_error(tmp_path: Path) -> None:
    """The mass of honeycomb gives levels +-sqrt(m^2 + ...): exact bands are the other witness."""
    true, wrong = honeycomb(mass=1.0, overlap=0.0), honeycomb(mass=1.1, overlap=0.0)
    error = compared(true, wrong.hamiltonian, tmp_path / "a", mesh=(6, 6, 1), least_bands=2)
    k = np.stack(np.meshgrid(*[np.arange(6) / 6] * 2, [0.0], indexing="ij"), -1).reshape(-1, 3)
    expected, found = true.bands(k), wrong.bands(k)
    inside = np.abs(expected) <= 3.0
    assert error.band_mae == pytest.approx(1e3 * np.abs(found - expected)[inside].mean())
    assert error.mesh == (6, 6, 1)
    assert error.fermi == pytest.approx(0.0, abs=1e-9)
    assert error.window == pytest.approx((-3.0, 3.0))
    assert error.states is None  # no state at Gamma lies in the window
    assert error.levels_per_point == pytest.approx(inside.sum() / 36)


def test_only_what_is_asked_for_is_computed(tmp_path: Path) -> None:
    model = honeycomb(mass=1.0)
    for name in QUANTITIES:
        error = compared(model, model.hamiltonian, tmp_path / name, quantities=(name,), window=30.0)
        values = {"bands": error.band_mae, "dos": error.dos, "states": error.states}
        assert [key for key, value in values.items() if value is not None] == [name]


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    model = honeycomb()
    no_level = replace(model, info=replace(model.info, occupation=None, fermi_level=None))
    with pytest.raises(InputError, match=r"info.json: occupation: neither it nor fermi_energy_eV"):
        compared(no_level, model.hamiltonian, tmp_path / "a")
    with pytest.raises(InputError, match="window: found -1"):
        SpectrumSettings(window=-1)
    with pytest.raises(InputError, match="spacing of the mesh: found 0"):
        SpectrumSettings(spacing=0)
    with pytest.raises(InputError, match="levels: found 0 0"):
        SpectrumSettings(levels=(0, 0))
    with pytest.raises(InputError, match="least bands: found 0"):
        SpectrumSettings(least_bands=0)


def test_bands_that_are_left_out_enter_no_window(tmp_path: Path) -> None:
    model = honeycomb(overlap=0.3)  # eigenvalues of S(k): 0.1 to 1.9
    h = model.hamiltonian
    error = compared(
        model, h.with_entries(1.01 * h.entries), tmp_path / "a", mesh=(2, 2, 1), window=60.0,
        least_overlap=0.9,
    )  # fmt: skip
    assert error.left_out == 1
    assert error.levels_per_point < 2
    assert np.isfinite([error.band_mae, error.dos, *error.window]).all()


def test_molecules_have_levels_at_gamma(dft_data: Data) -> None:
    root = dft_data("third-party/error_benchmark")
    folder = next(iter(Dataset.open(root / "benchmark")))
    found = BlockMatrix.read(root / "prediction" / folder.id / "hamiltonian_pred.h5")
    error = spectrum_error(folder, found, folder.hamiltonian(), folder.overlap())
    assert 0 < error.band_mae < 10
    assert 0 < error.states < 0.1
    assert 4500 < error.shift < 7700  # the published benchmark has another zero of energy
