"""A tar archive as it comes: its regular files one by one, and what was said behind it.

Source: POSIX.1-1988 `ustar`, as GNU tar, busybox and bsdtar write it for names of up to 100 bytes.
Nothing is searched for in a damaged archive: SSH lets no damage through, so it is none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from uploaderd.station.link import Stream

BLOCK = 512
LONGEST_NAME = 100
_FIELDS = struct.Struct("100s24x12s12s8xc100x5s")
"""Name, size, mtime, type and magic; sizes and times are octal digits."""
_REGULAR = {b"0", b"\0"}
_LINKS = {b"1", b"2"}
"""Hard and symbolic: a name without content."""
_PADDING = 20 * BLOCK
"""Zeros at the end that are told from nonsense; GNU tar fills up a record of so many."""


class NotAnArchive(Exception):
    """What comes is no archive of regular files with short names."""


class Entry(NamedTuple):
    """A regular file of an archive; `mtime` in whole seconds."""

    name: bytes
    mtime: int
    content: bytes


class TarStream:
    """An archive on a stream."""

    def __init__(self, stream: Stream, silence_s: float) -> None:
        self._stream = stream
        self._silence_s = silence_s
        self._data = b""
        self._at = 0

    def entries(self, largest: int) -> Iterator[Entry]:
        """The files, without links; none may be larger than `largest` bytes.

        Raises NotAnArchive, EOFError if it ends early, and OSError as the stream does.
        """
        while any(header := self._take(BLOCK)):
            name, size_text, mtime_text, kind, magic = _FIELDS.unpack_from(header)
            size = _octal(size_text)
            if kind in _LINKS:
                continue
            if magic != b"ustar" or kind not in _REGULAR or size > largest:
                raise NotAnArchive(f"an entry of type {kind!r}, {size} bytes")
            whole = self._take(size + -size % BLOCK)
            yield Entry(name.rstrip(b"\0"), _octal(mtime_text), whole[:size])

    def rest(self, limit: int) -> bytes:
        """What comes behind the archive, without its padding; raises as `entries`."""
        pieces = [self._data[self._at :]]
        size = len(pieces[0])
        while data := self._stream.receive(self._silence_s):
            pieces.append(data)
            size += len(data)
            if size > limit + _PADDING:
                raise NotAnArchive(f"more than {limit} bytes behind it")
        self._data, self._at = b"", 0
        return b"".join(pieces).lstrip(b"\0")

    def _take(self, count: int) -> bytes:
        have = len(self._data) - self._at
        if have < count:
            pieces = [self._data[self._at :]]
            while have < count:
                data = self._stream.receive(self._silence_s)
                if not data:
                    raise EOFError("the archive ends early")
                pieces.append(data)
                have += len(data)
            self._data, self._at = b"".join(pieces), 0
        begun = self._at
        self._at = begun + count
        return self._data[begun : self._at]


def _octal(text: bytes) -> int:
    try:
        return int(text.strip(b" \0"), 8)
    except ValueError as error:
        raise NotAnArchive(f"{text!r} for a number") from error
