"""Ends the queries of clients that send Cancel or close their connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PERIOD_S = 0.05
CANCEL = b"\x03"


class Watch:
    """One thread for all clients; a client is looked at only while its query runs."""

    def __init__(self) -> None:
        self._running: dict[socket.socket, Callable[[], None]] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self._thread.start()

    @contextmanager
    def over(self, client: socket.socket, cancel: Callable[[], None]) -> Iterator[None]:
        """Calls `cancel`, again and again, if the client gives up inside the `with` block."""
        with self._changed:
            self._running[client] = cancel
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._running[client]

    def stop(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _look(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._running)
                if self._stopping:
                    return
                gone = [cancel for client, cancel in self._running.items() if _gave_up(client)]
            for cancel in gone:
                cancel()
            with self._changed:
                self._changed.wait_for(lambda: self._stopping, PERIOD_S)


def _gave_up(client: socket.socket) -> bool:
    try:
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) in {b"", CANCEL}
    except BlockingIOError:
        return False
    except OSError:
        return True
