"""Bytes of ClickHouse's native protocol: numbers, strings and LZ4 frames on a socket.

The source is the protocol as `clickhouse-driver` speaks it and the ClickHouse page "Native
protocol". A compressed frame is: 16 bytes of CityHash128 over the rest, one byte method (0x82 LZ4,
0x02 stored), the frame's size from that byte on, the size of the content (both UInt32), data.
"""

from __future__ import annotations

import socket
import struct

from clickhouse_cityhash.cityhash import CityHash128
from lz4 import block as lz4_block

LZ4 = 0x82
STORED = 0x02
MAX_FRAME = 1 << 30
MAX_STRING = 1 << 30
READ_SIZE = 1 << 18


class ProtocolError(Exception):
    """The client said something that the protocol does not know."""


class Disconnected(Exception):
    """The client has gone."""


class Source:
    """A growing window on a stream: `data` holds what has come and is not yet released."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.position = 0

    def more(self) -> bytes:
        """The next bytes of the stream, at least one; raises `Disconnected` at its end."""
        raise NotImplementedError

    def need(self, size: int) -> None:
        """Waits until `size` bytes lie behind the position."""
        missing = self.position + size - len(self.data)
        while missing > 0:
            piece = self.more()
            self.data += piece
            missing -= len(piece)

    def release(self) -> None:
        """Forgets what lies before the position."""
        del self.data[: self.position]
        self.position = 0

    def skip(self, size: int) -> None:
        """Moves the position on by `size` bytes, which have come then."""
        self.need(size)
        self.position += size

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        self.need(size)
        start = self.position
        self.position += size
        return bytes(memoryview(self.data)[start : self.position])

    def byte(self) -> int:
        """One byte as a number."""
        self.need(1)
        self.position += 1
        return self.data[self.position - 1]

    def varint(self) -> int:
        """An unsigned LEB128 number of at most ten bytes."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ProtocolError("a number is longer than ten bytes")

    def uint64(self) -> int:
        """Eight bytes, little-endian."""
        return int.from_bytes(self.take(8), "little")

    def string(self) -> str:
        """A length and that many bytes of UTF-8; what is not UTF-8 survives a way back."""
        size = self.varint()
        if size > MAX_STRING:
            raise ProtocolError(f"a string of {size} bytes is too long")
        return self.take(size).decode("utf-8", "surrogateescape")


class SocketSource(Source):
    """The stream is a socket."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection

    def more(self) -> bytes:
        """What the socket has."""
        try:
            piece = self._connection.recv(READ_SIZE)
        except OSError as error:
            raise Disconnected(str(error)) from error
        if not piece:
            raise Disconnected("the client closed the connection")
        return piece


class FrameSource(Source):
    """The stream is what compressed frames of another source hold."""

    def __init__(self, frames: Source) -> None:
        super().__init__()
        self._frames = frames

    def more(self) -> bytes:
        """The content of the next frame that has any."""
        while True:
            content = read_frame(self._frames)
            self._frames.release()
            if content:
                return content


def read_frame(source: Source) -> bytes:
    """The content of one compressed frame; raises `ProtocolError` if it is damaged."""
    checksum = source.take(16)
    head = source.take(9)
    method, size, content_size = struct.unpack("<BII", head)
    if not 9 <= size <= MAX_FRAME or content_size > MAX_FRAME:
        raise ProtocolError(f"a compressed frame of {size} bytes cannot be")
    data = source.take(size - 9)
    if _checksum(head + data) != checksum:
        raise ProtocolError("the checksum of a compressed frame is wrong")
    if method == STORED:
        return data
    if method != LZ4:
        raise ProtocolError(f"compression method 0x{method:02x} is not known; use LZ4")
    return bytes(lz4_block.decompress(data, uncompressed_size=content_size))


def write_frame(content: bytes) -> bytes:
    """`content` as one LZ4 frame."""
    data: bytes = lz4_block.compress(content, store_size=False)
    body = struct.pack("<BII", LZ4, len(data) + 9, len(content)) + data
    return _checksum(body) + body


def _checksum(data: bytes) -> bytes:
    """CityHash128 as the wire has it: the halves in order, each little-endian."""
    value = int(CityHash128(data))
    half = (1 << 64) - 1
    return (value >> 64).to_bytes(8, "little") + (value & half).to_bytes(8, "little")


def varint(value: int) -> bytes:
    """An unsigned LEB128 number."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(text: str) -> bytes:
    """A length and the text in UTF-8."""
    data = text.encode("utf-8", "surrogateescape")
    return varint(len(data)) + data
