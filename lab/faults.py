"""A TCP proxy that misbehaves on command: for tests of what a bad network does.

with FaultProxy(("127.0.0.1", 5672)) as proxy:
    connect to 127.0.0.1:proxy.port
    proxy.reset()             both ends of every connection see a reset
    proxy.refuse = True       new connections are reset at once
    proxy.stall = True        bytes are taken but not passed on, either way
    proxy.delay_s = 0.1       each piece is passed on that much later
    proxy.cut_after(10_000)   the next connections are reset after so many bytes
    proxy.break_after(500)    those that are open are reset after so many bytes more
    proxy.hang_after(500)     those that are open stay so, but nothing passes after so many bytes
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

PIECE = 16384


@dataclass(eq=False)
class _Connection:
    """Both sockets of one connection, and how far it goes."""

    client: socket.socket
    server: socket.socket
    left: int | None = None
    """Bytes, of both ways together, until it breaks or hangs; None: it goes on and on."""
    hangs: bool = False
    """At its end nothing passes any more, and nobody is told; otherwise it is reset."""
    ended: bool = False

    @property
    def hung(self) -> bool:
        """Whether it is half open now."""
        return self.hangs and self.left is not None and self.left <= 0

    def reset(self) -> None:
        """Both ends see a reset (RST), as of a failing network device."""
        self.ended = True
        _reset(self.client)
        _reset(self.server)


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
        self._open: set[_Connection] = set()
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

    def break_after(self, count: int) -> None:
        """Every open connection is reset after `count` bytes more."""
        for one in self._live():
            one.left, one.hangs = count, False

    def hang_after(self, count: int) -> None:
        """Every open connection is half open after `count` bytes more, until `reset_hung`."""
        for one in self._live():
            one.left, one.hangs = count, True

    def reset_hung(self) -> None:
        """Ends those that hang or are to hang."""
        for one in self._live():
            if one.hangs:
                one.reset()

    def reset(self) -> None:
        """Ends every connection by a reset."""
        for one in self._live():
            one.reset()

    def _live(self) -> list[_Connection]:
        with self._lock:
            return list(self._open)

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
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
            one = _Connection(client, server, self._limit)
            with self._lock:
                self._open.add(one)
            self._spawn(self._serve, one)

    def _serve(self, one: _Connection) -> None:
        back = threading.Thread(target=self._pump, args=(one, one.server, one.client), daemon=True)
        back.start()
        self._pump(one, one.client, one.server)
        back.join()
        with self._lock:
            self._open.discard(one)
        one.client.close()
        one.server.close()

    def _pump(self, one: _Connection, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                while (self.stall or one.hung) and not (self._closed or one.ended):
                    time.sleep(0.01)
                if self.delay_s:
                    time.sleep(self.delay_s)
                if one.left is not None:
                    piece = self._last_bytes(one, piece)
                target.sendall(piece)
                if one.left is not None and one.left < 0 and not one.hangs:
                    one.reset()
                    return
            if not one.hung:
                target.shutdown(socket.SHUT_WR)
            return
        _reset(target)

    def _last_bytes(self, one: _Connection, piece: bytes) -> bytes:
        """What of the piece still passes."""
        left = max(one.left or 0, 0)
        one.left = left - len(piece)
        return piece[:left]


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        # Lingering for 0 s turns the close into a reset; shutdown wakes threads that read.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RDWR)
