"""SFTP version 3 as bytes: the few requests that a reader sends, and the answers to them.

Source: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL for `limits@openssh.com`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

INIT, VERSION, OPEN, CLOSE, READ, FSTAT, STAT = 1, 2, 3, 4, 5, 8, 17
STATUS, HANDLE, DATA, ATTRS, EXTENDED, EXTENDED_REPLY = 101, 102, 103, 105, 200, 201
EOF, NO_SUCH_FILE, PERMISSION_DENIED = 1, 2, 3
LARGEST_PACKET = 1 << 20
Packet = tuple[int, int, memoryview]
"""Type, number and payload."""
_ALL = 15
"""Flags of attributes with size, owner, mode and times."""
LIMITS = b"limits@openssh.com"
POSIX_RENAME = b"posix-rename@openssh.com"

_HEAD = struct.Struct(">IBI")
_READ_TAIL = struct.Struct(">QI")
_WORD = struct.Struct(">I")
_OPEN = struct.Struct(">IBII")
_REST = struct.Struct(">IBII4sQI IBII4s IBII4s")
_ATTRIBUTES = struct.Struct(">IQIIIII")


class ProtocolError(Exception):
    """The station sent what is no SFTP."""


class Attributes(NamedTuple):
    """A file's attributes; None for what the station does not tell."""

    size: int | None
    mode: int | None
    mtime: int | None


def text(value: bytes) -> bytes:
    """A string with its length."""
    return _WORD.pack(len(value)) + value


def init() -> bytes:
    """The first packet of a session: version 3."""
    return struct.pack(">IBI", 5, INIT, 3)


def request(kind: int, number: int, subject: bytes) -> bytes:
    """CLOSE, FSTAT (of a handle), STAT (of a path) or EXTENDED (by name)."""
    return _HEAD.pack(9 + len(subject), kind, number) + text(subject)


def open_to_read(number: int, path: bytes) -> bytes:
    """OPEN for reading, with no attributes."""
    return _OPEN.pack(17 + len(path), OPEN, number, len(path)) + path + b"\0\0\0\1\0\0\0\0"


def read(number: int, handle: bytes, offset: int, length: int) -> bytes:
    """READ of a part of an open file."""
    head = _HEAD.pack(21 + len(handle), READ, number)
    return head + text(handle) + _READ_TAIL.pack(offset, length)


def whole(number: int, path: bytes, handle: bytes, length: int) -> bytes:
    """OPEN, READ from the beginning, FSTAT and CLOSE, numbered from `number` on.

    For a file whose handle is known before it is open; `handle` has four bytes.
    """
    rest = _REST.pack(
        *(25, READ, number + 1, 4, handle, 0, length),
        *(13, FSTAT, number + 2, 4, handle),
        *(13, CLOSE, number + 3, 4, handle),
    )
    return open_to_read(number, path) + rest


def word(payload: memoryview, at: int) -> int:
    """An unsigned number of four bytes."""
    try:
        number: int = _WORD.unpack_from(payload, at)[0]
    except struct.error as error:
        raise ProtocolError("a packet is too short") from error
    return number


def string(payload: memoryview, at: int) -> memoryview:
    """A string of the payload, in place."""
    if at == 0 and len(payload) >= 4 and _WORD.unpack_from(payload)[0] == len(payload) - 4:
        return payload[4:]
    length = word(payload, at)
    value = payload[at + 4 : at + 4 + length]
    if len(value) != length:
        raise ProtocolError("a string is longer than its packet")
    return value


def attributes(payload: memoryview) -> Attributes:
    """The answer to STAT and FSTAT."""
    if len(payload) == _ATTRIBUTES.size and payload[3] == _ALL:
        _, size, _, _, mode, _, mtime = _ATTRIBUTES.unpack(payload)
        return Attributes(size, mode, mtime)
    return _attributes(payload)


def _attributes(payload: memoryview) -> Attributes:
    flags, at = word(payload, 0), 4
    size = mode = mtime = None
    if flags & 1:
        size, at = word(payload, at) << 32 | word(payload, at + 4), at + 8
    if flags & 2:
        at += 8
    if flags & 4:
        mode, at = word(payload, at), at + 4
    if flags & 8:
        mtime = word(payload, at + 4)
    return Attributes(size, mode, mtime)


class Splitter:
    """Cuts the received stream into packets, copying only those that came in pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._need = _HEAD.size

    def feed(self, data: bytes) -> list[Packet]:
        """The packets that are complete now."""
        packets: list[Packet] = []
        if self._pieces:
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._need:
                return packets
            data = b"".join(self._pieces)
            self._pieces.clear()
        view, start, end = memoryview(data), 0, len(data)
        self._need = _HEAD.size
        while end - start >= _HEAD.size:
            length, kind, number = _HEAD.unpack_from(data, start)
            if not 5 <= length <= LARGEST_PACKET:
                raise ProtocolError(f"a packet of {length} bytes")
            stop = start + 4 + length
            if stop > end:
                self._need = 4 + length
                break
            packets.append((kind, number, view[start + _HEAD.size : stop]))
            start = stop
        if start < end:
            self._pieces.append(data[start:])
        self._held = end - start
        return packets
