"""What became of each piece of work on many structures, whatever happens to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from deeph_spec.errors import InputError

from deeph_dock.executors import describe_loss, each


@dataclass(frozen=True)
class Outcome:
    """What became of one structure.

    Attributes
    ----------
    id : str
    status : str
        "converted" (made), "updated" (an input had changed), "skipped" (done before), "failed";
        in a preview "new", "changed" instead of the first two.
    reason : str
        Why it failed, one line.
    warnings : tuple of str
        What the user should know.
    facts : dict
        atoms, orbitals, pairs, empty_overlaps (pairs whose overlap is zero), bytes, ...
    seconds : float
        Wall time.
    trace : str
        Where an unexpected error occurred.
    """

    id: str
    status: str
    reason: str = ""
    warnings: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    trace: str = ""


class Named(Protocol):
    """A piece of work on one structure."""

    @property
    def id(self) -> str:
        """Name of the structure."""


Work = TypeVar("Work", bound=Named)


def guarded(id: str, work: Callable[[], Outcome]) -> Outcome:
    """Do a piece of work, and turn exceptions into the outcome "failed".

    Parameters
    ----------
    id : str
        Name of the structure.
    work : callable
        The work.

    Returns
    -------
    Outcome
        With its wall time. KeyboardInterrupt passes.
    """
    start = time.perf_counter()
    try:
        outcome = work()
    except InputError as error:
        outcome = Outcome(id, "failed", str(error))
    except OSError as error:
        outcome = Outcome(id, "failed", describe(error))
    except MemoryError:
        outcome = Outcome(id, "failed", "not enough memory; run again with fewer jobs (-j)")
    except Exception as error:
        import traceback

        reason = " ".join(f"internal error: {type(error).__name__}: {error}".split())
        outcome = Outcome(id, "failed", reason, trace=traceback.format_exc())
    return replace(outcome, seconds=time.perf_counter() - start)


def describe(error: OSError) -> str:
    """Say in one line what the operating system refused, and where.

    Parameters
    ----------
    error : OSError
        What it raised.

    Returns
    -------
    str
        File and reason.
    """
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def outcomes_of(
    function: Callable[[Work], Outcome],
    pieces: Iterable[Work],
    make_executor: Callable[[], Executor],
    at_once: int = 1,
) -> Iterator[Outcome]:
    """Do all pieces of work, and give the outcomes in the order in which they come.

    Parameters
    ----------
    function : callable
        Does one piece; must be importable by the workers.
    pieces : iterable
        Each with the id of its structure.
    make_executor : callable
        Makes the executor that does the work.
    at_once : int
        Pieces given to it before the first outcome.

    Yields
    ------
    Outcome
        One for each piece.

    Raises
    ------
    KeyboardInterrupt
        After the outcomes of the pieces that were under way.
    """
    for piece, result in each(function, pieces, make_executor, at_once):
        if isinstance(result, Exception):
            yield Outcome(piece.id, "failed", describe_loss(result))
        else:
            yield result
