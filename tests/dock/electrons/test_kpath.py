"""Paths: in the cell's own coordinates, in the plane of slabs, of strained cells, from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from deeph_dock.electrons.kpath import (
    KPath,
    automatic_path,
    gamma_only,
    periodic_axes,
    read_kpath,
)
from deeph_spec.errors import InputError
from deeph_spec.structure import Structure

FCC = 5.65 * np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
GRAPHENE = np.array([[2.46, 0.0, 0.0], [-1.23, 2.46 * np.sqrt(0.75), 0.0], [0.0, 0.0, 20.0]])
FLAT = [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.5]]


def crystal(lattice, fractional, numbers) -> Structure:
    lattice = np.asarray(lattice, dtype=float)
    return Structure(lattice, np.asarray(fractional) @ lattice, np.asarray(numbers))


def points_of(path: KPath) -> dict[str, np.ndarray]:
    names = [name for pair in path.labels for name in pair]
    return dict(zip(names, path.ends.reshape(-1, 3), strict=True))


def length(k: np.ndarray, lattice: np.ndarray) -> float:
    return float(np.linalg.norm(k @ np.linalg.inv(lattice).T))


def test_zincblende_has_the_points_of_the_fcc_zone() -> None:
    path = automatic_path(crystal(FCC, [[0, 0, 0], [0.25] * 3], [31, 33]))
    assert str(path) == "Γ-X-U|K-Γ-L-W-X"
    assert "F-43m" in path.description
    # Distances from Gamma in units of 1/a, which no choice of cell changes.
    known = {"X": 1.0, "L": np.sqrt(0.75), "K": 0.75 * np.sqrt(2), "W": np.sqrt(1.25)}
    for name, expected in known.items():
        assert 5.65 * length(points_of(path)[name], FCC) == pytest.approx(expected, abs=1e-9)


def test_another_setting_of_the_cell_gives_the_same_points_in_space() -> None:
    change = np.array([[1, 1, 0], [0, 1, 0], [-1, 0, 1]])  # unimodular
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    lattice = change @ FCC @ turn
    atoms = np.array([[0, 0, 0], [0.25] * 3]) @ np.linalg.inv(change)
    path = automatic_path(crystal(lattice, atoms, [31, 33]))
    for name, expected in {"X": 1.0, "L": np.sqrt(0.75), "W": np.sqrt(1.25)}.items():
        k = points_of(path)[name]
        assert 5.65 * length(k, lattice) == pytest.approx(expected, abs=1e-7)
        # X and L are halves of reciprocal vectors: twice k is whole numbers of this cell.
        if name in "XL":
            np.testing.assert_allclose(2 * k, np.round(2 * k), atol=1e-7)


def test_perturbed_and_conventional_cells_get_the_path_of_their_own_lattice() -> None:
    rng = np.random.default_rng(3)
    strain = rng.uniform(-0.015, 0.015, (3, 3))
    strained = FCC @ (np.eye(3) + strain + strain.T)
    path = automatic_path(crystal(strained, [[0, 0, 0], [0.27, 0.24, 0.25]], [31, 33]))
    assert str(path) == "Γ-X-U|K-Γ-L-W-X"
    assert "nearly" in path.description
    base = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    conventional = crystal(
        5.65 * np.eye(3), np.concatenate([base, base + 0.25]), [31] * 4 + [33] * 4
    )
    assert str(automatic_path(conventional)) == "Γ-X-M-Γ-R-X|R-M"
    assert "nearly" not in automatic_path(conventional).description


def test_graphene_has_k_where_the_bands_touch() -> None:
    for change in ([[1, 0], [0, 1]], [[1, 0], [1, 1]], [[0, 1], [-1, 0]], [[2, 1], [1, 1]]):
        lattice = GRAPHENE.copy()
        lattice[:2] = np.array(change) @ GRAPHENE[:2]
        cartesian = np.array(FLAT) @ GRAPHENE
        path = automatic_path(Structure(lattice, cartesian, np.array([6, 6])))
        assert str(path) == "Γ-M-K-Γ"
        assert path.description.startswith("hexagonal")
        k = points_of(path)["K"] @ np.linalg.inv(lattice).T  # in space
        bonds = np.array([[0, 1.42, 0], [1.23, -0.71, 0], [-1.23, -0.71, 0]]) * 2.46 / 1.42
        bonds = bonds / np.sqrt(3)
        assert abs(np.exp(2j * np.pi * bonds @ k).sum()) < 2e-2
        assert length(points_of(path)["M"], lattice) == pytest.approx(
            1 / np.sqrt(3) / 2.46, abs=1e-9
        )


def test_strained_supercell_keeps_gamma_m_k_gamma() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        strain = np.zeros((3, 3))
        strain[:2, :2] = rng.uniform(-0.02, 0.02, (2, 2))
        lattice = np.diag([2, 2, 1]) @ GRAPHENE @ (np.eye(3) + (strain + strain.T) / 2)
        atoms = rng.random((8, 3)) * [1, 1, 0.05] + [0, 0, 0.5]
        path = automatic_path(crystal(lattice, atoms, [6] * 8))
        assert str(path) == "Γ-M-K-Γ"
        np.testing.assert_array_equal(path.kpoints[:, 2], 0.0)
        np.testing.assert_allclose(points_of(path)["K"], [1 / 3, 1 / 3, 0], atol=1e-12)


@pytest.mark.parametrize("vacuum", [0, 1, 2])
@pytest.mark.parametrize(
    ("plane", "shown"),
    [
        ([[4.3, 0.0], [0.0, 3.3]], "Γ-X-S-Y-Γ"),
        ([[4.0, 0.0], [0.0, 4.0]], "Γ-X-M-Γ"),
        ([[3.0, 0.0], [-1.5, 1.5 * np.sqrt(3)]], "Γ-M-K-Γ"),
        ([[5.0, 1.0], [0.0, 4.3]], "Γ-X-H-C-H_1-Y-Γ"),
    ],
)
def test_slabs_are_never_left(vacuum: int, plane: list[list[float]], shown: str) -> None:
    axes = [axis for axis in range(3) if axis != vacuum]
    lattice = np.zeros((3, 3))
    lattice[vacuum, vacuum] = 25.0
    lattice[np.ix_(axes, axes)] = plane
    path = automatic_path(crystal(lattice, [[0.4, 0.5, 0.5]], [14]))
    assert str(path) == shown
    assert not np.any(path.kpoints[:, vacuum])


def test_corners_of_an_oblique_zone_are_equally_far_from_three_reciprocal_points() -> None:
    plane = np.array([[5.0, 1.0, 0.0], [0.3, 4.3, 0.0], [0.0, 0.0, 25.0]])
    path = automatic_path(crystal(plane, [[0.5, 0.5, 0.5]], [14]))
    reciprocal = np.linalg.inv(plane).T
    grid = np.array([[a, b, 0] for a in range(-3, 4) for b in range(-3, 4)]) @ reciprocal
    for name in ("H", "H_1"):
        distances = np.sort(np.linalg.norm(grid - points_of(path)[name] @ reciprocal, axis=1))
        assert distances[2] - distances[0] < 1e-12  # a corner of the Brillouin zone
        assert distances[3] - distances[0] > 1e-3


def test_vacuum_is_found_by_coupling_and_by_distance() -> None:
    slab = crystal(GRAPHENE, FLAT, [6, 6])
    assert periodic_axes(slab) == (True, True, False)
    thin = crystal(np.diag([1, 1, 0.3]) @ GRAPHENE, FLAT, [6, 6])  # 6 Å: layers like graphite's
    assert periodic_axes(thin) == (True, True, True)
    assert periodic_axes(thin, (True, True, False)) == (True, True, False)
    outside = Structure(
        GRAPHENE, slab.positions + np.array([[0, 0, 0], [0, 0, 20.0]]), slab.numbers
    )
    assert periodic_axes(outside) == (True, True, False)  # a neighbour written one cell up


def test_molecules_and_chains() -> None:
    box = crystal(15 * np.eye(3), [[0.5, 0.5, 0.5], [0.5, 0.5, 0.55]], [1, 1])
    path = automatic_path(box)
    assert (str(path), path.counts, path.kpoints.tolist()) == ("Γ", (1,), [[0, 0, 0]])
    assert path.kpoints.tolist() == gamma_only().kpoints.tolist()
    chain = crystal(np.diag([20, 2.5, 20]), [[0.5, 0.5, 0.5]], [6])
    assert str(automatic_path(chain)) == "Γ-X"
    np.testing.assert_array_equal(automatic_path(chain).kpoints[-1], [0, 0.5, 0])


def test_points_are_spread_by_length_and_both_ends_belong_to_a_segment() -> None:
    path = automatic_path(crystal(GRAPHENE, FLAT, [6, 6]), points=100)
    gm, mk, kg = path.counts
    assert sum(path.counts) == pytest.approx(103, abs=2)
    assert (kg - 1) / (mk - 1) == pytest.approx(2.0, abs=0.1)  # K-Gamma is twice M-K
    x = path.distances(GRAPHENE)
    ticks = path.ticks(GRAPHENE)
    assert x[gm - 1] == x[gm] == ticks[1]
    assert ticks[-1] == pytest.approx(x[-1])
    steps = np.linalg.norm(np.diff(path.kpoints @ np.linalg.inv(GRAPHENE).T, axis=0), axis=1)
    np.testing.assert_allclose(np.diff(x), steps, atol=1e-12)
    with pytest.raises(InputError, match="at least 2 points"):
        automatic_path(crystal(GRAPHENE, FLAT, [6, 6]), points=1)


def write(folder: Path, text: str) -> Path:
    path = folder / "K_PATH"
    path.write_text(text, encoding="utf-8")
    return path


def test_kpath_files_are_read(tmp_path: Path) -> None:
    text = "# n, from, to\n\n3 0 0 0  .5 0 0  GAMMA M  # first\n2 .5 0 0  1/3 0 0 M K\n"
    path = read_kpath(write(tmp_path, text.replace("1/3", "0.25")))
    assert path.counts == (3, 2)
    assert path.labels == (("GAMMA", "M"), ("M", "K"))
    assert path.kpoints.tolist() == [
        [0, 0, 0],
        [0.25, 0, 0],
        [0.5, 0, 0],
        [0.5, 0, 0],
        [0.25, 0, 0],
    ]
    assert str(path) == "Γ-M-K"
    jump = read_kpath(write(tmp_path, "2 0 0 0 .5 0 0 G X\n2 0 .5 0 0 0 0 Y G\n"))
    assert str(jump) == "G-X|Y-G"
    assert jump.ticks(np.eye(3)).tolist() == [0.0, 0.5, 1.0]  # the jump has no length


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 0 0 0 .5 0 0 G\n", "line 1: found 8 fields"),
        ("\n1 0 0 0 .5 0 0 G X\n", "line 2: found n = 1"),
        ("2 0 0 0 .5 0 nan G X\n", "line 1: .*finite"),
        ("2 0 0 0 .5 0 1/3 G X\n", "line 1: not a number"),
        ("2.5 0 0 0 .5 0 0 G X\n", "line 1: not a number"),
        ("# nothing\n", "no segment"),
    ],
)
def test_broken_kpath_files_name_the_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_kpath(write(tmp_path, text))


def test_missing_kpath_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as a K_PATH file"):
        read_kpath(tmp_path / "K_PATH")
