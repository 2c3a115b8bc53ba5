"""A polite stop: the first signal asks, the second one insists.

The loop asks `Interruption.requested` after every step, saves and returns. Ctrl-C sends SIGINT;
batch systems send SIGTERM some seconds before they kill.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context in which SIGINT and SIGTERM set `requested` instead of ending the program.

    The second signal raises KeyboardInterrupt. Outside the main thread, which alone may catch
    signals, nothing changes and `requested` stays None.

    Attributes
    ----------
    requested : signal.Signals or None
        The signal that came, None while there was none.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; give up at the second."""
        if self.requested is not None:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number)
