"""Memory and open files that all transfers of one process share: the more, the less has each."""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Iterator


class Budget:
    """So many, divided among who is at work just now."""

    def __init__(self, total: int, least: int) -> None:
        """`least` is what each may have at any rate."""
        self._total = total
        self._least = least
        self._lock = threading.Lock()
        self._sharers = 0

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """While a transfer is at work."""
        with self._lock:
            self._sharers += 1
        try:
            yield
        finally:
            with self._lock:
                self._sharers -= 1

    @property
    def share(self) -> int:
        """What each may have now."""
        return max(self._least, self._total // max(1, self._sharers))


IN_FLIGHT = Budget(16 << 20, 256 << 10)
"""Bytes that stations were asked for: when the disk is slow, they wait in memory."""
COMPLETE = Budget(8 << 20, 64 << 10)
"""Bytes of small files that are whole, and not yet on the disk."""
OPEN_FILES = Budget(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, 8)
"""Small files that are made durable together."""
