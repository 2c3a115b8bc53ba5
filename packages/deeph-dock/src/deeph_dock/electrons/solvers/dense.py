"""All eigenvalues at every k by LAPACK: the reference, and the fastest below a thousand atoms."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from deeph_spec.errors import InputError
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, eigh  # its BLAS must be loaded before it can be limited
from threadpoolctl import threadpool_limits

from deeph_dock.electrons.bloch import HamiltonianK
from deeph_dock.electrons.lattice_sum import ComplexArray, FloatArray

THREADED_SIZE = 512
"""Below this order several threads of BLAS lose more in waiting than they gain."""
PROCESS_OPERATIONS = 5e9
"""K N^3 from which starting processes (two seconds) pays; about 1 ns each was measured."""

Progress = Callable[[int], None]
"""Called with the number of k-points done since the last call."""


def eigenvalues(
    problem: HamiltonianK,
    kpoints: FloatArray,
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> FloatArray:
    """Solve H(k) c = E S(k) c for all eigenvalues (paper Eq. 3).

    Parameters
    ----------
    problem : HamiltonianK
    kpoints : (K, 3)
        Fractional coordinates.
    jobs : int
        Processes, each with one thread of BLAS; they are started for work of several seconds
        only. Without them large matrices use as many threads as the environment allows.
    progress : callable, optional
        Called with the number of k-points that have just been solved.

    Returns
    -------
    (channels, K, N) float64
        Energies in eV, ascending in the last axis. Where the problem leaves out combinations of
        orbitals (`HamiltonianK.least_overlap`), as many last energies are infinite.

    Raises
    ------
    InputError
        If S(k) is not positive definite; names k and the lowest eigenvalue.
    """
    kpoints = np.asarray(kpoints, dtype=np.float64).reshape(-1, 3)
    out = np.empty((problem.channels, len(kpoints), problem.size))
    operations = len(kpoints) * problem.channels * problem.size**3
    if jobs > 1 and operations > PROCESS_OPERATIONS:
        _solve_in_processes(problem, kpoints, out, jobs, progress)
        return out
    with threadpool_limits(None if problem.size >= THREADED_SIZE else 1):
        for run in problem.chunks(kpoints):
            out[:, run] = _solve_chunk(problem, kpoints[run], progress)
    return out


def _solve_chunk(
    problem: HamiltonianK, kpoints: FloatArray, progress: Progress | None = None
) -> FloatArray:
    """Eigenvalues (channels, K, N) of one stack of matrices."""
    h, s = problem.dense_stack(kpoints)
    out = np.empty((problem.channels, len(kpoints), problem.size))
    for n in range(len(kpoints)):
        for channel in range(problem.channels):
            out[channel, n] = _solve(h[channel, n], s[n], kpoints[n], problem.least_overlap)
        if progress is not None:
            progress(1)
    return out


def _solve(
    h: ComplexArray, s: ComplexArray, kpoint: FloatArray, least_overlap: float
) -> FloatArray:
    """Eigenvalues (N,) of one generalised problem."""
    if least_overlap > 0:
        sizes, vectors = np.linalg.eigh(s)
        kept = sizes >= least_overlap
        if sizes[0] > 0 and not kept.all():
            basis = vectors[:, kept] / np.sqrt(sizes[kept])
            out = np.full(len(h), np.inf)
            out[: basis.shape[1]] = np.linalg.eigvalsh(basis.conj().T @ h @ basis)
            return out
    a: NDArray[Any] = h
    b: NDArray[Any] = s
    if not np.any(h.imag) and not np.any(s.imag):  # Gamma and other points where k = -k
        a, b = h.real, s.real
    try:
        return eigh(a, b, eigvals_only=True, driver="gvd", check_finite=False)
    except LinAlgError as failure:
        lowest = float(np.linalg.eigvalsh(s)[0])
        place = ", ".join(f"{x:.6g}" for x in kpoint)
        raise InputError(
            f"S(k) at k = ({place}) is not positive definite: its lowest eigenvalue is "
            f"{lowest:.3e}. The overlap is damaged or the basis is linearly dependent; "
            "dock check names broken files"
        ) from failure


_shared: HamiltonianK | None = None


def _share(problem: HamiltonianK) -> None:
    """Keep the problem in a worker, so that only k-points and energies travel."""
    global _shared
    threadpool_limits(1)
    _shared = problem


def _solve_shared(kpoints: FloatArray) -> FloatArray:
    assert _shared is not None
    return _solve_chunk(_shared, kpoints)


def _solve_in_processes(
    problem: HamiltonianK,
    kpoints: FloatArray,
    out: FloatArray,
    jobs: int,
    progress: Progress | None,
) -> None:
    """Fill `out` (channels, K, N) with `jobs` processes, several chunks each."""
    longest = max(1, -(-len(kpoints) // (4 * jobs)))
    runs = [
        slice(start, min(start + longest, chunk.stop))
        for chunk in problem.chunks(kpoints)
        for start in range(chunk.start, chunk.stop, longest)
    ]
    # "spawn": a fork of a process that already runs BLAS threads may hang.
    with ProcessPoolExecutor(
        min(jobs, len(runs)), get_context("spawn"), initializer=_share, initargs=(problem,)
    ) as pool:
        results = pool.map(_solve_shared, [kpoints[r] for r in runs])
        for run, energies in zip(runs, results, strict=True):
            out[:, run] = energies
            if progress is not None:
                progress(run.stop - run.start)
