"""Readings with other numbers: S times a factor, and transposed blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from deeph_spec.blocks import BlockMatrix

from deeph_dock.overlap_diagnosis.reading import (
    Int,
    Problem,
    Reading,
    Real,
    groups,
    shell_norms,
    shell_starts,
)

HARTREE = 27.211386245988
KNOWN_FACTORS = {
    2.0: "blocks and their partners added, or S of both spins?",
    0.5: "halved once too often?",
    HARTREE: "taken for an energy, Hartree to eV",
    HARTREE / 2: "taken for an energy, Rydberg to eV",
    1 / HARTREE: "taken for an energy, eV to Hartree",
    2 / HARTREE: "taken for an energy, eV to Rydberg",
}


def factors(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Try S times a number: that of the on-site blocks, which no place changes.

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
    own = rows[problem.overlap.on_site()[rows]]
    if reading.factor != 1 or not len(own):
        return
    product, square = 0.0, 0.0
    for group in groups(problem, reading, own):
        starts = shell_starts(problem, reading, group)
        expected = shell_norms(group.expected, *starts)
        product += float((shell_norms(group.stored, *starts) * expected).sum())
        square += float((expected**2).sum())
    factor = product / square if square else 1.0
    if not factor > 0 or abs(factor - 1) < 1e-5:
        return
    near = min(KNOWN_FACTORS, key=lambda value: abs(factor / value - 1))
    known = abs(factor / near - 1) < 1e-3
    why = f" ({KNOWN_FACTORS[near]})" if known else ""
    yield reading.but(f"S multiplied by {factor:.6g}{why}", factor=factor)


def transposed_blocks(problem: Problem, rows: Int, reading: Reading) -> Iterator[Reading]:
    """Try blocks whose rows are the orbitals of j.

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
    if not reading.transposed:
        yield reading.but("blocks are transposed: rows are orbitals of j", transposed=True)


def without_spin(problem: Problem, sizes: Int) -> tuple[str, BlockMatrix] | None:
    """Take S out of diag(S, S), or of another order of the same numbers.

    Parameters
    ----------
    problem : Problem
    sizes : (atoms,) int64 array
        Orbitals of each atom.

    Returns
    -------
    words : str
    overlap : BlockMatrix
        Of half the rows and columns. None if S is not doubled in one of these ways.
    """
    overlap = problem.overlap
    shapes = sizes[overlap.atom_pairs[:, 3:]]
    if not len(overlap) or not np.array_equal(overlap.chunk_shapes, 2 * shapes):
        return None
    for words, first, second in (
        ("diag(S, S), up before down", _halves, _other_halves),
        ("up and down orbital by orbital", _evens, _odds),
    ):
        stacks = []
        for rows, stack in overlap.by_shape():
            up, down = first(stack), second(stack)
            if np.abs(stack).sum() > (1 + 1e-9) * (np.abs(up).sum() + np.abs(down).sum()):
                break
            if not np.array_equal(up, down):
                break
            stacks.append((rows, up))
        else:
            return words, BlockMatrix.from_stacks(overlap.atom_pairs, shapes, stacks)
    return None


def _halves(stack: Real) -> Real:
    return stack[:, : stack.shape[1] // 2, : stack.shape[2] // 2]


def _other_halves(stack: Real) -> Real:
    return stack[:, stack.shape[1] // 2 :, stack.shape[2] // 2 :]


def _evens(stack: Real) -> Real:
    return stack[:, ::2, ::2]


def _odds(stack: Real) -> Real:
    return stack[:, 1::2, 1::2]


def is_identity(problem: Problem) -> bool:
    """Tell whether S is the unit matrix.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    bool
        False also if there are on-site blocks only.
    """
    overlap = problem.overlap
    on_site = overlap.on_site()
    if on_site.all():
        return False
    for rows, stack in overlap.by_shape():
        off = stack[~on_site[rows]]
        if np.abs(off).max(initial=0.0) > problem.tolerance:
            return False
        own = stack[on_site[rows]]
        if len(own) and np.abs(own - np.eye(*own.shape[1:])).max() > problem.tolerance:
            return False
    return True
