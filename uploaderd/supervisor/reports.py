"""What a worker tells its supervisor over their socket: JSON lines.

    {"tell": "ready"}                                 the work loop is about to turn
    {"tell": "beat"}                                  it turns
    {"tell": "beat", "counts": {…}, "gauges": {…}}    and has counted: sums since the start
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

from uploaderd.observe.counters import COUNTERS, Counters

BEAT_S = 1.0
"""Beats closer to each other than this are not told."""


class Reporter:
    """The worker's end; thread-safe. Without a socket nothing is told."""

    def __init__(self, connection: socket.socket | None, counters: Counters = COUNTERS) -> None:
        self._connection = connection
        self._counters = counters
        self._lock = threading.Lock()
        self._told = 0.0
        self._known: tuple[dict[str, float], dict[str, float]] = ({}, {})

    def ready(self) -> None:
        """The work loop is about to turn."""
        self._tell({"tell": "ready"})

    def beat(self) -> None:
        """The work loop turns."""
        now = time.monotonic()
        with self._lock:
            if now - self._told < BEAT_S:
                return
            self._told = now
        self._tell(self._turned())

    def last(self) -> None:
        """The work has ended: the counts since the last beat."""
        self._tell(self._turned())

    def _turned(self) -> dict[str, Any]:
        """A beat, with the counts if they are others than those told before."""
        told = self._counters.told()
        if told == self._known:
            return {"tell": "beat"}
        self._known = told
        return {"tell": "beat", "counts": told[0], "gauges": told[1]}

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
