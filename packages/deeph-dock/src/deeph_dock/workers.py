"""Where independent work is done: processes here, ranks of MPI, or workers of Dask.

Each kind is one function in `KINDS` that gives `Workers` for the length of a ``with`` block; all
of them are executors of `concurrent.futures` to what comes after. MPI and Dask are optional
extras, and their workers see the same files under the same absolute paths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from deeph_spec.errors import InputError

from deeph_dock.executors import InThisProcess, local_executor, start_server

_PATIENCE = "20s"
"""How long a scheduler of Dask may take to answer."""


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes
    ----------
    jobs : int
        Processes on this machine.
    scheduler : str
        Address of a scheduler of Dask, or its file; empty if none was given.
    preload : tuple of str
        Modules that the work needs.
    """

    jobs: int = 1
    scheduler: str = ""
    preload: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workers:
    """Those who do the work.

    Attributes
    ----------
    make : callable
        Makes an executor, as `deeph_dock.executors.each` needs it.
    at_once : int
        Items to give it before the first result.
    title : str
        What they are; empty for processes of this machine.
    """

    make: Callable[[], Executor]
    at_once: int
    title: str = ""

    def for_items(self, count: int) -> Workers:
        """Give the workers for a number of items: one item needs no other process here."""
        return self if count > 1 or self.title else Workers(InThisProcess, 1)


def workers(kind: str, request: Request) -> AbstractContextManager[Workers]:
    """Give the workers of one kind.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    request : Request
        How many, or where.

    Returns
    -------
    context manager
        Gives `Workers`. All ranks of MPI but the first end in it: they work until its block is
        left, and then `SystemExit` is raised.

    Raises
    ------
    InputError
        If there is no such kind, its extra is not installed, or nobody is there to work.
    """
    if kind not in KINDS:
        raise InputError(f"--executor: no kind '{kind}'; known are {', '.join(KINDS)}")
    if request.scheduler and kind != "dask":
        raise InputError("--scheduler: of Dask only; add --executor dask")
    if request.jobs > 1 and kind != "local":
        raise InputError(f"-j: processes of this machine; --executor {kind} has workers of its own")
    return KINDS[kind](request)


@contextmanager
def _local(request: Request) -> Iterator[Workers]:
    """Give processes of this machine."""
    if request.jobs > 1:
        start_server(request.preload)
    at_once = request.jobs + 1 if request.jobs > 1 else 1
    yield Workers(partial(local_executor, request.jobs, request.preload), at_once)


@contextmanager
def _mpi(request: Request) -> Iterator[Workers]:
    """Give the ranks of MPI beside the first, and let them work."""
    if find_spec("mpi4py") is None:
        raise _missing("mpi", "mpi4py")
    try:
        mpi, futures = import_module("mpi4py.MPI"), import_module("mpi4py.futures")
    except (ImportError, RuntimeError) as error:
        raise InputError(
            f"--executor mpi: mpi4py finds no MPI library ({_first_line(error)}); load the MPI "
            "of this cluster, or pip install mpich"
        ) from error
    world = mpi.COMM_WORLD
    if world.size == 1:
        raise InputError(
            "--executor mpi: there is one process only; start several by mpiexec -n 4 dock ... "
            "(if you did, mpiexec and mpi4py belong to different MPI libraries)"
        )
    if world.rank > 0:
        _serve(mpi, futures.MPICommExecutor(world, root=0))
    with futures.MPICommExecutor(world, root=0) as executor:
        count = world.size - 1
        title = f"{count} rank{'s' * (count > 1)} of MPI"
        try:
            yield Workers(lambda: _Lasting(executor.submit), count + 1, title)
        finally:
            executor.shutdown(wait=True, cancel_futures=True)


def _serve(mpi: Any, executor: AbstractContextManager[Any]) -> None:
    """Work until the first rank says that it is enough, and end this process."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the business of the first rank
    try:
        with executor:
            pass
    except BaseException:
        import traceback

        traceback.print_exc()
        mpi.COMM_WORLD.Abort(1)  # the others would wait for this rank forever
    raise SystemExit(0)


@contextmanager
def _dask(request: Request) -> Iterator[Workers]:
    """Give the workers of a scheduler of Dask."""
    if find_spec("distributed") is None:
        raise _missing("dask", "distributed")
    where = request.scheduler
    if not where:
        raise InputError("--executor dask: --scheduler ADDRESS is missing, e.g. tcp://node1:8786")
    if Path(where).is_file():
        target = {"scheduler_file": str(Path(where).absolute())}
    elif ":" in where:
        target = {"address": where}
    else:
        raise InputError(f"--scheduler {where}: no such file, nor an address like tcp://node1:8786")
    try:
        client = import_module("distributed").Client(
            **target, timeout=_PATIENCE, set_as_default=False
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"--scheduler {where}: no scheduler of Dask answers ({_first_line(error)})"
        ) from error
    with client:
        threads = sum(client.nthreads().values())
        title = f"{threads or 'no'} thread{'s' * (threads != 1)} of Dask" + " yet" * (not threads)
        yield Workers(partial(_dask_executor, client, where), max(2 * threads, 200), title)


def _dask_executor(client: Any, where: str) -> Executor:
    """Make an executor of a client that is connected."""
    if client.status != "running":
        raise InputError(f"--scheduler {where}: lost; when it is back, run the same command again")
    return _Lasting(partial(_submit, client))


class _DaskFuture(Future[Any]):
    """A future that cannot be cancelled once a worker has it.

    Those that Dask gives pretend that it can, and are lost together with the connection.
    """

    def __init__(self, client: Any, task: Any) -> None:
        super().__init__()
        self._client, self._task = client, task

    def cancel(self) -> bool:
        """Cancel the work unless a worker has it."""
        if self.done():
            return self.cancelled()
        if self._client.status == "running":
            begun = self._client.processing().values()
            if any(self._task.key in keys for keys in begun) or not super().cancel():
                return False
            self._task.cancel()
        return True


def _submit(client: Any, function: Callable[..., Any], *args: Any) -> Future[Any]:
    """Give work to Dask."""
    task = client.submit(function, *args, pure=False)
    future = _DaskFuture(client, task)
    task.add_done_callback(partial(_take_over, future))
    return future


def _take_over(future: Future[Any], task: Any) -> None:
    """Give the end of Dask's future to one of `concurrent.futures`."""
    if not future.set_running_or_notify_cancel():
        return
    if task.status == "finished":
        try:
            future.set_result(task.result())
        except Exception as error:  # it cannot be fetched, or not be unpickled here
            future.set_exception(error)
    elif task.status == "error":
        future.set_exception(task.exception())
    else:
        future.set_exception(BrokenExecutor("the scheduler of Dask is gone"))


class _Lasting(Executor):
    """An executor whose workers outlive it."""

    def __init__(self, submit: Callable[..., Future[Any]]) -> None:
        self._submit = submit

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give work to the workers."""
        return self._submit(fn, *args, **kwargs)


def _missing(extra: str, package: str) -> InputError:
    return InputError(
        f'--executor {extra}: {package} is not installed; pip install "deeph-dock[{extra}]"'
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


KINDS: Mapping[str, Callable[[Request], AbstractContextManager[Workers]]] = MappingProxyType(
    {"local": _local, "mpi": _mpi, "dask": _dask}
)
"""Functions that give workers, by the name for ``--executor``; add yours here."""
