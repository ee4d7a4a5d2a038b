"""How an SFTP session begins: one round trip, whatever the server knows."""

from __future__ import annotations

import struct

import pytest

from uploaderd.station import sftp_wire as wire
from uploaderd.station.sftp_session import GREETING, SAFE_READ, About, Session

VERSION = struct.pack(">BI", wire.VERSION, 3)
LIMITS = struct.pack(">BIQQQQ", wire.EXTENDED_REPLY, 0, 256 << 10, 200_000, 200_000, 100)
UNSUPPORTED = struct.pack(">BIIII", wire.STATUS, 0, 8, 0, 0)


class Answering:
    """A server that answers only when everything that is to be asked was asked."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.sent = b""

    def send(self, data: bytes) -> None:
        """Keeps what the client says."""
        self.sent += data

    def receive(self, timeout_s: float) -> bytes:
        """The next piece."""
        assert self.sent == GREETING, timeout_s
        return self._pieces.pop(0)

    def close(self) -> None:
        """Nothing to end."""


def packet(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(
    ("answer", "about"),
    [(LIMITS, About(200_000, 92, None)), (UNSUPPORTED, About(SAFE_READ, None, None))],
)
def test_a_session_knows_its_limits_after_one_round_trip(
    answer: bytes, about: About, *, joined: bool
) -> None:
    pieces = [packet(VERSION), packet(answer)]
    stream = Answering(*([b"".join(pieces)] if joined else pieces))
    assert Session(lambda: stream, 1.0).open() == about
