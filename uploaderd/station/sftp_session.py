"""An SFTP session as packets, with a timer of its own for a station that falls silent."""

from __future__ import annotations

import collections
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

from uploaderd.errors import StationUnreachable
from uploaderd.station import sftp_wire as wire
from uploaderd.station.link import Stream

SAFE_READ = 32768
"""What every server must be able to read at once (draft-ietf-secsh-filexfer-02, section 6.4)."""
LARGEST_READ = 261120
"""Largest useful read: OpenSSH's limit, 256 KiB less a header."""
SPARE_HANDLES = 8
GREETING = wire.init() + wire.request(wire.EXTENDED, 0, wire.LIMITS)
"""Version 3, and at once the question for limits: a server without them answers so."""
FIRST_HANDLE = bytes(4)
"""OpenSSH's handle of the first file, and of every later one while no other is open."""


@dataclass(frozen=True)
class About:
    """What a server told of itself."""

    read_size: int
    """Largest useful read."""
    handles: int | None
    """How many files may be open; None if it did not tell."""
    first_handle: bytes | None
    """The handle that the first file will have, if it looks like OpenSSH's server."""


class Session:
    """Sends requests and cuts the answers out of the stream."""

    def __init__(self, open_stream: Callable[[], Stream], stall_s: float) -> None:
        self._open_stream = open_stream
        self._stream: Stream | None = None
        self._stall_s = stall_s
        self._splitter = wire.Splitter()
        self._heard = time.monotonic()
        self._unread: collections.deque[wire.Packet] = collections.deque()
        """Packets that came along with the one that was waited for."""

    def open(self) -> About:
        """Agrees on version 3, and learns what the server can do."""
        self._stream = self._open_stream()
        self.send(GREETING, first=True)
        # The version stands where other answers have their number.
        kind, version, payload = self._one_packet()
        if kind != wire.VERSION or version < 3:
            raise wire.ProtocolError(f"version {version}")
        first_handle = FIRST_HANDLE if wire.POSIX_RENAME in bytes(payload) else None
        kind, _, payload = self._one_packet()
        if kind != wire.EXTENDED_REPLY or len(payload) < 32:
            return About(SAFE_READ, None, first_handle)
        _, read_size, _, handles = struct.unpack_from(">QQQQ", payload)
        return About(
            min(read_size or SAFE_READ, LARGEST_READ),
            max(1, handles - SPARE_HANDLES) if handles else None,
            first_handle,
        )

    def close(self) -> None:
        """Ends the session, if it was opened."""
        if self._stream is not None:
            self._stream.close()

    def send(self, requests: bytes, *, first: bool) -> None:
        """Sends requests; `first` says that no answer was due before them."""
        assert self._stream is not None
        if first:
            self._heard = time.monotonic()
        self._stream.send(requests)

    def listen_anew(self) -> None:
        """After a time of not listening: the station's silence begins now."""
        self._heard = time.monotonic()

    def packets(self, patience_s: float) -> list[wire.Packet]:
        """What comes within the patience, be it nothing.

        Raises StationUnreachable when nothing has come for the stall time, and OSError at the end
        of the stream.
        """
        assert self._stream is not None
        deadline = time.monotonic() + patience_s
        packets: list[wire.Packet] = []
        while not packets:
            try:
                data = self._stream.receive(max(0.001, deadline - time.monotonic()))
            except TimeoutError:
                self._check_silence()
                break
            if not data:
                raise ConnectionResetError("the station closed the session")
            self._heard = time.monotonic()
            packets = self._splitter.feed(data)
        return packets

    def _check_silence(self) -> None:
        silence = time.monotonic() - self._heard
        if silence >= self._stall_s:
            raise StationUnreachable(
                f"The station has been silent for {silence:.0f} s during the transfer.",
                hint="What is complete is kept; the rest goes on where it stopped.",
            )

    def _one_packet(self) -> wire.Packet:
        while not self._unread:
            self._unread.extend(self.packets(1.0))
        return self._unread.popleft()
