"""A bad link: a TCP proxy on loopback that delays, stalls, and breaks off at a chosen byte.

`python -m lab.link PORT DELAY_S` is a delay line to the port: prints its own, runs until SIGTERM.
"""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import struct
import sys
import threading
from types import TracebackType

CHUNK = 1 << 18
SEGMENT = 1448
SHORTEST_TIMEOUT_S = 0.2
"""What Linux adds to the round trip before it sends a segment again."""


class Link:
    """Carries connections to `port` on loopback; its knobs may be turned while it runs.

    `delay_s` is added to each direction without narrowing the bandwidth. After `cut_after` bytes
    from the far side every connection is reset, once; `cut` does so at once. While `stalled`, bytes
    from the far side are held. `carried` counts the bytes from the far side that were passed on.

    `loss` is the share of segments that are lost. What TCP makes of a loss is modelled: all that
    comes behind it is held until the segment is sent again, one retransmission time-out later.
    """

    def __init__(self, port: int, *, delay_s: float = 0.0, cut_after: int | None = None) -> None:
        self.delay_s = delay_s
        self.cut_after = cut_after
        self.loss = 0.0
        self.stalled = False
        self.carried = 0
        self.port = 0
        self._far_port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._over = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Link:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def cut(self) -> None:
        """Resets every connection that there is."""
        self._loop.call_soon_threadsafe(self._reset)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        self._reset()

    def _reset(self) -> None:
        for writer in list(self._writers):
            if not writer.is_closing():
                plain = writer.get_extra_info("socket")
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._far_port)
        except OSError:
            writer.transport.abort()
            return
        pair = {writer, far_writer}
        self._writers |= pair
        try:
            for one in pair:
                plain = one.get_extra_info("socket")
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass(reader, far_writer, counted=False))
                both.create_task(self._pass(far_reader, writer, counted=True))
        except* (OSError, asyncio.CancelledError):
            # A side is gone, or the link is taken down: the other side learns it by the close.
            pass
        finally:
            self._writers -= pair
            for one in pair:
                one.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        receiving = asyncio.create_task(self._receive(reader, line))
        try:
            while True:
                due, data = await line.get()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                while counted and self.stalled:
                    await asyncio.sleep(0.01)
                if not data:
                    writer.write_eof()
                    return
                if counted:
                    data = self._count(data)
                writer.write(data)
                await writer.drain()
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

    def _count(self, data: bytes) -> bytes:
        self.carried += len(data)
        if self.cut_after is not None and self.carried >= self.cut_after:
            self.cut_after = None
            self._reset()
            raise ConnectionResetError("cut")
        return data


def main() -> None:
    """A delay line in a process of its own, so that it takes no turns with who uses it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with Link(int(sys.argv[1]), delay_s=float(sys.argv[2])) as link:
        print(link.port, flush=True)
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
