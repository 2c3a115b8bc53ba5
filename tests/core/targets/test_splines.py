"""Smooth functions of distance: known functions come back, and end in zero."""

from __future__ import annotations

import numpy as np
import pytest
from deeph.targets.splines import PenalisedFit, SplineGrid, fewer_unknowns

DATA = np.sort(np.random.default_rng(0).uniform(1.0, 4.0, 400))


def fitted(values: np.ndarray, grid: SplineGrid, folds: int = 5) -> np.ndarray:
    fit = PenalisedFit(grid.roughness(), values.shape[1])
    for part in range(folds):
        fit.add(grid.design(DATA[part::folds]), values[part::folds])
    return fit.solve()


def test_smooth_functions_come_back() -> None:
    grid = SplineGrid.covering(DATA, margin=0.8)
    functions = [lambda r: np.exp(-r), lambda r: np.cos(2 * r), lambda r: 0 * r + 3.0, np.sqrt]
    values = np.stack([f(DATA) for f in functions], axis=1)
    coefficients = fitted(values, grid)
    between = np.linspace(1.0, 4.0, 1001)
    expected = np.stack([f(between) for f in functions], axis=1)
    error = np.abs(grid.design(between) @ coefficients - expected)
    # Of a function f, a cubic spline of step h misses h^4 f'''' / 384, 7e-5 for the cosine.
    assert error[between < 3.8].max() < 1e-4
    assert error.max() < 1e-3  # the end feels that beyond the data functions go to zero


def test_noise_is_smoothed() -> None:
    grid = SplineGrid.covering(DATA, margin=0.8)
    rng = np.random.default_rng(1)
    clean = np.exp(-DATA)[:, None]
    noisy = clean + 0.1 * rng.normal(size=clean.shape)
    error = grid.design(DATA) @ fitted(noisy, grid) - clean
    assert np.sqrt(np.mean(error**2)) < 0.025  # 0.1 sqrt(parameters / data) is 0.02 for ten of them


def test_functions_end_smoothly_in_zero() -> None:
    grid = SplineGrid.covering(DATA, margin=0.8)
    coefficients = fitted(np.full((len(DATA), 1), 2.0), grid)
    r = np.linspace(0.0, 6.0, 6001)
    values = (grid.design(r) @ coefficients)[:, 0]
    np.testing.assert_allclose(values[(r > 1.0) & (r < 3.0)], 2.0, atol=1e-5)
    np.testing.assert_allclose(values[(r > 1.0) & (r < 4.0)], 2.0, atol=1e-3)
    assert np.all(values[r >= grid.stop] == 0.0)
    np.testing.assert_allclose(values[r <= grid.start], values[0])
    beyond = r > 3.9
    slope, curvature = np.diff(values[beyond]) / 1e-3, np.diff(values[beyond], 2) / 1e-6
    assert np.abs(np.diff(slope)).max() < 0.05  # no corner,
    assert np.abs(np.diff(curvature)).max() < 0.5  # no jump of the second derivative
    assert values[beyond].min() > -1e-9  # and no swing below


def test_splines_sum_to_one_where_data_are() -> None:
    for data in (DATA, np.array([1.4]), np.array([1.4, 1.45]), np.array([1.0, 9.0])):
        grid = SplineGrid.covering(data, margin=0.8)
        np.testing.assert_allclose(grid.design(data).sum(axis=1), 1.0, atol=1e-12)
        assert grid.design(data).shape == (len(data), grid.size)


def test_lines_are_not_penalised() -> None:
    grid = SplineGrid(0.0, 3.0, 15)
    # The three splines that are left out count as zero: a line that ends in zero costs nothing.
    line = np.maximum(np.arange(grid.size)[::-1], 0.0)
    roughness = grid.roughness()
    inside = line @ roughness @ line
    wiggle = np.where(np.arange(grid.size) % 2, 1.0, -1.0)
    assert inside < 2.5 < wiggle @ roughness @ wiggle
    np.testing.assert_allclose(roughness, roughness.T)


@pytest.mark.parametrize("folds", [1, 2, 7])
def test_any_number_of_structures_will_do(folds: int) -> None:
    grid = SplineGrid.covering(DATA, margin=0.8)
    values = np.exp(-DATA)[:, None]
    error = grid.design(DATA) @ fitted(values, grid, folds) - values
    # One structure cannot be cross-validated: a middling smoothness is taken.
    assert np.abs(error).max() < (5e-3 if folds == 1 else 2e-4)


def test_a_fit_without_data_is_zero() -> None:
    grid = SplineGrid(1.0, 3.0, 10)
    assert not PenalisedFit(grid.roughness(), 3).solve().any()


def _problem(rows: int, free: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Return designs and values of three structures, and penalties: 4 + 6 unknowns and `free`."""
    rng = np.random.default_rng(rows)
    designs = [rng.normal(size=(rows, 10 + free)) for _ in range(3)]
    for design in designs:
        design[:, 10:] = 1.0
    values = [rng.normal(size=(rows, 2)) for _ in range(3)]
    halves = [rng.normal(size=(size, size)) for size in (4, 6)]
    return designs, values, [half @ half.T + 0.1 * np.eye(len(half)) for half in halves]


def _solved(designs: list[np.ndarray], values: list[np.ndarray], penalty: np.ndarray) -> np.ndarray:
    fit = PenalisedFit(penalty, 2)
    for design, value in zip(designs, values, strict=True):
        fit.add(design, value)
    return fit.solve(np.array([1e-3, 1e-1, 1.0]))


@pytest.mark.parametrize("free", [0, 1])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_fewer_unknowns_give_the_same_fit(rows: int, free: int) -> None:
    designs, values, penalties = _problem(rows, free)
    full = np.zeros((10 + free, 10 + free))
    full[:4, :4], full[4:10, 4:10] = penalties
    reduced, penalty, expand = fewer_unknowns(designs, penalties, free, 3 * rows)
    assert reduced[0].shape[1] == min(3 * rows, 10) + free
    found = expand @ _solved(reduced, values, penalty)
    np.testing.assert_allclose(found, _solved(designs, values, full), atol=1e-6)


def test_unknowns_are_limited_by_a_part_of_the_rows() -> None:
    designs, values, penalties = _problem(20, 1)
    reduced, penalty, expand = fewer_unknowns(designs, penalties, 1, 6)
    assert reduced[0].shape[1] <= 7
    assert np.isfinite(expand @ _solved(reduced, values, penalty)).all()
