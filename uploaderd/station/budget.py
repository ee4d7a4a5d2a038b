"""Memory and open files that all transfers of one process share: the more, the less has each."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

GROWTH = 1.25
GROWS_EVERY_S = 0.02
"""From the share among 25 to an equal one within 0.2 s: sooner than a long link answers twice."""


class Budget:
    """So many, divided among who is at work just now."""

    def __init__(self, total: int, least: int, exponent: int = 1) -> None:
        """Each of n has the total / n ** exponent, and `least` at any rate.

        With an exponent of 2 many have less together than one alone. They wait for the same
        interpreter and the same disk: what each has in store meanwhile makes none of them faster.
        """
        self.total = total
        self._least = least
        self._exponent = exponent
        self._lock = threading.Lock()
        self._sharers = 0

    @contextmanager
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
        parts: int = max(1, self._sharers) ** self._exponent
        return max(self._least, self.total // parts)


class InFlight:
    """Bytes that stations were asked for: in memory only once they have come.

    A long link holds much that is in nobody's memory. So a share that begins small grows, up to an
    equal one, while little has come that waits for its reader.
    """

    def __init__(self, total: int, least: int) -> None:
        """As of a Budget."""
        self._first = Budget(total, least, 2)
        self._most = Budget(total, least)
        self._lock = threading.Lock()
        self._waiting = 0
        self._growth = 1.0
        self._grown_at = 0.0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """While a transfer is at work."""
        with self._first.shared(), self._most.shared():
            self._growth = 1.0
            yield

    def came(self, count: int) -> None:
        """Bytes have come, and wait."""
        with self._lock:
            self._waiting += count

    def taken(self, count: int) -> None:
        """Bytes wait no more."""
        self.came(-count)

    @property
    def share(self) -> int:
        """How many bytes each may have asked for now."""
        first, most = self._first.share, self._most.share
        if first == most:
            return most
        now = time.monotonic()
        with self._lock:
            if self._waiting > self._most.total // 16:
                self._growth, self._grown_at = 1.0, now
            elif first * self._growth < most and now - self._grown_at > GROWS_EVERY_S:
                self._growth, self._grown_at = self._growth * GROWTH, now
            return min(most, int(first * self._growth))


IN_FLIGHT = InFlight(16 << 20, 64 << 10)
"""When the interpreter or the disk is slow, what has come waits in memory."""
COMPLETE = Budget(16 << 20, 64 << 10, 2)
"""Bytes of small files that are whole, and not yet on the disk."""
OPEN_FILES = Budget(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, 8)
"""Small files that are made durable together."""
