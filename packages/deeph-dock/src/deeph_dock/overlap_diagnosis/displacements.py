"""Readings with atoms, or a cell, that were moved a little, as a relaxation does.

The moves are those that make the sum of squares of all differences of S smallest (Levenberg and
Marquardt), from the places in POSCAR. They are found only if there are many more numbers in S
than moves, and are a cause only if no difference is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from deeph_dock.overlap_diagnosis.reading import (
    Int,
    Problem,
    Reading,
    Real,
    deviations,
    groups,
    largest_entries,
)

LARGEST_MOVE = 0.5
"""Å; what is farther away is not a move."""
LARGEST_STRAIN = 0.2
"""Cells that differ by more are other cells."""
NAMES_AT_MOST = 6
"""Atoms that are named."""
ATOMS_AT_MOST = 4000
"""Larger structures are not fitted."""
STEPS_AT_MOST = 40
"""Steps of the fit of moved atoms."""
DENSE_AT_MOST = 1500
"""Unknowns of larger structures are found step by step."""
ROUNDED = 1e-4
"""Moves below this may be digits that are missing, Å."""
LONGEST_STEP = 0.2
"""Å; strains alike."""


def moved_atoms(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Look for atoms, or a cell, that were moved a little.

    Parameters
    ----------
    problem : Problem
        What does not change.
    rows : (m,) int64 array
        A sample of pairs.
    reading : Reading
        What is known so far.

    Yields
    ------
    Reading
        With one cause more.
    """
    if len(reading.numbers) > ATOMS_AT_MOST:
        return
    for unknown in ("atoms", "cell", "both"):
        found = _relaxed(problem, reading, unknown)
        if found is None:
            continue
        lattice, positions = found
        strain = np.linalg.solve(reading.lattice, lattice) - np.eye(3)
        move = positions - reading.positions @ (np.eye(3) + strain)  # beyond what the cell does
        move = move - np.median(move, axis=0)
        if unknown == "atoms":
            words = f"atoms moved after the matrices were made: {_moved(move)}"
        else:
            words = (
                "the cell was changed after the matrices were made: theirs is strained by "
                f"{np.abs((strain + strain.T) / 2).max():.2g}"
            )
            if unknown == "both":
                size = np.linalg.norm(move, axis=1).max()
                words += f", with atoms moved by up to {size:.2g} Å"
        if np.abs(strain).max() > LARGEST_STRAIN or np.abs(move).max() > LARGEST_MOVE:
            continue
        tried = reading.but(words, lattice=lattice, positions=positions)
        yield tried
        if deviations(problem, tried, rows).max() <= problem.tolerance:
            return


