"""Packs bytes as CelZip: the inverse of `cellplan_dbm.celzip`, one code at a time."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from uploaderd.formats.cellplan_dbm.celzip import (
    CHUNK_SIZE,
    END_OF_CHUNK,
    END_OF_DATA,
    HEADER_SIZE,
    MAGIC,
)


def pack(data: bytes) -> bytes:
    """The file that a station would write: header, codes, chunk table."""
    codes: list[int] = []
    starts: list[int] = []
    for offset in range(0, len(data), CHUNK_SIZE):
        if starts:
            codes.append(END_OF_CHUNK)
        starts.append(len(codes))
        codes.extend(_codes(data[offset : offset + CHUNK_SIZE]))
    codes.append(END_OF_DATA)
    size = HEADER_SIZE + 2 * len(codes) + 4 * len(starts)
    saved = 100.0 * (1 - size / max(1, len(data)))
    header = MAGIC.ljust(144, b"\0") + struct.pack("<IIfI", len(data), size, saved, len(starts))
    return (
        header + struct.pack(f"<{len(codes)}H", *codes) + struct.pack(f"<{len(starts)}I", *starts)
    )


def _codes(chunk: bytes) -> Iterator[int]:
    known: dict[bytes, int] = {bytes([value]): value for value in range(256)}
    held = b""
    for value in chunk:
        longer = held + bytes([value])
        if longer in known:
            held = longer
            continue
        yield known[held]
        if len(known) < END_OF_CHUNK:
            known[longer] = len(known)
        held = bytes([value])
    yield known[held]
