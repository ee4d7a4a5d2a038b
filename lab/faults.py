"""A TCP proxy that misbehaves on command: for tests of what a bad network does.

with FaultProxy(("127.0.0.1", 5672)) as proxy:
    connect to 127.0.0.1:proxy.port
    proxy.reset()             both ends of every connection see a reset
    proxy.refuse = True       new connections are reset at once
    proxy.stall = True        bytes are taken but not passed on, either way
    proxy.delay_s = 0.1       each piece is passed on that much later
    proxy.cut_after(10_000)   the next connections are reset after so many bytes
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

PIECE = 16384


class FaultProxy:
    """Passes connections to `target` through a free port of 127.0.0.1; a context manager."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.refuse = False
        self.stall = False
        self.delay_s = 0.0
        self.connections = 0
        """How many connections were passed on."""
        self._limit: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def __enter__(self) -> FaultProxy:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        # `shutdown` wakes the thread that waits in `accept`; closing alone would not.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
        for thread in self._threads:
            thread.join()

    def cut_after(self, count: int | None, *, seed: int | None = None) -> None:
        """New connections are reset after `count` bytes (with `seed`: a random number below)."""
        chosen = count
        if count is not None and seed is not None:
            chosen = random.Random(seed).randrange(1, count)
        self._limit = chosen

    def reset(self) -> None:
        """Ends every connection by a reset (RST), as a failing network device does."""
        with self._lock:
            sockets = list(self._open)
        for one in sockets:
            _reset(one)

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuse:
                _reset(client)
                client.close()
                continue
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                _reset(client)
                client.close()
                continue
            server.settimeout(None)
            self.connections += 1
            with self._lock:
                self._open |= {client, server}
            budget = [self._limit] if self._limit is not None else None
            self._spawn(self._serve, client, server, budget)

    def _serve(
        self, client: socket.socket, server: socket.socket, budget: list[int] | None
    ) -> None:
        back = threading.Thread(target=self._pump, args=(server, client, budget), daemon=True)
        back.start()
        self._pump(client, server, budget)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, target: socket.socket, budget: list[int] | None) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                while self.stall and not self._closed:
                    time.sleep(0.01)
                if self.delay_s:
                    time.sleep(self.delay_s)
                if budget is not None:
                    budget[0] -= len(piece)
                    if budget[0] < 0:
                        target.sendall(piece[: budget[0]])
                        _reset(source)
                        _reset(target)
                        return
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
            return
        _reset(target)


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Lingering for 0 s turns the close into a reset; shutdown wakes threads that read.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