def _moved(move: Real) -> str:
    """Say how far atoms were moved."""
    size = np.linalg.norm(move, axis=1)
    if size.max() < ROUNDED:
        return f"by {_rms(size):.2g} Å rms only (too few digits in POSCAR?)"
    order = np.argsort(-size, kind="stable")
    few = order[: max(1, len(order) // 3)]
    if len(order) > len(few) and size[order[len(few)]] < 0.01 * size[order[0]]:
        moved = few[size[few] > 0.01 * size[order[0]]][:NAMES_AT_MOST]
        return ", ".join(f"atom {atom} by {size[atom]:.2g} Å" for atom in moved.tolist())
    return (
        f"{_rms(size):.2g} Å rms, atom {order[0]} by {size[order[0]]:.2g} Å (a step of a "
        "relaxation?)"
    )


def _relaxed(problem: Problem, reading: Reading, unknown: str) -> tuple[Real, Real] | None:
    """Fit places of the atoms to the stored overlaps; None if they are too few to tell."""
    largest = largest_entries(problem.overlap)
    pairs = problem.overlap.atom_pairs
    keep = (largest > 100 * problem.tolerance) & ~problem.overlap.on_site()
    rows = np.flatnonzero(keep & (pairs[:, 3] <= pairs[:, 4]))
    if len(rows) > 20000:
        rows = np.sort(np.random.default_rng(0).choice(rows, 20000, replace=False))
    count = len(reading.numbers)
    chosen = {"atoms": slice(3 * count), "cell": slice(3 * count, None), "both": slice(None)}
    free = np.arange(3 * count + 9)[chosen[unknown]]
    if unknown != "atoms" and not pairs[rows, :3].any():
        return None
    if not len(rows) or _numbers_there(problem, rows) < 3 * len(free):
        return None
    current, level, damping = reading, _misfit(problem, reading, rows), 1e-4
    for _ in range(STEPS_AT_MOST):
        matrix, target = _normal_equations(problem, current, rows)
        matrix, target = matrix[free][:, free], target[free]
        while damping < 1e4:
            step = np.zeros(3 * count + 9)
            step[free] = _solved(matrix, target, damping)
            lattice, positions = _stepped(current, step)
            tried = replace(current, lattice=lattice, positions=positions)
            left = _misfit(problem, tried, rows)
            if left < level:
                break
            damping *= 8
        else:
            break
        gained = left < 0.998 * level
        current, level, damping = tried, left, damping / 10
        if not gained:
            break
    return current.lattice, current.positions


def _stepped(reading: Reading, step: Real) -> tuple[Real, Real]:
    """Give lattice and positions after a step: n moves, and the strain."""
    positions = reading.positions + step[:-9].reshape(-1, 3)
    strain = np.eye(3) + step[-9:].reshape(3, 3)
    return reading.lattice @ strain, positions @ strain


def _solved(matrix: Any, target: Real, damping: float) -> Real:
    """Solve the equations of Levenberg and Marquardt; what nothing depends on does not move."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import cg

    diagonal = matrix.diagonal()
    added = damping * diagonal + 1e-9 * max(float(diagonal.max()), 1e-300)
    if len(target) <= DENSE_AT_MOST:
        step: Real = np.linalg.solve(matrix.toarray() + np.diag(added), target)
    else:
        inverse = diags_array(1 / (diagonal + added))
        step, _ = cg(matrix + diags_array(added), target, rtol=1e-6, maxiter=400, M=inverse)
    longest = float(np.abs(step).max())
    return step * min(1.0, LONGEST_STEP / longest) if longest > 0 else step


def _rms(values: Real) -> float:
    return float(np.sqrt((values**2).mean()))


def _misfit(problem: Problem, reading: Reading, rows: Int) -> float:
    """Give the sum of squares that the fit makes small, as a root."""
    total = sum(
        float(((group.stored - group.expected) ** 2).sum())
        for group in groups(problem, reading, rows)
    )
    return float(np.sqrt(total))


def _numbers_there(problem: Problem, rows: Int) -> int:
    """Count the elements of S that tell something about places, each pair once."""
    overlap = problem.overlap
    return sum(
        int((np.abs(overlap.block(row)) > 100 * problem.tolerance).sum()) for row in rows.tolist()
    )


def _normal_equations(problem: Problem, reading: Reading, rows: Int) -> tuple[Any, Real]:
    """Give matrix and right side of Gauss and Newton, of 3 n moves and 9 numbers of a strain."""
    from scipy.sparse import bmat, coo_array

    count, width = len(reading.numbers), 1e-4
    pairs = problem.overlap.atom_pairs[rows]
    vectors = reading.vectors(pairs)
    hessian, gradient = np.zeros((len(rows), 3, 3)), np.zeros((len(rows), 3))
    slopes: list[list[Real]] = [[], [], []]
    rests, members = [], []
    for axis in range(3):
        for sign in (1, -1):
            shifted = vectors + sign * width * np.eye(3)[axis]
            for place, group in enumerate(groups(problem, reading, rows, shifted)):
                slope = sign * group.expected / (2 * width)
                if sign == 1:
                    slopes[axis].append(slope)
                else:
                    slopes[axis][place] = slopes[axis][place] + slope
    for group in groups(problem, reading, rows):
        rests.append(group.stored - group.expected)
        members.append(group.members)
    for place, (rest, here) in enumerate(zip(rests, members, strict=True)):
        jacobian = np.stack([slopes[axis][place] for axis in range(3)])
        hessian[here] = np.einsum("xpab,ypab->pxy", jacobian, jacobian)
        gradient[here] = np.einsum("xpab,pab->px", jacobian, rest)
    i, j = pairs[:, 3], pairs[:, 4]
    axes = np.arange(3)

    def assembled(first: Int, second: Int, values: Real) -> Any:
        row = np.broadcast_to(3 * first[:, None, None] + axes[:, None], values.shape)
        column = np.broadcast_to(3 * second[:, None, None] + axes, values.shape)
        return coo_array(
            (values.ravel(), (row.ravel(), column.ravel())), shape=(3 * count, 3 * count)
        )

    matrix = assembled(i, i, hessian) + assembled(j, j, hessian)
    matrix = (matrix - assembled(i, j, hessian) - assembled(j, i, hessian)).tocsr()
    right = np.zeros((count, 3))
    np.add.at(right, j, gradient)
    np.add.at(right, i, -gradient)
    # Strains move r_j - r_i = d by d_x strain_xy.
    cross = np.zeros((count, 3, 3, 3))
    term = np.einsum("pz,pxy->pxzy", vectors, hessian)
    np.add.at(cross, j, term)
    np.add.at(cross, i, -term)
    corner = np.einsum("pz,pw,pxy->zxwy", vectors, vectors, hessian).reshape(9, 9)
    side = cross.reshape(3 * count, 9)
    matrix = bmat([[matrix, side], [side.T, corner]]).tocsr()
    strained = np.einsum("pz,px->zx", vectors, gradient)
    return matrix, np.concatenate([right.ravel(), strained.ravel()])
