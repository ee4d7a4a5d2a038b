"""Signs of life of a worker while one call works that gives none, for the supervisor's watchdog."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVERY_S = 5.0


@contextmanager
def beating(beat: Callable[[], None], every_s: float = EVERY_S) -> Iterator[None]:
    """Calls `beat` now and then, from a thread, until the context is left.

    It is for a long query or a long hash, which ends by itself or by a time-out of its own.
    """
    over = threading.Event()

    def go() -> None:
        while not over.wait(every_s):
            beat()

    thread = threading.Thread(target=go, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
