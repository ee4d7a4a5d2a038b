"""What a worker tells its supervisor over their socket: JSON lines.

    {"tell": "ready"}                                 the work loop is about to turn
    {"tell": "beat", "handled": 7, "failed": 1, "seconds": 2.5}   it turns; counts since the start
    {"tell": "event", "routing_key": "notify.error.backup", "body": {…}}

The first line goes the other way: the texts of the worker's configuration files. The end of the
stream means to either side that the other one is gone.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

BEAT_S = 1.0
"""Beats closer to each other than this are not told."""


class Reporter:
    """The worker's end; thread-safe. Without a socket nothing is told."""

    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._told = 0.0
        self._handled = 0
        self._failed = 0
        self._seconds = 0.0

    def ready(self) -> None:
        """The work loop is about to turn."""
        self._tell({"tell": "ready"})

    def count(self, seconds: float, *, failed: bool) -> None:
        """One message was handled, in so many seconds."""
        with self._lock:
            self._handled += 1
            self._failed += failed
            self._seconds += seconds

    def beat(self) -> None:
        """The work loop turns."""
        with self._lock:
            now = time.monotonic()
            if now - self._told < BEAT_S:
                return
            self._told = now
            line = {
                "tell": "beat",
                "handled": self._handled,
                "failed": self._failed,
                "seconds": round(self._seconds, 6),
            }
        self._tell(line)

    def event(self, routing_key: str, body: dict[str, Any]) -> None:
        """An event was published; the supervisor mails it if it is asked to."""
        self._tell({"tell": "event", "routing_key": routing_key, "body": body})

    def _tell(self, line: dict[str, Any]) -> None:
        if self._connection is None:
            return
        with self._lock:
            try:
                self._connection.sendall(json.dumps(line).encode() + b"\n")
            except OSError:
                # The supervisor is gone: the watcher of this socket ends the worker.
                self._connection = None


class LineBuffer:
    """Bytes in, whole JSON lines out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            yield json.loads(line)
