"""Eigenvalues as ABACUS printed them, and their k-points.

* ``istate.info`` (up to 3.10): sixteen digits, for two spin channels six; k in reciprocal lattice
  vectors. ``BANDS_1.dat`` and ``BANDS_2.dat`` (``out_band``) have the digits that it lacks.
* ``eig_occ.txt`` or ``eig.txt`` (later): all digits; k Cartesian, in 2 pi over the lattice
  constant, with eight digits.

k-points of six or eight digits stand for fractions: 0.333333 moves levels of iron by 6e-5 eV.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray

Float = NDArray[np.float64]

_LARGEST_DENOMINATOR = 256
_BLOCK = re.compile(
    r"^BAND[^\n]*Kpoint = \d+\s+\(([^)\n]*)\)[^\n]*\n((?:\s*\d+ [^\n]*\n)+)", re.MULTILINE
)
_NEW_BLOCK = re.compile(
    r"^ ?spin=(\d) k-point=(\d+)/\d+ Cartesian=(\S+ \S+ \S+)[^\n]*\n((?:\s*\d+ [^\n]*\n)+)",
    re.MULTILINE,
)


def read_levels(paths: tuple[Path, ...], vectors: Float) -> tuple[Float, Float]:
    """Read eigenvalues.

    Parameters
    ----------
    paths : tuple of Path
        Those of istate.info, eig_occ.txt, eig.txt and BANDS_*.dat that are there.
    vectors : (3, 3) array
        Lattice vectors as rows, in lattice constants.

    Returns
    -------
    kpoints : (K, 3) float64 array
        Fractional.
    energies : (S, K, B) float64 array
        In eV, ascending; S is 2 for two spin channels.

    Raises
    ------
    InputError
        If a file is cut or damaged.
    """
    files = {path.name: path for path in paths}
    for name in ("eig_occ.txt", "eig.txt"):
        if name in files:
            return _read_new(files[name], vectors)
    kpoints, energies = _read_istate(files["istate.info"])
    if len(energies) == 2:
        kpoints = _rational(kpoints, 6e-7)
        energies = _with_digits(energies, [files.get(f"BANDS_{n}.dat") for n in (1, 2)])
    return kpoints, energies


def _read_istate(path: Path) -> tuple[Float, Float]:
    text = path.read_text("utf-8", errors="replace")
    blocks = list(_BLOCK.finditer(text))
    listed = max(text.count("BAND"), text.count("Kpoint"))
    if len(blocks) != listed:
        raise InputError(f"{path}: {listed} k-points, {len(blocks)} of them whole")
    kpoints = _table(path, [block[1] for block in blocks])
    levels = [_table(path, block[2].splitlines()) for block in blocks]
    return kpoints, _stacked(path, [level[:, 1::2] for level in levels])


def _stacked(path: Path, levels: list[Float]) -> Float:
    """Put the columns (energies of each channel) of all k-points together."""
    if not levels or len({level.shape for level in levels}) > 1 or levels[0].shape[1] not in (1, 2):
        raise InputError(f"{path}: the k-points have different numbers of levels; cut or damaged")
    energies = np.array([level.T for level in levels]).transpose(1, 0, 2)
    return np.sort(energies, axis=2)


def _table(path: Path, lines: list[str]) -> Float:
    try:
        table = np.array([[float(word) for word in line.split()] for line in lines])
    except ValueError:
        raise InputError(f"{path}: a line is no row of numbers; cut or damaged") from None
    if not np.isfinite(table).all():
        raise InputError(f"{path}: a number is not finite")
    if table.ndim != 2 or table.shape[1] < 3:
        raise InputError(f"{path}: a line has too few numbers; cut or damaged")
    return table


def _with_digits(energies: Float, paths: list[Path | None]) -> Float:
    """Take the energies of BANDS_*.dat, where they are those of istate.info."""
    channels = []
    for path in paths:
        if path is None:
            return energies
        text = path.read_text("utf-8", errors="replace")
        table = _table(path, [line for line in text.splitlines() if line.strip()])
        channels.append(np.sort(table[:, 2:], axis=1))
    shapes = {channel.shape for channel in channels}
    if shapes != {energies.shape[1:]}:
        return energies
    exact = np.array(channels)
    close = np.abs(exact - energies) <= 1e-3 + 1e-5 * np.abs(energies)
    return exact if close.all() else energies


def _read_new(path: Path, vectors: Float) -> tuple[Float, Float]:
    text = path.read_text("utf-8", errors="replace")
    text = text[max(0, text.rfind("Spin number")) :]  # the last step
    blocks = list(_NEW_BLOCK.finditer(text))
    if len(blocks) != text.count("k-point=") or not blocks:
        raise InputError(f"{path}: {text.count('k-point=')} k-points, {len(blocks)} of them whole")
    levels: dict[tuple[int, int], Float] = {}
    points: dict[int, str] = {}
    for block in blocks:
        levels[int(block[1]), int(block[2])] = _table(path, block[4].splitlines())[:, 1:2]
        points[int(block[2])] = block[3]
    spins = sorted({spin for spin, _ in levels})
    order = sorted(points)
    if len(levels) != len(spins) * len(order):
        raise InputError(f"{path}: spin channels with different k-points; cut or damaged")
    columns = [np.hstack([levels[spin, point] for spin in spins]) for point in order]
    cartesian = _table(path, [points[point] for point in order])
    return _rational(cartesian @ vectors.T, 3e-7), _stacked(path, columns)


def _rational(kpoints: Float, close: float) -> Float:
    """Give the fractions that rounded k-points stand for."""
    near = [
        [Fraction(x).limit_denominator(_LARGEST_DENOMINATOR) for x in row]
        for row in kpoints.tolist()
    ]
    exact = np.array([[float(x) for x in row] for row in near])
    return np.where(np.abs(exact - kpoints) < close, exact, kpoints)
