"""Independent work on a `concurrent.futures.Executor`, with results as they come.

A single process, a pool of processes, and executors of other libraries are used alike. A worker
that dies takes down neither the others' work nor the run.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from types import FrameType

Item = TypeVar("Item")
Result = TypeVar("Result")


class InThisProcess(Executor):
    """Does the work at once, where it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function and give a future that is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def usable_cores() -> int:
    """Give the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def local_executor(jobs: int, preload: Sequence[str] = ()) -> Executor:
    """Make an executor on this machine.

    Parameters
    ----------
    jobs : int
        Processes; with 1 the work is done in this one.
    preload : sequence of str
        Modules that the work needs: they are imported once, not in every process.

    Returns
    -------
    Executor
        Its processes ignore Ctrl-C, which is the business of the first one, and end with it.
    """
    if jobs <= 1:
        return InThisProcess()
    from concurrent.futures import ProcessPoolExecutor

    context = start_server(preload)
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker)


def start_server(preload: Sequence[str] = ()) -> BaseContext:
    """Start the process of which workers are copies, unless it is there.

    It imports what workers need while this process goes on.

    Parameters
    ----------
    preload : sequence of str
        Modules to import; those of the first call count.

    Returns
    -------
    BaseContext
        Makes workers.
    """
    import multiprocessing

    # Forking this process would copy the threads of numerical libraries in any state.
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", *preload])
    forkserver.ensure_running()
    return context


def _begin_worker() -> None:
    """Ignore Ctrl-C, and end when the first process ends, however it does."""
    import multiprocessing
    from multiprocessing.connection import wait as wait_for

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def follow() -> None:
        wait_for([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextmanager
def unmissed_interrupts() -> Iterator[Callable[[], None]]:
    """Remember Ctrl-C, which Python loses when it arrives while an object is being destroyed.

    KeyboardInterrupt is raised at once, as without this context; where the exception cannot leave
    (callbacks of weak references, destructors), the given function raises it later.

    Yields
    ------
    callable
        Raises KeyboardInterrupt if Ctrl-C was pressed within this context.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def raise_if_seen() -> None:
        if seen:
            raise KeyboardInterrupt

    ours = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield raise_if_seen
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    make_executor: Callable[[], Executor],
    at_once: int = 1,
) -> Iterator[tuple[Item, Result | Exception]]:
    """Apply a function to every item, and give the results in the order in which they come.

    Parameters
    ----------
    function : callable
        Must be importable by the workers.
    items : iterable
        Taken as workers become free, so there may be millions.
    make_executor : callable
        Makes the executor; called again when its workers have died.
    at_once : int
        Items given to the executor before the first result.

    Yields
    ------
    item, result
        The result of the function or the exception it raised; `BrokenExecutor` if the item's
        worker died twice, the second time with no other item beside it.

    Raises
    ------
    KeyboardInterrupt
        After the items that were being worked on are done and given.
    """
    with unmissed_interrupts() as raise_if_interrupted:
        yield from _each(function, items, make_executor, at_once, raise_if_interrupted)


def _each(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    make_executor: Callable[[], Executor],
    at_once: int,
    raise_if_interrupted: Callable[[], None],
) -> Iterator[tuple[Item, Result | Exception]]:
    waiting = iter(items)
    running: dict[Future[Any], Item] = {}
    executor = make_executor()
    try:
        while True:
            raise_if_interrupted()
            suspects: list[Item] = []
            while len(running) < at_once:
                try:
                    item = next(waiting)
                except StopIteration:
                    break
                try:
                    running[executor.submit(function, item)] = item
                except BrokenExecutor:
                    suspects.append(item)
                    break
            if not running and not suspects:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item = running.pop(future)
                error = future.exception()
                if isinstance(error, BrokenExecutor):
                    suspects.append(item)
                else:
                    yield item, _result(future)
            if suspects:
                executor.shutdown(wait=False, cancel_futures=True)
                suspects += running.values()
                running.clear()
                yield from _one_by_one(function, suspects, make_executor)
                executor = make_executor()
    except KeyboardInterrupt:
        begun = {future for future in running if not future.cancel()}
        for future in wait(begun).done:
            yield running[future], _result(future)
        raise
    finally:
        for future in running:
            future.cancel()
        executor.shutdown(wait=True, cancel_futures=True)


def _one_by_one(
    function: Callable[[Item], Result], items: Iterable[Item], make_executor: Callable[[], Executor]
) -> Iterator[tuple[Item, Result | Exception]]:
    """Do each item alone in a new executor, to find the one that kills its worker."""
    for item in items:
        with make_executor() as executor:
            yield item, _result(executor.submit(function, item))


def _result(future: Future[Any]) -> Any:
    """Give the result of a future, or its exception."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error


def describe_loss(error: Exception) -> str:
    """Say in one line why an item has no result.

    Parameters
    ----------
    error : Exception
        From `each`.

    Returns
    -------
    str
        Reason, and what to do.
    """
    name = type(error).__name__
    if isinstance(error, BrokenExecutor) or name == "KilledWorker":  # the latter is Dask's
        return "its process died, killed or out of memory; run again with fewer jobs (-j)"
    return f"a worker could not do it: {name}: {' '.join(str(error).split())}"
