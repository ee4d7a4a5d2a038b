"""A bad link: a TCP proxy on loopback that delays, loses, stalls, hangs and breaks on command.

    with Link(("127.0.0.1", 5672)) as link:
        connect to 127.0.0.1:link.port
        link.delay_s = 0.1       every byte comes that much later, either way, at full bandwidth
        link.loss = 0.05         so many segments are lost, and sent again
        link.stall = True        bytes are taken but not passed on, either way
        link.refuse = True       new connections are reset at once
        link.reset()             both ends of every connection see a reset
        link.cut_after(10_000)   the next connections are reset after so many bytes
        link.break_after(500)    those that are open are reset after so many bytes more
        link.hang_after(500)     those that are open stay so, but nothing passes after so many bytes

`python -m lab.link PORT DELAY_S` is a delay line to the port: prints its own, runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

CHUNK = 1 << 18
SEGMENT = 1448
SHORTEST_TIMEOUT_S = 0.2
"""What Linux adds to the round trip before it sends a segment again."""
LOOK_S = 0.01


@dataclass(eq=False)
class _Connection:
    """Both ends of one connection, and how far it goes."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    left: int | None = None
    """Bytes, of both ways together, until it breaks or hangs; None: it goes on and on."""
    hangs: bool = False
    """At its end nothing passes any more, and nobody is told; otherwise it is reset."""
    ended: bool = False

    @property
    def used_up(self) -> bool:
        """Whether it has come to its end."""
        return self.left is not None and self.left <= 0

    def spend(self, data: bytes) -> bytes:
        """What of the data still passes."""
        if self.left is None:
            return data
        left = max(self.left, 0)
        self.left = left - len(data)
        return data[:left]

    def reset(self) -> None:
        """Both ends see a reset (RST), as of a failing network device."""
        self.ended = True
        _reset(self.near)
        _reset(self.far)


class Link:
    """Passes connections to `target` through a free port of 127.0.0.1; a context manager.

    Its knobs may be turned from any thread while it runs. `loss` models what TCP makes of a lost
    segment: all that comes behind it is held until it is sent again, one time-out later.
    """

    def __init__(self, target: tuple[str, int], *, delay_s: float = 0.0) -> None:
        self.target = target
        self.delay_s = delay_s
        self.loss = 0.0
        self.refuse = False
        self.stall = False
        self.connections = 0
        """How many connections were passed on."""
        self.carried = 0
        """Bytes from the target that were passed on."""
        self._limit: int | None = None
        self._open: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Link:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def cut_after(self, count: int | None, *, seed: int | None = None) -> None:
        """New connections are reset after `count` bytes (with `seed`: a random number below)."""
        if count is not None and seed is not None:
            count = random.Random(seed).randrange(1, count)
        self._limit = count

    def break_after(self, count: int) -> None:
        """Every open connection is reset after `count` bytes more."""
        self._each(lambda one: self._end_after(one, count, hangs=False))

    def hang_after(self, count: int) -> None:
        """Every open connection is half open after `count` bytes more, until `reset_hung`."""
        self._each(lambda one: self._end_after(one, count, hangs=True))

    def reset_hung(self) -> None:
        """Ends those that hang or are to hang."""
        self._each(lambda one: one.reset() if one.hangs else None)

    def reset(self) -> None:
        """Ends every connection by a reset."""
        self._each(_Connection.reset)

    @staticmethod
    def _end_after(one: _Connection, count: int, *, hangs: bool) -> None:
        one.left, one.hangs = count, hangs

    def _each(self, deed: Callable[[_Connection], None]) -> None:
        """Has something done to every open connection, by the link's own thread."""

        def done() -> None:
            for one in list(self._open):
                deed(one)

        # Once the link is down, there is none.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(done)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, sock=self._listener)
        await self._over.wait()
        server.close()
        for one in list(self._open):
            one.reset()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.refuse:
                raise ConnectionRefusedError
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            _reset(writer)
            return
        self.connections += 1
        one = _Connection(writer, far_writer, self._limit)
        self._open.add(one)
        try:
            for end in (writer, far_writer):
                plain = end.get_extra_info("socket")
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(one, reader, far_writer))
                both.create_task(self._pass(one, far_reader, writer))
        except* (OSError, asyncio.CancelledError):
            # A side is gone, or the link is taken down: the other side learns it by the reset.
            one.reset()
        finally:
            self._open.discard(one)
            for end in (writer, far_writer):
                end.transport.abort()

    async def _pass(
        self, one: _Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        receiving = asyncio.create_task(self._receive(reader, line))
        try:
            while True:
                due, data = await line.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                while (self.stall or (one.hangs and one.used_up)) and not one.ended:
                    await asyncio.sleep(LOOK_S)
                if not data:
                    writer.write_eof()
                    return
                data = one.spend(data)
                self.carried += len(data) if writer is one.near else 0
                writer.write(data)
                await writer.drain()
                if one.used_up and not one.hangs:
                    raise ConnectionResetError("cut")
        finally:
            receiving.cancel()

    async def _receive(
        self, reader: asyncio.StreamReader, line: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        data = b"-"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""
            await line.put((self._loop.time() + self.delay_s + self._retransmission(data), data))

    def _retransmission(self, data: bytes) -> float:
        """How long a piece is held because one of its segments was lost."""
        segments = 1 + len(data) // SEGMENT
        if not self.loss or random.random() < (1 - self.loss) ** segments:
            return 0.0
        return 2 * self.delay_s + SHORTEST_TIMEOUT_S


def _reset(writer: asyncio.StreamWriter) -> None:
    if writer.is_closing():
        return
    plain = writer.get_extra_info("socket")
    # Lingering for 0 s turns the close into a reset.
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def main() -> None:
    """A delay line in a process of its own, so that it takes no turns with who uses it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with Link(("127.0.0.1", int(sys.argv[1])), delay_s=float(sys.argv[2])) as link:
        print(link.port, flush=True)
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
